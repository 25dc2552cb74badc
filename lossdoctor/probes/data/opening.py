"""The loss of one small batch before the first step, on the CPU, without gradients; only where time and memory allow it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossdoctor.language import say
from lossdoctor.measured import Weights
from lossdoctor.probes.data.folder import Folder, files_with_weights, tensors
from lossdoctor.probes.data.tokens import Tokens

#: Examples of a batch, and tokens of each: enough for a mean, few enough for a laptop.
EXAMPLES, LENGTH = 4, 256
#: Labels that a mean needs at least.
FEWEST = 16
#: Parameters from which four examples take longer than half a minute on a few cores.
MOST_PARAMETERS = 1.6e9
#: Share of the free memory that the weights may take, in 32 bits each.
SHARE_OF_MEMORY = 0.5
#: An embedding row below this share of the usual length has never been trained.
UNTRAINED = 1e-6
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}


def with_loss(folder: Folder, weights: Weights, sequences: Sequence[Tokens]) -> tuple[Weights, str]:
    """The weights with the loss of one batch, or why it was not computed; `offline` must be entered."""
    batch = [cut for tokens in sequences if sum((cut := _window(tokens)).labelled[1:])][:EXAMPLES]
    why = _unsuitable(folder) or _too_large(folder)
    if not why and sum(sum(tokens.labelled[1:]) for tokens in batch) < FEWEST:
        why = say("the examples have fewer than {fewest} labels together", fewest=FEWEST)
    if not why and weights.size and max(max(tokens.ids) for tokens in batch) >= weights.size:
        why = say("token ids lie beyond the embedding")
    if why:
        return weights, why
    try:
        return _computed(folder, weights, batch, sorted({token for tokens in sequences for token in tokens.ids}))
    except ImportError:
        return weights, say("it needs torch, which is not installed")
    except Exception as error:  # whatever a broken or foreign model provokes
        return weights, say(
            "the model does not run here: {name}: {split}", name=type(error).__name__, split=" ".join(str(error).split())[:80]
        )


def _computed(folder: Folder, weights: Weights, batch: list[Tokens], used: list[int]) -> tuple[Weights, str]:
    import torch
    from transformers import AutoModelForCausalLM

    with _no_bars(), torch.random.fork_rng(devices=[]), torch.inference_mode():
        model, told = AutoModelForCausalLM.from_pretrained(
            str(folder.path),
            local_files_only=True,
            trust_remote_code=False,
            torch_dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
        model.eval()
        total, labels = 0.0, 0
        for tokens in batch:
            logits = model(input_ids=torch.tensor([tokens.ids]), use_cache=False).logits[0, :-1].float()
            wanted = [token if has else -100 for token, has in zip(tokens.ids[1:], tokens.labelled[1:], strict=True)]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), reduction="sum"))
            labels += sum(tokens.labelled[1:])
        untrained = _untrained(model, used, folder.tokenizer)
    unloaded = tuple(sorted(str(name) for name in told.get("missing_keys", ())))
    loss = total / labels
    found = replace(weights, loss=loss, loss_tokens=labels, loss_examples=len(batch), unloaded=unloaded, untrained=untrained)
    return found, ""


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars that transformers draws while it loads."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _untrained(model: Any, used: list[int], tokenizer: Any) -> tuple[str, ...]:
    """The tokens of the data whose row in the embedding is as good as zero."""
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    if embedding is None or not used:
        return ()
    lengths = embedding[used].norm(dim=1)
    usual = float(lengths.median())
    zero = [token for token, length in zip(used, lengths.tolist(), strict=True) if length <= UNTRAINED * usual]
    return tuple(str(word) for word in tokenizer.convert_ids_to_tokens(zero)) if tokenizer is not None else tuple(map(str, zero))


def _window(tokens: Tokens) -> Tokens:
    """A stretch that has the first labels in it, and what stands before them."""
    if len(tokens.ids) <= LENGTH:
        return tokens
    first = tokens.labelled.index(True) if True in tokens.labelled else 0
    begin = max(0, min(first - LENGTH // 2, len(tokens.ids) - LENGTH))
    return Tokens(tokens.ids[begin : begin + LENGTH], tokens.labelled[begin : begin + LENGTH])


def _unsuitable(folder: Folder) -> str:
    """Why this is no language model that can be run as it lies there."""
    config, names = folder.config, str(folder.config.get("architectures"))
    if (folder.path / "adapter_config.json").is_file() and not files_with_weights(folder.path):
        return say("the folder has an adapter, and its base model is somewhere else")
    if not config or not files_with_weights(folder.path):
        return say("the folder has no weights") if config else say("the folder has no config.json")
    if config.get("quantization_config"):
        return say("the weights are quantised")
    if config.get("is_encoder_decoder") or not any(word in names for word in ("CausalLM", "LMHead")):
        return say("the model is none that predicts the next token")
    return ""


def _too_large(folder: Folder) -> str:
    parameters = _parameters(folder)
    if parameters > MOST_PARAMETERS:
        return say(
            "the model has {parameters:.1f} billion parameters, too many for one batch on a CPU",
            parameters=parameters / 1000000000.0,
        )
    memory = _free_memory()
    if memory is not None and 4 * parameters > SHARE_OF_MEMORY * memory:
        return say(
            "the weights would take {parameters:.1f} GB, and {memory:.1f} GB of memory are free",
            parameters=4 * parameters / 2**30,
            memory=memory / 2**30,
        )
    return ""


def _parameters(folder: Folder) -> float:
    """From the headers of safetensors files; else from the size of the files, as if all were in 16 bits."""
    there = tensors(folder.path)
    if there:
        return float(sum(math.prod(shape) for shape, kind in there.values() if kind in _BYTES))
    return sum(file.stat().st_size for file in files_with_weights(folder.path)) / 2


def _free_memory() -> float | None:
    """Bytes that programs can still take; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2
    return None
