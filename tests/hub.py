"""A small Hub for tests: it answers what huggingface_hub asks of the real one, out of folders on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`root/<models|datasets|spaces>/<user>/<name>/<revision>/` holds the repositories; `asked` every request."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.asked: list[str] = []
        self.private: set[str] = set()
        self.gated: set[str] = set()

    def fetched(self) -> set[str]:
        """The names of the files that were asked for."""
        return {path.rpartition("/")[2] for path in self.asked if "/resolve/" in path}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.hub.asked.append("/" + "/".join(parts))
        if parts[0] == "api":
            self._api(parts[1], "/".join(parts[2:4]), parts[4:])
        else:
            kind = parts.pop(0) if parts[0] in ("datasets", "spaces") else "models"
            self._file(kind, "/".join(parts[:2]), parts[2:])

    def _api(self, kind: str, name: str, rest: list[str]) -> None:
        if (refusal := self._refusal(kind, name)) is not None:
            self._refuse(*refusal)
            return
        inside = rest[2:]
        folder = self.hub.root / kind / name / (rest[1] if rest[1:] else "main").replace("/", "-")
        if not folder.is_dir():
            self._refuse(404, "RevisionNotFound")
        elif not rest or rest[0] == "revision":
            self._json({"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0, "siblings": []})
        elif (top := folder.joinpath(*inside)).is_dir():
            self._json([_entry(path, folder) for path in sorted(top.iterdir())])
        else:
            self._refuse(404, "EntryNotFound")

    def _file(self, kind: str, name: str, rest: list[str]) -> None:
        if (refusal := self._refusal(kind, name)) is not None:
            self._refuse(*refusal)
            return
        path = (self.hub.root / kind / name / rest[1].replace("/", "-")).joinpath(*rest[2:])
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        data, start = path.read_bytes(), 0
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first)
            data_part = data[start : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(data_part) - 1}/{len(data)}")
            data = data_part
        else:
            self.send_response(200)
        self._send(data, "application/octet-stream", {"ETag": '"abc"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def _refusal(self, kind: str, name: str) -> tuple[int, str] | None:
        if name in self.hub.gated:
            return 403, "GatedRepo"
        if name in self.hub.private or not (self.hub.root / kind / name).is_dir():
            return 401, "RepoNotFound"  # as the Hub answers whoever is not logged in
        return None

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self._send(b"{}", "application/json", {"X-Error-Code": code, "X-Error-Message": "no"})

    def _json(self, value: object) -> None:
        self.send_response(200)
        self._send(json.dumps(value).encode(), "application/json", {})

    def _send(self, data: bytes, kind: str, headers: dict[str, str]) -> None:
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entry(path: Path, top: Path) -> dict[str, object]:
    kind = "directory" if path.is_dir() else "file"
    size = 0 if path.is_dir() else path.stat().st_size
    return {"type": kind, "oid": "1" * 40, "size": size, "path": path.relative_to(top).as_posix()}


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """A Hub over a folder, at a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {}))
    hub = Hub(root, f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
