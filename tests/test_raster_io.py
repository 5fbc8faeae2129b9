"""Claims about the door to rasterio: what is refused, what is noted, and that numbers come and go unchanged."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from gis.crs import ASIA_NORTH_LAMBERT, crs_name, same_crs
from gis.errors import (
    CrsInvalid,
    CrsMismatch,
    CrsMissing,
    GridInvalid,
    OptionInvalid,
    RasterInvalid,
    RasterUnreadable,
    WriteFailed,
)
from gis.grid import Grid
from gis.raster_io import (
    INT_FILL,
    CellRules,
    check_range,
    integer_fills,
    is_data,
    open_raster,
    read_info,
    working_dtype,
    write_raster,
)

NORTH_UP = Affine(0.25, 0, 100.0, 0, -0.25, 40.0)
WGS84 = CRS.from_epsg(4326)


def make(path: Path, values: Any, **profile: Any) -> Path:
    """Write an array (bands, ny, nx) or (ny, nx) by rasterio itself, not by the code under test."""
    array = np.asarray(values)
    array = array if array.ndim == 3 else array[None]
    n, ny, nx = array.shape
    told = {"crs": "EPSG:4326", "transform": NORTH_UP, "driver": "GTiff", "dtype": array.dtype, **profile}
    told = {k: v for k, v in told.items() if v is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", height=ny, width=nx, count=n, **told) as target:
        target.write(array)
    return path


def read_all(path: Path, **options: Any) -> np.ndarray:
    info = read_info(path, **options)
    with open_raster(info) as raster:
        return raster.read_rows(0, info.grid.shape[0])


def ramp(ny: int = 6, nx: int = 4, dtype: str = "float32") -> np.ndarray:
    return np.arange(ny * nx).reshape(ny, nx).astype(dtype)


# --- files that are refused -------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RasterUnreadable, match="check the name, and the key files"):
        read_info(tmp_path / "nowhere.tif")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(RasterUnreadable, match=r"0 bytes[\s\S]*download or copy the file again"):
        read_info(tmp_path / "a.tif")


def test_text_is_no_raster(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("<html>please log in</html>")
    with pytest.raises(RasterUnreadable, match=r"a\.tif[\s\S]*damaged or not a raster"):
        read_info(tmp_path / "a.tif")


def test_folder_without_header(tmp_path: Path) -> None:
    with pytest.raises(RasterUnreadable, match="name the raster file"):
        read_info(tmp_path)


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}])
def test_file_cut_short_is_refused_on_opening(tmp_path: Path, profile: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).random((300, 200)).astype("float32")
    path = make(tmp_path / "a.tif", noise, **profile)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(RasterUnreadable, match=r"cut short[\s\S]*its size should equal the source's"):
        read_info(path)


def test_file_damaged_inside_is_refused_on_reading_with_its_rows(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random((256, 256)).astype("float32")
    path = make(tmp_path / "a.tif", noise, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    info = read_info(path)
    whole = bytearray(path.read_bytes())
    with rasterio.open(path) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    whole[start : start + 2000] = bytes(2000)
    path.write_bytes(whole)
    with open_raster(info) as raster:
        assert (raster.read_rows(0, 128) == noise[:128]).all()
        with pytest.raises(RasterUnreadable, match=r"rows 128 to 192[\s\S]*a\.tif[\s\S]*download or copy"):
            raster.read_rows(128, 192)


def test_file_that_vanished_after_read_info(tmp_path: Path) -> None:
    info = read_info(make(tmp_path / "a.tif", ramp()))
    info.path.unlink()
    with pytest.raises(RasterUnreadable, match="download or copy"), open_raster(info):
        pass


def test_rgb_picture(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.zeros((3, 4, 4), "uint8"), photometric="rgb")
    with pytest.raises(RasterInvalid, match="use the product's data file"):
        read_info(path)


def test_rgba_picture_names_the_file_beside_it(tmp_path: Path) -> None:
    make(tmp_path / "landscan-global-2019.tif", ramp())
    path = make(tmp_path / "landscan-global-2019-colorized.tif", np.zeros((4, 4, 4), "uint8"), photometric="rgb")
    with pytest.raises(RasterInvalid, match=r"use landscan-global-2019\.tif, which is there"):
        read_info(path)


def test_colour_table_is_a_picture_and_a_grey_ramp_is_not(tmp_path: Path) -> None:
    values = ramp(dtype="uint8")
    path = make(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as target:
        target.write_colormap(1, {i: (i, 0, 255 - i, 255) for i in range(256)})
    with pytest.raises(RasterInvalid, match=r"colour table[\s\S]*not its preview"):
        read_info(path)
    grey = make(tmp_path / "grey.tif", values)
    with rasterio.open(grey, "r+") as target:
        target.write_colormap(1, {i: (i, i, i, 255) for i in range(256)})
        assert target.colorinterp == (ColorInterp.palette,)
    assert (read_all(grey) == values).all()


@pytest.mark.parametrize("driver", ["PNG", "JPEG"])
def test_picture_formats(tmp_path: Path, driver: str) -> None:
    path = make(tmp_path / "a.img", ramp(dtype="uint8"), driver=driver)
    with pytest.raises(RasterInvalid, match=rf"{driver} picture[\s\S]*use the product's data file"):
        read_info(path)


def test_complex_cells(tmp_path: Path) -> None:
    with pytest.raises(RasterInvalid, match="save the real part"):
        read_info(make(tmp_path / "a.tif", ramp(dtype="complex64")))


def test_band_that_is_not_there(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.stack([ramp(), ramp() + 100]))
    assert read_all(path, band=2).min() == 100
    for band in (0, 3):
        with pytest.raises(OptionInvalid, match="set band between 1 and 2"):
            read_info(path, band=band)


def test_rotated_grid(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp(), transform=Affine(0.25, 0.01, 100.0, 0.01, -0.25, 40.0))
    with pytest.raises(GridInvalid, match="warp it north-up first: gdalwarp"):
        read_info(path)


def test_mirrored_grid(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp(), transform=Affine(-0.25, 0, 101.0, 0, -0.25, 40.0))
    with pytest.raises(GridInvalid, match="turn it: gdalwarp"):
        read_info(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_georeference(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp(), transform=None, crs=None)
    with pytest.raises(RasterInvalid, match=r"keep its world file"):
        read_info(path, crs="EPSG:4326")
    points = [GroundControlPoint(r, c, 100 + c, 40 - r) for r, c in ((0, 0), (0, 4), (6, 0))]
    path = make(tmp_path / "b.tif", ramp(), transform=None, crs="EPSG:4326", gcps=points)
    with pytest.raises(RasterInvalid, match="warp it to its control points first"):
        read_info(path)


# --- CRS --------------------------------------------------------------------------------------------------------------


def test_missing_crs_is_asked_for_by_its_config_key(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp(), crs=None)
    with pytest.raises(CrsMissing, match=r'set lights\.crs = "EPSG:4326"'):
        read_info(path, config_key="lights.crs")
    assert same_crs(read_info(path, crs="EPSG:4326").grid.crs, WGS84)


def test_configured_crs_must_not_contradict_the_file(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp())
    assert same_crs(read_info(path, crs="EPSG:4326").grid.crs, WGS84)
    with pytest.raises(CrsMismatch, match=r"remove lights\.crs: it is for files that carry no CRS"):
        read_info(path, crs="EPSG:3857", config_key="lights.crs")


def test_local_coordinates_are_no_crs(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", ramp(), crs='LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(CrsInvalid, match="give the file its real CRS"):
        read_info(path)


# --- files that are read ----------------------------------------------------------------------------------------------


def test_south_up_file_equals_its_north_up_twin(tmp_path: Path) -> None:
    values = ramp(7, 5)
    twin = read_info(make(tmp_path / "n.tif", values))
    info = read_info(make(tmp_path / "s.tif", values[::-1], transform=Affine(0.25, 0, 100, 0, 0.25, 40 - 7 * 0.25)))
    assert info.is_south_up
    assert not twin.is_south_up
    assert any("turned over" in note for note in info.notes)
    assert info.grid.same_place(twin.grid)
    with open_raster(info) as a, open_raster(twin) as b:
        for row0, row1, col0, col1 in ((0, 7, 0, 5), (0, 1, 0, 5), (2, 6, 1, 3), (6, 7, 4, 5), (3, 3, 0, 5)):
            got = a.read_rows(row0, row1, col0, col1)
            assert (got == b.read_rows(row0, row1, col0, col1)).all()
            assert (got == values[row0:row1, col0:col1]).all()
            assert got.flags.c_contiguous


def test_points_are_moved_by_half_a_cell(tmp_path: Path) -> None:
    # Written so that the tie point in the file is the centre of the first cell, as the GeoTIFF standard has it.
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=True):
        path = make(tmp_path / "p.tif", ramp())
        with rasterio.open(path, "r+") as target:
            target.update_tags(AREA_OR_POINT="Point")
    info = read_info(path)
    assert info.area_or_point == "Point"
    assert any("half a cell" in note for note in info.notes)
    assert (info.grid.transform.c, info.grid.transform.f) == (100.0 - 0.125, 40.0 + 0.125)
    assert read_info(make(tmp_path / "a.tif", ramp())).area_or_point == "Area"


@pytest.mark.parametrize(
    ("dtype", "working"),
    [
        ("uint8", "int32"), ("int8", "int32"), ("uint16", "int32"), ("int16", "int32"), ("int32", "int32"),
        ("uint32", "float64"), ("int64", "float64"), ("uint64", "float64"), ("float16", "float32"),
        ("float32", "float32"), ("float64", "float64"),
    ],
)  # fmt: skip
def test_extremes_of_every_dtype_come_back_exactly(tmp_path: Path, dtype: str, working: str) -> None:
    assert working_dtype(dtype) == np.dtype(working)
    if dtype == "float16":  # GDAL before 3.11 cannot write one
        return
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    high = min(int(limits.max), 2**53 - 1) if dtype in ("int64", "uint64") else limits.max
    values = np.array([[limits.min, high, 0, 1]], dtype)
    got = read_all(make(tmp_path / "a.tif", values))
    assert got.dtype == np.dtype(working)
    assert [float(v) for v in got[0]] == [float(v) for v in values[0]]


def test_text_has_no_working_dtype() -> None:
    with pytest.raises(RasterInvalid, match="save the real part"):
        working_dtype("complex64")


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_float64_would_round_are_refused(tmp_path: Path, dtype: str) -> None:
    path = make(tmp_path / "a.tif", np.array([[1, 2**53 + 1]], dtype))
    with pytest.raises(RasterInvalid, match=r"2\^53[\s\S]*gdal_edit\.py -a_nodata"):
        read_all(path)
    declared = make(tmp_path / "b.tif", np.array([[1, 2**60]], dtype), nodata=2**60)
    # rasterio writes the tag as 1.15e+18, of which an integer reader takes the 1: put the digits in, as gdal_edit does.
    told, digits = b"1.152921504606847e+18", b"1152921504606846976\0\0"
    assert declared.read_bytes().count(told) == 1
    declared.write_bytes(declared.read_bytes().replace(told, digits))
    assert read_info(declared).nodata == 2.0**60
    assert read_all(declared).tolist() == [[1.0, 2.0**60]]


def test_scale_and_offset_are_applied_and_noted(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[0, 10, 2550, 255]], "int16"), nodata=255)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (0.1,), (2.0,)
    info = read_info(path)
    assert info.is_scaled
    assert any("0.1" in note for note in info.notes)
    got = read_all(path)
    assert got.dtype == np.float64
    # 2550 reads 257.0: the declared 255 is a number on disk, and must not strike the value that happens to equal it
    np.testing.assert_allclose(got[0], [2.0, 3.0, 257.0, np.nan], rtol=1e-15)  # one rounding each


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_mask_band_is_no_data(tmp_path: Path, dtype: str) -> None:
    path = make(tmp_path / "a.tif", ramp(2, 2, dtype))
    with rasterio.open(path, "r+") as target:
        target.write_mask(np.array([[True, False], [True, True]]))
    info = read_info(path)
    assert info.has_mask
    got = read_all(path)
    assert got[0, 1] == INT_FILL if dtype == "int16" else np.isnan(got[0, 1])
    assert got[1].tolist() == [2, 3]


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "int16"])
def test_cells_under_a_clear_alpha_band_are_no_data(tmp_path: Path, dtype: str) -> None:
    """What gdalwarp -dstalpha writes: outside the picture the data band holds 0, which would read as darkness."""
    values = np.array([[[5, 0], [3, 4]], [[255, 0], [255, 255]]], dtype)
    path = make(tmp_path / "a.tif", values, photometric="MINISBLACK", alpha="YES")
    info = read_info(path)
    assert info.has_mask
    got = read_all(path).astype(float)
    assert got[0, 1] == INT_FILL if info.working_dtype.kind == "i" else np.isnan(got[0, 1])
    assert [got[0, 0], *got[1]] == [5, 3, 4]
    assert read_all(path, band=2).astype(float).ravel().tolist().count(255) == 3  # the alpha band itself can be read


def test_a_fill_is_known_before_a_small_scale_brings_it_into_range(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tif", np.array([[1.0, -3.4e38]], "float32"))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (1e-9,), (0.0,)
    got = read_all(path)  # -3.4e29 would be a measurement
    assert got[0, 0] == pytest.approx(1e-9)
    assert np.isnan(got[0, 1])


def test_rows_are_read_into_a_given_buffer(tmp_path: Path) -> None:
    info = read_info(make(tmp_path / "a.tif", ramp(6, 4)))
    buffer = np.empty((2, 4), np.float32)
    with open_raster(info) as raster:
        assert raster.read_rows(1, 3, out=buffer) is buffer
        assert (buffer == ramp(6, 4)[1:3]).all()
        for bad in (np.empty((2, 4), np.float64), np.empty((3, 4), np.float32), np.empty((4, 2), np.float32).T):
            with pytest.raises(OptionInvalid, match=r"C-contiguous array of info\.working_dtype"):
                raster.read_rows(1, 3, out=bad)
        for rows in ((-1, 2), (4, 7), (3, 2)):
            with pytest.raises(OptionInvalid, match=r"rows and columns of info\.grid"):
                raster.read_rows(*rows)


def test_one_handle_per_thread_reads_what_one_reads(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 1000, (600, 300)).astype("int32")
    info = read_info(make(tmp_path / "a.tif", values, tiled=True, blockxsize=128, blockysize=128, compress="deflate"))

    def rows(row0: int) -> np.ndarray:
        with open_raster(info) as raster:
            return raster.read_rows(row0, row0 + 50)

    with ThreadPoolExecutor(4) as pool:
        assert (np.concatenate(list(pool.map(rows, range(0, 600, 50)))) == values).all()


# --- rules ------------------------------------------------------------------------------------------------------------

AWKWARD = [0.0, -1.0, 5.0, 1e29, 1e30, -1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), -9999.0]


@given(
    st.lists(st.sampled_from(AWKWARD), min_size=1, max_size=12),
    st.lists(st.sampled_from(AWKWARD), max_size=2),
    st.booleans(),
)
def test_is_data_is_the_definition_cell_by_cell(values: list[float], nodata: list[float], below: bool) -> None:
    def one(v: float) -> bool:
        if v != v or v >= 1e30 or v <= -1e30:
            return False
        return v not in nodata and not (below and v < 0)

    rules = CellRules(nodata=tuple(nodata), below_zero_is_nodata=below)
    assert is_data(np.array([values]), rules)[0].tolist() == [one(v) for v in values]


def test_fills_of_integers() -> None:
    assert integer_fills("int16") == (-32768,)
    assert integer_fills("int32") == (-2147483648, -2147483647)  # the second is ESRI's
    assert integer_fills("uint8") == integer_fills("float32") == ()  # 0 is darkness, not fill


def test_valid_range() -> None:
    rules = CellRules(valid_range=(0, 63))
    check_range(0, 63, rules, where="a.tif")
    check_range(float("nan"), float("nan"), rules, where="a.tif")
    check_range(-1e9, 1e9, CellRules(), where="a.tif")
    for low, high in ((-1, 5), (0, 64)):
        with pytest.raises(RasterInvalid, match=r"a\.tif[\s\S]*set valid_range, or add the fill value to nodata"):
            check_range(low, high, rules, where="a.tif")


# --- writing ----------------------------------------------------------------------------------------------------------

LAMBERT = Grid((700, 530), Affine(1000, 0, -2e6, 0, -1000, 3e6), CRS.from_user_input(ASIA_NORTH_LAMBERT))


@pytest.mark.parametrize("cog", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "float64"])
def test_what_is_written_is_read_back(tmp_path: Path, cog: bool, dtype: str) -> None:
    values = (np.random.default_rng(3).random(LAMBERT.shape) * 200).astype(dtype)
    path = write_raster(tmp_path / "a.tif", values, LAMBERT, dtype=dtype, nodata=255, tags={"made_by": "x"}, cog=cog)
    info = read_info(path)
    assert info.grid.same_place(LAMBERT)
    assert crs_name(info.grid.crs) == ASIA_NORTH_LAMBERT
    assert (info.dtype, info.nodata, info.block_shape) == (dtype, 255.0, (512, 512))
    assert (read_all(path) == values).all()
    with rasterio.open(path) as source:
        assert source.tags()["made_by"] == "x"
        assert (source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == cog
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@given(cuts=st.lists(st.integers(0, 40), max_size=5))
def test_strips_change_nothing(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("strips")
    grid = Grid((40, 30), NORTH_UP, WGS84)
    values = ramp(40, 30)
    edges = [0, *sorted(cuts), 40]
    strips = (values[a:b] for a, b in itertools.pairwise(edges) if b > a)
    path = write_raster(folder / "a.tif", strips, grid, dtype="float32", cog=False, blocksize=16)
    assert (read_all(path) == values).all()


def test_overviews_are_made_as_asked(tmp_path: Path) -> None:
    grid = Grid((1024, 1024), NORTH_UP, WGS84)
    values = np.zeros(grid.shape, "float32")
    values[::2, ::2] = 4.0
    for how, seen in (("average", 1.0), ("nearest", None), ("none", None)):
        path = write_raster(tmp_path / f"{how}.tif", values, grid, dtype="float32", overviews=how)
        with rasterio.open(path) as source:
            assert bool(source.overviews(1)) == (how != "none")
            if seen is not None:
                assert (source.read(1, out_shape=(512, 512)) == seen).all()


@pytest.mark.parametrize(
    ("values", "options", "mend"),
    [
        (np.zeros((3, 4)), {}, "give every row of the grid"),
        (np.zeros((5, 4)), {}, "give strips of full rows"),
        (np.zeros((4, 3)), {}, "give strips of full rows"),
        (np.full((4, 4), np.nan), {"dtype": "int16"}, "write a float dtype"),
        (np.full((4, 4), 0.5), {"dtype": "int16"}, "round and fill first"),
        (np.full((4, 4), 300), {"dtype": "uint8"}, "write a float dtype"),
        (np.zeros((4, 4)), {"dtype": "uint8", "nodata": -1}, "choose a value of that dtype"),
    ],
)
def test_refused_writes_leave_the_old_file_and_nothing_else(
    tmp_path: Path, values: np.ndarray, options: dict[str, Any], mend: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_text("old")
    with pytest.raises(OptionInvalid, match=mend):
        write_raster(path, values, Grid((4, 4), NORTH_UP, WGS84), **{"dtype": "float32", **options})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_strip_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("old")

    def strips() -> Any:
        yield np.zeros((2, 4))
        raise KeyError("upstream")

    with pytest.raises(KeyError, match="upstream"):
        write_raster(path, strips(), Grid((4, 4), NORTH_UP, WGS84), dtype="float32")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


FULL_DISK = """
import resource, sys
import numpy as np
from affine import Affine
from pyproj import CRS
from gis.errors import WriteFailed
from gis.grid import Grid
from gis.raster_io import write_raster
grid = Grid((600, 600), Affine(0.25, 0, 0, 0, -0.1, 0), CRS.from_epsg(4326))
noise = np.random.default_rng(0).random(grid.shape)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    write_raster(sys.argv[1], noise, grid, dtype="float64", cog=sys.argv[2] == "cog")
except WriteFailed as error:
    print(error.mend)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("kind", ["cog", "tiled"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, checkout: Path, kind: str) -> None:
    # A file size limit stands in for a full disk: the write call of the system fails in the same place.
    path = tmp_path / "a.tif"
    path.write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(path), kind]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    assert "free some space" in done.stdout, done.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteFailed, match="check the folder's rights and space"):
        write_raster(tmp_path / "file" / "a.tif", np.zeros((4, 4)), Grid((4, 4), NORTH_UP, WGS84), dtype="float32")


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_lights_of_2008(real_data: Path) -> None:
    path = real_data / "ntl" / "china_harmonized_2008_5min" / "ChinaOnly5min.tif"
    info = read_info(path)
    assert info.grid.shape == (540, 756)
    assert np.allclose(info.grid.bounds_xy, (73, 9, 136, 54))
    assert info.nodata == pytest.approx(-3.4e38)
    values = read_all(path)
    # Nothing but the fill rule: the declared value need not equal the stored one bit by bit.
    good = values[is_data(values, CellRules())].astype(float)
    assert good.size == 138_512  # PROVENANCE.txt
    assert (good.min(), good.max()) == (0.0, 60.0)
    assert good.mean() == pytest.approx(1.994, abs=5e-4)  # published to three decimals


@pytest.mark.real_data
def test_real_mollweide_population(real_data: Path) -> None:
    path = real_data / "ntl" / "burundi_viirs_2016" / "pop.tif"
    assert same_crs(read_info(path).grid.crs, "ESRI:54009")
    values = read_all(path)
    total = values[is_data(values, CellRules())].sum(dtype=float)
    assert total == pytest.approx(11_131_282, abs=0.5)  # published to the person


@pytest.mark.real_data
def test_real_picture_is_refused(real_data: Path) -> None:
    with pytest.raises(RasterInvalid, match=r"JPEG picture[\s\S]*use the product's data file"):
        read_info(real_data / "ntl" / "earth_night_images" / "xplanet_night_dmsp1994_2048x1024.jpg", crs="EPSG:4326")
