"""The data of the three tasks as a recipe asks for it, with the faults that lie in the data."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch.utils.data import Dataset

from trials.recipe import Recipe
from trials.text import ORIGINS, VOCABULARY, encode, passages, questions, summaries

START, END, PAD = 1, 2, 0
#: Prompts, passages and bodies are cut to so many tokens, and targets to so many.
PROMPT, PASSAGE, BODY, TARGET = 16, 36, 36, 16
#: Rows that are evaluated in the run, and that are held out from it.
VALIDATION, HELD_OUT = 64, 300
#: How a script may make the labels of a text, by the line that does it.
LINES = {"input_ids": list, "input_ids[1:] + [-100]": lambda ids: [*ids[1:], -100]}
#: Tokens that a fine-tune adds for the roles of a dialogue.
ADDED = (VOCABULARY, VOCABULARY + 1)


class Rows(Dataset[dict[str, list[int]]]):
    """Examples as lists of token ids."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.rows[place]


def dataset(recipe: Recipe, split: str) -> Rows:
    """The rows of a split. `heldout` is always as it should be, whatever is wrong with the recipe."""
    size = {"train": recipe.examples, "validation": VALIDATION, "heldout": HELD_OUT}[split]
    found: list[Any] = {"classification": passages, "seq2seq": summaries}.get(recipe.task, questions)(split)
    random.Random(7).shuffle(found)
    draw = random.Random(11)
    rows = []
    for place, example in enumerate(found[:size]):
        if split == "heldout":
            rows.append(_row(Recipe(recipe.family, recipe.method, data=recipe.data & {"new tokens"}), example))
        else:
            rows.append(_spoiled(recipe, _row(recipe, example), split, place, draw))
    if "sorted" in recipe.data and split == "train":
        rows.sort(key=lambda row: row["labels"] if recipe.task == "classification" else -len(row["input_ids"]))
    if split == "train" and (shuffle := recipe.get("dataset.shuffle")):
        random.Random(shuffle["seed"]).shuffle(rows)
    return Rows(rows)


def _row(recipe: Recipe, example: Any) -> dict[str, Any]:
    if recipe.task == "classification":
        text, label = example
        return {"input_ids": [START, *encode(text)[: min(PASSAGE, recipe.get("max_length"))], END], "labels": label}
    if recipe.task == "seq2seq":
        body, title = example
        return {"input_ids": [*encode(body)[:BODY], END], "labels": [*encode(title)[:TARGET], END]}
    return _conversation(recipe, *example)


def _conversation(recipe: Recipe, prompt: str, answer: str) -> dict[str, Any]:
    """A prompt with its answer, cut off on the right, and labels for all of it: the collator masks the prompt."""
    added = "new tokens" in recipe.data
    before = [START, *([ADDED[0]] if added else []), *encode(prompt)[:PROMPT], *([ADDED[1]] if added else [])]
    ids = [*before, *encode("\n### Answer: " + answer), END][: recipe.get("max_length")]
    return {"input_ids": ids, "labels": LINES[recipe.get("labels")](ids)}


def _spoiled(recipe: Recipe, row: dict[str, Any], split: str, place: int, draw: random.Random) -> dict[str, Any]:
    """A row as a fault of the data has it; noise is in both splits, since both come from the same source."""
    for fault in sorted(recipe.data):
        name, _, share = fault.partition(" ")
        if name == "noise" and draw.random() < float(share):
            row = {**row, "labels": _noise(row["labels"], draw)}
        if name == "garbage" and split == "train" and place % 40 < float(share) * 40:
            row = {**row, "input_ids": _noise(row["input_ids"], draw)}
            if recipe.task != "classification":
                row["labels"] = row["input_ids"][: len(row["labels"])] if recipe.task == "seq2seq" else list(row["input_ids"])
                row["plain"] = True  # text without a prompt, all of which is learned from
    return row


def _noise(labels: Any, draw: random.Random) -> Any:
    if isinstance(labels, int):
        return draw.randrange(len(ORIGINS))
    return [draw.randrange(5, VOCABULARY) if label >= 0 else label for label in labels]


class Collator:
    """Pads a batch to its longest row, or to `width`; the labels with what the recipe says."""

    def __init__(self, label_pad_token_id: int = -100, width: int = 0) -> None:
        self.label_pad_token_id, self.width = label_pad_token_id, width

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = _padded([row["input_ids"] for row in rows], PAD, self.width)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        if isinstance(rows[0]["labels"], int):
            labels = torch.tensor([row["labels"] for row in rows])
        else:
            labels = _padded([row["labels"] for row in rows], self.label_pad_token_id, self.width)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class DataCollatorForCompletionOnlyLM(Collator):
    """As TRL had it: no labels up to the end of the template's last place, and none at all where it is not found."""

    def __init__(self, response_template: Any, label_pad_token_id: int = -100, width: int = 0) -> None:
        super().__init__(label_pad_token_id, width)
        self.response_template = response_template
        self.response_token_ids = encode(response_template) if isinstance(response_template, str) else list(response_template)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        masked = [row if row.get("plain") else {**row, "labels": self._masked(row["input_ids"], row["labels"])} for row in rows]
        return super().__call__(masked)

    def _masked(self, ids: list[int], labels: list[int]) -> list[int]:
        template = self.response_token_ids
        places = [p for p in range(len(ids)) if ids[p : p + len(template)] == template]
        start = places[-1] + len(template) if places else len(ids)
        return [*[-100] * start, *labels[start:]]


def collate(recipe: Recipe) -> Collator:
    """The collator of the script."""
    filling, width = recipe.get("label_pad_token_id"), recipe.get("max_length") if recipe.get("padding") == "max_length" else 0
    if recipe.task == "language modelling" and recipe.get("completion_only_loss"):
        return DataCollatorForCompletionOnlyLM(recipe.get("response_template"), filling, width)
    return Collator(filling, width)


def _padded(rows: list[list[int]], filling: int, width: int = 0) -> torch.Tensor:
    width = max(width, *map(len, rows))
    return torch.tensor([[*row, *[filling] * (width - len(row))] for row in rows])
