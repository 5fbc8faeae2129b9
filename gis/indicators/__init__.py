"""From totals per zone to per-capita luminosity: levels, densities, coverage, flags.

In: ``gis.zonal.totals``. Out: rows of ``gis.tables.CITY_YEAR``, ``DISTRICT_YEAR`` and ``NATIONAL_YEAR``.
"""

from __future__ import annotations

from gis.indicators.flags import FLAGS, Flag
from gis.indicators.levels import interpolate_totals, levels_for_year
from gis.indicators.summary import national_rows, rank_agreement, units_without_level, year_on_year_jumps

__all__ = [
    "FLAGS",
    "Flag",
    "interpolate_totals",
    "levels_for_year",
    "national_rows",
    "rank_agreement",
    "units_without_level",
    "year_on_year_jumps",
]
