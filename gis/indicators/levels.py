"""Per-capita luminosity: a unit's light over its population, a ratio of sums (METHOD 2).

In: ``LightTotals`` and ``PopulationTotals`` of one layer in one year. Out: rows of ``CITY_YEAR`` or ``DISTRICT_YEAR``
with level, densities, coverage and flags. A level that cannot be trusted is NaN and says why; darkness is 0.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import MEASURES
from gis.indicators.flags import LIGHT_NOTES, POPULATION_NOTES, check_note, join_flags
from gis.tables import CITY_YEAR, DISTRICT_YEAR, check
from gis.zonal.totals import LightTotals, PopulationTotals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gis.grid import Zones
    from gis.workspace import Levels

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

RESCALE_MIN_COV_POP = 0.5
"""Below this population coverage nothing is rescaled. Source: METHOD 2 rule 1."""
SATURATED_SHARE = 0.01
"""Share of lit cells at the maximum from which a unit is flagged. Source: METHOD 2 rule 4."""

Totals = TypeVar("Totals", LightTotals, PopulationTotals)

_LIGHT_SUMS = {
    "lambert": "light_sum_dn_km2",
    "true": "light_sum_true_dn_km2",
    "cells": "light_sum_cells_dn",
}


_OF_VALID_CELLS = (
    "sum_lambert", "sum_true", "sum_cells", "valid_true", "lit_cells",
    "negative_cells", "negative_sum", "absolute_sum",
)  # fmt: skip


def levels_for_year(
    zones: Zones,
    year: int,
    lights: LightTotals | None,
    population: PopulationTotals | None,
    *,
    level: Literal["city", "district"],
    options: Levels,
    pop_years: str,
    pop_nodata_zero: bool,
    n_flares: Sequence[int] | NDArray[np.int32] | None = None,
    is_synthetic: bool = False,
    light_note: str = "",
    population_note: str = "",
    areas_from: LightTotals | None = None,
) -> pd.DataFrame:
    """Turn one year's totals into rows of the unit-year table.

    Parameters
    ----------
    zones : the units, in the order of the totals.
    lights, population : totals, arrays of (n_zones,)
        ``lights`` None: the year has no light raster (``NOLIGHT``). ``population`` None: no population (``NOPOP``).
    level : ``"city"`` for rows of ``CITY_YEAR``, ``"district"`` for ``DISTRICT_YEAR``.
    options : ``[levels]`` of the workspace: measure, thresholds, rescaling.
    pop_years : years of the population rasters behind the row, ``"2000"`` or ``"2000+2005"``.
    pop_nodata_zero : whether a population cell without data means nobody (METHOD 2 rule 1) or unknown. Decides whether
        a unit without a valid population cell has 0 persons or NaN; it is flagged ``NOPOP`` either way.
    n_flares : (n_zones,) gas-flare masks that touch each unit; None where no mask is used.
    light_note, population_note : one of ``INTERP``; one of ``POPNEAREST``, ``POPSTATIC``, ``POPINTERP``; or empty.
    areas_from : totals of another year of the same zones, for the areas of a year whose ``lights`` is None.

    Returns
    -------
    DataFrame, (n_zones rows), columns of the table in order. Units: ``gis.tables.COLUMNS``.

    Raises
    ------
    OptionInvalid
        Totals or flares of another number of zones, an unknown layer or note.

    Notes
    -----
    ``level`` is light over persons in the configured measure. Light sums are as measured: under ``RESCALED`` the
    levels are light / cov_pop / persons, the sums and densities stay. Density is in the true measure, because
    ``area_km2`` is (docs/decisions/0003-density-in-the-true-measure.md): light_density = L / A = (L / P) (P / A).
    Source: Henderson, Storeygard & Weil (2012), Measuring Economic Growth from Outer Space, AER 102(2).
    """
    import pandas as pd

    if level not in ("city", "district"):
        raise OptionInvalid(f"no layer {level!r}", where="level", mend="one of city, district")
    check_note(light_note, LIGHT_NOTES, "light_note")
    check_note(population_note, POPULATION_NOTES, "population_note")
    n = len(zones)
    flares = np.zeros(n, np.int32) if n_flares is None else np.asarray(n_flares, np.int32)
    _check_shapes(n, {"lights": lights, "population": population, "areas_from": areas_from}, flares)
    light, light_flags = _light_columns(lights, areas_from, n, options)
    persons, pop, pop_flags = _population_columns(population, lights, n, pop_nodata_zero)
    levels, level_flags = _levels(light, persons, pop["cov_pop"], lights is not None, options)
    notes = {name: np.ones(n, bool) for name in (light_note, population_note) if name}
    frame = pd.DataFrame(
        {
            **_names(zones, level),
            "year": np.full(n, year, np.int32),
            **light,
            **pop,
            **levels,
            **_densities(light, persons),
            "measure": options.measure,
            "pop_years": pop_years,
            "n_flares": flares,
            "flags": join_flags({**light_flags, **pop_flags, **level_flags, **notes}, n),
            "is_synthetic": is_synthetic,
        }
    )
    return check(CITY_YEAR if level == "city" else DISTRICT_YEAR, frame, where=f"{level} layer, {year}")


def _check_shapes(
    n_zones: int, totals: Mapping[str, LightTotals | PopulationTotals | None], flares: NDArray[np.int32]
) -> None:
    arrays = {f"{name}.{f.name}": getattr(one, f.name) for name, one in totals.items() if one for f in fields(one)}
    for name, value in {**arrays, "n_flares": flares}.items():
        if isinstance(value, np.ndarray) and value.shape != (n_zones,):
            raise OptionInvalid(
                f"{name} has shape {value.shape} for {n_zones} zones",
                where=name,
                mend="pass what was computed for these zones, in their order",
            )


def _names(zones: Zones, level: str) -> dict[str, Any]:
    n = len(zones)
    columns: dict[str, Any] = {
        f"{level}_code": zones.codes,
        f"{level}_name": zones.names or (None,) * n,
        "vintage": zones.vintage,
    }
    if level == "district":
        columns["city_code"] = [parent or None for parent in zones.parents or ("",) * n]
    return columns


def _light_columns(
    lights: LightTotals | None, areas_from: LightTotals | None, n: int, options: Levels
) -> tuple[dict[str, Floats], dict[str, Bools]]:
    """Everything that needs the light raster alone. Sums of a unit without a valid cell are NaN, never 0."""
    areas = lights if lights is not None else areas_from
    columns = {
        "area_km2": np.full(n, np.nan) if areas is None else areas.area_true.copy(),
        "area_lambert_km2": np.full(n, np.nan) if areas is None else areas.area_lambert.copy(),
    }
    if lights is None:
        names = (*_LIGHT_SUMS.values(), "n_cells", "cov_area", "n_nodata_cells", "n_negative_cells", "negative_share")
        empty = {name: np.full(n, np.nan) for name in (*names, "lit_share", "saturated_share")}
        return {**columns, **empty}, {"NOLIGHT": np.ones(n, bool)}

    seen = lights.valid_cells > 0
    sums = {"lambert": lights.sum_lambert, "true": lights.sum_true, "cells": lights.sum_cells}
    columns |= {_LIGHT_SUMS[measure]: np.where(seen, sums[measure], np.nan) for measure in MEASURES}
    cov_area = _ratio(lights.valid_true, lights.area_true - lights.masked_true)
    at_max = np.where(lights.max_value == lights.raster_max, lights.at_max_cells, 0.0)
    at_max = np.where(np.isnan(lights.max_value), np.nan, at_max)  # an interpolated year has no maximum
    saturated = _ratio(at_max, lights.lit_cells)
    columns |= {
        "n_cells": lights.valid_cells + lights.nodata_cells + lights.masked_cells,
        "cov_area": cov_area,
        "n_nodata_cells": lights.nodata_cells.copy(),
        "n_negative_cells": lights.negative_cells.copy(),
        # All cells at exactly zero: nothing is negative, so the share is 0 and not 0 / 0.
        "negative_share": np.where(
            seen & (lights.absolute_sum == 0), 0.0, _ratio(lights.negative_sum, lights.absolute_sum)
        ),
        "lit_share": _ratio(lights.lit_cells, lights.valid_cells),
        "saturated_share": saturated,
    }
    return columns, {
        "LOWAREA": cov_area < options.cov_area_flag,
        "NOCELL": ~seen,
        "SAT": saturated >= SATURATED_SHARE,
        "NEGATIVE": lights.negative_cells > 0,
    }


def _population_columns(
    population: PopulationTotals | None, lights: LightTotals | None, n: int, nodata_zero: bool
) -> tuple[Floats, dict[str, Floats], dict[str, Bools]]:
    if population is None:
        missing = np.full(n, np.nan)
        columns = {name: missing.copy() for name in ("pop_persons", "cov_pop", "n_pop_negative_cells")}
        return missing, columns, {"NOPOP": np.ones(n, bool)}
    unseen = ~(population.valid_cells > 0)
    persons = np.where(unseen, 0.0 if nodata_zero else np.nan, population.sum_persons)
    cov_pop = np.full(n, np.nan) if lights is None else _ratio(population.lit_side_persons, persons)
    columns = {
        "pop_persons": persons,
        "cov_pop": cov_pop,
        "n_pop_negative_cells": population.negative_cells.copy(),
    }
    return persons, columns, {"NOPOP": unseen}


def _levels(
    light: Mapping[str, Floats], persons: Floats, cov_pop: Floats, has_light: bool, options: Levels
) -> tuple[dict[str, Floats], dict[str, Bools]]:
    """Light over persons in the three measures, where rules 1 and 2 let it stand."""
    populated = persons > 0
    too_few = (persons < options.pop_min_persons) | (persons == 0)
    # `not enough` rather than `too little`: a coverage that is not known does not pass.
    low = has_light & populated & ~(cov_pop >= options.cov_pop_min)
    # People may live on valid cells just outside a unit that has none itself: no light, nothing to rescale.
    some_light = ~np.isnan(light[_LIGHT_SUMS["cells"]]) & ~too_few
    rescaled = low & options.rescale & (cov_pop >= RESCALE_MIN_COV_POP) & some_light
    low &= ~rescaled
    levels = {}
    for measure in MEASURES:
        value = _ratio(light[_LIGHT_SUMS[measure]], persons)
        value = np.where(rescaled, _ratio(value, cov_pop), value)
        levels[f"level_{measure}"] = np.where(too_few | low, np.nan, value)
    levels["level"] = levels[f"level_{options.measure}"].copy()
    return levels, {"LOWCOV": low, "RESCALED": rescaled, "ZEROPOP": too_few}


def _densities(light: Mapping[str, Floats], persons: Floats) -> dict[str, Floats]:
    """Light and people per area, in the true measure; L/A = (L/P)(P/A) is held to 1e-12 (METHOD 2)."""
    light_density = _ratio(light["light_sum_true_dn_km2"], light["area_km2"])
    pop_density = _ratio(persons, light["area_km2"])
    product = _ratio(light["light_sum_true_dn_km2"], persons) * pop_density
    both = ~np.isnan(product)
    gap = np.abs(product - light_density)[both]
    # Our own arithmetic: three roundings are 4e-16; the floor lets light too faint for a full mantissa through.
    assert (gap <= 1e-12 * np.abs(light_density[both]) + 1e-290).all(), "L/A differs from (L/P)(P/A)"
    return {"light_density_dn": light_density, "pop_density_persons_km2": pop_density}


def _ratio(over: Floats, under: Floats) -> Floats:
    """``over / under``, NaN wherever ``under`` is not above zero: never inf."""
    out = np.full(np.broadcast(over, under).shape, np.nan)
    np.divide(over, under, out=out, where=np.asarray(under > 0))
    return out


def interpolate_totals(a: Totals, b: Totals, weight: float) -> Totals:
    """Interpolate the totals of a missing year linearly between two years of the same zones (METHOD 2 rule 9).

    Parameters
    ----------
    a, b : totals of the year before and the year after.
    weight : float in [0, 1]
        Share of ``b``: (year - year_a) / (year_b - year_a).

    Returns
    -------
    Totals whose sums are (1 - weight) * a + weight * b. A zone without a valid cell in either year has none here
    (``valid_cells`` 0): nothing is extrapolated from the other year. An interpolated light has no maximum
    (``max_value`` and ``raster_max`` NaN), so saturation is not judged.

    Raises
    ------
    OptionInvalid
        ``weight`` outside [0, 1]; totals of different kinds or different numbers of zones.
    """
    if not 0 <= weight <= 1:
        raise OptionInvalid(
            f"weight {weight} lies outside the two years", where="weight", mend="interpolate inside a series only"
        )
    if type(a) is not type(b) or a.valid_cells.shape != b.valid_cells.shape:
        raise OptionInvalid(
            "the two years' totals are not of the same kind and zones", mend="pass two years of one product and layer"
        )
    mixed = {f.name: (1 - weight) * getattr(a, f.name) + weight * getattr(b, f.name) for f in fields(a)}
    seen = (a.valid_cells > 0) & (b.valid_cells > 0)
    mixed["valid_cells"] = np.where(seen, mixed["valid_cells"], 0.0)
    if isinstance(a, LightTotals):
        for name in _OF_VALID_CELLS:
            mixed[name] = np.where(seen, mixed[name], 0.0)
        mixed |= {"max_value": np.full(seen.shape, np.nan), "at_max_cells": np.zeros(seen.shape), "raster_max": np.nan}
    return type(a)(**mixed)
