"""Examples in columns: parquet files, and Arrow files as `datasets` saves them. Needs pyarrow, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossdoctor.model import LossDoctorError

#: Rows that are in memory at once.
BATCH = 256


def rows(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The examples of one file.

    Raises:
        LossDoctorError: pyarrow is missing, or the file is not what it seems.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise LossDoctorError(f"{path}: {kind} files need pyarrow; install it with: pip install pyarrow") from None
    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches(BATCH) if kind == "parquet" else _arrow(path)
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH):
                yield from batch.slice(start, BATCH).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise LossDoctorError(f"{path} is not {kind}, or broken: {str(error).splitlines()[0][:80]}") from None


def _arrow(path: Path) -> Iterator[Any]:
    """The batches of a stream, which `datasets` writes, or of a file."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        try:
            reader = pyarrow.ipc.open_stream(source)
        except pyarrow.ArrowInvalid:
            source.seek(0)
            whole = pyarrow.ipc.open_file(source)
            reader = (whole.get_batch(number) for number in range(whole.num_record_batches))
        yield from reader
