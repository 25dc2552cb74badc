"""Recognises the same run in several sources by its numbers: a state file, its checkpoints, event files, what was printed."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import floor, isfinite, log10

from lossdoctor.model import Log, Record
from lossdoctor.stats import decimals, significant_digits

#: Rows that are compared: all of a shorter run; of a longer one its opening, and rows chosen by their steps alone.
OPENING, CHOSEN = 128, 128
#: Fewer rows in common, or fewer different losses among them, prove nothing.
LEAST_ROWS, LEAST_LOSSES = 5, 4
#: Digits that the poorest format prints (4 significant ones, or 4 decimals), and beyond which nothing is compared.
FEWEST_DIGITS, MOST_DIGITS = 4, 6
#: What a loss may be off by that is kept in 32 bits, as a share of it; twice, since both may be.
IN_32_BITS = 2 * 2.0**-24
#: Learning rates are printed with 4 digits as well.
RATE = 1e-3
#: Evaluations whose steps are compared.
EVALUATED = 64
#: Losses by which it is told how many digits were printed.
LOOKED_AT = 48
#: Rows whose losses, rounded, are the key under which a run is looked up; those that a shorter log has.
KEYED = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
#: A loss that is printed with 4 digits may round to another cell of 3 where it is so near to the border, as a share of a cell.
BORDER = 0.06
#: So few sources are all compared with each other; more are looked up, and at most so many that begin alike are compared.
FEW, ALIKE = 48, 512


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What of a log is compared with others, in 5 kB at most; `columns` and `digits` tell which source is the richest."""

    kind: str
    numbered: bool
    rows: int
    last_step: int
    columns: int
    digits: int
    decimals: int
    steps: array[int]
    losses: array[float]
    rates: array[float]
    evaluated: array[int]

    @property
    def worth(self) -> tuple[bool, int, int, int, int]:
        """Greater is better to judge by: with steps of its own, further, with more columns, more digits, more rows."""
        return (not self.numbered, self.last_step, self.columns, min(self.digits, 9), self.rows)


def fingerprint(log: Log) -> Fingerprint | None:
    """The fingerprint of a log; None where it has too few losses to be known by."""
    name = "loss"
    rows = [record for record in log.records if "loss" in record.values and record.kind == "train"]
    if len(rows) < LEAST_ROWS:
        name = "eval_loss"
        rows = [record for record in log.records if name in record.values and record.kind == "eval"]
    kept = _kept(rows)
    losses = [record.values[name] for record in kept]
    finite = {loss for loss in losses if isfinite(loss)}
    if len(rows) < LEAST_ROWS or len(finite) < LEAST_LOSSES:
        return None
    some = list(finite)[:LOOKED_AT]
    return Fingerprint(
        kind=log.run.kind,
        numbered=log.run.numbered,
        rows=len(rows),
        last_step=log.records[-1].step,
        columns=len({column for record in (*kept[:8], *log.records[-8:]) for column in record.values}),
        digits=max(map(significant_digits, some)),
        decimals=max(map(decimals, some)),
        steps=array("q", [min(record.step, 2**62) for record in kept]),
        losses=array("f", map(_single, losses)),
        rates=array("f", [_single(record.values.get("learning_rate", float("nan"))) for record in kept]),
        evaluated=array("q", islice((min(r.step, 2**62) for r in log.records if r.kind == "eval"), EVALUATED)),
    )


def _kept(rows: Sequence[Record]) -> list[Record]:
    """The opening, and of the rest the rows whose steps come first in an order without a pattern.

    Of two logs of one run the shorter one keeps every row that the longer one keeps of it.
    """
    rest = rows[OPENING:]
    below = 2**32
    if len(rest) > 16 * CHOSEN:  # one pass for the first halvings, unless they leave too few
        near = below >> (len(rest) // (8 * CHOSEN)).bit_length()
        some = _first(rest, near)
        rest, below = (some, near) if len(some) > CHOSEN else (rest, below)
    while len(rest) > CHOSEN:
        below //= 2
        rest = _first(rest, below)
    return [*rows[:OPENING], *rest]


def _first(rows: Sequence[Record], below: int) -> list[Record]:
    """The rows whose steps come before that place in an order without a pattern."""
    return [record for record in rows if record.step * 0x9E3779B1 % 2**32 < below]


def _single(value: float) -> float:
    """As 32 bits can hold it."""
    return value if value != value else max(-3e38, min(3e38, value))


def same(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether two logs are of one run: what both have agrees to the digits of the poorer, and one is part of the other."""
    if one.kind == other.kind and _evaluated(one, other) != _evaluated(other, one):
        return False  # a format that keeps the evaluations of one run would keep those of the other
    if one.numbered or other.numbered:
        return _agreeing(one, other, _by_place(one, other))
    from_zero = other.steps[0] - one.steps[0]  # event files of Lightning count steps from 0, its CSV is read from 1
    return _agreeing(one, other, _by_step(one, other)) or (
        abs(from_zero) == 1 and _agreeing(one, other, _by_step(one, other, from_zero))
    )


def _agreeing(one: Fingerprint, other: Fingerprint, pairs: list[Pair]) -> bool:
    """Whether these rows of both agree, and are enough of a proof."""
    digits = max(FEWEST_DIGITS, min(MOST_DIGITS, one.digits, other.digits))
    places = max(FEWEST_DIGITS, min(one.decimals, other.decimals))
    seen = set()
    for first, second, rate, rate_there in pairs:
        if not _agree(first, second, digits, places) or abs(rate - rate_there) > RATE * max(abs(rate), abs(rate_there)):
            return False  # a rate that is NaN was not logged, and speaks against nothing
        seen.add(first)
    return len(pairs) >= LEAST_ROWS and sum(map(isfinite, seen)) >= LEAST_LOSSES


def _evaluated(one: Fingerprint, other: Fingerprint) -> list[int]:
    """The evaluations of a log up to where the other one goes."""
    return [step for step in one.evaluated if step < other.last_step]


Pair = tuple[float, float, float, float]


def _by_place(one: Fingerprint, other: Fingerprint) -> list[Pair]:
    """The rows of both in their order: one of them has no steps."""
    both = zip(one.losses[:OPENING], other.losses[:OPENING], one.rates[:OPENING], other.rates[:OPENING], strict=False)
    return list(both)


def _by_step(one: Fingerprint, other: Fingerprint, later: int = 0) -> list[Pair]:
    """The rows of both at the same steps; nothing where half of the rows of each have no match, though they might.

    With `later`, the steps of the other are counted from so much more; then the openings are compared.
    """
    upto = OPENING if later else None
    steps, steps_there = one.steps[:upto], [step - later for step in other.steps[:upto]]
    there = {step: place for place, step in enumerate(steps_there)}
    pairs = [
        (one.losses[place], other.losses[match], one.rates[place], other.rates[match])
        for place, step in enumerate(steps)
        if (match := there.get(step)) is not None
    ]
    first, last = max(steps[0], steps_there[0]), min(steps[-1], steps_there[-1])
    within = min(sum(first <= step <= last for step in of_one) for of_one in (steps, steps_there))
    return pairs if 2 * len(pairs) >= within else []


def _agree(one: float, other: float, digits: int, places: int) -> bool:
    if not isfinite(one) or not isfinite(other):
        return one == other or (one != one and other != other)
    size = max(abs(one), abs(other))
    unit = 10.0 ** (floor(log10(size)) + 1 - digits) if size else 0.0
    return abs(one - other) <= 0.525 * max(unit, 10.0**-places) + IN_32_BITS * size


def _keys(print_: Fingerprint) -> list[list[int]]:
    """The keys of a log, those of its first few rows first; several each where a loss is near a border."""
    cells = [_cells(print_.losses[place]) for place in KEYED if place < min(OPENING, len(print_.losses))]
    depth = range(sum(place < LEAST_ROWS for place in KEYED), len(cells) + 1)
    return [[hash(key) for key in product(*cells[:end])] for end in depth]


def _cells(loss: float) -> tuple[float, ...]:
    """The loss rounded to 3 significant digits or 3 decimals, both ways if it is near the border."""
    if not isfinite(loss):
        return (0.0 if loss != loss else loss,)
    size = abs(loss)
    unit = max(10.0 ** (floor(log10(size)) - 2), 1e-3) if size else 1e-3
    whole = floor(loss / unit)
    part = loss / unit - whole
    if abs(part - 0.5) <= BORDER:
        return tuple(float(f"{(whole + up) * unit:.6g}") for up in (0, 1))
    return (float(f"{(whole + (part > 0.5)) * unit:.6g}"),)


class Known:
    """The logs seen so far, by what they begin with: looking one up takes no longer for 10,000 than for ten."""

    def __init__(self) -> None:
        self._prints: list[Fingerprint] = []
        self._longer: dict[int, list[int]] = defaultdict(list)  # every beginning of a log: a shorter one may be part of it
        self._whole: dict[int, list[int]] = defaultdict(list)  # the longest beginning of a log: it may be part of a longer one

    def find(self, print_: Fingerprint) -> int | None:
        """The place, in the order they were added, of a log of the same run."""
        keys = _keys(print_)
        candidates = dict.fromkeys(place for key in keys[-1] for place in self._longer.get(key, ()))
        candidates |= dict.fromkeys(place for level in keys for key in level for place in self._whole.get(key, ()))
        return next((place for place in list(candidates)[:ALIKE] if same(self._prints[place], print_)), None)

    def add(self, print_: Fingerprint) -> None:
        """Takes one more log."""
        keys, place = _keys(print_), len(self._prints)
        self._prints.append(print_)
        for key in (key for level in keys for key in level):
            self._longer[key].append(place)
        for key in keys[-1]:
            self._whole[key].append(place)


def groups(prints: Sequence[Fingerprint | None]) -> list[list[int]]:
    """The places of the logs of each run, the best source first; runs in the order of their first source.

    A branch that was resumed is another run than the one it left, though both go on from the same checkpoint.
    """
    there = [(place, found) for place, found in enumerate(prints) if found is not None]
    members = [[place] for place, found in enumerate(prints) if found is None]
    runs: list[list[int]] = []
    longest: list[Fingerprint] = []
    known = Known()
    for place, found in sorted(there, key=lambda one: -one[1].rows):
        if len(there) > FEW:
            match = known.find(found)
        else:
            match = next((run for run, of_run in enumerate(longest) if same(of_run, found)), None)
        if match is not None:
            runs[match].append(place)
            continue
        runs.append([place])
        longest.append(found)
        if len(there) > FEW:
            known.add(found)
    return sorted((sorted(run, key=lambda place: _rank(prints, place)) for run in (*runs, *members)), key=min)


def _rank(prints: Sequence[Fingerprint | None], place: int) -> tuple[tuple[int, ...], int]:
    found = prints[place]
    return tuple(-part for part in found.worth) if found else (), place
