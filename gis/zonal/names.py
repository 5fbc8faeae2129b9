"""Names of zonal statistics, their definitions, and how a user's list of them is read.

In: text such as ``"sum,quantile(0.9)"``. Out: checked names, and for each what has to be computed for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Literal

from gis.errors import OptionInvalid

Family = Literal["sums", "ordered", "weighted", "weighted_ordered", "per_head"]
"""What a statistic is computed from: sums, the zone's values in order, and the same with a raster of weights."""

STATISTICS: dict[str, str] = {
    "count": "sum of f over valid cells [cells]",
    "sum": "sum of f * w * v [unit of the raster, times km2 unless w is 1]",
    "mean": "sum of f * w * v over sum of f * w [unit of the raster]",
    "min": "smallest valid v with f > 0 [unit]",
    "max": "largest valid v with f > 0 [unit]",
    "variance": "sum of f * (v - m)^2 over sum of f, m the mean with w = 1 [unit squared]",
    "stdev": "square root of variance [unit]",
    "coefficient_of_variation": "stdev over the mean with w = 1 [1]",
    "lit_fraction": "sum of f over valid cells with v > 0, over count [1]",
    "valid_area_km2": "sum of f * area on the ellipsoid over valid cells [km2]",
    "median": "quantile(0.5) [unit]",
    "majority": "the v with the greatest sum of f; of several, the greatest [unit]",
    "minority": "the v with the smallest sum of f; of several, the smallest [unit]",
    "variety": "number of distinct v with f > 0 [1]",
    "gini": "sum over pairs of cells of f * f' * |v - v'|, over 2 m (sum of f)^2; NaN unless m > 0 [1]",
    "theil": "sum of f * (v / m) * ln(v / m), over sum of f; 0 ln 0 = 0; NaN unless m > 0 and no v < 0 [1]",
}
"""Statistic to definition; v is the cell's value, f its share inside the zone, w its weight under the measure.

Source: exactextract's operations, with population variance; ``sum`` and ``mean`` also under a measure. Gini and Theil
as METHOD 7 defines them for districts, here for cells.
"""

QUANTILE = (
    "quantile(q): let the n distinct values rise, value k (from 0) with the summed share f_k, F_k the sum of the "
    "shares below it; value k stands at k f_k + (n - 1) F_k, and the quantile is linear between values, at "
    "q (n - 1) times the sum of f [unit]"
)
"""Definition of quantiles, exactextract's."""

WEIGHTED: dict[str, str] = {
    "weighted_sum": "sum of p * v over pieces with a value [unit of the raster times unit of the weights]",
    "weighted_mean": "weighted_sum over weight_on_data [unit]",
    "weighted_variance": "sum of p * (v - m)^2 over weight_on_data, m the weighted mean [unit squared]",
    "weighted_stdev": "square root of weighted_variance [unit]",
    "weight_sum": "sum of p over all pieces, values or not: the zone's sum of the weight raster [unit of the weights]",
    "weight_on_data": "sum of p over pieces with a value [unit of the weights]",
    "weighted_median": "weighted_quantile(0.5) [unit]",
    "weighted_gini": "gini with p for f: inequality of v among persons, where p counts persons [1]",
    "weighted_theil": "theil with p for f [1]",
    "median_per_head": "quantile(0.5) with p for f and v * area / weight of the cell for v [unit km2 per weight]",
    "gini_per_head": "gini with p for f and v * area / weight of the cell for v: inequality of light per person [1]",
    "theil_per_head": "theil with p for f and v * area / weight of the cell for v [1]",
}
"""Statistics that need a raster of weights; p is the weight of a piece of a weight cell inside the zone, v the value
at its centre (see `gis.zonal.weighted`). ``weighted_quantile(q)`` is ``quantile(q)`` with p for f.

A piece without weight, or of weight 0, counts nowhere: light that falls on nobody is nobody's.
"""

_ORDERED = ("median", "majority", "minority", "variety", "gini", "theil")
_QUANTILE = re.compile(r"(weighted_)?quantile\((?:\s*q\s*=)?\s*([^(),\s]+)\s*\)")


def check_statistics(stats: str | Sequence[str]) -> tuple[str, ...]:
    """Return the statistics as a tuple of names in one spelling, or name the nearest known one.

    Raises
    ------
    OptionInvalid
    """
    asked = re.split(r",(?![^(]*\))", stats) if isinstance(stats, str) else list(stats)
    names = tuple(_checked(s.strip()) for s in asked)
    if len(set(names)) != len(names):
        raise OptionInvalid("a statistic is asked for twice", mend="name each once")
    return names


def _checked(stat: str) -> str:
    if stat in STATISTICS or stat in WEIGHTED:
        return stat
    if "quantile" in stat:
        return _checked_quantile(stat)
    near = difflib.get_close_matches(stat, [*STATISTICS, *WEIGHTED], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise OptionInvalid(f"no statistic {stat!r}", mend=f"{hint}known: {', '.join(STATISTICS)}, quantile(q)")


def _checked_quantile(stat: str) -> str:
    found = _QUANTILE.fullmatch(stat)
    try:
        q = float(found[2]) if found else float("nan")
    except ValueError:
        q = float("nan")
    if found is None or not 0.0 <= q <= 1.0:
        raise OptionInvalid(
            f"no quantile {stat!r}", mend="write one q between 0 and 1 each time: quantile(0.1),quantile(0.9)"
        )
    return f"{found[1] or ''}quantile({q!r})"


def quantile_of(stat: str) -> float | None:
    """The q of a quantile or median; None for other statistics."""
    if stat.removeprefix("weighted_").removesuffix("_per_head") == "median":
        return 0.5
    found = _QUANTILE.fullmatch(stat)
    return float(found[2]) if found else None


def family_of(stat: str) -> Family:
    """What a checked statistic is computed from."""
    if stat.endswith("_per_head"):
        return "per_head"
    base = stat.removeprefix("weighted_")
    is_ordered = base in _ORDERED or quantile_of(stat) is not None
    if stat in WEIGHTED or stat != base:
        return "weighted_ordered" if is_ordered else "weighted"
    return "ordered" if is_ordered else "sums"


def needs_weights(stat: str) -> bool:
    """Whether a checked statistic needs a raster of weights."""
    return family_of(stat) not in ("sums", "ordered")


def definition_of(stat: str) -> str:
    """What a checked statistic means, in a line."""
    plain = {**STATISTICS, **WEIGHTED}.get(stat)
    return plain or (f"{QUANTILE}; here with p for f" if stat.startswith("weighted_") else QUANTILE)
