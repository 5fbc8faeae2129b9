"""What the panel step reads: tables of cities and pairs in any vintage, flows, patents and citations.

In: files named in ``[flows]``, ``[covariates]``, ``[moderators]``, ``[within_city]``, ``[sample]``. Out: frames, and
the map from the codes of a file to those of the panel. Every fault is named with the file and the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gis.errors import CodeInvalid, ConfigInvalid, OptionInvalid
from gis.tables.foreign import read_foreign
from gis.workspace import CitationSource, Flows, TableSource, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.grid import Zones
    from gis.panel.citations import CitationFlows
    from gis.panel.flows import FlowTable
    from gis.raster_io import RasterPath

T = TypeVar("T")

DISTRICT_COLUMNS = {"district_code": "city_code", "district_i": "city_i", "district_j": "city_j"}
"""What tables of districts may call their codes, and the names that variables ask for."""
CODE_COLUMNS = (*DISTRICT_COLUMNS, *DISTRICT_COLUMNS.values(), "src", "dst", "postcode", "hs2")
"""Columns that are text though they look like numbers."""
S = TypeVar("S", bound=TableSource)


@dataclass
class PanelInputs:
    """Reads the tables of one workspace for one roster."""

    place: Workspace
    """Where the files are."""
    codes: tuple[str, ...]
    """Roster of the panel, rising."""
    vintage: str
    """Date the boundaries of the panel stood; empty where unknown."""
    level: str = "city"
    """What the roster is made of: city or district."""
    files: dict[str, RasterPath] = field(default_factory=dict)
    """Role -> file, of everything read: for the lineage."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the results must know, one sentence each."""

    def table(self, relative: str, role: str) -> pd.DataFrame:
        """Read a CSV or Parquet file; codes are text."""
        path = self.place.path(relative)
        self.files[role] = path
        frame = read_foreign(path, role, codes=CODE_COLUMNS)
        return frame if self.level == "city" else frame.rename(columns=DISTRICT_COLUMNS)

    def of_level(self, source: S | None, role: str) -> tuple[S, pd.DataFrame] | None:
        """A configured table as far as it is there for units of this level; None where it is not."""
        if source is None:
            return None
        if self.level == "city":
            return source, self.table(source.file, role)
        return (source, self.table(source.districts, f"{role}.districts")) if source.districts else None

    def kwargs(self, source: TableSource, frame: pd.DataFrame, columns: Iterable[str] = ("city_code",)) -> dict:  # type: ignore[type-arg]
        """What functions of ``gis.panel`` that take a city-level table are told of it."""
        path = self.place.path(source.file if self.level == "city" else str(source.districts))
        there = [name for name in columns if name in frame]
        found = {str(c) for name in there for c in frame[name].dropna().unique()}
        recode = self.recode(found, source.vintage, path) if source.vintage is not None else None
        if source.drop_unknown:
            roster = frozenset(self.codes)
            gone = {c for c in found if (recode or {}).get(c, c) not in roster}
            n = int(frame[there].isin(gone).any(axis=1).sum())
            if n:
                self.notes.append(f"{path.name}: {n} rows of units that are not in the panel left out")
        return {"recode": recode, "drop_unknown": source.drop_unknown, "vintage": self.vintage, "where": path}

    def recode(
        self, codes: Iterable[str], vintage: str | int, where: object, *, additive: bool = False
    ) -> dict[str, str]:
        """Code of a file -> code of the panel, for a file whose codes are of another date.

        Parameters
        ----------
        additive : for flows and counts: a unit that as a whole became part of another goes on as that one.

        Raises
        ------
        OptionInvalid
            The vintage of the file or of the panel is no date the lists cover.
        """
        from gis.boundaries.lineage import follow, history, year_of_vintage
        from gis.boundaries.reference import names_of_year

        if not self.vintage:
            raise OptionInvalid(
                "the vintage of the panel is not known", where=where, mend="set boundaries.city.vintage"
            )
        old, new = year_of_vintage(str(vintage)), year_of_vintage(self.vintage)
        level: Any = self.level
        out: dict[str, str] = {}
        merged = []
        for code in codes:
            if old == new or code not in names_of_year(level, old):
                continue
            after = follow(code, old, new, level)
            if after is None and additive and level == "city" and old < new:
                heirs = history(code, old, new).heirs
                if len(heirs) == 1 and heirs[0].part == "whole":
                    after = heirs[0].code
                    merged.append(f"{code} to {after}")
            if after is not None and after != code:
                out[code] = after
            elif after is None:
                out[code] = f"{code} ended"  # the code may have been given to another unit since
        if merged:
            self.notes.append(f"{Path(str(where)).name}: whole units that merged since: {', '.join(sorted(merged))}")
        return out

    def explained(self, make: Callable[[], T]) -> T:
        """Do something; an unknown code in it is refused with what became of the unit."""
        try:
            return make()
        except CodeInvalid as error:
            raise self._with_history(error) from error

    def _with_history(self, error: CodeInvalid) -> CodeInvalid:
        from gis.boundaries.lineage import history, sentence, year_of_vintage

        code = re.search(r"\b[1-9][0-9]{5}\b", error.what)
        if code is None or not self.vintage or self.level != "city":
            return error
        try:
            to_year = year_of_vintage(self.vintage)
            told = history(code.group(), None, to_year)
        except (CodeInvalid, OptionInvalid):
            return error
        events = "; ".join(sentence(event) for event in told.events[:3])
        if not events:
            return error
        return CodeInvalid(f"{error.what} ({events})", where=error.where, mend=error.mend)

    # --- flows -------------------------------------------------------------------------------------------------------

    def flows(self, source: Flows) -> tuple[FlowTable, CitationFlows | None]:
        """Flows between the units of the roster, from a table or from citations."""
        from gis.panel.flows import flow_table

        if (source.file is None) == (source.citations is None):
            raise ConfigInvalid(
                "flows come from a table or from citations, one of them",
                where=self.place.config_path,
                mend="give flows.file or [flows.citations]",
            )
        if source.citations is not None:
            counted = self.citations(source.citations)
            years = source.years or _span(counted.flows)
            inside = counted.flows["year"].between(*years) if years else slice(None)
            return flow_table(counted.flows[inside], self.codes, years=years), counted
        return self.flow_file(str(source.file), source), None

    def flow_file(self, relative: str, source: Flows, role: str = "flows") -> FlowTable:
        """Flows of a file ``src, dst, year, n``."""
        from gis.panel.flows import flow_table

        frame, path = self.table(relative, role), self.place.path(relative)
        recode = None
        if source.vintage is not None and {"src", "dst"} <= set(frame.columns):
            found = {str(c) for name in ("src", "dst") for c in frame[name].dropna().unique()}
            recode = self.recode(found, source.vintage, path, additive=True)
        table = self.explained(
            lambda: flow_table(
                frame, self.codes, years=source.years, recode=recode, drop_unknown=source.drop_unknown, where=path
            )
        )
        if table.n_dropped:
            self.notes.append(f"{path.name}: {table.n_dropped} flows of units that are not in the panel left out")
        years = table.years.tolist()
        gaps = sorted(set(range(min(years), max(years) + 1)) - set(years)) if years else []
        if gaps:
            first = ", ".join(map(str, gaps[:5])) + (f" and {len(gaps) - 5} more years" if len(gaps) > 5 else "")
            self.notes.append(f"{path.name}: no flow at all in {first}: taken for unknown, not for 0")
        return table

    def citations(self, source: CitationSource) -> CitationFlows:
        """Flows counted from patents and citations."""
        from gis.pipeline.panel_citations import count_citations

        return count_citations(self, source)

    def zones(self) -> Zones:
        """Polygons of the run."""
        from gis.export.parquet import read_units

        return read_units(self.place.out / f"units_{self.level}.parquet")


def _span(flows: pd.DataFrame) -> tuple[int, int] | None:
    """Citations cover every year from the first to the last that has any."""
    return (int(flows["year"].min()), int(flows["year"].max())) if len(flows) else None
