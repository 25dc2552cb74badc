"""What the benchmarks share: the machine in words, medians with quartiles, alternating rounds, and Markdown tables."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, TypeVar

import lossdoctor

Name = TypeVar("Name")
#: The unit of ru_maxrss: bytes on macOS, KiB elsewhere.
PER_MIB = 2**20 if sys.platform == "darwin" else 2**10


def machine(*packages: str) -> str:
    """The machine and the versions in one line: processor, cores this process may use, memory, system, Python, packages."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    parts = [
        f"{_processor()}, {cores} core{'s' * (cores != 1)}" + (f", {memory:.0f} GiB" if memory else ""),
        f"{platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        f"lossdoctor {lossdoctor.__version__}",
        *(f"{name} {found}" for name in packages if (found := _version(name))),
    ]
    return "; ".join(parts)


def _processor() -> str:
    """The name that the maker gave it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class Spread(NamedTuple):
    """The median of what was measured, with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of one value, itself.

        Raises:
            statistics.StatisticsError: there is no value.
        """
        found = list(values)
        middle = statistics.median(found)
        if len(found) < 2:
            return cls(middle, middle, middle)
        low, _, high = statistics.quantiles(found, n=4, method="inclusive")
        return cls(middle, low, high)

    def text(self, form: str = ".2f") -> str:
        """`1.50 (1.42 to 1.61)`; the median alone where the quartiles are no different."""
        middle, low, high = (format(value, form) for value in self)
        return middle if low == middle == high else f"{middle} ({low} to {high})"


def alternating(measures: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, list[float]]:
    """Each measure once per round, the order turned round every time, so that a machine that slows down slows all of them."""
    taken: dict[Name, list[float]] = {name: [] for name in measures}
    for turn in range(rounds):
        for name in list(measures) if turn % 2 == 0 else reversed(list(measures)):
            taken[name].append(measures[name]())
    return taken


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """The ratio of two measures of the same rounds, round by round."""
    return Spread.of(one / other for one, other in zip(over, under, strict=True))


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> str:
    """A Markdown table; the columns at the places `right` are numbers, and stand to the right."""
    numbers = set(right)
    rule = ["---:" if place in numbers else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [head, rule, *rows]) + "\n"
