"""Remedies that have to do with evaluation: to have one, to keep its best checkpoint, and to stop there."""

from __future__ import annotations

from typing import Any

from lossdoctor.language import say
from lossdoctor.metrics import less_is_better
from lossdoctor.model import Chart, Remedy, Run

LEARNING_JUMPS = "https://www.fast.ai/posts/2023-09-04-learning-jumps/"
#: With 1,000 examples and 15 epochs the likelihood got worse while answers got better.
LIMA = "https://arxiv.org/abs/2305.11206"
#: Share by which a metric must be better than at the lowest loss.
GAIN = 0.005


def as_often(chart: Chart) -> dict[str, Any]:
    """Settings that evaluate and save as often as the run evaluated; every epoch where it did not."""
    steps, outline = chart.outline.eval_gap, chart.outline
    by_epoch = outline.steps_per_epoch and steps and abs(steps / outline.steps_per_epoch - 1) < 0.05
    if chart.run.get("eval_strategy") == "epoch" or outline.numbered or not steps or steps == 1 or by_epoch:
        return {"eval_strategy": "epoch", "save_strategy": "epoch"}
    return {"eval_strategy": "steps", "eval_steps": steps, "save_strategy": "steps", "save_steps": steps}


def evaluated(run: Run) -> bool | None:
    """Whether it is planned to evaluate while it trains; None where nothing is said of it."""
    strategy = run.words("eval_strategy").rpartition(".")[2]
    if strategy:
        return strategy != "no"
    return True if run.get("eval_steps") and "axolotl" in run.words("framework") else None


def hold_out(epochs: int | None = None) -> Remedy:
    """For a run without evaluation; with the number of epochs to train for as long as there is none."""
    why = say("the training loss no longer tells how good the model is; a tenth of the rows, kept apart, does")
    change: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    if epochs:
        change["num_train_epochs"] = epochs
        do = say("Hold out some rows, evaluate on them, and train for {epochs} epochs", epochs=epochs)
        return Remedy(do, why, change, "low", (LEARNING_JUMPS,))
    return Remedy(say("Hold out some rows and evaluate on them"), why, change, "low", (LEARNING_JUMPS,))


def better_metric(chart: Chart) -> str | None:
    """The metric that has gained most since the evaluation loss was at its lowest; None where none has."""
    gains = {name: _gain(name, *values) for name, values in chart.outline.metrics.items()}
    name = max(gains, key=gains.__getitem__, default=None)
    return name if name and gains[name] > GAIN else None


def _gain(name: str, at_best: float, now: float) -> float:
    change = at_best - now if less_is_better(name) else now - at_best
    return change / max(abs(at_best), 0.01)
