"""Ordered statistics: by hand, against their definitions and exactextract, and what must change nothing."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import shares_by_intersection

import gis
from gis.crs import crs_from
from gis.graph import run_tasks
from gis.grid import Grid, Zones
from gis.raster_io import read_info, write_raster
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.distribution import Sweep, distribution
from gis.zonal.order_kernels import table_totals
from gis.zonal.statistics import plain_rules
from gis.zonal.value_tables import CellSource, table_of_pairs

LAMBERT = crs_from("ESRI:102027")
ARRAYS = ("weight", "mean", "variety", "majority", "minority", "gini", "theil")
QS = (0.0, 0.1, 0.5, 0.9, 1.0)

# --- the definitions, one line of the docstring at a time -------------------------------------------------------------


def quantile_by_definition(values, shares, q):
    distinct = sorted(set(values.tolist()))
    f = [shares[values == x].sum() for x in distinct]
    n = len(distinct)
    place = [k * f[k] + (n - 1) * sum(f[:k]) for k in range(n)]
    target = q * (n - 1) * sum(f)
    if n == 1 or target >= place[-1]:
        return distinct[-1]
    k = max(k for k in range(n) if place[k] <= target)
    return distinct[k] + (target - place[k]) / (place[k + 1] - place[k]) * (distinct[k + 1] - distinct[k])


def gini_by_definition(values, shares):
    mean = (shares * values).sum() / shares.sum()
    apart = np.abs(values[:, None] - values[None, :])
    return (shares[:, None] * shares[None, :] * apart).sum() / (2 * mean * shares.sum() ** 2)


def theil_by_definition(values, shares):
    y = values / ((shares * values).sum() / shares.sum())
    return sum(f * (r * np.log(r) if r > 0 else 0.0) for f, r in zip(shares, y, strict=True)) / shares.sum()


def of_pairs(values, shares, quantiles=()):
    """The product's answer for cells given one by one, all in one zone."""
    values, shares = np.asarray(values, float), np.asarray(shares, float)
    table = table_of_pairs(np.zeros(values.size, np.int64), values, shares, 1)
    swept = Sweep(table_totals(*table.columns), quantiles)
    swept.add(table)
    return swept.result()


# --- rasters and zones ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """Three strips of skewed values with ties and holes; two discs, one zone over everything, one elsewhere."""
    rng = np.random.default_rng(7)
    grid = Grid((1100, 24), Affine(1000, 0, 0, 0, -1000, 1.1e6), LAMBERT)
    values = rng.lognormal(0, 1.5, grid.shape).round(1).astype("float32")
    values[rng.random(grid.shape) < 0.1] = -9
    raster = write_raster(
        tmp_path_factory.mktemp("tall") / "r.tif", values, grid, dtype="float32", nodata=-9, cog=False
    )
    shapes = [shapely.Point(12e3, y).buffer(10.3e3) for y in (1050e3, 590e3)]
    shapes += [shapely.box(1.25e3, 2.5e3, 22.75e3, 1097.75e3), shapely.box(9e6, 9e6, 9.1e6, 9.1e6)]
    zones = Zones(("a", "b", "all", "nowhere"), np.array(shapes), LAMBERT)
    info = read_info(raster)
    return CellSource(info, plain_rules(info), coverage_from_zones(grid, zones)), zones, values


def assert_same(a, b, take=slice(None)):
    for name in ARRAYS:
        assert np.array_equal(getattr(a, name)[take], getattr(b, name), equal_nan=True), name
    for q in a.quantiles:
        assert np.array_equal(a.quantiles[q][take], b.quantiles[q], equal_nan=True), q


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_quantiles_by_hand():
    # Equal shares: the ordinary quantile of 1, 2, 4.
    found = of_pairs([4, 1, 2], [1, 1, 1], (0.0, 0.25, 0.5, 0.75, 1.0)).quantiles
    assert [found[q][0] for q in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1, 1.5, 2, 3, 4]
    # Shares 1/2, 1, 1/2: values stand at 0, 1 + 2/2 = 2 and 2/2 + 2 * 3/2 = 4, of 2 * 2 = 4.
    found = of_pairs([1, 2, 4], [0.5, 1, 0.5], (0.25, 0.5, 0.75)).quantiles
    assert [found[q][0] for q in (0.25, 0.5, 0.75)] == [1.5, 2, 3]
    # Equal values are one value: two cells of 1 and one of 4 with shares 2 and 1 stand at 0 and 1 + 2 = 3, of 3.
    assert of_pairs([1, 4, 1], [1, 1, 1], (0.5,)).quantiles[0.5][0] == 1 + 0.5 * 3


def test_gini_and_theil_by_hand():
    # One of two equal cells has everything: Gini 1/2, Theil ln 2.
    found = of_pairs([0, 8], [1, 1])
    assert found.gini[0] == 0.5
    assert found.theil[0] == pytest.approx(np.log(2), rel=1e-15)
    # Four districts of METHOD 7: light per head among people.
    found = of_pairs([6, 3, 1.5, 0.8], [150, 200, 200, 250])
    assert found.mean[0] == 2.5
    assert (round(found.gini[0], 4), round(found.theil[0], 4)) == (0.3906, 0.2581)


def test_majority_minority_and_variety_by_hand():
    found = of_pairs([3, 1, 2, 3, 5], [0.5, 1, 0.25, 0.5, 0.25])
    assert (found.majority[0], found.minority[0], found.variety[0]) == (3, 2, 4)  # ties: greatest, smallest


def test_minus_zero_is_zero(tmp_path):
    grid = Grid((1, 3), Affine(1, 0, 0, 0, -1, 1), LAMBERT)
    raster = write_raster(tmp_path / "z.tif", np.array([[-0.0, 0.0, 1.0]]), grid, dtype="float64", cog=False)
    zone = gpd.GeoSeries([shapely.box(0, 0, 2.5, 1)], crs=LAMBERT)
    row = gis.zonal_stats(raster, zone, "variety,majority,minority").iloc[0]
    assert (row["variety"], row["majority"], row["minority"]) == (2, 0, 1)
    assert not np.signbit(row["majority"])


# --- against the definition and the peer ------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 64)), min_size=1, max_size=40),
    st.floats(0, 1, allow_nan=False),
)
def test_cells_match_the_definition(cells, q):
    values, shares = np.array([c[0] for c in cells], float), np.array([c[1] for c in cells]) / 64
    found = of_pairs(values, shares, (q,))
    # linear in the place between two values, whose positions are sums of at most 40 terms: 40 eps times 12
    assert found.quantiles[q][0] == pytest.approx(quantile_by_definition(values, shares, q), abs=2e-13)
    if values.any():
        assert found.gini[0] == pytest.approx(gini_by_definition(values, shares), abs=1e-14)  # a few eps of sums
        assert found.theil[0] == pytest.approx(theil_by_definition(values, shares), abs=1e-14)
    else:
        assert np.isnan(found.gini[0]) and np.isnan(found.theil[0])  # no light to share out


@pytest.mark.parametrize("zone", [0, 1])
def test_zones_match_the_definition(tall, zone):
    source, zones, values = tall
    found = distribution(source, QS)
    shares = shares_by_intersection(source.info.grid, zones.geometry[zone])
    some = (shares > 1e-12) & (values != -9)  # shapely's own rounding leaves shares of 1e-16 beyond the border
    v, f = values[some].astype(float), shares[some]
    assert found.variety[zone] == np.unique(v).size
    assert found.weight[zone] == pytest.approx(f.sum(), rel=1e-12)  # shares agree to 1e-12 of a cell
    assert found.gini[zone] == pytest.approx(gini_by_definition(v, f), rel=1e-11)
    assert found.theil[zone] == pytest.approx(theil_by_definition(v, f), rel=1e-11)
    for q in QS:
        assert found.quantiles[q][zone] == pytest.approx(quantile_by_definition(v, f, q), rel=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "integers"])
def test_agrees_with_exactextract_off_the_lattice(tmp_path, kind):
    exactextract = pytest.importorskip("exactextract")
    rng = np.random.default_rng(3)
    grid = Grid((120, 150), Affine(1000, 0, 1e6, 0, -1000, 1e6), LAMBERT)
    values = rng.lognormal(0, 2, grid.shape) if kind == "continuous" else rng.integers(0, 30, grid.shape)
    dtype = (
        "float64" if kind == "continuous" else "float32"
    )  # exactextract cuts quantiles of integer rasters to integers
    values[rng.random(grid.shape) < 0.1] = -99
    raster = write_raster(tmp_path / "r.tif", values, grid, dtype=dtype, nodata=-99, cog=False)
    shapes = [shapely.Point(1e6 + x, 1e6 - y).buffer(r) for x, y, r in rng.uniform(2e4, 1e5, (12, 3)) * [1, 1, 0.3]]
    zones = gpd.GeoDataFrame(geometry=shapes, crs=LAMBERT)
    qs = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    peer = exactextract.exact_extract(
        str(raster), zones, [*(f"quantile(q={q})" for q in qs), "median", "variety", "majority", "minority"],
        output="pandas",
    )  # fmt: skip
    ours = gis.zonal_stats(
        raster, zones, [*(f"quantile({q})" for q in qs), "median", "variety", "majority", "minority"]
    )
    for k, name in enumerate(ours.columns[:-2]):
        # exactextract holds shares in float32: positions are off by 6e-8, values between them accordingly
        assert np.allclose(ours[name], peer.iloc[:, k], rtol=1e-5), name
    if (
        kind == "integers"
    ):  # continuous values are all different, and a tie between 1 and 1 - 6e-8 is decided by rounding
        assert np.array_equal(ours["majority"], peer["majority"])
        assert np.array_equal(ours["minority"], peer["minority"])


# --- what must change nothing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counting:
    """A source that counts how often a strip is read."""

    source: CellSource
    reads: list

    def __len__(self):
        return len(self.source)

    @property
    def bound(self):
        return self.source.bound

    @property
    def first_strip(self):
        return self.source.first_strip

    def cells_of_strips(self):
        return self.source.cells_of_strips()

    def only(self, zones):
        return replace(self, source=self.source.only(zones))

    def table(self, strip, after):
        self.reads.append((strip, after))
        return self.source.table(strip, after)


@pytest.mark.parametrize("entries", [5, 100, 1000, 30_000])
def test_memory_changes_no_bit(tall, entries):
    """From five values a pass to everything at once: the same numbers, and as many passes as values demand."""
    source = tall[0]
    if entries == 5:  # a hundred passes: the small zones are enough
        source = source.only(np.array([0, 1]))
    whole = distribution(source, QS)
    counting = Counting(source, [])
    assert_same(whole, distribution(counting, QS, entries=entries))
    passes = len({after for _, after in counting.reads})
    most = whole.variety.max()
    if entries >= 30_000:
        assert passes == 1
    else:
        assert passes >= most / entries  # otherwise more than `entries` values were held
    assert source.bound.max() > entries or entries >= 30_000  # the bound is what the test is about


def test_threads_and_order_of_completion_change_nothing(tall):
    source = tall[0]
    one = distribution(source, QS)
    assert_same(one, distribution(source, QS, run=lambda f, tasks: run_tasks(f, tasks, threads=2)))

    def backwards(function, tasks):
        return [function(task) for task in reversed(tasks)][::-1]

    assert_same(one, distribution(source, QS, run=backwards))


def test_tasks_cross_process_borders(tall):
    def elsewhere(function, tasks):
        return [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(t))) for t in map(through, tasks)]

    def through(task):
        return pickle.loads(pickle.dumps(task))

    assert_same(distribution(tall[0], QS), distribution(tall[0], QS, run=elsewhere))


def test_neighbours_and_order_of_zones_change_nothing(tall):
    source, zones, _ = tall
    together = distribution(source, QS)
    turned = Zones(zones.codes[::-1], zones.geometry[::-1], zones.crs)
    coverage = coverage_from_zones(source.info.grid, turned)
    assert_same(together, distribution(replace(source, coverage=coverage), QS), slice(None, None, -1))
    for zone in range(len(zones)):
        alone = Zones((zones.codes[zone],), zones.geometry[zone : zone + 1], zones.crs)
        coverage = coverage_from_zones(source.info.grid, alone)
        assert_same(together, distribution(replace(source, coverage=coverage), QS), slice(zone, zone + 1))


CELLS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 64)), min_size=2, max_size=60).filter(
    lambda cells: any(v for v, _ in cells)
)


@given(CELLS, st.integers(-20, 20))
def test_scaling_values_scales_quantiles_and_no_inequality(cells, power):
    values, shares = np.array([c[0] for c in cells], float), np.array([c[1] for c in cells]) / 64
    a, b = of_pairs(values, shares, QS), of_pairs(values * 2.0**power, shares, QS)  # powers of two: no rounding
    assert (a.gini[0], a.theil[0], a.variety[0]) == (b.gini[0], b.theil[0], b.variety[0])
    assert all(b.quantiles[q][0] == a.quantiles[q][0] * 2.0**power for q in QS)


@given(CELLS)
def test_replicating_the_cells_changes_no_inequality(cells):
    values, shares = np.array([c[0] for c in cells], float), np.array([c[1] for c in cells]) / 64
    a, b = of_pairs(values, shares, QS), of_pairs(np.tile(values, 2), np.tile(shares, 2), QS)
    assert (a.gini[0], a.theil[0]) == (b.gini[0], b.theil[0])  # twice every share: exact
    assert all(a.quantiles[q][0] == b.quantiles[q][0] for q in QS)


@given(CELLS)
def test_inequality_keeps_its_range_and_quantiles_rise(cells):
    values, shares = np.array([c[0] for c in cells], float), np.array([c[1] for c in cells]) / 64
    found = of_pairs(values, shares, QS)
    assert 0 <= found.gini[0] < 1
    assert 0 <= found.theil[0] <= np.log(shares.sum() / shares.min()) + 1e-12  # all light on the smallest cell
    assert all(found.quantiles[a][0] <= found.quantiles[b][0] for a, b in pairwise(QS))
    assert found.quantiles[0.0][0] == values.min() and found.quantiles[1.0][0] == values.max()


@given(CELLS, CELLS)
def test_theil_splits_into_between_and_within(first, second):
    parts = [(np.array([c[0] for c in p], float), np.array([c[1] for c in p]) / 64) for p in (first, second)]
    whole = of_pairs(*(np.concatenate(a) for a in zip(*parts, strict=True)))
    light, weight = [(v * f).sum() for v, f in parts], [f.sum() for _, f in parts]
    within = sum(x / sum(light) * of_pairs(*p).theil[0] for x, p in zip(light, parts, strict=True))
    y = [x / sum(light) * sum(weight) / w for x, w in zip(light, weight, strict=True)]
    between = sum(w / sum(weight) * r * np.log(r) for w, r in zip(weight, y, strict=True))
    assert whole.theil[0] == pytest.approx(within + between, abs=1e-12)  # METHOD 7's own tolerance


@settings(max_examples=10)
@given(st.integers(0, 3), st.integers(0, 20))
def test_a_share_of_zero_changes_nothing(tall, dx, dy):
    """A part of a zone that reaches where there are no cells adds none."""
    source, zones, _ = tall
    beyond = shapely.box(-3e6 - dx, -3e6 - dy, -2e6, -2e6)
    more = shapely.multipolygons([zones.geometry[0], beyond])
    coverage = coverage_from_zones(source.info.grid, Zones(("a",), np.array([more]), zones.crs))
    assert_same(distribution(source, QS), distribution(replace(source, coverage=coverage), QS), slice(0, 1))


# --- edges ------------------------------------------------------------------------------------------------------------


def test_a_zone_without_data_is_nan(tall):
    found = distribution(tall[0], QS)
    assert found.variety[3] == 0
    others = [getattr(found, name)[3] for name in ARRAYS if name != "variety"]
    assert np.isnan([*others, *(found.quantiles[q][3] for q in QS)]).all()


def test_one_value_everywhere_is_equality():
    found = of_pairs([0.1] * 7, [0.3] * 7, (0.3,))
    assert (found.gini[0], found.theil[0], found.quantiles[0.3][0], found.variety[0]) == (0, 0, 0.1, 1)


def test_near_equality_keeps_its_digits():
    """Gini of 1 and 1 + d in equal parts is d / (4 + 2 d): a difference of large sums would lose it."""
    d = 2.0**-40
    assert of_pairs([1, 1 + d], [1, 1]).gini[0] == pytest.approx(d / (4 + 2 * d), rel=1e-12)


def test_negative_values_have_no_theil():
    found = of_pairs([-1, 3, 4], [1, 1, 1])
    assert np.isnan(found.theil[0])
    assert found.gini[0] == pytest.approx((4 + 5 + 1) * 2 / (2 * 2 * 9), rel=1e-15)  # the formula, as it stands
    assert np.isnan(of_pairs([-3, 1], [1, 1]).gini[0])  # a mean below 0 has no inequality


def test_several_nodata_values_are_none_of_the_values(tmp_path):
    grid = Grid((2, 3), Affine(1, 0, 0, 0, -1, 2), LAMBERT)
    values = np.array([[1, 2, 3], [-5, 255, -32768]])
    raster = write_raster(tmp_path / "n.tif", values, grid, dtype="int16", nodata=255, cog=False)
    zone = gpd.GeoSeries([shapely.box(0, 0, 3, 2)], crs=LAMBERT)
    row = gis.zonal_stats(raster, zone, "variety,median,max", nodata=-5).iloc[0]
    assert row.tolist() == [3, 2, 3]


def test_bounds_know_the_dtype(tmp_path):
    grid = Grid((40, 40), Affine(1000, 0, 0, 0, -1000, 40000), LAMBERT)
    zones = Zones(("z",), np.array([shapely.box(0, 0, 40000, 40000)]), LAMBERT)
    for dtype, bound in (("uint8", 256), ("int32", 1600), ("float32", 1600)):
        info = read_info(write_raster(tmp_path / f"{dtype}.tif", np.ones(grid.shape), grid, dtype=dtype, cog=False))
        assert CellSource(info, plain_rules(info), coverage_from_zones(grid, zones)).bound.tolist() == [bound]
