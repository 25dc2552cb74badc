"""What is said to people, in their language: English as it stands in the code, others from the catalogues in `locale`.

The language of a process is the one that `use` was given, else that of the variable LOSSDOCTOR_LANG, else English. The locale of
the machine does not count: what a team reads of one run would differ from desk to desk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

VARIABLE = "LOSSDOCTOR_LANG"
DOMAIN = "lossdoctor"
FOLDER = Path(__file__).parent / "locale"
#: Languages by their codes, as they call themselves.
LANGUAGES = {"en": "English", "ko": "한국어"}


class Catalogue(Protocol):
    """What gettext's translations have."""

    def gettext(self, message: str, /) -> str: ...
    def ngettext(self, one: str, many: str, number: int, /) -> str: ...


def _as_it_is(words: str) -> str:
    return words


_code = "en"
_catalogue: Catalogue | None = None
_finish: Callable[[str], str] = _as_it_is
#: What LOSSDOCTOR_LANG asks for where nobody speaks it: the command line refuses it, a training tells of it once.
_not_spoken = ""


class UnknownLanguage(ValueError):
    """Nobody speaks it here; the text is one line for the user."""


def code_of(name: str) -> str:
    """`ko` for `ko`, `ko_KR.UTF-8` or `ko-KR`; nothing for nothing.

    Raises:
        UnknownLanguage: there is no such language here.
    """
    code = name.strip().lower().replace("-", "_").partition(".")[0].partition("_")[0]
    if code in ("c", "posix"):
        return "en"
    if code and code not in LANGUAGES:
        known = ", ".join(f"{known} ({called})" for known, called in LANGUAGES.items())
        raise UnknownLanguage(f"no such language: {name.strip()!r}; there are: {known}")
    return code


def use(name: str = "") -> None:
    """From here on this process speaks that language; without a name the one of LOSSDOCTOR_LANG, else English.

    Raises:
        UnknownLanguage: there is no such language here; nothing has changed.
    """
    global _code, _catalogue, _finish, _not_spoken
    code = code_of(name or os.environ.get(VARIABLE, "")) or "en"
    _not_spoken = ""
    if code == _code:
        return
    if code == "en":
        _code, _catalogue, _finish = code, None, _as_it_is
        return
    import gettext  # costs a start-up, and English has no need of it

    with (FOLDER / code / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as file:
        found = gettext.GNUTranslations(file)
    from lossdoctor.korean import particles

    _code, _catalogue, _finish = code, found, particles


def _begin() -> None:
    """The language of the variable; one that nobody speaks is kept for whoever can say so, since an import harms nobody."""
    global _not_spoken
    try:
        use()
    except UnknownLanguage as error:
        _not_spoken = str(error)


def spoken() -> str:
    """The code of the language: `en`, `ko`."""
    return _code


def not_spoken() -> str:
    """Why LOSSDOCTOR_LANG was not followed, in a line; nothing where it was, or says nothing."""
    return _not_spoken


def later(words: str) -> str:
    """Marks a text that is no sentence yet: `say` translates it where it is said. Returns it as it is."""
    return words


def say(template: str, /, **values: Any) -> str:
    """A sentence or a part of one, translated and then filled in; a text without values may have braces."""
    if _catalogue is None:
        return template.format(**values) if values else template
    if not template:
        return template
    words = _catalogue.gettext(template)
    return _finish(words.format(**values) if values else words)


def plural(one: str, many: str, number: float, /, **values: Any) -> str:
    """The same with a form for one and a form for any other number; the number itself is one of the values where it is told."""
    if _catalogue is None:
        return (one if number == 1 else many).format(**values)
    return _finish(_catalogue.ngettext(one, many, 1 if number == 1 else 2).format(**values))


def counted(number: int, what: str) -> str:
    """`1 row`, `2 rows`, `12,000 batches`."""
    ending = "es" if what.endswith(("tch", "sh", "s", "x")) else "s"
    return plural(f"{{number}} {what}", f"{{number}} {what}{ending}", number, number=f"{number:,}")


def listed(words: list[str] | tuple[str, ...]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return say("{others} and {last}", others=", ".join(words[:-1]), last=words[-1])


def capital(words: str) -> str:
    """With a capital, where the language has any: in Korean `fp16` at the beginning of a sentence stays as it is."""
    return words[:1].upper() + words[1:] if _catalogue is None else words


_begin()
