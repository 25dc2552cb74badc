"""The project keeps its word: documents that run, names that exist, start-up that stays light."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT, slugs

import lossdoctor
from lossdoctor.explain import GROUPS, documents, markdown, orphans, pages, write_documents
from lossdoctor.readers.dialects import DIALECTS, dialects
from lossdoctor.registry import all_causes, all_checks, all_data_checks, all_detectors
from lossdoctor.reports import FORMATS

README, KOREAN_README = ROOT / "README.md", ROOT / "README.ko.md"


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, 80 columns wide and without colour."""
    variables = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        [sys.executable, "-m", "lossdoctor", *words], capture_output=True, text=True, env=variables, check=False, cwd=ROOT
    )


def imported(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("readme", [README, KOREAN_README], ids=lambda readme: readme.name)
def test_the_readme_is_one_screen_and_a_few_pointers(readme: Path) -> None:
    """What is longer than that has a page of its own, and every file that the README points to is there."""
    text = readme.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    for link in re.findall(r"(?:\]\(|src(?:set)?=\")([^)\"#]+)", text):
        assert (ROOT / link).exists(), link


def test_the_numbers_of_the_readme_are_true() -> None:
    """As many symptoms, causes, checks and formats as it says."""
    text = " ".join(README.read_text(encoding="utf-8").split())
    checks = len(all_checks()) + len(all_data_checks())
    assert f"{len(all_detectors())} symptoms, {len(all_causes())} causes and {checks} checks" in text
    assert f"All {len(DIALECTS)} formats" in text
    assert f"the {len(DIALECTS)} formats" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    korean = KOREAN_README.read_text(encoding="utf-8")
    assert f"증상 {len(all_detectors())}개, 원인 {len(all_causes())}개, 점검 {checks}개" in korean
    assert f"{len(DIALECTS)}가지 형식 전체" in korean


def test_the_cures_of_the_readme_are_those_of_the_table() -> None:
    """As many trials and cures as the page that the benchmark writes has."""
    table = (ROOT / "docs" / "evidence" / "remedies.md").read_text(encoding="utf-8")
    cured, broken = re.search(r"Cured: (\d+) of (\d+) ", table).groups()  # type: ignore[union-attr]
    english = README.read_text(encoding="utf-8")
    assert f"Of {broken} fine-tunes of tiny models that were broken on purpose, [{cured} were healthy again]" in english
    assert f"파인튜닝 {broken}건 중 [{cured}건이" in KOREAN_README.read_text(encoding="utf-8")


def parts(readme: Path) -> dict[str, object]:
    """What a README has in every language: headings by their ranks, code without its comments, what it names, links, pictures."""
    text = readme.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    code = re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    return {
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.M)],
        "code": [(language, re.sub(r"\s+# .*", "", block)) for language, block in code],
        "named": Counter(re.findall(r"`([^`\n]+)`", prose)),
        "links": Counter(re.findall(r"\]\(([^)]+)\)", prose)),
        "pictures": [link.replace("demo-ko-", "demo-") for link in re.findall(r"src(?:set)?=\"([^\"]+)", prose)],
        "lines": ["" if not line else line[0] if line[0] in "#|<!-" else "sentence" for line in text.splitlines()],
    }


def test_the_readme_in_korean_is_the_same_readme() -> None:
    """Section by section and sentence by sentence: headings, code, names, links, pictures; each leads to the other at the top."""
    english, korean = parts(README), parts(KOREAN_README)
    for page, links, other in ((README, english["links"], "README.ko.md"), (KOREAN_README, korean["links"], "README.md")):
        assert isinstance(links, Counter) and links.pop(other, 0) == 1
        assert f"]({other})" in page.read_text(encoding="utf-8").partition("**")[0]
    assert english == korean


def test_the_readme_in_korean_has_every_figure_of_the_english() -> None:
    """No figure is left out or has grown old in one of them; words may become figures, as in 5분 for five minutes."""
    pattern = re.compile(r"\d+(?:[.,]\d+)*")
    figures = {readme: Counter(pattern.findall(readme.read_text(encoding="utf-8"))) for readme in (README, KOREAN_README)}
    assert not figures[README] - figures[KOREAN_README]


def test_the_pictures_that_need_no_browser_are_fresh() -> None:
    """What the terminal shows, and badges that say what pyproject.toml says; `make pictures` makes them anew."""
    sys.path.insert(0, str(ROOT / "docs"))
    import pictures

    for name, drawn in {**pictures.terminal(), **pictures.badges()}.items():
        path = ROOT / "docs" / "pictures" / name
        if os.environ.get("UPDATE_CASES"):
            path.write_text(drawn, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == drawn, "run: make pictures"


@pytest.mark.parametrize("page", ["compare"])
def test_the_pages_show_what_the_command_prints(page: str) -> None:
    """Each output in the documents is the true one, to the letter; UPDATE_CASES=1 writes it anew."""
    file = ROOT / "docs" / f"{page}.md"
    text = file.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- output: (.+?) -->\n```text\n)(.*?)(```)", re.S)
    assert pattern.search(text)
    fresh = pattern.sub(lambda m: f"{m[1]}{command(*m[2].split()).stdout}{m[4]}", text)
    if os.environ.get("UPDATE_CASES"):
        file.write_text(fresh, encoding="utf-8")
    else:
        assert text == fresh


def test_the_recipe_in_contributing_works() -> None:
    """The detector in the recipe is a detector: it compiles, finds a sick log, and leaves a healthy one alone."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)
    assert block is not None
    code = "from dataclasses import dataclass\nfrom lossdoctor.base import Detector, Streak\n"
    code += "from lossdoctor.model import Record, Symptom\n"
    code += "from lossdoctor.vitals import Vitals\n" + re.sub(r"^ {3}", "", block[1], flags=re.M)
    scope: dict[str, object] = {"__name__": "recipe"}
    sys.modules["recipe"] = sys.modules[__name__]  # dataclasses look their module up
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), scope)
    from lossdoctor.engine import Engine
    from lossdoctor.parsing.rows import records

    for rate, wanted in ((1e-15, {"learning-rate-tiny"}), (1e-5, set())):
        engine = Engine(detectors=[scope["LearningRateTiny"]()], strict=True)  # type: ignore[operator]
        for record in records([{"step": s, "loss": 2.0, "learning_rate": rate} for s in range(1, 9)])[0]:
            engine.observe(record)
        assert slugs(engine.report()) == wanted


def test_every_public_name_is_there() -> None:
    """`__all__` is what the package has, also for `from lossdoctor import *`."""
    pytest.importorskip("transformers", reason="the callback needs transformers")
    assert all(getattr(lossdoctor, name) is not None for name in lossdoctor.__all__)
    assert set(dir(lossdoctor)) == set(lossdoctor.__all__)
    with pytest.raises(AttributeError):
        lossdoctor.LossDoctor  # noqa: B018


def test_help_loads_neither_numpy_nor_rich() -> None:
    """`lossdoctor --help` answers at once."""
    loaded = imported("from lossdoctor.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert not loaded & {"numpy", "rich", "yaml", "torch", "transformers", "tensorboard", "scipy"}


def test_analysing_loads_no_training_library() -> None:
    """A log is read without torch and transformers, also where a training_args.bin lies beside it."""
    loaded = imported("from lossdoctor.cli import main\ntry: main(['demo'])\nexcept SystemExit: pass")
    assert "rich.console" in loaded
    assert not loaded & {"torch", "transformers", "accelerate", "tensorboard", "scipy", "yaml"}


def test_the_changelog_knows_this_version() -> None:
    """The version of the package has its entry."""
    assert f"## [{lossdoctor.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_wheel_holds_everything(tmp_path: Path) -> None:
    """Every module, the schema, the demo run and the type marker are in the built wheel."""
    pytest.importorskip("hatchling")
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    import zipfile

    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = [p for p in (ROOT / "lossdoctor").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(p.relative_to(ROOT)) for p in ours} <= inside


@pytest.mark.parametrize("slug", pages())
def test_every_page_can_be_read(slug: str) -> None:
    """`lossdoctor explain` has a page for everything that `lossdoctor list` names."""
    assert markdown(slug).startswith(f"# {slug} (")


def test_the_pages_of_the_manual_are_fresh() -> None:
    """docs/ holds what `lossdoctor explain` prints, and a page of nothing else; UPDATE_CASES=1 writes it anew."""
    folder = ROOT / "docs"
    if os.environ.get("UPDATE_CASES"):
        write_documents(folder)
    stale = [name for name, text in documents().items() if _text(folder / name) != text]
    assert not stale, "run: make docs"
    assert not orphans(folder), "run: make docs"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def test_every_symptom_of_the_manual_stands_in_one_group() -> None:
    """No symptom is listed twice in the index of the manual, and no group names one that is not there."""
    named = [slug for slugs in GROUPS.values() for slug in slugs]
    assert len(named) == len(set(named)) and set(named) <= set(pages())


def test_every_format_is_offered() -> None:
    """The formats of the help text are those that exist."""
    assert f"[{'|'.join(FORMATS)}]" in command("analyze", "--help").stdout


def test_the_manual_names_every_format() -> None:
    """The list of docs/logs.md is what each reader says of itself, and each has its figures; UPDATE_CASES=1 writes the list."""
    path = ROOT / "docs" / "logs.md"
    said = "".join(f"- `{name}`: {module.__doc__}\n" for name, module in zip(DIALECTS, dialects(), strict=True))
    pattern = re.compile(r"(<!-- formats -->\n)(.*?)(<!-- end -->)", re.S)
    text = path.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_CASES"):
        text = pattern.sub(lambda m: f"{m[1]}{said}{m[3]}", text)
        path.write_text(text, encoding="utf-8")
    found = pattern.search(text)
    assert found is not None and found[2] == said
    assert {name for name in DIALECTS if f"\n| `{name}` | " in text} == set(DIALECTS)
