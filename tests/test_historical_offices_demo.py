"""From the demo's scan to the instrument: the whole step against where the offices truly stood."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import gis
from gis.cli import app
from gis.demo import write_demo
from gis.errors import ConfigInvalid, OptionInvalid, TableInvalid
from gis.pipeline.instrument import build_instrument, read_flows
from gis.tables import TABLES, read_table

pytestmark = pytest.mark.slow

SECTION = """
[instrument]
flows = "flows/flows.csv"
{instrument}
[instrument.offices]
file = "historical/offices.csv"
control_points = "historical/gcps.points"
bootstrap_draws = 40
{offices}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the demo without an instrument."""
    root = write_demo(tmp_path_factory.mktemp("instrument") / "demo").root
    path = root / "workspace.toml"
    text = path.read_text(encoding="utf-8")
    start, end = text.index("[instrument]"), text.index("[output]")  # each test adds a section of its own
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    gis.run(root)
    return root


@pytest.fixture
def copy(finished, tmp_path):
    def make(instrument="", offices="", section=SECTION):
        root = tmp_path / "w"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(finished, root, ignore=shutil.ignore_patterns("rasters", "truth", ".cache"))
        with (root / "workspace.toml").open("a", encoding="utf-8") as stream:
            stream.write(section.format(instrument=instrument, offices=offices))
        return root

    return make


@pytest.fixture(scope="module")
def result(finished, tmp_path_factory):
    root = tmp_path_factory.mktemp("result") / "w"
    shutil.copytree(finished, root)
    (root / "historical" / "lines.csv").write_text("office_a,office_b\nT01,T02\nT02,T03\n", encoding="utf-8")
    with (root / "workspace.toml").open("a", encoding="utf-8") as stream:
        stream.write(
            SECTION.format(instrument="", offices='model = "projection:bonne"\nlines = "historical/lines.csv"')
        )
    return build_instrument(root)


@pytest.fixture(scope="module")
def truth(finished):
    return pd.read_csv(finished / "historical" / "truth_offices.csv", dtype={"city_code": str})


def test_hard_assignment_is_the_truth_except_near_a_border(result, truth):
    rows = read_table(TABLES["office"], result.paths["office"]).merge(truth, on="office_id", suffixes=("", "_true"))
    assert len(rows) == len(truth) == 42
    wrong = rows[rows["city_code"] != rows["city_code_true"]]
    # An office given to the wrong city must be one the map cannot decide: within sigma of a border, Phi(1) = 0.84.
    assert (wrong["p_city"] < 0.842).all()
    assert len(wrong) <= 2  # two offices of the demo stand 1.5 km from a border of cities
    sure = rows[rows["p_city"] > 0.842]
    assert len(sure) >= 38 and (sure["city_code"] == sure["city_code_true"]).all()
    # Hence counts are the truth in every city that no undecidable office may belong to.
    doubtful = set(rows.loc[rows["p_city"] < 0.842, ["city_code", "city_code_true"]].to_numpy().ravel())
    counts = read_table(TABLES["city_office"], result.paths["city_office"]).set_index("city_code")["n_offices"]
    expected = truth["city_code"].value_counts().reindex(counts.index, fill_value=0)
    plain = [code for code in counts.index if code not in doubtful]
    assert len(plain) >= 8 and counts[plain].tolist() == expected[plain].tolist()


def test_over_ten_countries_as_many_offices_are_wrong_as_sigma_says():
    from gis.demo.geography import NEW, geography
    from gis.demo.historical import control_points as drawn_points
    from gis.demo.historical import offices as drawn_offices
    from gis.historical import assess, control_points
    from gis.historical.assignment import assign_hard, assign_probable, city_lookup
    from gis.historical.offices import DigitisedOffices, locate

    wrong, chance = 0, []
    for seed in range(1, 11):
        drawn, points = drawn_offices(seed), drawn_points(seed)
        fitted = control_points(*points.px.T, *points.lonlat.T, enabled=points.enabled)
        accuracy = assess(fitted, "poly2")  # bends enough for ten degrees of Bonne
        digitised = DigitisedOffices(drawn.ids, drawn.names, drawn.px, None, np.zeros(len(drawn.ids)))
        offices = locate(digitised, accuracy.transform, accuracy)
        cities = city_lookup(geography(seed).zones(NEW, "city"))
        hard = assign_hard(offices.lonlat, offices.sigma_km, cities)
        true = np.array([cities.codes.index(code) for code in drawn.city_codes])
        found = assign_probable(offices.lonlat, offices.sigma_km, cities, draws=2000).of(hard.city_idx)
        assert (found[hard.city_idx != true] < 0.9987).all()  # Phi(3): nothing wrong is said to be certain
        wrong += int((hard.city_idx != true).sum())
        # Around where it stood, the map puts an office into another city with this probability; the sea is snapped.
        around = assign_probable(drawn.lonlat, offices.sigma_km, cities, draws=2000)
        chance.append(1 - around.of(true) - around.p_nowhere)
    q = np.concatenate(chance)
    assert q.sum() > 3 and abs(wrong - q.sum()) < 3 * np.sqrt((q * (1 - q)).sum())  # three standard errors


def test_positions_are_as_accurate_as_they_are_said_to_be(result, truth):
    from pyproj import Geod

    lon, lat = result.offices.lonlat.T
    azimuth, _, metres = Geod(ellps="WGS84").inv(truth["lon"], truth["lat"], lon, lat)
    east, north = (metres / 1000 * part(np.radians(azimuth)) for part in (np.sin, np.cos))
    per_axis = np.sqrt((east**2 + north**2).mean() / 2)
    # 84 numbers: their root mean square is known to 1 / sqrt(2 * 84) = 8 %, sigma from 24 points to 14 %: 3 of both
    assert per_axis == pytest.approx(float(result.offices.sigma_km.mean()), rel=0.48)


def test_probabilities_of_every_office_add_up(result):
    office = read_table(TABLES["office"], result.paths["office"]).set_index("office_id")
    cities = read_table(TABLES["office_city"], result.paths["office_city"]).groupby("office_id")["p_office"].sum()
    total = cities.reindex(office.index, fill_value=0.0) + office["p_nowhere"]
    assert total.to_numpy() == pytest.approx(1.0, abs=1e-14)  # sums of two or three fractions


def test_the_city_without_an_office_has_an_instrument_of_zero(result):
    counts = read_table(TABLES["city_office"], result.paths["city_office"]).set_index("city_code")
    assert counts.loc["526400", "n_offices"] == 0
    rows = read_table(TABLES["pair_instrument"], result.paths["pair_instrument"])
    pairs = read_table(TABLES["pair_year"], result.workspace.out / "pair_year.parquet")
    assert rows[["pair_id", "year"]].equals(pairs[["pair_id", "year"]])
    lonely = (pairs["city_i"] == "526400") | (pairs["city_j"] == "526400")
    assert (rows.loc[lonely, "iv_hist_tel"] == 0).all() and (rows.loc[~lonely, "iv_hist_tel"] > 0).all()


def test_the_instrument_is_that_of_a_loop_over_the_files(result, finished):
    rows = read_table(TABLES["pair_instrument"], result.paths["pair_instrument"]).set_index(["pair_id", "year"])
    counts = read_table(TABLES["city_office"], result.paths["city_office"]).set_index("city_code")["n_offices"]
    pairs = read_table(TABLES["pair_year"], result.workspace.out / "pair_year.parquet")
    flows = pd.read_csv(finished / "flows" / "flows.csv", dtype={"src": str, "dst": str})
    of = {(r.src, r.dst, r.year): r.n for r in flows.itertuples()}
    one_year = pairs[pairs["year"] == pairs["year"].min()]
    total = sum(counts[r.city_i] * counts[r.city_j] for r in one_year.itertuples())
    for year in (2013, 2016, 2019):
        now = pairs[pairs["year"] == year]
        national = sum(
            of.get((r.hi, r.lo, year - 1), 0) - of.get((r.lo, r.hi, year - 1), 0)
            for r in now.itertuples()
            if r.hi is not None and isinstance(r.hi, str)
        )
        for r in now.itertuples():
            expected = counts[r.city_i] * counts[r.city_j] / total * national
            assert rows.loc[(r.pair_id, year), "iv_hist_tel"] == pytest.approx(expected, rel=1e-12)


def test_draws_and_lines_are_stored_for_the_roster(result):
    draws = read_table(TABLES["office_draw"], result.paths["office_draw"])
    assert len(draws) == 40 * 12 and draws["draw"].max() == 40
    assert draws.groupby("city_code")["n_offices"].std().max() > 0
    assert draws.loc[draws["city_code"] == "526400", "n_offices"].mean() < 1
    lines = read_table(TABLES["pair_line"], result.paths["pair_line"])
    assert len(lines) == 66 and lines["is_line_direct"].sum() == 1  # T01 and T02, T03 stand in two cities
    joined = lines[lines["is_line_direct"]].iloc[0]
    assert {joined["city_i"], joined["city_j"]} == {"526100", "526200"} and joined["line_km"] > 0


def test_inputs_and_outputs_are_in_the_lineage(result):
    log = json.loads((result.workspace.out / "lineage.json").read_text(encoding="utf-8"))
    written = {o["path"]: o for o in log["outputs"]}
    assert {f"out/{name}.parquet" for name in result.paths} <= set(written)
    assert "historical/gcps.points" in written["out/office.parquet"]["made_from"]
    assert "out/pair_year.parquet" in written["out/pair_instrument.parquet"]["made_from"]


def test_a_rerun_gives_the_same_bytes_on_any_number_of_threads(result):
    before = {name: path.read_bytes() for name, path in result.paths.items()}
    again = build_instrument(result.workspace.root, threads=1)
    assert {name: path.read_bytes() for name, path in again.paths.items()} == before


def test_the_command_prints_what_there_is_to_know(copy):
    root = copy(offices='model = "affine"\nbootstrap = "none"')
    done = CliRunner().invoke(app, ["instrument", str(root)])
    assert done.exit_code == 0, done.output
    assert "sheet: affine, leave-one-out error" in done.output
    assert "iv_hist_tel: 462 of 462 rows; 16.7% of pairs are zero" in done.output  # 11 of 66
    assert not (root / "out" / "office_draw.parquet").exists()


def test_telephones_expected_counts_and_a_gazetteer(copy, finished):
    root = copy(
        'counts = "expected"\nlag = 0\n[instrument.telephones]\nfile = "phones.csv"\n',
        'model = "affine"\nbootstrap = "positions"\ngazetteer = "historical/places.csv"\nsplit_km = 5',
    )
    (root / "phones.csv").write_text("city_code,telephones\n526100,10\n526200,20\n526300,30\n", encoding="utf-8")
    truth = pd.read_csv(finished / "historical" / "truth_offices.csv", dtype=str)
    places = truth.assign(name=truth["name"].str.removesuffix("局")).head(5)[["name", "lon", "lat"]]
    places.to_csv(root / "historical" / "places.csv", index=False)
    found = build_instrument(root)
    rows = read_table(TABLES["pair_instrument"], found.paths["pair_instrument"])
    assert rows["iv_1984_tel"].notna().groupby(rows["pair_id"]).any().sum() == 3  # C(3, 2) pairs have both counts
    assert rows["iv_hist_tel"].notna().all() and found.instruments["iv_hist_tel"].kind == "expected"
    assert rows.loc[rows["year"] == 2019, "national_net"].notna().all()  # flows of 2019 are ordered by levels of 2019
    office = read_table(TABLES["office"], found.paths["office"])
    assert (office["gazetteer_match"] == "MATCHED").sum() == 5
    assert office.loc[office["gazetteer_match"] == "MATCHED", "sigma_km"].tolist() == [1.0] * 5
    counts = read_table(TABLES["city_office"], found.paths["city_office"])
    assert counts["n_offices_split"].sum() == pytest.approx(42)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_workspace_without_the_section_is_refused(copy):
    with pytest.raises(ConfigInvalid, match=r"mend:.*add \[instrument\]"):
        build_instrument(copy(section=""))


def test_contradictions_in_the_section_are_refused(copy):
    with pytest.raises(ConfigInvalid, match=r"mend:.*split_km"):
        build_instrument(copy('counts = "split"'))
    given = '\n[instrument]\nflows = "flows/flows.csv"\n[instrument.offices]\nfile = "historical/truth_offices.csv"\n'
    with pytest.raises(OptionInvalid, match=r"mend:.*or sigma_km"):
        build_instrument(copy(section=given))
    with pytest.raises(ConfigInvalid, match=r'mend:.*bootstrap = "positions"'):
        build_instrument(copy(section=given + 'sigma_km = 2.0\nbootstrap = "points"\n'))


def test_swapped_offices_leave_nothing_behind(copy, finished):
    given = '\n[instrument]\nflows = "flows/flows.csv"\n[instrument.offices]\nfile = "swapped.csv"\nsigma_km = 2.0\n'
    root = copy(section=given)
    truth = pd.read_csv(finished / "historical" / "truth_offices.csv")
    truth.rename(columns={"lon": "lat", "lat": "lon"}).to_csv(root / "swapped.csv", index=False)
    with pytest.raises(TableInvalid, match=r"T01[\s\S]*mend:.*exchange the two columns"):
        build_instrument(root)
    assert not list((root / "out").glob("*office*")) and not list((root / "out").glob("*instrument*"))


def test_an_office_outside_every_city_is_named(copy, finished):
    given = '\n[instrument]\nflows = "flows/flows.csv"\n[instrument.offices]\nfile = "far.csv"\nsigma_km = 2.0\n'
    root = copy(section=given + 'bootstrap = "none"\n')
    truth = pd.read_csv(finished / "historical" / "truth_offices.csv")
    truth.loc[3, ["lon", "lat"]] = [130.0, 30.0]
    truth.to_csv(root / "far.csv", index=False)
    found = build_instrument(root)
    assert any("T04" in note and "in no city and not counted" in note for note in found.notes)
    rows = read_table(TABLES["office"], found.paths["office"]).set_index("office_id")
    assert rows.loc["T04", "assign_flag"] == "NOWHERE" and rows.loc["T04", "p_nowhere"] == 1.0
    assert rows["city_code"].isna().sum() == 1


def test_a_workspace_that_has_not_run_is_refused(copy):
    root = copy()
    (root / "out" / "pair_year.parquet").unlink()
    with pytest.raises(TableInvalid, match=r"mend:.*lightpanel run"):
        build_instrument(root)


def test_flows_that_are_no_flows_are_refused(tmp_path):
    path = tmp_path / "flows.csv"
    with pytest.raises(TableInvalid, match=r"mend:.*instrument\.flows"):
        read_flows(path)
    path.write_text("src,dst,n\n110000,310000,1\n", encoding="utf-8")
    with pytest.raises(TableInvalid, match=r"mend:.*src, dst, year, n"):
        read_flows(path)
    path.write_text("src,dst,year,n\n110000,310000,2000,many\n", encoding="utf-8")
    with pytest.raises(TableInvalid, match=r"mend:.*correct or drop"):
        read_flows(path)
    path.write_text("src,dst,year,n\n010000,310000,2000,1\n", encoding="utf-8")
    assert read_flows(path)["src"].tolist() == ["010000"]  # a code is text
    (tmp_path / "flows.parquet").write_bytes(b"no such thing")
    with pytest.raises(TableInvalid, match=r"mend:.*give CSV"):
        read_flows(tmp_path / "flows.parquet")
