"""Arguments in parentheses: the dump that the Trainer logs, the Python source of a call, `Namespace(…)`, a dictionary.

Nothing is run or evaluated: the text is split at its commas, and what is no literal states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lossdoctor.facts.literals import literal

#: A dump is some ten thousand characters long.
LONGEST, MOST_CALLS = 30_000, 50
#: Calls may stand in calls; all of them together are read so many times over, and no more than so many dumps.
OFTEN, MOST_DUMPS = 4, 4
_TRL = "SFT|DPO|GRPO|KTO|ORPO|CPO|PPO|RLOO|Reward|OnlineDPO|PRM|GKD|XPO|NashMD|BCO|SimPO|UnslothTraining"
_CALL = re.compile(
    rf"(?<![\w.])((?:\w{{1,40}}\.){{0,4}}(?:\w{{0,60}}TrainingArguments|(?:Model|Data|Finetuning|Script|Lora)Arguments"
    rf"|(?:{_TRL})(?:v2)?(?:Config|Arguments)|ModelConfig|LoraConfig|(?:PromptTuning|PrefixTuning|PromptEncoder|IA3)Config|BitsAndBytesConfig|Namespace"
    r"|FastLanguageModel\.from_pretrained|FastLanguageModel\.get_peft_model|AutoModelFor\w{1,60}\.from_pretrained))\s{0,20}\("
)
_DICT = re.compile(r"\{\s{0,20}['\"]\w{1,60}['\"]\s{0,5}:")
_KEY = re.compile(r"\s*['\"]?([A-Za-z_]\w{0,80})['\"]?\s*[=:]\s*(?![=])")
#: Columns of a log: a dictionary with one of them is a row, and its learning rate that of one step.
_ROW = ("loss", "epoch", "grad_norm", "eval_loss", "train_loss", "step")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def recognise(text: str) -> bool:
    """By a call that takes training arguments, or a dictionary with names in quotes."""
    return _CALL.search(text) is not None or _DICT.search(text) is not None


def values(text: str) -> dict[str, Any]:
    """The arguments of all calls; where two state the same, the later one counts, as it does when the script runs."""
    found: dict[str, Any] = {}
    for match, parts in _bracketed(text, _CALL):
        found |= _of_call(match[1].rpartition(".from_pretrained")[0] or match[1], parts)
    if found:
        return found
    for _, parts in _bracketed(text, _DICT):
        inside = _named(parts, bare=False)
        if not any(name in _ROW for name in inside):
            found |= inside
    return found


def _bracketed(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], list[str]]]:
    """What matches, with the parts behind its opening bracket, until too much was read: brackets may be open and never close."""
    left = min(OFTEN * len(text), MOST_DUMPS * LONGEST)
    for match in islice(pattern.finditer(text), MOST_CALLS):
        begin = match.end() if pattern is _CALL else match.start() + 1
        parts = list(_split(text[begin : begin + min(LONGEST, left)]))
        yield match, parts
        left -= sum(map(len, parts))
        if left <= 0:
            return


def _of_call(name: str, parts: list[str]) -> dict[str, Any]:
    found = _named(parts, bare=_is_dump(parts))
    last = name.rpartition(".")[2]
    if last in ("LoraConfig", "get_peft_model"):
        found["use_lora"] = True
    elif last in _OTHER_ADAPTERS:
        found["peft_type"] = _OTHER_ADAPTERS[last]
    elif last.endswith(("Model", "LM")) or last.startswith("AutoModel"):
        first = literal(parts[0], bare=False) if parts else None
        found = {k: v for k, v in found.items() if k in _OF_MODEL}
        if isinstance(first, str) and "=" not in parts[0]:
            found["model_name_or_path"] = first
    elif last.endswith(("TrainingArguments", "Config")) and last not in ("ModelConfig", "BitsAndBytesConfig"):
        found["trainer"] = last
    return found


#: Configurations of PEFT that are no LoRA, and what it calls them.
_OTHER_ADAPTERS = {
    "PromptTuningConfig": "PROMPT_TUNING",
    "PrefixTuningConfig": "PREFIX_TUNING",
    "PromptEncoderConfig": "P_TUNING",
    "IA3Config": "IA3",
}
_OF_MODEL = ("model_name", "torch_dtype", "dtype", "attn_implementation", "load_in_4bit", "load_in_8bit", "max_seq_length")


def _is_dump(parts: list[str]) -> bool:
    """Whether text stands without quotes, as in the Trainer's own dump. Source code has at least one text in quotes."""
    plain = [match for part in parts if (match := _KEY.match(part))]
    quoted = any(part[match.end() :].lstrip()[:1] in ("'", '"') for part, match in zip(parts, plain, strict=False))
    return not quoted and any(re.match(r"\s*(_n_gpu|output_dir|logging_dir|run_name)=[^'\"\s(]+$", part) for part in parts)


def _named(parts: list[str], *, bare: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        match = _KEY.match(part)
        if match:
            value = literal(part[match.end() :], bare=bare)
            if value is not None:
                found[match[1]] = value
    return found


def _split(text: str) -> Iterator[str]:
    """The text up to the bracket that closes it, split at the commas of its own level, without comments."""
    waiting: list[str] = []  # the brackets that have to be closed
    quote = ""
    part: list[str] = []
    previous = "("
    place = 0
    while place < len(text):
        sign = text[place]
        if quote:
            if sign == "\\":
                part.append(sign + text[place + 1 : place + 2])
                place += 2
                continue
            quote = "" if sign == quote or sign == "\n" else quote
        elif sign in "'\"" and not (previous.isalnum() or previous in "._-/"):  # not the apostrophe in a path
            quote = sign
        elif sign == "#" and previous in " \t\n,(":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        elif sign in _CLOSING:
            waiting.append(_CLOSING[sign])
        elif sign in ")]}":
            if not waiting:
                break
            waiting.pop()
        elif sign == "," and not waiting:
            yield "".join(part)
            part, previous, place = [], sign, place + 1
            continue
        part.append(sign)
        previous = sign
        place += 1
    if "".join(part).strip():
        yield "".join(part)
