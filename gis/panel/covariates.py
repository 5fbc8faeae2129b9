"""City-level and pair-level tables joined to the rows of a pair panel, in the form a regression wants.

In: long tables (city, year, value) or (city, city, year, value). Out: `CityMatrix` and `PairTable`, and variables made
of them: ratio, difference, sum, product, or one city's own value, read with the row's hi and lo, some years back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.panel.pair_index import is_six_digits
from gis.panel.rows import PairRows, Variable, need, numbers, positions, row_name, shown, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Form = Literal["ratio_lh", "diff_hl", "sum", "product", "own_l", "own_h"]
"""How two cities' values become one of the pair: L over H, H minus L, i plus j, i times j, L's, H's."""
SUFFIX: dict[str, str] = {
    "ratio_lh": "_ratio_lh", "diff_hl": "_diff_hl", "sum": "_sum", "product": "_product", "own_l": "_l", "own_h": "_h",
}  # fmt: skip
"""What a form adds to the name of a variable."""
IN_WORDS: dict[str, str] = {
    "ratio_lh": "lo over hi", "diff_hl": "hi minus lo", "sum": "sum of both", "product": "product of both",
    "own_l": "of lo", "own_h": "of hi",
}  # fmt: skip
"""What a form adds to its label."""

Transform = Literal["none", "ln", "ln1p"]


@dataclass(frozen=True, slots=True)
class CityMatrix:
    """One value per city, by year or fixed."""

    codes: tuple[str, ...]
    """Roster: codes, rising."""
    years: Ints | None
    """Years, rising; None for values that hold in every year."""
    values: Floats = field(repr=False)
    """(n_years or 1, n_codes), read-only; NaN where unknown."""
    n_dropped: int = 0
    """Rows left out because their city is not in the roster."""

    def at(self, unit: Ints, year: Ints) -> Floats:
        """(n,) value of each unit in a year; NaN for unknown (-1) units and years without a row."""
        if self.years is None:
            return np.where(unit >= 0, self.values[0, unit], np.nan)
        k = np.minimum(np.searchsorted(self.years, year), max(self.years.size - 1, 0))
        if not self.years.size:
            return np.full(unit.size, np.nan)
        return np.where((unit >= 0) & (self.years[k] == year), self.values[k, unit], np.nan)

    def transformed(self, how: Transform) -> CityMatrix:
        """Logarithms of the values: ``ln`` of 0 or less is NaN; ``ln1p`` takes 1 + x, of less than -1 NaN."""
        if how not in get_args(Transform):
            raise OptionInvalid(f"no transform {how!r}", mend=f"one of {', '.join(get_args(Transform))}")
        if how == "none":
            return self
        inside = self.values if how == "ln" else 1 + self.values
        out = np.full(inside.shape, np.nan)
        np.log(inside, out=out, where=inside > 0)
        return CityMatrix(self.codes, self.years, out, self.n_dropped)


def city_matrix(
    frame: pd.DataFrame,
    column: str,
    codes: Iterable[str],
    *,
    code: str = "city_code",
    base_year: int | None = None,
    per: str | None = None,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    vintage: str = "",
    where: object = None,
) -> CityMatrix:
    """Arrange a long table of cities as a matrix, every row checked.

    Parameters
    ----------
    frame : columns ``code`` (text of six digits), ``column`` (numbers or empty), and ``year``, unless the values are
        fixed. Cities and years without a row are unknown.
    base_year : use this year's rows for all rows of the panel.
    per : divide by this column, such as the population.
    recode : code in the table -> code of the roster, for a table of another vintage.
    drop_unknown : leave out cities that are not in the roster, instead of refusing them.
    vintage : of the roster, for messages.

    Raises
    ------
    TableInvalid
        A column is missing, a city and year stand twice, a value is no number, or no row is of the base year.
    CodeInvalid
        A code is malformed, or not in the roster (a table of another vintage). Each names the file and the row.
    """
    need(frame, (code, column, *((per,) if per else ())), "the table", where)
    roster = tuple(sorted(codes))
    at = city_positions(frame[code], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)
    values = numbers(frame, column, where)
    if per:
        below = numbers(frame, per, where)
        values = np.divide(values, below, out=np.full(values.size, np.nan), where=below != 0)
    years: Ints | None = None
    year = np.zeros(at.size, np.int64)
    if "year" in frame.columns:
        year = whole_numbers(frame, "year", where)
        if base_year is None:
            years = np.unique(year)
    use = at >= 0
    if base_year is not None and "year" in frame.columns:
        use &= year == base_year
        if not use.any():
            raise TableInvalid(
                f"no row of a city of the panel is of the base year {base_year}; there are "
                f"{', '.join(map(str, np.unique(year)[:8].tolist()))}",
                where=where,
                mend="set the year to one the table has",
            )
    k = np.zeros(at.size, np.int64) if years is None else np.searchsorted(years, year)
    refuse_repeated(k * (len(roster) + 1) + at, use, frame, [code, "year"], where)
    out = np.full((1 if years is None else years.size, len(roster)), np.nan)
    out[k[use], at[use]] = values[use]
    out.setflags(write=False)
    return CityMatrix(roster, years, out, int((at < 0).sum()))


def city_positions(
    column: pd.Series, roster: tuple[str, ...], recode: Mapping[str, str] | None = None, *,
    drop_unknown: bool = False, vintage: str = "", where: object = None,
) -> Ints:  # fmt: skip
    """(n,) position of each row's city in the roster; -1 for a city that is left out; see `city_matrix`."""
    texts = column.astype("string").str.strip().str.removesuffix(".0")
    broken = ~texts.map(is_six_digits, na_action=None).fillna(False).to_numpy(bool)
    if broken.any():
        k = int(np.flatnonzero(broken)[0])
        cell = shown(column.iloc[k]) if column.notna().iloc[k] else "an empty cell"
        raise CodeInvalid(
            f"{cell} in column {column.name} is not a six-digit code ({int(broken.sum())} such rows)",
            where=row_name(where, k),
            mend='write codes as six-character text: "110000"; 00 after four digits',
        )
    known = {**{c: c for c in texts.unique()}, **(recode or {})}
    at = positions(texts.map(known), roster)
    if (at < 0).any() and not drop_unknown:
        k = int(np.flatnonzero(at < 0)[0])
        stood = f" (vintage {vintage})" if vintage else ""
        raise CodeInvalid(
            f"{texts.iloc[k]} is not a city of the panel{stood}; {int((at < 0).sum())} such rows",
            where=row_name(where, k),
            mend="state the vintage of the table's codes (vintage = ...), or leave such rows out: drop_unknown = true",
        )
    return at


def refuse_repeated(key: Ints, use: NDArray[np.bool_], frame: pd.DataFrame, names: list[str], where: object) -> None:
    """Refuse two rows of one key; names both."""
    rows = np.flatnonzero(use)
    order = np.argsort(key[rows], kind="stable")
    ranked = key[rows][order]
    again = np.flatnonzero(ranked[1:] == ranked[:-1])
    if again.size:
        first, second = sorted((int(rows[order[again[0]]]), int(rows[order[again[0] + 1]])))
        shown = ", ".join(str(frame[name].iloc[second]) for name in names if name in frame.columns)
        raise TableInvalid(
            f"{again.size} rows repeat a key, first {shown} in rows {first + 1} and {second + 1}",
            where=row_name(where, second),
            mend=f"keep one row for each {' and '.join(n for n in names if n in frame.columns)}",
        )


def city_variable(
    name: str, matrix: CityMatrix, forms: Iterable[Form], *, lag: int = 1
) -> tuple[tuple[str, ...], Variable]:
    """Names and variable of a city-level table in one or more forms, dated ``lag`` years before the row.

    Forms of hi and lo are NaN where the row has no orientation; ``sum`` and ``product`` need none. A ratio over 0 is
    NaN.
    """
    wanted = tuple(forms)
    for form in wanted:
        if form not in SUFFIX:
            raise OptionInvalid(f"no form {form!r}", where=name, mend=f"one of {', '.join(SUFFIX)}")
    names = tuple(name + SUFFIX[form] for form in wanted)

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        year = rows.year - lag
        return {n: pair_form(matrix, rows, form, year) for n, form in zip(names, wanted, strict=True)}

    return names, columns


def pair_form(matrix: CityMatrix, rows: PairRows, form: Form, year: Ints) -> Floats:
    """(n,) one form of a city-level value; see `city_variable`."""
    if form in ("sum", "product"):
        a, b = matrix.at(rows.i, year), matrix.at(rows.j, year)
        return a + b if form == "sum" else a * b
    if form == "own_l":
        return matrix.at(rows.lo, year)
    hi = matrix.at(rows.hi, year)
    if form == "own_h":
        return hi
    lo = matrix.at(rows.lo, year)
    if form == "diff_hl":
        return hi - lo
    return np.divide(lo, hi, out=np.full(hi.size, np.nan), where=hi != 0)


@dataclass(frozen=True, slots=True)
class PairTable:
    """One value per pair of cities, by year or fixed; the order of the two does not matter."""

    codes: tuple[str, ...]
    """Roster: codes, rising."""
    years: Ints | None
    """Years, rising; None for values that hold in every year."""
    key: Ints = field(repr=False)
    """(n,) sorted keys (year position, lower city, higher city)."""
    values: Floats = field(repr=False)
    """(n,) value of each key."""
    fill: float = np.nan
    """Value of a pair without a row, in a year that has any."""

    def of(self, rows: PairRows, lag: int) -> Floats:
        """(n,) value of each row's pair, ``lag`` years before the row."""
        c = len(self.codes)
        year, k = rows.year - lag, np.zeros(len(rows), np.int64)
        covered = np.ones(len(rows), bool)
        if self.years is not None:
            k = np.minimum(np.searchsorted(self.years, year), max(self.years.size - 1, 0))
            covered = self.years[k] == year if self.years.size else np.zeros(len(rows), bool)
        if not self.key.size:
            return np.where(covered, self.fill, np.nan)
        wanted = (k * c + np.minimum(rows.i, rows.j)) * c + np.maximum(rows.i, rows.j)
        at = np.minimum(np.searchsorted(self.key, wanted), self.key.size - 1)
        return np.where(covered, np.where(self.key[at] == wanted, self.values[at], self.fill), np.nan)


def pair_table(
    frame: pd.DataFrame,
    column: str,
    codes: Iterable[str],
    *,
    cities: tuple[str, str] = ("city_i", "city_j"),
    fill: float = np.nan,
    recode: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    vintage: str = "",
    where: object = None,
) -> PairTable:
    """Arrange a table of pairs; rows are checked as by `city_matrix`, and a city paired with itself is refused."""
    need(frame, (*cities, column), "the table", where)
    roster = tuple(sorted(codes))
    a, b = (
        city_positions(frame[n], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)
        for n in cities
    )
    use = (a >= 0) & (b >= 0)
    if (use & (a == b)).any():
        k = int(np.flatnonzero(use & (a == b))[0])
        raise TableInvalid(
            f"{frame[cities[0]].iloc[k]} is paired with itself", where=row_name(where, k), mend="drop such rows"
        )
    values = numbers(frame, column, where)
    years = None
    k_year = np.zeros(len(frame), np.int64)
    if "year" in frame.columns:
        year = whole_numbers(frame, "year", where)
        years, k_year = np.unique(year, return_inverse=True)
    key = (k_year * len(roster) + np.minimum(a, b)) * len(roster) + np.maximum(a, b)
    refuse_repeated(key, use, frame, [*cities, "year"], where)
    order = np.argsort(key[use], kind="stable")
    return PairTable(roster, years, key[use][order], values[use][order], fill)


def pair_variable(name: str, table: PairTable, *, lag: int = 1) -> tuple[tuple[str, ...], Variable]:
    """Name and variable of a pair-level table, dated ``lag`` years before the row."""
    return (name,), lambda rows: {name: table.of(rows, lag)}
