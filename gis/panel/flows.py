"""Directed flows seen from a pair: from hi to lo and from lo to hi, one year before the row.

In: pair-years with their orientation, flows ``src, dst, year, n``. Out: one row per pair-year with both flows and their
logarithms (METHOD 4.1); or `FlowTable`, which answers for any rows and serves panels of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.panel.rows import (
    SHOWN,
    PairRows,
    Variable,
    need,
    numbers,
    positions,
    roster_of,
    row_name,
    rows_from_frame,
    shown,
    whole_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DENSE_CELLS = 4_000_000
"""Up to here flows are kept as a whole array, 32 MB: 20 years of 447 units. A look-up is one step then, no search."""


@dataclass(frozen=True, slots=True)
class FlowTable:
    """Flows between the units of a roster, summed by source, destination and year."""

    codes: tuple[str, ...]
    """Roster: codes, rising."""
    years: Ints
    """Years inside coverage, rising: a pair without a flow in one of them has a flow of 0."""
    key: Ints = field(repr=False)
    """(n,) sorted keys (year position, source, destination)."""
    n: Floats = field(repr=False)
    """(n,) flow of each key."""
    n_dropped: int = 0
    """Rows left out because an end is not in the roster."""
    dense: Floats | None = field(default=None, repr=False)
    """The same as an array (n_years, n_codes, n_codes), for small rosters."""

    def of(self, src: Ints, dst: Ints, year: Ints) -> Floats:
        """(n,) flow from src to dst in a year; NaN where an end is unknown (-1) or the year is outside coverage."""
        at_year = np.minimum(np.searchsorted(self.years, year), max(self.years.size - 1, 0))
        known = (src >= 0) & (dst >= 0)
        if not self.years.size:
            return np.full(known.size, np.nan)
        known &= self.years[at_year] == year
        if self.dense is not None:
            return np.where(known, self.dense[at_year, src, dst], np.nan)
        found = np.zeros(known.size)
        if self.key.size:
            wanted = (at_year * len(self.codes) + src) * len(self.codes) + dst
            at = np.minimum(np.searchsorted(self.key, wanted), self.key.size - 1)
            found = np.where(self.key[at] == wanted, self.n[at], 0.0)
        return np.where(known, found, np.nan)

    def matrix(self, year: int) -> Floats:
        """(n_codes, n_codes) flows of one covered year, source first."""
        k, c = int(np.searchsorted(self.years, year)), len(self.codes)
        if k >= self.years.size or self.years[k] != year:
            raise OptionInvalid(
                f"{year} is outside the flows' years", mend=f"one of {', '.join(map(str, self.years.tolist()))}"
            )
        if self.dense is not None:
            return np.asarray(self.dense[k])
        a, b = np.searchsorted(self.key, [k * c * c, (k + 1) * c * c])
        out = np.zeros(c * c)
        out[self.key[a:b] - k * c * c] = self.n[a:b]
        return out.reshape(c, c)

    def frame(self) -> pd.DataFrame:
        """Rows of ``gis.tables.FLOW``: every flow above 0, by source, destination and year."""
        import pandas as pd

        c, positive = len(self.codes), self.n > 0
        rest, dst = np.divmod(self.key[positive], c)
        year, src = np.divmod(rest, c)
        roster = np.array(self.codes, dtype=object)
        columns = {"src": roster[src], "dst": roster[dst], "year": self.years[year], "n": self.n[positive]}
        return pd.DataFrame(columns).sort_values(["src", "dst", "year"], ignore_index=True)


def flow_table(
    flows: pd.DataFrame,
    codes: Iterable[str],
    *,
    years: tuple[int, int] | None = None,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    where: object = None,
) -> FlowTable:
    """Sum flows by source, destination and year, and check every row of them.

    Parameters
    ----------
    flows : columns ``src, dst`` (text), ``year``, ``n`` (0 or more, fractions allowed); repeated keys are summed.
    codes : the roster. A code is first looked for in ``recode``, then in the roster.
    years : first and last covered year; default: every year that has a row. A pair without a row in a covered year
        has a flow of 0; a year outside coverage is unknown.
    recode : code in the file -> code of the roster, for files of another vintage; several may become one.
    drop_unknown : leave out flows from or to a city that is not in the roster, instead of refusing them.
    where : the file, for messages.

    Raises
    ------
    TableInvalid
        A column is missing; a flow is negative, infinite or missing; a year is outside ``years``. Names the row.
    CodeInvalid
        A flow names a city that is not in the roster; names the row.
    """
    need(flows, ("src", "dst", "year", "n"), "the flows", where)
    roster = tuple(sorted(codes))
    n = _checked_counts(flows, where)
    src, dst = (_recoded(flows[name], roster, recode) for name in ("src", "dst"))
    unknown = (src < 0) | (dst < 0)
    if unknown.any() and not drop_unknown:
        _refuse_unknown(flows, src < 0, dst < 0, where)
    year = whole_numbers(flows, "year", where)
    covered = np.unique(year)
    if years is not None:
        covered = np.arange(years[0], years[1] + 1)
        _refuse_uncovered(flows, year, years, where)
    at_year = np.searchsorted(covered, year)
    key = ((at_year * len(roster) + src) * len(roster) + dst)[~unknown]
    found, at = np.unique(key, return_inverse=True)
    total = np.asarray(np.bincount(at, weights=n[~unknown], minlength=found.size), np.float64)
    dense = None
    if covered.size * len(roster) ** 2 <= DENSE_CELLS:
        dense = np.zeros((covered.size, len(roster), len(roster)))
        dense.reshape(-1)[found] = total
        dense.setflags(write=False)
    return FlowTable(roster, covered, found, total, int(unknown.sum()), dense)


def oriented(table: FlowTable, *, lag: int = 1) -> Variable:
    """Variable of a panel: both directed flows of a row's pair and their logarithms, by the labels it is given.

    Columns ``dkf_htol, dkf_ltoh, ln_dkf_htol, ln_dkf_ltoh, ln_dkf_net, dkf_balance``; NaN where the row has no
    orientation or the year ``lag`` years before it is outside coverage. ``dkf_balance`` is twice the smaller flow over
    the sum of both, NaN where there is none (METHOD 10, P0).
    """
    if lag != int(lag):
        raise OptionInvalid(f"lag = {lag}", where="lag", mend="give whole years")

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        _same_roster(rows, table.codes)
        year = rows.year - lag
        htol, ltoh = table.of(rows.hi, rows.lo, year), table.of(rows.lo, rows.hi, year)
        out = {"dkf_htol": htol, "dkf_ltoh": ltoh, "ln_dkf_htol": np.log1p(htol), "ln_dkf_ltoh": np.log1p(ltoh)}
        out["ln_dkf_net"] = out["ln_dkf_htol"] - out["ln_dkf_ltoh"]
        both = htol + ltoh
        out["dkf_balance"] = np.full(both.size, np.nan)
        np.divide(2 * np.minimum(htol, ltoh), both, out=out["dkf_balance"], where=both > 0)
        return out

    return columns


def oriented_flows(
    pairs: pd.DataFrame,
    flows: pd.DataFrame,
    *,
    lag: int = 1,
    orient_lag: int = 1,
    drop_unknown: bool = False,
    years: tuple[int, int] | None = None,
    recode: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Flows of each pair-year, oriented by the row's own hi and lo.

    Parameters
    ----------
    pairs : columns ``pair_id, year, hi, lo`` (and ``city_i, city_j``, if there), as `gis.panel.balance` makes them.
    flows, years, recode, drop_unknown : as `flow_table`; a city that is in no pair is unknown.
    lag : how many years before the row the flows are of.
    orient_lag : 1: hi and lo of the row; 2: hi and lo of the pair's row before, METHOD 4.1's reading (ii).

    Returns
    -------
    DataFrame, rows as in ``pairs``: ``pair_id, year`` and the columns of `oriented`.

    Raises
    ------
    TableInvalid, CodeInvalid
        As `flow_table`; a column of the pairs is missing.
    OptionInvalid
        A lag is no whole number of years.
    """
    import pandas as pd

    need(pairs, ("pair_id", "year", "hi", "lo"), "the pairs")
    codes = roster_of(pairs)
    table = flow_table(flows, codes, years=years, recode=recode, drop_unknown=drop_unknown)
    variable = oriented(table, lag=lag)
    rows = rows_from_frame(pairs, codes).labelled(orient_lag)
    keys = {"pair_id": pairs["pair_id"].to_numpy(), "year": pairs["year"].to_numpy()}
    return pd.DataFrame({**keys, **variable(rows)}, index=pairs.index)


def _same_roster(rows: PairRows, codes: tuple[str, ...]) -> None:
    if rows.codes != codes:
        raise CodeInvalid(
            f"the rows are of {len(rows.codes)} cities, the table of {len(codes)}, or of others",
            mend="make both with the same roster",
        )


def _recoded(column: pd.Series, roster: tuple[str, ...], recode: Mapping[str, str] | None) -> Ints:
    """Position of each code in the roster; -1 where it is missing or unknown."""
    import pandas as pd

    codes, names = pd.factorize(column, use_na_sentinel=True)  # a file repeats a few codes millions of times
    texts = [str(name).strip().removesuffix(".0") for name in names]
    at = positions(pd.Series([(recode or {}).get(text, text) for text in texts], dtype=object), roster)
    return np.append(at, -1)[codes]


def _checked_counts(flows: pd.DataFrame, where: object) -> Floats:
    n = numbers(flows, "n", where)
    bad = ~(n >= 0)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise TableInvalid(
            f"{int(bad.sum())} flows are negative or missing, first {shown(flows['n'].iloc[k])} from "
            f"{flows['src'].iloc[k]} to {flows['dst'].iloc[k]} in {flows['year'].iloc[k]}",
            where=row_name(where, k) + ", column n",
            mend="give a count of 0 or more; leave out rows without a flow",
        )
    return n


def _refuse_unknown(flows: pd.DataFrame, src: NDArray[np.bool_], dst: NDArray[np.bool_], where: object) -> None:
    at = np.flatnonzero(src | dst)
    k = int(at[0])
    strange = {str(v) for bad, name in ((src, "src"), (dst, "dst")) for v in flows[name].to_numpy(object)[bad]}
    raise CodeInvalid(
        f"{at.size} flows name cities that are in no pair: {', '.join(sorted(strange)[:SHOWN])}",
        where=row_name(where, k) + f", column {'src' if src[k] else 'dst'}",
        mend="map the codes to the panel's vintage, or leave such flows out: drop_unknown = true",
    )


def _refuse_uncovered(flows: pd.DataFrame, year: Ints, years: tuple[int, int], where: object) -> None:
    outside = (year < years[0]) | (year > years[1])
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise TableInvalid(
            f"{int(outside.sum())} flows lie outside the years {years[0]}-{years[1]} they are said to cover, "
            f"first {flows['year'].iloc[k]}",
            where=row_name(where, k) + ", column year",
            mend="widen flows.years, or take the rows out",
        )
