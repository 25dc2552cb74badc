"""What sets the course of a whole curve: the way that the learning rates go, how long they go, and how well they generalise."""

from __future__ import annotations

from lossdoctor.comparison.case import Case, Reason, listed, settings_of
from lossdoctor.comparison.nouns import CurveDifference, EndDifference
from lossdoctor.comparison.rates import first_apart, rates_of
from lossdoctor.comparison.telling import percent
from lossdoctor.comparison.telling import times as telling_times
from lossdoctor.learning_rates import short

#: The ways differ from this factor on; and a parting may be seen so much earlier than it is, as a share of the run.
FACTOR, EARLY = 1.1, 0.05
RATES = (
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "max_steps", "total_steps",
    "num_train_epochs", "epochs", "warmup", "rates", "learning_rate_curve", "effective_batch", "per_device_train_batch_size",
    "gradient_accumulation_steps", "world_size", "total_train_batch_size",
)  # fmt: skip
GENERAL = (
    "weight_decay", "lora_dropout", "label_smoothing_factor", "neftune_noise_alpha", "num_train_epochs", "max_steps",
    "lora_r", "adapter_scale", "trainable_layers", "early_stopping_patience", "dataset", "dataset_size",
)  # fmt: skip


def rates(case: Case) -> Reason | None:
    """That the learning rates part, before the curves do or with them, and how much further one has gone."""
    found, laid = [rates_of(side) for side in case.sides], case.laid
    if laid is None or not laid.rows or case.training is None or found[0] is None or found[1] is None or case.axis.name == "row":
        return None
    ends = float(laid.steps[-1]), float(laid.there[-1])
    ways = [one.travel(end) for one, end in zip(found, ends, strict=True) if one]
    if min(ways) <= 0:
        return None
    times = ways[1] / ways[0]
    apart = first_apart(found[0], found[1], ends[0], ends[1] / ends[0])
    if apart is None and max(times, 1 / times) < FACTOR:
        return None
    start = apart if apart is not None else 0.0
    words = f"up to step {ends[0]:,.0f} the sum of the rates is {telling_times(times)} in {case.other.name}"
    if ends[0] != ends[1]:
        words += f", which has taken {ends[1]:,.0f} steps by then"
    if apart is not None:
        first, second = found[0].at(apart), found[1].at(apart * ends[1] / ends[0])
        words = f"the learning rates part at about step {apart:,.0f} ({_rate(first)} against {_rate(second)}), and {words}"
    names = settings_of(case.touching(*RATES))
    if case.parted is not None and start > case.parted[0] + EARLY * ends[0]:
        words = f"{words[:1].upper()}{words[1:]}, but the curves part at about step {case.parted[0]:,.0f}, before that"
        return Reason(1, f"{words}: the rates did not part them.", names)
    if max(times, 1 / times) < FACTOR:
        return None
    weight = 6.5 if case.training.in_order else 6.0
    parted = f", and the curves part at about step {case.parted[0]:,.0f}" if case.parted is not None else ""
    return Reason(weight, f"{words[:1].upper()}{words[1:]}{parted}.", names)


def longer(case: Case) -> Reason | None:
    """That they end apart because one goes on."""
    for curve in case.curves:
        own, common = curve.own_ends, curve.end
        if (
            own is None
            or common is None
            or own.ending not in ("better", "worse")
            or not common.alike
            or common.reach > abs(own.share)
        ):
            continue
        figures = f"{percent(common.share, True)} over what both have, {percent(own.share, True)} each at its own end"
        return Reason(7, f"They end apart because one is longer, not because their curves differ ({figures}).",
                      settings_of(case.touching(*RATES)))  # fmt: skip
    return None


def generalisation(case: Case) -> Reason | None:
    """That they differ in what they make of examples that they were not trained on."""
    end = case.training.end if case.training else None
    for curve in case.evaluations:
        there = curve.end
        if end is None or there is None or there.ending not in ("better", "worse") or end.ending == "unknown":
            continue
        if (end.share < 0) == (there.share < 0) if end.ending in ("better", "worse") else not end.alike:
            continue
        return _generalisation(case, curve, end, there)
    return None


def _generalisation(case: Case, curve: CurveDifference, end: EndDifference, there: EndDifference) -> Reason:
    figures = f"training loss {percent(end.share, True)}, {curve.series} {percent(there.share, True)}"
    found = case.touching(*GENERAL)
    rest = f" {listed(found)} differ{'s' * (len(found) == 1)} and may do that." if found else ""
    if end.ending == "same":
        said = "They fit the training examples equally well and differ only in the evaluation"
        return Reason(
            6, f"{said} ({figures}): regularisation, overfitting, or other evaluation examples.{rest}", settings_of(found)
        )
    fits = case.other if end.share < 0 else case.one
    said = f"{fits.name} fits its training examples better and those of the evaluation worse ({figures})"
    return Reason(7.5, f"{said}: it overfits more.{rest}", settings_of(found))


def _rate(rate: float) -> str:
    return short(rate) if rate else "0"
