"""Moderators and dummies of heterogeneity by name, read with the row's hi and lo (METHOD 6.5).

In: city-level matrices, levels, codes. Out: variables ``compat_*``, ``gap_*``, ``east_*`` of the pair panel. Everything
is dated in the lagged year or in a base year.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.boundaries.reference import provinces
from gis.errors import OptionInvalid, TableInvalid
from gis.panel.covariates import CityMatrix, pair_form
from gis.panel.rows import PairRows, Variable, need, numbers, row_name, shown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

CLASSES_2014 = (20e4, 50e4, 100e4, 300e4, 500e4, 1000e4)
"""Lower bounds of size classes 2 to 7 [urban residents]. Source: State Council 2014, Notice 51; METHOD 6.5."""
CLASSES_1989 = (20e4, 50e4, 100e4)
"""Lower bounds of size classes 2 to 4 [urban residents]. Source: City Planning Act 1989, with its class above a million
as the statistical yearbooks have it."""

LIGHT_QUARTERS = (0.25, 0.75)
"""Quantiles of the cities' levels below and above which gap_light looks. Source: METHOD 6.5."""

LnRule = Literal["auto", "ln", "ln1p"]
Reverse = Literal["max", "inverse", "none"]


def compat_kno(matrix: CityMatrix, *, ln: LnRule = "auto", lag: int = 1, name: str = "compat_kno") -> Variable:
    """``compat_kno``: logarithm of lo's new digital firms in the lagged year.

    ``auto`` takes ln(1 + x) for all where any value is 0, and ln x where none is: METHOD's "ln(1+x) if zeros".
    """
    if ln not in ("auto", "ln", "ln1p"):
        raise OptionInvalid(f"no logarithm {ln!r}", where=name, mend="one of auto, ln, ln1p")
    plus_one = ln == "ln1p" or (ln == "auto" and bool((matrix.values == 0).any()))
    logs = matrix.transformed("ln1p" if plus_one else "ln")
    return lambda rows: {name: pair_form(logs, rows, "own_l", rows.year - lag)}


def compat_dem(imports: pd.DataFrame, codes: Iterable[str], at: Ints, where: object = None) -> Floats:
    """(n_codes,) compatibility of a city's demand: 1 over the mean over products of the Theil across source countries.

    Parameters
    ----------
    imports : ``hs2, country, value``: imports of a base year; repeated keys are summed.
    at : (n_rows,) position of each row's city in ``codes``; -1 is left out.

    Notes
    -----
    The Theil of a product runs over all countries that the table names for it, those without imports into the city as
    0 (0 ln 0 = 0): a single source is the most concentrated case, ln N, and not an even one. Products a city does not
    import do not count. NaN for a city without imports, or with even imports throughout (1 / 0).
    docs/decisions/0069-moderators-read-literally.md. Oracle: ``tests/test_panel_moderators.py::theil_by_hand``.
    """
    need(imports, ("hs2", "country", "value"), "the imports", where)
    n_cities = len(tuple(codes))
    value = numbers(imports, "value", where)
    if not (value >= 0).all():
        k = int(np.flatnonzero(~(value >= 0))[0])
        raise TableInvalid(
            f"imports are {shown(imports['value'].iloc[k])}", where=row_name(where, k), mend="give a value of 0 or more"
        )
    product = _coded(imports["hs2"])
    country = _coded(imports["country"])
    n_products, n_countries = int(product.max(initial=-1)) + 1, int(country.max(initial=-1)) + 1
    named = np.zeros((n_products, n_countries), bool)
    named[product, country] = True
    use = at >= 0
    key = (at[use] * n_products + product[use]) * n_countries + country[use]
    cell, back = np.unique(key, return_inverse=True)
    total = np.bincount(back, weights=value[use], minlength=cell.size)
    city_product = cell // n_countries
    group = n_cities * n_products
    of_group = np.bincount(city_product, weights=total, minlength=group)
    share = np.divide(total, of_group[city_product], out=np.zeros(total.size), where=of_group[city_product] > 0)
    entropy = np.zeros(share.size)
    np.log(share, out=entropy, where=share > 0)
    # sum of (x / mean) ln(x / mean) over N countries, divided by N, is ln N + sum of share ln share.
    theil = np.log(np.maximum(named.sum(axis=1), 1))[np.arange(group) % max(n_products, 1)] + np.bincount(
        city_product, weights=share * entropy, minlength=group
    )
    table = np.where(of_group > 0, theil, np.nan).reshape(n_cities, n_products)
    imported = ~np.isnan(table)
    mean = np.divide(np.nansum(table, axis=1), imported.sum(axis=1), out=np.full(n_cities, np.nan),
                     where=imported.any(axis=1))  # fmt: skip
    return np.divide(1.0, mean, out=np.full(n_cities, np.nan), where=mean > TINY_THEIL)


TINY_THEIL = 1e-12
"""A Theil below it is 0 with rounding."""


def mean_of_others(values: Floats, codes: tuple[str, ...]) -> Floats:
    """(n_codes,) mean over the other cities of the province that have a value; NaN where there is none."""
    province = _coded_texts([code[:2] for code in codes])
    known = np.isfinite(values)
    total = np.bincount(province, weights=np.where(known, values, 0.0))[province] - np.where(known, values, 0.0)
    n = np.bincount(province, weights=known.astype(float))[province] - known
    return np.divide(total, n, out=np.full(values.size, np.nan), where=n > 0)


def fixed(values: Floats, codes: tuple[str, ...]) -> CityMatrix:
    """Values of cities that hold in every year."""
    return CityMatrix(codes, None, values[None, :])


def of_lo(name: str, matrix: CityMatrix, *, lag: int = 1) -> Variable:
    """Lo's own value."""
    return lambda rows: {name: pair_form(matrix, rows, "own_l", rows.year - lag)}


def gap(
    name: str, matrix: CityMatrix, *, reverse: Reverse = "none", largest: float | None = None, lag: int = 1
) -> Variable:
    """Ratio of lo over hi, as it is or reversed.

    Parameters
    ----------
    reverse : ``max``: the largest ratio over pairs minus the ratio; ``inverse``: 1 over the ratio.
    largest : for ``max``: what `largest_ratio` finds.
    """
    if reverse == "max" and largest is None:
        raise OptionInvalid("the largest ratio is not given", where=name, mend="give largest = largest_ratio(...)")

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        ratio = pair_form(matrix, rows, "ratio_lh", rows.year - lag)
        if reverse == "max":
            ratio = float(largest or 0.0) - ratio
        elif reverse == "inverse":
            ratio = np.divide(1.0, ratio, out=np.full(ratio.size, np.nan), where=ratio != 0)
        return {name: ratio}

    return columns


def largest_ratio(matrix: CityMatrix, rows: Iterable[PairRows], lag: int = 1) -> float:
    """Largest ratio of lo over hi over all rows; NaN where no row has one."""
    best = -np.inf
    for some in rows:
        ratio = pair_form(matrix, some, "ratio_lh", some.year - lag)
        best = max(best, float(np.nanmax(ratio, initial=-np.inf)))
    return best if np.isfinite(best) else float("nan")


def regions(codes: tuple[str, ...]) -> Variable:
    """``east_east, west_west, east_west, east_dev`` by the 11 eastern provinces (METHOD 3.1); the rest are pooled.

    ``east_dev`` is 1 where hi lies in the east, for pairs of an eastern and another city, and NaN for all others.
    """
    east = is_east(codes)

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        a, b = east[rows.i], east[rows.j]
        across = a != b
        hi_east = np.where(rows.is_ordered, east[rows.hi].astype(np.float64), np.nan)
        return {
            "east_east": (a & b).astype(np.float64),
            "west_west": (~a & ~b).astype(np.float64),
            "east_west": across.astype(np.float64),
            "east_dev": np.where(across, hi_east, np.nan),
        }

    return columns


def is_east(codes: tuple[str, ...]) -> NDArray[np.bool_]:
    """(n_codes,) whether a city lies in the 11 eastern provinces, Liaoning, Hebei and Hainan included."""
    eastern = {p.code[:2] for p in provinces() if p.region == "east"}
    return np.array([code[:2] in eastern for code in codes], bool)


def size_classes(persons: Floats, bounds: tuple[float, ...] = CLASSES_2014) -> Floats:
    """(n,) size class from 1; NaN where the population is unknown. A bound belongs to the class above it."""
    return np.where(np.isfinite(persons), 1.0 + np.searchsorted(bounds, persons, side="right"), np.nan)


def gap_scale(persons: CityMatrix, *, lag: int = 1) -> Variable:
    """``gap_scale`` and ``gap_scale_1989``: size class of hi minus that of lo."""
    both = {
        name: CityMatrix(persons.codes, persons.years, size_classes(persons.values, bounds))
        for name, bounds in (("gap_scale", CLASSES_2014), ("gap_scale_1989", CLASSES_1989))
    }
    return lambda rows: {name: pair_form(m, rows, "diff_hl", rows.year - lag) for name, m in both.items()}


def gap_light(levels: CityMatrix) -> Variable:
    """``gap_light``: 1 where lo's mean level is at most the lower and hi's at least the upper quartile of cities.

    ``gap_light_first`` is the same by the levels of the first year. The mean is over the years a city has a level in;
    quartiles are numpy's linear ones. NaN where a city has no level or the row no orientation.
    """
    values = levels.values
    known = np.isfinite(values)
    n = known.sum(axis=0)
    mean = np.divide(np.where(known, values, 0.0).sum(axis=0), n, out=np.full(n.size, np.nan), where=n > 0)
    sides = {name: _low_high(v) for name, v in (("gap_light", mean), ("gap_light_first", values[0]))}

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        out = {}
        for name, (low, high) in sides.items():
            of_lo = np.where(rows.lo >= 0, low[rows.lo], np.nan)
            out[name] = np.where(rows.hi >= 0, high[rows.hi], np.nan) * of_lo  # 1 only where both are 1
        return out

    return columns


def _low_high(values: Floats) -> tuple[Floats, Floats]:
    """(n_codes,) 1, 0 or NaN: whether a city is among the lowest, and among the highest quarter."""
    known = np.isfinite(values)
    low, high = np.quantile(values[known], LIGHT_QUARTERS) if known.any() else (np.nan, np.nan)
    return np.where(known, values <= low, np.nan), np.where(known, values >= high, np.nan)


def centred(variable: Variable, means: dict[str, float]) -> Variable:
    """A variable minus its means; see `means_of`."""
    return lambda rows: {name: values - means[name] for name, values in variable(rows).items()}


def means_of(variable: Variable, rows: Iterable[PairRows]) -> dict[str, float]:
    """Mean of every column of a variable over all rows that have it."""
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for some in rows:
        for name, values in variable(some).items():
            known = np.isfinite(values)
            total[name] = total.get(name, 0.0) + float(values[known].sum())
            count[name] = count.get(name, 0) + int(known.sum())
    return {name: total[name] / count[name] if count[name] else float("nan") for name in total}


def _coded(column: pd.Series) -> Ints:
    return _coded_texts(column.astype("string").to_numpy(object).tolist())


def _coded_texts(texts: list[str]) -> Ints:
    return np.unique(np.array(texts, dtype=str), return_inverse=True)[1].astype(np.int64)
