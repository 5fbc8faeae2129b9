"""Claims about archives: unpacked once, by content, whole or not at all; and about remembered hashes."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from gis.errors import RasterUnreadable, WriteFailed
from gis.rasters.archive import file_sha256, unpack


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_zip_is_unpacked_once_under_the_name_of_its_content(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a/b.tif": b"one", "c.tif": b"two", "__MACOSX/._c.tif": b"x"})
    cache = tmp_path / "cache"
    files = unpack(archive, cache)
    assert [f.read_bytes() for f in files] == [b"one", b"two"]
    files[0].write_bytes(b"touched")
    copy = tmp_path / "same content.zip"
    copy.write_bytes(archive.read_bytes())
    assert unpack(copy, cache) == files
    assert files[0].read_bytes() == b"touched"  # found, not made again
    other = make_zip(tmp_path / "a.zip", {"a/b.tif": b"three"})
    assert unpack(other, cache)[0].read_bytes() == b"three"


def test_gz_is_unpacked_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "VNL_2019.tif.gz"
    path.write_bytes(gzip.compress(b"lights"))
    (file,) = unpack(path, tmp_path / "cache")
    assert (file.name, file.read_bytes()) == ("VNL_2019.tif", b"lights")


def left_behind(cache: Path) -> list[str]:
    return [p.name for p in (cache / "unpacked").iterdir()]


@pytest.mark.parametrize("name", ["../evil.tif", "/evil.tif", "a/../../evil.tif", "..\\evil.tif", "C:\\evil.tif"])
def test_members_cannot_leave_the_cache(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"good.tif": b"x", name: b"evil"})
    with pytest.raises(RasterUnreadable, match="do not trust this archive"):
        unpack(archive, tmp_path / "cache")
    assert not list(tmp_path.rglob("*evil*"))
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize("cut", [0.3, 0.95])
def test_zip_cut_short(tmp_path: Path, cut: float) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.tif": os.urandom(5000)})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(RasterUnreadable, match="download it again"):
        unpack(archive, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_zip_with_a_flipped_bit(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.tif": os.urandom(5000)})
    whole = bytearray(archive.read_bytes())
    whole[2500] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(RasterUnreadable, match="download it again"):
        unpack(archive, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize("content", [b"not gzip at all", gzip.compress(os.urandom(5000))[:2000]])
def test_damaged_gz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif.gz"
    path.write_bytes(content)
    with pytest.raises(RasterUnreadable, match="download it again"):
        unpack(path, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_encrypted_zip(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.tif": b"secret"})
    whole = bytearray(archive.read_bytes())
    whole[6] |= 1  # the flag in the member's header, and its copy in the directory
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(whole)
    with pytest.raises(RasterUnreadable, match="unpack it by hand"):
        unpack(archive, tmp_path / "cache")


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(RasterUnreadable, match="check the name"):
        unpack(tmp_path / "a.zip", tmp_path / "cache")


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.tif": b"x"})
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(WriteFailed, match="check the folder's rights and space"):
        unpack(archive, tmp_path / "cache")


def test_hash_is_the_content_s(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 1000)
    assert file_sha256(path) == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_hash_is_remembered_until_size_or_time_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"old")
    stamp = path.stat().st_mtime_ns
    first = file_sha256(path, cache)
    path.write_bytes(b"new")
    os.utime(path, ns=(stamp, stamp))
    assert file_sha256(path, cache) == first  # same path, size and time: not read again
    os.utime(path, ns=(stamp + 1, stamp + 1))
    assert file_sha256(path, cache) == hashlib.sha256(b"new").hexdigest()


def test_a_damaged_memory_of_hashes_costs_time_only(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"abc")
    cache.mkdir()
    (cache / "sha256.sqlite").write_bytes(b"garbage" * 100)
    assert file_sha256(path, cache) == hashlib.sha256(b"abc").hexdigest()


def test_two_processes_share_the_cache(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.tif": os.urandom(200_000)})
    with ProcessPoolExecutor(2) as pool:
        runs = [pool.submit(unpack, archive, tmp_path / "cache") for _ in range(6)]
    assert len({tuple(run.result()) for run in runs}) == 1
    assert len(left_behind(tmp_path / "cache")) == 1


def test_hash_of_a_grid_folder_is_that_of_its_files_and_names(tmp_path: Path) -> None:
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "hdr.adf").write_bytes(content)
    a, b, c = (file_sha256(tmp_path / name) for name in "abc")
    assert a == b != c
    (tmp_path / "b" / "hdr.adf").rename(tmp_path / "b" / "sta.adf")
    assert file_sha256(tmp_path / "b") != a
