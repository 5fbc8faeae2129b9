"""The main job on the demo workspace: levels against the known truth, Bal against a loop, outputs that open."""

from __future__ import annotations

import json
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

import gis
from gis.demo import write_demo
from gis.errors import ConfigInvalid, GisError, TableInvalid, YearMissing
from gis.pipeline.inputs import read_inputs
from gis.pipeline.run import roster_codes
from gis.tables import CITY_YEAR, DISTRICT_YEAR, NATIONAL_YEAR, PAIR_YEAR, check
from gis.workspace import read_workspace


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo") / "demo")


@pytest.fixture(scope="module")
def result(demo):
    return gis.run(demo.root)


@pytest.fixture
def copy(demo, tmp_path):
    """A copy of the demo workspace to spoil."""
    shutil.copytree(demo.root, tmp_path / "w", ignore=shutil.ignore_patterns("out"))
    return tmp_path / "w"


def truth_of(demo, layer):
    truth = pd.read_parquet(demo.truth)
    return truth[(truth["layer"] == layer) & (truth["vintage"].astype(str).str[:4] == "2019")]


def edit(folder, old, new):
    path = folder / "workspace.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("layer", ["city", "district"])
def test_levels_match_the_known_truth(demo, result, layer):
    frame = result.city_year if layer == "city" else result.district_year
    keys = [f"{layer}_code", "year"]
    both = frame.merge(
        truth_of(demo, layer), left_on=keys, right_on=["unit_code", "year"], suffixes=("", "_truth"), validate="1:1"
    )
    assert len(both) == len(frame)
    # Rasters hold whole persons and 1/256 DN, and a border cell's mean stands for its parts: 3e-4 for districts of
    # some thousand cells, 5e-5 for cities of five times as many.
    tolerance = 5e-5 if layer == "city" else 3e-4
    seen = both[both["cov_area"] > 0.5]  # of a district seen at its rim alone, border cells are all there is
    assert len(both) - len(seen) <= 1
    for column in ("light_sum_dn_km2", "light_sum_true_dn_km2", "pop_persons"):
        assert np.abs(seen[column] / seen[f"{column}_truth"] - 1).max() < tolerance, column
    # Areas are sums of cell areas on the light grid against integrals along straight edges: 1e-8 on either side
    assert np.abs(both["area_km2"] / both["area_km2_truth"] - 1).max() < 1e-7
    assert np.abs(both["area_lambert_km2"] / both["area_lambert_km2_truth"] - 1).max() < 1e-6
    whole = both[both["level"].notna()]
    for measure in ("lambert", "true"):
        assert np.abs(whole[f"level_{measure}"] / whole[f"level_{measure}_truth"] - 1).max() < tolerance


def test_the_closed_form_city_has_its_closed_form_level(result):
    from gis.demo.fields import plain_level

    plain = result.city_year[result.city_year["city_code"] == "526100"]
    expected = [plain_level(year) for year in plain["year"]]
    assert np.abs(plain["level_true"] / expected - 1).max() < 5e-5  # as above


def test_missing_light_is_flagged_not_averaged(result):
    districts, cities = result.district_year, result.city_year
    gone = districts[(districts["district_code"] == "446822") & (districts["year"] == 2015)].iloc[0]
    assert "LOWCOV" in gone["flags"] and np.isnan(gone["level"])
    city = cities[(cities["city_code"] == "446800") & (cities["year"] == 2015)].iloc[0]
    assert "LOWCOV" in city["flags"] and np.isnan(city["level"])
    holed = districts[districts["district_code"] == "526281"]
    assert holed["flags"].str.contains("LOWAREA").all() and holed["level"].notna().all()
    assert (holed["cov_pop"] > 0.95).all() and (holed["cov_area"] < 0.95).all()


def test_covered_shares_match_the_truth(demo, result):
    both = result.district_year.merge(
        truth_of(demo, "district"),
        left_on=["district_code", "year"],
        right_on=["unit_code", "year"],
        suffixes=("", "_t"),
    )
    assert np.abs(both["cov_area"] - both["cov_area_t"]).max() < 1e-6  # the hole is made of whole cells
    assert np.abs(both["cov_pop"] - both["cov_pop_t"]).max() < 0.01  # population cells go to one light cell each


def test_bal_matches_a_loop_from_the_definition(result):
    pairs = pd.read_parquet(result.paths["city pairs (Bal)"])
    level = result.city_year.pivot(index="city_code", columns="year", values="level")
    codes, years = sorted(level.index), sorted(level.columns)
    found = {(r.city_i, r.city_j, r.year): r for r in pairs.itertuples()}
    assert len(found) == len(pairs) == 12 * 11 // 2 * 7
    for a in range(12):
        for b in range(a + 1, 12):
            i, j = codes[a], codes[b]
            for t in years[1:]:
                row = found[i, j, t]
                before = level.at[i, t - 1], level.at[j, t - 1]
                if np.isnan(before).any():
                    assert pd.isna(row.hi) and np.isnan(row.bal)
                    continue
                hi, lo = (i, j) if before[0] > before[1] else (j, i)
                assert (row.hi, row.lo) == (hi, lo)
                bal = level.at[lo, t] / level.at[hi, t]
                assert row.bal == bal or (np.isnan(row.bal) and np.isnan(bal))
    assert (pairs["bal"] > 1).any() and pairs["switched"].fillna(False).any()


def test_tables_on_disk_are_the_tables_returned(result):
    for what, table, frame in (
        ("city levels", CITY_YEAR, result.city_year),
        ("district levels", DISTRICT_YEAR, result.district_year),
        ("national totals", NATIONAL_YEAR, result.national_year),
    ):
        stored = check(table, pd.read_parquet(result.paths[what]))
        pd.testing.assert_frame_equal(stored, frame, check_dtype=False)
    check(PAIR_YEAR, pd.read_parquet(result.paths["city pairs (Bal)"]))


def test_districts_add_up_to_their_cities(result):
    sums = result.district_year.groupby(["city_code", "year"])[["light_sum_dn_km2", "pop_persons", "area_km2"]].sum()
    cities = result.city_year.set_index(["city_code", "year"])[sums.columns]
    # One layer is dissolved from the other: the same borders, split at other vertices
    assert np.abs(sums / cities.loc[sums.index] - 1).to_numpy().max() < 1e-9


def test_the_geopackage_opens_with_names_intact(result):
    cities = gpd.read_file(result.paths["map"], layer="city")
    assert len(cities) == 12 and cities.crs.to_authority() == ("ESRI", "102027")
    assert set(cities["city_name"]) == set(result.city_year["city_name"])
    assert cities["city_name"].str.contains("青崖").any()


def test_lineage_names_every_input_and_output(demo, result):
    lineage = json.loads(result.paths["lineage"].read_text(encoding="utf-8"))
    roles = [i["role"] for i in lineage["inputs"]]
    assert roles.count("lights") == 8 and roles.count("population") == 8
    assert all(i["is_synthetic"] for i in lineage["inputs"] if i["role"] == "lights")
    zipped = [i for i in lineage["inputs"] if i["role"] == "population" and i["year"] == 2016]
    assert "landscan-global-2016-assets.zip" in " ".join(zipped[0]["notes"])
    assert lineage["settings"]["levels"]["measure"] == "lambert"
    written = {o["path"] for o in lineage["outputs"]}
    assert {"out/city_year.parquet", "out/pair_year.parquet", "out/lightpanel.gpkg"} <= written
    assert not [p for p in (demo.root / "out").iterdir() if p.name.startswith(".")]


def test_a_second_run_gives_the_same_bytes(demo, result):
    before = {what: path.read_bytes() for what, path in result.paths.items() if path.suffix == ".parquet"}
    again = gis.run(demo.root, threads=3)
    assert {what: again.paths[what].read_bytes() for what in before} == before


def test_the_older_vintage_reads_from_gbk_shapefiles(copy):
    text = (copy / "workspace.toml").read_text(encoding="utf-8")
    start, end = text.index("[boundaries.city]"), text.index("[levels]")
    old = """[boundaries.city]
file = "boundaries/demo_2010/city.shp"
vintage = 2010
[boundaries.district]
file = "boundaries/demo_2010/district.shp"
vintage = 2010

"""
    (copy / "workspace.toml").write_text(text[:start] + old + text[end:], encoding="utf-8")
    result = gis.run(copy)
    assert result.city_year["city_code"].nunique() == 13
    assert result.city_year["city_name"].str.contains("皓陌").any()


def test_cities_are_dissolved_when_only_districts_are_given(copy, result):
    text = (copy / "workspace.toml").read_text(encoding="utf-8")
    start, end = text.index("[boundaries.city]"), text.index("[boundaries.district]")
    (copy / "workspace.toml").write_text(text[:start] + text[end:], encoding="utf-8")
    found = gis.run(copy)
    merged = found.city_year.merge(result.city_year, on=["city_code", "year"], suffixes=("", "_given"))
    assert len(merged) == 96
    assert np.nanmax(np.abs(merged["level"] / merged["level_given"] - 1)) < 1e-9  # the same borders


def test_a_missing_light_year_is_nan_and_flagged(copy):
    shutil.rmtree(copy / "rasters" / "EANTLI_like_2014")
    result = gis.run(copy)
    gone = result.city_year[result.city_year["year"] == 2014]
    assert gone["level"].isna().all() and gone["flags"].str.contains("NOLIGHT").all()
    assert gone["area_km2"].notna().all()
    pairs = pd.read_parquet(result.paths["city pairs (Bal)"])
    assert pairs.loc[pairs["year"].isin([2014, 2015]), "bal"].isna().all()
    assert any("2014" in note for note in result.summary["notes"])


def test_a_missing_light_year_can_be_interpolated(copy, result):
    shutil.rmtree(copy / "rasters" / "EANTLI_like_2014")
    edit(copy, 'missing_years = "nan"', 'missing_years = "interpolate"')
    found = gis.run(copy).city_year.set_index(["city_code", "year"])
    given = result.city_year.set_index(["city_code", "year"])
    for code in ("526100", "446300"):
        mean = (given.at[(code, 2013), "light_sum_dn_km2"] + given.at[(code, 2015), "light_sum_dn_km2"]) / 2
        assert found.at[(code, 2014), "light_sum_dn_km2"] == pytest.approx(mean, rel=1e-14)
        assert "INTERP" in found.at[(code, 2014), "flags"]


def test_a_missing_population_year_is_refused_with_the_policies_named(copy):
    (copy / "rasters" / "landscan-global-2014.tif").unlink()
    with pytest.raises(YearMissing, match=r"(?s)2014.*mend:.*nearest.*static.*interpolate"):
        gis.run(copy)
    assert not (copy / "out").exists()


@pytest.mark.parametrize(
    ("policy", "years", "flag"),
    [("nearest", "2013", "POPNEAREST"), ("interpolate", "2013+2015", "POPINTERP")],
)
def test_population_policies_are_recorded(copy, policy, years, flag):
    (copy / "rasters" / "landscan-global-2014.tif").unlink()
    edit(copy, 'missing_years = "error"', f'missing_years = "{policy}"')
    frame = gis.run(copy).city_year
    row = frame[frame["year"] == 2014]
    assert set(row["pop_years"]) == {years} and row["flags"].str.contains(flag).all()


def test_one_city_has_levels_and_no_pairs(copy):
    edit(copy, "[boundaries.city]\n", '[boundaries.city]\ncodes = ["526100"]\n')
    result = gis.run(copy)
    assert result.city_year["city_code"].unique().tolist() == ["526100"]
    assert "city pairs (Bal)" not in result.paths
    assert any("pairs: there are none" in note for note in result.summary["notes"])


def test_a_roster_limits_the_panel(copy):
    (copy / "roster.csv").write_text("city_code\n526100\n446300\n446500\n", encoding="utf-8")
    edit(copy, "[panel]\n", '[panel]\ncities = "roster.csv"\n')
    result = gis.run(copy)
    pairs = pd.read_parquet(result.paths["city pairs (Bal)"])
    assert pairs["pair_id"].nunique() == 3 and result.city_year["city_code"].nunique() == 12


def test_a_roster_of_another_vintage_is_refused(copy):
    (copy / "roster.csv").write_text("city_code\n526100\n341400\n", encoding="utf-8")
    edit(copy, "[panel]\n", '[panel]\ncities = "roster.csv"\n')
    with pytest.raises(GisError, match=r"(?s)341400.*mend:  use the codes of the layer's vintage"):
        gis.run(copy)


def test_a_roster_saved_by_a_chinese_spreadsheet_is_read(copy):
    (copy / "roster.csv").write_text("city_code,名称\n526100,甲\n446300,乙\n", encoding="gbk")
    edit(copy, "[panel]\n", '[panel]\ncities = "roster.csv"\n')
    inputs = read_inputs(read_workspace(copy))
    assert roster_codes(inputs) == ["526100", "446300"]


@pytest.mark.parametrize(
    ("text", "mend"),
    [("", "a line city_code"), ("city_code\n", "one code a line"), ("city\n526100\n", "name the column")],
)
def test_a_roster_without_cities_stops_the_run_before_it_sums(copy, text, mend):
    (copy / "roster.csv").write_text(text, encoding="utf-8")
    edit(copy, "[panel]\n", '[panel]\ncities = "roster.csv"\n')
    steps = []
    with pytest.raises(TableInvalid, match=f"mend:  {mend}"):
        gis.run(copy, report=lambda step, done, n: steps.append(step))
    assert steps == []


def test_sections_that_are_swapped_are_refused(copy):
    edit(copy, 'product = "eantli_like"', 'product = "landscan"')
    with pytest.raises(ConfigInvalid, match="swap the sections"):
        gis.run(copy)


def test_masks_change_what_they_should(copy, result):
    import shapely

    plain = result.city_year.set_index(["city_code", "year"])
    zone = gpd.read_file(copy / "boundaries" / "demo_2019.gpkg", layer="city").set_index("code").geometry
    seat = zone["526100"].representative_point()
    gpd.GeoDataFrame(geometry=[seat], crs="EPSG:4326").to_file(copy / "flares.gpkg")
    (copy / "workspace.toml").write_text(
        (copy / "workspace.toml").read_text(encoding="utf-8")
        + '\n[lights.masks]\nflares = "flares.gpkg"\nflare_radius_km = 5.0\n',
        encoding="utf-8",
    )
    found = gis.run(copy).city_year.set_index(["city_code", "year"])
    here = found.loc[("526100", 2019)]
    assert here["n_flares"] == 1
    assert here["light_sum_dn_km2"] < plain.at[("526100", 2019), "light_sum_dn_km2"]
    assert here["cov_area"] == pytest.approx(1, abs=1e-9)  # masked cells leave the denominator too
    assert here["cov_pop"] == pytest.approx(1, abs=1e-9)
    assert here["area_km2"] == plain.at[("526100", 2019), "area_km2"]
    other = found.index.get_level_values(0) != "526100"
    assert np.array_equal(found.loc[other, "light_sum_dn_km2"], plain.loc[other, "light_sum_dn_km2"])
    assert shapely.Point(seat).within(zone["526100"])


def test_a_coast_buffer_adds_light_and_no_area(copy, result):
    (copy / "workspace.toml").write_text(
        (copy / "workspace.toml").read_text(encoding="utf-8") + "\n[lights.masks]\ncoast_buffer_km = 10.0\n",
        encoding="utf-8",
    )
    found = gis.run(copy).city_year.set_index(["city_code", "year"])
    plain = result.city_year.set_index(["city_code", "year"]).loc[found.index]
    # The outline of the country lies inside the lights' margin: border cities gain, inner ones do not.
    gain = found["light_sum_dn_km2"] / plain["light_sum_dn_km2"] - 1
    assert (gain >= 0).all() and (gain > 0.01).any()
    for column in ("area_km2", "cov_area", "cov_pop", "pop_persons", "n_cells"):
        assert np.array_equal(found[column], plain[column], equal_nan=True), column


def test_check_finds_the_demo_sound(demo):
    report = gis.check(demo.root)
    assert not report.has_errors
    assert len(report.rasters) == 16
    assert report.districts is not None and report.districts.empty
