"""Directed flows seen from a pair: from hi to lo and from lo to hi, one year before the row.

In: pair-years with their orientation, flows ``src, dst, year, n``. Out: one row per pair-year with both flows and their
logarithms (METHOD 4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHOWN = 5
"""How many offending codes an error names before it stops."""


def oriented_flows(
    pairs: pd.DataFrame, flows: pd.DataFrame, *, lag: int = 1, drop_unknown: bool = False
) -> pd.DataFrame:
    """Flows of each pair-year, oriented by the row's own hi and lo.

    Parameters
    ----------
    pairs : columns ``pair_id, year, hi, lo`` (and ``city_i, city_j``, if there), as `gis.panel.balance` makes them.
    flows : columns ``src, dst`` (text), ``year``, ``n`` (0 or more); repeated keys are summed. A pair without a row in
        a year that has any row has a flow of 0; a year without any row is outside coverage.
    lag : how many years before the row the flows are of.
    drop_unknown : leave out flows from or to a city that is in no pair, instead of refusing them.

    Returns
    -------
    DataFrame, rows as in ``pairs``: ``pair_id, year, dkf_htol, dkf_ltoh, ln_dkf_htol, ln_dkf_ltoh, ln_dkf_net``.
        Logarithms are ln(1 + flow), ``ln_dkf_net`` is their difference. NaN where the row has no orientation or the
        year of the flows is outside coverage.

    Raises
    ------
    TableInvalid
        A column is missing; a flow is negative, infinite or missing.
    CodeInvalid
        A flow names a city that is in no pair.
    """
    import pandas as pd

    _need(pairs, ("pair_id", "year", "hi", "lo"), "the pairs")
    if lag != int(lag):
        raise OptionInvalid(f"lag = {lag}", where="lag", mend="give whole years")
    names = [name for name in ("city_i", "city_j", "hi", "lo") if name in pairs]
    codes = sorted({str(v) for name in names for v in pairs[name].dropna().unique()})
    key, n = _flow_keys(flows, codes, drop_unknown)
    covered = np.unique(flows["year"].to_numpy(np.int64))
    hi, lo = (_place(pairs[name], codes) for name in ("hi", "lo"))
    year = pairs["year"].to_numpy(np.int64) - lag
    known = (hi >= 0) & (lo >= 0) & np.isin(year, covered)

    def flow(src: NDArray[np.int64], dst: NDArray[np.int64]) -> Floats:
        wanted = (year * len(codes) + src) * len(codes) + dst
        at = np.minimum(np.searchsorted(key, wanted), max(key.size - 1, 0))
        found = np.where(key[at] == wanted, n[at], 0.0) if key.size else np.zeros(wanted.size)
        return np.where(known, found, np.nan)

    out = {"pair_id": pairs["pair_id"].to_numpy(), "year": pairs["year"].to_numpy()}
    out["dkf_htol"], out["dkf_ltoh"] = flow(hi, lo), flow(lo, hi)
    out["ln_dkf_htol"], out["ln_dkf_ltoh"] = np.log1p(out["dkf_htol"]), np.log1p(out["dkf_ltoh"])
    out["ln_dkf_net"] = out["ln_dkf_htol"] - out["ln_dkf_ltoh"]
    return pd.DataFrame(out, index=pairs.index)


def _flow_keys(flows: pd.DataFrame, codes: list[str], drop_unknown: bool) -> tuple[NDArray[np.int64], Floats]:
    """Sorted keys (year, src, dst) and the flow of each."""
    _need(flows, ("src", "dst", "year", "n"), "the flows")
    n = flows["n"].to_numpy(np.float64)
    if not (np.isfinite(n) & (n >= 0)).all():
        raise TableInvalid(
            f"{int((~(np.isfinite(n) & (n >= 0))).sum())} flows are negative, infinite or missing",
            where="column n",
            mend="give a count of 0 or more; leave out rows without a flow",
        )
    src, dst = _place(flows["src"], codes), _place(flows["dst"], codes)
    unknown = (src < 0) | (dst < 0)
    if unknown.any() and not drop_unknown:
        strange = sorted({str(v) for name in ("src", "dst") for v in flows[name].unique()} - set(codes))
        raise CodeInvalid(
            f"{int(unknown.sum())} flows name cities that are in no pair: {', '.join(strange[:SHOWN])}",
            where="columns src, dst",
            mend="map the codes to the panel's vintage, or leave such flows out: drop_unknown = true",
        )
    year = flows["year"].to_numpy(np.int64)
    key = ((year * len(codes) + src) * len(codes) + dst)[~unknown]
    found, at = np.unique(key, return_inverse=True)
    return found, np.bincount(at, weights=n[~unknown], minlength=found.size)


def _place(column: pd.Series, codes: list[str]) -> NDArray[np.int64]:
    """Position of each code; -1 where it is missing or unknown."""
    import pandas as pd

    return np.asarray(pd.Index(codes, dtype=object).get_indexer(column.astype(object)), np.int64)


def _need(frame: pd.DataFrame, columns: tuple[str, ...], what: Any) -> None:
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise TableInvalid(
            f"{what} have no column {', '.join(absent)}",
            where=f"columns {', '.join(map(str, frame.columns))}",
            mend=f"name the columns {', '.join(columns)}",
        )
