"""What an agent needs to know to use lossdoctor: one page, SKILL.md, which lies beside this file and in every wheel."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lossdoctor.model import LossDoctorError

#: The name of the skill, which is that of its folder as well.
NAME = "lossdoctor"


def text() -> str:
    """The page as it is shipped."""
    return (files(__name__) / "SKILL.md").read_text(encoding="utf-8")


def install(folder: Path, *, replace: bool = False) -> tuple[Path, bool]:
    """Writes the page to `folder`/lossdoctor/SKILL.md, where agents look for it.

    Returns:
        The file, and whether it was written: one that says the same is left as it is.

    Raises:
        LossDoctorError: another file is there and `replace` is off, or the place cannot be written to.
    """
    path = folder / NAME / "SKILL.md"
    try:
        if path.exists() and path.read_bytes() == text().encode():
            return path, False
        if (path.exists() or path.is_symlink()) and not replace:
            raise LossDoctorError(f"{path} is there already and says something else; --replace overwrites it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise LossDoctorError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
    return path, True
