"""The store changes nothing but the time: same bits, only what changed is done again, damage costs a recomputation."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import shapely
from affine import Affine

import gis
from gis.crs import crs_from
from gis.demo import write_demo
from gis.grid import MEASURES, Grid, Zones
from gis.raster_io import CellRules, read_info, write_raster
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, run_jobs
from gis.zonal.store import Store

WGS84 = crs_from("EPSG:4326")
GRID = Grid((1100, 90), Affine(1 / 120, 0, 110, 0, -1 / 120, 36), WGS84)
RULES = CellRules(negatives="keep")
ARRAYS = ("span_ptr", "span_zone", "span_cols", "cell_ptr", "cell_zone", "cell_col", "cell_share")


def zones(n=6, moved=None):
    x0, y0, x1, y1 = GRID.bounds_xy
    rng = np.random.default_rng(3)
    shapes = [
        shapely.Point(x, y).buffer(r)
        for x, y, r in zip(rng.uniform(x0, x1, n), rng.uniform(y0, y1, n), rng.uniform(0.02, 0.3, n), strict=True)
    ]
    if moved is not None:
        shapes[moved] = shapely.transform(shapes[moved], lambda xy: xy + 0.003)
    return Zones(tuple(f"{i:06d}" for i in range(n)), np.array(shapes, object), WGS84)


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    values = np.random.default_rng(4).lognormal(0, 3, GRID.shape).astype("float32")
    return read_info(write_raster(tmp_path_factory.mktemp("r") / "r.tif", values, GRID, dtype="float32", cog=False))


def job(info, layer, **options):
    return Job(info, RULES, (coverage_from_zones(GRID, layer),), MEASURES, profile=True, **options)


def same(a, b):
    return all(
        np.array_equal(x, y, equal_nan=True) for x, y in ((a.sums, b.sums), (a.valid, b.valid), (a.profile, b.profile))
    )


def test_coverage_from_the_store_is_the_coverage(tmp_path):
    store, layer = Store(tmp_path), zones()
    direct = coverage_from_zones(GRID, layer)
    for built, known in ((6, 0), (6, 6)):
        found = store.coverage(GRID, layer)
        assert all(np.array_equal(getattr(found, n), getattr(direct, n)) for n in ARRAYS)
        assert (store.reuse.zones_built, store.reuse.zones_known) == (built, known)


def test_a_changed_polygon_is_built_alone(tmp_path):
    store = Store(tmp_path)
    store.coverage(GRID, zones())
    changed = zones(moved=2)
    found = store.coverage(GRID, changed)
    assert (store.reuse.zones_built, store.reuse.zones_known) == (7, 5)
    direct = coverage_from_zones(GRID, changed)
    assert all(np.array_equal(getattr(found, n), getattr(direct, n)) for n in ARRAYS)


def test_another_grid_shares_nothing(tmp_path):
    store = Store(tmp_path)
    store.coverage(GRID, zones())
    store.coverage(Grid(GRID.shape, GRID.transform @ Affine.translation(0.5, 0), WGS84), zones())
    assert store.reuse.zones_known == 0


@pytest.mark.parametrize("whole", [True, False])
def test_sums_from_the_store_are_the_sums(tmp_path, info, whole):
    store, layer = Store(tmp_path), zones()
    one = job(info, layer, whole=whole)
    direct = run_jobs([one])[0][0]
    for _ in range(2):
        found = store.run([one], [[layer]], ["hash"])[0][0]
        assert same(found, direct)
        assert found.raster_sum == direct.raster_sum or (np.isnan(found.raster_sum) and not whole)
    assert (store.reuse.rasters_read, store.reuse.rasters_spared) == (1, 1)


def test_only_changed_zones_are_summed_again(tmp_path, info):
    store = Store(tmp_path)
    store.run([job(info, zones())], [[zones()]], ["hash"])
    changed = zones(moved=2)
    found = store.run([job(info, changed)], [[changed]], ["hash"])[0][0]
    assert (store.reuse.sums_made, store.reuse.sums_known) == (7, 5)
    assert same(found, run_jobs([job(info, changed)])[0][0])


def test_another_raster_or_rule_shares_nothing(tmp_path, info):
    store, layer = Store(tmp_path), zones()
    store.run([job(info, layer)], [[layer]], ["hash"])
    store.run([job(info, layer)], [[layer]], ["other"])
    other = Job(info, CellRules(negatives="zero"), (coverage_from_zones(GRID, layer),), MEASURES, profile=True)
    store.run([other], [[layer]], ["hash"])
    assert store.reuse.sums_known == 0


def test_other_code_shares_nothing(tmp_path, info, monkeypatch):
    store, layer = Store(tmp_path), zones()
    store.run([job(info, layer)], [[layer]], ["hash"])
    monkeypatch.setattr("gis.zonal.store.code_fingerprint", lambda: "other code")
    store.run([job(info, layer)], [[layer]], ["hash"])
    assert store.reuse.sums_known == 0


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_file_costs_a_recomputation(tmp_path, info, damage):
    store, layer = Store(tmp_path), zones()
    store.coverage(GRID, layer)
    expected = store.run([job(info, layer)], [[layer]], ["hash"])[0][0]
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:-300] if damage is None else damage)
    again = Store(tmp_path)
    again.coverage(GRID, layer)
    assert same(again.run([job(info, layer)], [[layer]], ["hash"])[0][0], expected)
    assert again.reuse.zones_known == again.reuse.sums_known == 0


def test_a_store_that_cannot_be_written_changes_no_result(tmp_path, info):
    (tmp_path / "sums").write_text("a file where a folder should be")
    (tmp_path / "coverage").write_text("likewise")
    store, layer = Store(tmp_path), zones()
    assert same(store.run([job(info, layer)], [[layer]], ["hash"])[0][0], run_jobs([job(info, layer)])[0][0])
    assert len(store.coverage(GRID, layer)) == 6


def _fill(root, path, first):
    store = Store(root)
    for k in range(first, first + 3):
        layer = zones(moved=k)
        store.coverage(GRID, layer)
        store.run([job(read_info(path), layer)], [[layer]], ["hash"])


def test_two_processes_share_a_store(tmp_path, info):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fill, args=(tmp_path, info.path, first)) for first in (0, 3)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    store = Store(tmp_path)
    for k in range(6):
        layer = zones(moved=k)
        assert same(store.run([job(info, layer)], [[layer]], ["hash"])[0][0], run_jobs([job(info, layer)])[0][0])
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()]


def test_housekeeping_deletes_what_is_old_or_too_much(tmp_path, info):
    store = Store(tmp_path)
    for k in range(3):
        store.run([job(info, zones(moved=k))], [[zones(moved=k)]], [f"raster {k}"])
    entries = store.entries()
    assert len(entries) == 3 and {e.kind for e in entries} == {"sums"}
    os.utime(entries[0].path, (0, 0))
    left_behind = tmp_path / "sums" / ".interrupted.npz"
    left_behind.write_bytes(b"half")
    os.utime(left_behind, (0, 0))
    assert [e.path for e in store.collect(older_than_days=1)] == [entries[0].path]
    assert not left_behind.exists()
    assert len(store.collect(keep_bytes=entries[1].size_bytes)) == 1
    assert len(store.entries()) == 1


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    paths = write_demo(tmp_path_factory.mktemp("store") / "demo")
    gis.run(paths.root)
    return paths.root


@pytest.fixture
def copy(demo, tmp_path):
    shutil.copytree(demo, tmp_path / "w")
    return tmp_path / "w"


def tables(root):
    return {p.name: p.read_bytes() for p in sorted((root / "out").glob("*.parquet"))}


def test_nothing_changed_means_nothing_done(copy):
    before = {p: p.stat().st_mtime_ns for p in (copy / "out").iterdir()}
    result = gis.run(copy)
    assert "nothing has changed" in result.reuse
    assert {p: p.stat().st_mtime_ns for p in (copy / "out").iterdir()} == before
    assert len(result.city_year) == 96


def test_an_output_that_was_touched_is_made_again(copy):
    expected = tables(copy)
    (copy / "out" / "pair_year.parquet").write_bytes(b"spoilt")
    result = gis.run(copy)
    assert "0 zone sums computed" not in result.reuse and "16 rasters not read again" in result.reuse
    assert tables(copy) == expected


def test_a_new_year_computes_that_year_alone(copy, demo):
    shutil.rmtree(copy / ".cache")
    shutil.rmtree(copy / "out")
    year = copy / "rasters" / "EANTLI_like_2019"
    shutil.move(year, copy / "away")
    gis.run(copy)
    shutil.move(copy / "away", year)
    result = gis.run(copy)
    assert "14 rasters not read again, 2 read" in result.reuse or "15 rasters not read again, 1 read" in result.reuse
    assert tables(copy) == tables(demo)


def test_another_vintage_builds_only_changed_polygons(copy):
    import geopandas as gpd

    file = copy / "boundaries" / "demo_2019.gpkg"
    districts = gpd.read_file(file, layer="district")
    one = districts.geometry.iloc[7]
    districts.loc[districts.index[7], "geometry"] = one.buffer(-0.01)
    districts.to_file(file, layer="district")
    result = gis.run(copy)
    # one polygon on three grids (the population's extent changes once), in sixteen rasters
    assert "3 built" in result.reuse and "16 computed" in result.reuse
    assert result.district_year["district_code"].nunique() == 60


def test_a_killed_run_is_resumed_with_the_same_bits(demo, tmp_path):
    root = tmp_path / "w"
    shutil.copytree(demo, root, ignore=shutil.ignore_patterns("out", ".cache"))
    script = "import sys, gis; gis.run(sys.argv[1])"
    for patience in (0.5, 20.0):
        process = subprocess.Popen([sys.executable, "-c", script, str(root)])
        deadline = time.monotonic() + 60
        # Killed as soon as it has begun to write results down, and once before.
        while time.monotonic() < deadline and process.poll() is None:
            if patience == 0.5 or (root / ".cache" / "store" / "sums").exists():
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (root / ".cache" / "last_run.json").exists()
    gis.run(root)
    assert tables(root) == tables(demo)
    strays = [p for p in root.rglob(".*") if p.is_file() and "store" not in p.parts]
    assert not strays


def test_what_is_finished_before_an_interruption_is_kept(tmp_path, info, monkeypatch):
    from gis.zonal import store as module

    monkeypatch.setattr(module, "BATCH", 2)
    layer = zones()
    jobs, rasters = [job(info, layer)] * 5, [f"raster {k}" for k in range(5)]
    calls = []

    def interrupted(function, tasks):
        calls.append(len(tasks))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [function(task) for task in tasks]

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).run(jobs, [[layer]] * 5, rasters, run=interrupted)
    again = Store(tmp_path)
    found = again.run(jobs, [[layer]] * 5, rasters)
    assert (again.reuse.rasters_spared, again.reuse.rasters_read) == (4, 1)
    expected = run_jobs(jobs[:1])[0][0]
    assert all(same(one[0], expected) for one in found)
