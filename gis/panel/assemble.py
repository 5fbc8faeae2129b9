"""The pair panel put together: variables beside Bal, batch by batch, whole or to a file of any size.

In: batches of ``PAIR_YEAR`` (whole pairs), variables, a trimming rule. Out: batches of ``PAIR_PANEL``, and the row
waterfall. Every variable is a function of `PairRows`; the assembly places it and adds nothing to the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.panel.rows import PairRows, Variable, rows_from_arrow
from gis.panel.trim import Trim, trim
from gis.panel.waterfall import ROW_FLAGS, Waterfall, base_flags, trimmed_flags
from gis.tables import PAIR_PANEL, Column, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Batches = Callable[[], Iterable["pa.Table"]]
"""Gives the batches of the panel from the beginning; called once for every pass."""


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """What goes into the panel."""

    codes: tuple[str, ...]
    """Roster: codes, rising."""
    variables: tuple[tuple[str, Variable], ...] = ()
    """(what it is, variable), in order; read with the labels of ``orient_lag``."""
    own: tuple[Column, ...] = ()
    """Columns that the workspace declares itself; the variables that make them are among ``variables``."""
    controls: tuple[str, ...] = ()
    """Columns that a row of the full sample has; the waterfall drops rows without them, in this order."""
    orient_lag: int = 1
    """Labels of the variables; see `gis.panel.rows.PairRows.labelled`."""
    inside: Callable[[PairRows], NDArray[np.bool_]] | None = None
    """Which rows are asked for; None for all. Others stay, flagged."""
    bal_quantile: tuple[float, float] | None = None
    """See `gis.panel.trim.trim`."""
    bal_max: float | None = None
    winsor: tuple[float, float] | None = None
    _names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def has_quantiles(self) -> bool:
        """Whether the limits of the rule depend on the sample: then the panel is passed twice."""
        return self.bal_quantile is not None or self.winsor is not None


@dataclass
class Assembly:
    """A panel on its way to a file."""

    plan: PanelPlan
    """What goes into it."""
    table: Table
    """Its declaration: what is configured, and the workspace's own columns."""
    limits: Trim
    """Limits of the trimming rule."""
    waterfall: Waterfall
    """Complete when the last batch has passed."""
    _batches: Batches

    def batches(self) -> Iterator[pa.Table]:
        """Batches of the panel; may be asked for once, because the waterfall counts what passes."""
        last = -1
        for batch in self._batches():
            rows = rows_from_arrow(batch, self.plan.codes)
            last = _whole_pairs(rows, last)
            yield self._finished(batch, rows)

    def _finished(self, batch: pa.Table, rows: PairRows) -> pa.Table:
        import pyarrow as pa

        columns = computed(self.plan, rows)
        bal = _floats(batch["bal"])
        flag = _base(self.plan, batch, rows, columns)
        flag, kept = trimmed_flags(flag, bal, self.limits)
        self.waterfall.add(rows, flag, columns | {"bal_trimmed": kept})
        texts = pa.array(list(ROW_FLAGS), pa.string())
        arrays: list[Any] = []
        for name in self.table.columns:
            column = self.table.column(name)
            if name in batch.column_names:
                arrays.append(batch[name])
            elif name == "row_flag":
                arrays.append(texts.take(pa.array(flag)))
            else:
                arrays.append(_arrow(kept if name == "bal_trimmed" else columns[name], column))
        return pa.table(arrays, schema=self.table.arrow_schema())


def assembly(plan: PanelPlan, batches: Batches) -> Assembly:
    """Look at the first batch for the columns there will be, find the limits of trimming, and make ready.

    Raises
    ------
    TableInvalid
        The panel has no row; a variable makes a column that is declared nowhere or made by another; a control is not
        among the columns.
    OptionInvalid
        As `gis.panel.trim.trim`.
    """
    first = next(iter(batches()), None)
    if first is None:
        raise TableInvalid("the pair panel has no row", mend="lightpanel run")
    rows = rows_from_arrow(first.slice(0, 1), plan.codes)
    names: dict[str, str] = {}
    for what, variable in plan.variables:
        for name in variable(rows):
            if name in names or name in first.column_names:
                raise TableInvalid(
                    f"{what} and {names.get(name, 'the panel')} both make the column {name}",
                    mend="give one of them another name",
                )
            names[name] = what
    own = {column.name for column in plan.own}
    strange = [name for name in names if name not in own and name not in PAIR_PANEL.columns]
    lacking = [name for name in plan.controls if name not in names]
    if strange or lacking:
        raise TableInvalid(
            f"undeclared columns: {', '.join(strange) or 'none'}; controls without a column: "
            f"{', '.join(lacking) or 'none'}",
            where="sample.controls" if lacking else None,
            mend=f"columns of this panel: {', '.join(names) or 'none'}",
        )
    table = PAIR_PANEL.with_columns(names, plan.own)
    limits = _limits(plan, batches)
    return Assembly(plan, table, limits, Waterfall(plan.codes, plan.controls, trim_text(limits)), batches)


def computed(plan: PanelPlan, rows: PairRows) -> dict[str, Floats]:
    """Every variable's columns for some rows."""
    labelled = rows.labelled(plan.orient_lag)
    out: dict[str, Floats] = {}
    for _, variable in plan.variables:
        out |= variable(labelled)
    return out


def trim_text(limits: Trim) -> str:
    """Trimming step in words."""
    if limits.rule == "bal_max":
        return f"bal above {limits.high:g}"
    if limits.rule == "bal_quantile":
        return f"bal outside [{limits.low:.6g}, {limits.high:.6g}]"
    if limits.rule == "winsor":
        return f"none: bal pulled to [{limits.low:.6g}, {limits.high:.6g}]"
    return "no trimming"


def _limits(plan: PanelPlan, batches: Batches) -> Trim:
    """Limits on the base sample: rows asked for, with Bal and flows, without any control."""
    if not plan.has_quantiles:
        return trim(np.empty(0), bal_quantile=plan.bal_quantile, bal_max=plan.bal_max, winsor=plan.winsor)
    flows = tuple(v for v in plan.variables if v[0] == FLOWS)
    some = PanelPlan(plan.codes, flows, orient_lag=plan.orient_lag, inside=plan.inside)
    kept = []
    for batch in batches():
        rows = rows_from_arrow(batch, plan.codes)
        flag = _base(some, batch, rows, computed(some, rows))
        kept.append(_floats(batch["bal"])[flag == 0])
    sample = np.concatenate(kept)
    return trim(sample, bal_quantile=plan.bal_quantile, bal_max=plan.bal_max, winsor=plan.winsor)


FLOWS = "flows"
"""Name of the flow variable in a plan: the base sample is of rows whose flows are known."""


def _base(plan: PanelPlan, batch: pa.Table, rows: PairRows, columns: dict[str, Floats]) -> NDArray[np.int8]:
    import pyarrow as pa
    import pyarrow.compute as pc

    given = pc.index_in(batch["bal_flag"], value_set=pa.array(list(ROW_FLAGS), pa.string()))
    flag = np.asarray(pc.fill_null(given, 0).to_numpy(), np.int8)
    has_flow = np.isfinite(columns["ln_dkf_net"]) if "ln_dkf_net" in columns else None
    inside = plan.inside(rows) if plan.inside else None
    found: NDArray[np.int8] = base_flags(_floats(batch["bal"]), flag, has_flow, inside)
    return found


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), np.float64)


def _arrow(values: NDArray[Any], column: Column) -> pa.Array:
    import pyarrow as pa

    if column.dtype == "bool":
        return pa.array(values)
    if column.dtype.startswith("int"):
        known = np.isfinite(values)
        return pa.array(np.where(known, values, 0).astype(column.dtype), mask=~known)
    return pa.array(values, from_pandas=True)


def _whole_pairs(rows: PairRows, last: int) -> int:
    """Last pair of a batch; a pair that goes on in the next batch would be labelled and counted wrongly."""
    assert not len(rows) or rows.pair_id[0] != last, "a batch ends inside a pair"
    return int(rows.pair_id[-1]) if len(rows) else last
