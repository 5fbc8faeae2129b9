"""Claims about the raster doctor: its counts are the definition's, and each fault is found and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import RasterInvalid, RasterUnreadable
from gis.raster_io import CellRules, is_data, read_info
from gis.rasters.catalogue import PRODUCTS, rules_for
from gis.rasters.doctor import RasterReport, examine, require_usable
from gis.workspace import RasterSource


def make(path: Path, values: Any, **profile: Any) -> Path:
    array = np.asarray(values)
    told = {
        "driver": "GTiff", "count": 1, "dtype": array.dtype, "crs": "EPSG:4326", "height": array.shape[0],
        "width": array.shape[1], "transform": Affine(0.01, 0, 100, 0, -0.01, 40), **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **told) as target:
        target.write(array, 1)
    return path


def report_of(path: Path, product: str, **more: Any) -> RasterReport:
    source, profile = RasterSource(product=product, **more), PRODUCTS[product]
    info = read_info(path)
    return examine(info, rules_for(profile, source, info), quantity=profile.quantity)


def found(report: RasterReport, severity: str) -> str:
    return "\n".join(f"{f.what} | {f.mend}" for f in report.findings if f.severity == severity)


CELLS = [0.0, 1.0, 2.5, -0.5, -9999.0, 63.0, -3.4e38, float("nan"), 7.0]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(CELLS), min_size=1, max_size=24), st.sampled_from([None, -9999.0, 0.0, float("nan")]))
def test_counts_are_those_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, cells: list[float], nodata: float | None
) -> None:
    path = make(tmp_path_factory.mktemp("doctor") / "a.tif", np.array([cells], np.float32), nodata=nodata)
    got = report_of(path, "npp_viirs_like")
    told = [c for c in cells if (c != c if nodata is not None and nodata != nodata else c == nodata)]
    nan = [c for c in cells if c != c and not (nodata is not None and nodata != nodata)]
    valid = [c for c in cells if c == c and c > -1e30 and c != nodata]
    assert (got.n_cells, got.n_valid, got.n_declared_nodata) == (len(cells), len(valid), len(told))
    assert got.n_nan == len(nan)
    assert got.n_other_fill == len(cells) - len(valid) - len(told) - len(nan)
    assert got.n_negative == sum(c < 0 for c in valid)
    assert got.total == sum(valid)  # halves and integers: exact
    assert got.negative_total == sum(c for c in valid if c < 0)
    if valid:
        assert (got.minimum, got.maximum) == (min(valid), max(valid))
        lit = [c for c in valid if c > 0]
        if lit:
            assert got.share_at_max == lit.count(max(lit)) / len(lit)
    else:
        assert np.isnan(got.minimum)
        assert not got.is_usable


def test_strips_are_counted_once(tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 64, (1300, 20)).astype("uint8")
    got = report_of(make(tmp_path / "a.tif", values), "harmonized_dmsp_viirs")
    assert (got.n_valid, got.total) == (26_000, int(values.sum(dtype=int)))
    assert got.share_at_max == (values == 63).sum() / (values > 0).sum()


def test_fill_that_disagrees_with_the_declared_nodata(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[-3.4e38, 5.0, 7.0]], "float32"), nodata=0)
    got = report_of(path, "gpw")
    assert (got.n_valid, got.total, got.n_other_fill, got.n_declared_nodata) == (2, 12.0, 1, 0)
    assert "1 cells hold fill values other than the declared nodata (0 is declared)" in found(got, "warning")
    assert "occurs nowhere" in found(got, "warning")
    assert "gdal_edit.py -a_nodata VALUE" in found(got, "warning")
    assert got.is_usable


def test_nan_that_is_not_declared(tmp_path: Path) -> None:
    values = np.array([[np.nan, 5.5, 7.0]], "float32")
    got = report_of(make(tmp_path / "a.tif", values), "npp_viirs_like")
    assert "1 cells are NaN, which is not declared as nodata | they count as no data" in found(got, "warning")
    assert found(report_of(make(tmp_path / "b.tif", values, nodata=np.nan), "npp_viirs_like"), "warning") == ""


def test_negative_counts_are_counted_and_named(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[-200, -200, 30, 40]], "int16"))
    got = report_of(path, "ghs_pop")
    assert (got.n_negative, got.negative_total) == (2, -400)
    assert "2 cells hold negative counts, -400 in all (policy: nan) | if they are a fill value, add it" in found(
        got, "warning"
    )
    declared = report_of(path, "ghs_pop", nodata=-200)
    assert (declared.n_negative, declared.n_other_fill, declared.total) == (0, 2, 70)
    assert report_of(path, "landscan").n_negative == 0  # below zero is no data there


def test_negative_radiance_is_noise(tmp_path: Path) -> None:
    got = report_of(make(tmp_path / "a.tif", np.array([[-0.5, 3.25]], "float32")), "viirs_annual")
    assert "1 cells are below zero, down to -0.5" in found(got, "info")
    assert found(got, "warning") == ""


def test_values_outside_the_product_s_range_are_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[0, 30, 255]], "uint8"))
    got = report_of(path, "harmonized_dmsp_viirs")
    assert not got.is_usable
    with pytest.raises(RasterInvalid, match=r"0 to 255[\s\S]*a\.tif[\s\S]*or add the fill value to nodata"):
        require_usable(got)
    require_usable(report_of(path, "harmonized_dmsp_viirs", nodata=255))


def test_raster_without_data_is_an_error(tmp_path: Path) -> None:
    got = report_of(make(tmp_path / "a.tif", np.full((3, 3), -9999, "int32"), nodata=-9999), "landscan")
    with pytest.raises(RasterInvalid, match=r"no cell holds data[\s\S]*check the band"):
        require_usable(got)


@pytest.mark.parametrize(
    ("values", "product", "what"),
    [
        (np.full((3, 3), 4.0, "float32"), "npp_viirs_like", "every valid cell is 4"),
        (np.array([[0, 1, 1]], "uint8"), "worldpop", "counts are 0 and 1 only"),
        (np.array([[0, 0.25, 0.5]], "float32"), "worldpop", "share or a density"),
        (np.array([[0, 0.25, 1.0]], "float32"), "npp_viirs_like", "normalised or in percent"),
    ],
)
def test_rasters_that_look_like_something_else(tmp_path: Path, values: np.ndarray, product: str, what: str) -> None:
    assert what in found(report_of(make(tmp_path / "a.tif", values), product), "warning")


def test_declared_zero_makes_darkness_unknown(tmp_path: Path) -> None:
    got = report_of(make(tmp_path / "a.tif", np.array([[0, 0, 2.5, 9]], "float32"), nodata=0), "npp_viirs_like")
    assert "2 dark cells count as unknown" in found(got, "warning")
    assert "gdal_edit.py -unsetnodata" in found(got, "warning")


def test_errors_come_first(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[-5, np.nan, 255]], "float32"), nodata=0)
    severities = [f.severity for f in report_of(path, "harmonized_dmsp_viirs").findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert severities[0] == "error"


def test_damage_inside_stops_the_examination(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random((600, 64)).astype("float32")
    path = make(tmp_path / "a.tif", noise, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    with rasterio.open(path) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_0_8", "TIFF", bidx=1))
    whole = bytearray(path.read_bytes())
    whole[start : start + 2000] = bytes(2000)
    path.write_bytes(whole)
    with pytest.raises(RasterUnreadable, match=r"rows 512 to 600[\s\S]*download or copy"):
        report_of(path, "npp_viirs_like")


@pytest.mark.real_data
def test_real_viirs_has_undeclared_nodata_and_negatives(real_data: Path) -> None:
    folder = real_data / "ntl" / "burundi_viirs_2016"
    reports = [report_of(folder / f"VIIRS_2016_{month:02}.tif", "viirs_annual") for month in range(1, 13)]
    assert all(read_info(r.path).nodata is None for r in reports)
    assert all(r.n_valid == r.n_cells == 520 * 445 for r in reports)
    assert round(min(r.minimum for r in reports), 2) == -0.93  # PROVENANCE.txt
    brightest = max(reports, key=lambda r: r.maximum)
    assert brightest.path.name == "VIIRS_2016_08.tif"
    assert int(brightest.maximum) == 396  # the fires of August
    assert any("noise of the sensor" in found(r, "info") for r in reports)


@pytest.mark.real_data
def test_real_lights_agree_with_a_plain_sum(real_data: Path) -> None:
    path = real_data / "ntl" / "china_harmonized_2008_5min" / "ChinaOnly5min.tif"
    got = report_of(path, "harmonized_dmsp_viirs")
    with rasterio.open(path) as source:
        cells = source.read(1)
    plain = cells[is_data(cells, CellRules())].astype(float)
    assert got.n_valid == 138_512  # PROVENANCE.txt
    assert got.total == pytest.approx(plain.sum(), rel=1e-12)  # two orders of addition
    assert got.n_declared_nodata == got.n_cells - got.n_valid
    assert found(got, "warning") == found(got, "error") == ""
