"""The demo as files: the same bytes for the same seed, readable by ordinary readers, and never half there."""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from dataclasses import fields as fields_of
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from gis.crs import same_crs
from gis.demo import flows as flow_design
from gis.demo import rasters, truth_table, write_demo
from gis.demo import workspace as writer
from gis.demo.fields import YEARS, fields
from gis.demo.geography import NEW, OLD, geography
from gis.demo.truth import _atom_integrals
from gis.errors import RasterInvalid, WriteFailed
from gis.raster_io import read_info
from gis.workspace import config_from_dict, read_workspace

SEED = 1907


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo") / "one")


def hashes(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes(demo, tmp_path):
    for cached in (geography, fields, _atom_integrals, rasters._holes, rasters.holes_lonlat):
        cached.cache_clear()
    again = write_demo(tmp_path / "another name")
    assert hashes(again.root) == hashes(demo.root)


def test_demo_is_small(demo):
    assert sum(path.stat().st_size for path in demo.root.rglob("*") if path.is_file()) < 15e6


def test_paths_name_everything_that_was_written(demo):
    named = set()
    for entry in fields_of(demo):
        value = getattr(demo, entry.name)
        named |= set(value.values()) if isinstance(value, dict) else {value}
    assert all(path.exists() and path.is_absolute() for path in named)
    sidecars = {".shx", ".dbf", ".prj"}
    left = {path for path in demo.root.rglob("*") if path.is_file()} - named
    assert {path.suffix for path in left} == sidecars
    assert {path.with_suffix(".shp") for path in left} <= named


def test_config_is_valid_and_its_files_exist(demo):
    workspace = read_workspace(demo.root)
    assert workspace.config_path == demo.config
    boundaries = workspace.config.boundaries
    for source in (boundaries.city, boundaries.district):
        assert workspace.path(source.file) == demo.boundaries_new
    assert workspace.config.lights.years == (YEARS[0], YEARS[-1])
    assert workspace.config.lights.synthetic_years == YEARS


def test_commented_older_boundaries_are_valid_too(demo):
    """Take the comment signs off the second half and the newer sections out, as the file says."""
    text = demo.config.read_text("utf-8")
    head, rest = text.split("[boundaries.city]", 1)
    block, tail = rest[rest.index("# [boundaries.city]") :].split("[levels]")
    old = "\n".join(line.removeprefix("#").removeprefix(" ") for line in block.splitlines())
    config = config_from_dict(tomllib.loads(head + old + "\n[levels]" + tail))
    for source, path in (
        (config.boundaries.city, demo.boundaries_old_city),
        (config.boundaries.district, demo.boundaries_old_district),
    ):
        assert demo.root / source.file == path
        table = _read(path, encoding=source.encoding)
        wanted = [c for c in (source.columns.code, source.columns.name, source.columns.parent) if c]
        assert set(wanted) <= set(table)


# --- boundaries -------------------------------------------------------------------------------------------------------


def _read(path, **options):
    import pyogrio

    return pyogrio.read_dataframe(path, **options)


@pytest.mark.parametrize("layer", ["city", "district"])
def test_new_boundaries_are_read_back_to_the_last_bit(demo, layer):
    zones, found = geography(SEED).zones(NEW, layer), _read(demo.boundaries_new, layer=layer)
    assert found["code"].tolist() == list(zones.codes)
    assert found["name"].tolist() == list(zones.names)
    assert same_crs(found.crs, "EPSG:4326")
    assert (shapely.to_wkb(found.geometry.to_numpy()) == shapely.to_wkb(zones.geometry)).all()
    if layer == "district":
        assert found["city_code"].tolist() == list(zones.parents)


@pytest.mark.parametrize("layer", ["city", "district"])
def test_old_boundaries_are_gbk_and_do_not_say_so(demo, layer):
    path = demo.boundaries_old_city if layer == "city" else demo.boundaries_old_district
    zones = geography(SEED).zones(OLD, layer)
    assert not path.with_suffix(".cpg").exists()
    assert path.with_suffix(".dbf").read_bytes()[29] == 0  # the dBase code page byte is silent as well
    with_word = _read(path, encoding="GB18030")
    assert with_word["代码"].tolist() == list(zones.codes)
    assert with_word["名称"].tolist() == list(zones.names)
    assert "名称" not in _read(path)
    assert all(a.equals(b) for a, b in zip(with_word.geometry, zones.geometry, strict=True))


def test_gdal_is_left_as_it_was(demo, tmp_path):
    import pyogrio

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    writer._write_geopackage(tmp_path / "x.gpkg", SEED)
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


# --- rasters ----------------------------------------------------------------------------------------------------------


def test_lights_say_where_they_are_and_what_is_missing(demo):
    assert sorted(demo.lights) == list(YEARS)
    for year, path in demo.lights.items():
        info = read_info(path)
        assert (info.dtype, info.n_bands) == ("float32", 1)
        assert info.nodata == rasters.LIGHT_NODATA == float(np.float32(-3.4e38))
        assert info.grid.same_place(rasters.light_grid())
        assert info.grid.crs.to_authority(min_confidence=100) is None  # no code: the file's own CRS must do
        assert str(year) in path.parent.name


def test_cells_of_lights_are_one_square_kilometre_everywhere(demo):
    areas = read_info(demo.lights[2012]).grid.cell_areas_km2("true", 0, 1000)
    assert np.abs(areas - 1).max() < 1e-9  # equal-area; the mesh's own error


def test_population_fits_no_other_grid(demo):
    for year, path in demo.population.items():
        if path.suffix == ".zip":
            continue
        info = read_info(path)
        assert (info.dtype, info.nodata) == ("int32", -2147483647)
        assert info.grid.same_place(rasters.population_grid(year))
        corner = info.grid.transform.c / info.grid.transform.a
        assert 0.05 < corner % 1 < 0.95
    assert rasters.population_grid(2012).shape != rasters.population_grid(2013).shape


def test_one_year_comes_in_its_archive_with_a_picture(demo, tmp_path):
    archive = demo.population[rasters.ZIPPED_YEAR]
    assert archive.name == f"landscan-global-{rasters.ZIPPED_YEAR}-assets.zip"
    assert list(archive.parent.glob("landscan*2016*")) == [archive]
    with zipfile.ZipFile(archive) as members:
        assert members.testzip() is None
        members.extractall(tmp_path)
    data, picture = (tmp_path / f"landscan-global-2016{end}.tif" for end in ("", "-colorized"))
    assert read_info(data).grid.same_place(rasters.population_grid(2016))
    with pytest.raises(RasterInvalid, match=r"use landscan-global-2016\.tif, which is there"):
        read_info(picture)


def test_the_picture_lies_where_the_data_lie(demo, tmp_path):
    import rasterio

    with zipfile.ZipFile(demo.population[2016]) as members:
        members.extractall(tmp_path)
    with (
        rasterio.open(tmp_path / "landscan-global-2016.tif") as data,
        rasterio.open(tmp_path / "landscan-global-2016-colorized.tif") as picture,
    ):
        assert picture.crs.to_epsg() == 4326
        assert picture.count == 3
        assert picture.dtypes == ("uint8",) * 3
        assert tuple(picture.bounds) == pytest.approx(tuple(data.bounds), abs=4 * data.res[0])  # every fourth cell
        blue = picture.read(3) == 190
        assert (blue == (data.read(1)[::4, ::4] == -2147483647)).all()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_truth_file_is_the_truth_table(demo):
    pd.testing.assert_frame_equal(pd.read_parquet(demo.truth), truth_table(SEED), check_dtype=False)
    assert not truth_table(SEED).duplicated(["vintage", "layer", "unit_code", "year"]).any()


def test_flows_are_poisson_about_their_mean(demo):
    table = pd.read_csv(demo.flows, dtype={"src": str, "dst": str})
    assert list(table) == ["src", "dst", "year", "n"]
    codes = list(geography(SEED).zones(NEW, "city").codes)
    assert set(table["src"]) | set(table["dst"]) <= set(codes)
    counts = np.zeros((len(YEARS), 12, 12))
    at = [pd.Index(YEARS).get_indexer(table["year"])] + [pd.Index(codes).get_indexer(table[c]) for c in ("src", "dst")]
    counts[tuple(at)] = table["n"]
    mean = flow_design.flow_means(SEED)
    assert counts.sum() == pytest.approx(mean.sum(), abs=4 * np.sqrt(mean.sum()))  # a Poisson sum: 4 deviations
    spread = ((counts - mean) ** 2 / mean).mean()
    assert spread == pytest.approx(1, abs=0.2)  # 1,152 terms of variance near 2: 0.2 is nearly 5 deviations
    assert (counts == 0).any()  # rows that are not in the file


def test_knowledge_runs_downhill(demo):
    """With equal sizes and the same road both ways, only the push is left in the ratio of the two directions."""
    mean, table = flow_design.flow_means(SEED), truth_table(SEED)
    cities = table[(table["vintage"] == NEW) & (table["layer"] == "city") & (table["year"] == 2019)]
    level = (cities["light_whole_true_dn_km2"] / cities["pop_persons"]).to_numpy()
    expected = (level[:, None] / level[None, :]) ** flow_design.PUSH
    np.testing.assert_allclose(mean[-1] / mean[-1].T, expected, rtol=1e-12)  # rounding


# --- where it may be written ------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_left_alone(tmp_path):
    mine = tmp_path / "workspace.toml"
    mine.write_text("mine")
    with pytest.raises(WriteFailed, match="name a new folder: lightpanel demo"):
        write_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["workspace.toml"]
    assert mine.read_text() == "mine"
    with pytest.raises(WriteFailed, match="name a new folder: lightpanel demo"):
        write_demo(mine)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match="name a new folder: lightpanel demo"):
        write_demo(tmp_path / "file" / "demo")


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, exists):
    root = tmp_path / "demo"
    if exists:
        root.mkdir()

    def full(seed):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "flows", full)  # after half of the files
    monkeypatch.setattr(writer, "write_lights", lambda folder, seed: {})
    monkeypatch.setattr(writer, "write_population", lambda folder, seed: {})
    with pytest.raises(WriteFailed, match="free some space"):
        write_demo(root)
    assert list(tmp_path.rglob("*")) == ([root] if exists else [])
