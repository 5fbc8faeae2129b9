"""Zones taken in groups, and tasks sent to other processes, change no bit."""

from __future__ import annotations

import itertools
import pickle

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

import gis
from gis.crs import crs_from
from gis.grid import Grid, Zones
from gis.pipeline.zonal import zonal_table
from gis.raster_io import write_raster
from gis.zonal import groups, shipping
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.groups import coverage_entries, some_zones, zone_groups
from gis.zonal.names import STATISTICS, WEIGHTED

GRID = Grid((1300, 90), Affine(0.05, 0, 100, 0, -0.05, 55), crs_from("EPSG:4326"))
ALL = (*STATISTICS, "quantile(0.3)", *WEIGHTED, "weighted_quantile(0.8)")


def scattered(n: int, seed: int) -> np.ndarray:
    """Wiggly polygons all over the grid, some of them one inside another."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    out = []
    for _ in range(n):
        x, y = rng.uniform(100, 104.5), rng.uniform(-10, 55)
        r = rng.uniform(0.05, 2.0) * (1 + 0.3 * rng.random(angle.size))
        out.append(shapely.Polygon(np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)])))
    return np.array(out, object)


@pytest.fixture
def rasters(tmp_path):
    rng = np.random.default_rng(7)
    paths = []
    for year in (2001, 2002):
        light = np.round(rng.gamma(0.3, 20.0, GRID.shape), 2).astype(np.float32)
        light[rng.random(GRID.shape) < 0.05] = -1
        paths.append(write_raster(tmp_path / f"l{year}.tif", light, GRID, dtype="float32", nodata=-1, cog=False))
    people = write_raster(
        tmp_path / "p.tif", rng.poisson(5.0, GRID.shape), GRID, dtype="int32", nodata=-9999, cog=False
    )
    return paths, people


@pytest.fixture
def zones(tmp_path):
    path = tmp_path / "z.gpkg"
    gpd.GeoDataFrame(geometry=scattered(60, 1), crs="EPSG:4326").to_file(path)
    return path


def test_groups_change_no_bit(rasters, zones, monkeypatch):
    paths, people = rasters
    whole = gis.zonal_stats(paths[0], zones, ALL, weights=people)
    monkeypatch.setattr(groups, "GROUP_ENTRIES", 900)
    pd.testing.assert_frame_equal(gis.zonal_stats(paths[0], zones, ALL, weights=people), whole, check_exact=True)


def test_the_table_of_several_rasters_is_that_of_each_alone(rasters, zones, tmp_path, monkeypatch):
    paths, people = rasters
    each = [gis.zonal_stats(path, zones, ALL, weights=people) for path in paths]
    monkeypatch.setattr(groups, "GROUP_ENTRIES", 2000)
    assert zonal_table(paths, zones, tmp_path / "t.parquet", stats=ALL, weights=people) == 120
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table["raster"].tolist() == ["l2001.tif"] * 60 + ["l2002.tif"] * 60
    pd.testing.assert_frame_equal(table[list(ALL)], pd.concat(each, ignore_index=True), check_exact=True)


@pytest.mark.slow
def test_worker_processes_give_the_same_bytes_for_every_statistic(rasters, zones, tmp_path):
    paths, people = rasters
    for name, where in (("threads", {}), ("workers", {"workers": 2})):
        zonal_table(paths, zones, tmp_path / f"{name}.parquet", stats=ALL, weights=people, **where)
    assert (tmp_path / "workers.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()
    assert not list(tmp_path.glob(".lightpanel-*"))


@pytest.mark.parametrize("crs", ["EPSG:4326", "ESRI:102027"])
def test_every_zone_stands_in_one_group_within_the_limit(crs):
    zones = Zones(tuple(f"{i:03d}" for i in range(200)), scattered(200, 3), crs_from("EPSG:4326"))
    grid = GRID if crs == "EPSG:4326" else Grid((4000, 3000), Affine(2000, 0, -3e6, 0, -2000, 6e6), crs_from(crs))
    entries = coverage_entries(grid, zones)
    parts = zone_groups(grid, zones, limit=3000)
    assert len(parts) > 3
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(200))
    assert all(len(part) == 1 or entries[part].sum() <= 3000 for part in parts)
    north = shapely.bounds(zones.geometry)[:, 3]
    assert all(north[a].min() >= north[b].max() for a, b in itertools.pairwise(parts))


def test_one_group_where_everything_fits():
    zones = Zones(("a", "b"), scattered(2, 4), crs_from("EPSG:4326"))
    (only,) = zone_groups(GRID, zones)
    assert some_zones(zones, only) is zones


def test_the_estimate_is_of_the_right_size():
    inside = shapely.box(100.5, -5, 104, 50)
    geometry = shapely.intersection(scattered(150, 5), inside)
    zones = Zones(tuple(str(i) for i in range(150)), geometry, crs_from("EPSG:4326"))
    coverage = coverage_from_zones(GRID, zones)
    found = coverage.span_zone.size + coverage.cell_zone.size
    assert found <= coverage_entries(GRID, zones).sum() <= 2 * found  # the mean over directions; rows counted twice


def test_a_packed_task_names_its_coverage(tmp_path):
    coverage = coverage_from_zones(GRID, Zones(tuple("abc"), scattered(3, 6), crs_from("EPSG:4326")))
    files: dict = {}
    packed = [shipping.pack((len, [coverage, n]), tmp_path, files) for n in range(3)]
    assert len(list(tmp_path.iterdir())) == 1
    assert max(map(len, packed)) < 1000
    function, (found, n) = pickle.loads(packed[2])
    assert (function, n) == (len, 2)
    assert found.codes == coverage.codes
    assert all(np.array_equal(found.dense(z), coverage.dense(z)) for z in range(3))
    assert pickle.loads(packed[0])[1][0] is found  # loaded once
    assert shipping.run_packed(packed[1]) == 2
