"""Tokenizers and models of a few kilobytes, made here and nowhere downloaded, and files of examples to go with them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_TEXT = """
the a river mountain bridge small large red green house crosses leads to from above below why does how many
where is water stone bird sings quietly loudly every morning evening after before rain snow wind because it
was built long ago and people walk over under between fields question answer yes no perhaps never always often
count one two three four five
"""
WORDS = _TEXT.split()
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED_BEFORE_END = MARKED.replace("<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>")
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
WITH_BEGINNING = "{{ bos_token }}" + CHATML
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")


@cache
def _trained() -> str:
    """A byte-level BPE of some three hundred tokens, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE(unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    bare.train_from_iterator([text(seed, 40) for seed in range(40)], trainer)
    return str(bare.to_str())


def tokenizer(
    folder: Path,
    *,
    template: str | None = CHATML,
    pad: str | None = "<pad>",
    end: str = "</s>",
    more: Iterable[str] = (),
    **special: bool,
) -> Path:
    """Saves a tokenizer; `adds_beginning` lets it put <s> before every text, `more` are tokens that are added afterwards."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer.from_str(_trained())
    if special.get("adds_beginning"):
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token=end, unk_token="<unk>", pad_token=pad)
    fast.chat_template = template
    fast.add_tokens(list(more))
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return folder


def model(folder: Path, *, vocabulary: int = 400, steps: int = 0, positions: int = 512, seed: int = 0, **more: Any) -> Path:
    """Saves a model of two layers, trained for so many steps on the text of these examples."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=positions,
        **more,
    )
    made = LlamaForCausalLM(config)
    if steps:
        made.load_state_dict(_learned(made, folder, steps))
    made.save_pretrained(folder)
    return folder


def config(folder: Path, *, vocabulary: int = 400, **more: Any) -> Path:
    """A config.json without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps({**values, **more}), encoding="utf-8")
    return folder


_LEARNED: dict[tuple[int, int], dict[str, Any]] = {}


def _learned(made: Any, folder: Path, steps: int) -> dict[str, Any]:
    """The weights after so many steps on the text of these examples; learned once."""
    import torch
    from transformers import AutoTokenizer

    key = (steps, made.config.vocab_size)
    if key not in _LEARNED:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # so small a model is faster on one
        known = AutoTokenizer.from_pretrained(folder)
        optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
        for step in range(steps):
            ids = torch.tensor([known(text(8 * step + row, 60))["input_ids"][:48] for row in range(8)])
            made(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.set_num_threads(threads)
        _LEARNED[key] = {name: value.clone() for name, value in made.state_dict().items()}
    return _LEARNED[key]


def text(seed: int, words: int) -> str:
    """So many words in the order of that seed."""
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(words))


def chat(seed: int, asked: int = 8, said: int = 8, system: str = "") -> dict[str, Any]:
    """A question of so many words, and its answer."""
    messages = [{"role": "user", "content": text(seed, asked)}, {"role": "assistant", "content": text(seed + 10_000, said)}]
    return {"messages": [{"role": "system", "content": system}, *messages] if system else messages}


def pair(seed: int, asked: int = 8, said: int = 8) -> dict[str, Any]:
    """The same as prompt and completion."""
    return {"prompt": text(seed, asked) + "\n", "completion": text(seed + 10_000, said)}


def lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Saves examples as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
