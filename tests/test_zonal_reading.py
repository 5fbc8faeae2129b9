"""What is read: blocks that zones touch and no others; and that reading less changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.crs import crs_from
from gis.grid import MEASURES, Grid, Zones
from gis.raster_io import CellRules, RasterHandle, read_info, write_raster
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, run_jobs
from gis.zonal.kernels import NEGATIVE_CELLS, NEGATIVE_SUM

WGS84 = crs_from("EPSG:4326")
WIDE = Grid((700, 3000), Affine(1 / 120, 0, 90, 0, -1 / 120, 40), WGS84)


def discs(*places: tuple[float, float, float]) -> np.ndarray:
    """Discs by column, row and radius, in cells."""
    t = WIDE.transform
    return np.array([shapely.Point(t.c + c * t.a, t.f + r * t.e).buffer(s * t.a) for c, r, s in places], object)


def zones_of(shapes: np.ndarray) -> Zones:
    return Zones(tuple(f"{i:03d}" for i in range(len(shapes))), shapes, WGS84)


@pytest.fixture(scope="module", params=["float32", "int32"])
def raster(request, tmp_path_factory):
    rng = np.random.default_rng(2)
    values = (rng.gamma(0.4, 50, WIDE.shape) - 2).astype(request.param)
    values[rng.random(WIDE.shape) < 0.1] = -9999
    path = tmp_path_factory.mktemp("wide") / "r.tif"
    return read_info(write_raster(path, values, WIDE, dtype=request.param, nodata=-9999, cog=False))


def test_a_zone_alone_has_the_bits_it_has_among_many(raster):
    # Many zones: rows are read and cleaned whole. One: a few blocks are read, and only its cells are looked at.
    places = [(c, r, s) for c in range(100, 3000, 280) for r, s in ((200, 190), (480, 150), (600, 4))]
    shapes = discs(*places)
    rules = CellRules(nodata=(-9999.0,), negatives="zero")
    together = run_jobs([Job(raster, rules, (coverage_from_zones(WIDE, zones_of(shapes)),), MEASURES, profile=True)])
    for i in range(0, len(shapes), 4):
        coverage = coverage_from_zones(WIDE, zones_of(shapes[[i]]))
        for moments in (True, False):
            alone = run_jobs([Job(raster, rules, (coverage,), MEASURES, profile=True, moments=moments)])[0][0]
            assert np.array_equal(alone.sums[0], together[0][0].sums[i])
            assert np.array_equal(alone.valid[0], together[0][0].valid[i])
            if moments:
                assert np.array_equal(alone.profile[0], together[0][0].profile[i])


def test_only_touched_blocks_are_read(raster, monkeypatch):
    seen = []
    original = RasterHandle.read_rows

    def watched(self, row0, row1, col0=0, col1=None, out=None):
        seen.append((row0, row1, col0, col1))
        return original(self, row0, row1, col0, col1, out)

    monkeypatch.setattr(RasterHandle, "read_rows", watched)
    coverage = coverage_from_zones(WIDE, zones_of(discs((300, 100, 30), (2800, 130, 30))))
    run_jobs([Job(raster, CellRules(), (coverage,), ("cells",))])
    width = raster.block_shape[1]
    blocks = {c for _, _, a, b in seen for c in range(a // width, -(-b // width))}
    assert blocks == {c // width for c in (*range(270, 330), *range(2770, 2830))}
    assert {rows[:2] for rows in seen} == {(0, 512)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-20, 3020), st.integers(-20, 720), st.integers(1, 60)), min_size=1, max_size=6),
    st.sampled_from([1, 7, 256, 512, 5000]),
)
def test_runs_hold_every_touched_cell_and_no_untouched_block(places, width):
    coverage = coverage_from_zones(WIDE, zones_of(discs(*places)))
    row0, row1 = WIDE.strip_rows(0)
    touched = np.zeros(WIDE.shape[1], bool)
    for zone in range(len(coverage)):
        touched |= (coverage.dense(zone)[row0:row1] > 0).any(axis=0)
    read = np.zeros_like(touched)
    for a, b in coverage.touched_runs(row0, row1, width):
        assert a < b
        assert not read[a:b].any()
        read[a:b] = True
        for block in range(a, b, width):
            assert touched[block : block + width].any()
    assert not (touched & ~read).any()


@pytest.mark.parametrize("moments", [True, False])
def test_a_strip_of_nothing_but_negatives_still_counts_them(tmp_path, moments):
    grid = Grid((600, 20), Affine(1 / 120, 0, 90, 0, -1 / 120, 40), WGS84)
    values = np.ones(grid.shape, np.float32)
    values[512:] = -2.0  # the second strip has no datum after the policy
    info = read_info(write_raster(tmp_path / "r.tif", values, grid, dtype="float32", nodata=-9999, cog=False))
    zone = Zones(("a",), np.array([shapely.box(*grid.bounds_xy)], object), WGS84)
    rules = CellRules(negatives="nan")
    job = Job(info, rules, (coverage_from_zones(grid, zone),), ("cells",), profile=True, moments=moments)
    found = run_jobs([job])[0][0]
    assert found.profile[0, NEGATIVE_CELLS] == 88 * 20
    assert found.profile[0, NEGATIVE_SUM] == 2.0 * 88 * 20
    assert found.valid[0, 0] == 512 * 20
