"""The georeferencing step: exact warping, tables, residual map, control points back out, and what is refused."""

from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import CRS, Geod
from typer.testing import CliRunner

from gis.cli import app
from gis.crs import same_crs
from gis.demo.geography import geography
from gis.demo.historical import METRES_PER_PX, drawn_towns, points_text, px_from_lonlat
from gis.demo.historical import control_points as demo_points
from gis.demo.historical import scan as draw
from gis.demo.pictures import png_from_grey
from gis.errors import OptionInvalid, RasterInvalid, RasterUnreadable, WriteFailed
from gis.grid import Grid
from gis.historical import MODELS, ControlPointsInvalid, control_points, fit, read_control_points
from gis.historical.accuracy import assess
from gis.historical.residual_map import residuals_px
from gis.historical.warp import pixels_of, warp_grid, warp_strips
from gis.pipeline.georeference import georeference_scan
from gis.raster_io.pictures import open_picture, read_picture, write_picture
from gis.tables import CONTROL_POINT, GEOREFERENCE, read_table

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # scans have none

H, W = 120, 160


def picture(path, bands, **options):
    profile = {"driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
    with rasterio.open(path, "w", dtype=bands.dtype, **profile, **options) as target:
        target.write(bands)
    return path


def ramps():
    """Red grows by 1 to the right, green by 2 downward: a colour tells its place."""
    col, row = np.meshgrid(np.arange(W), np.arange(H))
    return np.stack([col, 2 * row, np.full_like(col, 7)]).astype(np.uint8)


def corners(*, turn=0.0, metres=500.0, n=30):
    """Exact points of a sheet in ESRI:102027, ``metres`` to the pixel, turned clockwise."""
    rng = np.random.default_rng(0)
    px, py = rng.uniform(0, W, n), rng.uniform(0, H, n)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    right, down = px * c + py * s, -px * s + py * c
    return control_points(px, py, 1e6 + metres * right, 1e6 - metres * down, crs="ESRI:102027")


@pytest.fixture
def scan(tmp_path):
    return picture(tmp_path / "scan.tif", ramps())


def warped(scan, transform, grid, **options):
    with open_picture(read_picture(scan)) as source:
        return np.concatenate(list(warp_strips(source, transform, grid, **options)), axis=1)


# --- warping ----------------------------------------------------------------------------------------------------------


def test_on_its_own_grid_a_scan_comes_back_unchanged(scan):
    points = corners()
    grid = Grid((H, W), Affine(500, 0, 1e6, 0, -500, 1e6), CRS("ESRI:102027"))
    for smooth in (True, False):
        out = warped(scan, fit(points, "affine"), grid, smooth=smooth)
        assert np.array_equal(out[:3], ramps())
        assert (out[3] == 255).all()


@pytest.mark.parametrize("model", ["affine", "poly2", "projective", "tps", "tps_smooth", "projection:bonne"])
@pytest.mark.parametrize("crs", ["ESRI:102027", "EPSG:4326"])
def test_every_cell_shows_the_pixel_the_transform_puts_there(scan, model, crs):
    points = corners(turn=25.0)
    transform = fit(points, model)
    grid = warp_grid(transform, points, (H, W), crs)
    out = warped(scan, transform, grid)
    ny, nx = grid.shape
    rows, cols = np.mgrid[0:ny, 0:nx] + 0.5
    x, y = grid.transform.c + grid.transform.a * cols, grid.transform.f + grid.transform.e * rows
    lonlat = (x, y) if crs == "EPSG:4326" else _lonlat(x, y)
    px, py = transform.to_pixel(*lonlat)  # without tiles, mesh or start
    mesh = pixels_of(transform, grid, 0, ny, 0, nx)
    assert np.nanmax(np.abs(np.array(mesh) - [px, py])) < 1e-6  # px
    inside = (px > 0.5) & (px < W - 0.5) & (py > 0.5) & (py < H - 0.5)
    assert inside.mean() > 0.2
    assert np.abs(out[0][inside] - (px[inside] - 0.5)).max() <= 0.5 + 1e-6  # colours are rounded
    assert np.abs(out[1][inside] - 2 * (py[inside] - 0.5)).max() <= 0.5 + 1e-6
    outside = (px < 0) | (px > W) | (py < 0) | (py > H)
    assert (out[3][outside] == 0).all() and (out[3][inside] == 255).all()


def _lonlat(x, y):
    from pyproj import Transformer

    return Transformer.from_crs("ESRI:102027", 4326, always_xy=True).transform(x, y)


def test_tiling_changes_nothing(scan, monkeypatch):
    points = corners(turn=40.0)
    transform = fit(points, "projection:lcc")
    grid = warp_grid(transform, points, (H, W), "EPSG:4326")
    whole = warped(scan, transform, grid)
    monkeypatch.setattr("gis.historical.warp.TILE", 37)
    monkeypatch.setattr("gis.historical.warp.WINDOW", 500)
    assert np.array_equal(warped(scan, transform, grid), whole)


def test_a_spline_does_not_run_away_with_the_picture(scan):
    points = corners(n=30)
    inner = points.take((points.px > 60) & (points.px < 100))
    grid = warp_grid(fit(inner, "tps"), inner, (H, W), "ESRI:102027")
    west, south, east, north = grid.bounds_xy
    reach = 1.0001 * max(np.ptp(inner.x), np.ptp(inner.y))
    assert east - west <= np.ptp(inner.x) + reach + grid.transform.a
    assert north - south <= np.ptp(inner.y) + reach + grid.transform.a


def test_cell_sizes_that_cannot_be_are_refused(scan):
    points = corners()
    transform = fit(points, "affine")
    with pytest.raises(OptionInvalid, match="give a coarser --resolution"):
        warp_grid(transform, points, (H, W), "ESRI:102027", resolution=0.5)
    with pytest.raises(OptionInvalid, match="give a positive --resolution"):
        warp_grid(transform, points, (H, W), "ESRI:102027", resolution=-1)
    assert warp_grid(transform, points, (H, W), "ESRI:102027").transform.a == 500


# --- pictures ---------------------------------------------------------------------------------------------------------


def read_all(path):
    info = read_picture(path)
    with open_picture(info) as source:
        return source.read_rgba(0, info.size[0], 0, info.size[1])


def test_grey_alpha_palette_sixteen_bits_and_one_bit_become_colours(tmp_path):
    grey = ramps()[:1]
    out = read_all(picture(tmp_path / "g.tif", grey))
    assert (out[:3] == grey[0]).all() and (out[3] == 255).all()
    with_alpha = np.concatenate([grey, np.full_like(grey, 9)])
    out = read_all(picture(tmp_path / "ga.tif", with_alpha, alpha="yes"))
    assert (out[0] == grey[0]).all() and (out[3] == 9).all()
    out = read_all(picture(tmp_path / "w.tif", grey.astype(np.uint16) * 257))
    assert (out[0] == grey[0]).all()
    out = read_all(picture(tmp_path / "b.tif", (grey > 50).astype(np.uint8), nbits=1))
    assert set(np.unique(out[0])) == {0, 255}
    Image.fromarray(ramps()[2]).convert("P").save(tmp_path / "p.png")
    Image.fromarray(np.moveaxis(ramps(), 0, -1)).quantize(16).save(tmp_path / "q.png")
    wanted = np.moveaxis(np.asarray(Image.open(tmp_path / "q.png").convert("RGB")), -1, 0)
    assert np.array_equal(read_all(tmp_path / "q.png")[:3], wanted)


def test_windows_of_a_png_are_parts_of_it(tmp_path):
    Image.fromarray(np.moveaxis(ramps(), 0, -1)).save(tmp_path / "a.png")
    with open_picture(read_picture(tmp_path / "a.png")) as source:
        for row, col in ((100, 150), (0, 0), (50, 20)):
            window = source.read_rgba(row, row + 10, col, col + 10)
            assert np.array_equal(window[:3], ramps()[:, row : row + 10, col : col + 10])


@pytest.mark.parametrize(("unit", "dpi"), [("2", 300.0), ("3", 762.0), ("1", None)])
def test_the_resolution_of_a_tiff_is_read_in_either_unit(tmp_path, unit, dpi):
    path = picture(tmp_path / "a.tif", ramps())
    with rasterio.open(path, "r+") as target:
        target.update_tags(TIFFTAG_XRESOLUTION="300", TIFFTAG_YRESOLUTION="300", TIFFTAG_RESOLUTIONUNIT=unit)
    assert read_picture(path).dpi == dpi


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(RasterUnreadable, match="check its path"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG not")
    with pytest.raises(RasterUnreadable, match="download or copy the file again"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(RasterInvalid, match="save the scan as 8-bit grey or RGB"):
        read_picture(picture(tmp_path / "f.tif", ramps().astype(np.float32)))


def test_strips_that_do_not_fill_the_grid_are_refused_and_nothing_stays(tmp_path):
    grid = Grid((10, 20), Affine(1, 0, 0, 0, -1, 10), CRS("EPSG:32650"))
    for strips, mend in (
        ([np.zeros((4, 9, 20), np.uint8)], "give every row"),
        ([np.zeros((4, 10, 19), np.uint8)], "four bands and full rows"),
        ([np.zeros((3, 10, 20), np.uint8)], "four bands and full rows"),
    ):
        with pytest.raises(OptionInvalid, match=mend):
            write_picture(tmp_path / "a.tif", iter(strips), grid)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    grid = Grid((10, 20), Affine(1, 0, 0, 0, -1, 10), CRS("EPSG:32650"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteFailed, match="check the folder's rights and space"):
        write_picture(tmp_path / "file" / "a.tif", iter([np.zeros((4, 10, 20), np.uint8)]), grid)


# --- the step ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    scan, points = folder / "telegraph_map.png", folder / "gcps.points"
    scan.write_bytes(png_from_grey(draw(1907)))
    points.write_text(points_text(demo_points(1907)), encoding="utf-8")
    return SimpleNamespace(scan=scan, control_points=points)


@pytest.fixture(scope="module")
def done(demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return georeference_scan(demo.scan, demo.control_points, out, model="projection:bonne"), out


def test_the_step_writes_tables_pictures_and_points(demo, done):
    run, out = done
    assert {path.name for path in run.files} == {path.name for path in out.iterdir()} == {
        "georeference.parquet", "georeference.csv", "control_point.parquet", "control_point.csv", "residuals.png",
        "telegraph_map_warped.tif", "gcps.points", "gcps.txt", "gcps.json", "gcps.csv", "gcps.vrt",
        "telegraph_map.png.aux.xml",
    }  # fmt: skip
    models = read_table(GEOREFERENCE, out / "georeference.parquet")
    assert set(models["transform_model"]) == set(MODELS)
    assert list(models["rank_loo"]) == list(range(1, len(MODELS) + 1))
    assert (np.diff(models["loo_rmse_km"]) >= 0).all()
    chosen = models[models["is_chosen"]].iloc[0]
    assert chosen["transform_model"] == "projection:bonne"
    assert chosen["map_parameters"].startswith("lat_1 ")
    tps = models[models["transform_model"] == "tps"].iloc[0]
    assert tps["rmse_km"] < 1e-6 and np.isnan(tps["sigma_axis_km"]) and "RMSE 0" in tps["transform_notes"]
    rows = read_table(CONTROL_POINT, out / "control_point.parquet")
    assert len(rows) == 25
    assert rows["loo_km"].notna().sum() == 24
    off = rows[~rows["is_enabled"]].iloc[0]
    assert off["residual_km"] > 100 and np.isnan(off["leverage"]) and off["is_outlier"] is None


def test_points_come_back_out_in_every_format(demo, done):
    run, out = done
    original = read_control_points(demo.control_points)
    from gis.pipeline.georeference import scan_facts

    facts = scan_facts(read_picture(demo.scan))
    shutil.copy(demo.scan, out.parent / "telegraph_map.png")
    for name in ("gcps.points", "gcps.csv", "gcps.txt", "gcps.json", "gcps.vrt"):
        crs = "EPSG:4326" if name.endswith(".txt") else None
        back = read_control_points(out / name, scan=facts, crs=crs).used()
        assert np.allclose(back.px, original.used().px, atol=1e-9)  # px; the link table counts from below
        assert np.allclose(back.py, original.used().py, atol=1e-9)
        assert np.array_equal(back.lon, original.used().lon)
    beside = out.parent / "telegraph_map.png.aux.xml"
    shutil.copy(out / "telegraph_map.png.aux.xml", beside)
    assert len(read_control_points(beside)) == 24
    residual = residuals_px(run.result.points, run.result.chosen)
    line = (out / "gcps.points").read_text(encoding="utf-8").splitlines()[2].split(",")
    assert [float(v) for v in line[5:7]] == list(residual[0])


def test_the_warped_scan_is_a_cog_that_shows_towns_where_they_were_drawn(done):
    run, out = done
    with rasterio.open(out / "telegraph_map_warped.tif") as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert cog.count == 4 and cog.overviews(1)
        assert same_crs(cog.crs.to_wkt(), "ESRI:102027")
        assert cog.tags()["LIGHTPANEL_MODEL"] == "projection:bonne"
        image, transform = cog.read(), cog.transform
    # The sign of a town, 30 on paper of 228, around where the model puts its pixel.
    seat = drawn_towns(1907)[geography(1907).seats[3]]
    x, y = run.result.chosen.transform.to_map(*seat)
    col, row = ~transform @ (float(x), float(y))
    patch = image[0, int(row) - 9 : int(row) + 10, int(col) - 9 : int(col) + 10]
    assert patch.min() < 60
    assert image[3, int(row), int(col)] == 255
    assert (image[3] == 0).any()


def test_the_graticule_of_the_warped_demo_lies_on_the_degrees(demo, tmp_path):
    """Towns carry the draughtsman's error, the graticule does not: it is off by the fit's error alone."""
    run = georeference_scan(demo.scan, demo.control_points, tmp_path, model="projection:bonne", crs="EPSG:4326")
    grid = np.array([[lon, lat] for lon in range(109, 115) for lat in range(25, 36)], float)
    px = px_from_lonlat(grid)
    lon, lat = run.result.chosen.transform.to_lonlat(px[:, 0], px[:, 1])
    km = np.asarray(Geod(ellps="WGS84").inv(*grid.T, lon, lat)[2]) / 1000
    # 24 points with 3 px per axis and 8 parameters: sqrt(8 / 48) of the noise per axis, on average over the points
    noise = 3 * METRES_PER_PX / 1000
    assert np.sqrt((km**2).mean()) < 2 * noise * np.sqrt(2) * np.sqrt(8 / 48)
    with rasterio.open(tmp_path / "telegraph_map_warped.tif") as cog:
        assert cog.crs.to_epsg() == 4326


def test_the_residual_map_shows_arrows_and_the_numbers_that_matter(done):
    _, out = done
    image = np.asarray(Image.open(out / "residuals.png").convert("RGB")).astype(int)
    assert image.shape == (1600 + 92, 1100, 3)
    blue = (image[:1600, :, 2] > 150) & (image[:1600, :, 0] < 60)
    orange = (image[:1600, :, 0] > 200) & (image[:1600, :, 1] < 170) & (image[:1600, :, 2] < 60)
    assert blue.sum() > 2000 and orange.sum() > 200
    assert (image[1600:] < 100).all(axis=2).sum() > 500, "a caption"


def test_arrows_point_where_the_model_puts_the_true_place():
    points = corners(n=12)
    stray = control_points(points.px, points.py, points.x + np.eye(12)[4] * 20_000, points.y, crs=points.crs)
    by = residuals_px(stray, assess(stray, "affine"))
    assert by[4, 0] > 20 and abs(by[4, 1]) < 5, "20 km east at 500 m to the pixel: to the right"


def test_the_command_prints_the_ranking_and_exits_with_one_on_bad_points(demo, tmp_path):
    run = CliRunner().invoke(
        app, ["georeference", str(demo.scan), "--gcps", str(demo.control_points), "-o", str(tmp_path / "o"), "-q"]
    )
    assert run.exit_code == 0, run.output
    for said in ("leave-one-out", "RMSE 0 is not accuracy", "24 fitted, 0 checks, 1 disabled", "residuals.png"):
        assert said in run.output
    small = picture(tmp_path / "small.tif", ramps())
    with pytest.raises(ControlPointsInvalid, match="the image the points were digitised on"):
        georeference_scan(small, demo.control_points, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_an_output_that_is_a_file_is_refused(demo, tmp_path):
    (tmp_path / "o").write_text("in the way")
    with pytest.raises(OptionInvalid, match="give a folder: -o DIR"):
        georeference_scan(demo.scan, demo.control_points, tmp_path / "o", model="affine")


def test_the_csv_has_no_word_for_missing(done):
    _, out = done
    rows = list(csv.DictReader((out / "control_point.csv").open(encoding="utf-8-sig")))
    assert {row["point_id"]: row["loo_km"] for row in rows}["25"] == ""
