"""The usual shapes of examples: chats, prompt and answer, text, preference pairs, and what is in tokens already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Part = str | list[Message]

#: What ShareGPT calls the roles, as LLaMA-Factory and axolotl translate them.
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
ROLES |= {"function_call": "assistant", "observation": "tool"}
_CHATS = ("messages", "conversations", "conversation")
#: A prompt column with its answer column, and one with more of the prompt; the first pair that is there counts.
_PAIRS = (
    ("prompt", "completion", ""),
    ("instruction", "output", "input"),
    ("instruction", "response", "context"),
    ("prompt", "response", ""),
    ("prompt", "answer", ""),
    ("question", "answer", ""),
    ("query", "response", ""),
    ("input", "output", ""),
)
_TEXTS = ("text", "content")


@dataclass(frozen=True)
class Shape:
    """What the columns of the examples are for; a name of a column is empty where there is none."""

    name: str
    prompt: str = ""
    answer: str = ""
    more: str = ""
    rejected: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in (self.prompt, self.more, self.answer, self.rejected) if name)


@dataclass(frozen=True)
class Content:
    """One example, whatever its columns are called; a preference pair has an answer that was `rejected`."""

    prompt: Part = ""
    answer: Part = ""
    rejected: Part = ""
    tokens: tuple[int, ...] = ()
    labels: tuple[int, ...] | None = None
    tools: Any = None

    @property
    def chat(self) -> bool:
        return isinstance(self.answer, list) or isinstance(self.prompt, list)


def shape_of(rows: Iterable[Mapping[str, Any]]) -> Shape | None:
    """The shape of the first examples, by their columns; None where it is none of the usual ones."""
    columns: dict[str, Any] = {}
    for row in rows:
        columns |= {name: value for name, value in row.items() if value is not None}
    if isinstance(columns.get("input_ids"), (list, tuple)):
        return Shape("tokens", answer="input_ids")
    if "chosen" in columns and "rejected" in columns:
        prompt = next((name for name in ("prompt", "question", "instruction") if name in columns), "")
        return Shape("preference pairs", prompt, "chosen", rejected="rejected")
    for name in _CHATS:
        if _messages(columns.get(name)) is not None:
            return Shape("chats", answer=name)
    for prompt, answer, more in _PAIRS:
        if prompt in columns and answer in columns:
            return Shape("prompts with answers", prompt, answer, more if more in columns else "")
    for name in _TEXTS:
        if isinstance(columns.get(name), str):
            return Shape("text", answer=name)
    return Shape("prompts", prompt="prompt") if "prompt" in columns else None


def content_of(row: Mapping[str, Any], shape: Shape, translate: bool) -> Content | None:
    """What an example says, with roles translated where the trainer does so; None where a column that it needs is of no use."""
    if shape.name == "tokens":
        tokens, labels = _whole(row.get("input_ids")), _whole(row.get("labels"))
        return None if tokens is None else Content(tokens=tokens, labels=_masked(tokens, labels, row.get("attention_mask")))
    parts = {name: _part(row.get(name), translate) for name in shape.columns}
    if any(part is None for name, part in parts.items() if name in (shape.answer, shape.rejected)):
        return None
    prompt, more = parts.get(shape.prompt) or "", parts.get(shape.more) or ""
    if isinstance(prompt, str) and isinstance(more, str) and more:
        prompt = f"{prompt}\n{more}"
    answer, rejected = parts.get(shape.answer) or "", parts.get(shape.rejected) or ""
    if isinstance(prompt, list) and isinstance(answer, str) and shape.answer:
        answer = [{"role": "assistant", "content": answer}]
        rejected = [{"role": "assistant", "content": rejected}] if isinstance(rejected, str) and rejected else rejected
    return Content(prompt, answer, rejected, tools=_tools(row.get("tools")))


def empty(content: Content | None, shape: Shape) -> bool:
    """Whether an example has nothing in it that could be learned."""
    if content is None:
        return True
    if shape.name == "tokens":
        return not content.tokens
    if shape.name == "prompts":
        return not _said(content.prompt, "")
    return not _said(content.answer, "assistant") or bool(shape.rejected and not _said(content.rejected, "assistant"))


def pictures(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether examples come with pictures, sound or film, whose tokens are not counted."""
    return any(row.get(name) for row in rows for name in ("images", "image", "videos", "audios", "audio"))


def _said(part: Part, role: str) -> bool:
    if isinstance(part, str):
        return bool(part.strip())
    known = [message for message in part if message.get("role") == role] or part
    return any(str(message.get("content") or "").strip() or message.get("tool_calls") for message in known)


def _part(value: Any, translate: bool) -> Part | None:
    """Text as it is, or messages with role and content."""
    messages = _messages(value)
    if messages is None:
        return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else None
    found: list[Message] = []
    for message in messages:
        role = str(message.get("role", message.get("from")) or "")
        told = message.get("content", message.get("value"))
        rest = {name: part for name, part in message.items() if name not in ("from", "value") and part is not None}
        found.append({**rest, "role": ROLES.get(role, role) if translate else role, "content": _text(told)})
    return found


def _messages(value: Any) -> list[Mapping[str, Any]] | None:
    """A list of messages, also one that a cell of a table holds as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(part, Mapping) for part in value):
        return None
    return list(value) if any("role" in part or "from" in part for part in value) else None


def _text(told: Any) -> str:
    """The words of a message, also of one in parts."""
    if isinstance(told, list):
        told = "".join(str(part.get("text") or "") for part in told if isinstance(part, Mapping))
    return "" if told is None else str(told)


def _tools(value: Any) -> Any:
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and value else None


def _whole(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, int) and abs(part) < 2**31 for part in value):
        return None
    return tuple(value)


def _masked(tokens: tuple[int, ...], labels: tuple[int, ...] | None, mask: Any) -> tuple[int, ...] | None:
    """The labels as stated, or those that an attention mask leaves; None where all tokens are labels."""
    if labels is not None and len(labels) == len(tokens):
        return labels
    if isinstance(mask, (list, tuple)) and len(mask) == len(tokens) and not all(mask):
        return tuple(token if seen else -100 for token, seen in zip(tokens, mask, strict=True))
    return None
