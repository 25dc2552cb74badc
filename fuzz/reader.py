"""A coverage-guided fuzz target for one reader: `python fuzz/reader.py megatron -runs=100000`, or all of them with `make fuzz`.

Whatever the bytes are, a reader gives logs or an error of ours in one line; it never hangs, and what it gives can be judged. The
inputs begin with the logs of `tests/logs/<reader>/`. Options after the name are libFuzzer's.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lossdoctor.readers", "lossdoctor.facts"]):
    from lossdoctor.model import LossDoctorError
    from lossdoctor.readers.dialects import DIALECTS, dialects
    from lossdoctor.readers.source import Source

    READERS = dict(zip(DIALECTS, dialects(), strict=True))

LOGS = Path(__file__).parent.parent / "tests" / "logs"
#: Longer inputs say nothing new and take longer; seconds after which an input counts as a hang.
LONGEST, HANG = 16_384, 10


def seeds(kind: str, folder: Path) -> None:
    """The logs of a reader as files to begin with; those in folders one by one."""
    for place, path in enumerate(path for path in sorted(LOGS.glob(f"{kind}/**/*")) if path.is_file()):
        shutil.copyfile(path, folder / f"{place}-{path.name}")


def target(kind: str, place: Path) -> None:
    """Reads the bytes as that dialect, recognised or not."""
    dialect = READERS[kind]

    def read(data: bytes) -> None:
        place.write_bytes(data)
        try:
            source = Source.open(place)
            known = dialect.recognise(source)
            logs = dialect.read(source)
        except LossDoctorError as error:
            assert "\n" not in str(error), f"an error of several lines: {error}"
            return
        assert isinstance(known, bool)
        for log in logs:
            assert log.records, "a log without a row"
            for record in log.records:
                assert isinstance(record.step, int) and record.step >= 0, f"a step of {record.step!r}"
                assert all(value.__class__ is float for value in record.values.values()), f"no numbers: {record.values!r}"

    atheris.Setup([sys.argv[0], f"-max_len={LONGEST}", f"-timeout={HANG}", *sys.argv[2:]], read)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in DIALECTS:
        raise SystemExit(f"usage: fuzz/reader.py READER [libFuzzer options]; a reader is one of {', '.join(DIALECTS)}")
    kind = sys.argv[1]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        corpus = Path(folder, "seeds")
        corpus.mkdir()
        seeds(kind, corpus)
        sys.argv.append(str(corpus))
        target(kind, Path(folder, "input"))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
