"""Steps that something happened in: the first few by number, the others counted, so that memory stays small."""

from __future__ import annotations

from dataclasses import dataclass, field

from lossdoctor.language import listed, plural, say

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
        steps = [f"{step:,}" for step in sorted(self.first)]
        which = listed(steps)
        if self.count > len(steps):
            return say(
                "in {count:,} steps up to {last:,}, the first of them {which}", count=self.count, last=self.last, which=which
            )
        return plural("in step {which}", "in steps {which}", self.count, which=which)
