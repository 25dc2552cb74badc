"""What a plan says, a line for each quantity, in plain strings: each format only arranges them."""

from __future__ import annotations

from lossdoctor import slips
from lossdoctor.comparison.course import PER_EXAMPLES
from lossdoctor.comparison.defaults import is_configuration
from lossdoctor.language import later, say
from lossdoctor.plan import Plan, Quantity
from lossdoctor.planned_rates import PlannedRate


def lines(plan: Plan) -> dict[str, str]:
    """Each quantity by its name: "effective batch size" → "128"; nothing for one that is not known."""
    rates = plan.rates if plan.rates and (not plan.rates.assumed or is_configuration(plan.run)) else None
    return {
        say("effective batch size"): _count(plan.effective_batch),
        say("steps per epoch"): _count(plan.steps_per_epoch),
        say("epochs"): f"{plan.epochs.value:.3g}" if plan.epochs else "",
        say("optimizer steps"): _steps(plan),
        say("warm-up steps"): _count(plan.warmup),
        say("examples seen"): _count(plan.examples_seen),
        say("tokens seen, at most"): _large(plan.tokens_seen),
        say("learning rate"): slips.plain(_digits(plan.get("learning_rate"))) if plan.get("learning_rate") else "",
        say("schedule"): str(plan.get("lr_scheduler_type") or ""),
        say("mean learning rate"): slips.short(_digits(rates.mean())) if rates else "",
        say("last learning rate"): _last(rates) if rates else "",
        say("adapter scale (alpha / rank)"): f"{plan.adapter_scale.value:.4g}" if plan.adapter_scale else "",
        say("trained layers"): plan.trained_layers.words if plan.trained_layers else "",
        say("precision"): plan.precision or "",
    }


def assumed(plan: Plan) -> list[str]:
    """What nobody stated and was taken as usual, each once."""
    known = (plan.effective_batch, plan.epochs, plan.total_steps)
    words = [words for quantity in known if quantity for words in quantity.assumed]
    words += plan.rates.assumed if plan.rates and is_configuration(plan.run) else ()
    return list(dict.fromkeys(words))


def _steps(plan: Plan) -> str:
    """In total, or for so many examples of the data, whose number is not known."""
    if plan.total_steps is None and plan.steps_per_example is not None and is_configuration(plan.run):
        return say(
            "{steps_per_example:.4g} per {per_examples:,} examples",
            steps_per_example=plan.steps_per_example * PER_EXAMPLES,
            per_examples=PER_EXAMPLES,
        )
    return _count(plan.total_steps)


def _last(rates: PlannedRate) -> str:
    """Less than a hundredth of the peak is nothing."""
    return slips.short(_digits(rates.last)) if rates.last >= 0.01 * rates.peak else say("nearly 0")


def _digits(rate: float) -> float:
    """Three digits: nobody chooses a rate with more."""
    return float(f"{rate:.3g}")


def _count(quantity: Quantity | None) -> str:
    return f"{quantity.value:,.0f}" if quantity else ""


def _large(quantity: Quantity | None) -> str:
    if quantity is None:
        return ""
    value = quantity.value
    for unit, name in ((1e12, later("{number} trillion")), (1e9, later("{number} billion")), (1e6, later("{number} million"))):
        if value >= unit:
            return say(name, number=f"{value / unit:.3g}")
    return f"{value:,.0f}"
