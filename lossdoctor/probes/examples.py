"""A look at the examples that a training begins with, as its batches have them: what is learned from, and in what order.

Nothing is computed in a step: tensors of a few batches are kept as they are, and looked at when the Trainer has just waited for
the device itself. No example is asked for, so that neither a stream nor a random state is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch

from lossdoctor.probes.micro_batches import IGNORED

#: Rows that are looked at, and their tokens with the padding; and how many class labels.
ROWS, TOKENS, CLASSES = 128, 262_144, 65_536
#: Rows of which a share can be told.
ENOUGH = 16
#: Tokens that must have been compared before labels are called shifted, and the shares that say so.
COMPARED, SAME, DIFFERENT = 64, 0.95, 0.5
#: Changes of class that a shuffled order must lead one to expect, from one example and from one batch to the next.
CHANGES, BATCH_CHANGES = 10.0, 5.0
#: How many tokens a response template may lose at either end, how many must remain, and the share of rows that must have it once.
EDGE, LEAST, FOUND = 2, 2, 0.9


class Row(NamedTuple):
    """One example without its padding, and how much of its padding has a label."""

    ids: list[int]
    labels: list[int]
    padding: int


class Examples:
    """Takes each micro-batch as the Trainer makes it; `facts` tells of what was found in them.

    Args:
        model, collator: those of the Trainer: the one says whether it shifts labels and where its texts end, the other which
            response template it looks for.
    """

    def __init__(self, model: Any, collator: Any = None) -> None:
        self._shifts = _shifts(model)
        self._ends = _ends(model)
        self._template = _template(collator)
        self._pad = _target_padding(model)
        self._targets: list[torch.Tensor] = []
        self._target_tokens = self._target_padding = 0
        self._kept: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = []
        self._rows: list[Row] = []
        self._number = self._tokens = self._classified = self._looked_at = 0
        self._known_to_model = True  # every kept batch was given to the model with its labels
        self._classes: list[torch.Tensor] = []
        self._firsts: list[int] = []  # the class of the first example of each batch
        self._counts: Counter[int] = Counter()
        self._pairs = self._changes = 0
        self._last: int | None = None
        self._found: dict[str, Any] = {}

    def see(self, inputs: Any, call: tuple[tuple[Any, ...], dict[str, Any]] | None) -> None:
        """Called after every `training_step`: the hot path."""
        labels = inputs.get("labels") if hasattr(inputs, "get") else None
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point():
            return
        if labels.dim() == 1:
            if self._classified < CLASSES:
                self._classified += len(labels)
                self._classes.append(labels)
            return
        ids = inputs.get("input_ids")
        if self._pad is not None and self._number < ROWS:
            self._number += len(labels)
            self._targets.append(labels)
        if not self._shifts or self._number >= ROWS or self._tokens >= TOKENS:
            return
        if not isinstance(ids, torch.Tensor) or ids.shape != labels.shape:
            return
        self._known_to_model = self._known_to_model and call is not None and "labels" in call[1]
        self._number += len(ids)
        self._tokens += ids.numel()
        self._kept.append((ids, labels, inputs.get("attention_mask")))

    def read(self) -> None:
        """Looks at what was kept since the last time; what waits for the device is the copying."""
        if self._classes:
            classes = iter(torch.cat(self._classes).tolist())
            for labels in self._classes:
                self._count(list(islice(classes, len(labels))))
            self._classes = []
        for targets in self._targets:
            told = [label for row in targets.tolist() for label in row if label != IGNORED]
            self._target_tokens += len(told)
            self._target_padding += told.count(self._pad)
        self._targets = []
        if self._target_tokens:
            self._found["padding_scored"] = round(self._target_padding / self._target_tokens, 4)
        if self._kept:
            for ids, labels, mask in self._kept:
                self._rows += islice(_rows(ids, labels, mask), ROWS - len(self._rows))
            self._kept = []
            if len(self._rows) >= min(2 * self._looked_at, ROWS):  # not after each row of a run that logs each of them
                self._looked_at = len(self._rows)
                self._found = dict(self._look())

    def facts(self) -> dict[str, Any]:
        """What was found, by the names of facts."""
        order = self._order()
        return self._found if order is None else {**self._found, "class_changes": order}

    def _count(self, classes: list[int]) -> None:
        if classes:
            self._firsts.append(classes[0])
        for label in classes:
            if self._last is not None:
                self._pairs += 1
                self._changes += label != self._last
            self._last = label
            self._counts[label] += 1

    def _order(self) -> float | None:
        """Changes of class from one example to the next, as a share of those that a shuffled order has; None where few are due.

        Batches of one class each that come in a random order are somebody's intention, so the batches must be in order as well.
        """
        number = self._counts.total()
        if not number:
            return None
        change = 1 - sum((count / number) ** 2 for count in self._counts.values())
        between = len(self._firsts) - 1
        if self._pairs * change < CHANGES or between * change < BATCH_CHANGES:
            return None
        batches = sum(a != b for a, b in zip(self._firsts, self._firsts[1:], strict=False))
        return round(max(self._changes / (self._pairs * change), batches / (between * change)), 4)

    def _look(self) -> Iterator[tuple[str, Any]]:
        labelled = sum(label != IGNORED for row in self._rows for label in row.labels)
        tokens = sum(len(row.ids) for row in self._rows)
        if not tokens:
            return
        yield "answer_share", round(labelled / tokens, 4)
        padding = sum(row.padding for row in self._rows)
        if padding + labelled:
            yield "padding_scored", round(padding / (padding + labelled), 4)
        if len(self._rows) >= ENOUGH and (cut := self._cut()) is not None:
            yield "rows_cut", round(cut, 4)
        if self._known_to_model and (shifted := self._shifted()) is not None:
            yield "labels_shifted", shifted
        masked = sum(all(label == IGNORED for label in row.labels) for row in self._rows)
        if self._template and 2 * masked > len(self._rows):
            longest = max(len(row.ids) for row in self._rows)
            whole = [row for row in self._rows if len(row.ids) < longest or row.ids[-1] in self._ends] or self._rows
            found = sum(_times(row.ids, self._template) > 0 for row in whole) / len(whole)
            yield "response_template_found", round(found, 4)
            if found < 0.5 and (part := self._part_that_is_there()):
                yield "response_template_in_context", part

    def _cut(self) -> float | None:
        """Share of the rows that are as long as the longest and do not end as texts end; None where rows are packed."""
        inner = sum(any(token in self._ends for token in row.ids[:-1]) for row in self._rows)
        longest = max(len(row.ids) for row in self._rows)
        if not self._ends or 2 * inner > len(self._rows) or longest < 2:
            return None
        cut = sum(len(row.ids) == longest and row.ids[-1] not in self._ends for row in self._rows)
        return cut / len(self._rows) if cut > 1 else 0.0

    def _shifted(self) -> bool | None:
        """Whether the label of a token is the token after it, for a model that looks at the token after it by itself."""
        compared = same = shifted = 0
        for ids, labels, _ in self._rows:
            for place in range(len(ids) - 1):
                if labels[place] != IGNORED:
                    compared += 1
                    same += labels[place] == ids[place]
                    shifted += labels[place] == ids[place + 1]
        if compared < COMPARED:
            return None
        return shifted >= SAME * compared and same <= DIFFERENT * compared

    def _part_that_is_there(self) -> list[int] | None:
        """The longest part of the template that every row has once: its edges are other tokens beside other text."""
        template = self._template
        edges = [(left, right) for left in range(EDGE + 1) for right in range(EDGE + 1) if left + right > 0]
        for left, right in sorted(edges, key=lambda edge: (sum(edge), edge)):
            part = template[left : len(template) - right]
            if len(part) >= LEAST and sum(_times(row.ids, part) == 1 for row in self._rows) >= FOUND * len(self._rows):
                return part
        return None


def _rows(ids: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None) -> Iterator[Row]:
    there = mask.tolist() if isinstance(mask, torch.Tensor) and mask.shape == ids.shape else [[1] * ids.shape[1]] * len(ids)
    for tokens, targets, seen in zip(ids.tolist(), labels.tolist(), there, strict=True):
        kept = [place for place, one in enumerate(seen) if one]
        if kept:
            padding = sum(not one and target != IGNORED for one, target in zip(seen, targets, strict=True))
            yield Row([tokens[place] for place in kept], [targets[place] for place in kept], padding)


def _times(ids: list[int], part: list[int]) -> int:
    return sum(ids[place : place + len(part)] == part for place in range(len(ids) - len(part) + 1))


def _shifts(model: Any) -> bool:
    """Whether this is a language model of transformers, which holds each token against the one before it by itself."""
    inner = getattr(model, "get_base_model", lambda: model)()
    named = type(inner).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    return named and not getattr(getattr(model, "config", None), "is_encoder_decoder", False)


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end a text."""
    found: set[int] = set()
    for holder in (getattr(model, "config", None), getattr(model, "generation_config", None)):
        end = getattr(holder, "eos_token_id", None)
        found.update([end] if isinstance(end, int) else end if isinstance(end, (list, tuple)) else ())
    return frozenset(found)


def _target_padding(model: Any) -> int | None:
    """The token that the targets of an encoder-decoder are padded with; None where it is an end as well, or there is none."""
    config = getattr(model, "config", None)
    pad = getattr(config, "pad_token_id", None) if getattr(config, "is_encoder_decoder", False) else None
    return pad if isinstance(pad, int) and pad not in _ends(model) else None


def _template(collator: Any) -> list[int]:
    """The tokens of the response template that a collator looks for, under the name that TRL's has for them."""
    found: Any = getattr(collator, "response_token_ids", None)
    found = found.tolist() if hasattr(found, "tolist") else found
    return [int(token) for token in found] if isinstance(found, (list, tuple)) else []
