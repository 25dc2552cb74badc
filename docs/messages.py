"""Collects every text that people are told, and brings the catalogues of `lossdoctor/locale` up to date: `make messages`.

A text is the literal of a call of `say`, `later` or `plural`; what `counted`, `numbered` and `part` make of a noun; the texts of
the classes of detectors, causes and checks (`title`, `decide_by`, `says…`); and the paragraphs of their pages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from lossdoctor import explain, language

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lossdoctor"
TEMPLATE = language.FOLDER / f"{language.DOMAIN}.pot"
PAGES = ("detectors", "causes", "checks", "data_checks")
#: Lines of a header that would differ with every run, or name somebody.
LEFT_OUT = (
    *('"POT-Creation-Date', '"PO-Revision-Date', '"Generated-By'),
    *('"Report-Msgid', '"Last-Translator', '"Language-Team', '"Project-Id'),
)
#: The same in every compiled catalogue, which would otherwise differ with every run.
SOME_DAY = datetime(2026, 1, 1)
HEADER = "# The texts of lossdoctor. `make messages` brings them up to date; docs/messages.py says where they come from."

Ids = str | tuple[str, str]


@dataclass(frozen=True)
class Text:
    """One text to translate, with where it stands and what a translator should know of it."""

    ids: Ids
    file: str
    line: int
    comment: str = ""


def texts() -> Iterator[Text]:
    """All of them, file by file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path != PACKAGE / "language.py":
            yield from _calls(tree, name)
        if path.parent.name in PAGES and path.parent.parent == PACKAGE:
            yield from _of_classes(tree, name)
    yield Text("{others} and {last}", "lossdoctor/language.py", 1, "the end of a list")
    yield from _pages()


def _calls(tree: ast.AST, name: str) -> Iterator[Text]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if function in ("say", "later") and call.args:
            yield from (Text(literal, name, call.lineno) for literal in _literals(call.args[0]))
        elif function == "plural":
            one, many = (next(_literals(arg), None) for arg in call.args[:2])
            if one and many:
                yield Text((one, many), name, call.lineno)
        elif function == "counted" and len(call.args) == 2:
            yield from (Text(_counted(noun), name, call.lineno, "a number of things") for noun in _literals(call.args[1]))
        elif function in ("numbered", "worked_out", "_quantity") and len(call.args) == 2:
            yield from (Text(_numbered(noun), name, call.lineno, "a number of things") for noun in _literals(call.args[1]))
        elif function == "part":
            nouns = list(_literals(call.args[2])) if len(call.args) > 2 else ["examples"]
            yield from (Text(ids, name, call.lineno, "how many of how many") for noun in nouns for ids in _parts(noun))


def _literals(node: ast.AST) -> Iterator[str]:
    """A literal, or those that a condition chooses between."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)


def _counted(noun: str) -> tuple[str, str]:
    return "{number} " + noun, "{number} " + noun + ("es" if noun.endswith(("tch", "sh", "s", "x")) else "s")


def _numbered(noun: str) -> tuple[str, str]:
    first, gap, rest = noun.partition(" ")
    return "{number} " + first.removesuffix("s") + gap + rest, "{number} " + noun


def _parts(noun: str) -> tuple[str, ...]:
    return ("all {total:,} " + noun, "the one " + noun.removesuffix("s"), "{count:,} of {total:,} " + noun + " ({share})")


def _of_classes(tree: ast.Module, name: str) -> Iterator[Text]:
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for node in owner.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            attribute = target.id if isinstance(target, ast.Name) else ""
            if isinstance(node, ast.Assign) and (attribute in ("title", "decide_by") or attribute.startswith("says")):
                slug = owner.name
                yield from (Text(literal, name, node.lineno, f"{attribute} of {slug}") for literal in _literals(node.value))


def _pages() -> Iterator[Text]:
    for slug, page in explain.pages().items():
        file = f"{page.__module__.replace('.', '/')}.py"
        if file.startswith("lossdoctor/"):
            yield from (Text(part, file, 1, f"page of {slug}") for part in explain.paragraphs(page))


def collected(found: Iterable[Text] | None = None) -> Catalog:
    """The template: every text once, with all places that say it."""
    catalog = Catalog(project="lossdoctor", copyright_holder="the lossdoctor authors", charset="utf-8")
    for text in texts() if found is None else found:
        comments = [text.comment] if text.comment else []
        catalog.add(text.ids, locations=[(text.file, text.line)], auto_comments=comments)
    for message in catalog:
        message.flags.discard("python-format")  # a per cent sign is one
    return catalog


def update() -> None:
    """Writes the template, every catalogue with what is new and without what is gone, and the files that are read at run time."""
    template = collected()
    _write(TEMPLATE, template)
    for code in language.LANGUAGES:
        if code == "en":
            continue
        folder = language.FOLDER / code / "LC_MESSAGES"
        folder.mkdir(parents=True, exist_ok=True)
        catalog = catalogue(code)
        catalog.update(template, no_fuzzy_matching=True, update_header_comment=False)
        catalog.obsolete.clear()
        catalog.creation_date = catalog.revision_date = SOME_DAY
        _write(folder / f"{language.DOMAIN}.po", catalog)
        with (folder / f"{language.DOMAIN}.mo").open("wb") as file:
            write_mo(file, catalog)


def catalogue(code: str) -> Catalog:
    """The catalogue of a language as it is on disk; an empty one where there is none."""
    file = language.FOLDER / code / "LC_MESSAGES" / f"{language.DOMAIN}.po"
    if not file.is_file():
        return Catalog(locale=code, project="lossdoctor", fuzzy=False, charset="utf-8")
    with file.open("rb") as content:
        return read_po(content, locale=code)


def _write(path: Path, catalog: Catalog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    catalog.header_comment = HEADER
    for message in catalog:
        message.flags.discard("python-format")
    with path.open("wb") as file:
        write_po(file, catalog, width=120, include_lineno=False, sort_output=False, omit_header=False)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(LEFT_OUT)), encoding="utf-8")


if __name__ == "__main__":
    update()
    print(f"{len(collected())} texts", file=sys.stderr)
