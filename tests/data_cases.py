"""A sick and a healthy data set with its model for every check of the data: small, and made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_models as tiny

Made = tuple[Path | None, Path | None]
TRL = {"framework": "trl", "trainer": "SFTConfig"}
STOPS = {"end": "<|im_end|>"}


@dataclass(frozen=True)
class Case:
    """Makes a model folder and a data file in a folder; `facts` are what the configuration states."""

    make: Callable[[Path], Made]
    facts: dict[str, Any]
    slow: bool = False


def _chats(path: Path, number: int = 40, **words: Any) -> Path:
    return tiny.lines(path / "chats.jsonl", (tiny.chat(seed, **words) for seed in range(number)))


def _pairs(path: Path, number: int = 40, **words: Any) -> Path:
    return tiny.lines(path / "pairs.jsonl", (tiny.pair(seed, **words) for seed in range(number)))


def _texts(path: Path, words: int = 20, end: str = "", begin: str = "") -> Path:
    rows = ({"text": f"{begin}{tiny.text(seed, words)}{end}"} for seed in range(40))
    return tiny.lines(path / "texts.jsonl", rows)


def _named(path: Path, **options: Any) -> Path:
    return tiny.tokenizer(path / "model", **options)


def _some_long(path: Path) -> Path:
    return tiny.lines(path / "chats.jsonl", (tiny.chat(seed, said=200 if seed % 4 == 0 else 12) for seed in range(40)))


def _copies(path: Path, different: int) -> Path:
    return tiny.lines(path / "pairs.jsonl", ({"id": seed, **tiny.pair(seed % different)} for seed in range(40)))


def _some_empty(path: Path, every: int) -> Path:
    rows = ({**tiny.pair(seed), "completion": "" if every and seed % every == 0 else tiny.text(seed, 9)} for seed in range(40))
    return tiny.lines(path / "pairs.jsonl", rows)


def _preferences(path: Path, alike: int) -> Path:
    rows = []
    for seed in range(40):
        chosen = tiny.text(seed + 1_000, 9)
        rejected = chosen if seed < alike else tiny.text(seed + 2_000, 9)
        rows.append({"prompt": tiny.text(seed, 6), "chosen": chosen, "rejected": rejected})
    return tiny.lines(path / "preferences.jsonl", rows)


def _beyond(path: Path, vocabulary: int) -> Made:
    folder = _named(path, more=["<tool>", "</tool>"], **STOPS)
    rows = (tiny.chat(seed, system="<tool> bridge </tool>") for seed in range(40))
    return tiny.config(folder, vocabulary=vocabulary), tiny.lines(path / "chats.jsonl", rows)


def _model(path: Path, **options: Any) -> Path:
    return tiny.model(_named(path, template=tiny.CHATML, end="<|im_end|>"), **options)


def _zero_rows(path: Path) -> Path:
    """A base model that has the tokens of the template, and never learned them."""
    from safetensors.torch import load_file, save_file

    folder = _model(path, steps=40)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][4:6] = 0.0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


CASES: dict[str, dict[str, Case]] = {
    "examples-all-masked": {
        "sick": Case(lambda p: (_named(p, **STOPS), _pairs(p, asked=60)), {**TRL, "max_length": 48}),
        "sick-markers": Case(lambda p: (_named(p, **STOPS), _chats(p)), {**TRL, "assistant_only_loss": True, "max_length": 512}),
        "healthy": Case(
            lambda p: (_named(p, template=tiny.MARKED, **STOPS), _chats(p)),
            {**TRL, "assistant_only_loss": True, "max_length": 512},
        ),
    },
    "examples-truncated": {
        "sick": Case(lambda p: (_named(p, **STOPS), _some_long(p)), {"framework": "axolotl", "max_length": 128}),
        "sick-text": Case(lambda p: (_named(p), _texts(p, words=200)), {**TRL, "max_length": 128}),
        "sick-answers": Case(
            lambda p: (_named(p), _pairs(p, said=200)), {"framework": "LLaMA-Factory", "trainer": "sft", "max_length": 128}
        ),
        "healthy": Case(lambda p: (_named(p, **STOPS), _some_long(p)), {"framework": "axolotl", "max_length": 1024}),
    },
    "end-token-masked": {
        "sick": Case(lambda p: (_named(p, pad="</s>"), _texts(p)), {**TRL, "trl_version": "0.16.1", "max_length": 512}),
        "sick-unknown": Case(lambda p: (_named(p, pad="</s>"), _texts(p, end="</s>")), {}),
        "sick-marks": Case(
            lambda p: (_named(p, template=tiny.MARKED_BEFORE_END, **STOPS), _chats(p)),
            {**TRL, "assistant_only_loss": True, "max_length": 512},
        ),
        "healthy": Case(lambda p: (_named(p, pad="</s>"), _texts(p)), {**TRL, "trl_version": "1.16.0", "max_length": 512}),
    },
    "end-token-missing": {
        "sick": Case(lambda p: (_named(p), _chats(p)), {**TRL, "max_length": 512}),
        "sick-text": Case(lambda p: (_named(p), _texts(p)), {}),
        "healthy-stated": Case(lambda p: (_named(p), _chats(p)), {**TRL, "eos_token": "<|im_end|>", "max_length": 512}),
        "sick-old": Case(lambda p: (_named(p), _texts(p)), {**TRL, "trl_version": "0.15.2", "max_length": 512}),
        "healthy": Case(lambda p: (_named(p, **STOPS), _chats(p)), {**TRL, "max_length": 512}),
    },
    "token-ids-beyond-vocabulary": {
        "sick": Case(lambda p: _beyond(p, 400), {**TRL, "use_lora": True, "max_length": 512}),
        "sick-padding": Case(lambda p: (tiny.config(_named(p, pad="<|pad|>")), None), {}),
        "healthy": Case(lambda p: _beyond(p, 402), {**TRL, "max_length": 512}),
    },
    "examples-repeated": {
        "sick": Case(lambda p: (None, _copies(p, 20)), {}),
        "healthy": Case(lambda p: (None, _copies(p, 40)), {}),
    },
    "examples-empty": {
        "sick": Case(lambda p: (None, _some_empty(p, 10)), {}),
        "healthy": Case(lambda p: (None, _some_empty(p, 0)), {}),
    },
    "pairs-alike": {
        "sick": Case(lambda p: (None, _preferences(p, 8)), {}),
        "healthy": Case(lambda p: (None, _preferences(p, 0)), {}),
    },
    "beginning-token-doubled": {
        "sick": Case(lambda p: (_named(p, adds_beginning=True), _texts(p, begin="<s>", end="</s>")), {}),
        "sick-template": Case(
            lambda p: (_named(p, adds_beginning=True, template=tiny.WITH_BEGINNING, **STOPS), _chats(p)),
            {**TRL, "trl_version": "0.9.6", "max_length": 512},
        ),
        "healthy": Case(lambda p: (_named(p, adds_beginning=True), _texts(p, end="</s>")), {}),
    },
    "examples-refused-by-template": {
        "sick": Case(lambda p: (_named(p, template=tiny.STRICT, **STOPS), _chats(p, system="be brief")), TRL),
        "healthy": Case(lambda p: (_named(p, template=tiny.STRICT, **STOPS), _chats(p)), TRL),
    },
    "chat-template-missing": {
        "sick": Case(lambda p: (_named(p, template=None), _chats(p)), TRL),
        "healthy": Case(lambda p: (_named(p, template=None), _pairs(p)), TRL),
    },
    "prompts-supervised": {
        "sick": Case(
            lambda p: (_named(p, **STOPS), _chats(p, asked=40)), {**TRL, "completion_only_loss": True, "max_length": 512}
        ),
        "sick-default": Case(lambda p: (_named(p, **STOPS), _chats(p, asked=40)), {**TRL, "max_length": 512}),
        "healthy": Case(lambda p: (_named(p, **STOPS), _pairs(p, asked=40)), {**TRL, "max_length": 512}),
    },
    "opening-loss-at-chance": {
        "sick": Case(lambda p: (_model(p), _pairs(p)), {**TRL, "max_length": 512}, slow=True),
        "healthy": Case(lambda p: (_model(p, steps=40), _pairs(p)), {**TRL, "max_length": 512}, slow=True),
    },
    "embedding-rows-zero": {
        "sick": Case(lambda p: (_zero_rows(p), _chats(p)), {**TRL, "use_lora": True, "max_length": 512}, slow=True),
        "healthy": Case(lambda p: (_model(p, steps=40), _chats(p)), {**TRL, "use_lora": True, "max_length": 512}, slow=True),
    },
}
