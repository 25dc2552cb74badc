"""What all processes have to do alike: stopping, and not saving. Each votes, and each reads the same votes at the same step."""

from __future__ import annotations

from typing import Any

from lossdoctor.probes.ranks import Ranks

#: Steps after a vote by which every process has passed the row that it was about: the Trainer waits for the gradients of all
#: in each step, and for its own loss in the next.
STEPS_TO_AGREE = 2
STOP, NO_SAVING = "stop", "no saving"


class Votes:
    """The votes of this process that are not counted yet, and what came of those that were.

    `no_saving` holds from the step on in which it was agreed upon. Where one process trains alone nothing is put to the vote.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.alone = ranks.size == 1
        self.no_saving = False
        self._cast: dict[str, int] = {}

    def ask(self, what: str, step: int, wanted: bool = True) -> None:
        """Votes. It is remembered first: a vote that others may have read is kept, whatever happens."""
        if what not in self._cast:
            self._cast[what] = step
            self.ranks.vote(what, step, wanted)

    def count(self, args: Any, state: Any, control: Any, *, row: bool = False) -> None:
        """Acts on what was agreed upon. Rows are waited for where the Trainer does not look at its own loss in every step."""
        for what, step in tuple(self._cast.items()):
            if state.global_step - step < STEPS_TO_AGREE or not (row or args.logging_nan_inf_filter):
                continue
            del self._cast[what]
            agreed = self.ranks.agreed(what, step)
            if agreed and what == STOP:
                control.should_training_stop = True
            self.no_saving = self.no_saving or (agreed and what == NO_SAVING)

    def keep(self, event: str, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """For a doctor that has failed since it voted: does what the others do by its vote, else they would wait for it."""
        row = event == "on_log" and "loss" in (logs or ())
        if row or event == "on_step_end":
            self.count(args, state, control, row=row)
        if self.no_saving and not self.alone and event in ("on_step_end", "on_epoch_end"):
            control.should_save = False
