"""The demo's rasters: lights on a projected 1 km grid, people on a geographic 30" grid that fits nothing.

In: the fields and geography of a seed. Out: eight GeoTIFFs of each, one of the population years inside an archive.

Lights hold the field at the cell's centre, population the integral over the cell, which for these fields is a product
of a function of the row and one of the column. Both are stored rounded, lights to 1/256 DN and people to whole
persons, and what rounding takes from a cell is carried to its eastern neighbour, so that any run of cells in a row is
right to one unit.

Summed over units by exact coverage, these rasters differ from the truth by 3e-5 (root mean square) and at most 1.5e-4
in districts, 3e-6 to 6e-6 and at most 2e-5 in cities (measured, two seeds, all three sums): a border cell's value is
spread evenly over the cell, which the field is not. That is the limit of any method that knows only the cells.
"""

from __future__ import annotations

import math
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, transform_geometry, transformer
from gis.demo.fields import YEARS, Fields, area_element, fields
from gis.demo.geography import EAST, NORTH, SOUTH, WEST, Cell, cell_index, geography
from gis.demo.pictures import geotiff_from_rgb
from gis.grid import Grid
from gis.raster_io import write_raster
from gis.tables import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALBERS = "+proj=aea +lat_0=0 +lon_0=105 +lat_1=25 +lat_2=47 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"
"""The equal-area projection in which Chinese 1 km products usually come. It has no authority code, so it must be read
from the file; and cells are 1 km2, so that the measures ``true`` and ``cells`` agree and only ``lambert`` differs."""

LIGHT_CELL_M = 1000.0
LIGHT_ORIGIN_M = (137.0, 421.0)
"""Remainders of the grid's corner: products are not aligned with one another."""
LIGHT_MARGIN_DEGREE = 0.15
"""Light data reach this far beyond the rectangle; the rest of the grid is no data."""
LIGHT_STEP = 1 / 256
"""Lights are stored in steps of this [DN]."""
LIGHT_NODATA = float(np.float32(-3.4e38))

HOLE_CELL: Cell = (4, 0)
"""District with a hole where nobody lives: too little area covered (LOWAREA), nearly everybody covered."""
HOLE_SHARE = 0.06
"""Share of the district's area in it."""
BLIND_CELL: Cell = (8, 5)
"""District that is not seen at all in ``BLIND_YEAR``: its level and its city's are NaN (LOWCOV)."""
BLIND_YEAR = 2015

POP_CELL_DEGREE = 1 / 120
POP_ORIGIN = (WEST - 0.3047, NORTH + 0.2961)
"""Upper left corner [degree]: neither a multiple of the cell, as LandScan's is, nor of anything else."""
POP_SHAPE = (1272, 696)
"""(ny, nx): 10.6 by 5.8 degrees."""
POP_SHORT_YEARS, POP_ROWS_LATER = (2012,), 24
"""In these years the file starts so many rows further south: LandScan once ended at 84 N, later at 90 N."""
POP_NODATA = -2147483647
ZIPPED_YEAR = 2016
"""Delivered as the archive it is downloaded as, with a coloured picture beside the data."""


def light_grid() -> Grid:
    """Grid of the lights: the smallest that holds the rectangle and its margin."""
    from affine import Affine

    side = np.linspace(0, 1, 200)
    west, east = WEST - LIGHT_MARGIN_DEGREE, EAST + LIGHT_MARGIN_DEGREE
    south, north = SOUTH - LIGHT_MARGIN_DEGREE, NORTH + LIGHT_MARGIN_DEGREE
    lon = np.concatenate([west + (east - west) * side] * 2 + [np.full(200, west), np.full(200, east)])
    lat = np.concatenate([np.full(200, south), np.full(200, north)] + [south + (north - south) * side] * 2)
    crs = crs_from(ALBERS)
    x, y = transformer(crs_from("EPSG:4326"), crs).transform(lon, lat)
    left = math.floor(x.min() / LIGHT_CELL_M) * LIGHT_CELL_M - LIGHT_CELL_M + LIGHT_ORIGIN_M[0]
    top = math.ceil(y.max() / LIGHT_CELL_M) * LIGHT_CELL_M + LIGHT_ORIGIN_M[1]
    shape = math.ceil((top - y.min()) / LIGHT_CELL_M), math.ceil((x.max() - left) / LIGHT_CELL_M)
    return Grid(shape, Affine(LIGHT_CELL_M, 0, left, 0, -LIGHT_CELL_M, top), crs)


def population_grid(year: int) -> Grid:
    """Grid of the population of a year."""
    from affine import Affine

    first = POP_ROWS_LATER if year in POP_SHORT_YEARS else 0
    lon, lat = POP_ORIGIN[0], POP_ORIGIN[1] - first * POP_CELL_DEGREE
    shape = POP_SHAPE[0] - first, POP_SHAPE[1]
    return Grid(shape, Affine(POP_CELL_DEGREE, 0, lon, 0, -POP_CELL_DEGREE, lat), crs_from("EPSG:4326"))


# --- lights -----------------------------------------------------------------------------------------------------------


def light_arrays(seed: int) -> dict[int, NDArray[np.float32]]:
    """Lights by year: (ny, nx) float32 [DN], ``LIGHT_NODATA`` where there are none."""
    grid, field_values = light_grid(), fields(seed)
    lon, lat = _centres_lonlat(grid)
    inside = (np.abs(lon - (WEST + EAST) / 2) <= (EAST - WEST) / 2 + LIGHT_MARGIN_DEGREE) & (
        np.abs(lat - (SOUTH + NORTH) / 2) <= (NORTH - SOUTH) / 2 + LIGHT_MARGIN_DEGREE
    )
    out = {}
    for year, exact in _light_at(lon, lat, grid, field_values).items():
        light = _carried(exact / LIGHT_STEP) * LIGHT_STEP
        out[year] = np.where(inside & ~_hole(seed, year), light, LIGHT_NODATA).astype(np.float32)
    return out


def _centres_lonlat(grid: Grid) -> tuple[Floats, Floats]:
    (ny, nx), t = grid.shape, grid.transform
    x, y = np.meshgrid(t.c + (np.arange(nx) + 0.5) * t.a, t.f + (np.arange(ny) + 0.5) * t.e)
    lon, lat = transformer(grid.crs, crs_from("EPSG:4326")).transform(x, y)
    return lon, lat


def _light_at(lon: Floats, lat: Floats, grid: Grid, field_values: Fields) -> dict[int, Floats]:
    """Evaluate the light field of every year at cell centres: each bump once, and only where it is above 1e-17."""
    bumps, t = field_values.bumps, grid.transform
    weights = {year: field_values.light_weights(year) for year in YEARS}
    out = {year: np.full(grid.shape, weights[year][-1]) for year in YEARS}
    x, y = transformer(crs_from("EPSG:4326"), grid.crs).transform(bumps.lon, bumps.lat)
    reach = np.ceil(9 * bumps.sy * 112e3 * 1.1 / LIGHT_CELL_M).astype(int)  # 9 sigma; Albers stretches by below 10 %
    for k in range(bumps.lon.size):
        row, col = int((y[k] - t.f) / t.e), int((x[k] - t.c) / t.a)
        window = slice(max(row - reach[k], 0), row + reach[k]), slice(max(col - reach[k], 0), col + reach[k])
        across = (lon[window] - bumps.lon[k]) / bumps.sx[k]
        along = (lat[window] - bumps.lat[k]) / bumps.sy[k]
        bump = np.exp(-(across * across + along * along) / 2)
        for year in YEARS:
            if weights[year][k]:
                out[year][window] += weights[year][k] * bump
    return out


def _carried(values: Floats) -> Floats:
    """Round to whole numbers along rows, carrying what is left over: every partial sum of a row is right to 1/2."""
    return np.diff(np.rint(np.cumsum(values, axis=1)), axis=1, prepend=0.0)


# --- missing lights ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _holes(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells without light in every year, and in ``BLIND_YEAR`` alone."""
    import shapely

    grid, land = light_grid(), geography(seed)
    t = grid.transform
    cells = [cell_index(HOLE_CELL), cell_index(BLIND_CELL)]
    atoms = transform_geometry(land.atoms[cells], crs_from("EPSG:4326"), grid.crs)
    ny, nx = grid.shape
    x, y = np.meshgrid(t.c + (np.arange(nx) + 0.5) * t.a, t.f + (np.arange(ny) + 0.5) * t.e)
    holed, blind = (shapely.contains_xy(atom, x, y) for atom in atoms)
    # The south-western corner of the district, far from its town in the middle: few live there.
    corner = np.quantile((x + y)[holed], HOLE_SHARE)
    always = holed & (x + y <= corner)
    always.setflags(write=False)
    blind.setflags(write=False)
    return always, blind


def _hole(seed: int, year: int) -> NDArray[np.bool_]:
    always, blind = _holes(seed)
    return always | blind if year == BLIND_YEAR else always


@lru_cache(maxsize=4)
def holes_lonlat(seed: int) -> dict[int, Any]:
    """Outline of the cells without light inside the rectangle, by year: a shapely geometry in EPSG:4326."""
    import shapely

    grid = light_grid()
    t = grid.transform
    outlines = []
    for mask in _holes(seed):
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        row, first = np.nonzero(edges == 1)
        last = np.nonzero(edges == -1)[1]
        runs = shapely.box(t.c + first * t.a, t.f + (row + 1) * t.e, t.c + last * t.a, t.f + row * t.e)
        whole = np.array([shapely.union_all(runs)], dtype=object)
        outlines.append(transform_geometry(whole, grid.crs, crs_from("EPSG:4326"))[0])
    both = shapely.union_all(outlines)
    return {year: both if year == BLIND_YEAR else outlines[0] for year in YEARS}


# --- population -------------------------------------------------------------------------------------------------------


def population_array(seed: int, year: int) -> NDArray[np.int32]:
    """Persons per cell of a year: (ny, nx) int32, ``POP_NODATA`` beyond the coast."""
    grid, field_values = population_grid(year), fields(seed)
    across, along = _cell_integrals(grid, field_values)
    persons = along.T @ (field_values.population_weights(year)[:, None] * across)
    counts = _carried(persons)
    (ny, nx), t = grid.shape, grid.transform
    lat = t.f + (np.arange(ny) + 0.5) * t.e
    lon = t.c + (np.arange(nx) + 0.5) * t.a
    coast = EAST + 0.22 + 0.05 * np.sin(2.1 * lat) + 0.03 * np.sin(7.3 * lat + 1)  # east of every unit
    return np.where(lon[None, :] > coast[:, None], POP_NODATA, counts).astype(np.int32)


def _cell_integrals(grid: Grid, field_values: Fields) -> tuple[Floats, Floats]:
    """Factors of the integral of every bump and of the constant over cells: (121, nx) and (121, ny) [km]."""
    from scipy.special import erf

    (ny, nx), t, bumps = grid.shape, grid.transform, field_values.bumps
    edge = (t.c + np.arange(nx + 1) * t.a - bumps.lon[:, None]) / (bumps.sx[:, None] * math.sqrt(2))
    across = math.sqrt(math.pi / 2) * bumps.sx[:, None] * np.diff(erf(edge), axis=1)
    along = np.zeros((bumps.lat.size + 1, ny))
    for point, weight in zip(*np.polynomial.legendre.leggauss(3), strict=True):  # error (cell/sigma)^6 ~ 1e-8
        lat = t.f + (np.arange(ny) + (point + 1) / 2) * t.e
        bump = np.exp(-(((lat - bumps.lat[:, None]) / bumps.sy[:, None]) ** 2) / 2)
        height = weight / 2 * -t.e * area_element(lat) * math.radians(1) ** 2 / 1e6
        along += np.vstack([bump, np.ones(ny)]) * height
    return np.vstack([across, np.full(nx, t.a)]), along


# --- files ------------------------------------------------------------------------------------------------------------

_TAGS = {"TIFFTAG_IMAGEDESCRIPTION": "lightpanel demo: synthetic, fictional places"}


def write_lights(folder: Path, seed: int) -> dict[int, Path]:
    """Write the lights of every year under a folder, in the product's own layout."""
    paths = {}
    for year, light in light_arrays(seed).items():
        path = folder / f"EANTLI_like_{year}" / f"EANTLI_like_{year}.tif"
        write_raster(path, light, light_grid(), dtype="float32", nodata=LIGHT_NODATA, tags=_TAGS, cog=False)
        paths[year] = path
    return paths


def write_population(folder: Path, seed: int) -> dict[int, Path]:
    """Write the population of every year into a folder; that of ``ZIPPED_YEAR`` stays in its archive."""
    paths = {}
    for year in YEARS:
        persons, path = population_array(seed, year), folder / f"landscan-global-{year}.tif"
        write_raster(path, persons, population_grid(year), dtype="int32", nodata=POP_NODATA, tags=_TAGS, cog=False)
        if year == ZIPPED_YEAR:
            picture = _coloured(persons, population_grid(year))
            archive = folder / f"landscan-global-{year}-assets.zip"
            _write_zip(archive, {path.name: path.read_bytes(), f"{path.stem}-colorized.tif": picture})
            path.unlink()
            path = archive
        paths[year] = path
    return paths


def _coloured(persons: NDArray[np.int32], grid: Grid) -> bytes:
    """Picture of every fourth cell: red where many live, blue at sea."""
    from affine import Affine

    few = persons[::4, ::4]
    tone = np.clip(np.log1p(np.maximum(few, 0)) / np.log(3000), 0, 1)
    rgb = np.stack([80 + 170 * tone, 200 * (1 - tone), 40 * (1 - tone)], axis=-1)
    rgb[few == POP_NODATA] = (60, 110, 190)
    t = grid.transform
    shrunk = Grid(few.shape, Affine(4 * t.a, 0, t.c, 0, 4 * t.e, t.f), grid.crs)
    return geotiff_from_rgb(rgb.astype(np.uint8), shrunk)


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            # A member without a time of its own gets the clock's, and two runs would differ.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
