"""Zones in groups whose coverages fit into memory, one group at a time.

In: a grid and zones. Out: groups of zone indices. A zone's statistics do not depend on the other zones, so that groups
change no bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gis.grid import Grid, Zones

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUP_ENTRIES = 10_000_000
"""Spans and boundary cells of a group, about. Building takes some 100 bytes for each: 1 GB."""

KM_PER_DEGREE = 111.32
"""Length of a degree along the equator of WGS 84 [km]."""


def coverage_entries(grid: Grid, zones: Zones) -> NDArray[np.int64]:
    """(n_zones,): about how many spans and boundary cells each zone takes on a grid, rather more than fewer.

    A border of length l, in cells, passes at most 1.28 l cells on average (4 / pi, over all directions); every row of
    a zone has a span or two.
    """
    import shapely

    unit = KM_PER_DEGREE if zones.crs.is_geographic else zones.crs.axis_info[0].unit_conversion_factor / 1000
    cell = KM_PER_DEGREE * grid.transform.a if grid.crs.is_geographic else grid.cell_side_km
    box = shapely.bounds(zones.geometry)
    height = np.nan_to_num(box[:, 3] - box[:, 1])
    size = (4 / np.pi * shapely.length(zones.geometry) + 2 * height) * unit / cell
    return (size + 4).astype(np.int64)


def zone_groups(grid: Grid, zones: Zones, *, limit: int | None = None) -> list[NDArray[np.intp]]:
    """Rising zone indices in groups, from north to south: neighbours in latitude read the same rows.

    Everything is one group where it fits; a zone that does not fit alone is a group of its own.

    Parameters
    ----------
    limit : entries of a group's coverage; default: `GROUP_ENTRIES`.
    """
    import shapely

    limit = limit or GROUP_ENTRIES
    entries = coverage_entries(grid, zones)
    if entries.sum() <= limit:
        return [np.arange(len(zones))]
    north = np.nan_to_num(shapely.bounds(zones.geometry)[:, 3], nan=np.inf)
    groups: list[list[int]] = [[]]
    size = 0
    for zone in np.argsort(-north, kind="stable"):
        if groups[-1] and size + entries[zone] > limit:
            groups.append([])
            size = 0
        groups[-1].append(int(zone))
        size += int(entries[zone])
    return [np.sort(np.array(group, np.intp)) for group in groups]


def some_zones(zones: Zones, group: NDArray[np.intp]) -> Zones:
    """The zones of a group."""
    if group.size == len(zones):
        return zones
    return Zones(tuple(zones.codes[i] for i in group), zones.geometry[group], zones.crs, zones.vintage)
