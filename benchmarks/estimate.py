"""Time, memory, recovery and coverage of the estimation, on panels whose coefficients are known.

    python benchmarks/estimate.py full                 # the paper's size: Table 1 and 2SLS, seconds and peak memory
    python benchmarks/estimate.py ladder               # the paper's size: from a strong to no instrument
    python benchmarks/estimate.py coverage [--reps N]  # 95 % intervals against the number of cities

In: nothing. Out: tables on standard output. `full` starts a fresh process, so that nothing is compiled or cached.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gis.demo.estimation import ROWS_OF_THE_PAPER, TRUE_HTOL, TRUE_LTOH, TRUE_NET, KnownPanel, known_panel
from gis.estimate import Estimate, Model, estimate, named_models
from gis.estimate.design import design_from_frame
from gis.estimate.fit import estimate_from_fit
from gis.estimate.fixed_effects import Fit, own_covariances
from gis.estimate.inference import CLUSTERINGS, t_quantile
from gis.estimate.results import set_text
from gis.estimate.within import within_from_design

if TYPE_CHECKING:
    import pandas as pd

PAPER = KnownPanel(n_rows=ROWS_OF_THE_PAPER)
"""The paper's size: 296 cities, 19 years, 773,145 of 829,540 rows with all controls."""
LADDER = (3.0, 1.0, 0.3, 0.1, 0.03, 0.0)
"""Factors on the instruments' coefficients in the net flow."""
DESIGNS = {
    "independent": KnownPanel(n_years=6, dyadic=0.0),
    "dyadic": KnownPanel(n_years=6, dyadic=0.05),
    "2SLS": KnownPanel(n_years=6, dyadic=0.05),
    "2SLS, few": KnownPanel(n_years=6, dyadic=0.05, concentrated=True),
    "2SLS, few, strong": KnownPanel(n_years=6, dyadic=0.15, concentrated=True),
    "2SLS, few, weak": KnownPanel(n_years=6, dyadic=0.05, concentrated=True, first_stage=0.3),
}
"""Panels of the coverage study. Without 2SLS: equation (2) by least squares. few: few cities hold most offices.
strong: errors of cities are three times as large. weak: the instruments move the flow by three tenths of the usual."""
COVERAGE = (*CLUSTERINGS, "dyadic, t(eff)", "AR dyadic", "AR jackknife")
"""Columns of the coverage study: intervals as the product reports them; the dyadic one with the jackknife's degrees of
freedom, which shows what these do alone; Anderson-Rubin sets."""


def peak_gb() -> float:
    """Peak memory of this process so far [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def full(seed: int = 1907) -> None:
    start = time.perf_counter()
    panel = known_panel(PAPER, seed)
    seconds, switched = time.perf_counter() - start, panel["switched"].mean()
    print(f"panel of {len(panel):,} rows, {panel['ts'].notna().sum():,} with all columns, {switched:.1%} switched: "
          f"{seconds:.1f} s, peak {peak_gb():.2f} GB")  # fmt: skip
    begin, cpu_begin = time.perf_counter(), time.process_time()
    for model in (*named_models("table1"), *named_models("iv_telegraph"), *named_models("iv_both"),
                  *named_models("iv_moderator:compat_kno")):  # fmt: skip
        if model.name == "iv_both":
            print(f"Table 1 and 2SLS: {time.perf_counter() - begin:.1f} s (CPU {time.process_time() - cpu_begin:.1f}), "
                  f"peak {peak_gb():.2f} GB\n  and beyond:")  # fmt: skip
        tick, cpu = time.perf_counter(), time.process_time()
        found = estimate(panel, with_truth(model))
        print(f"{model.name:24} {time.perf_counter() - tick:5.1f} s (CPU {time.process_time() - cpu:5.1f})  "
              f"peak {peak_gb():.2f} GB  N {found.n:,}  {main_terms(found)}")  # fmt: skip


def with_truth(model: Model) -> Model:
    """The model on the outcome whose coefficients it should find."""
    outcome = "bal_iv" if model.endog else "bal_1" if "ln_dkf_htol" in model.exog else "bal"
    return replace(model, outcome=outcome)


def main_terms(found: Estimate) -> str:
    """Coefficients of the flows with their errors by pair, dyadic and jackknifed, and the rank F."""
    truth = {"ln_dkf_htol": TRUE_HTOL, "ln_dkf_ltoh": TRUE_LTOH, "ln_dkf_net": TRUE_NET}
    parts = [
        f"{t[7:]} {found.coef(t):+.5f} (pair {found.se(t):.5f}, dyadic {found.se(t, 'dyadic'):.5f}, "
        f"jackknife {found.se(t, 'jackknife'):.5f}, true {truth[t]})"
        for t in found.main.terms
        if t in truth
    ]
    if found.strength:
        parts.append(f"KP F pair {found.strength.rank_f['pair']:.1f}, dyadic {found.strength.rank_f['dyadic']:.1f}")
    return "; ".join(parts)


def ladder(seed: int = 1907) -> None:
    print("strength  net 2SLS  se dyadic  KP F pair  KP F dyadic  Anderson-Rubin set, dyadic   (true "
          f"{TRUE_NET}; least squares beside it)")  # fmt: skip
    for factor in LADDER:
        panel = known_panel(replace(PAPER, first_stage=factor), seed)
        (iv,), (ols,) = named_models("iv_telegraph"), named_models("eq2")
        found, plain = estimate(panel, with_truth(iv)), estimate(panel, replace(ols, outcome="bal_iv"))
        strength = found.strength
        assert strength is not None
        print(f"{factor:8} {found.coef('ln_dkf_net'):9.5f} {found.se('ln_dkf_net', 'dyadic'):10.5f} "
              f"{strength.rank_f['pair']:10.2f} {strength.rank_f['dyadic']:12.2f}  "
              f"{set_text(strength.anderson_rubin['dyadic']):30} {plain.coef('ln_dkf_net'):.5f}")  # fmt: skip


def quick(panel: pd.DataFrame, model: Model) -> Estimate:
    """`estimate` with coefficients and sandwiches in closed form instead of pyfixest's, in a quarter of the time."""
    design = design_from_frame(panel, model)
    within = within_from_design(design)
    z = within.instruments
    fitted = z @ np.linalg.solve(z.T @ z, z.T @ within.x) if within.endog_terms else within.x
    coef = np.asarray(np.linalg.solve(fitted.T @ within.x, fitted.T @ within.y), dtype=np.float64)
    residuals = within.y - within.x @ coef
    return estimate_from_fit(design, within, Fit(coef, own_covariances(design, within, residuals), residuals, "numpy"))


def covered(how: KnownPanel, model: Model, seeds: Sequence[int]) -> Iterator[dict[str, float]]:
    """Whether the 95 % interval of the net flow holds the truth (1 or 0), panel by panel, and its effective cities."""
    for seed in seeds:
        found = quick(known_panel(how, seed), with_truth(model))
        at = found.main.at("ln_dkf_net")
        bounds: dict[str, list[tuple[float, ...]]] = {}
        for c in CLUSTERINGS:
            bounds[c] = [tuple(found.main.interval(c)[at])]
        half = t_quantile(found.main.degrees["jackknife"])[at] * found.main.se("dyadic")[at]
        bounds["dyadic, t(eff)"] = [(found.main.coef[at] - half, found.main.coef[at] + half)]
        if found.strength:
            bounds["AR dyadic"] = list(found.strength.anderson_rubin["dyadic"] or ())
            bounds["AR jackknife"] = list(found.strength.anderson_rubin["jackknife"] or ())
        inside = {c: float(any(low <= TRUE_NET <= high for low, high in regions)) for c, regions in bounds.items()}
        yield inside | {"effective": found.n_cities_effective}


def coverage(reps: int, cities: Sequence[int], designs: Sequence[str]) -> None:
    print(f"share of {reps} 95 % intervals that hold the truth (its own standard error at 95 %: "
          f"{np.sqrt(0.95 * 0.05 / reps):.3f}); panels of 6 years, seeds 0 to {reps - 1}")  # fmt: skip
    print(f"{'errors':18} cities  eff. {' '.join(f'{c:>14}' for c in COVERAGE)}  CPU s")
    for name in designs:
        (model,) = named_models("iv_telegraph" if "2SLS" in name else "eq2")
        for n in cities:
            tick = time.process_time()
            found = list(covered(replace(DESIGNS[name], n_cities=n), model, range(reps)))
            shares = " ".join(f"{np.mean([f.get(c, np.nan) for f in found]):14.3f}" for c in COVERAGE)
            carried = np.median([f["effective"] for f in found])
            print(f"{name:18} {n:6} {carried:5.1f} {shares}  {time.process_time() - tick:5.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("full", "ladder", "coverage"))
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--cities", type=int, nargs="+", default=[20, 50, 100, 150])
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    asked = parser.parse_args()
    if asked.what == "coverage":
        coverage(asked.reps, asked.cities, asked.designs)
    else:
        {"full": full, "ladder": ladder}[asked.what]()


if __name__ == "__main__":
    main()
