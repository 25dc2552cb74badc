from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector
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
    the sign of neighbours. Periods of up to three rows are a warning, longer ones a note.

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
    amplitude: float = 0.04
    #: Share of what is left without the trend that the period and its harmonics must hold.
    share: float = 0.4
    probability: float = 1e-5
    cycles: int = 6
    zigzag: float = -0.6
    zigzag_amplitude: float = 0.05
    #: Correlation below which a first, cheap look ends the matter.
    first_look: float = -0.25

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self.blind(vitals):
            return
        columns = vitals.history.columns()
        steps, rows = columns["step"][-self.window :], columns["loss"][-self.window :]
        if min(rows) <= 0 or vitals.curve.recent < 0.02 * vitals.curve.start or not self._repeats(rows):
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
        period_rows, amplitude = found
        period = period_rows * per_row
        epoch = vitals.steps_per_epoch
        by_epoch = epoch is not None and abs(period / epoch - 1) < 0.1
        grouped = bool(vitals.run.get("group_by_length"))
        meaning = ": one epoch" if by_epoch else ": batches are grouped by length" if grouped else ""
        severity: Severity = "info" if by_epoch or grouped or amplitude < 0.1 or period_rows > 3 else "warning"
        yield self.symptom(
            severity,
            first,
            vitals.step,
            says=self.says.replace("{meaning}", meaning),
            amplitude=amplitude,
            period_rows=period_rows,
            period=period,
            epoch_long=float(by_epoch),
            grouped_by_length=float(grouped),
        )

    def _repeats(self, rows: Sequence[float]) -> bool:
        """A first look without numpy: whatever goes up and down is the opposite of itself half a period later."""
        level = smooth(rows, 2 * (len(rows) // 8) + 1)
        rest = [a - b for a, b in zip(rows, level, strict=True)]
        usual = 4 * MAD_TO_SD * median(abs(v) for v in rest)
        rest = [min(usual, max(-usual, v)) for v in rest]
        spread = sum([v * v for v in rest])
        for lag in range(1, len(rest) // self.cycles):
            if sum([a * b for a, b in zip(rest, rest[lag:], strict=False)]) < self.first_look * spread:
                return True
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
            return LOSS_TELLS_NOTHING
        return f"{vitals.history.rows} rows with a loss: too few to see a period" if vitals.history.rows < self.rows else None


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
