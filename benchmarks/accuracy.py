"""How many simulated faults are found, how late, and how often a healthy run is accused; known rules beside ours.

python benchmarks/accuracy.py                       # every table, a minute or two; --markdown FILE writes them as a page
python benchmarks/accuracy.py --kind divergence --rows 30,100 --only ours --misses
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two processes share two cores
sys.path.insert(0, str(Path(__file__).parent))

from known_rules import END_RULES, ONLINE_RULES, missing_rules
from simulator import CARD_ROWS, FAULTS, HEALTHY, REMARKS, Curve, simulate
from table import machine, markdown

from lossdoctor.engine import Engine
from lossdoctor.model import RANK, Symptom

#: The share of `--runs` at many rows, where a run takes longer.
FEWER = ((1000, 3), (300, 2))
WORKERS = 2
#: Rules are compared on these; the other healthy families and faults are ours alone.
JUMPS, CLIMBS, ENDS = "spike_recovering", "divergence", ("plateau_high", "stuck_at_chance", "converged", "still_falling")
PLATEAU = frozenset({"loss-plateau", "loss-at-chance"})
#: What stands above the tables on their page.
PAGE = """\
# What is found in simulated curves

Curves of fine-tunes as `benchmarks/simulator.py` draws them, healthy ones of ten kinds and faults with a known onset, in logs \
of n rows.
Thresholds were set with these curves in sight, so the figures are optimistic; those on fresh seeds, on trained models and on \
public runs, beside other tools, are on the page of the [peers](peers.md).

Measured with `{again}` on {machine}.
"""
UPWARD = frozenset({"loss-spike", "loss-divergence"})


@dataclass
class Outcome:
    """What was said about one curve."""

    kind: str
    rows: int
    seed: int
    found: bool = False
    loud: bool = False  # found as a warning or worse
    delay: int | None = None  # rows; None where it was found only at the end
    onset_error: float | None = None  # rows
    early: bool = False  # an expected symptom before the fault
    warned: frozenset[str] = frozenset()  # symptoms of any time that were a warning or worse
    remarked: frozenset[str] = frozenset()
    failed: tuple[str, ...] = ()
    upward: list[tuple[int, bool]] = field(default_factory=list)  # row and loudness of every upward alarm of ours
    standing: frozenset[str] = frozenset()  # open at the end
    alarms: dict[str, list[int]] = field(default_factory=dict)  # of known rules
    flags: dict[str, bool] = field(default_factory=dict)
    onset_row: int | None = None
    end_row: int | None = None


def judge(job: tuple[str, int, int], rules: bool) -> Outcome:
    """Feeds one curve to the engine, and to the known rules where it is one they are compared on."""
    curve = simulate(*job)
    outcome = Outcome(*job)
    outcome.onset_row = None if curve.onset is None else curve.row_of(curve.onset)
    outcome.end_row = None if curve.end is None else curve.row_of(curve.end)
    try:
        _ours(curve, outcome)
    except Exception as error:  # a broken engine must not hide which curve broke it
        outcome.failed = (f"engine: {type(error).__name__}: {error}",)
    if rules and (curve.kind in HEALTHY or curve.kind in (JUMPS, CLIMBS)):
        outcome.alarms = {name: rule(curve.losses) for name, rule in ONLINE_RULES.items()}
    if rules and (curve.kind == "standard" or curve.kind in ENDS):
        outcome.flags = {name: rule(curve.losses) for name, rule in END_RULES.items()}
    return outcome


def _ours(curve: Curve, outcome: Outcome) -> None:
    engine = Engine(curve.run)
    expected = FAULTS.get(curve.kind, frozenset())
    first = outcome.onset_row or 0
    worst: dict[str, int] = {}
    matching: list[Symptom] = []
    false_starts: set[tuple[str, str, int]] = set()
    row = -1
    for record in curve.records:
        row += record.kind == "train"
        for symptom in engine.observe(record):
            worst[symptom.slug] = max(worst.get(symptom.slug, 0), RANK[symptom.severity])
            if symptom.slug in UPWARD and symptom.open:
                outcome.upward.append((row, RANK[symptom.severity] > 0))
            if symptom.slug not in expected:
                continue
            if row < first:
                outcome.early = True
                false_starts.add(symptom.identity)
                continue
            if symptom.identity in false_starts and not symptom.open:
                continue  # a false alarm that is taken back
            if outcome.delay is None and not matching:
                outcome.delay = row - first
            matching.append(symptom)
    report = engine.report()
    for symptom in report.symptoms:
        worst[symptom.slug] = max(worst.get(symptom.slug, 0), RANK[symptom.severity])
        taken_back = symptom.identity in false_starts and not symptom.open
        if symptom.slug in expected and symptom.last >= (curve.onset or 0) and not taken_back:
            matching.append(symptom)
    outcome.found = bool(matching)
    outcome.loud = any(RANK[s.severity] > 0 for s in matching)
    if matching and curve.onset is not None:
        outcome.onset_error = abs(matching[0].onset - curve.onset) / curve.logging_steps
    outcome.warned = frozenset(slug for slug, rank in worst.items() if rank > 0)
    outcome.remarked = frozenset(worst) - outcome.warned
    outcome.standing = frozenset(s.slug for s in report.symptoms if s.open)
    outcome.failed = tuple(f"{n.what}: {n.why}" for n in report.not_judged if n.why.startswith(("switched off", "could not")))


# --- Tables -----------------------------------------------------------------------------------------------------------

Cell = Callable[[list[Outcome]], str]


def share(values: Iterable[bool]) -> str:
    values = list(values)
    return f"{sum(values) / len(values):.2f}" if values else "–"


def spread(values: Sequence[float]) -> str:
    """Median and ninth decile."""
    if not values:
        return "–"
    ordered = sorted(values)
    ninth = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return f"{statistics.median(ordered):.3g}/{ninth:.3g}"


def recall(cell: list[Outcome]) -> str:
    return f"{share(o.found for o in cell)} ({share(o.loud for o in cell)})" if cell else "–"


def delay(cell: list[Outcome]) -> str:
    found = [o for o in cell if o.found]
    online = [o.delay for o in found if o.delay is not None]
    if not found:
        return "–"
    if not online:
        return "(end)"
    late = len(found) - len(online)
    return spread(online) + (f" (end {late / len(found):.2f})" if late else "")


def onset_error(cell: list[Outcome]) -> str:
    return spread([o.onset_error for o in cell if o.onset_error is not None])


def warned(cell: list[Outcome]) -> str:
    return f"{sum(bool(o.warned) for o in cell) / len(cell):.3f}" if cell else "–"


def counted(outcomes: Iterable[Outcome], of: Callable[[Outcome], Iterable[str]]) -> str:
    """The slugs by how often they were said."""
    outcomes = list(outcomes)
    counts = Counter(slug for o in outcomes for slug in of(o))
    return ", ".join(f"{slug} {n / len(outcomes):.3f}" for slug, n in counts.most_common()) or "none"


class Results:
    """Every outcome by kind and number of rows."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.cells: dict[tuple[str, int], list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            self.cells[outcome.kind, outcome.rows].append(outcome)
        self.sizes = sorted({rows for _, rows in self.cells})
        kinds = {kind for kind, _ in self.cells}
        self.healthy = [kind for kind in HEALTHY if kind in kinds]
        self.faults = [kind for kind in FAULTS if kind in kinds]
        self.tables: list[tuple[str, list[list[str]]]] = []

    def of(self, kind: str, rows: int | None = None) -> list[Outcome]:
        return [o for (k, n), cell in self.cells.items() if k == kind and rows in (None, n) for o in cell]

    def all_healthy(self, rows: int) -> list[Outcome]:
        return [o for kind in self.healthy for o in self.of(kind, rows)]

    def table(self, title: str, kinds: Sequence[str], cell: Cell) -> None:
        self.show(title, kinds, lambda kind, n: cell(self.of(kind, n)))

    def show(self, title: str, names: Sequence[str], cells: Callable[[str, int], str]) -> None:
        """Prints one table, a line per name and a column per number of rows, and keeps it for the page."""
        lines = [["", *(f"n={n}" for n in self.sizes)], *([name, *(cells(name, n) for n in self.sizes)] for name in names)]
        self.tables.append((title, lines))
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.sizes) + 1)]
        print(f"\n{title}")
        for line in lines:
            print("  " + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())

    def page(self, again: str) -> str:
        """Every table as Markdown."""
        parts = [PAGE.format(again=again, machine=machine("numpy"))]
        parts += [f"## {title}\n\n{markdown(lines[0], lines[1:])}" for title, lines in self.tables]
        return "\n".join(parts)

    def print_ours(self) -> None:
        if self.faults:
            self.table("Faults: share found (found as a warning or worse)", self.faults, recall)
            self.table("Faults: rows from onset to the symptom, median/p90; (end): only in the final report", self.faults, delay)
            dated = [kind for kind in self.faults if kind != "still_falling"]
            self.table("Faults: error of the onset in rows, median/p90", dated, onset_error)
            self.table(
                "Faults: share with an expected symptom before the onset", dated, lambda cell: share(o.early for o in cell)
            )
            print("\nFaults: other symptoms that were a warning or worse, share of runs over all n")
            for kind in self.faults:
                if kind in REMARKS:
                    print(f"  {kind} (deserves a remark only): {counted(self.of(kind), lambda o: o.warned)}")
                else:
                    print(f"  {kind}: {counted(self.of(kind), lambda o: o.warned - FAULTS[o.kind])}")
        if self.healthy:
            everyone = "all families"
            self.show(
                "Healthy: share of runs with any warning or critical symptom",
                [*self.healthy, everyone],
                lambda kind, n: warned(self.all_healthy(n) if kind == everyone else self.of(kind, n)),
            )
            print("\nHealthy: which symptoms were a warning or worse, share of runs")
            cells = [(kind, n) for kind in self.healthy for n in self.sizes if any(o.warned for o in self.of(kind, n))]
            for kind, n in cells:
                print(f"  {kind} n={n}: {counted(self.of(kind, n), lambda o: o.warned)}")
            if not cells:
                print("  none")
            print("\nHealthy: remarks (severity info), share of runs over all n")
            for kind in self.healthy:
                print(f"  {kind}: {counted(self.of(kind), lambda o: o.remarked)}")

    def print_rules(self) -> None:
        """The tables with known rules; only where every kind they need was run."""
        for name, why in missing_rules().items():
            print(f"\n{name} is left out: {why}")
        if "standard" not in self.healthy:
            return
        ours: dict[str, Callable[[Outcome], list[int]]] = {
            "our warnings": lambda o: [row for row, loud in o.upward if loud],
            "ours, any severity": lambda o: [row for row, _ in o.upward],
        }
        theirs = {name: partial(_alarms_of, name) for name in ONLINE_RULES}
        for kind in (JUMPS, CLIMBS):
            if kind in self.faults:
                self._print_online(kind, {**ours, **theirs})
        if all(kind in self.faults for kind in ENDS):
            self._print_ends()

    def _print_online(self, kind: str, rules: dict[str, Callable[[Outcome], list[int]]]) -> None:
        def cell(name: str, n: int) -> str:
            sick, alarms = self.of(kind, n), rules[name]
            delays = [min(late) for o in sick if (late := _after_onset(o, alarms(o)))]
            healthy, families = self.of("standard", n), self.all_healthy(n)
            middle = f",{statistics.median(delays):.0f}" if delays else ""
            false = f"{share(bool(alarms(o)) for o in healthy)} {share(bool(alarms(o)) for o in families)}"
            return f"{len(delays) / len(sick):.2f}{middle} / {false}"

        self.show(f"{kind}: recall,median delay / false alarms on standard, on all healthy families", list(rules), cell)
        many = self.sizes[-1]
        print(f"  Alarms per healthy run (all families) at n={many}:")
        for name, alarms in rules.items():
            counts = [len(alarms(o)) for o in self.all_healthy(many)]
            print(f"    {name}: {statistics.mean(counts):.2f}")

    def _print_ends(self) -> None:
        columns = ("standard", *ENDS)
        rules: dict[str, Callable[[Outcome], bool]] = {
            "our plateau/chance": lambda o: bool(o.standing & PLATEAU),
            "our converged": lambda o: "loss-converged" in o.standing,
            "our still falling": lambda o: "loss-still-falling" in o.standing,
            **{name: partial(_flag_of, name) for name in END_RULES},
        }

        def cell(name: str, n: int) -> str:
            return " ".join(share(rules[name](o) for o in self.of(kind, n)) for kind in columns)

        self.show("End of the run, share flagged: healthy plateau chance converged still_falling", list(rules), cell)

    def print_misses(self) -> None:
        """What to call `simulate` with to see a miss or a false alarm."""
        print("\nMisses and false alarms: simulate(kind, rows, seed)")
        for (kind, n), cell in sorted(self.cells.items()):
            for o in cell:
                if kind in FAULTS and not o.found:
                    print(f"  missed  simulate({kind!r}, {n}, {o.seed})  said: {', '.join(sorted(o.warned | o.remarked)) or '–'}")
                if kind in FAULTS and o.early:
                    print(f"  early   simulate({kind!r}, {n}, {o.seed})")
                too_loud = o.warned if kind in HEALTHY or kind in REMARKS else frozenset()
                if too_loud:
                    print(f"  false   simulate({kind!r}, {n}, {o.seed})  {', '.join(sorted(too_loud))}")

    def print_failures(self) -> None:
        """Detectors and causes that raised; there should be none."""
        failures = [(text.split(":")[0], o, text) for cell in self.cells.values() for o in cell for text in o.failed]
        for what, group in groupby(sorted(failures, key=lambda item: item[0]), key=lambda item: item[0]):
            items = list(group)
            _, o, text = items[0]
            print(f"\nFAILED {what} in {len(items)} runs, e.g. simulate({o.kind!r}, {o.rows}, {o.seed}): {text}")


def _alarms_of(name: str, outcome: Outcome) -> list[int]:
    return outcome.alarms.get(name, [])


def _flag_of(name: str, outcome: Outcome) -> bool:
    return outcome.flags.get(name, False)


def _after_onset(outcome: Outcome, alarms: Sequence[int]) -> list[int]:
    """The delays of the alarms that belong to the fault: from its first row on and, where it ends, ten rows beyond."""
    first = outcome.onset_row or 0
    last = outcome.rows if outcome.end_row is None else outcome.end_row + 10
    return [row - first for row in alarms if first <= row <= last]


def jobs(kinds: Sequence[str], sizes: Sequence[int], runs: int) -> list[tuple[str, int, int]]:
    """One per curve; the long ones first, so that no worker is left with one at the end."""
    found = []
    for n in sorted(sizes, reverse=True):
        divisor = next((d for rows, d in FEWER if n >= rows), 1)
        for kind in kinds:
            if kind != "model_card" or CARD_ROWS[0] <= n <= CARD_ROWS[1]:
                found += [(kind, n, seed) for seed in range(max(1, runs // divisor))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="curves per kind and n; half at n=300, a third at n=1000")
    parser.add_argument("--rows", default="10,30,100,300,1000", help="numbers of training rows, by comma")
    parser.add_argument("--kind", default="", help="kinds of curves, by comma; 'healthy' and 'faults' stand for all of them")
    parser.add_argument("--only", choices=["ours"], help="leave the known rules out")
    parser.add_argument("--misses", action="store_true", help="name the curves that were missed or falsely accused")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file as well")
    given = parser.parse_args()
    named = {"healthy": HEALTHY, "faults": tuple(FAULTS)}
    kinds = [kind for word in given.kind.split(",") if word for kind in named.get(word, (word,))] or [*HEALTHY, *FAULTS]
    if unknown := [kind for kind in kinds if kind not in HEALTHY and kind not in FAULTS]:
        parser.error(f"no such kind: {', '.join(unknown)}; there are: {', '.join((*HEALTHY, *FAULTS))}")
    work = jobs(kinds, [int(n) for n in given.rows.split(",")], given.runs)
    start = time.perf_counter()
    with ProcessPoolExecutor(WORKERS) as pool:
        results = Results(pool.map(partial(judge, rules=given.only != "ours"), work, chunksize=4))
    print(f"{len(work)} curves, {time.perf_counter() - start:.0f} s")
    results.print_ours()
    if given.only != "ours":
        results.print_rules()
    if given.misses:
        results.print_misses()
    results.print_failures()
    if given.markdown:
        given.markdown.write_text(results.page(f"python benchmarks/accuracy.py --runs {given.runs}"), encoding="utf-8")


if __name__ == "__main__":
    main()
