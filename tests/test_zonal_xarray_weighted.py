"""Arrays weighted by a second raster: the numbers of two files to the bit, by hand, lazy, in any chunks."""

from __future__ import annotations

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import gis
from gis.crs import crs_from
from gis.errors import CrsMismatch, CrsMissing, OptionInvalid, RasterInvalid
from gis.grid import Grid, Zones
from gis.raster_io import CellRules, write_raster
from gis.zonal import array_weighted, arrays
from gis.zonal.array_grid import ArrayCells
from gis.zonal.names import WEIGHTED
from gis.zonal.weighted import PieceSource, match_weights, pieces_of_strip, windows_of_strip

LAMBERT, LONLAT = crs_from("ESRI:102027"), crs_from("EPSG:4326")
EVERYTHING = (*WEIGHTED, "weighted_quantile(0.9)", "sum", "median")
NY, NX = 700, 12
VALUES = Grid((NY, NX), Affine(1000, 0, 0, 0, -1000, NY * 1000.0), LAMBERT)
GRIDS = {
    "the same": VALUES,
    "half a cell on": Grid((NY + 2, NX + 2), Affine(1000, 0, -1500, 0, -1000, NY * 1000.0 + 500), LAMBERT),
    "oblique": Grid((571, 11), Affine(1300, 0, -777, 0, -1300, NY * 1000.0 + 333), LAMBERT),
    # the cone stands on 95 E, 30 N
    "degrees": Grid((1000, 40), Affine(0.0079, 0, 94.93, 0, -0.0079, 36.95), LONLAT),
}


def refuse(dsk, keys, **kwargs):
    raise AssertionError("something was computed")


def as_array(values, grid, **labels):
    """A DataArray over (*labels, y, x) with the grid's own coordinates, exact through a GeoTransform."""
    (ny, nx), t = grid.shape, grid.transform
    coords = {**labels, "y": t.f + (np.arange(ny) + 0.5) * t.e, "x": t.c + (np.arange(nx) + 0.5) * t.a}
    place = {"crs_wkt": grid.crs.to_wkt(), "GeoTransform": " ".join(repr(float(v)) for v in t.to_gdal())}
    array = xr.DataArray(values, coords=coords, dims=tuple(coords))
    return array.assign_coords(spatial_ref=xr.DataArray(0, attrs=place))


def random_cells(seed, *shape):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(1, 1, shape).round(2)
    values[rng.random(shape) < 0.08] = np.nan
    return values


@pytest.fixture(scope="module")
def lights():
    """Two years of light by two bands, two strips high, with holes."""
    return as_array(random_cells(1, 2, 2, *VALUES.shape), VALUES, year=[2019, 2020], band=["dn", "cf"])


@pytest.fixture(scope="module")
def zones():
    """Two discs, a zone over both strips, one of which a part lies beyond the lights, and one elsewhere."""
    shapes = [shapely.Point(6e3, y).buffer(5.3e3) for y in (80e3, 187e3)]
    shapes += [shapely.box(-3e3, 3.5e3, 10.75e3, 697e3), shapely.box(9e6, 3e6, 9.1e6, 3.1e6)]
    return gpd.GeoDataFrame(geometry=shapes, crs=LAMBERT, index=["甲", "乙", "丙", "丁"])


@pytest.fixture(scope="module")
def people():
    """Weights on each grid, by year."""
    return {name: as_array(random_cells(2, 2, *g.shape), g, year=[2019, 2020]) for name, g in GRIDS.items()}


@pytest.fixture(scope="module")
def numbers(lights, people, zones):
    return gis.zonal_stats(lights, zones, EVERYTHING, weights=people["oblique"])


def to_file(path, array, grid):
    return write_raster(path, array.to_numpy(), grid, dtype="float64", nodata=np.nan, cog=False)


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRIDS)
def test_arrays_give_the_numbers_of_files_to_the_bit(tmp_path, lights, people, zones, name):
    one, who = lights.sel(year=2020, band="dn"), people[name].sel(year=2020)
    light, weight = to_file(tmp_path / "l.tif", one, VALUES), to_file(tmp_path / "p.tif", who, GRIDS[name])
    options = {"stats": EVERYTHING, "measure": "lambert" if name == "oblique" else "cells"}
    table = gis.zonal_stats(light, zones, weights=weight, **options)
    assert table["weight_on_data"].iloc[0] > 100 and (table["weight_sum"] > table["weight_on_data"]).iloc[2]
    chunked = one.chunk(y=97, x=5)
    for array in (one, chunked, one.isel(y=slice(None, None, -1))):
        for weights in (weight, who, who.chunk(y=201), who.isel(x=slice(None, None, -1))):
            found = gis.zonal_stats(array, zones, weights=weights, **options).compute().to_dataframe()
            assert np.array_equal(found[list(EVERYTHING)], table, equal_nan=True)


def test_each_slice_takes_the_weights_of_its_own_year(lights, people, zones, numbers):
    assert numbers["weighted_mean"].dims == ("zone", "year", "band")
    for year in (2019, 2020):
        who = people["oblique"].sel(year=year)
        same = gis.zonal_stats(lights.sel(year=year), zones, EVERYTHING, weights=who)
        xr.testing.assert_equal(same.drop_vars("year"), numbers.sel(year=year).drop_vars("year"))
    assert (numbers["weight_sum"].sel(year=2019) != numbers["weight_sum"].sel(year=2020)).isel(zone=slice(3)).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_labels_choose_the_weights_whatever_their_order_and_number(lights, people, zones, numbers, lazy):
    who = people["oblique"]
    more = xr.concat([who.assign_coords(year=[1990, 1991]), who.isel(year=[1, 0])], "year").transpose("x", "year", "y")
    more = more.chunk(year=3, y=100) if lazy else more
    found = gis.zonal_stats(lights, zones, EVERYTHING, weights=more)
    xr.testing.assert_identical(found.compute(), numbers)


def test_slices_without_labels_are_taken_in_order(lights, people, zones, numbers):
    found = gis.zonal_stats(lights, zones, EVERYTHING, weights=people["oblique"].drop_vars("year"))
    xr.testing.assert_identical(found, numbers)


def test_a_dimension_of_one_slice_is_no_dimension(lights, people, zones):
    one, who = lights.isel(year=0, band=0), people["the same"].isel(year=0)
    plain = gis.zonal_stats(one, zones, "weighted_gini", weights=who)
    rows = who.expand_dims(member=[1])  # as rioxarray gives a file of one band
    xr.testing.assert_identical(gis.zonal_stats(one, zones, "weighted_gini", weights=rows), plain)


def test_weighted_statistics_by_hand():
    """Four cells of light in two years, four of people half as wide again; half of the right column."""
    y, x = [1500.0, 500.0], [500.0, 1500.0]
    attrs = {"crs": "ESRI:102027"}
    light = xr.DataArray(
        [[[10, 20], [30, np.nan]], [[1, 1], [1, 5]]],
        coords={"year": [2000, 2010], "y": y, "x": x}, dims=("year", "y", "x"), attrs=attrs,
    )  # fmt: skip
    who = xr.DataArray(
        [[[1, 2], [3, -9]], [[0, 2], [0, 8]]],
        coords={"year": [2000, 2010], "y": y, "x": x}, dims=("year", "y", "x"), attrs=attrs,
    )  # fmt: skip
    zone = gpd.GeoSeries([shapely.box(0, 0, 1500, 2000)], crs=LAMBERT)
    found = gis.zonal_stats(light, zone, "weighted_sum,weighted_mean,weight_sum,weighted_gini", weights=who).isel(
        zone=0
    )
    assert found["weight_sum"].values.tolist() == [1 + 0.5 * 2 + 3, 0.5 * 2 + 0.5 * 8]
    assert found["weighted_sum"].values.tolist() == [1 * 10 + 1 * 20 + 3 * 30, 1 * 1 + 4 * 5]
    assert found["weighted_mean"].values.tolist() == [120 / 5, 21 / 5]
    apart = [2 * (1 * 1 * 10 + 1 * 3 * 20 + 1 * 3 * 10) / (2 * 24 * 25), 2 * 1 * 4 * 4 / (2 * 4.2 * 25)]
    assert np.allclose(found["weighted_gini"], apart, rtol=1e-15)


def test_nested_grids_match_the_definition():
    """Every piece a polygon of its own, cut by the zone with shapely: no code shared."""
    coarse, fine = (
        Grid((3, 4), Affine(3000, 0, 0, 0, -3000, 9000), LAMBERT),
        Grid((9, 12), Affine(1000, 0, 0, 0, -1000, 9000), LAMBERT),
    )
    who, light = random_cells(5, 2, 3, 4), random_cells(6, 2, 9, 12)
    zone = shapely.Polygon([(500, 800), (11300, 2100), (8000, 8600), (6100, 3200), (2500, 8100)])
    found = gis.zonal_stats(
        as_array(light, fine, t=[0, 1]), gpd.GeoSeries([zone], crs=LAMBERT),
        "weight_sum,weight_on_data,weighted_sum,weighted_variance,weighted_gini,median_per_head,weighted_quantile(0.3)",
        weights=as_array(who, coarse, t=[0, 1]).chunk(t=1), measure="lambert",
    ).isel(zone=0).compute()  # fmt: skip
    for t in (0, 1):
        p, v, w = [], [], []
        for i in range(9):
            for j in range(12):
                cell = shapely.box(1000 * j, 9000 - 1000 * (i + 1), 1000 * (j + 1), 9000 - 1000 * i)
                share, count = zone.intersection(cell).area / 1e6, who[t, i // 3, j // 3]
                if share > 0 and not np.isnan(count):
                    p.append(share * count / 9), v.append(light[t, i, j]), w.append(count)
        p, v, w = np.array(p), np.array(v), np.array(w)
        one, on = found.isel(t=t), ~np.isnan(v)
        assert float(one["weight_sum"]) == pytest.approx(p.sum(), rel=1e-12)  # shares agree with shapely's to 1e-13
        p, v, w = p[on], v[on], w[on]
        mean = (p * v).sum() / p.sum()
        assert float(one["weight_on_data"]) == pytest.approx(p.sum(), rel=1e-12)  # the same
        assert float(one["weighted_sum"]) == pytest.approx((p * v).sum(), rel=1e-12)  # the same
        assert float(one["weighted_variance"]) == pytest.approx((p * (v - mean) ** 2).sum() / p.sum(), rel=1e-11)
        apart = (p[:, None] * p * np.abs(v[:, None] - v)).sum()
        assert float(one["weighted_gini"]) == pytest.approx(apart / (2 * mean * p.sum() ** 2), rel=1e-11)
        # light times 9 km2 of the Lambert plane over the people of the cell; areas by a mesh to 1e-9
        assert float(one["median_per_head"]) == pytest.approx(quantile(v * 9 / w, p, 0.5), rel=1e-8)
        assert float(one["weighted_quantile(0.3)"]) == pytest.approx(quantile(v, p, 0.3), rel=1e-10)


def quantile(values, weights, q):
    """The documented quantile: distinct values, each with its summed weight, linear between their places."""
    distinct = np.unique(values)
    f = np.array([weights[values == x].sum() for x in distinct])
    place = np.arange(f.size) * f + (f.size - 1) * (np.cumsum(f) - f)
    return np.interp(q * (f.size - 1) * f.sum(), place, distinct)


# --- lazy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who_is_lazy", ["values", "weights", "both"])
def test_lazy_stays_lazy(lights, people, zones, numbers, who_is_lazy):
    values, weights = lights, people["oblique"]
    values = values.chunk(year=1, y=256) if who_is_lazy != "weights" else values
    weights = weights.chunk(y=99) if who_is_lazy != "values" else weights
    with dask.config.set(scheduler=refuse):
        found = gis.zonal_stats(values, zones, EVERYTHING, weights=weights)
        assert all(found[s].chunks is not None for s in WEIGHTED)
        with pytest.raises(AssertionError, match="something was computed"):
            found["weighted_sum"].compute()
    xr.testing.assert_identical(found.compute(), numbers)


sizes = st.integers(1, 2), st.integers(60, NY), st.integers(1, NX)


@settings(max_examples=10)
@given(*sizes, *sizes, st.integers(1, 2), st.booleans())
def test_chunks_change_no_bit(lights, people, zones, numbers, year, y, x, w_year, w_y, w_x, band, south_first):
    array = lights.isel(y=slice(None, None, -1)) if south_first else lights
    who = people["oblique"].chunk(year=w_year, y=w_y, x=w_x)
    lazy = gis.zonal_stats(array.chunk(year=year, band=band, y=y, x=x), zones, EVERYTHING, weights=who)
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), numbers)


def test_large_blocks_are_taken_slice_by_slice(lights, people, zones, numbers, monkeypatch):
    seen, compute = [], array_weighted.parts_of_window

    def spy(k, blocks, plate):
        seen.append([b.shape for b in blocks])
        return compute(k, blocks, plate)

    monkeypatch.setattr(array_weighted, "parts_of_window", spy)
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 8 * 600 * NX)
    found = gis.zonal_stats(lights.chunk(), zones, EVERYTHING, weights=people["oblique"].chunk())
    assert found["weighted_mean"].chunks == ((4,), (1, 1), (1, 1))
    xr.testing.assert_identical(found.compute(), numbers)
    # three pieces a side of 1.3 km: 512 rows of them are 171 rows of weights or one more, over 222 of light or one more
    assert max(w[-2] for _, w in seen) <= 172 and max(v[-2] for v, _ in seen) <= 223
    assert {v[:2] for v, _ in seen} == {(1, 1)}


def counted(values, grid, counts, rows=64):
    """A Dask array whose blocks count how often they are computed."""

    def block(a, b):
        def read():
            counts[a] = counts.get(a, 0) + 1
            return values[a:b]

        return da.from_delayed(dask.delayed(read)(), (b - a, grid.shape[1]), dtype=float)

    ny = grid.shape[0]
    return as_array(da.concatenate([block(a, min(a + rows, ny)) for a in range(0, ny, rows)]), grid)


def test_every_block_is_computed_once_and_only_where_zones_are(lights, people, zones):
    counts, of_weights = {}, {}
    light = counted(lights.values[0, 0], VALUES, counts)
    who = counted(people["oblique"].values[0], GRIDS["oblique"], of_weights)
    found = gis.zonal_stats(light, zones.iloc[:2], "weighted_mean,gini_per_head,sum,median", weights=who)
    assert not counts and not of_weights
    found.compute()
    assert set(counts.values()) == set(of_weights.values()) == {1}
    # the discs reach from 74.7 to 192.3 km: rows 507 to 626, in strips of light from 512 and of pieces from 1024 on
    weighted, counts_alone = counted(lights.values[0, 0], VALUES, rest := {}), rest
    gis.zonal_stats(weighted, zones.iloc[:1], "weighted_mean", weights=people["oblique"].isel(year=0)).compute()
    assert 0 < len(counts_alone) < 11 / 2


def test_weights_beyond_the_values_have_none(lights, zones):
    far = Grid((40, 40), Affine(1000, 0, 500e3, 0, -1000, 700e3), LAMBERT)
    who = as_array(np.ones(far.shape), far)
    zone = gpd.GeoSeries([shapely.box(510e3, 670e3, 520e3, 680e3)], crs=LAMBERT)
    for array in (lights, lights.chunk(y=100)):
        found = gis.zonal_stats(array, zone, "weight_sum,weight_on_data,weighted_mean,weighted_gini", weights=who)
        assert found["weight_sum"].values.ravel().tolist() == [100] * 4
        assert found["weight_on_data"].values.ravel().tolist() == [0] * 4
        assert np.isnan(found[["weighted_mean", "weighted_gini"]].to_array().values).all()
    with dask.config.set(scheduler="synchronous"):
        nowhere = gis.zonal_stats(lights.chunk(y=100), zones.iloc[[3]], "weight_sum,weighted_mean", weights=who)
        assert nowhere["weight_sum"].values.max() == 0 and np.isnan(nowhere["weighted_mean"].values).all()


@pytest.mark.parametrize("name", GRIDS)
def test_windows_hold_what_a_strip_needs_and_little_more(name):
    weights, zone = GRIDS[name], Zones(("z",), np.array([shapely.box(1e3, 3e3, 10.5e3, 650e3)]), LAMBERT)
    laid = match_weights(ArrayCells(weights, CellRules(), np.ones(weights.shape)), CellRules(), zone, VALUES)
    rows, cols = np.indices(VALUES.shape)
    for strip in laid.coverage.covered_strips():
        a, b, c, d = windows_of_strip(laid, VALUES, strip).values
        at = [
            np.concatenate([p.value for p in pieces_of_strip(PieceSource(cells, CellRules(), laid), strip)])
            for cells in (ArrayCells(VALUES, CellRules(), rows), ArrayCells(VALUES, CellRules(), cols))
        ]
        assert (a, b) == (np.nanmin(at[0]), np.nanmax(at[0]) + 1)
        assert (c, d) == (np.nanmin(at[1]), np.nanmax(at[1]) + 1)


# --- refusals ---------------------------------------------------------------------------------------------------------

ZONE = gpd.GeoSeries([shapely.box(0, 0, 5e3, 5e3)], crs=LAMBERT)
SMALL = Grid((5, 5), Affine(1000, 0, 0, 0, -1000, 5000), LAMBERT)


def small(dtype=float, **labels):
    return as_array(np.ones((*(len(v) for v in labels.values()), 5, 5), dtype), SMALL, **labels)


YEARS = small(year=[2019, 2020])
REFUSED = {
    "another dimension": (YEARS, small(age=[0, 5]), OptionInvalid, r"mend:  choose one: weights.isel\(age=0\)"),
    "a missing year": (YEARS, small(year=[2015, 2020]), OptionInvalid, r"mend:  take the nearest: weights.reindex\("),
    "a year twice": (YEARS, small(year=[2019, 2020, 2020]), OptionInvalid, "mend:  weights.drop_duplicates"),
    "unlabelled": (YEARS, small(year=[1, 2, 3]).drop_vars("year"), OptionInvalid, "mend:  label both"),
    "no CRS": (YEARS, small().drop_vars("spatial_ref"), CrsMissing, 'mend:  name it: weights_crs="EPSG:4326"'),
    "a Dataset": (YEARS, small().to_dataset(name="pop"), OptionInvalid, r"mend:  give one of them: dataset\['pop'\]"),
    "NumPy": (YEARS, np.ones((5, 5)), OptionInvalid, "mend:  give a DataArray with x and y"),
    "packed": (YEARS, small().assign_attrs(scales=(1.0, 0.1)), RasterInvalid, "mend:  open it with mask_and_scale"),
    "no weights": (YEARS, None, OptionInvalid, "mend:  give one: weights="),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_do_not_fit_are_refused(name):
    array, weights, error, mend = REFUSED[name]
    with pytest.raises(error, match=mend):
        gis.zonal_stats(array, ZONE, "weighted_mean", weights=weights)


def test_the_crs_of_weights_may_be_given():
    found = gis.zonal_stats(YEARS, ZONE, "weight_sum", weights=small().drop_vars("spatial_ref"), weights_crs=LAMBERT)
    assert found["weight_sum"].values.tolist() == [[25, 25]]
    with pytest.raises(CrsMismatch, match="mend:  drop weights_crs"):
        gis.zonal_stats(YEARS, ZONE, "weight_sum", weights=small(), weights_crs="EPSG:4326")


def test_integer_weights_and_their_fills_are_understood():
    counts = small(int).copy(data=np.arange(25).reshape(5, 5))
    found = gis.zonal_stats(YEARS, ZONE, "weight_sum", weights=counts.assign_attrs(_FillValue=24))
    assert found["weight_sum"].values.tolist() == [[276, 276]]
    huge = counts.where(counts > 0, 2**53 + 1).astype("int64")
    with pytest.raises(RasterInvalid, match=r"mend:  if it is a fill value, name it: .*assign_attrs\(_FillValue"):
        gis.zonal_stats(YEARS, ZONE, "weight_sum", weights=huge)


def test_weights_as_an_array_go_with_an_array(tmp_path):
    path = to_file(tmp_path / "l.tif", small(), SMALL)
    with pytest.raises(OptionInvalid, match=r"mend:  open the values as an array too: rioxarray.open_rasterio"):
        gis.zonal_stats(path, ZONE, "weighted_mean", weights=small())


def test_weights_that_nothing_uses_are_announced():
    with pytest.warns(UserWarning, match="none of mean uses the weights"):
        found = gis.zonal_stats(YEARS, ZONE, "mean", weights=small())
    assert found["mean"].values.tolist() == [[1, 1]]
