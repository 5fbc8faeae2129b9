"""Statistics of one raster weighted by a second one, on the same grid or any other: light weighted by people.

In: a raster of values, a raster of weights (counts: persons per cell), zones; either raster is a file or rows held in
memory. Out: ``WeightedSums`` per zone, and a source of weighted values for `gis.zonal.distribution`.

How cells are matched: the *weights* are counts, so they are what must be conserved. The zones are laid exactly over
the grid of the weights. Each of its cells is cut into ``pieces`` by ``pieces`` equal parts, a part carries its share
of the cell's weight, and takes the value of the value raster at its centre. Nothing is resampled and no weight is
lost: without missing values, the weight of a zone is the sum of the weight raster over it. Where the lines of both
grids coincide in some refinement (the same grid, one nested in the other, a shift by half a cell), the pieces are
chosen so that each lies in one cell of values, and the result is exact. Otherwise a piece is at most half as wide as a
cell of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from gis.crs import same_crs, transformer
from gis.grid import STRIP_ROWS, Grid, Zones
from gis.raster_io import CellRules, RasterInfo, is_data, open_raster
from gis.zonal.coverage import Coverage, coverage_from_zones
from gis.zonal.engine import bounds_from_rules
from gis.zonal.matching import MAX_PIECES, strip_cells
from gis.zonal.value_tables import ValueTable, cells_of_strips, cells_of_zones, first_strips, table_of_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Runner = Callable[..., list[Any]]

BLOCK_CELLS = 1_000_000
"""Pieces matched at a time, about [cells of the bounding rows]: it bounds memory, and changes no bit."""

ALIGNED = 1e-6
"""Lines of two grids that lie closer than this are one line [cells], as in ``Grid.same_place``."""

Kind = Literal["value", "per_head"]
"""What is distributed among the weights: the value itself, or value times area per unit of weight."""


class Rows(Protocol):
    """What hands out rows of cells: an open raster, or cells in memory."""

    def read_rows(self, row0: int, row1: int, col0: int = 0, col1: int | None = None) -> NDArray[Any]:
        """Rows [row0, row1) and columns [col0, col1) of the grid, in a working dtype."""


class HeldRows(Rows, Protocol):
    """Cells in memory that know their grid."""

    @property
    def grid(self) -> Grid:
        """Where they lie."""


Cells = RasterInfo | HeldRows
"""Where cells come from: a file, opened by each task that reads it, or memory."""


def open_cells(cells: Cells) -> AbstractContextManager[Rows]:
    """Rows of a file or of memory."""
    return open_raster(cells) if isinstance(cells, RasterInfo) else nullcontext(cells)


def pieces_per_side(weights: Grid, values: Grid) -> int:
    """Into how many pieces a side a cell of weights is cut; see the head of this module."""
    if same_crs(weights.crs, values.crs):
        for pieces in range(1, MAX_PIECES + 1):
            if _fits(weights, values, pieces):
                return pieces
    ratio = 2 * weights.cell_side_km / values.cell_side_km
    return int(min(max(np.ceil(ratio - ALIGNED), 1), MAX_PIECES))


def _fits(weights: Grid, values: Grid, pieces: int) -> bool:
    """Whether every line of the value grid is a line of the weight grid cut into pieces."""
    w, v = weights.transform, values.transform
    for size, start, cell, origin, n in (
        (w.a / pieces, w.c, v.a, v.c, values.shape[1]),
        (w.e / pieces, w.f, v.e, v.f, values.shape[0]),
    ):
        first, last = (origin - start) / size, (origin + n * cell - start) / size
        # In whole pieces at both ends, and as many pieces in each cell: then every line between fits too.
        if max(abs(first - round(first)), abs(last - round(last))) > ALIGNED * pieces or round(last - first) % n:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Weights:
    """A raster of weights with zones laid over it, ready for rasters of values on one grid."""

    info: Cells
    """The raster: counts per cell."""
    rules: CellRules
    """Which of its cells are data; below zero is never a weight."""
    pieces: int
    """Pieces a side of each cell."""
    coverage: Coverage
    """Zones on its grid, cut into pieces."""
    exact: bool
    """Whether every piece lies in one cell of values."""


def weight_rules(rules: CellRules) -> CellRules:
    """The same rules, with nothing below zero: a negative count is fill (LandScan's -9999 among them)."""
    return replace(rules, below_zero_is_nodata=True)


def match_weights(
    info: Cells,
    rules: CellRules,
    zones: Zones,
    values: Grid,
    *,
    pieces: int | None = None,
    run: Runner | None = None,
) -> Weights:
    """Lay zones over a raster of weights, in pieces made for a grid of values.

    Parameters
    ----------
    pieces : int, optional
        Pieces a side of a weight cell; default: `pieces_per_side`.
    run : callable, optional
        As for `coverage_from_zones`.
    """
    chosen = pieces or pieces_per_side(info.grid, values)
    exact = same_crs(info.grid.crs, values.crs) and _fits(info.grid, values, chosen)
    coverage = coverage_from_zones(info.grid.refined(chosen), zones, run=run)
    return Weights(info, weight_rules(rules), chosen, coverage, exact)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of weight cells inside zones; arrays of equal length."""

    zone: NDArray[np.int64] = field(repr=False)
    """Zone index."""
    weight: Floats = field(repr=False)
    """Weight of the piece inside the zone; pieces without data or of weight 0 are left out."""
    value: Floats = field(repr=False)
    """Value at the piece's centre; NaN without data."""
    per_head: Floats = field(repr=False)
    """Value times area over weight [unit of the value times km2, per unit of weight]; NaN where not asked for."""


@dataclass(frozen=True, slots=True)
class PieceSource:
    """The values of one raster among the weights of another, as `gis.zonal.distribution` takes them."""

    info: Cells
    """The raster of values."""
    rules: CellRules
    """Which of its cells are data."""
    weights: Weights
    """The weights."""
    kind: Kind = "value"
    """What is distributed."""
    area: Literal["true", "lambert"] = "true"
    """Area of a cell, for ``per_head``."""

    def __len__(self) -> int:
        return len(self.weights.coverage)

    @property
    def bound(self) -> NDArray[np.int64]:
        """(n_zones,): pieces of each zone."""
        return cells_of_zones(self.weights.coverage)

    @property
    def first_strip(self) -> NDArray[np.int64]:
        """(n_zones,): where each zone begins."""
        return first_strips(self.weights.coverage)

    def cells_of_strips(self) -> dict[int, int]:
        """Strips of the grid of pieces that any zone touches, and pieces in each."""
        return cells_of_strips(self.weights.coverage)

    def only(self, zones: NDArray[np.intp]) -> PieceSource:
        """The same for some of the zones."""
        return replace(self, weights=replace(self.weights, coverage=self.weights.coverage.only(zones)))

    def table(self, strip: int, after: float) -> ValueTable:
        """Tabulate one strip of pieces, values above ``after``."""
        blocks = []
        for p in pieces_of_strip(self, strip):
            x = (p.value if self.kind == "value" else p.per_head) + 0.0
            keep = x > after  # NaN fails
            blocks.append((p.zone[keep], x[keep], p.weight[keep]))
        if not blocks:
            return table_of_pairs(np.empty(0, np.int64), np.empty(0), np.empty(0), len(self))
        zone, value, weight = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
        return table_of_pairs(zone, value, weight, len(self))


def pieces_of_strip(source: PieceSource, strip: int) -> Iterator[Pieces]:
    """Match one strip of the grid of pieces, some rows at a time.

    Notes
    -----
    The rows of a block depend on the grid alone, so that the order of pieces in a zone does not depend on its
    neighbours.
    """
    with open_cells(source.info) as values, open_cells(source.weights.info) as weights:
        for cells in _blocks(source.weights.coverage, strip):
            yield _match(source, values, weights, *cells)


def _blocks(coverage: Coverage, strip: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """(zone, row, col, share) of the pieces of one strip, some rows at a time."""
    row0, row1 = coverage.grid.strip_rows(strip)
    step = max(BLOCK_CELLS // coverage.grid.shape[1], 1)
    everyone = np.ones(len(coverage), bool)
    for first in range(row0, row1, step):
        cells = strip_cells(coverage, first, min(first + step, row1), everyone)
        if cells[0].size:
            yield cells


def _match(
    source: PieceSource,
    values: Rows,
    weights: Rows,
    zone: NDArray[np.int64],
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    share: Floats,
) -> Pieces:
    w = source.weights
    cell_row, cell_col = row // w.pieces, col // w.pieces
    count = cells_at(weights, w.rules, cell_row, cell_col)
    some = count > 0  # NaN fails
    zone, row, col, share, count = zone[some], row[some], col[some], share[some], count[some]
    at_row, at_col = _cells_under(w.coverage.grid, source.info.grid, row, col)
    value = cells_at(values, source.rules, at_row, at_col)
    if source.kind == "per_head":
        per_head = value * _areas(w.info.grid, source.area, cell_row[some], cell_col[some]) / count
    else:
        per_head = np.full(value.size, np.nan)
    return Pieces(zone, share * count / w.pieces**2, value, per_head)


def _cells_under(
    pieces: Grid, values: Grid, row: NDArray[np.int64], col: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, col) of the value cell that holds each piece's centre; -1 beyond the grid."""
    (ny, nx), (at_row, at_col) = values.shape, _places_under(pieces, values, row, col)
    with np.errstate(invalid="ignore"):
        on = (at_row >= 0) & (at_row < ny) & (at_col >= 0) & (at_col < nx)
    return np.where(on, at_row, -1).astype(np.int64), np.where(on, at_col, -1).astype(np.int64)


def _places_under(pieces: Grid, values: Grid, row: NDArray[np.int64], col: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The same on a grid of values without an edge; not finite outside the projection's domain."""
    p, t = pieces.transform, values.transform
    x, y = p.c + (col + 0.5) * p.a, p.f + (row + 0.5) * p.e
    if not same_crs(pieces.crs, values.crs):
        x, y = transformer(pieces.crs, values.crs).transform(x, y)
    with np.errstate(invalid="ignore"):
        return np.floor((y - t.f) / t.e), np.floor((x - t.c) / t.a)


@dataclass(frozen=True, slots=True)
class Windows:
    """The cells that one strip of pieces needs, as half-open ranges."""

    strip: int
    """Strip of the grid of pieces."""
    values: tuple[int, int, int, int]
    """(row0, row1, col0, col1) of the values; empty where the strip lies beyond them."""
    weights: tuple[int, int, int, int]
    """(row0, row1, col0, col1) of the weights."""


def windows_of_strip(weights: Weights, values: Grid, strip: int) -> Windows:
    """What has to be in memory for `pieces_of_strip`; no cell is read.

    Notes
    -----
    In one CRS two corners tell; across projections every piece is carried over, some rows at a time, because a
    straight row is curved in the other grid.
    """
    coverage, n = weights.coverage, weights.pieces
    row0, row1 = _touched_rows(coverage, *coverage.grid.strip_rows(strip))
    col0, col1 = coverage.touched_columns(row0, row1)
    corners = np.array([row0, row1 - 1]), np.array([col0, col1 - 1])
    if same_crs(coverage.grid.crs, values.crs):
        places = [_places_under(coverage.grid, values, *corners)]
    else:
        places = [_ends(*_places_under(coverage.grid, values, row, col)) for _, row, col, _ in _blocks(coverage, strip)]
    ranges = []
    for size, found in zip(values.shape, (np.concatenate(axis) for axis in zip(*places, strict=True)), strict=True):
        ends = np.clip(found[np.isfinite(found)], -1, size)
        ranges += [max(int(ends.min()), 0), min(int(ends.max()) + 1, size)] if ends.size else [0, 0]
    a, b, c, d = ranges
    under = (a, b, c, d) if a < b and c < d else (0, 0, 0, 0)
    return Windows(strip, under, (row0 // n, -(-row1 // n), col0 // n, -(-col1 // n)))


def _touched_rows(coverage: Coverage, row0: int, row1: int) -> tuple[int, int]:
    """The rows from the first to the last that any zone touches; (row0, row0) when none does."""
    n_cells = sum(np.diff(ptr[row0 : row1 + 1]) for ptr in (coverage.span_ptr, coverage.cell_ptr))
    some = np.flatnonzero(n_cells)
    return (row0 + int(some[0]), row0 + int(some[-1]) + 1) if some.size else (row0, row0)


def _ends(row: Floats, col: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest finite place along each axis."""

    def ends(place: Floats) -> Floats:
        finite = place[np.isfinite(place)]
        return np.array([finite.min(), finite.max()]) if finite.size else finite

    return ends(row), ends(col)


def cells_at(handle: Rows, rules: CellRules, row: NDArray[np.int64], col: NDArray[np.int64]) -> Floats:
    """Values of single cells after the rules; NaN without data and where ``row`` is -1.

    Reads the window around them strip by strip, so that memory does not grow with how far they lie apart.
    """
    out = np.full(row.size, np.nan)
    strip = np.where(row >= 0, row // STRIP_ROWS, -1)
    for s in np.unique(strip[strip >= 0]):
        at = np.flatnonzero(strip == s)
        r, c = row[at], col[at]
        row0, row1, col0, col1 = int(r.min()), int(r.max()) + 1, int(c.min()), int(c.max()) + 1
        found = handle.read_rows(row0, row1, col0, col1)[r - row0, c - col0]
        good, bounds = is_data(found, rules), bounds_from_rules(rules, found.dtype)
        x = found.astype(np.float64)
        good &= x >= bounds.low
        out[at] = np.where(good, np.where(x >= bounds.floor, x, 0.0), np.nan)
    return out


def _areas(grid: Grid, measure: Literal["true", "lambert"], row: NDArray[np.int64], col: NDArray[np.int64]) -> Floats:
    """Area of cells (row, col) [km2]."""
    if not row.size:
        return np.empty(0)
    row0 = int(row.min())
    areas = grid.cell_areas_km2(measure, row0, int(row.max()) + 1)
    return areas[row - row0] if areas.ndim == 1 else areas[row - row0, col]


# --- sums -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightedSums:
    """Sums of values among weights; arrays of shape (n_zones,)."""

    weight: Floats
    """Sum of all weights inside the zone, values or not; 0 where there is none."""
    weight_on_data: Floats
    """Sum of the weights that have a value."""
    total: Floats
    """Sum of weight times value."""
    variance: Floats
    """Weighted population variance; NaN without weight on data."""


@dataclass(frozen=True, slots=True)
class _StripTask:
    source: PieceSource
    strip: int


StripTotals = tuple["NDArray[np.intp]", "Floats"]
"""(n,) zones with a piece in a strip, and (n, N_WEIGHTED) their sums, see `gis.zonal.order_kernels.add_weighted`."""


def sum_strip(source: PieceSource, strip: int) -> StripTotals:
    """What one strip adds: the chunk function."""
    from gis.zonal.order_kernels import N_WEIGHTED, add_weighted

    coverage = source.weights.coverage
    out = np.zeros((len(coverage), N_WEIGHTED))
    for p in pieces_of_strip(source, strip):
        add_weighted(p.zone, p.weight, p.value, out)
    zones = coverage.touched_zones(*coverage.grid.strip_rows(strip))
    return zones, out[zones]


def _sum_strip(task: _StripTask) -> StripTotals:
    return sum_strip(task.source, task.strip)


def sums_of_strips(parts: Iterable[StripTotals], n_zones: int) -> WeightedSums:
    """Strips put together, in strip order."""
    from gis.zonal.order_kernels import N_WEIGHTED, W_ALL, W_M2, W_VALID, W_VALUE, merge_weighted

    out = np.zeros((n_zones, N_WEIGHTED))
    for zones, part in parts:
        some = out[zones]
        merge_weighted(some, part)
        out[zones] = some
    with np.errstate(invalid="ignore"):
        variance = out[:, W_M2] / out[:, W_VALID]
    return WeightedSums(out[:, W_ALL].copy(), out[:, W_VALID].copy(), out[:, W_VALUE].copy(), variance)


def weighted_sums(source: PieceSource, *, run: Runner | None = None) -> WeightedSums:
    """Sum the values of one raster among the weights of another; strips of the weights are added in strip order.

    Parameters
    ----------
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks; default: one by one.
    """
    tasks = [_StripTask(source, strip) for strip in source.weights.coverage.covered_strips()]
    return sums_of_strips(run(_sum_strip, tasks) if run else map(_sum_strip, tasks), len(source))
