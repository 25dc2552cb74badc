"""Whether two configurations set the same: stricter than whether two sources of one run agree."""

from __future__ import annotations

from math import isclose
from typing import Any

from lossdoctor.agreement import agree, number, silent
from lossdoctor.model import Fact

#: What the Trainer's state rounds, and what is a label of a source where one run has several, but a choice between two runs.
_EXACT = ("num_train_epochs", "finetuning_type", "warmup_steps", "framework", "trainer", "distributed_type")
#: What tells a tool rather than a setting: one that only one side states is no difference.
LABELS = ("framework", "trainer", "distributed_type", "finetuning_type", "use_lora", "deepspeed", "device")
#: The log of a run states some settings only as they came out.
LOGGED = ("trainer_state",)
#: Where a learning rate is from that only the rows of a log show.
LOGGED_RATE = "log"


def same(name: str, one: Fact, other: Fact) -> bool:
    """Whether two sides set a fact alike; one that says nothing ("auto", nothing, empty) is taken to."""
    first, second = one.value, other.value
    if name == "learning_rate" and LOGGED_RATE in (one.source, other.source) and nearly(first, second):
        return True
    if silent(first) or silent(second):
        return True
    if name in _EXACT and not {one.source, other.source} & set(LOGGED):
        numbers = number(first), number(second)
        if None not in numbers:
            return isclose(*numbers, rel_tol=1e-6)  # type: ignore[arg-type]  # neither is None
        return _plain(first) == _plain(second)
    if name == "lora_target_modules":
        return _modules(first) == _modules(second)
    return agree(name, first, second)


def nearly(one: Any, other: Any) -> bool:
    """Whether a rate that only the rows of a log show may be the other one: its first row is not the peak itself."""
    numbers = number(one), number(other)
    return None not in numbers and isclose(*numbers, rel_tol=0.05)  # type: ignore[arg-type]  # neither is None


def _plain(value: Any) -> str:
    return str(value).strip().lower()


def _modules(value: Any) -> frozenset[str]:
    """The modules by the last part of their names, so that a path and a name are the same."""
    names = value if isinstance(value, (list, tuple, set)) else [value]
    words = {str(name).strip().rpartition(".")[2] if "*" not in str(name) else str(name) for name in names}
    return frozenset("all-linear" if word in ("all", "all-linear", "all_linear") else word for word in words)
