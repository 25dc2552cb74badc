"""What `test_trackers.py` runs in a process of its own for each tracker: trainings that report to it, and what it kept of them.

All trackers work in the folder that is given, offline: the environment says so. Each training has a run of its own in the
tracker; when it is over, the tracker's files are read and put into one form: alerts as (severity, text), and the summary by the
tracker's own names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import pickle
import random
import re
import sqlite3
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import numpy as np
import torch
from trainers import Harmless, NanLoss, trains_in
from transformers import TrainerCallback

from lossdoctor import LossDoctorCallback
from lossdoctor.sinks.console import Console

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])
Found = dict[str, Any]


# --- What each tracker kept ------------------------------------------------------------------------------------------


SEEN: set[Path] = set()


def new(files: Iterable[Path]) -> Path:
    """The one file that was not there after the training before; their times are no guide, since older ones are touched again."""
    (file,) = set(files) - SEEN
    SEEN.add(file)
    return file


class Wandb:
    """The file of an offline run: records of protobuf in blocks of 32 KiB, each behind its checksum, length and kind."""

    harmed = ("wandb.sdk.wandb_run", "Run", "alert")

    def close(self) -> None:
        sys.modules["wandb"].finish()

    def read(self, label: str, folder: Path) -> Found:
        alerts, summary = [], {}
        file = new(FOLDER.glob("wandb/offline-run-*/*.wandb"))
        for record in self._finished(file):
            kind = record.WhichOneof("record_type")
            if kind == "alert":
                level = {"WARN": "warning", "ERROR": "critical"}[record.alert.level]
                alerts.append((level, f"{record.alert.title}\n{record.alert.text}"))
            for item in record.summary.update if kind == "summary" else ():
                summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        ours = {k: v for k, v in summary.items() if k.startswith("lossdoctor")}
        return {"alerts": alerts, "summary": ours, "store": str(file)}

    def _finished(self, file: Path) -> list[Any]:
        """The records once the last one is there: another process writes them, and `finish` does not wait for it."""
        from wandb.proto.wandb_internal_pb2 import Record

        for _ in range(100):
            records = [Record.FromString(data) for data in self._records(file.read_bytes())]
            if any(record.WhichOneof("record_type") == "exit" for record in records):
                return records
            time.sleep(0.1)
        raise AssertionError(f"{file} was never finished")

    @staticmethod
    def _records(data: bytes) -> Iterator[bytes]:
        place, whole = 7, b""
        while place + 7 <= len(data):
            if 32768 - place % 32768 < 7:
                place += 32768 - place % 32768
                continue
            length, kind = struct.unpack_from("<HB", data, place + 4)
            if place + 7 + length > len(data):
                return  # it is still being written
            whole += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # a whole record, or the last part of one
                yield whole
                whole = b""


class Trackio:
    harmed = ("trackio", "alert")

    def close(self) -> None:
        """The Trainer's callback has finished the run."""

    def read(self, label: str, folder: Path) -> Found:
        (file,) = (FOLDER / "trackio").glob("*.db")
        with contextlib.closing(sqlite3.connect(file)) as store:
            rows = store.execute("select level, title, text from alerts where run_name = ? order by id", (label,)).fetchall()
        levels = {"warn": "warning", "error": "critical"}
        alerts = [(levels[level], f"{title}\n{text}") for level, title, text in rows if level in levels]
        notes = {title: text for level, title, text in rows if level not in levels}
        return {"alerts": alerts, "summary": notes, "store": str(file)}


class Mlflow:
    harmed = ("mlflow", "set_tag")

    def close(self) -> None:
        """The Trainer's callback has ended the run."""

    def read(self, label: str, folder: Path) -> Found:
        (run,) = sys.modules["mlflow"].search_runs(
            search_all_experiments=True, filter_string=f"tags.mlflow.runName = '{label}'", output_format="list"
        )
        tags = {name: value for name, value in run.data.tags.items() if name.startswith("lossdoctor")}
        alerts = {name: tags.pop(name) for name in list(tags) if name.startswith("lossdoctor.alert.")}
        ordered = sorted(alerts.items(), key=lambda item: int(item[0].rpartition("_")[2]))
        found = [(name.split(".")[2].partition("_")[0], text) for name, text in ordered]
        return {"alerts": found, "summary": tags, "store": str(FOLDER / "mlflow.db")}


class Comet:
    harmed = ("comet_ml.experiment", "CometExperiment", "log_text")

    def __init__(self) -> None:
        (FOLDER / "comet").mkdir()

    def close(self) -> None:
        sys.modules["comet_ml"].get_global_experiment().end()

    def read(self, label: str, folder: Path) -> Found:
        file = new((FOLDER / "comet").glob("*.zip"))
        with zipfile.ZipFile(file) as archive:
            messages = [json.loads(line) for line in archive.read("messages.json").splitlines()]
            texts = [m["payload"] for m in messages if m["payload"].get("upload_type") == "text-sample"]
            alerts = [(text["metadata"]["severity"], archive.read(text["file_path"]).decode()) for text in texts]
            tags = json.loads(archive.read("experiment.json"))["tags"]
        others = [m["payload"] for m in messages if m["type"] == "log_other"]
        summary = {other["key"]: other["value"] for other in others if other["key"].startswith("lossdoctor")}
        return {"alerts": alerts, "summary": summary, "tags": tags}


class ClearML:
    harmed = ("clearml", "Task", "add_tags")

    def close(self) -> None:
        """The Trainer's callback has closed the task."""

    def read(self, label: str, folder: Path) -> Found:
        file = new(FOLDER.glob("clearml/**/offline-*/task.json"))
        task = json.loads(file.read_text())
        alerts = []
        for line in (file.parent / "log.jsonl").read_text().splitlines():
            for entry in json.loads(line):  # messages of one level that follow each other are one entry
                _, *texts = re.split(r"^(?=lossdoctor: (?:warning|critical) from step)", entry.get("msg", ""), flags=re.MULTILINE)
                severity = {"warning": "warning", "error": "critical"}.get(entry["level"], entry["level"])
                alerts += [(severity, text) for text in texts]
        properties = task["hyperparams"].get("properties", {})
        summary = {name: item["value"] for name, item in properties.items() if name.startswith("lossdoctor")}
        return {"alerts": alerts, "summary": summary, "tags": task.get("tags") or []}


class DVCLive:
    harmed = ("dvclive", "Live", "summary")

    def close(self) -> None:
        """The Trainer's callback has ended it."""

    def read(self, label: str, folder: Path) -> Found:
        summary = json.loads((folder / "dvclive" / "metrics.json").read_text()).get("lossdoctor", {})
        alerts = summary.pop("alerts", {})
        found = [(name.partition("_")[0], text) for name, text in alerts.items()]
        return {"alerts": found, "summary": summary, "store": str(folder / "dvclive")}


TRACKERS = {"wandb": Wandb, "trackio": Trackio, "mlflow": Mlflow, "comet_ml": Comet, "clearml": ClearML, "dvclive": DVCLive}


# --- Code of others that draws random numbers, or fails ---------------------------------------------------------------


def draws() -> None:
    random.random(), np.random.rand(), torch.rand(1)


def fails() -> None:
    raise RuntimeError("planted")


class Meddling(TrainerCallback):
    """While a training goes on, the tracker first does something else whenever the doctor calls it."""

    def __init__(self, harmed: tuple[str, ...], does: Callable[[], None]) -> None:
        self.harmed, self.does, self.calls = harmed, does, 0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        module, *within, self.name = self.harmed
        self.home: Any = functools.reduce(getattr, within, sys.modules[module])
        self.inner = getattr(self.home, self.name, None)
        setattr(self.home, self.name, self._function() if self.inner else self._attribute())

    def _function(self) -> Any:
        def meddled(*args: Any, **kwargs: Any) -> Any:
            self._meddle()
            return self.inner(*args, **kwargs)

        return meddled

    def _attribute(self) -> Any:
        """Reading it meddles if it is the doctor that reads; the tracker's own code is left alone."""

        def read(owner: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith("lossdoctor."):
                self._meddle()
            return owner.__dict__[self.name]

        return property(read, lambda owner, value: owner.__dict__.update({self.name: value}))

    def _meddle(self) -> None:
        self.calls += 1
        self.does()

    def undo(self) -> None:
        if self.inner:
            setattr(self.home, self.name, self.inner)
        else:
            delattr(self.home, self.name)


# --- The trainings ----------------------------------------------------------------------------------------------------


def trained(label: str, doctor: Any, *, does: Callable[[], None] | None = None, kind: Any = Harmless, **changes: Any) -> Found:
    """One training in a folder of its own: what the tracker kept, what was said, and what training came to."""
    folder = FOLDER / label
    folder.mkdir()
    os.chdir(folder)
    meddling = Meddling(TRACKER.harmed, does) if does else None
    changes = {"nan_in": lambda n: False, "max_steps": 30, "report_to": [NAME], "run_name": label, **changes}
    if meddling:
        changes["callbacks"] = [meddling]
    errors = io.StringIO()
    random.seed(1), np.random.seed(1)
    with contextlib.redirect_stderr(errors):
        patient, _ = trains_in(changes.pop("folder", folder / "out"))(kind, doctor=doctor, **changes)
        states = hashlib.sha256(pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy())))
        weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in patient.model.parameters()))
        if meddling:
            meddling.undo()
        TRACKER.close()
    return {
        **TRACKER.read(label, folder),
        "state": str(Path(patient.args.output_dir) / "trainer_state.json"),
        "stderr": errors.getvalue(),
        "steps": patient.state.global_step,
        "states": states.hexdigest(),
        "weights": weights.hexdigest(),
        "calls": meddling.calls if meddling else None,
        "failure": doctor.failure,
        "report": [doctor.report.verdict, doctor.report.last_good_step],
    }


def resumed() -> Found:
    """A fault that healed before the checkpoint from which training goes on, in a new run of the tracker."""
    folder = FOLDER / "first part"
    trains_in(folder)(Harmless, nan_in=lambda n: n in (4, 6), max_steps=20, save_strategy="steps", save_steps=10)
    return trained("resumed", LossDoctorCallback(), folder=folder, resume=str(folder / "checkpoint-10"), max_steps=20)


def main() -> None:
    lost = {"kind": NanLoss, "nan_in": lambda n: n > 12}
    outcomes = {
        "healthy": trained("healthy", LossDoctorCallback()),
        "lost": trained("lost", LossDoctorCallback(), does=draws, **lost),
        "worse": trained("worse", LossDoctorCallback(), nan_in=lambda n: n == 8 or n > 20),
        "console alone": trained("console alone", LossDoctorCallback(sinks=[Console()]), **lost),
        "fails": trained("fails", LossDoctorCallback(), does=fails, **lost),
        "resumed": resumed(),
    }
    (FOLDER / "outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    TRACKER = TRACKERS[NAME]()
    main()
