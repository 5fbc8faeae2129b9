"""What cannot be estimated is refused with a mend line, or left out with a note; nothing is dropped silently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from estimate_cases import panel

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate import Model, estimate, model_from_formula, named_models
from gis.estimate.fixed_effects import LibraryMissing, need_libraries

NET = "ln_dkf_net"
OLS = Model("ols", "bal", (NET, "ts"))
IV = Model("iv", "bal", ("ts",), endog=(NET,), instruments=("iv_hist_tel",))


def with_column(**columns):
    return panel().assign(**columns)


def test_a_collinear_regressor_is_left_out_by_name():
    frame = with_column(twice=lambda f: 2 * f["ts"] + f["hsr"])
    found = estimate(frame, replace(OLS, exog=(NET, "ts", "hsr", "twice")))
    assert found.main.terms == (NET, "ts", "hsr")
    assert found.notes[0] == "twice left out: collinear with ts, hsr"


def test_a_regressor_fixed_within_pairs_is_left_out_by_name():
    frame = with_column(east=lambda f: (f["pair_id"] % 7 == 0).astype(float))
    found = estimate(frame, replace(OLS, exog=(NET, f"{NET}:east", "east")))
    assert found.main.terms == (NET, f"{NET}:east")
    assert "east left out: the effects of pair_id and year absorb it" in found.notes[0]
    assert [m.percentile for m in found.marginals] == [10, 50, 90]


def test_a_constant_regressor_is_left_out_by_name():
    found = estimate(with_column(none=0.0), replace(OLS, exog=(NET, "none")))
    assert "none left out: it is 0 in all" in found.notes[0]


def test_nothing_but_absorbed_regressors_is_refused():
    with pytest.raises(OptionInvalid, match="name a regressor that varies within the effects"):
        estimate(with_column(none=1.0), replace(OLS, exog=("none",)))


def test_an_instrument_absorbed_by_the_effects_is_refused():
    frame = with_column(share=lambda f: (f["pair_id"] // 100 % 5).astype(float))
    with pytest.raises(OptionInvalid, match="a pair's fixed share times a national series") as error:
        estimate(frame, replace(IV, instruments=("share",)))
    assert "instrument share: the effects of pair_id and year absorb it" in error.value.what


def test_an_instrument_of_zeros_is_refused():
    with pytest.raises(OptionInvalid, match="holds no office in these cities") as error:
        estimate(with_column(iv_hist_tel=0.0), IV)
    assert "it is 0 in all" in error.value.what


def test_an_instrument_that_is_a_control_is_refused():
    frame = with_column(copy=lambda f: f["ts"] * 3)
    with pytest.raises(OptionInvalid, match="not a combination of the regressors") as error:
        estimate(frame, replace(IV, instruments=("copy",)))
    assert "instrument copy left out: collinear with ts" in error.value.what


def test_a_redundant_instrument_is_left_out_by_name():
    frame = with_column(copy=lambda f: f["iv_hist_tel"] * 3)
    found = estimate(frame, replace(IV, instruments=("iv_hist_tel", "copy")))
    assert "instrument copy left out: collinear with iv_hist_tel" in found.notes[0]
    assert found.strength is not None
    assert found.strength.overid is None


def test_an_endogenous_regressor_that_is_a_control_is_refused():
    frame = with_column(copy=lambda f: f["ts"] * 3)
    with pytest.raises(OptionInvalid, match="leave one of them out"):
        estimate(frame, replace(IV, endog=("copy",)))


def test_one_cluster_is_refused():
    frame = panel()
    with pytest.raises(TableInvalid, match=r"widen the sample \(estimate.where\)"):
        estimate(frame[frame["pair_id"] == frame["pair_id"].iloc[0]], replace(OLS, effects=()))


def test_pairs_with_one_year_each_leave_no_row():
    frame = panel().groupby("pair_id").head(1)
    with pytest.raises(TableInvalid, match="give each of their values two rows or more") as error:
        estimate(frame, OLS)
    assert "singletons of pair_id, year" in error.value.what


def test_an_outcome_without_variation_within_pairs_is_refused():
    frame = with_column(bal=lambda f: (f["pair_id"] % 11).astype(float))
    with pytest.raises(TableInvalid, match="take an effect out of the model"):
        estimate(frame, OLS)


def test_a_moderator_missing_everywhere_is_named():
    (model,) = named_models("moderator:compat_kno")
    with pytest.raises(TableInvalid, match=r"leave it out of the model \(compat_kno missing\)"):
        estimate(with_column(compat_kno=np.nan), model)


def test_a_moderator_missing_in_places_is_counted():
    frame = panel().copy()
    frame.loc[frame.index[:40], "compat_kno"] = np.nan
    (model,) = named_models("moderator:compat_kno")
    found = estimate(frame, model)
    assert {s.what: s.dropped for s in found.waterfall}["compat_kno missing"] == 40
    assert f"compat_kno missing in 40 of {len(frame)} rows, which are left out" in found.notes
    frame.loc[frame.index[20:40], "compat_kno"] = 1.0
    assert not any("missing" in note for note in estimate(frame, model).notes)  # 20 of 397: the waterfall is enough


def test_two_cities_leave_no_city_clustered_error_and_a_note():
    frame = panel()
    some = sorted(set(frame["city_i"].astype(str)) | set(frame["city_j"].astype(str)))[:3]
    few = frame[frame["city_i"].isin(some) & frame["city_j"].isin(some)]
    found = estimate(few, Model("few", "bal", (NET,)))
    assert any("effective cities" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (lambda f: f.drop(columns="ts"), "join a table with ts"),
        (lambda f: f.assign(ts="high"), "make a column of 0 and 1"),
        (lambda f: f.assign(ts=np.inf), "take the logarithm of 1"),
        (lambda f: f.assign(year=2001), "keep one row for each pair_id and year"),
        (lambda f: f.assign(city_i=[str(k) for k in range(len(f))]), "city_i and city_j are the pair's own"),
    ],
    ids=["missing", "text", "infinite", "repeated", "wandering city"],
)
def test_a_panel_that_cannot_carry_the_model_is_refused(change, mend):
    with pytest.raises(TableInvalid, match=mend):
        estimate(change(panel()), OLS)


@pytest.mark.parametrize("condition", ["nonsense > 1", "bal >", "bal + 1"])
def test_a_condition_that_cannot_be_read_is_refused(condition):
    with pytest.raises(OptionInvalid, match="write it over columns of the panel"):
        estimate(panel(), replace(OLS, where=condition))


def test_a_condition_that_no_row_meets_is_refused():
    with pytest.raises(TableInvalid, match="not in the sample bal > 1000"):
        estimate(panel(), replace(OLS, where="bal > 1000"))


@pytest.mark.parametrize(
    "formula",
    ["bal", "bal ~ log(ts)", "bal ~ ts | pair_id | x ~ z | w", "2bal ~ ts", "bal ~ ts | a-b", "bal ~ ts | year | x"],
)
def test_a_formula_that_cannot_be_read_is_refused(formula):
    with pytest.raises(OptionInvalid, match="write it like: bal ~ hsr"):
        model_from_formula("m", formula)


@pytest.mark.parametrize(
    ("formula", "mend"),
    [
        ("bal ~ 1 | pair_id", "bal ~ ln_dkf_net"),
        ("bal ~ ts | year | x + y ~ z", "as many instruments as endogenous"),
        ("bal ~ ts | year | ts ~ z", "name each term once"),
        ("bal ~ ts | year | 1 ~ z", "endogenous ~ instruments"),
    ],
)
def test_a_model_that_is_not_identified_is_refused(formula, mend):
    with pytest.raises(OptionInvalid, match=mend):
        model_from_formula("m", formula)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(OptionInvalid, match="did you mean iv_telegraph"):
        named_models("iv_telegraf")


def test_missing_libraries_are_named_with_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LibraryMissing, match=r"pip install \"lightpanel\[estimate\]\""):
        need_libraries()


def test_formulas_read_back_as_they_are_written():
    for name in ("table1", "iv_both", "iv_moderator:compat_kno"):
        for model in named_models(name):
            again = model_from_formula(model.name, model.formula, title=model.title)
            assert again == model
    assert model_from_formula("m", "bal ~ a*b + b | year^city_i").exog == ("a", "b", "a:b")
    assert model_from_formula("m", "bal ~ a | 0").effects == ()


def test_a_misspelt_column_is_told_its_neighbour():
    with pytest.raises(TableInvalid, match=r"did you mean ln_dkf_net[?] Else join a table with ln_dkf_ney"):
        estimate(panel(), replace(OLS, exog=("ln_dkf_ney",)))
