"""Boundaries of each year: the modes ``yearly`` and ``crosswalk`` beside ``fixed``, on the demo's two vintages."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import shapely
from test_rebal import NEW_SECTIONS, OLD_SECTIONS, configure

import gis.pipeline
from gis.crosswalk import apply_crosswalk, crosswalk
from gis.demo import write_demo
from gis.errors import BoundaryInvalid, CodeInvalid, ConfigInvalid, OptionInvalid
from gis.export.parquet import read_units
from gis.grid import Zones
from gis.panel import balance
from gis.pipeline.vintages import _PER_CELL, AREA_FLAG, Vintage, _with_cells, years_of_vintages
from gis.tables import PAIR_YEAR, UNIT_LINEAGE, read_table
from gis.workspace import config_from_dict

SWITCH = 2016
"""The demo's newer boundaries, dated so that they come in halfway."""
NEWER = NEW_SECTIONS.replace("2019-12-31", f"{SWITCH}-12-31")
CHANGED = {"446200", "446300", "446600", "526100", "526200"}
"""Cities whose ground differs between the vintages, by the demo's design."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one mode left."""

    city: pd.DataFrame
    district: pd.DataFrame
    national: pd.DataFrame
    pairs: pd.DataFrame
    paths: dict
    root: object


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All modes and both vintages by themselves, one after the other in one workspace: the store spares the sums."""
    root = tmp_path_factory.mktemp("modes") / "demo"
    write_demo(root)
    out = {}
    settings = {
        "old": (OLD_SECTIONS, "", ""),
        "new": (NEWER, "", ""),
        "yearly": (NEWER, OLD_SECTIONS, '[boundaries]\nmode = "yearly"'),
        "crosswalk": (NEWER, OLD_SECTIONS, '[boundaries]\nmode = "crosswalk"'),
    }
    for name, (panel, other, head) in settings.items():
        configure(root, panel, other, head)
        result = gis.pipeline.run(root)
        pairs = read_table(PAIR_YEAR, result.paths["city pairs (Bal)"])
        kept = root.parent / name
        shutil.copytree(root / "out", kept)
        paths = {what: kept / path.relative_to(root / "out") for what, path in result.paths.items()}
        out[name] = Run(result.city_year, result.district_year, result.national_year, pairs, paths, root)
    return out


def numbers(frame, code="city_code"):
    """Rows by unit and year, names and vintages left out."""
    return frame.set_index([code, "year"]).drop(columns=[c for c in frame if c.endswith("name") or c == "vintage"])


# --- yearly ----------------------------------------------------------------------------------------------------------


def test_every_year_is_summed_on_its_own_boundaries(runs):
    yearly = runs["yearly"].city
    early, late = yearly[yearly["year"] < SWITCH], yearly[yearly["year"] >= SWITCH]
    old = runs["old"].city
    old = numbers(old[old["year"] < SWITCH].replace({"city_code": {"444300": "446800"}})).sort_index()
    pd.testing.assert_frame_equal(numbers(early).sort_index(), old, check_exact=True)
    new = runs["new"].city
    new = numbers(new[new["year"] >= SWITCH]).sort_index()
    pd.testing.assert_frame_equal(numbers(late).sort_index(), new, check_exact=True)


def test_a_unit_keeps_one_code_through_a_change_of_code(runs):
    yearly = runs["yearly"]
    assert "444300" not in set(yearly.city["city_code"])
    of_unit = yearly.city[yearly.city["city_code"] == "446800"]
    assert list(of_unit["city_name"]) == ["翎梧地区", "翎梧地区", "翎梧市", "翎梧市"]
    ended = yearly.city[yearly.city["city_code"] == "446900"]
    assert list(ended["year"]) == [2014, 2015]
    district = yearly.district[yearly.district["district_code"] == "446821"]  # 444321 in the older vintage
    assert len(district) == 4 and set(district["city_code"]) == {"446800"}


def test_the_lineage_table_says_who_is_who(runs):
    table = read_table(UNIT_LINEAGE, runs["yearly"].paths["unit lineage"])
    cities = table[table["layer"] == "city"].set_index(["lineage_id", "vintage"])
    assert cities.loc[("446800", "2010-12-31"), "unit_code"] == "444300"
    assert cities.loc[("446800", f"{SWITCH}-12-31"), "changes"] == "recoded;renamed"
    assert ("446900", f"{SWITCH}-12-31") not in cities.index
    assert set(table["layer"]) == {"city", "district"}


def test_pairs_of_a_unit_whose_ground_changed_have_no_bal_in_that_year_alone(runs):
    yearly = runs["yearly"].pairs
    flagged = yearly[yearly["bal_flag"] == AREA_FLAG]
    assert set(flagged["year"]) == {SWITCH} and flagged["bal"].isna().all()
    at_switch = yearly[yearly["year"] == SWITCH]
    touched = at_switch["city_i"].isin(CHANGED) | at_switch["city_j"].isin(CHANGED)
    assert set(flagged.index) == set(at_switch[touched].index)
    assert flagged["hi"].notna().any()  # order and levels stay: they are true of their own year
    rest = yearly.drop(index=flagged.index)
    plain = balance(runs["yearly"].city)
    plain = plain.drop(index=flagged.index)
    np.testing.assert_array_equal(rest["bal"], plain["bal"])
    assert rest.loc[rest["year"] == SWITCH, "bal"].notna().any()


def test_the_map_has_the_last_polygon_of_every_unit(runs):
    zones = read_units(runs["yearly"].paths["city polygons"])
    assert len(zones) == 13 and zones.codes[-1] == "446900"
    assert zones.names[zones.codes.index("446800")] == "翎梧市"


def test_results_of_a_yearly_run_can_be_exported(runs, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(runs["yearly"].root, root, ignore=shutil.ignore_patterns("out", ".cache", "rasters"))
    shutil.copytree(runs["yearly"].root.parent / "yearly", root / "out")
    from gis.pipeline import export

    assert all(path.is_file() for path in export(root, "gpkg"))


# --- crosswalk -------------------------------------------------------------------------------------------------------


def test_carried_years_are_in_the_units_of_the_panel(runs):
    carried = runs["crosswalk"].city
    assert set(carried["city_code"]) == set(runs["new"].city["city_code"])
    assert len(carried) == 12 * 4
    early = carried[carried["year"] < SWITCH]
    assert set(early["vintage"]) == {f"2010-12-31 > {SWITCH}-12-31"}
    late = numbers(carried[carried["year"] >= SWITCH]).sort_index()
    new = runs["new"].city
    pd.testing.assert_frame_equal(late, numbers(new[new["year"] >= SWITCH]).sort_index(), check_exact=True)


def test_light_and_people_are_carried_whole(runs):
    old, carried = (runs[name].city for name in ("old", "crosswalk"))
    for year in (2014, 2015):
        a, b = old[old["year"] == year], carried[carried["year"] == year]
        for column in ("light_sum_dn_km2", "light_sum_true_dn_km2", "pop_persons", "area_km2"):
            assert b[column].sum() == pytest.approx(a[column].sum(), rel=1e-9), column
    national = runs["crosswalk"].national
    assert len(national) == len(runs["new"].national)
    assert national["n_units"].eq(national["layer"].map({"city": 12, "district": 60})).all()


def test_areas_are_carried_by_area_not_by_people(runs):
    carried, new = (runs[name].city.set_index(["city_code", "year"]) for name in ("crosswalk", "new"))
    for code in new.index.get_level_values(0).unique():
        for column, limit in (("area_km2", 1e-6), ("n_cells", 1e-6), ("area_lambert_km2", 0.005)):
            # In the Lambert plane a part of a unit has not its share of the ellipsoid, to 0.5 % over five degrees.
            assert carried.loc[(code, 2014), column] == pytest.approx(new.loc[(code, 2014), column], rel=limit)


def test_a_unit_on_the_same_ground_is_carried_as_it_is(runs):
    old, carried = (runs[name].city.set_index(["city_code", "year"]) for name in ("old", "crosswalk"))
    for code, before in (("446100", "446100"), ("446800", "444300"), ("526300", "526300")):
        for year in (2014, 2015):
            a, b = old.loc[before, year], carried.loc[code, year]
            assert b["level"] == pytest.approx(a["level"], rel=1e-9, nan_ok=True)  # overlay vertices: 1e-15 of a degree
            assert b["flags"] == a["flags"]
            assert b["cov_area"] == pytest.approx(a["cov_area"], rel=1e-9)


def test_a_unit_with_two_sources_is_their_sum_by_the_peoples_shares(runs):
    """The abolished city gave its land to three; each gets the share of its light that its people had in 2014."""
    import geopandas as gpd

    root = runs["crosswalk"].root
    old = gpd.read_file(root / "boundaries/demo_2010/city.shp", encoding="GBK").set_index("代码")
    new = gpd.read_file(root / "boundaries/demo_2019.gpkg", layer="city").set_index("code")
    gone = old.loc["446900"].geometry
    heirs = ["446200", "446300", "446600"]
    shapes = [shapely.get_parts(gone.intersection(new.loc[c].geometry)) for c in heirs]
    shapes = [shapely.union_all([p for p in parts if p.geom_type == "Polygon"]) for parts in shapes]
    pieces = gpd.GeoDataFrame(geometry=shapes, crs=new.crs)
    population = next((root / "rasters").rglob("landscan-global-2014*.tif"))
    people = gis.zonal_stats(population, pieces, ["sum"])["sum"].to_numpy()
    share = people / people.sum()
    before = runs["old"].city.set_index(["city_code", "year"])
    carried = runs["crosswalk"].city.set_index(["city_code", "year"])
    for code, part in zip(heirs, share, strict=True):
        for column in ("light_sum_dn_km2", "pop_persons"):
            expected = before.loc[(code, 2014), column] + part * before.loc[("446900", 2014), column]
            assert carried.loc[(code, 2014), column] == pytest.approx(expected, rel=1e-9)
        light, persons = carried.loc[(code, 2014), ["light_sum_dn_km2", "pop_persons"]]
        assert carried.loc[(code, 2014), "level"] == pytest.approx(light / persons, rel=1e-12)


def test_shares_are_carried_by_what_they_are_shares_of():
    """Two units become one: 50 of 100 lit cells saturated in one, none of 1,000 in the other, so 50 of 1,100."""
    old = Zones(
        ("340100", "340200"), np.array([shapely.box(110, 30, 111, 31), shapely.box(111, 30, 112, 31)]), "EPSG:4326"
    )
    new = Zones(("340300",), np.array([shapely.box(110, 30, 112, 31)]), "EPSG:4326")
    frame = pd.DataFrame(
        {
            "city_code": old.codes, "area_km2": [1.0, 1.0], "n_cells": [1000.0, 1200.0], "n_nodata_cells": [0.0, 200.0],
            "cov_area": [1.0, 1.0], "negative_share": [0.0, 0.0], "lit_share": [0.1, 1.0],
            "saturated_share": [0.5, 0.0],
        }
    )  # fmt: skip

    def carried(frame):
        return apply_crosswalk(
            crosswalk(old, new), _with_cells(frame), extensive=("area_km2", "_valid", "_lit"), intensive=_PER_CELL
        ).iloc[0]

    row = carried(frame)
    assert row["saturated_share"] == pytest.approx(50 / 1100)
    assert row["lit_share"] == pytest.approx(1100 / 2000)
    dark = frame.assign(lit_share=[0.1, 0.0], saturated_share=[0.5, np.nan])
    assert carried(dark)["saturated_share"] == pytest.approx(0.5)  # a dark unit has no lit cells to add
    assert np.isnan(carried(frame.assign(lit_share=0.0, saturated_share=np.nan))["saturated_share"])


# --- which year goes by which vintage --------------------------------------------------------------------------------


def test_a_year_goes_by_the_last_boundaries_it_has_seen():
    vintages = tuple(Vintage(str(y), y, {}, (), ()) for y in (2005, 2010, 2015))
    assert years_of_vintages(range(2003, 2018), vintages) == [
        [2003, 2004, 2005, 2006, 2007, 2008, 2009], [2010, 2011, 2012, 2013, 2014], [2015, 2016, 2017],
    ]  # fmt: skip


def test_the_notes_say_which_year_went_by_which_vintage(runs):
    text = runs["yearly"].paths["summary"].read_text(encoding="utf-8")
    assert "boundaries of 2010-12-31: years 2014, 2015" in text
    assert f"boundaries of {SWITCH}-12-31: years 2016, 2017" in text


# --- faults ----------------------------------------------------------------------------------------------------------


def workspace_with(runs, tmp_path, panel, other, head='[boundaries]\nmode = "yearly"'):
    root = tmp_path / "demo"
    shutil.copytree(runs["new"].root, root, ignore=shutil.ignore_patterns("out"))
    configure(root, panel, other, head)
    return root


def test_a_mode_that_needs_vintages_says_so():
    section = {"mode": "yearly", "city": {"file": "a.gpkg", "vintage": 2019}}
    with pytest.raises(ConfigInvalid, match=r"add \[\[boundaries\.vintages\]\]"):
        config_from_dict({"lights": {"product": "viirs"}, "population": {"product": "gpw"}, "boundaries": section})


def test_two_vintages_of_one_year_end_are_refused(runs, tmp_path):
    root = workspace_with(runs, tmp_path, NEWER, OLD_SECTIONS.replace("2010-12-31", str(SWITCH)))
    with pytest.raises(ConfigInvalid, match="mend:  keep one of them"):
        gis.pipeline.run(root)


def test_a_vintage_without_a_level_of_the_panel_is_refused(runs, tmp_path):
    cities_alone = OLD_SECTIONS[: OLD_SECTIONS.index("[{at}district]")]
    root = workspace_with(runs, tmp_path, NEWER, cities_alone)
    with pytest.raises(ConfigInvalid, match=r"mend:  add \[boundaries\.vintages\.district\]"):
        gis.pipeline.run(root)


def test_a_vintage_that_is_no_date_is_refused(runs, tmp_path):
    root = workspace_with(runs, tmp_path, NEWER, OLD_SECTIONS.replace("2010-12-31", "old"))
    with pytest.raises(OptionInvalid, match="mend:  write the day the boundaries stood"):
        gis.pipeline.run(root)


def test_ground_outside_the_panels_vintage_is_an_error_of_the_crosswalk(runs, tmp_path):
    # Without the heirs' largest, half of the abolished city lies in no unit.
    panel = NEWER.replace('layer = "city"\n', 'layer = "city"\nexclude = ["446300"]\n')
    root = workspace_with(runs, tmp_path, panel, OLD_SECTIONS, '[boundaries]\nmode = "crosswalk"')
    with pytest.raises(BoundaryInvalid, match="mend:  leave them out of the old layer"):
        gis.pipeline.run(root)


def test_a_code_that_two_units_had_is_refused(runs, tmp_path):
    """Excluding the heir of a code from the newer vintage leaves an ended unit; no other unit may have its code."""
    import geopandas as gpd

    root = workspace_with(runs, tmp_path, NEWER, OLD_SECTIONS)
    path = root / "boundaries/demo_2019.gpkg"
    layers = {layer: gpd.read_file(path, layer=layer) for layer in ("city", "district")}
    # The newer vintage gives the ended unit's code to another city.
    layers["city"]["code"] = layers["city"]["code"].replace({"446100": "446900"})
    path.unlink()
    for layer, frame in layers.items():
        frame.to_file(path, layer=layer, driver="GPKG")
    with pytest.raises(CodeInvalid, match=r'mend:  leave the old unit out: exclude = \["446900"\]'):
        gis.pipeline.run(root)
