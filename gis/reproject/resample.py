"""One raster onto another grid: planned once, computed tile by tile, handed out as strips from north to south.

In: ``RasterInfo``, ``CellRules``, a target ``Grid``. Out: strips of target cells, and a ``MassLedger``: what was there,
what arrived, what lies beyond the target.

Counts are divided over target cells by overlap, or sampled where a careless run is to be replicated. Intensities are
sampled (nearest, bilinear, average) or weighed by overlap (conserve).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import STRIP_ROWS, Grid
from gis.raster_io import INT_FILL, CellRules, RasterHandle, RasterInfo, open_raster
from gis.reproject.mesh import TORN, Mesh, mesh_of_centres, mesh_of_corners, mesh_of_target_corners
from gis.zonal.engine import Bounds, bounds_from_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Floats = NDArray[np.float64]
    Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]

Kind = Literal["count", "intensity"]
"""What a cell holds: how much there is in it, or how strong it is there."""

Resampling = Literal["conserve", "nearest", "bilinear", "average"]
"""How a target cell gets its value; see `resample`."""

TILE = (1024, 2048)
"""Rows and columns of a target tile, a task [cells]; changes no number."""

HELD_CELLS = 64_000_000
"""Sources up to this size are read once and held; larger ones are read piece by piece [cells: at most 512 MB]."""

SAMPLE_CELLS = 64_000_000
"""A tile whose points are spread over more source cells than this is divided."""

SOURCE_BLOCK = 512
"""Side of the pieces a larger source is read in [cells], a multiple of every mesh step."""


def check_kind(kind: str) -> Kind:
    """Return a kind that is offered, or say which are."""
    if kind not in get_args(Kind):
        raise OptionInvalid(f"no kind {kind!r}", where="--kind", mend=f"one of {', '.join(get_args(Kind))}")
    return kind  # type: ignore[return-value]


def check_resampling(kind: Kind, resampling: str | None, *, i_know: bool = False) -> Resampling:
    """Return the rule to use: the one asked for, else ``conserve`` for counts and ``nearest`` for intensities.

    Raises
    ------
    OptionInvalid
        No such rule; or a count is to be sampled, which loses people, and ``i_know`` is not set.
    """
    if resampling is None:
        return "conserve" if kind == "count" else "nearest"
    if resampling not in get_args(Resampling):
        raise OptionInvalid(
            f"no resampling {resampling!r}", where="--resampling", mend=f"one of {', '.join(get_args(Resampling))}"
        )
    if kind == "count" and resampling != "conserve" and not i_know:
        raise OptionInvalid(
            f"{resampling} resampling of a count does not keep its total: on a 1 km grid some 40 % of the people go",
            where="--resampling",
            mend="leave --resampling out (conserve keeps everybody), or add --i-know to replicate such a run",
        )
    return resampling  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one reprojection but the values."""

    info: RasterInfo
    """The source."""
    rules: CellRules
    """Which of its cells are data."""
    target: Grid
    """The target."""
    kind: Kind
    """What the cells hold."""
    resampling: Resampling
    """How target cells get their values."""
    dtype: np.dtype[Any]
    """Dtype of the target's cells."""
    nodata: float
    """What a target cell without data holds."""
    tile: tuple[int, int] = TILE
    """Rows and columns of a task; changes no number."""
    held_cells: int = HELD_CELLS
    """Sources up to this size are held; changes no number."""


def plan_for(
    info: RasterInfo,
    rules: CellRules,
    target: Grid,
    kind: Kind,
    resampling: Resampling,
    *,
    tile: tuple[int, int] = TILE,
    held_cells: int = HELD_CELLS,
) -> Plan:
    """Plan a reprojection: dtype and fill of the target follow from source and rule.

    Nearest keeps the source's dtype and its declared fill. A conserved count is float64
    (docs/decisions/0010-counts-are-float64.md). Everything else is float32, or float64 where the source has more
    digits than float32 holds.
    """
    source = np.dtype(info.dtype)
    exact = source.itemsize <= 2 or source == np.float32
    if resampling == "nearest":
        dtype = info.working_dtype
    elif kind == "count" or not exact or info.is_scaled:
        dtype = np.dtype(np.float64)
    else:
        dtype = np.dtype(np.float32)
    return Plan(info, rules, target, kind, resampling, dtype, _fill(info, rules, dtype), tile, held_cells)


def _fill(info: RasterInfo, rules: CellRules, dtype: np.dtype[Any]) -> float:
    declared = None if info.is_scaled else info.nodata
    if dtype.kind == "i":
        return float(INT_FILL if declared is None or not float(declared).is_integer() else declared)
    # A fill that a mean or a sum could hit by chance (0, 255, 65535) is not kept.
    if declared is not None and (declared <= -9999 or abs(declared) >= rules.fill_limit):
        return float(dtype.type(declared))
    return float("nan")


# --- the source ------------------------------------------------------------------------------------------------------


def clean(values: Array, bounds: Bounds) -> Array:
    """Turn every further nodata value into the dtype's own fill, in place."""
    fill = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    for other in bounds.others:
        values[values == other] = fill
    return values


class Source:
    """Windows of the source with every fill turned into one, from memory where it fits."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.info = plan.info
        self.bounds: Bounds = bounds_from_rules(plan.rules, plan.info.working_dtype)
        b = self.bounds
        self.rules = (b.low, b.high, b.nodata, b.floor)
        self._held: Array | None = None
        ny, nx = plan.info.grid.shape
        if ny * nx <= plan.held_cells:
            held = np.empty((ny, nx), plan.info.working_dtype)
            block = max(-(-plan.info.block_shape[0] // STRIP_ROWS), 1) * STRIP_ROWS

            def read(row: int) -> None:
                with open_raster(self.info) as handle:
                    rows = held[row : row + block]
                    clean(handle.read_rows(row, row + rows.shape[0], out=rows), self.bounds)

            run(read, range(0, ny, block))
            self._held = held

    def window(self, handle: RasterHandle | None, row0: int, row1: int, col0: int, col1: int) -> Array:
        """Cells of a window, in the working dtype; do not change them."""
        if self._held is not None:
            return self._held[row0:row1, col0:col1]
        assert handle is not None  # a source that is not held is opened by every task
        return clean(handle.read_rows(row0, row1, col0, col1), self.bounds)

    def opened(self) -> Any:
        """A handle for one task, or nothing where the source is held."""
        from contextlib import nullcontext

        return nullcontext() if self._held is not None else open_raster(self.info)


# --- forward: source cells to target cells ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forward:
    """Source cells on the target: their corners, and the box around every mesh block of them."""

    mesh: Mesh
    """Corners of source cells in target cells."""
    box: Floats = field(repr=False)
    """(n_block_rows, n_block_cols, 4): lowest and highest column, lowest and highest row of a block's cells."""
    max_side: float
    """A projected cell larger than this is torn [target cells]."""

    def blocks_in(self, row0: float, row1: float, col0: float, col1: float) -> NDArray[np.int64]:
        """(n, 2) blocks, row by row, that may touch a box of the target."""
        b = self.box
        hit = (b[..., 1] > col0) & (b[..., 0] < col1) & (b[..., 3] > row0) & (b[..., 2] < row1)
        return np.argwhere(hit) + self.mesh.first_block


def forward_of(plan: Plan) -> Forward:
    """Project the source's cells: their mesh, and the box around each of its blocks."""
    mesh = mesh_of_corners(plan.info.grid, plan.target)
    u, v = mesh.u, mesh.v
    with np.errstate(invalid="ignore"):
        side = np.hypot(np.diff(u[2:-2, 2:-2], axis=1)[:-1], np.diff(v[2:-2, 2:-2], axis=1)[:-1]) / mesh.step
        tall = np.hypot(np.diff(u[2:-2, 2:-2], axis=0)[:, :-1], np.diff(v[2:-2, 2:-2], axis=0)[:, :-1]) / mesh.step
    sizes = np.maximum(side, tall)[mesh.good]
    max_side = TORN * float(np.median(sizes)) if sizes.size else np.inf
    box = np.stack([*_block_range(u), *_block_range(v)], axis=-1)
    bad = np.argwhere(~mesh.good)
    for k in range(0, len(bad), 1024):
        some = bad[k : k + 1024]
        box[some[:, 0], some[:, 1]] = _exact_boxes(mesh, some + mesh.first_block, max_side)
    return Forward(mesh, box, max_side)


def _block_range(nodes: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest coordinate in each block, from its corners and how far its sides bulge."""
    nodes = nodes[1:-1, 1:-1]
    n, m = nodes.shape[0] - 3, nodes.shape[1] - 3
    a, b, c, d = (nodes[1 + i : 1 + i + n, 1 + j : 1 + j + m] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    # A second difference is eight times the bulge of a side; taken whole, and from both directions, it is ample.
    by_row = np.abs(nodes[2:, :] - 2 * nodes[1:-1, :] + nodes[:-2, :])
    by_col = np.abs(nodes[:, 2:] - 2 * nodes[:, 1:-1] + nodes[:, :-2])
    bulge = np.maximum(by_row[:n, 1 : m + 1], by_row[1 : n + 1, 1 : m + 1]) + np.maximum(
        by_col[1 : n + 1, :m], by_col[1 : n + 1, 1 : m + 1]
    )
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    return low - bulge - 1e-3, high + bulge + 1e-3


def _exact_boxes(mesh: Mesh, blocks: NDArray[np.int64], max_side: float) -> Floats:
    """(n, 4) boxes around the cells of blocks at the edge of a projection.

    Cells that are torn, or have no place, are left out; a block of such cells alone has a box that meets nothing.
    """
    u, v = mesh.exact_blocks(blocks)
    us = np.stack([u[:, :-1, :-1], u[:, :-1, 1:], u[:, 1:, 1:], u[:, 1:, :-1]])
    vs = np.stack([v[:, :-1, :-1], v[:, :-1, 1:], v[:, 1:, 1:], v[:, 1:, :-1]])
    with np.errstate(invalid="ignore"):
        whole = (np.ptp(us, axis=0) <= max_side) & (np.ptp(vs, axis=0) <= max_side)
    ranges = []
    for corners in (us, vs):
        ranges.append(np.where(whole, corners.min(axis=0), np.inf).min(axis=(1, 2)))
        ranges.append(np.where(whole, corners.max(axis=0), -np.inf).max(axis=(1, 2)))
    return np.stack(ranges, axis=1)


def _by_piece(blocks: NDArray[np.int64], step: int) -> Iterator[NDArray[np.int64]]:
    """Blocks grouped by the piece of the source they are read from; pieces row by row, and blocks inside each."""
    per = SOURCE_BLOCK // step
    piece = blocks // per
    order = np.lexsort((blocks[:, 1], blocks[:, 0], piece[:, 1], piece[:, 0]))
    blocks, piece = blocks[order], piece[order]
    cuts = np.flatnonzero((np.diff(piece, axis=0) != 0).any(axis=1)) + 1
    yield from (part for part in np.split(blocks, cuts) if part.size)


def visit(
    forward: Forward,
    source: Source,
    handle: RasterHandle | None,
    blocks: NDArray[np.int64],
    on_blocks: Callable[..., None],
    on_cells: Callable[..., None],
) -> None:
    """Call a kernel on source blocks in their fixed order: smooth ones together, the others with exact corners."""
    mesh, step = forward.mesh, forward.mesh.step
    ny, nx = source.info.grid.shape
    for piece in _by_piece(blocks, step):
        row0, col0 = (piece.min(axis=0) * step).tolist()
        row1, col1 = ((piece.max(axis=0) + 1) * step).tolist()
        row1, col1 = min(row1, ny), min(col1, nx)
        if row0 >= row1 or col0 >= col1:  # a block that holds the far edge's corners and no cell
            continue
        values = source.window(handle, row0, row1, col0, col1)
        inside = (piece[:, 0] * step < ny) & (piece[:, 1] * step < nx)
        piece = piece[inside]
        at = piece - mesh.first_block
        good = mesh.good[at[:, 0], at[:, 1]]
        on_blocks(
            values, (row0, col0), source.rules, mesh.u, mesh.v, mesh.first_block, step, mesh.lagrange,
            np.ascontiguousarray(piece[good]), forward.max_side,
        )  # fmt: skip
        bad = piece[~good]
        us, vs = mesh.exact_blocks(bad)
        for (row, col), u, v in zip((bad * step - (row0, col0)).tolist(), us, vs, strict=True):
            on_cells(values[row : row + step, col : col + step], source.rules, u, v, forward.max_side)


def _overlap_tile(plan: Plan, forward: Forward, source: Source, tile: tuple[int, int, int, int]) -> Array:
    from gis.zonal.resample_kernels import split_blocks, split_cells

    row0, row1, col0, col1 = tile
    total, weight = np.zeros((row1 - row0, col1 - col0)), np.zeros((row1 - row0, col1 - col0))
    is_count = plan.kind == "count"
    parts = np.zeros((8, 12))

    def on_blocks(*arguments: Any) -> None:
        split_blocks(*arguments, is_count, tile, total, weight)

    def on_cells(*arguments: Any) -> None:
        split_cells(*arguments, is_count, tile, total, weight, parts)

    with source.opened() as handle:
        visit(forward, source, handle, forward.blocks_in(row0, row1, col0, col1), on_blocks, on_cells)
    empty = weight <= 0.0
    if not is_count:
        np.divide(total, weight, out=total, where=~empty)
    out = total.astype(plan.dtype, copy=False)
    out[empty] = plan.nodata
    return out


# --- backward: target points in source cells -------------------------------------------------------------------------


def _sampled_tile(plan: Plan, mesh: Mesh, source: Source, tile: tuple[int, int, int, int]) -> Array:
    from gis.zonal import sample_kernels as kernels

    row0, row1, col0, col1 = tile
    extra = 1 if plan.resampling == "average" else 0
    us, vs = mesh.window(row0, row1 + extra, col0, col1 + extra)
    out = np.full((row1 - row0, col1 - col0), plan.nodata, plan.dtype)
    ny, nx = plan.info.grid.shape
    with np.errstate(invalid="ignore"):
        on = (us > -2) & (vs > -2) & (us < nx + 2) & (vs < ny + 2)
    if not on.any():
        return out
    first, last = int(max(np.floor(vs[on].min()) - 2, 0)), int(min(np.ceil(vs[on].max()) + 2, ny))
    left, right = int(max(np.floor(us[on].min()) - 2, 0)), int(min(np.ceil(us[on].max()) + 2, nx))
    if first >= last or left >= right:
        return out
    if (last - first) * (right - left) > max(SAMPLE_CELLS, plan.held_cells) and out.size > 1:
        r, c = (row0 + row1 + 1) // 2, (col0 + col1 + 1) // 2
        for a, b in ((row0, r), (r, row1)):
            for p, q in ((col0, c), (c, col1)):
                if a < b and p < q:
                    out[a - row0 : b - row0, p - col0 : q - col0] = _sampled_tile(plan, mesh, source, (a, b, p, q))
        return out
    sample = getattr(kernels, f"sample_{plan.resampling}")
    with source.opened() as handle:
        values = source.window(handle, first, last, left, right)
        sample(values, (first, left), source.rules, us, vs, plan.nodata, out)
    return out


# --- strips ----------------------------------------------------------------------------------------------------------


def resample(plan: Plan, *, run: Run, source: Source | None = None) -> Iterator[Array]:
    """Compute the target, strip by strip from north to south; only a few tiles are held at a time.

    ============  ===================================================================================================
    conserve      a count is divided over target cells by the overlap of its projected cell; of intensities the mean,
                  weighed by overlap
    nearest       the source cell that holds the target cell's centre
    bilinear      between the four source centres around it
    average       the mean of source cells in the box around the target cell's corners, weighed by overlap
    ============  ===================================================================================================

    Parameters
    ----------
    run : ``run(function, tasks) -> list`` in the order of the tasks.
    source : where it is shared with the accounts; default: opened here.

    Yields
    ------
    (n_rows, nx) arrays of ``plan.dtype``; ``plan.nodata`` where no valid source cell reaches.
    """
    source = source or Source(plan, run)
    (ny, nx), (tile_rows, tile_cols) = plan.target.shape, plan.tile
    compute: Callable[[tuple[int, int, int, int]], Array]
    if plan.resampling == "conserve":
        forward = forward_of(plan)

        def compute(tile: tuple[int, int, int, int]) -> Array:
            return _overlap_tile(plan, forward, source, tile)

    else:
        make = mesh_of_target_corners if plan.resampling == "average" else mesh_of_centres
        mesh = make(plan.target, plan.info.grid)

        def compute(tile: tuple[int, int, int, int]) -> Array:
            return _sampled_tile(plan, mesh, source, tile)

    for row0 in range(0, ny, tile_rows):
        row1 = min(row0 + tile_rows, ny)
        tiles = [(row0, row1, col0, min(col0 + tile_cols, nx)) for col0 in range(0, nx, tile_cols)]
        parts = run(compute, tiles)
        yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
