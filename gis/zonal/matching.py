"""Cells of one grid matched to cells of another: who lives where there is a light reading.

In: a population raster, a light raster on any other grid, zones. Out: per zone, the population that lives in valid
light cells. People are spread evenly over their cell. A population cell larger than a light cell is first cut into
pieces of about that size; each piece goes to the light cell that holds its centre, whole, so the population is
conserved: with all lights valid the sum is the population itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import same_crs, transformer
from gis.grid import STRIP_ROWS, Grid, Zones
from gis.raster_io import CellRules, RasterInfo, is_data, open_raster
from gis.zonal.coverage import Coverage, coverage_from_zones
from gis.zonal.engine import StripMask, bounds_from_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Match:
    """The population cells (or pieces of them) of some zones in one strip, and the light cell of each one's centre."""

    strip: int
    """Strip of the (refined) population grid."""
    row: NDArray[np.int64] = field(repr=False)
    """(n,): row of the population grid."""
    col: NDArray[np.int64] = field(repr=False)
    """(n,): column of the population grid."""
    zone: NDArray[np.int64] = field(repr=False)
    """(n,): zone index."""
    share: NDArray[np.float64] = field(repr=False)
    """(n,): share of the whole population cell that is this piece inside the zone."""
    light_row: NDArray[np.int64] = field(repr=False)
    """(n,): row of the light grid; -1 beyond it."""
    light_col: NDArray[np.int64] = field(repr=False)
    """(n,): column of the light grid; -1 beyond it."""


MAX_PIECES = 32
"""Finest cut of a population cell, per side; beyond it light cells are sampled, not all visited."""


def pieces_per_side(population: Grid, light: Grid) -> int:
    """Into how many pieces a side a population cell is cut, so that a piece is about as large as a light cell."""
    return int(min(max(round(population.cell_side_km / light.cell_side_km), 1), MAX_PIECES))


def match_strip(coverage: Coverage, light: Grid, wanted: NDArray[np.bool_], strip: int, pieces: int = 1) -> Match:
    """Match the cells of the wanted zones in one strip; exact coordinates, cell by cell.

    Parameters
    ----------
    coverage : zones on the population grid, refined by ``pieces``.
    wanted : (n_zones,) bool
    """
    grid = coverage.grid
    row0, row1 = grid.strip_rows(strip)
    zone, row, col, share = strip_cells(coverage, row0, row1, wanted)
    p, t, (ny, nx) = grid.transform, light.transform, light.shape
    x, y = p.c + (col + 0.5) * p.a, p.f + (row + 0.5) * p.e
    if not same_crs(grid.crs, light.crs):
        x, y = transformer(grid.crs, light.crs).transform(x, y)
    with np.errstate(invalid="ignore"):
        light_col, light_row = np.floor((x - t.c) / t.a), np.floor((y - t.f) / t.e)
        on = (light_row >= 0) & (light_row < ny) & (light_col >= 0) & (light_col < nx)
    light_row, light_col = (np.where(on, v, -1).astype(np.int64) for v in (light_row, light_col))
    return Match(strip, row // pieces, col // pieces, zone, share / pieces**2, light_row, light_col)


def strip_cells(coverage: Coverage, row0: int, row1: int, wanted: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    """(zone, row, col, share) of every cell of the wanted zones in rows [row0, row1), spans written out."""
    spans = slice(coverage.span_ptr[row0], coverage.span_ptr[row1])
    zone, cols = coverage.span_zone[spans].astype(np.int64), coverage.span_cols[spans].astype(np.int64)
    row = np.repeat(np.arange(row0, row1), np.diff(coverage.span_ptr[row0 : row1 + 1]))
    keep = wanted[zone]
    zone, cols, row = zone[keep], cols[keep], row[keep]
    length = cols[:, 1] - cols[:, 0]
    inside = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    cells = slice(coverage.cell_ptr[row0], coverage.cell_ptr[row1])
    cell_zone = coverage.cell_zone[cells].astype(np.int64)
    cell_row = np.repeat(np.arange(row0, row1), np.diff(coverage.cell_ptr[row0 : row1 + 1]))
    cut = wanted[cell_zone]
    return (
        np.concatenate([np.repeat(zone, length), cell_zone[cut]]),
        np.concatenate([np.repeat(row, length), cell_row[cut]]),
        np.concatenate([np.repeat(cols[:, 0], length) + inside, coverage.cell_col[cells][cut].astype(np.int64)]),
        np.concatenate([np.ones(length.sum()), coverage.cell_share[cells][cut]]),
    )


@dataclass(frozen=True, slots=True)
class LitTask:
    """One strip of a population raster, to be held against a light raster."""

    match: Match
    """Where its cells lie on the light grid."""
    population: RasterInfo
    """Counts."""
    population_rules: CellRules
    """Which of its cells are data."""
    light: RasterInfo
    """Intensities, on any grid and CRS."""
    light_rules: CellRules
    """Which of its cells are data."""
    light_mask: StripMask | None
    """Further light cells without data."""
    n_zones: int
    """Zones of the layer."""


def lit_strip(task: LitTask) -> NDArray[np.float64]:
    """(n_zones,) float64 [persons]: population of the strip whose cell centre lies in a valid light cell."""
    m = task.match
    lit = _is_lit(task)
    if not lit.any():
        return np.zeros(task.n_zones)
    row, col = m.row[lit], m.col[lit]
    row0, row1, col0, col1 = int(row.min()), int(row.max()) + 1, int(col.min()), int(col.max()) + 1
    with open_raster(task.population) as handle:
        values = handle.read_rows(row0, row1, col0, col1)[row - row0, col - col0]
    bounds = bounds_from_rules(task.population_rules, values.dtype)
    good = is_data(values, task.population_rules) & (values >= max(bounds.low, bounds.floor))
    persons = np.where(good, values, 0).astype(np.float64)
    return np.bincount(m.zone[lit], m.share[lit] * persons, task.n_zones).astype(np.float64)


def _is_lit(task: LitTask) -> NDArray[np.bool_]:
    """(n,) bool: whether each matched cell has a valid light reading."""
    m = task.match
    on = m.light_row >= 0
    lit = np.zeros(on.size, bool)
    if not on.any():
        return lit
    row, col = m.light_row[on], m.light_col[on]
    row0, row1, col0, col1 = int(row.min()), int(row.max()) + 1, int(col.min()), int(col.max()) + 1
    with open_raster(task.light) as handle:
        data = handle.read_rows(row0, row1, col0, col1)
    valid = is_data(data, task.light_rules)
    if task.light_rules.negatives == "nan":
        valid &= data >= 0
    if task.light_mask is not None:
        first = row0 // STRIP_ROWS
        masked = np.concatenate([task.light_mask(s) for s in range(first, (row1 - 1) // STRIP_ROWS + 1)])
        start = first * STRIP_ROWS
        valid &= ~masked[row0 - start : row1 - start, col0:col1]
    lit[on] = valid[row - row0, col - col0]
    return lit


def add_strips(parts: Sequence[NDArray[np.float64]], n_zones: int) -> NDArray[np.float64]:
    """Add the strips of one raster pair, in strip order."""
    out = np.zeros(n_zones)
    for part in parts:
        out += part
    return out


def matches(
    population: Grid,
    zones: Zones,
    light: Grid,
    wanted: NDArray[np.bool_],
    *,
    run: Callable[..., list[Any]] | None = None,
) -> list[Match]:
    """Match all population cells of the wanted zones."""
    pieces = pieces_per_side(population, light)
    some = np.flatnonzero(wanted)
    chosen = Zones(tuple(zones.codes[i] for i in some), zones.geometry[some], zones.crs)
    coverage = coverage_from_zones(population.refined(pieces), chosen, run=run)
    everyone = np.ones(some.size, bool)

    def one(strip: int) -> Match:
        match = match_strip(coverage, light, everyone, strip, pieces)
        return replace(match, zone=some[match.zone])

    strips = coverage.covered_strips()
    return run(one, strips) if run else [one(s) for s in strips]
