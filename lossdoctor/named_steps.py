"""Steps that something happened in: the first few by number, the others counted, so that memory stays small."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Steps that are named in a message.
NAMED = 5


@dataclass
class NamedSteps:
    """Takes steps as they are told; a step that is told of again, as by another process, is still one."""

    first: list[int] = field(default_factory=list)
    count: int = 0
    last: int = 0

    def add(self, step: int) -> None:
        if step in self.first or (step <= self.last and len(self.first) >= NAMED):
            return  # told of before, or late and perhaps told of before
        self.last = max(self.last, step)
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(step)

    def __str__(self) -> str:
        """`in step 57`, `in steps 57, 58 and 121`, `in 12 steps up to 900, the first of them 3, 57, …`."""
        listed = [f"{step:,}" for step in sorted(self.first)]
        which = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + f" and {listed[-1]}"
        if self.count > len(listed):
            return f"in {self.count:,} steps up to {self.last:,}, the first of them {which}"
        return f"in {'step' if self.count == 1 else 'steps'} {which}"
