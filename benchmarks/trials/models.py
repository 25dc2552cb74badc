"""Four tiny models, pre-trained by the benchmark itself, since nothing is downloaded: LLaMA, GPT-2, BERT and T5.

Each has 0.2 to 0.4 million weights, and is trained on the docstrings of Python's library: language modelling, the continuation of
a passage, or, for BERT, which module a passage is from. (So small a BERT learns nothing from masked words in so few steps.)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from trials.text import BUILD, VOCABULARY, encode, for_pre_training, modules

FAMILIES = ("llama", "gpt2", "bert", "t5")
#: The width of most trials, and the width of a head in all of them.
WIDTH, LAYERS, HEAD, LENGTH = 64, 3, 16, 128
#: Steps of pre-training, sequences of a step, and their tokens.
STEPS, BATCH, TOKENS = {"llama": 1000, "gpt2": 1000, "bert": 1000, "t5": 2000}, 16, 64
#: At this width; the best rate of Adam falls with it (https://arxiv.org/abs/2203.03466).
PEAK = {"llama": 3e-3, "gpt2": 3e-3, "bert": 1e-3, "t5": 3e-3}
#: Modules of Python's library, those with the most to read, that BERT learns to tell apart.
MODULES = 32
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
#: How large the largest activation of an fp16 trial is made, as a share of fp16's largest number.
LARGEST = 65504.0


def fresh(family: str, width: int = WIDTH) -> Any:
    """A model with random weights."""
    torch.manual_seed(0)
    heads, inner = width // HEAD, width * 11 // 4
    if family == "llama":
        shape = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": LAYERS, "num_attention_heads": heads}
        return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=LENGTH, **shape, **IDS))
    if family == "gpt2":
        none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        shape = {"n_embd": width, "n_layer": LAYERS, "n_head": heads, "n_positions": LENGTH}
        return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, tie_word_embeddings=False, **shape, **none, **IDS))
    if family == "bert":
        shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": LAYERS, "num_attention_heads": heads}
        none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        more = {"max_position_embeddings": LENGTH, "initializer_range": 0.8 / width**0.5, "num_labels": MODULES}
        return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, **more, **shape, **none, **IDS))
    shape = {"d_model": width, "d_ff": inner, "d_kv": HEAD, "num_layers": LAYERS - 1, "num_heads": heads}
    return T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, dropout_rate=0.0, decoder_start_token_id=0, **shape, **IDS))


def _batches(family: str) -> Any:
    """Batches of pre-training without end, from windows of the text."""
    draw = torch.Generator().manual_seed(1)
    if family == "bert":
        yield from _passages(draw)
    ids = torch.tensor(encode(for_pre_training()))
    while True:
        starts = torch.randint(0, len(ids) - TOKENS, (BATCH,), generator=draw)
        window = torch.stack([ids[start : start + TOKENS] for start in starts.tolist()])
        if family == "t5":
            cut = TOKENS * 5 // 8
            yield {"input_ids": window[:, :cut], "labels": window[:, cut:].contiguous()}
        else:
            yield {"input_ids": window, "labels": window}


def _passages(draw: torch.Generator) -> Any:
    """Windows of the documentation of one module each, with the number of the module."""
    found = [torch.tensor(encode(words)) for words in modules(MODULES)]
    width = TOKENS * 5 // 8
    while True:
        numbers = torch.randint(0, len(found), (BATCH,), generator=draw)
        starts = torch.rand(BATCH, generator=draw)
        windows = [found[n][int(start * (len(found[n]) - width)) :][:width] for n, start in zip(numbers, starts, strict=True)]
        yield {
            "input_ids": torch.stack([torch.cat([torch.tensor([1]), w, torch.tensor([2])]) for w in windows]),
            "labels": numbers,
        }


def base(family: str, width: int = WIDTH) -> Path:
    """The folder of the pre-trained model; trains it if it is not there."""
    steps = STEPS[family]
    folder = BUILD / f"{family}-{width}-{LAYERS}-{steps}"
    if (folder / "config.json").exists():
        return folder
    model, batches = fresh(family, width), _batches(family)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK[family] * WIDTH / width, weight_decay=0.01)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    losses = []
    for _ in range(steps):
        loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    chance = math.log(MODULES if family == "bert" else VOCABULARY)
    print(f"{family}: pre-trained, loss {losses[0]:.3f} → {sum(losses[-50:]) / 50:.3f} (guessing {chance:.3f})")
    getattr(model, "bert", model).save_pretrained(folder)
    return folder


def with_large_activations(model: Any, share: float, batch: dict[str, torch.Tensor]) -> None:
    """Makes the residual stream so large that its largest number is `share` of fp16's largest; the model says the same as before.

    The norms of LLaMA, T5 and GPT-2 come after the stream, so a factor in front of it cancels out: all that writes to it is
    multiplied. Gemma multiplies its embeddings; the output of T5's feed-forward layers reached 66,246 as it was published.
    """
    tables = ("embed_tokens.weight", "shared.weight", "wte.weight", "wpe.weight")
    writers = ("o_proj", "down_proj", ".o", ".wo", "c_proj")  # what autocast computes in fp16; the sum of them is in fp32
    if model.config.model_type == "t5":  # its output layer shares the embedding, but stands behind a norm
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    found: list[float] = []
    writing = [module for name, module in model.named_modules() if name.endswith(writers)]
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(out.abs().max().item())) for m in writing]
    model.eval()
    with torch.no_grad():
        before = model(**batch).loss.item()
        times = share * LARGEST / max(found)
        for name, parameter in model.named_parameters():
            if name.endswith(tables) or name.rpartition(".")[0].endswith(writers):
                parameter.mul_(times)
        after = model(**batch).loss.item()
    for hook in hooks:
        hook.remove()
    assert abs(after - before) < 0.02 * before, (before, after)


def base_folder(which: tuple[str, int]) -> dict[str, str]:
    """As `base`, for a process of its own."""
    torch.set_num_threads(1)
    return {"folder": str(base(*which))}
