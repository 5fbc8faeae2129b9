"""Counts divided by overlap: against shapely, to the last person, to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from reproject_cases import LAMBERT, WGS84, lonlat_grid, made, one_by_one, overlaps, source_of, target_for

from gis.graph import run_tasks
from gis.grid import Grid
from gis.raster_io import CellRules, read_info
from gis.reproject import check_resampling, plan_for, write_reprojected
from gis.reproject.ledger import account_source
from gis.reproject.resample import Source

PEOPLE = CellRules(nodata=(-9999.0,), negatives="nan")


def people(grid, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.poisson(50 * rng.random(grid.shape) ** 6 * 100).astype(np.int32)
    values[rng.random(grid.shape) < 0.2] = -9999
    return values


def source(tmp_path, grid, values=None, name="people.tif"):
    return source_of(tmp_path / name, people(grid) if values is None else values, grid, nodata=-9999, rules=PEOPLE)


@pytest.mark.parametrize("cell", [300.0, 1000.0, 2700.0])
def test_counts_match_shapely_cell_by_cell(tmp_path, cell):
    grid = lonlat_grid(18, 22)
    values, target = people(grid), target_for(grid, cell)
    found, plan = made(source(tmp_path, grid, values), target, "count", "conserve")
    areas, own = overlaps(grid, target)
    data = (values.ravel() >= 0) * values.ravel().astype(float)
    expected = (data / own) @ areas
    touched = ((values.ravel() >= 0)[:, None] * areas).sum(axis=0) > 1e-6
    empty = (found == plan.nodata).ravel()
    assert (empty == ~touched).all()
    # Coordinates are good to 1e-7 of a cell, and a cell's density differs from its neighbour's by its whole value.
    assert np.abs(np.where(empty, 0, found.ravel()) - expected).max() < 1e-5 * values.max()


@given(
    lat=st.floats(16, 75),
    lon=st.floats(60, 140),
    seconds=st.sampled_from([15, 30, 300, 900]),
    cell=st.floats(400, 30_000),
    crs=st.sampled_from([LAMBERT, "ESRI:102025", "EPSG:3857", "ESRI:54009"]),
)
@settings(max_examples=20)
def test_nobody_is_lost_wherever_and_however_large(tmp_path_factory, lat, lon, seconds, cell, crs):
    grid = lonlat_grid(12, 9, lon, lat, seconds / 3600)
    cell = min(max(cell, seconds * 3), seconds * 100)  # some hundred target cells a side, and more than one
    values = people(grid, int(cell))
    found, plan = made(
        source(tmp_path_factory.mktemp("p"), grid, values), target_for(grid, cell, crs), "count", "conserve"
    )
    arrived = math.fsum(found[found != plan.nodata])
    assert arrived == pytest.approx(int(values[values >= 0].sum()), rel=1e-13)  # some hundred roundings of 1e-16


@given(
    tile=st.tuples(st.integers(7, 90), st.integers(7, 90)),
    held=st.sampled_from([0, 10**9]),
    run=st.sampled_from([one_by_one, run_tasks]),
)
@settings(max_examples=8)
def test_tiling_and_workers_change_no_bit(tmp_path_factory, tile, held, run):
    grid = lonlat_grid(70, 80)
    one = source(tmp_path_factory.mktemp("t"), grid)
    target = target_for(grid, 900.0)
    expected, _ = made(one, target, "count", "conserve")
    found, _ = made(one, target, "count", "conserve", run=run, tile=tile, held_cells=held)
    assert found.tobytes() == expected.tobytes()


def test_tiling_and_workers_change_no_byte_of_the_file(tmp_path):
    grid = lonlat_grid(300, 700)
    one, target = source(tmp_path, grid), target_for(grid, 700.0)
    files = []
    for name, tile, held, threads in (("a", (1024, 2048), 10**9, 1), ("b", (173, 61), 0, 2), ("c", (512, 300), 0, 3)):
        plan = plan_for(*one, target, "count", "conserve", tile=tile, held_cells=held)

        def run(function, tasks, threads=threads):
            return run_tasks(function, tasks, threads=threads)

        ledger = write_reprojected(plan, tmp_path / f"{name}.tif", run=run)
        files.append(((tmp_path / f"{name}.tif").read_bytes(), ledger))
    assert files[0] == files[1] == files[2]


def test_the_same_grid_gives_the_same_counts(tmp_path):
    grid = Grid((9, 11), Affine(1000, 0, 5000, 0, -1000, 90_000), LAMBERT)
    values = people(grid)
    found, plan = made(source(tmp_path, grid, values), grid, "count", "conserve")
    assert (found[values >= 0] == values[values >= 0]).all()
    assert (found[values < 0] == plan.nodata).all()


def test_a_cell_cut_in_four_leaves_a_quarter_in_each(tmp_path):
    grid = Grid((3, 4), Affine(2000, 0, 0, 0, -2000, 6000), LAMBERT)
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    found, _ = made(source(tmp_path, grid, values), grid.refined(2), "count", "conserve")
    assert (found == np.kron(values, np.ones((2, 2))) / 4).all()


def test_a_shift_by_a_quarter_cell_by_hand(tmp_path):
    grid = Grid((1, 2), Affine(4, 0, 1, 0, -4, 4), LAMBERT)
    target = Grid((1, 3), Affine(4, 0, 0, 0, -4, 4), LAMBERT)
    found, _ = made(source(tmp_path, grid, np.array([[8, 16]], np.int32)), target, "count", "conserve")
    assert found.tolist() == [[0.75 * 8, 0.25 * 8 + 0.75 * 16, 0.25 * 16]]


def test_what_falls_beyond_the_target_is_accounted_for(tmp_path):
    grid = lonlat_grid(60, 60)
    values = people(grid)
    whole = target_for(grid, 1000.0)
    t = whole.transform
    part = Grid((23, 31), Affine(t.a, 0, t.c + 14 * t.a, 0, t.e, t.f + 17 * t.e), LAMBERT)
    plan = plan_for(*source(tmp_path, grid, values), part, "count", "conserve")
    ledger = write_reprojected(plan, tmp_path / "part.tif", loss_max=1e-12)
    assert ledger.source_total == int(values[values >= 0].sum())
    assert 0.4 * ledger.source_total < ledger.beyond_total < 0.95 * ledger.source_total
    # Two sums that share no addition, of a few thousand roundings each
    assert ledger.beyond_total + ledger.reprojected_total == pytest.approx(ledger.source_total, rel=1e-13)
    assert ledger.n_nodata_cells == (values == -9999).sum()


def test_negative_counts_are_nobody_and_are_counted(tmp_path):
    grid = lonlat_grid(5, 5)
    values = np.full((5, 5), 3, np.int32)
    values[2, 2] = -7
    plan = plan_for(*source(tmp_path, grid, values), target_for(grid, 1000.0), "count", "conserve")
    ledger = write_reprojected(plan, tmp_path / "n.tif")
    assert (ledger.source_total, ledger.n_negative_cells, ledger.negative_total) == (72.0, 1.0, -7.0)
    assert ledger.reprojected_total == pytest.approx(72.0, rel=1e-14)


@pytest.mark.parametrize("cell", [pytest.param(20_000.0, marks=pytest.mark.slow), 100_000.0])
def test_a_whole_earth_onto_one_country(tmp_path, cell):
    """Poles, the antimeridian and the cut of the cone lie in the source; what is far away lies beyond the target."""
    grid = Grid((180, 360), Affine(1, 0, -180, 0, -1, 90), WGS84)
    values = np.random.default_rng(3).integers(0, 1000, grid.shape).astype(np.int32)
    near = lonlat_grid(30, 60, 75.0, 50.0, 1.0)
    target = target_for(near, cell)
    one = source(tmp_path, grid, values)
    plan = plan_for(*one, target, "count", "conserve")
    ledger = write_reprojected(plan, tmp_path / "o.tif", loss_max=1e-12)
    assert ledger.beyond_total + ledger.reprojected_total == pytest.approx(int(values.sum()), rel=1e-12)  # 65,000 terms
    inside = slice(41, 69), slice(256, 314)  # well inside the target, as that holds 20-50 N, 75-135 E
    assert ledger.reprojected_total > values[inside].sum()
    # The part of the earth around the target alone gives the same cells, but for the order of additions at its edge
    window = Grid((60, 100), Affine(1, 0, 60, 0, -1, 65), WGS84)
    part, _ = made(source(tmp_path, window, values[25:85, 240:340], "w.tif"), target, "count", "conserve")
    found, _ = made(one, target, "count", "conserve")
    assert np.abs(found - part).max() < 1e-4 * values.max()  # mesh and exact coordinates differ by 1e-7 of a cell


def test_a_source_that_reaches_past_the_antimeridian(tmp_path):
    east = Grid((20, 40), Affine(0.5, 0, 170, 0, -0.5, 60), WGS84)  # 170 E to 190 E
    values = people(east)
    target = target_for(east, 20_000.0, "EPSG:3571")
    plan = plan_for(*source(tmp_path, east, values), target, "count", "conserve")
    ledger = write_reprojected(plan, tmp_path / "o.tif", loss_max=1e-12)
    assert ledger.beyond_total == 0
    assert ledger.reprojected_total == pytest.approx(ledger.source_total, rel=1e-13)


def test_a_cell_of_the_pole_has_a_place(tmp_path):
    cap = Grid((8, 36), Affine(10, 0, -180, 0, -2, 90), WGS84)
    values = np.ones(cap.shape, np.int32)
    plan = plan_for(*source(tmp_path, cap, values), target_for(cap, 50_000.0, "EPSG:3995"), "count", "conserve")
    ledger = write_reprojected(plan, tmp_path / "o.tif", loss_max=1e-12)
    assert ledger.reprojected_total == pytest.approx(values.size, rel=1e-13)


def test_sampling_a_count_loses_what_the_method_says(tmp_path):
    grid = lonlat_grid(120, 120, 113.0, 40.4)  # Beijing's latitude: 0.5408 of the people are left on 1 km cells
    values = np.full(grid.shape, 100, np.int32)
    one = source(tmp_path, grid, values)
    inner = Grid((20, 20), target_for(grid, 1000.0).transform @ Affine.translation(45, 50), LAMBERT)
    sampled, _ = made(one, inner, "count", "nearest")
    kept, _ = made(one, inner, "count", "conserve")
    assert (sampled == 100).all()
    assert sampled.sum() / kept.sum() == pytest.approx(
        0.5408, abs=0.002
    )  # the city of the table lies half a degree off


def test_an_account_does_not_depend_on_how_the_source_is_read(tmp_path):
    grid = lonlat_grid(600, 30)
    one, target = source(tmp_path, grid), target_for(lonlat_grid(300, 20), 1000.0)
    accounts = []
    for held, run in ((10**9, one_by_one), (0, run_tasks)):
        plan = plan_for(*one, target, "count", "conserve", held_cells=held)
        accounts.append(account_source(plan, Source(plan, run), run))
    assert accounts[0] == accounts[1]
    assert accounts[0][1] > 0


@pytest.mark.real_data
@pytest.mark.slow
def test_a_real_world_population_keeps_its_total_in_asia(real_data, tmp_path):
    info = read_info(real_data / "pop/gpw_v411_2000_global/gpw_v4_population_count_rev11_2000_30_min.tif")
    rules = CellRules(nodata=() if info.nodata is None else (info.nodata,), negatives="nan")
    target = target_for(lonlat_grid(100, 130, 72.0, 55.0, 0.5), 10_000.0)
    ledger = write_reprojected(plan_for(info, rules, target, "count", "conserve"), tmp_path / "o.tif", loss_max=1e-12)
    assert ledger.source_total == pytest.approx(6_026_037_248, rel=1e-7)  # the total its provenance states, in float32
    assert ledger.reprojected_total > 2.5e9
    assert abs(ledger.loss_share) < 1e-12


def test_a_count_is_not_sampled_by_mistake():
    from gis.errors import OptionInvalid

    for name in ("nearest", "bilinear", "average"):
        with pytest.raises(OptionInvalid) as caught:
            check_resampling("count", name)
        assert "add --i-know" in str(caught.value.mend)
        assert check_resampling("count", name, i_know=True) == name
    assert check_resampling("count", None) == "conserve"
    assert check_resampling("intensity", None) == "nearest"
    with pytest.raises(OptionInvalid, match="no resampling"):
        check_resampling("intensity", "cubic")
