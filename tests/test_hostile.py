"""Whatever the bytes are: a reader gives logs that can be judged, or one line on what is wrong; it runs and opens nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.model import LossDoctorError
from lossdoctor.readers.dialects import DIALECTS, dialects
from lossdoctor.readers.source import Source

LOGS = ROOT / "tests" / "logs"
READERS = dict(zip(DIALECTS, dialects(), strict=True))
FILES = {kind: sorted(path for path in LOGS.glob(f"{kind}/**/*") if path.is_file()) for kind in DIALECTS}
#: What has broken parsers before.
TOKENS = [
    *(
        b"nan",
        b"inf",
        b"-inf",
        b"1e999",
        b"-0.0",
        b"9" * 400,
        b"\0",
        b"\r",
        b"\n\n",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"'",
        b'"',
        b"|",
        b",,",
    ),
    *(
        b"step=-1",
        b"'loss': ",
        b"<table><tr>",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        "１２".encode(),
        b"\x1b[31m",
        b"100%|" + b"#" * 600 + b"|",
    ),
]


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> tuple[Path, bytes]:
    """A log of that kind with a few cuts, repeats and insertions."""
    path = draw(st.sampled_from(FILES[kind]))
    data = path.read_bytes()
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        until = min(len(data), place + draw(st.integers(0, 200)))
        part = draw(
            st.sampled_from([b"", data[place:until] * 2, data[until:][:300]]) | st.sampled_from(TOKENS) | st.binary(max_size=20)
        )
        data = data[:place] + part + data[until:]
    return path, data


@pytest.mark.parametrize("kind", DIALECTS)
@settings(max_examples=60, deadline=2000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_log_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject):
    """No exception but ours leaves a reader, and what it gives has steps that count and values that are numbers."""
    path, content = data.draw(damaged(kind))
    top = LOGS / kind
    folder = tmp_path_factory.mktemp("damaged")
    inside = path.relative_to(top)
    damaged_file = folder / inside
    for other in (top / inside.parts[0]).rglob("*") if len(inside.parts) > 1 else ():
        if other.is_file():
            (folder / other.relative_to(top)).parent.mkdir(parents=True, exist_ok=True)
            (folder / other.relative_to(top)).write_bytes(other.read_bytes())
    damaged_file.write_bytes(content)
    try:
        source = Source.open(folder / inside.parts[0])
        READERS[kind].recognise(source)
        logs = READERS[kind].read(source)
    except LossDoctorError as error:
        assert "\n" not in str(error)
        return
    for log in logs:
        assert log.records
        assert all(type(record.step) is int and record.step >= 0 for record in log.records)
        assert all(type(value) is float for record in log.records for value in record.values.values())


WATCHED = """
import sys
from pathlib import Path
from lossdoctor.engine import examine
from lossdoctor.readers import Source, read_file

def analyze(path):
    for log in read_file(Source.open(path)):
        examine(log.records, log.run)

logs, named = Path(sys.argv[1]), None
for path in sorted(logs.glob("*/*")):  # whatever is loaded on demand is loaded now
    analyze(path)
FORBIDDEN = ("exec", "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "socket.connect", "socket.getaddrinfo",
             "urllib.Request", "os.remove", "os.rename", "os.mkdir", "shutil.copyfile", "sqlite3.load_extension", "ctypes.dlopen")

def hook(event, arguments):
    if named is None:
        return
    if event in FORBIDDEN:
        raise SystemExit(f"{named}: {event} {arguments!r}")
    if event == "open":
        file, mode, flags = arguments
        if isinstance(file, (str, bytes, Path)) and not str(file).startswith((str(named), str(named.parent))):
            raise SystemExit(f"{named}: opens {file}")
        if flags & 0x43 or set(str(mode or "")) & set("wxa+"):
            raise SystemExit(f"{named}: writes {file}")

sys.addaudithook(hook)
for path in sorted(logs.glob("*/*")):
    named = path
    analyze(path)
    named = None
print("quiet")
"""


def test_reading_runs_nothing_and_opens_nothing_else():
    """Python's own audit events of reading every log: no code is run, no process or connection begun, no other file opened."""
    run = subprocess.run([sys.executable, "-c", WATCHED, str(LOGS)], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (run.returncode, run.stdout.strip()) == (0, "quiet"), run.stderr[-2000:]
