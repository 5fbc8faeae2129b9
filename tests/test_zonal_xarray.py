"""Arrays as input: the numbers of a file to the bit, lazy until asked, and what an array must say of itself."""

from __future__ import annotations

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import shares_by_intersection

import gis
from gis.crs import crs_from, same_crs
from gis.errors import CrsMismatch, CrsMissing, GridInvalid, OptionInvalid, RasterInvalid
from gis.grid import Grid
from gis.raster_io import write_raster
from gis.zonal.array_grid import array_raster
from gis.zonal.statistics import STATISTICS

LAMBERT = crs_from("ESRI:102027")
EVERYTHING = (*STATISTICS, "quantile(0.9)")
NY, NX = 1090, 14


@pytest.fixture(scope="module")
def cube():
    """Two years by two bands, three strips high, with holes; x and y in metres of ESRI:102027."""
    rng = np.random.default_rng(11)
    values = rng.lognormal(0, 1, (2, 2, NY, NX)).round(2)
    values[rng.random(values.shape) < 0.1] = np.nan
    coords = {
        "year": [2019, 2020],
        "band": ["dn", "cf"],
        "y": 500.0 + 1000.0 * np.arange(NY)[::-1],
        "x": 500.0 + 1000.0 * np.arange(NX),
    }
    return xr.DataArray(values, coords=coords, dims=tuple(coords), attrs={"crs": "ESRI:102027"})


@pytest.fixture(scope="module")
def zones():
    """Two discs far apart, a zone over three strips, and one elsewhere."""
    shapes = [shapely.Point(7e3, y).buffer(5.3e3) for y in (80e3, 580e3)]
    shapes += [shapely.box(1.25e3, 3.5e3, 12.75e3, 1087e3), shapely.box(9e6, 9e6, 9.1e6, 9.1e6)]
    return gpd.GeoDataFrame(geometry=shapes, crs=LAMBERT, index=["甲", "乙", "丙", "丁"])


@pytest.fixture(scope="module")
def numbers(cube, zones):
    return gis.zonal_stats(cube, zones, EVERYTHING)


def refuse(dsk, keys, **kwargs):
    raise AssertionError("something was computed")


# --- the same numbers -------------------------------------------------------------------------------------------------


def test_an_array_gives_the_numbers_of_a_file_to_the_bit(tmp_path, cube, zones, numbers):
    grid = Grid((NY, NX), Affine(1000, 0, 0, 0, -1000, NY * 1000.0), LAMBERT)
    for year in (2019, 2020):
        values = cube.sel(year=year, band="cf").to_numpy()
        path = write_raster(tmp_path / f"{year}.tif", values, grid, dtype="float64", nodata=np.nan, cog=False)
        table = gis.zonal_stats(path, zones, EVERYTHING)
        found = numbers.sel(year=year, band="cf").to_dataframe()[list(EVERYTHING)]
        assert np.array_equal(found, table, equal_nan=True)


def test_slices_match_the_definition(cube, zones, numbers):
    grid = array_raster(cube.isel(year=0, band=0)).grid
    for zone in (0, 1):
        share = shares_by_intersection(grid, zones.geometry.iloc[zone])
        for place in np.ndindex(2, 2):
            values = cube.values[place]
            some = (share > 1e-12) & np.isfinite(values)
            f, v = share[some], values[some]
            found = numbers.isel(zone=zone, year=place[0], band=place[1])
            # shares agree with shapely's to 1e-12 of a cell
            assert float(found["sum"]) == pytest.approx((f * v).sum(), rel=1e-11)
            assert float(found["count"]) == pytest.approx(f.sum(), rel=1e-11)
            assert float(found["max"]) == v.max()
            assert float(found["variety"]) == np.unique(v).size


def test_dimensions_coordinates_and_definitions_come_along(cube, zones, numbers):
    assert numbers["sum"].dims == ("zone", "year", "band")
    assert numbers["zone"].values.tolist() == list(zones.index)
    assert numbers["year"].values.tolist() == [2019, 2020] and numbers["band"].values.tolist() == ["dn", "cf"]
    assert "x" not in numbers.coords and "y" not in numbers.coords
    assert numbers["median"].attrs["definition"] == STATISTICS["median"]
    assert numbers.isel(zone=3)[["count", "variety"]].to_array().values.max() == 0
    assert np.isnan(numbers.isel(zone=3)[["sum", "gini"]].to_array().values).all()
    flat = gis.zonal_stats(cube.isel(year=0, band=0), zones, "sum")
    assert flat["sum"].dims == ("zone",) and float(flat["year"]) == 2019


@pytest.mark.parametrize("turned", [{"y": slice(None, None, -1)}, {"x": slice(None, None, -1)}])
def test_the_direction_of_an_axis_changes_nothing(cube, zones, numbers, turned):
    xr.testing.assert_identical(gis.zonal_stats(cube.isel(turned), zones, EVERYTHING), numbers)


def test_the_order_of_dimensions_orders_the_result_and_no_more(cube, zones, numbers):
    found = gis.zonal_stats(cube.transpose("x", "band", "y", "year"), zones, EVERYTHING)
    assert found["sum"].dims == ("zone", "band", "year")
    xr.testing.assert_identical(found.transpose("zone", "year", "band"), numbers)


def test_threads_change_nothing(cube, zones, numbers):
    xr.testing.assert_identical(gis.zonal_stats(cube, zones, EVERYTHING, threads=1), numbers)


# --- lazy -------------------------------------------------------------------------------------------------------------


def test_lazy_stays_lazy(cube, zones, numbers):
    with dask.config.set(scheduler=refuse):
        found = gis.zonal_stats(cube.chunk(year=1, y=256, x=5), zones, EVERYTHING)
        assert all(v.chunks is not None for v in found.data_vars.values())
        with pytest.raises(AssertionError, match="something was computed"):
            found.compute()
    xr.testing.assert_identical(found.compute(), numbers)


@settings(max_examples=12)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(40, NY), st.integers(1, NX), st.booleans())
def test_chunks_change_no_bit(cube, zones, numbers, year, band, y, x, south_first):
    array = cube.isel(y=slice(None, None, -1)) if south_first else cube
    lazy = gis.zonal_stats(array.chunk(year=year, band=band, y=y, x=x), zones, EVERYTHING)
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), numbers)


def test_blocks_that_no_zone_touches_are_never_read(zones):
    import dask.array as da

    def block(rows):
        def read():
            if rows[0] == 512:
                raise AssertionError("no zone is here")
            return np.ones((rows[1] - rows[0], NX))

        return da.from_delayed(dask.delayed(read)(), (rows[1] - rows[0], NX), dtype=float)

    values = da.concatenate([block((0, 512)), block((512, 1024)), block((1024, NY))])
    y, x = 500.0 + 1000.0 * np.arange(NY)[::-1], 500.0 + 1000.0 * np.arange(NX)
    array = xr.DataArray(values, coords={"y": y, "x": x}, dims=("y", "x"), attrs={"crs": "ESRI:102027"})
    ends = gpd.GeoSeries([shapely.box(1e3, 0, 5e3, 9e3), shapely.box(1e3, 1070e3, 5e3, 1080e3)], crs=LAMBERT)
    assert gis.zonal_stats(array, ends, "count")["count"].compute().values.tolist() == [36, 40]


def test_the_graph_has_a_task_per_block_and_one_to_combine(cube, zones):
    array = cube.chunk(year=1, band=1, y=512, x=NX)
    found = gis.zonal_stats(array, zones, "sum")["sum"]
    # per slice: three blocks and their sums, one combination and its place in the result; and the coverage once
    assert len(found.__dask_graph__()) - len(array.__dask_graph__()) < 4 * (3 + 3 + 4) + 20


def test_large_blocks_are_taken_slice_by_slice(cube, zones, numbers, monkeypatch):
    from gis.zonal import arrays

    monkeypatch.setattr(arrays, "BLOCK_BYTES", 8 * 600 * NX)
    found = gis.zonal_stats(cube.chunk(year=2, band=2, y=NY), zones, EVERYTHING)
    assert found["sum"].chunks == ((4,), (1, 1), (1, 1))
    xr.testing.assert_identical(found.compute(), numbers)


def test_a_zone_elsewhere_reads_nothing(cube, zones):
    with dask.config.set(scheduler="synchronous"):
        found = gis.zonal_stats(cube.chunk(y=100), zones.loc[["丁"]], "count,sum").compute()
    assert found["count"].values.max() == 0 and np.isnan(found["sum"].values).all()


# --- what an array says of itself -------------------------------------------------------------------------------------


def plain(values=None, y=None, x=None, **attrs):
    values = np.arange(12.0).reshape(3, 4) if values is None else values
    y = [2.5, 1.5, 0.5] if y is None else y
    x = [0.5, 1.5, 2.5, 3.5] if x is None else x
    return xr.DataArray(values, coords={"y": y, "x": x}, dims=("y", "x"), attrs=attrs)


BOX = gpd.GeoSeries([shapely.box(0, 0, 2, 3)], crs=LAMBERT)
WKT = LAMBERT.to_wkt()


def described(**attrs):
    return plain().assign_coords(spatial_ref=xr.DataArray(0, attrs=attrs))


@pytest.mark.parametrize(
    "array",
    [
        plain(crs="ESRI:102027"),
        plain(crs_wkt=WKT),
        described(crs_wkt=WKT),
        described(spatial_ref=WKT),
        described(**LAMBERT.to_cf()),
        described(**{k: v for k, v in LAMBERT.to_cf().items() if k != "crs_wkt"}),
        plain(grid_mapping="lcc").assign_coords(lcc=xr.DataArray(0, attrs={"crs_wkt": WKT})),
        plain().rename(y="northing", x="Easting").assign_attrs(crs="ESRI:102027"),
        plain(crs="ESRI:102027").rename(y="b", x="a").pipe(
            lambda d: d.assign_coords(a=d.a.assign_attrs(axis="X"), b=d.b.assign_attrs(axis="Y"))
        ),
    ],
    ids=["crs", "crs_wkt", "spatial_ref wkt", "spatial_ref", "CF", "CF parameters", "grid_mapping", "names", "axis"],
)  # fmt: skip
def test_the_crs_is_found_where_it_is_written(array):
    found = array_raster(array)
    # CF parameters alone spell the same cone without the name of its datum
    assert same_crs(found.grid.crs, LAMBERT) or found.grid.crs.to_dict()["lat_1"] == 15
    assert found.grid.transform == Affine(1, 0, 0, 0, -1, 3)


def test_rioxarray_is_understood(tmp_path, zones):
    rioxarray = pytest.importorskip("rioxarray")
    rng = np.random.default_rng(1)
    grid = Grid((NY, NX), Affine(1000 / 3, 0, 1 / 3, 0, -1000 / 3, NY * 1000 / 3), LAMBERT)
    values = rng.integers(0, 1000, grid.shape)
    values[rng.random(values.shape) < 0.1] = -7
    path = write_raster(tmp_path / "r.tif", values, grid, dtype="int16", nodata=-7, cog=False)
    shapes = gpd.GeoSeries([shapely.Point(2e3, 100e3).buffer(1.9e3), shapely.box(0, 1e3, 4e3, 350e3)], crs=LAMBERT)
    names = "sum,median,min,valid_area_km2"
    table = gis.zonal_stats(path, shapes, names)
    for options in ({}, {"masked": True}, {"chunks": {"y": 100}}):
        with rioxarray.open_rasterio(path, **options) as array:
            assert array_raster(array).grid.transform == grid.transform  # to the bit, though x and y are rounded
            found = gis.zonal_stats(array.squeeze("band"), shapes, names).compute().to_dataframe()[names.split(",")]
            assert np.array_equal(found, table)
    with rioxarray.open_rasterio(path) as array:
        part = array.isel(y=slice(101, 900), x=slice(2, 9))
        assert array_raster(part).grid.transform.almost_equals(grid.transform @ Affine.translation(2, 101), 1e-6)
        assert array_raster(part.isel(y=slice(None, None, -1))).grid == array_raster(part).grid
        coarse = array.coarsen(y=2, x=2).mean()  # keeps a GeoTransform that is no longer true
        assert array_raster(coarse).grid.transform.a == pytest.approx(2000 / 3)


def test_single_precision_coordinates_are_regular():
    x = (110 + (np.arange(2000) + 0.5) / 240).astype("float32")  # 15", where float32 steps by 0.2% of a cell
    array = plain(np.zeros((3, 2000)), x=x).assign_attrs(crs="EPSG:4326")
    assert array_raster(array).grid.transform.a == pytest.approx(1 / 240, rel=1e-5)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_any_real_dtype_is_taken(dtype):
    array = plain(np.arange(12).reshape(3, 4).clip(0, 1).astype(dtype), crs="ESRI:102027")
    assert gis.zonal_stats(array, BOX, "sum,count").to_array().values.ravel().tolist() == [5, 6]


DECLARED = [
    {"_FillValue": 5},
    {"missing_value": 5},
    {"nodatavals": (5.0,)},
    {"nodata": 5},
    {"fill_value": 5},
]


@pytest.mark.parametrize("attrs", DECLARED, ids=[next(iter(attrs)) for attrs in DECLARED])
def test_declared_nodata_is_no_data(attrs):
    array = plain(crs="ESRI:102027", **attrs)
    assert float(gis.zonal_stats(array, BOX, "count")["count"][0]) == 5
    assert float(gis.zonal_stats(array, BOX, "count", nodata=8)["count"][0]) == 4  # and a further one


def test_the_input_is_left_as_it_is():
    values = np.arange(12.0).reshape(3, 4)
    gis.zonal_stats(plain(values, crs="ESRI:102027", _FillValue=5), BOX, "sum,median", nodata=8)
    assert np.array_equal(values, np.arange(12.0).reshape(3, 4))


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "a NumPy array": (np.ones((3, 3)), OptionInvalid, "mend:  give a DataArray with x and y"),
    "a Dataset": (plain().to_dataset(name="dn"), OptionInvalid, r"mend:  give one of them: dataset\['dn'\]"),
    "no coordinate": (plain().drop_vars("x"), GridInvalid, "mend:  give a DataArray with x and y"),
    "no x": (plain().rename(x="column"), GridInvalid, "mend:  give a DataArray with x and y"),
    "irregular": (plain(x=[0, 1, 2, 4]), GridInvalid, "mend:  interpolate to a regular grid"),
    "NaN": (plain(x=[0, 1, np.nan, 4]), GridInvalid, "mend:  give a DataArray with x and y"),
    "text": (plain(x=list("abcd")), GridInvalid, "mend:  give a DataArray with x and y"),
    "unsorted": (plain(x=[2.5, 3.5, 0.5, 1.5]), GridInvalid, r"mend:  sort it: array.sortby\('x'\)"),
    "nodata in words": (
        plain(nodata="none", crs="ESRI:102027"),
        RasterInvalid,
        r"mend:  drop it and say nodata=\.\.\.: del array.attrs",
    ),
    "nodata by band": (plain(nodatavals=(0.0, 255.0), crs="ESRI:102027"), RasterInvalid, "mend:  mask each band"),
    "packed by band": (plain(scales=(0.1, 0.2)), RasterInvalid, "mend:  open it with mask_and_scale=True"),
    "zone is taken": (
        plain(crs="ESRI:102027").expand_dims(zone=[1]),
        OptionInvalid,
        r"mend:  rename it: array.rename\(zone",
    ),
    "sum is taken": (plain(crs="ESRI:102027").assign_coords(sum=1), OptionInvalid, "or drop it: array.drop_vars"),
    "one row": (plain().isel(y=[0]), GridInvalid, "mend:  keep two rows"),
    "the same place twice": (plain(x=[1, 1, 1, 1]), GridInvalid, "mend:  interpolate to a regular grid"),
    "no CRS": (plain(), CrsMissing, 'mend:  name it: raster_crs="EPSG:4326"'),
    "packed": (plain(scale_factor=0.1), RasterInvalid, "mend:  open it with mask_and_scale=True"),
    "complex": (plain(np.ones((3, 4), complex)), RasterInvalid, "mend:  save the real part"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_array_does_not_say_is_asked_for(name):
    array, error, mend = REFUSED[name]
    with pytest.raises(error, match=mend):
        gis.zonal_stats(array, BOX, "sum")


def test_integers_beyond_doubles_are_refused():
    array = plain(np.full((3, 4), 2**53 + 1), crs="ESRI:102027")
    with pytest.raises(RasterInvalid, match="mend:  if it is a fill value, name it: nodata="):
        gis.zonal_stats(array, BOX, "sum")
    assert gis.zonal_stats(array, BOX, "count", nodata=2**53 + 1)["count"].values.tolist() == [0]


def test_two_crs_for_one_array_are_refused():
    with pytest.raises(CrsMismatch, match="mend:  drop raster_crs, or correct the array's own"):
        gis.zonal_stats(plain(crs="ESRI:102027"), BOX, "sum", raster_crs="EPSG:4326")
    found = gis.zonal_stats(plain(), BOX, "count", raster_crs="ESRI:102027")
    assert found["count"].values.tolist() == [6]


def test_longitudes_to_360_are_refused_where_a_zone_lies_west():
    """A model's grid from 0 to 360: the west of Greenwich would be empty without a word."""
    y, x = np.arange(-89.5, 90), np.arange(0.5, 360)
    array = plain(np.ones((180, 360)), y=y, x=x, crs="EPSG:4326").rename(x="lon", y="lat")
    east, west = (gpd.GeoSeries([shapely.box(a, -20, a + 10, -10)], crs="EPSG:4326") for a in (20, -60))
    assert float(gis.zonal_stats(array, east, "count")["count"][0]) == 100
    with pytest.raises(GridInvalid, match=r"mend:  count from -180 on.*array.assign_coords\(lon="):
        gis.zonal_stats(array, west, "count")
    with pytest.raises(GridInvalid, match="mend:  count from -180 on"):
        gis.zonal_stats(array, west.to_crs("ESRI:54009"), "count")
    world = array.assign_coords(lon=array.lon - 180)
    with pytest.raises(GridInvalid, match="mend:  count from -180 on"):
        gis.zonal_stats(world, west, "weight_sum", weights=array)
    mended = array.assign_coords(lon=(array.lon + 180) % 360 - 180).sortby("lon")
    assert float(gis.zonal_stats(mended, west, "count")["count"][0]) == 100
    # half a cell beyond 180, as grids of cell centres from -180 to 180 have, is no second name
    beyond = plain(np.ones((180, 361)), y=y, x=np.arange(-180.0, 181), crs="EPSG:4326")
    assert float(gis.zonal_stats(beyond, west, "count")["count"][0]) == pytest.approx(
        100, rel=1e-12
    )  # shares of halves


def test_a_slice_without_data_is_empty_and_no_other(cube, zones, numbers):
    holes = cube.copy()
    holes[0] = np.nan
    for array in (holes, holes.chunk(y=300)):
        found = gis.zonal_stats(array, zones, EVERYTHING).compute()
        assert found["count"].sel(year=2019).values.max() == found["variety"].sel(year=2019).values.max() == 0
        assert np.isnan(found[["sum", "median", "gini", "max"]].sel(year=2019).to_array().values).all()
        xr.testing.assert_identical(found.sel(year=2020), numbers.sel(year=2020))


def test_the_description_of_the_crs_stays_with_the_map(cube, zones):
    described = cube.assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": WKT})).isel(band=0)
    assert set(gis.zonal_stats(described, zones, "sum").coords) == {"zone", "year", "band"}


@pytest.mark.parametrize("lazy", [False, True])
def test_no_slices_give_no_columns(cube, zones, lazy):
    none = cube.isel(year=slice(0, 0))
    found = gis.zonal_stats(none.chunk() if lazy else none, zones, "sum,median")
    assert found.compute().sizes == {"zone": 4, "year": 0, "band": 2}


def test_packed_integers_are_read_as_xarray_unpacks_them(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    import rasterio

    values = np.random.default_rng(3).integers(-1, 200, (40, 50)).astype("int16")
    path = tmp_path / "packed.tif"
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 1, "dtype": "int16", "nodata": -1, "crs": WKT}
    with rasterio.open(path, "w", transform=Affine(1, 0, 0, 0, -1, 40), **profile) as out:
        out.write(values, 1)
        out.scales, out.offsets = (0.25,), (3.0,)
    zone = gpd.GeoSeries([shapely.Point(20, 20).buffer(15)], crs=LAMBERT)
    names = ["count", "sum", "median", "gini"]
    with (
        rioxarray.open_rasterio(path) as array,
        pytest.raises(RasterInvalid, match="mend:  open it with mask_and_scale"),
    ):
        gis.zonal_stats(array, zone, names)
    with rioxarray.open_rasterio(path, mask_and_scale=True, chunks={}) as array:  # quarters: float32 is exact
        found = gis.zonal_stats(array, zone, names).isel(band=0).compute().to_dataframe()[names]
    assert np.array_equal(found, gis.zonal_stats(path, zone, names))
