"""Archives unpacked once, and content hashes computed once.

In: ``.zip`` and ``.gz`` files as downloaded; any file or ESRI GRID folder. Out: plain files in the cache, named
by the content of their archive; SHA-256 of files. Nothing is read through GDAL's ``/vsizip/``: there each block costs
a pass through the archive, and two programs can disagree about which member they read.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from gis.errors import RasterUnreadable, WriteFailed
from gis.raster_io import RasterPath, RemoteFile

ARCHIVES = (".zip", ".gz")
"""Endings that are unpacked before reading."""

_CHUNK = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether a file must be unpacked before it can be read."""
    return path.suffix.lower() in ARCHIVES


def unpack(archive: Path, cache: Path) -> list[Path]:
    """Unpack a ``.zip`` or ``.gz`` into the cache, once; a second call finds what the first made.

    Parameters
    ----------
    cache : folder, made when it is missing; the content goes to ``<cache>/unpacked/<sha256 of the archive>/``.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    RasterUnreadable
        Missing, empty, damaged or encrypted; or a member would land outside the folder.
    WriteFailed
        The disk is full; nothing half-unpacked stays behind.
    """
    target = cache / "unpacked" / file_sha256(archive, cache)[:32]
    if not target.is_dir():
        _unpack_to(archive, target)
    return sorted(p for p in target.rglob("*") if p.is_file())


def _unpack_to(archive: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unpacking.", dir=target.parent))
    except OSError as error:
        raise WriteFailed(f"cannot write: {error}", where=target, mend="check the folder's rights and space") from error
    try:
        if archive.suffix.lower() == ".zip":
            _unzip(archive, temporary)
        else:
            with gzip.open(archive, "rb") as source:
                _save(source, temporary / archive.stem, archive)
        try:
            os.rename(temporary, target)
        except OSError:
            if not target.is_dir():  # otherwise another process was first: same archive, same content
                raise
    except OSError as error:
        if isinstance(error, (RasterUnreadable, WriteFailed)):
            raise
        raise WriteFailed(
            f"could not unpack: {error}", where=archive, mend="free some space in the workspace's .cache"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unzip(archive: Path, folder: Path) -> None:
    try:
        source = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise _damaged(archive, error) from error
    with source:
        for member in source.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                raise RasterUnreadable(
                    f"its member {member.filename!r} would be written outside the cache",
                    where=archive,
                    mend="do not trust this archive: download it again from its publisher",
                )
            if member.is_dir() or "__MACOSX" in name.parts:
                continue
            if member.flag_bits & 1:
                raise RasterUnreadable(
                    "the archive is encrypted", where=archive, mend="unpack it by hand beside it and name the file"
                )
            try:
                opened = source.open(member)
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise _damaged(archive, error) from error
            with opened:
                _save(opened, folder.joinpath(*name.parts), archive)


def _save(source: IO[bytes] | gzip.GzipFile, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as target:
        while True:
            try:
                chunk = source.read(_CHUNK)
            except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise _damaged(archive, error) from error
            if not chunk:
                return
            target.write(chunk)


def _damaged(archive: Path, error: Exception) -> RasterUnreadable:
    return RasterUnreadable(
        f"the archive is damaged: {error}", where=archive, mend="download it again; its size should equal the source's"
    )


def file_sha256(path: RasterPath, cache: Path | None = None) -> str:
    """SHA-256 of a file's content, of an object's behind an address, or of an ESRI GRID folder's files and their names.

    Parameters
    ----------
    cache : folder, optional
        Where hashes are remembered under path, size and modification time (ns), for an object under address, size,
        ETag and modification time; several processes may share it. An object with neither is read each time.

    Raises
    ------
    RasterUnreadable
        The file is missing or empty, or cannot be read.
    """
    if isinstance(path, RemoteFile):
        return _remote_sha256(path, cache)
    if path.is_dir():
        parts = (f"{p.name} {file_sha256(p, cache)}" for p in sorted(path.iterdir()) if p.is_file())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    try:
        stat = path.stat()
    except OSError as error:
        raise RasterUnreadable("there is no such file", where=path, mend="check the name and the rights") from error
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    known = _recall(cache, key)
    if known is None:
        try:
            with open(path, "rb") as stream:
                known = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise RasterUnreadable(f"it cannot be read: {error}", where=path, mend="check its rights") from error
        _remember(cache, key, known)
    return known


def _remote_sha256(file: RemoteFile, cache: Path | None) -> str:
    if file.version is None:
        return file.sha256()
    key = (str(file), file.size, file.version)
    known = _recall(cache, key)
    if known is None:
        known = file.sha256()
        _remember(cache, key, known)
    return known


_Key = tuple[str, int, int | str]
"""Path, size, time or version; SQLite keeps a text in a column of integers as it is."""


def _recall(cache: Path | None, key: _Key) -> str | None:
    if cache is None or not (cache / "sha256.sqlite").exists():
        return None
    import sqlite3

    # The cache may be deleted at any time and is never needed: any trouble with it means hashing again.
    with suppress(sqlite3.Error), closing(sqlite3.connect(cache / "sha256.sqlite", timeout=30)) as memory:
        row = memory.execute("SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?", key).fetchone()
        return None if row is None else str(row[0])
    return None


def _remember(cache: Path | None, key: _Key, sha256: str) -> None:
    if cache is None:
        return
    import sqlite3

    table = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT)"
    with suppress(OSError, sqlite3.Error):
        cache.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache / "sha256.sqlite", timeout=30)) as memory, memory:
            memory.execute(table)
            memory.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (*key, sha256))
