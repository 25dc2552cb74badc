"""Which learning rates are usual for a way of training, what a run used, and what to change it to.

The bands are those of AdamW and its 8-bit kin. They say where a good rate is likely to lie, not that others fail: a rate is
held against a run only together with a symptom.
"""

from __future__ import annotations

from math import floor, log10
from typing import NamedTuple

from lossdoctor import slips
from lossdoctor.families import billions
from lossdoctor.language import say
from lossdoctor.model import Chart, Outline, Remedy, Rule, Run
from lossdoctor.plan import adapter_scale
from lossdoctor.tasks import PREFERENCE, REINFORCEMENT, adapter, soft_prompt

#: LoRA wants about ten times the rate of full fine-tuning; the best rates of a sweep over models, and the scripts of QLoRA.
LORA = ("https://thinkingmachines.ai/blog/lora/", "https://github.com/thinking-machines-lab/tinker-cookbook")
QLORA = "https://github.com/artidoro/qlora/blob/main/scripts/finetune_guanaco_7b.sh"
GUIDE = "https://docs.unsloth.ai/get-started/beginner-start-here/lora-hyperparameters-guide"
T5 = "https://github.com/huggingface/transformers/pull/13240"
HIGHEST_STABLE = "https://arxiv.org/abs/2405.09673"
WARM_UP = "https://ar5iv.labs.arxiv.org/html/2309.14322"
HEAVY_TAILS = "https://arxiv.org/abs/1912.03194"
DPO = "https://github.com/huggingface/alignment-handbook/issues/25"

#: Times the highest usual rate from which on an unknown optimizer is hardly AdamW.
OTHER_OPTIMIZER = 20
#: Rows with a learning rate from which on their peak says more than a configuration.
ROWS_TO_CONTRADICT = 10
#: Optimizers whose rate is on another scale.
OTHER_SCALE = ("sgd", "adafactor", "prodigy", "dadapt", "adadelta", "adagrad", "lomo", "lion", "rmsprop", "schedule_free", "muon")


#: Below this width of the residual stream the best rate of Adam rises as the width falls (WIDTH): like its inverse, with LoRA.
#: For all weights it is steeper between the usual rates of models of this width and our own small ones, which are also trained
#: less and for fewer steps. docs/evidence/rates.md has what was measured at the widths 64 and 128, and what it cannot tell.
NARROW, STEEPNESS, STEEPNESS_OF_ADAPTERS = 1024, 1.5, 1.0
#: The usual rates of T5 are those of T5-small, too.
NARROW_T5 = 512
WIDTH = "https://arxiv.org/abs/2203.03466"
#: Where the live callback has measured the weights, their size says it better than the width: how much of it one of Adam's first
#: steps changes at the lowest, a good first and the highest rate. Our grids over the widths 64 and 128 (docs/evidence/rates.md)
#: had their best at the same share in both; the rates in use for large models are at 0.02 to 0.1.
SHARES = (0.03, 0.1, 0.3)
SPECTRAL = "https://arxiv.org/abs/2310.17813"


#: The scale of most adapters; from the other one on it is far above the usual 0.25 to 2, and works like so much higher a rate.
USUAL_SCALE, LARGE_SCALE = 2.0, 8.0


class Band(NamedTuple):
    """Learning rates that are usual for a `method` (per optimizer step): the lowest, a good first one, the highest."""

    method: str
    low: float
    usual: float
    high: float
    known: bool  # whether the facts say how the run trains
    sources: tuple[str, ...]
    lora: bool = False  # it is for LoRA by name
    supervised: bool = True

    @property
    def words(self) -> str:
        return say("{low} to {high} are usual for {method}", low=short(self.low), high=short(self.high), method=self.method)


def band_of(run: Run) -> Band | None:
    """The usual learning rates for this run; None for an optimizer or a way of training on another scale."""
    if soft_prompt(run) or any(name in str(run.get("optim") or "").lower() for name in OTHER_SCALE):
        return None
    return adamw(run)


def adamw(run: Run) -> Band:
    """The usual learning rates of AdamW for this model and way of training, whatever optimizer the run has."""
    band, times = _of_usual_width(run), for_width(run)
    if times == 1.0 or run.get("task") in (PREFERENCE, REINFORCEMENT):
        return band
    low, usual, high = (float(f"{rate * times:.0e}") for rate in (band.low, band.usual, band.high))
    if per_rate := _per_rate(run):
        low, usual, high = (_rounded_finely(share / per_rate) for share in SHARES)
    method = say("{method} in a model of width {hidden_size:,}", method=band.method, hidden_size=run.get("hidden_size"))
    return band._replace(method=method, low=low, usual=usual, high=high, sources=(*band.sources, SPECTRAL if per_rate else WIDTH))


def _per_rate(run: Run) -> float | None:
    """What a step at a rate of 1 changes in the weights, at a usual scale of the adapter: an unusual one is another mistake."""
    found, scale = run.get("weight_change_per_rate"), adapter_scale(run)
    if not isinstance(found, float) or found <= 0:
        return None
    return found * USUAL_SCALE / scale.value if scale and scale.value > LARGE_SCALE else found


def for_width(run: Run) -> float:
    """How many times the usual rates a narrow model bears; 1.0 from the width on for which they are known, or if it is not."""
    width, lora = run.get("hidden_size"), adapter(run)
    known = NARROW_T5 if not lora and "t5" in run.words("model_name_or_path", "model_type") else NARROW
    if not isinstance(width, int) or not 0 < width < known:
        return 1.0
    return float((known / width) ** (STEEPNESS_OF_ADAPTERS if lora else STEEPNESS))


def _of_usual_width(run: Run) -> Band:
    lora, task = adapter(run), run.get("task")
    name = run.words("model_name_or_path", "model_type")
    if task in (PREFERENCE, REINFORCEMENT) and "reward" not in run.words("trainer"):  # a reward model is a classifier
        if lora is None:
            return Band(say(str(task)), 5e-7, 1e-6, 5e-5, False, (GUIDE, DPO), supervised=False)
        if lora:
            method = say("{task} with LoRA", task=say(str(task)))
            return Band(method, 2e-6, 5e-6, 5e-5, True, (GUIDE,), lora=True, supervised=False)
        method = say("{task} of all weights", task=say(str(task)))
        return Band(method, 3e-7, 1e-6, 5e-6, True, (DPO,), supervised=False)
    if lora:
        size = billions(run) or 0.0
        if size >= 30:
            return Band(say("LoRA on {size:g} billion parameters", size=size), 5e-5, 1e-4, 5e-4, True, (*LORA, QLORA), lora=True)
        high = 5e-4 if size >= 8 else 1e-3
        return Band("LoRA", 1e-4, 2e-4, high, True, (*LORA, QLORA), lora=True)
    if "t5" in name and "speecht5" not in name:
        return Band(say("fine-tuning all weights of a T5"), 5e-5, 3e-4, 1e-3, True, (T5,))
    if "wav2vec" in name or "hubert" in name:
        return Band(say("fine-tuning a speech encoder"), 1e-5, 1e-4, 5e-4, True, ())
    if lora is False:
        return Band(say("fine-tuning all weights"), 1e-5, 2e-5, 5e-5, True, LORA)
    return Band(say("fine-tuning, with an adapter or all weights"), 1e-5, 5e-5, 1e-3, False, LORA)


def against(rate: float, band: Band) -> str:
    """A rate held against those that are usual, in words."""
    return say("the learning rate is {rate}: {band_words}", rate=short(rate), band_words=band.words)


def rate_of(chart: Chart) -> float | None:
    """The peak learning rate that was asked for, unless the log shows another one; None where neither is known."""
    asked = chart.run.get("learning_rate")
    if isinstance(asked, (int, float)) and asked > 0 and not another_rate(chart.run, chart.outline):
        return float(asked)
    return chart.outline.peak_rate


def another_rate(run: Run, outline: Outline) -> float | None:
    """The peak of the log where it has passed and is not the rate that was asked for: the facts are those of another run."""
    asked, peak, rates = run.get("learning_rate"), outline.peak_rate, outline.there("rate")
    if not isinstance(asked, (int, float)) or asked <= 0 or not peak or len(rates) < ROWS_TO_CONTRADICT:
        return None
    return peak if rates[-1] < peak and not asked / 1.5 < peak < 1.5 * asked else None


def travel(chart: Chart) -> float | None:
    """The sum of the learning rates of all steps: AdamW moves no weight much further than that; None without rates."""
    if chart.outline.numbered:
        return None
    steps, rates = chart.outline.table.get("step", ()), chart.outline.table.get("rate", ())
    total, before = 0.0, 0.0
    for step, rate in zip(steps, rates, strict=True):
        total += rate * (step - before) if rate == rate else 0.0
        before = step
    return total or None


def rounded(value: float) -> float:
    """One significant digit, downwards: 6.7e-5 → 6e-5. Nobody knows a learning rate better than that."""
    unit = 10.0 ** floor(log10(value) + 1e-9)
    return float(f"{floor(value / unit + 1e-6) * unit:.0e}")


def _rounded_finely(value: float) -> float:
    """As `rounded`, with 1.5 between 1 and 2, which are far apart."""
    low = rounded(value)
    return float(f"{1.5 * low:.2g}") if 1.5 * low <= value < 2 * low else low


def failed_at(chart: Chart, onset: int | None) -> float | None:
    """The rate at which a climb began, where that was on the way up to the peak; after it, the peak itself was borne."""
    peak, at = chart.outline.peak_rate, chart.outline.rate_at(onset) if onset else None
    table = chart.outline.table
    rows = zip(table.get("step", ()), table.get("rate", ()), strict=True)
    before = max((rate for step, rate in rows if rate == rate and onset and step < onset), default=0.0)
    return at if at and peak and before < 0.9 * peak and at < 0.9 * peak else None


def lower(rate: float, band: Band | None, failed: float | None = None, ceiling: float | None = None) -> float:
    """A rate to go on with after a climb: a third, or less where the band, the rate it failed at or a ceiling says so.

    Public fixes of such runs lowered the rate 2.5 to 10 times; the highest stable rate is the best one. A rate above the lowest
    usual one stays above it.
    """
    goal = rate / 3
    if failed:
        goal = min(goal, failed / 2)
    if band and not band.known and rate > OTHER_OPTIMIZER * band.high:
        return rounded(rate / 10)  # so high that it may be the rate of another optimizer
    if band and rate > band.high:
        goal = min(goal, band.usual if band.known else band.high / 3)
    if ceiling and rate > 2 * ceiling:
        goal = min(goal, ceiling)
    elif band and band.known and rate > 1.5 * band.low:
        goal = max(goal, band.low)
    return goal if band and goal == band.usual else rounded(goal)


def instead_of_sgd(chart: Chart) -> Remedy | None:
    """AdamW at its usual rate for a run of plain SGD that broke; None for any other optimizer."""
    if str(chart.run.get("optim") or "").lower().rpartition(".")[2] != "sgd":
        return None
    new = adamw(chart.run).usual
    settings: dict[str, object] = {"optim": "adamw_torch", "learning_rate": new}
    if chart.run.get("max_grad_norm") == 0:
        settings["max_grad_norm"] = 1.0
    why = say(
        "gradients of attention models have heavy tails: SGD bears only rates at which it learns slowly, AdamW scales each weight"
    )
    return Remedy(say("Train with AdamW at {new}", new=short(new)), why, settings, "low", (HEAVY_TAILS,))


def lowered(chart: Chart, onset: int | None = None, ceiling: float | None = None) -> Remedy:
    """A lower rate, with the numbers of this run; in words where the log does not say what the rate was."""
    rate, band = rate_of(chart), band_of(chart.run)
    if rate is None:
        why = say("the log does not say what it was; public fixes of such runs lowered it 2.5 to 10 times")
        third = say("a third of what it was")
        return Remedy(
            say("Lower the learning rate to {third}", third=third), why, {"learning_rate": Rule(third)}, "none", (HIGHEST_STABLE,)
        )
    new = lower(rate, band, failed_at(chart, onset), ceiling)
    why = say(
        "{rate} less; the highest rate that stays stable is the best one, so go up from there", rate=slips.in_times(rate / new)
    )
    sources = (HIGHEST_STABLE, *(band.sources[:1] if band else ()))
    return Remedy(say("Lower the learning rate {rate}", rate=change(rate, new)), why, {"learning_rate": new}, "none", sources)


def raised(chart: Chart) -> Remedy | None:
    """A higher rate, with the numbers of this run; None where the rate is not known."""
    rate, band = rate_of(chart), band_of(chart.run)
    if not rate:
        return None
    new = higher(rate, band)
    times = f"{new / rate:,.0f}" if new / rate >= 10 else f"{new / rate:.3g}"
    why = say(
        "{times} times as much; {band_words}the highest rate that stays stable is the best one",
        times=times,
        band_words=f"{band.words}; " if band else "",
    )
    sources = (*(band.sources if band else ()), HIGHEST_STABLE)
    return Remedy(say("Raise the learning rate {rate}", rate=change(rate, new)), why, {"learning_rate": new}, "none", sources)


def higher(rate: float, band: Band | None) -> float:
    """A rate to try where nothing moves: ten times, or up to what is usual for the method."""
    if band and band.known:
        return band.usual if rate < band.low else rounded(min(3 * rate, band.high))
    return rounded(max(10 * rate, band.usual if band else 0.0))


def short(rate: float) -> str:
    """A rate to three digits, as people write it: 2e-4, 1.25e-5."""
    return slips.short(slips.three_digits(rate))


def change(before: float, after: float) -> str:
    """`from 5e-5 to 2e-4 (0.00005 to 0.0002)`: a raise, which the decimals show to whoever reads 5 as more than 2."""
    words = [short(before), short(after)]
    return say(
        "from {first_words} to {second_words} ({decimal})",
        first_words=words[0],
        second_words=words[1],
        decimal=say(" to ").join(map(slips.decimal, words)),
    )
