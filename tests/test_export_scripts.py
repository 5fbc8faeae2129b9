"""The scripts beside exports: a checker for the do-file, since Stata cannot be had here; R runs the R file where it is.

Without R's fixest a stand-in of five lines estimates the same models by base R's lm, with a dummy for every effect.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from export_cases import write_run
from script_cases import COLUMNS, pair_instrument, pair_panel, write_panel

from gis.errors import WriteFailed
from gis.estimate import estimate, model_from_formula, named_models
from gis.estimate.condition import rows_where
from gis.export import ExportOptions, export
from gis.export.conditions import translated
from gis.export.scripts import plan, write_do
from gis.export.stata import RESERVED, stata_name
from gis.tables import PAIR_INSTRUMENT, PAIR_YEAR, table_of_file, write_table

ESTIMATE = {
    "models": ["table1"],
    "formulas": [
        ["own", "bal ~ ln_dkf_net + long | city_i^year + pair_id"],
        ['odd "name"', "bal ~ ts if not gap_k > 0.5 and (switched or hi in ['110000', '120100'])"],
    ],
    "where": "year >= 2011 and long < 2.5",
}
"""What the lineage holds of ``[estimate]``."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_panel(tmp_path_factory.mktemp("run") / "out", ESTIMATE)
    export(out, "dta")
    export(out, "csv")
    return out


# --- Stata ----------------------------------------------------------------------------------------------------------

COMMANDS = {
    "version": r"version 14", "clear": r"clear all", "set": r"set more off", "use": r'use "(?P<file>\w+)\.dta", clear',
    "save": r'save "\w+\.dta", replace', "capture": r"capture notes drop _dta \*",
    "notes": r"notes(?P<names> \w+)?: .+", "format": r"format(?P<names> \w+) %14\.0f",
    "merge": r'merge (1:1|m:1)(?P<names>( \w+)+) using "(?P<using>\w+)\.dta", keep\(master match\) '
    r"keepusing\((?P<new>[\w ]+)\) nogenerate",
    "egen": r"egen long (?P<made>\w+) = group\((?P<names>\w+)\)",
    "generate": r"generate double (?P<made>\w+) = (?P<names>\w+( \* \w+)+)", "xtset": r"xtset(?P<names> \w+ \w+)",
    "reghdfe": r"reghdfe(?P<names>( [\w.#]+)+?)(?P<rows> if .+)?, "
    r"(noabsorb|absorb\((?P<fixed>[\w #]+)\)) vce\(cluster (?P<again>\w+)\)",
    "ivreghdfe": r"ivreghdfe(?P<names>( \w+)+) \((?P<endog>[\w ]+) = (?P<iv>[\w ]+)\)"
    r"(?P<rows> if .+)?, (absorb\((?P<fixed>[\w #]+)\) )?cluster\((?P<again>\w+)\) first",
    "estimates": r'estimates (store m\d+|title: "[^"]*"|table( m\d+)+, b\(%9\.4f\) se\(%9\.4f\) stats\(N r2\))',
}  # fmt: skip
"""Every command a do-file of ours may hold, and its form; groups hold names of variables."""


def assert_do(path: Path) -> list[str]:
    """Check a do-file line by line as far as that goes without Stata; returns the estimation commands."""
    known: set[str] = set()
    estimated = []
    for line in path.read_text("utf-8").splitlines():
        if not line or line.startswith("* "):
            continue
        form = COMMANDS.get(re.split(r"[\s:]", line)[0])
        assert form is not None, f"unknown command: {line}"
        found = re.fullmatch(form, line)
        assert found is not None, f"not the form of its command: {line}"
        groups = {k: v for k, v in found.groupdict().items() if v}
        if not line.startswith("notes"):
            assert line.count('"') % 2 == 0 and line.count("(") == line.count(")"), line
        else:
            assert not re.search(r"/\*|\s//|`|(?<!\\)\$|\bTS\b", line), f"macro, comment or time stamp: {line}"
        if "file" in groups:
            known = set(pd.read_stata(path.parent / f"{groups['file']}.dta", iterator=True).variable_labels())
        if "using" in groups:
            other = set(pd.read_stata(path.parent / f"{groups['using']}.dta", iterator=True).variable_labels())
            assert set(groups["new"].split()) <= other and not set(groups["new"].split()) & known, line
            known |= set(groups["new"].split())
        named = " ".join(groups.get(k, "") for k in ("names", "endog", "iv", "fixed", "again"))
        in_rows = re.sub(r'"[^"]*"|\b(missing|inlist|if)\b|[&|!(),<>=]', " ", groups.get("rows", ""))
        named += " " + " ".join(word for word in in_rows.split() if not re.fullmatch(r"-?[\d.]+", word))
        for name in re.split(r"[\s#*]+", named.replace("c.", "").strip()):
            assert not name or name in known, f"no variable {name}: {line}"
        if "made" in groups:
            assert groups["made"] not in known, line
            known.add(groups["made"])
        assert all(len(n) <= 32 and n not in RESERVED for n in known)
        if line.startswith(("reghdfe", "ivreghdfe")):
            estimated.append(line)
    return estimated


def test_the_do_file_holds_the_models_whose_columns_are_there(out: Path) -> None:
    estimated = assert_do(out / "dta" / "lightpanel.do")
    rows = f" if (((year >= 2011) & !missing(year)) & ({stata_name('long')} < 2.5))"
    end = f"{rows}, absorb(pair_id_no year) vce(cluster pair_id_no)"
    assert estimated[:4] == [
        f"reghdfe bal ln_dkf_htol ln_dkf_ltoh{rows}, absorb(year) vce(cluster pair_id_no)",
        f"reghdfe bal ln_dkf_htol ln_dkf_ltoh{end}",
        f"reghdfe bal ln_dkf_htol ln_dkf_ltoh hsr ts ipp{end}",
        f"reghdfe bal ln_dkf_net hsr ts ipp{end}",
    ]
    iv = f"bal hsr ts ipp (ln_dkf_net = iv_hist_tel){rows}, absorb(pair_id_no year) cluster(pair_id_no) first"
    assert f"ivreghdfe {iv}" in estimated
    assert f"reghdfe bal ln_dkf_net c.ln_dkf_net#c.gap_k gap_k hsr ts ipp{end}" in estimated
    own = f"reghdfe bal ln_dkf_net {stata_name('long')}{rows}, absorb(city_i_no#year pair_id_no)"
    assert f"{own} vce(cluster pair_id_no)" in estimated
    assert 'inlist(hi, "110000", "120100")' in estimated[-1] and "noabsorb" in estimated[-1]
    text = (out / "dta" / "lightpanel.do").read_text("utf-8")
    assert "* not here, for want of compat_kno" not in text  # a moderator that nobody configured is nothing to miss
    assert 'merge 1:1 pair_id year using "pair_instrument.dta"' in text


def test_notes_hold_unit_and_provenance(out: Path) -> None:
    lines = (out / "dta" / "lightpanel.do").read_text("utf-8").splitlines()
    (long,) = [n for n in lines if n.startswith(f"notes {stata_name('long')}:")]
    assert "unit km. 长度" in long and "Column long of lightpanel." in long and "steps panel" in long
    assert any("versions: lightpanel 1.2.3" in n for n in lines)
    (source, *_) = [n for n in lines if n.startswith("notes: input lights")]
    assert "灯光 \\$2019'.tif, year 2019, EPSG:4326, sha256 " in source


def test_the_checker_sees_what_is_wrong(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "dta", tmp_path / "dta")
    path = tmp_path / "dta" / "lightpanel.do"
    right = path.read_text("utf-8")
    for good, bad, what in (
        ("reghdfe bal ", "reghdfe ball ", "no variable ball"),
        ("reghdfe bal ", "regress bal ", "unknown command"),
        ('use "pair_panel.dta"', 'use "pair_panel.dta', "not the form"),
        ("notes: input", "notes: $input", "macro"),
    ):
        assert good in right
        path.write_text(right.replace(good, bad), "utf-8")
        with pytest.raises(AssertionError, match=what):
            assert_do(path)


def test_a_run_without_flows_says_how_they_come(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    export(out, "dta")
    assert assert_do(out / "dta" / "lightpanel.do") == []
    text = (out / "dta" / "lightpanel.do").read_text("utf-8")
    assert "xtset pair_id_no year" in text and "* not here, for want of ln_dkf_htol, ln_dkf_ltoh: table1_col1" in text
    assert "lightpanel panel brings flows" in text
    assert assert_do(export(out, "dta", options=ExportOptions(tables=("city_year",)))[-1]) == []
    assert "xtset" not in (out / "dta" / "lightpanel.do").read_text("utf-8")


def test_a_model_whose_condition_has_no_translation_is_left_out_by_name(tmp_path: Path) -> None:
    formulas = [["sum", "bal ~ ts if level_hi + level_lo > 1"], ["plain", "bal ~ ts"], ["odd", "bal ~ ts if x > 1"]]
    out = write_panel(tmp_path / "out", {"formulas": formulas})
    for to, mark in (("dta", "*"), ("csv", "#")):
        text = export(out, to)[-1].read_text("utf-8").splitlines()
        assert f"{mark} not here, as its condition has no translation (level_hi + level_lo > 1): sum" in text
        assert f"{mark} not here, for want of x: odd" in text
    assert "reghdfe bal ts, noabsorb vce(cluster pair_id_no)" in assert_do(out / "dta" / "lightpanel.do")


CONDITIONS = (
    "year >= 2011", "2012 <= year < 2015", "not long > 0", "switched", "not switched", "bal != 0.5",
    "year in [2011, 2013]", "hi not in ['110000', '120100'] and ts <= -0.25", "(gap_k > 0) & (gap_k < 1) | is_border",
    "bal > 0.5 or hsr == 1", "not bal > 0.5",
)  # fmt: skip
"""Conditions on columns with and without missing values."""


def test_r_takes_the_same_rows(out: Path, tmp_path: Path) -> None:
    names = {c: c for c in COLUMNS.columns}
    script = (out / "csv" / "lightpanel.R").read_text("utf-8")
    lines = [
        script[script.index("read_table <-") : script.index("))") + 2].replace('"pair_panel', f'"{out}/csv/pair_panel')
    ]
    lines += [f"cat(rownames(subset(panel, {translated(c, 'r', names)})), '\\n')" for c in CONDITIONS]
    panel = pair_panel()
    for condition, line in zip(CONDITIONS, run_r(tmp_path / "rows.R", "\n".join(lines)).splitlines(), strict=True):
        expected = np.flatnonzero(rows_where(panel, condition, "test")) + 1
        assert [int(k) for k in line.split()] == list(expected), condition


def test_stata_takes_the_same_rows() -> None:
    # Stata's rules in Python: a missing number is larger than any other, missing() asks for it.
    panel = pair_panel()
    columns = {c: panel[c].astype("Float64").fillna(np.inf).to_numpy(float) for c in panel if panel[c].dtype != "str"}
    columns |= {c: panel[c].to_numpy(object) for c in panel if panel[c].dtype == "str"}
    asks = {"missing": np.isinf, "inlist": lambda values, *items: np.isin(values, items)}
    for condition in CONDITIONS:
        said = translated(condition, "stata", {c: c for c in panel})
        assert said is not None
        found = eval(re.sub(r"!(?!=)", "~", said), {}, {**columns, **asks})
        assert list(found) == list(rows_where(panel, condition, "test")), condition


def test_a_variable_that_has_the_name_of_the_pair_number_keeps_it(tmp_path: Path) -> None:
    out = write_panel(tmp_path / "out")
    path = out / "pair_panel.parquet"
    frame = pair_panel().rename(columns={"long": "pair_id_no"})
    own = replace(COLUMNS.own[0], name="pair_id_no")
    columns = tuple("pair_id_no" if c == "long" else c for c in COLUMNS.columns)
    write_table(replace(COLUMNS, columns=columns, own=(own, *COLUMNS.own[1:])), frame, path)
    script = export(out, "dta")[-1]
    assert "xtset pair_id_no_ year" in script.read_text("utf-8")
    assert assert_do(script)


def test_a_failed_script_leaves_none(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **options: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    path = out / "pair_panel.parquet"
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_do([(COLUMNS, path)], out, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_products_of_2sls_are_variables_of_their_own(tmp_path: Path) -> None:
    out = write_panel(tmp_path / "out", {"models": ["iv_moderator:gap_k"]})
    export(out, "dta")
    estimated = assert_do(out / "dta" / "lightpanel.do")
    ends = "absorb(pair_id_no year) cluster(pair_id_no) first"
    assert f"ivreghdfe bal gap_k hsr ts ipp (ln_dkf_net product1 = iv_hist_tel product2), {ends}" in estimated
    text = (out / "dta" / "lightpanel.do").read_text("utf-8")
    assert "generate double product1 = ln_dkf_net * gap_k\n" in text
    assert "generate double product2 = iv_hist_tel * gap_k\n" in text


def test_equal_models_are_written_once(tmp_path: Path) -> None:
    tables = [table_of_file(COLUMNS, write_panel(tmp_path / "out") / "pair_panel.parquet"), PAIR_INSTRUMENT]
    found = plan(tables, None)
    assert found is not None
    assert len({m.formula for m in found.models}) == len(found.models)
    assert {m.name for m, _ in found.left_out} == set()
    assert [t.name for t, _ in found.joined] == ["pair_instrument"]
    assert plan([PAIR_INSTRUMENT], None) is None
    bare = plan([PAIR_YEAR], None)
    assert bare is not None and bare.models == () and len(bare.left_out) == 7


# --- R --------------------------------------------------------------------------------------------------------------

STAND_IN = """
feols <- function(fml, data, cluster) {
  parts <- strsplit(gsub("\\n", " ", paste(deparse(fml), collapse = " ")), "|", fixed = TRUE)[[1]]
  effects <- if (length(parts) > 1) trimws(strsplit(parts[2], "+", fixed = TRUE)[[1]]) else "0"
  for (e in setdiff(effects, "0")) {
    data[[paste0("fe_", gsub("^", "_", e, fixed = TRUE))]] <-
      interaction(data[strsplit(e, "^", fixed = TRUE)[[1]]], drop = TRUE)
  }
  added <- if (identical(effects, "0")) "" else paste0(" + fe_", gsub("^", "_", effects, fixed = TRUE), collapse = "")
  if (length(parts) == 3) {
    iv <- trimws(strsplit(parts[3], "~", fixed = TRUE)[[1]])
    data <- data[stats::complete.cases(data[all.vars(fml)]), ]
    first <- lm(as.formula(paste0(iv[1], " ~ ", iv[2], " + ", sub(".*~", "", parts[1]), added)), data)
    data[[iv[1]]] <- fitted(first)
    parts[1] <- paste(parts[1], "+", iv[1])
  }
  lm(as.formula(paste0(parts[1], added)), data)
}
etable <- function(models) {
  for (name in names(models)) {
    found <- coef(models[[name]])
    for (term in grep("fe_|Intercept", names(found), invert = TRUE, value = TRUE))
      cat("COEF", name, term, sprintf("%.15g", found[[term]]), sep = "\\t", fill = FALSE, "\\n")
  }
}
"""
"""What stands in for ``library(fixest)`` where R has no such package: the same coefficients, without its errors."""


def run_r(script: Path, text: str) -> str:
    if shutil.which("Rscript") is None:
        pytest.skip("there is no Rscript")
    script.write_text(text, "utf-8")
    said = subprocess.run(
        ["Rscript", "--vanilla", script.name], cwd=script.parent, capture_output=True, timeout=120,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr.decode("utf-8")
    return said.stdout.decode("utf-8")


def test_r_reads_the_panel_and_finds_the_same_coefficients(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "csv", tmp_path / "csv")
    script = tmp_path / "csv" / "lightpanel.R"
    text = script.read_text("utf-8")
    said = run_r(script, text.replace("library(fixest)", STAND_IN).replace("print(etable(models))", "etable(models)"))
    found: dict[str, dict[str, float]] = {}
    for line in said.splitlines():
        if line.startswith("COEF"):
            _, model, term, value, *_ = line.split("\t")
            found.setdefault(model, {})[term] = float(value)
    panel = pair_panel().merge(pair_instrument()[["pair_id", "year", "iv_hist_tel"]], on=["pair_id", "year"])
    panel = panel[(panel["year"] >= 2011) & (panel["long"] < 2.5)]
    models = [*named_models("table1"), *named_models("iv_telegraph"), *named_models("moderator:gap_k")]
    models.append(model_from_formula("own", "bal ~ ln_dkf_net + long | city_i^year + pair_id"))
    for model in models:
        result = estimate(panel, model)
        mine = found[model.title or model.name]
        for term in model.terms:
            there = term if term in mine else ":".join(reversed(term.split(":")))
            # Two ways to take effects out: dummies by QR, and means until they stand still.
            assert mine[there] == pytest.approx(result.coef(term), rel=1e-6), (model.name, term)


def test_r_runs_the_script_as_it_stands(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "csv", tmp_path / "csv")
    script = tmp_path / "csv" / "lightpanel.R"
    if "yes" not in run_r(tmp_path / "has.R", 'cat(if (requireNamespace("fixest", quietly = TRUE)) "yes" else "no")'):
        pytest.skip("R has no package fixest")
    said = run_r(script, script.read_text("utf-8"))
    assert "ln_dkf_net" in said and "Wald" in said


def test_r_parses_the_script(out: Path, tmp_path: Path) -> None:
    text = f'cat(length(parse("{out / "csv" / "lightpanel.R"}", encoding = "UTF-8")))'
    assert int(run_r(tmp_path / "parse.R", text)) > 10


def test_r_types_are_those_of_the_columns(out: Path) -> None:
    text = (out / "csv" / "lightpanel.R").read_text("utf-8")
    panel = text[text.index("panel <- ") : text.index("))")]
    types = dict(re.findall(r'(\w+) = "(\w+)"', panel))
    assert set(types) == set(COLUMNS.columns)
    assert types["city_i"] == types["hi"] == "character" and types["pair_id"] == "numeric"
    assert types["year"] == "integer" and types["is_border"] == "logical"
    header = pd.read_csv(out / "csv" / "pair_panel.csv", nrows=0, encoding="utf-8-sig").columns
    assert list(header) == list(types)
    assert np.unique(list(types)).size == len(types)
