"""GeoParquet: the units of a run, kept so that exports need no boundary file, and map layers for pandas and R.

In: ``Zones``, ``Layer``. Out: GeoParquet files; ``Zones`` again, equal to the last bit and with the same fingerprints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import BoundaryInvalid, BoundaryUnreadable
from gis.export.layers import Layer
from gis.tables import atomic_path

if TYPE_CHECKING:
    import geopandas as gpd
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
