"""What a run says about a whole layer: national totals, their jumps, units without a level, agreement of measures.

In: rows of ``CITY_YEAR`` or ``DISTRICT_YEAR``. Out: rows of ``NATIONAL_YEAR`` and small frames for the summary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.grid import MEASURES
from gis.indicators.flags import level_reasons
from gis.tables import NATIONAL_YEAR, check

if TYPE_CHECKING:
    import pandas as pd

JUMPS = {
    "light_sum_dn_km2": "light_change",
    "light_sum_true_dn_km2": "light_true_change",
    "light_sum_cells_dn": "light_cells_change",
    "zones_total_persons": "pop_change",
}
"""National total -> column of its change on the year before [1]."""


def national_rows(
    frame: pd.DataFrame,
    layer: str,
    *,
    raster_cells_dn: Mapping[int, float] | None = None,
    raster_persons: Mapping[int, float] | None = None,
) -> pd.DataFrame:
    """Add up all units of a layer, year by year, beside the totals of the rasters.

    Parameters
    ----------
    frame : rows of ``CITY_YEAR`` or ``DISTRICT_YEAR``, any number of years.
    layer : name of the layer, ``"city"`` or ``"district"``.
    raster_cells_dn, raster_persons : year -> ``raster_sum_cells``, ``raster_sum_persons`` of the totals
        A year that is left out is NaN.

    Returns
    -------
    DataFrame, rows of ``NATIONAL_YEAR``, one per year, by year
        Light and persons of all units, also of those whose level is NaN. Units without a valid cell add nothing;
        a year without any is NaN, never 0. Sums are correctly rounded, so the order of the units does not matter.
    """
    import pandas as pd

    lights, persons = raster_cells_dn or {}, raster_persons or {}
    rows: list[dict[str, Any]] = []
    for number, units in _by_year(frame):
        rows.append(
            {
                "layer": layer,
                "year": number,
                "n_units": len(units),
                "n_levels": int(units["level"].notna().sum()),
                **{name: _total(units[name]) for name in JUMPS if name in units},
                "raster_total_cells_dn": lights.get(number, math.nan),
                "zones_total_persons": _total(units["pop_persons"]),
                "raster_total_persons": persons.get(number, math.nan),
                "pop_years": ", ".join(sorted(set(units["pop_years"].dropna()))),
                "is_synthetic": bool(units["is_synthetic"].any()),
            }
        )
    out = pd.DataFrame(rows, columns=list(NATIONAL_YEAR.columns))
    return check(NATIONAL_YEAR, out.astype({"year": "int32", "n_units": "int32", "n_levels": "int32"}))


def _by_year(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    years = frame["year"].to_numpy()
    for year in np.unique(years):
        yield int(year), frame[years == year]


def _total(values: pd.Series) -> float:
    present = values.dropna()
    return math.fsum(present) if len(present) else math.nan


def year_on_year_jumps(national: pd.DataFrame) -> pd.DataFrame:
    """Relative change of every national total on the calendar year before (METHOD 2 rule 8).

    Returns
    -------
    DataFrame: ``layer``, ``year`` and the columns of ``JUMPS``: total_t / total_{t-1} - 1 [1], NaN where the year
    before is absent, missing or zero. A common jump of all cities cancels in Bal, which is a ratio.
    """
    columns = [*JUMPS]
    now = national.loc[:, ["layer", "year", *columns]]
    before = now.assign(year=now["year"] + 1)
    both = now.merge(before, on=["layer", "year"], how="left", suffixes=("", "_before"), validate="one_to_one")
    out = both[["layer", "year"]].copy()
    for total, change in JUMPS.items():
        base = both[f"{total}_before"].where(both[f"{total}_before"] > 0)
        out[change] = both[total] / base - 1
    return out.sort_values(["layer", "year"], ignore_index=True)


def units_without_level(frame: pd.DataFrame) -> pd.DataFrame:
    """List every unit whose level is NaN, with the years and the reason (METHOD 2 rule 1).

    Returns
    -------
    DataFrame, one row per unit and unbroken run of years with the same reason: ``code``, ``name``, ``first_year``,
    ``last_year``, ``n_years``, ``reason`` (flags that take the level away, joined by a semicolon). Sorted by code and
    year; empty when every unit has a level. A run is unbroken over the years the frame has.
    """
    import pandas as pd

    layer = _layer(frame)
    position = {year: k for k, year in enumerate(sorted(frame["year"].unique()))}
    missing = frame[frame["level"].isna()].sort_values([f"{layer}_code", "year"])
    rows: list[dict[str, Any]] = []
    for code, name, year, flags in zip(
        missing[f"{layer}_code"], missing[f"{layer}_name"], missing["year"], missing["flags"], strict=True
    ):
        reason = level_reasons(flags)
        last = rows[-1] if rows else None
        if (
            last is not None
            and (last["code"], last["reason"]) == (code, reason)
            and position[year] == position[last["last_year"]] + 1
        ):
            last["last_year"], last["n_years"] = int(year), last["n_years"] + 1
        else:
            span = {"first_year": int(year), "last_year": int(year), "n_years": 1}
            rows.append({"code": code, "name": name, **span, "reason": reason})
    return pd.DataFrame(rows, columns=["code", "name", "first_year", "last_year", "n_years", "reason"])


def rank_agreement(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman rank correlation between the levels of the three measures (METHOD 1.4).

    Returns
    -------
    DataFrame, one row per two measures: ``measure_a``, ``measure_b``, ``n_unit_years`` (with both levels),
    ``spearman`` over all of them, ``spearman_lowest`` and ``year_lowest``: the year in which they agree least, which is
    what orders pairs. NaN (null) where fewer than two unit-years, or levels that do not vary.
    """
    import pandas as pd

    rows = []
    for a, b in combinations(MEASURES, 2):
        both = frame[["year", f"level_{a}", f"level_{b}"]].dropna()
        by_year = {year: _spearman(units.iloc[:, 1], units.iloc[:, 2]) for year, units in _by_year(both)}
        judged = {year: value for year, value in by_year.items() if not math.isnan(value)}
        lowest = min(judged, key=lambda year: judged[year]) if judged else None
        rows.append(
            {
                "measure_a": a,
                "measure_b": b,
                "n_unit_years": len(both),
                "spearman": _spearman(both.iloc[:, 1], both.iloc[:, 2]),
                "spearman_lowest": math.nan if lowest is None else judged[lowest],
                "year_lowest": lowest,
            }
        )
    return pd.DataFrame(rows).astype({"year_lowest": "Int64"})


def _spearman(a: pd.Series, b: pd.Series) -> float:
    """Pearson correlation of average ranks: Spearman's rho with ties (Kendall & Gibbons 1990, ch. 3)."""
    x, y = a.rank().to_numpy(), b.rank().to_numpy()
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _layer(frame: pd.DataFrame) -> str:
    for layer in ("district", "city"):  # a district table has a city_code as well
        if f"{layer}_code" in frame.columns and f"{layer}_name" in frame.columns:
            return layer
    raise TableInvalid(
        "neither cities nor districts",
        where=f"columns {', '.join(map(str, frame.columns))}",
        mend="pass rows of city_year or district_year",
    )
