"""Claims about annual series: which file is which year, what is refused, and which years stand behind a year."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import (
    ConfigInvalid,
    CrsMismatch,
    OptionInvalid,
    RasterInvalid,
    RasterUnreadable,
    SeriesInvalid,
    YearMissing,
)
from gis.raster_io import open_raster
from gis.rasters.archive import file_sha256
from gis.rasters.catalogue import product_for
from gis.rasters.series import Series, plan_lights, plan_years, read_series, year_ranges
from gis.workspace import RasterSource, Workspace, config_from_dict


def make(path: Path, value: float = 1.0, shape: tuple[int, int] = (4, 4), **profile: Any) -> Path:
    told = {
        "driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:4326", "height": shape[0], "width": shape[1],
        "transform": Affine(0.25, 0, 100, 0, -0.25, 40), **profile,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **told) as target:
        for band in range(told["count"]):
            target.write(np.full(shape, value, told["dtype"]), band + 1)
    return path


def make_zip(path: Path, *files: Path, folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, folder + file.name)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = config_from_dict(
        {
            "lights": {"product": "eantli_like"},
            "population": {"product": "landscan"},
            "boundaries": {"city": {"file": "boundaries/c.gpkg", "vintage": 2019}},
        }
    )
    (tmp_path / "rasters").mkdir()
    return Workspace(tmp_path, config)


def series(workspace: Workspace, product: str, **more: Any) -> Series:
    source = RasterSource(product=product, **more)
    return read_series(source, product_for(source), workspace)


def test_year_stands_in_folder_and_file_and_is_the_same(workspace: Workspace) -> None:
    for year in (2000, 2001):
        make(workspace.rasters / f"EANTLI_like_{year}" / f"EANTLI_like_{year}.tif", year)
    make(workspace.rasters / "EANTLI_like_2000" / "EANTLI_like_2001.tif", 7)  # misfiled: neither year's name
    got = series(workspace, "eantli_like")
    assert got.years == (2000, 2001)
    file = got.of(2001)
    assert file.path == file.source == workspace.rasters / "EANTLI_like_2001" / "EANTLI_like_2001.tif"
    assert file.sha256 == file_sha256(file.path)
    with open_raster(file.info) as raster:
        assert raster.read_rows(0, 1)[0, 0] == 2001
    with pytest.raises(YearMissing, match="years there are: 2000-2001"):
        got.of(1999)


def test_files_of_the_config_are_relative_to_the_workspace(workspace: Workspace) -> None:
    make(workspace.root / "elsewhere" / "a" / "x2003b.tif")
    assert series(workspace, "eantli_like", files="elsewhere/*/x{year}?.tif").years == (2003,)
    assert series(workspace, "eantli_like", files="elsewhere/**/x{year}[a-c].tif").years == (2003,)
    assert series(workspace, "eantli_like", files=str(workspace.root / "elsewhere/a/x{year}b.tif")).years == (2003,)


def test_pattern_without_year_is_for_one_year(workspace: Workspace) -> None:
    make(workspace.rasters / "one.tif")
    with pytest.raises(ConfigInvalid, match=r"write \{year\} in its place"):
        series(workspace, "eantli_like", files="rasters/one.tif")
    assert series(workspace, "eantli_like", files="rasters/one.tif", years=(2008, 2008)).years == (2008,)


def test_no_file_names_what_is_there(workspace: Workspace) -> None:
    make(workspace.rasters / "LongNTL-2010.tif")
    with pytest.raises(YearMissing, match=r"LongNTL_\{year\}\.tif[\s\S]*files there: LongNTL-2010\.tif"):
        series(workspace, "npp_viirs_like")
    with pytest.raises(YearMissing, match=r"make the folder .*nowhere and put the files there"):
        series(workspace, "npp_viirs_like", files="nowhere/{year}.tif")
    (workspace.root / "empty").mkdir()
    with pytest.raises(YearMissing, match="is empty: put the files there"):
        series(workspace, "npp_viirs_like", files="empty/{year}.tif")


def test_years_limit_the_series(workspace: Workspace) -> None:
    for year in range(2000, 2006):
        make(workspace.rasters / f"LongNTL_{year}.tif")
    assert series(workspace, "npp_viirs_like", years=(2002, 2004)).years == (2002, 2003, 2004)
    with pytest.raises(YearMissing, match=r"2000-2005, none within[\s\S]*correct lights\.years"):
        series(workspace, "npp_viirs_like", years=(2010, 2012))


def test_gaps_are_noted(workspace: Workspace) -> None:
    for year in (2000, 2003, 2004):
        make(workspace.rasters / f"LongNTL_{year}.tif")
    got = series(workspace, "npp_viirs_like")
    assert got.missing_years == (2001, 2002)
    assert "no raster of 2001-2002" in got.notes
    # years asked for are missing at the ends as well
    assert series(workspace, "npp_viirs_like", years=(1999, 2003)).missing_years == (1999, 2001, 2002)


def test_two_different_files_for_one_year(workspace: Workspace) -> None:
    make(workspace.rasters / "DMSP2013.tif", 1)
    make(workspace.rasters / "DMSP-like2013.tif", 2)
    with pytest.raises(
        SeriesInvalid, match=r"rasters/DMSP2013\.tif and rasters/DMSP-like2013\.tif[\s\S]*DMSP\{year\}\.tif"
    ):
        series(workspace, "china_1km")


def test_the_pattern_that_is_offered_finds_the_file(workspace: Workspace) -> None:
    make(workspace.rasters / "EANTLI_like_2013" / "EANTLI_like_2013.tif", 1)
    make(workspace.rasters / "EANTLI_like_2013.tif", 2)
    with pytest.raises(SeriesInvalid, match=r'mend: .*files = "(rasters/EANTLI_like_\{year\}/[^"]*)"') as caught:
        series(workspace, "eantli_like")
    pattern = str(caught.value).rpartition('files = "')[2].rstrip('"')
    assert series(workspace, "eantli_like", files=pattern).of(2013).path.parent.name == "EANTLI_like_2013"


def test_files_that_gdal_reads_beside_a_raster_are_part_of_its_content(workspace: Workspace) -> None:
    path = make(workspace.rasters / "DMSP2012.tif", 2)
    alone = series(workspace, "china_1km").of(2012)
    assert alone.sha256 == file_sha256(path) and alone.info.sidecars == ()
    aux = path.with_name("DMSP2012.tif.aux.xml")
    seen = {alone.sha256}
    for scale in ("0.5", "0.25"):
        aux.write_text(f'<PAMDataset><PAMRasterBand band="1"><Scale>{scale}</Scale></PAMRasterBand></PAMDataset>')
        now = series(workspace, "china_1km").of(2012)
        assert now.info.scale == float(scale) and now.info.sidecars == (aux,)
        assert now.sha256 not in seen
        seen.add(now.sha256)


def test_archive_beside_what_was_unpacked_from_it_is_one_file(workspace: Workspace) -> None:
    file = make(workspace.rasters / "landscan-global-2019.tif", 5)
    make_zip(workspace.rasters / "landscan-global-2019-assets.zip", file)
    got = series(workspace, "landscan")
    assert got.years == (2019,)
    assert any("same content" in note for note in got.notes)
    make(file, 6)
    with pytest.raises(SeriesInvalid, match="keep one of them"):
        series(workspace, "landscan")


def test_zip_with_decoy_gives_the_data(workspace: Workspace, tmp_path: Path) -> None:
    data = make(tmp_path / "made" / "landscan-global-2019.tif", 5, dtype="int32")
    decoy = make(tmp_path / "made" / "landscan-global-2019-colorized.tif", 0, dtype="uint8", count=3, photometric="rgb")
    archive = make_zip(workspace.rasters / "landscan-global-2019-assets.zip", decoy, data, folder="in/")
    file = series(workspace, "landscan").of(2019)
    assert file.source == archive
    assert file.path.name == "landscan-global-2019.tif"
    assert file.path.is_relative_to(workspace.cache)
    assert file.sha256 == file_sha256(data)  # the member's, not the archive's
    with open_raster(file.info) as raster:
        assert raster.read_rows(0, 4).max() == 5


def test_decoy_alone_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    decoy = make(workspace.rasters / "x2019-colorized.tif", 0, dtype="uint8", count=3, photometric="rgb")
    with pytest.raises(RasterInvalid, match=r"use x2019\.tif, from the same download"):
        series(workspace, "landscan", files="rasters/x{year}-colorized.tif")
    make_zip(workspace.rasters / "landscan-global-2019-assets.zip", decoy)
    with pytest.raises(RasterUnreadable, match="expected a GeoTIFF or an ESRI GRID folder"):
        series(workspace, "landscan")


def test_zip_with_two_rasters_leaves_open_which(workspace: Workspace, tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.tif"), make(tmp_path / "b.tif", 2)
    make_zip(workspace.rasters / "landscan-global-2019-assets.zip", a, b)
    with pytest.raises(SeriesInvalid, match=r"a\.tif, b\.tif[\s\S]*name the one you mean"):
        series(workspace, "landscan")


def test_gz_is_read(workspace: Workspace, tmp_path: Path) -> None:
    name = "VNL_v21_npp_2019_global_vcmslcfg_c202205302300.average_masked.dat.tif"
    plain = make(tmp_path / name, 3.5)
    (workspace.rasters / f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    file = series(workspace, "viirs_annual").of(2019)
    assert file.path.name == name
    assert file.sha256 == file_sha256(plain)


def test_empty_archive_and_cut_raster(workspace: Workspace) -> None:
    path = workspace.rasters / "landscan-global-2019-assets.zip"
    path.touch()
    with pytest.raises(RasterUnreadable, match=r"0 bytes[\s\S]*download it again"):
        series(workspace, "landscan")
    path.unlink()
    tif = make(workspace.rasters / "landscan-global-2019.tif", shape=(300, 300))
    tif.write_bytes(tif.read_bytes()[:100_000])
    with pytest.raises(RasterUnreadable, match=r"landscan-global-2019\.tif[\s\S]*size should equal the source's"):
        series(workspace, "landscan")


def test_changed_grid_dtype_and_nodata_are_noted_by_year(workspace: Workspace) -> None:
    make(workspace.rasters / "landscan-global-2012.tif", shape=(10, 20), dtype="int32", nodata=-9999)
    make(workspace.rasters / "landscan-global-2013.tif", shape=(10, 20), dtype="int32", nodata=-9999)
    make(
        workspace.rasters / "landscan-global-2014.tif", shape=(12, 20), dtype="float32", nodata=-1,
        transform=Affine(0.25, 0, 100, 0, -0.25, 40.5),
    )  # fmt: skip
    notes = "\n".join(series(workspace, "landscan").notes)
    assert "2014: the grid changes from (10, 20) to (12, 20)" in notes
    assert "2014: cells change from int32 to float32" in notes
    assert "2014: the declared nodata value changes from -9999.0 to -1.0" in notes
    assert "2013" not in notes


def test_changed_crs_is_refused(workspace: Workspace) -> None:
    make(workspace.rasters / "LongNTL_2000.tif")
    make(workspace.rasters / "LongNTL_2001.tif", crs="EPSG:3857", transform=Affine(500, 0, 0, 0, -500, 0))
    with pytest.raises(CrsMismatch, match=r"2000 is in EPSG:4326, 2001 in EPSG:3857[\s\S]*lightpanel reproject"):
        series(workspace, "npp_viirs_like")


def test_nan_nodata_in_two_years_is_no_change(workspace: Workspace) -> None:
    for year in (2000, 2001):
        make(workspace.rasters / f"LongNTL_{year}.tif", nodata=float("nan"))
    assert series(workspace, "npp_viirs_like").notes == ()


# --- plans ------------------------------------------------------------------------------------------------------------


def test_population_years_by_policy() -> None:
    have = (2000, 2005, 2010)
    with pytest.raises(YearMissing, match=r'2001-2002[\s\S]*"nearest".*"static".*"interpolate"'):
        plan_years((2000, 2001, 2002), have, "error")
    assert plan_years((2000, 2005), have, "error") == {2000: ((2000, 1.0),), 2005: ((2005, 1.0),)}
    near = plan_years(range(1998, 2013), (2000, 2004, 2010), "nearest")
    assert {y: p[0][0] for y, p in near.items()} == {
        1998: 2000,
        1999: 2000,
        2000: 2000,
        2001: 2000,
        2002: 2000,
        2003: 2004,
        2004: 2004,
        2005: 2004,
        2006: 2004,
        2007: 2004,
        2008: 2010,
        2009: 2010,
        2010: 2010,
        2011: 2010,
        2012: 2010,
    }  # fmt: skip  (2002 and 2007 lie as near to two years: the earlier)
    assert plan_years((2000, 2001), have, "static", 2010) == {2000: ((2010, 1.0),), 2001: ((2010, 1.0),)}
    assert plan_years((2005, 2006), have, "interpolate") == {
        2005: ((2005, 1.0),),
        2006: ((2005, 0.8), (2010, 0.2)),
    }
    with pytest.raises(YearMissing, match=r"2011[\s\S]*nothing is extrapolated[\s\S]*nearest"):
        plan_years((2010, 2011), have, "interpolate")


def test_static_policy_needs_a_year_that_is_there() -> None:
    with pytest.raises(ConfigInvalid, match=r"set population\.static_year to one of 2000, 2005"):
        plan_years((2000,), (2000, 2005), "static")
    with pytest.raises(YearMissing, match=r"set population\.static_year to one of 2000, 2005"):
        plan_years((2000,), (2000, 2005), "static", 2001)


def test_unknown_policies() -> None:
    with pytest.raises(OptionInvalid, match="error, nearest, static, interpolate"):
        plan_years((2000,), (2000,), "newest")  # type: ignore[arg-type]
    with pytest.raises(OptionInvalid, match="nan, error, interpolate"):
        plan_lights((2000,), (2000,), "nearest")  # type: ignore[arg-type]
    with pytest.raises(YearMissing, match="add one below rasters/"):
        plan_years((2000,), (), "nearest")


def test_light_years_by_policy() -> None:
    have = (2000, 2003)
    assert plan_lights((2000, 2001, 2004), have) == {2000: ((2000, 1.0),), 2001: (), 2004: ()}
    with pytest.raises(YearMissing, match=r'2001, 2004[\s\S]*set lights\.missing_years = "nan" or "interpolate"'):
        plan_lights((2000, 2001, 2004), have, "error")
    plan = plan_lights((2001, 2004), have, "interpolate")
    assert plan[2004] == ()  # nothing is extrapolated
    assert plan[2001] == ((2000, pytest.approx(2 / 3)), (2003, pytest.approx(1 / 3)))  # thirds are not exact


@given(st.sets(st.integers(1990, 2030), min_size=1), st.sets(st.integers(1990, 2030), min_size=1))
def test_interpolation_weights_sum_to_one_and_give_the_year_back(years: set[int], have: set[int]) -> None:
    plan = plan_lights(years, have, "interpolate")
    assert set(plan) == years
    for year, parts in plan.items():
        assert bool(parts) == (min(have) <= year <= max(have))
        if parts:
            assert {y for y, _ in parts} <= have
            assert sum(w for _, w in parts) == pytest.approx(1, abs=1e-15)  # one rounding
            assert sum(y * w for y, w in parts) == pytest.approx(year, abs=1e-9)  # years of 1e3 at 1e-16


def test_year_ranges() -> None:
    assert year_ranges((2004, 2000, 2001, 2002)) == "2000-2002, 2004"
    assert year_ranges(()) == ""


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_three_resolutions_of_gpw_are_three_files_for_one_year(workspace: Workspace, real_data: Path) -> None:
    folder = real_data / "pop" / "gpw_v411_2000_global"
    pattern = f"{folder}/gpw_v4_population_count_rev11_{{year}}_*.tif"
    with pytest.raises(SeriesInvalid, match=r"2000 has 3 different files[\s\S]*keep one of them"):
        series(workspace, "gpw", files=pattern)
    got = series(workspace, "gpw", files=pattern.replace("*", "30_min"))
    assert (got.years, got.of(2000).info.grid.shape) == ((2000,), (360, 720))


@pytest.mark.real_data
def test_real_lights_without_a_year_in_their_name(workspace: Workspace, real_data: Path) -> None:
    path = real_data / "ntl" / "china_harmonized_2008_5min" / "ChinaOnly5min.tif"
    got = series(workspace, "harmonized_dmsp_viirs", files=str(path), years=(2008, 2008))
    assert got.of(2008).info.grid.shape == (540, 756)
    assert got.notes == ()
