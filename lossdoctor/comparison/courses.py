"""What sets the course of a whole curve: the way that the learning rates go, how long they go, and how well they generalise."""

from __future__ import annotations

from lossdoctor.comparison.case import Case, Reason, listed, settings_of
from lossdoctor.comparison.nouns import CurveDifference, EndDifference
from lossdoctor.comparison.rates import first_apart, rates_of
from lossdoctor.comparison.telling import percent
from lossdoctor.comparison.telling import times as telling_times
from lossdoctor.language import capital, plural, say
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
    words = say(
        "up to step {first_ends:,.0f} the sum of the rates is {times} in {other_name}",
        first_ends=ends[0],
        times=telling_times(times),
        other_name=case.other.name,
    )
    if ends[0] != ends[1]:
        words += say(", which has taken {second_ends:,.0f} steps by then", second_ends=ends[1])
    if apart is not None:
        first, second = found[0].at(apart), found[1].at(apart * ends[1] / ends[0])
        words = say(
            "the learning rates part at about step {apart:,.0f} ({first} against {second}), and {words}",
            apart=apart,
            first=_rate(first),
            second=_rate(second),
            words=words,
        )
    names = settings_of(case.touching(*RATES))
    if case.parted is not None and start > case.parted[0] + EARLY * ends[0]:
        words = say(
            "{capital}, but the curves part at about step {first_parted:,.0f}, before that",
            capital=capital(words),
            first_parted=case.parted[0],
        )
        return Reason(1, say("{words}: the rates did not part them.", words=words), names)
    if max(times, 1 / times) < FACTOR:
        return None
    weight = 6.5 if case.training.in_order else 6.0
    parted = (
        say(", and the curves part at about step {first_parted:,.0f}", first_parted=case.parted[0])
        if case.parted is not None
        else ""
    )
    return Reason(weight, f"{capital(words)}{parted}.", names)


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
        figures = say(
            "{share} over what both have, {share2} each at its own end",
            share=percent(common.share, True),
            share2=percent(own.share, True),
        )
        told = say("They end apart because one is longer, not because their curves differ ({figures}).", figures=figures)
        return Reason(7, told, settings_of(case.touching(*RATES)))
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
    figures = say(
        "training loss {share}, {series} {share2}",
        share=percent(end.share, True),
        series=curve.series,
        share2=percent(there.share, True),
    )
    found = case.touching(*GENERAL)
    rest = ""
    if found:
        rest = plural(" {names} differs and may do that.", " {names} differ and may do that.", len(found), names=listed(found))
    if end.ending == "same":
        said = say("They fit the training examples equally well and differ only in the evaluation")
        return Reason(
            6,
            say(
                "{said} ({figures}): regularisation, overfitting, or other evaluation examples.{rest}",
                said=said,
                figures=figures,
                rest=rest,
            ),
            settings_of(found),
        )
    fits = case.other if end.share < 0 else case.one
    said = say(
        "{fits_name} fits its training examples better and those of the evaluation worse ({figures})",
        fits_name=fits.name,
        figures=figures,
    )
    return Reason(7.5, say("{said}: it overfits more.{rest}", said=said, rest=rest), settings_of(found))


def _rate(rate: float) -> str:
    return short(rate) if rate else "0"
