"""What the processes of one training tell each other, without any of them ever waiting for another.

They leave notes in the store that they met at (`torch.distributed` has one for its own needs). A collective would hang where one
process has no doctor, or one whose doctor has failed; a note that nobody reads does no harm.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import torch

#: Notes of one process: the first ones tell where it began, and a store keeps them all.
NOTES = 256
#: How often each training was begun in this process, so that the notes of one are not taken for those of the next.
_begun: Counter[str] = Counter()


class Ranks:
    """The processes of the training that begins now; alone where there is but one.

    Args:
        training: what all of them call it. Where they count it differently, since one of them had no doctor before, they do not
            hear each other, which is safe: nothing is ever waited for, and no vote counts.
    """

    def __init__(self, training: str) -> None:
        _begun[training] += 1
        self.rank, self.size, self._store, self._heard, self._left = 0, 1, None, 0, NOTES
        self._training, self._number = f"lossdoctor/{training}", str(_begun[training])
        self._name = f"{self._training}/{self._number}"
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
            if self.size > 1:
                with suppress(Exception):  # some backends have no store: then each process is on its own
                    store = distributed.distributed_c10d._get_default_store()
                    store.set(f"{self._training}/now/{self.rank}", self._number)
                    self._store = store

    def tell(self, step: int, values: dict[str, float]) -> None:
        """Leaves a note of what this process saw in a step."""
        if self._store is not None and self._left > 0:
            self._left -= 1
            number = self._store.add(f"{self._name}/notes", 1)
            self._store.set(f"{self._name}/note/{number}", json.dumps([step, values]))

    def heard(self) -> list[tuple[int, dict[str, float]]]:
        """The notes of all processes since the last call: step and values. Never waits for one."""
        found: list[tuple[int, dict[str, float]]] = []
        if self._store is None:
            return found
        for number in range(self._heard + 1, self._store.add(f"{self._name}/notes", 0) + 1):
            key = f"{self._name}/note/{number}"
            if not self._store.check([key]):
                break  # counted, and not written yet: next time
            self._heard = number
            step, values = json.loads(self._store.get(key))
            found.append((step, values))
        return found

    def vote(self, what: str, step: int, wanted: bool = True) -> None:
        """Says that this process would do something, and whether it wants it, judged by what it saw in that step."""
        if self._store is not None:
            if wanted:
                self._store.add(f"{self._name}/{what}/{step}/wanted", 1)
            self._store.add(f"{self._name}/{what}/{step}", 1)

    def agreed(self, what: str, step: int) -> bool:
        """Whether all would do it and one wants it. To be asked when each must have passed that step, and by all alike."""
        if self.size == 1:
            return True
        store, name = self._store, f"{self._name}/{what}/{step}"
        if store is None or store.add(name, 0) != self.size or not store.add(f"{name}/wanted", 0):
            return False
        keys = [f"{self._training}/now/{rank}" for rank in range(self.size)]  # votes may be those of a training that is over
        return store.check(keys) and all(store.get(key).decode() == self._number for key in keys)
