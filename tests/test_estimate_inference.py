"""Claims about coefficients and variances: against the definition, pyfixest and linearmodels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from estimate_cases import double_sum, dummies, free_of, panel, relations
from hypothesis import given
from hypothesis import strategies as st

pf = pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

from gis.demo.estimation import KnownPanel, known_panel  # noqa: E402
from gis.estimate import Model, estimate, model_from_formula, named_models  # noqa: E402
from gis.estimate.design import design_from_frame, without_singletons  # noqa: E402
from gis.estimate.inference import CLUSTERINGS, SANDWICHES, meats, small_sample  # noqa: E402

NET = "ln_dkf_net"
OLS = Model("ols", "bal", ("ln_dkf_net", "hsr", "ts"))


@pytest.mark.parametrize("clustering", SANDWICHES)
def test_standard_errors_are_the_double_sum_over_related_rows(clustering):
    frame = panel(8, 4)
    found = estimate(frame, OLS)
    clean = free_of(
        frame[["bal", *OLS.exog]].to_numpy(float), dummies(frame["pair_id"].to_numpy(), frame["year"].to_numpy())
    )
    y, x = clean[:, 0], clean[:, 1:]
    bread = np.linalg.inv(x.T @ x)
    coef = bread @ x.T @ y
    covariance = bread @ double_sum(x * (y - x @ coef)[:, None], relations(frame)[clustering]) @ bread
    n, k = x.shape
    groups = {
        "pair": frame["pair_id"].nunique(),
        "city_two_way": min(frame["city_i"].nunique(), frame["city_j"].nunique()),
        "dyadic": 8,
    }[clustering]
    factor = groups / (groups - 1) * (n - 1) / (n - k - frame["year"].nunique())
    assert found.main.coef == pytest.approx(coef, rel=1e-8)  # METHOD 6.2: coefficients to 1e-8
    expected = np.sqrt(np.where(np.diag(covariance) > 0, np.diag(covariance), np.nan) * factor)
    assert found.main.se(clustering) == pytest.approx(expected, rel=1e-7, nan_ok=True)  # of two demeaning methods


def test_pyfixest_agrees_on_coefficients_errors_and_r2():
    frame = panel()
    found = estimate(frame, OLS)
    peer = pf.feols("bal ~ ln_dkf_net + hsr + ts | pair_id + year", frame, vcov={"CRV1": "pair_id"})
    assert found.main.coef == pytest.approx(peer.coef()[list(OLS.exog)].to_numpy(), rel=1e-8)  # METHOD 6.2
    assert found.main.se() == pytest.approx(peer.se()[list(OLS.exog)].to_numpy(), rel=5e-5)  # METHOD 6.2
    assert found.r2 == pytest.approx(peer._r2, rel=1e-9)  # two orders of summation
    assert found.r2_within == pytest.approx(peer._r2_within, rel=1e-8)  # and pyfixest's looser demeaning


def test_our_sandwich_is_pyfixests_by_pair_and_by_both_cities():
    from gis.estimate.fixed_effects import fit_pyfixest, own_covariances
    from gis.estimate.within import within_from_design

    design = design_from_frame(panel(), OLS)
    within = within_from_design(design)
    fit = fit_pyfixest(design, within)
    own = own_covariances(design, within, fit.residuals)
    for clustering in ("pair", "city_two_way"):
        assert own[clustering] == pytest.approx(fit.covariances[clustering], rel=1e-6)  # two demeaning methods


def test_linearmodels_agrees_when_it_counts_effects_as_we_do():
    from linearmodels.panel import PanelOLS

    frame = panel().set_index(["pair_id", "year"])
    found = estimate(panel(), OLS)
    model = PanelOLS(frame["bal"], frame[list(OLS.exog)], entity_effects=True, time_effects=True)
    peer = model.fit(
        cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False, debiased=True, group_debias=True
    )
    assert found.main.coef == pytest.approx(peer.params.to_numpy(), rel=1e-8)  # METHOD 6.2
    n, k = found.n, 3
    # linearmodels counts no effects at all; reghdfe and fixest count those of the years. All else is the same factor:
    # its debiased n / (n - k) times its group debias G/(G-1) (n-1)/n.
    ratio = np.sqrt((n - k) / (n - k - 5))
    assert found.main.se() == pytest.approx(peer.std_errors.to_numpy() * ratio, rel=1e-8)  # METHOD 6.2 asks for 5e-5


@pytest.mark.parametrize("formula", ["bal ~ ts | year", "bal ~ ts", "bal ~ ts | pair_id", "bal ~ ts | pair_id + year"])
def test_small_sample_factors_are_pyfixests(formula):
    frame = panel()
    design = design_from_frame(frame, model_from_formula("m", formula))
    peer = pf.feols(formula, frame, vcov={"CRV1": "pair_id"})
    terms = 1  # without effects pyfixest counts the intercept as a regressor and we as an effect
    assert small_sample(design, terms, "pair") == pytest.approx(
        float(np.ravel(peer._ssc)[0]), rel=1e-12
    )  # same formula


def test_dyadic_is_two_way_when_no_city_changes_its_place():
    # Cities split into those that are always first and those that are always second: then both definitions agree.
    frame = panel()
    codes = sorted(frame["city_i"].astype(str).unique())
    first = set(codes[:7])
    two_sided = frame[frame["city_i"].isin(first) & ~frame["city_j"].isin(first)]
    design = design_from_frame(two_sided, OLS)
    found = meats(np.random.default_rng(0).normal(size=(design.n_pairs, 2)), design)
    assert found["dyadic"] == pytest.approx(found["city_two_way"], rel=1e-12)  # the same sums in another order


@given(st.permutations(range(8)))
def test_renaming_cities_changes_no_dyadic_variance_and_may_change_the_two_way_one(order):
    frame = known_panel(KnownPanel(n_cities=8, n_years=3), 1)
    codes = np.array(sorted(set(frame["city_i"].astype(str)) | set(frame["city_j"].astype(str))))
    to = dict(zip(codes, codes[list(order)], strict=True))
    i, j = frame["city_i"].astype(str).map(to), frame["city_j"].astype(str).map(to)
    renamed = frame.assign(city_i=np.minimum(i, j), city_j=np.maximum(i, j))
    model = Model("m", "bal", ("ts",))
    designs = [design_from_frame(f, model) for f in (frame, renamed)]
    by_old_pair = np.random.default_rng(0).normal(size=(designs[0].n_pairs, 2))
    by_new_pair = np.empty_like(by_old_pair)
    by_new_pair[designs[1].pair] = by_old_pair[designs[0].pair]  # rows stay in their places, pairs get other codes
    before, after = (meats(s, d) for s, d in zip((by_old_pair, by_new_pair), designs, strict=True))
    assert after["dyadic"] == pytest.approx(before["dyadic"], rel=1e-9)  # sums in another order
    assert after["pair"] == pytest.approx(before["pair"], rel=1e-9)  # sums in another order


@pytest.mark.parametrize("power", [-40, 40])  # yuan of a country: without scaling, never demeaned to the tolerance
@pytest.mark.parametrize("iv", [False, True], ids=["least squares", "2SLS"])
def test_scaling_the_outcome_scales_its_coefficients_and_nothing_else(iv, power):
    model = Model("m", "bal", ("ts",) if iv else (NET, "ts"))
    if iv:
        model = replace(model, endog=(NET,), instruments=("iv_hist_tel",))
    frame, factor = panel(), 2.0**power
    a, b = estimate(frame, model), estimate(frame.assign(bal=frame["bal"] * factor), model)
    assert b.coef(NET) == a.coef(NET) * factor  # a power of two changes no digit
    assert [b.se(NET, c) for c in CLUSTERINGS] == [a.se(NET, c) * factor for c in CLUSTERINGS]
    assert (b.r2, b.r2_within) == (a.r2, a.r2_within)
    if a.strength is not None and b.strength is not None:
        ends = [np.array(one.strength.anderson_rubin["pair"]) for one in (a, b)]
        assert ends[1].tolist() == (ends[0] * factor).tolist()


def test_scaling_a_regressor_scales_its_coefficient_and_nothing_else():
    frame = panel()
    (model,) = named_models("iv_telegraph")
    small = frame.assign(iv_hist_tel=frame["iv_hist_tel"] * 1e-9)
    a, b = estimate(frame, model), estimate(small, model)
    assert a.strength is not None
    assert b.strength is not None
    assert b.coef("ln_dkf_net") == pytest.approx(a.coef("ln_dkf_net"), rel=1e-9)  # 1e-9 is no power of two
    assert b.strength.rank_f["pair"] == pytest.approx(a.strength.rank_f["pair"], rel=1e-9)  # likewise
    assert b.further[0].coef[0] == pytest.approx(a.further[0].coef[0] * 1e9, rel=1e-9)  # likewise


def test_singletons_are_dropped_round_by_round_and_counted():
    # a: alone in pair 9. b: alone in year 3 once a is gone. c: alone in pair 8 once b is gone.
    pair = np.array([9, 8, 8, 1, 1, 2, 2])
    year = np.array([3, 3, 1, 1, 2, 1, 2])
    codes = tuple(np.unique(v, return_inverse=True)[1] for v in (pair, year))
    inside, rounds = without_singletons(codes, 7)
    assert inside.tolist() == [False, False, False, True, True, True, True]
    assert rounds == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=25))
def test_no_singleton_is_left_and_no_more_rows_go_than_must(rows):
    a, b = (np.unique(v, return_inverse=True)[1] for v in np.array(rows).T)
    inside, _ = without_singletons((a, b), len(rows))
    left = list(range(len(rows)))
    while True:  # the definition, one row at a time
        alone = [r for r in left if sum(a[q] == a[r] for q in left) == 1 or sum(b[q] == b[r] for q in left) == 1]
        if not alone:
            break
        left.remove(alone[0])
    assert np.flatnonzero(inside).tolist() == left


def test_singletons_move_no_coefficient_and_leave_the_count():
    frame = panel()
    extra = frame.groupby("pair_id").head(1).assign(pair_id=lambda f: f["pair_id"] + 10**12)
    extra = extra.assign(city_i="990001", city_j="990002", bal=0.3)
    extra["city_j"] = [f"99{k:04d}" for k in range(len(extra))]
    both = pd.concat([frame.astype({"city_i": str, "city_j": str}), extra], ignore_index=True)
    a, b = estimate(frame, OLS), estimate(both, OLS)
    assert b.n_singletons == a.n_singletons + len(extra)
    assert (b.n, b.n_pairs) == (a.n, a.n_pairs)
    assert b.main.coef == pytest.approx(a.main.coef, rel=1e-12)  # the same rows reach the arithmetic


def test_the_waterfall_accounts_for_every_row():
    frame = panel().copy()
    frame.loc[[0, 1], "bal"] = np.nan
    frame.loc[[1, 2, 3], "ts"] = np.nan
    found = estimate(frame, replace(OLS, where="year > 2001"))
    left = len(frame)
    for step in found.waterfall[1:]:
        assert step.left == left - step.dropped
        left = step.left
    assert left == found.n
    assert [s.what.split()[0] for s in found.waterfall[1:]] == ["not", "bal", "ts", "singletons"]
    assert found.waterfall[1].dropped == (frame["year"] <= 2001).sum()


def test_marginal_effects_are_the_regression_re_centred():
    frame = panel()
    (model,) = named_models("moderator:compat_kno")
    found = estimate(frame, model)
    middle = found.marginals[1]
    centred = frame.assign(m0=frame["compat_kno"] - middle.value)
    again = estimate(centred, Model("c", "bal", ("ln_dkf_net", "ln_dkf_net:m0", "m0", "hsr", "ts", "ipp")))
    assert middle.percentile == 50
    assert again.coef("ln_dkf_net") == pytest.approx(middle.effect, rel=1e-8)  # METHOD 6.2
    for clustering in CLUSTERINGS:
        assert again.se("ln_dkf_net", clustering) == pytest.approx(middle.se[clustering], rel=1e-6)  # as above
