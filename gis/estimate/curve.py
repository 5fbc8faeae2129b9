"""One coefficient, many times: under every variant of the data and in every year.

In: frames and models. Out: tidy frames and plots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import GisError, OptionInvalid
from gis.estimate.fit import estimate
from gis.estimate.fixed_effects import LibraryMissing
from gis.estimate.inference import CLUSTERINGS, Clustering
from gis.estimate.models import Model
from gis.estimate.results import Estimate
from gis.estimate.spread import Spread
from gis.tables import COLUMNS, ESTIMATE_CURVE, atomic_path

if TYPE_CHECKING:
    import pandas as pd

NOT_ESTIMATED = "not estimated"
"""How the note of a row without a coefficient begins."""


def specification_curve(
    variants: Mapping[str, Any],
    models: Iterable[Model],
    term: str,
    *,
    spread: Callable[[pd.DataFrame, Estimate], Spread | str] | None = None,
) -> pd.DataFrame:
    """Estimate every model on every variant of the panel and collect one coefficient.

    Parameters
    ----------
    variants : name -> DataFrame, or name -> function that returns one (so that one panel is in memory at a time)
        Measures, presets, boundary vintages, versions of the instrument.
    term : regressor to collect; models without it are refused.
    spread : what gives the spread of a 2SLS estimate's endogenous coefficient over draws of its instrument, or says why
        there is none; asked where ``term`` is that coefficient.

    Returns
    -------
    DataFrame, columns of ``gis.tables.ESTIMATE_CURVE`` without those of a workspace's settings
        One row per variant and model, in the order given. What could not be made or estimated has NaN and says why in
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
        try:
            frame = source() if callable(source) else source
        except LibraryMissing:
            raise
        except GisError as error:  # a variant that cannot be made, or estimated, is a finding: the others go on
            rows += [_row_without(variant, model, term, error) for model in chosen]
            continue
        for model in chosen:
            try:
                found = estimate(frame, model)
            except LibraryMissing:
                raise
            except GisError as error:
                rows.append(_row_without(variant, model, term, error))
                continue
            row = _row_start(variant, model, term) | _curve_row(found, term)
            rows.append(
                row | (_spread_row(spread(frame, found), row["notes"]) if spread and term in model.endog else {})
            )
    columns = [c for c in ESTIMATE_CURVE.columns if c not in ESTIMATE_CURVE.optional]
    numbers = [c for c in columns if COLUMNS[c].dtype == "float64"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, np.float64))


def _needs(model: Model, term: str) -> None:
    if term not in model.terms:
        raise OptionInvalid(
            f"model {model.name} has no term {term}", where=model.formula, mend=f"one of {', '.join(model.terms)}"
        )


def _row_start(variant: str, model: Model, term: str) -> dict[str, Any]:
    named = {"variant": variant, "model": model.name, "term": term, "estimator": "2sls" if model.endog else "fe"}
    return named | {"n_obs": 0, "n_pairs": 0, "n_draws": 0}


def _row_without(variant: str, model: Model, term: str, error: GisError) -> dict[str, Any]:
    return _row_start(variant, model, term) | {"notes": f"{NOT_ESTIMATED}: {error.what}"}


def _curve_row(found: Estimate, term: str) -> dict[str, Any]:
    row: dict[str, Any] = {"n_obs": found.n, "n_pairs": found.n_pairs, "notes": "; ".join(found.notes)}
    if found.strength:
        row |= {f"kp_f_{c}": f for c, f in found.strength.rank_f.items()}
    if term in found.main.terms:  # else the effects absorbed it, and the notes say so
        at = found.main.at(term)
        row["coef"] = found.main.coef[at]
        for c in CLUSTERINGS:
            low, high = found.main.interval(c)[at]
            row |= {f"se_{c}": found.main.se(c)[at], f"p_{c}": found.main.p(c)[at]}
            row |= {f"ci_low_{c}": low, f"ci_high_{c}": high}
    return row


def _spread_row(drawn: Spread | str, notes: str) -> dict[str, Any]:
    if isinstance(drawn, str):
        return {"notes": "; ".join(text for text in (notes, drawn) if text)}
    low, _, high = drawn.percentiles()
    return {
        "coef_sd_draws": drawn.sd, "coef_low_draws": low, "coef_high_draws": high, "n_draws": drawn.draws.size
    }  # fmt: skip


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
    """Draw a specification curve: coefficients from low to high with intervals, named by variant and model.

    Least squares and 2SLS have axes of their own, as their intervals differ in width. An interval far wider than the
    others runs out of the picture. What was not estimated is named below. The row of a workspace's own settings is
    drawn in colour. Letters that fonts may lack are not drawn: such a variant or model is called by its number.
    """
    shown = curve.assign(label=_labels(curve)).sort_values("coef", ignore_index=True)  # NaN come last
    parts = [(name, part[::-1]) for name in ("fe", "2sls") if len(part := shown[shown["estimator"] == name])]
    heights = [len(part) for _, part in parts]
    figure, every = _figure(9.0, 1.2 + 0.7 * len(parts) + 0.24 * sum(heights), heights)
    for axes, (name, part) in zip(every, parts, strict=True):
        _draw_part(axes, part, clustering)
        axes.set_xlabel(f"{'2SLS' if name == '2sls' else 'fixed effects'}: coefficient, 95 % interval ({clustering})")
    every[0].set_title(title)
    return _save(figure, path)


def _draw_part(axes: Any, part: pd.DataFrame, clustering: Clustering) -> None:
    y = np.arange(len(part))
    coef, low, high = (part[c].to_numpy() for c in ("coef", f"ci_low_{clustering}", f"ci_high_{clustering}"))
    base = part["is_base"].to_numpy(bool) if "is_base" in part else np.zeros(len(part), bool)
    axes.axvline(0, color="0.6", linewidth=0.8)
    for some, colour in ((~base, "#1f4e79"), (base, "#c0392b")):
        errors = [(coef - low)[some], (high - coef)[some]]
        axes.errorbar(coef[some], y[some], xerr=errors, fmt="o", color=colour, markersize=4)
    half = (high - low) / 2
    if np.isfinite(half).any():
        usual = half <= 5 * np.nanmedian(half)
        ends = [*low[usual], *high[usual], *coef[np.isfinite(coef)]]
        room = 0.05 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.set_yticks(y, part["label"])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylim(-0.7, len(part) - 0.3)


def _labels(curve: pd.DataFrame) -> list[str]:
    """One label per row in letters that every font has."""
    plain = {
        c: {text: text if text.isascii() else f"{c} {k}" for k, text in enumerate(curve[c].unique(), start=1)}
        for c in ("variant", "model")
    }
    rows = zip(curve["variant"], curve["model"], curve["coef"], strict=True)
    return [
        f"{plain['variant'][v]} | {plain['model'][m]}" + (f" ({NOT_ESTIMATED})" if np.isnan(coef) else "")
        for v, m, coef in rows
    ]


def _figure(width: float, height: float, heights: list[int] | None = None) -> tuple[Any, Any]:
    """A figure and its axes: one, or one above the other with rows of the given heights."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise LibraryMissing("plots need matplotlib", mend='pip install "lightpanel[estimate]"')
    from matplotlib.figure import Figure  # no pyplot: no window, no state shared with a notebook

    figure = Figure(figsize=(width, height), layout="constrained")
    if heights is None:
        return figure, figure.subplots()
    return figure, figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]


def _save(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise OptionInvalid(f"no plot format {path.suffix!r}", where=path, mend="name it .png, .svg or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return path
