"""The four things to read before naming a cause of a zero or NaN loss: loss, gradient norm, learning rate, first row.

Causes share this reading of a chart, so that they argue about the same facts.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, NamedTuple

from lossdoctor import hardware
from lossdoctor.chance import language_model
from lossdoctor.language import say
from lossdoctor.model import Chart, Symptom

Gradient = Literal["not finite", "zero", "constant", "finite", "absent"]

_COLLAPSED = ("loss-collapse-to-zero", "loss-not-finite", "gradient-constant", "loss-scale-collapse")
#: The largest descent that is as good as none: of a curve, of an excerpt of few rows, of one with more but noisy rows.
SURELY_FLAT, FLAT_EXCERPT, FLAT_SHORT = 0.07, 0.02, 0.05
#: Rows of an excerpt that is no longer short, of a log long enough for a plateau, and steps that make up for rows.
SHORT_ROWS, LONG_ROWS, LONG_STEPS = 8, 20, 50
#: A loss at that of guessing among more answers is that of a language model.
MOST_CLASSES = 1000
#: Without a word on the number of classes, so few answers are classes.
FEW = 6
_SCATTERED = ("loss-intermittent-zero", "hidden-nan-steps")


class Still(NamedTuple):
    """A loss that does not move: the symptoms that say so, the words, and whether a descent is excluded."""

    because: tuple[Symptom, ...]
    words: str
    sure: bool


class Signs:
    """What the symptoms of a chart say about the failure, in the words of the table above."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.run = chart.run

    @cached_property
    def witnesses(self) -> tuple[Symptom, ...]:
        """The symptoms of a zero or NaN loss that did not heal by themselves, in the order they were seen."""
        found = [s for s in self.chart.all(*_COLLAPSED) if s.open]
        found += [s for s in self.chart.all("gradient-not-finite") if s.open and (s.severity != "info" or self._lasting(s))]
        found += [s for s in self.chart.all("loss-intermittent-zero") if s.severity == "critical"]
        found += [s for s in self.chart.all("eval-loss-not-finite") if s.open]
        found += [s for s in self.chart.all("learning-rate-frozen") if s.open and s.severity != "info"]
        return tuple(sorted(found, key=lambda s: s.onset))

    @staticmethod
    def _lasting(symptom: Symptom) -> bool:
        """Whether a single bad norm is the last thing that the log says."""
        return not symptom.evidence.get("finite_rows_after")

    @cached_property
    def broken(self) -> bool:
        """Whether the training itself, not the evaluation alone, lost its numbers."""
        return any(s.slug != "eval-loss-not-finite" or s.severity == "critical" for s in self.witnesses)

    @cached_property
    def still(self) -> Still | None:
        """A loss that does not move: as the plateau that was seen, or in an excerpt too short for that; None where it moves."""
        if self.broken:
            return None
        flat, outline = self.chart.seen("loss-plateau"), self.chart.outline
        if small := self.chart.seen("update-too-small"):
            because = (small, flat) if flat and flat.open else (small,)
            return Still(because, say("the weights are practically those that the training began with"), True)
        if flat and flat.open:
            sure = flat.evidence["drop_possible"] <= SURELY_FLAT
            rows = say("{rows:.0f} rows", rows=flat.evidence["rows"])
            return Still(
                (flat,),
                say("the loss has hardly moved in {rows}", rows=rows) if sure else say("no descent shows in {rows}", rows=rows),
                sure,
            )
        fallen, long = outline.fallen, (outline.last_step or 0) - (outline.first_step or 0) >= LONG_STEPS and not outline.numbered
        enough = outline.rows >= SHORT_ROWS or long or (outline.epochs or 0) >= 1
        if fallen is None or abs(fallen) > (FLAT_EXCERPT if outline.rows < SHORT_ROWS else FLAT_SHORT) or not enough:
            return None
        moving = ("loss-converged", "loss-still-falling", "loss-oscillation", "loss-divergence", "loss-noise")
        if outline.rows >= LONG_ROWS or any(self.chart.seen(slug) for slug in moving):
            return None  # long enough to be judged as a plateau, and it was not; or it moves in other ways
        words = say(
            "the loss is {first_loss:.4g} at first and {last_loss:.4g} at the end of {rows} rows",
            first_loss=outline.first_loss,
            last_loss=outline.last_loss,
            rows=outline.rows,
        )
        return Still((), words, False)

    @cached_property
    def uniform(self) -> Symptom | None:
        """A language model at the loss of guessing from its first row on: its output does not depend on its input."""
        chance = self.chart.seen("loss-at-chance")
        if chance is None or chance.evidence["answers"] <= MOST_CLASSES:
            return None
        return chance if chance.evidence["start"] > 0.97 * chance.evidence["chance"] else None

    @cached_property
    def survived(self) -> bool:
        """Whether a sound loss was logged after a gradient norm that was not finite, and nothing was lost since."""
        bad = self.chart.seen("gradient-not-finite")
        rows = self.chart.outline.table.get("step", ())
        lost = self.collapse or self.chart.seen("loss-not-finite")
        return bad is not None and lost is None and any(step > bad.onset for step in rows)

    @cached_property
    def sound_after(self) -> bool:
        """Whether an evaluation was finite after the last row that was lost."""
        evaluated = self.chart.outline.last_eval_step
        return evaluated is not None and bool(self.witnesses) and evaluated >= max(s.last for s in self.witnesses)

    @cached_property
    def scattered(self) -> tuple[Symptom, ...]:
        """Single steps without a usable loss, in a run that goes on."""
        return tuple(self.chart.all(*_SCATTERED))

    @cached_property
    def first_tensor(self) -> tuple[str, str]:
        """Where live instruments saw the NaN begin: ("output", "model.layers.3.self_attn"); two empty words where they did not.

        Of weights it is told only from the first step: later on they may be what the NaN did rather than where it began.
        """
        seen = self.chart.seen("tensor-not-finite")
        if seen is None or not seen.evidence:
            return "", ""
        what, _, name = next(iter(seen.evidence)).partition("/")
        return ("", "") if what == "parameter" and seen.onset > 1 else (what, name)

    @cached_property
    def labels_there(self) -> bool:
        """Whether every micro-batch with a NaN loss was seen to have labels."""
        live = self.chart.seen("hidden-nan-steps")
        return bool(live and live.evidence.get("labels_seen") and not live.evidence.get("unlabelled"))

    @cached_property
    def grown(self) -> float:
        """How many times its first row the loss has reached, through finite numbers; 1.0 where it was never above it."""
        first = self.chart.outline.first_loss or 0.0
        return max(1.0, max(self.chart.outline.there("loss"), default=0.0) / first) if first > 0 else 1.0

    @cached_property
    def unlabelled(self) -> bool:
        """Whether every micro-batch with a NaN loss was seen to have no labels, which explains it."""
        live = self.chart.seen("hidden-nan-steps")
        return bool(live) and live.evidence.get("unlabelled") == live.evidence.get("nonfinite_losses", 0.0) > 0  # type: ignore[union-attr]

    @cached_property
    def collapse(self) -> Symptom | None:
        return self.chart.seen("loss-collapse-to-zero")

    @cached_property
    def from_first_row(self) -> bool:
        """Whether there was never a good row."""
        losses = [s for s in self.witnesses if s.series == "loss"]
        return any(s.evidence.get("from_first_row") for s in losses or self.witnesses)

    @cached_property
    def rows(self) -> int:
        """How many rows show the failure: one row alone says nothing about when it began."""
        names = ("zero_rows", "not_finite_rows", "rows")
        return int(max((s.evidence.get(name, 1.0) for s in self.witnesses for name in names), default=0.0))

    @cached_property
    def gradient(self) -> Gradient:
        """What the gradient norm says beside the zero or NaN loss."""
        if self.chart.seen("gradient-constant"):
            return "constant"
        collapse = self.collapse.evidence if self.collapse else {}
        loss = self.chart.seen("loss-not-finite")
        bad = self.chart.seen("gradient-not-finite")
        if (
            collapse.get("gradient_not_finite_rows")
            or (loss and loss.evidence.get("gradient_not_finite_rows"))
            or (bad and bad.open)
        ):
            return "not finite"
        if collapse.get("gradient_zero_rows") or self.chart.seen("gradient-zero"):
            return "zero"
        if collapse.get("gradient_constant_rows"):
            return "constant"
        if loss and loss.evidence.get("gradient_finite_rows"):
            return "finite"
        return "absent"

    @cached_property
    def infinite_gradient(self) -> bool:
        bad = self.chart.seen("gradient-not-finite")
        return bool(bad and bad.evidence.get("infinite"))

    @cached_property
    def rate_frozen(self) -> bool:
        """Whether the learning rate stopped in the rows of the failure: the optimizer steps are skipped."""
        frozen = self.chart.seen("learning-rate-frozen")
        told = any(s.evidence.get("learning_rate_frozen") for s in self.witnesses)
        return told or bool(frozen and frozen.severity != "info")

    @cached_property
    def rate_moving(self) -> bool:
        """Whether the log shows a rate that goes on moving through the failure."""
        return not self.rate_frozen and any(s.evidence.get("learning_rate_moves", 0) > 1 for s in self.witnesses)

    @cached_property
    def eval_not_finite(self) -> bool:
        symptom = self.chart.seen("eval-loss-not-finite")
        return bool(symptom and symptom.open)

    @cached_property
    def precision(self) -> str | None:
        return hardware.precision(self.run)

    @cached_property
    def framework(self) -> str:
        return self.run.words("framework", "trainer")

    @cached_property
    def text_model(self) -> bool | None:
        """Whether tokens with labels are trained; None where neither model nor framework tells."""
        words = self.run.words("framework", "trainer", "model_name_or_path")
        if any(w in words for w in ("diffus", "kohya", "sd-scripts", "flux", "sdxl", "video", "dino", "mmcv", "cogkit", "repa")):
            return False
        trainers = ("sft", "trl", "unsloth", "llama", "hf trainer", "axolotl", "swift", "fastchat", "gpt", "qwen", "bert")
        if language_model(self.run) or any(w in words for w in trainers):
            return True
        return None


def few_answers(chart: Chart) -> bool:
    """Whether the loss stands at that of guessing among classes rather than tokens."""
    chance, run = chart.seen("loss-at-chance"), chart.run
    if chance is None:
        return False
    return chance.evidence["answers"] <= MOST_CLASSES if run.get("num_labels") else chance.evidence["answers"] <= FEW
