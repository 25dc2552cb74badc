"""How many examples, epochs and optimizer steps a run has, and how they go together for small sets of data.

Few examples are seen often, and what is seen often is learned by heart: rows, epochs, rank and learning rate are one decision.
"""

from __future__ import annotations

from math import ceil

from lossdoctor.evaluations import LEARNING_JUMPS, evaluated
from lossdoctor.language import capital, say
from lossdoctor.learning_rates import GUIDE, LARGE_SCALE, LORA, USUAL_SCALE, WARM_UP, Band, against, band_of, rate_of, short
from lossdoctor.model import Chart, Outline, Remedy, Run
from lossdoctor.plan import Plan, adapter_scale
from lossdoctor.slips import numbered
from lossdoctor.tasks import adapter

#: From the second or third epoch on the evaluation gets worse at the usual rates; 1 to 3 epochs are the documented practice.
EPOCHS = 3
#: Longer training of few long examples can still help a task, up to full memorisation: the metric decides.
LONG_EPOCHS = "https://arxiv.org/html/2602.11149v1"
SMALL_BATCHES = "https://arxiv.org/html/2507.07101v2"
#: Fewer updates than this are little for any rate: the warm-up is hardly over.
FEW_STEPS = 100
#: Examples up to which a set counts as small.
SMALL_SET = 5000
#: Fewer than these are no set of data.
NO_SET = 50


def chart_of(plan: Plan) -> Chart:
    """A plan as the chart of a run without rows, for remedies that look at one."""
    epochs = plan.epochs.value if plan.epochs else None
    return Chart(plan.run, (), Outline(evals=1 if evaluated(plan.run) else 0, epochs=epochs))


def steps_are_chosen(plan: Plan) -> bool:
    """Whether somebody said how many steps, rather than how many epochs; the Trainer itself states what the epochs make."""
    steps, epochs, each = plan.get("max_steps"), plan.get("num_train_epochs"), plan.steps_per_epoch
    if not isinstance(steps, int) or steps <= 0:
        return False
    return epochs is None or each is None or steps != ceil(epochs * each.value)


def effective_batch(run: Run) -> int | None:
    """Examples per optimizer step: per device × accumulation × processes; None where the first two are not known."""
    total, each = run.get("total_train_batch_size"), run.get("per_device_train_batch_size")
    if isinstance(total, int) and total > 0:
        return total
    accumulation = run.get("gradient_accumulation_steps")
    if not isinstance(each, int) or each < 1 or not isinstance(accumulation, int):
        return None  # guessed at, the examples would be too few by a factor that nobody sees
    return each * _whole(accumulation) * _whole(run.get("world_size"))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 1 else 1


def examples(chart: Chart) -> int | None:
    """Training examples: as stated, or steps per epoch × effective batch; None where neither is known."""
    stated, steps, batch = chart.run.get("dataset_size"), chart.outline.steps_per_epoch, effective_batch(chart.run)
    if isinstance(stated, int) and stated > 0:
        return stated
    return max(1, round(steps * batch)) if steps and batch else None


def total_steps(chart: Chart) -> int | None:
    """Optimizer steps of the whole run: as planned, or as far as the log goes; None where it has no steps."""
    planned = chart.run.get("max_steps")
    if isinstance(planned, int) and planned > 0:
        return planned
    return None if chart.outline.numbered else chart.outline.last_step


def over(chart: Chart) -> bool:
    """Whether the run had done what was planned when the log ended; False where nothing says so: it may be an excerpt.

    A learning rate that has decayed to a twentieth of its peak says so as well as a plan does.
    """
    steps, epochs = chart.run.get("max_steps"), chart.run.get("num_train_epochs")
    if isinstance(steps, int) and steps > 0:
        return (chart.outline.last_step or 0) >= 0.97 * steps
    if isinstance(epochs, (int, float)) and epochs > 0 and chart.outline.epochs:
        return chart.outline.epochs >= 0.97 * epochs
    rates = chart.outline.there("rate")
    return len(rates) > 2 and rates[-1] < rates[-2] and rates[-1] <= 0.05 * max(rates)


def epochs_for(chart: Chart, steps: int) -> int | None:
    """Epochs that make at least so many optimizer steps; None where the steps per epoch are not known."""
    each = chart.outline.steps_per_epoch
    batch, rows = effective_batch(chart.run), chart.run.get("dataset_size")
    if not each and batch and isinstance(rows, int):
        each = rows / batch
    return max(1, ceil(steps / each)) if each else None


def small_set(chart: Chart) -> tuple[Remedy, ...]:
    """How often to show a few thousand examples or fewer; nothing for larger sets, or where it is not too often."""
    rows, asked = examples(chart), chart.run.get("num_train_epochs") or chart.outline.epochs or 0.0
    if rows is None or not NO_SET <= rows <= SMALL_SET or asked <= EPOCHS:
        return ()
    low = 1 if rows > 2000 else 2
    why = say(
        "at usual rates the evaluation gets worse from the second or third epoch on; ten epochs for a small set are folk advice"
    )
    do = say(
        "Show {rows:,} examples {low} to {epochs} times, and let an evaluation set decide", rows=rows, low=low, epochs=EPOCHS
    )
    change = {"num_train_epochs": EPOCHS} if chart.outline.evals else {"num_train_epochs": EPOCHS, "eval_strategy": "epoch"}
    return (Remedy(do, why, change, "low", (LEARNING_JUMPS, GUIDE, LONG_EPOCHS)),)


def rank_and_modules(chart: Chart) -> tuple[Remedy, ...]:
    """What to do about the rank of an adapter that does not learn: it is asked about most and matters least."""
    rank, rows = chart.run.get("lora_r"), examples(chart)
    if not isinstance(rank, int) or not adapter(chart.run):
        return ()
    named = chart.run.get("lora_target_modules")
    narrow = isinstance(named, list) and 0 < len(named) <= 4
    keep = (
        say("leave the rank at {rank}", rank=rank)
        if rank >= 8
        else say("raise the rank from {rank} to 8, which is enough", rank=rank)
    )
    do = say("Adapt all linear layers, and {keep}", keep=keep) if narrow else capital(keep)
    filled = say(", and {rows:,} examples do not fill it", rows=rows) if rows and rows <= SMALL_SET and rank >= 8 else ""
    why = say("rank limits what can be stored, not how fast{filled}", filled=filled)
    if narrow:
        why += say("; adapters on attention alone do worse at the same number of parameters")
    change: dict[str, object] = {"target_modules": "all-linear"} if narrow else {}
    return (Remedy(do, why, change if rank >= 8 else {**change, "r": 8}, "low", (LORA[0],)),)


def counted_rate(chart: Chart) -> float | None:
    """The peak learning rate, with as much of an adapter's scale as is unusual: B moves by the rate, and counts by the scale."""
    rate, scale = rate_of(chart), adapter_scale(chart.run)
    return rate * scale.value / USUAL_SCALE if rate and scale and scale.value > LARGE_SCALE else rate


def counted_words(chart: Chart, rate: float, band: Band) -> str:
    """That rate against those that are usual."""
    words, set_to = against(rate, band), rate_of(chart)
    if not set_to or rate == set_to:
        return words
    return say(
        "lora_alpha {alpha:g} at rank {rank} makes a rate of {set_to} count as {rate} does in most recipes: {band_words}",
        alpha=chart.run.get("lora_alpha"),
        rank=chart.run.get("lora_r"),
        set_to=short(set_to),
        rate=short(rate),
        band_words=band.words,
    )


def rate_or_scale(chart: Chart, lower: Remedy) -> tuple[Remedy, ...]:
    """The lower rate, or a usual scale of the adapter: whichever is further from what is usual."""
    rate, band, scale, counted = rate_of(chart), band_of(chart.run), usual_scale(chart), counted_rate(chart)
    off = counted / rate >= rate / band.high if scale and rate and counted and band else False
    return scale if off else (lower,)


def usual_scale(chart: Chart) -> tuple[Remedy, ...]:
    """For an adapter whose update is multiplied by far more than is usual: an alpha of twice the rank."""
    scale, rank = adapter_scale(chart.run), chart.run.get("lora_r")
    if scale is None or scale.value <= LARGE_SCALE or not isinstance(rank, int):
        return ()
    alpha = round(2 * rank**0.5) if chart.run.get("use_rslora") is True else 2 * rank
    why = say(
        "the update is multiplied by {scale_value:,.3g} ({scale_how}), and by 2 then, as in most recipes; it works like the rate",
        scale_value=scale.value,
        scale_how=scale.how,
    )
    return (Remedy(say("Set lora_alpha to {alpha}", alpha=alpha), why, {"lora_alpha": alpha}, "none", (GUIDE, LORA[0])),)


def warm_up(steps: int) -> Remedy:
    """A twentieth of the steps."""
    warm = max(1, round(0.05 * steps))
    return Remedy(
        say("Warm up over {warm}", warm=numbered(warm, "steps")),
        say("5% of {steps:,} steps", steps=steps),
        {"warmup_steps": warm},
        "none",
        (GUIDE, WARM_UP),
    )


def gentler_start(chart: Chart, onset: int | None) -> list[Remedy]:
    """A warm-up, where the climb came before one would have been over and the log shows none; clipping, where it is off."""
    steps, rates, remedies = total_steps(chart), chart.outline.there("rate"), []
    warmed = bool(rates) and rates[0] < 0.5 * max(rates)
    asked = chart.run.get("warmup_steps") or chart.run.get("warmup_ratio")
    if steps and steps >= FEW_STEPS and onset and onset <= 0.1 * steps + chart.outline.window and not asked and not warmed:
        warm = max(1, round(0.05 * steps))
        why = say("5 % of {steps:,} steps; the first steps are the longest as long as AdamW has seen few gradients", steps=steps)
        change: dict[str, object] = {"warmup_steps": warm}
        if chart.run.get("lr_scheduler_type") == "constant":
            change["lr_scheduler_type"] = "constant_with_warmup"  # plain `constant` ignores the warm-up
        remedies.append(Remedy(say("Warm up over {warm} steps", warm=warm), why, change, "none", (WARM_UP,)))
    if chart.run.get("max_grad_norm") == 0:
        why = say("gradients are not clipped; one long step is enough to leave the valley")
        remedies.append(Remedy(say("Clip the gradient norm at 1"), why, {"max_grad_norm": 1.0}, "none", (WARM_UP,)))
    return remedies
