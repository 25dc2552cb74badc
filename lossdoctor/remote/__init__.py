"""Logs that lie elsewhere, `hf://`, `s3://`, `https://` …; what reaches them is loaded when an address is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lossdoctor.model import Log
from lossdoctor.remote.address import hint, is_address

__all__ = ["hint", "is_address", "read"]


def read(given: str, load: Callable[[Path], list[Log]]) -> list[Log]:
    """The runs at an address, as `load` reads them from a copy; whatever names the copy names the address instead.

    Raises:
        LossDoctorError: the address or what is there cannot be used, or the package that reaches it is missing.
        NothingToAnalyse: it is a log without a row.
    """
    from lossdoctor.remote import reading

    return reading.read(given, load)
