"""Patents and citations from files of any size to flows, in bounded memory.

In: the files of ``[flows.citations]``, read batch by batch. Out: ``CitationFlows``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.workspace import CitationSource

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from gis.grid import Zones
    from gis.panel.citations import CitationFlows
    from gis.pipeline.panel_inputs import PanelInputs

PATENT_COLUMNS = (
    "application", "year", "publication_year", "grant_year", "type", "stage", "applicant_no", "city_code", "postcode",
    "lon", "lat", "is_digital",
)  # fmt: skip
ROWS_AT_ONCE = 1_000_000
"""Rows of a Parquet file in a batch; CSV comes in blocks of 16 MB."""


def count_citations(inputs: PanelInputs, source: CitationSource) -> CitationFlows:
    """Flows between the units of the roster, counted from patents and citations (METHOD 4.2).

    Raises
    ------
    TableInvalid
        A file is missing, is no table, lacks a column, or has a row that cannot be read.
    """
    from gis.panel.citations import flows_from_citations
    from gis.panel.patents import patents_from_batches

    path, citations = inputs.place.path(source.patents), inputs.place.path(source.citations)
    inputs.files |= {"patents": path, "citations": citations}
    names = source.columns.model_dump()
    year = {"application": "year"}.get(source.date, f"{source.date}_year")
    inputs.place.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lightpanel-", dir=inputs.place.cache) as scratch:
        places = _Places(inputs, source, path)
        batches = stream_columns(path, names, PATENT_COLUMNS, source.encoding, "flows.citations.patents")
        # A fractional count needs all places of a patent, and so does a full one.
        patents = patents_from_batches(
            ((batch, places.of(batch)) for batch in batches),
            inputs.codes, Path(scratch), multi=source.multi, year=year, where=path,
        )  # fmt: skip
        if not patents.n_records:
            raise TableInvalid("the table is empty", where=path, mend="correct the path of flows.citations.patents")
        stream = stream_columns(citations, names, ("citing", "cited"), source.encoding, "flows.citations.citations")
        return flows_from_citations(
            patents, stream, multi=source.multi, repeated=source.repeated, cited=source.cited, scratch=Path(scratch)
        )


class _Places:
    """Finds the place of patents, batch by batch: by code, else by postcode, else by point."""

    def __init__(self, inputs: PanelInputs, source: CitationSource, path: Path) -> None:
        self.inputs, self.source, self.path = inputs, source, path
        self.areas = self._postcodes(source.postcodes) if source.postcodes else None
        self.zones: Zones | None = None
        self.recode: dict[str, str] = {}
        self.seen: set[str] = set()

    def of(self, patents: pa.Table) -> NDArray[np.int32]:
        """(n_rows,) position in the roster, NOWHERE or OUTSIDE."""
        from gis.boundaries import city_of
        from gis.panel.patents import NOWHERE, places_from_codes, places_from_points, places_from_postcodes

        parent = city_of if self.inputs.level == "city" else None
        out = np.full(patents.num_rows, NOWHERE, np.int32)
        there = set(patents.column_names)
        if not there & {"city_code", "postcode", "lon"}:
            raise TableInvalid(
                f"the patents have no place among {', '.join(patents.column_names)}",
                where=self.path,
                mend="give city_code, postcode (with flows.citations.postcodes), or lon and lat",
            )
        if "city_code" in there:
            self._learn({str(c) for c in patents["city_code"].unique().to_pylist() if c is not None})
            out = places_from_codes(patents, "city_code", self.inputs.codes, recode=self.recode, parent=parent)
        if "postcode" in there and self.areas is not None:
            out = np.where(out == NOWHERE, places_from_postcodes(patents, "postcode", self.areas), out)
        if {"lon", "lat"} <= there and (lost := out == NOWHERE).any():
            lon, lat = (np.where(lost, self._degrees(patents, n), np.nan) for n in ("lon", "lat"))
            self.zones = self.zones or self.inputs.zones()
            out = np.where(lost, places_from_points(lon, lat, self.zones, self.inputs.codes), out)
        return out.astype(np.int32)

    def _degrees(self, patents: pa.Table, name: str) -> NDArray[np.float64]:
        return np.asarray(patents[name].cast("float64").to_pandas().to_numpy(), np.float64)

    def _learn(self, codes: set[str]) -> None:
        """Codes of addresses, of cities and of counties, to the codes they have in the panel's vintage."""
        from gis.boundaries.lineage import follow, year_of_vintage

        vintage, new = self.source.vintage, codes - self.seen
        self.seen |= new
        if vintage is None or not new:
            return
        self.recode |= self.inputs.recode(new, vintage, self.path, additive=True)
        old, now = year_of_vintage(str(vintage)), year_of_vintage(self.inputs.vintage)
        for code in new - self.recode.keys():
            after = follow(code, old, now, "district") if old != now else None
            if after is not None and after != code:
                self.recode[code] = after

    def _postcodes(self, relative: str) -> dict[str, int]:
        from gis.panel.covariates import city_positions
        from gis.panel.patents import OUTSIDE
        from gis.panel.rows import need

        frame, path = self.inputs.table(relative, "postcodes"), self.inputs.place.path(relative)
        need(frame, ("postcode", "city_code"), "the postcodes", path)
        at = city_positions(frame["city_code"], self.inputs.codes, drop_unknown=True, where=path)
        texts = frame["postcode"].astype("string").str.strip()
        return {str(t): int(k) if k >= 0 else OUTSIDE for t, k in zip(texts, at, strict=True)}


def stream_columns(
    path: Path, names: dict[str, Any], wanted: tuple[str, ...], encoding: str, role: str
) -> Iterator[pa.Table]:
    """Read some columns of a large CSV or Parquet file under our names, batch by batch; those not there are left out.

    Text is not interpreted, so that no code loses its zeros.

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
            for batch in file.iter_batches(columns=list(chosen), batch_size=ROWS_AT_ONCE):
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
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError, LookupError) as error:
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
