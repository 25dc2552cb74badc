"""The manual keeps its word: what its pages show is what is printed, and what they name is there."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import manual
import pytest
import yaml
from manual import PAGES, ROOT, Block

BLOCKS = list(manual.blocks())


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_what_a_page_shows_is_what_is_printed(block: Block, tmp_path: Path) -> None:
    """Every command and program of the manual that is marked so is run, and prints what stands there.

    UPDATE_CASES=1 writes it anew, where nothing is left out.
    """
    if "jq " in block.text and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    printed = manual.fresh(block, tmp_path)
    shown = block.text if block.language == "console" else block.printed or ""
    shown = shown.replace("\\\n", "") if block.language == "console" else shown
    if os.environ.get("UPDATE_CASES") and not manual.same(shown, printed):
        text = block.page.read_text(encoding="utf-8")
        assert block.text.count("…\n") == 0, f"{block.name}: lines are left out, so this one is for a person to write"
        after = block.text + "```\n\n```text\n" if block.language == "python" else ""
        old = block.text if block.language == "console" else block.printed or ""
        block.page.write_text(text.replace(f"{after}{old}```", f"{after}{printed}```", 1), encoding="utf-8")
        return
    assert manual.same(shown, printed), f"{block.name} shows\n{shown}\nand printed is\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_excerpts_of_logs_are_true(page: Path) -> None:
    """Rows on a page are rows of a log of this repository; UPDATE_CASES=1 writes them anew."""
    text = page.read_text(encoding="utf-8")
    fresh = manual.with_fresh_rows(text)
    if os.environ.get("UPDATE_CASES"):
        page.write_text(fresh, encoding="utf-8")
    else:
        assert text == fresh


@cache
def help_of(verb: str) -> str:
    """The help text of a verb; empty where there is no such verb."""
    text = manual.run(f"lossdoctor {verb} --help", ROOT)
    return text if "Usage:" in text else ""


@pytest.mark.parametrize("page", [*PAGES, ROOT / "lossdoctor" / "skill" / "SKILL.md"], ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    """Every `lossdoctor` command on a page is a verb with the options that stand there."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^\$ |[`|&:] ?|- run: )lossdoctor (?:--lang [a-z]+ )?([a-z][^`|\n]*)", text, re.M)
    for line in lines:
        line = line.partition(" #")[0]
        verb = line.split()[0]
        assert help_of(verb), f"{page.name}: lossdoctor {line}"
        for option in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert option in help_of(verb), f"{page.name}: lossdoctor {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_its_title(page: Path) -> None:
    """Nothing stands above the heading, and no other heading is of its rank."""
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    assert prose.startswith("# ") and len(re.findall(r"^# ", prose, re.M)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_can_be_read(page: Path) -> None:
    """Every Python block is Python."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_in_code_is_there(page: Path) -> None:
    """A dotted name such as `lossdoctor.engine.Engine` leads to something; those of tags and columns in trackers are no code."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(lossdoctor(?:\.(?!alert|verdict)\w+)+)(?:\(\))?`", text):
        module, found = name.split("."), None
        for length in range(len(module), 0, -1):
            try:
                found = importlib.import_module(".".join(module[:length]))
            except ModuleNotFoundError:
                continue
            for part in module[length:]:
                found = getattr(found, part)
            break
        assert found is not None, f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_and_program_is_there(page: Path) -> None:
    """`make NAME` and `python FILE` on a page can be run in this repository."""
    text, made = page.read_text(encoding="utf-8"), (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|\$ )make ([a-z]+)", text):
        assert re.search(rf"^{target}:", made, re.M), f"{page.name}: make {target}"
    for program in re.findall(r"(?:`|\$ )python ((?:benchmarks|examples|docs)/\S+?\.py)", text):
        assert (ROOT / program).is_file(), f"{page.name}: {program}"


def yaml_of(mark: str) -> Any:
    """The YAML of docs/ci.md below that comment."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- {mark} -->\n```yaml\n(.*?)```", page, re.S)
    return yaml.safe_load(found)


def test_the_workflow_fails_where_a_run_broke(tmp_path: Path) -> None:
    """The lossdoctor steps of the workflow, run one after the other, end with 0 on a sound run and with 1 on a broken one."""
    steps = [step["run"] for step in yaml_of("workflow")["jobs"]["smoke"]["steps"] if "lossdoctor " in step.get("run", "")]
    commands = [step for step in steps if step.startswith("lossdoctor")]
    assert [command.split()[1] for command in commands] == ["check", "analyze", "analyze"]
    (tmp_path / "train.yaml").write_text("bf16: true\nlearning_rate: 2.0e-4\nlora_r: 16\nlogging_steps: 10\n")
    for case, code in (("loss-divergence/healthy.jsonl", "0"), ("loss-divergence/sick.jsonl", "1")):
        (tmp_path / "outputs").mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / "cases" / case, tmp_path / "outputs" / "this")
        script = " && ".join(commands[:2])
        printed = manual.run(f"{script}; echo code $?; export GITHUB_STEP_SUMMARY=summary; {commands[2]}", tmp_path)
        assert f"code {code}" in printed, printed
        assert "loss" in (tmp_path / "summary").read_text(encoding="utf-8")


def test_the_hook_checks_each_file_by_itself(tmp_path: Path) -> None:
    """What pre-commit would run is silent about a sound configuration and stops at one that cannot work."""
    (hook,) = yaml_of("hook")["repos"][0]["hooks"]
    assert re.match(hook["files"], "configs/sft.yaml") and not re.match(hook["files"], "train.py")
    (tmp_path / "good.yaml").write_text("bf16: true\nlearning_rate: 2.0e-4\nlora_r: 16\n")
    (tmp_path / "bad.yaml").write_text("bf16: true\nfp16: true\nlearning_rate: 2.0e-4\n")
    entry = hook["entry"].replace("bash -c '", f'bash -c \'lossdoctor() {{ "{sys.executable}" -m lossdoctor "$@"; }}; ')
    assert "code 0" in manual.run(f"{entry} good.yaml; echo code $?", tmp_path)
    assert "code 1" in manual.run(f"{entry} good.yaml bad.yaml; echo code $?", tmp_path)
