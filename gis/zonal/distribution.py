"""Statistics that need a zone's cells in order of value: quantiles, majority, variety, Gini, Theil. Exact.

In: a source of cells with shares (a raster under a coverage, or pieces of a second raster). Out: ``Distribution``.

Nothing is sampled or binned. A pass gathers, strip by strip, the distinct values of each zone with the sum of their
shares, and one sweep over these in rising order gives every statistic here. Memory is bounded by a number of entries
(distinct values, summed over zones): zones are taken in groups that cannot exceed it, and a zone that exceeds it alone
is read several times, each pass taking the next smallest values. The bits depend on neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.zonal.value_tables import Source, ValueTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Runner = Callable[..., list[Any]]

ENTRIES = 16_000_000
"""Distinct values, summed over zones, that are held at a time: 24 bytes each, and twice that while two tables merge."""


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
    names = ("weight", "mean", "variety", "majority", "minority", "gini", "theil")
    columns = {name: np.full(n, np.nan) for name in names}
    found = {q: np.full(n, np.nan) for q in quantiles}
    for zones in _groups(source.bound, source.first_strip, entries):
        part = _of_group(source.only(zones), quantiles, entries, run)
        for name in names:
            columns[name][zones] = getattr(part, name)
        for q in quantiles:
            found[q][zones] = part.quantiles[q]
    return Distribution(**columns, quantiles=found)


def distribution_of_tables(tables: Iterable[ValueTable], n_zones: int, quantiles: Sequence[float]) -> Distribution:
    """Order statistics from the tables of strips, in strip order: one pass, so one table of everything is held."""
    from gis.zonal.order_kernels import table_totals

    nothing, totals = np.empty(0), np.zeros((n_zones, 2))
    table = ValueTable(np.zeros(n_zones + 1, np.int64), nothing, nothing, nothing)
    for more in tables:
        totals += table_totals(*more.columns)
        table = table.merged(more)
    swept = Sweep(totals, quantiles)
    swept.add(table)
    return swept.result()


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
