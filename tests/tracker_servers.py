"""What `test_trackers.py` runs in a process of its own: a tracker that is online, whose server is one on this machine.

The server knows just enough of each protocol for the package to go on, and keeps what it is sent.
"""

from __future__ import annotations

import gzip
import importlib
import json
import math
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lossdoctor.engine import Engine
from lossdoctor.model import Record
from lossdoctor.sinks.trackers import trackers

SENT: list[tuple[str, str]] = []
PROJECT = {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}}
BUCKET = {"id": "r", "name": "r", "displayName": "r", "config": "{}", "historyLineCount": 0, "project": PROJECT}
#: Answers by a part of the request, for W&B and for Comet.
ANSWERS: dict[str, Any] = {
    "UpsertBucket": {"data": {"upsertBucket": {"bucket": BUCKET, "inserted": True}}},
    "NotifyScriptableRunAlert": {"data": {"notifyScriptableRunAlert": {"success": True}}},
    "CreateRunFiles": {"data": {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}},
    "/logger/add/run": {"runId": "r", "project_id": "p", "focusUrl": "http://127.0.0.1/"},
    "/status-report/update": {"isAliveBeatDurationMillis": 10_000, "gpuMonitorIntervalMillis": 10_000},
}


class Answering(BaseHTTPRequestHandler):
    """Keeps what comes and answers in JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode("utf-8", "replace")
        SENT.append((self.path, text))
        answer = json.dumps(next((known for part, known in ANSWERS.items() if part in self.path + text), {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *words: Any) -> None:
        """Says nothing."""


def opened(name: str, address: str, folder: Path) -> Any:
    """Begins a run of a tracker whose server is at that address; gives what ends it."""
    wandb = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "a" * 40, "WANDB_DIR": str(folder), "WANDB_CONSOLE": "off"}
    trackio = {"TRACKIO_WEBHOOK_URL": address, "TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    comet = {"COMET_URL_OVERRIDE": f"{address}/clientlib/", "COMET_API_KEY": "a" * 25, "COMET_DISABLE_AUTO_LOGGING": "1"}
    os.environ |= {**wandb, **trackio, **comet}
    tracker = importlib.import_module(name)
    if name == "comet_ml":
        return tracker.start(project_name="p", workspace="e").end
    tracker.init(project="p", name="r")
    return tracker.finish


def main(name: str, folder: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    end = opened(name, f"http://127.0.0.1:{server.server_port}", folder)
    (sink,) = trackers(name)
    engine = Engine(sinks=[sink])
    for step in range(1, 40):
        broken = step > 20
        values = {"loss": 0.0 if broken else 2.5 - step / 50, "grad_norm": math.nan if broken else 1.0}
        engine.observe(Record(step, None, "train", values))
    engine.finish()
    end()
    (folder / "sent.json").write_text(json.dumps({"failure": sink.failure, "sent": SENT}))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
