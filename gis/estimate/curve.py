"""One coefficient, many times: under every variant of the data and in every year.

In: frames and models. Out: tidy frames and plots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from gis.tables import ESTIMATE_CURVE, atomic_path

if TYPE_CHECKING:
    import pandas as pd


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
