"""The paper's controls: high-speed rail, technological similarity, intellectual-property cities (METHOD 4.3).

In: tables of openings, of patents by class, of demonstration cities. Out: variables ``hsr``, ``ts``, ``ipp``, dated
some years before the row. None of them asks which city is more developed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.panel.covariates import city_positions, refuse_repeated
from gis.panel.pair_index import n_pairs, pair_index
from gis.panel.rows import PairRows, Variable, need, numbers, row_name, shown, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NEVER = np.iinfo(np.int32).max
"""Opening year of what is not open."""

CLASS_LEVELS = {"section": 1, "class": 3, "subclass": 4}
"""Characters of an IPC symbol: A, A01, A01B. Source: WIPO, Guide to the IPC. METHOD 4.3 takes four (IPC-4)."""


def hsr_openings(
    frame: pd.DataFrame,
    codes: Iterable[str],
    *,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    vintage: str = "",
    where: object = None,
) -> NDArray[np.int32]:
    """(n_pairs,) year since which one high-speed line serves both cities of a pair; ``NEVER`` for none.

    Parameters
    ----------
    frame : either pairs, ``city_i, city_j, open_year``; or lines with their stops, ``line, city_code, open_year``: two
        cities are joined from the year in which both are stops of one line. An empty ``open_year`` is not open yet.
    drop_unknown : leave out stops in cities that are not in the roster; lines pass through many.

    Raises
    ------
    TableInvalid
        The columns are neither; a year is no whole number.
    CodeInvalid
        A code is malformed, or unknown with ``drop_unknown`` off.
    """
    roster = tuple(sorted(codes))
    out = np.full(n_pairs(len(roster)), NEVER, np.int32)

    def place(name: str) -> Ints:
        return city_positions(frame[name], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)

    if {"city_i", "city_j", "open_year"} <= set(frame.columns):
        a, b, year = place("city_i"), place("city_j"), _opening(frame, where)
        use = (a >= 0) & (b >= 0) & (a != b)
        pair = pair_index(np.minimum(a, b)[use], np.maximum(a, b)[use], len(roster))
        np.minimum.at(out, pair, year[use])
        return out
    need(frame, ("line", "city_code", "open_year"), "high-speed rail as pairs (city_i, city_j, open_year) or", where)
    at, year = place("city_code"), _opening(frame, where)
    lines = frame["line"].astype("string").to_numpy(object)
    for line in dict.fromkeys(lines):
        stops = np.flatnonzero((lines == line) & (at >= 0))
        city, k = np.unique(at[stops], return_inverse=True)
        since = np.full(city.size, NEVER, np.int32)
        np.minimum.at(since, k, year[stops])  # a city with two stations is served from the first
        a, b = np.triu_indices(city.size, 1)
        np.minimum.at(out, pair_index(city[a], city[b], len(roster)), np.maximum(since[a], since[b]))
    return out


def _opening(frame: pd.DataFrame, where: object) -> NDArray[np.int32]:
    year = numbers(frame, "open_year", where)
    known = np.isfinite(year)
    if (np.floor(year[known]) != year[known]).any():
        k = int(np.flatnonzero(known & (np.floor(np.where(known, year, 0)) != year))[0])
        raise TableInvalid(
            f"open_year is {shown(frame['open_year'].iloc[k])}",
            where=row_name(where, k),
            mend="write a whole year: 2011",
        )
    return np.where(known, np.where(known, year, 0), NEVER).astype(np.int32)


def hsr_variable(openings: NDArray[np.int32], *, lag: int = 1) -> Variable:
    """``hsr``: 1 where one line served both cities ``lag`` years before the row, else 0."""
    return lambda rows: {"hsr": (openings[rows.pair] <= rows.year - lag).astype(np.float64)}


def similarities(
    frame: pd.DataFrame,
    codes: Iterable[str],
    *,
    level: Literal["section", "class", "subclass"] = "subclass",
    stock: bool = False,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    vintage: str = "",
    where: object = None,
) -> tuple[Ints, Floats]:
    """Cosine of every two cities' vectors of patents by class, year by year.

    Parameters
    ----------
    frame : ``city_code, year, ipc, n``: patents of a city by IPC symbol; repeated keys are summed.
    level : how much of the symbol counts: A, A01 or A01B.
    stock : whether a year's vector is of all patents up to it, instead of its own.

    Returns
    -------
    years : (n_years,) rising
    similarity : (n_years, n_pairs) in [0, 1]
        NaN where a city has no patent in the year (or up to it): a vector of norm 0 has no direction.

    Raises
    ------
    TableInvalid, CodeInvalid
        As `gis.panel.covariates.city_matrix`; a count is negative.
    """
    need(frame, ("city_code", "year", "ipc", "n"), "patents by class", where)
    if level not in CLASS_LEVELS:
        raise OptionInvalid(f"no class level {level!r}", mend=f"one of {', '.join(CLASS_LEVELS)}")
    roster = tuple(sorted(codes))
    at = city_positions(frame["city_code"], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)
    n = numbers(frame, "n", where)
    if not (n >= 0).all():
        k = int(np.flatnonzero(~(n >= 0))[0])
        raise TableInvalid(
            f"n is {shown(frame['n'].iloc[k])}", where=row_name(where, k), mend="give a count of 0 or more"
        )
    year = whole_numbers(frame, "year", where)
    years = np.arange(year.min(), year.max() + 1) if stock and year.size else np.unique(year)
    symbol = frame["ipc"].astype("string").str.strip().str.upper().str.slice(0, CLASS_LEVELS[level]).fillna("")
    if (symbol == "").any():
        k = int(np.flatnonzero((symbol == "").to_numpy(bool))[0])
        raise TableInvalid(
            f"{int((symbol == '').sum())} rows have no ipc",
            where=row_name(where, k),
            mend="give each row its IPC symbol",
        )
    kinds, kind = np.unique(symbol.to_numpy(object).astype(str), return_inverse=True)
    use = at >= 0
    out = np.empty((years.size, n_pairs(len(roster))))
    a, b = np.triu_indices(len(roster), 1)
    running = np.zeros((len(roster), kinds.size))
    for t, y in enumerate(years):
        if not stock:
            running[:] = 0
        now = use & (year == y)
        np.add.at(running, (at[now], kind[now]), n[now])
        norm = np.sqrt((running**2).sum(axis=1))
        unit = np.divide(running, norm[:, None], out=np.full(running.shape, np.nan), where=norm[:, None] > 0)
        cosine = np.minimum(unit @ unit.T, 1.0)  # rounding may pass 1 by one unit in the last place
        out[t] = cosine[a, b]
    return years, out


def similarity_variable(years: Ints, similarity: Floats, *, lag: int = 1) -> Variable:
    """``ts``: similarity of the pair ``lag`` years before the row; NaN in years without data."""

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        year = rows.year - lag
        k = np.minimum(np.searchsorted(years, year), max(years.size - 1, 0))
        if not years.size:
            return {"ts": np.full(len(rows), np.nan)}
        return {"ts": np.where(years[k] == year, similarity[k, rows.pair], np.nan)}

    return columns


def since_years(
    frame: pd.DataFrame,
    column: str,
    codes: Iterable[str],
    *,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    vintage: str = "",
    where: object = None,
) -> NDArray[np.int32]:
    """(n_codes,) first year of each city's status, from a table ``city_code`` and ``column``; ``NEVER`` for none."""
    need(frame, ("city_code", column), "the table", where)
    roster = tuple(sorted(codes))
    at = city_positions(frame["city_code"], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)
    refuse_repeated(at, at >= 0, frame, ["city_code"], where)
    year = whole_numbers(frame, column, where)
    out = np.full(len(roster), NEVER, np.int32)
    out[at[at >= 0]] = year[at >= 0]
    return out


def ipp_variable(since: NDArray[np.int32], *, lag: int = 1) -> Variable:
    """``ipp``: how many cities of the pair had the status ``lag`` years before the row: 0, 1 or 2."""

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        year = rows.year - lag
        return {"ipp": (since[rows.i] <= year).astype(np.float64) + (since[rows.j] <= year)}

    return columns
