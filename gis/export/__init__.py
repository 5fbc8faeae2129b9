"""Results in the formats people open: GeoPackage, GeoParquet, Parquet, CSV, Stata, Excel; lineage and summary.

In: the ``out/`` folder of a finished run (Parquet tables and units). Out: files beside them, each written atomically.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import NotBuilt, OptionInvalid, TableInvalid
from gis.tables import (
    CITY_YEAR,
    DISTRICT_YEAR,
    PAIR_YEAR,
    TABLES,
    Table,
    atomic_path,
    read_table,
    table_of_file,
)

if TYPE_CHECKING:
    import pandas as pd

    from gis.export.layers import PairChoice
    from gis.grid import Zones

UNITS = {"city": "units_city.parquet", "district": "units_district.parquet"}
"""Where a run keeps the polygons of each layer, under ``out/``."""

MAP = "lightpanel_export.gpkg"
"""Its own name: ``lightpanel.gpkg`` is the run's, whose checksum stands in ``lineage.json``."""

INSTEAD = {
    "shp": "export to gpkg: a Shapefile cuts column names to ten characters",
}
"""Formats that are asked for and not built, with what to use instead."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export may be told."""

    crs: Any = "ESRI:102027"
    """CRS of maps: ESRI:102027 or EPSG:4326."""
    pair_lines: bool = False
    """Whether maps get pairs as lines."""
    pair_years: tuple[int, ...] = ()
    """Years of the lines; none: the latest."""
    pair_by: str = "bal"
    """Column of ``pair_year`` or ``pair_panel`` that lines are ranked and coloured by."""
    pair_top: int | None = None
    """Draw only that many pairs of each year, those highest in ``pair_by``; None: all."""
    bom: bool = True
    """Whether CSV files begin with a byte order mark, for Excel."""
    tables: tuple[str, ...] = ()
    """Tables to write, by their file names; none: all of the run. Maps are not made of single tables."""
    metadata: dict[str, Any] | None = None
    """Provenance for the GeoPackage; default: that of the run's tables."""


def export(
    out: str | Path, to: str, *, folder: str | Path | None = None, options: ExportOptions | None = None
) -> tuple[Path, ...]:
    """Write the results of a finished run in another format.

    Parameters
    ----------
    out : path
        The ``out/`` folder of a workspace.
    to : ``"gpkg"``, ``"geoparquet"``, ``"parquet"``, ``"csv"``, ``"dta"`` or ``"xlsx"``
    folder : path, optional
        Where the files go; default: a folder of ``out`` with the format's name.

    Returns
    -------
    tuple of Path
        The files written: one GeoPackage with a table ``dictionary``, or one file per layer or table and
        ``dictionary.csv``.

    Raises
    ------
    NotBuilt
        The format is known but not built; the mend line names what to use instead.
    OptionInvalid
        The format is unknown.
    TableInvalid, BoundaryUnreadable
        There is no finished run in ``out``.
    """
    name = to.lower().lstrip(".")
    if name in INSTEAD:
        raise NotBuilt(f"export to {name} is not built", where=f"--to {to}", mend=INSTEAD[name])
    if name not in FORMATS:
        raise OptionInvalid(f"no format {to!r}", where=f"--to {to}", mend=f"one of {', '.join(FORMATS)}")
    if options and options.tables and name in ("gpkg", "geoparquet"):
        raise OptionInvalid(
            "a map is made of all layers of a run", where=f"--to {to}", mend="leave --table out, or export to csv"
        )
    out = Path(out)
    if not _tables_in(out):
        raise TableInvalid("there are no tables of a run here", where=out, mend="lightpanel run")
    return FORMATS[name](out, Path(folder) if folder else out / name, options or ExportOptions())


def _tables_in(out: Path) -> list[tuple[Table, Path]]:
    """The tables a run has left, in the order of ``TABLES``: a workspace without districts has no district table."""
    from gis.export.codebook import files_of

    found = [(t, out / f"{stem}.parquet") for t in TABLES.values() for stem in files_of(t)]
    # A panel holds the columns that were configured, and a workspace's own.
    return [(table_of_file(t, path), path) for t, path in found if path.is_file()]


def _chosen(out: Path, options: ExportOptions) -> list[tuple[Table, Path]]:
    """The tables of a run that are asked for: all, or those named."""
    found = _tables_in(out)
    stems = [path.stem for _, path in found]
    strange = [name for name in options.tables if name not in stems]
    if strange:
        raise OptionInvalid(f"the run has no table {', '.join(strange)}", where=out, mend=f"one of {', '.join(stems)}")
    return [(t, path) for t, path in found if not options.tables or path.stem in options.tables]


def _dictionary(found: list[tuple[Table, Path]], folder: Path, options: ExportOptions) -> Path:
    from gis.export.codebook import write_dictionary

    # By file: a panel of district pairs has other columns than that of cities, and one declaration.
    files = [replace(table, name=path.stem) for table, path in found]
    return write_dictionary(folder / "dictionary.csv", files, bom=options.bom)


def _to_csv(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.csv_tables import write_csv
    from gis.export.scripts import write_r

    found = _chosen(out, options)
    written = [write_csv(t, path, folder / f"{path.stem}.csv", bom=options.bom) for t, path in found]
    script = write_r(found, out, folder)
    return (*written, _dictionary(found, folder, options), *([script] if script else []))


def _to_dta(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.scripts import write_do
    from gis.export.stata import write_dta

    found = _chosen(out, options)
    written = [write_dta(t, path, folder / f"{path.stem}.dta") for t, path in found]
    return (*written, _dictionary(found, folder, options), write_do(found, out, folder))


def _to_xlsx(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.excel import check_sheets, write_xlsx

    found = _chosen(out, options)
    check_sheets(found)
    return tuple(write_xlsx(t, path, folder / f"{path.stem}.xlsx") for t, path in found)


def _to_parquet(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    found = _chosen(out, options)
    written = []
    for _, path in found:
        target = folder / path.name
        if target.resolve() != path.resolve():
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
        written.append(target)
    return (*written, _dictionary(found, folder, options))


def _units(out: Path, kind: str, table: Table) -> tuple[Zones | None, pd.DataFrame | None]:
    from gis.export.parquet import read_units

    path = out / f"{table.name}.parquet"
    if not path.is_file():
        return None, None
    return read_units(out / UNITS[kind]), read_table(table, path)


def _pairs(out: Path, options: ExportOptions) -> tuple[pd.DataFrame | None, Table, PairChoice]:
    from gis.export.layers import PairChoice
    from gis.export.parquet import read_pairs

    choice = PairChoice(tuple(options.pair_years), options.pair_by, options.pair_top)
    return (*read_pairs(out, choice), choice) if options.pair_lines else (None, PAIR_YEAR, choice)


def _provenance(out: Path) -> dict[str, Any]:
    """What the run wrote into its tables, as its own GeoPackage has it."""
    import pyarrow.parquet as pq

    path = next(out / f"{t.name}.parquet" for t in (CITY_YEAR, DISTRICT_YEAR) if (out / f"{t.name}.parquet").is_file())
    found = (pq.read_schema(path).metadata or {}).get(b"lightpanel", b"{}")
    return {**json.loads(found), "lineage": "lineage.json"}


def _to_gpkg(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.geopackage import write_geopackage

    cities, city_year = _units(out, "city", CITY_YEAR)
    districts, district_year = _units(out, "district", DISTRICT_YEAR)
    pairs, pair_table, choice = _pairs(out, options)
    path = write_geopackage(
        folder / MAP,
        cities=cities,
        city_year=city_year,
        districts=districts,
        district_year=district_year,
        pairs=pairs,
        pair_choice=choice,
        pair_table=pair_table,
        crs=options.crs,
        metadata=options.metadata or _provenance(out),
    )
    return (path,)


def _to_geoparquet(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.codebook import write_dictionary
    from gis.export.layers import output_crs, pair_lines, unit_layer
    from gis.export.parquet import write_geoparquet

    crs = output_crs(options.crs)
    layers, cities = [], None
    for kind, table in (("city", CITY_YEAR), ("district", DISTRICT_YEAR)):
        zones, frame = _units(out, kind, table)
        if zones is not None and frame is not None:
            layers.append(unit_layer(kind, zones, frame, crs))
            cities = zones if kind == "city" else cities
    pairs, pair_table, choice = _pairs(out, options)
    if pairs is not None and cities is not None:
        layers.append(pair_lines(pairs, cities, crs, choice, pair_table))
    written = tuple(write_geoparquet(layer, folder / f"{layer.name}.parquet") for layer in layers)
    return (*written, write_dictionary(folder / "dictionary.csv", (x.declaration for x in layers), bom=options.bom))


FORMATS: dict[str, Callable[[Path, Path, ExportOptions], tuple[Path, ...]]] = {
    "gpkg": _to_gpkg,
    "geoparquet": _to_geoparquet,
    "parquet": _to_parquet,
    "csv": _to_csv,
    "dta": _to_dta,
    "xlsx": _to_xlsx,
}
"""Formats on offer."""
