"""The learning rate: its peak against the band that is usual for the method, its mean, its sum over all steps, its end."""

from __future__ import annotations

from lossdoctor import slips
from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, both, factor, graded, least, numbers
from lossdoctor.comparison.nouns import Impact
from lossdoctor.language import later, say
from lossdoctor.learning_rates import Band, band_of, short
from lossdoctor.plan import Plan


def peak(name: str, one: Plan, other: Plan) -> Rating:
    """Against the usual rates: inside the band a factor of two is little, outside of it is not."""
    rates = numbers("learning_rate", one, other) or _planned(one, other)
    if rates is None or min(rates) <= 0:
        return Rating("high", say("a learning rate of 0 moves no weight"))
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
    return say(
        "{rates}: the usual rates are those of AdamW, and at least one side has an optimizer with a scale of its own",
        rates=both(*rates),
    )


def _place(rate: float, band: Band) -> str:
    return later("below") if rate < band.low else later("above") if rate > band.high else later("within")


def _within(rates: tuple[float, float], band: Band, places: list[str]) -> tuple[Impact, str]:
    times = factor(*rates)
    if not band.known:
        words = say(
            "{times} apart; whether an adapter or all weights are trained is not stated, so it is not known "
            "which rates are usual",
            times=slips.in_times(times),
        )
        return graded(times, 1.05, 1.5, 4), words
    if places == ["within", "within"]:
        words = say("{rates} both lie within the {band}", rates=both(*rates), band=_band(band))
        return graded(times, 1.05, 2.01, 5.01), words
    if places[0] == places[1]:
        below = places[0] == "below"
        edge = band.low if below else band.high
        gaps = [slips.in_times(factor(rate, edge)) for rate in rates]
        lower = later("both lie below the {band}: {first} by {first_gap} and {second} by {second_gap} the lowest")
        higher = later("both lie above the {band}: {first} by {first_gap} and {second} by {second_gap} the highest")
        words = say(
            lower if below else higher,
            band=_band(band),
            first=short(rates[0]),
            first_gap=gaps[0],
            second=short(rates[1]),
            second_gap=gaps[1],
        )
    else:
        words = say(
            "{first_rates} lies {first_places} and {second_rates} {second_places} the {band}",
            first_rates=short(rates[0]),
            first_places=say(places[0]),
            second_rates=short(rates[1]),
            second_places=say(places[1]),
            band=_band(band),
        )
    if "below" in places and band.lora:
        words += say("; LoRA wants about ten times the rate of full fine-tuning, and with less it hardly learns")
    if "above" in places:
        words += say("; the highest rate that stays stable is the best one, and above the band few do")
    return graded(times, 1.05, 1.25, 2), words


def _band(band: Band) -> str:
    return say("{low} to {high} that are usual for {method}", low=short(band.low), high=short(band.high), method=band.method)


def _of_two_methods(rates: tuple[float, float], one: Band, other: Band) -> Rating:
    """Each rate by the usual one of its own method."""
    shares = rates[0] / one.usual, rates[1] / other.usual
    words = say(
        "{method} and {method2} want different rates: {first_rates} is {first_shares} the usual {usual}, "
        "{second_rates} is {second_shares} the usual {usual2}",
        method=one.method,
        method2=other.method,
        first_rates=short(rates[0]),
        first_shares=_times(shares[0]),
        usual=short(one.usual),
        second_rates=short(rates[1]),
        second_shares=_times(shares[1]),
        usual2=short(other.usual),
    )
    return Rating(graded(factor(*shares), 0, 2, 5), words, (*one.sources[:1], *other.sources[:1]))


def _times(share: float) -> str:
    return say("about") if 0.8 <= share <= 1.25 else say("{share:.2g} times", share=share)


def _against_the_batch(one: Plan, other: Plan, rates: tuple[float, float]) -> str:
    """Whether the rate follows the batch, by the rules of thumb that there are."""
    if not one.effective_batch or not other.effective_batch:
        return ""
    batch, rate = other.effective_batch.value / one.effective_batch.value, rates[1] / rates[0]
    if 0.9 < batch < 1.1:
        return ""
    if course.alike(rate, batch**0.5, 0.1):
        rule = say("the square root of that, a rule of thumb for Adam whose evidence is weak")
    elif course.alike(rate, batch, 0.1):
        rule = say("as much, the linear rule, which is that of SGD: for Adam the square root is the rule of thumb")
    else:
        return say(
            ". The effective batch changes as well, by a factor of {batch:.3g}, which the rate does not follow", batch=batch
        )
    return say(
        ". The effective batch changes by a factor of {batch:.3g} and the rate by {rule}: the two belong together",
        batch=batch,
        rule=rule,
    )


def _against_the_scale(one: Plan, other: Plan, rates: tuple[float, float]) -> str:
    if not one.adapter_scale or not other.adapter_scale:
        return ""
    scale = other.adapter_scale.value / one.adapter_scale.value
    if not 0.9 < scale < 1.1 and (scale > 1) != (rates[1] > rates[0]):
        return say(
            ". The scale of the adapter goes the other way by a factor of {scale:.3g}, which makes up for part of it", scale=scale
        )
    return ""


def mean(name: str, one: Plan, other: Plan) -> Rating:
    """The peak and the shape together."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating("low", say("the schedule of one side is not known"))
    parts = [f"{short(r.peak)} × {course.mean_share(r):.2f} = {short(r.mean())} ({r.name})" for r in (first, second)]
    times = factor(first.mean(), second.mean())
    same = say("; they come to nearly the same") if times < 1.1 else ""
    return Rating(
        least(graded(times, 1.1, 1.5, 3), "medium"),
        say(
            "peak and shape together: {first_parts} and {second_parts}{same}",
            first_parts=parts[0],
            second_parts=parts[1],
            same=same,
        ),
    )


def travel(name: str, one: Plan, other: Plan) -> Rating:
    """The sum of the rates: AdamW moves no weight much further than that, however the steps and the rate are traded."""
    first, second, counts = course.course(one), course.course(other), course.steps(one, other)
    sums = course.travels(one, other)
    if first is None or second is None or counts is None or sums is None:
        return Rating("low", say("the steps or the schedule of one side are not known"))
    rate, step = second.mean() / first.mean(), counts[1] / counts[0]
    times = factor(*sums)
    longer = say("as many steps") if f"{step:.3g}" == "1" else say("{step:.3g} times the steps", step=step)
    words = say(
        "{longer} at {rate:.3g} times the mean rate make {step:.3g} times the sum, and AdamW moves no "
        "weight much further than that",
        longer=longer,
        rate=rate,
        step=step * rate,
    )
    if (rate > 1) != (step > 1) and times < 0.7 * max(factor(rate, 1), factor(step, 1)):
        words += say(": the changes of rate and length cancel ") + (
            say("each other") if times < 1.1 else say("for the most part")
        )
    return Rating(graded(times, 1.1, 1.5, 4), words, sources.LORA[:1])


def final(name: str, one: Plan, other: Plan) -> Rating:
    """The rate of the last steps decides how much the loss still scatters, not how far the run comes."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating("low", say("the schedule of one side is not known"))
    words = say("the smaller the last rate, the more the loss settles at the end, so the last rows of the two are not alike")
    return Rating("low", words)


RATERS: dict[str, Rater] = {
    "learning_rate": peak,
    "peak learning rate": peak,
    "mean learning rate": mean,
    "sum of learning rates": travel,
    "final learning rate": final,
}
