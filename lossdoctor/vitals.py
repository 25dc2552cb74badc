"""The vitals of a run: computed once per row and handed to every detector.

Level and noise of the loss, the usual gradient norm, how the learning rate moves, how far apart the rows are, and what
kind of training this is. Memory does not grow with the run.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from statistics import median

from lossdoctor.model import Record, Run
from lossdoctor.stats import MAD_TO_SD, RunningMedian, decimals, significant_digits
from lossdoctor.tasks import SUPERVISED, task_of_columns, task_of_run

#: A row equal to its own four-decimal rounding may hide a loss below 5e-5 (transformers before 5 rounds like that).
FOUR_DECIMALS = 5e-5
FULL_PRECISION = 1e-7
#: NaN in one of these says that the model gives NaN; a reward function may give NaN for tasks that are not its own.
REWARD_COLUMNS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/", "kl")
#: Schedules that have neither a flat peak nor a flat floor.
FALLS_AT_ONCE = ("linear", "cosine")


class Vitals:
    """What the rows so far say; every attribute is about the row just observed unless it says otherwise."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.task = task_of_run(run)
        self.rows = 0  # training rows
        self.evals = 0
        self.first_step: int | None = None
        self.step = 0
        self.previous_step = 0
        self.window = 1  # optimizer steps that the row averages over
        self.epoch: float | None = None
        # The last values of this row, None where the row does not have the column.
        self.loss: float | None = None
        self.grad_norm: float | None = None
        self.learning_rate: float | None = None
        # Which columns the log has at all.
        self.has_loss = self.has_grad_norm = self.has_learning_rate = False
        # Loss: only finite, non-zero rows count.
        self.clean_rows = 0
        self.last_clean: float | None = None
        self.noise_before = 0.0  # without the step to the last clean row
        self.clean_step = self.clean_window = 0  # the last clean row: its last step and how many it covers
        self.clean_grad_norm: float | None = None
        self.rounded = True
        self._levels = RunningMedian(9)
        self._recent: deque[float] = deque(maxlen=4)
        self._changes = RunningMedian(64)
        self.finite_gradients = 0  # rows with a finite, non-zero gradient norm
        # Learning rate.
        self.rate_max = 0.0
        self.rate_previous: float | None = None
        self.rate_repeats = 0  # rows running with the rate of the row before, to the last digit
        self.rate_moves = 0  # rows running in which the rate changed, up to this row or to the first repeat
        self.rate_slope = 0.0  # change per step between the last two different rates
        self._steepest = [0.0, 0.0]  # falling, rising: a warm-up is often a hundred times steeper than the decay
        self.rate_digits = self.rate_decimals = 0
        self.last_rate_above_zero = 0.0
        self.frozen_since = 0  # first step whose row repeats the rate of the row before
        self.sound_step = 0  # the last row with a finite, non-zero loss and no sign of NaN in its gradient
        # Evaluation.
        self.eval_finite_step: int | None = None
        self.eval_loss: float | None = None  # the last finite one
        self.eval_not_finite: set[str] = set()  # the evaluation sets whose last loss was not finite
        self.reward_nan = False  # rewards or log probabilities of this row are NaN
        self._faint: deque[bool] = deque(maxlen=30)
        self._windows = RunningMedian(31)

    @property
    def level(self) -> float:
        """Median of the last nine clean losses; 0.0 before the first."""
        return self._levels.median

    @property
    def level_before(self) -> float:
        """Median of the three clean losses before the last one, which may already be half NaN; 0.0 before the second."""
        before = list(self._recent)[:-1]
        return median(before) if before else 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of the loss around its trend: from first differences, which a slow trend hardly touches."""
        return MAD_TO_SD * self._changes.median / 2**0.5

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
    def supervised(self) -> bool:
        return self.task == SUPERVISED

    def rate_frozen(self, moves: int = 2) -> bool:
        """Whether the rate repeats to the last digit after `moves` rows or more in which it moved.

        At the peak or on the floor of a schedule a repeat says nothing; a rate that was still moving says it all. The
        move that is missing must also be larger than the printed digits could hide.
        """
        rate = self.learning_rate
        if not rate or not self.rate_repeats or self.rate_moves < moves:
            return False
        if moves == 1 and self.frozen_since <= self.sound_step:
            return False  # beside a failure it counts only if it began with it: before, it is the floor of a schedule
        if rate == self.rate_max and self.run.get("lr_scheduler_type") not in FALLS_AT_ONCE:
            return False
        if abs(self.rate_slope) < 0.1 * self._steepest[self.rate_slope > 0]:
            return False
        hidden = abs(self.rate_slope) * (self.step - self.frozen_since + self.window)
        return hidden > 2 * rate * 10.0 ** (1 - self.rate_digits)

    def observe(self, record: Record) -> None:
        """Takes the next row."""
        values = record.values
        if self.supervised and self.rows < 20:
            self.task = task_of_columns(values) or self.task
        if record.epoch is not None:
            self.epoch = record.epoch
        if record.kind == "eval":
            self._observe_eval(record)
        if record.kind != "train":
            return
        self.rows += 1
        if self.first_step is None:
            self.first_step = record.step
        self.previous_step, self.step = self.step, record.step
        distance = self.step - self.previous_step
        every = self.run.get("logging_steps") if self.rows == 1 else None
        if isinstance(every, float) and 1 <= every < distance:
            distance = int(every)  # the log begins late: its first row covers no more than the others
        if distance > 0:
            self.window = distance
            self._windows.push(distance)
        self.loss = values.get("loss")
        self.grad_norm = values.get("grad_norm")
        self.reward_nan = not self.supervised and any(v != v for k, v in values.items() if k.startswith(REWARD_COLUMNS))
        self.learning_rate = values.get("learning_rate")
        if self.loss is not None:
            self._observe_loss(self.loss)
        if self.grad_norm is not None:
            self._observe_gradient(self.grad_norm)
        if self.learning_rate is not None:
            self._observe_rate(self.learning_rate)
        if self.loss and isfinite(self.loss) and (self.grad_norm is None or isfinite(self.grad_norm)):
            self.sound_step = self.step

    def _observe_eval(self, record: Record) -> None:
        self.evals += 1
        for name, value in record.values.items():
            if is_eval_loss(name):
                if isfinite(value):
                    self.eval_finite_step, self.eval_loss = record.step, value
                    self.eval_not_finite.discard(name)
                elif len(self.eval_not_finite) < 64:
                    self.eval_not_finite.add(name)

    def _observe_loss(self, loss: float) -> None:
        self.has_loss = True
        if isfinite(loss):
            self._faint.append(abs(loss) <= 100 * self.loss_resolution)
        if not isfinite(loss) or loss == 0.0:
            return
        if self.rounded and decimals(loss) > 4:
            self.rounded = False
        self.noise_before = self.noise
        if self.last_clean is not None:
            self._changes.push(abs(loss - self.last_clean))
        self._levels.push(loss)
        self._recent.append(loss)
        self.last_clean = loss
        self.clean_step, self.clean_window, self.clean_grad_norm = self.step, self.window, self.grad_norm
        self.clean_rows += 1

    def _observe_gradient(self, norm: float) -> None:
        self.has_grad_norm = True
        if isfinite(norm) and norm > 0:
            self.finite_gradients += 1

    def _observe_rate(self, rate: float) -> None:
        self.has_learning_rate = True
        if not isfinite(rate):
            return
        previous, self.rate_previous = self.rate_previous, rate
        self.rate_max = max(self.rate_max, rate)
        self.last_rate_above_zero = rate or self.last_rate_above_zero
        if rate == previous:
            if not self.rate_repeats:
                self.frozen_since = self.step
            self.rate_repeats += 1
            return
        if self.rate_digits < 8:  # a repr per row only until the digits are known to be many
            self.rate_digits = max(self.rate_digits, significant_digits(rate))
            self.rate_decimals = max(self.rate_decimals, decimals(rate))
        if previous is not None:
            self.rate_slope = (rate - previous) / self.window
            rising = self.rate_slope > 0
            self._steepest[rising] = max(self._steepest[rising], abs(self.rate_slope))
            self.rate_moves = 1 if self.rate_repeats else self.rate_moves + 1
        self.rate_repeats = 0


def is_eval_loss(name: str) -> bool:
    """Whether a column is the loss of an evaluation set: `eval_loss`, or `eval_<set>_loss` where there are several."""
    return name == "eval_loss" or (name.startswith("eval_") and name.endswith("_loss"))
