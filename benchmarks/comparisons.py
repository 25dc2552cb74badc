"""How often `compare` sees a difference between two seeds of one healthy run, and how often it finds one that is there.

Run it with `python benchmarks/comparisons.py [--pairs 200]`. Every pair is of one simulated run (see `simulator.pair`): the
same course with other noise, and with ends that lie 0.5 % apart (standard deviation of each), three times what ten seeds of
a tiny GPT-2 had. Bars: no difference beyond noise in 95 % of 200 pairs, and in 90 % of 200 pairs of 300 rows an end that is
5 % higher is found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from simulator import HEALTHY, Curve, Draft, pair

from lossdoctor.comparison.curves import compare_curves
from lossdoctor.comparison.nouns import Side
from lossdoctor.model import Log
from lossdoctor.plan import plan_of

WORKERS = 2
#: What a difference looks like: there from the first row, reached at 60 % of the run, or only at its very end.
SHAPES = ("throughout", "early", "late")
#: Cells of the table: noise of a row, correlation of neighbouring rows, rows.
NOISES, CORRELATIONS, ROWS = (0.02, 0.05, 0.1, 0.2), (0.0, 0.5), (60, 150, 300, 1000, 2000)
#: Noise of a row that is usual.
TYPICAL = (0.05, 0.3)


@dataclass(frozen=True)
class Outcome:
    """What was said of a pair: its endings by series, the interval of the training loss, where they part, whether
    their data are said to be in the same order, and their curves to be apart on the way.
    """

    training: str
    evaluation: str
    share: float
    low: float
    high: float
    parted: float | None
    in_order: bool
    widest: bool

    @property
    def same(self) -> bool:
        """Whether no difference was seen at the end of any series, for whatever reason."""
        return {self.training, self.evaluation} <= {"same", "unknown", ""}


def noisy(draft: Draft, noise: float, correlation: float, heavy: bool = False) -> None:
    """Rows that scatter by that much, neighbours alike by that much; with heavy tails like Student's with 3 degrees."""
    white = draft.rng.standard_t(3, draft.rows + 50) / 3**0.5 if heavy else draft.rng.standard_normal(draft.rows + 50)
    rows = np.empty(draft.rows + 50)
    rows[0] = white[0]
    for row in range(1, len(rows)):
        rows[row] = correlation * rows[row - 1] + (1 - correlation**2) ** 0.5 * white[row]
    draft.noise, draft.rounded = 0.0, False
    draft.factor = np.repeat(np.exp(np.clip(noise * rows[50:], -3, 3) - noise**2 / 2), draft.every)


def higher(draft: Draft, share: float, shape: str) -> None:
    """Ends so much higher."""
    grown = {"throughout": np.ones(draft.steps), "early": np.clip(draft.time / 0.6, 0, 1), "late": draft.time}[shape]
    draft.level = draft.level * (1 + share * grown)
    if draft.eval_level is not None:
        draft.eval_level = draft.eval_level * (1 + share * grown)


def judged(curves: tuple[Curve, Curve]) -> Outcome:
    """What the comparison says of two curves."""
    sides = [Side(name, plan_of(c.run), Log(c.run, c.records)) for name, c in zip("AB", curves, strict=True)]
    found = {curve.series: curve for curve in compare_curves(*sides)}
    training, evaluation = found.get("loss"), found.get("eval_loss")
    end = training.end if training else None
    steps = curves[0].rows * curves[0].logging_steps
    return Outcome(
        end.ending if end else "",
        evaluation.end.ending if evaluation and evaluation.end else "",
        end.share if end else 0.0,
        end.low if end else 0.0,
        end.high if end else 0.0,
        training.parted_at / steps if training and training.parted_at is not None else None,
        bool(training and training.in_order),
        bool(training and training.widest),
    )


def seeds(kind: str, rows: int, seed: int, spread: float = 0.005) -> Outcome:
    """Two seeds of one healthy run."""
    return judged(pair(kind, rows, seed, spread=spread))


def apart(
    rows: int, noise: float, correlation: float, shape: str, seed: int, share: float = 0.05, heavy: bool = False
) -> Outcome:
    """Two runs of which the second ends higher, `share` being 0 for two seeds of one."""
    both = partial(noisy, noise=noise, correlation=correlation, heavy=heavy)
    return judged(pair("standard", rows, seed, both=both, other=partial(higher, share=share, shape=shape)))


def drawn(rows: int, seed: int, share: float = 0.05) -> Outcome:
    """Two runs of the standard family with the noise that it draws for them, of which the second ends higher."""
    return judged(pair("standard", rows, seed, other=partial(higher, share=share, shape="early")))


def healthy_pairs(number: int, rows: Sequence[int] = (60, 150, 300, 1000)) -> list[tuple[str, int, int]]:
    """So many pairs over all healthy families and lengths."""
    return [(HEALTHY[place % len(HEALTHY)], rows[place // len(HEALTHY) % len(rows)], place) for place in range(number)]


def share_of(outcomes: Iterable[bool]) -> float:
    """The share that is true."""
    found = list(outcomes)
    return sum(found) / len(found)


def _call(job: tuple[Callable[..., Outcome], tuple[object, ...]]) -> Outcome:
    return job[0](*job[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    pairs = parser.parse_args().pairs
    start = time.perf_counter()
    with ProcessPoolExecutor(WORKERS) as pool:

        def run(what: Callable[..., Outcome], jobs: Iterable[tuple[object, ...]]) -> list[Outcome]:
            return list(pool.map(_call, [(what, job) for job in jobs], chunksize=10))

        _print_required(run, pairs)
        _print_families(run, pairs)
        _print_table(run, pairs)
        _print_harder(run, pairs)
    print(f"\n{time.perf_counter() - start:.0f} s")


Run = Callable[[Callable[..., Outcome], Iterable[tuple[object, ...]]], list[Outcome]]


def _print_required(run: Run, pairs: int) -> None:
    two = run(seeds, healthy_pairs(pairs))
    print(f"Two seeds of one healthy run, all families, 60 to 1,000 rows, {pairs} pairs:")
    print(f"  no difference beyond noise      {share_of(o.same for o in two):.3f}   (bar 0.95)")
    print(f"  said to be in the same order    {share_of(o.in_order for o in two):.3f}   (should be 0)")
    print(f"  said to be apart on the way     {share_of(o.widest for o in two):.3f}   (should be 0)")
    noise, correlation = TYPICAL
    print(f"The second ends 5 % higher, 300 rows of {noise:.0%} noise, correlation {correlation}, {pairs} pairs each:")
    for shape in SHAPES:
        found = run(apart, [(300, noise, correlation, shape, seed) for seed in range(pairs)])
        places = [o.parted for o in found if o.parted is not None]
        bar = "(5 % only in its last row)" if shape == "late" else "(bar 0.90)"
        where = f"parts at {median(places):.2f} of the run" if places else "parts nowhere"
        print(f"  {shape:<11} found {share_of(o.training == 'worse' for o in found):.3f}   {bar}   {where}")
    found = run(drawn, [(300, seed) for seed in range(pairs)])
    print(f"  of the standard family, with the noise it draws: found {share_of(o.training == 'worse' for o in found):.3f}")


def _print_families(run: Run, pairs: int) -> None:
    print("\nTwo seeds of one healthy run by family: share said to be the same, with ends 0.5 % and 1 % apart")
    for kind in HEALTHY:
        cells = []
        for spread in (0.005, 0.01):
            outcomes = run(seeds, [(kind, rows, seed, spread) for seed in range(pairs // 4) for rows in (60, 300)])
            cells.append(f"{share_of(o.same for o in outcomes):.3f}")
        print(f"  {kind:<16} {'  '.join(cells)}")


def _print_table(run: Run, pairs: int) -> None:
    print("\nTwo seeds said to be the same / a 5 % higher end found (reached at 60 %) / within its interval")
    print("  noise corr  " + "".join(f"{f'n={rows}':>20}" for rows in ROWS))
    for noise in NOISES:
        for correlation in CORRELATIONS:
            cells = [_cell(run, rows, noise, correlation, pairs) for rows in ROWS]
            print(f"  {noise:<5} {correlation:<5} " + "".join(f"{cell:>20}" for cell in cells))


def _cell(run: Run, rows: int, noise: float, correlation: float, pairs: int, heavy: bool = False) -> str:
    null = run(apart, [(rows, noise, correlation, "early", seed, 0.0, heavy) for seed in range(pairs)])
    there = run(apart, [(rows, noise, correlation, "early", seed, 0.05, heavy) for seed in range(pairs)])
    covered = share_of(o.low <= 0.05 <= o.high for o in there)
    same = share_of(o.training in ("same", "unknown") for o in null)
    return f"{same:.2f} / {share_of(o.training == 'worse' for o in there):.2f} / {covered:.2f}"


def _print_harder(run: Run, pairs: int) -> None:
    print("\nThe same with heavy tails (Student, 3 degrees), 300 rows:")
    for noise in NOISES:
        print(f"  noise {noise:<5} {_cell(run, 300, noise, 0.3, pairs, True)}")
    print("\nOther differences at 300 rows of typical noise, reached at 60 %: share called worse")
    for share in (0.01, 0.02, 0.03, 0.05, 0.1):
        found = run(apart, [(300, *TYPICAL, "early", seed, share) for seed in range(pairs)])
        print(f"  {share:.0%} higher: {share_of(o.training == 'worse' for o in found):.3f}")


if __name__ == "__main__":
    main()
