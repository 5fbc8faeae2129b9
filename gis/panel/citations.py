"""From citations to directed flows: one unit of knowledge for every citation of a digital-technology patent.

In: ``Patents`` and citations (citing, cited), read as a stream. Out: ``CitationFlows``: flows from the cited to the
citing city, how many citations each step lost, and what has no place (METHOD 4.2).

Citations are never held together: a batch is looked up, cut to eight bytes a citation, and laid aside in parts on disk
by the citing patent, so that repeats meet in one part. Memory is 20 to 30 bytes a patent, one batch and one part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.panel.patents import INVENTION, NOWHERE, UTILITY, Multi, Patents, check_multi

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BATCH_ROWS = 2_000_000
"""Citations looked up at a time: each time all application numbers are hashed, so few large batches are best."""
PARTS = 64
"""Parts on disk: 100 million citations make parts of 12 MB."""

STEPS = (
    "citing patent not in the patents",
    "cited patent not in the patents",
    "citing patent is a design, or of no type",
    "cited patent is a design, or of no type",
    "cited patent is not digital",
    "citing patent has no year",
    "repeats a citation",
    "citing patent has no place",
    "cited patent has no place",
)
"""Why a citation is no flow between units of the roster, in the order they are asked."""


@dataclass(frozen=True, slots=True)
class CitationFlows:
    """Flows that citations make."""

    flows: pd.DataFrame
    """``src, dst, year, n``: units of the roster, the diagonal included; rows of ``gis.tables.FLOW``."""
    waterfall: pd.DataFrame = field(repr=False)
    """``step_no, step, n_dropped, n_left``: from the citations read to those that count."""
    by_year: pd.DataFrame = field(repr=False)
    """Rows of ``gis.tables.FLOW_TOTAL``: with what has no place (METHOD 4.2, bucket NA)."""
    n_citations: int
    """Citations read."""


def flows_from_citations(
    patents: Patents,
    citations: Iterable[pa.Table | pa.RecordBatch],
    *,
    multi: Multi = "first",
    repeated: Literal["once", "each"] = "once",
    cited: Literal["digital", "all"] = "digital",
    scratch: Path | None = None,
) -> CitationFlows:
    """Count citations as flows from the cited patent's places to the citing one's.

    Parameters
    ----------
    citations : tables with columns ``citing`` and ``cited``, application numbers as text.
    multi : with several places on either side: the first, every distinct pair of places as 1, or shares that add up
        to 1. ``patents`` must have been made with the same rule.
    repeated : count a (citing, cited) pair once, or as often as it is given.
    cited : count citations of digital-technology patents only, or of all.
    scratch : folder for the parts, removed afterwards; default: the system's.

    Raises
    ------
    TableInvalid
        A column is missing.
    OptionInvalid
        No such rule.
    """
    import pandas as pd

    check_multi(multi)
    for value, offered in ((repeated, ("once", "each")), (cited, ("digital", "all"))):
        if value not in offered:
            raise OptionInvalid(f"no rule {value!r}", where="citations", mend=f"one of {', '.join(offered)}")
    lost = np.zeros(len(STEPS), np.int64)
    n = 0
    sums = _Sums(len(patents.codes))
    has_place = _any_place(patents)
    with tempfile.TemporaryDirectory(prefix="lightpanel-", dir=scratch) as folder:
        parts = _Parts(Path(folder), len(patents))
        for citing, quoted in _looked_up(patents, citations):
            n += citing.size
            keep = _first_reasons(patents, citing, quoted, cited == "digital", lost)
            parts.add(citing[keep], quoted[keep])
        for citing, quoted in parts.read():
            if repeated == "once":
                key = np.unique(citing * len(patents) + quoted)
                lost[6] += citing.size - key.size
                citing, quoted = key // len(patents), key % len(patents)
            lost[7] += int((~has_place[citing]).sum())
            lost[8] += int((has_place[citing] & ~has_place[quoted]).sum())
            sums.add(*_events(patents, citing, quoted, multi))
    left = n - np.cumsum(lost)
    waterfall = pd.DataFrame(
        {
            "step_no": np.arange(len(STEPS) + 1, dtype=np.int32),
            "step": ["citations read", *STEPS],
            "n_dropped": np.r_[0, lost],
            "n_left": np.r_[n, left],
        }
    )
    flows, by_year = sums.frames(patents.codes)
    return CitationFlows(flows, waterfall, by_year, n)


def _looked_up(patents: Patents, citations: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[tuple[Ints, Ints]]:
    """Positions of citing and cited patents, -1 for unknown, in batches of about ``BATCH_ROWS``."""
    import pyarrow as pa

    def find(tables: list[pa.Table]) -> tuple[Ints, Ints]:
        both = pa.concat_tables(tables)
        found = patents.find(pa.concat_arrays([c for name in ("citing", "cited") for c in both[name].chunks]))
        return found[: both.num_rows], found[both.num_rows :]

    waiting: list[pa.Table] = []
    for batch in citations:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        absent = [name for name in ("citing", "cited") if name not in table.column_names]
        if absent:
            raise TableInvalid(
                f"the citations have no column {', '.join(absent)} among {', '.join(table.column_names)}",
                where="citations",
                mend="say what the file calls them: [flows.citations.columns] citing, cited",
            )
        waiting.append(table.select(["citing", "cited"]).cast(pa.schema([("citing", "string"), ("cited", "string")])))
        if sum(t.num_rows for t in waiting) >= BATCH_ROWS:
            yield find(waiting)
            waiting = []
    if waiting:
        yield find(waiting)


def _first_reasons(patents: Patents, citing: Ints, quoted: Ints, digital: bool, lost: Ints) -> NDArray[np.bool_]:
    """Which citations pass the steps before repeats; each lost one is counted under its first reason."""
    counts = np.append(np.isin(patents.kind, (INVENTION, UTILITY)), True)  # -1, unknown, goes by the first two steps
    year, is_digital = np.append(patents.year, 0), np.append(patents.is_digital, True)
    keep = np.ones(citing.size, bool)
    steps = (
        citing < 0,
        quoted < 0,
        ~counts[citing],
        ~counts[quoted],
        ~is_digital[quoted] if digital else np.zeros(citing.size, bool),
        year[citing] == 0,
    )
    for k, gone in enumerate(steps):
        lost[k] += int((keep & gone).sum())
        keep &= ~gone
    return keep


def _any_place(patents: Patents) -> NDArray[np.bool_]:
    """(n,) whether a patent has a place in the roster."""
    inside = np.r_[0, np.cumsum(patents.place >= 0)]
    return np.asarray(inside[patents.place_ptr[1:]] > inside[patents.place_ptr[:-1]])


def _events(patents: Patents, citing: Ints, quoted: Ints, multi: Multi) -> tuple[Ints, Ints, Ints, Floats | None]:
    """Source, destination, year and weight of every unit of flow; places below 0 have none in the roster."""
    year = patents.year[citing].astype(np.int64)
    if multi == "first":
        return patents.place[quoted].astype(np.int64), patents.place[citing].astype(np.int64), year, None
    ptr = patents.place_ptr
    a0, b0 = ptr[citing], ptr[quoted]
    na, nb = ptr[citing + 1] - a0, ptr[quoted + 1] - b0
    n = na * nb
    event = np.repeat(np.arange(citing.size), n)
    within = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    dst = patents.place[a0[event] + within // nb[event]].astype(np.int64)
    src = patents.place[b0[event] + within % nb[event]].astype(np.int64)
    return src, dst, year[event], None if multi == "full" else 1.0 / n[event]


class _Parts:
    """Citations laid aside on disk by the citing patent: repeats of one citation are in one part."""

    def __init__(self, folder: Path, n_patents: int) -> None:
        self.n = max(n_patents, 1)
        self.files = [folder / f"part{k}" for k in range(PARTS)]

    def add(self, citing: Ints, quoted: Ints) -> None:
        """Sort a batch into its parts."""
        part = (citing * PARTS // self.n).astype(np.uint8)  # one byte: sorted by counting
        order = np.argsort(part, kind="stable")
        cuts = np.searchsorted(part[order], np.arange(PARTS + 1))
        key = (citing * self.n + quoted)[order]
        for k, path in enumerate(self.files):
            if cuts[k] < cuts[k + 1]:
                with open(path, "ab") as stream:
                    stream.write(key[cuts[k] : cuts[k + 1]].tobytes())

    def read(self) -> Iterator[tuple[Ints, Ints]]:
        """Parts one after the other."""
        for path in self.files:
            if path.is_file():
                key = np.fromfile(path, np.int64)
                path.unlink()
                yield key // self.n, key % self.n


class _Sums:
    """Flows by source, destination and year while they are counted."""

    def __init__(self, n_codes: int) -> None:
        self.n_codes = n_codes
        self.span = n_codes + 1  # the last position is for what has no place
        self.keys: list[Ints] = []
        self.sums: list[Floats] = []

    def add(self, src: Ints, dst: Ints, year: Ints, weight: Floats | None) -> None:
        place = [np.where(p <= NOWHERE, self.n_codes, p) for p in (src, dst)]
        key, at = np.unique((year * self.span + place[0]) * self.span + place[1], return_inverse=True)
        self.keys.append(key)
        self.sums.append(np.bincount(at, weights=weight, minlength=key.size).astype(np.float64))

    def frames(self, codes: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Flows within the roster, and what each year has of every kind."""
        import pandas as pd

        keys = np.concatenate([np.empty(0, np.int64), *self.keys])
        key, at = np.unique(keys, return_inverse=True)
        total = np.bincount(at, weights=np.concatenate([np.empty(0), *self.sums]), minlength=key.size)
        rest, dst = np.divmod(key, self.span)
        year, src = np.divmod(rest, self.span)
        src_na, dst_na = src == self.n_codes, dst == self.n_codes
        inside = ~src_na & ~dst_na
        kinds = {
            "flow_between": inside & (src != dst),
            "flow_within": inside & (src == dst),
            "flow_src_na": src_na & ~dst_na,
            "flow_dst_na": ~src_na & dst_na,
            "flow_both_na": src_na & dst_na,
        }
        years = np.unique(year)
        place = np.searchsorted(years, year)
        by_year = pd.DataFrame(
            {"year": years.astype(np.int32)}
            | {name: np.bincount(place[k], total[k], minlength=years.size) for name, k in kinds.items()}
        )
        roster = np.array(codes, dtype=object)
        flows = pd.DataFrame(
            {"src": roster[src[inside]], "dst": roster[dst[inside]], "year": year[inside].astype(np.int32),
             "n": total[inside]}
        )  # fmt: skip
        return flows.sort_values(["src", "dst", "year"], ignore_index=True), by_year
