"""People under valid light: conserved, placed by location, cut finer where their cells are coarse."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine

from gis.crs import crs_from
from gis.grid import STRIP_ROWS, Grid, Zones
from gis.raster_io import CellRules, read_info, write_raster
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, run_jobs
from gis.zonal.matching import LitTask, add_strips, lit_strip, matches, pieces_per_side

WGS84, ALBERS = crs_from("EPSG:4326"), crs_from("ESRI:102025")
PEOPLE = Grid((900, 240), Affine(1 / 120, 0, 110.003, 0, -1 / 120, 36.002), WGS84)
LIGHT = Grid((1100, 420), Affine(1000, 0, 1.15e6, 0, -1000, 9.5e5), ALBERS)
RULES = CellRules(nodata=(-1.0,))


def zones():
    shapes = [shapely.box(110.2, 29, 111.7, 35.5), shapely.Point(111, 32).buffer(0.3)]
    return Zones(("a", "b"), np.array(shapes, object), WGS84)


def lit(tmp_path, people, light, light_mask=None, people_grid=PEOPLE, light_grid=LIGHT):
    p = read_info(write_raster(tmp_path / "p.tif", people, people_grid, dtype="float32", nodata=-1, cog=False))
    q = read_info(write_raster(tmp_path / "l.tif", light, light_grid, dtype="float32", nodata=-1, cog=False))
    value = zones()
    found = matches(p.grid, value, q.grid, np.ones(2, bool))
    tasks = [LitTask(m, p, RULES, q, RULES, light_mask, 2) for m in found]
    sums = run_jobs([Job(p, RULES, (coverage_from_zones(p.grid, value),), ("cells",))])[0][0].sums[:, 0]
    return add_strips([lit_strip(t) for t in tasks], 2), sums


def people_of(grid, seed=0):
    return np.random.default_rng(seed).integers(0, 500, grid.shape).astype("float32")


def test_with_all_lights_valid_nobody_is_lost(tmp_path):
    found, sums = lit(tmp_path, people_of(PEOPLE), np.ones(LIGHT.shape, "float32"))
    assert found == pytest.approx(sums, rel=1e-12)  # the same terms, added in another order


def test_without_light_nobody_is_lit(tmp_path):
    found, _ = lit(tmp_path, people_of(PEOPLE), np.full(LIGHT.shape, -1, "float32"))
    assert found.tolist() == [0, 0]


def test_each_cell_goes_to_the_light_cell_that_holds_its_centre(tmp_path):
    import pyproj

    light = np.where(np.random.default_rng(1).random(LIGHT.shape) < 0.4, -1, 1).astype("float32")
    people = people_of(PEOPLE)
    found, _ = lit(tmp_path, people, light)
    share = coverage_from_zones(PEOPLE, zones())
    move = pyproj.Transformer.from_crs(WGS84, ALBERS, always_xy=True)
    expected = np.zeros(2)
    t, q = PEOPLE.transform, LIGHT.transform
    dense = [share.dense(i) for i in range(2)]
    x, y = move.transform(*np.meshgrid(t.c + (np.arange(240) + 0.5) * t.a, t.f + (np.arange(900) + 0.5) * t.e))
    col, row = np.floor((x - q.c) / q.a).astype(int), np.floor((y - q.f) / q.e).astype(int)
    on = (row >= 0) & (row < LIGHT.shape[0]) & (col >= 0) & (col < LIGHT.shape[1])
    valid = np.zeros(PEOPLE.shape, bool)
    valid[on] = light[row[on], col[on]] != -1
    for zone in range(2):
        expected[zone] = (dense[zone] * people * valid).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_mask_takes_light_away(tmp_path):
    def mask(strip):
        row0, row1 = LIGHT.strip_rows(strip)
        return np.ones((row1 - row0, LIGHT.shape[1]), bool)

    found, _ = lit(tmp_path, people_of(PEOPLE), np.ones(LIGHT.shape, "float32"), mask)
    assert found.tolist() == [0, 0]
    assert LIGHT.shape[0] > STRIP_ROWS  # the mask is asked for more than one strip


def test_coarse_people_are_cut_to_the_light(tmp_path):
    coarse = Grid((30, 8), Affine(0.25, 0, 110, 0, -0.25, 36), WGS84)
    fine = Grid((900, 240), Affine(1 / 120, 0, 110, 0, -1 / 120, 36), WGS84)
    assert pieces_per_side(coarse, fine) == 30
    light = np.ones(fine.shape, "float32")
    light[:, 120:] = -1  # east of 111 degrees there is no light
    found, sums = lit(tmp_path, np.full(coarse.shape, 900.0), light, people_grid=coarse, light_grid=fine)
    # a is 1.5 degrees wide, 0.8 of them west of 111; b is centred on 111
    assert found / sums == pytest.approx([0.8 / 1.5, 0.5], rel=1e-9)


def test_grids_of_about_one_size_are_not_cut():
    assert pieces_per_side(PEOPLE, LIGHT) == 1
    assert pieces_per_side(LIGHT, PEOPLE) == 1
