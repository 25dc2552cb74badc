"""Curves that differ before the weights have moved: another model, other examples, or another measure of the loss."""

from __future__ import annotations

import numpy as np

from lossdoctor.comparison.case import Case, Reason, listed, settings_of
from lossdoctor.comparison.rates import rates_of
from lossdoctor.comparison.series import Array, series
from lossdoctor.comparison.telling import loss, percent
from lossdoctor.language import later, plural, say

#: Rows of the opening at least, and their share of the run at most; the share by which they have to differ at least.
LEAST_ROWS, AT_MOST, LEAST = 3, 0.1, 0.04
#: Standard errors by which they have to differ: where the curves are apart from their first row on, and elsewhere.
SURE_AT_ONCE, SURE = 2.5, 4.0
#: Ways that differ less are the same; otherwise the difference has to be so many times the fall that follows.
LIKE, MOVES = 1.1, 3.0
#: A factor is that of accumulation or of processes where it is so near to it, in the opening and at the end.
NEAR = 0.1
#: What decides the loss of the very first batch.
MEASURED = (
    "dataset", "max_length", "packing", "padding_free", "completion_only_loss", "assistant_only_loss", "loss_type",
    "label_smoothing_factor", "neftune_noise_alpha", "model_name_or_path", "model_type", "quantization", "torch_dtype",
    "attn_implementation", "vocab_size", "tokens_added", "num_labels", "supervised_share",
    "template", "task", "ref_model", "beta",
)  # fmt: skip
ADDS, RUNS_ON = later("accumulates {count} steps"), later("runs on {count} processes")
#: Versions of transformers that logged the loss of some models times the accumulation.
SCALED = later(" (transformers 4.46 to 4.51 did that for some models)")


def opening(case: Case) -> Reason | None:
    """That the first rows differ, which no setting of the optimizer can do; and by which factor."""
    rows = [series(side, "loss") for side in case.sides]
    laid = case.laid
    if rows[0] is None or rows[1] is None or laid is None or not laid.rows or case.training is None:
        return None
    fewest = min(one.rows for one in rows if one)
    count = max(LEAST_ROWS, fewest // 50)
    first, second = (one.values for one in rows if one)
    if count > AT_MOST * fewest or min(first[:count].min(), second[:count].min()) <= 0:
        return None
    levels = float(first[:count].mean()), float(second[:count].mean())
    factor = levels[1] / levels[0]
    error = _scatter(first, second) / count**0.5
    sure = SURE_AT_ONCE if case.training.parted_at == laid.steps[0] else SURE
    if abs(factor - 1) < LEAST or abs(np.log(factor)) < sure * error:
        return None
    if abs(np.log(factor)) < _moved(case, first, second, count):
        return None
    late = float(second[-len(second) // 4 :].mean() / first[-len(first) // 4 :].mean())
    return _multiplied(case, factor, late) or _measured_otherwise(case, levels, count)


def _moved(case: Case, first: Array, second: Array, count: int) -> float:
    """How far the curves may be apart in the opening because one has learned faster; nothing where the rates are the same."""
    found = [rates_of(side) for side in case.sides]
    if found[0] and found[1]:
        step = max(one.steps[min(count, len(one.steps)) - 1] for one in found if one)
        ways = [one.travel(step) for one in found if one]
        if min(ways) > 0 and max(ways) / min(ways) < LIKE:
            return 0.0
    falls = [np.log(max(1e-12, v[:count].mean()) / max(1e-12, v[count : 2 * count].mean())) for v in (first, second)]
    return MOVES * max(0.0, *map(float, falls))


def _scatter(first: Array, second: Array) -> float:
    """How far a row of one is from one of the other, as a share, where the curves are the same."""
    return float(np.hypot(*(1.05 * np.median(np.abs(np.diff(np.log(np.maximum(v, 1e-12))))) for v in (first, second))))


def _multiplied(case: Case, factor: float, late: float) -> Reason | None:
    """That one loss is a whole multiple of the other, from first to last, and one side adds up so many batches."""
    for side, first, last in ((case.other, factor, late), (case.one, 1 / factor, 1 / late)):
        for name, adds in (("gradient_accumulation_steps", ADDS), ("world_size", RUNS_ON)):
            count = side.plan.get(name)
            if not isinstance(count, int) or count < 2 or any(abs(found / count - 1) > NEAR for found in (first, last)):
                continue
            said = say(
                "The loss of {side_name} is {first:.2f} times the other in the first rows, {last:.2f} times in the last quarter",
                side_name=side.name,
                first=first,
                last=last,
            )
            why = say("a sum was logged in place of a mean{scaled}", scaled=say(SCALED) if name.startswith("gradient") else "")
            rest = say(
                "{said}, and it {words}: {why}. The levels cannot be compared before that is divided out.",
                said=said,
                words=say(adds, count=count),
                why=why,
            )
            return Reason(12, rest, frozenset((name,)))
    return None


def _measured_otherwise(case: Case, levels: tuple[float, float], rows: int) -> Reason:
    figures = say(
        "{second_levels} against {first_levels}, {second_levels2}",
        second_levels=loss(levels[1]),
        first_levels=loss(levels[0]),
        second_levels2=percent(levels[1] / levels[0] - 1, True),
    )
    said = say(
        "The losses differ from the first {rows} rows on ({figures}), when the weights have hardly moved",
        rows=rows,
        figures=figures,
    )
    found = case.touching(*MEASURED)
    if found:
        those = plural(
            "{names} differs and can do that; the learning rate cannot",
            "{names} differ and can do that; the learning rate cannot",
            len(found),
            names=listed(found),
        )
        separate = say(". Which of them it is cannot be told from two logs") if len(found) > 1 else ""
        return Reason(9, f"{said}: {those}{separate}.", settings_of(found))
    rest = say(
        "nothing that is stated to differ does that; the model, the examples, their template or mask, or the tokenizer would"
    )
    return Reason(9, f"{said}: {rest}.")
