"""Rows of a pair panel as arrays of positions: what every variable of the panel is looked up with.

In: a pair panel (DataFrame or Arrow). Out: ``PairRows``: where each row's two cities, its hi and its lo stand in the
roster. Variables are functions from ``PairRows`` to columns, so that a panel of any size is built in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.panel.pair_index import is_six_digits, pair_index

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOBODY = -1
"""Position of hi and lo in a row without orientation."""

SHOWN = 5
"""How many offending values an error names before it stops."""


@dataclass(frozen=True, slots=True)
class PairRows:
    """Rows of a pair panel, as positions in a roster."""

    codes: tuple[str, ...]
    """Roster: six-digit codes, rising."""
    pair_id: Ints = field(repr=False)
    """(n,) key of the pair."""
    year: Ints = field(repr=False)
    """(n,) calendar year of the row."""
    i: Ints = field(repr=False)
    """(n,) position of the pair's first city."""
    j: Ints = field(repr=False)
    """(n,) position of its second city."""
    hi: Ints = field(repr=False)
    """(n,) position of the more developed city; ``NOBODY`` where the row has no orientation."""
    lo: Ints = field(repr=False)
    """(n,) position of the less developed city."""

    def __len__(self) -> int:
        return int(self.pair_id.size)

    @property
    def pair(self) -> Ints:
        """(n,) triangular index of the pair in the roster."""
        return pair_index(np.minimum(self.i, self.j), np.maximum(self.i, self.j), len(self.codes))

    @property
    def is_ordered(self) -> NDArray[np.bool_]:
        """(n,) whether the row has an orientation."""
        return np.asarray(self.hi >= 0)

    def labelled(self, orient_lag: int) -> PairRows:
        """The same rows with the hi and lo that explanatory variables are read with.

        Parameters
        ----------
        orient_lag : 1: the row's own, by the levels of the year before; 2: those of the row before, by the levels of
            two years before (METHOD 4.1, reading ii). A pair's first row then has none.
        """
        if orient_lag < 1:
            raise OptionInvalid(f"orient_lag = {orient_lag}", where="orient_lag", mend="give 1, or 2 for reading ii")
        back = orient_lag - 1
        if back == 0:
            return self
        order = np.lexsort((self.year, self.pair_id))
        pair, year = self.pair_id[order], self.year[order]
        hi, lo = np.full(len(self), NOBODY), np.full(len(self), NOBODY)
        same = (pair[back:] == pair[:-back]) & (year[back:] - year[:-back] == back)
        at, source = order[back:][same], order[:-back][same]
        hi[at], lo[at] = self.hi[source], self.lo[source]
        return replace(self, hi=hi, lo=lo)


Variable = Callable[[PairRows], dict[str, "NDArray[Any]"]]
"""A function from rows to columns, each (n,): float64 with NaN for missing (whole numbers too), or bool."""


def roster_of(pairs: pd.DataFrame) -> tuple[str, ...]:
    """Codes that stand in a pair panel, rising."""
    names = [name for name in ("city_i", "city_j", "hi", "lo") if name in pairs]
    return tuple(sorted({str(v) for name in names for v in pairs[name].dropna().unique()}))


def rows_from_frame(pairs: pd.DataFrame, codes: tuple[str, ...] | None = None) -> PairRows:
    """Look up where the rows of a panel stand in a roster.

    Parameters
    ----------
    pairs : columns ``pair_id, year, hi, lo`` and, where there, ``city_i, city_j``, as `gis.panel.balance` makes them;
        text or categorical.
    codes : roster; default: the codes of the panel itself.

    Raises
    ------
    TableInvalid
        A column is missing.
    CodeInvalid
        A city of the panel is not in the roster.
    """
    need(pairs, ("pair_id", "year", "hi", "lo"), "the pairs")
    roster = roster_of(pairs) if codes is None else codes
    at = {name: positions(pairs[name], roster) for name in ("city_i", "city_j", "hi", "lo") if name in pairs}
    hi, lo = at["hi"], at["lo"]
    year, key = pairs["year"].to_numpy(np.int64), pairs["pair_id"].to_numpy(np.int64)
    if "city_i" not in at or "city_j" not in at:  # the pair_id says it as well
        number = np.array([int(c) for c in roster], np.int64) if all(map(is_six_digits, roster)) else None
        at["city_i"] = _of_number(key // 10**6, number)
        at["city_j"] = _of_number(key % 10**6, number)
    missing = (at["city_i"] < 0) | (at["city_j"] < 0)
    if missing.any() and "city_i" in pairs:
        strange = sorted(set(pairs.loc[missing, "city_i"].astype(str)) | set(pairs.loc[missing, "city_j"].astype(str)))
        raise CodeInvalid(
            f"{int(missing.sum())} rows have a city that is not in the roster, among {', '.join(strange[:SHOWN])}",
            where="columns city_i, city_j",
            mend="give the roster the panel was made of",
        )
    return PairRows(roster, key, year, at["city_i"], at["city_j"], hi, lo)


def _of_number(wanted: Ints, number: Ints | None) -> Ints:
    if number is None or not number.size:
        return np.full(wanted.size, NOBODY)
    at = np.minimum(np.searchsorted(number, wanted), number.size - 1)
    return np.where(number[at] == wanted, at, NOBODY)


def rows_from_arrow(batch: pa.Table, codes: tuple[str, ...]) -> PairRows:
    """Rows of a batch of ``PAIR_YEAR``, as `gis.panel.balance_batches` makes them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    roster = pa.array(codes, pa.string())

    def place(name: str) -> Ints:
        found = pc.index_in(batch[name], value_set=roster).combine_chunks()
        if isinstance(found, pa.ChunkedArray):
            found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], pa.int32())
        return np.asarray(pc.fill_null(found, NOBODY).to_numpy(zero_copy_only=False), np.int64)

    key, year = (np.asarray(batch[name].to_numpy(), np.int64) for name in ("pair_id", "year"))
    return PairRows(codes, key, year, place("city_i"), place("city_j"), place("hi"), place("lo"))


def positions(column: Any, codes: tuple[str, ...]) -> Ints:
    """(n,) position of each value among ``codes``; -1 where it is missing or unknown."""
    import pandas as pd

    index = pd.Index(codes, dtype=object)
    if isinstance(column.dtype, pd.CategoricalDtype):  # each category is looked up once
        known = np.append(index.get_indexer(column.cat.categories.astype(object)), NOBODY)
        return np.asarray(known[column.cat.codes.to_numpy()], np.int64)  # a missing value has code -1: the last entry
    return np.asarray(index.get_indexer(column.astype(object)), np.int64)


def need(frame: pd.DataFrame, columns: Iterable[str], what: str, where: object = None) -> None:
    """Refuse a frame that lacks a column."""
    wanted = tuple(columns)
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise TableInvalid(
            f"{what} have no column {', '.join(absent)}",
            where=where or f"columns {', '.join(map(str, frame.columns))}",
            mend=f"name the columns {', '.join(wanted)}",
        )


def row_name(where: object, row: int) -> str:
    """Name a row of a file or frame; ``row`` counts from 0, names count from 1 below the header."""
    return f"{where}, row {row + 1}" if where is not None else f"row {row + 1}"


def shown(value: object) -> str:
    """A cell as a message shows it: text in quotes, numbers as they are written."""
    return repr(value) if isinstance(value, str) else str(value)


def numbers(frame: pd.DataFrame, column: str, where: object = None) -> Floats:
    """(n,) float64 of a column, NaN where empty.

    Raises
    ------
    TableInvalid
        A value is no number, or infinite; names the first such row.
    """
    import pandas as pd

    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = (np.isnan(values) & frame[column].notna().to_numpy()) | np.isinf(values)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise TableInvalid(
            f"{int(bad.sum())} values of {column} are no finite number, first {shown(frame[column].iloc[k])}",
            where=row_name(where, k),
            mend="correct it, or leave the cell empty where it is unknown",
        )
    return np.asarray(values)


def whole_numbers(frame: pd.DataFrame, column: str, where: object = None) -> Ints:
    """(n,) int64 of a column such as the year; refuses an empty or broken one, by row. A year has four digits."""
    values = numbers(frame, column, where)
    bad = ~(np.floor(values) == values)  # NaN too
    if column.endswith("year") and not bad.any() and ((values < 1000) | (values > 9999)).any():
        k = int(np.flatnonzero((values < 1000) | (values > 9999))[0])
        raise TableInvalid(
            f"{column} is {shown(frame[column].iloc[k])}", where=row_name(where, k), mend="write a year of four digits"
        )
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise TableInvalid(
            f"{int(bad.sum())} values of {column} are missing or no whole number, first {shown(frame[column].iloc[k])}",
            where=row_name(where, k),
            mend=f"give every row its {column} as a whole number, or drop the row",
        )
    return np.asarray(values.astype(np.int64))
