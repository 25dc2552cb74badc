"""The last good checkpoint and `save_total_limit`: keeping the Trainer from deleting the one for a worthless one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from lossdoctor.model import Checkpoint

#: Before the name of a checkpoint that was put aside: the Trainer rotates what begins with `checkpoint-`, and nothing else.
ASIDE = "last-good-"


def doomed(checkpoints: Iterable[Checkpoint], limit: int | None, kept: Collection[str | None] = ()) -> list[Checkpoint]:
    """The checkpoints that the Trainer will delete when it saves one more: the oldest beyond the limit, except those it keeps."""
    if limit is None or limit <= 0:
        return []
    known = [c for c in sorted(checkpoints, key=lambda c: c.step) if not Path(c.path).name.startswith(ASIDE)]
    others = [c for c in known if os.path.abspath(c.path) not in {os.path.abspath(k) for k in kept if k}]  # noqa: PTH100
    return others[: max(0, len(known) + 1 - limit)]


def put_aside(checkpoint: Checkpoint) -> Checkpoint:
    """Renames a checkpoint within its folder, which takes no time and no space; a copy made earlier stays what it is.

    Raises:
        OSError: the file system does not allow it.
    """
    path = Path(checkpoint.path)
    target = path.with_name(ASIDE + path.name)
    path.rename(target)
    return Checkpoint(checkpoint.step, str(target))
