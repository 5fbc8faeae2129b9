"""What the panel step reads: tables of cities and pairs in any vintage, flows, patents and citations.

In: files named in ``[flows]``, ``[covariates]``, ``[moderators]``, ``[within_city]``, ``[sample]``. Out: frames, and
the map from the codes of a file to those of the panel. Every fault is named with the file and the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gis.errors import CodeInvalid, ConfigInvalid, OptionInvalid, TableInvalid
from gis.workspace import CitationSource, Flows, TableSource, Workspace

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from gis.grid import Zones
    from gis.panel.citations import CitationFlows
    from gis.panel.flows import FlowTable

T = TypeVar("T")

CODE_COLUMNS = ("city_code", "district_code", "src", "dst", "city_i", "city_j", "city_a", "city_b", "postcode", "hs2")
"""Columns that are text though they look like numbers."""


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
    files: dict[str, Path] = field(default_factory=dict)
    """Role -> file, of everything read: for the lineage."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the results must know, one sentence each."""

    def table(self, relative: str, role: str) -> pd.DataFrame:
        """Read a CSV or Parquet file; codes are text."""
        path = self.place.path(relative)
        self.files[role] = path
        return read_any(path, role)

    def kwargs(self, source: TableSource, frame: pd.DataFrame, columns: Iterable[str] = ("city_code",)) -> dict:  # type: ignore[type-arg]
        """What functions of ``gis.panel`` that take a city-level table are told of it."""
        path = self.place.path(source.file)
        found = {str(c) for name in columns if name in frame for c in frame[name].dropna().unique()}
        recode = self.recode(found, source.vintage, path) if source.vintage is not None else None
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
            self.notes.append(
                f"{path.name}: no flow at all in {', '.join(map(str, gaps))}: taken for unknown, not for 0"
            )
        return table

    def citations(self, source: CitationSource) -> CitationFlows:
        """Flows counted from patents and citations."""
        from gis.panel.citations import flows_from_citations
        from gis.panel.patents import patents_from_table

        path, citations = self.place.path(source.patents), self.place.path(source.citations)
        self.files |= {"patents": path, "citations": citations}
        names = source.columns.model_dump()
        year = {"application": "year"}.get(source.date, f"{source.date}_year")
        patents = read_columns(path, names, PATENT_COLUMNS, source.encoding, "flows.citations.patents")
        places = self._places(patents, source, path)
        # A fractional count needs all places of a patent, and so does a full one.
        table = patents_from_table(patents, places, self.codes, multi=source.multi, year=year, where=path)
        del patents
        batches = stream_columns(citations, names, ("citing", "cited"), source.encoding, "flows.citations.citations")
        return flows_from_citations(
            table, batches, multi=source.multi, repeated=source.repeated, cited=source.cited, scratch=self._scratch()
        )

    def _scratch(self) -> Path:
        self.place.cache.mkdir(parents=True, exist_ok=True)
        return self.place.cache

    def _places(self, patents: pa.Table, source: CitationSource, path: Path) -> NDArray[np.int32]:
        """Place of every patent row: its code, else its postcode, else its point."""
        from gis.boundaries import city_of
        from gis.panel.patents import NOWHERE, places_from_codes, places_from_points, places_from_postcodes

        parent = city_of if self.level == "city" else None
        out = np.full(patents.num_rows, NOWHERE, np.int32)
        there = set(patents.column_names)
        if not there & {"city_code", "postcode", "lon"}:
            raise TableInvalid(
                f"the patents have no place among {', '.join(patents.column_names)}",
                where=path,
                mend="give city_code, postcode (with flows.citations.postcodes), or lon and lat",
            )
        if "city_code" in there:
            recode: dict[str, str] = {}
            if source.vintage is not None:
                found = {str(c) for c in patents["city_code"].unique().to_pylist() if c is not None}
                recode = self._recode_addresses(found, source.vintage, path)
            out = places_from_codes(patents, "city_code", self.codes, recode=recode, parent=parent)
        if "postcode" in there and source.postcodes:
            found_here = places_from_postcodes(patents, "postcode", self._postcodes(source.postcodes))
            out = np.where(out == NOWHERE, found_here, out)
        if {"lon", "lat"} <= there:
            lon, lat = (
                np.asarray(patents[n].cast("float64").to_pandas().to_numpy(), np.float64) for n in ("lon", "lat")
            )
            lost = out == NOWHERE
            lon, lat = np.where(lost, lon, np.nan), np.where(lost, lat, np.nan)
            out = np.where(lost, places_from_points(lon, lat, self.zones(), self.codes), out)
        return out.astype(np.int32)

    def _recode_addresses(self, codes: set[str], vintage: str | int, where: object) -> dict[str, str]:
        """Codes of addresses, of cities and of counties, to the codes they have in the panel's vintage."""
        from gis.boundaries.lineage import follow, year_of_vintage

        out = self.recode(codes, vintage, where, additive=True)
        old, new = year_of_vintage(str(vintage)), year_of_vintage(self.vintage)
        for code in codes - out.keys():
            after = follow(code, old, new, "district") if old != new else None
            if after is not None and after != code:
                out[code] = after
        return out

    def _postcodes(self, relative: str) -> dict[str, int]:
        from gis.panel.covariates import city_positions
        from gis.panel.patents import OUTSIDE
        from gis.panel.rows import need

        frame, path = self.table(relative, "postcodes"), self.place.path(relative)
        need(frame, ("postcode", "city_code"), "the postcodes", path)
        at = city_positions(frame["city_code"], self.codes, drop_unknown=True, where=path)
        texts = frame["postcode"].astype("string").str.strip()
        return {str(t): int(k) if k >= 0 else OUTSIDE for t, k in zip(texts, at, strict=True)}

    def zones(self) -> Zones:
        """Polygons of the run."""
        from gis.export.parquet import read_units

        return read_units(self.place.out / f"units_{self.level}.parquet")


PATENT_COLUMNS = (
    "application", "year", "publication_year", "grant_year", "type", "stage", "applicant_no", "city_code", "postcode",
    "lon", "lat", "is_digital",
)  # fmt: skip


def _span(flows: pd.DataFrame) -> tuple[int, int] | None:
    """Citations cover every year from the first to the last that has any."""
    return (int(flows["year"].min()), int(flows["year"].max())) if len(flows) else None


def read_any(path: Path, role: str) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Raises
    ------
    TableInvalid
        The file is missing or is no table.
    """
    import pandas as pd

    if not path.is_file():
        raise TableInvalid("there is no such table", where=path, mend=f"correct the path of {role}")
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, dtype=dict.fromkeys(CODE_COLUMNS, str), encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise TableInvalid(
            f"the table cannot be read: {error}", where=path, mend="give CSV in UTF-8, or Parquet"
        ) from error
    texts = [c for c in CODE_COLUMNS if c in frame]
    return frame.astype(dict.fromkeys(texts, "string")).astype(dict.fromkeys(texts, object))


def read_columns(path: Path, names: dict[str, Any], wanted: tuple[str, ...], encoding: str, role: str) -> pa.Table:
    """Read some columns of a large CSV or Parquet file under our names; those that are not there are left out."""
    import pyarrow as pa

    tables = list(stream_columns(path, names, wanted, encoding, role))
    if not tables:
        raise TableInvalid("the table is empty", where=path, mend=f"correct the path of {role}")
    return pa.concat_tables(tables)


def stream_columns(
    path: Path, names: dict[str, Any], wanted: tuple[str, ...], encoding: str, role: str
) -> Iterator[pa.Table]:
    """Read the same batch by batch; text is not interpreted, so that no code loses its zeros.

    Raises
    ------
    TableInvalid
        The file is missing or is no table, or a column that the config names is not in it.
    """
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise TableInvalid("there is no such table", where=path, mend=f"correct the path of {role}")
    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            chosen = _chosen(file.schema_arrow.names, names, wanted, path)
            for batch in file.iter_batches(columns=list(chosen), batch_size=1_000_000):
                yield pa.table([batch[c] for c in chosen], names=list(chosen.values()))
            return
        with path.open("rb") as stream:
            header = stream.readline().decode(encoding).lstrip("\ufeff").strip()
        columns = [c.strip().strip('"') for c in header.split(",")]
        chosen = _chosen(columns, names, wanted, path)
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(encoding=encoding, column_names=columns, skip_rows=1, block_size=1 << 24),
            convert_options=csv.ConvertOptions(
                include_columns=list(chosen), column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True
            ),
        )
        for batch in reader:
            yield pa.table([batch[c] for c in chosen], names=list(chosen.values()))
    except (pa.ArrowInvalid, UnicodeDecodeError, LookupError) as error:
        raise TableInvalid(
            f"the table cannot be read: {error}",
            where=path,
            mend=f"give CSV in {encoding} (flows.citations.encoding), or Parquet",
        ) from error


def _chosen(there: list[str], names: dict[str, Any], wanted: tuple[str, ...], path: Path) -> dict[str, str]:
    """Column of the file -> our name."""
    out: dict[str, str] = {}
    for ours in wanted:
        theirs = names.get(ours)
        if theirs is not None and theirs not in there:
            raise TableInvalid(
                f"there is no column {theirs} among {', '.join(there)}",
                where=path,
                mend=f"correct flows.citations.columns.{ours}",
            )
        column = theirs or ours
        if column in there:
            out[column] = ours
    return out
