"""What the manual shows, taken from its Markdown: commands with what they print, rows of logs, programs.

A block that is run stands below a comment that no reader sees:

    <!-- run -->                    a console or Python block, in the root of the repository
    <!-- run in: FOLDER -->         the same, in a copy of that folder
    <!-- rows: LOG 3-12 -->         those steps of a log, as a Trainer prints them

In what is printed a line of its own with … stands for any number of lines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: The pages that somebody wrote by hand; those of symptoms, causes and checks are made of docstrings.
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ko.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "evidence").glob("*.md")),
]
_BLOCK = r"<!-- {kind}(?P<how>[^\n]*?) -->\n```(?P<language>\w+)\n(?P<text>.*?)```(?:\n\n```text\n(?P<printed>.*?)```)?"
_RUN = re.compile(_BLOCK.format(kind="run(?= |: )"), re.S)
_ROWS = re.compile(r"<!-- rows: (?P<log>\S+) (?P<first>\d+)-(?P<last>\d+) -->\n```text\n(?P<text>.*?)```", re.S)
_ANY = "…\n"


@dataclass
class Block:
    """A block that is run: where it is, what it holds, and what follows it."""

    page: Path
    folder: str
    language: str
    text: str
    printed: str | None
    place: tuple[int, int]

    @property
    def name(self) -> str:
        """What a failure is reported by: its page and line."""
        return f"{self.page.name}:{self.page.read_text(encoding='utf-8')[: self.place[0]].count(chr(10)) + 1}"

    def commands(self) -> list[str]:
        """The commands of a console block; one that ends with a backslash goes on."""
        joined = self.text.replace("\\\n", "")
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def blocks() -> Iterator[Block]:
    """All blocks that are run."""
    for page in PAGES:
        for found in _RUN.finditer(page.read_text(encoding="utf-8")):
            folder = found["how"].removeprefix(" in:").strip() if found["how"].startswith(" in:") else ""
            if not found["how"] or folder:
                yield Block(page, folder, found["language"], found["text"], found["printed"], found.span())


def run(command: str, folder: Path) -> str:
    """What a shell prints in that folder, with `lossdoctor` as the program of this source tree."""
    start = f'lossdoctor() {{ "{sys.executable}" -m lossdoctor "$@"; }}\n'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", start + command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=120,
    )
    return done.stdout.decode()


def fresh(block: Block, temporary: Path) -> str:
    """The whole block with what is really printed now."""
    folder = ROOT
    if block.folder:
        folder = temporary / Path(block.folder).name
        shutil.copytree(ROOT / block.folder, folder)
    if block.language == "python":
        (temporary / "block.py").write_text(block.text, encoding="utf-8")
        return run(f'"{sys.executable}" "{temporary / "block.py"}"', folder)
    return "".join(f"$ {command}\n{run(command, folder)}" for command in block.commands())


def same(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed, where … stands for any lines."""
    pattern = re.escape(shown).replace(re.escape(_ANY), "(?:.*\n)*?")
    return re.fullmatch(pattern, printed) is not None


def rows(log: Path, first: int, last: int) -> str:
    """Rows as a Trainer prints them: without the step, with four digits."""
    text = log.read_text(encoding="utf-8")
    lines = json.loads(text)["log_history"] if log.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
    wanted = [row for row in lines if first <= row["step"] <= last]
    return "".join(str({k: float(f"{row[k]:.4g}") for k in _in_order(row)}) + "\n" for row in wanted)


def _in_order(row: dict[str, float]) -> list[str]:
    first = [name for name in ("loss", "grad_norm", "learning_rate") if name in row]
    return first + [name for name in row if name not in (*first, "epoch", "step")] + ["epoch"] * ("epoch" in row)


def with_fresh_rows(text: str) -> str:
    """The page with every excerpt of a log taken anew."""
    return _ROWS.sub(
        lambda m: (
            f"<!-- rows: {m['log']} {m['first']}-{m['last']} -->\n```text\n"
            f"{rows(ROOT / m['log'], int(m['first']), int(m['last']))}```"
        ),
        text,
    )
