"""The page for agents keeps its word: its commands run, its fields exist, and it goes where it is told to and nowhere else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import ROOT
from manual import run

from lossdoctor import skill
from lossdoctor.cli import main

FRONT, BODY = skill.text().split("---\n", 2)[1:]
COMMANDS = re.findall(r"^\$ (lossdoctor .+)$", BODY, re.M)
SCHEMAS = {
    "analyze": ROOT / "lossdoctor" / "reports" / "report.schema.json",
    "check": ROOT / "lossdoctor" / "reports" / "check.schema.json",
    "compare": ROOT / "lossdoctor" / "reports" / "comparison" / "comparison.schema.json",
}


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["skill", *words])


@pytest.fixture(scope="module")
def project(tmp_path_factory: Any) -> Path:
    """A folder as the page takes it for granted: a run, two runs, a printed log and configurations."""
    folder: Path = tmp_path_factory.mktemp("project")
    for name in ("my-run", "before", "after"):
        shutil.copytree(ROOT / "lossdoctor" / "demo", folder / "outputs" / name)
    shutil.copy(ROOT / "tests" / "logs" / "trainer_stdout" / "version_4_57.log", folder / "train.log")
    for name in ("first.yaml", "second.yaml"):
        shutil.copy(ROOT / "examples" / "comparison" / name, folder / name)
    (folder / "train.yaml").write_text("fp16: true\nlearning_rate: 2.0e-4\nlora_r: 16\nnum_train_epochs: 3\n")
    return folder


def test_it_has_the_form_of_a_skill() -> None:
    """Front matter with the name of its folder and a description that is not cut off, and one page of text."""
    front = yaml.safe_load(FRONT)
    assert set(front) == {"name", "description"} and front["name"] == skill.NAME
    assert "Use it when" in front["description"] and len(front["description"]) <= 1024
    assert len(BODY.splitlines()) <= 110


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_runs(command: str, project: Path) -> None:
    """It prints what it should, JSON by its schema, and ends with one of the codes that the page names."""
    printed = run(f'{command} 2>errors; echo "code $?"', project)
    out, _, code = printed.rpartition("code ")
    assert code.strip() in ("0", "1"), (project / "errors").read_text()
    if "json" in command:
        schema = json.loads(SCHEMAS[command.split()[1]].read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(json.loads(out))
    else:
        assert out.strip() or "--suggest" in command or "--baseline" in command


def test_there_are_commands_to_run() -> None:
    """Each verb that an agent needs is on the page."""
    assert {command.split()[1] for command in COMMANDS} == {"analyze", "explain", "list", "check", "compare"}


def field(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field such as `reports[].symptoms[]`; a KeyError where there is none."""
    here = schema
    for part in path.split("."):
        here = resolved(here, schema)["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            here = resolved(here, schema)["items"]
    return resolved(here, schema)


def resolved(here: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or what it refers to."""
    while "$ref" in here:
        target: Any = schema
        for part in here["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        here = target
    return here


def test_every_field_that_the_page_names_is_in_the_schema() -> None:
    """The paths in the table, the names beside them, and the values that a field can have."""
    schema = json.loads(SCHEMAS["analyze"].read_text(encoding="utf-8"))
    rows = re.findall(r"^\| (`reports.+?) \| (.+) \|$", BODY, re.M)
    assert len(rows) >= 8
    for paths, words in rows:
        for path in re.findall(r"`(.+?)`", paths):
            found = field(path, schema)
            for name in re.findall(r"`(.+?)`", words):
                if path == "reports[].run.facts":
                    found = resolved(found["additionalProperties"], schema)
                assert name in found.get("properties", {}) or name in found.get("enum", ()), f"{path}: {name}"
    for name in ("severity", "verdict", "confidence"):
        assert f"`{name}`" in BODY or f".{name}`" in BODY


def test_it_is_printed() -> None:
    """`lossdoctor skill` prints the page and nothing else."""
    assert call().output == skill.text()


def test_it_is_installed_where_agents_look(tmp_path: Path) -> None:
    """In a folder of its own, which is made; a second time nothing is written."""
    place = tmp_path / ".claude" / "skills"
    written = call("--install", str(place))
    path = place / "lossdoctor" / "SKILL.md"
    assert (written.exit_code, path.read_text(encoding="utf-8")) == (0, skill.text())
    assert written.output == f"{path} is written\n"
    assert call("--install", str(place)).output == f"{path} is there already\n"


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    """A page that says something else stays, with one line that says how to replace it."""
    path = tmp_path / "lossdoctor" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("mine")
    refused = call("--install", str(tmp_path))
    assert (refused.exit_code, path.read_text()) == (2, "mine")
    assert "says something else; --replace overwrites it" in refused.stderr and refused.stderr.count("\n") == 1
    assert call("--install", str(tmp_path), "--replace").exit_code == 0 and path.read_text(encoding="utf-8") == skill.text()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_text(""), "is a file"),
        (lambda p: (p.mkdir(), (p / "lossdoctor").write_text("")), "cannot write"),
    ],
)
def test_a_place_that_cannot_be_is_said_in_one_line(make: Any, words: str, tmp_path: Path) -> None:
    """A file where a folder should be is an error of one line, and exit code 2."""
    make(tmp_path / "skills")
    refused = call("--install", str(tmp_path / "skills"))
    assert refused.exit_code == 2 and words in refused.stderr and refused.stderr.count("\n") == 1
    assert call("--replace").exit_code == 2
