"""The account of a reprojection: what was in the source, what lies beyond the target, what arrived.

In: a ``Plan`` and its source, the strips that were made. Out: ``MassLedger``. The source's side comes from the cells'
corners alone and shares no sum with the target's side, so that the two agreeing says something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import metres_per_unit
from gis.errors import RasterInvalid
from gis.grid import STRIP_ROWS, Grid, Measure
from gis.raster_io import CellRules, RasterInfo
from gis.reproject.resample import Plan, Source, clean, forward_of, visit
from gis.zonal.engine import _cell_weights, bounds_from_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]

LOSS_MAX = 1e-9
"""Share of a conserved count that may go missing. Source: METHOD 1.4; rounding of float64 sums is 1e-13."""


@dataclass(frozen=True, slots=True)
class MassLedger:
    """Accounts of one raster. Counts in their own unit; intensities times km2 of the target plane."""

    source_total: float
    """All valid cells of the source; of an intensity, those that have a place in the target CRS."""
    beyond_total: float
    """The part of it that lies outside the target, or has no place in its CRS."""
    reprojected_total: float
    """All valid cells of the target."""
    n_nodata_cells: float
    """Source cells without data."""
    n_negative_cells: float
    """Source cells below zero that are not a fill value."""
    negative_total: float
    """Their sum, below zero."""

    @property
    def loss_share(self) -> float:
        """Share of what lies inside the target that did not arrive; below zero where some was made up."""
        due = self.source_total - self.beyond_total
        return (due - self.reprojected_total) / due if due > 0 else math.nan


def account_source(plan: Plan, source: Source, run: Run) -> tuple[float, float, float, float, float]:
    """(total, beyond, cells without data, negative cells, their sum) of the source, added in strip order."""
    forward = forward_of(plan)
    grid = plan.info.grid
    inside = _all_inside(forward.box, plan.target) and _meshed(forward.mesh, grid) == (
        0,
        grid.shape[0],
        0,
        grid.shape[1],
    )

    def one(strip: int) -> list[float]:
        from gis.zonal.resample_kernels import MASS
        from gis.zonal.sample_kernels import NEGATIVE_CELLS, NEGATIVE_TOTAL, NODATA_CELLS, TOTAL

        row0, row1 = grid.strip_rows(strip)
        nx = grid.shape[1]
        with source.opened() as handle:
            scan = _scanned(source, source.window(handle, row0, row1, 0, nx), plan)
            mass = np.zeros(2)
            if plan.kind == "intensity" or not inside:
                mass = _placed(plan, source, handle, forward, row0, row1)
        out = np.zeros(5)
        out[0] = scan[TOTAL] if plan.kind == "count" else mass[MASS]
        out[1] = mass[1]
        out[2:] = scan[NODATA_CELLS], scan[NEGATIVE_CELLS], scan[NEGATIVE_TOTAL]
        return list(out)

    parts = np.array(run(one, range(grid.n_strips)))
    sums = [math.fsum(column) for column in parts.T]
    km2 = cell_km2(plan.target) if plan.kind == "intensity" else 1.0
    return sums[0] * km2, sums[1] * km2, sums[2], sums[3], sums[4]


def _scanned(source: Source, values: Array, plan: Plan) -> NDArray[np.float64]:
    from gis.zonal.sample_kernels import scan_strip

    return np.asarray(scan_strip(values, source.rules, source.bounds.raw_low, np.ones((values.shape[0], 1))))


def _placed(plan: Plan, source: Source, handle: Any, forward: Any, row0: int, row1: int) -> NDArray[np.float64]:
    """(mass, beyond) of a strip of the source. Cells out of reach of the target lie beyond it."""
    from gis.zonal.resample_kernels import account_blocks, account_cells
    from gis.zonal.sample_kernels import TOTAL

    mesh, out = forward.mesh, np.zeros(2)
    is_count, shape = plan.kind == "count", plan.target.shape
    rows = np.arange(row0 // mesh.step, -(-row1 // mesh.step))
    rows = rows[(rows >= mesh.first_block[0]) & (rows < mesh.first_block[0] + mesh.good.shape[0])]
    cols = np.arange(mesh.good.shape[1]) + mesh.first_block[1]
    blocks = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)

    def on_blocks(*arguments: Any) -> None:
        account_blocks(*arguments, is_count, shape, out)

    def on_cells(*arguments: Any) -> None:
        account_cells(*arguments, is_count, shape, out)

    visit(forward, source, handle, blocks, on_blocks, on_cells)
    if is_count:
        for window in _rest(plan.info.grid, _meshed(mesh, plan.info.grid), row0, row1):
            out[1] += _scanned(source, source.window(handle, *window), plan)[TOTAL]
    return out


def _meshed(mesh: Any, grid: Grid) -> tuple[int, int, int, int]:
    """Rows and columns of the source that the mesh covers."""
    (row, col), (n, m), (ny, nx) = mesh.first_block, mesh.good.shape, grid.shape
    return row * mesh.step, min((row + n) * mesh.step, ny), col * mesh.step, min((col + m) * mesh.step, nx)


def _rest(grid: Grid, meshed: tuple[int, int, int, int], row0: int, row1: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows of rows [row0, row1) outside the meshed part."""
    a, b, c, d = meshed
    nx = grid.shape[1]
    top, bottom = min(max(a, row0), row1), max(min(b, row1), row0)
    if top >= bottom:
        yield row0, row1, 0, nx
        return
    for window in ((row0, top, 0, nx), (top, bottom, 0, c), (top, bottom, d, nx), (bottom, row1, 0, nx)):
        if window[0] < window[1] and window[2] < window[3]:
            yield window


def _all_inside(box: NDArray[np.float64], target: Grid) -> bool:
    ny, nx = target.shape
    return bool(((box[..., 0] >= 0) & (box[..., 1] <= nx) & (box[..., 2] >= 0) & (box[..., 3] <= ny)).all())


def scan_raster(
    info: RasterInfo, rules: CellRules, measure: Measure, run: Run, window: tuple[int, int, int, int] | None = None
) -> tuple[float, float, float, float]:
    """(total, cells without data, negative cells, their sum) of a raster, or of a window of it, added in strip order.

    Parameters
    ----------
    measure : what a cell weighs in the total; negative cells are summed as they are.
    window : (row0, row1, col0, col1); default: the whole raster.
    """
    from gis.raster_io import open_raster
    from gis.zonal.sample_kernels import scan_strip

    grid = info.grid
    first, last, col0, col1 = window or (0, grid.shape[0], 0, grid.shape[1])
    bounds = bounds_from_rules(rules, info.working_dtype)

    def one(strip: int) -> NDArray[np.float64]:
        row0, row1 = grid.strip_rows(strip)
        row0, row1 = max(row0, first), min(row1, last)
        with open_raster(info) as handle:
            values = clean(handle.read_rows(row0, row1, col0, col1), bounds)
        weights = _weights(grid, measure, row0, row1)
        weights = weights[:, None] if weights.ndim == 1 else np.ascontiguousarray(weights[:, col0:col1])
        limits = (bounds.low, bounds.high, bounds.nodata, bounds.floor)
        return np.asarray(scan_strip(values, limits, bounds.raw_low, weights))

    strips = range(first // STRIP_ROWS, -(-last // STRIP_ROWS)) if first < last and col0 < col1 else range(0)
    parts = np.array(run(one, strips)).reshape(-1, 4)
    total, nodata, negative, negative_sum = (math.fsum(column) for column in parts.T)
    return total, nodata, negative, negative_sum


def _weights(grid: Grid, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
    if measure == "cells":
        return np.ones(row1 - row0)
    if grid.is_geographic:
        return grid.cell_areas_km2(measure, row0, row1)
    return _cell_weights(grid, measure, row0, row1)  # dear on a projected grid, and the same every year


def cell_km2(target: Grid) -> float:
    """Area of a target cell in its own plane [km2]; on a geographic grid [square degrees]."""
    t = target.transform
    area = t.a * -t.e
    return area if target.is_geographic else area * metres_per_unit(target.crs) ** 2 / 1e6


class Arrived:
    """Adds up strips as they pass, row by row, so that no cut between strips matters."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rows: list[float] = []

    def through(self, strips: Iterable[Array]) -> Iterator[Array]:
        """Yield the strips, having added them."""
        for strip in strips:
            for row in strip:
                good = row[row != self._plan.nodata].astype(np.float64)
                self._rows.append(float(np.nansum(good)))
            yield strip

    @property
    def total(self) -> float:
        """Sum of all valid target cells; intensities times the cell's area [km2]."""
        km2 = cell_km2(self._plan.target) if self._plan.kind == "intensity" else 1.0
        return math.fsum(self._rows) * km2


def refuse_loss(ledger: MassLedger, loss_max: float, *, where: object) -> None:
    """Refuse a reprojection that lost, or made up, more than a share of the mass it should have kept.

    Raises
    ------
    RasterInvalid
    """
    if abs(ledger.loss_share) > loss_max:
        raise RasterInvalid(
            f"{ledger.loss_share:.3g} of the total was lost: {ledger.source_total:.10g} in the source, "
            f"{ledger.beyond_total:.10g} beyond the target, {ledger.reprojected_total:.10g} arrived",
            where=where,
            mend=f"use conserve resampling, or allow it: loss_max = {abs(ledger.loss_share) * 1.01:.2g}",
        )
