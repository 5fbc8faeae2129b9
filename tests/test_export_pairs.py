"""Pairs as lines: which years, which column, how many; what is not there is named with what is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
from export_cases import CITIES, pair_panel, pair_year, write_run
from typer.testing import CliRunner

from gis.cli import app
from gis.errors import OptionInvalid
from gis.export import ExportOptions, export
from gis.export.layers import PairChoice, pair_lines
from gis.tables import write_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_run(tmp_path_factory.mktemp("run") / "out")
    table, frame = pair_panel()
    write_table(table, frame, out / "pair_panel.parquet")
    return out


def drawn(run: Path, folder: Path, **options: object) -> gpd.GeoDataFrame:
    (path,) = export(run, "gpkg", folder=folder, options=ExportOptions(pair_lines=True, **options))
    return gpd.read_file(path, layer="pair_lines")


@pytest.mark.parametrize("years", [(2019,), (2020,), (2019, 2020), (2020, 2019, 2019)])
def test_the_years_asked_for_are_drawn(run: Path, tmp_path: Path, years: tuple[int, ...]) -> None:
    lines = drawn(run, tmp_path, pair_years=years)
    assert set(lines["year"]) == set(years)
    assert len(lines) == 6 * len(set(years))


def test_every_year_keeps_its_own_highest(run: Path, tmp_path: Path) -> None:
    lines = drawn(run, tmp_path, pair_years=(2019, 2020), pair_by="dkf_htol", pair_top=2)
    _, panel = pair_panel()
    expected = {
        (row.pair_id, row.year)
        for year in (2019, 2020)
        for row in panel[panel["year"] == year].nlargest(2, "dkf_htol").itertuples()
    }
    assert set(zip(lines["pair_id"], lines["year"], strict=True)) == expected
    by_bal = drawn(run, tmp_path, pair_years=(2019, 2020), pair_top=2)
    assert set(zip(by_bal["pair_id"], by_bal["year"], strict=True)) != expected


def test_pairs_without_a_value_come_last_and_ties_go_by_code() -> None:
    table, frame = pair_panel()
    frame = frame[frame["year"] == 2019].assign(dkf_htol=[np.nan, 1.0, 1.0, 0.0, np.nan, 1.0])
    kept = pair_lines(frame, CITIES, "EPSG:4326", PairChoice(by="dkf_htol", top=2), table).table.to_pandas()
    assert list(kept["pair_id"]) == sorted(frame["pair_id"])[1:3]
    kept = pair_lines(frame, CITIES, "EPSG:4326", PairChoice(by="dkf_htol", top=5), table).table.to_pandas()
    assert list(kept["dkf_htol"].isna()) == [True, False, False, False, False]


def test_lines_carry_the_table_that_has_the_column(run: Path, tmp_path: Path) -> None:
    assert "dkf_htol" not in drawn(run, tmp_path, pair_by="level_hi")
    flows = drawn(run, tmp_path, pair_by="dkf_htol")
    assert set(pair_year().columns) < set(flows.columns)
    _, panel = pair_panel()
    expected = panel[panel["year"] == 2020].sort_values("pair_id")
    np.testing.assert_array_equal(flows["dkf_htol"], expected["dkf_htol"])


def test_the_style_is_by_the_column_and_several_years_play_one_by_one(run: Path, tmp_path: Path) -> None:
    for years, temporal in (((2020,), False), ((2019, 2020), True)):
        drawn(run, tmp_path, pair_by="dkf_htol", pair_years=years)
        with closing(sqlite3.connect(tmp_path / "lightpanel_export.gpkg")) as db:
            (qml,) = db.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'pair_lines'").fetchone()
        root = ElementTree.fromstring(qml)
        assert root.find("renderer-v2").get("attr") == "dkf_htol"
        assert (root.find("temporal") is not None) is temporal
        widths = [float(o.get("value")) for o in root.iter("Option") if o.get("name") == "line_width"]
        assert len(widths) > 2
        assert widths == sorted(widths)
        assert (widths[0], widths[-1]) == (0.1, 0.7)


def test_what_is_not_there_is_named_with_what_is(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        OptionInvalid, match=r"there are no pairs of 1999, 2018\n.*\n  mend:  one or more of 2019, 2020$"
    ):
        drawn(run, tmp_path, pair_years=(2018, 2019, 1999))
    with pytest.raises(OptionInvalid, match=r"mend:  one of bal, level_hi, .*dkf_htol.*, 产值差, gap_own$"):
        drawn(run, tmp_path, pair_by="dkf")
    for no_number in ("hi", "switched", "year", "pair_id", "类型"):
        with pytest.raises(OptionInvalid, match="mend:  one of bal"):
            drawn(run, tmp_path, pair_by=no_number)
    bare = write_run(tmp_path / "bare")
    with pytest.raises(OptionInvalid, match=r"mend:  one of bal.*; lightpanel panel makes those of pair_panel, flows"):
        drawn(bare, tmp_path, pair_by="dkf_htol")
    with pytest.raises(OptionInvalid, match="mend:  --pair-top 1 or more"):
        drawn(run, tmp_path, pair_top=0)
    assert [p.name for p in tmp_path.iterdir()] == ["bare"]


def test_the_command_line_draws_what_it_is_told(run: Path, workdir: Path) -> None:
    (workdir / "workspace.toml").write_text(WORKSPACE, encoding="utf-8")
    write_run(workdir / "out")
    table, frame = pair_panel()
    write_table(table, frame, workdir / "out" / "pair_panel.parquet")
    path = workdir / "out" / "gpkg" / "lightpanel_export.gpkg"
    shell = CliRunner()
    for words, n in (([], 0), (["--pairs"], 6), (["--pair-year", "2019", "--pair-year", "2020"], 12)):
        assert shell.invoke(app, ["export", *words]).exit_code == 0
        assert len(gpd.read_file(path, layer="pair_lines") if n else ()) == n
    done = shell.invoke(app, ["export", "--pair-year", "2019", "--pair-top", "2", "--pair-by", "dkf_htol"])
    assert done.exit_code == 0
    assert str(path) in done.output
    lines = gpd.read_file(path, layer="pair_lines")
    expected = frame[frame["year"] == 2019].nlargest(2, "dkf_htol")
    assert set(lines["pair_id"]) == set(expected["pair_id"])
    refused = shell.invoke(app, ["export", "--pair-by", "gdp"])
    assert isinstance(refused.exception, OptionInvalid)


WORKSPACE = """
[workspace]
name = "lines"

[lights]
product = "eantli_like"

[population]
product = "landscan"

[boundaries.city]
file = "cities.gpkg"
vintage = "2019-12-31"
"""
