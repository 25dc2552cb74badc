"""One file per dialect of log; a source is recognised by its content, never by its name."""

from __future__ import annotations

from lossdoctor.parsing.source import Source
from lossdoctor.readers import folder
from lossdoctor.readers.dialects import read_file

__all__ = ["Source", "folder", "read_file"]
