"""Logs at an address: what is copied, what is not, what the report calls it, and what is said where it cannot be had."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub as small_hub
import pytest
from conftest import slugs, write_state

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from lossdoctor.analysis import analyze, expand, load
from lossdoctor.model import LossDoctorError
from lossdoctor.parsing import source
from lossdoctor.remote import place
from lossdoctor.remote.address import parse
from lossdoctor.reports import FORMATS, Look

ROWS = [{"step": s, "loss": 3 - s / 100, "grad_norm": 1 + s % 3 / 7, "learning_rate": 1e-4} for s in range(1, 31)]
BROKEN = [{**row, "loss": 0.0, "grad_norm": float("nan")} if row["step"] > 10 else row for row in ROWS]
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1234}
ADAPTER = {"peft_type": "LORA", "r": 7}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; after every test, whatever came of it, there is none."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's files in memory, of which there are none at first."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[small_hub.Hub]:
    """A Hub with the repository user/model, as a Trainer pushes it."""
    model = tmp_path / "hub" / "models" / "user" / "model" / "main"
    for step in (10, 20):
        write_state(model / f"checkpoint-{step}", BROKEN[:step])
    (model / "checkpoint-20" / "adapter_config.json").write_text(json.dumps(ADAPTER))
    (model / "config.json").write_text(json.dumps(CONFIG))
    for name in ("model.safetensors", "pytorch_model.bin", "optimizer.pt", "tokenizer.json"):
        (model / name).write_bytes(b"x" * 1000)
        (model / "checkpoint-20" / name).write_bytes(b"x" * 1000)
    with small_hub.serve(tmp_path / "hub") as running:
        _point_at(running.address, monkeypatch)
        yield running


def _point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    for name in ("HUGGINGFACE_CO_URL_TEMPLATE",):
        monkeypatch.setattr(constants, name, address + "/{repo_id}/resolve/{revision}/{filename}", raising=False)


def put(system: Any, path: str, content: Any) -> None:
    """A file in memory: bytes, text, rows of a state file, or JSON."""
    if isinstance(content, list):
        content = {"log_history": content}
    data = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()
    system.pipe_file(path, data)


def refusal(given: str) -> str:
    """The one line that is said of an address."""
    with pytest.raises(LossDoctorError) as caught:
        load(given)
    line = str(caught.value)
    assert "\n" not in line and "temporary" not in line and len(line) < 400
    return line


# What an address means


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("hf://user/model", "user/model"),
        ("hf://user/model@v1/runs/a", "user/model@v1/runs/a"),
        ("hf://user/model@refs/pr/3/x.json", "user/model@refs%2Fpr%2F3/x.json"),
        ("hf://datasets/user/logs/a.jsonl", "datasets/user/logs/a.jsonl"),
        ("https://huggingface.co/user/model", "user/model"),
        ("https://huggingface.co/user/model/", "user/model"),
        ("https://hf.co/user/model/tree/main", "user/model@main"),
        ("https://huggingface.co/user/model/tree/v1/checkpoint-5", "user/model@v1/checkpoint-5"),
        ("https://huggingface.co/user/model/blob/main/a%20b.json", "user/model@main/a b.json"),
        ("https://huggingface.co/user/model/resolve/main/x.json?download=true", "user/model@main/x.json"),
        ("https://huggingface.co/user/model/tree/refs%2Fpr%2F1", "user/model@refs%2Fpr%2F1"),
        ("https://huggingface.co/user/model/blob/refs/pr/1/x.json", "user/model@refs%2Fpr%2F1/x.json"),
        ("https://huggingface.co/user/model/tensorboard", "user/model"),
        ("https://huggingface.co/datasets/user/logs/tree/main/a", "datasets/user/logs@main/a"),
        ("https://huggingface.co/spaces/user/app/blob/main/x.log", "spaces/user/app@main/x.log"),
    ],
)
def test_the_pages_of_the_hub_mean_the_files_they_show(given, path):
    """Whatever is copied from the browser's address bar is the same as hf:// with the path, the revision as one part of it."""
    address = parse(given)
    assert (address.protocol, address.path, address.given) == ("hf", path, given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("hf://gpt2", "names no repository; hf://user/model was expected"),
        ("hf://", "is no address"),
        ("https://huggingface.co/user", "names no repository"),
        ("https://huggingface.co/user/model/discussions/3", "is a page without files"),
        ("hf://user/model/../../other", "is no address"),
        ("s3://bucket/a/../b", "is no address"),
        ("s3://bucket/run-*/trainer_state.json", "patterns are for local files"),
        ("zip://x.json::https://a.b/c.zip", "not read through zip"),
        ("simplecache::s3://bucket/x", "not read through simplecache"),
        ("reference://x", "not read through reference"),
        ("nonsense://a/b", "is no protocol that fsspec knows"),
    ],
)
def test_what_is_no_address_of_a_log_is_one_line(given, words):
    """Pages without files, paths that climb, archives, patterns, and protocols that nobody knows."""
    assert words in refusal(given)


def test_a_password_in_an_address_is_not_shown():
    """The name in a report leaves out what stands before the host and after the file: both may be secrets."""
    assert parse("https://me:secret@example.org/a/log.jsonl?token=secret").given == "https://example.org/a/log.jsonl"


def test_an_address_is_not_a_pattern():
    """A question mark in it is not expanded, and the order of the paths is kept."""
    assert expand(["https://a.b/c?d=[1]", "hf://u/m"]) == ["https://a.b/c?d=[1]", "hf://u/m"]


# The Hub, through huggingface_hub itself


def test_a_repository_gives_its_newest_state_with_the_facts_beside_it(hub):
    """The state of the last checkpoint alone is fetched, and small files; no weights, no optimizer, no tokenizer."""
    (report,) = analyze("hf://user/model")
    assert report.run.path == "hf://user/model" and report.rows == 20 and "loss-collapse-to-zero" in slugs(report)
    assert (report.run.get("lora_r"), report.run.get("vocab_size")) == (7, None)
    assert report.last_good_checkpoint == "hf://user/model/checkpoint-10"
    assert [checkpoint.path for checkpoint in report.run.checkpoints] == [f"hf://user/model/checkpoint-{n}" for n in (10, 20)]
    assert hub.fetched() == {"trainer_state.json", "adapter_config.json", "config.json"}
    assert not [path for path in hub.asked if "checkpoint-10/" in path]


@pytest.mark.parametrize("output_format", sorted(FORMATS))
def test_no_report_names_the_temporary_folder(hub, temporary, output_format):
    """Whatever the format, the report speaks of the address, also of the checkpoint to resume from."""
    (hub.root / "models/user/model/main/checkpoint-20/training_args.bin").write_bytes(b"broken")
    text = FORMATS[output_format](analyze("https://huggingface.co/user/model"), Look(color=False, fail_on="critical"))
    assert str(temporary) not in text and str(temporary)[1:].replace("/", "\\/") not in text
    assert "huggingface.co/user/model" in text


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ("hf://user/model/checkpoint-10", 10),
        ("hf://user/model@main/checkpoint-10/trainer_state.json", 10),
        ("https://huggingface.co/user/model/blob/main/checkpoint-20/trainer_state.json", 20),
    ],
)
def test_a_checkpoint_or_a_file_is_read_as_named(hub, given, rows):
    """The named one and not the newest; the checkpoints beside it are known."""
    (report,) = analyze(given)
    assert (report.rows, report.run.path) == (rows, given) and len(report.run.checkpoints) == 2


def test_a_revision_is_another_state(hub):
    """A pull request has files of its own."""
    write_state(hub.root / "models/user/model/refs-pr-1", ROWS)
    for given in ("hf://user/model@refs/pr/1", "https://huggingface.co/user/model/tree/refs%2Fpr%2F1"):
        assert analyze(given)[0].rows == len(ROWS)


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_data_sets_and_spaces_hold_logs_as_well(hub, kind):
    """With the kind before the name, as in the address of the page."""
    write_state(hub.root / kind / "user" / "logs" / "main", ROWS)
    assert analyze(f"hf://{kind}/user/logs")[0].rows == analyze(f"https://huggingface.co/{kind}/user/logs")[0].rows == len(ROWS)


def test_the_checkpoint_that_the_trainer_pushes_is_found(hub):
    """With hub_strategy="checkpoint" the state lies in last-checkpoint."""
    write_state(hub.root / "models/user/pushed/main/last-checkpoint", ROWS)
    assert analyze("hf://user/pushed")[0].rows == len(ROWS)


def test_the_newest_run_of_event_files_is_read(hub):
    """Where there is no state: the run below runs that was begun last by the names of its files, with the facts of the top."""
    pytest.importorskip("tensorboard")
    from test_event_files import run, write

    top = hub.root / "models/user/events/main"
    (top / "runs").mkdir(parents=True)
    for folder, begun, rows in (("Nov01_host", 1_790_000_000, 40), ("Aug01_host", 1_800_000_000, 60)):
        written = write(top / "runs" / folder, run(rows))
        written.rename(written.with_name(f"events.out.tfevents.{begun}.host.1.0"))
    (top / "config.json").write_text(json.dumps(CONFIG))
    for given in ("hf://user/events", "hf://user/events/runs/Aug01_host"):
        (report,) = analyze(given)
        assert (report.last_step, report.run.get("vocab_size"), report.run.path) == (60, 1234, given)


def test_other_logs_are_tried_in_their_order(hub):
    """Neither state nor event files: names that say more come first, what is no log is passed over, a note tells which."""
    top = hub.root / "models/user/others/main"
    top.mkdir(parents=True)
    (top / "README.md").write_text("# A model\n")
    (top / "train.log").write_text("nothing of interest\n")
    assert refusal("hf://user/others").endswith("no other log that is known; tried train.log, README.md")
    (top / "my_log.jsonl").write_text("{}\n")
    (top / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (report,) = analyze("hf://user/others")
    assert report.rows == len(ROWS) and "read from trainer_log.jsonl" in report.run.notes


def test_a_folder_of_runs_names_the_runs(hub):
    """The line says which folders hold a log."""
    write_state(hub.root / "models/user/several/main/first", ROWS)
    write_state(hub.root / "models/user/several/main/second", ROWS)
    assert "these folders in it do: first, second; name one" in refusal("hf://user/several")
    assert analyze("hf://user/several/second")[0].rows == len(ROWS)


def test_what_keeps_a_repository_from_being_read_is_said_with_what_to_do(hub):
    """Not there or private, gated, another revision, another file."""
    hub.private.add("user/secret")
    hub.gated.add("user/gated")
    for name in ("none", "secret"):
        line = refusal(f"hf://user/{name}")
        assert "no such repository, or it is private: log in with hf auth login, or set HF_TOKEN" in line
    assert "is gated: ask for access on its page, then log in" in refusal("hf://user/gated")
    assert refusal("hf://user/model@nowhere") == "hf://user/model@nowhere: the repository has no such revision"
    assert "no such file or folder" in refusal("hf://user/model/missing.json")


def test_without_a_network_the_line_asks_for_one(monkeypatch):
    """A refused connection, as of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    _point_at(address, monkeypatch)
    assert refusal("hf://user/model") == "hf://user/model: the Hub cannot be reached; is there a network?"


def test_a_broken_log_is_named_by_its_address(hub):
    """The error of a reader speaks of the remote file."""
    state = hub.root / "models/user/model/main/trainer_state.json"
    state.write_text('{"log_history": [{"loss": 1.0')
    assert refusal("hf://user/model").startswith("hf://user/model/trainer_state.json is cut off")


def test_a_data_set_with_the_name_of_a_log_is_not_copied(hub, monkeypatch):
    """What only has the name of a log is tried up to a size that logs have."""
    from lossdoctor.remote import choice

    top = hub.root / "models/user/others/main"
    top.mkdir(parents=True)
    (top / "dialogues.jsonl").write_text("{}\n" * 1000)
    monkeypatch.setattr(choice, "LARGEST_GUESS", 1000)
    assert refusal("hf://user/others").endswith("no other log that is known") and not hub.fetched()


# Any file system of fsspec


def test_a_folder_in_memory_is_read_like_a_local_one(memory, tmp_path):
    """The same files give the same report, but for where they are."""
    for name, content in (("trainer_state.json", BROKEN), ("config.json", CONFIG), ("checkpoint-5/config.json", CONFIG)):
        put(memory, f"/bucket/run/{name}", content)
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(memory.cat_file(f"/bucket/run/{name}"))
    (there,), (here,) = analyze("memory://bucket/run"), analyze(tmp_path / "run")
    assert there.symptoms == here.symptoms and there.run.facts == here.run.facts
    assert there.last_good_checkpoint == "memory://bucket/run/checkpoint-5"


def test_a_newer_checkpoint_wins_where_times_are_known(memory):
    """A run that went on after its state was saved in the output folder."""
    put(memory, "/b/run/trainer_state.json", ROWS[:12])
    put(memory, "/b/run/checkpoint-20/trainer_state.json", ROWS[:20])
    assert analyze("memory://b/run")[0].rows == 20
    put(memory, "/b/run/trainer_state.json", ROWS)
    assert analyze("memory://b/run")[0].rows == len(ROWS)


def test_a_file_address_is_a_local_path(tmp_path):
    """file:// is read where it lies, with its checkpoints there, and named as it was given."""
    write_state(tmp_path / "a b", BROKEN)
    (tmp_path / "a b" / "checkpoint-5").mkdir()
    given = (tmp_path / "a b").as_uri()
    (report,) = analyze(given)
    assert (report.run.path, report.last_good_checkpoint) == (given, str(tmp_path / "a b" / "checkpoint-5"))


class Hostile(MemoryFileSystem):
    """Lists names that lead elsewhere, and interrupts whoever opens `interrupt.json`."""

    protocol = "hostile"
    store: dict[str, Any] = {}  # noqa: RUF012  # as in the class above
    pseudo_dirs = [""]  # noqa: RUF012
    extra: tuple[str, ...] = ()

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        listed = super().ls(path, detail=True, **kwargs)
        listed += [{"name": name, "size": 9, "type": "file"} for name in self.extra]
        return listed if detail else [entry["name"] for entry in listed]

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if path.endswith("interrupt.json") and mode == "rb":
            raise KeyboardInterrupt
        return super()._open(path, mode, **kwargs)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    fsspec.register_implementation("hostile", Hostile, clobber=True)
    Hostile.store.clear()
    yield fsspec.filesystem("hostile")
    Hostile.extra = ()


@pytest.mark.parametrize(
    "name",
    ["/x/..", "/x/.", "..\\training_args.json", "C:config.json", "/x/a\\config.json", "/x/\0config.json", "/x/" + "y" * 300],
)
def test_a_name_that_leads_elsewhere_is_left_alone(hostile, temporary, name):
    """Names with a backslash, a drive, or that are none: nothing is written outside the temporary folder, all else is read."""
    put(hostile, "/x/trainer_state.json", ROWS)
    Hostile.extra = (name,)
    assert analyze("hostile://x")[0].rows == len(ROWS)
    assert not list(temporary.parent.glob("*.json")) and not list(temporary.glob("*"))


@pytest.mark.parametrize("name", ["/etc/config.json", "../../config.json", "../../../../training_args.json", "//config.json"])
def test_of_a_path_from_elsewhere_only_the_last_name_counts(hostile, temporary, name):
    """A listing that gives absolute names or ones that climb is read as if they lay in the folder that was listed."""
    put(hostile, "/x/trainer_state.json", ROWS)
    Hostile.extra = (name,)
    try:
        assert analyze("hostile://x")[0].rows == len(ROWS)
    except LossDoctorError as error:
        assert "no such file" in str(error)
    assert sorted(path.name for path in temporary.parent.iterdir()) == ["temporary"]


def test_an_interrupt_leaves_no_file_behind(hostile):
    """Ctrl-C in the middle of copying; the fixture looks whether the folder is empty."""
    put(hostile, "/x/interrupt.json", b"{}")
    with pytest.raises(KeyboardInterrupt):
        load("hostile://x/interrupt.json")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended otherwise there")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_ended_leaves_no_file_behind(hub, tmp_path, how):
    """A Hub that never answers with the file: the process is told to end while it waits."""
    asked, go_on = threading.Event(), threading.Event()
    serve_file = small_hub._Answers._file

    def hang(self: Any, *arguments: Any) -> None:
        asked.set()
        go_on.wait(30)

    small_hub._Answers._file = hang
    folder = tmp_path / "of-process"
    folder.mkdir()
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "lossdoctor", "analyze", "hf://user/model"]
    try:
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert asked.wait(100) and list(folder.iterdir())
            process.send_signal(how)
            _, printed = process.communicate(timeout=30)
    finally:
        small_hub._Answers._file = serve_file
        go_on.set()
    assert process.returncode == 130 and b"Traceback" not in printed
    assert not list(folder.iterdir())


# Bounds


def test_a_log_beyond_the_bound_is_refused_whatever_its_listing_says(memory, monkeypatch):
    """By its size before it is read, and while it is read where the size was a lie."""
    put(memory, "/b/log.jsonl", b'{"loss": 1.0}\n' * 10_000)
    monkeypatch.setattr(source, "LARGEST", 50_000)
    assert "logs up to 0 MiB are read" in refusal("memory://b/log.jsonl")
    monkeypatch.setattr(place, "_entry", lambda info, entry=place._entry: entry(info)._replace(size=0))
    assert "memory://b/log.jsonl has more than 0 MiB" in refusal("memory://b/log.jsonl")


def test_weights_are_refused_by_their_first_bytes(memory, monkeypatch):
    """A named file that is no log is not copied to its end."""
    put(memory, "/b/model.safetensors", b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}' + bytes(9_000_000))
    monkeypatch.setattr(place, "PIECE", None)  # asking for more than the first bytes would fail
    assert "is a binary file (safetensors)" in refusal("memory://b/model.safetensors")


def test_the_folders_and_files_taken_are_bounded(memory, monkeypatch):
    """A place with more run folders, files or names than any run has."""
    pytest.importorskip("tensorboard")
    for number in range(8):
        put(memory, f"/b/runs/r{number}/events.out.tfevents.{1_800_000_000 + number}.h", b"x")
    monkeypatch.setattr(place, "MOST_LISTINGS", 5)
    assert "has more than 5 folders to look into" in refusal("memory://b")
    monkeypatch.setattr(place, "MOST_NAMES", 3)
    assert "a folder with 8 names" in refusal("memory://b")
    for number in range(3):
        put(memory, f"/c/events.out.tfevents.180000000{number}.h", b"x")
    monkeypatch.setattr(place, "MOST_FILES", 2)
    assert "takes more than 2 files" in refusal("memory://c")


# Packages


@pytest.mark.parametrize(
    ("given", "without", "package", "install"),
    [
        ("s3://bucket/run", "s3fs", "s3fs", "s3fs"),
        ("gs://bucket/run", "gcsfs", "gcsfs", "gcsfs"),
        ("https://example.org/log.jsonl", "aiohttp", "aiohttp", "fsspec aiohttp"),
        ("hf://user/model", "huggingface_hub", "huggingface_hub", "huggingface_hub"),
        ("hf://user/model", "fsspec", "huggingface_hub", "huggingface_hub"),
        ("s3://bucket/run", "fsspec", "s3fs", "s3fs"),
        ("memory://x", "fsspec", "fsspec", "fsspec"),
        ("az://container/run", "adlfs", "adlfs", "adlfs"),
        ("github://user:repo@main/x", "requests", "requests", "fsspec requests"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_gets_it(given, without, package, install):
    """A process in which the package cannot be imported: one line, exit code 2."""
    code = (
        "import sys; from importlib.machinery import PathFinder; found = PathFinder.find_spec\n"
        f"names = {{{without!r}, {package!r}}}\n"
        "PathFinder.find_spec = lambda name, *rest: None if name.split('.')[0] in names else found(name, *rest)\n"
        f"from lossdoctor.cli import main; main(['analyze', {given!r}])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2 and line.endswith(f"takes the package {package}: pip install {install}"), line


def test_nothing_that_reaches_the_network_is_loaded_for_what_is_here(tmp_path):
    """Neither the start of the command line nor the analysis of a local file imports fsspec or an HTTP client."""
    write_state(tmp_path, ROWS)
    code = (
        "import sys; from lossdoctor.cli import main\n"
        "main(['--help'], standalone_mode=False); main(['analyze', sys.argv[1]], standalone_mode=False)\n"
        "loaded = {'fsspec', 'huggingface_hub', 'aiohttp', 'httpx', 'http.client', 'tempfile'} & sys.modules.keys()\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


# What was meant


def test_a_name_as_on_the_hub_is_answered_with_its_address(tmp_path, monkeypatch):
    """user/model that is not here is not guessed to be there; a path with a file's ending gets no such answer."""
    monkeypatch.chdir(tmp_path)
    assert refusal("Qwen/Qwen2-7B").endswith("no such file or directory; if it is a model on the Hub: hf://Qwen/Qwen2-7B")
    for local in ("run/trainer_state.json", "out/checkpoint-500", "a/b/c", "./user/model.log"):
        assert "Hub" not in refusal(local)


def test_what_is_elsewhere_is_not_watched():
    """It would be asked for again and again."""
    from lossdoctor.watch import watch

    for given in ("hf://user/model", "-"):
        with pytest.raises(LossDoctorError, match="only files on this machine can be watched"):
            watch(given, None, analyze)  # type: ignore[arg-type]


# Servers


def test_a_file_on_a_web_server_is_fetched(hub, tmp_path):
    """Any http:// address is that of one file; what is missing there, and a server that is gone, are one line."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    write_state(hub.root / "models/user/model/main", ROWS)
    host = hub.address.replace("127.0.0.1", "localhost")  # not the one that is the Hub
    given = f"{host}/user/model/resolve/main/trainer_state.json"
    (report,) = analyze(given)
    assert (report.rows, report.run.path) == (len(ROWS), given)
    (hub.root / "models/user/model/main/cut.json").write_text('{"log_history": [')
    assert refusal(f"{host}/user/model/resolve/main/cut.json").startswith(f"{host}/user/model/resolve/main/cut.json is cut off")
    assert refusal(f"{host}/user/model/resolve/main/no.json").endswith("no such file or folder there")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert refusal(f"http://localhost:{port}/x.json").endswith(f"localhost:{port} cannot be reached; is there a network?")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 of moto's, with a bucket."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    _, port = running.get_host_and_port()
    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    if not system.exists("bucket"):
        system.mkdir("bucket")
    yield system
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    running.stop()


def test_a_run_on_s3_is_read(s3):
    """Through s3fs, with a state that is newer in a checkpoint, its facts, and addresses on S3."""
    put(s3, "bucket/run/trainer_state.json", BROKEN[:12])
    time.sleep(1.1)  # S3 keeps whole seconds
    put(s3, "bucket/run/checkpoint-20/trainer_state.json", BROKEN[:20])
    put(s3, "bucket/run/checkpoint-20/adapter_config.json", ADAPTER)
    put(s3, "bucket/run/checkpoint-5/model.safetensors", b"x")
    (report,) = analyze("s3://bucket/run")
    assert (report.rows, report.run.get("lora_r"), report.run.path) == (20, 7, "s3://bucket/run")
    assert report.last_good_checkpoint == "s3://bucket/run/checkpoint-5"
    assert analyze("s3://bucket/run/trainer_state.json")[0].rows == 12
    assert refusal("s3://bucket/none") == "s3://bucket/none: no such file or folder there"
    assert "no such file or folder there" in refusal("s3://no-such-bucket/run")


def test_without_a_network_s3_is_one_line(s3, monkeypatch):
    """An endpoint where nobody listens."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert refusal("s3://bucket/run") == "s3://bucket/run: S3 cannot be reached; is there a network?"
