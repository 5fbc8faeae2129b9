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

from gis.crs import WGS84_A, area_density, authalic_q, lambert_scale, transformer
from gis.errors import CodeInvalid, GridInvalid, OptionInvalid

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from pyproj import CRS

STRIP_ROWS = 512
"""Rows of a strip, the atom of summation: partial sums are made per strip and added in strip order."""

MESH_CELLS = 32
"""Mesh step for area factors on projected grids [cells]; see ``Grid.cell_areas_km2`` for the error."""

Measure = Literal["lambert", "true", "cells"]
"""What a cell of an intensity weighs: its area in the ESRI:102027 plane, on the ellipsoid, or 1 (METHOD 1.4)."""
MEASURES: tuple[Measure, ...] = ("lambert", "true", "cells")


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up raster grid: immutable shape, transform and CRS."""

    shape: tuple[int, int]
    """(ny, nx), both at least 1."""
    transform: Affine
    """Cell (col, row) corners to CRS coordinates (x, y); no rotation, x grows with col, y falls with row."""
    crs: CRS
    """The CRS of (x, y)."""

    def __post_init__(self) -> None:
        ny, nx = self.shape
        t = self.transform
        if ny < 1 or nx < 1:
            raise GridInvalid(f"a grid of {ny} rows and {nx} columns has no cell")
        if t.b != 0 or t.d != 0:
            raise GridInvalid(
                "the grid is rotated or sheared", mend="warp it to a north-up grid first: lightpanel reproject"
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
        text = f"{self.shape}|{tuple(float(v) for v in self.transform[:6])}|{self.crs.to_wkt()}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_geographic(self) -> bool:
        """Whether cells are measured in degrees of longitude and latitude."""
        return bool(self.crs.is_geographic)

    def same_place(self, other: Grid, tolerance_cells: float = 1e-6) -> bool:
        """Whether two grids put every cell in the same place (to a millionth of a cell)."""
        from gis.crs import same_crs

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
        Projected: at cell centres, by cubic interpolation from a mesh of every 32nd cell; error below 1e-9
        (test_mesh_interpolation_*).
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
        from scipy.interpolate import RectBivariateSpline

        t, (ny, nx) = self.transform, self.shape
        # The mesh is anchored at the grid's first cell, so that a row has the same weights in any strip; it reaches
        # three nodes past the strip, where a cubic spline's end conditions have died out.
        step = MESH_CELLS
        first = (row0 // STRIP_ROWS) * STRIP_ROWS
        last = min(-(-row1 // STRIP_ROWS) * STRIP_ROWS, -(-ny // STRIP_ROWS) * STRIP_ROWS)
        rows = np.arange(first - 6 * step, last + 6 * step + 1, step) + 0.5
        cols = np.arange(-6 * step, nx + 7 * step, step) + 0.5
        at_rows, at_cols = np.arange(row0, row1) + 0.5, np.arange(nx) + 0.5
        mesh = self._areas_at(measure, rows, cols)
        if np.isfinite(mesh).all():
            return np.asarray(RectBivariateSpline(rows, cols, mesh, kx=3, ky=3, s=0)(at_rows, at_cols))
        # The mesh leaves the projection's domain (a world map's corners): cell by cell, nothing outside the domain.
        return np.nan_to_num(self._areas_at(measure, at_rows, at_cols), nan=0.0, posinf=0.0, neginf=0.0)

    def _areas_at(
        self, measure: Measure, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Cell area [km2] at points (row, col) in cell coordinates; not finite outside the projection's domain."""
        t = self.transform
        x = np.broadcast_to(t.c + cols * t.a, (rows.size, cols.size))
        y = np.broadcast_to((t.f + rows * t.e)[:, None], (rows.size, cols.size))
        area = area_density(self.crs, x, y) * (t.a * -t.e / 1e6)
        if measure == "lambert":
            geodetic = self.crs.geodetic_crs
            assert geodetic is not None  # area_density has refused a CRS without one
            lat = transformer(self.crs, geodetic).transform(x, y)[1]
            area = area * lambert_scale(lat) ** 2
        return np.asarray(area)


@dataclass(frozen=True, slots=True)
class Zones:
    """The polygons of one layer of one boundary vintage, in a fixed order."""

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

    def __post_init__(self) -> None:
        import shapely

        geometry = np.array(self.geometry, dtype=object, copy=True)
        geometry.setflags(write=False)
        object.__setattr__(self, "geometry", geometry)
        n = len(self.codes)
        if geometry.shape != (n,):
            raise OptionInvalid(f"{n} codes for {geometry.shape} geometries")
        for label, values in (("names", self.names), ("parents", self.parents)):
            if values and len(values) != n:
                raise OptionInvalid(f"{len(values)} {label} for {n} zones")
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

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each zone's code, WKB and CRS: what a cached result of one zone is keyed by."""
        import shapely

        crs = self.crs.to_wkt().encode()
        return tuple(
            hashlib.sha256(b"|".join((code.encode(), crs, wkb))).hexdigest()
            for code, wkb in zip(self.codes, shapely.to_wkb(self.geometry), strict=True)
        )
