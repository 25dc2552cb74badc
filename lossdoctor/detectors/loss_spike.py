from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, counted
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossSpike(Detector):
    """The loss jumps up from one row to the next.

    ## What it watches
    `loss` against its level (the median of the last five rows) and its noise (from differences between rows, so that a
    trend does not count). A spike must be far outside the noise, a tenth of the level at least, and larger than any jump of
    the last 256 rows. It ends when two rows are back. It is a note where it is lower than the level itself and
    brief, and where a single row has an ordinary gradient norm: that is a hard batch. A loss that stays up is
    critical once it is half as high again as before and no better than at the start, or has doubled. From the third spike
    on they are one warning, until 200 rows have passed without another. In logs of two to five rows a loss that becomes 2.5
    times as high, and stays half as high again, is a note.

    ## Why it matters
    A spike that heals costs little: one bad batch, or a step that was too long. Spikes that come again say that the learning
    rate is at its limit; one that does not heal has destroyed what was learned.

    ## What it misses
    With many steps per row a short spike drowns in the average. In runs whose rows scatter by half their value only a
    multiple of the level can be told from noise.
    """

    incident = "rise"
    says = "the loss jumps from {before:.4g} to {peak:.4g} at step {onset:,} and is back after {rows:.0f} rows"
    says_now = "the loss jumps from {before:.4g} to {peak:.4g} at step {onset:,}"
    says_lasting = (
        "the loss jumps from {before:.4g} to {peak:.4g} at step {onset:,} and does not come back: {now:.4g} at step {last:,}"
    )
    says_again = (
        "the loss jumped up {spikes:.0f} times between steps {onset:,} and {last:,}, up to {peak:.4g}; it came back each time"
    )
    says_excerpt = "the loss jumps from {before:.4g} to {peak:.4g} at step {onset:,}, and is {now:.4g} in the last row"
    rows: int = 5
    deviations: float = 8.0
    #: Fewer differences make the noise less certain: the bar is `deviations` × (1 + this / differences).
    uncertainty: float = 4.0
    share_of_level: float = 0.10
    largest_before: float = 1.5
    #: Back: below the level before plus this share of the jump, or of the level where the jump is larger, in two rows.
    back: float = 0.25
    #: A single row whose gradient norm is below this many times the usual one is a hard batch, however high it is.
    gradient_jump: float = 2.0
    rows_to_last: int = 8
    steps_to_last: int = 300
    doubled: float = 2.0
    lasting: float = 1.5
    spikes_to_warn: int = 3
    #: After so many rows without another one they are over.
    quiet_rows: int = 200
    #: A spike that comes back at once counts as one of several from this share of the level on: hard batches are lower.
    tall: float = 0.5
    #: In a log of at most `rows` rows: so many times as high, and 0.6 of that for good; losses below the second are scatter.
    jump_in_excerpt: float = 2.5
    least_in_excerpt: float = 1.0

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._base = self._noise = self._peak = 0.0
        self._up = self._below = self._steps = self._onset = 0
        self._spikes = self._quiet = 0
        self._onsets: list[int] = []
        self._highest = 0.0
        self._calm = False
        self._last_step = self._last_spike = self._back_at = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        loss, curve = vitals.loss, vitals.curve
        if self._spikes >= self.spikes_to_warn and not self._up:
            self._quiet += 1
            if self._quiet in (1, self.quiet_rows):  # told once, and closed once
                return self._recurrent()
        if not self._up and loss is not None and loss - curve.recent_before <= self.share_of_level * abs(curve.recent):
            return None
        if loss is None or not vitals.loss_tells or vitals.repeated or curve.rows <= self.rows:
            return None
        if self._up:
            return None if self._broken(loss, vitals) else self._follow(loss, vitals)
        if vitals.step - vitals.restarted < 4 * vitals.window:
            return None  # a restarted run: see resume-jump
        base = curve.recent_before
        if loss - base <= self.share_of_level * curve.scale or not loss < float("inf"):
            return None
        if loss - base <= self.largest_before * curve.largest_residual:
            return None  # asked first: the noise costs more
        noise = curve.noise
        if loss - base <= self.deviations * (1 + self.uncertainty / max(1, curve.changes - 1)) * noise:
            return None
        self._base, self._noise, self._peak = base, noise, loss
        self._up, self._below, self._steps = 1, 0, vitals.window
        self._onset = vitals.step - vitals.window + 1
        norms = sorted(vitals.norms)
        self._calm = bool(norms) and (vitals.grad_norm or 0.0) < self.gradient_jump * norms[len(norms) // 2]
        self._last_step = vitals.step
        self._symptom = self._state(vitals, self.says_now)
        return self._symptom

    def _broken(self, loss: float, vitals: Vitals) -> bool:
        """Whether the row is NaN, or a zero that is no way back: then the episode stays as it was."""
        return loss != loss or (loss == 0.0 and abs(self._base) > 100 * vitals.loss_resolution)

    def _follow(self, loss: float, vitals: Vitals) -> Symptom | None:
        """One more row of an open episode."""
        self._steps += vitals.window
        height = min(self._peak - self._base, self._scale(vitals))
        if loss - self._base < max(3 * self._noise, self.back * height):
            self._below += 1
            if self._below == 1:
                self._back_at = vitals.previous_step
            return self._close(vitals) if self._below >= 2 else None
        self._up += 1 + self._below
        self._below = 0
        self._peak = max(self._peak, loss) if loss < float("inf") else self._peak
        self._last_step = vitals.step
        known, self._symptom = self._symptom, self._state(vitals)
        worse = known is None or RANK[self._symptom.severity] > RANK[known.severity]
        return self._symptom if worse else None

    def _close(self, vitals: Vitals) -> Symptom | None:
        state = self._state(vitals, self.says)
        hard_batch = self._calm and self._up == 1
        tall = not hard_batch and (state.severity != "info" or self._peak - self._base > self.tall * self._scale(vitals))
        self._up = 0
        self._symptom = None
        closed = replace(state, open=False, last=self._back_at)
        if not tall or state.evidence["lasting"]:
            return closed
        self._spikes += 1
        self._quiet = 0
        self._onsets = [*self._onsets, self._onset][:50]  # later ones are only counted
        self._highest = max(self._highest, self._peak)
        self._last_spike = self._last_step
        return closed

    def _recurrent(self) -> Symptom:
        evidence: dict[str, Any] = {"spikes": float(self._spikes), "peak": self._highest}
        again = self.symptom("warning", self._onsets[0], self._last_spike, says=self.says_again, **evidence)
        return replace(again, open=self._quiet < self.quiet_rows, steps=tuple(self._onsets))

    def _lasts(self) -> bool:
        return self._up >= self.rows_to_last or (self._up >= 3 and self._steps >= self.steps_to_last)

    def _state(self, vitals: Vitals, says: str | None = None) -> Symptom:
        lasts = self._lasts()
        now = vitals.curve.recent if self._up >= 3 else vitals.loss or 0.0
        severity = self._severity(now, vitals)
        says = self.says_lasting if lasts else says or self.says_now
        evidence: dict[str, Any] = {"before": self._base, "peak": self._peak, "now": now, "noise": self._noise}
        evidence |= {"rows": float(self._up), "steps": float(self._steps), "lasting": float(lasts)}
        return self.symptom(severity, self._onset, self._last_step, says=says, **evidence)

    def _scale(self, vitals: Vitals) -> float:
        """What the jump is measured against: the level before it, or a fifth of the start where that has become small."""
        return max(abs(self._base), 0.2 * vitals.curve.start)

    def _severity(self, now: float, vitals: Vitals) -> Severity:
        height, scale = self._peak - self._base, self._scale(vitals)
        if self._lasts():
            risen = now - self._base
            ruined = risen > (self.doubled - 1) * scale or (risen > (self.lasting - 1) * scale and now >= vitals.curve.start)
            return "critical" if ruined else "warning"
        if self._up == 1 and self._calm:
            return "info"
        return "warning" if height > scale or (self._up >= 3 and height > self.tall * scale) else "info"

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._spikes >= self.spikes_to_warn:
            yield self._recurrent()
        if self._up and self._symptom is not None:
            yield self._state(vitals)
        elif vitals.curve.rows <= self.rows and vitals.supervised and vitals.clean_step == vitals.step:
            yield from self._excerpt(vitals)

    def _excerpt(self, vitals: Vitals) -> Iterable[Symptom]:
        """A jump in so few rows that there is no noise to hold it against."""
        losses, steps = vitals.history.columns()["loss"], vitals.history.columns()["step"]
        for place in range(1, len(losses)):
            before, high = max(losses[:place]), self.jump_in_excerpt * max(losses[:place])
            if before > 0 and losses[place] >= max(high, self.least_in_excerpt) and min(losses[place:]) >= 0.6 * high:
                evidence: dict[str, Any] = {"before": before, "peak": max(losses), "now": losses[-1], "excerpt": 1.0}
                evidence["logged"] = float(len(losses))
                onset = max(1, int(steps[place]) - vitals.usual_window + 1)
                yield self.symptom("info", onset, vitals.step, says=self.says_excerpt, **evidence)
                return

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        if vitals.curve.rows <= self.rows:
            return say("{rows} with a usable loss: too few to tell a jump from noise", rows=counted(vitals.curve.rows, "row"))
        return None
