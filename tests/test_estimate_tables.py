"""Tables of estimates: one grid, three drawings, and data tables that keep every number."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from estimate_cases import panel

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

from gis.estimate import (
    estimate_all,
    frames_from_estimates,
    named_models,
    table_html,
    table_latex,
    table_markdown,
)
from gis.estimate.results import set_text
from gis.estimate.tables import grid, latex_text, number
from gis.tables import TABLES, read_table, write_table


@pytest.fixture(scope="module")
def estimates():
    names = ("table1", "iv_telegraph", "iv_both", "moderator:compat_kno", "iv_moderator:compat_kno")
    return estimate_all(panel(), [m for name in names for m in named_models(name)])


def test_data_tables_fit_their_declaration_and_hold_every_coefficient(estimates, tmp_path):
    for name, frame in frames_from_estimates(estimates).items():
        path = write_table(TABLES[name], frame, tmp_path / f"{name}.parquet")
        assert len(read_table(TABLES[name], path)) == len(frame)
    rows = frames_from_estimates(estimates)["estimate"].set_index(["model", "stage", "outcome", "term"])
    for e in estimates:
        for term in e.main.terms:
            row = rows.loc[(e.model.name, "main", "bal", term)]
            assert row["coef"] == e.coef(term)
            assert row["se_dyadic"] == pytest.approx(e.se(term, "dyadic"), nan_ok=True, rel=0)
            assert row["ci_low_pair"] < row["coef"] < row["ci_high_pair"]
    assert set(rows.index.get_level_values("stage")) == {"main", "first_stage", "reduced_form", "marginal"}


def test_stars_follow_p_and_errors_stand_beneath(estimates):
    found = grid(estimates)
    for column, e in enumerate(estimates, start=1):
        at = {row[0]: k for k, row in enumerate(found.body) if row[0]}
        for term, label in (("ln_dkf_net", "lnDKF_net"), ("ts", "TS")):
            if term not in e.main.terms:
                assert found.body[at[label]][column] == ""
                continue
            p = float(e.main.p()[e.main.at(term)])
            stars = "***" if p < 0.01 else "**" if p < 0.05 else "*" if p < 0.1 else ""
            assert found.body[at[label]][column] == number(e.coef(term)) + stars
            assert found.body[at[label] + 1][column] == f"({number(e.se(term))})"


def test_journal_rows_are_there(estimates):
    foot = {row[0]: row[1:] for row in grid(estimates).foot}
    assert foot["City-pair effects"] == ("No", *["Yes"] * 7)
    assert set(foot["Year effects"]) == {"Yes"}
    assert foot["N"] == tuple(f"{e.n:,}" for e in estimates)
    assert foot["R2"][4] == ""  # of 2SLS it measures nothing
    assert foot["Threshold: tF"] == ("", "", "", "", "104.7", "", "", "")
    assert re.fullmatch(r"\d+\.\d{3} \(\d\.\d{3}\)", foot["Hansen J (p)"][5])
    assert foot["Anderson-Rubin 95 % set"][7] == ""  # of one coefficient only
    assert "Controls" not in foot
    short = grid(estimates, show_controls=False)
    assert {r[0]: r[1:] for r in short.foot}["Controls"][:4] == ("No", "No", "Yes", "Yes")
    assert "TS" not in [r[0] for r in short.body]


def test_all_three_errors_stand_under_one_another(estimates):
    rows = grid(estimates[3:4], all_errors=True).body
    at = [r[0] for r in rows].index("TS")
    assert [r[1][0] + r[1][-1] for r in rows[at + 1 : at + 4]] == ["()", "[]", "{}"]


class _Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.depth = [], 0

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.depth += tag in ("td", "th")
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.depth -= tag in ("td", "th")

    def handle_data(self, data):
        if self.depth:
            self.rows[-1][-1] += data


def test_markdown_html_and_latex_say_the_same(estimates):
    found = grid(estimates)
    expected = [list(r) for r in (*found.head, *found.body, *found.foot)]
    reader = _Cells()
    reader.feed(table_html(estimates))
    assert reader.rows == expected
    lines = [line for line in table_markdown(estimates).splitlines() if line.startswith("|")]
    cells = [[c.strip().replace("\\*", "*") for c in line.strip("|").split(" | ")] for line in lines]
    assert [len(c) for c in cells if not c[0].startswith(":---")] == [len(expected[0])] * len(expected)
    body = [line for line in table_latex(estimates).splitlines() if line.endswith(r"\\")]
    assert len(body) == len(expected)
    assert all(line.count("&") - line.count(r"\&") == len(expected[0]) - 1 for line in body)


def test_latex_escapes_and_guards():
    assert latex_text("a_b 5% {x} <1>") == r"a\_b 5\% \{x\} $<$1$>$"
    text = table_latex(estimate_all(panel(), named_models("eq2")), caption="A & B", label="tab:x", all_errors=True)
    assert r"\caption{A \& B}" in text
    assert r"{[" in text  # a bracket after \\ would be taken for a length
    assert text.count(r"\begin{") == text.count(r"\end{")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0222, "0.0222"),
        (-1.5, "-1.5000"),
        (0.0, "0.0000"),
        (1.234e-6, "1.23e-06"),
        (2.5e7, "2.50e+07"),
        (math.nan, "n/a"),
    ],
)
def test_numbers_never_print_as_zero_unless_they_are(value, text):
    assert number(value) == text


def test_sets_are_written_with_their_open_ends():
    assert set_text(((-math.inf, 1.0), (2.0, math.inf))) == "(-inf, 1] or [2, inf)"
    assert set_text(()) == "empty"
    assert set_text(None) == "not defined"


def test_notes_of_every_model_stand_below_the_table(estimates):
    notes = grid(estimates).notes
    assert "clustered by city pair" in notes[0]
    for e in estimates:
        for note in e.notes:
            assert any(note in line for line in notes)
    assert np.isfinite([e.r2 for e in estimates]).all()
