from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.base import Detector
from lossdoctor.chance import Chance, known_chance, nearest_chance
from lossdoctor.language import say
from lossdoctor.model import Severity, Symptom
from lossdoctor.stats import MAD_TO_SD, median
from lossdoctor.trend import smooth
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossAtChance(Detector):
    """The loss stands at the value of blind guessing.

    ## What it watches
    The last part of `loss` against ln(vocabulary) of a language model, ln(classes) of a classifier, ln 2 of a preference
    pair. Where these are not known, a curve that was flat from the start says so by itself if its rows hardly scatter and
    it lies close to ln of two to six classes (3.5 % for two and three, whose logarithms are far apart) or of a common
    vocabulary (0.3 %): uniform answers give every batch the same loss. Rows that scatter by less than 0.3 % may lie up to 3.5 %
    below ln(vocabulary), since a model that ignores its input still learns which tokens are rare. A loss that was
    well below and has risen to chance is critical: all that the model knew is gone.

    ## Why it matters
    At chance the output no longer depends on the input. A learning rate far too high, an attention backend that is broken
    on this GPU, weights that were not loaded, or labels that have nothing to do with the input.

    ## What it misses
    A model that only learned how frequent each token is: that is below ln(vocabulary). Training from scratch starts at
    chance by nature, so that needs many steps before it is told.
    """

    incident = "flat"
    says = "the loss stands at {level:.4g}, that of guessing among {answers:,.0f} {kind} ({chance:.4g})"
    says_inferred = (
        "the loss stands at {level:.4g}, within {within} of what guessing among {answers:,.0f} {kind} gives ({chance:.4g})"
    )
    says_lost = (
        "the loss rose from {start:.4g} to {level:.4g}, within {within} of what guessing among {answers:,.0f} {kind} gives"
    )
    rows: int = 8
    #: Rows that average so many steps speak for themselves where the number of classes is known.
    few_rows: int = 3
    steps_of_a_row: int = 100
    #: Distance to chance that counts as being there: where it is known, and where it is inferred.
    near_known: float = 0.015
    near_two_or_three: float = 0.035
    near_classes: float = 0.012
    near_tokens: float = 0.003
    #: Rows that scatter this little say that the output does not depend on the batch; then the level may lie a little below
    #: chance, because rare tokens have been found to be rare.
    frozen: float = 0.003
    below_chance: float = 0.035
    #: Largest scatter of the rows, as a share of the level, from which chance is inferred.
    scatter: float = 0.012
    scatter_after_drop: float = 0.004
    #: Largest fall over the last rows that still counts as standing.
    falling: float = 0.01
    steps_from_scratch: int = 60
    #: A start below this share of chance had learned something.
    lost: float = 0.8

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        chance = known_chance(vitals.run, vitals.task)
        few = (
            chance is not None
            and chance.kind == "classes"
            and (vitals.usual_window >= self.steps_of_a_row or vitals.run.numbered)
        )
        if not vitals.loss_tells or vitals.history.rows < (self.few_rows if few else self.rows):
            return
        columns = vitals.history.columns()
        loss, steps = columns["loss"], columns["step"]
        tail = min(len(loss), max(self.rows - 2, int(0.3 * len(loss))))
        late = loss[-tail:]
        level = median(late)
        chance = chance or nearest_chance(level, vitals.run)
        if chance is None or level <= 0:
            return
        half = len(late) // 2
        off = abs(level - chance.loss) / chance.loss
        if off > max(self.near_known, self.below_chance, self.near_two_or_three, self.near_classes, self.near_tokens):
            return
        if (median(late[:half]) - median(late[-half:])) / level > self.falling:
            return
        scatter = MAD_TO_SD * median(abs(value - level) for value in late) / level
        from_start = vitals.trend is not None and vitals.trend.drop < 0.05
        if not self._there(chance, level, off, scatter, from_start, vitals):
            return
        if from_start and vitals.step < self.steps_from_scratch and 0 < vitals.progress < 0.5:
            return
        near = max(0.005, 4 * scatter) * level
        away = [place for place, value in enumerate(smooth(loss, 5)) if abs(value - level) > near]
        onset = steps[min(away[-1] + 1, len(steps) - 1)] if away else steps[0]
        first = min(loss[:2])
        severity: Severity = "critical" if first < self.lost * chance.loss and level > first else "warning"
        yield self.symptom(
            severity,
            max(1, int(onset) - vitals.usual_window + 1),
            vitals.step,
            says=self.says_lost if severity == "critical" else self.says if chance.known else self.says_inferred,
            words={"kind": say(chance.kind), "within": f"{max(off, 0.001):.1%}"},
            level=level,
            answers=float(chance.answers),
            chance=chance.loss,
            off=off,
            known=float(chance.known),
            start=first,
            scatter=scatter,
        )

    def _there(self, chance: Chance, level: float, off: float, scatter: float, from_start: bool, vitals: Vitals) -> bool:
        standing = vitals.trend is not None and vitals.trend.late_low > -2 * self.frozen
        frozen = scatter <= self.frozen and standing and level < chance.loss and off <= self.below_chance
        if chance.known:
            return off <= self.near_known or frozen
        if chance.kind == "classes":  # a descent may end near the logarithm of some small number by accident
            near = self.near_two_or_three if chance.answers <= 3 else self.near_classes
            if abs(vitals.curve.start - chance.loss) > 2 * near * chance.loss:
                return False  # it came from elsewhere
            return off <= near and from_start and scatter <= self.scatter
        return frozen or (off <= self.near_tokens and scatter <= (self.scatter if from_start else self.scatter_after_drop))
