"""One GeoPackage for QGIS and ArcGIS: units, their years as a map that stores each polygon once, and pair lines.

In: ``Zones`` and tables of ``gis.tables`` as DataFrames. Out: a file with the layers

- ``city``, ``district``: one feature per unit, the latest year in full and the level of every year (``level_YYYY``);
- ``city_year_data``, ``district_year_data``: all years, attributes only;
- ``city_year``, ``district_year``: the same with the unit's polygon, as spatial views;
- ``pair_lines``, where pairs are given: geodesics between the cities of the pairs chosen;
- ``dictionary``: every column of every layer with its type, unit and meaning.

GDAL writes tables, geometry, spatial reference systems and spatial indexes; what it has no option for (views, column
labels, provenance, styles) is written here, after the GeoPackage standard and GDAL's page on spatial views.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid, WriteFailed
from gis.export.codebook import UNIT_FID, dictionary_table
from gis.export.layers import Layer, PairChoice, output_crs, pair_lines, unit_layer, unit_table
from gis.export.qgis import add_style, graduated_qml, quantile_limits
from gis.tables import COLUMNS, PAIR_YEAR, Column, Table, arrow_from_frame, atomic_path, check

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from gis.grid import Zones

GEOMETRY = "geom"
"""Name of the geometry column, the one of the standard's examples."""

VERSION = "1.3"
"""GeoPackage version: 1.4 changes nothing we use and makes GDAL before 3.7 warn."""

DICTIONARY = "dictionary"
"""Name of the table with the codebook."""

PROVENANCE_URI = "urn:lightpanel:provenance"
"""``md_standard_uri`` of the JSON in ``gpkg_metadata``."""

# GeoPackage 1.3, extensions Schema and Metadata: the definitions of their tables.
EXTENSION_TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_extensions (
    table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL,
    CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name)
);
CREATE TABLE gpkg_data_columns (
    table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, description TEXT, mime_type TEXT,
    constraint_name TEXT,
    CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name), CONSTRAINT gdc_tn UNIQUE (table_name, name)
);
CREATE TABLE gpkg_data_column_constraints (
    constraint_name TEXT NOT NULL, constraint_type TEXT NOT NULL, value TEXT, min NUMERIC, min_is_inclusive BOOLEAN,
    max NUMERIC, max_is_inclusive BOOLEAN, description TEXT,
    CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value)
);
CREATE TABLE gpkg_metadata (
    id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL, md_scope TEXT NOT NULL DEFAULT 'dataset',
    md_standard_uri TEXT NOT NULL, mime_type TEXT NOT NULL DEFAULT 'text/xml', metadata TEXT NOT NULL DEFAULT ''
);
CREATE TABLE gpkg_metadata_reference (
    reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT, row_id_value INTEGER,
    timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    md_file_id INTEGER NOT NULL, md_parent_id INTEGER,
    CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
    CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id)
);
INSERT INTO gpkg_extensions VALUES
    ('gpkg_data_columns', NULL, 'gpkg_schema', 'http://www.geopackage.org/spec121/#extension_schema', 'read-write'),
    ('gpkg_data_column_constraints', NULL, 'gpkg_schema',
     'http://www.geopackage.org/spec121/#extension_schema', 'read-write'),
    ('gpkg_metadata', NULL, 'gpkg_metadata', 'http://www.geopackage.org/spec121/#extension_metadata', 'read-write'),
    ('gpkg_metadata_reference', NULL, 'gpkg_metadata',
     'http://www.geopackage.org/spec121/#extension_metadata', 'read-write');
"""


def write_geopackage(
    path: str | Path,
    *,
    cities: Zones | None,
    city_year: pd.DataFrame | None,
    districts: Zones | None,
    district_year: pd.DataFrame | None,
    pairs: pd.DataFrame | None = None,
    pair_choice: PairChoice | None = None,
    pair_table: Table = PAIR_YEAR,
    crs: Any = "ESRI:102027",
    metadata: dict[str, Any] | None = None,
) -> Path:
    """Write units, their years and pair lines into one GeoPackage, atomically.

    Parameters
    ----------
    cities, city_year : Zones and DataFrame with the columns of ``gis.tables.CITY_YEAR``
        Both or neither; the same for ``districts`` and ``district_year``.
    pairs : DataFrame with the columns of ``pair_table``, optional
        Drawn as lines; needs ``cities``.
    pair_choice : PairChoice, optional
        Which of them; default: all of the latest year.
    crs : ``"ESRI:102027"`` or ``"EPSG:4326"``
        CRS of all geometry; edges are densified before they are carried over.
    metadata : dict, optional
        Provenance, stored as JSON in ``gpkg_metadata``.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    OptionInvalid
        Zones without their table or a table without its zones; nothing to write; see `pair_lines`.
    CrsInvalid
        ``crs`` is not offered.
    TableInvalid
        A table misses a column, repeats a key, is empty, or has a unit without a polygon.
    WriteFailed
        The disk is full, or another program has the old file open; the old file is untouched.
    """
    path = Path(path)
    crs = output_crs(crs)
    units = _complete_units(("city", cities, city_year), ("district", districts, district_year))
    if not units:
        raise OptionInvalid("there is no layer to write", where=path, mend="give cities and city_year, or districts")
    if pairs is not None and cities is None:
        raise OptionInvalid("pair lines need the cities' polygons", where=path, mend="give cities and city_year")
    _not_open_elsewhere(path)

    layers: list[Layer] = []
    years: list[tuple[Table, pa.Table]] = []
    for kind, zones, frame in units:
        table = unit_table(kind)
        layers.append(unit_layer(kind, zones, frame, crs))
        years.append((table, arrow_from_frame(table, check(table, frame).sort_values(list(table.key)))))
    if pairs is not None and cities is not None:
        layers.append(pair_lines(pairs, cities, crs, pair_choice, pair_table))

    with atomic_path(path) as temporary, _as_write_failed(path):
        for layer in layers:
            _write_features(temporary, layer)
        for table, arrow in years:
            _write_attributes(temporary, f"{table.name}_data", table.title, arrow)
        book = dictionary_table([*(layer.declaration for layer in layers), *_year_declarations(years)])
        _write_attributes(temporary, DICTIONARY, "Every column of every layer: type, unit, meaning", book)
        with closing(sqlite3.connect(temporary)) as db, db:
            db.executescript(EXTENSION_TABLES)
            for layer in layers:
                _label_columns(db, layer.name, layer.columns)
                _style_layer(db, layer)
            for table, arrow in years:
                _add_view(db, table)
                _style_view(db, table, arrow)
            _add_metadata(db, metadata or {})
    return path


def _complete_units(
    *given: tuple[str, Zones | None, pd.DataFrame | None],
) -> list[tuple[str, Zones, pd.DataFrame]]:
    units = []
    for kind, zones, frame in given:
        if zones is not None and frame is not None:
            units.append((kind, zones, frame))
        elif zones is not None or frame is not None:
            lacks = "table" if frame is None else "polygons"
            raise OptionInvalid(
                f"the {kind} layer comes without its {lacks}", mend=f"give both {kind} polygons and table, or neither"
            )
    return units


def _not_open_elsewhere(path: Path) -> None:
    # A write-ahead log beside the file belongs to its old content; SQLite would play it into the new file.
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise WriteFailed(
            f"{path.name} is open in another program",
            where=log,
            mend="close it there (QGIS: remove its layers from the project), then retry",
        )


@contextmanager
def _as_write_failed(path: Path) -> Iterator[None]:
    """Turn what GDAL and SQLite raise when a disk is full into the error this package promises."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    try:
        yield
    except (sqlite3.OperationalError, DataLayerError, DataSourceError, FeatureError) as error:
        raise WriteFailed(
            f"could not finish writing: {error}", where=path, mend="free some space; what stood there is untouched"
        ) from error


def _write_features(path: Path, layer: Layer) -> None:
    import pyarrow as pa
    import pyogrio
    import shapely

    wkb = pa.array(shapely.to_wkb(layer.geometry, flavor="iso"), pa.binary())
    pyogrio.write_arrow(
        layer.table.replace_schema_metadata(None).append_column(GEOMETRY, wkb),
        path,
        layer=layer.name,
        driver="GPKG",
        geometry_name=GEOMETRY,
        geometry_type=layer.geometry_type,
        crs=layer.crs,
        append=path.exists(),
        dataset_options=None if path.exists() else {"VERSION": VERSION},
        layer_options={"GEOMETRY_NAME": GEOMETRY, "SPATIAL_INDEX": "YES", "DESCRIPTION": layer.title},
    )


def _year_declarations(years: list[tuple[Table, pa.Table]]) -> list[Table]:
    """What the codebook says of all years: the rows, and the same with polygons."""
    found = []
    for table, _ in years:
        found.append(replace(table, name=f"{table.name}_data"))
        found.append(replace(table, columns=(UNIT_FID.name, *table.columns), own=(UNIT_FID,)))
    return found


def _write_attributes(path: Path, name: str, title: str, arrow: pa.Table) -> None:
    import pyogrio

    pyogrio.write_arrow(
        arrow.replace_schema_metadata(None),
        path,
        layer=name,
        driver="GPKG",
        append=True,
        layer_options={"DESCRIPTION": title},
    )


def _add_view(db: sqlite3.Connection, table: Table) -> None:
    """Join every year to its unit's polygon, and register the result as a feature layer.

    The first column is an integer that is unique in the view and is called OGC_FID, which GDAL takes for the feature
    id (GDAL, GeoPackage driver, Spatial views).
    """
    kind = table.name.removesuffix("_year")
    code, data = f"{kind}_code", f"{table.name}_data"
    columns = ", ".join(f'd."{c}"' for c in table.columns)
    db.execute(f'CREATE UNIQUE INDEX "idx_{kind}_code" ON "{kind}" ("{code}")')
    db.execute(f'CREATE UNIQUE INDEX "idx_{data}_key" ON "{data}" ({", ".join(table.key)})')
    db.execute(
        f'CREATE VIEW "{table.name}" AS SELECT d.fid AS OGC_FID, u.fid AS {UNIT_FID.name}, u.{GEOMETRY} AS {GEOMETRY}, '
        f'{columns} FROM "{data}" AS d JOIN "{kind}" AS u ON u."{code}" = d."{code}"'
    )
    db.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, min_x, min_y, max_x, max_y, srs_id)"
        " SELECT ?, 'features', ?, ?, min_x, min_y, max_x, max_y, srs_id FROM gpkg_contents WHERE table_name = ?",
        (table.name, table.name, table.title, kind),
    )
    db.execute(
        "INSERT INTO gpkg_geometry_columns (table_name, column_name, geometry_type_name, srs_id, z, m)"
        " SELECT ?, column_name, geometry_type_name, srs_id, z, m FROM gpkg_geometry_columns WHERE table_name = ?",
        (table.name, kind),
    )
    declared = tuple(COLUMNS[c] for c in table.columns)
    _label_columns(db, data, declared)
    _label_columns(db, table.name, (UNIT_FID, *declared))


def _label_columns(db: sqlite3.Connection, layer: str, columns: tuple[Column, ...]) -> None:
    # GDAL from 3.7, and so QGIS, takes the alias from ``name`` and the comment from ``description``; others ``title``.
    # A name may occur once in a table, and two columns that a workspace declares may have one label.
    labels = [c.label for c in columns]
    names = [c.label if labels.count(c.label) == 1 else f"{c.label} ({c.name})" for c in columns]
    db.executemany(
        "INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description) VALUES (?, ?, ?, ?, ?)",
        [
            (layer, c.name, name, c.label, f"unit: {c.unit}" if c.unit else None)
            for c, name in zip(columns, names, strict=True)
        ],
    )


def _style_layer(db: sqlite3.Connection, layer: Layer) -> None:
    line = layer.geometry_type == "LineString"
    years = sorted(set(layer.table.column("year").to_pylist()))
    limits = quantile_limits(_floats(layer.table, layer.colour))
    if limits:
        qml = graduated_qml(layer.colour, limits, line=line, by_year=len(years) > 1)
        add_style(db, layer.name, GEOMETRY, qml, f"{layer.colour}, {', '.join(map(str, years))}")


def _style_view(db: sqlite3.Connection, table: Table, arrow: pa.Table) -> None:
    # Classes over all years together: a colour means the same level in every year.
    limits = quantile_limits(_floats(arrow, "level"))
    if limits:
        add_style(db, table.name, GEOMETRY, graduated_qml("level", limits, by_year=True), "level, all years")


def _floats(table: pa.Table, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(table.column(column).to_pandas(), dtype=np.float64)


def _add_metadata(db: sqlite3.Connection, metadata: dict[str, Any]) -> None:
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True, default=str)
    row = db.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata)"
        " VALUES ('dataset', ?, 'application/json', ?)",
        (PROVENANCE_URI, text),
    ).lastrowid
    db.execute("INSERT INTO gpkg_metadata_reference (reference_scope, md_file_id) VALUES ('geopackage', ?)", (row,))
