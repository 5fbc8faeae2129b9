"""Inequality between the districts of a city: Gini, Theil with its parts, mean log deviation, variation (METHOD 7).

In: levels and populations of districts, by city and year. Out: indices of every city and year. Weighted indices weigh a
district by its population, so that their mean is the city's own level; unweighted ones count every district alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import OptionInvalid, TableInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

ZeroRule = Literal["nan", "floor"]
MIN_DISTRICTS = 2
"""Fewer districts with a level: no index (METHOD 7)."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Districts of every group (a city in a year) side by side; short groups are filled up with weight 0."""

    x: Floats = field(repr=False)
    """(n_groups, m) levels; 0 where there is no district."""
    w: Floats = field(repr=False)
    """(n_groups, m) weights that add up to 1; 0 where there is no district."""
    there: Bools = field(repr=False)
    """(n_groups, m) whether there is a district."""

    @property
    def mean(self) -> Floats:
        """(n_groups,) weighted mean level."""
        return np.asarray((self.w * self.x).sum(axis=1))

    @property
    def enough(self) -> Bools:
        """(n_groups,) whether the group has two districts, a mean above 0 and finite weights."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self.there.sum(axis=1) >= MIN_DISTRICTS) & (self.mean > 0))

    def evenly(self) -> Groups:
        """The same districts, each of weight 1 / n."""
        n = np.maximum(self.there.sum(axis=1, keepdims=True), 1)
        return Groups(self.x, np.where(self.there, 1.0 / n, 0.0), self.there)


def groups_from_arrays(level: Floats, weight: Floats, group: NDArray[np.int64], n: int) -> Groups:
    """Put districts side by side by group.

    Parameters
    ----------
    level, weight : (n_districts,) level of 0 or more, weight above 0; a district with a NaN in either is left out.
    group : (n_districts,) 0 to n - 1, or -1 for none.
    """
    use = np.flatnonzero(np.isfinite(level) & (weight > 0) & (group >= 0))
    order = use[np.argsort(group[use], kind="stable")]
    g = group[order]
    size = np.bincount(g, minlength=n)
    column = np.arange(g.size) - np.repeat(np.cumsum(size) - size, size)
    m = int(size.max(initial=0))
    x, w, there = np.zeros((n, m)), np.zeros((n, m)), np.zeros((n, m), bool)
    x[g, column], w[g, column], there[g, column] = level[order], weight[order], True
    total = w.sum(axis=1, keepdims=True)
    return Groups(x, np.divide(w, total, out=np.zeros_like(w), where=total > 0), there)


def gini(groups: Groups) -> Floats:
    """Sum over all two districts of w_d w_e |x_d - x_e|, over twice the mean; NaN for a group without two districts.

    Notes
    -----
    Sorted by level the double sum is one pass: 2 sum of w_d x_d (F_before + F_with - 1), F the running weight.
    """
    order = np.argsort(np.where(groups.there, groups.x, np.inf), axis=1, kind="stable")
    x, w = (np.take_along_axis(v, order, axis=1) for v in (groups.x, groups.w))
    running = np.cumsum(w, axis=1)
    double = 2 * (w * x * (2 * running - w - 1)).sum(axis=1)
    # Of equal levels a remainder of rounding may stay, of either sign.
    return _over(np.maximum(double, 0.0), 2 * groups.mean, groups.enough)


def theil(groups: Groups) -> Floats:
    """Sum of w x / mean ln(x / mean), with 0 ln 0 = 0; NaN for a group without two districts."""
    return np.where(groups.enough, np.maximum(_theil(groups.x, groups.w, groups.mean), 0.0), np.nan)


def theil_parts(groups: Groups, centre: Bools) -> tuple[Floats, Floats]:
    """Theil between and within two parts of every group, such as centre and periphery; they add up to `theil`.

    Parameters
    ----------
    centre : (n_groups, m) which districts are the one part.

    Returns
    -------
    between, within : (n_groups,)
        ``between`` is the Theil of the two parts' means, ``within`` the sum of the parts' own, each times its share of
        the light (METHOD 7). NaN where one part has no district.
    """
    mean = groups.mean
    between, within = np.zeros(mean.size), np.zeros(mean.size)
    both = groups.enough.copy()
    for part in (centre & groups.there, ~centre & groups.there):
        weight = np.where(part, groups.w, 0.0)
        size = weight.sum(axis=1)
        both &= part.any(axis=1)
        own = _over((weight * groups.x).sum(axis=1), size, size > 0, 0.0)
        share = _over(size * own, mean, mean > 0, 0.0)
        between += share * _ln(_over(own, mean, mean > 0, 1.0))
        inner = _over(weight, size[:, None], (size > 0)[:, None], 0.0)
        within += share * _theil(groups.x, inner, own)
    return np.where(both, between, np.nan), np.where(both, within, np.nan)


def mean_log_deviation(groups: Groups, *, zeros: ZeroRule = "nan", floor: float = 0.0) -> Floats:
    """Sum of w ln(mean / x).

    Parameters
    ----------
    zeros : a district of level 0 makes the index infinite: ``nan`` gives NaN; ``floor`` raises levels below ``floor``
        to it first (and the mean with them).
    """
    if zeros not in ("nan", "floor"):
        raise OptionInvalid(f"no rule {zeros!r}", where="mld", mend="nan or floor")
    if zeros == "floor" and not floor > 0:
        raise OptionInvalid(f"floor = {floor}", where="mld", mend="give a level above 0")
    x = np.where(groups.there, np.maximum(groups.x, floor), 0.0) if zeros == "floor" else groups.x
    mean = (groups.w * x).sum(axis=1)
    positive = np.where(groups.there, x > 0, True).all(axis=1) & groups.enough
    logs = np.zeros(x.shape)
    np.log(x, out=logs, where=x > 0)
    deviation = _ln(np.where(mean > 0, mean, 1.0)) - (groups.w * logs).sum(axis=1)
    return np.where(positive, np.maximum(deviation, 0.0), np.nan)


def variation(groups: Groups) -> Floats:
    """Coefficient of variation: root of sum of w (x - mean)^2, over the mean."""
    mean = groups.mean
    spread = np.sqrt((groups.w * (groups.x - mean[:, None]) ** 2).sum(axis=1))
    return _over(spread, mean, groups.enough)


def min_max_ratio(groups: Groups) -> Floats:
    """Lowest over highest level."""
    low = np.where(groups.there, groups.x, np.inf).min(axis=1, initial=np.inf)
    high = np.where(groups.there, groups.x, -np.inf).max(axis=1, initial=-np.inf)
    return _over(np.where(np.isfinite(low), low, 0.0), high, groups.enough & (high > 0))


def periphery_over_centre(groups: Groups, centre: Bools) -> Floats:
    """``bal_in``: level of all districts outside the centre together, over the centre's (sums of light over people).

    NaN where one of the two has no district or no people, or the centre no light.
    """
    parts = []
    for part in (~centre & groups.there, centre & groups.there):
        weight = np.where(part, groups.w, 0.0)
        size = weight.sum(axis=1)
        parts.append(_over((weight * groups.x).sum(axis=1), size, size > 0))
    return _over(parts[0], parts[1], np.nan_to_num(parts[1]) > 0)


def inequality(
    districts: pd.DataFrame,
    centre: pd.DataFrame | None = None,
    *,
    cities: tuple[str, ...] = (),
    mld_zeros: ZeroRule = "nan",
    mld_floor: float = 0.0,
) -> pd.DataFrame:
    """Indices of every city and year.

    Parameters
    ----------
    districts : ``district_code, city_code, year, level, pop_persons``; a district without a city (empty code) is in
        none.
    centre : ``district_code, year, is_centre, centre_rule``, as `gis.indicators.centre.choose_centre` makes it;
        without it the indices of centre and periphery are NaN.
    cities : cities to give rows for although they have no district (Dongguan, Zhongshan, ...): all their indices are
        NaN.

    Returns
    -------
    DataFrame, columns of ``gis.tables.CITY_WITHIN`` without flows, by city and year.

    Raises
    ------
    TableInvalid
        A column is missing, a district and year stands twice, or a level is negative.
    """
    import pandas as pd

    frame = _checked(districts)
    roster = sorted({*frame["city_code"], *cities})
    years = np.unique(frame["year"].to_numpy(np.int64))
    city = pd.Index(roster, dtype=object).get_indexer(frame["city_code"].astype(object))
    group = city * years.size + np.searchsorted(years, frame["year"].to_numpy(np.int64))
    n = len(roster) * years.size
    level = frame["level"].to_numpy(np.float64, na_value=np.nan)
    people = frame["pop_persons"].to_numpy(np.float64, na_value=np.nan)
    groups = groups_from_arrays(level, people, group, n)
    even = groups.evenly()
    valid = np.isfinite(level) & (people > 0)
    is_centre, rule = _centre_marks(frame, centre)
    marks = groups_from_arrays(np.where(valid, is_centre.astype(float), np.nan), people, group, n).x > 0
    between, within = theil_parts(groups, marks) if centre is not None else (np.full(n, np.nan),) * 2
    columns: dict[str, Any] = {
        "city_code": np.repeat(np.array(roster, dtype=object), years.size),
        "year": np.tile(years.astype(np.int32), len(roster)),
        "n_districts": groups.there.sum(axis=1).astype(np.int32),
        "n_districts_missing": np.bincount(group[~valid], minlength=n).astype(np.int32),
        "gini": gini(groups),
        "gini_unweighted": gini(even),
        "theil": theil(groups),
        "theil_between": between,
        "theil_within": within,
        "theil_unweighted": theil(even),
        "mld": mean_log_deviation(groups, zeros=mld_zeros, floor=mld_floor),
        "mld_unweighted": mean_log_deviation(even, zeros=mld_zeros, floor=mld_floor),
        "cv": variation(groups),
        "cv_unweighted": variation(even),
        "min_max_ratio": min_max_ratio(groups),
        "bal_in": periphery_over_centre(groups, marks) if centre is not None else np.full(n, np.nan),
        "centre_rule": _rule_of(rule, city, len(roster), years.size),
        "n_centre": marks.sum(axis=1).astype(np.int32),
    }
    return pd.DataFrame(columns)


def _checked(districts: pd.DataFrame) -> pd.DataFrame:
    wanted = ("district_code", "city_code", "year", "level", "pop_persons")
    absent = [name for name in wanted if name not in districts.columns]
    if absent:
        raise TableInvalid(
            f"the districts have no column {', '.join(absent)}",
            where=f"columns {', '.join(map(str, districts.columns))}",
            mend="give rows of district_year",
        )
    frame = districts[list(wanted)]
    frame = frame[frame["city_code"].notna() & (frame["city_code"] != "")]
    twice = frame.duplicated(["district_code", "year"]).to_numpy()
    if twice.any():
        first = frame[twice].iloc[0]
        raise TableInvalid(
            f"{int(twice.sum())} rows repeat a district and year, first {first['district_code']} in {first['year']}",
            mend="keep one row for each district and year",
        )
    if (frame["level"] < 0).any():
        first = frame[frame["level"] < 0].iloc[0]
        raise TableInvalid(
            f"the level of {first['district_code']} in {first['year']} is {first['level']:g}",
            mend='indices need levels of 0 or more: set negatives = "zero" under [lights]',
        )
    return frame


def _centre_marks(frame: pd.DataFrame, centre: pd.DataFrame | None) -> tuple[Bools, NDArray[Any]]:
    """(n_rows,) whether a district belongs to its centre, and the rule that said so."""
    if centre is None:
        return np.zeros(len(frame), bool), np.full(len(frame), "", dtype=object)
    merged = frame[["district_code", "year"]].merge(
        centre[["district_code", "year", "is_centre", "centre_rule"]], on=["district_code", "year"], how="left"
    )
    marked = merged["is_centre"].astype("boolean").fillna(False).to_numpy(bool)
    return marked, merged["centre_rule"].fillna("").to_numpy(object)


def _rule_of(rule: NDArray[Any], city: NDArray[np.int64], n_cities: int, n_years: int) -> NDArray[Any]:
    """(n_groups,) the rule that chose a city's centre; empty for a city without one."""
    out = np.full(n_cities, "", dtype=object)
    named = rule != ""
    out[city[named]] = rule[named]
    return np.repeat(out, n_years)


def _theil(x: Floats, w: Floats, mean: Floats) -> Floats:
    relative = _over(x, mean[:, None], (mean > 0)[:, None], 0.0)
    return np.asarray((w * relative * _ln(relative)).sum(axis=1))


def _ln(x: Floats) -> Floats:
    """Logarithm, 0 where x is 0: it is multiplied by x."""
    out = np.zeros(x.shape)
    np.log(x, out=out, where=x > 0)
    return out


def _over(a: Floats, b: Floats, where: Any, otherwise: float = np.nan) -> Floats:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return np.divide(a, b, out=np.full(shape, otherwise), where=np.broadcast_to(where, shape))
