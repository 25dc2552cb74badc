"""How many examples, epochs and optimizer steps a run has, and how they go together for small sets of data.

Few examples are seen often, and what is seen often is learned by heart: rows, epochs, rank and learning rate are one decision.
"""

from __future__ import annotations

from math import ceil

from lossdoctor.learning_rates import GUIDE, LORA, WARM_UP
from lossdoctor.model import Chart, Remedy, Run
from lossdoctor.tasks import adapter

#: From the second or third epoch on the evaluation gets worse at the usual rates; 1 to 3 epochs are the documented practice.
EPOCHS = 3
LEARNING_JUMPS = "https://www.fast.ai/posts/2023-09-04-learning-jumps/"
#: Longer training of few long examples can still help a task, up to full memorisation: the metric decides.
LONG_EPOCHS = "https://arxiv.org/html/2602.11149v1"
SMALL_BATCHES = "https://arxiv.org/html/2507.07101v2"
#: Fewer updates than this are little for any rate: the warm-up is hardly over.
FEW_STEPS = 100
#: Examples up to which a set counts as small.
SMALL_SET = 5000


def effective_batch(run: Run) -> int | None:
    """Examples per optimizer step: per device × accumulation × processes; None where the first is not known."""
    total, each = run.get("total_train_batch_size"), run.get("per_device_train_batch_size")
    if isinstance(total, int) and total > 0:
        return total
    if not isinstance(each, int) or each < 1:
        return None
    return each * _whole(run.get("gradient_accumulation_steps")) * _whole(run.get("world_size"))


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
    """What a few thousand examples or fewer ask for; nothing for larger sets."""
    rows, lora = examples(chart), adapter(chart.run)
    if rows is None or rows > SMALL_SET:
        return ()
    rank = chart.run.get("lora_r")
    asked = chart.run.get("num_train_epochs") or chart.outline.epochs or EPOCHS
    remedies = [
        Remedy(
            f"Give {rows:,} examples {1 if rows > 2000 else 2} to {EPOCHS} epochs, and let an evaluation set decide",
            "at usual rates the evaluation gets worse from the second or third epoch on; ten epochs for a small set are folk "
            "advice that the evidence does not support in general (it helped with long reasoning traces)",
            {"num_train_epochs": EPOCHS, "eval_strategy": "epoch"} if asked > EPOCHS else {"eval_strategy": "epoch"},
            "low",
            (LEARNING_JUMPS, GUIDE, LONG_EPOCHS),
        )
    ]
    if lora and isinstance(rank, int):
        remedies.append(_modules(chart, rank, rows))
    return tuple(remedies)


def _modules(chart: Chart, rank: int, rows: int) -> Remedy:
    """What to do about the rank, which is asked about most and matters least."""
    named = chart.run.get("lora_target_modules")
    everywhere = named in ("all", "all-linear") or (isinstance(named, list) and len(named) > 4)
    keep = f"leave the rank at {rank}" if rank >= 8 else f"raise the rank from {rank} to 8, which is enough"
    do = keep[:1].upper() + keep[1:] if everywhere else f"Adapt all linear layers, and {keep}"
    why = f"rank limits what can be stored, not how fast, and {rows:,} examples do not fill it"
    if not everywhere:
        why += "; adapters on attention alone do worse at the same number of parameters"
    settings = {} if everywhere else {"target_modules": "all-linear"}
    return Remedy(do, why, settings if rank >= 8 else {**settings, "r": 8}, "low", (LORA[0],))


def gentler_start(chart: Chart, onset: int | None) -> list[Remedy]:
    """A warm-up, where the climb came before one would have been over and the log shows none; clipping, where it is off."""
    steps, rates, remedies = total_steps(chart), chart.outline.there("rate"), []
    warmed = bool(rates) and rates[0] < 0.5 * max(rates)
    asked = chart.run.get("warmup_steps") or chart.run.get("warmup_ratio")
    if steps and onset and onset <= 0.1 * steps + chart.outline.window and not asked and not warmed:
        warm = max(1, round(0.05 * steps))
        why = f"5 % of {steps:,} steps; the first steps are the longest as long as AdamW has seen few gradients"
        remedies.append(Remedy(f"Warm up over {warm} steps", why, {"warmup_steps": warm}, "none", (WARM_UP,)))
    if chart.run.get("max_grad_norm") == 0:
        why = "gradients are not clipped; one long step is enough to leave the valley"
        remedies.append(Remedy("Clip the gradient norm at 1", why, {"max_grad_norm": 1.0}, "none", (WARM_UP,)))
    return remedies
