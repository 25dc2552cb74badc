"""No link, name, archive or special file makes us read outside of what was named, or wait for ever."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import write_state

from lossdoctor.analysis import analyze, expand, load
from lossdoctor.confinement import is_file_of, lies_in
from lossdoctor.model import LossDoctorError
from lossdoctor.readers import folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes take rights there")

ROWS = [{"step": s, "loss": 3 - s / 100, "grad_norm": 1 + s % 3 / 7, "learning_rate": 1e-4} for s in range(1, 31)]
SECRET = {"peft_type": "LORA", "r": 77}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nobody named, with a run and its facts."""
    write_state(tmp_path / "outside", ROWS)
    write_state(tmp_path / "outside" / "checkpoint-30", ROWS)
    (tmp_path / "outside" / "adapter_config.json").write_text(json.dumps(SECRET))
    (tmp_path / "outside" / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    return tmp_path / "outside"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The named folder, empty."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


# Links


@pytest.mark.parametrize("name", ["trainer_state.json", "checkpoint-30", "checkpoint-30/trainer_state.json"])
def test_a_link_out_of_the_folder_is_no_log_of_it(run, outside, name):
    """Neither a file nor a checkpoint that is linked from elsewhere; a link in the folder itself is named in the error."""
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(outside / name)
    with pytest.raises(LossDoctorError, match=r"holds no trainer_state\.json") as caught:
        load(run)
    if "/" not in name:
        assert str(caught.value).endswith(f"links that lead out of it are not followed: {name}")


@pytest.mark.parametrize("linked", ["adapter_config.json", "checkpoint-30"])
def test_a_link_out_of_the_folder_states_no_fact(run, outside, linked):
    """Nor does the last checkpoint, if it is elsewhere; the run itself is read."""
    write_state(run, ROWS)
    (outside / "checkpoint-30" / "adapter_config.json").write_text(json.dumps(SECRET))
    (run / linked).symlink_to(outside / linked)
    for named in (run, run / "trainer_state.json"):
        (report,) = analyze(named)
        assert report.rows == len(ROWS) and report.run.get("lora_r") is None


def test_event_files_that_are_linked_from_elsewhere_are_left_alone(run, outside):
    """Files in the folder, and run folders below runs."""
    (outside / "events.out.tfevents.1.a").write_bytes(b"")
    (run / "events.out.tfevents.1.a").symlink_to(outside / "events.out.tfevents.1.a")
    (run / "runs").mkdir()
    (run / "runs" / "first").symlink_to(outside)
    assert folder.event_files(run) == []
    with pytest.raises(LossDoctorError, match="holds no trainer_state"):
        load(run)


def test_links_within_the_folder_are_followed(run):
    """A state that links to that of a checkpoint, and facts that lie in another folder of the run."""
    write_state(run / "checkpoint-30", ROWS)
    (run / "adapter_config.json").write_text(json.dumps(SECRET))
    (run / "checkpoint-30" / "adapter_config.json").symlink_to("../adapter_config.json")
    (run / "trainer_state.json").symlink_to("checkpoint-30/trainer_state.json")
    for named in (run, run / "checkpoint-30"):
        assert analyze(named)[0].run.get("lora_r") == 77


def test_what_the_user_names_may_be_a_link(tmp_path, outside):
    """A link to a file, to a folder, to a checkpoint: naming it is choosing it, with the facts that are there."""
    for name, target in (("state", "trainer_state.json"), ("run", "."), ("newest", "checkpoint-30")):
        (tmp_path / name).symlink_to(outside / target)
    (outside / "checkpoint-30" / "adapter_config.json").write_text(json.dumps(SECRET))
    assert analyze(tmp_path / "state")[0].rows == len(ROWS)
    assert analyze(tmp_path / "run")[0].run.get("lora_r") == 77
    assert analyze(tmp_path / "newest")[0].run.get("lora_r") == 77


@pytest.mark.timeout(20)
def test_circles_of_links_are_left_alone(run):
    """Links to themselves, to each other, and to the folder around them."""
    write_state(run, ROWS)
    (run / "config.json").symlink_to("config.json")
    (run / "adapter_config.json").symlink_to("README.md")
    (run / "README.md").symlink_to("adapter_config.json")
    (run / "checkpoint-99").symlink_to(run)
    (run / "runs").symlink_to(run)
    assert analyze(run)[0].rows == len(ROWS)
    (run / "circle").symlink_to("circle")
    with pytest.raises(LossDoctorError):
        load(run / "circle")


@pytest.mark.timeout(20)
def test_a_glob_does_not_go_round_in_circles(run, outside, monkeypatch):
    """Two links to the folder around them have 2 to the 40th ways; `**` follows none of them, nor one that leads out."""
    write_state(run / "deep" / "er", ROWS)
    for name in ("a", "b"):
        (run / name).symlink_to(run)
    (run / "out").symlink_to(outside)
    (run / ".hidden").mkdir()
    write_state(run / ".hidden", ROWS)
    monkeypatch.chdir(run)
    state = "deep/er/trainer_state.json"
    assert expand(["**/trainer_state.json"]) == expand(["**/er/*.json"]) == [state]
    assert expand([f"{run}/**/*_state.json"]) == [f"{run}/{state}"] and expand(["deep/**"]) == [state]
    assert expand(["**/er/**/*.json", "d[e]ep/**/er/*.json"]) == [state]
    write_state(run, ROWS)
    assert expand(["**/trainer_state.json"]) == [state, "trainer_state.json"]


# The cache of the Hub: snapshots are folders of links into the blobs of the same repository


def snapshot(cache: Path, name: str = "models--user--model") -> Path:
    """A snapshot as huggingface_hub makes it."""
    repository = cache / name
    made = repository / "snapshots" / "0123abcd"
    (made / "checkpoint-30").mkdir(parents=True)
    (repository / "blobs").mkdir()
    write_state(cache / "made", ROWS).rename(repository / "blobs" / "state")
    (repository / "blobs" / "adapter").write_text(json.dumps(SECRET))
    (made / "checkpoint-30" / "trainer_state.json").symlink_to("../../../blobs/state")
    (made / "checkpoint-30" / "adapter_config.json").symlink_to("../../../blobs/adapter")
    return made


def test_a_snapshot_in_the_cache_of_the_hub_is_read(tmp_path):
    """As a whole, its checkpoint, or the file."""
    made = snapshot(tmp_path)
    for named in (made, made / "checkpoint-30", made / "checkpoint-30" / "trainer_state.json"):
        (report,) = analyze(named)
        assert report.rows == len(ROWS) and report.run.get("lora_r") == 77


def test_a_blob_that_repositories_share_is_read(tmp_path):
    """Newer releases keep large files once for all repositories: the blob is a link to one named by its hash."""
    made = snapshot(tmp_path)
    shared = tmp_path / "blobs" / "ab" / ("ab" + "0" * 62)
    shared.parent.mkdir(parents=True)
    blob = tmp_path / "models--user--model" / "blobs" / "state"
    blob.rename(shared)
    blob.symlink_to(shared)
    assert analyze(made)[0].rows == len(ROWS)


@pytest.mark.parametrize("target", ["{outside}/trainer_state.json", "{other}/blobs/state", "{cache}/blobs/trainer_state.json"])
def test_a_snapshot_does_not_lead_elsewhere(tmp_path, outside, target):
    """Neither out of the cache, nor to another repository, nor to what is no shared blob by its name."""
    made, other = snapshot(tmp_path / "cache"), snapshot(tmp_path / "cache", "models--user--other").parent.parent
    write_state(tmp_path / "cache" / "blobs", ROWS)
    state = made / "checkpoint-30" / "trainer_state.json"
    state.unlink()
    state.symlink_to(target.format(outside=outside, other=other, cache=tmp_path / "cache"))
    assert state.is_file()
    with pytest.raises(LossDoctorError, match="holds no trainer_state"):
        load(made)


@pytest.mark.parametrize("name", ["snapshots", "x/snapshots", "models--/snapshots", "datamodels--a/snapshots"])
def test_a_folder_that_only_looks_like_a_cache_is_confined(tmp_path, name):
    """The blobs beside it are those of nobody."""
    home = tmp_path / name / "abc"
    home.mkdir(parents=True)
    blob = home.parent.parent / "blobs" / "x"
    blob.parent.mkdir()
    blob.touch()
    (home / "x").symlink_to(blob)
    assert not is_file_of(home / "x", home) and lies_in(home, home)


# Names in files


@pytest.mark.parametrize("named", ["../outside/ds.json", "{outside}/ds.json", "outside/ds.json", "link.json"])
def test_a_file_that_a_found_configuration_names_lies_in_the_folder(run, outside, named):
    """Nobody named that configuration: climbing, absolute names, names beside the folder and links lead nowhere."""
    write_state(run, ROWS)
    (run / "link.json").symlink_to(outside / "ds.json")
    (run / "training_args.json").write_text(json.dumps({"deepspeed": named.format(outside=outside)}))
    assert analyze(run)[0].run.get("zero_stage") is None
    (run / "mine").mkdir()
    (run / "mine" / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    (run / "training_args.json").write_text(json.dumps({"deepspeed": "mine/ds.json"}))
    assert analyze(run)[0].run.get("zero_stage") == 2


# What is no regular file


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name",
    [
        "trainer_state.json",
        "training_args.bin",
        "adapter_config.json",
        "config.json",
        "README.md",
        "events.out.tfevents.1.x",
        "ds.json",
    ],
)
def test_a_pipe_in_a_folder_is_not_waited_for(run, name):
    """Under any name that is looked for, a named pipe without a writer would hold us up for ever."""
    write_state(run / "checkpoint-30", ROWS)
    (run / "training_args.json").write_text(json.dumps({"deepspeed": "ds.json"}))
    os.mkfifo(run / name)
    os.mkfifo(run / "checkpoint-30" / name) if name != "trainer_state.json" else None
    (run / "runs" / "a").mkdir(parents=True)
    os.mkfifo(run / "runs" / "a" / "events.out.tfevents.1.x")
    assert analyze(run)[0].rows == len(ROWS)


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "training_args.bin", "config.json", "README.md", "events.out.tfevents.1.x"]
)
def test_a_folder_with_the_name_of_a_file_is_passed_over(run, name):
    """It is no log and no fact, and nothing breaks."""
    write_state(run / "checkpoint-30", ROWS)
    (run / name).mkdir()
    (run / "checkpoint-30" / name).mkdir(exist_ok=True) if name != "trainer_state.json" else None
    assert analyze(run)[0].rows == len(ROWS)


def test_devices_are_no_logs(tmp_path):
    """A named device gives its first bytes, and is refused by them."""
    with pytest.raises(LossDoctorError, match="binary file"):
        load("/dev/zero")
    with pytest.raises(LossDoctorError, match="is empty"):
        load("/dev/null")


def test_a_socket_is_one_line(tmp_path, monkeypatch):
    """It cannot be opened as a file."""
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(LossDoctorError, match="s: "):
            load("s")


@pytest.mark.timeout(20)
def test_sparse_files_cost_nothing(run):
    """Terabytes of nothing under the names of facts and events are not read; as a state file they are refused."""
    write_state(run, ROWS)
    for name in ("training_args.bin", "config.json", "adapter_config.json", "README.md", "events.out.tfevents.1.x"):
        (run / name).touch()
        os.truncate(run / name, 2**40)
    os.utime(run / "events.out.tfevents.1.x", (0, 0))
    assert analyze(run)[0].rows == len(ROWS)
    (run / "trainer_state.json").write_text('{"log_history": [' + "1, " * 4096)
    os.truncate(run / "trainer_state.json", 2**40)
    with pytest.raises(LossDoctorError, match=r"has 1,048,576 MiB; logs up to 512 MiB are read"):
        load(run)


# Archives


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_is_refused_and_never_unpacked(tmp_path, kind):
    """One line that says to unpack it."""
    data = json.dumps({"log_history": ROWS}).encode()
    path = tmp_path / f"run.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("trainer_state.json", data)
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as tar:
            member = tarfile.TarInfo("trainer_state.json")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(LossDoctorError, match="archives are not opened: unpack it") as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is a binary file (")
