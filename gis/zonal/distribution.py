"""Statistics that need a zone's cells in order of value: quantiles, majority, variety, Gini, Theil. Exact.

In: a source of cells with shares (a raster under a coverage, or pieces of a second raster). Out: ``Distribution``.

Nothing is sampled or binned. A pass gathers, strip by strip, the distinct values of each zone with the sum of their
shares, and one sweep over these in rising order gives every statistic here. Memory is bounded by a number of entries
(distinct values, summed over zones): zones are taken in groups that cannot exceed it, and a zone that exceeds it alone
is read several times, each pass taking the next smallest values. The bits depend on neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gis.grid import STRIP_ROWS
from gis.raster_io import CellRules, RasterInfo, open_raster
from gis.zonal.coverage import Coverage
from gis.zonal.engine import Bounds, bounds_from_rules, strip_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Runner = Callable[..., list[Any]]

ENTRIES = 16_000_000
"""Distinct values, summed over zones, that are held at a time: 24 bytes each, and twice that while two tables merge."""


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Distinct values of some zones and how much of each zone they cover."""

    ptr: NDArray[np.int64] = field(repr=False)
    """(n_zones + 1,): entries of zone z are ``ptr[z]:ptr[z + 1]``, rising in value."""
    value: Floats = field(repr=False)
    """(n,)."""
    whole: Floats = field(repr=False)
    """(n,): number of cells wholly inside that have the value; an integer, so its sums are exact."""
    cut: Floats = field(repr=False)
    """(n,): sum of shares of the other cells that have it."""

    def __len__(self) -> int:
        return self.value.size

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The arrays as the kernels take them."""
        return self.ptr, self.value, self.whole, self.cut

    def merged(self, other: ValueTable) -> ValueTable:
        """Both together; ``other`` lies below in the raster."""
        from gis.zonal.order_kernels import merge_tables

        return ValueTable(*merge_tables(*self.columns, *other.columns))

    def smallest(self, n: int) -> ValueTable:
        """The ``n`` smallest entries of a table of one zone."""
        assert self.ptr.size == 2  # a border inside several zones at once would mean nothing
        ptr = np.array([0, min(n, len(self))], np.int64)
        return ValueTable(ptr, self.value[:n].copy(), self.whole[:n].copy(), self.cut[:n].copy())


class Source(Protocol):
    """Where cells come from: something that knows its zones and can tabulate one strip."""

    def __len__(self) -> int: ...

    @property
    def bound(self) -> NDArray[np.int64]:
        """(n_zones,): at most so many distinct values in each zone."""

    @property
    def first_strip(self) -> NDArray[np.int64]:
        """(n_zones,): where each zone begins."""

    def cells_of_strips(self) -> dict[int, int]:
        """Strips that any zone touches, rising, and at most so many entries in each."""

    def only(self, zones: NDArray[np.intp]) -> Source:
        """The same for some of the zones, given by rising index."""

    def table(self, strip: int, after: float) -> ValueTable:
        """What one strip holds, values above ``after``."""


@dataclass(frozen=True, slots=True)
class CellSource:
    """The cells of one raster under a coverage of its grid, each weighing its share."""

    info: RasterInfo
    """The raster."""
    rules: CellRules
    """Which of its cells are data."""
    coverage: Coverage
    """Zones on its grid."""

    def __len__(self) -> int:
        return len(self.coverage)

    @property
    def bound(self) -> NDArray[np.int64]:
        """(n_zones,): the cells of each zone, or the values its dtype can hold, if that is less."""
        levels = 2 ** (8 * np.dtype(self.info.dtype).itemsize) if np.dtype(self.info.dtype).kind in "iu" else 2**62
        return np.minimum(cells_of_zones(self.coverage), min(levels, 2**62))

    @property
    def first_strip(self) -> NDArray[np.int64]:
        """(n_zones,): where each zone begins."""
        return first_strips(self.coverage)

    def cells_of_strips(self) -> dict[int, int]:
        """Strips that any zone touches, and cells in each."""
        return cells_of_strips(self.coverage)

    def only(self, zones: NDArray[np.intp]) -> CellSource:
        """The same for some of the zones."""
        return replace(self, coverage=self.coverage.only(zones))

    def table(self, strip: int, after: float) -> ValueTable:
        """Read one strip."""
        row0, row1 = self.info.grid.strip_rows(strip)
        col0, col1 = self.coverage.touched_columns(row0, row1)
        with open_raster(self.info) as handle:
            values = handle.read_rows(row0, row1, col0, col1)
        return table_of_values(values, col0, self.rules, self.coverage, strip, after)


def table_of_values(
    values: NDArray[Any], col0: int, rules: CellRules, coverage: Coverage, strip: int, after: float = -np.inf
) -> ValueTable:
    """Tabulate one strip.

    Parameters
    ----------
    values : (n_rows, n_cols) float32, int32 or float64
        Columns ``col0`` and on of the strip. Overwritten where ``rules`` name several nodata values.
    """
    from gis.zonal.order_kernels import collapse_whole, gather_cut, gather_whole

    bounds = blanked(values, rules)
    b = (bounds.low, bounds.high, bounds.nodata, bounds.floor, after)
    row0, row1 = coverage.grid.strip_rows(strip)
    shares = strip_arrays(coverage, row0, row1)
    ptr, whole = gather_whole(values, col0, *b, *shares[:3], len(coverage))
    for zone in np.flatnonzero(np.diff(ptr)):
        whole[ptr[zone] : ptr[zone + 1]].sort()  # NumPy's sort is vectorised and releases the GIL; numba's is not
    ptr, value, count = collapse_whole(ptr, whole)
    inner = ValueTable(ptr, value, count, np.zeros(value.size))
    return inner.merged(table_of_pairs(*gather_cut(values, col0, *b, *shares[3:]), len(coverage)))


def table_of_pairs(zone: NDArray[np.int64], value: Floats, share: Floats, n_zones: int) -> ValueTable:
    """Tabulate single cells or pieces, given as arrays of equal length, in their order."""
    from gis.zonal.order_kernels import collapse_cut

    order = np.lexsort((value, zone))  # stable
    ptr, values, shares = collapse_cut(zone, value, share, order, n_zones)
    return ValueTable(ptr, values, np.zeros(values.size), shares)


def blanked(values: NDArray[Any], rules: CellRules) -> Bounds:
    """Turn nodata values beyond the first into fill, in place, and give the comparisons that are left."""
    bounds = bounds_from_rules(rules, values.dtype)
    for other in bounds.others:
        values[values == other] = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    return bounds


# --- counts of cells --------------------------------------------------------------------------------------------------


def cells_of_zones(coverage: Coverage) -> NDArray[np.int64]:
    """(n_zones,): cells that each zone touches."""
    n = len(coverage)
    inner = np.bincount(coverage.span_zone, np.diff(coverage.span_cols, axis=1)[:, 0], n)
    return (inner + np.bincount(coverage.cell_zone, minlength=n)).astype(np.int64)


def first_strips(coverage: Coverage) -> NDArray[np.int64]:
    """(n_zones,): first strip of each zone; 0 for a zone without cells."""
    out = np.full(len(coverage), np.iinfo(np.int64).max)
    for ptr, zone in ((coverage.span_ptr, coverage.span_zone), (coverage.cell_ptr, coverage.cell_zone)):
        row = np.repeat(np.arange(ptr.size - 1), np.diff(ptr))
        np.minimum.at(out, zone, row // STRIP_ROWS)
    return np.where(out == np.iinfo(np.int64).max, 0, out)


def cells_of_strips(coverage: Coverage) -> dict[int, int]:
    """Strips that any zone touches, rising, and the cells in each, once for every zone that touches them."""
    out = {}
    for strip in coverage.covered_strips():
        row0, row1 = coverage.grid.strip_rows(strip)
        spans = coverage.span_cols[coverage.span_ptr[row0] : coverage.span_ptr[row1]]
        out[strip] = int(np.diff(spans, axis=1).sum() + coverage.cell_ptr[row1] - coverage.cell_ptr[row0])
    return out


# --- passes and sweeps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the ordered values of each zone tell; arrays of shape (n_zones,), NaN for a zone without data."""

    weight: Floats
    """Sum of shares (of weights, for weighted sources)."""
    mean: Floats
    """Mean value."""
    variety: Floats
    """How many distinct values; 0 without data."""
    majority: Floats
    """The value with the greatest share; of several, the greatest."""
    minority: Floats
    """The value with the smallest share; of several, the smallest."""
    gini: Floats
    """Gini coefficient."""
    theil: Floats
    """Theil's T."""
    quantiles: dict[float, Floats]
    """q to quantile."""


class Sweep:
    """One run over the values of some zones, in rising order, table by table."""

    def __init__(self, totals: Floats, quantiles: Sequence[float]) -> None:
        """Start; ``totals`` is (n_zones, 2), the sums of shares and of share times value over all values."""
        from gis.zonal.order_kernels import N_STATE

        n, n_q = totals.shape[0], len(quantiles)
        self.quantiles = tuple(quantiles)
        self.weight = totals[:, 0]
        with np.errstate(invalid="ignore"):
            self.mean = totals[:, 1] / totals[:, 0]
        self._places = self.weight[:, None] * np.array(self.quantiles)[None, :].reshape(1, n_q)
        self._state, self._found = np.zeros((n, N_STATE)), np.full((n, n_q, 3, 4), np.nan)
        self._stage = np.zeros((n, n_q), np.int64)

    def add(self, table: ValueTable) -> None:
        """Go on with a table whose values are all larger than those of the tables before."""
        from gis.zonal.order_kernels import sweep

        sweep(*table.columns, self.mean, self._places, self._state, self._found, self._stage)

    def result(self) -> Distribution:
        """What came out, once all values have passed."""
        from gis.zonal.order_kernels import CUMULATED, GINI, MAJORITY, MINORITY, N_VALUES, THEIL

        state = self._state
        some = state[:, N_VALUES] > 0
        weight, mean = state[:, CUMULATED], self.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            gini = np.where(mean > 0, state[:, GINI] / (mean * weight * weight), np.nan)
            theil = np.where(mean > 0, state[:, THEIL] / weight, np.nan)
        return Distribution(
            weight=np.where(some, self.weight, np.nan),
            mean=mean,
            variety=state[:, N_VALUES].copy(),
            majority=np.where(some, state[:, MAJORITY], np.nan),
            minority=np.where(some, state[:, MINORITY], np.nan),
            gini=gini,
            theil=theil,
            quantiles={q: self._quantile(k, q) for k, q in enumerate(self.quantiles)},
        )

    def _quantile(self, k: int, q: float) -> Floats:
        """Interpolate between the elements around a quantile's place; see `quantile_by_definition` in the tests."""
        from gis.zonal.order_kernels import BELOW, LAST, N_VALUES, NUMBER, VALUE, WEIGHT

        steps = self._state[:, N_VALUES] - 1
        found, stage = self._found[:, k], self._stage[:, k]
        target = self._places[:, k] * steps
        position = found[:, :, NUMBER] * found[:, :, WEIGHT] + steps[:, None] * found[:, :, BELOW]
        # `at` is the element whose weight holds the place; its own position may lie on either side of it.
        left = np.where(position[:, 1] > target, 0, 1)
        zone = np.arange(len(left))
        x0, x1 = found[zone, left, VALUE], found[zone, left + 1, VALUE]
        p0, p1 = position[zone, left], position[zone, left + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            out = x0 + (target - p0) * (x1 - x0) / (p1 - p0)
        out = np.where(np.isnan(x1), x0, out)  # nothing larger: the place is at the largest value
        some = steps >= 0
        out = np.where((stage == 0) | (q == 1.0), self._state[:, LAST], out)
        return np.where(some, out, np.nan)


def distribution(
    source: Source, quantiles: Sequence[float] = (), *, entries: int = ENTRIES, run: Runner | None = None
) -> Distribution:
    """Order statistics of every zone.

    Parameters
    ----------
    quantiles : each in [0, 1].
    entries : distinct values, summed over zones, held at a time; changes time and memory and no bit.
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks; default: one by one.
    """
    n = len(source)
    out = Distribution(*(np.full(n, np.nan) for _ in range(7)), {q: np.full(n, np.nan) for q in quantiles})
    for zones in _groups(source.bound, source.first_strip, entries):
        part = _of_group(source.only(zones), quantiles, entries, run)
        for name in ("weight", "mean", "variety", "majority", "minority", "gini", "theil"):
            getattr(out, name)[zones] = getattr(part, name)
        for q in quantiles:
            out.quantiles[q][zones] = part.quantiles[q]
    return out


def _groups(bound: NDArray[np.int64], first: NDArray[np.int64], entries: int) -> Iterator[NDArray[np.intp]]:
    """Zones that fit together, neighbours in latitude first, so that a strip is read for few groups."""
    group: list[int] = []
    size = 0
    for zone in np.argsort(first, kind="stable"):
        if group and size + bound[zone] > entries:
            yield np.sort(np.array(group, np.intp))
            group, size = [], 0
        group.append(int(zone))
        size += int(bound[zone])
    if group:
        yield np.sort(np.array(group, np.intp))


@dataclass(frozen=True, slots=True)
class _StripTask:
    source: Source
    strip: int
    after: float
    limit: int | None


def _tabulate(task: _StripTask) -> tuple[Floats, ValueTable, bool]:
    """Sums over a strip, its table, and whether the table is whole: the chunk function."""
    from gis.zonal.order_kernels import table_totals

    table = task.source.table(task.strip, task.after)
    totals = table_totals(*table.columns)
    if task.limit is None or len(table) <= task.limit:
        return totals, table, True
    return totals, table.smallest(task.limit), False


def _of_group(source: Source, quantiles: Sequence[float], entries: int, run: Runner | None) -> Distribution:
    # Only a zone that stands alone may be too large: then each pass keeps the smallest values not yet seen.
    limit = entries if len(source) == 1 and source.bound[0] > entries else None
    after, swept = -np.inf, None
    while True:
        totals, table, is_whole = _pass(source, after, limit, entries, run)
        if swept is None:
            swept = Sweep(totals, quantiles)
        swept.add(table)
        if is_whole:
            return swept.result()
        after = float(table.value[-1])


def _pass(
    source: Source, after: float, limit: int | None, entries: int, run: Runner | None
) -> tuple[Floats, ValueTable, bool]:
    """Read every strip once: (sums, values above ``after`` or the smallest ``limit`` of them, whether that is all)."""
    nothing = np.empty(0)
    totals = np.zeros((len(source), 2))
    table = ValueTable(np.zeros(len(source) + 1, np.int64), nothing, nothing, nothing)
    is_whole = True
    for strips in _waves(source.cells_of_strips(), entries):
        tasks = [_StripTask(source, strip, after, limit) for strip in strips]
        for part, more, whole in run(_tabulate, tasks) if run else map(_tabulate, tasks):
            totals += part
            table, is_whole = table.merged(more), is_whole and whole
            if limit is not None and len(table) > limit:
                table, is_whole = table.smallest(limit), False
    return totals, table, is_whole


def _waves(cells: dict[int, int], entries: int) -> Iterator[list[int]]:
    """Strips in order, in groups whose tables fit into memory together; a strip is never cut."""
    wave: list[int] = []
    size = 0
    for strip, n in cells.items():
        if wave and size + n > entries:
            yield wave
            wave, size = [], 0
        wave.append(strip)
        size += n
    if wave:
        yield wave
