"""Results in the formats people open: GeoPackage, GeoParquet, Parquet, CSV; lineage and summary of a run.

In: the ``out/`` folder of a finished run (Parquet tables and units). Out: files beside them, each written atomically.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import NotBuilt, OptionInvalid, TableInvalid
from gis.tables import (
    CITY_YEAR,
    DISTRICT_YEAR,
    PAIR_PANEL,
    PAIR_YEAR,
    TABLES,
    Table,
    atomic_path,
    read_table,
    table_of_file,
)

if TYPE_CHECKING:
    import pandas as pd

    from gis.grid import Zones

UNITS = {"city": "units_city.parquet", "district": "units_district.parquet"}
"""Where a run keeps the polygons of each layer, under ``out/``."""

DISTRICT_PAIRS = "district_pair_year"
"""File name of the panel of district pairs, where one was asked for; columns of ``pair_year``."""

INSTEAD = {
    "dta": "export to csv; in Stata: import delimited city_year.csv, encoding(UTF-8) case(preserve)",
    "xlsx": "export to csv: the files begin with a byte order mark, so that Excel opens them with Chinese names intact",
    "shp": "export to gpkg: a Shapefile cuts column names to ten characters",
}
"""Formats that are asked for and not built, with what to use instead."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export may be told."""

    crs: Any = "ESRI:102027"
    """CRS of maps: ESRI:102027 or EPSG:4326."""
    pair_lines: bool = False
    """Whether maps get the pairs of the latest year as lines."""
    pair_limit: int | None = None
    """Draw only that many pairs, those with the highest ``bal``."""
    bom: bool = True
    """Whether CSV files begin with a byte order mark, for Excel."""
    metadata: dict[str, Any] | None = None
    """Provenance for the GeoPackage."""


def export(
    out: str | Path, to: str, *, folder: str | Path | None = None, options: ExportOptions | None = None
) -> tuple[Path, ...]:
    """Write the results of a finished run in another format.

    Parameters
    ----------
    out : path
        The ``out/`` folder of a workspace.
    to : ``"gpkg"``, ``"geoparquet"``, ``"parquet"`` or ``"csv"``
    folder : path, optional
        Where the files go; default: a folder of ``out`` with the format's name.

    Returns
    -------
    tuple of Path
        The files written: one GeoPackage, or one file per layer or table; CSV and Parquet come with
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
    out = Path(out)
    if not _tables_in(out):
        raise TableInvalid("there are no tables of a run here", where=out, mend="lightpanel run")
    return FORMATS[name](out, Path(folder) if folder else out / name, options or ExportOptions())


def _tables_in(out: Path) -> list[tuple[Table, Path]]:
    """The tables a run has left, in the order of ``TABLES``: a workspace without districts has no district table."""
    stems = [(t, t.name) for t in TABLES.values()]
    stems += [(PAIR_YEAR, DISTRICT_PAIRS), (PAIR_PANEL, "district_pair_panel"), (PAIR_YEAR, "within_city_pair_year")]
    found = [(t, out / f"{stem}.parquet") for t, stem in stems]
    # A panel holds the columns that were configured, and a workspace's own.
    return [(table_of_file(t, path), path) for t, path in found if path.is_file()]


def _dictionary(found: list[tuple[Table, Path]], folder: Path, options: ExportOptions) -> Path:
    from gis.export.csv_tables import write_dictionary

    tables = {t.name: t for t, _ in found}  # two files may share one declaration
    return write_dictionary(folder / "dictionary.csv", tables.values(), bom=options.bom)


def _to_csv(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.csv_tables import write_csv

    found = _tables_in(out)
    written = [write_csv(t, path, folder / f"{path.stem}.csv", bom=options.bom) for t, path in found]
    return (*written, _dictionary(found, folder, options))


def _to_parquet(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    found = _tables_in(out)
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


def _pairs(out: Path, options: ExportOptions) -> pd.DataFrame | None:
    """The latest year of the pair panel, read alone: the whole panel is a hundred times larger."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not options.pair_lines:
        return None
    path = out / f"{PAIR_YEAR.name}.parquet"
    if not path.is_file():
        raise TableInvalid(
            "there is no table pair_year", where=path, mend="lightpanel run, or leave the pair lines out"
        )
    latest = pc.max(pq.read_table(path, columns=["year"])["year"]).as_py()
    return pq.read_table(path, filters=[("year", "=", latest)]).to_pandas()


def _to_gpkg(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.geopackage import write_geopackage

    cities, city_year = _units(out, "city", CITY_YEAR)
    districts, district_year = _units(out, "district", DISTRICT_YEAR)
    path = write_geopackage(
        folder / "lightpanel.gpkg",
        cities=cities,
        city_year=city_year,
        districts=districts,
        district_year=district_year,
        pairs=_pairs(out, options),
        pair_limit=options.pair_limit,
        crs=options.crs,
        metadata=options.metadata,
    )
    return (path,)


def _to_geoparquet(out: Path, folder: Path, options: ExportOptions) -> tuple[Path, ...]:
    from gis.export.layers import output_crs, pair_lines, unit_layer
    from gis.export.parquet import write_geoparquet

    crs = output_crs(options.crs)
    layers, cities = [], None
    for kind, table in (("city", CITY_YEAR), ("district", DISTRICT_YEAR)):
        zones, frame = _units(out, kind, table)
        if zones is not None and frame is not None:
            layers.append(unit_layer(kind, zones, frame, crs))
            cities = zones if kind == "city" else cities
    pairs = _pairs(out, options)
    if pairs is not None and cities is not None:
        layers.append(pair_lines(pairs, cities, crs, options.pair_limit))
    return tuple(write_geoparquet(layer, folder / f"{layer.name}.parquet") for layer in layers)


FORMATS: dict[str, Callable[[Path, Path, ExportOptions], tuple[Path, ...]]] = {
    "gpkg": _to_gpkg,
    "geoparquet": _to_geoparquet,
    "parquet": _to_parquet,
    "csv": _to_csv,
}
"""Formats on offer."""
