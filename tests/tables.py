"""A run as the tables that people keep of it: what is logged becomes text in the form of a notebook, a model card or a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
HEADER = ("Step", "Training Loss", "Validation Loss")


def cells(history: Iterable[Row], digits: int = 6) -> list[tuple[str, str, str]]:
    """A row for each step with a loss, of training or evaluation: "No log" where it has only the other."""
    found: dict[int, list[str]] = {}
    for row in history:
        for place, name in enumerate(("loss", "eval_loss")):
            if name in row:
                found.setdefault(row["step"], ["No log", "No log"])[place] = f"{row[name]:.{digits}f}"
    return [(str(step), train, evaluated) for step, (train, evaluated) in found.items()]


def notebook(state: Mapping[str, Any]) -> str:
    """What is copied from the output of a cell."""
    total, epochs = state["max_steps"], state["num_train_epochs"]
    lines = ["\t".join(row) for row in (HEADER, *cells(state["log_history"]))]
    return f" [{total}/{total} 01:05, Epoch {epochs}/{epochs}]\n" + "\n".join(lines) + "\n"


def markdown(state: Mapping[str, Any]) -> str:
    """The table of a model card, below the hyper-parameters that tell how long the run was."""
    rows = "".join(f"| {train} | {step} | {evaluated} |\n" for step, train, evaluated in cells(state["log_history"], 4))
    stated = f"- num_epochs: {state['num_train_epochs']}\n- training_steps: {state['max_steps']}\n"
    table = f"| Training Loss | Step | Validation Loss |\n|:---:|:---:|:---:|\n{rows}"
    return f"### Training hyperparameters\n\n{stated}\n### Training results\n\n{table}"


def html(state: Mapping[str, Any]) -> str:
    """What a notebook shows while it trains."""
    total, epochs = state["max_steps"], state["num_train_epochs"]
    head = "".join(f"<th>{name}</th>\n" for name in HEADER)
    body = "".join("<tr>\n" + "".join(f"<td>{cell}</td>\n" for cell in row) + "</tr>\n" for row in cells(state["log_history"]))
    bar = f"<div>\n<progress value='{total}' max='{total}'></progress>\n[{total}/{total} 01:05, Epoch {epochs}/{epochs}]\n</div>"
    return f'{bar}<table border="1" class="dataframe">\n<thead>\n<tr>{head}</tr></thead>\n<tbody>{body}</tbody></table><p>'


FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "notebook_table": notebook,
    "markdown_table": markdown,
    "html_table": html,
}
