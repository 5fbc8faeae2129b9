"""Rasters behind an address, from a server on this machine: equal to the file, in parts, refused unless allowed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

import gis
from gis import zonal_stats
from gis.crs import crs_from
from gis.demo import write_demo
from gis.errors import ConfigInvalid, OptionInvalid, RasterInvalid, RasterUnreadable
from gis.grid import Grid
from gis.raster_io import open_raster, read_info, remote_file, write_raster
from gis.raster_io.remote import RemoteFile, gdal_name, is_address
from gis.rasters.archive import file_sha256

WGS84 = crs_from("EPSG:4326")


@dataclass
class Site:
    """A folder served on 127.0.0.1, byte ranges included, as an object store serves it."""

    folder: Path
    port: int = 0
    sent: int = 0
    """Bytes of content sent."""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path, status."""
    status: dict[str, int] = field(default_factory=dict)
    """File name -> HTTP status to answer with."""
    ranges: bool = True
    marks: bool = True
    """Whether ETag is sent."""
    cut: int | None = None
    """Close the connection after so many bytes of a whole file."""
    kind: str = "image/tiff"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            name = unquote(self.path.partition("?")[0].lstrip("/"))
            path = site.folder / name
            code = site.status.get(name, 200 if path.is_file() else 404)
            if self.command == "HEAD" and "Signature" in self.path:
                code = 403
            data = path.read_bytes() if code == 200 else b"<html>no</html>"
            first, last = 0, len(data) - 1
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if code == 200 and asked and site.ranges:
                first, last, code = int(asked[1]), min(int(asked[2] or last), last), 206
                if first > last:
                    code, data, first, last = 416, b"", 0, -1
            site.requests.append((self.command, self.path, code))
            self.send_response(code)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Content-Type", site.kind if code < 300 else "text/html")
            if code == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                self.send_header("Accept-Ranges", "bytes")
            if code < 300 and site.marks:
                self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
            part = data[first : last + 1]
            if code == 200 and site.cut is not None:
                part, self.close_connection = part[: site.cut], True
            site.sent += len(part) if body and code < 300 else 0  # before the reader has the answer and looks
            self.end_headers()
            if body:
                self.wfile.write(part)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # readers hang up when they have seen enough
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTPANEL_REMOTE", "1")


def lights(path: Path, *, side: int = 600, seed: int = 1) -> Path:
    """A COG of noise (which does not compress), 256-cell tiles."""
    values = np.random.default_rng(seed).random((side, side), np.float32) * 60
    grid = Grid((side, side), Affine(0.01, 0, 110, 0, -0.01, 36), WGS84)
    return write_raster(path, values, grid, dtype="float32", blocksize=256)


def zones(*boxes: tuple[float, float, float, float]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=[shapely.box(*b) for b in boxes], crs="EPSG:4326")


TWO = ((110.205, 34.013, 113.007, 35.507), (113.007, 31.1, 115.55, 35.507))
EVERY = "count,sum,mean,min,max,variance,median,gini"


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_an_address_gives_the_same_bits_as_the_file(site: Site, allowed: None) -> None:
    path = lights(site.folder / "a.tif")
    by_path, by_url = zonal_stats(path, zones(*TWO), EVERY), zonal_stats(site.url("a.tif"), zones(*TWO), EVERY)
    pd.testing.assert_frame_equal(by_path, by_url, check_exact=True)


@pytest.mark.parametrize("name", ["夜间灯光_2019.tif", "a b.tif"])
def test_names_beyond_ascii_are_addresses_too(site: Site, allowed: None, name: str) -> None:
    path = lights(site.folder / name)
    by_path, by_url = zonal_stats(path, zones(*TWO), "sum"), zonal_stats(site.url(name), zones(*TWO), "sum")
    pd.testing.assert_frame_equal(by_path, by_url, check_exact=True)


def test_weights_may_lie_behind_an_address(site: Site, allowed: None) -> None:
    values, people = lights(site.folder / "a.tif"), lights(site.folder / "p.tif", seed=2)
    by_path = zonal_stats(values, zones(*TWO), "weighted_mean", weights=people)
    by_url = zonal_stats(site.url("a.tif"), zones(*TWO), "weighted_mean", weights=site.url("p.tif"))
    pd.testing.assert_frame_equal(by_path, by_url, check_exact=True)


def test_a_small_zone_moves_a_small_part(site: Site, allowed: None) -> None:
    path = lights(site.folder / "big.tif", side=1500)
    small = zones((110.3, 35.6, 110.5, 35.8))
    found = zonal_stats(site.url("big.tif"), small, "mean")
    assert found["mean"][0] == zonal_stats(path, small, "mean")["mean"][0]
    assert site.sent < 0.25 * path.stat().st_size  # one strip of 512 rows by one tile of 256 columns, of 1500 x 1500


def test_nothing_beside_the_object_is_searched_but_what_would_change_numbers(site: Site, allowed: None) -> None:
    lights(site.folder / "a.tif")
    read_info(site.url("a.tif"))
    assert {path for _, path, _ in site.requests} == {"/a.tif", "/a.tif.aux.xml", "/a.tif.msk"}


def test_the_command_takes_addresses(site: Site, allowed: None, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from gis.cli import app

    path = lights(site.folder / "a.tif")
    layer = tmp_path / "z.gpkg"
    zones(*TWO).to_file(layer)
    outs = []
    for name, raster in (("p.csv", str(path)), ("u.csv", site.url("a.tif"))):
        args = ["zonal", raster, "-z", str(layer), "-o", str(tmp_path / name), "--quiet", "-w", raster]
        result = CliRunner().invoke(app, [*args, "-s", "sum,weighted_mean"])
        assert result.exit_code == 0, result.output
        outs.append((tmp_path / name).read_bytes())
    assert outs[0] == outs[1]


def test_a_signed_address_is_read_by_get_alone_and_shown_without_its_signature(site: Site, allowed: None) -> None:
    path = lights(site.folder / "a.tif")
    info = read_info(site.url("a.tif?X-Amz-Signature=abc&v=2"))
    with open_raster(info) as handle:
        rows = handle.read_rows(0, 600)
    with open_raster(read_info(path)) as handle:
        assert np.array_equal(rows, handle.read_rows(0, 600))
    assert str(info.path) == site.url("a.tif?v=2")
    assert "abc" not in repr(info)


# --- off --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["https://h.invalid/a.tif", "s3://b/a.tif", "/vsis3/b/a.tif", "gs://b/a.tif", "az://c/a"]
)
def test_addresses_are_refused_unless_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIGHTPANEL_REMOTE", raising=False)
    with pytest.raises(OptionInvalid, match=r"mend:  set remote = true under \[compute\].*LIGHTPANEL_REMOTE=1"):
        read_info(name)
    with pytest.raises(OptionInvalid, match="network is off"):
        zonal_stats(name, zones(*TWO), "sum")


def test_off_asks_nothing_of_the_network(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lights(site.folder / "a.tif")
    monkeypatch.delenv("LIGHTPANEL_REMOTE", raising=False)
    with pytest.raises(OptionInvalid):
        read_info(site.url("a.tif"))
    monkeypatch.setenv("LIGHTPANEL_REMOTE", "1")
    with pytest.raises(OptionInvalid):  # a workspace decides for itself
        read_info(site.url("a.tif"), remote=False)
    assert site.requests == []
    assert read_info(site.url("a.tif"), remote=True).grid.shape == (600, 600)


def test_a_local_vrt_is_no_way_around(site: Site, allowed: None, tmp_path: Path) -> None:
    lights(site.folder / "a.tif")
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="600" rasterYSize="600"><SRS>EPSG:4326</SRS>'
        "<GeoTransform>110, 0.01, 0, 36, 0, -0.01</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f"<SourceFilename>/vsicurl/{site.url('a.tif')}</SourceFilename><SourceBand>1</SourceBand>"
        '<SourceProperties RasterXSize="600" RasterYSize="600" DataType="Float32" BlockXSize="256" BlockYSize="256"/>'
        '<SrcRect xOff="0" yOff="0" xSize="600" ySize="600"/><DstRect xOff="0" yOff="0" xSize="600" ySize="600"/>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(RasterInvalid, match="mend:  name that address itself"):
        read_info(vrt)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gdal", "shown"),
    [
        ("https://h/a%20b.tif", "/vsicurl/https://h/a%20b.tif", "https://h/a%20b.tif"),
        ("HTTPS://h/A.tif", "/vsicurl/https://h/A.tif", "https://h/A.tif"),
        ("/vsicurl/http://h/a.tif", "/vsicurl/http://h/a.tif", "http://h/a.tif"),
        ("s3://bucket/k/a.tif", "/vsis3/bucket/k/a.tif", "s3://bucket/k/a.tif"),
        ("/vsis3/bucket/k/a.tif", "/vsis3/bucket/k/a.tif", "s3://bucket/k/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif", "gs://bucket/a.tif"),
        ("az://container/a.tif", "/vsiaz/container/a.tif", "az://container/a.tif"),
    ],
)
def test_addresses_are_given_gdals_names(name: str, gdal: str, shown: str) -> None:
    from gis.raster_io.remote import _url

    file = RemoteFile(_url(name), 1)
    assert (gdal_name(file), str(file)) == (gdal, shown)


def test_paths_are_no_addresses() -> None:
    names = ["a.tif", "C:/a.tif", "C:\\a.tif", "c://a.tif", "./https/a.tif", "/data/vsicurl/a.tif", "\\\\host\\a.tif"]
    assert not any(map(is_address, names))
    assert not is_address(Path("https://h/a.tif"))


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("ftp://h/a.tif", "one that begins with https://, http://, s3://"),
        ("/vsizip/a.zip/a.tif", "one that begins with https://"),
        ("https://h/a.zip", "copy it into rasters/: it is unpacked there once"),
        ("https://me:pass@h/a.tif", "use a signed address"),
    ],
)
def test_other_addresses_are_refused(name: str, mend: str) -> None:
    with pytest.raises(OptionInvalid, match=f"mend:  {re.escape(mend)}") as caught:
        remote_file(name, allowed=True)
    assert "pass" not in str(caught.value).replace("password", "")


def test_an_address_as_a_path_says_so() -> None:
    with pytest.raises(RasterUnreadable, match="mend:  give an address as text"):
        read_info(Path("https://h.invalid/a.tif"))


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "mend"),
    [
        (404, "check the address; in workspace.toml the keys files and years"),
        (403, "check the name and your rights; a signed address may have expired"),
        (418, "try again later, or copy the file here"),
    ],
)
def test_refusals_of_the_server_say_what_to_do(site: Site, allowed: None, status: int, mend: str) -> None:
    lights(site.folder / "a.tif")
    site.status["a.tif"] = status
    with pytest.raises(RasterUnreadable, match=rf"HTTP {status}[\s\S]*mend:  {mend}"):
        read_info(site.url("a.tif"))


def test_a_busy_server_is_asked_again(site: Site, allowed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lights(site.folder / "a.tif")
    site.status["a.tif"] = 503
    monkeypatch.setattr("time.sleep", lambda seconds: site.status.clear())
    assert read_info(site.url("a.tif")).grid.shape == (600, 600)


def test_a_host_out_of_reach_says_so(allowed: None) -> None:
    with socket.socket() as held:  # bound and never listening: nobody else gets the port, connections are refused
        held.bind(("127.0.0.1", 0))
        with pytest.raises(RasterUnreadable, match="mend:  check the address and the network"):
            read_info(f"http://127.0.0.1:{held.getsockname()[1]}/a.tif")


def test_an_unknown_host_says_so(allowed: None) -> None:
    with pytest.raises(RasterUnreadable, match="mend:  check the address and the network"):
        read_info("http://no-such-host.invalid/a.tif")


def test_a_server_without_ranges_is_refused(site: Site, allowed: None) -> None:
    lights(site.folder / "a.tif")
    site.ranges = False
    with pytest.raises(RasterUnreadable, match=r"whole files only\n.*\n  mend:  check the address, or copy"):
        read_info(site.url("a.tif"))
    site.kind = "text/html"
    with pytest.raises(RasterUnreadable, match="a web page, not a raster"):
        read_info(site.url("a.tif"))


def test_an_object_cut_short_is_refused(site: Site, allowed: None) -> None:
    path = lights(site.folder / "a.tif")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(RasterUnreadable, match="mend:  download or copy the file again"):
        read_info(site.url("a.tif"))
    path.write_bytes(b"")
    with pytest.raises(RasterUnreadable, match="mend:  upload it again"):
        read_info(site.url("a.tif"))


def test_what_is_no_raster_is_refused(site: Site, allowed: None) -> None:
    (site.folder / "a.tif").write_bytes(b"no raster at all" * 100)
    with pytest.raises(RasterUnreadable, match="mend:  it is damaged or not a raster"):
        read_info(site.url("a.tif"))


@pytest.mark.parametrize("ending", [".aux.xml", ".msk"])
def test_files_that_would_change_numbers_beside_it_refuse_it(site: Site, allowed: None, ending: str) -> None:
    lights(site.folder / "a.tif")
    (site.folder / f"a.tif{ending}").write_bytes(b"<PAMDataset/>")
    with pytest.raises(RasterInvalid, match="mend:  copy both here"):
        read_info(site.url("a.tif"))


def test_an_object_replaced_while_it_is_read_is_refused(site: Site, allowed: None) -> None:
    lights(site.folder / "a.tif")
    info = read_info(site.url("a.tif"))

    def read_meanwhile() -> None:
        with open_raster(info) as handle:
            handle.read_rows(0, 10)
            lights(site.folder / "a.tif", seed=9)

    with pytest.raises(RasterUnreadable, match="mend:  run again"):
        read_meanwhile()


# --- content ----------------------------------------------------------------------------------------------------------


def test_its_hash_is_the_files_and_is_remembered_by_version(site: Site, tmp_path: Path) -> None:
    path, cache = lights(site.folder / "a.tif"), tmp_path / "cache"
    file = remote_file(site.url("a.tif"), allowed=True)
    assert file_sha256(file, cache) == file_sha256(path)
    site.sent = 0
    assert file_sha256(remote_file(site.url("a.tif"), allowed=True), cache) == file_sha256(path)
    assert site.sent == 1  # the byte that was asked for to learn the version
    lights(path, seed=2)
    assert file_sha256(remote_file(site.url("a.tif"), allowed=True), cache) == file_sha256(path)


def test_an_object_without_marks_is_read_each_time(site: Site, tmp_path: Path) -> None:
    path, cache = lights(site.folder / "a.tif"), tmp_path / "cache"
    site.marks = False
    for _ in range(2):
        site.sent = 0
        assert file_sha256(remote_file(site.url("a.tif"), allowed=True), cache) == file_sha256(path)
        assert site.sent == 1 + path.stat().st_size


def test_a_transfer_that_ends_early_is_no_hash(site: Site, tmp_path: Path) -> None:
    lights(site.folder / "a.tif")
    file = remote_file(site.url("a.tif"), allowed=True)
    site.cut = 1000
    with pytest.raises(RasterUnreadable, match="mend:  run again, or copy"):
        file_sha256(file, tmp_path / "cache")
    site.cut = None
    lights(site.folder / "a.tif", seed=3)
    with pytest.raises(RasterUnreadable, match="mend:  run again: every number"):
        file_sha256(file, tmp_path / "cache")


def test_a_changed_object_is_not_read_from_gdals_memory(site: Site, allowed: None) -> None:
    path, area = lights(site.folder / "a.tif"), zones(*TWO)
    first = zonal_stats(site.url("a.tif"), area, "sum")
    lights(path, seed=5)
    second = zonal_stats(site.url("a.tif"), area, "sum")
    assert not first.equals(second)
    pd.testing.assert_frame_equal(second, zonal_stats(path, area, "sum"), check_exact=True)


# --- a bucket ---------------------------------------------------------------------------------------------------------


def test_a_bucket_is_read_as_the_file_is(
    site: Site, allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server answers as S3 does to anonymous reading by path; signatures and regions are not tried."""
    (site.folder / "bucket").mkdir()
    path = lights(site.folder / "bucket" / "a.tif")
    for name, value in {
        "AWS_S3_ENDPOINT": f"127.0.0.1:{site.port}", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = zonal_stats("s3://bucket/a.tif", zones(*TWO), "sum")
    pd.testing.assert_frame_equal(found, zonal_stats(path, zones(*TWO), "sum"), check_exact=True)
    file = remote_file("s3://bucket/a.tif")
    assert file.etag is not None
    assert file_sha256(file, tmp_path / "cache") == file_sha256(path)
    with pytest.raises(RasterUnreadable, match="mend:  check the address"):
        read_info("s3://bucket/b.tif")
    site.status["bucket/a.tif"] = 403
    with pytest.raises(RasterUnreadable, match="mend:  check the name and your rights"):
        read_info("/vsis3/bucket/a.tif")


# --- a workspace ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_demo(tmp_path_factory.mktemp("demo") / "demo").root
    toml = root / "workspace.toml"
    text = toml.read_text(encoding="utf-8")
    assert "years = [2012, 2019]" in text
    toml.write_text(text.replace("years = [2012, 2019]", "years = [2017, 2019]", 1), encoding="utf-8")
    return root


def configure(folder: Path, lights_keys: str, *, remote: bool = True) -> None:
    path = folder / "workspace.toml"
    text = path.read_text(encoding="utf-8").replace("[lights]\n", f"[lights]\n{lights_keys}\n", 1)
    assert "[compute]" not in re.sub(r"(?m)^#.*$", "", text)
    path.write_text(text + ("\n[compute]\nremote = true\n" if remote else ""), encoding="utf-8")


@pytest.fixture
def far(demo: Path, site: Site, tmp_path: Path) -> Path:
    """The demo with its lights moved to the server, not yet configured."""
    folder = shutil.copytree(demo, tmp_path / "far", ignore=shutil.ignore_patterns("out", ".cache"))
    for source in sorted((folder / "rasters").glob("EANTLI*/*.tif")):
        shutil.move(source, site.folder / source.name)
    return folder


def pattern(site: Site) -> str:
    return f'files = "{site.url("EANTLI_like_{year}.tif")}"'


def test_a_run_with_lights_by_address_equals_the_run_by_path(demo: Path, far: Path, site: Site) -> None:
    configure(far, pattern(site))
    near = gis.run(demo)
    result = gis.run(far)
    for name in ("city_year", "district_year", "national_year"):
        pd.testing.assert_frame_equal(getattr(near, name), getattr(result, name), check_exact=True)
    pairs = [pd.read_parquet(folder / "out" / "pair_year.parquet") for folder in (demo, far)]
    pd.testing.assert_frame_equal(*pairs, check_exact=True)

    inputs = [i for i in json.loads((far / "out" / "lineage.json").read_bytes())["inputs"] if i["role"] == "lights"]
    assert len(inputs) == 3
    for made in inputs:
        data = (site.folder / f"EANTLI_like_{made['year']}.tif").read_bytes()
        told = (made["path"], made["size_bytes"], made["sha256"], made["etag"])
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        url = site.url(f"EANTLI_like_{made['year']}.tif")
        assert told == (url, len(data), hashlib.sha256(data).hexdigest(), etag)

    assert gis.run(far).summary == {}  # nothing was to do: the versions are the same
    other = site.folder / "EANTLI_like_2018.tif"
    shutil.copyfile(site.folder / "EANTLI_like_2017.tif", other)
    changed = gis.run(far).city_year
    before, after = (
        f.set_index(["city_code", "year"])["light_sum_dn_km2"].unstack() for f in (near.city_year, changed)
    )
    assert list(after.columns[(before != after).any()]) == [2018]
    assert after[2018].equals(after[2017].rename(2018))


@pytest.mark.parametrize("variable", ["0", "1"])
def test_a_workspace_alone_allows_its_addresses(
    far: Path, site: Site, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTPANEL_REMOTE", variable)
    configure(far, pattern(site), remote=False)
    with pytest.raises(OptionInvalid, match=r"mend:  set remote = true under \[compute\]"):
        gis.run(far)
    assert site.requests == []


def test_an_address_needs_the_years(far: Path, site: Site) -> None:
    configure(far, pattern(site))
    toml = far / "workspace.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("years = [2017, 2019]", "", 1), encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=r"mend:  write the name out with \{year\} in it, and set years"):
        gis.run(far)


def test_a_pattern_that_would_have_to_be_searched_is_refused(far: Path, site: Site) -> None:
    configure(far, f'files = "{site.url("*_{year}.tif")}"')
    with pytest.raises(ConfigInvalid, match=r"mend:  write the name out"):
        gis.run(far)


def test_a_year_that_is_not_there_stops_before_anything_is_read(far: Path, site: Site) -> None:
    configure(far, pattern(site))
    (site.folder / "EANTLI_like_2018.tif").unlink()
    with pytest.raises(RasterUnreadable, match=r"EANTLI_like_2018.tif\n  mend:  check the address; in workspace.toml"):
        gis.run(far)
    assert site.sent == 1  # one byte of the year before it
