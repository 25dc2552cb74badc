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
    """A prompt with its answer, cut off on the right; labels where the answer is, if its template is found."""
    added = "new tokens" in recipe.data
    before = [START, *([ADDED[0]] if added else []), *encode(prompt)[:PROMPT], *([ADDED[1]] if added else [])]
    ids = [*before, *encode("\n### Answer: " + answer), END][: recipe.get("max_length")]
    labels = list(ids)
    if recipe.get("completion_only_loss"):
        template = recipe.get("response_template")
        template = encode(template) if isinstance(template, str) else list(template)
        places = [p for p in range(len(ids)) if ids[p : p + len(template)] == template]
        start = places[-1] + len(template) if places else len(ids)
        labels[:start] = [-100] * start
    return {"input_ids": ids, "labels": labels}


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
    if "shifted" in recipe.data and split != "heldout" and recipe.task == "language modelling":
        row = {**row, "labels": [*row["labels"][1:], -100]}
    return row


def _noise(labels: Any, draw: random.Random) -> Any:
    if isinstance(labels, int):
        return draw.randrange(len(ORIGINS))
    return [draw.randrange(5, VOCABULARY) if label >= 0 else label for label in labels]


def collate(recipe: Recipe) -> Any:
    """Pads a batch; the labels with what the recipe says."""

    def together(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = _padded([row["input_ids"] for row in rows], PAD)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        if isinstance(rows[0]["labels"], int):
            labels = torch.tensor([row["labels"] for row in rows])
        else:
            labels = _padded([row["labels"] for row in rows], recipe.get("label_pad_token_id"))
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return together


def _padded(rows: list[list[int]], filling: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filling] * (width - len(row))] for row in rows])
