"""Coverage: which share of which cell lies in which zone, exactly.

In: a ``Grid`` and ``Zones``. Out: an immutable ``Coverage``, sorted by row: spans of cells wholly inside, and single
cells cut by a border with their share. Built once per (grid, layer), it serves every raster and year on that grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import same_crs, transform_geometry
from gis.errors import CoverageInvalid, GeometryInvalid, GridInvalid
from gis.grid import STRIP_ROWS, Grid, Measure, Zones, cross_antimeridian

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SHARE_TOLERANCE = 1e-7
"""Raw shares further than this outside [0, 1] mean that the polygon is not what it claims to be (DESIGN, engine 1)."""

BAND_CELLS = 4_000_000
"""Working memory of one polygon [cells]: taller ones are covered band by band (36 MB)."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Coverage:
    """Coverage of a grid by zones. Every array is read-only and sorted by row, then zone, then column."""

    grid: Grid
    """The grid the columns and rows belong to."""
    codes: tuple[str, ...]
    """Codes of the zones, in the order of ``zone`` indices."""
    span_ptr: NDArray[np.int64] = field(repr=False)
    """(ny + 1,): spans of row r are ``span_ptr[r]:span_ptr[r + 1]``."""
    span_zone: NDArray[Any] = field(repr=False)
    """(n_spans,) uint16 or uint32: zone index."""
    span_cols: NDArray[np.int32] = field(repr=False)
    """(n_spans, 2): first column and the column after the last."""
    cell_ptr: NDArray[np.int64] = field(repr=False)
    """(ny + 1,): boundary cells of row r."""
    cell_zone: NDArray[Any] = field(repr=False)
    """(n_cells,) uint16 or uint32: zone index."""
    cell_col: NDArray[np.int32] = field(repr=False)
    """(n_cells,): column."""
    cell_share: NDArray[np.float64] = field(repr=False)
    """(n_cells,): share of the cell inside the zone, in (0, 1]."""

    def __post_init__(self) -> None:
        for name in ("span_ptr", "span_zone", "span_cols", "cell_ptr", "cell_zone", "cell_col", "cell_share"):
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.codes)

    def touched_columns(self, row0: int, row1: int) -> tuple[int, int]:
        """Half-open range of columns that any zone touches in rows [row0, row1); (0, 0) when none does."""
        spans = self.span_cols[self.span_ptr[row0] : self.span_ptr[row1]]
        cols = self.cell_col[self.cell_ptr[row0] : self.cell_ptr[row1]]
        lows = [int(a.min()) for a in (spans[:, 0], cols) if a.size]
        highs = [int(spans[:, 1].max())] if spans.size else []
        if cols.size:
            highs.append(int(cols.max()) + 1)
        return (min(lows), max(highs)) if lows else (0, 0)

    def touched_runs(self, row0: int, row1: int, width: int) -> list[tuple[int, int]]:
        """Half-open ranges of columns, in whole blocks of ``width``, that hold every touched cell of rows [row0, row1).

        Between two ranges lies at least one block that no zone touches.
        """
        n_blocks = -(-self.grid.shape[1] // width)
        spans = self.span_cols[self.span_ptr[row0] : self.span_ptr[row1]]
        edges = np.bincount(spans[:, 0] // width, minlength=n_blocks + 1)
        edges -= np.bincount((spans[:, 1] - 1) // width + 1, minlength=n_blocks + 1)
        touched = np.cumsum(edges[:n_blocks]) > 0
        touched[self.cell_col[self.cell_ptr[row0] : self.cell_ptr[row1]] // width] = True
        turns = np.flatnonzero(np.diff(np.concatenate([[0], touched.view(np.int8), [0]])))
        return [(int(a) * width, min(int(b) * width, self.grid.shape[1])) for a, b in turns.reshape(-1, 2)]

    def touched_zones(self, row0: int, row1: int) -> NDArray[np.intp]:
        """Sorted indices of the zones with a cell in rows [row0, row1)."""
        present = np.zeros(len(self.codes), bool)
        present[self.span_zone[self.span_ptr[row0] : self.span_ptr[row1]]] = True
        present[self.cell_zone[self.cell_ptr[row0] : self.cell_ptr[row1]]] = True
        return np.flatnonzero(present)

    def covered_strips(self) -> list[int]:
        """Strips that any zone touches."""
        out = []
        for strip in range(self.grid.n_strips):
            a, b = self.grid.strip_rows(strip)
            if self.span_ptr[b] > self.span_ptr[a] or self.cell_ptr[b] > self.cell_ptr[a]:
                out.append(strip)
        return out

    def only(self, zones: NDArray[np.intp]) -> Coverage:
        """The coverage of some of the zones, in the order given by rising index ``zones``."""
        if zones.size == len(self):
            return self
        place = np.full(len(self), -1)
        place[zones] = np.arange(zones.size)
        return gather(self.grid, tuple(self.codes[i] for i in zones), [(self, place)])

    def dense(self, zone: int) -> NDArray[np.float64]:
        """(ny, nx) shares of one zone; for tests and small grids."""
        out = np.zeros(self.grid.shape)
        for row in range(self.grid.shape[0]):
            for i in range(self.span_ptr[row], self.span_ptr[row + 1]):
                if self.span_zone[i] == zone:
                    out[row, self.span_cols[i, 0] : self.span_cols[i, 1]] = 1.0
            for i in range(self.cell_ptr[row], self.cell_ptr[row + 1]):
                if self.cell_zone[i] == zone:
                    out[row, self.cell_col[i]] = self.cell_share[i]
        return out


@dataclass(frozen=True, slots=True)
class ZonePart:
    """The cells of one zone on one grid."""

    spans: NDArray[np.int32] = field(repr=False)
    """(n, 3): row, first column, column after the last; cells wholly inside, by row and column."""
    cells: NDArray[np.int32] = field(repr=False)
    """(m, 2): row, column; cells cut by the border, by row and column."""
    shares: NDArray[np.float64] = field(repr=False)
    """(m,): share inside."""


def coverage_from_zones(
    grid: Grid, zones: Zones, *, run: Callable[..., list[Any]] | None = None, zones_per_task: int = 64
) -> Coverage:
    """Cover a grid by zones, exactly: shares agree with shapely's polygon-cell intersection to 1e-9 of a cell.

    Zones are carried into the grid's CRS after densification, never the grid into theirs. Parts of a zone beyond the
    grid are left out; `zone_areas` accounts for them. A zone beyond the grid, or an empty one, has no cells.

    Parameters
    ----------
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks; default: one after the other.

    Raises
    ------
    GeometryInvalid
        A polygon is invalid or crosses the antimeridian.
    GridInvalid
        The grid counts longitudes to 360, and a zone lies west of Greenwich.
    CoverageInvalid
        A share left [0, 1]: the second line of defence.
    """
    return assemble(grid, zones.codes, burn_parts(grid, zones, run=run, zones_per_task=zones_per_task))


def burn_parts(
    grid: Grid, zones: Zones, *, run: Callable[..., list[Any]] | None = None, zones_per_task: int = 64
) -> list[ZonePart]:
    """The cells of every zone, one by one, in the order of the zones; see `coverage_from_zones`."""
    geometry = _ready(grid, zones)
    tasks = [(i, geometry[i : i + zones_per_task]) for i in range(0, len(zones), zones_per_task)]

    def burn(task: tuple[int, NDArray[Any]]) -> list[ZonePart]:
        return _burn_zones(grid, zones.codes, *task)

    return [part for group in (run(burn, tasks) if run else map(burn, tasks)) for part in group]


def _ready(grid: Grid, zones: Zones) -> NDArray[Any]:
    """Polygons in the grid's CRS, checked."""
    import shapely

    if zones.crs.is_geographic:
        _refuse_antimeridian(zones)
    geometry = transform_geometry(zones.geometry, zones.crs, grid.crs)
    _refuse_other_turn(grid, zones.codes, geometry)
    valid = shapely.is_valid(geometry)
    if not valid.all():
        bad = [zones.codes[i] for i in np.flatnonzero(~valid)]
        reason = shapely.is_valid_reason(geometry[int(np.flatnonzero(~valid)[0])])
        moved = "" if same_crs(zones.crs, grid.crs) else f" after the step from {zones.crs.name} to {grid.crs.name}"
        raise GeometryInvalid(
            f"{len(bad)} zones are invalid{moved}: {', '.join(bad[:5])} ({reason})",
            mend="repair them: gis.boundaries.repair, or shapely.make_valid and a look at the change in area",
        )
    return np.asarray(geometry)


def rings_of(geometry: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Every ring of some polygons and multipolygons, and the polygon of each: shapely passes over rings of parts."""
    import shapely

    parts, owner = shapely.get_parts(geometry, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    return rings, owner[part]


def _refuse_antimeridian(zones: Zones) -> None:
    across = cross_antimeridian(zones.geometry)
    if across.any():
        code = zones.codes[int(np.flatnonzero(across)[0])]
        raise GeometryInvalid(
            f"zone {code} crosses the antimeridian",
            where=f"zone {code}",
            mend="split it at 180 degrees into the parts of one multipolygon",
        )


def _refuse_other_turn(grid: Grid, codes: Sequence[str], geometry: NDArray[Any]) -> None:
    """Refuse zones west of Greenwich where the grid holds their place above 180 degrees: they would find nothing."""
    import shapely

    right = grid.bounds_xy[2]
    if not grid.is_geographic or right <= 180 - grid.transform.e:  # a row's height: half a cell beyond is common
        return
    left = shapely.bounds(geometry)[:, 0]
    west = left < right - 360 - 1e-9  # a billionth of a degree: a zone may end where the grid begins
    if west.any():
        first = int(np.flatnonzero(west)[0])
        raise GridInvalid(
            f"the grid runs to {right:g} degrees east, zone {codes[first]} to {left[first]:g}: one place, two names",
            mend="count from -180 on: gdalwarp -t_srs EPSG:4326 --config CENTER_LONG 0 in.tif out.tif; for an array, "
            "array.assign_coords(lon=(array.lon + 180) % 360 - 180).sortby('lon')",
        )


def _burn_zones(grid: Grid, codes: tuple[str, ...], first: int, geometry: NDArray[Any]) -> list[ZonePart]:
    """The cells of some zones; ``first`` is the index of the first of them, for messages."""
    import shapely

    from gis.zonal.burn import ring_sign

    nothing = ZonePart(np.empty((0, 3), np.int32), np.empty((0, 2), np.int32), np.empty(0))
    kind, xy, offsets = shapely.to_ragged_array(
        np.array([shapely.multipolygons([g]) if g.geom_type == "Polygon" and not g.is_empty else g for g in geometry]),
        include_z=False,
    )
    if kind == shapely.GeometryType.POLYGON:  # only empty polygons in this group
        return [nothing] * len(geometry)
    ring_of, polygon_of, part_of = (np.asarray(o, np.int64) for o in offsets)
    t = grid.transform
    u = np.ascontiguousarray((xy[:, 0] - t.c) / t.a)
    v = np.ascontiguousarray((xy[:, 1] - t.f) / t.e)
    is_exterior = np.zeros(ring_of.size - 1, bool)
    is_exterior[polygon_of[:-1][np.diff(polygon_of) > 0]] = True  # the first ring of every part that is not empty
    sign = np.array(
        [ring_sign(u[a:b], v[a:b], not e) for a, b, e in zip(ring_of[:-1], ring_of[1:], is_exterior, strict=True)]
    )
    out = []
    for k in range(part_of.size - 1):
        r0, r1 = polygon_of[part_of[k]], polygon_of[part_of[k + 1]]
        start = ring_of[r0 : r1 + 1]
        if r0 == r1:
            out.append(nothing)
            continue
        a, b = start[0], start[-1]
        out.append(_burn_one(grid, codes[first + k], u[a:b], v[a:b], start - a, sign[r0:r1]))
    return out


def _burn_one(
    grid: Grid,
    code: str,
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    start: NDArray[np.int64],
    sign: NDArray[np.float64],
) -> ZonePart:
    """The cells of one zone, band by band."""
    from gis.zonal.burn import burn_band

    ny, nx = grid.shape
    row0, row1 = max(int(np.floor(v.min())), 0), min(int(np.ceil(v.max())), ny)
    col0, col1 = max(int(np.floor(u.min())), 0), min(int(np.ceil(u.max())), nx)
    step = max(BAND_CELLS // max(col1 - col0, 1), 1)
    bands = []
    for band in range(row0, row1 if col0 < col1 else row0, step):
        *pieces, worst = burn_band(u, v, start, sign, band, min(band + step, row1), col0, col1)
        if worst > SHARE_TOLERANCE:
            raise CoverageInvalid(
                f"the coverage of zone {code} leaves [0, 1] by {worst:.2g}",
                where=f"zone {code}, rows {band} to {min(band + step, row1)}",
                mend="the polygon overlaps itself: repair it (gis.boundaries.repair)",
            )
        bands.append(pieces)
    if len(bands) == 1:
        return ZonePart(*bands[0])
    empty = [np.empty((0, 3), np.int32), np.empty((0, 2), np.int32), np.empty(0)]
    return ZonePart(*(np.concatenate(arrays) for arrays in zip(empty, *bands, strict=True)))


def assemble(grid: Grid, codes: tuple[str, ...], parts: Sequence[ZonePart]) -> Coverage:
    """Put the cells of all zones together, by row; inside a row in the order of zones, then columns."""
    index = np.uint16 if len(codes) <= 65_535 else np.uint32
    number = np.arange(len(parts), dtype=index)
    span_zone = np.repeat(number, [len(p.spans) for p in parts])
    cell_zone = np.repeat(number, [len(p.cells) for p in parts])
    spans = np.concatenate([np.empty((0, 3), np.int32), *(p.spans for p in parts)])
    cells = np.concatenate([np.empty((0, 2), np.int32), *(p.cells for p in parts)])
    shares = np.concatenate([np.empty(0), *(p.shares for p in parts)])
    by_row, by_cell_row = np.argsort(spans[:, 0], kind="stable"), np.argsort(cells[:, 0], kind="stable")
    rows = np.arange(grid.shape[0] + 1)
    return Coverage(
        grid,
        codes,
        np.searchsorted(spans[by_row, 0], rows).astype(np.int64),
        span_zone[by_row],
        np.ascontiguousarray(spans[by_row, 1:]),
        np.searchsorted(cells[by_cell_row, 0], rows).astype(np.int64),
        cell_zone[by_cell_row],
        np.ascontiguousarray(cells[by_cell_row, 1]),
        shares[by_cell_row],
    )


def gather(grid: Grid, codes: tuple[str, ...], pieces: Sequence[tuple[Coverage, NDArray[np.intp]]]) -> Coverage:
    """Zones of several coverages of one grid as one coverage.

    Parameters
    ----------
    codes : codes of the result.
    pieces : (coverage, place) for each: ``place[i]`` is where its zone i stands in the result, -1 if it is left out.
    """
    spans = _by_row(grid, len(codes), [(c.span_ptr, p[c.span_zone], (c.span_cols,)) for c, p in pieces])
    cells = _by_row(grid, len(codes), [(c.cell_ptr, p[c.cell_zone], (c.cell_col, c.cell_share)) for c, p in pieces])
    return Coverage(grid, codes, *spans, *cells)


def _by_row(
    grid: Grid, n_zones: int, pieces: Sequence[tuple[NDArray[np.int64], NDArray[np.intp], tuple[NDArray[Any], ...]]]
) -> tuple[NDArray[Any], ...]:
    """(row pointers, zones, fields) of several coverages together, by row and zone."""
    rows = np.arange(grid.shape[0])
    keys, columns = [], []
    for ptr, zone, fields in pieces:
        keep = slice(None) if zone.min(initial=0) >= 0 else zone >= 0
        keys.append((np.repeat(rows, np.diff(ptr)) * n_zones + zone)[keep])
        columns.append([field[keep] for field in fields])
    key = np.concatenate(keys)
    values = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")  # sorted runs, one after the other: a merge, not a sort
        key, values = key[order], [value[order] for value in values]
    row, zone = np.divmod(key, n_zones or 1)
    ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=grid.shape[0]))])
    return ptr.astype(np.int64), zone.astype(np.uint16 if n_zones <= 65_535 else np.uint32), *values


def weigh(coverage: Coverage, measure: Measure) -> NDArray[np.float64]:
    """Sum of share times cell weight over the cells of each zone: its area on the grid under a measure.

    Returns
    -------
    (n_zones,) float64 [km2, or cells for the measure ``cells``]
    """
    grid = coverage.grid
    out = np.zeros(len(coverage))
    for strip in coverage.covered_strips():
        row0, row1 = grid.strip_rows(strip)
        weight = grid.cell_areas_km2(measure, row0, row1)
        out += _weigh_strip(coverage, row0, row1, weight)
    return out


def _weigh_strip(coverage: Coverage, row0: int, row1: int, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    s0, s1, c0, c1 = (
        int(p[r]) for p, r in ((coverage.span_ptr, row0), (coverage.span_ptr, row1),
                               (coverage.cell_ptr, row0), (coverage.cell_ptr, row1))
    )  # fmt: skip
    cols = coverage.span_cols[s0:s1].astype(np.int64)
    span_row = np.repeat(np.arange(row1 - row0), np.diff(coverage.span_ptr[row0 : row1 + 1]))
    cell_row = np.repeat(np.arange(row1 - row0), np.diff(coverage.cell_ptr[row0 : row1 + 1]))
    if weight.ndim == 1:
        span_weight = weight[span_row] * (cols[:, 1] - cols[:, 0])
        cell_weight = weight[cell_row]
    else:
        running = np.zeros((weight.shape[0], weight.shape[1] + 1))
        np.cumsum(weight, axis=1, out=running[:, 1:])
        span_weight = running[span_row, cols[:, 1]] - running[span_row, cols[:, 0]]
        cell_weight = weight[cell_row, coverage.cell_col[c0:c1]]
    n = len(coverage)
    inner = np.bincount(coverage.span_zone[s0:s1], span_weight, n)
    cut = np.bincount(coverage.cell_zone[c0:c1], cell_weight * coverage.cell_share[c0:c1], n)
    return (inner + cut).astype(np.float64)


def zone_areas(grid: Grid, zones: Zones, coverage: Coverage, measures: Sequence[Measure]) -> NDArray[np.float64]:
    """Area of each whole zone under some measures, its part beyond the raster's edge included.

    The grid is continued over the zones that reach beyond it, so that numerator and denominator of a covered share
    come from the same cells.

    Returns
    -------
    (n_zones, n_measures) float64 [km2, or cells]
    """
    import shapely

    areas = np.column_stack([weigh(coverage, measure) for measure in measures])
    geometry = _ready(grid, zones)
    x0, y0, x1, y1 = grid.bounds_xy
    box = shapely.bounds(geometry)
    out = (box[:, 0] < x0) | (box[:, 1] < y0) | (box[:, 2] > x1) | (box[:, 3] > y1)
    beyond = np.flatnonzero(out & ~shapely.is_empty(geometry))
    if beyond.size:
        bigger = _continued(grid, box[beyond])
        some = Zones(tuple(zones.codes[i] for i in beyond), geometry[beyond], grid.crs)
        whole = coverage_from_zones(bigger, some)
        areas[beyond] = np.column_stack([weigh(whole, measure) for measure in measures])
    return areas


def _continued(grid: Grid, boxes: NDArray[np.float64]) -> Grid:
    """The same cells, continued over some bounding boxes; by whole strips upwards, so that rows keep their strips."""
    from affine import Affine

    t, (ny, nx) = grid.transform, grid.shape
    left = max(int(np.ceil((t.c - boxes[:, 0].min()) / t.a)), 0)
    right = max(int(np.ceil((boxes[:, 2].max() - t.c) / t.a)) - nx, 0)
    up = max(int(np.ceil((boxes[:, 3].max() - t.f) / -t.e)), 0)
    down = max(int(np.ceil((t.f - boxes[:, 1].min()) / -t.e)) - ny, 0)
    up = -(-up // STRIP_ROWS) * STRIP_ROWS
    corner = Affine(t.a, 0.0, t.c - left * t.a, 0.0, t.e, t.f - up * t.e)
    return Grid((ny + up + down, nx + left + right), corner, grid.crs)
