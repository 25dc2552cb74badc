"""What kept us from a remote place, in one line that says what to do; the packages that reach it have errors of their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from urllib.parse import urlsplit

from lossdoctor.remote.address import Address

#: Protocol → what is to be installed; it brings along what else it needs.
PACKAGES = {
    "hf": "huggingface_hub",
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("http", "https"), "fsspec aiohttp"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    **dict.fromkeys(("ssh", "sftp"), "fsspec paramiko"),
}
LOG_IN = {
    "hf": "log in with hf auth login, or set HF_TOKEN",
    **dict.fromkeys(("s3", "s3a"), "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    **dict.fromkeys(("gs", "gcs"), "log in with gcloud auth application-default login"),
}
_UNREACHABLE = (
    *("ConnectError", "ConnectionError", "ConnectionRefusedError", "ClientConnectorError", "ClientConnectionError", "gaierror"),
    *("EndpointConnectionError", "ServerDisconnectedError", "RemoteProtocolError", "ReadError", "ClientConnectorDNSError"),
    *("ConnectionResetError", "NewConnectionError", "MaxRetryError", "ConnectionClosedError"),
)
_SLOW = ("ConnectTimeout", "ReadTimeout", "TimeoutException", "TimeoutError", "ServerTimeoutError", "ConnectTimeoutError")


def missing(address: Address, error: ImportError) -> str:
    """Which package is missing, and how to get it."""
    packages = PACKAGES.get(address.protocol) or _asked_for(address.protocol, error)
    name = packages.split()[-1] if importlib.util.find_spec("fsspec") else packages.split()[0]
    if importlib.util.find_spec(name) is not None:  # it is there, and broken
        return f"{address.given}: the package {name} cannot be loaded: {_first_line(error)}"
    return f"{address.given}: reading {address.protocol}:// takes the package {name}: pip install {packages}"


def _asked_for(protocol: str, error: ImportError) -> str:
    """What an import asked for in vain; fsspec names the package of a protocol."""
    if importlib.util.find_spec("fsspec") is None:
        return "fsspec"
    from fsspec.registry import known_implementations

    known = str(known_implementations.get(protocol, {}).get("class", protocol)).partition(".")[0]
    lacking = next((one.name for one in _chain(error) if isinstance(one, ModuleNotFoundError) and one.name), known)
    return f"fsspec {lacking.partition('.')[0]}" if known == "fsspec" else known


def complaint(address: Address, error: BaseException, name: str = "") -> str:
    """The line for an error of a package, by its class or its HTTP status anywhere in its chain."""
    name = name or address.given
    chain = list(_chain(error))
    kinds = {base.__name__ for one in chain for base in type(one).__mro__}
    status = next((code for one in chain if (code := _status(one))), 0)
    if "ValueError" in kinds and "protocol not known" in str(error).lower():
        return f"{name}: {address.protocol}:// is no protocol that fsspec knows; hf://, s3://, gs:// and https:// are usual"
    if "OfflineModeIsEnabled" in kinds:
        return f"{name}: HF_HUB_OFFLINE keeps huggingface_hub from the network; unset it"
    if "GatedRepoError" in kinds:
        return f"{name}: the repository is gated: ask for access on its page, then {LOG_IN['hf']}"
    if "RevisionNotFoundError" in kinds:
        return f"{name}: the repository has no such revision"
    if "RepositoryNotFoundError" in kinds:
        return f"{name}: there is no such repository, or it is private: {LOG_IN['hf']}"
    if status in (401, 403) or kinds & {"PermissionError", "NoCredentialsError", "LocalTokenNotFoundError"}:
        how = LOG_IN.get(address.protocol, "it takes a password or a key")
        return f"{name} may not be read{f' (HTTP {status})' if status else ''}: {how}"
    if kinds & set(_SLOW):
        return f"{name}: {_host(address)} does not answer; is there a network?"
    if kinds & set(_UNREACHABLE):
        return f"{name}: {_host(address)} cannot be reached; is there a network?"
    if status == 404 or kinds & {"FileNotFoundError", "EntryNotFoundError", "NotADirectoryError"}:
        return f"{name}: no such file or folder there"
    if status:
        return f"{name}: {_host(address)} answers with HTTP status {status}"
    return f"{name}: {type(error).__name__}: {_first_line(error).replace(address.path, address.given)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int:
    """The HTTP status, where an error has one: requests and httpx keep the response, aiohttp the status, botocore a mapping."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None) or getattr(error, "status", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 400 <= found < 600 else 0


def _host(address: Address) -> str:
    if address.web:
        return urlsplit(address.given).netloc
    return {"hf": "the Hub", "s3": "S3", "s3a": "S3", "gs": "Google Storage", "gcs": "Google Storage"}.get(address.protocol, "it")


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
