"""Rasters behind an address: off unless asked for, told apart by content, complete in one object.

In: ``https://``, ``s3://``, ``gs://``, ``az://``, or GDAL's names for these (``/vsicurl/``, ``/vsis3/``, ...). Out:
``RemoteFile``, one object as it stood when it was looked at; its SHA-256. Rows are read by GDAL, in ranges; what GDAL
does not tell Python (size, ETag, the whole content) is asked with urllib and pyarrow. See docs/decisions/0107 to 0109.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from gis.errors import OptionInvalid, RasterInvalid, RasterUnreadable

SWITCH = "LIGHTPANEL_REMOTE"
"""Environment variable that allows addresses where no workspace does."""

GDAL_NAMES = {
    "https": "/vsicurl/https://", "http": "/vsicurl/http://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/",
}  # fmt: skip
"""Scheme -> what stands in its place in GDAL's name of the object."""

COPY = "or copy the file here and name the copy"

_FIXED = {
    # An open would otherwise list the folder, or ask for a dozen files beside this one (decision 0108).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # GDAL keeps parts of an object for as long as the process lives and never asks whether it changed.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
}
_DEFAULTS = {
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
}
"""Settings of GDAL that the environment may change."""

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0
_TRIES = 3
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters or more: C:// is a drive
_SECRET = re.compile(
    r"(?i)x-(amz|goog)-.*|sig|signature|.*token|awsaccesskeyid|googleaccessid|api_?key|policy|key-pair-id|password"
)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One object behind an address, as it stood when it was looked at; read like a ``Path`` by name and text."""

    url: str = field(repr=False)
    """Its address, signature included."""
    size: int
    """Bytes."""
    etag: str | None = None
    """The server's mark of this content, as it gives it."""
    modified: str | None = None
    """When the server says it was last changed, as it says it."""

    @property
    def name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def version(self) -> str | None:
        """What tells this content from another; None where the server says nothing that would."""
        return f"{self.etag or ''}|{self.modified or ''}" if self.etag or self.modified else None

    def __str__(self) -> str:
        """The address without its secrets: fit for messages and for the lineage."""
        parts = urlsplit(self.url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        open_ones = [(k, v) for k, v in pairs if not _SECRET.fullmatch(k)]
        if len(open_ones) == len(pairs):
            return self.url
        return parts._replace(query=urlencode(open_ones)).geturl()

    def sha256(self) -> str:
        """SHA-256 of the whole object, read once from end to end.

        Raises
        ------
        RasterUnreadable
            It cannot be reached, ends early, or is another one by now.
        """
        digest, done = hashlib.sha256(), 0
        with _reading(self.url, str(self)) as (stream, found):
            self._refuse_other(found)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
        if done != self.size:
            raise RasterUnreadable(
                f"the transfer ended after {done} of {self.size} bytes", where=self, mend=f"run again, {COPY}"
            )
        return digest.hexdigest()

    def refuse_changed(self) -> None:
        """Ask the server once more: what was read since is this object only if it still is.

        Raises
        ------
        RasterUnreadable
        """
        self._refuse_other(_look(self.url, str(self)))

    def _refuse_other(self, other: RemoteFile) -> None:
        if (self.size, self.version) != (other.size, other.version):
            raise RasterUnreadable(
                f"the object was replaced while it was read: {self.size} bytes then, {other.size} now",
                where=self,
                mend="run again: every number is made from the new one",
            )


RasterPath = Path | RemoteFile
"""Where a raster is."""


def is_address(name: object) -> bool:
    """Whether a raster's name is an address or one of GDAL's virtual names; a ``Path`` never is."""
    return isinstance(name, str) and (name.startswith("/vsi") or _SCHEME.match(name) is not None)


def remote_file(name: str, *, allowed: bool | None = None) -> RemoteFile:
    """Look at an object: whether it is there, how large, in which version.

    Parameters
    ----------
    allowed : whether addresses may be read; None asks the environment variable ``LIGHTPANEL_REMOTE``.

    Raises
    ------
    OptionInvalid
        Addresses are off; or this is none that can be read.
    RasterUnreadable
        There is no such object, access is refused, the host cannot be reached, or it serves whole files only.
    """
    url = _url(name)
    shown = str(RemoteFile(url, 0))
    if not (os.environ.get(SWITCH) == "1" if allowed is None else allowed):
        raise OptionInvalid(
            "reading over the network is off",
            where=shown,
            mend=f"set remote = true under [compute] in workspace.toml; without a workspace set {SWITCH}=1 in the "
            f"environment; {COPY}",
        )
    found = _look(url, shown)
    if found.size == 0:
        raise RasterUnreadable("the object is empty (0 bytes)", where=shown, mend="upload it again at its source")
    return found


def refuse_parts_beside(file: RemoteFile) -> None:
    """Refuse an object beside which lies one that GDAL would take numbers from, were both on a disk.

    Raises
    ------
    RasterInvalid
    """
    address, question, query = file.url.partition("?")
    for ending in (".aux.xml", ".msk"):
        with suppress(RasterUnreadable):
            beside = _look(f"{address}{ending}{question}{query}", str(file), quick=True)
            raise RasterInvalid(
                f"{beside.name} lies beside it, which may change its scale, its no data or its place; over the "
                "network one object is read and nothing beside it",
                where=file,
                mend="copy both here and name the copy, or write one complete file: gdal_translate -of COG",
            )


def gdal_name(path: RasterPath) -> str | Path:
    """What GDAL calls a file or an object."""
    if not isinstance(path, RemoteFile):
        return path
    url = _quoted(path.url) if path.url.startswith("http") else path.url
    scheme, _, rest = url.partition("://")
    return GDAL_NAMES[scheme] + rest


@contextmanager
def gdal_env(path: RasterPath) -> Iterator[None]:
    """GDAL's environment for a file; for an object behind an address, with settings that make it read ranges of it."""
    import rasterio

    options = {}
    if isinstance(path, RemoteFile):
        options = _FIXED | {name: os.environ.get(name, value) for name, value in _DEFAULTS.items()}
    with rasterio.Env(**options):
        yield


def _quoted(url: str) -> str:
    """An address as it goes over the wire: spaces and letters beyond ASCII escaped, what is escaped left alone."""
    return quote(url, safe=":/?#[]@!$&'()*+,;=%~")


def _url(name: str) -> str:
    """The one spelling of an address that has several."""
    for scheme, start in GDAL_NAMES.items():
        if name.startswith(start):
            name = f"{scheme}://{name.removeprefix(start)}"
    found = _SCHEME.match(name)
    scheme = found[1].lower() if found else ""
    if scheme not in GDAL_NAMES:
        raise OptionInvalid(
            f"no address of a kind that is read: {name.partition('?')[0]}",
            mend=f"one that begins with {', '.join(f'{s}://' for s in GDAL_NAMES)}, {COPY}",
        )
    url = f"{scheme}{name[len(scheme) :]}"
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise OptionInvalid(
            "a password stands in the address, and addresses are written into the lineage",
            where=parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl(),
            mend=f"use a signed address, {COPY}",
        )
    if PurePosixPath(parts.path).suffix.lower() in (".zip", ".gz"):
        raise OptionInvalid(
            "an archive cannot be read in parts",
            where=str(RemoteFile(url, 0)),
            mend="copy it into rasters/: it is unpacked there once",
        )
    return url


# --- asking -----------------------------------------------------------------------------------------------------------


def _look(url: str, shown: str, *, quick: bool = False) -> RemoteFile:
    if not url.startswith("http"):
        with _opened_object(url, shown) as (_, found):
            return found
    with _answer(url, shown, {"Range": "bytes=0-0"}, tries=1 if quick else _TRIES) as answer:
        kind = answer.headers.get_content_type()
        total = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
        if answer.status == 206 and total.isdigit():
            if quick and kind == "text/html":  # a server that has a page for every address
                raise RasterUnreadable("a page, not a file", where=shown)
            return RemoteFile(url, int(total), answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
    what = "the answer is a web page, not a raster" if kind == "text/html" else "the server sends whole files only"
    raise RasterUnreadable(what, where=shown, mend=f"check the address, {COPY}")


@contextmanager
def _reading(url: str, shown: str) -> Iterator[tuple[IO[bytes], RemoteFile]]:
    """The whole object as a stream, and which one it is."""
    if not url.startswith("http"):
        with _opened_object(url, shown) as opened:
            yield opened
        return
    with _answer(url, shown, {}) as answer:
        headers = answer.headers
        found = RemoteFile(url, int(headers.get("Content-Length", -1)), headers.get("ETag"), headers["Last-Modified"])
        try:
            yield answer, found
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, RasterUnreadable):
                raise
            raise RasterUnreadable(
                f"the transfer broke off: {error}", where=shown, mend=f"run again, {COPY}"
            ) from error


def _answer(url: str, shown: str, headers: dict[str, str], *, tries: int = _TRIES) -> Any:
    """Open an ``http(s)://`` address; a busy server is asked again."""
    headers = {"User-Agent": "lightpanel", "Accept-Encoding": "identity"} | headers
    request = urllib.request.Request(_quoted(url), headers=headers)
    for left in range(tries - 1, -1, -1):
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # not even one byte
                raise RasterUnreadable(
                    "the object is empty (0 bytes)", where=shown, mend="upload it again at its source"
                ) from None
            if not left or error.code not in (429, 500, 502, 503, 504):
                raise _refusal(error.code, shown) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if not left or not isinstance(reason, TimeoutError):
                raise _unreachable(url, shown, reason) from error
        time.sleep(_TRIES - left)
    raise AssertionError("the last try returns or raises")


def _refusal(code: int, shown: str) -> RasterUnreadable:
    if code in (404, 410):
        return RasterUnreadable(
            f"there is no such object (HTTP {code})",
            where=shown,
            mend="check the address; in workspace.toml the keys files and years",
        )
    if code in (401, 403):
        return RasterUnreadable(
            f"access is refused (HTTP {code})",
            where=shown,
            mend=f"check the name and your rights; a signed address may have expired; {COPY}",
        )
    return RasterUnreadable(f"the server answers HTTP {code}", where=shown, mend=f"try again later, {COPY}")


def _unreachable(url: str, shown: str, reason: object) -> RasterUnreadable:
    return RasterUnreadable(
        f"{urlsplit(url).netloc} cannot be reached: {reason}",
        where=shown,
        mend=f"check the address and the network (behind a proxy set HTTPS_PROXY), {COPY}",
    )


@contextmanager
def _opened_object(url: str, shown: str) -> Iterator[tuple[Any, RemoteFile]]:
    """An object of a bucket, with the credentials of the environment."""
    parts = urlsplit(url)
    try:
        with _bucket_system(parts.scheme).open_input_file(f"{parts.netloc}{parts.path}") as stream:
            facts = {k.lower(): v.decode() for k, v in stream.metadata().items()}
            yield stream, RemoteFile(url, stream.size(), facts.get("etag"), facts.get("last-modified"))
    except FileNotFoundError:
        raise _refusal(404, shown) from None
    except PermissionError:
        raise _refusal(403, shown) from None
    except OSError as error:
        if isinstance(error, RasterUnreadable):
            raise
        # pyarrow gives S3's own errors as OSError with the status in the text
        if "ACCESS_DENIED" in str(error) or "HTTP status 403" in str(error):
            raise _refusal(403, shown) from None
        raise _unreachable(url, shown, error) from error


def _bucket_system(scheme: str) -> Any:
    """File system of a scheme in pyarrow, set up by the variables that GDAL reads."""
    from pyarrow import fs

    def on(name: str) -> bool:
        return os.environ.get(name, "").upper() in ("YES", "TRUE", "ON", "1")

    if scheme == "gs":
        return fs.GcsFileSystem(anonymous=on("GS_NO_SIGN_REQUEST"))
    if scheme == "az":
        return fs.AzureFileSystem(os.environ.get("AZURE_STORAGE_ACCOUNT", ""))
    endpoint = os.environ.get("AWS_S3_ENDPOINT")
    return fs.S3FileSystem(
        anonymous=on("AWS_NO_SIGN_REQUEST"),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_override=endpoint,
        scheme="http" if os.environ.get("AWS_HTTPS", "").upper() in ("NO", "FALSE", "OFF", "0") else "https",
        force_virtual_addressing=endpoint is not None and on("AWS_VIRTUAL_HOSTING"),
        request_timeout=_TIMEOUT_S,
        connect_timeout=20,
    )
