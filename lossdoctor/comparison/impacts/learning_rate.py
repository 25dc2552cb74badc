"""The learning rate: its peak against the band that is usual for the method, its mean, its sum over all steps, its end."""

from __future__ import annotations

from lossdoctor import slips
from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, both, factor, graded, least, numbers
from lossdoctor.comparison.nouns import Impact
from lossdoctor.learning_rates import Band, band_of, short
from lossdoctor.plan import Plan


def peak(name: str, one: Plan, other: Plan) -> Rating:
    """Against the usual rates: inside the band a factor of two is little, outside of it is not."""
    rates = numbers("learning_rate", one, other) or _planned(one, other)
    if rates is None or min(rates) <= 0:
        return Rating("high", "a learning rate of 0 moves no weight")
    bands = band_of(one.run), band_of(other.run)
    if bands[0] is None or bands[1] is None:
        times = factor(*rates)
        return Rating(graded(times, 1.05, 2, 10), _of_other_optimizers(rates), sources.LORA[:1])
    if bands[0].method != bands[1].method:
        return _of_two_methods(rates, bands[0], bands[1])
    band = min(bands[0], bands[1], key=lambda band: band.high)  # that of the larger model
    impact, reason = _within(rates, band, [_place(rate, band) for rate in rates])
    reason += _against_the_batch(one, other, rates) + _against_the_scale(one, other, rates)
    return Rating(impact, reason, (*band.sources[:2], sources.LESS))


def _planned(one: Plan, other: Plan) -> tuple[float, float] | None:
    return (one.rates.peak, other.rates.peak) if one.rates and other.rates else None


def _of_other_optimizers(rates: tuple[float, float]) -> str:
    return f"{both(*rates)}: the usual rates are those of AdamW, and at least one side has an optimizer with a scale of its own"


def _place(rate: float, band: Band) -> str:
    return "below" if rate < band.low else "above" if rate > band.high else "within"


def _within(rates: tuple[float, float], band: Band, places: list[str]) -> tuple[Impact, str]:
    times = factor(*rates)
    if not band.known:
        words = f"{slips.in_times(times)} apart; whether an adapter or all weights are trained is not stated, so it is not known "
        return graded(times, 1.05, 1.5, 4), words + "which rates are usual"
    if places == ["within", "within"]:
        words = f"{both(*rates)} both lie within the {_band(band)}"
        return graded(times, 1.05, 2.01, 5.01), words
    if places[0] == places[1]:
        edge, which = (band.low, "lowest") if places[0] == "below" else (band.high, "highest")
        gaps = [slips.in_times(factor(rate, edge)) for rate in rates]
        words = f"both lie {places[0]} the {_band(band)}: {short(rates[0])} by {gaps[0]} and {short(rates[1])} by {gaps[1]} the "
        words += f"{which}"
    else:
        words = f"{short(rates[0])} lies {places[0]} and {short(rates[1])} {places[1]} the {_band(band)}"
    if "below" in places and "LoRA" in band.method:
        words += "; LoRA wants about ten times the rate of full fine-tuning, and with less it hardly learns"
    if "above" in places:
        words += "; the highest rate that stays stable is the best one, and above the band few do"
    return graded(times, 1.05, 1.25, 2), words


def _band(band: Band) -> str:
    return f"{short(band.low)} to {short(band.high)} that are usual for {band.method}"


def _of_two_methods(rates: tuple[float, float], one: Band, other: Band) -> Rating:
    """Each rate by the usual one of its own method."""
    shares = rates[0] / one.usual, rates[1] / other.usual
    words = f"{one.method} and {other.method} want different rates: {short(rates[0])} is {_times(shares[0])} the usual "
    words += f"{short(one.usual)}, {short(rates[1])} is {_times(shares[1])} the usual {short(other.usual)}"
    return Rating(graded(factor(*shares), 0, 2, 5), words, (*one.sources[:1], *other.sources[:1]))


def _times(share: float) -> str:
    return "about" if 0.8 <= share <= 1.25 else f"{share:.2g} times"


def _against_the_batch(one: Plan, other: Plan, rates: tuple[float, float]) -> str:
    """Whether the rate follows the batch, by the rules of thumb that there are."""
    if not one.effective_batch or not other.effective_batch:
        return ""
    batch, rate = other.effective_batch.value / one.effective_batch.value, rates[1] / rates[0]
    if 0.9 < batch < 1.1:
        return ""
    if course.alike(rate, batch**0.5, 0.1):
        rule = "the square root of that, a rule of thumb for Adam whose evidence is weak"
    elif course.alike(rate, batch, 0.1):
        rule = "as much, the linear rule, which is that of SGD: for Adam the square root is the rule of thumb"
    else:
        return f". The effective batch changes as well, by a factor of {batch:.3g}, which the rate does not follow"
    return f". The effective batch changes by a factor of {batch:.3g} and the rate by {rule}: the two belong together"


def _against_the_scale(one: Plan, other: Plan, rates: tuple[float, float]) -> str:
    if not one.adapter_scale or not other.adapter_scale:
        return ""
    scale = other.adapter_scale.value / one.adapter_scale.value
    if not 0.9 < scale < 1.1 and (scale > 1) != (rates[1] > rates[0]):
        return f". The scale of the adapter goes the other way by a factor of {scale:.3g}, which makes up for part of it"
    return ""


def mean(name: str, one: Plan, other: Plan) -> Rating:
    """The peak and the shape together."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating("low", "the schedule of one side is not known")
    parts = [f"{short(r.peak)} × {course.mean_share(r):.2f} = {short(r.mean())} ({r.name})" for r in (first, second)]
    times = factor(first.mean(), second.mean())
    same = "; they come to nearly the same" if times < 1.1 else ""
    return Rating(least(graded(times, 1.1, 1.5, 3), "medium"), f"peak and shape together: {parts[0]} and {parts[1]}{same}")


def travel(name: str, one: Plan, other: Plan) -> Rating:
    """The sum of the rates: AdamW moves no weight much further than that, however the steps and the rate are traded."""
    first, second, counts = course.course(one), course.course(other), course.steps(one, other)
    sums = course.travels(one, other)
    if first is None or second is None or counts is None or sums is None:
        return Rating("low", "the steps or the schedule of one side are not known")
    rate, step = second.mean() / first.mean(), counts[1] / counts[0]
    times = factor(*sums)
    longer = "as many steps" if f"{step:.3g}" == "1" else f"{step:.3g} times the steps"
    words = f"{longer} at {rate:.3g} times the mean rate make {step * rate:.3g} times the sum, and AdamW moves "
    words += "no weight much further than that"
    if (rate > 1) != (step > 1) and times < 0.7 * max(factor(rate, 1), factor(step, 1)):
        words += ": the changes of rate and length cancel " + ("each other" if times < 1.1 else "for the most part")
    return Rating(graded(times, 1.1, 1.5, 4), words, sources.LORA[:1])


def final(name: str, one: Plan, other: Plan) -> Rating:
    """The rate of the last steps decides how much the loss still scatters, not how far the run comes."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating("low", "the schedule of one side is not known")
    words = "the smaller the last rate, the more the loss settles at the end, so the last rows of the two are not alike"
    return Rating("low", words)


RATERS: dict[str, Rater] = {
    "learning_rate": peak,
    "peak learning rate": peak,
    "mean learning rate": mean,
    "sum of learning rates": travel,
    "final learning rate": final,
}
