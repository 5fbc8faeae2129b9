"""From assigned offices to what a pair of cities is exposed to: counts, and the expected product of two counts.

In: assignments of offices to cities, or any table of counts. Out: ``Exposure``, and the rows of the tables ``office``,
``office_city`` and ``city_office``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import CodeInvalid, TableInvalid
from gis.historical.assignment import NOWHERE, HardAssignment, Probabilities
from gis.historical.offices import Offices, read_text_table, some

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

CountKind = Literal["hard", "expected", "split", "given"]
"""How offices were counted: by one city each, by probabilities, shared along borders; or counts from a table."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Counts of cities, and how far the counts of two cities exclude each other."""

    codes: tuple[str, ...]
    """Cities."""
    counts: Floats = field(repr=False)
    """(n_cities,) counts or expected counts; NaN where unknown, which is not 0."""
    overlap: Any = field(default=None, repr=False)
    """(n_cities, n_cities) sparse, sum over offices of p_i p_j: no office is in both. None: all are certain."""
    kind: CountKind = "hard"
    """How the counts came about."""

    def products(self, i: Ints, j: Ints) -> Floats:
        """E[n_i n_j] of pairs of positions (i, j), i != j; NaN where a count is unknown."""
        product = self.counts[i] * self.counts[j]
        if self.overlap is None:
            return product
        # Rounding must not leave a product below zero where one office is shared by two cities and no other is there.
        return np.maximum(product - np.asarray(self.overlap[i, j]).ravel(), 0.0)

    def for_cities(self, codes: tuple[str, ...], *, unknown: Literal["error", "nan"] = "error") -> Exposure:
        """The same for a roster of cities, in its order.

        Parameters
        ----------
        unknown : what a city of the roster is that is not among these: an error, or an unknown count (NaN).
        """
        place = {code: k for k, code in enumerate(self.codes)}
        absent = [code for code in codes if code not in place]
        if absent and unknown == "error":
            raise CodeInvalid(
                f"{len(absent)} cities of the panel are not in the layer the offices were assigned to: {some(absent)}",
                where="city codes",
                mend="assign the offices to the boundaries of the panel's vintage",
            )
        at = np.array([place.get(code, -1) for code in codes], np.int64)
        counts = np.where(at < 0, np.nan, self.counts[at] if self.counts.size else np.nan)
        overlap = None if self.overlap is None else self.overlap[np.maximum(at, 0)][:, np.maximum(at, 0)]
        return Exposure(tuple(codes), counts, overlap, self.kind)


def expected_exposure(probabilities: Probabilities, kind: CountKind = "expected") -> Exposure:
    """Expected counts mu_c = sum_o p_oc, and E[n_i n_j] = mu_i mu_j - sum_o p_oi p_oj, offices being independent.

    Notes
    -----
    The sum over offices is the product of a sparse matrix with itself: no office by pair array. With p of 0 and 1 it
    vanishes off the diagonal and the products are those of whole counts. Source: METHOD 8.6.
    """
    from scipy import sparse

    shape = (probabilities.p_nowhere.size, len(probabilities.city_codes))
    entries = (probabilities.p, (probabilities.office_idx, probabilities.city_idx))
    matrix = sparse.csr_array(entries, shape=shape)
    counts = np.bincount(probabilities.city_idx, weights=probabilities.p, minlength=shape[1])
    return Exposure(probabilities.city_codes, np.asarray(counts, np.float64), (matrix.T @ matrix).tocsr(), kind)


def hard_exposure(hard: HardAssignment) -> Exposure:
    """Whole counts: one city for each office."""
    return Exposure(hard.city_codes, hard.counts(), None, "hard")


def read_counts(path: str | Path, column: str, *, code: str = "city_code") -> Exposure:
    """Read counts of cities, telephones of 1984 for example, from a CSV; an empty cell is unknown, not 0.

    Raises
    ------
    TableInvalid
        The file or a column is missing; a cell is neither empty nor a number of 0 or more.
    CodeInvalid
        A city occurs twice, or a code is not six digits.
    """
    path = Path(path)
    if not path.is_file():
        raise TableInvalid("there is no such table of counts", where=path, mend="check the path")
    table = read_text_table(path)
    absent = [name for name in (code, column) if name not in table]
    if absent:
        raise TableInvalid(
            f"no column {', '.join(absent)} among {', '.join(table.columns)}",
            where=path,
            mend=f"name the columns {code} and {column}, or say what they are called",
        )
    codes = tuple(table[code])
    odd = [value for value in codes if not (len(value) == 6 and value.isascii() and value.isdigit())]
    twice = sorted({value for value in codes if codes.count(value) > 1})
    if odd or twice:
        raise CodeInvalid(
            f"codes that are not six digits: {some(odd) or 'none'}; that occur twice: {some(twice) or 'none'}",
            where=path,
            mend="one row per city, its code as six-character text",
        )
    try:
        counts = np.array([float(value) if value else np.nan for value in table[column]])
    except ValueError as error:
        raise TableInvalid(f"{column}: {error}", where=path, mend="leave unknown counts empty") from error
    bad = [value for value, n in zip(codes, counts, strict=True) if n < 0 or np.isinf(n)]
    if bad:
        raise TableInvalid(
            f"{column} is negative or infinite for {some(bad)}", where=path, mend="leave unknown counts empty"
        )
    return Exposure(codes, counts, None, "given")


# --- rows of the tables ----------------------------------------------------------------------------------------------


def office_rows(offices: Offices, hard: HardAssignment, probabilities: Probabilities) -> pd.DataFrame:
    """Rows of ``gis.tables.OFFICE``: where each office stands, how surely, and in which city."""
    import pandas as pd

    n = len(offices)
    city = [None if k == NOWHERE else hard.city_codes[k] for k in hard.city_idx]
    px, py = offices.px.T
    return pd.DataFrame(
        {
            "office_id": offices.ids,
            "office_name": offices.names,
            "px": px,
            "py": py,
            "lon": offices.lonlat[:, 0],
            "lat": offices.lonlat[:, 1],
            "sigma_km": offices.sigma_km,
            "position": offices.position,
            "map_lon": offices.map_lonlat[:, 0],
            "map_lat": offices.map_lonlat[:, 1],
            "map_sigma_km": offices.map_sigma_km,
            "sigma_extra_km": offices.sigma_extra_km,
            "gazetteer_match": offices.match or ("",) * n,
            "gazetteer_id": offices.match_id or ("",) * n,
            "gazetteer_km": offices.match_km,
            "city_code": np.array(city, dtype=object),
            "assign_flag": hard.flags,
            "snap_km": hard.snap_km,
            "p_city": probabilities.of(hard.city_idx),
            "p_nowhere": probabilities.p_nowhere,
        }
    )


def probability_rows(offices: Offices, probabilities: Probabilities) -> pd.DataFrame:
    """Rows of ``gis.tables.OFFICE_CITY``: the probabilities above zero."""
    import pandas as pd

    return pd.DataFrame(
        {
            "office_id": np.array(offices.ids, dtype=object)[probabilities.office_idx],
            "city_code": np.array(probabilities.city_codes, dtype=object)[probabilities.city_idx],
            "p_office": probabilities.p,
        }
    )


def count_rows(hard: HardAssignment, probabilities: Probabilities, split: Probabilities | None = None) -> pd.DataFrame:
    """Rows of ``gis.tables.CITY_OFFICE``: every city of the layer with its counts, 0 included."""
    import pandas as pd

    shared = np.full(len(hard.city_codes), np.nan) if split is None else expected_exposure(split).counts
    return pd.DataFrame(
        {
            "city_code": hard.city_codes,
            "n_offices": hard.counts(),
            "n_offices_expected": expected_exposure(probabilities).counts,
            "n_offices_split": shared,
        }
    )
