"""Boundary layers: files of polygons become ``Zones`` with certain codes, CRS and geometry.

In: boundary files and their section of ``workspace.toml``. Out: ``Layer``, ``Zones``, tables of overlaps and of cities
against their districts.
"""

from __future__ import annotations

from gis.boundaries.codes import city_of, is_municipality, level_of, normalise_code
from gis.boundaries.geometry import Repair, geodesic_area_km2, overlaps, refuse_overlaps, repair
from gis.boundaries.hierarchy import (
    AREA_TOLERANCE,
    Dissolved,
    cities_from_districts,
    compare_levels,
    districts_without_city,
)
from gis.boundaries.reader import Layer, read_geometry, read_layer, read_zones

__all__ = [
    "AREA_TOLERANCE",
    "Dissolved",
    "Layer",
    "Repair",
    "cities_from_districts",
    "city_of",
    "compare_levels",
    "districts_without_city",
    "geodesic_area_km2",
    "is_municipality",
    "level_of",
    "normalise_code",
    "overlaps",
    "read_geometry",
    "read_layer",
    "read_zones",
    "refuse_overlaps",
    "repair",
]
