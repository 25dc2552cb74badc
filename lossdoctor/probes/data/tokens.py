"""Examples as tokens with labels, as the run would make them, and what is left of them at its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lossdoctor.measured import Example, Recipe, Unlabelled, Vocabulary
from lossdoctor.probes.data.shapes import Content, Message, Part

#: Templates write a line break or two behind the end token.
TAIL = 3
#: How the paper's own script renders an instruction (github.com/tatsu-lab/stanford_alpaca), near enough to count tokens.
_ALPACA = "### Instruction:\n{}\n\n### Response:\n"


class Refused(Exception):
    """The chat template cannot render an example; the text says why."""


@dataclass(frozen=True)
class Tokens:
    """Token ids, and for each whether it has a label."""

    ids: list[int]
    labelled: list[bool]


class Tokeniser:
    """Makes tokens of examples with one tokenizer, after one recipe."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, recipe: Recipe, template: str | None = None) -> None:
        self.tokenizer, self.vocabulary, self.recipe, self.template = tokenizer, vocabulary, recipe, template
        self.end = str(getattr(tokenizer, "eos_token", None) or "")

    def tokens(self, content: Content) -> list[Tokens]:
        """One sequence, or those of both answers of a preference pair.

        Raises:
            Refused: the chat template raises an error on this example.
        """
        if content.tokens:
            labels = content.labels or content.tokens
            return [Tokens(list(content.tokens), [label != -100 for label in labels])]
        answers = [content.answer, content.rejected] if content.rejected else [content.answer]
        if content.rejected and not content.prompt:
            prompt = _common(content.answer, content.rejected)
            answers = [_without(answer, prompt) for answer in answers]
            content = replace(content, prompt=prompt)
        return [self._sequence(content, answer) for answer in answers]

    def _sequence(self, content: Content, answer: Part) -> Tokens:
        chat = content.chat or (self.recipe.tool in ("LLaMA-Factory", "axolotl") and bool(content.prompt))
        if chat and self.vocabulary.template:
            return self._chat(_messages(content.prompt, "user"), _messages(answer, "assistant"), content.tools)
        if chat:
            return self._plain(_messages(content.prompt, "user") + _messages(answer, "assistant"))
        return self._text(str(content.prompt), str(answer))

    def _text(self, prompt: str, answer: str) -> Tokens:
        """Prompt and answer as one text; the answer begins where the tokens of both part from those of the prompt."""
        if prompt and self.recipe.tool == "":
            prompt = prompt if prompt[-1:].isspace() or answer[:1].isspace() else f"{prompt}\n"
        if self.recipe.adds_end and self.end and answer and not answer.endswith(self.end):
            answer += self.end
        ids = self._ids(prompt + answer)
        if not prompt or self.recipe.labels == "all":
            return Tokens(ids, [bool(answer)] * len(ids))
        return Tokens(ids, _from(_same(self._ids(prompt), ids), len(ids)) if answer else [False] * len(ids))

    def _chat(self, prompt: list[Message], answer: list[Message], tools: Any) -> Tokens:
        messages = prompt + answer
        if self.recipe.labels == "marked":
            return self._marked(messages, tools)
        text = self._render(messages, tools)
        spans: list[tuple[int, int]] = []
        if self.recipe.labels == "answers":
            first = len(prompt) if answer and prompt else 0
            spans = self._answers(messages, first, text, tools)
        ids, places = self._placed(text)
        if self.recipe.labels == "all":
            return Tokens(ids, [True] * len(ids))
        return Tokens(ids, [any(begin <= at < end for begin, end in spans) for at in places])

    def _answers(self, messages: list[Message], first: int, text: str, tools: Any) -> list[tuple[int, int]]:
        """Where in the text the assistant speaks: from behind the header of its turn to the end of it."""
        spans = []
        for number, message in enumerate(messages):
            if number < first or message["role"] != "assistant":
                continue
            try:
                before = self._render(messages[:number], tools, header=True) if number else ""
                until = self._render(messages[: number + 1], tools)
            except Refused:
                continue  # a template that asks for a user first
            spans.append((_same(before, text), _same(until, text)))
        return spans

    def _marked(self, messages: list[Message], tools: Any) -> Tokens:
        """What `{% generation %}` marks; nothing where the template has no such mark."""
        if not self.vocabulary.marks_answers:
            text = self._render(messages, tools)
            ids, _ = self._placed(text)
            return Tokens(ids, [False] * len(ids))
        try:
            made = self.tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=self.template, return_dict=True, return_assistant_tokens_mask=True
            )
        except Exception as error:  # whatever a template makes of an example
            raise Refused(_line(error)) from None
        ids = list(made["input_ids"])
        mask = list(made.get("assistant_masks") or [])
        return Tokens(ids, [bool(mark) for mark in mask] if len(mask) == len(ids) else [False] * len(ids))

    def _plain(self, messages: list[Message]) -> Tokens:
        """Messages without a template: their words one after another, the end token behind each answer."""
        ids: list[int] = []
        labelled: list[bool] = []
        for message in messages:
            spoken = message["role"] == "assistant"
            words = str(message["content"])
            part = self._ids(words + self.end if spoken else _ALPACA.format(words), special=not ids)
            ids += part
            labelled += [spoken or self.recipe.labels == "all"] * len(part)
        return Tokens(ids, labelled)

    def _render(self, messages: list[Message], tools: Any, header: bool = False) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=self.template, tokenize=False, add_generation_prompt=header
            )
        except Exception as error:  # whatever a template makes of an example
            raise Refused(_line(error)) from None
        return _sound(text) if isinstance(text, str) else ""

    def _ids(self, text: str, special: bool = True) -> list[int]:
        return list(self.tokenizer(_sound(text), add_special_tokens=special, verbose=False)["input_ids"])

    def _placed(self, text: str) -> tuple[list[int], list[int]]:
        """The ids of a rendered text, and where in it each of them begins; -1 for one that is not from the text."""
        special = self.recipe.doubles_beginning
        if not getattr(self.tokenizer, "is_fast", False):
            ids = self._ids(text, special)
            return ids, _spread(len(text), len(ids))
        made = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
        places = [begin if end > begin else -1 for begin, end in made["offset_mapping"]]
        return list(made["input_ids"]), places


def shortened(tokens: Tokens, recipe: Recipe) -> Tokens:
    """What is left of a sequence at the length of the recipe."""
    room, size = recipe.max_length, len(tokens.ids)
    if room is None or size <= room or recipe.too_long == "packed":
        return tokens
    if recipe.too_long == "dropped":
        return Tokens([], [])
    if recipe.too_long == "cut both":
        return _cut_both(tokens, room)
    part = slice(-room, None) if recipe.too_long == "cut left" else slice(None, room)
    return Tokens(tokens.ids[part], tokens.labelled[part])


def measured(row: int, sequences: Sequence[Tokens], recipe: Recipe, vocabulary: Vocabulary, why: Unlabelled) -> Example:
    """The numbers of one example."""
    kept = [shortened(tokens, recipe) for tokens in sequences]
    longest = max(range(len(sequences)), key=lambda place: len(sequences[place].ids))
    fewest = min(range(len(sequences)), key=lambda place: sum(kept[place].labelled))
    whole, labelled, left = sequences[longest], sum(sequences[fewest].labelled), sum(kept[fewest].labelled)
    end = _end(whole, vocabulary)
    if not why and labelled and not left and recipe.too_long != "dropped":
        why = "the prompt fills the length"
    beginning = vocabulary.beginning
    return Example(
        row=row,
        tokens=len(whole.ids),
        labelled=labelled,
        kept=len(kept[longest].ids),
        kept_labelled=left,
        ends=end is not None,
        end_labelled=end is not None and whole.labelled[end],
        end_is_padding=end is not None and whole.ids[end] == _padding(vocabulary, recipe),
        beginnings=0 if beginning is None else sum(token == beginning for token in whole.ids[:2]),
        highest=max((token for tokens in sequences for token in tokens.ids), default=0),
        why=why if not left else "",
    )


def _padding(vocabulary: Vocabulary, recipe: Recipe) -> int | None:
    """The token that pads: without one TRL takes the end token."""
    return vocabulary.end if vocabulary.padding is None and recipe.tool == "TRL" else vocabulary.padding


def _end(tokens: Tokens, vocabulary: Vocabulary) -> int | None:
    """Where the end token is among the last ones."""
    size = len(tokens.ids)
    return next((at for at in range(size - 1, max(-1, size - 1 - TAIL), -1) if tokens.ids[at] in vocabulary.ends), None)


def _cut_both(tokens: Tokens, room: int) -> Tokens:
    """As LLaMA-Factory cuts, turn by turn: what is shorter than half of the room stays whole, else both give in proportion."""
    ids: list[int] = []
    labelled: list[bool] = []
    for asked, answered in _turns(tokens.labelled):
        left = room - len(ids)
        if left <= 0:
            break
        prompt, answer = asked.stop - asked.start, answered.stop - answered.start
        if 2 * answer < left:
            most = left
        elif 2 * prompt < left:
            most = left - prompt
        else:
            most = int(left * answer / (prompt + answer))
        answer = min(most, answer)
        prompt = min(left - answer, prompt)
        for part, size in ((asked, prompt), (answered, answer)):
            ids += tokens.ids[part.start : part.start + size]
            labelled += tokens.labelled[part.start : part.start + size]
    return Tokens(ids, labelled)


def _turns(labelled: list[bool]) -> list[tuple[slice, slice]]:
    """Stretches without labels, each with the labels that follow."""
    runs: list[tuple[bool, slice]] = []
    at = 0
    for has, group in groupby(labelled):
        size = len(list(group))
        runs.append((has, slice(at, at + size)))
        at += size
    found: list[tuple[slice, slice]] = []
    for has, part in runs:
        if not has:
            found.append((part, slice(part.stop, part.stop)))
        elif found:
            found[-1] = (found[-1][0], part)
        else:
            found.append((slice(0, 0), part))
    return found


def _messages(part: Part, role: str) -> list[Message]:
    if isinstance(part, list):
        return part
    return [{"role": role, "content": part}] if part else []


def _common(one: Part, other: Part) -> Part:
    """What both answers of a pair begin with: their prompt."""
    return one[: _same(one, other)]


def _without(answer: Part, prompt: Part) -> Part:
    return answer[len(prompt) :]


def _same(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How far two sequences are alike from their beginning."""
    if one == other[: len(one)]:
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _from(begin: int, size: int) -> list[bool]:
    return [at >= begin for at in range(size)]


def _spread(characters: int, tokens: int) -> list[int]:
    """Where each token begins, roughly, for tokenizers that do not tell."""
    return [at * characters // max(1, tokens) for at in range(tokens)]


def _sound(text: str) -> str:
    """Text that has a UTF-8 form: half of a surrogate pair has none."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
