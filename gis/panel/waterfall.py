"""From all rows of the panel to the sample with all controls: every step's loss, by reason and by city (METHOD 3.1).

In: batches of rows with Bal, flows, controls and a trimming rule. Out: ``row_flag`` and ``bal_trimmed`` of every row,
and the table ``PANEL_ROWS``. Order of operations: build, restrict, trim on the sample without controls, drop rows
without a control, drop singletons. A panel of any size passes in batches of whole pairs; what is kept of a row is one
byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.panel.rows import PairRows
from gis.panel.trim import Trim

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

ROW_FLAGS = {
    "": "the row is in the base sample",
    "RESTRICTED": "the pair is outside the roster or the urban clusters asked for",
    "NOORDER": "a level of the year before is missing: neither city is hi",
    "NOLEVEL": "a level of the row's year is missing",
    "ZEROHI": "the level of hi is 0",
    "NEWAREA": "the ground of either city changed since last year (boundaries.mode = yearly)",
    "NOFLOW": "the year of the flows is outside their coverage, or the labels of orient_lag are missing",
    "TRIMMED": "bal is outside the limits of the trimming rule",
}
"""Why a row is not in the base sample, in the order the reasons are asked: the first that applies is given."""

_FLAG = {name: np.int8(k) for k, name in enumerate(ROW_FLAGS)}
NAMED = 5
"""Cities that the detail of a step names."""


def base_flags(bal: Floats, bal_flag: NDArray[np.int8] | None, has_flow: Bools | None, inside: Bools | None) -> Any:
    """(n,) position in ``ROW_FLAGS`` before trimming.

    Parameters
    ----------
    bal_flag : (n,) position in ``ROW_FLAGS`` that `gis.panel.balance` gives the row: 0, NOORDER, NOLEVEL,
        ZEROHI or NEWAREA.
    has_flow : (n,) whether both flows are known; None where the panel has no flows.
    inside : (n,) whether the pair is asked for; None for all.
    """
    flag = np.zeros(bal.size, np.int8) if bal_flag is None else bal_flag.astype(np.int8)
    flag = np.where((flag == 0) & np.isnan(bal), _FLAG["NOLEVEL"], flag)
    if has_flow is not None:
        flag = np.where((flag == 0) & ~has_flow, _FLAG["NOFLOW"], flag)
    if inside is not None:
        flag = np.where(inside, flag, _FLAG["RESTRICTED"])
    return flag.astype(np.int8)


def trimmed_flags(flag: NDArray[np.int8], bal: Floats, limits: Trim) -> tuple[NDArray[np.int8], Floats]:
    """Flags with trimmed rows, and ``bal_trimmed``: NaN outside the base sample."""
    flag = np.where((flag == 0) & limits.dropped(bal), _FLAG["TRIMMED"], flag).astype(np.int8)
    return flag, np.where(flag == 0, limits.applied(bal), np.nan)


@dataclass
class Waterfall:
    """Counts rows while batches pass; `frame` gives the table."""

    codes: tuple[str, ...]
    """Roster, for the cities named in details."""
    controls: tuple[str, ...] = ()
    """Columns whose missing values drop a row, in this order, after the base sample."""
    trim_text: str = "outside the trimming limits"
    """How the trimming step is called."""
    n_rows: int = 0
    """Rows seen."""
    _by_reason: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _lost: dict[str, int] = field(default_factory=dict, repr=False)
    _left: list[tuple[Bools, NDArray[np.int64]]] = field(default_factory=list, repr=False)

    def add(self, rows: PairRows, flag: NDArray[np.int8], columns: dict[str, Floats]) -> None:
        """Count one batch of whole pairs."""
        self.n_rows += len(rows)
        names = list(ROW_FLAGS)
        for k in range(1, len(names)):
            self._count(names[k], rows, flag == k)
        keep = flag == 0
        for name in self.controls:
            gone = keep & np.isnan(columns[name])
            self._count(name, rows, gone)
            keep &= ~gone
        self._left.append(_packed(rows, keep))

    def _count(self, reason: str, rows: PairRows, gone: Bools) -> None:
        n = int(gone.sum())
        self._lost[reason] = self._lost.get(reason, 0) + n
        if n:
            both = np.bincount(rows.i[gone], minlength=len(self.codes)) + np.bincount(
                rows.j[gone], minlength=len(self.codes)
            )
            self._by_reason[reason] = self._by_reason.get(reason, np.zeros(len(self.codes), np.int64)) + both

    def frame(self) -> pd.DataFrame:
        """Rows of ``gis.tables.PANEL_ROWS``."""
        import pandas as pd

        words = {
            "RESTRICTED": "outside the roster or the urban clusters",
            "NOORDER": "no orientation: a level of the year before is missing, or a tie is dropped",
            "NOLEVEL": "no bal: a level of the row's year is missing",
            "ZEROHI": "no bal: the level of hi is 0",
            "NEWAREA": "no bal: the ground of either city changed since last year",
            "NOFLOW": "no flow: outside the flows' years",
            "TRIMMED": self.trim_text,
        } | {name: f"{name} missing" for name in self.controls}
        steps: list[tuple[str, int, str]] = [("rows of the panel", 0, "")]
        for reason, text in words.items():
            steps.append((text, self._lost.get(reason, 0), self._detail(reason)))
        singles, rounds = self._singletons()
        steps.append(("singletons of pair and year", singles, f"{rounds} rounds" if singles else ""))
        dropped = np.array([n for _, n, _ in steps], np.int64)
        return pd.DataFrame(
            {
                "step_no": np.arange(len(steps), dtype=np.int32),
                "step": [text for text, _, _ in steps],
                "n_dropped": dropped,
                "n_left": self.n_rows - np.cumsum(dropped),
                "detail": [detail for _, _, detail in steps],
            }
        )

    def _detail(self, reason: str) -> str:
        """Cities in most of the rows that go; a row is in two."""
        found = self._by_reason.get(reason)
        if found is None:
            return ""
        order = np.argsort(-found, kind="stable")[:NAMED]
        return ", ".join(f"{self.codes[k]}: {found[k]}" for k in order if found[k])

    def _singletons(self) -> tuple[int, int]:
        """Rows alone in their pair or year, again and again until there is none (METHOD 6.3), and the rounds."""
        if not self._left:
            return 0, 0
        years = sorted({year for _, batch in self._left for year in batch.tolist()})
        inside = np.concatenate([_widened(kept, batch, years) for kept, batch in self._left])
        n, rounds = int(inside.sum()), 0
        while True:
            before = int(inside.sum())
            inside[inside.sum(axis=1) == 1] = False
            inside[:, inside.sum(axis=0) == 1] = False
            if int(inside.sum()) == before:
                return n - before, rounds
            rounds += 1


def _packed(rows: PairRows, keep: Bools) -> tuple[Bools, NDArray[np.int64]]:
    """Which rows are kept, (n_pairs, n_years) of a batch, and its years."""
    pairs, at_pair = np.unique(rows.pair_id, return_inverse=True)
    years, at_year = np.unique(rows.year, return_inverse=True)
    out = np.zeros((pairs.size, years.size), bool)
    out[at_pair, at_year] = keep
    return out, years


def _widened(kept: Bools, years: NDArray[np.int64], wanted: list[int]) -> Bools:
    if years.tolist() == wanted:
        return kept
    out = np.zeros((len(kept), len(wanted)), bool)
    out[:, np.searchsorted(wanted, years)] = kept
    return out
