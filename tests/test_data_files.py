"""Examples are read from the formats people have, in bounded memory, and what is none is one clear line."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.model import LossDoctorError, Run
from lossdoctor.probes.data import examine
from lossdoctor.probes.data.sampling import MOST, drawn
from lossdoctor.probes.data.shapes import content_of, shape_of

pytest.importorskip("transformers")
pytest.importorskip("torch")

ROWS = [tiny.pair(seed) for seed in range(30)]


def _csv(path: Path, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ROWS[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def _parquet(path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(ROWS), path)


def _saved(path: Path) -> None:
    pytest.importorskip("datasets").Dataset.from_list(ROWS).save_to_disk(str(path))


def _splits(path: Path) -> None:
    sets = pytest.importorskip("datasets")
    sets.DatasetDict({"test": sets.Dataset.from_list(ROWS[:3]), "train": sets.Dataset.from_list(ROWS)}).save_to_disk(str(path))


def _parts(path: Path) -> None:
    tiny.lines(path / "train-00000-of-00002.jsonl", ROWS[:10])
    tiny.lines(path / "train-00001-of-00002.jsonl", ROWS[10:])
    tiny.lines(path / "test.jsonl", ROWS[:5])


FORMATS: dict[str, Callable[[Path], Any]] = {
    "rows.jsonl": lambda path: tiny.lines(path, ROWS),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode())),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8"),
    "marked.json": lambda path: path.write_text("\ufeff \n" + json.dumps(ROWS), encoding="utf-8"),
    "held.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS}, indent=1), encoding="utf-8"),
    "rows.csv": lambda path: _csv(path, ","),
    "rows.tsv": lambda path: _csv(path, "\t"),
    "rows.parquet": _parquet,
    "saved": _saved,
    "splits": _splits,
    "parts": _parts,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_examples(name: str, tmp_path: Path) -> None:
    """Thirty examples are thirty examples, however they were saved; of a folder the training split is read."""
    FORMATS[name](tmp_path / name)
    sample = drawn(tmp_path / name)
    assert [row for _, row in sample.chosen] == ROWS
    assert sample.rows == 30 and sample.shape is not None and sample.shape.name == "prompts with answers"


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "chats"),
        ({"messages": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'}, "chats"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "chats"),
        ({"prompt": "a", "completion": "b"}, "prompts with answers"),
        (
            {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
            "prompts with answers",
        ),
        ({"instruction": "a", "input": "", "output": "b"}, "prompts with answers"),
        ({"text": "a"}, "text"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference pairs"),
        ({"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "a"}]}, "preference pairs"),
        ({"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, "tokens"),
        ({"prompt": "a"}, "prompts"),
    ],
)
def test_the_usual_shapes_are_known(row: dict[str, Any], shape: str) -> None:
    """A shape is told by its columns, and every example of it has a content."""
    found = shape_of([row])
    assert found is not None and found.name == shape
    assert content_of(row, found, True) is not None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "", "has no examples in it"),
        ("a.jsonl", "hello\nworld\n", "holds no examples: it begins with 'hello"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "example 2 is not JSON"),
        ("a.jsonl", '{"a": 1}\n3\n', "example 2 is a number"),
        ("a.json", "[1, 2]", "example 1 is a number"),
        ("a.json", '[{"a": 1}, {"a": ', "example 2 of the JSON array cannot be read"),
        ("a.json", '{\n"a": 1, "b": 2}', "without a list of examples; its keys are: a, b"),
        ("a.csv", "", "no header"),
        ("a.parquet", "PAR1 and nothing else", "is not parquet, or broken"),
        ("a.jsonl.gz", "\x1f\x8b nonsense", "a.jsonl.gz"),
    ],
)
def test_what_holds_no_examples_is_one_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    """What was wrong, what was found, and where."""
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(LossDoctorError) as caught:
        drawn(tmp_path / name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_of_examples_is_one_line(tmp_path: Path) -> None:
    """A name that is not there, an empty folder, a device."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "empty", Path("/dev/null")):
        with pytest.raises(LossDoctorError):
            drawn(path)


def test_unusual_columns_are_counted_and_not_judged(tmp_path: Path) -> None:
    """Columns that only a script understands: the examples are counted, and labels are said not to be known."""
    data = tiny.lines(tmp_path / "d.jsonl", ({"problem": "x", "solution": str(seed)} for seed in range(9)))
    found = examine(tiny.tokenizer(tmp_path / "model"), data, Run())
    assert found.facts["dataset_size"].value == 9 and not found.findings
    assert "the columns problem, solution are none of the usual ones" in found.not_judged[0].why


def test_a_large_file_is_sampled_evenly(tmp_path: Path) -> None:
    """Of twenty thousand examples five hundred are looked at, from the first to near the last, at equal distances."""
    data = tiny.lines(tmp_path / "d.jsonl", ({"text": f"number {row}"} for row in range(20_000)))
    sample = drawn(data)
    numbers = [number for number, _ in sample.chosen]
    steps = {after - before for before, after in pairwise(numbers)}
    assert sample.rows == 20_000 and len(numbers) == MOST
    assert numbers[0] == 1 and numbers[-1] > 19_900 and max(steps) <= 2 * min(steps)


def test_half_a_surrogate_pair_and_foreign_types_harm_nobody(tmp_path: Path) -> None:
    """Text that has no UTF-8 form, numbers for text, null for a message: read, counted or passed over."""
    rows = [
        {"text": "\ud800 bridge"},
        {"text": 7},
        {"text": None},
        {"text": ["a"]},
        *({"text": tiny.text(seed, 9)} for seed in range(9)),
    ]
    found = examine(tiny.tokenizer(tmp_path / "model"), tiny.lines(tmp_path / "d.jsonl", rows), Run())
    assert found.measured.rows == 13 and len(found.measured.examples) == 11
    assert found.measured.empty == 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner, max_size=2)
    ),
    max_leaves=8,
)
COLUMNS = ("messages", "conversations", "prompt", "completion", "instruction", "output", "text", "chosen", "rejected")
NAMES = st.sampled_from((*COLUMNS, "input_ids", "labels", "attention_mask", "tools", "images", "other"))
EXAMPLES = st.lists(st.dictionaries(NAMES, VALUES, max_size=4) | VALUES, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tokenizer(tmp_path_factory.mktemp("model"), template=tiny.MARKED, pad=None, adds_beginning=True)


@pytest.mark.parametrize("tool", ["", "trl", "LLaMA-Factory", "axolotl"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=EXAMPLES, length=st.sampled_from([None, 1, 8, 64]), marked=st.booleans())
def test_no_json_lines_raise_anything_but_our_own_error(
    tool: str, rows: list[Any], length: int | None, marked: bool, folder: Path, tmp_path: Path
) -> None:
    """Whatever stands in a file of JSON lines, the answer is findings or one line, and a share lies between 0 and 1."""
    from lossdoctor.facts.canonical import translate

    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = Run(facts=translate({"framework": tool, "max_length": length, "assistant_only_loss": marked or None}, "test"))
    try:
        found = examine(folder, data, run)
    except LossDoctorError as error:
        assert "\n" not in str(error)
        return
    share = found.measured.supervised_share
    assert share is None or 0.0 <= share <= 1.0
    for example in found.measured.examples:
        assert 0 <= example.kept_labelled <= example.kept <= example.tokens
        assert length is None or example.kept <= length
    for finding in found.findings:
        assert "\n" not in finding.message


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["a.json", "a.jsonl", "a.csv", "a.tsv", "a.txt", "a.parquet", "a.arrow"]),
)
def test_no_bytes_raise_anything_but_our_own_error(content: bytes, name: str, tmp_path: Path) -> None:
    """Any bytes under any ending are examples, or one line."""
    (tmp_path / name).write_bytes(content)
    try:
        drawn(tmp_path / name)
    except LossDoctorError as error:
        assert str(error)
