from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from operator import mul, sub
from typing import TYPE_CHECKING, Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, counted
from lossdoctor.language import say
from lossdoctor.model import Severity, Symptom
from lossdoctor.stats import MAD_TO_SD, median
from lossdoctor.trend import smooth
from lossdoctor.vitals import Vitals

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(eq=False, repr=False)
class LossOscillation(Detector):
    """The loss goes up and down with a period.

    ## What it watches
    The last 512 rows of `loss` without their trend: one frequency, with its harmonics, must hold most of what is left, in
    both halves of the rows alike, at least six times over, with an amplitude above 4 %. A zig-zag from row to row is told by
    the sign of neighbours. Periods of up to three rows are a warning, longer ones a note. In logs of 12 to 31 rows a period that
    comes three times and explains nearly all of the scatter is a note; less is asked where batches are grouped by length.

    ## Why it matters
    The period says why. An epoch long: the data comes in the same order every time. Shorter and constant: batches grouped by
    length, or data of several kinds in turn. From row to row: steps so long that they jump over the valley, which is the
    edge of stability; a lower learning rate ends it.

    ## What it misses
    With several steps per row only periods of more than two rows can be seen, and a shorter one may appear as a longer one.
    """

    incident = "scatter"
    says = "the loss swings by ±{amplitude:.0%} with a period of {period_rows:.3g} rows ({period:.4g} steps){meaning}"
    says_zigzag = "the loss goes up and down from row to row, by ±{amplitude:.0%}: the steps jump across the valley"
    rows: int = 32
    window: int = 512
    #: While the run goes on, the first look is at so many rows.
    recent_rows: int = 128
    amplitude: float = 0.04
    #: Share of what is left without the trend that the period and its harmonics must hold.
    share: float = 0.4
    probability: float = 1e-5
    cycles: int = 6
    zigzag: float = -0.6
    zigzag_amplitude: float = 0.05
    #: In shorter logs: least rows and cycles, and the share of the scatter that the period may leave unexplained.
    rows_if_clear: int = 12
    cycles_if_clear: int = 3
    unexplained: float = 0.04
    unexplained_if_grouped: float = 0.3
    amplitude_if_clear: float = 0.08
    #: Correlation below which a first, cheap look ends the matter.
    first_look: float = -0.25

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return self.finish(vitals, distances=4, recent=self.recent_rows)  # longer periods are notes, for the end

    def finish(self, vitals: Vitals, distances: int = 512, recent: int = 512) -> Iterable[Symptom]:
        if not vitals.loss_tells or vitals.history.rows < self.rows:
            clear = self._clear_period(vitals)
            if clear is not None:
                steps = vitals.history.columns()["step"]
                yield self._state(vitals, *clear, (steps[-1] - steps[0]) / (len(steps) - 1), vitals.first_step or 1)
            return
        columns = vitals.history.columns()
        steps, rows = columns["step"][-self.window :], columns["loss"][-self.window :]
        if min(rows) <= 0 or vitals.curve.recent < 0.02 * vitals.curve.start or not self._repeats(rows[-recent:], distances):
            return
        import numpy as np

        rest = _without_trend(np.log(np.array(rows)))
        spread = float((rest**2).sum())
        if spread <= 1e-12:
            return
        neighbours = float((rest[1:] * rest[:-1]).sum()) / spread
        per_row = float(steps[-1] - steps[0]) / (len(steps) - 1)
        first = max(1, int(steps[0] - per_row) + 1)
        if neighbours < self.zigzag:
            amplitude = float(np.median(np.abs(rest)))
            if amplitude > self.zigzag_amplitude:
                yield self.symptom(
                    "warning", first, vitals.step, says=self.says_zigzag, amplitude=amplitude, period_rows=2.0, period=2 * per_row
                )
            return
        found = self._period(rest)
        if found is None:
            return
        yield self._state(vitals, *found, per_row, first)

    def _state(self, vitals: Vitals, period_rows: float, amplitude: float, per_row: float, first: int) -> Symptom:
        """What is said of a period of more than two rows."""
        period, epoch = period_rows * per_row, vitals.steps_per_epoch
        by_epoch = epoch is not None and abs(period / epoch - 1) < 0.1
        grouped = bool(vitals.run.get("group_by_length"))
        meaning = say(": one epoch") if by_epoch else say(": batches are grouped by length") if grouped else ""
        short = vitals.history.rows < self.rows
        severity: Severity = "info" if by_epoch or grouped or short or amplitude < 0.1 or period_rows > 3 else "warning"
        return self.symptom(
            severity,
            first,
            vitals.step,
            words={"meaning": meaning},
            amplitude=amplitude,
            period_rows=period_rows,
            period=period,
            epoch_long=float(by_epoch),
            grouped_by_length=float(grouped),
        )

    def _clear_period(self, vitals: Vitals) -> tuple[float, float] | None:
        """Period in rows and amplitude in a log that is too short for a spectrum, where nothing else is left to see."""
        losses = vitals.history.columns()["loss"]
        n = len(losses)
        if n < self.rows_if_clear or not vitals.loss_tells or min(losses) <= 0:
            return None
        rest = _without_line([log(loss) for loss in losses])
        total = sum([v * v for v in rest]) / (n - 2)
        most = self.unexplained_if_grouped if vitals.run.get("group_by_length") else self.unexplained
        best: tuple[float, int, float] = (inf, 0, 0.0)
        for period in range(2, n // self.cycles_if_clear + 1):
            means = [sum(rest[k::period]) / len(rest[k::period]) for k in range(period)]
            left = sum([(v - means[place % period]) ** 2 for place, v in enumerate(rest)]) / (n - period - 2)
            if left < 0.5 * best[0]:  # a multiple of a period explains as much
                best = (left, period, (max(means) - min(means)) / 2)
        left, period, amplitude = best
        if period < 3 or left > most * total or amplitude < self.amplitude_if_clear:
            return None
        return float(period), amplitude

    def _repeats(self, rows: Sequence[float], distances: int) -> bool:
        """A first look without numpy: whatever goes up and down is the opposite of itself 0.3 to 0.7 periods later."""
        level = smooth(rows, 2 * (len(rows) // 8) + 1)
        rest = list(map(sub, rows, level))
        usual = 4 * MAD_TO_SD * median(map(abs, rest))
        rest = [v if -usual <= v <= usual else usual if v > 0 else -usual for v in rest]
        spread = sum(map(mul, rest, rest))
        lag = 1
        while lag < min(distances, len(rest) // self.cycles):
            if sum(map(mul, rest, rest[lag:])) < self.first_look * spread:
                return True
            lag += max(1, lag // 6)  # near enough to miss no period
        return False

    def _period(self, rest: NDArray[Any]) -> tuple[float, float] | None:
        """Period in rows and amplitude (half of the swing, as a share of the level), or None where there is none."""
        import numpy as np

        n = len(rest)
        power = np.abs(np.fft.rfft(rest)) ** 2
        power[: self.cycles] = 0.0
        peak = int(power.argmax())
        total = float(power.sum())
        if total <= 0:
            return None
        largest = float(power[peak]) / total
        frequencies = int((power > 0).sum())
        if frequencies * exp((frequencies - 1) * log(max(1e-300, 1 - largest))) > self.probability:  # Fisher's g test
            return None
        held = sum(float(power[max(0, k * peak - 1) : k * peak + 2].sum()) for k in (1, 2, 3) if k * peak < len(power))
        if held / (n * float((rest**2).sum()) / 2) < self.share:
            return None
        phase = np.exp(-2j * np.pi * peak * np.arange(n) / n)
        halves = [2 * abs((rest[part] * phase[part]).sum()) / (n // 2) for part in (slice(0, n // 2), slice(n // 2, n))]
        amplitude = float(2 * abs((rest * phase).sum()) / n)
        if min(halves) < 0.5 * max(halves) or amplitude < self.amplitude:
            return None
        return n / peak, amplitude

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        few = vitals.history.rows < self.rows and self._clear_period(vitals) is None
        rows = counted(vitals.history.rows, "row")
        return say("{rows} with a usable loss: too few to see a period", rows=rows) if few else None


def _without_line(y: Sequence[float]) -> list[float]:
    """What a straight line leaves."""
    n, mean = len(y), sum(y) / len(y)
    slope = sum([(place - (n - 1) / 2) * v for place, v in enumerate(y)]) / (n * (n * n - 1) / 12)
    return [v - mean - slope * (place - (n - 1) / 2) for place, v in enumerate(y)]


def _without_trend(y: NDArray[Any]) -> NDArray[Any]:
    """What a smooth descent (a cubic in time and in the logarithm of time) leaves."""
    import numpy as np

    t = np.linspace(0, 1, len(y))
    late = np.log1p(np.arange(len(y), dtype=float)) / np.log1p(len(y))
    design = np.stack([np.ones_like(t), t, t**2, t**3, late, late**2], axis=1)
    width = 4 * MAD_TO_SD * float(np.median(np.abs(np.diff(y)))) + 1e-9
    fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    calm = np.clip(y, fit - width, fit + width)
    rest: NDArray[Any] = calm - design @ np.linalg.lstsq(design, calm, rcond=None)[0]
    return rest
