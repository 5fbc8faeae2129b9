"""What the engine hands to the indicators: totals per zone for one layer, one raster, one year.

In: nothing; these are values. Out: ``LightTotals`` and ``PopulationTotals``, arrays of shape (n_zones,), float64,
in the order of the zones. Sums weigh each cell by the share of it inside the zone, f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LightTotals:
    """Totals of an intensity raster. A zone without a valid cell has sums 0 and valid areas 0: not a level of 0."""

    sum_lambert: Floats
    """Sum of f * value * cell area in the ESRI:102027 plane, after the negatives policy [DN km2]."""
    sum_true: Floats
    """Sum of f * value * cell area on the ellipsoid [DN km2]."""
    sum_cells: Floats
    """Sum of f * value [DN cell]."""
    valid_true: Floats
    """Ellipsoidal area of valid cells inside the zone [km2]."""
    valid_cells: Floats
    """Sum of f over valid cells [cells]."""
    nodata_cells: Floats
    """Sum of f over cells of the raster without data, masked cells not counted [cells]."""
    masked_cells: Floats
    """Sum of f over cells taken out by the flare mask; they leave the coverage denominator too [cells]."""
    masked_true: Floats
    """Ellipsoidal area of those [km2]."""
    area_true: Floats
    """Ellipsoidal area of the whole zone, also where it lies beyond the raster's edge [km2]."""
    area_lambert: Floats
    """The same in the ESRI:102027 plane [km2]."""
    negative_cells: Floats
    """Sum of f over valid cells below zero, before the negatives policy [cells]."""
    negative_sum: Floats
    """Sum of f * |value| over those [DN cell]."""
    absolute_sum: Floats
    """Sum of f * |value| over all valid cells before the policy [DN cell]."""
    lit_cells: Floats
    """Sum of f over cells above zero after policy and lit threshold [cells]."""
    max_value: Floats
    """Largest value in the zone after the policy; NaN without a valid cell [DN]."""
    at_max_cells: Floats
    """Sum of f over cells equal to the zone's ``max_value`` [cells]."""
    raster_max: float
    """Largest valid value over all zones of the layer; NaN when there is none [DN]."""
    raster_sum_cells: float
    """Sum of all valid cells of the raster after the policy, in zones or not [DN cell]; NaN where not read whole."""


@dataclass(frozen=True, slots=True)
class PopulationTotals:
    """Totals of a count raster."""

    sum_persons: Floats
    """Sum of f * persons [persons]; 0 where no cell is valid."""
    valid_cells: Floats
    """Sum of f over valid cells [cells]."""
    negative_cells: Floats
    """Sum of f over cells below zero that are not the declared nodata [cells]."""
    lit_side_persons: Floats
    """Sum of f * persons over population cells whose centre lies in a valid light cell [persons]."""
    raster_sum_persons: float
    """Sum of all valid cells of the raster [persons]; NaN where not read whole."""
