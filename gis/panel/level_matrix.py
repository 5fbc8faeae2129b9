"""Levels as a matrix: every year of the span by every unit of the roster, checked once.

In: a long DataFrame (code, year, level). Out: ``LevelMatrix``. Whatever holds one may trust it: six-digit codes in
rising order, levels finite and not negative or NaN, no year skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.panel.pair_index import is_six_digits

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SHOWN = 5
"""How many offending rows an error names before it stops."""


@dataclass(frozen=True, slots=True)
class LevelMatrix:
    """Levels of a roster of units over a span of years."""

    codes: tuple[str, ...]
    """Six-digit codes, rising: their order is the order of their numbers."""
    first_year: int
    """Calendar year of the first row of ``values``."""
    values: NDArray[np.float64]
    """(n_years, n_units) levels, read-only; NaN where a unit has no level, a whole row where a year is missing."""

    @property
    def last_year(self) -> int:
        """Calendar year of the last row of ``values``."""
        return self.first_year + len(self.values) - 1


def level_matrix_from_frame(frame: pd.DataFrame, *, code: str = "city_code", level: str = "level") -> LevelMatrix:
    """Arrange long levels as a matrix; the order of the rows does not matter, other columns are ignored.

    Parameters
    ----------
    frame : columns ``code`` (text of six digits), ``year`` (whole numbers), ``level`` (numbers or missing).
        A unit and year without a row counts as a missing level.

    Raises
    ------
    TableInvalid
        A column is missing; a key is missing, malformed or repeated; a level is negative, infinite or no number;
        there are fewer than two units or two years.
    """
    absent = [name for name in (code, "year", level) if name not in frame.columns]
    if absent:
        raise TableInvalid(
            f"the levels have no column {', '.join(absent)}",
            where=f"columns {', '.join(map(str, frame.columns))}",
            mend=f"rename the columns to {code}, year, {level}",
        )
    codes, years = _codes(frame[code]), _years(frame["year"])
    levels = _levels(frame[level], codes, years)
    roster, unit = np.unique(codes, return_inverse=True)
    first = int(years.min()) if years.size else 0
    cell = (years - first) * roster.size + unit
    _refuse_repeated(cell, codes, years, code)
    if roster.size < 2 or np.unique(years).size < 2:
        raise TableInvalid(
            f"no pair-year: the levels are of {roster.size} unit(s) in {np.unique(years).size} year(s)",
            where=f"columns {code}, year",
            mend="give at least two units and two years: a row is ordered by the levels of the year before",
        )
    values = np.full((int(years.max()) - first + 1, roster.size), np.nan)
    values.reshape(-1)[cell] = levels
    values.setflags(write=False)
    return LevelMatrix(tuple(str(c) for c in roster), first, values)


def _codes(column: pd.Series) -> NDArray[Any]:
    values = column.to_numpy(dtype=object)
    distinct = column.unique().tolist()  # a roster is short, a panel long: the pattern is tried once a code
    bad = [value for value in distinct if not is_six_digits(value)]
    if bad:
        raise TableInvalid(
            f"{len(bad)} codes are not text of six digits: {', '.join(repr(b) for b in bad[:SHOWN])}",
            where=f"column {column.name}",
            mend="six-character text: astype(str) for numbers, 00 after 4 digits, the first 6 of 12; drop empty codes",
        )
    return values.astype("U6")


def _years(column: pd.Series) -> NDArray[np.int64]:
    numbers = _numbers(column)
    bad = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if bad.any():
        raise TableInvalid(
            f"{int(bad.sum())} years are missing or no whole number: {_show(column.to_numpy(object)[bad])}",
            where=f"column {column.name}",
            mend="give every row its calendar year as a whole number, or drop the row",
        )
    return numbers.astype(np.int64)


def _levels(column: pd.Series, codes: NDArray[Any], years: NDArray[np.int64]) -> NDArray[np.float64]:
    levels = _numbers(column)
    bad = (levels < 0) | np.isinf(levels)
    if bad.any():
        at = np.flatnonzero(bad)
        raise TableInvalid(
            f"{at.size} levels are negative or infinite: "
            + _show([f"{codes[k]} in {years[k]}: {levels[k]:g}" for k in at[:SHOWN]]),
            where=f"column {column.name}",
            mend='Bal needs levels of 0 or more, or missing: set negatives = "zero" under [lights], or make them NaN',
        )
    return levels + 0.0  # turns -0.0 into 0.0, so that no sign hides in a ratio


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)
    except (TypeError, ValueError) as error:
        raise TableInvalid(
            f"{column.name} holds something that is no number: {error}",
            where=f"column {column.name}",
            mend="make the column numeric; a missing value is NaN, not a word",
        ) from error


def _refuse_repeated(cell: NDArray[np.int64], codes: NDArray[Any], years: NDArray[np.int64], code: str) -> None:
    order = np.argsort(cell, kind="stable")
    again = order[1:][cell[order][1:] == cell[order][:-1]]
    if again.size:
        raise TableInvalid(
            f"{again.size} rows repeat a unit and year: {_show([f'{codes[k]} in {years[k]}' for k in again[:SHOWN]])}",
            where=f"columns {code}, year",
            mend='keep one row per unit and year; for levels of districts pass code="district_code"',
        )


def _show(values: Any) -> str:
    return ", ".join(str(v) for v in list(values)[:SHOWN])
