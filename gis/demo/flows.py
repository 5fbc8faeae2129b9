"""The demo's flows of knowledge between cities: Poisson counts with a known mean.

In: the truth of a seed. Out: directed flows of every year, as `src,dst,year,n`.

    E[n] = SCALE * (P_src * P_dst)^0.5 * (level_src / mean level)^PUSH * dist_km^-DECAY * (1 + TREND)^(year - 2012)

with P in millions of persons. Knowledge runs from the more to the less developed (PUSH > 0), so that the net flow from
hi to lo is positive on average; a pseudo-maximum-likelihood regression should find the exponents again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gis.demo.fields import YEARS
from gis.demo.geography import NEW, SEAT_CELLS, cell_index, city_code, geography
from gis.demo.truth import truth_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SCALE, PUSH, DECAY, TREND = 80.0, 1.5, 0.6, 0.08
"""Constants of the mean; SCALE per year for two cities of a million persons 1 km apart."""
WITHIN_KM = 30.0
"""Distance of a city from itself: its inner flow is the diagonal."""


def flow_means(seed: int) -> Floats:
    """Expected flows: (n_years, 12, 12) with cities in the order of their codes, source first."""
    from pyproj import Geod

    table = truth_table(seed)
    cities = table[(table["vintage"] == NEW) & (table["layer"] == "city")]
    shape = (12, len(YEARS))  # the table is sorted by unit, then year
    persons = cities["pop_persons"].to_numpy().reshape(shape).T / 1e6
    # Light as it is, not as it is measured: a hole in the raster does not keep people from citing one another.
    level = cities["light_whole_true_dn_km2"].to_numpy().reshape(shape).T / (persons * 1e6)
    seats = geography(seed).towns_lonlat[[cell_index(cell) for cell in SEAT_CELLS]]
    order = np.argsort([city_code(city) for city in range(12)])
    lon, lat = np.repeat(seats[order][:, None], 12, axis=1).transpose(2, 0, 1)
    km = Geod(ellps="WGS84").inv(lon, lat, lon.T, lat.T)[2] / 1000
    km[np.diag_indices(12)] = WITHIN_KM
    push = (level / level.mean(axis=1, keepdims=True)) ** PUSH
    trend = (1 + TREND) ** np.arange(len(YEARS))
    size = np.sqrt(persons[:, :, None] * persons[:, None, :])
    return np.asarray(SCALE * size * push[:, :, None] * km**-DECAY * trend[:, None, None])


def flows(seed: int) -> pd.DataFrame:
    """Draw the flows: one row per source, destination and year with any; a missing row is a flow of 0."""
    import pandas as pd

    counts = np.random.default_rng([seed, 7]).poisson(flow_means(seed))
    codes = np.array(sorted(city_code(city) for city in range(12)))
    year, src, dst = np.nonzero(counts)
    columns = {"src": codes[src], "dst": codes[dst], "year": np.array(YEARS)[year], "n": counts[year, src, dst]}
    return pd.DataFrame(columns)
