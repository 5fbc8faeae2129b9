"""The estimation step on a workspace: tables joined by their keys, results written once all models are there."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

import gis
from gis.demo import write_demo
from gis.demo.estimation import known_outcomes, truth_of_model
from gis.errors import OptionInvalid, TableInvalid
from gis.estimate import estimate
from gis.pipeline.estimate import demo_table, read_panel, run_estimation
from gis.tables import ESTIMATE, PAIR_YEAR, read_table
from gis.workspace import read_workspace

SECTION = """
[estimate]
models = []
flows = "flows/flows.csv"
tables = ["extra.csv"]
by_year = ["ln_dkf_net"]
clustering = "dyadic"

[estimate.formulas]
net = "bal ~ ln_dkf_net + extra | pair_id + year"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A demo that has been run, with a further table of pairs."""
    root = tmp_path_factory.mktemp("estimate") / "demo"
    write_demo(root)
    gis.run(root)
    pairs = read_table(PAIR_YEAR, root / "out" / "pair_year.parquet")
    rng = np.random.default_rng(0)
    pairs[["pair_id", "year"]].assign(extra=rng.normal(size=len(pairs))).to_csv(root / "extra.csv", index=False)
    return root


@pytest.fixture
def workspace(finished, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(finished, root)
    with (root / "workspace.toml").open("a", encoding="utf-8") as stream:
        stream.write(SECTION)
    return root


def test_the_step_writes_tables_plots_and_lineage(workspace):
    done = run_estimation(workspace)
    rows = read_table(ESTIMATE, done.paths["estimate"])
    assert rows["coef"].iloc[0] == done.estimates[0].coef("ln_dkf_net")
    assert pd.read_csv(done.paths["estimate.csv"])["coef"].iloc[0] == rows["coef"].iloc[0]
    for name in ("estimate.md", "estimate.tex", "estimate.html"):
        assert "lnDKF" in done.paths[name].read_text(encoding="utf-8")
    assert (workspace / "out" / "estimate_years_net_ln_dkf_net.png").stat().st_size > 1000
    lineage = (workspace / "out" / "lineage.json").read_text(encoding="utf-8")
    assert "estimate.parquet" in lineage
    assert "extra.csv" in lineage


def test_flows_are_oriented_and_tables_joined_by_their_keys(workspace):
    panel, sources = read_panel(read_workspace(workspace))
    assert {"pair_year", "extra.csv", "flows"} <= set(sources)
    assert len(panel) == len(read_table(PAIR_YEAR, workspace / "out" / "pair_year.parquet"))
    flows = pd.read_csv(workspace / "flows" / "flows.csv", dtype={"src": str, "dst": str})
    row = panel[panel["hi"].notna()].iloc[100]
    n = flows[(flows["src"] == row["hi"]) & (flows["dst"] == row["lo"]) & (flows["year"] == row["year"] - 1)]["n"].sum()
    assert row["ln_dkf_htol"] == pytest.approx(np.log1p(n), rel=1e-12)  # the definition


def test_rows_that_the_sample_leaves_out_are_counted_in_a_note(workspace):
    from gis.pipeline.panel import build_panel

    with (workspace / "workspace.toml").open("a", encoding="utf-8") as stream:
        stream.write('\n[flows]\nfile = "flows/flows.csv"\ndrop_unknown = true\n[sample]\nbal_quantile = [0.1, 0.9]\n')
    build_panel(workspace)
    rows = pd.read_parquet(workspace / "out" / "pair_panel.parquet")
    n = int((rows["row_flag"] == "TRIMMED").sum())
    assert n > 0
    plain, inside = "bal ~ ln_dkf_net | pair_id + year", " if row_flag == ''"
    whole, sample = run_estimation(workspace, formulas=[plain, plain + inside]).estimates
    assert whole.n - sample.n - sample.n_singletons == n
    assert any(note.startswith(f"{n} rows that [sample] leaves out are in it; without them") for note in whole.notes)
    assert not any("[sample]" in note for note in sample.notes)


def test_models_named_in_the_call_replace_those_of_the_file(workspace):
    done = run_estimation(workspace, formulas=["bal ~ extra | pair_id + year"])
    assert [e.model.name for e in done.estimates] == ["model1"]


def test_the_command_prints_the_table_and_names_the_files(workspace):
    from typer.testing import CliRunner

    from gis.cli import app

    result = CliRunner().invoke(app, ["estimate", str(workspace), "-f", "bal ~ extra | pair_id + year", "-q"])
    assert result.exit_code == 0
    assert "City-pair effects | Yes" in result.stdout
    assert "estimate.parquet" in result.stderr


def test_a_model_that_fails_leaves_no_file(workspace):
    with pytest.raises(OptionInvalid, match="did you mean table1"):
        run_estimation(workspace, models=["tabel1"])
    with pytest.raises(TableInvalid, match="join a table with hsr"):
        run_estimation(workspace, models=["table1"])
    assert not list((workspace / "out").glob("estimate*"))


def test_a_workspace_without_a_run_is_told_to_run(workspace):
    (workspace / "out" / "pair_year.parquet").unlink()
    with pytest.raises(TableInvalid, match="lightpanel run"):
        run_estimation(workspace)


@pytest.mark.parametrize(
    ("text", "mend"),
    [("pair_id,year,extra\n1,2013,1\n1,2013,2\n", "keep one row"), ("pair,year,extra\n1,2013,1\n", "has pair_id")],
    ids=["repeated", "no key"],
)
def test_a_table_that_cannot_be_joined_is_refused(workspace, text, mend):
    (workspace / "extra.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableInvalid, match=mend):
        run_estimation(workspace)


def test_a_missing_table_names_the_setting(workspace):
    (workspace / "extra.csv").unlink()
    with pytest.raises(TableInvalid, match=r"correct the path of estimate\.tables"):
        run_estimation(workspace)


def test_the_demo_finds_its_known_coefficients(finished):
    text = demo_table(finished)
    assert text.count("holds it") == 4
    pairs = read_table(PAIR_YEAR, finished / "out" / "pair_year.parquet")
    flows = pd.read_csv(finished / "flows" / "flows.csv", dtype={"src": str, "dst": str})
    panel = known_outcomes(pairs, flows)
    for model, truth in truth_of_model():
        found = estimate(panel, model)
        for term, value in truth.items():
            assert f"{found.coef(term):.4f}" in text
            assert abs(found.coef(term) - value) < 3 * found.se(term)  # of a fixed seed
