"""One trial: break it, let lossdoctor say what to change, change just that, and train again."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from trials.faults import Trial
from trials.recipe import Recipe
from trials.training import COMMON, Outcome, plain, run

#: How far above the control a cured run may be on held-out text, and how far above it a broken one must be.
CLOSE = 1.05


def planned(recipe: Recipe) -> tuple[int, int]:
    """Examples of a step, and examples that the run sees."""
    settings = {**COMMON, "gradient_accumulation_steps": 1, "max_steps": -1, **recipe.settings}
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    steps = settings["max_steps"]
    return batch, round(steps * batch if steps > 0 else settings["num_train_epochs"] * recipe.examples)


def within_budget(recipe: Recipe, examples: int) -> Recipe:
    """No more examples than the broken run saw: what a remedy asks beyond that is cut off."""
    batch, wanted = planned(recipe)
    return recipe if wanted <= examples else recipe.with_settings({"max_steps": examples // batch})


def change(recipe: Recipe, outcome: Outcome) -> tuple[Recipe | None, str]:
    """The recipe with the settings of the first remedy; None and the reason if they cannot be put into it."""
    if outcome.settings is None:
        return None, "no diagnosis" if not outcome.cause else "no remedy"
    if not outcome.settings:
        return None, "the first remedy has no settings"
    for name, value in outcome.settings.items():
        if reason := recipe.why_not(name, value):
            return None, reason
    changed = recipe.with_settings(outcome.settings)
    return (changed, "") if changed != recipe else (None, "the first remedy changes nothing")


def attempt(work: tuple[Trial, float]) -> dict[str, Any]:
    """Both runs of a trial, and whether it is cured; the control's held-out loss is given."""
    trial, control = work
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        broken = run(trial.broken, Path(first))
        changed, reason = change(trial.broken, broken)
        cured = None
        if changed is not None:
            changed = within_budget(changed, planned(trial.broken)[1])
            again = isinstance(broken.settings, dict) and broken.settings.get("resume_from_checkpoint")
            if again:
                changed = replace(changed, stop_at=0.0)
            cured = run(changed, Path(first if again else second))
    result = {"broken": plain(broken), "cured": plain(cured) if cured else None, "control": control}
    harm = not broken.heldout <= CLOSE * control
    return {**result, "harm": harm, "why_not": reason if cured is None else why_not(cured, control)}


def why_not(cured: Outcome, control: float) -> str:
    """Why a run is not cured; an empty word if it is."""
    if cured.error:
        return cured.error
    if not math.isfinite(cured.heldout):
        return "held-out loss is not finite"
    reasons = [f"held-out loss {cured.heldout / control - 1:+.0%}"] if cured.heldout > CLOSE * control else []
    if cured.verdict != "healthy":
        reasons.append(f"{cured.verdict}: {', '.join(s for s in cured.symptoms if '(info' not in s and 'closed' not in s)}")
    return "; ".join(reasons)
