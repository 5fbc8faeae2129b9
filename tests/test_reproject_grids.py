"""Coordinates of the mesh, target grids, files: bounds that are kept, refusals that say how to go on."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from reproject_cases import LAMBERT, WGS84, corners, lonlat_grid, source_of, target_for
from typer.testing import CliRunner

from gis.cli import app
from gis.errors import CrsInvalid, GisError, OptionInvalid, RasterInvalid
from gis.grid import Grid
from gis.pipeline.reproject import product_of, reproject_files, year_of
from gis.raster_io import CellRules, read_info
from gis.raster_io.overviews import halved, n_levels, write_cog
from gis.reproject import plan_for, target_grid, write_reprojected
from gis.reproject.mesh import lagrange_weights, mesh_of_centres, mesh_of_corners, points_in, reach
from gis.tables import LEDGER, check

BOUND = 1e-6
"""Promised error of an interpolated coordinate [cells]."""


# --- mesh ------------------------------------------------------------------------------------------------------------


@given(
    lon=st.floats(73, 134),
    lat=st.floats(4, 53),
    seconds=st.sampled_from([3, 15, 30, 300]),
    crs=st.sampled_from([LAMBERT, "ESRI:102025", "EPSG:32650", "EPSG:4526", "ESRI:54009"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_interpolated_coordinates_keep_their_bound(lon, lat, seconds, crs, seed):
    grid = lonlat_grid(200, 300, lon, lat + 200 * seconds / 3600, seconds / 3600)
    other = Grid((300, 300), Affine(seconds * 30, 0, 0, 0, -seconds * 30, 0), crs)
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, 201, 50), rng.integers(0, 301, 50)
    mesh = mesh_of_corners(grid, other)
    if not (
        mesh.first_block == (0, 0) and mesh.good.shape[0] * mesh.step > 200 and mesh.good.shape[1] * mesh.step > 300
    ):
        return  # the other grid is elsewhere, and the mesh knows it
    t, o = grid.transform, other.transform
    x, y = Transformer.from_crs(WGS84, crs, always_xy=True).transform(t.c + cols * t.a, t.f + rows * t.e)
    found = mesh.window(0, 201, 0, 301)[:, rows, cols]
    assert np.abs(found[0] - (x - o.c) / o.a).max() < BOUND
    assert np.abs(found[1] - (y - o.f) / o.e).max() < BOUND


def test_the_bound_holds_at_every_corner_of_a_province():
    grid = lonlat_grid(400, 500, 105.0, 33.0)
    target = target_for(grid, 250.0)
    mesh = mesh_of_corners(grid, target)
    t = target.transform
    x, y = corners(grid, LAMBERT)
    found = mesh.window(0, 401, 0, 501)
    assert mesh.good.mean() > 0.9
    assert max(np.abs(found[0] - (x - t.c) / t.a).max(), np.abs(found[1] - (y - t.f) / t.e).max()) < BOUND


def test_a_window_of_points_is_the_same_from_anywhere():
    grid = lonlat_grid(150, 150)
    mesh = mesh_of_corners(grid, target_for(grid, 1000.0))
    whole = mesh.window(0, 151, 0, 151)
    assert (mesh.window(37, 90, 64, 131) == whole[:, 37:90, 64:131]).all()
    block = np.stack([_block(mesh, mesh.u, 1, 2), _block(mesh, mesh.v, 1, 2)])
    side = mesh.step
    assert (block == whole[:, side : 2 * side + 1, 2 * side : 3 * side + 1]).all()  # its far edges are its neighbours'


def _block(mesh, nodes, row, col):
    from gis.zonal.resample_kernels import block_points

    out = np.empty((mesh.step + 1, mesh.step + 1))
    block_points(nodes, row, col, mesh.lagrange, out)
    return out


@pytest.mark.parametrize("step", [4, 8, 16, 32])
def test_weights_are_exact_at_both_ends_and_sum_to_one(step):
    weights = lagrange_weights(step)
    assert weights[0].tolist() == [0, 0, 1, 0, 0, 0]
    assert weights[-1].tolist() == [0, 0, 0, 1, 0, 0]
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-15
    u = np.arange(step + 1) / step
    assert np.abs(weights @ np.arange(-2.0, 4) ** 5 - u**5).max() < 1e-13  # a quintic is reproduced


def test_points_without_a_place_are_nan():
    world = Grid((180, 360), Affine(1, 0, -180, 0, -1, 90), WGS84)
    cone = Grid((10, 10), Affine(1e5, 0, 0, 0, -1e5, 1e6), LAMBERT)
    row, col = np.array([180, 0, 60]), np.array([200, 10, 290])
    u, _ = points_in(world, cone, row, col, 0.0)
    assert np.isnan(u[0]) and np.isfinite(u[1:]).all()  # the south pole has no place in this cone; the north pole has


def test_reach_holds_everything_that_lies_in_the_other_grid():
    world = Grid((1800, 3600), Affine(0.1, 0, -180, 0, -0.1, 90), WGS84)
    target = target_for(lonlat_grid(100, 100, 100.0, 40.0, 0.1), 5000.0)
    row0, row1, col0, col1 = reach(world, target)
    u, v = mesh_of_centres(target, world).window(0, target.shape[0], 0, target.shape[1])
    assert row0 < v.min() and v.max() < row1 and col0 < u.min() and u.max() < col1
    assert (row1 - row0) * (col1 - col0) < 0.1 * world.shape[0] * world.shape[1]


# --- target grids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [250.0, 1000.0, 3000.0])
def test_a_target_holds_every_corner_and_starts_at_a_multiple(cell):
    grid = lonlat_grid(300, 400, 100.0, 45.0)
    target = target_grid([grid], LAMBERT, cell)
    x, y = corners(grid, LAMBERT)
    x0, y0, x1, y1 = target.bounds_xy
    assert x0 <= x.min() < x0 + cell and x1 - cell < x.max() <= x1
    assert y0 <= y.min() < y0 + cell and y1 - cell < y.max() <= y1
    assert x0 % cell == 0 and y1 % cell == 0


def test_several_sources_share_one_target():
    a, b = lonlat_grid(10, 10, 100.0, 40.0), lonlat_grid(20, 20, 102.0, 38.0)
    both = target_grid([a, b], LAMBERT, 1000.0).bounds_xy
    for one in (a, b):
        x0, y0, x1, y1 = target_grid([one], LAMBERT, 1000.0).bounds_xy
        assert both[0] <= x0 and both[1] <= y0 and both[2] >= x1 and both[3] >= y1


REFUSED = [
    ({"cell": 0.0}, OptionInvalid, "give its side in metre: --cell 1000"),
    ({"cell": -5.0}, OptionInvalid, "give its side in metre: --cell 1000"),
    ({"cell": float("nan")}, OptionInvalid, "give its side in metre: --cell 1000"),
    ({"cell": 1e-3}, OptionInvalid, "the cell is measured in the unit of the target CRS, metre"),
    ({"cell": 1e9}, OptionInvalid, "the cell is measured in the unit of the target CRS, metre"),
    ({"cell": 1000.0, "crs": WGS84}, OptionInvalid, "the unit of the target CRS, degree: --cell 0.01"),
    ({"crs": "EPSG:32633"}, CrsInvalid, "choose another --to"),
    ({"crs": "EPSG:102027"}, CrsInvalid, 'crs = "ESRI:102027"'),
]


@pytest.mark.parametrize(("options", "error", "mend"), REFUSED)
def test_a_grid_that_cannot_be_is_refused(options, error, mend):
    with pytest.raises(error, match=re.escape(mend)):
        target_grid([lonlat_grid(200, 200)], **{"crs": LAMBERT, "cell": 1000.0} | options)


def test_a_source_with_corners_off_the_map_is_refused():
    world = Grid((180, 360), Affine(1, 0, -180, 0, -1, 90), WGS84)
    with pytest.raises(CrsInvalid, match="--like a raster of that part"):
        target_grid([world], LAMBERT, 10_000.0)


# --- files -----------------------------------------------------------------------------------------------------------


def count_file(tmp_path, name="landscan-global-2010.tif", grid=None):
    grid = grid or lonlat_grid(40, 40)
    values = np.random.default_rng(5).integers(0, 500, grid.shape).astype(np.int32)
    source_of(tmp_path / name, values, grid, nodata=-9999)
    return tmp_path / name, values


def test_overviews_of_counts_add_up_and_those_of_lights_do_not(tmp_path):
    grid = Grid((900, 1300), Affine(1000, 0, 0, 0, -1000, 900_000), LAMBERT)
    values = np.random.default_rng(2).integers(0, 9, grid.shape).astype(np.float64)
    values[:, :200] = np.nan
    write_cog(tmp_path / "c.tif", [values[:311], values[311:]], grid, dtype="float64", nodata=np.nan, overviews="sum")
    with rasterio.open(tmp_path / "c.tif") as whole:
        assert whole.overviews(1) == [2, 4] and whole.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(whole.read(1), values, equal_nan=True)
    for level in range(2):
        with rasterio.open(tmp_path / "c.tif", overview_level=level) as view:
            cells = view.read(1)
            assert cells.shape == (900 // 2 ** (level + 1), 1300 // 2 ** (level + 1))
            assert np.nansum(cells) == np.nansum(values)
            assert np.isnan(cells[:, : 200 // 2 ** (level + 1)]).all()
    write_cog(tmp_path / "i.tif", [values], grid, dtype="float32", nodata=np.nan, overviews="average", predictor=True)
    with rasterio.open(tmp_path / "i.tif", overview_level=0) as view:
        assert np.nanmax(np.abs(view.read(1)[:, 100:] - halved(values, np.nan)[:, 100:] / 4)) < 1e-6  # float32
    write_cog(tmp_path / "n.tif", [values], grid, dtype="float32", nodata=np.nan, overviews="nearest")
    with rasterio.open(tmp_path / "n.tif", overview_level=1) as view:
        assert np.isin(view.read(1)[:, 60:], np.arange(9)).all()
    # The right edge of the coarser view is that of the data, not beyond: 1300 / 4 = 325
    assert not np.isnan(cells[:, -1]).any()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_halving_keeps_the_total_and_leaves_fill_alone(ny, nx, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 100, (ny, nx)).astype(float)
    values[rng.random((ny, nx)) < 0.5] = -9999
    half = halved(values, -9999)
    assert half.shape == (-(-ny // 2), -(-nx // 2))
    assert half[half != -9999].sum() == values[values != -9999].sum()
    for i, j in np.ndindex(half.shape):
        assert (half[i, j] == -9999) == (values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] == -9999).all()


def test_levels_stop_where_one_tile_is_enough():
    def of(side):
        return n_levels(Grid((1, side), Affine(1, 0, 0, 0, -1, 0), LAMBERT))

    assert [of(512), of(513), of(1024), of(1025)] == [0, 1, 1, 2]


def test_a_reprojected_file_says_where_it_comes_from(tmp_path):
    path, _ = count_file(tmp_path)
    done = reproject_files([path], tmp_path / "out", cell=1000.0)
    with rasterio.open(done.paths[0]) as found:
        tags = found.tags()
        assert found.crs == rasterio.crs.CRS.from_user_input(LAMBERT)
        assert found.block_shapes == [(512, 512)] and found.compression.value == "DEFLATE"
    assert tags["LIGHTPANEL_SOURCE"] == path.name and tags["LIGHTPANEL_RESAMPLING"] == "conserve"
    assert tags["LIGHTPANEL_OVERVIEWS"] == "sum" and tags["LIGHTPANEL_PRODUCT"] == "landscan"


def test_the_ledger_table_is_as_declared(tmp_path):
    path, values = count_file(tmp_path)
    done = reproject_files([path], tmp_path / "out")
    row = check(LEDGER, pd.read_parquet(tmp_path / "out" / "ledger.parquet")).iloc[0]
    assert (row["raster"], row["raster_kind"], row["raster_year"]) == (path.name, "count", 2010)
    assert row["source_mass"] == values.sum() and abs(row["loss_share"]) < 1e-13
    assert done.notes == ()


def test_rasters_of_one_call_share_a_grid_and_like_takes_another(tmp_path):
    a, _ = count_file(tmp_path, "landscan-global-2010.tif")
    b, _ = count_file(tmp_path, "landscan-global-2011.tif", lonlat_grid(30, 30, 110.5, 34.9))
    together = reproject_files([a, b], tmp_path / "both", cell=2000.0)
    grids = [read_info(path).grid for path in together.paths]
    assert grids[0].same_place(grids[1])
    alone = reproject_files([b], tmp_path / "like", like=together.paths[0])
    assert read_info(alone.paths[0]).grid.same_place(grids[0])
    assert alone.paths[0].read_bytes() == together.paths[1].read_bytes()


def test_products_and_years_are_told_by_name(tmp_path):
    assert product_of(tmp_path / "landscan-global-2010.tif").name == "landscan"
    assert product_of(tmp_path / "EANTLI_like_2010.tif").quantity == "intensity"
    assert product_of(tmp_path / "people.tif") is None
    assert [year_of(n) for n in ("a_2010.tif", "20101.tif", "a_2010_2011.tif", "LongNTL_2019.tif")] == [
        2010,
        None,
        None,
        2019,
    ]


MISUSE = [
    (["people.tif"], "say it: --kind count"),
    (["people.tif", "--kind", "number"], "one of count, intensity"),
    (["landscan-global-2010.tif", "--kind", "intensity"], "--kind count"),
    (["people.tif", "--kind", "count", "--resampling", "bilinear"], "add --i-know"),
    (["people.tif", "--kind", "count", "--resampling", "cubic"], "one of conserve, nearest, bilinear, average"),
    (["people.tif", "--kind", "count", "--cell", "0"], "give its side in metre"),
    (["people.tif", "--kind", "count", "--cell", "1e8"], "the cell is measured in the unit"),
    (["people.tif", "--kind", "count", "--to", "EPSG:4326"], "give its side in degrees: --cell 0.01"),
    (["people.tif", "--kind", "count", "--to", "EPSG:2154"], "choose another --to"),
    (["people.tif", "--kind", "count", "--like", "like.tif", "--cell", "77"], "leave --cell out"),
    (["people.tif", "--kind", "count", "--like", "like.tif", "--to", "EPSG:32650"], "leave --to out"),
    (["people.tif", "other/people.tif", "--kind", "count"], "give them folders of their own"),
    (["people.tif", "--kind", "count", "--resampling", "nearest", "--i-know", "--loss-max", "0.1"], "use conserve"),
    (["missing.tif", "--kind", "count"], "check the name"),
]


@pytest.mark.parametrize(("arguments", "mend"), MISUSE)
def test_the_command_refuses_with_a_way_out_and_writes_nothing(workdir, arguments, mend):
    for name in ("people.tif", "landscan-global-2010.tif", "like.tif"):
        count_file(workdir, name)
    (workdir / "other").mkdir()
    count_file(workdir / "other", "people.tif")
    result = CliRunner().invoke(app, ["reproject", *arguments, "-o", "out", "-q"])
    assert isinstance(result.exception, GisError)
    assert mend in str(result.exception.mend)
    assert not (workdir / "out").exists() or not list((workdir / "out").iterdir())


def test_the_command_writes_beside_no_raster_over_itself(workdir):
    count_file(workdir, "landscan-global-2010.tif")
    result = CliRunner().invoke(app, ["reproject", "landscan-global-2010.tif", "-o", ".", "-q"])
    assert isinstance(result.exception, OptionInvalid) and "name another folder" in result.exception.mend


def test_a_careless_run_can_be_replicated_and_is_told_so(workdir):
    count_file(workdir, "people.tif")
    options = ["--kind", "count", "--resampling", "nearest", "--i-know", "-o", "out", "-q"]
    result = CliRunner().invoke(app, ["reproject", "people.tif", *options])
    assert result.exit_code == 0, result.output
    assert "do not use it for anything but a comparison" in result.output
    row = pd.read_parquet("out/ledger.parquet").iloc[0]
    assert 0.25 < row["loss_share"] < 0.45  # at 35 N a 30" cell holds 0.70 km2; a cell of the plane 1.2


FULL_DISK = """
import resource, sys
from gis.errors import WriteFailed
from gis.pipeline.reproject import reproject_files
import gis.zonal.resample_kernels
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    reproject_files([sys.argv[1]], sys.argv[2], kind=sys.argv[3], cell=200.0)
except WriteFailed as error:
    print(error.mend)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("kind", ["count", "intensity"])
def test_a_disk_full_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, checkout, kind):
    # A file size limit stands in for a full disk: the write call of the system fails in the same place.
    path, _ = count_file(tmp_path, "people.tif", lonlat_grid(120, 120))
    out = tmp_path / "out"
    out.mkdir()
    (out / "people.tif").write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(out), kind]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    assert "free some space" in done.stdout, done.stderr
    assert (out / "people.tif").read_text() == "old"
    assert [p.name for p in out.iterdir()] == ["people.tif"]


def test_a_loss_is_refused_before_the_file_has_its_name(tmp_path):
    path, _ = count_file(tmp_path)
    rules = CellRules(nodata=(-9999.0,), negatives="nan")
    plan = plan_for(read_info(path), rules, target_for(lonlat_grid(40, 40), 1000.0), "count", "nearest")
    with pytest.raises(RasterInvalid, match="use conserve resampling, or allow it: loss_max"):
        write_reprojected(plan, tmp_path / "o.tif", loss_max=0.01)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_strips_that_do_not_fill_the_grid_are_refused(tmp_path):
    grid = Grid((4, 4), Affine(1, 0, 0, 0, -1, 4), LAMBERT)
    for strips, mend in (([np.zeros((3, 4))], "give every row"), ([np.zeros((4, 5))], "give strips of full rows")):
        with pytest.raises(OptionInvalid, match=mend):
            write_cog(tmp_path / "o.tif", strips, grid, dtype="float64", nodata=-1, overviews="sum")
    assert list(tmp_path.iterdir()) == []
