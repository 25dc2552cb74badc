"""One file per dialect of log; a source is recognised by its content, never by its name."""

from __future__ import annotations

from lossdoctor.readers import folder
from lossdoctor.readers.dialects import read_file
from lossdoctor.readers.source import Source

__all__ = ["Source", "folder", "read_file"]
