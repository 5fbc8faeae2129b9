"""Intensities: sampled through exact coordinates, or weighed by overlap; GDAL beside them, and where it differs."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS as RasterioCRS
from rasterio.warp import Resampling
from rasterio.warp import reproject as gdal_reproject
from reproject_cases import LAMBERT, WGS84, centres_in, lonlat_grid, made, overlaps, source_of, target_for

from gis.graph import run_tasks
from gis.grid import Grid
from gis.reproject import plan_for, write_reprojected

GDAL_PIXELS = 0.125
"""GDAL's default tolerance of its approximate transformer [source pixels]; rasterio 1.4.4 offers no other."""


def lights(grid, seed=1, holes=0.0):
    rng = np.random.default_rng(seed)
    values = (rng.random(grid.shape) ** 4 * 60).astype(np.float32)
    values[rng.random(grid.shape) < holes] = np.nan
    return values


def gdal(values, grid, target, how):
    out = np.full(target.shape, np.nan, np.float32)
    gdal_reproject(
        values, out, src_transform=grid.transform, src_crs=RasterioCRS.from_wkt(grid.crs.to_wkt()), src_nodata=np.nan,
        dst_transform=target.transform, dst_crs=RasterioCRS.from_wkt(target.crs.to_wkt()), dst_nodata=np.nan,
        resampling=Resampling[how],
    )  # fmt: skip
    return out


def inside(grid, u, v, margin):
    ny, nx = grid.shape
    return (u > margin) & (v > margin) & (u < nx - margin) & (v < ny - margin)


@pytest.mark.parametrize("cell", [400.0, 1000.0])
def test_nearest_is_the_cell_that_holds_the_centre(tmp_path, cell):
    grid = lonlat_grid(80, 90)
    values, target = lights(grid, holes=0.1), target_for(grid, cell)
    found, _ = made(source_of(tmp_path / "a.tif", values, grid, nodata=np.nan), target, "intensity", "nearest")
    u, v = centres_in(target, grid)
    on = inside(grid, u, v, 0.0)
    expected = np.full(target.shape, np.nan, np.float32)
    expected[on] = values[v[on].astype(int), u[on].astype(int)]
    # Within 1e-7 of an edge two cells are both nearest; none of these points is so near.
    assert np.abs(u - np.rint(u))[on].min() > 1e-7 and np.abs(v - np.rint(v))[on].min() > 1e-7
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("holes", [0.0, 0.15])
def test_bilinear_matches_its_definition(tmp_path, holes):
    grid = lonlat_grid(50, 40)
    values, target = lights(grid, holes=holes), target_for(grid, 700.0)
    found, _ = made(source_of(tmp_path / "a.tif", values, grid, nodata=np.nan), target, "intensity", "bilinear")
    u, v = centres_in(target, grid)
    expected = np.full(target.shape, np.nan)
    for i, j in np.argwhere(inside(grid, u, v, 0.0)):
        if np.isnan(values[int(v[i, j]), int(u[i, j])]):
            continue
        total = weight = 0.0
        for row in range(int(v[i, j] - 0.5) - 1, int(v[i, j] - 0.5) + 3):
            for col in range(int(u[i, j] - 0.5) - 1, int(u[i, j] - 0.5) + 3):
                w = max(1 - abs(v[i, j] - row - 0.5), 0) * max(1 - abs(u[i, j] - col - 0.5), 0)
                if w and 0 <= row < 50 and 0 <= col < 40 and not np.isnan(values[row, col]):
                    total, weight = total + w * float(values[row, col]), weight + w
        expected[i, j] = total / weight
    assert (np.isnan(found) == np.isnan(expected)).all()
    assert (
        np.nanmax(np.abs(found - expected)) < 2e-5
    )  # float32 holds 60 to 2e-6; coordinates are good to 1e-7 of a cell


def test_conserved_intensity_is_the_mean_weighed_by_overlap(tmp_path):
    grid = lonlat_grid(16, 18)
    values, target = lights(grid, holes=0.2), target_for(grid, 1300.0)
    found, _ = made(source_of(tmp_path / "a.tif", values, grid, nodata=np.nan), target, "intensity", "conserve")
    areas, _ = overlaps(grid, target)
    known = ~np.isnan(values.ravel())
    weight = known @ areas
    with np.errstate(invalid="ignore"):
        expected = (np.where(known, values.ravel(), 0).astype(float) @ areas) / weight
    empty = weight < 1e-6
    assert (np.isnan(found.ravel()) == empty).all()
    some = weight > 1e-3 * 1300**2  # of a thousandth of a cell the rounding of coordinates is a share of 1e-4
    assert np.abs(found.ravel() - expected)[some].max() < 1e-3
    assert np.abs(found.ravel() - expected)[weight > 0.1 * 1300**2].max() < 2e-5  # float32 holds 60 to 2e-6


def test_average_is_the_mean_over_the_box_around_the_cell(tmp_path):
    grid = Grid((12, 12), Affine(1, 0, 0, 0, -1, 12), LAMBERT)
    values = lights(grid)
    target = Grid((4, 4), Affine(2.5, 0, 0.5, 0, -2.5, 11.5), LAMBERT)
    found, _ = made(source_of(tmp_path / "a.tif", values, grid), target, "intensity", "average")
    cover = np.zeros((4, 12))
    for k in range(4):
        low, high = 0.5 + 2.5 * k, 3.0 + 2.5 * k
        cover[k] = np.clip(np.minimum(high, np.arange(1, 13)) - np.maximum(low, np.arange(12)), 0, 1)
    assert np.allclose(found, cover @ values.astype(float) @ cover.T / 6.25, rtol=1e-6)  # float32


@given(
    how=st.sampled_from(["nearest", "bilinear", "average", "conserve"]),
    level=st.sampled_from([0.0, 0.1, 63.0]),
    cell=st.floats(300, 5000),
    crs=st.sampled_from([LAMBERT, "ESRI:102025", "EPSG:3857"]),
)
@settings(max_examples=15)
def test_an_even_field_stays_even(tmp_path_factory, how, level, cell, crs):
    grid = lonlat_grid(30, 20)
    values = np.full(grid.shape, level, np.float32)
    one = source_of(tmp_path_factory.mktemp("e") / "a.tif", values, grid, nodata=np.nan)
    found, _ = made(one, target_for(grid, cell, crs), "intensity", how)
    assert np.nanmax(np.abs(found - np.float32(level))) <= 1e-5 * level  # the last digits of float32
    assert (~np.isnan(found)).mean() > 0.3


@pytest.mark.parametrize("how", ["nearest", "bilinear", "average", "conserve"])
def test_tiling_and_workers_change_no_byte(tmp_path, how):
    grid = lonlat_grid(150, 260)
    one = source_of(tmp_path / "a.tif", lights(grid, holes=0.1), grid, nodata=np.nan)
    target = target_for(grid, 800.0)
    files = []
    for name, tile, held, threads in (("x", (1024, 2048), 10**9, 1), ("y", (37, 101), 0, 2), ("z", (64, 50), 0, 3)):
        plan = plan_for(*one, target, "intensity", how, tile=tile, held_cells=held)

        def run(function, tasks, threads=threads):
            return run_tasks(function, tasks, threads=threads)

        ledger = write_reprojected(plan, tmp_path / f"{name}.tif", run=run)
        files.append(((tmp_path / f"{name}.tif").read_bytes(), ledger))
    assert files[0] == files[1] == files[2]


def test_the_ledger_of_lights_is_in_km2_of_the_plane(tmp_path):
    grid = lonlat_grid(60, 60)
    values = np.full(grid.shape, 2.0, np.float32)
    target = target_for(grid, 500.0)
    plan = plan_for(*source_of(tmp_path / "a.tif", values, grid), target, "intensity", "conserve")
    ledger = write_reprojected(plan, tmp_path / "o.tif")
    expected = 2 * np.sum(grid.cell_areas_km2("lambert", 0, 60)) * 60
    assert ledger.source_total == pytest.approx(
        expected, rel=2e-6
    )  # straight sides against the closed form, METHOD 1.4
    # Cells of the rim count whole though they are lit in part: at most a row around some 90 x 110
    assert 0 > ledger.loss_share > -2 * (1 / 90 + 1 / 110)


# --- GDAL, whose transformer is approximate -------------------------------------------------------------------------


@pytest.mark.parametrize("lat", [22.0, 40.0, 50.0])
def test_gdal_takes_another_nearest_cell_only_beside_an_edge(tmp_path, lat):
    grid = lonlat_grid(400, 400, 112.0, lat)
    values = np.arange(grid.shape[0] * grid.shape[1], dtype=np.float32).reshape(grid.shape)
    target = target_for(grid, 1000.0)
    found, _ = made(source_of(tmp_path / "a.tif", values, grid), target, "intensity", "nearest")
    other = gdal(values, grid, target, "nearest")
    u, v = centres_in(target, grid)
    on = inside(grid, u, v, 2.0)
    differ = on & (found != other)
    away = np.minimum(np.abs(u - np.rint(u)), np.abs(v - np.rint(v)))
    assert not (differ & (away > GDAL_PIXELS)).any()  # the stated tolerance, and no more
    share = differ.sum() / on.sum()
    assert share < 2 * GDAL_PIXELS  # measured: 0 to 0.07, by how the error runs along a line


def test_gdal_interpolates_at_points_an_eighth_of_a_pixel_off(tmp_path):
    grid = lonlat_grid(400, 400, 112.0, 40.0)
    rows, cols = np.mgrid[0:400, 0:400]
    values = (cols + 1000.0 * rows).astype(np.float64)  # a plane: bilinear values are the coordinates themselves
    target = target_for(grid, 1000.0)
    one = source_of(tmp_path / "a.tif", values, grid)
    found, _ = made(one, target, "intensity", "bilinear")
    out = np.full(target.shape, np.nan)
    gdal_reproject(
        values, out, src_transform=grid.transform, src_crs=RasterioCRS.from_epsg(4326), src_nodata=np.nan,
        dst_transform=target.transform, dst_crs=RasterioCRS.from_wkt(target.crs.to_wkt()), dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )  # fmt: skip
    u, v = centres_in(target, grid)
    on = inside(grid, u, v, 3.0)
    ours = np.abs(found - (u - 0.5 + 1000 * (v - 0.5)))[on]
    assert ours.max() < 1001 * 1e-6  # the bound on coordinates, times the gradient
    theirs = np.abs(out - (u - 0.5 + 1000 * (v - 0.5)))[on]
    assert 1000 * 1e-3 < theirs.max() < 1001 * 1.01 * GDAL_PIXELS  # off by far more than ours, and by what it says


def test_gdal_and_we_agree_where_its_transformer_is_exact(tmp_path):
    grid = Grid((60, 70), Affine(1000, 0, 0, 0, -1000, 60_000), LAMBERT)
    target = Grid((90, 80), Affine(730, 0, 1213, 0, -690, 58_111), LAMBERT)  # the same CRS: the map is linear
    values = lights(grid)
    one = source_of(tmp_path / "a.tif", values, grid)
    u, v = centres_in(target, grid)
    on = inside(grid, u, v, 1.0)
    for how, tolerance in (("nearest", 0.0), ("bilinear", 1e-5)):  # float32 holds 60 to 4e-6
        found, _ = made(one, target, "intensity", how)
        # Bilinear that shrinks widens GDAL's kernel; this grid is finer than its source, so it does not.
        assert np.abs(found - gdal(values, grid, target, how))[on].max() <= tolerance


def test_a_picked_value_keeps_dtype_and_fill(tmp_path):
    grid = lonlat_grid(20, 20)
    values = np.random.default_rng(0).integers(0, 64, grid.shape).astype(np.uint8)
    values[3:6, 3:6] = 255
    one = source_of(tmp_path / "a.tif", values, grid, nodata=255)
    plan = plan_for(*one, target_for(grid, 1000.0), "intensity", "nearest")
    write_reprojected(plan, tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as found:
        assert (found.nodata, found.dtypes[0]) == (255.0, "int32")
        assert set(np.unique(found.read(1))) <= set(range(64)) | {255}
    smooth = plan_for(*one, target_for(grid, 1000.0), "intensity", "bilinear")
    assert smooth.dtype == np.float32 and np.isnan(smooth.nodata)  # a mean could be 255


def test_a_source_reaching_from_0_to_360_is_sampled_on_its_own_turn(tmp_path):
    grid = Grid((60, 360), Affine(1, 0, 0, 0, -1, 60), WGS84)
    values = np.tile(np.arange(360, dtype=np.float32), (60, 1))
    target = Grid((10, 10), Affine(50_000, 0, -250_000, 0, -50_000, 4_000_000), "EPSG:32601")  # around 177 W
    found, _ = made(source_of(tmp_path / "a.tif", values, grid), target, "intensity", "nearest")
    u, _ = centres_in(target, Grid((60, 360), Affine(1, 0, -180, 0, -1, 60), WGS84))
    assert not np.isnan(found).any()
    assert (found == np.floor((u - 180) % 360)).all()
