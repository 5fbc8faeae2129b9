"""Pair panels whose coefficients are known: of any size, and on the demo's own pairs and flows.

In: numbers of cities and years, or a demo's pair panel. Out: a frame for `gis.estimate.estimate`, and its truth.

Cities have levels that wander, so that pairs switch hi and lo; flows and errors hold city parts, which every pair of a
city shares: errors are dyadic by construction. A confounder moves the net flow and the outcome together, and
instruments move the flow alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from gis.estimate import Model

TRUE_HTOL, TRUE_LTOH, TRUE_NET = 0.0211, -0.0235, 0.0222
"""Coefficients of the flows in the known outcomes. Source: the paper's Table 1, columns 3 and 4."""
TRUE_CONTROLS = {"hsr": 0.010, "ts": 0.050, "ipp": -0.004}
"""Coefficients of the controls."""
NOISE = 0.005
"""Standard deviation of the error in `known_outcomes`: 66 pairs and 7 years are few, and must do."""
FIRST_YEAR = 2001
ROWS_OF_THE_PAPER = 773_145
"""Rows of Table 1, columns 3 and 4, of 829,540."""


@dataclass(frozen=True, slots=True)
class KnownPanel:
    """How a panel of known coefficients is drawn."""

    n_cities: int = 296
    """Cities."""
    n_years: int = 19
    """Row years."""
    n_rows: int | None = None
    """Rows kept with all columns; the other rows miss ``ts``. None: all."""
    dyadic: float = 0.05
    """Standard deviation of the city parts of the error, per city and year."""
    noise: float = 0.15
    """Standard deviation of the error's own part, per pair and year."""
    confounding: float = 0.1
    """What of the net flow's own part also enters ``bal_iv``: there least squares is biased."""
    first_stage: float = 1.0
    """Multiplies both instruments' coefficients in the net flow; 0: no instrument at all."""
    concentrated: bool = False
    """Whether a few cities hold most offices: then few cities carry the instrument, whatever their number."""
    wander: float = 0.3
    """Standard deviation of a city's yearly step in the logarithm of its level: how often pairs switch."""


def known_panel(how: KnownPanel, seed: int) -> pd.DataFrame:
    """Draw a pair panel whose coefficients are the constants of this module.

    Returns
    -------
    DataFrame, sorted by pair and year
        ``pair_id``, ``year``, ``city_i``, ``city_j``, ``switched``, ``ln_dkf_htol``, ``ln_dkf_ltoh``, ``ln_dkf_net``,
        ``hsr``, ``ts``, ``ipp``, ``iv_hist_tel``, ``iv_1984_tel``, ``compat_kno`` (a moderator), and outcomes: ``bal``
        (net flow and controls, equation (2)), ``bal_1`` (both flows and controls, equation (1)), ``bal_iv`` (equation
        (2) with a confounder).
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    c, t = how.n_cities, how.n_years
    i, j = np.triu_indices(c, 1)
    level = np.cumsum(rng.normal(0, how.wander, (t, c)), axis=0) + rng.normal(0, 0.5, c)
    sign = np.where(level[:, i] >= level[:, j], 1.0, -1.0)  # 1: the first city is hi
    n = i.size

    def cities(scale: float) -> Any:
        """(n_years, n_cities) city parts: half of one year's stays in the next."""
        shocks = rng.normal(0, scale, (t, c))
        for year in range(1, t):
            shocks[year] = 0.5 * shocks[year - 1] + shocks[year]
        return shocks

    # Four on average; concentrated, a third of the cities have none and a few have many.
    offices = rng.negative_binomial(1, 0.2, c) if how.concentrated else rng.poisson(4, c)
    phones = np.exp(rng.normal(0, 1, c))
    share = offices[i] * offices[j] / max((offices.sum() ** 2 - (offices**2).sum()) / 2, 1)
    share_phones = phones[i] * phones[j] / ((phones.sum() ** 2 - (phones**2).sum()) / 2)
    national = np.cumsum(rng.gamma(2, 1, t))  # the nation's net flow rises, unevenly
    size = n / national[-1]  # shares are of the order of 1 / n_pairs
    own, push = rng.normal(0, 0.5, (t, n)), cities(0.4)
    gap = push[:, i] - push[:, j]
    instrumented = 0.4 * size * national[:, None] * (share + 0.5 * share_phones)
    net = sign * gap + how.first_stage * instrumented + own
    level_of_flows = rng.normal(2, 1, n) + cities(0.3)[:, i] + cities(0.3)[:, j] + rng.normal(0, 0.3, (t, n))
    hsr = np.cumsum(rng.random((t, n)) < 0.03, axis=0) > 0
    ts = rng.normal(0.5, 0.1, n) + rng.normal(0, 0.1, (t, n))
    ipp = (rng.integers(1, t + 8, c) <= np.arange(t)[:, None]).astype(float)
    # A shock to the light of lo raises Bal, one to the light of hi lowers it.
    shock = cities(how.dyadic)
    error = sign * (shock[:, j] - shock[:, i]) + rng.normal(0, how.noise, (t, n))
    fixed = rng.normal(0.6, 0.2, n) + rng.normal(0, 0.03, (t, 1))
    htol, ltoh = (level_of_flows + net) / 2, (level_of_flows - net) / 2
    controls = {"hsr": hsr.astype(float), "ts": ts, "ipp": ipp[:, i] + ipp[:, j]}
    base = fixed + sum(TRUE_CONTROLS[k] * v for k, v in controls.items()) + error
    columns = {
        "switched": np.vstack([np.zeros((1, n)), sign[1:] != sign[:-1]]) == 1,
        "ln_dkf_htol": htol, "ln_dkf_ltoh": ltoh, "ln_dkf_net": net, **controls,
        "iv_hist_tel": share * national[:, None], "iv_1984_tel": share_phones * national[:, None],
        "compat_kno": np.where(sign > 0, level[:, j], level[:, i]),
        "bal": base + TRUE_NET * net, "bal_1": base + TRUE_HTOL * htol + TRUE_LTOH * ltoh,
        "bal_iv": base + TRUE_NET * net + how.confounding * own,
    }  # fmt: skip
    codes = np.array([f"{110000 + 100 * k:06d}" for k in range(c)])
    number = codes.astype(np.int64)
    frame = pd.DataFrame(
        {
            "pair_id": np.repeat(number[i] * 10**6 + number[j], t),
            "year": np.tile(np.arange(FIRST_YEAR, FIRST_YEAR + t, dtype=np.int32), n),
            "city_i": pd.Categorical.from_codes(np.repeat(i, t), categories=pd.Index(codes)),
            "city_j": pd.Categorical.from_codes(np.repeat(j, t), categories=pd.Index(codes)),
            **{name: np.ascontiguousarray(values.T).ravel() for name, values in columns.items()},
        },
        copy=False,
    )
    if how.n_rows is not None:
        gone = rng.choice(len(frame), len(frame) - how.n_rows, replace=False)
        frame.loc[gone, "ts"] = np.nan
    return frame


def known_outcomes(pairs: pd.DataFrame, flows: pd.DataFrame, seed: int = 1907) -> pd.DataFrame:
    """Put known outcomes on a demo's own pairs: its orientation from the lights, its flows, its telegraph offices.

    Parameters
    ----------
    pairs : the table ``pair_year`` of a demo's run.
    flows : ``src, dst, year, n``.

    Returns
    -------
    DataFrame
        ``pairs`` with the oriented flows and: ``known_bal_1``, ``known_bal`` (pair and year effects, the flows with the
        coefficients of this module, noise), and for 2SLS ``known_iv`` (share of offices times the nation's net flow,
        standardised), ``known_flow`` (moved by it and by a confounder) and ``known_bal_iv`` (moved by both).
    """
    from gis.demo.geography import city_code
    from gis.demo.historical import OFFICES_PER_CITY
    from gis.panel.flows import oriented_flows

    rng = np.random.default_rng([seed, 8])
    frame = pairs.merge(oriented_flows(pairs, flows), on=["pair_id", "year"], how="left")
    offices = {city_code(city): count for city, count in enumerate(OFFICES_PER_CITY)}
    share = frame["city_i"].astype(str).map(offices) * frame["city_j"].astype(str).map(offices)
    national = (frame["dkf_htol"] - frame["dkf_ltoh"]).groupby(frame["year"]).transform("sum")
    iv = (share * national).to_numpy(dtype=np.float64)
    n = len(frame)
    pair, year = (np.unique(frame[c], return_inverse=True)[1] for c in ("pair_id", "year"))
    base = rng.normal(0.6, 0.2, n)[pair] + rng.normal(0, 0.05, n)[year] + rng.normal(0, NOISE, n)
    confounder = rng.normal(0, 0.5, n)
    known_iv = (iv - np.nanmean(iv)) / np.nanstd(iv)
    known_flow = known_iv + confounder
    return frame.assign(
        known_bal_1=base + TRUE_HTOL * frame["ln_dkf_htol"] + TRUE_LTOH * frame["ln_dkf_ltoh"],
        known_bal=base + TRUE_NET * frame["ln_dkf_net"],
        known_iv=known_iv,
        known_flow=known_flow,
        known_bal_iv=base + TRUE_NET * known_flow + 0.02 * confounder,
    )


def truth_of_model() -> tuple[tuple[Model, dict[str, float]], ...]:
    """Models for `known_outcomes`, each with the coefficients it should find."""
    from gis.estimate import Model

    htol, ltoh, net = "ln_dkf_htol", "ln_dkf_ltoh", "ln_dkf_net"
    return (
        (Model("known_1", "known_bal_1", (htol, ltoh), title="equation (1)"), {htol: TRUE_HTOL, ltoh: TRUE_LTOH}),
        (Model("known_2", "known_bal", (net,), title="equation (2)"), {net: TRUE_NET}),
        (
            Model("known_iv", "known_bal_iv", endog=("known_flow",), instruments=("known_iv",), title="2SLS, offices"),
            {"known_flow": TRUE_NET},
        ),
    )
