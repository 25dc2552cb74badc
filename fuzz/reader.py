"""A coverage-guided fuzz target for one reader: `python fuzz/reader.py megatron -runs=100000`, or all of them with `make fuzz`.

Whatever the bytes are, a reader gives logs or an error of ours in one line; it never hangs, and what it gives can be judged. The
inputs begin with the logs of `tests/logs/<reader>/`. Options after the name are libFuzzer's; a file there is run alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import atheris

with atheris.instrument_imports(include=["lossdoctor.readers", "lossdoctor.parsing", "lossdoctor.facts"]):
    from lossdoctor.model import Log, LossDoctorError
    from lossdoctor.parsing.source import Source
    from lossdoctor.readers.dialects import DIALECTS, dialects

    READERS = dict(zip(DIALECTS, dialects(), strict=True))

from inputs import LONGEST, Input, dictionary, of_reader

#: Seconds after which an input counts as a hang; and those after which it is slow, on a processor of its own.
HANG, SLOW = 10, 0.5
#: What is told of the inputs at the end, a line for each that took longer than all before.
SLOWEST = "slowest so far: {:.3f} s for {:,} bytes"


def judge(kind: str, source: Source) -> None:
    """Reads a source as that dialect, recognised or not."""
    try:
        known = READERS[kind].recognise(source)
        logs: list[Log] = READERS[kind].read(source)
    except LossDoctorError as error:
        assert "\n" not in str(error), f"an error of several lines: {error}"
        return
    assert isinstance(known, bool)
    for log in logs:
        assert log.records, "a log without a row"
        for record in log.records:
            assert isinstance(record.step, int) and record.step >= 0, f"a step of {record.step!r}"
            assert all(value.__class__ is float for value in record.values.values()), f"no numbers: {record.values!r}"


def target(kind: str, given: Input) -> Callable[[bytes], None]:
    """What libFuzzer calls with its bytes; what is slow is tried once more, since others use the machine as well."""
    longest = 0.0

    def seconds(data: bytes) -> float:
        try:
            source = given.put(data)
        except LossDoctorError as error:
            assert "\n" not in str(error), f"an error of several lines: {error}"
            return 0.0
        before = process_time()
        judge(kind, source)
        return process_time() - before

    def read(data: bytes) -> None:
        nonlocal longest
        took = seconds(data)
        if took > max(longest, 0.02):
            took = min(took, seconds(data))
            longest = max(longest, took)
            print(SLOWEST.format(longest, len(data)), file=sys.stderr)
        assert took <= SLOW, f"{took:.2f} s for {len(data):,} bytes"

    return read


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in DIALECTS:
        raise SystemExit(f"usage: fuzz/reader.py READER [libFuzzer options]; a reader is one of {', '.join(DIALECTS)}")
    kind, options = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        given = of_reader(kind, Path(folder, "input"))
        seeds = given.seeds()
        for seed in seeds:
            target(kind, given)(seed)  # whatever is loaded on demand is loaded now
        if all(option.startswith("-") for option in options):
            corpus, words = Path(folder, "corpus"), Path(folder, "words")
            corpus.mkdir()
            for place, seed in enumerate(seeds):
                Path(corpus, f"{place:04}").write_bytes(seed)
            words.write_text(dictionary(seeds))
            longest = max(LONGEST, *map(len, seeds))
            options += [f"-dict={words}", f"-max_len={longest}", str(corpus)]
        atheris.Setup([sys.argv[0], f"-timeout={HANG}", *options], target(kind, given))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
