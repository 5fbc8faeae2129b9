"""The two values everything is computed from: ``Grid`` (where cells lie) and ``Zones`` (which polygons, in what CRS).

In: shapes, affine transforms, CRS, polygons. Out: immutable, validated values; strips and cell areas of a grid.
Whatever holds a ``Grid`` or ``Zones`` may trust it: validation happens once, at construction.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.crs import WGS84_A, area_density, authalic_q, crs_from, lambert_scale, metres_per_unit, same_crs, transformer
from gis.errors import CodeInvalid, GridInvalid, OptionInvalid

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from pyproj import CRS

STRIP_ROWS = 512
"""Rows of a strip, the atom of summation: partial sums are made per strip and added in strip order."""

MESH_CELLS = 12
"""Largest mesh step for area factors on projected grids [cells]; see ``Grid.cell_areas_km2`` for the error."""
MESH_METRE = 12_000.0
"""The same on the ground [m]: the error of a cubic grows with the fourth power of the step."""

Measure = Literal["lambert", "true", "cells"]
"""What a cell of an intensity weighs: its area in the ESRI:102027 plane, on the ellipsoid, or 1 (METHOD 1.4)."""
MEASURES: tuple[Measure, ...] = ("lambert", "true", "cells")


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up raster grid: immutable shape, transform and CRS.

    Raises
    ------
    GridInvalid
        No cell, a rotated or sheared transform, or one that does not run east and south.
    CrsMissing, CrsInvalid
        ``crs`` is None, or PROJ does not know it.
    """

    shape: tuple[int, int]
    """(ny, nx), both at least 1."""
    transform: Affine
    """Cell (col, row) corners to CRS coordinates (x, y); no rotation, x grows with col, y falls with row."""
    crs: CRS
    """The CRS of (x, y)."""

    def __post_init__(self) -> None:
        ny, nx = (int(n) for n in self.shape)
        object.__setattr__(self, "shape", (ny, nx))  # numpy's integers print otherwise: another fingerprint
        object.__setattr__(self, "crs", crs_from(self.crs))
        t = self.transform
        if ny < 1 or nx < 1:
            raise GridInvalid(
                f"a grid of {ny} rows and {nx} columns has no cell", mend="give a window that overlaps the raster"
            )
        if t.b != 0 or t.d != 0:
            raise GridInvalid(
                "the grid is rotated or sheared",
                mend="warp it to a north-up grid first, for example: gdalwarp in.tif out.tif",
            )
        if not (t.a > 0 and t.e < 0 and all(math.isfinite(v) for v in t[:6])):
            raise GridInvalid(
                f"the cell is {t.a} by {t.e}: a grid must run east and south from its upper left corner",
                mend="open rasters through gis.raster_io, which turns south-up rasters over",
            )

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) of the outer cell edges."""
        (ny, nx), t = self.shape, self.transform
        return t.c, t.f + ny * t.e, t.c + nx * t.a, t.f

    @property
    def n_strips(self) -> int:
        """How many strips of ``STRIP_ROWS`` rows; the last may be shorter."""
        return -(-self.shape[0] // STRIP_ROWS)

    def strip_rows(self, strip: int) -> tuple[int, int]:
        """Half-open row range of a strip."""
        first = strip * STRIP_ROWS
        return first, min(first + STRIP_ROWS, self.shape[0])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of shape, transform and CRS: equal for equal grids, stable across runs."""
        numbers = tuple(float(v) + 0.0 for v in self.transform[:6])  # + 0.0: a flipped raster carries -0.0
        text = f"{self.shape}|{numbers}|{self.crs.to_wkt()}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_geographic(self) -> bool:
        """Whether cells are measured in degrees of longitude and latitude."""
        return bool(self.crs.is_geographic)

    def refined(self, factor: int) -> Grid:
        """The grid whose cells are this one's, each cut into ``factor`` by ``factor``."""
        t, (ny, nx) = self.transform, self.shape
        small = type(t)(t.a / factor, 0.0, t.c, 0.0, t.e / factor, t.f)
        return Grid((ny * factor, nx * factor), small, self.crs)

    @property
    def cell_side_km(self) -> float:
        """Side of a square as large as the cell in the grid's middle, on the ellipsoid [km]."""
        row = self.shape[0] // 2
        area = self.cell_areas_km2("true", row, row + 1).reshape(-1)
        return float(np.sqrt(area[area.size // 2]))

    def same_place(self, other: Grid, tolerance_cells: float = 1e-6) -> bool:
        """Whether two grids put every cell in the same place (to a millionth of a cell)."""
        if self.shape != other.shape:
            return False
        a, b = self.transform, other.transform
        ny, nx = self.shape
        near = (
            abs(a.c - b.c) <= tolerance_cells * a.a
            and abs(a.f - b.f) <= tolerance_cells * -a.e
            and abs((a.a - b.a) * nx) <= tolerance_cells * a.a
            and abs((a.e - b.e) * ny) <= tolerance_cells * -a.e
        )
        return near and same_crs(self.crs, other.crs)

    def cell_areas_km2(self, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
        """Weight of each cell of rows [row0, row1) under a measure.

        Returns
        -------
        (row1 - row0,) float64 on a geographic grid, where the weight depends on the row alone;
        (row1 - row0, nx) float64 on a projected grid. [km2 of the Lambert plane, km2 on the ellipsoid, or 1]

        Notes
        -----
        Geographic: the closed form on the ellipsoid (METHOD 1.4), times k**2 at the row's centre for ``lambert``
        (within 1e-6 of the projected cell at 30 arc seconds, METHOD 1.4).
        Projected: at cell centres, by cubic interpolation from a mesh of every 12th cell or every 12 km; error below
        1e-9 over China (test_mesh_interpolation_*), up to 1e-5 within 100 km of a pole. Outside the projection's
        domain, and in a cell whose centre PROJ takes for a pole, the weight is 0. A map called equal-area may be so on
        a sphere only: a square kilometre of ESRI:54009 (Mollweide) is 0.993 km2 at the equator and 1.007 at a pole.
        """
        if measure not in MEASURES:
            raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
        if self.is_geographic:
            return self._row_areas_km2(measure, row0, row1)
        if measure == "cells":
            return np.ones((row1 - row0, self.shape[1]))
        return self._mesh_areas_km2(measure, row0, row1)

    def _row_areas_km2(self, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
        if measure == "cells":
            return np.ones(row1 - row0)
        t = self.transform
        to_degree = math.degrees(self.crs.axis_info[0].unit_conversion_factor)
        edge = np.clip((t.f + np.arange(row0, row1 + 1) * t.e) * to_degree, -90.0, 90.0)
        q = authalic_q(np.sin(np.radians(edge)))
        area = WGS84_A**2 / 2 * math.radians(t.a * to_degree) * (q[:-1] - q[1:]) / 1e6
        if measure == "true":
            return area
        centre = (edge[:-1] + edge[1:]) / 2
        return area * lambert_scale(centre) ** 2

    def _mesh_areas_km2(self, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
        t, nx = self.transform, self.shape[1]
        rows, cols = np.arange(row0, row1), np.arange(nx)
        cell_metre = max(t.a, -t.e) * metres_per_unit(self.crs)
        step = int(np.clip(MESH_METRE / cell_metre, 1, MESH_CELLS))
        # Nodes are cell centres counted from the grid's first cell, and a cell looks at its own four by four alone:
        # its weight has the same bits in whatever rows are asked for.
        node_rows = np.arange(row0 // step - 1, (row1 - 1) // step + 3)
        node_cols = np.arange(-1, (nx - 1) // step + 3)
        # Logarithms, so that a weight stays positive where k**2 runs away, towards the south pole.
        mesh = np.log(self._areas_at(measure, node_rows[:, None] * step, node_cols * step))
        row_block, col_block = rows // step - row0 // step, cols // step
        by_row, by_col = _lagrange(rows % step / step), _lagrange(cols % step / step)
        along, out = np.zeros((node_rows.size, nx)), np.zeros((rows.size, nx))
        for k in range(4):
            along += by_col[k] * mesh[:, col_block + k]
        for k in range(4):
            out += by_row[k][:, None] * along[row_block + k]
        np.exp(out, out=out)
        known = np.isfinite(mesh)
        if known.all():
            return out
        # The mesh leaves the projection's domain (a world map's corners): cell by cell along the edge, 0 beyond it.
        out[np.isnan(out)] = 0.0
        n_known = np.lib.stride_tricks.sliding_window_view(known, (4, 4)).sum(axis=(2, 3))
        mixed = (n_known > 0) & (n_known < 16)
        at_row, at_col = np.nonzero(mixed[row_block][:, col_block])
        out[at_row, at_col] = np.nan_to_num(self._areas_at(measure, rows[at_row], cols[at_col]), nan=0.0)
        return out

    def _areas_at(self, measure: Measure, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float64]:
        """Area [km2] of cells (row, col), on the grid or beyond it; NaN outside the projection's domain."""
        t = self.transform
        x, y = np.broadcast_arrays(t.c + (col + 0.5) * t.a, t.f + (row + 0.5) * t.e)
        area = area_density(self.crs, x, y) * (t.a * -t.e / 1e6)
        if measure == "lambert":
            lat = transformer(self.crs, self.crs.geodetic_crs).transform(x, y)[1]
            area = area * lambert_scale(np.where(np.isfinite(area), lat, np.nan)) ** 2
        return np.asarray(area)


def _lagrange(u: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Weights of the nodes at -1, 0, 1 and 2 for a cubic through them at u in [0, 1)."""
    return (
        -u * (u - 1) * (u - 2) / 6,
        (u + 1) * (u - 1) * (u - 2) / 2,
        -(u + 1) * u * (u - 2) / 2,
        (u + 1) * u * (u - 1) / 6,
    )


def cross_antimeridian(geometry: NDArray[Any]) -> NDArray[np.bool_]:
    """Which polygons in degrees go over the 180th meridian in one ring, as -179 following 179 does.

    Parameters
    ----------
    geometry : (n,) shapely Polygon or MultiPolygon, coordinates in degrees.

    Returns
    -------
    (n,) bool
        True where a ring has an edge of more than half the circle and still has a width after such edges are taken
        the short way round. The world's frame has none: its long edges join -180 to 180, one meridian, and it is what
        it looks like. A box from -179 to 179 could be either, and counts as crossing.
    """
    import shapely

    parts, owner = shapely.get_parts(geometry, return_index=True)  # get_rings passes over multipolygons
    rings, part = shapely.get_rings(parts, return_index=True)
    lonlat, of = shapely.get_coordinates(rings, return_index=True)
    step, same = np.diff(lonlat[:, 0]), of[1:] == of[:-1]
    long = same & (np.abs(step) > 180) & (np.abs(step) <= 360)  # beyond the whole circle there is no way round
    out = np.zeros(len(geometry), bool)
    for ring in np.unique(of[1:][long]):
        at = slice(*np.searchsorted(of, [ring, ring + 1]))
        turns = np.where(long[at.start : at.stop - 1], -360.0 * np.sign(step[at.start : at.stop - 1]), 0.0)
        short_way = lonlat[at, 0] + np.r_[0.0, np.cumsum(turns)]
        out[owner[part[ring]]] |= bool(np.ptp(short_way) > 1e-6)  # a decimetre: rounding of the frame's corners
    return out


@dataclass(frozen=True, slots=True)
class Zones:
    """The polygons of one layer of one boundary vintage, in a fixed order.

    Raises
    ------
    OptionInvalid
        Codes, geometries, names and parents differ in number, or a geometry is not a polygon.
    CodeInvalid
        A code is not text, or occurs twice.
    CrsMissing, CrsInvalid
        ``crs`` is None, or PROJ does not know it.
    """

    codes: tuple[str, ...]
    """One text per zone, without repeats; six characters for administrative units."""
    geometry: NDArray[Any] = field(repr=False)
    """(n_zones,) shapely Polygon or MultiPolygon, valid; an empty geometry has zero cells."""
    crs: CRS
    """The CRS of the coordinates."""
    vintage: str = ""
    """The date the boundaries stood, for example ``"2019"``."""
    names: tuple[str, ...] = ()
    """One name per zone, in the source's own script; empty when the layer has none."""
    parents: tuple[str, ...] = ()
    """For districts: the code of the city each belongs to (``""`` for none)."""
    _prints: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import shapely

        geometry = np.array(self.geometry, dtype=object, copy=True)
        geometry.setflags(write=False)
        object.__setattr__(self, "geometry", geometry)
        object.__setattr__(self, "crs", crs_from(self.crs))
        for label in ("codes", "names", "parents"):  # a list could still be changed
            object.__setattr__(self, label, tuple(getattr(self, label)))
        n = len(self.codes)
        if geometry.shape != (n,):
            raise OptionInvalid(f"{n} codes for geometries of shape {geometry.shape}", mend="give one code per polygon")
        for label, values in (("names", self.names), ("parents", self.parents)):
            if values and len(values) != n:
                raise OptionInvalid(f"{len(values)} {label} for {n} zones", mend=f"give one per zone, or no {label}")
        for code in self.codes:
            if not isinstance(code, str):
                raise CodeInvalid(f"the code {code!r} is not text", mend="write codes as text: str(code)")
        if len(set(self.codes)) != n:
            seen: set[str] = set()
            twice = sorted({c for c in self.codes if c in seen or seen.add(c)})  # type: ignore[func-returns-value]
            raise CodeInvalid(
                f"{len(twice)} codes occur more than once: {', '.join(twice[:5])}",
                mend="dissolve the parts into one unit, or correct the codes",
            )
        kinds = shapely.get_type_id(geometry)
        if not np.isin(kinds, (3, 6)).all():  # Polygon, MultiPolygon
            bad = self.codes[int(np.flatnonzero(~np.isin(kinds, (3, 6)))[0])]
            raise OptionInvalid(f"zone {bad} is not a polygon", mend="zones must be polygons or multipolygons")

    def __len__(self) -> int:
        return len(self.codes)

    def __eq__(self, other: object) -> bool:
        # The generated comparison would ask an array of geometries for one truth value.
        return isinstance(other, Zones) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.fingerprints, self.vintage, self.names, self.parents

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each zone's code, WKB and CRS: what a cached result of one zone is keyed by; computed once."""
        import shapely

        if self._prints is None:
            crs = self.crs.to_wkt().encode()
            prints = tuple(
                hashlib.sha256(b"|".join((code.encode(), crs, wkb))).hexdigest()
                for code, wkb in zip(self.codes, shapely.to_wkb(self.geometry), strict=True)
            )
            object.__setattr__(self, "_prints", prints)
        assert self._prints is not None  # set above
        return self._prints
