"""Cities and their districts: one level dissolved from the other, and whether two given levels fit.

In: ``Zones`` of districts (with parents), ``Zones`` of cities. Out: ``Zones`` of cities whose areas are the sums of
their districts', or a table of how far two layers of one vintage differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.codes import MUNICIPALITIES, city_of
from gis.boundaries.geometry import MAX_OVERLAP, geodesic_area_km2
from gis.crs import transform_geometry
from gis.errors import BoundaryInvalid
from gis.grid import Zones

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

AREA_TOLERANCE = 1e-6
"""Cities whose districts' area differs by more than this share are named by `compare_levels` readers. Rounding of
coordinates leaves 1e-13; on a real layer of 375 cities nine lie above 1e-6 and 363 below 1e-12 [measured]."""


@dataclass(frozen=True, slots=True)
class Dissolved:
    """Cities made from districts."""

    zones: Zones
    """One zone per city, in the order of the codes, in the districts' CRS and vintage."""
    notes: tuple[str, ...]
    """Which districts were left out, and which cities have no name."""


def parents_of(districts: Zones) -> tuple[str, ...]:
    """City code of every district: the layer's own where it has them, else by METHOD 9.1; ``""`` for none."""
    return districts.parents or tuple(city_of(code) or "" for code in districts.codes)


def districts_without_city(districts: Zones) -> tuple[str, ...]:
    """Districts that belong to no city: administered directly by their province, or coded outside GB/T 2260."""
    return tuple(c for c, parent in zip(districts.codes, parents_of(districts), strict=True) if not parent)


def cities_from_districts(districts: Zones, names: Mapping[str, str] | None = None) -> Dissolved:
    """Dissolve districts into their cities.

    Parameters
    ----------
    districts : valid polygons; ``parents`` where the layer has them
    names : city names by code; the municipalities are known. A city without a name is called by its code.

    Returns
    -------
    Dissolved
        The cities, and notes on the districts that belong to none.

    Raises
    ------
    BoundaryInvalid
        No district belongs to a city, or the districts of a city overlap: the area of the union falls short of the
        sum by more than `MAX_OVERLAP`.

    Notes
    -----
    Where the districts' borders match vertex by vertex (``coverage_is_valid``) the union drops shared edges and
    computes no new vertex; elsewhere it is a full overlay. Either way the areas add up (test_dissolved_areas_add_up).
    """
    known = {**(names or {}), **MUNICIPALITIES}
    members = _members(districts)
    if not members:
        raise BoundaryInvalid(
            f"none of the {len(districts)} districts belongs to a city",
            mend="name the column of the city code: boundaries.district.columns.parent",
        )
    codes = tuple(sorted(members))
    shapes = np.array([*(_union(districts.geometry[members[c]]) for c in codes), None], dtype=object)[:-1]
    _check_sums(codes, shapes, districts, members)
    zones = Zones(codes, shapes, districts.crs, districts.vintage, tuple(known.get(c, c) for c in codes))
    return Dissolved(zones, tuple(_left_out(districts, [c for c in codes if c not in known])))


def _left_out(districts: Zones, nameless: list[str]) -> Iterator[str]:
    outside = districts_without_city(districts)
    if outside:
        yield f"{len(outside)} districts belong to no city and were left out: {_some(outside)}"
    if nameless:
        yield f"{len(nameless)} cities are called by their code, districts do not say their names: {_some(nameless)}"


def _members(districts: Zones) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for k, parent in enumerate(parents_of(districts)):
        if parent:
            members.setdefault(parent, []).append(k)
    return members


def _union(parts: Any) -> Any:
    import shapely

    if len(parts) == 1:
        return parts[0]
    if shapely.coverage_is_valid(parts):
        union = shapely.coverage_union_all(parts)
        if union.is_valid and union.geom_type in ("Polygon", "MultiPolygon"):
            return union
    return shapely.union_all(parts)


def _check_sums(codes: tuple[str, ...], shapes: Any, districts: Zones, members: Mapping[str, list[int]]) -> None:
    """The one way a union can lose area is ground that two districts share."""
    area = geodesic_area_km2(districts.geometry, districts.crs)
    summed = np.array([area[members[c]].sum() for c in codes])
    whole = geodesic_area_km2(shapes, districts.crs)
    lost = [(c, s, w) for c, s, w in zip(codes, summed, whole, strict=True) if abs(s - w) > MAX_OVERLAP * w]
    if lost:
        listed = "; ".join(f"{c} {s:.1f} km2 of districts on {w:.1f} km2 of ground" for c, s, w in lost[:5])
        raise BoundaryInvalid(
            f"the districts of {len(lost)} cities do not add up: {listed}",
            mend="see which districts overlap (lightpanel check) and leave one of each pair out with exclude",
        )


def compare_levels(cities: Zones, districts: Zones) -> pd.DataFrame:
    """Set every city beside the sum of its districts.

    Parameters
    ----------
    cities, districts : two levels of one vintage; the districts are brought to the cities' CRS.

    Returns
    -------
    DataFrame, one row per city, in the order of ``cities``
        ``city_code``; ``city_name`` (``""`` without names); ``n_districts``; ``area_km2`` of the city;
        ``districts_area_km2``, their sum; ``relative_difference``, sum over city minus 1; ``mismatch``, the area in
        one but not in the other over the city's area. A city without districts (Dongguan, Zhongshan, ...) has 0 of
        them and NaN in the last three.

    Notes
    -----
    ``mismatch`` sees a border that is drawn differently where ``relative_difference`` may cancel; both are shares
    (1). A unit that stands under its own code in both layers, as directly administered ones do, is its own district.
    """
    import pandas as pd
    import shapely

    members = _members(districts)
    own = {code: k for k, code in enumerate(districts.codes)}
    geometry = np.asarray(transform_geometry(districts.geometry, districts.crs, cities.crs), dtype=object)
    area, part = geodesic_area_km2(cities.geometry, cities.crs), geodesic_area_km2(geometry, cities.crs)
    rows = []
    for k, code in enumerate(cities.codes):
        inside = members.get(code) or ([own[code]] if code in own else [])
        summed = mismatch = float("nan")
        if inside and area[k] > 0:
            summed = float(part[inside].sum())
            unlike = shapely.symmetric_difference(cities.geometry[k], _union(geometry[inside]))
            polygons = [p for p in shapely.get_parts(unlike) if p.geom_type == "Polygon"]
            mismatch = float(geodesic_area_km2(polygons, cities.crs).sum()) / area[k] if polygons else 0.0
        difference = summed / area[k] - 1 if area[k] > 0 else float("nan")
        name = cities.names[k] if cities.names else ""
        rows.append((code, name, len(inside), area[k], summed, difference, mismatch))
    columns = ["city_code", "city_name", "n_districts", "area_km2"]
    return pd.DataFrame(rows, columns=[*columns, "districts_area_km2", "relative_difference", "mismatch"])


def _some(values: Sequence[str], n: int = 5) -> str:
    return ", ".join(values[:n]) + (f" and {len(values) - n} more" if len(values) > n else "")
