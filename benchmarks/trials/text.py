"""Real text that every machine has that can run the benchmark: docstrings of Python's library and of the installed packages, and
the chapters of the language reference that Python carries for its help().

Split by whole documents, by a hash of their names: what is held out is never trained on, whatever the machine has installed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import pydoc_data.topics
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

#: Ignored by git; `make clean` removes it.
BUILD = Path(__file__).parents[2] / "build" / "trials"
VOCABULARY = 1024
SPECIAL = ["<pad>", "<s>", "</s>", "<mask>", "<unk>"]
#: The classes: which package does a passage describe?
ORIGINS = ("python", "numpy", "torch", "transformers", "huggingface_hub", "rich")
#: Files of each package that are read, and the shortest docstring that counts.
FILES, SHORTEST = 420, 160
#: The fine-tunes have passages of these parts, pre-training has the other parts of Python's own library.
PARTS = 100


def part(name: str) -> int:
    """A number from 0 to 99 that depends on the name of a document alone."""
    return int(hashlib.sha1(name.encode()).hexdigest(), 16) % PARTS


def split_of(name: str) -> str:
    """`heldout`, which nothing in a run ever sees, `validation`, which a run is evaluated on, or `train`."""
    place = part(name)
    return "heldout" if place < 18 else "validation" if place < 26 else "train"


def docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """The name of each file below a folder with each of its docstrings; tests have none worth reading."""
    inside = [f.relative_to(folder) for f in sorted(folder.rglob("*.py"))]
    files = [folder / f for f in inside if "site-packages" not in f.parts and "test" not in str(f)]
    for file in files[:FILES]:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                words = ast.get_docstring(node)
                if words and len(words) >= SHORTEST:
                    yield f"{file.relative_to(folder)}", words


@cache
def library() -> dict[str, list[tuple[str, str]]]:
    """The docstrings of each origin with the names of their files; read once and kept in the build folder."""
    kept = BUILD / "docstrings.json"
    if kept.exists():
        return {name: [(file, words) for file, words in found] for name, found in json.loads(kept.read_text()).items()}
    folders = {name: Path(sysconfig.get_path("purelib"), name) for name in ORIGINS if name != "python"}
    folders["python"] = Path(sysconfig.get_path("stdlib"))
    found = {name: list(dict.fromkeys(docstrings(folder))) for name, folder in folders.items()}
    missing = [name for name, texts in found.items() if not texts]
    if missing:
        raise SystemExit(f"the benchmark reads the docstrings of {', '.join(missing)}, which are not installed")
    BUILD.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def for_pre_training() -> str:
    """Two thirds of the files of Python's own library, one docstring after another."""
    return "\n\n".join(words for file, words in library()["python"] if part(file) < 66)


def modules(number: int) -> list[str]:
    """What there is for pre-training of the modules with the most of it, module by module."""
    found: dict[str, list[str]] = {}
    for file, words in library()["python"]:
        if part(file) < 66:
            found.setdefault(file.partition("/")[0].removesuffix(".py"), []).append(words)
    texts = sorted(("\n\n".join(words) for words in found.values()), key=len, reverse=True)
    return texts[:number]


@cache
def chapters() -> dict[str, list[str]]:
    """The paragraphs of each chapter of the language reference."""
    found = {}
    for name, text in pydoc_data.topics.topics.items():
        paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
        found[name] = [p for p in paragraphs if len(p) > 60]
    return found


def questions(split: str) -> list[tuple[str, str]]:
    """A paragraph of the reference with the one that follows it."""
    return [
        (before, after)
        for name, paragraphs in sorted(chapters().items())
        for number, (before, after) in enumerate(pairwise(paragraphs))
        if split_of(f"{name}{number // 12}") == split
    ]


def passages(split: str) -> list[tuple[str, int]]:
    """A passage with the number of its origin: the files of Python's library that are not for pre-training, and the packages."""
    found = []
    for number, origin in enumerate(ORIGINS):
        for file, words in library()[origin]:
            if (origin != "python" or part(file) >= 66) and split_of(file + "/passage") == split:
                found.append((" ".join(words.split()), number))
    return found


def summaries(split: str) -> list[tuple[str, str]]:
    """The body of a docstring with its first sentence, which it must be told from."""
    found = []
    for origin in ORIGINS:
        for file, words in library()[origin]:
            first, _, body = words.partition("\n\n")
            title, body = " ".join(first.split()), " ".join(body.split())
            enough = 20 < len(title) < 160 and len(body) > 100
            if (origin != "python" or part(file) >= 66) and enough and split_of(file + "/summary") == split:
                found.append((body, re.split(r"(?<=\.)\s", title)[0]))
    return found


@cache
def tokenizer() -> Any:
    """Byte-level BPE with 1,024 tokens, learned from the text for pre-training and from chapters that are trained on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    kept = BUILD / "tokenizer.json"
    if kept.exists():
        return Tokenizer.from_file(str(kept))
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    texts = [for_pre_training(), *(after for _, after in questions("train")), *(words for words, _ in passages("train")[::4])]
    made.train_from_iterator(texts, trainer)
    made.save(str(kept))
    return made


def encode(text: str) -> list[int]:
    """The token ids of a text."""
    return list(tokenizer().encode(text).ids)
