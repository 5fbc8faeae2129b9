"""Bal for a new vintage, and the report on it: every designed change named, every row and total recomputed by loops."""

from __future__ import annotations

import math
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from vintage_cases import GPW, NEW_DATE, OLD_DATE, new_china, old_china

import gis.pipeline
from gis.demo import write_demo
from gis.errors import OptionInvalid
from gis.panel import balance
from gis.pipeline.rebal import rebal
from gis.pipeline.rebal_rows import level_differences, pair_differences
from gis.raster_io import open_raster, read_info, write_raster
from gis.tables import PAIR_YEAR, REBAL_LEVEL, REBAL_PAIR, read_table
from gis.workspace import read_workspace

OLD_SECTIONS = """
[{at}city]
file = "boundaries/demo_2010/city.shp"
vintage = "2010-12-31"
[{at}district]
file = "boundaries/demo_2010/district.shp"
vintage = "2010-12-31"
"""
NEW_SECTIONS = """
[{at}city]
file = "boundaries/demo_2019.gpkg"
layer = "city"
vintage = "2019-12-31"
[{at}district]
file = "boundaries/demo_2019.gpkg"
layer = "district"
vintage = "2019-12-31"
"""


def configure(root, panel, other="", head=""):
    """Put sections of boundaries in place of the demo's own, in four of its eight years."""
    path = root / "workspace.toml"
    text = path.read_text(encoding="utf-8").replace("years = [2012, 2019]", "years = [2014, 2017]")
    start = re.search(r"^\[+boundaries", text, flags=re.MULTILINE).start()
    end = text.index("# The older boundaries")
    vintages = f"[[boundaries.vintages]]{other.format(at='boundaries.vintages.')}" if other else ""
    body = f"{head}\n{vintages}{panel.format(at='boundaries.')}\n"
    text = text[:start] + body + text[end:]
    # The demo's flows are in the codes of 2019: its instrument is no part of this.
    text = re.sub(r"^\[instrument(?:.|\n)*?(?=^\[(?!instrument))", "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("rebal") / "demo"
    write_demo(root)
    configure(root, OLD_SECTIONS, NEW_SECTIONS)
    return root


@pytest.fixture(scope="module")
def before(workspace):
    gis.pipeline.run(workspace)
    return {p.name: p.read_bytes() for p in (workspace / "out").iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def found(workspace, before):
    return rebal(workspace)


@pytest.fixture(scope="module")
def afresh(workspace, found, tmp_path_factory):
    """The new vintage run by itself, in a copy that has no store."""
    root = tmp_path_factory.mktemp("afresh") / "demo"
    shutil.copytree(workspace, root, ignore=shutil.ignore_patterns("out", ".cache"))
    configure(root, NEW_SECTIONS)
    return gis.pipeline.run(root)


# --- the demo's designed changes -------------------------------------------------------------------------------------


def test_the_report_names_every_designed_change(found):
    for words in (
        "446900 皓陌市 is gone; 50.6% to 446300 岚川市",  # a split city, one county of it divided
        "446922 砚寨县 (part",
        "444300 翎梧地区 is now 446800 翎梧市",  # a recode
        "526300 瑶垣市 is now called 澜桐市",  # a rename
        "526200",
        "(526225 疏浦县)",  # a county transfer
        "Units that changed: 8 of 13",
    ):
        assert words in found.text
    assert found.paths["text"].read_text(encoding="utf-8") == found.text


def test_the_new_results_are_those_of_a_run_of_their_own_to_the_last_bit(found, afresh):
    pd.testing.assert_frame_equal(found.result.city_year, afresh.city_year, check_exact=True)
    pd.testing.assert_frame_equal(found.result.district_year, afresh.district_year, check_exact=True)
    pairs = "city pairs (Bal)"
    a, b = (read_table(PAIR_YEAR, r.paths[pairs]) for r in (found.result, afresh))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_what_stood_before_still_stands(workspace, before, found):
    assert {p.name: p.read_bytes() for p in (workspace / "out").iterdir() if p.is_file()} == before
    assert found.result.workspace.out == workspace / "out" / "rebal" / "2019-12-31"
    assert read_workspace(workspace).config.boundaries.city.vintage == "2010-12-31"


# --- brute force -----------------------------------------------------------------------------------------------------

SAME_UNIT = {
    "444300": "446800", **{c: c for c in ("446100 446200 446300 446400 446500 446600 446700 526100 526200 526300 "
    "526400").split()},
}  # fmt: skip
"""By the demo's design; 446900 ended."""


def as_levels(frame):
    return {(r["city_code"], r["year"]): r["level"] for r in frame.to_dict("records")}


def bal_rows(levels):
    """{(codes of the pair, year): (hi, bal)} from the definition (METHOD 3); no ties occur."""
    codes, years = sorted({c for c, _ in levels}), sorted({y for _, y in levels})
    out = {}
    for k, i in enumerate(codes):
        for j in codes[k + 1 :]:
            for year in years[1:]:
                a, b = levels[i, year - 1], levels[j, year - 1]
                if math.isnan(a) or math.isnan(b):
                    out[frozenset((i, j)), year] = (None, math.nan)
                    continue
                high, low = (i, j) if a > b else (j, i)
                out[frozenset((i, j)), year] = (high, levels[low, year] / levels[high, year])
    return out


def close(a, b):
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * max(abs(a), abs(b))


def test_pair_rows_are_those_a_loop_over_both_results_finds(workspace, found, afresh):
    old_levels = as_levels(pd.read_parquet(workspace / "out" / "city_year.parquet"))
    new_levels = as_levels(afresh.city_year)
    old, new = bal_rows(old_levels), bal_rows(new_levels)
    mapped = {}
    vanished = set()
    for (pair, year), (high, bal) in old.items():
        if all(code in SAME_UNIT for code in pair):
            mapped[frozenset(SAME_UNIT[c] for c in pair), year] = (SAME_UNIT.get(high), bal)
        else:
            vanished.add((pair, year))
    appeared = set(new) - set(mapped)
    changed = {k for k in mapped if mapped[k][0] != new[k][0] or not close(mapped[k][1], new[k][1])}
    flipped = {k for k in changed if mapped[k][0] and new[k][0] and mapped[k][0] != new[k][0]}
    said = {status: set() for status in ("changed", "appeared", "vanished")}
    for r in found.pairs.to_dict("records"):
        pair = frozenset((f"{r['pair_id'] // 10**6:06d}", f"{r['pair_id'] % 10**6:06d}"))
        said[r["status"]].add((pair, r["year"]))
        side = old if r["status"] == "vanished" else new
        value = r["bal_before"] if r["status"] == "vanished" else r["bal_after"]
        assert close(value, side[pair, r["year"]][1])
    assert said == {"changed": changed, "appeared": appeared, "vanished": vanished}
    assert len(flipped) == found.totals["rows_flipped"] == int(found.pairs["is_flipped"].fillna(False).sum()) > 0
    t = found.totals
    assert (t["rows_before"], t["rows_after"]) == (len(old), len(new))
    assert t["rows_same"] == len(mapped) - len(changed)


def test_totals_are_those_of_both_results(workspace, found, afresh):
    old = pd.read_parquet(workspace / "out" / "city_year.parquet")
    for name, frame in (("before", old), ("same_bounds", old), ("after", afresh.city_year)):
        assert found.totals[f"light_{name}_dn_km2"] == math.fsum(frame["light_sum_dn_km2"]) or math.isclose(
            found.totals[f"light_{name}_dn_km2"], math.fsum(frame["light_sum_dn_km2"]), rel_tol=1e-14
        )  # two orders of one sum
        assert math.isclose(found.totals[f"pop_{name}_persons"], math.fsum(frame["pop_persons"]), rel_tol=1e-14)
        assert found.totals[f"n_levels_{name}"] == frame["level"].notna().sum()
    # A partition of the same ground: what one city lost another has.
    assert found.totals["light_after_dn_km2"] == pytest.approx(found.totals["light_before_dn_km2"], rel=1e-9)


def test_levels_are_set_side_by_side_and_split(workspace, found, afresh):
    old, new = as_levels(pd.read_parquet(workspace / "out" / "city_year.parquet")), as_levels(afresh.city_year)
    table = read_table(REBAL_LEVEL, found.paths["levels"])
    assert len(table) == len(old)  # twelve go on, one ended
    for r in table.to_dict("records"):
        key = r["year"]
        assert close(r["level_before"], old[r["old_code"], key])
        if r["new_code"]:
            assert r["new_code"] == SAME_UNIT[r["old_code"]]
            assert close(r["level_after"], new[r["new_code"], key])
        else:
            assert r["status"] == "vanished" and r["old_code"] == "446900"
    moved = table[table["status"] == "changed"]
    assert set(moved["new_code"]) == {"446200", "446300", "446600", "526100", "526200"}
    np.testing.assert_allclose(
        moved["change_boundary"] + moved["change_other"], moved["level_after"] - moved["level_before"], atol=1e-15
    )
    assert (moved["change_other"] == 0).all()
    assert set(table.loc[table["status"] == "same", "cause"]) == {""}


def test_every_row_that_changed_names_a_unit_that_moved(found):
    pairs = read_table(REBAL_PAIR, found.paths["pairs"])
    for r in pairs.to_dict("records"):
        codes = {f"{r['pair_id'] // 10**6:06d}", f"{r['pair_id'] % 10**6:06d}"}
        assert r["cause_code"] in codes
        assert r["cause_code"] in {"446200", "446300", "446600", "526100", "526200", "446900"}
        assert r["changes"] in {"gained", "lost", "split"}
        assert r["cause"]
    assert set(pairs.loc[pairs["status"] == "vanished", "cause_code"]) == {"446900"}


def test_a_row_whose_order_changed_names_the_unit_that_moved_the_year_before():
    """Levels of 2001 are equal in both results; the order of 2001 comes from 2000, where one unit moved."""
    units = pd.DataFrame(
        {"old_code": ["110000", "120000"], "new_code": ["110000", "120000"], "old_name": ["甲", "乙"],
         "new_name": ["甲", "乙"], "changes": ["", "gained"], "ground": ["", "got a county"], "event": ["", ""],
         "area_change": [0.0, 0.1]}
    )  # fmt: skip
    diff = SimpleNamespace(units=units, same={"110000": "110000", "120000": "120000"})

    def city_year(level_2000):
        frame = pd.DataFrame(
            {"city_code": ["110000", "110000", "120000", "120000"], "year": [2000, 2001] * 2,
             "level": [2.0, 2.0, level_2000, 1.0]}
        )  # fmt: skip
        return frame.assign(light_sum_dn_km2=1.0, pop_persons=1.0)

    before, after = city_year(1.0), city_year(3.0)
    levels = level_differences(before, before, after, diff)
    pairs = pair_differences(balance(before), balance(after), levels, diff)
    (row,) = pairs.to_dict("records")
    assert row["is_flipped"] and (row["hi_before"], row["hi_after"]) == ("110000", "120000")
    assert (row["cause_code"], row["cause"], row["changes"]) == ("120000", "got a county", "gained")
    assert (row["bal_before"], row["bal_after"]) == (0.5, 2.0)


# --- what is spared, what is else ------------------------------------------------------------------------------------


def test_a_second_time_no_raster_is_read(workspace, found):
    again = rebal(workspace, "2019-12-31")
    assert "8 rasters not read again, 0 read" in again.result.reuse
    assert again.text == found.text


def test_everything_else_is_told_from_the_boundaries(workspace, found, tmp_path):
    """One raster is 10 % brighter than when the last results were made: not the boundaries' doing."""
    root = tmp_path / "demo"
    shutil.copytree(workspace, root)
    path = next(p for p in (root / "rasters").rglob("*2015*.tif") if "EANTLI" in p.name)
    info = read_info(path)
    with open_raster(info) as handle:
        values = handle.read_rows(0, info.grid.shape[0])
    with np.errstate(over="ignore"):  # cells without data
        bright = np.where((values > 0) & (values < 1e30), values * np.float32(1.1), values)
    write_raster(path, bright, info.grid, dtype="float32", nodata=info.nodata)
    result = rebal(root)
    of_year = result.levels[(result.levels["status"] == "changed") & (result.levels["year"] == 2015)]
    others = result.levels[(result.levels["status"] == "changed") & (result.levels["year"] != 2015)]
    there = of_year.dropna(subset=["level_before"])
    np.testing.assert_allclose(there["level_same_bounds"] / there["level_before"], 1.1, rtol=1e-6)  # float32 cells
    assert (others["change_other"] == 0).all()
    quiet = there[~there["new_code"].isin(["446200", "446300", "446600", "526100", "526200"])]
    assert (quiet["change_boundary"].abs() <= 1e-12 * quiet["level_after"]).all()
    assert quiet["cause"].str.contains("inputs, settings or code have changed").all() and len(quiet)


def test_a_preset_holds_for_the_old_boundaries_too(workspace, tmp_path):
    """Under the order of work of the paper, levels on the old boundaries of now are those of before, bit for bit."""
    root = tmp_path / "demo"
    shutil.copytree(workspace, root, ignore=shutil.ignore_patterns("out"))
    text = (root / "workspace.toml").read_text(encoding="utf-8")
    preset = '[levels]\npreset = "paper"\n'
    (root / "workspace.toml").write_text(text.replace("[levels]\n", preset), encoding="utf-8")
    first = gis.pipeline.run(root)
    (root / ".cache" / "last_run.json").unlink()  # as if something unknown had changed
    result = rebal(root)
    assert (result.levels["change_other"].dropna() == 0).all()
    assert result.totals["light_same_bounds_dn_km2"] == first.city_year["light_sum_dn_km2"].sum()


def test_a_roster_is_carried_to_the_new_codes(workspace, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(workspace, root, ignore=shutil.ignore_patterns("out"))
    (root / "roster.csv").write_text("city_code\n444300\n446900\n446100\n446200\n", encoding="utf-8")
    text = (root / "workspace.toml").read_text(encoding="utf-8")
    text = text.replace('# cities = "roster.csv"', 'cities = "roster.csv"')
    (root / "workspace.toml").write_text(text, encoding="utf-8")
    result = rebal(root)
    pairs = pd.read_parquet(result.result.paths["city pairs (Bal)"])
    assert set(pairs["city_i"]) | set(pairs["city_j"]) == {"446800", "446100", "446200"}
    assert result.totals["rows_vanished"] == 3 * 3  # three pairs with the unit that ended, three row years


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_vintage_that_is_not_there_is_told_those_that_are(workspace):
    with pytest.raises(OptionInvalid, match="mend:  one of 2019-12-31"):
        rebal(workspace, "2015-12-31")


def test_a_file_must_say_when_its_boundaries_stood(workspace):
    with pytest.raises(OptionInvalid, match="mend:  add --date 2021-12-31"):
        rebal(workspace, workspace / "boundaries" / "demo_2019.gpkg", layer="city")


def test_without_another_vintage_there_is_nothing_to_compare(workspace, tmp_path):
    shutil.copytree(workspace, tmp_path / "demo", ignore=shutil.ignore_patterns("out", ".cache"))
    configure(tmp_path / "demo", OLD_SECTIONS)
    with pytest.raises(
        OptionInvalid, match=r"mend:  name one: --vintage DATE, or a file: --vintage cities\.gpkg --date"
    ):
        rebal(tmp_path / "demo")
    configure(tmp_path / "demo", OLD_SECTIONS, NEW_SECTIONS, '[boundaries]\nmode = "yearly"')
    with pytest.raises(OptionInvalid, match=r'mend:  set boundaries\.mode = "fixed"'):
        rebal(tmp_path / "demo")


def test_the_command_prints_the_report(workspace, found):
    from typer.testing import CliRunner

    from gis.cli import app

    city = workspace / "boundaries" / "demo_2019.gpkg"
    result = CliRunner().invoke(
        app, ["rebal", str(workspace), "--vintage", str(city), "--layer", "city", "--date", "2019-12-31", "-q"]
    )
    assert result.exit_code == 0, result.output
    assert "Units that changed: 8 of 13" in result.output
    assert "rebal_pair.parquet" in result.output


# --- real lights, people and boundaries ------------------------------------------------------------------------------

REAL = f"""
[workspace]
name = "China 2008, two synthetic years"
[lights]
product = "custom"
files = "rasters/lights_{{year}}.tif"
unit = "DN"
quantity = "intensity"
synthetic_years = [2009, 2010]
[population]
product = "gpw"
files = "rasters/gpw_v4_population_count_rev11_{{year}}_15_min.tif"
missing_years = "static"
static_year = 2000
[boundaries.city]
file = "boundaries/old.gpkg"
vintage = "{OLD_DATE}"
[[boundaries.vintages]]
[boundaries.vintages.city]
file = "boundaries/new.gpkg"
vintage = "{NEW_DATE}"
"""


@pytest.mark.real_data
@pytest.mark.slow
def test_real_results_of_two_vintages_differ_as_brute_force_says(real_data, tmp_path):
    import geopandas as gpd

    for name in ("rasters", "boundaries"):
        (tmp_path / name).mkdir()
    for name, zones in (("old", old_china(real_data)), ("new", new_china(real_data))):
        frame = gpd.GeoDataFrame(
            {"code": zones.codes, "name": zones.names}, geometry=list(zones.geometry), crs=zones.crs
        )
        frame.to_file(tmp_path / f"boundaries/{name}.gpkg", driver="GPKG")
    shutil.copy(real_data / GPW, tmp_path / "rasters")
    lights = tmp_path / "rasters/lights_2008.tif"
    shutil.copy(real_data / "ntl/china_harmonized_2008_5min/ChinaOnly5min.tif", lights)
    info = read_info(lights)
    with open_raster(info) as handle:
        values = handle.read_rows(0, info.grid.shape[0])
    rng = np.random.default_rng(2008)
    for year in (2009, 2010):
        factor = rng.uniform(0.9, 1.3, (45, 63)).repeat(12, 0).repeat(12, 1)
        changed = np.where(values > -1e30, values * factor, values).astype("float32")
        write_raster(tmp_path / f"rasters/lights_{year}.tif", changed, info.grid, dtype="float32", nodata=info.nodata)
    (tmp_path / "workspace.toml").write_text(REAL, encoding="utf-8")
    old = gis.pipeline.run(tmp_path)
    result = rebal(tmp_path)
    same = result.diff.same
    pairs = {k: pd.read_parquet(r.paths["city pairs (Bal)"]) for k, r in (("old", old), ("new", result.result))}
    rows = {
        side: {
            (i, j, y): (h, b) for i, j, y, h, b in frame[["city_i", "city_j", "year", "hi", "bal"]].itertuples(False)
        }
        for side, frame in pairs.items()
    }
    mapped = {}
    for (i, j, year), (high, bal) in rows["old"].items():
        if i in same and j in same:
            mapped[(*sorted((same[i], same[j])), year)] = (same.get(high), bal)
    both = mapped.keys() & rows["new"].keys()
    nothing = (None, float("nan"))
    plain = {k: v if isinstance(v[0], str) else (None, v[1]) for k, v in rows["new"].items()}
    changed = [k for k in both if mapped[k][0] != plain.get(k, nothing)[0] or not close(mapped[k][1], plain[k][1])]
    flipped = [k for k in changed if mapped[k][0] and plain[k][0] and mapped[k][0] != plain[k][0]]
    t = result.totals
    assert (t["rows_changed"], t["rows_flipped"]) == (len(changed), len(flipped))
    assert t["rows_vanished"] == len(rows["old"]) - len(both)
    assert t["rows_appeared"] == len(rows["new"]) - len(both)
    for name, frame in (("before", old.city_year), ("after", result.result.city_year)):
        assert math.isclose(t[f"light_{name}_dn_km2"], math.fsum(frame["light_sum_dn_km2"].dropna()), rel_tol=1e-12)
        assert math.isclose(t[f"pop_{name}_persons"], math.fsum(frame["pop_persons"].dropna()), rel_tol=1e-12)
    vanished = result.pairs[result.pairs["status"] == "vanished"]
    assert set(vanished["cause_name"]) == {"巢湖市", "莱芜市"}
    assert vanished["cause"].str.contains("国函〔2011〕84号|国函〔2018〕163号").all()
    flips = result.pairs[result.pairs["is_flipped"].fillna(False)]
    assert flips["cause"].str.len().gt(0).all()
    assert flips["cause_name"].value_counts().index[0] == "淮南市"  # it got Shou county
