"""The demo's old map: a telegraph map in a Bonne projection, its control points and its digitised offices.

In: the geography of a seed. Out: a scan (grey levels), control points in QGIS's format, offices in pixels, and where
the offices truly stood.

The sheet is ``BONNE`` under an affine map: 800 m to the pixel, turned by 1.2 degrees, the paper shrunk across. Lines of
the graticule stand where the projection puts them; towns and offices were placed by a draughtsman with an error of
``DRAFTING_PX`` per axis. A fit of the right projection should therefore find a residual near that error, of an affine
more, and a thin-plate spline none at all: which says nothing, and is what leaving one out is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, transformer
from gis.demo.geography import (
    CITY_NAMES,
    DISTRICT_NAMES,
    EAST,
    NEW,
    NORTH,
    OLD,
    SOUTH,
    WEST,
    all_cells,
    cell_index,
    city_code,
    city_of_cell,
    geography,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BONNE = "+proj=bonne +lat_1=30 +lon_0=111.5 +datum=WGS84 +units=m +no_defs +type=crs"
"""The projection of the sheet. Bonne was common in atlases of the time."""

SHEET = (1600, 1100)
"""(height, width) of the scan [px]."""
METRES_PER_PX = 800.0
TURN_DEGREE = 1.2
"""The sheet lay askew in the scanner, clockwise."""
SHRINK = 0.994
"""Paper shrinks across its grain: the sheet is this much narrower than it was printed."""

DRAFTING_PX = 3.0
"""Standard deviation per axis with which towns and offices were drawn [px]: 2.4 km."""
READING_PX = 0.3
"""Standard deviation per axis of a reader's cursor [px]."""

N_CONTROL = 24
"""Good control points: the seats of all cities, and as many other towns."""

OFFICES_PER_CITY: tuple[int, ...] = (1, 3, 2, 0, 5, 4, 3, 5, 5, 5, 4, 3)
"""Telegraph offices of 1907 in city c of 2019: more in the east, none in one city (its instrument is 0)."""


@dataclass(frozen=True, slots=True)
class Offices:
    """Telegraph offices, in one order throughout."""

    ids: tuple[str, ...]
    """``T01``, ``T02``, ..."""
    names: tuple[str, ...]
    """Name of the place and 局."""
    lonlat: Floats = field(repr=False)
    """(n, 2) where the office stood [degree]."""
    px: Floats = field(repr=False)
    """(n, 2) where it was digitised: (column, row) from the outer upper left corner, row downward [px]."""
    city_codes: tuple[str, ...] = field(repr=False)
    """City of 2019 in which it stood."""


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """Control points of the scan."""

    lonlat: Floats = field(repr=False)
    """(n, 2) true place [degree]."""
    px: Floats = field(repr=False)
    """(n, 2) (column, row) on the scan, row downward [px]."""
    enabled: NDArray[np.bool_] = field(repr=False)
    """(n,) the last point is a namesake elsewhere: wrong by far, and switched off."""


def px_from_lonlat(lonlat: Floats) -> Floats:
    """Where the sheet shows points: (n, 2) (column, row) [px]."""
    x, y = transformer(crs_from("EPSG:4326"), crs_from(BONNE)).transform(lonlat[:, 0], lonlat[:, 1])
    x0, y0 = transformer(crs_from("EPSG:4326"), crs_from(BONNE)).transform((WEST + EAST) / 2, (SOUTH + NORTH) / 2)
    east, south = (np.asarray(x) - x0) / METRES_PER_PX * SHRINK, -(np.asarray(y) - y0) / METRES_PER_PX
    cos, sin = math.cos(math.radians(TURN_DEGREE)), math.sin(math.radians(TURN_DEGREE))
    return np.column_stack([SHEET[1] / 2 + cos * east - sin * south, SHEET[0] / 2 + sin * east + cos * south])


@lru_cache(maxsize=4)
def drawn_towns(seed: int) -> Floats:
    """Where the draughtsman put the 60 towns: (60, 2) [px]."""
    rng = np.random.default_rng([seed, 3])
    exact = px_from_lonlat(geography(seed).towns_lonlat)
    return exact + rng.normal(0, DRAFTING_PX, exact.shape)


def control_points(seed: int) -> ControlPoints:
    """Control points: towns as drawn and read off, to a hundredth of a pixel; and one wrong one, disabled."""
    rng = np.random.default_rng([seed, 4])
    land = geography(seed)
    others = [index for index in range(len(all_cells())) if index not in land.seats]
    n_others = N_CONTROL - len(land.seats)
    chosen = [*land.seats, *sorted(rng.choice(others, n_others, replace=False))]
    px = drawn_towns(seed)[chosen] + rng.normal(0, READING_PX, (N_CONTROL, 2))
    lonlat = land.towns_lonlat[chosen]
    wrong = lonlat[:1] + np.array([[1.1, 0.7]])
    return ControlPoints(
        np.asarray(np.vstack([lonlat, wrong]).round(6), np.float64),
        np.asarray(np.vstack([px, px[:1]]).round(2), np.float64),
        np.arange(N_CONTROL + 1) < N_CONTROL,
    )


def offices(seed: int) -> Offices:
    """Telegraph offices: one in each of a city's towns in turn, the seat first, and two on a border of cities."""
    import shapely

    rng = np.random.default_rng([seed, 5])
    land, names, places = geography(seed), [], []
    for city, count in enumerate(OFFICES_PER_CITY):
        cells = [cell_index(cell) for cell in all_cells() if city_of_cell(cell) == city]
        cells.sort(key=lambda cell, seat=land.seats[city]: cell != seat)  # type: ignore[misc]
        for cell in cells[:count]:
            name = CITY_NAMES[city] if cell == land.seats[city] else DISTRICT_NAMES[cell]
            names.append(name + "局")
            places.append(land.towns_lonlat[cell] + rng.normal(0, 0.04, 2))
    cities = land.zones(NEW, "city")
    for left, right in ((4, 8), (5, 9)):
        pair = [cities.codes.index(city_code(city)) for city in (left, right)]
        border = shapely.line_merge(shapely.intersection(*cities.geometry[pair]))
        on_border = shapely.get_coordinates(shapely.line_interpolate_point(border, 0.5, normalized=True))[0]
        names.append(f"{CITY_NAMES[left][0]}{CITY_NAMES[right][0]}界局")
        places.append(on_border + np.array([0.015, 0.0]))  # 1.5 km inside: no map of this kind can tell
    lonlat = np.round(np.array(places), 6)
    inside = shapely.contains_xy(cities.geometry[:, None], lonlat[:, 0], lonlat[:, 1]).argmax(axis=0)
    drawn = px_from_lonlat(lonlat) + rng.normal(0, math.hypot(DRAFTING_PX, READING_PX), lonlat.shape)
    return Offices(
        ids=tuple(f"T{n:02d}" for n in range(1, len(names) + 1)),
        names=tuple(names),
        lonlat=lonlat,
        px=np.round(drawn, 2),
        city_codes=tuple(cities.codes[index] for index in inside),
    )


# --- the drawing ------------------------------------------------------------------------------------------------------


def scan(seed: int) -> NDArray[np.uint8]:
    """Draw the sheet: (height, width) grey levels."""
    import shapely

    rng = np.random.default_rng([seed, 6])
    land = geography(seed)
    rough = np.kron(rng.normal(0, 2, (SHEET[0] // 50, SHEET[1] // 50)), np.ones((50, 50)))
    image = (228 + rough).round().astype(np.uint8)  # stained paper
    for line in _graticule():
        _stroke(image, px_from_lonlat(line), 160, 1)
    borders = shapely.union_all(shapely.boundary(land.zones(OLD, "city").geometry))  # each drawn once
    for border in shapely.get_parts(shapely.line_merge(borders)):
        _stroke(image, px_from_lonlat(shapely.get_coordinates(border)), 110, 2, dash=14)
    towns, wires = drawn_towns(seed), offices(seed)
    for start, end in _wires(wires):
        _stroke(image, np.array([start, end]), 40, 1)
    for index, town in enumerate(towns):
        _disc(image, town, 7 if index in land.seats else 4, 30)
        _disc(image, town, 5 if index in land.seats else 2, 228)
    for office in wires.px:
        _disc(image, office, 2.5, 0)
    return image


def _graticule() -> list[Floats]:
    """Meridians and parallels at every degree, a little beyond the country."""
    along_lat, along_lon = np.linspace(SOUTH - 0.5, NORTH + 0.5, 200), np.linspace(WEST - 0.5, EAST + 0.5, 200)
    meridians = [np.column_stack([np.full(200, lon), along_lat]) for lon in np.arange(WEST, EAST + 1)]
    return meridians + [np.column_stack([along_lon, np.full(200, lat)]) for lat in np.arange(SOUTH, NORTH + 1)]


def _wires(wires: Offices) -> list[tuple[Floats, Floats]]:
    """The shortest network that joins all offices (Prim's algorithm): what a telegraph administration would build."""
    reached, left, out = [0], list(range(1, len(wires.ids))), []
    while left:
        gap = np.linalg.norm(wires.px[reached][:, None] - wires.px[left][None], axis=2)
        here, there = np.unravel_index(int(gap.argmin()), gap.shape)
        out.append((wires.px[reached[here]], wires.px[left[there]]))
        reached.append(left.pop(int(there)))
    return out


def _stroke(image: NDArray[np.uint8], px: Floats, grey: int, width: int, *, dash: float = 0.0) -> None:
    """Draw a line through points (column, row); ``dash`` is the length of dashes and gaps [px]."""
    step = np.linalg.norm(np.diff(px, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(step)])
    at = np.arange(0, length[-1], 0.5)
    if dash:
        at = at[(at // dash) % 2 == 0]
    col, row = np.interp(at, length, px[:, 0]), np.interp(at, length, px[:, 1])
    for shift in range(width):
        _dot(image, col + shift, row, grey)
        _dot(image, col, row + shift, grey)


def _disc(image: NDArray[np.uint8], centre: Floats, radius: float, grey: int) -> None:
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    dcol, drow = np.meshgrid(reach, reach)
    inside = dcol**2 + drow**2 <= radius**2
    _dot(image, centre[0] + dcol[inside], centre[1] + drow[inside], grey)


def _dot(image: NDArray[np.uint8], col: Any, row: Any, grey: int) -> None:
    c, r = np.floor(col).astype(int), np.floor(row).astype(int)
    on = (c >= 0) & (c < image.shape[1]) & (r >= 0) & (r < image.shape[0])
    image[r[on], c[on]] = grey


# --- files as text ----------------------------------------------------------------------------------------------------


def points_text(points: ControlPoints) -> str:
    """Control points as QGIS 3.26 and later writes them: rows count downward and are negative (METHOD 8.2)."""
    lines = ["#CRS: EPSG:4326", "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"]
    for (lon, lat), (col, row), on in zip(points.lonlat, points.px, points.enabled, strict=True):
        lines.append(f"{lon:.6f},{lat:.6f},{col:.2f},{-row:.2f},{int(on)},0,0,0")
    return "\n".join(lines) + "\n"


def offices_text(found: Offices) -> str:
    """Digitised offices as CSV: ``office_id,name,px,py``."""
    rows = [
        f"{i},{name},{col:.2f},{row:.2f}" for i, name, (col, row) in zip(found.ids, found.names, found.px, strict=True)
    ]
    return "\n".join(["office_id,name,px,py", *rows]) + "\n"


def truth_offices_text(found: Offices) -> str:
    """Where they stood, as CSV: ``office_id,name,lon,lat,city_code``."""
    rows = [
        f"{i},{name},{lon:.6f},{lat:.6f},{code}"
        for i, name, (lon, lat), code in zip(found.ids, found.names, found.lonlat, found.city_codes, strict=True)
    ]
    return "\n".join(["office_id,name,lon,lat,city_code", *rows]) + "\n"
