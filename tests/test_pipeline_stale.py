"""Nothing stale: what is changed about an input changes the next run as it would change a first one."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, ignore_patterns

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine

import gis
from gis.pipeline.resume import run_key
from gis.workspace import read_workspace

NORTH_UP = Affine(0.1, 0, 100, 0, -0.1, 31)
CONFIG = """
[lights]
product = "custom"
unit = "DN"
quantity = "intensity"
files = "rasters/l_{year}.tif"
band = 1

[population]
product = "landscan"
files = "rasters/p_{year}.tif"

[boundaries.city]
file = "boundaries/c.gpkg"
vintage = 2019

[reproject]
ledger = false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two years, two bands with their gaps in different places, two cities."""
    rng = np.random.default_rng(1)
    (tmp_path / "rasters").mkdir()
    (tmp_path / "boundaries").mkdir()
    shape = {"height": 10, "width": 10, "crs": "EPSG:4326", "transform": NORTH_UP, "driver": "GTiff"}
    for year in (2001, 2002):
        bands = rng.random((2, 10, 10)).astype("float32")
        bands[0, :2], bands[1, :, :3] = np.nan, np.nan
        with rasterio.open(tmp_path / f"rasters/l_{year}.tif", "w", count=2, dtype="float32", **shape) as target:
            target.write(bands)
        with rasterio.open(tmp_path / f"rasters/p_{year}.tif", "w", count=1, dtype="int32", **shape) as target:
            target.write(rng.integers(1, 1000, (10, 10)).astype("int32"), 1)
    shapes = [shapely.box(100.03, 30.03, 100.5, 30.97), shapely.box(100.5, 30.03, 100.97, 30.97)]
    layer = gpd.GeoDataFrame({"code": ["340100", "340200"]}, geometry=shapes, crs="EPSG:4326")
    layer.to_file(tmp_path / "boundaries/c.gpkg")
    (tmp_path / "workspace.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def another_band(folder: Path) -> None:
    (folder / "workspace.toml").write_text(CONFIG.replace("band = 1", "band = 2"), encoding="utf-8")


def a_mask_beside(folder: Path) -> None:
    mask = np.full((10, 10), 255, "uint8")
    mask[5:] = 0
    profile = {"driver": "GTiff", "height": 10, "width": 10, "count": 1, "dtype": "uint8"}
    with rasterio.open(folder / "rasters/l_2001.tif.msk", "w", **profile) as target:
        target.write(mask, 1)
        target.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2")


def a_scale_beside(folder: Path) -> None:
    text = '<PAMDataset><PAMRasterBand band="1"><Scale>0.5</Scale></PAMRasterBand></PAMDataset>'
    (folder / "rasters/l_2001.tif.aux.xml").write_text(text, encoding="utf-8")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("change", [another_band, a_mask_beside, a_scale_beside])
def test_a_second_run_after_a_change_equals_a_first_run(folder: Path, change, tmp_path_factory) -> None:
    before = gis.run(folder, threads=1).city_year
    change(folder)
    after = gis.run(folder, threads=1).city_year
    afresh = copytree(folder, tmp_path_factory.mktemp("w") / "w", ignore=ignore_patterns(".cache", "out"))
    pd.testing.assert_frame_equal(after, gis.run(afresh, threads=1).city_year, check_exact=True)
    numbers = ["light_sum_cells_dn", "cov_pop"]
    assert not before[numbers].equals(after[numbers])


@pytest.mark.parametrize("named", ["layer.gdb", "layer.tab", "layer.shp", "layer.gpkg"])
def test_a_layer_of_several_files_counts_with_all_of_them(folder: Path, named: str) -> None:
    layer = folder / "boundaries" / named
    if named.endswith(".gdb"):
        layer.mkdir()
    else:
        layer.write_bytes(b"same")
    parts = {"layer.gdb": layer / "a0000000a.gdbtable", "layer.tab": layer.with_suffix(".map")}
    part = parts.get(named, layer.with_name("layer.gpkg-wal") if named.endswith("gpkg") else layer.with_suffix(".dbf"))
    text = CONFIG.replace("boundaries/c.gpkg", f"boundaries/{named}")
    (folder / "workspace.toml").write_text(text, encoding="utf-8")
    place = read_workspace(folder)
    keys = set()
    for content in (b"one", b"three"):
        part.write_bytes(content)
        keys.add(run_key(place, ()))
    assert len(keys) == 2


def test_a_run_says_why_it_works_again(folder: Path) -> None:
    assert "since the last run" not in gis.run(folder, threads=1).reuse  # a first run has no reason to give
    assert gis.run(folder, threads=1).reuse.startswith("nothing has changed")
    (folder / "out/city_year.parquet").unlink()
    assert gis.run(folder, threads=1).reuse.endswith("since the last run an output was missing or changed")
    another_band(folder)
    layer = gpd.read_file(folder / "boundaries/c.gpkg")
    layer.iloc[:1].to_file(folder / "boundaries/c.gpkg", driver="GPKG", mode="w")
    assert gis.run(folder, threads=1).reuse.endswith("since the last run changed: workspace.toml, c.gpkg")
    for name in ("l", "p"):
        (folder / f"rasters/{name}_2001.tif").unlink()
    assert gis.run(folder, threads=1).reuse.endswith("since the last run gone: lights 2001, population 2001")
