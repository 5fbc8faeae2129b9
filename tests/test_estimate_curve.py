"""One coefficient many times: variants, years, draws of the instrument, and their plots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from estimate_cases import panel

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate import (
    Model,
    estimate,
    instrument_spread,
    named_models,
    plot_curve,
    plot_years,
    specification_curve,
    year_coefficients,
)
from gis.tables import ESTIMATE_CURVE, check

NET = "ln_dkf_net"
OLS = Model("ols", "bal", (NET, "ts"))
IV = Model("iv", "bal", ("ts",), endog=(NET,), instruments=("iv_hist_tel",))


def test_the_curve_holds_every_variant_and_model_and_says_what_failed():
    frame = panel()
    variants = {"all": frame, "late": lambda: frame[frame["year"] > 2002], "no office": frame.assign(iv_hist_tel=0.0)}
    curve = specification_curve(variants, (OLS, IV), NET)
    check(ESTIMATE_CURVE.with_columns(curve.columns), curve)
    assert list(zip(curve["variant"], curve["model"], strict=True)) == [
        (v, m) for v in ("all", "late", "no office") for m in ("ols", "iv")
    ]
    assert curve["coef"].iloc[0] == estimate(frame, OLS).coef(NET)
    assert np.isnan(curve["coef"].iloc[5])
    assert "not estimated: instrument iv_hist_tel: it is 0" in curve["notes"].iloc[5]
    with pytest.raises(OptionInvalid, match=f"one of {NET}, ts"):
        specification_curve(variants, (OLS,), "hsr")


def test_year_coefficients_are_separate_regressions_when_nothing_is_shared():
    # Without pair effects and with every regressor differing by year, each year is a regression of its own.
    frame = panel()
    model = Model("pooled", "bal", (NET,), effects=("year",))
    found = year_coefficients(frame, model, NET).set_index("year")
    for year, rows in frame.groupby("year"):
        x, y = rows[NET] - rows[NET].mean(), rows["bal"] - rows["bal"].mean()
        assert found.loc[year, "coef"] == pytest.approx((x @ y) / (x @ x), rel=1e-9)  # the same in closed form
    with pytest.raises(OptionInvalid, match="ask for its reduced form"):
        year_coefficients(frame, IV, NET)


def city_draws(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    cities = sorted(set(frame["city_i"].astype(str)) | set(frame["city_j"].astype(str)))
    rng = np.random.default_rng(1)
    roots = [(d, c, r) for d in range(1, n + 1) for c, r in zip(cities, rng.poisson(4, len(cities)) / 50, strict=True)]
    return pd.DataFrame(roots, columns=["draw", "city_code", "share_root"])


def test_the_spread_is_the_whole_estimation_with_every_draw():
    # A series far from 0: what demeaning leaves in the outcome meets its level, not its variation.
    frame = panel().assign(national_net=lambda f: 1000.0 + (f["year"] - 2000) ** 1.5)
    draws = city_draws(frame, 3)
    found = instrument_spread(frame, IV, draws)
    for k, (_, rows) in enumerate(draws.groupby("draw")):
        root = rows.set_index("city_code")["share_root"]
        share = frame["city_i"].astype(str).map(root) * frame["city_j"].astype(str).map(root)
        again = estimate(frame.assign(iv_hist_tel=share * frame["national_net"]), IV)
        assert found.draws[k] == pytest.approx(again.coef(NET), rel=1e-9)  # demeaned by two libraries
    assert found.coef == estimate(frame, IV).coef(NET)
    assert found.sd == pytest.approx(np.std(found.draws, ddof=1), rel=1e-12)  # its definition
    assert found.total_se**2 == pytest.approx(found.se**2 + (1 + 1 / 3) * found.sd**2, rel=1e-12)  # its definition
    by_pair = pd.concat(
        frame.drop_duplicates("pair_id")[["pair_id"]].assign(
            draw=d,
            iv_hist_tel=lambda f, rows=rows: [
                rows.set_index("city_code")["share_root"][f"{p // 10**6:06d}"]
                * rows.set_index("city_code")["share_root"][f"{p % 10**6:06d}"]
                for p in f["pair_id"]
            ],
        )
        for d, rows in draws.groupby("draw")
    )
    assert instrument_spread(frame, IV, by_pair).draws == pytest.approx(found.draws, rel=1e-12)  # the same shares


def test_the_spread_of_an_estimate_that_is_there_estimates_nothing_again(monkeypatch):
    frame = panel().assign(national_net=lambda f: 1.0 + (f["year"] - 2000) ** 1.5)
    draws, done = city_draws(frame, 3), estimate(frame, IV)
    expected = instrument_spread(frame, IV, draws)
    monkeypatch.setattr("gis.estimate.spread.estimate", None)
    found = instrument_spread(frame, IV, draws, found=done)
    assert found.draws.tolist() == expected.draws.tolist()
    assert (found.coef, found.se) == (expected.coef, expected.se)


def test_draws_that_cannot_be_used_are_refused():
    frame = panel().assign(national_net=1.0 + (panel()["year"] - 2000))
    draws = city_draws(frame, 2)
    with pytest.raises(OptionInvalid, match="draws are for one of each"):
        instrument_spread(frame, replace(IV, instruments=("iv_hist_tel", "iv_1984_tel")), draws)
    with pytest.raises(TableInvalid, match="let every draw hold every city"):
        instrument_spread(frame, IV, draws[draws["city_code"] != "110000"])
    with pytest.raises(TableInvalid, match="keep one row for each draw and city_code"):
        instrument_spread(frame, IV, pd.concat([draws, draws.iloc[:1]]))
    with pytest.raises(TableInvalid, match="200 times or more"):
        instrument_spread(frame, IV, draws[draws["draw"] == 1])
    with pytest.raises(TableInvalid, match="give the table office_draw"):
        instrument_spread(frame, IV, draws.drop(columns="draw"))
    with pytest.raises(TableInvalid, match="join the table pair_instrument"):
        instrument_spread(panel(), IV, draws)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_plots_are_written_in_the_format_of_their_name(ending, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra estimate is not installed")
    frame = panel()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    years = plot_years(year_coefficients(frame, OLS, NET), tmp_path / f"years.{ending}", title="net")
    curve = plot_curve(specification_curve({"all": frame}, (OLS, IV), NET), tmp_path / f"curve.{ending}")
    for path in (years, curve):
        assert path.read_bytes().startswith(starts)


def test_an_unknown_plot_format_is_refused_and_leaves_nothing(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra estimate is not installed")
    with pytest.raises(OptionInvalid, match=r"name it .png, .svg or .pdf"):
        plot_years(year_coefficients(panel(), OLS, NET), tmp_path / "years.bmp")
    assert list(tmp_path.iterdir()) == []


def test_named_models_hold_the_columns_of_the_paper():
    (iv,) = named_models("iv_both")
    assert iv.formula == "bal ~ hsr + ts + ipp | pair_id + year | ln_dkf_net ~ iv_hist_tel + iv_1984_tel"
