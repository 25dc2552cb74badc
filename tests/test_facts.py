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
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lossdoctor import facts, hardware
from lossdoctor.analysis import analyze
from lossdoctor.facts import adapter_config, config_file, live, model_config, training_args
from lossdoctor.facts.canonical import ALIASES, NAMES, canonical, fact, translate
from lossdoctor.model import Fact, LossDoctorError, Run

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
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"peft_type": "LORA", "target_modules": "all-linear"}, {"use_lora": True, "lora_target_modules": "all-linear"}),
        ({"peft_type": "PROMPT_TUNING", "base_model_name_or_path": "x"}, {"model_name_or_path": "x"}),
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
