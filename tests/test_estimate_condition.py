"""Claims about conditions on rows: they say what pandas says, run nothing, and name what is wrong with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gis.errors import OptionInvalid
from gis.estimate.condition import rows_where
from gis.estimate.models import model_from_formula

FRAME = pd.DataFrame(
    {
        "year": np.array([2009, 2010, 2011, 2012], dtype=np.int32),
        "is_hsr": [True, False, True, True],
        "hsr": [0.0, 1.0, np.nan, 1.0],
        "count": pd.array([1, None, 3, 4], dtype="Int64"),
        "city_i": pd.Categorical(["110000", "120000", None, "110000"]),
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("year >= 2010 and is_hsr == 1", [2, 3]),
        ("(year >= 2010) & (hsr == 1) | (year == 2009)", [0, 1, 3]),
        ("2009 < year <= 2011", [1, 2]),
        ("year in [2009, 2012]", [0, 3]),
        ("year not in (2009, 2012)", [1, 2]),
        ("not is_hsr or year == 2009", [0, 1]),
        ("city_i == '110000'", [0, 3]),
        ("city_i in ['120000']", [1]),
        ("hsr != 1", [0, 2]),
        ("count > 2", [2, 3]),
        ("year - 2000 > count * 3 + -1", [0, 2, 3]),
        ("1 == 1", [0, 1, 2, 3]),
        ("year in []", []),
    ],
)
def test_conditions_choose_the_rows_that_their_words_say(condition, rows):
    assert np.flatnonzero(rows_where(FRAME, condition, "m")).tolist() == rows


@pytest.mark.parametrize(
    "condition",
    ["year >= 2010 and hsr == 1", "2009 < year <= 2011", "year in [2009, 2012]", "not (hsr == 1)", "hsr != 1"],
)
def test_pandas_reads_them_alike(condition):
    assert np.flatnonzero(rows_where(FRAME, condition, "m")).tolist() == FRAME.query(condition).index.tolist()


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("yaer >= 2010", "the panel has no column yaer; did you mean year"),
        ("year >", "invalid syntax"),
        ("year + 1", "it is a value, not a condition"),
        ("hsr", "do you mean hsr == 1"),
        ("year >= 2010 and hsr", "'hsr' is a value, not a condition; do you mean hsr == 1"),
        ("year>=2010 & hsr==1", "& and | need parentheses"),
        ("city_i == 110000", "quote codes"),
        ("city_i in [110000]", "quote codes"),
        ("year in hsr", "'in' needs a list"),
        ("year is 2010", "'is' compares nothing"),
        ("year ** 2 > 1", "is no column, number, quoted text or comparison"),
        ("@year > 1", "invalid syntax"),
    ],
)
def test_what_cannot_be_read_says_why(condition, why):
    with pytest.raises(OptionInvalid, match="write it over columns of the panel") as error:
        rows_where(FRAME, condition, "m")
    assert why in error.value.what


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').mkdir('made')",
        "year.map(print) == 1",
        "[y for y in year]",
        "(lambda: 1)() == 1",
        "f'{year}' == 1",
    ],
)
def test_nothing_is_run(condition, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionInvalid, match="write it over columns of the panel"):
        rows_where(FRAME, condition, "m")
    assert not list(tmp_path.iterdir())


def test_a_formula_may_end_with_its_own_condition():
    model = model_from_formula("m", "bal ~ ts | pair_id if year >= 2010 and (hsr == 1)")
    assert (model.where, model.formula) == ("year >= 2010 and (hsr == 1)", "bal ~ ts | pair_id")
    both = model_from_formula("m", "bal ~ ts if year >= 2010 or hsr == 1", where="bal <= 3 or ts > 1")
    assert both.where == "(bal <= 3 or ts > 1) and (year >= 2010 or hsr == 1)"
    assert model_from_formula("m", "bal ~ notif | year").exog == ("notif",)
    with pytest.raises(OptionInvalid, match="rows to use at the end: if year >= 2010"):
        model_from_formula("m", "bal ~ ts if")


def test_the_condition_of_all_models_and_a_formulas_own_both_hold():
    from gis.pipeline.estimate import chosen_models
    from gis.workspace import Estimation

    config = Estimation(where="bal <= 3", models=("eq2",), formulas={"late": "bal ~ ts | year if year > 2010"})
    assert [m.where for m in chosen_models(config, (), ())] == ["bal <= 3", "(bal <= 3) and (year > 2010)"]
    assert [m.where for m in chosen_models(config, ("eq1",), ("bal ~ ts | year",))] == ["bal <= 3", "bal <= 3"]


def test_one_equals_sign_is_told_to_be_two():
    for condition in ("year = 2015", "bal <= 3 and hsr=1"):
        with pytest.raises(OptionInvalid, match="equality is written =="):
            rows_where(pd.DataFrame({"year": [2015], "bal": [1.0], "hsr": [0]}), condition, "m")
