"""The metrics of a task among the columns of an evaluation: accuracy, F1, ROUGE, WER and the like."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

#: Metrics of which less is better; of all others more is.
LESS_IS_BETTER = ("wer", "cer", "perplexity", "ppl", "error", "mse", "rmse", "mae", "ter")
#: Columns of an evaluation that measure the machine.
NO_METRIC = ("runtime", "_per_second", "samples", "_loss", "epoch", "gen_len", "jit", "entropy", "num_tokens", "_time", "memory")


def less_is_better(name: str) -> bool:
    """Whether a metric counts errors."""
    return any(word in name.lower() for word in LESS_IS_BETTER)


def metrics_of(values: Mapping[str, float], series: str) -> dict[str, float]:
    """The metrics of the evaluation set whose loss is `series`, by name, as they were logged."""
    prefix = series[: -len("loss")]
    return {
        name: value
        for name, value in values.items()
        if name.startswith(prefix) and isfinite(value) and name != series and not any(word in name for word in NO_METRIC)
    }
