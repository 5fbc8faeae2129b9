"""Inside a city: flows between its centre and its periphery, and the pair panel of its districts (METHOD 7).

In: flows between districts, which districts are a centre, district levels. Out: columns of ``CITY_WITHIN``, and rows of
``PAIR_YEAR`` for districts of one city.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.panel.flows import FlowTable
from gis.panel.orientation import TieRule
from gis.panel.pairs import balance_batches
from gis.panel.rows import need, positions

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def centre_periphery_flows(
    flows: FlowTable,
    centre: pd.DataFrame,
    within: pd.DataFrame,
    *,
    lag: int = 1,
    city_flows: FlowTable | None = None,
) -> pd.DataFrame:
    """Add flows between centre and periphery, and from outside, to the rows of a city-year table.

    Parameters
    ----------
    flows : between districts.
    centre : rows of ``DISTRICT_CENTRE``; the centre of the flow's year counts.
    within : ``city_code, year`` and whatever else.
    lag : years between a row and its flows, as everywhere in the panel.
    city_flows : flows between cities, for ``dkf_external``; default: summed from the districts'.

    Returns
    -------
    DataFrame: ``within`` with ``dkf_ctop, dkf_ptoc, ln_dkf_ctop_net, dkf_external``
        NaN in years outside the flows' coverage, and for a city without a centre or a periphery.
    """
    need(centre, ("district_code", "city_code", "year", "is_centre"), "the centres")
    cities = tuple(sorted(set(within["city_code"])))
    city_at = positions(within["city_code"], cities)
    year = within["year"].to_numpy(np.int64) - lag
    out = {name: np.full(len(within), np.nan) for name in ("dkf_ctop", "dkf_ptoc", "dkf_external")}
    city_of, marks = _marks(flows, centre, cities)
    covered = set(flows.years.tolist())
    for t in np.unique(year):
        rows = np.flatnonzero(year == t)
        here = city_at[rows]
        if t in covered and t in marks:
            ctop, ptoc = _two_ways(flows.matrix(int(t)), city_of, marks[t], len(cities))
            out["dkf_ctop"][rows], out["dkf_ptoc"][rows] = ctop[here], ptoc[here]
        external = _external(flows, city_flows, city_of, cities, int(t))
        if external is not None:
            out["dkf_external"][rows] = external[here]
    net = np.log1p(out["dkf_ctop"]) - np.log1p(out["dkf_ptoc"])
    return within.assign(**{k: out[k] for k in ("dkf_ctop", "dkf_ptoc")}, ln_dkf_ctop_net=net,
                         dkf_external=out["dkf_external"])  # fmt: skip


def _marks(
    flows: FlowTable, centre: pd.DataFrame, cities: tuple[str, ...]
) -> tuple[NDArray[np.int64], dict[int, NDArray[np.bool_]]]:
    """City of every district of the flows (-1 for none), and by year which of them are a centre."""
    district, city = positions(centre["district_code"], flows.codes), positions(centre["city_code"], cities)
    city_of = np.full(len(flows.codes), -1, np.int64)
    known = district >= 0
    city_of[district[known]] = city[known]
    year, chosen = centre["year"].to_numpy(np.int64), centre["is_centre"].to_numpy(bool)
    marks = {}
    for t in np.unique(year):
        now = known & (year == t) & chosen
        marks[int(t)] = np.isin(np.arange(len(flows.codes)), district[now])
    return city_of, marks


def _two_ways(flow: Floats, city_of: NDArray[np.int64], is_centre: NDArray[np.bool_], n: int) -> tuple[Floats, Floats]:
    """(n_cities,) flow from centre to periphery, and back; NaN for a city that lacks one of them."""
    src, dst = np.nonzero(flow)
    same = (city_of[src] == city_of[dst]) & (city_of[src] >= 0)
    src, dst = src[same], dst[same]
    city, value = city_of[src], flow[src, dst]
    inside = city_of >= 0
    n_centre = np.bincount(city_of[inside & is_centre], minlength=n)
    n_others = np.bincount(city_of[inside & ~is_centre], minlength=n)
    both = (n_centre > 0) & (n_others > 0)
    ways = []
    for a, b in ((is_centre, ~is_centre), (~is_centre, is_centre)):
        use = a[src] & b[dst]
        ways.append(np.where(both, np.bincount(city[use], weights=value[use], minlength=n), np.nan))
    return ways[0], ways[1]


def _external(
    flows: FlowTable, city_flows: FlowTable | None, city_of: NDArray[np.int64], cities: tuple[str, ...], year: int
) -> Floats | None:
    """(n_cities,) flow into each city from all others; None in a year outside coverage."""
    table = city_flows or flows
    if year not in table.years:
        return None
    flow = table.matrix(year)
    at: Any = city_of
    if city_flows is not None:
        place = {code: k for k, code in enumerate(cities)}
        at = np.array([place.get(code, -1) for code in city_flows.codes], np.int64)
    src, dst = np.nonzero(flow)
    use = (at[dst] >= 0) & (at[src] != at[dst])
    return np.asarray(np.bincount(at[dst[use]], weights=flow[src[use], dst[use]], minlength=len(cities)))


def within_city_pairs(levels: pd.DataFrame, *, tie: TieRule = "previous") -> Iterator[pa.Table]:
    """Pair panel of the districts of every city: batches of ``PAIR_YEAR``, one per city, by city code.

    Parameters
    ----------
    levels : ``district_code, city_code, year, level``; cities with fewer than two districts have no pair.

    Raises
    ------
    TableInvalid
        As `gis.panel.balance`; no city has two districts.
    """
    need(levels, ("district_code", "city_code", "year", "level"), "the districts")
    inside = levels[levels["city_code"].notna() & (levels["city_code"] != "")]
    found = False
    for _, districts in inside.groupby("city_code", sort=True):
        if districts["district_code"].nunique() > 1 and districts["year"].nunique() > 1:
            found = True
            yield from balance_batches(districts, tie=tie, code="district_code")
    if not found:
        raise TableInvalid("no city has two districts in two years", mend="set within_city.pairs = false")
