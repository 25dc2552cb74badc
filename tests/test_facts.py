"""What is known of a run besides its log: names, kinds of value, the files beside it, and what its GPU can do."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lossdoctor import agreement, disagreements, facts, hardware, slips
from lossdoctor.analysis import analyze
from lossdoctor.facts import adapter_config, config_file, live, model_config, training_args
from lossdoctor.facts.canonical import ALIASES, NAMES, canonical, fact, translate
from lossdoctor.model import Conflict, Fact, LossDoctorError, Run

ROWS = [{"step": s, "loss": 3 - s / 100, "grad_norm": 1 + s % 3 / 7, "learning_rate": 1e-4} for s in range(1, 21)]


def knowing(**known: Any) -> Run:
    """A run of which these facts are known."""
    return Run(facts={name: Fact(value, "test") for name, value in known.items()})


def values(found: dict[str, Fact]) -> dict[str, Any]:
    """The facts without their sources."""
    return {name: known.value for name, known in found.items()}


# Names and kinds of value


@pytest.mark.parametrize("name", NAMES)
def test_every_canonical_name_is_itself(name):
    """A canonical name is found in any of the usual spellings."""
    assert {canonical(name), canonical(name.upper()), canonical(f"--{name.replace('_', '-')}"), canonical(f" {name} ")} == {name}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_every_alias_leads_to_a_canonical_name(alias, name):
    """No alias points nowhere, and none hides a canonical name."""
    assert canonical(alias) == name and name in NAMES and alias not in NAMES


@pytest.mark.parametrize("name", ["", "-", "colour", "learning rate", "fp_16"])
def test_another_name_is_no_fact(name):
    """What is no fact is not guessed."""
    assert canonical(name) is None


@pytest.mark.parametrize(
    ("name", "given_", "value"),
    [
        ("fp16", "true", True),
        ("fp16", "Yes", True),
        ("fp16", "off", False),
        ("fp16", " False ", False),
        ("fp16", "auto", "auto"),
        ("fp16", True, True),
        ("fp16", "0", False),
        ("fp16", "1", True),
        ("fp16", 0, False),
        ("bf16", 1, True),
        ("tf32", "0", False),
        ("tf32", 1, True),
        ("lr", "5e-5", 5e-05),
        ("lr", "1e-4", 1e-04),
        ("learning_rate", 1, 1.0),
        ("epochs", "3", 3.0),
        ("warmup_steps", 0.1, 0.1),
        ("lora_r", "16", 16),
        ("lora_r", 16.0, 16),
        ("batch_size", "8", 8),
        ("lora_alpha", 32, 32.0),
        ("gpu", "4x V100 16GB", "4x V100 16GB"),
        ("gpu", "3090", "3090"),
        ("torch", 2.1, "2.1"),
        ("compute_capability", [7, 5], ["7", "5"]),
        ("max_length", "2048", 2048),
        ("max_length", "auto", "auto"),
        ("target_modules", "all-linear", "all-linear"),
        ("target_modules", ["q_proj"], ["q_proj"]),
        ("target_modules", ("q_proj", "v_proj"), ["q_proj", "v_proj"]),
        ("target_modules", "q_proj, v_proj", ["q_proj", "v_proj"]),
        ("target_modules", r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
        ("max_steps", "2,000", 2000),
        ("dataset_size", "10k", 10_000),
        ("trainable_params", "4.2M", 4_200_000),
        ("lr", "1e-4 ", 1e-04),
        ("evaluation_strategy", False, "no"),
        ("resume_from_checkpoint", "out/checkpoint-5", "out/checkpoint-5"),
        ("resume_from_checkpoint", "true", True),
        ("deepspeed", "ds_z3.json", "ds_z3.json"),
        ("deepspeed", {"zero_optimization": {"stage": 2}}, {"zero_optimization": {"stage": 2}}),
    ],
)
def test_a_value_gets_the_kind_that_its_name_takes(name, given_, value):
    """Text from a shell, integers for floats and whole floats for integers end as the right kind."""
    _, known = fact(name, given_, "--set")
    assert (known.value, type(known.value), known.source) == (value, type(value), "--set")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", [1e-4]),
        ("learning_rate", True),
        ("learning_rate", "inf"),
        pytest.param("learning_rate", 10**400, id="huge"),
        ("lora_r", 1.5),
        ("lora_r", "many"),
        ("learning_rate", "0,0002"),
        ("vocab_size", "32k"),
        ("max_steps", "1,00"),
        ("lora_r", False),
        ("tf32", "perhaps"),
        ("fp16", "perhaps"),
        ("gpu", ["A100"]),
        ("model", {"name": "x"}),
        ("lr_scheduler_kwargs", "cosine"),
    ],
)
def test_a_value_of_another_kind_is_refused_or_passed_over(name, value):
    """From the user it is an error with the kind that is right; in somebody's file it is no fact."""
    with pytest.raises(LossDoctorError, match=f"{canonical(name)} takes .*, found "):
        fact(name, value, "--set")
    assert translate({name: value, "seed": 1}, "file") == {"seed": Fact(1, "file")}


def test_the_error_for_a_wrong_value_stays_short():
    """A value of a megabyte is not printed back."""
    with pytest.raises(LossDoctorError) as caught:
        fact("learning_rate", "x" * 2**20, "--set")
    assert len(str(caught.value)) < 1000


def test_an_unknown_name_gets_a_hint():
    """A misspelt name is answered with the nearest ones."""
    with pytest.raises(LossDoctorError, match="unknown fact 'learning_rte'; did you mean learning_rate"):
        fact("learning_rte", 1, "--set")


def test_keys_that_are_no_facts_are_passed_over():
    """Of somebody's configuration only what we know is taken, nulls and odd keys are not; the first of two spellings stays."""
    given_ = {"lr": 1e-4, "learning_rate": 2e-4, "output_dir": "x", "fp16": None, 3: 4, "template": {"a": 1}}
    assert values(translate(given_, "file")) == {"learning_rate": 1e-4}


def test_pairs_are_read_in_order():
    """The last of two pairs counts, and a value may hold an equals sign."""
    assert values(config_file.settings(["lora_r=8", "rank=16", "gpu=a=b", "--fp16=True"])) == {
        "lora_r": 16,
        "gpu": "a=b",
        "fp16": True,
    }


# training_args.bin


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """A real TrainingArguments object with unusual values."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    return transformers.TrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("out")),
        learning_rate=3e-4,
        lr_scheduler_type="cosine",
        lr_scheduler_kwargs={"num_cycles": 2},
        warmup_steps=7,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=5,
        num_train_epochs=2,
        max_grad_norm=0.5,
        optim="adafactor",
        logging_steps=25,
        eval_strategy="steps",
        eval_steps=50,
        use_cpu=True,
        logging_nan_inf_filter=False,
        label_smoothing_factor=0.1,
        seed=11,
        report_to=[],
    )


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_real_training_arguments_are_read_as_they_were(tmp_path, arguments, legacy):
    """Every argument in the file equals that of the object, in the zip form of torch and in the one before 1.6."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "training_args.bin"
    torch.save(arguments, path, _use_new_zipfile_serialization=not legacy)
    assert zipfile.is_zipfile(path) is not legacy
    found = values(training_args.read(path))
    real = {name: getattr(getattr(arguments, name), "value", getattr(arguments, name)) for name in found}
    assert found == real
    assert {"learning_rate", "lr_scheduler_type", "optim", "fp16", "seed", "lr_scheduler_kwargs", "logging_steps"} <= set(found)


def test_live_arguments_and_saved_ones_are_the_same_facts(tmp_path, arguments):
    """What the callback knows of the arguments is what the command line reads from the file."""
    torch = pytest.importorskip("torch")
    torch.save(arguments, tmp_path / "training_args.bin")
    saved, alive = values(training_args.read(tmp_path / "training_args.bin")), values(live.gather(arguments))
    shared = set(saved) & set(alive)
    assert len(shared) > 20 and {n: saved[n] for n in shared} == {n: alive[n] for n in shared}


def test_reading_imports_no_training_library(tmp_path, arguments):
    """The whole command line reads a real file without torch, transformers or anything that the file names."""
    torch = pytest.importorskip("torch")
    torch.save(arguments, tmp_path / "training_args.bin")
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": ROWS}))
    script = (
        "import sys; from lossdoctor.analysis import analyze; (report,) = analyze(sys.argv[1]);"
        "assert report.run.get('optim') == 'adafactor';"
        "print(sorted({'torch', 'transformers', 'accelerate', 'tensorboard', 'scipy', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# training_args.bin from somebody who means harm


class Arguments:
    """What the pickles here hold: an object with attributes, as TrainingArguments is."""


class Call:
    """Pickles as a call that any ordinary unpickler makes."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.parts = (function, args, state)

    def __reduce__(self) -> Any:
        return self.parts


def holding(protocol: int = 2, **attributes: Any) -> bytes:
    """A pickle of arguments with these attributes."""
    thing = Arguments()
    vars(thing).update({"learning_rate": 3e-4, **attributes})
    return pickle.dumps(thing, protocol)


def zipped(data: bytes, name: str = "archive/data.pkl", method: int = zipfile.ZIP_STORED) -> bytes:
    """The pickle in a zip, as torch saves it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def text(value: str) -> bytes:
    """A string as a pickle writes it."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def hostile(marker: str) -> dict[str, bytes]:
    """Pickles that would create the marker file if any part of them were run."""
    write = f"open({marker!r}, 'w').close()"
    touch = f"touch {marker}"
    calls = {
        "system": Call(os.system, touch),
        "popen": Call(os.popen, touch),
        "subprocess": Call(subprocess.Popen, ["touch", marker]),
        "check-output": Call(subprocess.check_output, ["touch", marker]),
        "exec": Call(exec, write),
        "eval": Call(eval, write),
        "open": Call(open, marker, "w"),
        "path-touch": Call(Path.touch, Path(marker)),
        "nested": Call(getattr, Call(__import__, "os"), Call(str, "system")),
        "call-of-a-call": Call(map, Call(eval, "eval"), [write]),
        "state": Call(SimpleNamespace, state={"__setstate__": Call(eval, write), "__class__": Call(type, "x", (), {})}),
        "import": Call(__import__, "antigravity"),
    }
    found = {f"{name}-{p}": holding(p, evil=call) for name, call in calls.items() for p in (0, 2, 4, 5)}
    found |= {f"{name}-alone": pickle.dumps(call) for name, call in calls.items()}
    found |= {f"{name}-zip": zipped(holding(2, evil=call)) for name, call in calls.items()}
    argument = text(touch)
    system = b"\x8c\x02os\x8c\x06system\x93"
    raw = {
        "dotted": b"\x80\x04\x8c\x02os\x8c\x13path.os.path.os.foo" + b"\x93" + argument + b"\x85R.",
        "escape": b"\x80\x04\x8c\x1alossdoctor.facts.canonical\x8c\x20difflib.re.enum.sys.modules.clear\x93)R.",
        "inst": b"(" + argument + b"ios\nsystem\n.",
        "obj": b"\x80\x02(cos\nsystem\n" + argument + b"o.",
        "newobj": b"\x80\x02cos\nsystem\n" + argument + b"\x85\x81.",
        "newobj-ex": b"\x80\x04" + system + argument + b"\x85}\x92.",
        "extension": b"\x80\x02\x82\x01)R.",
        "persistent": b"\x80\x02" + argument + b"Q.",
        "build-a-class": b"\x80\x04" + system + b"}" + text("__new__") + system + b"sb" + argument + b"\x85R.",
        "slots-of-a-class": b"\x80\x04" + system + b"N}" + text("__call__") + system + b"s\x86b)R" + argument + b"\x85R.",
        "setstate": b"\x80\x04" + system + b")R}" + text("__setstate__") + system + b"sb" + argument + b"b.",
        "append": b"\x80\x04" + system + b")R}" + text("append") + system + b"sb" + argument + b"a.",
        "items": b"\x80\x04" + system + b")R}" + text("items") + system + b"sb(" + argument + argument + b"u.",
    }
    return found | raw


def save(folder: Path, data: bytes) -> Path:
    """The bytes as the arguments of a run."""
    path = folder / "training_args.bin"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", sorted(hostile("")))
def test_nothing_in_a_hostile_file_is_run(tmp_path, name):
    """No call, state or name in a pickle does anything; what harmless arguments stand beside it is still read."""
    marker = tmp_path / "marker"
    try:
        found = training_args.read(save(tmp_path, hostile(str(marker))[name]))
    except LossDoctorError:
        found = {}
    assert not marker.exists()
    assert values(found) in ({}, {"learning_rate": 3e-4})
    if name in ("system-2", "nested-2", "exec-4", "state-zip"):
        assert found


def test_the_hostile_files_are_hostile(tmp_path):
    """The same pickles do create the file when an ordinary unpickler reads them."""
    marker = tmp_path / "marker"
    for name in ("system-2", "exec-4", "open-0", "inst", "obj"):
        marker.unlink(missing_ok=True)
        pickle.loads(hostile(str(marker))[name])
        assert marker.exists(), name


def test_the_interpreter_sees_no_call_while_hostile_files_are_read(tmp_path):
    """An audit hook, which hears of every import, process, compilation and opened file, hears of the files themselves only."""
    for place, data in enumerate(hostile(str(tmp_path / "marker")).values()):
        (tmp_path / f"{place}.bin").write_bytes(data)
    script = """
import sys, pathlib, encodings.cp437
from lossdoctor.facts import training_args
from lossdoctor.model import LossDoctorError
files = sorted(pathlib.Path(sys.argv[1]).glob("*.bin"))
training_args.read(files[0])
heard = []
def hear(event, args):
    if event == "open" and str(args[0]).startswith(sys.argv[1]) and args[1] in ("r", "rb", None):
        return
    if event in ("open", "import", "exec", "compile") or event.startswith(("os.", "subprocess.", "socket.", "shutil.")):
        heard.append((event, str(args)[:80]))
sys.addaudithook(hear)
for file in files:
    try:
        training_args.read(file)
    except LossDoctorError:
        pass
print(len(files), heard)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == f"{len(list(tmp_path.glob('*.bin')))} []", done.stdout + done.stderr


def laughs(levels: int = 60) -> list[Any]:
    """A list that is short in memory and endless when written out."""
    value: list[Any] = [1, 1]
    for _ in range(levels):
        value = [value, value]
    return value


def cycle() -> dict[str, Any]:
    """A mapping that holds itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def lying_bomb() -> bytes:
    """A zip of two megabytes that says it holds a thousand bytes, and holds 1 GiB."""
    size = 2**30
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as inner:
        for _ in range(size // 2**24):
            inner.write(bytes(2**24))
    return stream.getvalue().replace(struct.pack("<I", size), struct.pack("<I", 1000))


def with_raw_rate(value: bytes) -> bytes:
    """Arguments whose learning rate is this piece of a pickle."""
    return b"\x80\x04cx\nArguments\n)\x81}" + text("learning_rate") + value + b"sb."


GREEDY = {
    "laughs-in-a-number": lambda: holding(learning_rate=laughs()),
    "laughs-in-a-mapping": lambda: holding(lr_scheduler_kwargs={"x": laughs()}),
    "laughs-in-a-list": lambda: holding(lora_target_modules=laughs()),
    "cycle": lambda: holding(lr_scheduler_kwargs=cycle()),
    "cycle-in-a-number": lambda: holding(learning_rate=cycle()),
    "huge-integer": lambda: holding(seed=10**5000),
    "huge-integer-in-a-float": lambda: holding(learning_rate=10**400),
    "deep-list": lambda: with_raw_rate(b"]" * 100_000 + b"a" * 99_999),
    "deep-reduce": lambda: with_raw_rate(b"cx\ny\n" * 30_000 + b")" + b"R\x85" * 29_999 + b"R"),
    "lone-surrogate": lambda: holding(lr_scheduler_type="\ud800"),
    "a-class-per-three-bytes": lambda: b"c\n\n" * 1_300_000 + b".",
    "a-pickle-per-two-bytes": lambda: b"N." * 500_000,
    "bytearray8": lambda: with_raw_rate(b"\x96" + struct.pack("<Q", 2**40)),
    "binbytes8": lambda: with_raw_rate(b"\x8e" + struct.pack("<Q", 2**40)),
    "binunicode8": lambda: with_raw_rate(b"\x8d" + struct.pack("<Q", 2**62)),
    "long4": lambda: with_raw_rate(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "long4-negative": lambda: with_raw_rate(b"\x8b" + struct.pack("<i", -1)),
    "frame": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b".",
    "memo-index": lambda: with_raw_rate(b"K\x01r\xff\xff\xff\x7f"),
    "memo-index-as-text": lambda: with_raw_rate(b"K\x01p99999999999999999999\n"),
    "memo-missing": lambda: with_raw_rate(b"j\xff\xff\xff\x7f"),
    "digits": lambda: with_raw_rate(b"L" + b"9" * 2_000_000 + b"L\n"),
    "zip-bomb": lambda: zipped(bytes(2**28), method=zipfile.ZIP_DEFLATED),
    "zip-bomb-that-lies": lying_bomb,
    "zip-of-nothing": lambda: zipped(b"x", "archive/other.pkl"),
    "five-megabytes": lambda: bytes(5 * 2**20),
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_greedy_file_costs_little(tmp_path, name):
    """Whatever lies beside a log, its report is written within seconds and half a gibibyte, and without a traceback."""
    resource = pytest.importorskip("resource")
    save(tmp_path, GREEDY[name]())
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": ROWS}))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2**29, 2**29))
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))

    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", "analyze", "--output-format", "json", "-o", "report.json", "."],
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr[-500:]) == (0, "")
    report = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(report)["reports"][0]["run"]["rows"] == len(ROWS) and len(report) < 2**20
    assert "MemoryError" not in report


#: Pieces of pickles: every opcode by itself, claims of all sizes, and names that should not be called.
PIECES = [
    *(bytes([code]) for code in pickle._Unpickler.dispatch),
    b"\x80\x04",
    b"(",
    b"cos\nsystem\n",
    b"cbuiltins\nexec\n",
    b"\x8c\x02os\x8c\x06system\x93",
    text("learning_rate"),
    text("__setstate__"),
    text("__dict__"),
    b"G" + struct.pack(">d", 1e-4),
    b"I7\n",
    b"K\x01",
    b"q\x00",
    b"h\x00",
    b"r\xff\xff\xff\x7f",
    b"\x85R",
    b"}b",
    b")\x81",
    b".",
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for the files that hypothesis writes."""
    return tmp_path_factory.mktemp("scratch")


def read_or_refuse(folder: Path, data: bytes) -> None:
    """Nothing but facts or a LossDoctorError may come out of these bytes."""
    try:
        found = training_args.read(save(folder, data))
    except LossDoctorError as error:
        assert "\n" not in str(error)
    else:
        assert set(found) <= set(NAMES)


@hypothesis_settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.booleans())
def test_no_pieces_of_a_pickle_break_the_reader(scratch, pieces, in_zip):
    """Opcodes in any order give facts or one error of ours."""
    data = b"".join(pieces)
    read_or_refuse(scratch, zipped(data) if in_zip else data)


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_no_random_bytes_break_the_reader(scratch, data):
    """Bytes without any sense give one error of ours."""
    read_or_refuse(scratch, data)


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.sampled_from([0, 2, 4, 5]), st.booleans(), st.integers(0, 400), st.one_of(st.none(), st.integers(0, 255)))
def test_no_damage_to_a_file_breaks_the_reader(scratch, protocol, in_zip, place, byte):
    """A file that is cut off, or has one byte changed, gives facts or one error of ours."""
    whole = holding(protocol, lr_scheduler_type="cosine", fp16=True, seed=3)
    data = bytearray(zipped(whole) if in_zip else whole)
    place %= len(data)
    if byte is None:
        del data[place:]
    else:
        data[place] = byte
    read_or_refuse(scratch, bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no training arguments"),
        (pickle.dumps({"learning_rate": 1}), "no training arguments"),
        (zipped(b"N."), "no training arguments"),
        (zipped(holding(), "archive/other"), "without a small data.pkl"),
        (bytes(5 * 2**20), "5,242,880 bytes"),
        (holding()[:-20], "could not be read"),
    ],
    ids=["empty", "mapping", "none", "zip-without-pickle", "large", "truncated"],
)
def test_what_holds_no_arguments_is_said_in_the_report(tmp_path, data, words):
    """The log is analysed all the same, and the report says what could not be read."""
    save(tmp_path, data)
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": ROWS}))
    (report,) = analyze(tmp_path)
    assert report.verdict == "healthy"
    assert [n.why for n in report.not_judged if "training_args.bin" in n.why and words in n.why]


# adapter_config.json and config.json


def write(folder: Path, name: str, content: Any) -> Path:
    """A file with this text, or this value as JSON."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_real_adapter_is_read_as_it_was(tmp_path):
    """What PEFT saves is read: rank, alpha, dropout, modules and base model."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=8, lora_alpha=32, lora_dropout=0.1, target_modules=["q_proj"], base_model_name_or_path="org/base")
    config.save_pretrained(tmp_path)
    assert values(adapter_config.read(tmp_path / "adapter_config.json")) == {
        "model_name_or_path": "org/base",
        "lora_r": 8,
        "lora_alpha": 32.0,
        "lora_dropout": 0.1,
        "lora_target_modules": ["q_proj"],
        "use_lora": True,
        "use_rslora": False,
        "use_dora": False,
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"peft_type": "LORA", "target_modules": "all-linear"}, {"use_lora": True, "lora_target_modules": "all-linear"}),
        ({"peft_type": "PROMPT_TUNING"}, {"peft_type": "PROMPT_TUNING"}),
        ({"peft_type": "LORA", "r": None, "lora_alpha": "?", "target_modules": None}, {"use_lora": True}),
        ({}, {}),
    ],
)
def test_other_adapters_are_read_as_far_as_they_go(tmp_path, content, expected):
    """A single name for all modules, another method, and nulls."""
    assert values(adapter_config.read(write(tmp_path, "adapter_config.json", content))) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"model_type": "llama", "torch_dtype": "float16"}, {"model_type": "llama", "torch_dtype": "float16"}),
        ({"model_type": "qwen3", "dtype": "bfloat16"}, {"model_type": "qwen3", "torch_dtype": "bfloat16"}),
        ({"text_config": {"vocab_size": 9, "torch_dtype": "float32"}}, {"vocab_size": 9, "torch_dtype": "float32"}),
        ({"text_config": {"vocab_size": 9, "dtype": "float32"}}, {"vocab_size": 9, "torch_dtype": "float32"}),
        ({"vocab_size": 50257, "text_config": "x"}, {"vocab_size": 50257}),
        (
            {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}},
            {"num_labels": 2},
        ),
        ({"architectures": ["LlamaForCausalLM"], "id2label": {"0": "a", "1": "b"}}, {}),
        ({"quantization_config": {"load_in_4bit": True, "load_in_8bit": False}}, {"quantization": "4bit"}),
        ({"quantization_config": {"load_in_8bit": True}}, {"quantization": "8bit"}),
        ({"_name_or_path": "", "transformers_version": "4.40.0"}, {"transformers_version": "4.40.0"}),
        (
            {"_name_or_path": "org/x", "_attn_implementation": "eager"},
            {"model_name_or_path": "org/x", "attn_implementation": "eager"},
        ),
    ],
)
def test_the_configuration_of_a_model_is_read(tmp_path, content, expected):
    """Both names of the weight type, text models within larger ones, class counts and quantisation."""
    assert values(model_config.read(write(tmp_path, "config.json", content))) == expected


@pytest.mark.parametrize("name", facts.SOURCES)
@pytest.mark.parametrize("content", ["", "[1]", "{", "\0\1\2", "null"])
def test_a_broken_file_beside_the_log_is_a_note(tmp_path, name, content):
    """Facts are a help: a broken file among them never stops the analysis, and the report says so."""
    write(tmp_path, name, content)
    write(tmp_path, "trainer_state.json", {"log_history": ROWS})
    (report,) = analyze(tmp_path)
    assert report.verdict == "healthy"
    assert [n for n in report.not_judged if name in n.why]


# --config and precedence


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"learning_rate": 1e-5, "fp16": true, "lora_rank": 8, "model": "org/x", "other": [1]}'),
        (
            "run.yaml",
            "# LLaMA-Factory\nlearning_rate: 1e-5\nfp16: true\nlora_rank: 8\nmodel_name_or_path: org/x\nother: {a: 1}\n",
        ),
        ("run.txt", "lr: 1.0e-05\nfp16: yes\nrank: '8'\nbase_model: org/x\n"),
        ("run", '\ufeff{"lr": "1e-5", "fp16": "True", "r": 8, "model_name": "org/x"}'),
    ],
)
def test_json_and_yaml_say_the_same(tmp_path, name, content):
    """The form of a configuration is told by its content, the names may be any of the usual ones; the source is the file."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found = config_file.read(path)
    assert values(found) == {"learning_rate": 1e-5, "fp16": True, "lora_r": 8, "model_name_or_path": "org/x"}
    assert {known.source for known in found.values()} == {name}


def command_line(folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    """The facts in the report of `lossdoctor analyze` on a folder."""
    command = [sys.executable, "-m", "lossdoctor", "analyze", "--output-format", "json", *options, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["reports"][0]["run"]["facts"]
    return found


def test_the_better_source_wins(tmp_path):
    """--set over --config over the log's own state over training_args.bin over adapter_config.json over config.json."""
    write(tmp_path, "config.json", {"_name_or_path": "from-config", "torch_dtype": "float16", "vocab_size": 9})
    write(tmp_path, "adapter_config.json", {"base_model_name_or_path": "from-adapter", "r": 4, "lora_alpha": 8})
    save(tmp_path, holding(lora_r=5, logging_steps=1, max_steps=77, seed=1, weight_decay=0.5))
    write(tmp_path, "trainer_state.json", {"log_history": ROWS, "logging_steps": 2, "max_steps": 20})
    write(tmp_path, "first.yaml", "seed: 2\nmax_steps: 30\nweight_decay: 0.1\nlora_alpha: 9")
    write(tmp_path, "second.yaml", "seed: 3\nmax_steps: 31")
    found = command_line(tmp_path, "--set", "seed=4", "--config", "first.yaml", "--config", "second.yaml", "--set", "gpu=T4")
    assert {name: (known["value"], known["source"]) for name, known in found.items()} == {
        "seed": (4, "--set"),
        "gpu": ("T4", "--set"),
        "max_steps": (31, "second.yaml"),
        "weight_decay": (0.1, "first.yaml"),
        "lora_alpha": (9.0, "first.yaml"),
        "logging_steps": (2.0, "trainer_state"),
        "learning_rate": (3e-4, "training_args.bin"),
        "lora_r": (5, "training_args.bin"),
        "model_name_or_path": ("from-adapter", "adapter_config.json"),
        "torch_dtype": ("float16", "config.json"),
        "vocab_size": (9, "config.json"),
        "task": ("supervised", "columns of the log"),
    }


def test_facts_may_lie_in_the_newest_checkpoint(tmp_path):
    """Where the output folder has no arguments, those of its newest checkpoint count; its own come first."""
    for step, seed in ((10, 1), (20, 2)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save(folder, holding(seed=seed))
        write(folder, "trainer_state.json", {"log_history": ROWS})
    assert analyze(tmp_path)[0].run.get("seed") == 2
    assert analyze(tmp_path / "checkpoint-10")[0].run.get("seed") == 1
    write(tmp_path, "trainer_state.json", {"log_history": ROWS})
    assert analyze(tmp_path)[0].run.get("seed") == 2
    save(tmp_path, holding(seed=3))
    assert analyze(tmp_path)[0].run.get("seed") == 3


# Other tools' configurations, scripts, dumps and cards

DIALECTS = Path(__file__).parent / "facts"


@pytest.mark.parametrize(
    ("name", "expected", "absent"),
    [
        (
            "llama_factory.yaml",
            {
                "model_name_or_path": "meta-llama/Meta-Llama-3-8B-Instruct",
                "trainer": "sft",
                "framework": "LLaMA-Factory",
                "finetuning_type": "lora",
                "use_lora": True,
                "use_rslora": True,
                "lora_r": 16,
                "lora_target_modules": "all-linear",
                "lora_modules_to_save": ["embed_tokens", "lm_head"],
                "quantization": "4bit",
                "attn_implementation": "flash_attention_2",
                "max_length": 2048,
                "learning_rate": 1e-4,
                "bf16": True,
                "eval_strategy": "no",
                "tokens_added": 2,
                "dataset": ["identity", "alpaca_en_demo"],
                "deepspeed": "facts/deepspeed/ds_z2.json",
                "zero_stage": 2,
                "overlap_comm": True,
            },
            ("fp16", "dataset_size", "total_train_batch_size", "loss_scale"),
        ),
        (
            "axolotl.yaml",
            {
                "model_name_or_path": "NousResearch/Llama-2-7b-hf",
                "per_device_train_batch_size": 2,
                "total_train_batch_size": 64,
                "gradient_accumulation_steps": 4,
                "use_lora": True,
                "lora_target_modules": "all-linear",
                "lora_modules_to_save": ["embed_tokens", "lm_head"],
                "quantization": "4bit",
                "bf16": "auto",
                "packing": True,
                "max_length": 4096,
                "attn_implementation": "flash_attention_2",
                "optim": "paged_adamw_32bit",
                "lr_scheduler_type": "cosine",
                "learning_rate": 2e-4,
                "tokens_added": 2,
            },
            ("fp16", "model_type"),
        ),
        (
            "deepspeed/ds_z2.json",
            {"deepspeed": True, "zero_stage": 2, "overlap_comm": True, "contiguous_gradients": True, "initial_scale_power": 16},
            ("fp16", "bf16", "loss_scale", "gradient_accumulation_steps", "max_grad_norm", "total_train_batch_size"),
        ),
        (
            "deepspeed_full.json",
            {
                "fp16": True,
                "bf16": False,
                "loss_scale": 1024.0,
                "zero_stage": 1,
                "overlap_comm": False,
                "learning_rate": 2e-5,
                "lr_scheduler_type": "linear",
                "warmup_steps": 100.0,
                "max_steps": 4000,
                "per_device_train_batch_size": 4,
                "total_train_batch_size": 256,
                "max_grad_norm": 1.0,
            },
            (),
        ),
        (
            "kedro_parameters.yml",
            {
                "model_name_or_path": "Qwen/Qwen2.5-1.5B",
                "torch_dtype": "bfloat16",
                "lora_r": 8,
                "lora_dropout": 0.1,
                "lora_target_modules": ["q_proj", "v_proj"],
                "learning_rate": 5e-5,
                "lr_scheduler_kwargs": {"num_cycles": 0.5},
                "bf16": True,
                "fp16": False,
                "zero_stage": 3,
                "overlap_comm": True,
                "max_grad_norm": 0.5,
            },
            ("max_length",),
        ),
        ("accelerate.yaml", {"deepspeed": True, "zero_stage": 2, "world_size": 8, "bf16": True, "fp16": False}, ()),
        (
            "model_card.md",
            {
                "model_name_or_path": "mistralai/Mistral-7B-v0.1",
                "dataset": "org/some-instructions",
                "learning_rate": 5e-5,
                "per_device_train_batch_size": 8,
                "total_train_batch_size": 128,
                "world_size": 4,
                "multi_gpu": True,
                "optim": "adamw_torch",
                "adam_beta2": 0.95,
                "adam_epsilon": 1e-8,
                "warmup_ratio": 0.1,
                "num_train_epochs": 3.0,
                "quantization": "4bit",
                "torch_version": "2.1.0+cu118",
                "transformers_version": "4.36.2",
            },
            ("fp16", "bf16"),
        ),
        (
            "card_with_table.md",
            {"learning_rate": 2e-4, "lora_r": 64, "lora_alpha": 16.0, "max_steps": 2000, "bf16": True, "num_train_epochs": 3.0},
            ("per_device_train_batch_size", "lr_scheduler_type"),
        ),
        (
            "train.sh",
            {
                "model_name_or_path": "Qwen/Qwen2-7B",
                "learning_rate": 2e-4,
                "world_size": 8,
                "bf16": True,
                "tf32": True,
                "packing": True,
                "group_by_length": False,
                "gradient_accumulation_steps": 8,
                "lora_target_modules": ["q_proj", "v_proj"],
                "eval_strategy": "no",
                "deepspeed": "deepspeed/ds_z2.json",
                "zero_stage": 2,
            },
            ("fp16", "seed"),
        ),
        (
            "accelerate_launch.txt",
            {"world_size": 4, "bf16": True, "fp16": False, "quantization": "4bit", "use_lora": True, "learning_rate": 1e-5},
            (),
        ),
        (
            "trainer_dump.log",
            {
                "learning_rate": 5e-5,
                "fp16": True,
                "bf16": False,
                "lr_scheduler_type": "linear",
                "optim": "adamw_torch",
                "eval_strategy": "no",
                "save_strategy": "steps",
                "logging_nan_inf_filter": True,
                "trainer": "Seq2SeqTrainingArguments",
            },
            ("deepspeed", "resume_from_checkpoint", "max_steps"),
        ),
        (
            "finetune.py",
            {
                "model_name_or_path": "google/gemma-2-2b",
                "torch_dtype": "bfloat16",
                "attn_implementation": "eager",
                "quantization": "4bit",
                "learning_rate": 2e-4,
                "bf16": True,
                "lora_r": 16,
                "use_lora": True,
                "lora_modules_to_save": ["lm_head"],
                "gradient_checkpointing_kwargs": {"use_reentrant": False},
                "trainer": "SFTConfig",
            },
            ("fp16", "weight_decay", "optim"),
        ),
        ("namespace.txt", {"learning_rate": 2e-5, "per_device_train_batch_size": 32, "fp16": True}, ("seed",)),
        ("dictionary.log", {"learning_rate": 1e-4, "fp16": True, "optim": "adafactor", "lora_r": 8}, ()),
    ],
)
def test_every_dialect_is_told_by_its_content(tmp_path, name, expected, absent):
    """Each file is read as what it is, under any name; what it does not state, or states as a variable, is not known."""
    found = values(config_file.read(DIALECTS / name))
    assert {key: found.get(key) for key in expected} == expected
    assert not set(absent) & set(found)
    copy = write(tmp_path, "unnamed", (DIALECTS / name).read_text())
    nearby = ("zero_stage", "overlap_comm")
    other = values(config_file.read(copy))
    assert {k: other.get(k) for k in expected if k not in nearby} == {k: v for k, v in expected.items() if k not in nearby}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("python t.py --fp16", {"fp16": True}),
        ("python t.py --learning_rate=1e-4 --bf16 --no-fp16", {"learning_rate": 1e-4, "bf16": True, "fp16": False}),
        ("deepspeed --num_gpus 8 --num_nodes 2 t.py --lr 1e-4", {"deepspeed": True, "world_size": 16, "learning_rate": 1e-4}),
        ("torchrun --nproc_per_node=gpu t.py --lr 1 --seed 3", {"learning_rate": 1.0, "seed": 3}),
        ("t.py --lr 1e-4 --seed 3 && t.py --lr 2e-4", {"learning_rate": 2e-4, "seed": 3}),
        ("t.py --seed '3 --lr 1e-4", {"learning_rate": 1e-4}),
        ("llamafactory-cli train --stage dpo --template qwen --cutoff_len 512 --pref_beta 0.2", {"trainer": "dpo", "beta": 0.2}),
        ("args: Namespace(lr=1e-4)", {"learning_rate": 1e-4}),
        ("TrainingArguments('out', 1, learning_rate = 2e-4)", {"learning_rate": 2e-4, "trainer": "TrainingArguments"}),
        ("TrainingArguments(learning_rate=2e-4, fp16=True", {"learning_rate": 2e-4, "fp16": True}),
        ("GRPOConfig(beta=0.04, num_generations=8)", {"beta": 0.04, "num_generations": 8, "trainer": "GRPOConfig"}),
        ("x = GenerationConfig(temperature=0.1)\nDPOConfig(beta=0.1)", {"beta": 0.1}),
        ("--- \nlicense: mit\nbase_model:\n- org/one\n---\n# x", {"model_name_or_path": "org/one"}),
        ("### Training hyperparameters\n\n- mixed_precision_training: Apex, opt level O1\n", {"fp16": "apex o1"}),
        ("### Training hyperparameters\n- optimizer: Adam with betas=(0.9,0.999) and epsilon=1e-08", {"adam_beta1": 0.9}),
        ("mixed_precision: fp16\nload_in_8bit: true\n", {"fp16": True, "bf16": False, "quantization": "8bit"}),
        (
            "stage: kto\nfinetuning_type: full\ntemplate: x\nflash_attn: disabled",
            {"use_lora": False, "attn_implementation": "eager"},
        ),
        ("stage: sft\nfinetuning_type: freeze\ntemplate: x\nflash_attn: auto\nfp16: true", {"use_lora": False, "fp16": True}),
        ("base_model: x\nsequence_len: 8\nmicro_batch_size: 1\nsdp_attention: true", {"attn_implementation": "sdpa"}),
        (
            "stage1:\n training_args:\n  lora_config: {r: 4, alpha: 8}\n  optimizer: {lr: 1e-3}\n",
            {"lora_r": 4, "learning_rate": 1e-3},
        ),
        ("a: {b: {c: {d: {e: {lr: 1}}}}}\nseed: 1", {"seed": 1}),
        ('{"peft_type": "LORA", "r": 4}', {"use_lora": True, "lora_r": 4}),
        ('{"architectures": ["X"], "model_type": "llama", "vocab_size": 9}', {"model_type": "llama", "vocab_size": 9}),
    ],
)
def test_the_quirks_of_a_dialect_are_known(tmp_path, content, expected):
    """Bare and negated flags, launchers, unbalanced quotes, positional arguments, short names that depend on their section."""
    found = values(config_file.read(write(tmp_path, "file", content)))
    assert {key: found.get(key) for key in expected} == expected
    assert "temperature" not in found and found.get("attn_implementation") != "auto"


@pytest.mark.parametrize(
    "content",
    [
        "TrainingArguments(learning_rate=__import__('os').system('touch marker'), seed=1)",
        "python t.py --learning_rate $(touch marker) --gpu `touch marker` --seed 1",
        "seed: 1\nlearning_rate: !!python/object/apply:os.system ['touch marker']\n",
        "{'seed': 1, 'learning_rate': open('marker', 'w')}",
    ],
)
def test_nothing_in_a_text_is_run(tmp_path, monkeypatch, content):
    """Calls, command substitutions and tags state nothing, and do nothing."""
    monkeypatch.chdir(tmp_path)
    try:
        found = values(config_file.read(write(tmp_path, "file", content)))
    except LossDoctorError:
        found = {"seed": 1}
    assert not (tmp_path / "marker").exists()
    assert found.get("seed") == 1 and not {"learning_rate", "gpu"} & set(found)


@pytest.mark.parametrize(
    ("named", "followed"),
    [
        ("ds.json", True),
        ("./ds.json", True),
        ("deep/er/ds.json", True),
        ("beside/ds.json", True),
        ("../beside/ds.json", True),
        ("around/beside/ds.json", True),
        ("home/ds.json", True),
        ("../../ds.json", False),
        ("../around/../../ds.json", False),
        ("{absolute}", False),
        ("~/ds.json", False),
        ("link.json", False),
        ("missing.json", False),
        ("x" * 5000, False),
        ("broken.json", False),
        ("other.json", False),
    ],
)
def test_a_deepspeed_file_is_followed_nearby_only(tmp_path, named, followed):
    """Below the folder of the configuration, or beside it; neither absolute paths nor links lead anywhere else."""
    home = tmp_path / "around" / "home"
    for folder in (home, home / "deep" / "er", tmp_path / "around" / "beside", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, "ds.json", {"zero_optimization": {"stage": 2}})
    (home / "link.json").symlink_to(tmp_path / "ds.json")
    write(home, "broken.json", "{")
    write(home, "other.json", {"learning_rate": 1.0})
    path = write(home, "run.json", {"seed": 1, "deepspeed": named.format(absolute=tmp_path / "ds.json")})
    assert (values(config_file.read(path)).get("zero_stage") == 2) is followed


def test_a_deepspeed_configuration_may_stand_within(tmp_path):
    """What the arguments hold in place of a path is read as well, and "auto" leaves it to the arguments."""
    inner = {"zero_optimization": {"stage": 1, "overlap_comm": True}, "fp16": {"enabled": "auto"}}
    save(tmp_path, holding(deepspeed=inner, fp16=True))
    write(tmp_path, "trainer_state.json", {"log_history": ROWS})
    (report,) = analyze(tmp_path)
    assert (hardware.zero_stage(report.run), report.run.get("overlap_comm"), report.run.get("fp16")) == (1, True, True)
    assert hardware.uses_deepspeed(report.run) and not report.run.conflicts


def test_sources_beside_the_log_are_read_best_first(tmp_path):
    """training_args.bin, then its readable forms, the DeepSpeed JSON and the model card; what is none of them is left alone."""
    write(tmp_path, "trainer_state.json", {"log_history": ROWS})
    write(tmp_path, "README.md", (DIALECTS / "model_card.md").read_text())
    write(tmp_path, "ds_config_zero2.json", {"zero_optimization": {"stage": 2}, "gradient_clipping": 0.5})
    write(tmp_path, "zero_shot.json", {"learning_rate": 9.0, "seed": 9})
    write(tmp_path, "training_args.yaml", "learning_rate: 1e-4\nweight_decay: 0.1\n")
    save(tmp_path, holding(weight_decay=0.2))
    facts_ = {name: (known.value, known.source) for name, known in analyze(tmp_path)[0].run.facts.items()}
    assert facts_["learning_rate"] == (3e-4, "training_args.bin") and facts_["weight_decay"] == (0.2, "training_args.bin")
    assert facts_["max_grad_norm"] == (0.5, "ds_config_zero2.json") and facts_["zero_stage"] == (2, "ds_config_zero2.json")
    assert facts_["seed"] == (42, "README.md")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# My project\n\nRun `python train.py --learning_rate 9 --fp16`.\n\n- seed: 3\n\n| seed | 4 |\n"),
        ("README.md", "\0\1\2"),
        ("ds_config.json", "{"),
        ("zero.json", '{"learning_rate": 9}'),
        ("deepspeed.json", "x" * 600_000),
    ],
)
def test_what_is_no_source_after_all_is_nobodys_error(tmp_path, name, content):
    """A README of a project and other people's JSON beside a log state nothing, and are not complained about."""
    write(tmp_path, name, content)
    write(tmp_path, "trainer_state.json", {"log_history": ROWS})
    (report,) = analyze(tmp_path)
    assert set(report.run.facts) <= {"task"} and not [n for n in report.not_judged if name in n.what + n.why]


SCRAPS = [
    "---\n", "\n", "base_model: ", "### Training hyperparameters\n", "- learning_rate: ", "| seed | 3 |\n", "TrainingArguments(",
    "LoraConfig(r=", ")", "(", "[", "]", "{", "}", "'", '"', ",", "=", ":", " ", "#", "\\", "\\\n", "--learning_rate ", "--fp16",
    "--no-fp16 ", "$X", "X=1\n", "deepspeed ", "torchrun --nproc_per_node=", "1e-4", "-1", "nan", "1" * 400, "None", "True",
    "torch.float16", "<A.B: 'c'>", "zero_optimization: {stage: ", "fp16: ", "&a ", "*a", "<<: ", "- ", "? ", "!!python/name:os",
    "stage: sft\n", "template: x\n", "micro_batch_size: 2\n", "sequence_len: x\n", "base_model: b\n", "deepspeed: ", "../..",
    "\x00", "\u2028", "é", "{'a': 1}", '{"fp16": {"enabled": ',
]  # fmt: skip


@hypothesis_settings(deadline=None, max_examples=500)
@given(st.lists(st.one_of(st.sampled_from(SCRAPS), st.text(max_size=8)), max_size=25).map("".join))
def test_no_text_breaks_a_reader(scratch, content):
    """Whatever is in a file, its facts have known names and kinds, or there is one line that says what is wrong."""
    path = scratch / "any"
    path.write_text(content, encoding="utf-8", newline="", errors="replace")
    try:
        found = config_file.read(path)
    except LossDoctorError as error:
        assert "\n" not in str(error)
    else:
        assert set(found) <= set(NAMES)
        json.dumps(values(found))


@pytest.mark.parametrize("name", [*config_file.MAPPINGS, *config_file.TEXTS])
@hypothesis_settings(deadline=None, max_examples=60)
@given(content=st.lists(st.sampled_from(SCRAPS), max_size=25).map("".join), depth=st.integers(0, 3))
def test_no_reader_trusts_what_recognised_the_file(name, content, depth):
    """Each reader on its own takes any text or mapping without an error of its own."""
    module = import_module(f"lossdoctor.facts.{name}")
    if name in config_file.TEXTS:
        module.recognise(content)
        translate(module.values(content), "x")
        return
    for inner in (content, [content], {content: content}, None, 3, True):
        given_: Any = inner
        for _ in range(depth):
            given_ = {"zero_optimization": given_, "lora": given_, "datasets": [given_], "r": given_}
        whole = dict.fromkeys(
            (*NAMES, *ALIASES, "adapter", "tokens", "fp16", "bf16", "scheduler", "id2label", "text_config"), given_
        )
        module.recognise(whole)
        translate(module.names(whole), "x")


# Sources that disagree


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("learning_rate", 5e-5, "5e-05", True),
        ("learning_rate", 5e-5, 5.0000001e-5, True),
        ("learning_rate", 5e-5, 5.1e-5, False),
        ("fp16", True, "true", True),
        ("fp16", True, "False", False),
        ("fp16", True, "full", True),
        ("fp16", "auto", False, True),
        ("deepspeed", "ds.json", True, True),
        ("deepspeed", "ds.json", {"zero_optimization": {}}, True),
        ("deepspeed", False, True, False),
        ("model_name_or_path", "org/llama", "/data/models/llama", True),
        ("model_name_or_path", "org/llama", "./llama/", True),
        ("model_name_or_path", "llama", "org/llama", True),
        ("model_name_or_path", "org/llama", "other/llama", False),
        ("model_name_or_path", "org/llama", "/x/models--org--llama/snapshots/0af3", True),
        ("model_name_or_path", "org/llama", "C:\\models\\mistral", False),
        ("torch_dtype", "torch.bfloat16", "bf16", True),
        ("torch_dtype", "float16", "bfloat16", False),
        ("quantization", "4bit", "bitsandbytes 4-bit", True),
        ("quantization", "4bit", "8bit", False),
        ("torch_version", "2.1.0+cu118", "2.1.0", True),
        ("torch_version", "2.1.0", "2.2.0", False),
        ("gpu", "RTX 3090", "NVIDIA GeForce RTX 3090", True),
        ("lora_target_modules", ["q", "v"], ["v", "q"], True),
        ("lora_target_modules", ["q", "v"], "all-linear", True),
        ("lora_target_modules", ["q", "v"], ["q"], False),
        ("num_train_epochs", 2.5, 3, True),
        ("num_train_epochs", 2, 3, False),
        ("save_steps", 0.1, 500, True),
        ("save_steps", 100, 500, False),
        ("trainer", "SFTConfig", "sft", True),
        ("optim", "adamw_torch", "adafactor", False),
        ("lr_scheduler_kwargs", {"a": 1}, {"a": 2}, False),
        ("max_length", 512, "auto", True),
        ("seed", 1, None, True),
    ],
)
def test_what_says_the_same_is_no_conflict(name, one, other, same):
    """Rounding, spelling, silence and a path for a name are no disagreement; another value is."""
    assert agreement.agree(name, one, other) is agreement.agree(name, other, one) is same


def test_a_conflict_has_the_winner_first():
    """Better sources win whichever comes first, and a source that comes to agree leaves the conflict."""
    run = Run().knowing({"seed": Fact(1, "a"), "lora_r": Fact(8, "a")}).knowing({"seed": Fact(2, "b"), "lora_r": Fact(8.0, "b")})
    assert run.conflicts == (Conflict("seed", (Fact(1, "a"), Fact(2, "b"))),)
    run = run.knowing({"seed": Fact(2, "c")}, first=True)
    assert run.conflicts == (Conflict("seed", (Fact(2, "c"), Fact(1, "a"))),) and run.get("seed") == 2
    assert run.knowing({}).conflicts == run.conflicts and Run().conflicts == ()


def test_what_the_trainer_derived_is_no_conflict():
    """Epochs beside a number of steps, and a batch size that counts all GPUs of a process, are not contradicted."""
    state = {
        name: Fact(value, "trainer_state") for name, value in {"num_train_epochs": 7, "per_device_train_batch_size": 16}.items()
    }
    stated = {"num_train_epochs": 3.0, "max_steps": 100, "per_device_train_batch_size": 8}
    run = Run(facts=state).knowing({name: Fact(value, "training_args.bin") for name, value in stated.items()})
    assert run.conflicts == ()
    assert [c.name for c in run.knowing({"per_device_train_batch_size": Fact(32, "x.yaml")}).conflicts] == [
        "per_device_train_batch_size"
    ]


def test_every_place_of_facts_takes_part_in_conflicts(tmp_path):
    """The log's state, files beside it, several configurations and --set: the text tells each, the JSON holds all."""
    write(tmp_path, "trainer_state.json", {"log_history": ROWS, "logging_steps": 2})
    save(tmp_path, holding(logging_steps=10, seed=3))
    write(tmp_path, "README.md", (DIALECTS / "model_card.md").read_text())
    (tmp_path / "old").mkdir()
    write(tmp_path / "old", "run.yaml", "learning_rate: 5e-5\nseed: 42\n")
    write(tmp_path, "run.yaml", "learning_rate: 2e-4\n")
    options = ("--config", "old/run.yaml", "--config", "run.yaml", "--set", "seed=7")
    command = [sys.executable, "-m", "lossdoctor", "analyze", *options, "."]
    shown = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "100"}
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    section = " ".join(shown.stdout.partition("Sources that disagree")[2].partition("Not judged")[0].split())
    assert "≠ learning_rate: 2e-4 (run.yaml) is used; 5e-5 (old/run.yaml) and 3e-4 (training_args.bin) say otherwise" in section
    assert "5e-5 (old/run.yaml), then 2e-4 (run.yaml): raised 4 times: 5e-5 is 0.00005, 2e-4 is 0.0002" in section
    assert "≠ logging_steps: 2 (trainer_state) is used; 10 (training_args.bin) says otherwise: 10 is 5 times as much" in section
    assert "≠ seed: 7 (--set) is used; 42 (old/run.yaml) and 3 (training_args.bin) say otherwise" in section
    done = subprocess.run(
        [*command, "--output-format", "json"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    (conflict,) = [c for c in json.loads(done.stdout)["reports"][0]["run"]["conflicts"] if c["name"] == "logging_steps"]
    assert conflict == {
        "name": "logging_steps",
        "used": {"value": 2.0, "source": "trainer_state"},
        "others": [{"value": 10.0, "source": "training_args.bin"}],
    }


# Numbers that are read the wrong way round


@pytest.mark.parametrize(
    ("value", "brief", "both"),
    [
        (2e-4, "2e-4", "2e-4 (0.0002)"),
        (6e-05, "6e-5", "6e-5 (0.00006)"),
        (1.5e-5, "1.5e-5", "1.5e-5 (0.000015)"),
        (0.001, "1e-3", "1e-3 (0.001)"),
        (0.01, "0.01", "0.01"),
        (0.05, "0.05", "0.05"),
        (3.0, "3", "3"),
        (0, "0", "0"),
        (1_000_000, "1000000", "1000000"),
        (1e-30, "1e-30", "1e-30"),
        (-2e-4, "-2e-4", "-2e-4 (-0.0002)"),
        (0.1 + 0.2, "0.3", "0.3"),
        (float("nan"), "nan", "nan"),
        (True, "true", "true"),
        ("cosine", "cosine", "cosine"),
    ],
)
def test_a_number_is_written_as_people_write_it(value, brief, both):
    """No zeros in the exponent, plain decimals from 0.01 on, and both notations where they differ."""
    assert (slips.short(value), slips.plain(value)) == (brief, both)


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("learning_rate", 5e-5, 2e-4, "raised 4 times: 5e-5 is 0.00005, 2e-4 is 0.0002"),
        ("learning_rate", "2e-4", 5e-5, "lowered 4 times: 2e-4 is 0.0002, 5e-5 is 0.00005"),
        ("learning_rate", 1e-4, 1.5e-4, "raised 1.5 times: 1e-4 is 0.0001, 1.5e-4 is 0.00015"),
        ("learning_rate", 1e-4, 0.05, "raised 500 times: 1e-4 is 0.0001, 0.05"),
        ("learning_rate", 1e-4, 1e-4, "unchanged at 1e-4 (0.0001)"),
        ("warmup_steps", 0, 100, "raised from 0 to 100"),
        ("lora_r", 8, 32, "raised 4 times: from 8 to 32"),
        ("seed", 1, 2, "changed from 1 to 2"),
        ("optim", "adamw_torch", "adafactor", "changed from adamw_torch to adafactor"),
        ("fp16", True, False, "changed from true to false"),
        ("fp16", True, "true", "unchanged at true"),
    ],
)
def test_a_change_is_told_with_its_direction(name, before, after, words):
    """A setting is raised or lowered by a factor, whatever its digits look like."""
    assert slips.change_in_words(name, before, after) == words


def test_a_history_tells_every_change():
    """Each change of the rate has its direction, also where the last configuration is back at the first."""
    stated = [
        {"learning_rate": Fact(value, name)} for name, value in (("a", 5e-5), ("b", 2e-4), ("c", 2e-4), ("d", 5e-5), ("e", 6e-5))
    ]
    told = list(disagreements.history_of("learning_rate", [*stated[:2], {"seed": Fact(1, "x")}, *stated[2:]]))
    assert [line.partition(":")[0] for line in told] == [
        "5e-5 (a), then 2e-4 (b)",
        "2e-4 (c), then 5e-5 (d)",
        "5e-5 (d), then 6e-5 (e)",
    ]
    assert ["the exponent decides" in line for line in told] == [True, True, False]
    run = Run(facts=stated[3], configurations=tuple(stated[:4]))
    assert [line.partition(":")[0] for line in disagreements.told(run)] == ["learning_rate over the configurations"] * 2


@given(st.floats(1e-8, 1.0), st.floats(1e-8, 1.0))
def test_the_direction_is_that_of_the_numbers(before, after):
    """No pair of rates is told the wrong way round."""
    words = slips.change_in_words("learning_rate", before, after)
    assert words.startswith(("unchanged", "raised" if after > before else "lowered"))
    assert float(slips.short(before)) == pytest.approx(before, rel=1e-5)


# Hardware


@pytest.mark.parametrize(
    ("gpu", "capability", "count"),
    [
        ("V100", 7.0, None),
        ("V100 x1", 7.0, 1),
        ("4x V100 16GB", 7.0, 4),
        ("H20", 9.0, None),
        ("H800", 9.0, None),
        ("1x A100 80GB", 8.0, 1),
        ("8x RTX 4090", 8.9, 8),
        ("RTX 3090 x2", 8.6, 2),
        ("RTX 3090 / A40 / 3060", 8.6, None),
        ("GTX 1660 SUPER 6GB", 7.5, None),
        ("Tesla T4", 7.5, None),
        ("NVIDIA GeForce RTX 2080 Ti", 7.5, None),
        ("NVIDIA RTX 6000 Ada Generation", 8.9, None),
        ("NVIDIA RTX 5000 Ada Generation", 8.9, None),
        ("NVIDIA RTX 2000 Ada Generation", 8.9, None),
        ("Quadro RTX 6000", 7.5, None),
        ("Quadro RTX 5000", 7.5, None),
        ("Quadro RTX 4000", 7.5, None),
        ("NVIDIA RTX A6000", 8.6, None),
        ("NVIDIA A10G", 8.6, None),
        ("NVIDIA L40S", 8.9, None),
        ("NVIDIA GH200 480GB", 9.0, None),
        ("NVIDIA B200", 10.0, None),
        ("Ascend 910B2C", None, None),
        ("2 nodes x 8 A100-40GB", 8.0, 16),
        ("2x8 A100", 8.0, 16),
        ("P100", 6.0, None),
        ("NVIDIA GeForce GTX 1080 Ti", 6.1, None),
        ("RTX 5090", 12.0, None),
        ("NVIDIA H100 80GB HBM3", 9.0, None),
        ("Tesla V100-SXM2-32GB", 7.0, None),
        ("NVIDIA A100-SXM4-80GB", 8.0, None),
        ("NVIDIA RTX A2000", 8.6, None),
        ("TITAN RTX", 7.5, None),
        ("NVIDIA GeForce RTX 3050 Laptop GPU", 8.6, None),
        ("8x H100 / T4", 7.5, 8),
        ("", None, None),
    ],
)
def test_a_gpu_is_known_by_its_name(gpu, capability, count):
    """Capability of the weakest GPU named, whether it computes bf16, and how many there are."""
    run = knowing(gpu=gpu)
    known = hardware.compute_capability(run), hardware.bf16_capable(run), hardware.gpus(run)
    assert known == (capability, None if capability is None else capability >= 8.0, count)


@pytest.mark.parametrize(
    ("value", "expected"), [(8.6, 8.6), ("7.5", 7.5), ([8, 0], 8.0), ((9, 0), 9.0), ("sm_75", 7.5), ([8], 7.0), (None, 7.0)]
)
def test_a_known_capability_beats_the_name(value, expected):
    """A capability that is a number is believed; otherwise the name of the GPU decides."""
    assert hardware.compute_capability(knowing(compute_capability=value, gpu="V100")) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"fp16": True, "bf16": False}, "fp16"),
        ({"fp16": False, "bf16": True}, "bf16"),
        ({"fp16": False, "bf16": False}, "fp32"),
        ({"fp16": False}, None),
        ({"bf16": False}, None),
        ({"fp16": "auto", "bf16": "auto"}, None),
        ({"fp16": "auto", "bf16": True}, "bf16"),
        ({}, None),
    ],
)
def test_the_precision_of_a_run_is_told_from_its_facts(known, expected):
    """`auto` and silence are no answer: fp32 needs both to be off."""
    assert hardware.precision(knowing(**known)) == expected


@pytest.mark.parametrize(("pair", "expected"), [("fp16=0", None), ("fp16=1", "fp16"), ("fp16=no", None), ("bf16=on", "bf16")])
def test_a_precision_set_as_a_digit_means_what_it_says(pair, expected):
    """`--set fp16=0` switches nothing on."""
    assert hardware.precision(Run(facts=config_file.settings([pair]))) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [({"world_size": 4, "gpu": "8x A100"}, 4), ({"multi_gpu": True}, 2), ({"multi_gpu": False}, None), ({"gpu": "A100 x 8"}, 8)],
)
def test_the_number_of_gpus_comes_from_the_best_fact(known, expected):
    """The world size is believed first, then the name, then that there are several."""
    assert hardware.gpus(knowing(**known)) == expected


@pytest.mark.parametrize(
    ("known", "stage", "deepspeed"),
    [
        ({"zero_stage": 2}, 2, True),
        ({"zero_stage": 0}, 0, True),
        ({"zero_stage": True}, None, False),
        ({"framework": "HF Trainer + DeepSpeed fp16"}, None, True),
        ({"framework": "ms-swift + DeepSpeed ZeRO-2"}, 2, True),
        ({"framework": "accelerate zero3"}, 3, True),
        ({"framework": "DeepSpeed ZeRO stage 3"}, 3, True),
        ({"framework": "DeepSpeed zero_1", "zero_stage": 3}, 3, True),
        ({"deepspeed": "ds_config.json"}, None, True),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, 2, True),
        ({"deepspeed": False, "framework": "HF Trainer"}, None, False),
        ({}, None, False),
    ],
)
def test_the_stage_of_deepspeed_is_told_from_its_facts(known, stage, deepspeed):
    """The stage comes from its own fact, from the configuration of DeepSpeed, or from the name of the framework."""
    run = knowing(**known)
    assert (hardware.zero_stage(run), hardware.uses_deepspeed(run)) == (stage, deepspeed)
