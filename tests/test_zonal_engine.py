"""The engine's sums: equal to the definition, indifferent to tiling, threads and the order of zones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.crs import crs_from
from gis.errors import GridMismatch
from gis.graph import run_tasks
from gis.grid import MEASURES, Grid, Zones
from gis.raster_io import CellRules, is_data, read_info, write_raster
from gis.zonal import engine
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, bounds_from_rules, run_jobs
from gis.zonal.kernels import (
    ABSOLUTE_SUM,
    AT_MAX,
    COUNT,
    LIT_CELLS,
    M2,
    MAX,
    MEAN,
    MIN,
    NEGATIVE_CELLS,
    NEGATIVE_SUM,
)  # fmt: skip
from tests.oracles import sums_by_hand

WGS84 = crs_from("EPSG:4326")
ALBERS = crs_from("ESRI:102025")
GEOGRAPHIC = Grid((1100, 90), Affine(1 / 120, 0, 110, 0, -1 / 120, 36), WGS84)
PROJECTED = Grid((1100, 90), Affine(1000, 0, 1.2e6, 0, -1000, 9e5), ALBERS)


def blob(grid, seed, size=0.4):
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = grid.bounds_xy
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = rng.uniform(0.3, 1, 40) * size
    centre = rng.uniform(0.2, 0.8, 2)
    return shapely.Polygon(
        np.column_stack(
            [
                x0 + (x1 - x0) * (centre[0] + radii * np.cos(angles)),
                y0 + (y1 - y0) * (centre[1] + radii * np.sin(angles)),
            ]
        )
    )


def zones_on(grid, n=4):
    return Zones(tuple(f"{i}" for i in range(n)), np.array([blob(grid, i) for i in range(n)], object), grid.crs)


def make_values(grid, dtype, seed=0, holes=0.1, negatives=0.05):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 64 * 50, grid.shape) / 64  # multiples of 1/64: sums are exact
    values[rng.random(grid.shape) < negatives] *= -1
    values = values.round() if np.dtype(dtype).kind == "i" else values
    values[rng.random(grid.shape) < holes] = -9999
    return values.astype(dtype)


def written(folder, grid, values, name="r.tif", **options):
    path = write_raster(folder / name, values, grid, dtype=values.dtype, nodata=-9999, cog=False, **options)
    return read_info(path)


def rules(**changes):
    return CellRules(**{"nodata": (-9999.0,), "negatives": "keep", **changes})


@pytest.mark.parametrize("grid", [GEOGRAPHIC, PROJECTED], ids=["geographic", "projected"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
def test_sums_match_the_definition(tmp_path, grid, dtype):
    values = make_values(grid, dtype)
    info = written(tmp_path, grid, values)
    zones = zones_on(grid)
    coverage = coverage_from_zones(grid, zones)
    sums = run_jobs([Job(info, rules(), (coverage,), MEASURES)])[0][0]
    for k, measure in enumerate(MEASURES):
        weights = grid.cell_areas_km2(measure, 0, grid.shape[0])
        weights = weights if weights.ndim == 2 else np.broadcast_to(weights[:, None], grid.shape)
        for zone in range(len(zones)):
            total, valid = sums_by_hand(values, values != -9999, coverage.dense(zone), weights)
            # 30,000 additions in another order: n * eps, far below one part in 1e12
            assert sums.sums[zone, k] == pytest.approx(total, rel=1e-12)
            assert sums.valid[zone, k] == pytest.approx(valid, rel=1e-12)


def test_whole_cells_of_whole_numbers_add_up_exactly(tmp_path):
    grid = Grid((700, 40), Affine(1, 0, 0, 0, -1, 700), crs_from("ESRI:102027"))
    values = make_values(grid, "float32")
    info = written(tmp_path, grid, values)
    zones = Zones(("a",), np.array([shapely.box(3, 20, 37, 690)], object), grid.crs)
    sums = run_jobs([Job(info, rules(), (coverage_from_zones(grid, zones),), ("cells",))])[0][0]
    inside = values[10:680, 3:37]
    exact = sum(Fraction(float(v)) for v in inside[inside != -9999].ravel())
    assert Fraction(float(sums.sums[0, 0])) == exact  # every partial sum is a multiple of 1/64 below 2**53


@pytest.mark.parametrize("negatives", ["zero", "keep", "nan"])
@pytest.mark.parametrize("dn_min", [0.0, 7.0])
def test_policies_match_their_definition(tmp_path, negatives, dn_min):
    values = make_values(GEOGRAPHIC, "float32")
    info = written(tmp_path, GEOGRAPHIC, values)
    rule = rules(negatives=negatives, dn_min=dn_min)
    coverage = coverage_from_zones(GEOGRAPHIC, zones_on(GEOGRAPHIC))
    sums = run_jobs([Job(info, rule, (coverage,), ("cells",), profile=True)])[0][0]
    data = is_data(values, rule)
    for zone in range(4):
        share = coverage.dense(zone)
        raw = np.where(data, values, 0).astype(float)
        valid = data & (raw >= 0) if negatives == "nan" else data
        x = np.where(valid, raw, 0)
        if negatives != "keep":
            x = np.maximum(x, 0)
        if dn_min:
            x = np.where(x < dn_min, 0, x)
        inside = valid & (share > 0)
        p = sums.profile[zone]
        near = {"rel": 1e-11}  # 30,000 terms in another order
        assert sums.sums[zone, 0] == pytest.approx((share * x).sum(), **near)
        assert sums.valid[zone, 0] == pytest.approx(share[valid].sum(), **near)
        assert p[NEGATIVE_CELLS] == pytest.approx(share[data & (raw < 0)].sum(), **near)
        assert p[NEGATIVE_SUM] == pytest.approx(-(share * raw)[data & (raw < 0)].sum(), **near)
        assert p[ABSOLUTE_SUM] == pytest.approx((share * abs(raw))[data].sum(), **near)
        assert p[LIT_CELLS] == pytest.approx(share[inside & (x > 0)].sum(), **near)
        assert (p[MIN], p[MAX]) == (x[inside].min(), x[inside].max())
        assert p[AT_MAX] == pytest.approx(share[inside & (x == p[MAX])].sum(), **near)
        assert p[COUNT] == pytest.approx(share[inside].sum(), **near)
        mean = (share * x)[inside].sum() / share[inside].sum()
        assert p[MEAN] == pytest.approx(mean, **near)
        variance = (share * (x - mean) ** 2)[inside].sum() / share[inside].sum()
        assert p[M2] / p[COUNT] == pytest.approx(variance, **near)


def every_result(info, zones, *, run=None, task_cells=16_000_000, monkeypatch=None, **options):
    if monkeypatch is not None:
        monkeypatch.setattr(engine, "TASK_CELLS", task_cells)
    coverage = coverage_from_zones(info.grid, zones)
    job = Job(info, rules(), (coverage,), MEASURES, profile=True, whole=True, **options)
    one = run_jobs([job], run=run)[0][0]
    return np.hstack([one.sums, one.valid, one.profile]), one.raster_sum


@pytest.mark.parametrize("grid", [GEOGRAPHIC, PROJECTED], ids=["geographic", "projected"])
@pytest.mark.parametrize("task_cells", [1, 50_000, 10**9])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_tiling_and_threads_change_nothing(tmp_path, monkeypatch, grid, task_cells, threads):
    values = np.random.default_rng(4).lognormal(0, 3, grid.shape).astype("float32")  # sums that do round
    info = written(tmp_path, grid, values)
    expected, total = every_result(info, zones_on(grid))

    def run(function, tasks):
        return run_tasks(function, tasks, threads=threads)

    found, total2 = every_result(info, zones_on(grid), run=run, task_cells=task_cells, monkeypatch=monkeypatch)
    assert np.array_equal(found, expected, equal_nan=True)
    assert total2 == total


@pytest.mark.parametrize("blocksize", [64, 256, 512])
def test_blocks_of_the_file_change_nothing(tmp_path, blocksize):
    values = np.random.default_rng(4).lognormal(0, 3, GEOGRAPHIC.shape).astype("float32")
    a, _ = every_result(written(tmp_path, GEOGRAPHIC, values, "a.tif"), zones_on(GEOGRAPHIC))
    b, _ = every_result(written(tmp_path, GEOGRAPHIC, values, "b.tif", blocksize=blocksize), zones_on(GEOGRAPHIC))
    assert np.array_equal(a, b)


@given(order=st.permutations(range(6)))
@settings(max_examples=10)
def test_order_of_zones_changes_nothing(tmp_path_factory, order):
    values = np.random.default_rng(4).lognormal(0, 3, GEOGRAPHIC.shape).astype("float32")
    info = written(tmp_path_factory.mktemp("order"), GEOGRAPHIC, values)
    zones = zones_on(GEOGRAPHIC, 6)
    mixed = Zones(tuple(zones.codes[i] for i in order), zones.geometry[list(order)], zones.crs)
    a, _ = every_result(info, zones)
    b, _ = every_result(info, mixed)
    assert np.array_equal(b, a[list(order)])


def test_other_zones_change_nothing(tmp_path):
    values = np.random.default_rng(4).lognormal(0, 3, GEOGRAPHIC.shape).astype("float32")
    info = written(tmp_path, GEOGRAPHIC, values)
    zones = zones_on(GEOGRAPHIC, 6)
    alone = Zones(zones.codes[2:3], zones.geometry[2:3], zones.crs)
    assert np.array_equal(every_result(info, alone)[0][0], every_result(info, zones)[0][2])


def test_reading_only_what_zones_touch_changes_nothing(tmp_path):
    values = np.random.default_rng(4).lognormal(0, 3, GEOGRAPHIC.shape).astype("float32")
    info = written(tmp_path, GEOGRAPHIC, values)
    coverage = coverage_from_zones(GEOGRAPHIC, Zones(("a",), np.array([blob(GEOGRAPHIC, 1, 0.1)], object), WGS84))
    whole, part = (run_jobs([Job(info, rules(), (coverage,), MEASURES, whole=w)])[0][0] for w in (True, False))
    assert np.array_equal(whole.sums, part.sums)
    assert whole.raster_sum == pytest.approx(values.astype(float).sum(), rel=1e-12)  # other order of addition
    assert np.isnan(part.raster_sum)


def test_a_south_up_twin_gives_the_same_bits(tmp_path):
    import rasterio

    values = np.random.default_rng(4).lognormal(0, 3, GEOGRAPHIC.shape).astype("float32")
    info = written(tmp_path, GEOGRAPHIC, values)
    t, ny = GEOGRAPHIC.transform, GEOGRAPHIC.shape[0]
    flipped = Affine(t.a, 0, t.c, 0, -t.e, t.f + ny * t.e)
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", height=ny, width=GEOGRAPHIC.shape[1], count=1, dtype="float32",
        crs="EPSG:4326", transform=flipped,
    ) as target:  # fmt: skip
        target.write(values[::-1], 1)
    a, _ = every_result(info, zones_on(GEOGRAPHIC))
    b, _ = every_result(read_info(tmp_path / "s.tif"), zones_on(GEOGRAPHIC))
    # -t.e * ny does not round back to the same origin: weights move in the last digits
    assert np.allclose(a, b, rtol=1e-12, atol=0)


def test_a_zone_without_cells_has_zero_valid_area_not_a_zero_level(tmp_path):
    info = written(tmp_path, GEOGRAPHIC, make_values(GEOGRAPHIC, "float32"))
    far = Zones(("far", "none"), np.array([shapely.box(10, 10, 11, 11), shapely.Polygon()], object), WGS84)
    sums = run_jobs([Job(info, rules(), (coverage_from_zones(GEOGRAPHIC, far),), MEASURES, profile=True)])[0][0]
    assert (sums.valid == 0).all() and (sums.sums == 0).all() and (sums.profile[:, COUNT] == 0).all()


def test_a_coverage_of_another_grid_is_refused(tmp_path):
    info = written(tmp_path, GEOGRAPHIC, make_values(GEOGRAPHIC, "float32"))
    t = GEOGRAPHIC.transform
    moved = Grid(GEOGRAPHIC.shape, Affine(t.a, 0, t.c + t.a / 100, 0, t.e, t.f), WGS84)
    with pytest.raises(GridMismatch, match="mend:  build the coverage for this raster's own grid"):
        Job(info, rules(), (coverage_from_zones(moved, zones_on(GEOGRAPHIC)),))


@given(
    value=st.floats(width=32, allow_nan=True, allow_infinity=True),
    nodata=st.sampled_from([(), (-9999.0,), (0.0, 255.0), (float(np.float32(-3.4e38)),)]),
    negatives=st.sampled_from(["zero", "keep", "nan"]),
    below=st.booleans(),
)
def test_kernel_bounds_agree_with_the_definition_of_data(value, nodata, negatives, below):
    rule = CellRules(nodata=nodata, negatives=negatives, below_zero_is_nodata=below)
    b = bounds_from_rules(rule, np.float32)
    x = float(np.float32(value))
    kernel = b.raw_low <= x <= b.high and x != b.nodata and x not in b.others
    assert kernel == bool(is_data(np.array([value], np.float32), rule)[0])


def test_several_layers_and_rasters_in_one_list_of_tasks(tmp_path):
    zones = zones_on(GEOGRAPHIC, 5)
    some = Zones(zones.codes[:2], zones.geometry[:2], zones.crs)
    layers = tuple(coverage_from_zones(GEOGRAPHIC, z) for z in (zones, some))
    infos = [written(tmp_path, GEOGRAPHIC, make_values(GEOGRAPHIC, "int32", s), f"{s}.tif") for s in range(3)]
    together = run_jobs([Job(i, rules(), layers, MEASURES) for i in infos], run=run_tasks)
    for info, (first, second) in zip(infos, together, strict=True):
        alone = run_jobs([Job(info, rules(), layers[:1], MEASURES)])[0][0]
        assert np.array_equal(first.sums, alone.sums)
        assert np.array_equal(first.sums[:2], second.sums)
