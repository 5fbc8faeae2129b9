"""One coefficient under every specification: the truth is found, the base is the estimate, and nothing is dropped."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyfixest", reason="the extra estimate is not installed")

import gis
from gis.demo import write_demo
from gis.errors import ConfigInvalid, GisError, OptionInvalid
from gis.estimate import Model, estimate, specification_curve
from gis.estimate.curve import NOT_ESTIMATED, _labels
from gis.estimate.inference import CLUSTERINGS
from gis.pipeline.estimate import run_estimation
from gis.pipeline.inputs import read_inputs
from gis.pipeline.instrument import build_instrument
from gis.pipeline.panel import build_panel
from gis.pipeline.sensitivity import compare, levels_by_variant
from gis.pipeline.specification_panels import Panels, Specification, spread_of, with_option
from gis.pipeline.specifications import run_specifications, specifications
from gis.tables import ESTIMATE_CURVE, check, read_table
from gis.workspace import read_workspace

NET = "ln_dkf_net"
TRUE_NET, TRUE_SUM = 0.0222, 0.03
NET_FORMULA = f"known_net ~ {NET} | pair_id + year"
OPTIONS = ["leave_out=loo", "lag=0", "lag=2", "counts=expected"]
SUM_FORMULA = "known_sum ~ ln_dkf_htol + ln_dkf_ltoh | pair_id + year"
VINTAGE = """
[[boundaries.vintages]]
[boundaries.vintages.city]
file = "boundaries/demo_2010/city.shp"
vintage = "2010-12-31"

[boundaries.vintages.district]
file = "boundaries/demo_2010/district.shp"
vintage = "2010-12-31"

[estimate]
models = []
tables = ["known.csv"]
formulas = { net = "known_net ~ ln_dkf_net | pair_id + year" }
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A demo that has been run, whose flows follow its offices, with outcomes of known coefficients."""
    root = tmp_path_factory.mktemp("specifications") / "demo"
    write_demo(root)
    config = root / "workspace.toml"
    text = config.read_text("utf-8").replace('model = "auto" ', 'bootstrap_draws = 4\nmodel = "affine" ')
    config.write_text(text + VINTAGE, "utf-8")
    gis.run(root, threads=1)
    write_known(root)
    build_instrument(root, threads=1)
    return root


def write_known(root: Path) -> None:
    """Flows from hi to lo grow with the pair's offices; outcomes are the flows times known numbers, and noise."""
    rng = np.random.default_rng(5)
    pairs = pd.read_parquet(root / "out" / "pair_year.parquet")
    offices = pd.read_parquet(root / "out" / "city_office.parquet").set_index("city_code")["n_offices"]
    product = pairs["city_i"].astype(str).map(offices) * pairs["city_j"].astype(str).map(offices)
    pairs = pairs.assign(k=pairs["year"] - pairs["year"].min(), product=product).dropna(subset=["hi"])
    down, up = rng.poisson(5 + 3 * pairs["k"] * pairs["product"] / product.mean()), rng.poisson(5, len(pairs))
    years = pairs["year"] - 1  # a row looks at the flows of the year before
    flows = [
        pd.DataFrame({"src": pairs[a].astype(str), "dst": pairs[b].astype(str), "year": years, "n": n})
        for a, b, n in (("hi", "lo", down), ("lo", "hi", up))
    ]
    pd.concat(flows).to_csv(root / "flows" / "flows.csv", index=False)
    pair, year = (rng.normal(0.6, 0.1, n) for n in (len(pairs), 30))
    base = pair[pd.factorize(pairs["pair_id"])[0]] + year[pairs["k"]] + rng.normal(0, 0.01, len(pairs))
    htol, ltoh = np.log1p(down), np.log1p(up)
    known = {"known_net": base + TRUE_NET * (htol - ltoh), "known_sum": base + TRUE_SUM * (htol + ltoh)}
    pairs[["pair_id", "year"]].assign(**known).to_csv(root / "known.csv", index=False)


@pytest.fixture
def place(root, tmp_path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(root, tmp_path / "demo"))


@pytest.fixture(scope="module")
def net(root):
    """The curve of the net flow over some of each."""
    before = {path: path.stat().st_mtime_ns for path in (root / "out").iterdir() if path.name != "lineage.json"}
    done = run_specifications(root, levels=["true", "paper"], iv=["telegraph", *OPTIONS], threads=1)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before, "the run's results stay as they are"
    assert not list((root / ".cache").glob("specifications-*")), "the scratch folder is gone"
    return done


def configure(place: Path, old: str, new: str) -> Path:
    config = place / "workspace.toml"
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new), "utf-8")
    return place


def numbers(row: pd.Series) -> list[float]:
    return [row["coef"], row["n_obs"], *(row[f"se_{c}"] for c in CLUSTERINGS)]


def test_the_default_is_everything_the_workspace_holds(root):
    wanted, twins = specifications(read_workspace(root).config)
    base = Specification("exact/lambert", "2019-12-31")
    assert [one.name(base) for one in wanted] == [
        "base",
        "counts=expected", "national=sum_ln", "national=asinh", "national=ln1p", "lag=0", "lag=2", "leave_out=loo",
        "leave_out=loo_city", "denominator=sample", "zeros=plus1", "zeros=drop_zero",
        "exact/true", "exact/cells", "paper/lambert", "paper_both/lambert", "arcgis/lambert",
        "2010-12-31", "yearly", "crosswalk",
    ]  # fmt: skip
    assert twins == ["telegraph"]


def test_every_level_boundary_and_instrument_has_its_rows(net):
    curve = check(ESTIMATE_CURVE, net.curve)
    variants = ["base", "exact/true", "paper/lambert", "2010-12-31", "yearly", "crosswalk"]
    assert list(curve[curve["model"] == "net"]["variant"]) == variants
    iv = curve[curve["model"] == "net_iv_telegraph"]
    assert set(iv["variant"]) == {*variants, *OPTIONS}
    assert len(curve) == 2 * len(variants) + len(OPTIONS), "options of the instrument change no least squares"
    assert list(curve[curve["is_base"]]["variant"].unique()) == ["base"]
    assert iv["n_draws"].tolist() == [0 if option == "counts=expected" else 4 for option in iv["iv_option"]]
    assert read_table(ESTIMATE_CURVE, net.paths["table"])["coef"].equals(curve["coef"])
    assert pd.read_csv(net.paths["csv"])["variant"].tolist() == curve["variant"].tolist()
    assert net.paths["plot"].read_bytes().startswith(b"\x89PNG")
    assert f"fixed effects: {len(variants)} specifications, {len(variants)} estimated, 0 not" in net.text
    assert net.text.count("\n| ") == len(curve) + 1
    assert "estimate_curve.parquet" in (net.workspace.out / "lineage.json").read_text("utf-8")


def test_the_base_is_the_estimate_to_the_last_bit(root, net):
    formulas = [NET_FORMULA, f"known_net ~ 1 | pair_id + year | {NET} ~ iv_hist_tel"]
    done = run_estimation(root, formulas=formulas)
    base = net.curve[net.curve["is_base"]].set_index("model")
    for name, found in zip(("net", "net_iv_telegraph"), done.estimates, strict=True):
        expected = [found.coef(NET), found.n, *(found.se(NET, c) for c in CLUSTERINGS)]
        assert numbers(base.loc[name]) == expected
    iv = base.loc["net_iv_telegraph"]
    assert iv["kp_f_dyadic"] == done.estimates[1].strength.rank_f["dyadic"]
    assert iv["coef_sd_draws"] == done.spreads["model2"].sd
    assert iv["n_draws"] == 4


def test_the_truth_is_found_wherever_no_pair_changes_its_order(root, net):
    levels = levels_by_variant(read_inputs(read_workspace(root)), ["exact", "paper"], threads=1)
    flips = compare(levels).set_index("level_variant")["n_flipped"]
    same = {"base", *flips.index[flips == 0], *net.curve["iv_option"]}
    rows = net.curve[net.curve["variant"].isin(same)]
    assert {"paper/lambert", "leave_out=loo", "lag=2"} <= set(rows["variant"])
    away = (rows["coef"] - TRUE_NET).abs() / rows["se_pair"]
    assert away.max() < 3.5, rows.assign(away=away)[["variant", "model", "coef", "se_pair", "away"]]
    assert (rows["se_pair"] < TRUE_NET / 5).all(), "else the truth would be found by being vague"


def test_a_truth_without_an_order_is_found_in_every_exact_variant(root):
    exact, bounds = ["lambert", "true", "cells"], ["2010-12-31"]
    done = run_specifications(root, term="ln_dkf_htol", formulas=[SUM_FORMULA], levels=exact, boundaries=bounds,
                              iv=["none"], threads=1)  # fmt: skip
    rows = done.curve
    assert list(rows["variant"]) == ["base", "exact/true", "exact/cells", "2010-12-31"]
    assert ((rows["coef"] - TRUE_SUM).abs() < 3.5 * rows["se_pair"]).all()
    assert (rows["se_pair"] < TRUE_SUM / 5).all()


@pytest.mark.parametrize(
    ("old", "new", "variant"),
    [
        ('measure = "lambert"', 'measure = "true"', "exact/true"),
        ("[instrument]\n", "[instrument]\nlag = 0\n", "lag=0"),
        ("[[boundaries.vintages]]", '[boundaries]\nmode = "yearly"\n\n[[boundaries.vintages]]', "yearly"),
    ],
)
def test_a_variant_is_the_base_of_a_workspace_with_those_settings(place, net, old, new, variant):
    there = configure(place, old, new)
    done = run_specifications(there, levels=["none"], boundaries=["none"], iv=["telegraph"], threads=1)
    for model, row in done.curve.set_index("model").iterrows():
        if variant in set(net.curve.loc[net.curve["model"] == model, "variant"]):
            own = net.curve[(net.curve["variant"] == variant) & (net.curve["model"] == model)].iloc[0]
            assert numbers(row) == numbers(own)
            assert row["is_base"]


def test_variables_of_the_panel_step_are_made_anew(place):
    configure(place, "[estimate]", '[flows]\nfile = "flows/flows.csv"\ndrop_unknown = true\n\n[covariates]\n'
              'distance = { points = "polygon" }\n\n[moderators]\ngap_light = true\n\n[estimate]')  # fmt: skip
    build_panel(place)
    formula = f"known_net ~ {NET} + gap_light + dist_km:gap_light | pair_id + year"
    expected = run_estimation(place, formulas=[formula]).estimates[0]
    done = run_specifications(place, formulas=[formula], levels=["true"], boundaries=["none"], iv=["none"], threads=1)
    assert done.curve["coef"].iloc[0] == expected.coef(NET)
    assert done.curve["coef"].iloc[1] != expected.coef(NET), "gap_light is of the variant's own levels"


def test_what_cannot_be_made_keeps_its_row_and_its_reason(place):
    configure(place, "boundaries/demo_2010/city.shp", "boundaries/lost.shp")
    done = run_specifications(place, levels=["none"], iv=["telegraph"], threads=1)
    lost = done.curve[done.curve["coef"].isna()]
    assert set(lost["variant"]) == {"2010-12-31", "yearly", "crosswalk"}
    assert len(lost) == 6
    assert lost["notes"].str.startswith(f"{NOT_ESTIMATED}: ").all()
    assert lost["notes"].str.contains("there is no such boundary file").all()
    assert done.curve["coef"].notna().sum() == 2
    assert "fixed effects: 4 specifications, 1 estimated, 3 not" in done.text
    assert "yearly, net: not estimated:" in done.text


def test_a_curve_without_any_coefficient_is_refused_and_leaves_nothing(place):
    before = {path: path.stat().st_mtime_ns for path in (place / "out").iterdir()}
    with pytest.raises(OptionInvalid, match="name a model that lightpanel estimate can estimate"):
        run_specifications(place, models=["table1"], levels=["none"], boundaries=["none"], iv=["none"], threads=1)
    after = {path: path.stat().st_mtime_ns for path in (place / "out").iterdir()}
    assert after == before
    assert not list((place / ".cache").glob("specifications-*"))


@pytest.mark.parametrize(
    ("asked", "mend"),
    [
        ({"levels": ["exact/treu"]}, "did you mean exact/true"),
        ({"boundaries": ["2010-12-30"]}, "did you mean 2010-12-31"),
        ({"iv": ["leave_out=lo"]}, "did you mean leave_out=loo"),
        ({"iv": ["telephone"]}, r"did you mean telegraph\? known: telegraph, counts=expected"),
        ({"iv": ["counts=split"]}, "known: telegraph"),
        ({"term": "ln_dkf_nett"}, "did you mean ln_dkf_net"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_unknown_name_is_met_with_its_neighbours(root, asked, mend):
    with pytest.raises(OptionInvalid, match=mend):
        run_specifications(root, **asked)


def test_iv_without_an_instrument_is_refused(place):
    text = (place / "workspace.toml").read_text("utf-8")
    a, b = text.index("[instrument]"), text.index("[output]")
    (place / "workspace.toml").write_text(text[:a] + text[b:], "utf-8")
    with pytest.raises(ConfigInvalid, match="leave --iv out"):
        run_specifications(place, iv=["telegraph"])


def test_crossing_takes_every_combination(root):
    config = read_workspace(root).config
    wanted, _ = specifications(config, ["cells"], ["crosswalk"], ["telegraph", "lag=2"], cross=True)
    assert [one.name(wanted[0]) for one in wanted] == [
        "base", "lag=2", "crosswalk", "crosswalk, lag=2", "exact/cells", "exact/cells, lag=2",
        "exact/cells, crosswalk", "exact/cells, crosswalk, lag=2",
    ]  # fmt: skip


def test_a_configured_2sls_model_takes_the_place_of_its_twin(place):
    iv = f"known_net ~ 1 | pair_id + year | {NET} ~ iv_hist_tel"
    done = run_specifications(place, formulas=[NET_FORMULA, iv], levels=["none"], boundaries=["none"], iv=["telegraph"],
                              threads=1)  # fmt: skip
    assert list(done.curve["model"]) == ["model1", "model2"]


@pytest.fixture(scope="module")
def made(root):
    """The panel with the workspace's own settings."""
    panels = Panels(read_inputs(read_workspace(root)), ".cache/specifications-test", 1)
    made = panels.of(Specification("exact/lambert", "2019-12-31"))
    shutil.rmtree(root / ".cache" / "specifications-test")
    return made


@pytest.mark.parametrize("option", ["zeros=plus1", "leave_out=loo"])
def test_the_spread_is_the_whole_estimation_with_every_draw(made, option):
    model = Model("iv", "known_net", endog=(NET,), instruments=("iv_hist_tel",))
    frame, _ = with_option(made, option)
    spread = spread_of(made, frame, estimate(frame, model), option)
    draws = made.built.draws
    more = 1 if option == "zeros=plus1" else 0
    for k, counts in enumerate(draws.counts):
        n = dict(zip(draws.codes, counts + more, strict=True))
        share = frame["city_i"].astype(str).map(n) * frame["city_j"].astype(str).map(n)
        again = estimate(frame.assign(iv_hist_tel=share * frame["national_net"]), model)
        assert spread.draws[k] == pytest.approx(again.coef(NET), rel=1e-7)  # demeaned by two libraries
    done = estimate(frame, model)
    assert "one city" in spread_of(made, frame, done, "counts=expected")
    assert "drops other pairs" in spread_of(made, frame, done, "zeros=drop_zero")


IV_FORMULA = f"known_net ~ 1 | pair_id + year | {NET} ~ iv_hist_tel"


@pytest.mark.parametrize("setting", ['zeros = "plus1"', 'counts = "expected"'])
def test_the_estimate_and_the_base_of_the_curve_draw_the_same_instrument(place, setting):
    configure(place, "[instrument]\n", f"[instrument]\n{setting}\n")
    build_instrument(place, threads=1)
    done = run_estimation(place, formulas=[IV_FORMULA])
    curve = run_specifications(place, formulas=[IV_FORMULA], levels=["none"], boundaries=["none"], iv=["none"],
                               threads=1).curve.iloc[0]  # fmt: skip
    spread = done.spreads["model1"]
    if "plus1" in setting:
        assert curve["coef_sd_draws"] == spread.sd
        configure(place, setting, 'zeros = "keep"')  # the instrument beside it is still the other one
        assert run_estimation(place, formulas=[IV_FORMULA]).spreads["model1"].sd == spread.sd
    else:
        assert np.isnan(curve["coef_sd_draws"])
        assert spread in curve["notes"]
        assert f"model1: {spread}." in done.text


def test_a_variant_that_cannot_be_made_is_a_row():
    def broken() -> pd.DataFrame:
        raise GisError("no raster of 2001", mend="add it")

    row = specification_curve({"v": broken}, (Model("m", "bal", (NET,)),), NET).iloc[0]
    assert row["notes"] == f"{NOT_ESTIMATED}: no raster of 2001"
    assert np.isnan(row["coef"])
    assert row["estimator"] == "fe"


def test_labels_of_the_plot_have_letters_that_every_font_has():
    curve = pd.DataFrame({"variant": ["base", "甲"], "model": ["净流", "m"], "coef": [1.0, np.nan]})
    assert _labels(curve) == ["base | model 1", f"variant 2 | m ({NOT_ESTIMATED})"]


def test_the_command_writes_the_curve_and_refuses_its_options_alone(root):
    from typer.testing import CliRunner

    from gis.cli import app

    some = ["--level", "none", "--boundaries", "none", "--iv", "telegraph", "-q"]
    result = CliRunner().invoke(app, ["estimate", str(root), "--curve", *some])
    assert result.exit_code == 0, result.output
    assert f"# {NET} under 2 specifications" in result.stdout
    assert "estimate_curve.png" in result.stderr
    assert CliRunner().invoke(app, ["estimate", str(root), *some]).exit_code == 2
