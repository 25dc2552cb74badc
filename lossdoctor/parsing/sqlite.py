"""SQLite databases of trackers, opened so that nothing is written, nothing in them runs, and no query lasts for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.model import LossDoctorError
from lossdoctor.parsing.printable import printable

if TYPE_CHECKING:
    import sqlite3

MAGIC = b"SQLite format 3\0"
#: Instructions of SQLite's machine for one database, and after how many they are counted; a million rows take some 15 million.
MOST_WORK, COUNTED = 1_000_000_000, 100_000
#: Bytes of one value. No row of a log has more, whatever a broken page claims.
LONGEST = 16 * 1024 * 1024
#: Seconds to wait for a training that is just writing.
PATIENCE = 2.0
#: Stands in bytes 18 and 19 of a database whose newest rows may lie in a log of its own beside it.
_LOGGED_AHEAD = 2


class Database:
    """An open database; `notes` say what of it could not be read."""

    def __init__(self, connection: sqlite3.Connection, notes: tuple[str, ...]) -> None:
        self._connection, self.notes = connection, notes

    def columns(self, table: str) -> frozenset[str]:
        """The columns that hold values in a table; none if there is no such table, but a view or a module in its place."""
        kind = "select 1 from sqlite_master where type = 'table' and name = ? and rootpage > 0"
        if not self._connection.execute(kind, (table,)).fetchone():
            return frozenset()
        described = self._connection.execute(f'pragma table_xinfo("{table}")')
        return frozenset(name for _, name, _, _, _, _, hidden in described if not hidden)  # one that is hidden is computed

    def has(self, table: str, columns: frozenset[str]) -> bool:
        """Whether there is such a table with these columns."""
        return columns <= self.columns(table)

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows that a query finds, one at a time."""
        return self._connection.execute(query, values)


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """A database, for reading.

    Raises:
        LossDoctorError: it is broken, locked, or takes too long.
    """
    import sqlite3

    try:
        connection, notes = _connect(path)
        with closing(connection):
            yield Database(connection, notes)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite quotes what is broken
        what = "it takes too much work" if "interrupted" in str(error) else printable(error)
        raise LossDoctorError(f"{path} is an SQLite database that cannot be read: {what}") from None


def _connect(path: Path) -> tuple[sqlite3.Connection, tuple[str, ...]]:
    """A database with a log ahead is said to stand still where there is no such log: else reading it makes files beside it."""
    import sqlite3

    address = f"{path.absolute().as_uri()}?mode=ro"
    with path.open("rb") as file:
        ahead = _LOGGED_AHEAD in file.read(20)[18:20]
    if ahead and not path.with_name(f"{path.name}-wal").exists():
        return _guarded(f"{address}&immutable=1"), ()
    try:
        return _guarded(address), ()
    except sqlite3.OperationalError:
        if not ahead:
            raise
    return _guarded(f"{address}&immutable=1"), ("the newest rows lie in a log beside the database that cannot be opened here",)


def _guarded(address: str) -> sqlite3.Connection:
    """A connection in which neither the schema of a stranger nor a broken page can do harm."""
    import sqlite3

    connection = sqlite3.connect(address, uri=True, timeout=PATIENCE)
    try:
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        if hasattr(connection, "setlimit"):  # Python 3.11
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        for pragma in ("trusted_schema = off", "query_only = on", "cell_size_check = on", "mmap_size = 0"):
            connection.execute(f"pragma {pragma}")
        work = iter(range(MOST_WORK // COUNTED))
        connection.set_progress_handler(lambda: next(work, None) is None, COUNTED)
        connection.execute("select count(*) from sqlite_master").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection
