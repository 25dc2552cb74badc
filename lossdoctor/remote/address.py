"""What an address means: its protocol, and the path there. The Hub's web pages mean the files that they show."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lossdoctor.model import LossDoctorError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[^/]{0,200})?://")
HUB = ("huggingface.co", "www.huggingface.co", "hf.co")
#: Pages that show files, those that show a repository as a whole, and repositories that are not models.
_FILES, _WHOLE, _KINDS = ("tree", "blob", "resolve", "raw"), ("tensorboard", "main", "commits"), ("datasets", "spaces")
#: Protocols that unpack archives, wrap others or read what a file says: a log is not looked for in there.
_REFUSED = (
    *("zip", "tar", "libarchive", "reference", "blockcache", "cached", "filecache", "simplecache", "dir", "generic", "data"),
    *("asyncwrapper", "async_wrapper", "asynclocal", "local", "git", "dask", "ftp"),
)
_REPOSITORY = re.compile(
    r"(?!\.)[\w.-]{1,96}/(?!checkpoint-\d)(?!\.)[\w.-]{1,96}(?<!\.json)(?<!\.jsonl)(?<!\.log)(?<!\.txt)(?<!\.csv)"
)
_REFS = re.compile(r"@(refs/(?:pr|convert)/[^/]+)")


@dataclass(frozen=True)
class Address:
    """`given` is what the user wrote, without a password; `path` what the file system of the protocol takes."""

    given: str
    protocol: str
    path: str

    @property
    def web(self) -> bool:
        """Whether it is a file on a server that lists nothing."""
        return self.protocol in ("http", "https")

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part)

    @property
    def fixed(self) -> int:
        """How many of the parts name the repository, or the bucket: above that there is nothing to look at."""
        if self.protocol != "hf":
            return 1
        return 3 if self.parts[0] in (*_KINDS, "buckets") else 2


def is_address(path: object) -> bool:
    """Whether it is text with a protocol rather than a path; a letter alone is a drive of Windows."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def hint(path: Path) -> str:
    """What else a path may have meant that is not there: user/model is how the Hub names a repository."""
    name = path.as_posix()
    return f"; if it is a model on the Hub: hf://{name}" if _REPOSITORY.fullmatch(name) and not path.exists() else ""


def local(given: str) -> Path | None:
    """The path that a `file://` address means."""
    if not given.lower().startswith("file://"):
        return None
    from urllib.request import url2pathname  # brings the whole of HTTP along

    parts = urlsplit(given)
    host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
    return Path(url2pathname(host + parts.path))


def parse(given: str) -> Address:
    """The address in a text.

    Raises:
        LossDoctorError: it is none, or one that is not read.
    """
    protocol, sign, rest = given.partition("://")
    protocol = protocol.lower()
    if "::" in protocol or not sign or protocol in _REFUSED:
        name = protocol.partition("::")[0]
        raise LossDoctorError(f"{given}: logs are not read through {name}; the address of the log itself was expected")
    shown, path = given, rest.rstrip("/")
    if protocol in ("http", "https"):
        parts = urlsplit(given)
        if parts.netloc.lower() in (*HUB, urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc.lower()):
            protocol, path = "hf", _on_the_hub(given, parts.path)
        else:  # what comes after a file's name, or before the host, may be a password
            shown, path = f"{protocol}://{parts.netloc.rpartition('@')[2]}{parts.path}", given
    if protocol == "hf":
        path = _REFS.sub(lambda found: "@" + quote(found[1], safe=""), path, count=1)
    names = path.split("/")
    if not path or ".." in names or "." in names or "\0" in path:
        raise LossDoctorError(f"{given} is no address of a file or a folder, such as hf://user/model or s3://bucket/folder")
    if "*" in path and protocol not in ("http", "https"):
        raise LossDoctorError(f"{given}: patterns are for local files; remote ones are named one by one")
    address = Address(shown, protocol, path)
    if protocol == "hf" and len(address.parts) < address.fixed:
        raise LossDoctorError(f"{given} names no repository; hf://user/model was expected, or hf://datasets/user/name")
    return address


def _on_the_hub(given: str, path: str) -> str:
    """The path of a web page: user/model[/tree/revision[/path]], where a revision is one part, or `refs/pr/1`."""
    parts = [part for part in path.split("/") if part]
    kind = parts[:1] if parts[:1] and parts[0] in _KINDS else []
    names, rest = parts[len(kind) : len(kind) + 2], parts[len(kind) + 2 :]
    if len(names) < 2:
        raise LossDoctorError(f"{given} names no repository; https://huggingface.co/user/model was expected")
    if not rest or rest[0] in _WHOLE:
        return "/".join(kind + names)
    if rest[0] not in _FILES or len(rest) < 2:
        raise LossDoctorError(f"{given} is a page without files; https://huggingface.co/{'/'.join(kind + names)} has them")
    length = 3 if rest[1] == "refs" and len(rest) > 3 else 1
    revision = quote(unquote("/".join(rest[1 : 1 + length])), safe="")
    inside = [unquote(part) for part in rest[1 + length :]]
    return "/".join([*kind, names[0], f"{names[1]}@{revision}", *inside])
