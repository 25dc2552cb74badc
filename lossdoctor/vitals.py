"""The vitals of a run: computed once per row and handed to every detector.

Level and noise of the loss, the usual gradient norm, how the learning rate moves, how far apart the rows are, and what
kind of training this is. Memory does not grow with the run.
"""

from __future__ import annotations

from collections import deque
from math import inf, isfinite
from typing import TYPE_CHECKING

from lossdoctor import probe_columns
from lossdoctor.columns import Columns
from lossdoctor.curve import Curve
from lossdoctor.history import History
from lossdoctor.metrics import metrics_of
from lossdoctor.model import Outline, Record, Run
from lossdoctor.rates import Rates
from lossdoctor.stats import RunningMedian, decimals, median
from lossdoctor.tasks import REINFORCEMENT, SUPERVISED, task_of_columns, task_of_run
from lossdoctor.trend import Trend, trend_of

if TYPE_CHECKING:
    from lossdoctor.stretch import Stretch

#: A row equal to its own four-decimal rounding may hide a loss below 5e-5 (transformers before 5 rounds like that).
FOUR_DECIMALS = 5e-5
FULL_PRECISION = 1e-7
#: When so many rows are rounded, all of them are: a look at the digits of each takes time.
ROWS_WITH_DIGITS = 64
#: NaN in one of these says that the model gives NaN; a reward function may give NaN for tasks that are not its own.
REWARD_COLUMNS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/", "kl")
NOTHING = float("nan")
#: Steps running without one finite loss after which the run does not come back by itself: a batch without labels or an
#: overflow is single, a scaler in fp16 may skip a few more.
FOR_GOOD, FOR_GOOD_IN_FP16 = 4, 8
#: A row that many times its level is looked at closely.
STRIKING = 1.5
#: An epoch goes back no further than its rounding.
EPOCH_BACK = 0.005
#: Columns that tell of the loss scaler.
SCALERS = ("loss_scale", "grad_scale", "skipped_steps")


class Vitals:
    """What the rows so far say; every attribute is about the row just observed unless it says otherwise."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._know_task(task_of_run(run))
        self._resumed = frozenset(run.resumed_at)
        self.rows = 0  # training rows
        self.evals = 0
        self.first_step: int | None = None
        self.begin = 1  # the first step that the first row covers
        self.step = 0
        self.previous_step = 0
        self.window = 1  # optimizer steps that the row averages over
        self.epoch: float | None = None
        self.first_epoch: float | None = None
        # The last values of this row, None where the row does not have the column.
        self.loss: float | None = None
        self.grad_norm: float | None = None
        self.learning_rate: float | None = None
        # Which columns the log has at all.
        self.has_loss = self.has_grad_norm = self.has_learning_rate = False
        # Loss: only finite, non-zero rows count.
        self.clean_rows = 0
        self.last_clean: float | None = None
        self.clean_step = self.clean_window = 0  # the last clean row: its last step and how many it covers
        self.clean_grad_norm: float | None = None
        self.rounded = True
        self._recent: deque[float] = deque(maxlen=9)
        self.finite_gradients = 0  # rows with a finite, non-zero gradient norm
        self.norms: deque[float] = deque(maxlen=10)  # the last that were finite and above 0
        self.rates = Rates(run.get("lr_scheduler_type"))
        # The last stretch of steps running in which a probe saw NaN losses: where it began and ended, how many steps it has,
        # and whether all micro-batches of them were NaN.
        self.nonfinite_since: int | None = None
        self.nonfinite_last = self.nonfinite_steps = 0
        self.nonfinite_throughout = True
        self.sound_step = 0  # the last row with a finite, non-zero loss and no sign of NaN in its gradient
        # Evaluation.
        self.eval_finite_step: int | None = None
        self.eval_gap: int | None = None
        self._eval_step = 0
        self.eval_loss: float | None = None  # the last finite one
        self.eval_first: float | None = None
        self.eval_best = 0.0
        self._metrics_at_best: dict[str, float] = {}
        self._metrics: dict[str, float] = {}
        self._eval_since_best = 0
        self._eval_before_best = float("nan")
        self.eval_not_finite: set[str] = set()  # the evaluation sets whose last loss was not finite
        self.reward_nan = False  # rewards or log probabilities of this row are NaN
        self._faint_below = 100 * FOUR_DECIMALS
        self._faint: deque[bool] = deque(maxlen=30)
        self._windows = RunningMedian(31)
        self._same_windows = 0
        self.restarted = -(10**9)  # the step of the last row at which the run began anew
        # The shape of the curve.
        self.curve = Curve()
        self.history = History()
        self.columns = Columns()  # of preference tuning and reinforcement learning
        self._trend: tuple[int, Trend | None] = (-1, None)
        self.repeated = False  # the row repeats the loss before and has nothing else: a table with a row per evaluation
        self.sound = False  # the row has nothing that could point to NaN, zeros or a loss scaler
        self._total = float(run.get("max_steps") or 0)

    @property
    def level(self) -> float:
        """Median of the last nine clean losses; 0.0 before the first."""
        return median(self._recent) if self._recent else 0.0

    @property
    def level_before(self) -> float:
        """Median of the three clean losses before the last one, which may already be half NaN; 0.0 before the second."""
        before = list(self._recent)[-4:-1]
        return median(before) if before else 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of the loss around its trend: from second differences, which no trend touches."""
        return self.curve.jitter

    @property
    def noise_before(self) -> float:
        """The same without the last clean loss, which may already be half NaN."""
        return self.curve.jitter_before

    @property
    def usual_window(self) -> int:
        """Steps between rows: the median of the last 31 distances."""
        return max(1, round(self._windows.median)) if len(self._windows) else 1

    @property
    def loss_resolution(self) -> float:
        """The largest loss that this log may print as exactly 0."""
        return FOUR_DECIMALS if self.rounded else FULL_PRECISION

    @property
    def faint_share(self) -> float:
        """Share of the 30 rows before this one that were at or near 0; 0.0 where there are fewer than eight."""
        before = len(self._faint) - 1
        return (sum(self._faint) - self._faint[-1]) / before if before >= 8 else 0.0

    @property
    def trend(self) -> Trend | None:
        """What the whole curve did; None with fewer than ten rows. Worked out once per row, on demand."""
        if self._trend[0] != self.history.rows:
            self._trend = (self.history.rows, trend_of(self.history))
        return self._trend[1]

    @property
    def eval_fell(self) -> float:
        """Share by which the best evaluation loss is below the first; 0.0 without two of them."""
        return (self.eval_first - self.eval_best) / abs(self.eval_first) if self.eval_first else 0.0

    @property
    def eval_improving(self) -> bool:
        """Whether the evaluation loss has fallen by 1 % or more, and was at its best in one of the last two evaluations."""
        return self.eval_fell >= 0.01 and self._eval_since_best <= 1

    @property
    def eval_holds(self) -> bool:
        """Whether the last of two or more evaluation losses is at most 5 % above the best.

        Or it is the first one above the best, and lower than the one before that: what one evaluation shows may be chance.
        """
        last = self.eval_loss
        if last is None or self.evals < 2:
            return False
        return last <= 1.05 * self.eval_best or (self._eval_since_best == 1 and last < self._eval_before_best)

    @property
    def random_batches(self) -> bool:
        """Whether the rows are of random batches, and of one training from its first step on: then a climb is one."""
        run = self.run
        ordered = run.get("group_by_length") or run.get("train_sampling_strategy") not in (None, "random")
        return self.supervised and not (ordered or self.begins_late or run.resumed_at)

    @property
    def lost(self) -> bool:
        """Whether the log ends in rows that are NaN, zero or without a usable gradient."""
        return self.step - self.sound_step > 3 * self.usual_window

    @property
    def begins_late(self) -> bool:
        """Whether the log leaves out the beginning of the run: by its first step, or its first epoch where rows are numbered."""
        if self.run.numbered and self.first_epoch is not None and self.epoch is not None:
            each = (self.epoch - self.first_epoch) / max(1, self.rows - 1)
            return self.first_epoch > 3 * each + 0.05
        return (self.first_step or 0) > 3 * self.usual_window + 1

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in one epoch; None before a tenth of an epoch, or where no epoch is logged."""
        return self.step / self.epoch if self.epoch and self.epoch > 0.1 and self.step else None

    @property
    def progress(self) -> float:
        """Share of the run that is done; 0.0 where `max_steps` is not known."""
        return self.step / self._total if self._total > 0 else 0.0

    def outline(self) -> Outline:
        """The course of the log so far, for the causes."""
        return Outline(
            rows=self.rows,
            evals=self.evals,
            first_step=self.first_step,
            last_step=self.step,
            window=self.usual_window,
            epochs=self.epoch,
            first_loss=self.history.columns()["loss"][0] if self.history.rows else None,
            last_loss=self.last_clean,
            level=self.curve.recent if self.curve.rows else None,
            first_eval=self.eval_first,
            best_eval=self.eval_best if self.eval_first is not None else None,
            last_eval=self.eval_loss,
            begins_late=self.begins_late,
            numbered=self.run.numbered,
            table=self.history.columns(),
            ends=self.columns.ends(),
            metrics={name: (self._metrics_at_best.get(name, value), value) for name, value in self._metrics.items()},
            last_eval_step=self.eval_finite_step,
            eval_gap=self.eval_gap,
            reward_nan=self.reward_nan,
        )

    def rate_frozen(self, moves: int = 2) -> bool:
        """Whether the learning rate stands still although its schedule was moving it, see `Rates.frozen`.

        With `moves` of 1, for a row that has failed, it counts only if it began with the failure: before, it is the floor of
        a schedule.
        """
        if moves == 1 and self.rates.frozen_since <= self.sound_step:
            return False
        return self.learning_rate is not None and self.rates.frozen(self.step, self.window, moves)

    def observe(self, record: Record) -> None:
        """Takes the next row."""
        values, kind, step, epoch = record.values, record.kind, record.step, record.epoch
        if kind == "probe":
            self._observe_probe(record)
            return
        if self.rows < 20 and self.supervised:
            self._know_task(task_of_columns(values) or self.task)
        if epoch is not None:
            if kind == "train" and self.epoch is not None and epoch < self.epoch - EPOCH_BACK:
                self.restarted = step
            self.epoch = epoch
            if self.first_epoch is None:
                self.first_epoch = epoch
        if kind == "eval":
            self._observe_eval(record)
        if kind != "train":
            return
        self.rows += 1
        if self.rows == 1:
            self._begin(step)
        if step in self._resumed:
            self.restarted = step
        distance = step - self.step
        self.previous_step, self.step = self.step, step
        if distance > 0 and (distance != self.window or self._same_windows <= self._windows.window):
            self._observe_distance(distance)
        self.loss = loss = values.get("loss")
        self.grad_norm = norm = values.get("grad_norm")
        self.learning_rate = rate = values.get("learning_rate")
        if not self.supervised:
            self.reward_nan = any(v != v for k, v in values.items() if k.startswith(REWARD_COLUMNS))
            self.columns.see(values)
        there = loss is not None and isfinite(loss)
        if there:
            self._observe_loss(loss)  # type: ignore[arg-type]
        elif loss is not None:
            self.has_loss = True
        if norm is not None:
            self.has_grad_norm = True
            if not isfinite(norm):
                norm = None
            elif norm > 0:
                self.norms.append(norm)
                self.finite_gradients += 1
        if rate is not None:
            self.has_learning_rate = True
        if rate is not None and isfinite(rate):
            self.rates.push(rate, step, self.window)
            if self.rates.restarted == step:
                self.restarted = step
        there = there and loss != 0.0
        whole = there and (norm is not None or self.grad_norm is None)
        if whole:
            self.sound_step = step
        self.sound = (
            whole
            and rate != 0.0
            and norm != 0.0
            and not (norm is not None and len(self.norms) > 1 and norm == self.norms[-2])
            and not (self.rates.repeats and self.rate_frozen())
            and not loss > STRIKING * self.curve.recent_before  # type: ignore[operator]
            and self.restarted != step
            and "loss_scale" not in values
            and "grad_scale" not in values
            and "skipped_steps" not in values
        )
        if there and not self.repeated:
            nan = NOTHING
            row = (
                step,
                nan if self.epoch is None else self.epoch,
                loss,
                nan if rate is None else rate,
                nan if norm is None else norm,
            )
            self.history.push(row)  # type: ignore[arg-type]

    @property
    def evenly(self) -> bool:
        """Whether rows have been equally far apart for long: then it is not looked at their distances any more."""
        return self._same_windows > self._windows.window

    def skip(self, stretch: Stretch) -> None:
        """Goes on to the state that `observe` with each row of a stretch would lead to."""
        columns, rows = stretch.columns, stretch.rows
        losses, norms, rates, epochs = columns["loss"], columns.get("grad_norm"), columns.get("learning_rate"), columns["epoch"]
        self.curve.skip(stretch)
        self.rows += rows
        self.clean_rows += rows
        self.previous_step, self.step = columns["step"][-2:]
        self.sound_step = self.clean_step = self.step
        self.clean_window = self.window
        if epochs[-1] is None:
            epochs = [NOTHING if self.epoch is None else self.epoch] * rows
        else:
            self.epoch = epochs[-1]
        self.loss = self.last_clean = losses[-1]
        self._recent.extend(losses[-9:])
        self._faint.extend([-self._faint_below <= loss <= self._faint_below for loss in losses[-30:]])
        self.grad_norm = self.clean_grad_norm = norms[-1] if norms else None
        self.learning_rate = rates[-1] if rates else None
        if norms:
            self.has_grad_norm = True
            self.norms.extend(norms[-10:])
            self.finite_gradients += rows
        if rates:
            self.has_learning_rate = True
            if rates[-1] == self.rates.value:
                self.rates.stay(rows, columns["step"][0])
            else:
                slopes = stretch.slopes[-2:].tolist()
                self.rates.fall(rows, rates[-1], (slopes[0], slopes[1]), float(stretch.slopes.min()))
        self.history.extend(columns["step"], epochs, (stretch.loss, stretch.rate, stretch.norm))

    @property
    def nonfinite_for_good(self) -> bool:
        """Whether a probe has seen no finite loss for so many steps running that the run is lost."""
        needed = FOR_GOOD_IN_FP16 if self.run.get("fp16") is True else FOR_GOOD
        return self.nonfinite_throughout and self.nonfinite_steps >= needed

    def watches(self, what: str) -> bool:
        """Whether an instrument saw that in the steps of the row just observed."""
        watched = self.run.watched
        return bool(watched) and self.step >= watched.get(what, inf)

    def _observe_probe(self, record: Record) -> None:
        bad = record.values.get(probe_columns.NONFINITE_LOSSES)
        if bad and self.nonfinite_since is not None and record.step == self.nonfinite_since - 1:
            self.nonfinite_since = record.step  # another process saw it first, and its note came later
        if not bad or record.step <= self.nonfinite_last:
            return  # nothing new: other processes tell of the same step
        if record.step > self.nonfinite_last + 1 or self.nonfinite_since is None:
            self.nonfinite_since, self.nonfinite_steps, self.nonfinite_throughout = record.step, 0, True
        self.nonfinite_last = record.step
        self.nonfinite_steps += 1
        self.nonfinite_throughout &= bad >= record.values.get(probe_columns.MICRO_BATCHES, 1.0)

    def _know_task(self, task: str) -> None:
        self.task = task
        self.supervised = task == SUPERVISED
        #: Whether the loss measures how well the model does; in reinforcement learning it does not.
        self.loss_tells = task != REINFORCEMENT

    def _begin(self, step: int) -> None:
        """The first row: a log that begins late has a first row that covers no more steps than the others."""
        self.first_step = step
        every = self.run.get("logging_steps")
        if isinstance(every, float) and 1 <= every < step:
            self.step = step - int(every)
        self.begin = self.step + 1

    def _observe_distance(self, distance: int) -> None:
        self._same_windows = self._same_windows + 1 if distance == self.window else 0
        self.window = distance
        self._windows.push(distance)

    def _observe_eval(self, record: Record) -> None:
        self.evals += 1
        if record.step > self._eval_step:
            self.eval_gap = record.step - self._eval_step if self._eval_step else None
            self._eval_step = record.step
        for name, value in record.values.items():
            if is_eval_loss(name):
                self._metrics = metrics_of(record.values, name) or self._metrics
                if isfinite(value):
                    before, self.eval_loss, self.eval_finite_step = self.eval_loss, value, record.step
                    if before is None:
                        self.eval_first = self.eval_best = value
                        self._metrics_at_best = self._metrics
                    elif value < self.eval_best:
                        self.eval_best, self._eval_before_best, self._eval_since_best = value, before, 0
                        self._metrics_at_best = self._metrics
                    else:
                        self._eval_since_best += 1
                    self.eval_not_finite.discard(name)
                elif len(self.eval_not_finite) < 64:
                    self.eval_not_finite.add(name)

    def _observe_loss(self, loss: float) -> None:
        self.has_loss = True
        self._faint.append(-self._faint_below <= loss <= self._faint_below)
        if loss == 0.0:
            return
        if self.rounded and self.clean_rows < ROWS_WITH_DIGITS and decimals(loss) > 4:
            self.rounded = False
            self._faint_below = 100 * FULL_PRECISION
        self.repeated = loss == self.last_clean and self.grad_norm is None and self.learning_rate is None
        if not self.repeated:
            self.curve.push(loss, self.step)
        self._recent.append(loss)
        self.last_clean = loss
        self.clean_step, self.clean_window, self.clean_grad_norm = self.step, self.window, self.grad_norm
        self.clean_rows += 1


def is_eval_loss(name: str) -> bool:
    """Whether a column is the loss of an evaluation set: `eval_loss`, or `eval_<set>_loss` where there are several."""
    return name == "eval_loss" or (name.startswith("eval_") and name.endswith("_loss"))
