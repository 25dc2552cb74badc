"""What lies in the folder of a model: configuration, tokenizer, and the shapes of its weights. Nothing is downloaded or run."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossdoctor.confinement import is_file_of
from lossdoctor.facts.files import mapping
from lossdoctor.language import say
from lossdoctor.measured import Vocabulary, Weights
from lossdoctor.model import LossDoctorError, Run
from lossdoctor.probes.data.recipe import tool_of

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
#: The embedding of the tokens, as models of transformers call it.
_EMBEDDING = re.compile(r"(?:embed_tokens|wte|embed_in|word_embeddings|tok_embeddings|tokens_embed)\.weight$|^shared\.weight$")
LARGEST_HEADER = 32 * 1024 * 1024
#: Tokens behind the last row of the model that are worth naming.
MOST_ADDED = 5


@dataclass(frozen=True)
class Folder:
    """The folder of a model, its configuration as far as there is one, and its tokenizer as far as that loads."""

    path: Path
    config: dict[str, Any]
    tokenizer: Any = None
    no_tokenizer: str = ""  # why there is none

    @property
    def text_config(self) -> dict[str, Any]:
        """The part about language, which models that see or hear keep in one of its own."""
        inner = self.config.get("text_config")
        return {**self.config, **inner} if isinstance(inner, dict) else self.config


@contextmanager
def offline() -> Iterator[None]:
    """Nobody asks the Hub for anything in here, and nothing is printed; all is as before afterwards."""
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    logger, constants = logging.getLogger("transformers"), sys.modules.get("huggingface_hub.constants")
    level, was = logger.level, getattr(constants, "HF_HUB_OFFLINE", None)
    logger.setLevel(logging.CRITICAL)
    if constants is not None:
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]  # read once, when it was imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        constants = sys.modules.get("huggingface_hub.constants")
        if constants is not None:
            constants.HF_HUB_OFFLINE = bool(before["HF_HUB_OFFLINE"]) if was is None else was  # type: ignore[attr-defined]


def opened(path: Path) -> Folder:
    """The folder with what can be loaded of it; `offline` must be entered.

    Raises:
        LossDoctorError: it is no folder of a model, or transformers is missing.
    """
    if not path.is_dir():
        what = say("no such folder") if not path.exists() else say("no folder")
        raise LossDoctorError(f"{path}: {what}; --model-path takes the folder of a model on this machine")
    config = mapping(path / "config.json") if is_file_of(path / "config.json", path) else {}
    named = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt"]
    if not any(is_file_of(path / name, path) for name in named):
        if not config:
            raise LossDoctorError(f"{path} has neither a tokenizer nor a config.json; the folder of a model was expected")
        return Folder(path, config, None, say("{path_name} has no tokenizer", path_name=path.name))
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise LossDoctorError("--model-path needs transformers; install it with: pip install 'lossdoctor[hf]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a broken or foreign tokenizer provokes
        return Folder(
            path,
            config,
            None,
            say("the tokenizer in {path_name} does not load: {error}", path_name=path.name, error=_line(error)),
        )
    return Folder(path, config, tokenizer)


def vocabulary_of(folder: Folder, brought: str | None, size: int | None) -> Vocabulary | None:
    """The tokenizer in numbers; `brought` is the chat template that the trainer brings, `size` the rows of the model."""
    tokenizer = folder.tokenizer
    if tokenizer is None:
        return None
    template = brought or _template(tokenizer)
    special = {
        token: str(getattr(tokenizer, f"{name}_token"))
        for name in ("pad", "eos", "bos")
        if isinstance(token := getattr(tokenizer, f"{name}_token_id", None), int)
    }
    return Vocabulary(
        length=len(tokenizer),
        padding=tokenizer.pad_token_id,
        end=tokenizer.eos_token_id,
        beginning=tokenizer.bos_token_id,
        ends=frozenset(_ends(folder)),
        words=special,
        template=template is not None,
        marks_answers=template is not None and _GENERATION.search(template) is not None,
        added=tuple(_added(tokenizer, size)) if size else (),
    )


def with_tokens_of(folder: Folder, run: Run) -> None:
    """Gives the tokenizer the end and padding tokens that the configuration names, as trainers do, if it knows them."""
    for name in ("eos_token", "pad_token"):
        token = run.get(name)
        if folder.tokenizer is not None and token in folder.tokenizer.get_vocab():
            setattr(folder.tokenizer, name, token)


def brought_template(folder: Folder, run: Run) -> str | None:
    """The template with marks that TRL has for this tokenizer where `assistant_only_loss` needs one; None where it has none."""
    template = _template(folder.tokenizer) if folder.tokenizer is not None else None
    if template is None or run.get("assistant_only_loss") is not True or _GENERATION.search(template) or tool_of(run) != "TRL":
        return None
    try:
        from trl.chat_template_utils import get_training_chat_template
    except Exception:  # not installed, too old to have it, or not in order
        return None
    with suppress(Exception):  # it knows this template, or says that it does not
        found = get_training_chat_template(folder.tokenizer)
        return found if isinstance(found, str) else None
    return None


def weights_of(folder: Folder) -> Weights:
    """The vocabulary and positions of the configuration, and the rows of the embedding in safetensors files."""
    config = folder.text_config
    return Weights(
        vocabulary=_count(config.get("vocab_size")),
        rows=_rows(folder.path),
        positions=_count(config.get("max_position_embeddings", config.get("n_positions"))),
    )


def files_with_weights(folder: Path) -> list[Path]:
    """The files of the weights that transformers would load."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        found = sorted(file for file in folder.glob(pattern) if is_file_of(file, folder))
        if found:
            return found
    return []


def tensors(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and type of every tensor in the safetensors files, from their headers alone."""
    found: dict[str, tuple[list[int], str]] = {}
    for file in files_with_weights(folder):
        if file.suffix != ".safetensors":
            continue
        with suppress(OSError, ValueError, RecursionError, TypeError, AttributeError), file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if size <= LARGEST_HEADER else {}
            found |= {name: (part["shape"], part["dtype"]) for name, part in header.items() if name != "__metadata__"}
    return found


def _rows(folder: Path) -> int | None:
    there = [shape for name, (shape, _) in tensors(folder).items() if _EMBEDDING.search(name)]
    return max((shape[0] for shape in there if len(shape) == 2), default=None)


def _template(tokenizer: Any) -> str | None:
    template = getattr(tokenizer, "chat_template", None)
    template = template.get("default") if isinstance(template, dict) else template
    return template if isinstance(template, str) and template else None


def _ends(folder: Folder) -> Iterator[int]:
    """The ids at which generation stops, as the tokenizer and both configurations state them."""
    stated = [getattr(folder.tokenizer, "eos_token_id", None), folder.text_config.get("eos_token_id")]
    if is_file_of(folder.path / "generation_config.json", folder.path):
        with suppress(LossDoctorError):
            stated.append(mapping(folder.path / "generation_config.json").get("eos_token_id"))
    for value in stated:
        yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, int))


def _added(tokenizer: Any, size: int) -> Iterator[tuple[int, str]]:
    """The first tokens that the model has no row for."""
    behind = list(range(size, min(len(tokenizer), size + MOST_ADDED)))
    return zip(behind, (str(word) for word in tokenizer.convert_ids_to_tokens(behind)), strict=False)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
