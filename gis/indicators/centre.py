"""The centre of a city: which of its districts, by one of four rules (METHOD 7).

In: district-year rows; for the rule ``seat``, seats and polygons. Out: rows of ``DISTRICT_CENTRE``. The centre is
chosen once, in a base year, and stays, unless it is asked to move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.errors import OptionInvalid, TableInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.grid import Zones

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

CentreRule = Literal["seat", "districts", "brightest", "share90"]

LIGHT_SHARE = 0.9
"""Share of a city's light that the centre of ``share90`` holds. Source: METHOD 7."""

LAST_DISTRICT = 20
"""Last pair of a code up to which a unit is an urban district; counties begin at 21. Source: GB/T 2260, METHOD 9.1."""


def choose_centre(
    districts: pd.DataFrame,
    rule: CentreRule,
    *,
    base_year: int | None = None,
    dynamic: bool = False,
    seats: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Say of every district and year whether it belongs to the centre of its city.

    Parameters
    ----------
    districts : ``district_code, city_code, year`` and, for ``brightest`` and ``share90``, ``light_density_dn`` and
        ``light_sum_true_dn_km2``. A district without a city belongs to no centre.
    rule : ``seat``: the districts in ``seats``; ``districts``: all units whose code ends in 01 to 20; ``brightest``:
        the one with the most light per area; ``share90``: the fewest, by falling light per area, that hold 90 % of
        the city's light.
    base_year : year in which the light is looked at; default: the first. A city without light data in it is looked at
        in its own first year that has any.
    dynamic : look at the light of every year anew.
    seats : codes of the districts in which cities have their government; see `seats_from_points`.

    Returns
    -------
    DataFrame, columns of ``gis.tables.DISTRICT_CENTRE``, by district and year
        Every row of a city with a centre; a city for which the rule finds none has no centre in it.

    Raises
    ------
    OptionInvalid
        No such rule; the base year has no row; ``seat`` without seats.
    TableInvalid
        A column is missing.
    """
    import pandas as pd

    if rule not in get_args(CentreRule):
        raise OptionInvalid(f"no rule {rule!r}", where="centre", mend=f"one of {', '.join(get_args(CentreRule))}")
    light = ("light_density_dn", "light_sum_true_dn_km2") if rule in ("brightest", "share90") else ()
    absent = [name for name in ("district_code", "city_code", "year", *light) if name not in districts.columns]
    if absent:
        raise TableInvalid(f"the districts have no column {', '.join(absent)}", mend="give rows of district_year")
    frame = districts[districts["city_code"].notna() & (districts["city_code"] != "")]
    frame = frame.sort_values(["district_code", "year"], ignore_index=True)
    if rule == "seat":
        if not seats:
            raise OptionInvalid("no seats are given", where="centre = seat", mend="set within_city.seats")
        chosen = frame["district_code"].isin(seats).to_numpy()
    elif rule == "districts":
        chosen = frame["district_code"].map(_is_urban).to_numpy(bool)
    else:
        chosen = _by_light(frame, rule, base_year, dynamic)
    has_one = pd.Series(chosen).groupby(frame["city_code"].to_numpy()).transform("any").to_numpy(bool)
    return pd.DataFrame(
        {
            "district_code": frame["district_code"],
            "year": frame["year"],
            "city_code": frame["city_code"],
            "is_centre": chosen,
            "centre_rule": np.where(has_one, rule, ""),
        }
    )


def seats_from_points(points: Floats, zones: Zones) -> tuple[str, ...]:
    """Codes of the districts in which seats lie; a seat on a border belongs to the lower code, one in none to none.

    Parameters
    ----------
    points : (n, 2) longitude and latitude of seats, WGS 84 [degree]; NaN is left out.
    """
    import shapely

    from gis.crs import crs_from, transform_geometry

    order = np.argsort(zones.codes)
    polygons = np.asarray(transform_geometry(zones.geometry, zones.crs, crs_from("EPSG:4326")), dtype=object)[order]
    known = points[np.isfinite(points).all(axis=1)]
    zone, point = shapely.STRtree(shapely.points(known)).query(polygons, predicate="intersects")
    found = np.full(len(known), len(order))
    np.minimum.at(found, point, zone)
    return tuple(sorted({zones.codes[order[k]] for k in found if k < len(order)}))


def _is_urban(code: str) -> bool:
    return code[4:6].isdigit() and 1 <= int(code[4:6]) <= LAST_DISTRICT


def _by_light(frame: pd.DataFrame, rule: CentreRule, base_year: int | None, dynamic: bool) -> Bools:
    """(n_rows,) centre by light: of each year, or of the base year for all years."""
    year = frame["year"].to_numpy(np.int64)
    if base_year is not None and not (year == base_year).any():
        raise OptionInvalid(
            f"no district has a row in the base year {base_year}",
            where="base_year",
            mend=f"one of {', '.join(map(str, np.unique(year).tolist()))}",
        )
    density = frame["light_density_dn"].to_numpy(np.float64, na_value=np.nan)
    light = frame["light_sum_true_dn_km2"].to_numpy(np.float64, na_value=np.nan)
    city = frame["city_code"].to_numpy(object).astype(str)
    known = np.isfinite(density) & np.isfinite(light)
    if dynamic:
        use = known
    else:
        base = year if base_year is None else np.where(year == base_year, -(10**6), year)
        use = known & (base == _first_known(base, city, known))
    chosen = np.zeros(len(frame), bool)
    at = np.flatnonzero(use)
    # Of equal densities the lower code comes first: lexsort is stable and the frame is sorted by code.
    at = at[np.lexsort((-density[at], year[at], city[at]))]
    new = (
        np.r_[True, (city[at][1:] != city[at][:-1]) | (year[at][1:] != year[at][:-1])] if at.size else np.empty(0, bool)
    )
    if rule == "brightest":
        chosen[at[new]] = True
    else:
        chosen[at[_first_share(light[at], new)]] = True
    if dynamic:
        return chosen
    code = frame["district_code"].to_numpy(object)
    return np.isin(code.astype(str), np.unique(code[chosen].astype(str)))


def _first_known(base: NDArray[Any], city: NDArray[Any], known: Bools) -> NDArray[np.int64]:
    """(n_rows,) for each row's city the first year, in the order of ``base``, in which a district has light data."""
    _, at = np.unique(city, return_inverse=True)
    first = np.full(int(at.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, at[known], base[known])
    return np.asarray(first[at])


def _first_share(light: Floats, new: Bools) -> Bools:
    """Which rows of each group, in the order given, are needed to hold the share of the group's light."""
    group = np.cumsum(new) - 1
    total = np.bincount(group, weights=light)
    running = np.cumsum(light)
    before = running - light
    start = before[np.flatnonzero(new)]
    # 1e-12: a share that is met exactly must not fail by rounding of the running sum.
    return np.asarray((before - start[group] < LIGHT_SHARE * total[group] * (1 - 1e-12)) & (total[group] > 0))
