"""Where people slip: two sources that seem to differ and do not, and two numbers that are read the wrong way round.

5e-5 → 2e-4 raises a rate four times, and many read it as lowering it, since 2 is less than 5. Pure functions on plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, isclose, isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.model import Conflict, Fact, Run

#: Numbers from here on read well in plain decimal, smaller ones in powers of ten.
PLAIN_FROM = 0.01
#: Below this a plain decimal has more zeros than anybody counts.
SHORT_BELOW = 1e-9
TOLERANCE = 1e-6
#: More of a value does not fit into a line.
LONGEST = 60
#: Labels rather than settings: each source calls them in its own way.
_LABELS = ("framework", "trainer", "task", "finetuning_type", "distributed_type")
#: Numbers of which more or less has no meaning.
_NO_SIZE = ("seed", "zero_stage", "compute_capability")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
_STEPS = ("logging_steps", "eval_steps", "save_steps", "warmup_steps")


def agree(name: str, one: Any, other: Any) -> bool:
    """Whether two statements of a fact say the same, or one of them says nothing ("auto", None, empty)."""
    if name in _LABELS or _silent(one) or _silent(other):
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return None in (truths := (_truth(one), _truth(other))) or truths[0] == truths[1]
    if name == "deepspeed" or isinstance(one, dict) != isinstance(other, dict):
        return True  # a path and what is in it
    first, second = _number(one), _number(other)
    if first is not None and second is not None:
        return _same_number(name, first, second)
    if isinstance(one, (list, tuple, set)) or isinstance(other, (list, tuple, set)):
        return _same_names(one, other)
    return one == other if isinstance(one, dict) else _same_text(name, str(one), str(other))


def differ(name: str, one: Fact, other: Fact) -> bool:
    """Whether two sources disagree; the batch size in a trainer_state counts all GPUs of its one process."""
    if name == "per_device_train_batch_size" and "trainer_state" in (one.source, other.source):
        first, second = (_number(fact.value) or 0 for fact in sorted((one, other), key=lambda f: f.source != "trainer_state"))
        if second and first > second and first % second == 0:
            return False
    return not agree(name, one.value, other.value)


def _silent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "auto", "none"))


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in ("true", "yes", "on", "1") else False if word in ("false", "no", "off", "0") else None
    return bool(value) if isinstance(value, (bool, int, float)) else None


def _number(value: Any) -> float | None:
    try:
        number = None if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) else None


def _same_number(name: str, one: float, other: float) -> bool:
    if name == "num_train_epochs" and ceil(one) == ceil(other) and (one == ceil(one) or other == ceil(other)):
        return True  # the Trainer's state rounds epochs up
    if name in _STEPS and (0 < one < 1) != (0 < other < 1) and one and other:
        return True  # a share of the run and the steps that came of it
    return isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12)


def _same_names(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        text, names = (one, other) if isinstance(one, str) else (other, one)
        return text.strip() in ("all", "all-linear") or not text.isidentifier() or [str(n) for n in names] == [text.strip()]
    return sorted(map(str, one)) == sorted(map(str, other)) if isinstance(one, list) and isinstance(other, list) else False


def _same_text(name: str, one: str, other: str) -> bool:
    first, second = one.strip().lower(), other.strip().lower()
    if first == second:
        return True
    if name in ("model_name_or_path", "ref_model", "dataset", "resume_from_checkpoint"):
        return _same_place(first, second)
    if name == "torch_dtype":
        return _dtype(first) == _dtype(second)
    if name == "quantization":
        return re.findall(r"\d+", first)[:1] == re.findall(r"\d+", second)[:1]
    if name.endswith("_version"):
        return re.match(r"[\d.]*\d|", first)[0] == re.match(r"[\d.]*\d|", second)[0]  # type: ignore[index]  # always matches
    return name == "gpu" and (first in second or second in first)


def _dtype(word: str) -> str:
    word = word.removeprefix("torch.")
    return _DTYPES.get(word, word)


def _same_place(one: str, other: str) -> bool:
    """Whether a name and a path, or two paths, end in the same name; two names on the Hub must have the same owner."""
    parts = [_cached(place).replace("\\", "/").rstrip("/").split("/") for place in (one, other)]
    named = [len(part) == 2 and part[0] not in ("", ".", "..", "~") for part in parts]
    return parts[0] == parts[1] if all(named) else parts[0][-1] == parts[1][-1]


def _cached(place: str) -> str:
    """The name of a model in the cache of the Hub: `…/models--org--name/snapshots/…`."""
    found = re.search(r"(?:models|datasets)--([^/\\]+)", place)
    return found[1].replace("--", "/") if found else place


def short(value: Any) -> str:
    """A number as people write it: 2e-4, 1.5e-5, 0.05, 32; anything else as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if not isfinite(value):
        return str(value)
    if value == 0 or abs(value) >= PLAIN_FROM:
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def in_epochs(epochs: float | None) -> str:
    """A number of epochs to three digits: 0.05, 2.5, 1,000."""
    epochs = epochs or 0.0
    return f"{epochs:.3g}" if epochs < 99.95 else f"{epochs:,.0f}"


def plain(value: Any) -> str:
    """A number in both notations where they differ: "2e-4 (0.0002)"."""
    words = short(value)
    return f"{words} ({decimal(words)})" if "e-" in words and abs(value) >= SHORT_BELOW else words


def decimal(words: str) -> str:
    """A number without its exponent: "0.00005"."""
    from decimal import Decimal  # rarely needed, and costs a start-up

    return format(Decimal(words), "f")


def change_in_words(name: str, before: Any, after: Any) -> str:
    """What a change of a setting amounts to: "raised 4 times: 5e-5 is 0.00005, 2e-4 is 0.0002"."""
    one, other = _number(before), _number(after)
    if one is None or other is None or name in _NO_SIZE:
        same = agree(name, before, after)
        return f"unchanged at {short(after)}" if same else f"changed from {short(before)} to {short(after)}"
    if isclose(one, other, rel_tol=TOLERANCE):
        return f"unchanged at {plain(other)}"
    verb = "raised" if other > one else "lowered"
    if one == 0 or other == 0 or (one < 0) != (other < 0):
        return f"{verb} from {plain(one)} to {plain(other)}"
    return f"{verb} {_times(max(one / other, other / one))}: {_both(one, other)}"


def _times(factor: float) -> str:
    return f"{factor:,.0f} times" if factor >= 100 or isclose(factor, round(factor), rel_tol=1e-3) else f"{factor:.3g} times"


def _both(one: float, other: float) -> str:
    """Both numbers in plain decimal, where a power of ten may mislead."""
    words = [short(one), short(other)]
    if not any("e-" in word for word in words) or min(abs(one), abs(other)) < SHORT_BELOW:
        return f"from {words[0]} to {words[1]}"
    return ", ".join(f"{word} is {decimal(word)}" if "e-" in word else word for word in words)


def misleads(before: Any, after: Any) -> bool:
    """Whether the mantissa moves one way and the exponent, which decides, the other: that is where people slip."""
    one, other = _number(before), _number(after)
    if one is None or other is None or one <= 0 or other <= 0 or not any("e-" in short(number) for number in (one, other)):
        return False
    (first, low), (second, high) = (f"{number:.5e}".split("e") for number in (one, other))
    return (float(second) - float(first)) * (int(high) - int(low)) < 0


def history_of(name: str, configurations: Sequence[Mapping[str, Fact]]) -> Iterator[str]:
    """What each change of a setting amounts to, over configurations in the order they were written."""
    stated = [facts[name] for facts in configurations if name in facts and not _silent(facts[name].value)]
    for before, after in pairwise(stated):
        if agree(name, before.value, after.value):
            continue
        words = change_in_words(name, before.value, after.value)
        if misleads(before.value, after.value):
            words += " (the exponent decides, not the digit before the e)"
        yield f"{short(before.value)} ({before.source}), then {short(after.value)} ({after.source}): {words}"


def told(run: Run) -> list[str]:
    """One line for every fact of which sources disagree, and for every change of the rate over the configurations."""
    history = [f"learning_rate over the configurations: {change}" for change in history_of("learning_rate", run.configurations)]
    lines: list[str] = []
    for conflict in run.conflicts:
        changes = history if conflict.name == "learning_rate" else []
        lines += [_conflict(conflict, with_change=not changes), *changes]
    return lines if set(history) <= set(lines) else [*history, *lines]


def _conflict(conflict: Conflict, with_change: bool) -> str:
    used, *others = conflict.facts
    sources: dict[str, list[str]] = {}
    for fact in others:
        sources.setdefault(_clipped(fact.value), []).append(fact.source)
    said = " and ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in sources.items())
    says = "says" if len(others) == 1 else "say"
    line = f"{conflict.name}: {_clipped(used.value)} ({used.source}) is used; {said} {says} otherwise"
    return line + (_compared(conflict.name, others[0].value, used.value) if with_change and len(sources) == 1 else "")


def _compared(name: str, other: Any, used: Any) -> str:
    """How much more or less the value in use is, where that can be said."""
    one, two = _number(other), _number(used)
    if one is None or two is None or name in _NO_SIZE or one <= 0 or two <= 0:
        return ""
    factor = _times(max(one / two, two / one))
    words = f": {short(two)} is {factor} as much" if two > one else f": {short(one)} is {factor} as much"
    return f"{words} ({_both(one, two)})" if misleads(one, two) else words


def _clipped(value: Any) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else short(value)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 2]} …"
