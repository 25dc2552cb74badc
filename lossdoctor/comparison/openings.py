"""Curves that differ before the weights have moved: another model, other examples, or another measure of the loss."""

from __future__ import annotations

import numpy as np

from lossdoctor.comparison.case import Case, Reason, listed, settings_of
from lossdoctor.comparison.telling import loss, percent

#: Rows of the opening, standard errors and share by which they have to differ, and their share of the run at most.
ROWS, SURE, LEAST, AT_MOST = 3, 4.0, 0.04, 0.1
#: A factor is that of accumulation or of processes where it is so near to it, in the opening and over all rows.
NEAR = 0.1
#: What decides the loss of the very first batch.
MEASURED = (
    "dataset", "max_length", "packing", "padding_free", "completion_only_loss", "assistant_only_loss", "loss_type",
    "label_smoothing_factor", "neftune_noise_alpha", "model_name_or_path", "model_type", "quantization", "torch_dtype",
    "attn_implementation", "vocab_size", "tokens_added", "num_labels", "supervised_share",
    "template", "task", "ref_model", "beta",
)  # fmt: skip
#: Versions of transformers that logged the loss of some models times the accumulation.
SCALED = "transformers 4.46 to 4.51 did that for some models"


def opening(case: Case) -> Reason | None:
    """That the first rows differ, which no setting of the optimizer can do; and by which factor."""
    laid = case.laid
    if laid is None or laid.rows < 2 * ROWS or not (laid.one[:ROWS] > 0).all():
        return None
    factor = float(laid.other[:ROWS].mean() / laid.one[:ROWS].mean())
    ratios = np.log(np.maximum(laid.other, 1e-12) / np.maximum(laid.one, 1e-12))
    error = 1.4826 * float(np.median(np.abs(np.diff(ratios)))) / (2 * ROWS) ** 0.5
    if AT_MOST * laid.rows < ROWS or abs(factor - 1) < LEAST or abs(np.log(factor)) < SURE * error:
        return None
    return _multiplied(case, factor, float(np.exp(np.median(ratios)))) or _measured_otherwise(case, factor)


def _multiplied(case: Case, factor: float, throughout: float) -> Reason | None:
    """That one loss is a whole multiple of the other, from first to last, and one side adds up so many batches."""
    for side, times in ((case.other, (factor, throughout)), (case.one, (1 / factor, 1 / throughout))):
        for name, words in (("gradient_accumulation_steps", "accumulates"), ("world_size", "runs on")):
            count = side.plan.get(name)
            if not isinstance(count, int) or count < 2 or any(abs(found / count - 1) > NEAR for found in times):
                continue
            rest = f"{words} {count} {'steps' if name == 'gradient_accumulation_steps' else 'processes'}"
            why = f": a sum was logged in place of a mean ({SCALED})" if name == "gradient_accumulation_steps" else ""
            said = f"The loss of {side.name} is {times[0]:.2f} times the other in the first rows and {times[1]:.2f} times in all"
            return Reason(12, f"{said}, and {side.name} {rest}{why}. The levels cannot be compared before that is divided out.",
                          frozenset((name,)))  # fmt: skip
    return None


def _measured_otherwise(case: Case, factor: float) -> Reason:
    laid = case.laid
    assert laid is not None
    levels = f"{loss(float(laid.other[:ROWS].mean()))} against {loss(float(laid.one[:ROWS].mean()))}, {percent(factor - 1, True)}"
    said = f"The losses differ from the first {ROWS} rows on ({levels}), when the weights have hardly moved"
    found = case.touching(*MEASURED)
    if found:
        those = f"{listed(found)} differ{'s' * (len(found) == 1)} and can do that; the learning rate cannot"
        separate = ". Which of them it is cannot be told from two logs" if len(found) > 1 else ""
        return Reason(9, f"{said}: {those}{separate}.", settings_of(found))
    rest = "nothing that is stated to differ does that; the model, the examples, their template or mask, or the tokenizer would"
    return Reason(9, f"{said}: {rest}.")
