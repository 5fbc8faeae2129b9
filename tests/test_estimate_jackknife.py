"""Claims about leaving out one city at a time: against the estimation without each city, and what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from estimate_cases import double_sum, dummies, free_of, panel, relations
from scipy import stats

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

from gis.demo.estimation import KnownPanel, known_panel
from gis.estimate import Model, estimate

NET = "ln_dkf_net"
OLS = Model("ols", "bal", (NET, "hsr", "ts"))
ONE = Model("one", "bal", ("hsr", "ts"), endog=(NET,), instruments=("iv_hist_tel",))
BOTH = replace(ONE, name="both", instruments=("iv_hist_tel", "iv_1984_tel"))


def cities(frame):
    return frame["city_i"].astype(str).to_numpy(), frame["city_j"].astype(str).to_numpy()


def roster(frame):
    return sorted(set(np.concatenate(cities(frame))))


def by_definition(frame, model):
    """Coefficients, their linear weights on rows, and residuals, from dummies and normal equations."""
    of = {"pair_id": frame["pair_id"].to_numpy(), "year": frame["year"].to_numpy()}
    columns = [model.outcome, *model.terms, *model.instruments]
    clean = free_of(frame[columns].to_numpy(float), dummies(*(of[e] for e in model.effects)))
    k, n_endog = len(model.terms), len(model.endog)
    y, x = clean[:, 0], clean[:, 1 : 1 + k]
    z = np.column_stack([clean[:, 1 + k :], x[:, n_endog:]]) if n_endog else x
    fitted = z @ np.linalg.lstsq(z, x, rcond=None)[0]
    weights = fitted @ np.linalg.inv(fitted.T @ fitted)
    return weights.T @ y, weights, y - x @ (weights.T @ y)


@pytest.mark.parametrize("effects", [("pair_id", "year"), ("year",), ("pair_id",)], ids="+".join)
@pytest.mark.parametrize("model", [OLS, ONE, BOTH], ids=lambda m: m.name)
def test_the_jackknife_is_the_whole_estimation_without_each_city(model, effects):
    frame, model = panel(12, 4), replace(model, effects=effects)  # a seventh of the rows is missing
    whole, weights, residuals = by_definition(frame, model)
    i, j = cities(frame)
    moves = [by_definition(frame[(i != c) & (j != c)], model)[0] - whole for c in roster(frame)]
    pairs = double_sum(weights * residuals[:, None], relations(frame)["pair"])
    expected = 11 / 12 * sum(np.outer(m, m) for m in moves) - pairs
    found = estimate(frame, model).main.covariances["jackknife"]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6 * np.abs(expected).max())  # demeaned two ways


@pytest.mark.parametrize("model", [ONE, BOTH], ids=lambda m: m.name)
def test_the_jackknifed_anderson_rubin_set_ends_where_the_regression_starts_to_reject(model):
    frame = panel(40, 5)
    found = estimate(frame, model)
    assert found.strength is not None
    terms, k = (*model.instruments, *model.exog), len(model.instruments)
    ends = [e for region in found.strength.anderson_rubin["jackknife"] or () for e in region if np.isfinite(e)]
    assert ends
    degrees = min(found.further[0].degrees["jackknife"][:k])
    for end in ends:
        tested = frame.assign(left=frame["bal"] - end * frame[NET])
        regression = estimate(tested, Model("ar", "left", terms))
        assert regression.main.terms == terms
        v = regression.main.covariances["jackknife"][:k, :k]
        coef = regression.main.coef[:k]
        wald = coef @ np.linalg.solve(v, coef)
        assert wald == pytest.approx(k * stats.f.ppf(0.95, k, degrees), rel=1e-5)  # a root of a polynomial


def test_a_first_stage_that_one_city_holds_up_gives_a_jackknife_that_this_city_is():
    # An instrument shifted until its first stage, without the pairs of one city, is a ten-thousandth of itself.
    frame = panel(14, 5)
    i, j = cities(frame)
    city = roster(frame)[0]
    rest = frame[(i != city) & (j != city)]
    terms = ["iv_hist_tel", NET, "hsr", "ts"]
    clean = free_of(rest[terms].to_numpy(float), dummies(rest["pair_id"].to_numpy(), rest["year"].to_numpy()))
    z, x = free_of(clean[:, :2], clean[:, 2:]).T
    shifted = frame.assign(iv_hist_tel=frame["iv_hist_tel"] - 0.9999 * (z @ x) / (x @ x) * frame[NET])
    whole, weights, residuals = by_definition(shifted, ONE)
    moves = np.array([by_definition(shifted[(i != c) & (j != c)], ONE)[0][0] for c in roster(frame)]) - whole[0]
    pairs = double_sum(weights[:, :1] * residuals[:, None], relations(frame)["pair"]).item()
    found = estimate(shifted, ONE)
    assert moves[0] ** 2 > 0.99 * moves @ moves
    expected = 13 / 14 * moves @ moves - pairs
    assert found.main.covariances["jackknife"][0, 0] == pytest.approx(expected, rel=1e-5)  # demeaned two ways
    again = estimate(shifted.sample(frac=1, random_state=1).reset_index(drop=True), ONE)
    assert again.se(NET, "jackknife") == pytest.approx(found.se(NET, "jackknife"), rel=1e-8)  # sums in another order


def test_a_regressor_of_all_pairs_is_carried_by_all_cities_and_one_of_a_city_by_few():
    rng = np.random.default_rng(4)
    frame = known_panel(KnownPanel(n_cities=10, n_years=40), 0)
    noise = rng.normal(size=len(frame))
    on_one = (frame["city_i"].astype(str) == "110000").to_numpy(float)
    frame = frame.assign(even=noise, one=noise * on_one)
    even, one = (estimate(frame, Model("m", "bal", (name,))) for name in ("even", "one"))
    assert even.n_cities_effective == pytest.approx(10, rel=0.02)  # 9 pairs of 40 draws to a city
    # City 0 carries half of all, the other nine an eighteenth each: 1 / (1/4 + 9/324).
    assert one.n_cities_effective == pytest.approx(1 / (1 / 4 + 9 / 324), rel=0.05)  # as above
    assert one.main.degrees["jackknife"][0] == pytest.approx(one.n_cities_effective - 1)
    assert one.main.degrees["dyadic"][0] == 9


def test_a_regressor_that_one_city_holds_alone_has_no_jackknife_and_a_note():
    frame = panel()
    on_one = (frame["city_i"].astype(str) == roster(frame)[0]).to_numpy(float)
    found = estimate(frame.assign(one=frame["ts"] * on_one), replace(OLS, exog=(NET, "one")))
    assert np.isnan(found.main.se("jackknife")).all()
    assert not np.isnan(found.se(NET, "dyadic"))
    assert any("no jackknife standard error for ln_dkf_net, one: without one of its cities" in n for n in found.notes)
    assert np.isnan(found.main.interval("jackknife")).all()


def test_scaling_a_regressor_scales_its_jackknife():
    frame = panel()
    a = estimate(frame, ONE)
    b = estimate(frame.assign(iv_hist_tel=frame["iv_hist_tel"] * 1e-9, ln_dkf_net=frame[NET] * 8), ONE)
    assert b.se(NET, "jackknife") * 8 == pytest.approx(a.se(NET, "jackknife"), rel=1e-8)  # 1e-9 is no power of two
    assert b.main.degrees["jackknife"] == pytest.approx(a.main.degrees["jackknife"], rel=1e-8)  # likewise
