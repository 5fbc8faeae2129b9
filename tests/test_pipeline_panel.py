"""The panel step on the demo workspace: everything configured, and every fault named with its file and row."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gis
from gis.demo import write_demo
from gis.errors import CodeInvalid, ConfigInvalid, GisError, TableInvalid
from gis.panel import n_pairs
from gis.panel.flows import oriented_flows
from gis.pipeline import resume
from gis.pipeline.panel import PanelResult, build_panel, summary_lines
from gis.pipeline.panel_inputs import PanelInputs
from gis.tables import CITY_WITHIN, TABLES
from gis.workspace import read_workspace

SECTIONS = """
[flows]
file = "flows/flows.csv"
districts = "panel/district_flows.csv"

[covariates]
hsr = { file = "panel/hsr.csv" }
ts = { file = "panel/classes.csv" }
ipp = { file = "panel/ipp.csv" }
distance = { points = "population" }
clusters = { file = "panel/clusters.csv" }

[[covariates.city]]
name = "gdp"
file = "panel/city.csv"
column = "gdp"
per = "pop"
forms = ["ratio_lh", "diff_hl", "sum", "product", "own_l", "own_h"]
label = "Output per head"

[[covariates.pair]]
name = "trade"
file = "panel/pair.csv"
column = "tons"
absent = 0

[moderators]
regions = true
gap_light = true
compat_kno = { file = "panel/city.csv", column = "firms", alt = "capital" }
compat_dem = { file = "panel/imports.csv" }
gap_k = { file = "panel/city.csv", column = "loans", per = "pop", year = 2012 }
gap_l = { file = "panel/city.csv", column = "illiterate", year = 2012 }
gap_d = { file = "panel/city.csv", column = "users", year = 2012, alt = "users", alt_per = "pop" }
gap_scale = { file = "panel/city.csv", column = "urban", year = 2012 }

[within_city]
pairs = true

[sample]
bal_quantile = [0.025, 0.975]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A demo workspace that has been run, with the panel of district pairs, and tables for every section."""
    root = tmp_path_factory.mktemp("panel") / "demo"
    write_demo(root)
    config = root / "workspace.toml"
    config.write_text(
        config.read_text("utf-8").replace('tie = "previous"', 'tie = "previous"\ndistricts = true'), "utf-8"
    )
    gis.run(root, threads=1)
    write_tables(root)
    return root


@pytest.fixture(scope="module")
def built(ran: Path, tmp_path_factory) -> tuple[Path, PanelResult]:
    """A copy of it with the panel step done, to be read only."""
    root = Path(shutil.copytree(ran, tmp_path_factory.mktemp("built") / "demo"))
    return root, build_panel(configure(root))


@pytest.fixture
def place(ran: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(ran, tmp_path / "demo"))


def write_tables(root: Path) -> None:
    folder, rng = root / "panel", np.random.default_rng(3)
    folder.mkdir()
    cities = pd.read_parquet(root / "out" / "city_year.parquet", columns=["city_code", "year"])
    codes, years = sorted(cities["city_code"].unique()), sorted(cities["year"].unique())
    districts = sorted(pd.read_parquet(root / "out" / "district_year.parquet")["district_code"].unique())

    def write(name: str, columns: list[str], rows) -> None:
        pd.DataFrame(rows, columns=columns).to_csv(folder / name, index=False)

    write("hsr.csv", ["line", "city_code", "open_year"], [("a", codes[k], 2012 + k) for k in range(4)])
    kinds = ("A01B", "G06F", "H04L")
    write(
        "classes.csv",
        ["city_code", "year", "ipc", "n"],
        [(c, y, k, rng.poisson(3)) for c in codes for y in years for k in kinds],
    )
    write("ipp.csv", ["city_code", "start_year"], [(codes[0], 2012), (codes[1], 2014)])
    write(
        "clusters.csv", ["cluster", "city_code"], [("x", codes[0]), ("x", codes[1]), ("y", codes[1]), ("y", codes[2])]
    )
    write("pair.csv", ["city_i", "city_j", "tons"], [(codes[0], codes[1], 5.0), (codes[4], codes[2], 7.0)])
    write(
        "imports.csv",
        ["city_code", "hs2", "country", "value"],
        [(c, h, k, rng.integers(0, 50)) for c in codes for h in ("01", "02") for k in ("US", "JP", "DE")],
    )
    base = pd.DataFrame([(c, y) for c in codes for y in years], columns=["city_code", "year"])
    for name in ("gdp", "pop", "firms", "capital", "loans", "illiterate", "users", "urban"):
        base[name] = rng.integers(1, 100, len(base)) * (10_000 if name == "urban" else 1)
    base.to_csv(folder / "city.csv", index=False)
    counts = rng.poisson(0.3, (len(districts), len(districts), len(years)))
    write(
        "district_flows.csv",
        ["src", "dst", "year", "n"],
        [(districts[a], districts[b], years[t], counts[a, b, t]) for a, b, t in zip(*np.nonzero(counts), strict=True)],
    )


def configure(root: Path, text: str = SECTIONS) -> Path:
    config = root / "workspace.toml"
    head = config.read_text("utf-8").split("\n# the panel step\n")[0]
    config.write_text(head + "\n# the panel step\n" + text, "utf-8")
    return root


# --- what it makes -------------------------------------------------------------------------------------------------


def test_everything_that_is_configured_stands_in_one_table(built):
    place, result = built
    panel = pd.read_parquet(place / "out" / "pair_panel.parquet")
    pairs = pd.read_parquet(place / "out" / "pair_year.parquet")
    pd.testing.assert_frame_equal(panel[list(pairs.columns)], pairs)
    flows = pd.read_csv(place / "flows" / "flows.csv", dtype={"src": str, "dst": str})
    oriented = oriented_flows(pairs, flows)
    pd.testing.assert_frame_equal(panel[list(oriented.columns)], oriented)
    expected = {
        "hsr",
        "ts",
        "ipp",
        "dist_km",
        "dist_bin_km",
        "is_border",
        "is_same_province",
        "is_same_cluster",
        "compat_kno",
        "compat_kno_alt",
        "compat_dem",
        "compat_dem_province",
        "gap_k",
        "gap_l",
        "gap_d",
        "gap_d_alt",
        "east_east",
        "west_west",
        "east_west",
        "east_dev",
        "gap_scale",
        "gap_scale_1989",
        "gap_light",
        "gap_light_first",
        "bal_trimmed",
        "row_flag",
        "gdp_ratio_lh",
        "gdp_diff_hl",
        "gdp_sum",
        "gdp_product",
        "gdp_l",
        "gdp_h",
        "trade",
    }
    assert expected <= set(panel.columns)
    assert panel["is_border"].groupby(panel["pair_id"]).first().sum() > 11  # twelve cities in a lattice
    assert set(result.paths) == {
        "pair_panel",
        "panel_rows",
        "flow",
        "flow_total",
        "city_network",
        "network_year",
        "district_centre",
        "city_within",
        "within_city_pair_year",
        "within_city_pair_panel",
        "district_pair_panel",
    }
    assert result.waterfall["n_left"].iloc[0] == len(panel) == n_pairs(12) * 7
    assert result.waterfall["n_left"].iloc[7] == (panel["row_flag"] == "").sum()


def test_units_and_labels_of_own_columns_reach_the_file(built):
    place, _ = built
    schema = pq.read_schema(place / "out" / "pair_panel.parquet")
    assert schema.field("gdp_ratio_lh").metadata[b"label"] == b"Output per head: lo over hi"
    assert schema.field("gdp_ratio_lh").metadata[b"unit"] == b"1"


def test_labels_and_units_say_which_logarithm_was_taken(place):
    logarithm = SECTIONS.replace("forms", 'unit = "yuan/person"\ntransform = "ln"\nforms')
    logarithm = logarithm.replace("Output per head", "Output per head" + " of all who live there" * 4)
    build_panel(configure(place, logarithm))
    schema = pq.read_schema(place / "out" / "pair_panel.parquet")
    told = {name: schema.field(name).metadata for name in ("gdp_l", "gdp_product", "gdp_ratio_lh")}
    labels = {name: told[name][b"label"].decode() for name in told}
    assert all(label.startswith("ln of Output per head of all") for label in labels.values())
    assert labels["gdp_l"].endswith("...: of lo")  # a long label keeps its form
    assert labels["gdp_product"].endswith("...: product of both")
    assert max(map(len, labels.values())) == 80
    assert [told[name][b"unit"] for name in told] == [b"ln(yuan/person)", b"(ln(yuan/person))^2", b"1"]


def test_the_lineage_learns_of_inputs_and_outputs(built):
    place, _ = built
    from gis.export.lineage import read_lineage

    lineage = read_lineage(place / "out" / "lineage.json", workspace=place)
    assert {"out/pair_panel.parquet", "out/city_within.parquet"} <= set(lineage.outputs)
    assert any(i.path == "panel/hsr.csv" for i in lineage.inputs.values())


def test_without_any_section_the_panel_is_bal_and_within_cities(place):
    result = build_panel(configure(place, ""))
    panel = pd.read_parquet(place / "out" / "pair_panel.parquet")
    assert "ln_dkf_net" not in panel
    assert {"is_same_province", "bal_trimmed", "row_flag"} <= set(panel.columns)
    assert "flow" not in result.paths
    within = pd.read_parquet(place / "out" / "city_within.parquet")
    assert not set(within.columns) & set(CITY_WITHIN.optional)
    assert within["bal_in"].notna().any()


def test_tables_of_an_earlier_run_with_other_settings_are_gone(built, tmp_path):
    place = Path(shutil.copytree(built[0], tmp_path / "demo"))
    assert (place / "out" / "flow.parquet").exists()
    build_panel(configure(place, ""))
    assert not (place / "out" / "flow.parquet").exists()
    assert not (place / "out" / "city_network.parquet").exists()
    assert (place / "out" / "pair_panel.parquet").exists()


def test_a_second_run_writes_the_same_numbers(built, place):
    first, _ = built
    build_panel(configure(place))
    names = sorted(p.name for p in (first / "out").glob("*.parquet") if p.stem in TABLES)
    assert "pair_panel.parquet" in names
    for name in names:
        pd.testing.assert_frame_equal(pd.read_parquet(place / "out" / name), pd.read_parquet(first / "out" / name))


def test_district_pairs_know_their_city_and_their_flows(built):
    place, _ = built
    panel = pd.read_parquet(place / "out" / "district_pair_panel.parquet")
    assert len(panel) == n_pairs(60) * 7
    same = panel["is_same_city"].to_numpy()
    np.testing.assert_array_equal(same, (panel["city_i"].str[:4] == panel["city_j"].str[:4]).to_numpy())
    within = pd.read_parquet(place / "out" / "within_city_pair_year.parquet")
    assert len(within) == same.sum()
    assert panel["ln_dkf_net"].notna().any()


DISTRICTS = SECTIONS
for _name in ("hsr", "ts", "ipp", "gap_k"):
    _file = {"ts": "classes", "gap_k": "city"}.get(_name, _name)
    DISTRICTS = DISTRICTS.replace(
        f'{_name} = {{ file = "panel/{_file}.csv"',
        f'{_name} = {{ file = "panel/{_file}.csv", districts = "panel/d_{_file}.csv"',
    )
DISTRICTS = DISTRICTS.replace('column = "gdp"', 'column = "gdp"\ndistricts = "panel/d_city.csv"')
DISTRICTS = DISTRICTS.replace('column = "tons"', 'column = "tons"\ndistricts = "panel/d_pair.csv"')


def write_district_tables(root: Path) -> list[str]:
    """The same tables for the districts; their codes are called what districts' codes are called."""
    districts = sorted(pd.read_parquet(root / "out" / "district_year.parquet")["district_code"].unique())
    rng, folder = np.random.default_rng(4), root / "panel"
    base = pd.DataFrame([(d, y) for d in districts for y in range(2012, 2020)], columns=["district_code", "year"])
    for name in ("gdp", "pop", "loans"):
        base[name] = rng.integers(1, 100, len(base))
    base.to_csv(folder / "d_city.csv", index=False)
    base[["district_code", "year"]].assign(ipc="G06F", n=1).to_csv(folder / "d_classes.csv", index=False)
    stops = pd.DataFrame({"line": "a", "district_code": districts[:3], "open_year": 2014})
    stops.to_csv(folder / "d_hsr.csv", index=False)
    pd.DataFrame({"district_code": districts[:1], "start_year": 2012}).to_csv(folder / "d_ipp.csv", index=False)
    pair = pd.DataFrame({"district_i": [districts[1]], "district_j": [districts[0]], "tons": [3.0]})
    pair.to_csv(folder / "d_pair.csv", index=False)
    return districts


@pytest.mark.parametrize("name", ["district_pair_panel", "within_city_pair_panel"])
def test_pairs_of_districts_carry_what_has_a_table_of_districts(place, name):
    codes = write_district_tables(place)
    build_panel(configure(place, DISTRICTS))
    found = pd.read_parquet(place / "out" / f"{name}.parquet")
    assert {"ln_dkf_net", "hsr", "ts", "ipp", "gap_k", "gap_light", "trade", "east_west", "is_border"} <= set(found)
    assert not {"compat_kno", "gap_d", "iv_hist_tel"} & set(found)  # no table of districts, or of cities alone
    values = pd.read_csv(place / "panel" / "d_city.csv", dtype={"district_code": str}).set_index(
        ["district_code", "year"]
    )
    per_head = values["gdp"] / values["pop"]
    known = found[found["hi"].notna()]
    lag = known["year"] - 1
    for column, side in (("gdp_h", "hi"), ("gdp_l", "lo")):
        keys = pd.MultiIndex.from_arrays([known[side], lag])
        np.testing.assert_array_equal(known[column], per_head.reindex(keys))
    loans = values["loans"] / values["pop"]
    base = [loans.reindex(pd.MultiIndex.from_arrays([known[s], [2012] * len(known)])).to_numpy() for s in ("lo", "hi")]
    np.testing.assert_array_equal(known["gap_k"], base[0] / base[1])
    trade = found[(found["city_i"] == codes[0]) & (found["city_j"] == codes[1])]["trade"]
    assert (trade == 3).all()
    assert len(trade) == 7
    assert found["hsr"].sum() == 3 * 5 if name == "district_pair_panel" else found["hsr"].sum() > 0  # rows 2015-2019


def test_a_bad_row_of_a_table_of_districts_is_named(place):
    write_district_tables(place)
    spoil(configure(place, DISTRICTS), "panel/d_ipp.csv", set_cell(1, "start_year", "soon"))
    with pytest.raises(TableInvalid, match=r"(?s)'soon'.*d_ipp\.csv, row 1.*mend:  correct it"):
        build_panel(place)


def test_people_pull_the_points_of_cities_and_districts(built, place):
    from gis.export.parquet import read_units
    from gis.panel.distances import centroids, pair_distances
    from gis.pipeline.panel_points import population_points

    panel = pd.read_parquet(built[0] / "out" / "pair_panel.parquet")
    zones = read_units(place / "out" / "units_city.parquet")
    codes = tuple(sorted(zones.codes))
    points, files = population_points(read_workspace(place), zones, codes, 2012)
    assert [f.name for f in files] == ["landscan-global-2012.tif"]
    np.testing.assert_array_equal(panel.groupby("pair_id")["dist_km"].first(), pair_distances(points))
    apart = np.abs(points - centroids(zones, codes)).max(axis=1)
    assert (apart > 1e-4).any()  # people are not spread evenly
    assert (apart < 1).all()  # and stay in their cities


# --- nothing to do -------------------------------------------------------------------------------------------------


@pytest.fixture
def same_code(monkeypatch) -> None:
    """The package's text as it is now: an editor that saves a module between two steps makes the second one due."""
    fingerprint = resume.package_fingerprint()
    monkeypatch.setattr(resume, "package_fingerprint", lambda: fingerprint)


@pytest.mark.usefixtures("same_code")
def test_a_second_step_has_nothing_to_do(built, tmp_path):
    place = Path(shutil.copytree(built[0], tmp_path / "demo"))
    first = build_panel(place)  # in another folder: hashes are by content
    before = (place / "out" / "pair_panel.parquet").stat().st_mtime_ns
    again = build_panel(place)
    assert (place / "out" / "pair_panel.parquet").stat().st_mtime_ns == before
    assert not again.is_new
    assert again.paths == first.paths
    pd.testing.assert_frame_equal(again.waterfall, first.waterfall, check_dtype=False)
    assert "nothing has changed" in summary_lines(again)[-1]


CHANGES = {
    "a setting": lambda root: configure(root, SECTIONS.replace("0.975", "0.97")),
    "a table": lambda root: spoil(root, "panel/ipp.csv", set_cell(1, "start_year", 2013)),
    "a result of the run": lambda root: spoil_parquet(root / "out" / "pair_year.parquet"),
    "an output": lambda root: (root / "out" / "panel_rows.parquet").unlink(),
    "an output's content": lambda root: spoil_parquet(root / "out" / "city_within.parquet"),
    "the lineage": lambda root: (root / "out" / "lineage.json").unlink(),
    "the note of the last step": lambda root: (root / ".cache" / "last_panel.json").write_text("{"),
}


def spoil_parquet(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"by": b"hand"}), path)


@pytest.mark.usefixtures("same_code")
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_makes_the_step_due(change, built, tmp_path):
    place = Path(shutil.copytree(built[0], tmp_path / "demo"))
    build_panel(place)
    CHANGES[change](place)
    assert build_panel(place).is_new
    assert not build_panel(place).is_new


@pytest.mark.usefixtures("same_code")
def test_other_code_makes_the_step_due(built, tmp_path, monkeypatch):
    place = Path(shutil.copytree(built[0], tmp_path / "demo"))
    build_panel(place)
    monkeypatch.setattr(resume, "package_fingerprint", lambda: "another text")
    assert build_panel(place).is_new


def test_only_pairs_of_clusters_are_the_sample_when_asked(place):
    build_panel(configure(place, SECTIONS + "clusters_only = true\n"))
    panel = pd.read_parquet(place / "out" / "pair_panel.parquet")
    assert ((panel["row_flag"] == "RESTRICTED") == ~panel["is_same_cluster"]).all()
    assert panel["is_same_cluster"].groupby(panel["pair_id"]).first().sum() == 2


def test_a_centred_moderator_has_mean_zero(place):
    build_panel(configure(place, SECTIONS.replace("regions = true", "regions = true\ncenter = true")))
    panel = pd.read_parquet(place / "out" / "pair_panel.parquet")
    for name in ("compat_kno", "gap_k", "gap_scale"):
        assert panel[name].mean() == pytest.approx(0, abs=1e-12)  # a sum of 450 numbers
    assert set(panel["gap_light"].dropna().unique()) <= {0, 1}


def test_the_summary_shows_both_waterfalls(built):
    _, result = built
    lines = summary_lines(result)
    assert lines[0] == "rows:"
    assert lines[1].split() == ["rows", "of", "the", "panel", "462"]
    assert any("bal outside [" in line and "-2" in line for line in lines)


# --- citations -----------------------------------------------------------------------------------------------------


FROM_CSV = '[flows.citations]\npatents = "panel/patents.csv"\ncitations = "panel/citations.csv"\n'


def citations(root: Path, kind: str) -> str:
    rng = np.random.default_rng(8)
    codes = sorted(pd.read_parquet(root / "out" / "city_year.parquet")["city_code"].unique())
    n = 400
    patents = pd.DataFrame(
        {
            "申请号": [f"CN{k:05d}" for k in range(n)],
            "year": rng.integers(2012, 2020, n),
            "type": rng.choice(["发明授权", "实用新型", "外观设计"], n),
            "is_digital": rng.integers(0, 2, n),
            "city_code": rng.choice([*codes, "530100", ""], n),
        }
    )
    cited = pd.DataFrame({"citing": rng.choice(patents["申请号"], 3000), "cited": rng.choice(patents["申请号"], 3000)})
    if kind == "csv":
        patents.to_csv(root / "panel" / "patents.csv", index=False, encoding="gb18030")
        cited.to_csv(root / "panel" / "citations.csv", index=False)
    else:
        patents.to_parquet(root / "panel" / "patents.parquet")
        cited.to_parquet(root / "panel" / "citations.parquet")
    encoding = 'encoding = "gb18030"\n' if kind == "csv" else ""
    return (
        f'[flows.citations]\npatents = "panel/patents.{kind}"\ncitations = "panel/citations.{kind}"\n{encoding}'
        '[flows.citations.columns]\napplication = "申请号"\n'
    )


def test_citations_make_the_same_flows_from_csv_and_parquet(place):
    tables = []
    for kind in ("csv", "parquet"):
        result = build_panel(configure(place, citations(place, kind)))
        tables.append(pd.read_parquet(place / "out" / "flow.parquet"))
        assert result.flow_rows is not None
        assert result.flow_rows["n_left"].iloc[0] == 3000
        assert result.flow_rows["n_left"].iloc[-1] == tables[-1]["n"].sum() > 100
        assert summary_lines(result)[0] == "citations:"
    pd.testing.assert_frame_equal(*tables)
    panel = pd.read_parquet(place / "out" / "pair_panel.parquet")
    assert panel["ln_dkf_net"].notna().any()


def test_patents_are_placed_by_their_points(place):
    from gis.export.parquet import read_units

    zones = read_units(place / "out" / "units_city.parquet")
    inside = [g.representative_point() for g in zones.geometry]
    frame = pd.DataFrame(
        {
            "application": [f"p{k}" for k in range(12)],
            "year": 2015,
            "type": "1",
            "is_digital": 1,
            "lon": [p.x for p in inside],
            "lat": [p.y for p in inside],
        }
    )
    frame.to_csv(place / "panel" / "patents.csv", index=False)
    pd.DataFrame({"citing": ["p0"], "cited": ["p5"]}).to_csv(place / "panel" / "citations.csv", index=False)
    build_panel(
        configure(place, '[flows.citations]\npatents = "panel/patents.csv"\ncitations = "panel/citations.csv"\n')
    )
    flow = pd.read_parquet(place / "out" / "flow.parquet")
    assert flow[["src", "dst", "year", "n"]].to_numpy().tolist() == [[zones.codes[5], zones.codes[0], 2015, 1.0]]


def test_patents_are_placed_by_their_postcodes(place):
    codes = sorted(pd.read_parquet(place / "out" / "city_year.parquet")["city_code"].unique())
    frame = pd.DataFrame(
        {"application": ["a", "b"], "year": 2015, "type": "1", "is_digital": 1, "postcode": ["100081", "200433"]}
    )
    frame.to_csv(place / "panel" / "patents.csv", index=False)
    pd.DataFrame({"citing": ["a"], "cited": ["b"]}).to_csv(place / "panel" / "citations.csv", index=False)
    pd.DataFrame({"postcode": ["1000", "20"], "city_code": codes[:2]}).to_csv(place / "panel" / "post.csv", index=False)
    build_panel(configure(place, f'{FROM_CSV}postcodes = "panel/post.csv"\n'))
    flow = pd.read_parquet(place / "out" / "flow.parquet")
    assert flow[["src", "dst"]].to_numpy().tolist() == [[codes[1], codes[0]]]


# --- vintages ------------------------------------------------------------------------------------------------------


def inputs(place: Path, *codes: str) -> PanelInputs:
    return PanelInputs(read_workspace(place), tuple(sorted(codes)), "2019-12-31")


def test_codes_of_an_older_table_are_carried_by_lineage(ran):
    found = inputs(ran).recode(["522400", "370100", "371200", "341400"], "2010", "old.csv")
    assert found["522400"] == "520500"  # Bijie: a prefecture became a city
    assert "370100" not in found  # Jinan stands
    assert found["371200"] == "371200 ended"  # Laiwu merged: no value of its own goes on
    assert found["341400"] == "341400 ended"  # Chaohu was split


def test_flows_of_a_unit_that_merged_go_on_with_its_heir(ran):
    below = inputs(ran)
    assert below.recode(["371200"], "2010", "old.csv", additive=True) == {"371200": "370100"}
    assert "371200 to 370100" in below.notes[0]
    assert below.recode(["341400"], "2010", "old.csv", additive=True) == {"341400": "341400 ended"}


def test_a_moderator_of_the_wrong_vintage_is_told_what_became_of_the_city(ran):
    from gis.panel.covariates import city_matrix

    below = inputs(ran, "340100", "340200")
    frame = pd.DataFrame({"city_code": ["340100", "341400"], "loans": [1.0, 2.0]})
    with pytest.raises(
        CodeInvalid, match=r"(?s)341400.*vintage 2019-12-31.*341400.*abolished.*loans\.csv, row 2.*mend:  state"
    ):
        below.explained(lambda: city_matrix(frame, "loans", below.codes, vintage=below.vintage, where="loans.csv"))


# --- faults --------------------------------------------------------------------------------------------------------


def spoil(root: Path, name: str, change) -> None:
    path = root / name
    frame = pd.read_csv(path, dtype=dict.fromkeys(("city_code", "src", "dst", "city_i", "city_j"), str))
    change(frame).to_csv(path, index=False)


def set_cell(row: int, column: str, value):
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row - 1, column] = value
        return frame

    return change


KEEP_ONE = lambda f: pd.concat([f, f.iloc[[0]]])  # noqa: E731
FAULTS = {
    "negative flow": ("flows/flows.csv", set_cell(4, "n", -3), TableInvalid, "first -3", 4, "give a count"),
    "unknown source": ("flows/flows.csv", set_cell(5, "src", "341400"), CodeInvalid, "341400", 5, "map the codes"),
    "unknown district": ("panel/district_flows.csv", set_cell(2, "dst", "440199"), CodeInvalid, "440199", 2, "map the"),
    "a city twice": ("panel/city.csv", KEEP_ONE, TableInvalid, "rows 1 and 97", 97, "keep one"),
    "a member twice": ("panel/clusters.csv", KEEP_ONE, TableInvalid, "rows 1 and 5", 5, "keep one"),
    "a word in classes": ("panel/classes.csv", set_cell(3, "n", "many"), TableInvalid, "'many'", 3, "correct it"),
    "unknown city": (
        "panel/hsr.csv",
        set_cell(2, "city_code", "110000"),
        CodeInvalid,
        "110000",
        2,
        "state the vintage",
    ),
    "a year in words": ("panel/ipp.csv", set_cell(1, "start_year", "soon"), TableInvalid, "'soon'", 1, "correct it"),
    "one city": ("panel/pair.csv", lambda f: f.assign(city_j=f["city_i"]), TableInvalid, "itself", 1, "drop such"),
    "a flow of no year": ("flows/flows.csv", set_cell(3, "year", 20013), TableInvalid, "20013", 3, "write a year"),
    "a listed city twice": ("panel/ipp.csv", KEEP_ONE, TableInvalid, "rows 1 and 3", 3, "keep one"),
    "no class": ("panel/classes.csv", set_cell(5, "ipc", " "), TableInvalid, "no ipc", 5, "give each row"),
    "imports": ("panel/imports.csv", set_cell(7, "value", -1), TableInvalid, "imports are -1", 7, "give a value"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_row_is_named_with_its_file_and_nothing_is_written(fault, place):
    name, change, error, what, row, mend = FAULTS[fault]
    spoil(configure(place), name, change)
    with pytest.raises(error, match=rf"(?s){what}.*where: .*{name}, row {row}\b.*mend:  .*{mend}"):
        build_panel(place)
    if "district" not in name:
        assert not (place / "out" / "pair_panel.parquet").exists()


def test_a_flow_outside_the_years_it_is_said_to_cover_is_named(place):
    text = SECTIONS.replace('file = "flows/flows.csv"\n', 'file = "flows/flows.csv"\nyears = [2013, 2019]\n')
    with pytest.raises(
        TableInvalid, match=r"(?s)outside the years 2013-2019.*first 2012.*flows\.csv, row 1.*mend:  widen"
    ):
        build_panel(configure(place, text))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            '[flows]\ndrop_unknown = true\n[flows.citations]\npatents = "a"\ncitations = "b"\n',
            TableInvalid,
            r"no such table.*mend:  correct the path of flows\.citations\.patents",
        ),
        ('[flows]\nfile = "flows/flows.csv"\nyears = [2019, 2012]\n', ConfigInvalid, r"years run from the first"),
        (
            '[flows]\nfile = "flows/flows.csv"\n[flows.citations]\npatents = "a"\ncitations = "b"\n',
            ConfigInvalid,
            r"one of them.*mend:  give flows\.file or",
        ),
        ("[sample]\nclusters_only = true\n", ConfigInvalid, r"mend:  add \[covariates\.clusters\]"),
        (
            '[covariates]\nhsr = { file = "no.csv" }\n',
            TableInvalid,
            r"no such table.*mend:  correct the path of covariates\.hsr",
        ),
        (
            '[[covariates.city]]\nname = "gap"\nfile = "panel/city.csv"\ncolumn = "gdpp"\n',
            TableInvalid,
            r"no column gdpp.*city\.csv.*mend:  name the columns city_code, gdpp",
        ),
        (
            '[[covariates.pair]]\nname = "bal"\nfile = "panel/pair.csv"\ncolumn = "tons"\n',
            ConfigInvalid,
            r"the name bal is taken.*covariates\.pair\.0.*mend:  give the variable another name",
        ),
        (
            '[sample]\ncontrols = ["hsr"]\n',
            TableInvalid,
            r"controls without a column: hsr.*mend:  columns of this panel",
        ),
    ],
)
def test_sections_that_contradict_are_refused(place, text, error, message):
    with pytest.raises(error, match=rf"(?s){message}"):
        build_panel(configure(place, text))


def test_a_workspace_that_was_not_run_says_what_to_do(place):
    shutil.rmtree(place / "out")
    with pytest.raises(GisError, match=r"mend:  lightpanel run"):
        build_panel(place)


@pytest.mark.parametrize("damage", ["no Parquet", "broken off inside"])
def test_a_damaged_parquet_file_is_refused(damage, place):
    path = place / "panel" / "patents.parquet"
    pq.write_table(pa.table({"application": [f"p{k}" for k in range(5000)]}), path)
    whole = path.read_bytes()
    path.write_bytes(b"PAR1 nothing else" if damage == "no Parquet" else b"PAR1" + bytes(4000) + whole[4004:])
    pq.write_table(pa.table({"citing": ["a"], "cited": ["b"]}), place / "panel" / "c.parquet")
    text = '[flows.citations]\npatents = "panel/patents.parquet"\ncitations = "panel/c.parquet"\n'
    with pytest.raises(TableInvalid, match=r"(?s)cannot be read.*mend:  give CSV in utf-8"):
        build_panel(configure(place, text))
