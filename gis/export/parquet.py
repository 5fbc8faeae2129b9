"""GeoParquet: the units of a run, kept so that exports need no boundary file, and map layers for pandas and R.

In: ``Zones``, ``Layer``, panels of pairs. Out: GeoParquet files; ``Zones`` again, equal to the last bit and with the
same fingerprints; the rows of a panel that are drawn as lines.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import BoundaryInvalid, BoundaryUnreadable, TableInvalid
from gis.export.layers import Layer, PairChoice, chosen_years, need_number, numbers_of
from gis.tables import PAIR_PANEL, PAIR_YEAR, Table, atomic_path, table_of_file

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from pyproj import CRS

    from gis.grid import Zones

UNIT_COLUMNS = ("code", "name", "parent", "vintage", "geometry")
"""Columns of a units file; ``name`` and ``parent`` are null throughout where the layer has none."""

_CRS_KEY = b"lightpanel.crs_wkt"


def write_units(zones: Zones, path: str | Path) -> Path:
    """Write zones as GeoParquet in their own CRS, atomically; `read_units` gives them back unchanged."""
    import geopandas as gpd

    n = len(zones)
    frame = gpd.GeoDataFrame(
        {
            "code": np.array(zones.codes, dtype=object),
            "name": np.array(zones.names or [None] * n, dtype=object),
            "parent": np.array(zones.parents or [None] * n, dtype=object),
            "vintage": np.array([zones.vintage] * n, dtype=object),
        },
        geometry=list(zones.geometry),
        crs=zones.crs,
    )
    # GeoParquet keeps the CRS as PROJJSON, which does not always come back as the same WKT (an ESRI code loses its
    # name's spelling); fingerprints are made from the WKT, so it is kept as well.
    return _write(frame, Path(path), {_CRS_KEY: zones.crs.to_wkt().encode()})


def read_units(path: str | Path) -> Zones:
    """Read zones written by `write_units`.

    Raises
    ------
    BoundaryUnreadable
        The file is missing or is not GeoParquet.
    BoundaryInvalid
        It is, but was not written by `write_units`.
    """
    import geopandas as gpd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gis.grid import Zones

    path = Path(path)
    if not path.is_file():
        raise BoundaryUnreadable("there are no units of a run", where=path, mend="lightpanel run writes them")
    try:
        frame = gpd.read_parquet(path)
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise BoundaryUnreadable(f"not a GeoParquet file: {error}", where=path, mend="lightpanel run") from error
    missing = [c for c in UNIT_COLUMNS if c not in frame.columns]
    if missing or _CRS_KEY not in metadata:
        raise BoundaryInvalid(
            f"not a units file: {', '.join(missing) or 'the CRS'} missing", where=path, mend="lightpanel run"
        )
    return Zones(
        codes=tuple(frame["code"]),
        geometry=np.array(frame.geometry, dtype=object),
        crs=_same_wkt(frame.crs, metadata[_CRS_KEY].decode()),
        vintage=str(frame["vintage"].iloc[0]) if len(frame) else "",
        names=_texts(frame["name"]),
        parents=_texts(frame["parent"]),
    )


def _texts(values: Any) -> tuple[str, ...]:
    return () if values.isna().all() else tuple(values)


def _same_wkt(crs: Any, wkt: str) -> CRS:
    from pyproj import CRS

    known = None if crs is None else CRS.from_user_input(crs)
    return known if known is not None and known.to_wkt() == wkt else CRS.from_wkt(wkt)


def read_pairs(out: Path, choice: PairChoice) -> tuple[pd.DataFrame, Table]:
    """Read the rows to draw, and how they are declared: of ``pair_year`` where it has the column, else ``pair_panel``.

    Raises
    ------
    TableInvalid
        There is no ``pair_year``.
    OptionInvalid
        No such year, or no number of that name in either table.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    paths = {t.name: (t, out / f"{t.name}.parquet") for t in (PAIR_YEAR, PAIR_PANEL)}
    found = [(table_of_file(table, path), path) for table, path in paths.values() if path.is_file()]
    if not found or found[0][0].name != PAIR_YEAR.name:
        where = paths[PAIR_YEAR.name][1]
        raise TableInvalid(
            "there is no table pair_year", where=where, mend="lightpanel run, or leave the pair lines out"
        )
    hint = "; lightpanel panel makes those of pair_panel, flows among them" if len(found) == 1 else ""
    need_number(choice.by, *(table for table, _ in found), hint=hint)
    table, path = next((table, path) for table, path in found if choice.by in numbers_of(table))
    # The panel is read year by year: the whole of it is a hundred times larger.
    years = chosen_years(pc.unique(pq.read_table(path, columns=["year"])["year"]).to_pylist(), choice)
    return pq.read_table(path, filters=[("year", "in", years)]).to_pandas(), table


def write_geoparquet(layer: Layer, path: str | Path) -> Path:
    """Write a map layer as GeoParquet, atomically; every field carries its unit and label."""
    import geopandas as gpd

    frame = gpd.GeoDataFrame(layer.table.to_pandas(), geometry=layer.geometry, crs=layer.crs)
    fields = {c.name: {"unit": c.unit, "label": c.label} for c in layer.columns}
    meta = {"title": layer.title, "fields": fields}
    return _write(frame, Path(path), {b"lightpanel.layer": json.dumps(meta, ensure_ascii=False).encode()}, fields)


def _write(
    frame: gpd.GeoDataFrame, path: Path, metadata: dict[bytes, bytes], fields: dict[str, dict[str, str]] | None = None
) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd", schema_version="1.1.0")
        # geopandas writes the geometry's description and nothing else; ours is added to what it wrote.
        table = pq.read_table(temporary)
        schema = pa.schema(
            [f.with_metadata(fields[f.name]) if fields and f.name in fields else f for f in table.schema],
            metadata={**(table.schema.metadata or {}), **metadata},
        )
        pq.write_table(table.cast(schema), temporary, compression="zstd")
    return path
