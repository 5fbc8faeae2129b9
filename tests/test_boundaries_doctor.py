"""The doctor on layers made ill on purpose: each fault is found, a clean layer is called clean, mending mends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from gis.boundaries.datum import gcj02_from_wgs84
from gis.boundaries.doctor import examine_file
from gis.boundaries.findings import Finding, LayerReport
from gis.boundaries.geometry import geodesic_area_km2
from gis.boundaries.reference import names_of_year, reference_points
from gis.boundaries.roster import roster_report
from gis.boundaries.vintage import best_years, same_name, unknown_codes, year_scores
from gis.cli_boundaries import app
from gis.errors import BoundaryInvalid, CrsMismatch, CrsMissing, GeometryInvalid, OptionInvalid
from gis.pipeline.boundaries_check import check_file, fix_file

# A file without a CRS is written on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")


def tiles(n: int, west: float = 100.0, south: float = 30.0, size: float = 0.5) -> list[shapely.Polygon]:
    """A row of squares that share their edges."""
    return [shapely.box(west + k * size, south, west + (k + 1) * size, south + size) for k in range(n)]


def places(codes: list[str]) -> list[shapely.Polygon]:
    """Small squares where the units lie, a vertex every kilometre; units without a known place get one near by."""
    known = {p.code: (p.lon, p.lat) for p in reference_points("city")}
    middle = np.mean([xy for code, xy in known.items() if code[:2] == codes[0][:2]], axis=0)
    xy = [known.get(code, tuple(middle + 0.05 * k)) for k, code in enumerate(codes)]
    return [shapely.segmentize(shapely.box(x - 0.02, y - 0.02, x + 0.02, y + 0.02), 0.01) for x, y in xy]


def cities(province: str, year: int = 2019) -> tuple[list[str], list[str]]:
    """Codes and names of a province's units of the city level at a year-end."""
    units = {c: n for c, n in names_of_year("city", year).items() if c.startswith(province)}
    return list(units), list(units.values())


def frame(codes, names, shapes, crs="EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"city_code": codes, "city_name": names}, geometry=list(shapes), crs=crs)


@pytest.fixture
def anhui() -> gpd.GeoDataFrame:
    """Sixteen cities of 2019, each in its place: nothing is the matter with them."""
    codes, names = cities("34")
    return frame(codes, names, places(codes))


@pytest.fixture
def row() -> gpd.GeoDataFrame:
    """Sixteen made-up cities as squares side by side."""
    codes = [f"99{k:02d}00" for k in range(1, 17)]
    return frame(codes, [f"城{code}" for code in codes], tiles(16))


def written(table: gpd.GeoDataFrame, path: Path, **options) -> Path:
    table.to_file(path, **options)
    return path


def report_of(table: gpd.GeoDataFrame, folder: Path, **options) -> LayerReport:
    (report,) = check_file(written(table, folder / "layer.gpkg"), **options)
    return report


def about(report: LayerReport, topic: str, severity: str | None = None) -> list[Finding]:
    return [f for f in report.findings if f.topic == topic and severity in (None, f.severity)]


def squares_of_china(province: str, level: str = "city") -> tuple[list[str], list[shapely.Polygon]]:
    """Squares where the units of a province lie, of their size."""
    points = [p for p in reference_points(level) if p.code.startswith(province)]
    shapes = []
    for p in points:
        dy = np.sqrt(p.area_km2) / 111 / 2
        shape = shapely.box(p.lon - dy, p.lat - dy, p.lon + dy, p.lat + dy)
        ratio = p.area_km2 / float(geodesic_area_km2([shape], "EPSG:4326")[0])
        shapes.append(shapely.affinity.scale(shape, ratio, 1.0))
    return [p.code for p in points], shapes


# --- a clean layer ---------------------------------------------------------------------------------------------------


def test_nothing_is_the_matter_with_a_clean_layer(anhui, tmp_path):
    report = report_of(anhui, tmp_path, vintage=2019)
    assert {f.severity for f in report.findings} == {"info"}
    assert {f.topic for f in report.findings} == {"vintage", "roster", "drawing"}
    assert (report.level, report.n_rows, report.n_valid, report.encoding, report.crs) == (
        "city", 16, 16, "UTF-8", "EPSG:4326",
    )  # fmt: skip
    assert 2019 in report.best_years and not report.overlaps and not report.gaps
    assert report.roster is not None and (report.roster.n_present, report.roster.n_expected) == (16, 16)


def test_made_up_units_have_no_datum_year_or_roster(tmp_path):
    report = report_of(frame(["990100", "990200"], ["甲", "乙"], tiles(2)), tmp_path)
    assert report.datum is None and report.best_years == () and report.roster is None
    assert "provinces that GB/T 2260 does not have" in about(report, "codes", "info")[0].what


# --- text ------------------------------------------------------------------------------------------------------------


def test_gbk_without_cpg_is_found_and_mended(anhui, tmp_path):
    path = written(anhui, tmp_path / "old.shp", encoding="GBK")
    (tmp_path / "old.cpg").unlink(missing_ok=True)
    (report,) = check_file(path)
    (finding,) = about(report, "encoding")
    assert finding.severity == "warning" and report.encoding == "GB18030"
    assert 'write "GB18030" into old.cpg' in finding.mend
    result = fix_file(path, tmp_path / "new.gpkg")
    assert list(gpd.read_file(result.out)["city_name"]) == list(anhui["city_name"])
    assert about(result.reports[0], "encoding") == []


def test_a_geojson_in_gbk_is_an_error_and_decoded(anhui, tmp_path):
    path = tmp_path / "layer.geojson"
    path.write_text(anhui.to_json(ensure_ascii=False), encoding="gb18030")
    (report,) = check_file(path)
    assert "GeoJSON has to be UTF-8" in about(report, "encoding", "error")[0].what
    assert report.best_years and 2019 in report.best_years  # so the names were read
    assert list(gpd.read_file(fix_file(path, tmp_path / "m.gpkg").out)["city_name"]) == list(anhui["city_name"])


def test_a_geojson_in_no_encoding_is_refused(tmp_path):
    (tmp_path / "layer.geojson").write_bytes(b'{"type": "FeatureCollection", "name": "\xff\xfe\xff", "features": []}')
    with pytest.raises(BoundaryInvalid, match="--encoding GB18030"):
        check_file(tmp_path / "layer.geojson")


def test_a_byte_order_mark_is_told(anhui, tmp_path):
    path = tmp_path / "layer.csv"
    table = anhui.assign(wkt=anhui.geometry.to_wkt()).drop(columns="geometry")
    table.to_csv(path, index=False, encoding="utf-8-sig")
    (report,) = check_file(path, crs="EPSG:4326")
    assert "byte order mark" in about(report, "encoding", "info")[0].what
    table.to_csv(path, index=False, encoding="utf-8")
    assert about(check_file(path, crs="EPSG:4326")[0], "encoding") == []


@pytest.mark.parametrize("codec", ["gbk", "utf-8"])
def test_garbled_names_are_decoded_cell_by_cell(anhui, tmp_path, codec):
    clear = list(anhui["city_name"])
    garbled = anhui.assign(city_name=[name.encode(codec).decode("latin-1") for name in clear])
    path = written(garbled, tmp_path / "garbled.gpkg")
    (report,) = check_file(path)
    assert f"{len(clear)} texts are garbled" in about(report, "encoding", "error")[0].what
    result = fix_file(path, tmp_path / "clear.gpkg")
    assert list(gpd.read_file(result.out)["city_name"]) == clear
    assert [f.after for f in result.fixes if f.kind == "text"] == clear


def test_names_with_accents_are_left_alone(tmp_path):
    names = ["Zürich", "Genève", "Altstätten"]
    report = report_of(frame(["990100", "990200", "990300"], names, tiles(3)), tmp_path)
    assert about(report, "encoding") == []


def test_lost_letters_are_told_with_their_rows(anhui, tmp_path):
    anhui.loc[3, "city_name"] = "蚌\ufffd市"
    (finding,) = about(report_of(anhui, tmp_path), "encoding", "error")
    assert finding.units == ("row 4",) and "export the file again" in finding.mend


# --- CRS and datum ---------------------------------------------------------------------------------------------------


def test_a_missing_crs_in_degrees_is_an_error_that_names_one(anhui, tmp_path):
    report = report_of(anhui.set_crs(None, allow_override=True), tmp_path)
    (finding,) = about(report, "crs", "error")
    assert 'crs = "EPSG:4326"' in finding.mend and report.crs_origin == "guessed"
    assert about(report_of(anhui.set_crs(None, allow_override=True), tmp_path, crs="EPSG:4326"), "crs") == []


@pytest.mark.parametrize("crs", ["ESRI:102025", "EPSG:4527", "+proj=aea +lat_0=36 +lon_0=104.5 +lat_1=24 +lat_2=48"])
def test_a_projection_is_guessed_from_where_units_lie(tmp_path, crs):
    codes, shapes = squares_of_china("34")
    table = frame(codes, codes, shapes).to_crs(crs).set_crs(None, allow_override=True)
    report = report_of(table, tmp_path)
    assert report.crs_origin == "guessed"
    assert report.datum is not None and report.datum.datum == "wgs84" and report.datum.offset_m < 50
    (finding,) = about(report, "crs", "error")
    assert "m from their references" in finding.what


def test_a_wrong_projection_is_found_and_mended(tmp_path):
    codes, shapes = squares_of_china("34")
    table = frame(codes, codes, shapes).to_crs("ESRI:102025").set_crs("ESRI:102027", allow_override=True)
    report = report_of(table, tmp_path)
    assert "km from where they should" in about(report, "crs", "error")[0].what
    assert report.crs == "ESRI:102025"
    after = fix_file(tmp_path / "layer.gpkg", tmp_path / "m.gpkg").reports[0]
    assert about(after, "crs") == [] and after.datum is not None and after.datum.datum == "wgs84"


def test_degrees_under_a_projected_crs_are_found(anhui, tmp_path):
    report = report_of(anhui.set_crs("EPSG:3857", allow_override=True), tmp_path)
    assert "look like degrees" in about(report, "crs", "error")[0].what and report.crs == "EPSG:4326"


def test_a_crs_that_contradicts_the_file_is_refused(anhui, tmp_path):
    with pytest.raises(CrsMismatch, match="leave --crs out"):
        report_of(anhui, tmp_path, crs="ESRI:102027")


def gcj02(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    moved = shapely.transform(
        table.geometry.to_numpy(), lambda xy: np.column_stack(gcj02_from_wgs84(xy[:, 0], xy[:, 1]))
    )
    return table.set_geometry(gpd.GeoSeries(moved, crs=table.crs))


def test_gcj02_labelled_wgs84_is_found_corrected_and_logged(tmp_path):
    codes, shapes = squares_of_china("33", "district")
    true = frame(codes, codes, shapes)
    path = written(gcj02(true), tmp_path / "web.gpkg")
    (report,) = check_file(path)
    assert report.datum is not None and report.datum.datum == "gcj02" and report.datum.agreement == 1.0
    assert "GCJ-02, not EPSG:4326" in about(report, "datum", "error")[0].what
    result = fix_file(path, tmp_path / "true.gpkg")
    made = gpd.read_file(result.out).geometry.to_numpy()
    assert np.abs(shapely.get_coordinates(made) - shapely.get_coordinates(true.geometry)).max() <= 1e-9
    assert len([f for f in result.fixes if f.kind == "datum"]) == len(codes)
    assert result.reports[0].datum is not None and result.reports[0].datum.datum == "wgs84"


def test_a_projected_layer_is_corrected_in_degrees(tmp_path):
    codes, shapes = squares_of_china("33", "district")
    true = frame(codes, codes, shapes)
    dense = gcj02(true.set_geometry(true.geometry.segmentize(0.002)))  # edges straight in degrees stay so
    path = written(dense.to_crs("ESRI:102025"), tmp_path / "web.gpkg")
    result = fix_file(path, tmp_path / "true.gpkg")
    made = gpd.read_file(result.out)
    assert made.crs == "EPSG:4326"
    # Between vertices 200 m apart an edge leaves the straight line by millimetres.
    centre = [shapely.get_coordinates(shapely.centroid(t.geometry.to_numpy())) for t in (made, true)]
    assert np.abs(centre[0] - centre[1]).max() < 1e-5


def test_the_datum_can_be_named_or_left(anhui, tmp_path):
    path = written(anhui, tmp_path / "layer.gpkg")
    kept = fix_file(path, tmp_path / "a.gpkg", datum="wgs84")
    moved = fix_file(path, tmp_path / "b.gpkg", datum="gcj02")
    assert {f.kind for f in kept.fixes} == set()
    assert [f.kind for f in moved.fixes] == ["datum"] * 16
    with pytest.raises(OptionInvalid, match="auto, wgs84, gcj02 or bd09"):
        fix_file(path, tmp_path / "c.gpkg", datum="gcj")  # type: ignore[arg-type]


def test_an_unknown_projection_is_not_guessed_and_not_fixed(tmp_path):
    table = frame(["990100", "990200"], ["甲", "乙"], tiles(2, 4e6, 3e6, 1e5), crs=None)
    report = report_of(table, tmp_path)
    assert report.crs == "" and "ask the source" in about(report, "crs", "error")[0].mend
    with pytest.raises(CrsMissing, match="--crs EPSG"):
        fix_file(tmp_path / "layer.gpkg", tmp_path / "m.gpkg")
    assert not (tmp_path / "m.gpkg").exists()


# --- codes, names, year ----------------------------------------------------------------------------------------------


def test_every_spelling_of_a_code_is_told_and_written_in_six_digits(anhui, tmp_path):
    forms = [c[:4] for c in anhui["city_code"][:4]] + [f"156{c}" for c in anhui["city_code"][4:8]]
    forms += [f"{c}000000" for c in anhui["city_code"][8:12]] + list(anhui["city_code"][12:])
    path = written(anhui.assign(city_code=forms), tmp_path / "layer.gpkg")
    (report,) = check_file(path)
    what = about(report, "codes", "info")[0].what
    assert "4 with 4 digits" in what and "4 with 156 in front" in what and "4 with 12 digits" in what
    result = fix_file(path, tmp_path / "m.gpkg")
    assert list(gpd.read_file(result.out)["city_code"]) == list(anhui["city_code"])
    assert [f.before for f in result.fixes if f.kind == "code"] == forms[:12]


def test_integer_codes_become_text(anhui, tmp_path):
    path = written(anhui.assign(city_code=anhui["city_code"].astype(int)), tmp_path / "layer.gpkg")
    table = gpd.read_file(fix_file(path, tmp_path / "m.gpkg").out)
    assert list(table["city_code"]) == list(anhui["city_code"])
    assert about(check_file(path)[0], "codes") == []


def test_doubles_missing_and_unknown_codes_are_told(anhui, tmp_path):
    anhui.loc[1, "city_code"] = anhui.loc[0, "city_code"]  # another name under it
    anhui.loc[2, "city_code"] = "none"
    anhui.loc[3, "city_code"] = "349900"
    report = report_of(anhui, tmp_path)
    errors = [f.what for f in about(report, "codes", "error")]
    assert any("1 codes stand for units of different names: 340100 (合肥市, 芜湖市)" in what for what in errors)
    assert any("none (row 3)" in what for what in errors)
    (unknown,) = about(report, "codes", "warning")
    assert unknown.units == ("349900",) and "no year-end" in unknown.what


def test_parts_of_one_unit_are_no_error(row, tmp_path):
    half = row.copy()
    whole = half.geometry[0]
    left, right = shapely.box(100, 30, 100.2, 30.5), shapely.box(100.2, 30, 100.5, 30.5)
    assert shapely.union(left, right).equals(whole)
    half.loc[0, "geometry"] = left
    half.loc[len(half)] = {"city_code": "990100", "city_name": "城990100", "geometry": right}
    report = report_of(half, tmp_path)
    assert about(report, "codes", "error") == []
    assert "990100 (2 rows)" in about(report, "codes", "info")[0].what


def test_a_name_that_the_code_never_had_and_one_of_another_year(tmp_path):
    codes, names = cities("42")
    names[codes.index("420600")] = "襄樊市"  # its name until 2009
    names[codes.index("420100")] = "长沙市"  # another city's
    report = report_of(frame(codes, names, places(codes)), tmp_path, vintage=2019)
    (never,) = about(report, "names", "warning")
    assert never.units == ("420100",) and "420100 is 长沙市 here, 武汉市" in never.what
    (other,) = about(report, "names", "info")
    assert other.units == ("420600",) and "襄樊市 (1981-2009)" in other.what


@pytest.mark.parametrize("year", range(2000, 2025))
@pytest.mark.parametrize("level", ["city", "district"])
def test_the_list_of_a_year_is_of_that_year(level, year):
    units = names_of_year(level, year)
    scores = year_scores(list(units), list(units.values()), level)
    assert year in best_years(scores)
    best = scores[0]
    assert (best.n_differences, best.n_names) == (0, 0)
    assert unknown_codes(list(units), level) == ()


def test_runners_up_are_scored_by_hand():
    """At the end of 2011 the code of Chaohu is gone; nothing else happened to codes of Anhui from 2004 to 2019."""
    units = {c: n for c, n in names_of_year("city", 2010).items() if c.startswith("34")}
    score = {s.year: s.n_differences for s in year_scores(list(units), list(units.values()), "city")}
    assert (score[2010], score[2011], score[2019]) == (0, 1, 1)


def test_a_claimed_year_is_held_against_the_codes(tmp_path):
    codes, names = cities("34", 2010)
    table = frame(codes, names, places(codes))
    (finding,) = about(report_of(table, tmp_path, vintage=2019), "vintage", "warning")
    assert "said to be of 2019, from which 1 codes differ" in finding.what and finding.units == ("341400",)
    assert about(report_of(table, tmp_path, vintage=2010), "vintage", "warning") == []


def test_codes_of_no_year_are_called_so(tmp_path):
    codes = [f"34{k:02d}00" for k in range(21, 60)]
    report = report_of(frame(codes, [""] * len(codes), tiles(len(codes), size=0.2)), tmp_path)
    assert report.best_years == () and "fit no year-end" in about(report, "vintage", "warning")[0].what


def test_cut_names_are_names():
    assert same_name("恩施", "恩施土家族苗族自治州") and same_name("Enshi", "恩施土家族苗族自治州")
    assert not same_name("襄樊市", "襄阳市") and not same_name("恩", "恩施土家族苗族自治州")


def test_missing_cities_are_named_with_what_stands_for_them(tmp_path):
    codes, names = cities("52", 2010)  # Bijie and Tongren are still prefectures, with other codes
    report = report_of(frame(codes, names, places(codes)), tmp_path)
    assert report.roster is not None
    assert report.roster.as_other == (("520500", "522400"), ("520600", "522200"))
    assert "520500 (here as 522400)" in about(report, "roster", "info")[0].what


def test_the_roster_is_found_in_districts_too():
    districts = [c for c in names_of_year("district", 2019) if c.startswith(("34", "11"))]
    found = roster_report(districts, "district")
    assert (found.n_present, found.n_expected, found.missing) == (17, 17, ())
    less = roster_report([c for c in districts if not c.startswith("3401")], "district")
    assert less.missing == ("340100",)


# --- polygons --------------------------------------------------------------------------------------------------------


def test_a_touching_ring_is_mended_and_logged_with_its_areas(row, tmp_path):
    west = 100.0
    ring = [(west, 30), (100.5, 30), (100.5, 30.5), (100.25, 30.5), (100.25, 30.4), (100.25, 30.5), (west, 30.5)]
    row.loc[0, "geometry"] = shapely.Polygon(ring)  # a spike of no area
    path = written(row, tmp_path / "layer.gpkg")
    (report,) = check_file(path)
    assert report.n_valid == 15 and report.repairs[0]["code"] == "990100"
    assert report.repairs[0]["change_share"] < 1e-12  # a spike encloses nothing
    result = fix_file(path, tmp_path / "m.gpkg")
    assert gpd.read_file(result.out).geometry.is_valid.all()
    (fix,) = [f for f in result.fixes if f.kind == "geometry"]
    area = float(geodesic_area_km2([shapely.box(west, 30, 100.5, 30.5)], "EPSG:4326")[0])
    assert float(fix.before) == pytest.approx(area, abs=1e-6)  # written to 1e-9 km2
    assert float(fix.after) == pytest.approx(area, abs=1e-6)


def bow_tie(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    table.loc[2, "geometry"] = shapely.Polygon([(101, 30), (101.5, 30.5), (101.5, 30), (101, 30.5)])
    return table


def test_a_bow_tie_is_refused_by_name_and_nothing_is_written(row, tmp_path):
    path = written(bow_tie(row), tmp_path / "layer.gpkg")
    (report,) = check_file(path)
    (finding,) = about(report, "geometry", "error")
    assert finding.units == ("990300",) and "990300" in finding.what
    with pytest.raises(GeometryInvalid, match="--exclude 990300"):
        fix_file(path, tmp_path / "m.gpkg")
    assert [p.name for p in tmp_path.iterdir()] == ["layer.gpkg"]


def test_a_refused_unit_can_be_left_out(row, tmp_path):
    path = written(bow_tie(row), tmp_path / "layer.gpkg")
    result = fix_file(path, tmp_path / "m.gpkg", exclude=["990300"])
    assert "990300" not in set(gpd.read_file(result.out)["city_code"])
    assert [(f.kind, f.unit) for f in result.fixes] == [("excluded", "990300")]
    with pytest.raises(OptionInvalid, match="name codes as the report does"):
        fix_file(path, tmp_path / "n.gpkg", exclude=["999999"])


def test_an_overlap_is_measured(row, tmp_path):
    shared = shapely.box(100.45, 30, 100.5, 30.5)
    row.loc[1, "geometry"] = shapely.box(100.45, 30, 101, 30.5)
    report = report_of(row, tmp_path)
    (pair,) = report.overlaps
    assert {pair["code_a"], pair["code_b"]} == {"990100", "990200"}
    assert pair["overlap_km2"] == pytest.approx(float(geodesic_area_km2([shared], "EPSG:4326")[0]))
    assert "leave one of each pair out" in about(report, "overlaps", "error")[0].mend


def test_a_sliver_of_overlap_is_no_error(row, tmp_path):
    row.loc[1, "geometry"] = shapely.box(100.4999, 30, 101, 30.5)  # 0.02 % of the smaller
    report = report_of(row, tmp_path)
    assert about(report, "overlaps", "error") == [] and len(report.overlaps) == 1


def test_gaps_and_slivers_are_told_apart(tmp_path):
    """Four squares around a hole of a tenth of a degree, and a slit inside a fifth."""
    hole = shapely.box(100.45, 30.45, 100.55, 30.55)
    slit = shapely.Polygon([(102.1, 30.1), (102.4, 30.1), (102.4, 30.1001), (102.1, 30.1001)])
    corners = [shapely.box(x, y, x + 0.5, y + 0.5).difference(hole) for x in (100.0, 100.5) for y in (30.0, 30.5)]
    codes, names = [f"99{k:02d}00" for k in range(1, 6)], ["城"] * 5
    shapes = [*corners, shapely.box(102, 30, 102.5, 30.5).difference(slit)]
    report = report_of(frame(codes, names, shapes), tmp_path)
    wide, thin = report.gaps
    assert (wide["is_sliver"], thin["is_sliver"]) == (False, True)
    assert wide["codes"].split() == sorted(codes[:4]) and thin["codes"] == codes[4]
    for gap, shape in ((wide, hole), (thin, slit)):
        assert gap["area_km2"] == pytest.approx(float(geodesic_area_km2([shape], "EPSG:4326")[0]), rel=1e-9)  # rounding


def test_units_without_area_are_named(row, tmp_path):
    row.loc[5, "geometry"] = None
    (finding,) = about(report_of(row, tmp_path), "geometry", "warning")
    assert finding.units == (row["city_code"][5],) and "no area" in finding.what


def test_lines_are_not_polygons_and_a_layer_of_them_cannot_be_fixed(tmp_path):
    table = frame(["340100"], ["合肥市"], [shapely.LineString([(100, 30), (101, 31)])])
    report = report_of(table, tmp_path)
    assert "not polygons (LineString)" in about(report, "geometry", "error")[0].what
    with pytest.raises(BoundaryInvalid, match="give a layer of polygons"):
        fix_file(tmp_path / "layer.gpkg", tmp_path / "m.gpkg")


def test_parts_spacing_and_lattice_are_measured(row, tmp_path):
    drawn = report_of(row, tmp_path).drawing
    assert drawn is not None and (drawn.n_vertices, drawn.n_multipart, drawn.lattice_m) == (16 * 4, 0, 0.0)
    # Half the edges run north, 0.5 degrees of 111.3 km; those that run east are shorter, so the median lies between.
    assert 48_000 < drawn.spacing_m < 56_000
    rng = np.random.default_rng(7)
    codes, names = list(row["city_code"]), list(row["city_name"])
    rough = []
    for k in range(16):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 2000))
        xy = np.column_stack([100.25 + k * 0.5 + 0.2 * np.cos(angle), 30.25 + 0.2 * np.sin(angle)])
        rough.append(
            shapely.MultiPolygon([shapely.Polygon(xy), shapely.box(100.01 + k * 0.5, 30, 100.02 + k * 0.5, 30.01)])
        )
    free = frame(codes, names, rough)
    assert report_of(free, tmp_path).drawing.lattice_m == 0.0
    step = 1 / 1024
    snapped = [shapely.set_precision(g, step) for g in rough]
    coarse = report_of(frame(codes, names, snapped), tmp_path)
    assert coarse.drawing.lattice_m == pytest.approx(np.radians(6378137.0) * step, rel=1e-3)  # steps are kept to 1e-7
    assert coarse.drawing.n_multipart == 16
    assert any("staircases" in f.mend for f in about(coarse, "drawing", "warning"))


# --- files and commands ----------------------------------------------------------------------------------------------


def test_the_input_is_never_written_to(anhui, tmp_path):
    path = written(anhui, tmp_path / "layer.gpkg")
    before = path.read_bytes()
    with pytest.raises(OptionInvalid, match=r"layer_mended\.gpkg"):
        fix_file(path, path)
    (tmp_path / "other.gpkg").write_bytes(b"mine")
    with pytest.raises(OptionInvalid, match="name another file"):
        fix_file(path, tmp_path / "other.gpkg")
    with pytest.raises(OptionInvalid, match=r"--out mended\.gpkg"):
        fix_file(path, tmp_path / "mended.shp")
    fix_file(path, tmp_path / "mended.gpkg", datum="gcj02")
    assert path.read_bytes() == before and (tmp_path / "other.gpkg").read_bytes() == b"mine"


def test_the_log_file_holds_every_change(anhui, tmp_path):
    path = written(anhui.assign(city_code=[c[:4] for c in anhui["city_code"]]), tmp_path / "layer.gpkg")
    result = fix_file(path, tmp_path / "m.gpkg")
    with open(tmp_path / "m.changes.csv", encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(result.fixes) == 16
    assert rows[0] == {
        "layer": "layer", "row": "1", "unit": "340100", "kind": "code",
        "what": "spelled in six digits in column city_code", "before": "3401", "after": "340100",
    }  # fmt: skip


def test_every_layer_of_a_file_is_examined_and_mended(anhui, tmp_path):
    path = tmp_path / "two.gpkg"
    anhui.to_file(path, layer="a")
    anhui.assign(fid_=1).rename(columns={"fid_": "geom_"}).to_file(path, layer="b")
    assert [r.layer for r in check_file(path)] == ["a", "b"]
    assert [r.layer for r in fix_file(path, tmp_path / "m.gpkg").reports] == ["a", "b"]
    assert [r.layer for r in check_file(path, layer="b")] == ["b"]


def test_a_column_called_fid_is_renamed(anhui, tmp_path):
    path = tmp_path / "layer.geojson"
    anhui.assign(fid=7).to_file(path)
    table = gpd.read_file(fix_file(path, tmp_path / "m.gpkg").out)
    assert list(table["fid_source"]) == [7] * 16


@pytest.fixture
def cli():
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_prints_json_and_exits_by_what_it_found(anhui, row, tmp_path, cli):
    clean = written(anhui, tmp_path / "clean.gpkg")
    found = cli("check", clean, "--json", "--vintage", 2019)
    assert found.exit_code == 0
    (layer,) = json.loads(found.stdout)["layers"]
    assert layer["has_errors"] is False and layer["n_valid"] == 16 and 2019 in layer["best_years"]
    assert layer["years"][0].keys() == {"year", "n_differences", "n_names"} and len(layer["years"]) == 25
    ill = written(bow_tie(row), tmp_path / "ill.gpkg")
    found = cli("check", ill)
    assert found.exit_code == 1 and "990300" in found.stdout and "error" in found.stdout


def test_the_command_fixes_and_says_what_it_did(anhui, tmp_path, cli):
    path = written(anhui.assign(city_code=anhui["city_code"].str[:4]), tmp_path / "layer.gpkg")
    found = cli("check", path, "--fix", "-o", tmp_path / "m.gpkg")
    assert found.exit_code == 0 and "m.changes.csv: 16 code" in found.stdout.replace("\n", "")
    found = cli("check", path, "--fix", "-o", tmp_path / "n.gpkg", "--json")
    content = json.loads(found.stdout)
    assert len(content["changes"]) == 16 and content["before"][0]["n_rows"] == 16
    assert cli("check", path, "--fix").exit_code == 2
    assert cli("check", path, "--out", tmp_path / "x.gpkg").exit_code == 2


def test_named_columns_are_taken_and_unknown_ones_refused(anhui, tmp_path):
    path = written(anhui.rename(columns={"city_code": "k", "city_name": "t"}), tmp_path / "layer.gpkg")
    blind = check_file(path)[0]
    assert blind.level == "other" and "--code COLUMN" in about(blind, "codes", "warning")[0].mend
    assert 2019 in check_file(path, code="k", name="t")[0].best_years
    with pytest.raises(BoundaryInvalid, match="there is no column 'z'"):
        examine_file(path, code="z")
