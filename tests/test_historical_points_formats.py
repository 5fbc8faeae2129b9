"""Files of control points: every format gives back what was written, all dialects are read, faults have a way out."""

from __future__ import annotations

import json
import shutil
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
from historical_cases import affine_points, example
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import CrsMismatch, CrsMissing, OptionInvalid, RasterUnreadable, WriteFailed
from gis.historical import (
    ControlPointsInvalid,
    ControlPointsUnreadable,
    ScanFacts,
    assess,
    control_points,
    fit_all,
    read_control_points,
    write_control_points,
)
from gis.historical.formats import FORMATS, format_of
from gis.raster_io.pictures import read_picture

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # scans have none

SIZE = (6000, 9000)
SCAN = ScanFacts(SIZE, 300.0)
HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n"
WKT = (
    'GEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]],'
    'CS[ellipsoidal,2],AXIS["latitude",north],AXIS["longitude",east],UNIT["degree",0.0174532925199433],ID["EPSG",4326]]'
)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.tif"
    profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.random.default_rng(0).integers(0, 255, (3, 40, 60), dtype=np.uint8))
    return ScanFacts((40, 60), None, None, path)


def full(crs="EPSG:4326"):
    """Points with every column filled, one disabled and one check."""
    a, b = (0.1, 1.0) if crs == "EPSG:4326" else (1000.0, 40000.0)
    return control_points(
        [0.1 + 0.2, 55.5, 10.25, 30.0], [1 / 3, 2.5, 39.75, 20.0],
        [116.391 * b, 116.4 * b + a, 110 / 3 * b, 111 * b], [39.905 * b, 40.1 * b, 38 / 7 * b, 39 * b],
        crs=crs, ids=["北京", "b,c", "c", "d"], enabled=[True, True, True, False],
        role=["train", "train", "check", "train"], kind=["city", "coast", "city", "graticule"],
        sigma_px=[0.5, np.nan, 1 / 7, 2.0], note=["", "seal, blurred", "", "a \"quoted\" word"],
    )  # fmt: skip


NUMBERS = ("px", "py", "x", "y")


def same(a, b, names=NUMBERS, atol=0.0):
    assert len(a) == len(b)
    for name in names:
        assert np.abs(getattr(a, name) - getattr(b, name)).max() <= atol, name


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "ESRI:102027"])
def test_csv_gives_back_every_column_to_the_last_bit(tmp_path, crs):
    points = full(crs)
    back = read_control_points(write_control_points(points, tmp_path / "a.csv"))
    same(points, back)
    for name in ("ids", "role", "kind", "note"):
        assert getattr(points, name) == getattr(back, name)
    assert (points.enabled == back.enabled).all()
    assert np.array_equal(points.sigma_px, back.sigma_px, equal_nan=True)
    assert back.crs == points.crs


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "ESRI:102027"])
def test_qgis_gives_back_positions_to_the_last_bit_and_checks_disabled(tmp_path, crs):
    points = full(crs)
    path = write_control_points(points, tmp_path / "a.points", residual_px=np.ones((4, 2)))
    text = path.read_text(encoding="utf-8").splitlines()
    assert text[0] == f"#CRS: {crs}"
    assert text[1] == HEADER.strip()
    assert text[2].endswith(",1,1.0,1.0,1.4142135623730951")
    back = read_control_points(path)
    same(points, back)
    assert list(back.enabled) == [True, True, False, False]


@pytest.mark.parametrize("ending", [".vrt", ".tif", ".aux.xml"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "ESRI:102027"])
def test_gdal_gives_back_the_used_points_to_the_last_bit(tmp_path, scan, ending, crs):
    points = full(crs)
    name = scan.path.name + ending if ending == ".aux.xml" else "out" + ending
    path = write_control_points(points, tmp_path / name, scan=scan)
    back = read_control_points(path)
    same(points.used(), back)
    used = points.used()
    with rasterio.open(scan.path if ending == ".aux.xml" else path) as peer:
        assert [(p.col, p.row) for p in peer.gcps[0]] == list(zip(used.px, used.py, strict=True))
    assert back.ids == (("1", "2") if ending == ".tif" else ("北京", "b,c")), "a GeoTIFF has no room for names"


def test_a_vrt_shows_the_scan_it_was_written_for(tmp_path, scan):
    (tmp_path / "deep").mkdir()
    path = write_control_points(full(), tmp_path / "deep" / "a.vrt", scan=scan)
    with rasterio.open(path) as vrt, rasterio.open(scan.path) as source:
        assert np.array_equal(vrt.read(), source.read())
        assert 'relativeToVRT="1">../scan.tif' in path.read_text(encoding="utf-8")


def test_iiif_gives_back_the_used_points_to_the_last_bit(tmp_path):
    points = full()
    path = write_control_points(points, tmp_path / "a.json", scan=SCAN, transformation="poly2", image_id="https://x/y")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["body"]["transformation"] == {"type": "polynomial", "options": {"order": 2}}
    assert data["target"]["source"] == {"id": "https://x/y", "type": "ImageService2", "height": 6000, "width": 9000}
    same(points.used(), read_control_points(path, scan=SCAN))


@settings(max_examples=30)
@given(
    px=st.floats(0, 9000), py=st.floats(0, 6000), lon=st.floats(-180, 180), lat=st.floats(-90, 90),
    dpi=st.integers(72, 1200),
)  # fmt: skip
def test_arcgis_gives_back_positions_to_a_billionth_of_a_pixel(tmp_path_factory, px, py, lon, lat, dpi):
    points = control_points([px], [py], [lon], [lat])
    folder = tmp_path_factory.mktemp("links")
    for unit in ("px", "inch"):
        facts = ScanFacts(SIZE, float(dpi))
        path = write_control_points(points, folder / "a.txt", scan=facts, unit=unit)
        back = read_control_points(path, scan=facts, unit=unit, crs="EPSG:4326")
        same(points, back, atol=1e-9)  # px; the file counts from the other edge, in inches
        same(points, back, ("x", "y"))


def test_from_qgis_to_arcgis_and_back_through_inches(tmp_path):
    path = tmp_path / "a.points"
    path.write_text("#CRS: EPSG:4326\n" + HEADER + "116.391,39.905,4500.5,-2900.25,1,0,0,0\n", encoding="utf-8")
    points = read_control_points(path)
    assert (points.px[0], points.py[0]) == (4500.5, 2900.25)
    links = write_control_points(points, tmp_path / "a.txt", scan=SCAN)
    assert float(links.read_text(encoding="utf-8").split()[0]) == 4500.5 / 300
    same(points, read_control_points(links, scan=SCAN, crs="EPSG:4326"), atol=1e-6)  # px, METHOD 11


def test_arcgis_counts_inches_from_the_lower_edge(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("link table\n1 15.0 10.334 116 40\n2\t14.0\t10.0\t115\t39.5\n", encoding="utf-8")
    points = read_control_points(path, scan=SCAN, crs="EPSG:4326")
    assert (points.px[0], points.py[0]) == pytest.approx((4500, 2899.8))
    assert points.ids == ("1", "2")
    metric = read_control_points(path, scan=SCAN, crs="EPSG:4326", unit="cm")
    assert metric.px[0] == pytest.approx(15 * 300 / 2.54)


# --- QGIS dialects ----------------------------------------------------------------------------------------------------


def written(tmp_path, text, name="a.points"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "#CRS: EPSG:4326\n" + HEADER + "116.5,40.25,10.5,-20.25,1,0,0,0\n",
        f"#CRS: {WKT}\n" + HEADER + "116.5,40.25,10.5,-20.25,1,0,0,0\n",
        "#CRS: EPSG:4326\nmapX,mapY,pixelX,pixelY,enable,dX,dY,residual\n116.5,40.25,10.5,-20.25,1,9,9,9\n",
        "#CRS: EPSG:4326\nmapX,mapY,pixelX,pixelY,enable\n116.5,40.25,10.5,-20.25,1\n",
        "#CRS: EPSG:4326\nmapX,mapY,pixelX,pixelY\n116.5,40.25,10.5,-20.25\n",
        "#CRS: EPSG:4326\nmapX\tmapY\tpixelX\tpixelY\tenable\n116.5\t40.25\t10.5\t-20.25\t1\n",
        HEADER.strip() + f",crs\n116.5,40.25,10.5,-20.25,1,0,0,0,{WKT}\n",
        "\ufeff#crs: EPSG:4326\r\n" + HEADER + "116.5,40.25,10.5,20.25,1,0,0,0\r\n\r\n",
    ],
)
def test_every_dialect_of_qgis_is_read(tmp_path, text):
    points = read_control_points(written(tmp_path, text))
    assert (points.px[0], points.py[0], points.lon[0], points.lat[0]) == (10.5, 20.25, 116.5, 40.25)
    assert points.enabled.all()


def test_rows_in_different_crs_are_brought_to_one(tmp_path):
    rows = "116.5,40.25,10,-20,1,0,0,0,EPSG:4326\n12245143.99,4865942.28,50,-20,1,0,0,0,EPSG:3857\n"
    points = read_control_points(written(tmp_path, HEADER + rows))
    assert points.lon[1] == pytest.approx(110.0, abs=1e-6)
    assert points.lat[1] == pytest.approx(40.0, abs=1e-3)


def test_source_coordinates_of_a_georeferenced_image_go_back_to_pixels(tmp_path):
    from affine import Affine

    facts = ScanFacts((100, 100), None, Affine(10, 0, 5000, 0, -10, 9000))
    points = affine_points(n=4)
    path = write_control_points(points, tmp_path / "a.points", scan=facts)
    assert float(path.read_text(encoding="utf-8").splitlines()[2].split(",")[2]) > 5000
    same(points, read_control_points(path, scan=facts), atol=1e-9)  # px


def test_positive_rows_are_taken_downward_where_that_is_no_mirror(tmp_path):
    points = affine_points(n=6)
    rows = [f"{x},{y},{c},{{}}{r},1,0,0,0" for x, y, c, r in zip(points.x, points.y, points.px, points.py, strict=True)]
    down = "#CRS: EPSG:4326\n" + HEADER + "\n".join(rows)
    for sign in ("", "-"):
        same(points, read_control_points(written(tmp_path, down.replace("{}", sign))))
    up = [f"{x},{y},{c},{900 - r},1" for x, y, c, r in zip(points.x, points.y, points.px, points.py, strict=True)]
    with pytest.raises(ControlPointsInvalid, match="write them negative downward as QGIS does"):
        read_control_points(written(tmp_path, "#CRS: EPSG:4326\n" + HEADER + "\n".join(up)))


# --- the real examples ------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_three_real_files_hold_the_same_fourteen_points(real_data):
    name = "china_night_rotated3deg"
    info = read_picture(example(real_data, f"{name}.png"))
    facts = ScanFacts(info.size, info.dpi)
    modern = read_control_points(example(real_data, f"{name}.png.points"))
    legacy = read_control_points(example(real_data, f"{name}_legacy_qgis2.points"), crs="EPSG:4326")
    links = read_control_points(example(real_data, f"{name}_arcgis_links.txt"), crs="EPSG:4326", scan=facts)
    assert (len(modern), int(modern.enabled.sum())) == (15, 14)
    for other in (legacy.used(), links):
        same(modern.used(), other, ("px", "py"), atol=6e-4)  # px: the QGIS files keep three decimals
        same(modern.used(), other, ("lon", "lat"))
    wrong = modern.take(~modern.enabled)
    found = assess(modern, "projection:eqc")
    lon, lat = found.transform.to_lonlat(wrong.px, wrong.py)
    assert abs(lon - wrong.lon)[0] > 10, "the disabled point is far off, and was not used"
    assert found.rmse_km < 0.01
    truth = read_control_points(example(real_data, "truth_check_points.csv"))
    lon, lat = found.transform.to_lonlat(truth.px, truth.py)
    assert len(truth) == 17
    assert np.abs(lon - truth.lon).max() < 7e-5  # degree: coordinates rounded to 1e-3 px
    assert np.abs(lat - truth.lat).max() < 7e-5
    assert fit_all(modern)[0].model == "projection:eqc", "an affine map of longitude and latitude"


@pytest.mark.real_data
def test_the_real_scan_takes_its_points_in_gdals_formats(real_data, tmp_path):
    path = tmp_path / "scan.png"
    shutil.copy(example(real_data, "china_night_rotated3deg.png"), path)
    points = read_control_points(example(real_data, "china_night_rotated3deg.png.points"))
    facts = ScanFacts(read_picture(path).size, None, None, path)
    for name in ("scan.png.aux.xml", "a.vrt", "a.tif"):
        back = read_control_points(write_control_points(points, tmp_path / name, scan=facts))
        same(points.used(), back)


# --- IIIF -------------------------------------------------------------------------------------------------------------


def annotation(points, *, key="resourceCoords", size=(4500, 3000)):
    features = [
        {"type": "Feature", "properties": {key: [points.px[i], points.py[i]]},
         "geometry": {"type": "Point", "coordinates": [points.lon[i], points.lat[i]]}}
        for i in range(len(points))
    ]  # fmt: skip
    source = {"id": "https://iiif.example/a", "type": "ImageService2", "width": size[0], "height": size[1]}
    return {
        "type": "Annotation", "motivation": "georeferencing", "target": {"type": "SpecificResource", "source": source},
        "body": {"type": "FeatureCollection", "features": features},
    }  # fmt: skip


def test_older_drafts_and_pages_are_read(tmp_path):
    points = affine_points(n=5)
    for data in (
        annotation(points, key="pixelCoords"),
        {"type": "AnnotationPage", "items": [annotation(points)]},
    ):
        same(points, read_control_points(written(tmp_path, json.dumps(data), "a.json")))


def test_an_annotation_of_the_image_in_another_size_is_scaled(tmp_path):
    points = affine_points(n=5)
    path = written(tmp_path, json.dumps(annotation(points)), "a.json")
    scaled = read_control_points(path, scan=ScanFacts((6000, 9000)))
    assert np.allclose(scaled.px, 2 * points.px) and np.allclose(scaled.py, 2 * points.py)
    with pytest.raises(ControlPointsInvalid, match="neither cropped nor turned, in any size"):
        read_control_points(path, scan=ScanFacts((9000, 6000)))


def test_faulty_annotations_are_refused(tmp_path):
    points = affine_points(n=3)
    page = {"type": "AnnotationPage", "items": [annotation(points), annotation(points)]}
    half = annotation(points)
    del half["body"]["features"][1]["geometry"]
    empty = annotation(points) | {"body": {"type": "FeatureCollection", "features": []}}
    for text, error, mend in (
        (json.dumps(page), ControlPointsUnreadable, "of one map to a file of its own"),
        ("{}", ControlPointsUnreadable, "export the map's annotation from Allmaps"),
        ("{", ControlPointsUnreadable, "download the annotation again"),
        (json.dumps(half), ControlPointsInvalid, "each feature needs properties.resourceCoords"),
        (json.dumps(empty), ControlPointsUnreadable, "add some in Allmaps"),
    ):
        with pytest.raises(error, match=mend):
            read_control_points(written(tmp_path, text, "a.json"))


# --- faults -----------------------------------------------------------------------------------------------------------

ROW = "116.5,40.25,10,-20,1,0,0,0\n"


@pytest.mark.parametrize(
    ("name", "text", "error", "mend"),
    [
        ("a.points", HEADER + ROW, CrsMissing, "--gcps-crs EPSG:4326"),
        ("a.points", "", ControlPointsUnreadable, "save the control points again"),
        ("a.points", "#CRS: EPSG:4326\n" + HEADER, ControlPointsUnreadable, "digitise some and save again"),
        ("a.points", "x,y\n1,2\n", ControlPointsUnreadable, "its header is mapX,mapY"),
        ("a.points", "#CRS: EPSG:4326\n" + HEADER + "1,2,3\n", ControlPointsInvalid, "columns are mapX,mapY"),
        ("a.points", "#CRS: EPSG:4326\n" + HEADER + "1,2,drei,4,1\n", ControlPointsInvalid, "with a decimal point"),
        (
            "a.points", "#CRS: EPSG:4326\n" + HEADER + ROW + "117,41,10,20,1,0,0,0\n", ControlPointsInvalid,
            "negative downward; if the image has a georeference",
        ),
        (
            "a.points", HEADER + ROW.strip() + ",EPSG:4326\n" + ROW, CrsMissing, "--gcps-crs EPSG:4326",
        ),
        ("a.csv", "id,px,py\n1,2,3\n", ControlPointsUnreadable, "px, py, lon and lat are needed"),
        ("a.csv", "px,py,x,y\n1,2,3,4\n", CrsMissing, "--gcps-crs EPSG:4326"),
        (
            "a.csv", "px,py,x,y,crs\n1,2,3,4,EPSG:4326\n2,3,4,5,EPSG:3857\n", ControlPointsInvalid,
            "lon and lat on WGS 84",
        ),
        ("a.csv", "px,py,lon,lat,enabled\n1,2,3,4,maybe\n", ControlPointsInvalid, "0 for a point kept but not used"),
        ("a.csv", "px,py,lon,lat\n1,2,3,\n", ControlPointsInvalid, "fill it in, or delete the row"),
        ("a.csv", "px,py,lon,lat,role\n1,2,3,4,test\n", ControlPointsInvalid, "one of train, check"),
        ("a.txt", "1 2 3\n", ControlPointsInvalid, "has 4, or 5 with an id"),
        ("a.txt", "1000 2000 3 4\n1 1 2 3 4\n", ControlPointsInvalid, "has 4, or 5 with an id"),
    ],
)  # fmt: skip
def test_faulty_files_are_refused_with_a_way_out(tmp_path, name, text, error, mend):
    with pytest.raises(error, match=mend):
        read_control_points(written(tmp_path, text, name), scan=ScanFacts(SIZE))


def test_a_crs_that_disagrees_with_the_file_is_refused(tmp_path):
    path = written(tmp_path, "#CRS: EPSG:4326\n" + HEADER + ROW)
    assert read_control_points(path, crs="EPSG:4326").lon[0] == 116.5
    with pytest.raises(CrsMismatch, match="leave out --gcps-crs"):
        read_control_points(path, crs="EPSG:3857")


def test_link_tables_need_the_scan_and_in_inches_its_resolution(tmp_path):
    path = written(tmp_path, "15.0 10.0 116 40\n", "a.txt")
    with pytest.raises(OptionInvalid, match="give the scan beside the table"):
        read_control_points(path, crs="EPSG:4326")
    with pytest.raises(OptionInvalid, match="--dpi 300 for example, or --unit px"):
        read_control_points(path, crs="EPSG:4326", scan=ScanFacts(SIZE))
    with pytest.raises(OptionInvalid, match="one of auto, px, inch, cm"):
        read_control_points(path, crs="EPSG:4326", scan=SCAN, unit="furlong")
    with pytest.raises(CrsMissing, match="--gcps-crs EPSG:4326"):
        read_control_points(path, scan=SCAN)


def test_unknown_endings_and_missing_files_are_refused(tmp_path):
    with pytest.raises(OptionInvalid, match=r"one of qgis \(.points\)"):
        format_of(tmp_path / "a.doc")
    with pytest.raises(ControlPointsUnreadable, match="check the path after --gcps"):
        read_control_points(tmp_path / "a.points")
    with pytest.raises(ControlPointsUnreadable, match="must lie beside it"):
        read_control_points(tmp_path / "a.png.aux.xml")
    with pytest.raises(OptionInvalid, match="one of qgis, arcgis"):
        read_control_points(tmp_path / "a.points", format="autocad")
    assert set(FORMATS) == {"qgis", "arcgis", "gdal", "iiif", "csv"}


def test_rasters_without_points_or_damaged_are_refused(tmp_path, scan):
    with pytest.raises(ControlPointsUnreadable, match="give the file that holds them: --gcps FILE"):
        read_control_points(scan.path)
    damaged = tmp_path / "b.tif"
    damaged.write_bytes(scan.path.read_bytes()[:100])
    with pytest.raises(RasterUnreadable, match="download or copy the file again"):
        read_control_points(damaged)
    with pytest.raises(OptionInvalid, match="give the scan"):
        write_control_points(full(), tmp_path / "a.vrt")


@pytest.mark.parametrize("name", ["a.csv", "a.points", "a.json", "a.tif"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, scan, monkeypatch, name):
    folder = tmp_path / "out"
    path = write_control_points(full(), folder / name, scan=scan)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(WriteFailed, match="free some space; what stood there is untouched"):
        write_control_points(full().take([0, 1]), path, scan=scan)
    assert path.read_bytes() == before
    assert [p.name for p in folder.iterdir()] == [name]


def test_arcgis_points_in_an_aux_file_are_read_as_gdal_gives_them(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", height=600, width=900, count=1, dtype="uint8") as target:
        target.update_tags(TIFFTAG_XRESOLUTION="300", TIFFTAG_YRESOLUTION="300", TIFFTAG_RESOLUTIONUNIT="2")
    points = control_points([10.5, 800.0, 50.0], [20.25, 30.0, 500.5], [100.125, 110.0, 101.0], [40.0, 41.0, 30.0])

    def doubles(*columns):
        return "".join(f"<Double>{v!r}</Double>" for row in zip(*columns, strict=True) for v in map(float, row))

    kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type'
    wkt = escape(points.crs.to_wkt("WKT1_ESRI"))
    (tmp_path / "a.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="xml:ESRI" format="xml"><GeodataXform {kind}="typens:PolynomialXform">'
        f"<SpatialReference><WKT>{wkt}</WKT></SpatialReference>"
        f"<SourceGCPs>{doubles(points.px / 300, (600 - points.py) / 300)}</SourceGCPs>"
        f"<TargetGCPs>{doubles(points.x, points.y)}</TargetGCPs></GeodataXform></Metadata></PAMDataset>",
        encoding="utf-8",
    )
    for name in (path, tmp_path / "a.tif.aux.xml"):
        same(points, read_control_points(name), atol=1e-9)  # px; inches from the lower edge
