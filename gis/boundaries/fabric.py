"""How the polygons of a layer fit together: gaps and slivers between neighbours, islands, how finely they are drawn.

In: valid polygons, their labels, a CRS. Out: a table of gaps and measures of the drawing. Overlaps are
`gis.boundaries.geometry.overlaps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.geometry import geodesic_area_km2
from gis.crs import WGS84_A, metres_per_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

GAP_FLOOR_KM2 = 1e-6
"""Gaps below one square metre are rounding of coordinates and are not listed [km2]."""
SLIVER_ROUNDNESS = 0.1
"""4 pi area / perimeter squared below this is a sliver: a rectangle 30 times as long as wide has 0.1, a circle 1."""
SLIVER_KM2 = 0.1
"""A gap smaller than this is a sliver whatever its shape: the smallest unit of China has 5 km2 [km2]."""
LATTICE_METRE = 5.0
"""Lattices finer than this are ordinary rounding of coordinates and are not reported [m]."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How finely a layer is drawn."""

    n_vertices: int
    """Vertices of all rings, the closing ones not counted."""
    spacing_m: float
    """Median length of an edge [m]; NaN without an edge."""
    n_multipart: int
    """Units of more than one part."""
    most_parts: tuple[str, int]
    """The unit with most parts, and how many."""
    lattice_m: float
    """Step of the lattice that coordinates were rounded to [m]; 0 where there is none of `LATTICE_METRE` or more."""


def gaps(geometry: Any, codes: Sequence[str], crs: Any) -> pd.DataFrame:
    """List the holes that the units leave between them.

    Parameters
    ----------
    geometry : (n,) array of valid Polygon or MultiPolygon
    codes : n texts
    crs : anything that names a CRS

    Returns
    -------
    DataFrame, the largest first
        ``area_km2``; ``codes``, the units around it, separated by spaces; ``is_sliver``, whether it is too thin or
        small to be a unit that is missing; ``x``, ``y`` of a point inside, in the layer's CRS. Below `GAP_FLOOR_KM2`:
        no row.

    Notes
    -----
    A gap is an interior ring of the union of all units. A gap that opens to the outside is no ring and is not seen.
    """
    import pandas as pd
    import shapely

    array = np.asarray(geometry, dtype=object)
    parts = shapely.get_parts(shapely.union_all(array))
    rings = [ring for part in parts if part.geom_type == "Polygon" for ring in part.interiors]
    columns = ["area_km2", "codes", "is_sliver", "x", "y"]
    if not rings:
        return pd.DataFrame(
            {c: pd.Series(dtype=t) for c, t in zip(columns, ("f8", "str", "bool", "f8", "f8"), strict=True)}
        )
    holes = shapely.polygons(rings)
    area = geodesic_area_km2(holes, crs)
    keep = area >= GAP_FLOOR_KM2
    holes, area = holes[keep], area[keep]
    around: list[list[str]] = [[] for _ in holes]
    for hole, unit in zip(*shapely.STRtree(array).query(holes, predicate="intersects"), strict=True):
        around[hole].append(codes[unit])
    length = shapely.length(holes)
    with np.errstate(divide="ignore", invalid="ignore"):
        roundness = 4 * np.pi * shapely.area(holes) / length**2
    inside = shapely.point_on_surface(holes)
    table = pd.DataFrame(
        {
            "area_km2": area,
            "codes": [" ".join(sorted(units)) for units in around],
            "is_sliver": (area < SLIVER_KM2) | (roundness < SLIVER_ROUNDNESS),
            "x": shapely.get_x(inside),
            "y": shapely.get_y(inside),
        }
    )
    return table.sort_values("area_km2", ascending=False, kind="stable").reset_index(drop=True)


def drawing(geometry: Any, codes: Sequence[str], crs: CRS) -> Drawing:
    """Measure how finely a layer is drawn.

    Parameters
    ----------
    geometry : (n,) array of Polygon or MultiPolygon; empty ones count nothing
    codes : n texts
    crs : CRS of the coordinates
    """
    import shapely

    array = np.asarray(geometry, dtype=object)
    parts = shapely.get_num_geometries(array)
    rings = shapely.get_rings(shapely.get_parts(array))
    xy, of = shapely.get_coordinates(rings, return_index=True)
    inside = of[1:] == of[:-1]
    step = np.diff(xy, axis=0)[inside]
    if crs.is_geographic:
        per_degree = np.radians(WGS84_A)
        step = step * np.column_stack(
            [np.cos(np.radians(xy[:-1, 1][inside])) * per_degree, np.full(len(step), per_degree)]
        )
    else:
        step = step * metres_per_unit(crs)
    lengths = np.hypot(step[:, 0], step[:, 1])
    lengths = lengths[lengths > 0]
    most = int(parts.argmax()) if len(parts) else 0
    return Drawing(
        len(xy) - len(rings),
        float(np.median(lengths)) if len(lengths) else float("nan"),
        int((parts > 1).sum()),
        (codes[most], int(parts[most])) if len(parts) else ("", 0),
        _lattice(xy) * (np.radians(WGS84_A) if crs.is_geographic else metres_per_unit(crs)),
    )


def _lattice(xy: NDArray[np.float64]) -> float:
    """Step of the lattice that nearly all ordinates lie on, in units of the CRS; 0 where they lie on none.

    On a lattice the differences of neighbouring ordinates are a few multiples of one step, so one of them is the most
    frequent by far; in free coordinates nearly all differ.
    """
    values = np.unique(np.round(xy[:, 1], 9))
    steps = np.round(np.diff(values), 7)
    steps = steps[steps > 0]
    if len(steps) < 20:
        return 0.0
    sizes, counts = np.unique(steps, return_counts=True)
    step = float(sizes[counts.argmax()])
    multiples = steps / step
    on = np.abs(multiples - np.round(multiples)) < 0.01
    fine = step * np.radians(WGS84_A) < LATTICE_METRE if np.abs(values).max() <= 90 else step < LATTICE_METRE
    return 0.0 if fine or on.mean() < 0.5 or counts.max() < 0.3 * len(steps) else step
