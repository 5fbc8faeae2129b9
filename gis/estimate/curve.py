"""One coefficient, many times: under every variant of the data, in every year, with every draw of the instrument.

In: frames and models. Out: tidy frames and plots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import GisError, OptionInvalid, TableInvalid
from gis.estimate.design import design_from_frame
from gis.estimate.fit import estimate
from gis.estimate.fixed_effects import LibraryMissing
from gis.estimate.inference import CLUSTERINGS, Clustering
from gis.estimate.models import Model
from gis.estimate.results import Estimate
from gis.estimate.within import demean, within_from_design
from gis.tables import ESTIMATE_CURVE, atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Frame = "pd.DataFrame | Callable[[], pd.DataFrame]"


def specification_curve(variants: Mapping[str, Any], models: Iterable[Model], term: str) -> pd.DataFrame:
    """Estimate every model on every variant of the panel and collect one coefficient.

    Parameters
    ----------
    variants : name -> DataFrame, or name -> function that returns one (so that one panel is in memory at a time)
        Measures, presets, boundary vintages, versions of the instrument.
    term : regressor to collect; models without it are refused.

    Returns
    -------
    DataFrame, columns of ``gis.tables.ESTIMATE_CURVE``
        One row per variant and model, in the order given. What could not be estimated has NaN and says why in
        ``notes``.

    Raises
    ------
    OptionInvalid
        A model does not hold the term.
    """
    import pandas as pd

    chosen = tuple(models)
    for model in chosen:
        _needs(model, term)
    rows = []
    for variant, source in variants.items():
        frame = source() if callable(source) else source
        for model in chosen:
            row: dict[str, Any] = {"variant": variant, "model": model.name, "term": term}
            try:
                found = estimate(frame, model)
            except LibraryMissing:
                raise
            except GisError as error:  # a variant that cannot carry the model is a finding, and the others go on
                rows.append({**row, "n_obs": 0, "n_pairs": 0, "notes": f"not estimated: {error.what}"})
                continue
            rows.append(row | _curve_row(found, term))
    return pd.DataFrame(rows, columns=list(ESTIMATE_CURVE.columns))


def _needs(model: Model, term: str) -> None:
    if term not in model.terms:
        raise OptionInvalid(
            f"model {model.name} has no term {term}", where=model.formula, mend=f"one of {', '.join(model.terms)}"
        )


def _curve_row(found: Estimate, term: str) -> dict[str, Any]:
    row: dict[str, Any] = {"n_obs": found.n, "n_pairs": found.n_pairs, "notes": "; ".join(found.notes)}
    row["kp_f_pair"] = found.strength.rank_f["pair"] if found.strength else np.nan
    if term in found.main.terms:  # else the effects absorbed it, and the notes say so
        at = found.main.at(term)
        row["coef"] = found.main.coef[at]
        for c in CLUSTERINGS:
            low, high = found.main.interval(c)[at]
            row |= {f"se_{c}": found.main.se(c)[at], f"p_{c}": found.main.p(c)[at]}
            row |= {f"ci_low_{c}": low, f"ci_high_{c}": high}
    return row


def year_coefficients(frame: pd.DataFrame, model: Model, term: str) -> pd.DataFrame:
    """Let one exogenous coefficient differ by year.

    Returns
    -------
    DataFrame
        ``year``, ``coef`` and ``se_``, ``ci_low_``, ``ci_high_`` by clustering; years of the sample only.

    Raises
    ------
    OptionInvalid
        The term is not an exogenous regressor of the model.
    """
    import pandas as pd

    if term not in model.exog:
        raise OptionInvalid(
            f"{term} is no exogenous regressor of {model.name}",
            where=model.formula,
            mend=f"one of {', '.join(model.exog)}; for an instrumented one, ask for its reduced form",
        )
    years = sorted(int(y) for y in frame["year"].dropna().unique())
    dummies = {f"in_{y}": (frame["year"] == y).astype(float) for y in years}
    present = frame[list(model.columns)].notna().all(axis=1)
    used = [y for y in years if (present & (frame["year"] == y)).any()]
    by_year = tuple(f"{term}:in_{y}" for y in used)
    wide = frame.assign(**dummies)
    found = estimate(wide, replace(model, exog=(*by_year, *(t for t in model.exog if t != term))))
    rows = []
    for year, name in zip(used, by_year, strict=True):
        if name not in found.main.terms:
            continue
        at = found.main.at(name)
        row: dict[str, Any] = {"year": year, "coef": found.main.coef[at]}
        for c in CLUSTERINGS:
            low, high = found.main.interval(c)[at]
            row |= {f"se_{c}": found.main.se(c)[at], f"ci_low_{c}": low, f"ci_high_{c}": high}
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a 2SLS coefficient moves with the draws of its instrument."""

    coef: float
    """With the instrument as it stands in the panel."""
    se: float
    """Its standard error by ``clustering``: the sampling of outcomes, the instrument taken as known."""
    clustering: Clustering
    """Of ``se``."""
    draws: Floats = field(repr=False)
    """(n_draws,) the coefficient with every draw."""
    first_stage_f: Floats = field(repr=False)
    """(n_draws,) squared t of the first stage by pair: a draw with a weak one throws the coefficient far."""

    @property
    def sd(self) -> float:
        """Standard deviation over draws: the error of the map, outcomes taken as known."""
        return float(np.std(self.draws, ddof=1))

    @property
    def total_se(self) -> float:
        """Both together: root of se^2 + (1 + 1/B) sd^2 (Rubin 1987, with draws in the place of imputations)."""
        return math.sqrt(self.se**2 + (1 + 1 / self.draws.size) * self.sd**2)

    def percentiles(self, *at: float) -> Floats:
        """Percentiles over draws; by default the 2.5th, 50th and 97.5th."""
        return np.asarray(np.percentile(self.draws, at or (2.5, 50.0, 97.5)))


def instrument_spread(
    frame: pd.DataFrame,
    model: Model,
    draws: pd.DataFrame,
    *,
    series: str | None = None,
    clustering: Clustering = "pair",
) -> Spread:
    """Estimate a 2SLS model again with every draw of its instrument.

    Parameters
    ----------
    model : one endogenous regressor and one instrument.
    draws : columns ``draw``, ``pair_id``, the instrument's name and, if it differs by year, ``year``
        Every draw holds every pair of the sample; a pair's share of a draw, or the instrument itself.
    series : column of the panel to multiply draws by that have no ``year``: the national net flow of the row.

    Raises
    ------
    OptionInvalid
        The model has another number of endogenous regressors or instruments.
    TableInvalid
        A column is missing, a pair of the sample is missing in a draw, or there are fewer than two draws.

    Notes
    -----
    Only the instrument changes, so everything else is demeaned once: with x, y and z freed of the effects and of the
    exogenous regressors, the coefficient is z'y / z'x.
    """
    if len(model.endog) != 1 or len(model.instruments) != 1:
        raise OptionInvalid(
            f"{model.name} has {len(model.endog)} endogenous regressors and {len(model.instruments)} instruments",
            where=model.formula,
            mend="draws are for one of each: iv_telegraph, for instance",
        )
    main = estimate(frame, model)
    values = _draw_values(frame, model, draws, series)
    design = design_from_frame(frame, model)
    within = within_from_design(design)
    scale = design.scales[model.endog[0]]
    coefs, strengths = [], []
    for column in values(design.pair):
        z = demean(design, column[:, None])[:, 0]
        if within.exog.shape[1]:
            z = z - within.exog @ np.linalg.lstsq(within.exog, z, rcond=None)[0]
        x, y = within.endog[:, 0], within.y
        coefs.append(float(z @ y / (z @ x)) / scale)
        pi = float(z @ x / (z @ z))
        v = x - z * pi - _fitted(within.exog, x - z * pi)
        by_pair = np.bincount(design.pair, z * v, minlength=design.n_pairs)
        strengths.append(pi**2 * float(z @ z) ** 2 / float(by_pair @ by_pair))
    return Spread(
        main.coef(model.endog[0]), main.se(model.endog[0], clustering), clustering, np.array(coefs), np.array(strengths)
    )


def _fitted(x: Floats, y: Floats) -> Floats:
    return np.asarray(x @ np.linalg.lstsq(x, y, rcond=None)[0]) if x.shape[1] else np.zeros_like(y)


def _draw_values(
    frame: pd.DataFrame, model: Model, draws: pd.DataFrame, series: str | None
) -> Callable[[Any], Iterable[Floats]]:
    """A generator of one (n,) column of the sample per draw."""
    name = model.instruments[0]
    keys = ["pair_id", "year"] if "year" in draws else ["pair_id"]
    missing = [c for c in ("draw", *keys, name) if c not in draws] + [c for c in [series] if c and c not in frame]
    if missing:
        raise TableInvalid(
            f"no column {', '.join(missing)}", where="draws", mend=f"draws hold draw, pair_id, {name} and perhaps year"
        )
    if draws["draw"].nunique() < 2:
        raise TableInvalid("fewer than two draws", where="draws", mend="draw the offices again 200 times or more")
    rows = _sample_rows(frame, model)
    panel = frame.iloc[rows][["pair_id", "year", *([series] if series else [])]].reset_index(drop=True)

    def values(_: Any) -> Iterable[Floats]:
        for number, group in draws.groupby("draw", sort=True):
            joined = panel.merge(group[[*keys, name]], on=keys, how="left", validate="many_to_one")
            column = joined[name].to_numpy(dtype=np.float64, na_value=np.nan)
            if series:
                column = column * panel[series].to_numpy(dtype=np.float64)
            if np.isnan(column).any():
                raise TableInvalid(
                    f"draw {number} has no value for {int(np.isnan(column).sum())} rows of the sample",
                    where="draws",
                    mend="let every draw hold every pair; a pair without offices is 0, not missing",
                )
            spread = float(np.std(column))
            yield column / (spread if spread > 0 else 1.0)

    return values


def _sample_rows(frame: pd.DataFrame, model: Model) -> NDArray[np.int64]:
    """Positions of the sample's rows in the frame: found by letting a column of positions through the design."""
    marked = frame.assign(__row=np.arange(len(frame), dtype=np.float64))
    probe = replace(model, exog=(*model.exog, "__row"))
    design = design_from_frame(marked, probe)
    return np.asarray(np.rint(design.columns["__row"] * design.scales["__row"]), dtype=np.int64)


def plot_years(coefs: pd.DataFrame, path: str | Path, *, clustering: Clustering = "pair", title: str = "") -> Path:
    """Draw coefficients by year with their 95 % intervals; ``path`` ends in .png, .svg or .pdf."""
    figure, axes = _figure(7.0, 4.0)
    low, high = coefs[f"ci_low_{clustering}"], coefs[f"ci_high_{clustering}"]
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.errorbar(
        coefs["year"],
        coefs["coef"],
        yerr=[coefs["coef"] - low, high - coefs["coef"]],
        fmt="o",
        color="#1f4e79",
        capsize=2,
    )
    axes.set_xlabel("year")
    axes.set_ylabel("coefficient, 95 % interval")
    axes.set_title(title)
    return _save(figure, path)


def plot_curve(curve: pd.DataFrame, path: str | Path, *, clustering: Clustering = "pair", title: str = "") -> Path:
    """Draw a specification curve: coefficients from low to high with intervals, named by variant and model."""
    shown = curve.dropna(subset=["coef"]).sort_values("coef", ignore_index=True)
    figure, axes = _figure(7.0, 1.2 + 0.28 * len(shown))
    y = np.arange(len(shown))
    low, high = shown[f"ci_low_{clustering}"], shown[f"ci_high_{clustering}"]
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.errorbar(shown["coef"], y, xerr=[shown["coef"] - low, high - shown["coef"]], fmt="o", color="#1f4e79")
    axes.set_yticks(y, [f"{v} · {m}" for v, m in zip(shown["variant"], shown["model"], strict=True)])
    axes.set_xlabel("coefficient, 95 % interval")
    axes.set_title(title)
    return _save(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise LibraryMissing("plots need matplotlib", mend='pip install "lightpanel[estimate]"')
    from matplotlib.figure import Figure  # no pyplot: no window, no state shared with a notebook

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise OptionInvalid(f"no plot format {path.suffix!r}", where=path, mend="name it .png, .svg or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return path
