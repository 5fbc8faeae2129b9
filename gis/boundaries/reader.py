"""Read a boundary layer into ``Zones``: one valid polygon per unit, six-character codes, a CRS that is certain.

In: a file and what ``workspace.toml`` says of it. Out: ``Layer`` (zones, and everything that was decided on the way),
or an error that names the config key to set. `read_zones` does the same for any polygons, without a workspace.
"""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.boundaries.codes import code_text
from gis.boundaries.columns import LayerLevel, find_columns
from gis.boundaries.formats import RawLayer, file_sha256, raw_from_frame, read_raw
from gis.boundaries.geometry import Repair, polygons_only, repair
from gis.boundaries.units import Rows, pick_rows, some, unite_rows
from gis.crs import crs_from, crs_name, same_crs
from gis.errors import BoundaryInvalid, CodeInvalid, CrsMismatch, CrsMissing, GeometryInvalid
from gis.grid import Zones

if TYPE_CHECKING:
    from collections.abc import Mapping

    import geopandas as gpd
    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.workspace import BoundarySource

    Geometries = NDArray[Any]

CrsOrigin = Literal["file", "config"]

HEADINGS = frozenset(("市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"))
"""Headings of the code list that some layers give as the city of a district: no city is called so."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A boundary layer, and what was decided while reading it."""

    zones: Zones
    """The units, in the order of the file."""
    level: LayerLevel
    """What a unit is."""
    path: Path
    """The file."""
    layer_name: str
    """The layer inside it."""
    sha256: str
    """Of the file; of a Shapefile, of all its parts."""
    encoding: str
    """Encoding of the text."""
    crs_origin: CrsOrigin
    """Whether the CRS comes from the file or from the config."""
    repairs: tuple[Repair, ...]
    """Every polygon that was mended, with the change of its area."""
    notes: tuple[str, ...]
    """What a reader of the results should know, one sentence each."""
    city_names: Mapping[str, str] = field(default_factory=dict)
    """For districts: names of their cities by code, where the layer has a column of them (`cities_from_districts`)."""


def read_layer(
    source: BoundarySource, root: Path, *, key: str = "boundaries.city", level: LayerLevel = "city"
) -> Layer:
    """Read the layer that a section of ``workspace.toml`` describes.

    Parameters
    ----------
    source : the section
    root : folder the section's path is relative to
    key : name of the section, for messages
    level : what a row is; cities of the municipalities become one unit (110100 and districts of Beijing: 110000)

    Raises
    ------
    BoundaryUnreadable
        The file is missing, empty, cut off, or of an unknown format.
    BoundaryInvalid
        Several layers and none named; no code column, or an ambiguous one; points or lines; unknown encoding.
    CrsMissing, CrsMismatch
        Neither file nor config states a CRS; both do and disagree, or the coordinates cannot be in it.
    CodeInvalid
        A code is missing, malformed, or stands for two different units; ``codes`` or ``exclude`` name unknown ones.
    GeometryInvalid
        Mending a polygon would change its area by more than 0.5 %; a polygon crosses the antimeridian.
    """
    path = Path(root) / source.file
    raw = read_raw(path, layer=source.layer, encoding=source.encoding, key=key)
    crs, origin = _settle_crs(raw, source.crs, path, f"{key}.crs", strict=True)
    columns = find_columns(raw.table, source.columns, level, key=key)
    rows, odd = pick_rows(raw, columns, source, level, path=path, key=key)
    geometry, changed = polygons_only(rows.geometry, rows.codes, where=path)
    geometry, repairs = repair(geometry, rows.codes, crs, where=path)
    units, united = unite_rows(replace(rows, geometry=geometry), level, crs, path=path, key=key)
    zones = Zones(units.codes, units.geometry, crs, str(source.vintage), units.names, units.parents)
    notes = (*raw.notes, *columns.notes, *odd, *changed, *united)
    sha256, cities = file_sha256(path), _city_names(rows)
    return Layer(zones, level, path, raw.layer_name, sha256, raw.encoding, origin, repairs, notes, cities)


def _city_names(rows: Rows) -> dict[str, str]:
    """Names of cities by code, where all districts of a city agree on it."""
    said: dict[str, set[str]] = {}
    for parent, name in zip(rows.parents, rows.city_names, strict=False):  # no names at all: nothing to pair
        if parent and name and name not in HEADINGS:
            said.setdefault(parent, set()).add(name)
    return {code: next(iter(names)) for code, names in said.items() if len(names) == 1}


def read_zones(
    source: str | Path | gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    crs: Any = None,
    code: str | None = None,
    encoding: str | None = None,
) -> Zones:
    """Read any polygons as zones, in the order of the file, without a workspace.

    Parameters
    ----------
    source : path of a file of any format `read_layer` takes, or a GeoDataFrame
    layer : layer inside the file; needed when it has several
    crs : CRS of the coordinates, only where the source carries none
    code : column that names the zones, of any kind; default: the row's number, from 0
    encoding : text encoding of a Shapefile or CSV; default: told from the file

    Raises
    ------
    As `read_layer`; codes need not be administrative ones, but there is one for each zone and no two are equal.

    Notes
    -----
    A row without geometry stays, as an empty zone without a value, and invalid polygons are mended within the limits
    of METHOD 2 rule 11; both are announced as warnings.
    """
    if isinstance(source, (str, Path)):
        path: Path | None = Path(source)
        raw = read_raw(Path(source), layer=layer, encoding=encoding, key="zones")
    else:
        path, raw = None, raw_from_frame(source, "GeoDataFrame")
    where, _ = _settle_crs(raw, crs, path, "crs", strict=False)
    codes = _labels(raw.table, code, path)
    geometry, notes = polygons_only(raw.geometry, codes, where=path)
    geometry, repairs = repair(geometry, codes, where, where=path)
    if repairs:
        worst = max(r.change_share for r in repairs)
        notes = (*notes, f"{len(repairs)} invalid polygons mended, area changed by at most {worst:.1g} of it")
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return Zones(tuple(codes), geometry, where)


def read_geometry(path: Path, *, key: str, layer: str | None = None, crs: Any = None) -> tuple[Geometries, CRS]:
    """Read geometries of any kind and nothing else: points of gas flares, land polygons.

    Parameters
    ----------
    path : file of any format `read_layer` takes
    key : config key that names it, for messages
    layer : layer inside the file; needed when it has several
    crs : CRS of the coordinates, only where the file carries none

    Returns
    -------
    (n,) array of shapely geometries of two dimensions, rows without geometry left out, polygons mended; and their CRS.

    Raises
    ------
    As `read_zones`.
    """
    import shapely

    raw = read_raw(Path(path), layer=layer, encoding=None, key=key)
    where, _ = _settle_crs(raw, crs, path, "crs", strict=False)
    there = ~(shapely.is_missing(raw.geometry) | shapely.is_empty(raw.geometry))
    geometry = np.array(shapely.force_2d(raw.geometry[there]), dtype=object, copy=True)
    areal = np.isin(shapely.get_type_id(geometry), (3, 6))
    rows = [f"row {k + 1}" for k in np.flatnonzero(there)[areal]]
    geometry[areal], _ = repair(geometry[areal], rows, where, where=path)
    return geometry, where


def _labels(table: pd.DataFrame, column: str | None, path: Path | None) -> list[str]:
    """One text per row, checked to be there and to differ."""
    if column is None:
        return [str(k) for k in range(len(table.index))]
    if column not in table.columns:
        near = difflib.get_close_matches(column, [str(c) for c in table.columns], n=1, cutoff=0.4)
        raise BoundaryInvalid(
            f"there is no column {column!r}; columns: {', '.join(map(str, table.columns))}",
            where=path,
            mend=f'code="{near[0]}"' if near else "name one of them, or leave code out to number the rows",
        )
    texts = [code_text(value) for value in table[column]]
    empty = [k + 1 for k, text in enumerate(texts) if not text]
    if empty:
        raise CodeInvalid(
            f"{len(empty)} rows have nothing in column {column}: rows {some(empty)}",
            where=path,
            mend="fill them, or leave code out to number the rows",
        )
    rows: dict[str, list[int]] = {}
    for k, text in enumerate(texts):
        rows.setdefault(text, []).append(k + 1)
    twice = [f"{text} (rows {some(at)})" for text, at in rows.items() if len(at) > 1]
    if twice:
        raise CodeInvalid(
            f"column {column} names several rows alike: {some(twice)}",
            where=path,
            mend="dissolve the rows by this column first, or leave code out to number the rows",
        )
    return texts


# --- CRS -------------------------------------------------------------------------------------------------------------


def _settle_crs(raw: RawLayer, configured: Any, path: Path | None, key: str, *, strict: bool) -> tuple[CRS, CrsOrigin]:
    """The CRS of a layer: the file's, else the config's; refused where they disagree or the coordinates contradict."""
    given = None if configured is None else crs_from(configured, where=key)
    stated = None if raw.crs_is_default and given is not None else raw.crs
    if stated is not None and given is not None and not same_crs(stated, given):
        raise CrsMismatch(
            f"the file says {crs_name(stated)}, the config says {crs_name(given)}",
            where=path,
            mend=f"leave {key} out; it is for files without a CRS (to change one: ogr2ogr -t_srs)",
        )
    crs = stated if stated is not None else given
    left, bottom, right, top = _bounds(raw.geometry)
    # A micrometre beyond the edge of the world is rounding.
    in_degrees = max(abs(left), abs(right)) <= 180 + 1e-9 and max(abs(bottom), abs(top)) <= 90 + 1e-9
    if crs is None:
        guess = "EPSG:4326" if in_degrees else "EPSG:..."
        kind = "look like degrees" if in_degrees else "are projected"
        raise CrsMissing(
            f"the layer states no CRS; its coordinates {kind} ({_extent(left, bottom, right, top)})",
            where=path,
            mend=f'{key} = "{guess}"  (ask the source; web maps of China are GCJ-02: boundaries/README.md#datums)',
        )
    if crs.is_geographic and not in_degrees and np.isfinite([left, bottom, right, top]).all():
        _refuse_degrees(raw, crs, (left, bottom, right, top), path, key)
    if strict and crs.is_projected and in_degrees:
        raise CrsMismatch(
            f"{crs_name(crs)} is in metres, but the coordinates look like degrees "
            f"({_extent(left, bottom, right, top)})",
            where=path,
            mend=f'{key} = "EPSG:4326", and a file without the wrong CRS',
        )
    return crs, "file" if stated is not None else "config"


def _refuse_degrees(
    raw: RawLayer, crs: CRS, bounds: tuple[float, float, float, float], path: Path | None, key: str
) -> None:
    left, bottom, right, top = bounds
    extent = _extent(*bounds)
    if left >= -180 and right <= 360 and max(abs(bottom), abs(top)) <= 90:
        raise GeometryInvalid(
            f"longitudes pass 180 degrees ({extent})",
            where=path,
            mend="bring them to -180..180: ogr2ogr -wrapdateline -t_srs EPSG:4326 wrapped.gpkg layer.gpkg",
        )
    if max(abs(left), abs(right)) <= 90 and max(abs(bottom), abs(top)) <= 180:
        raise CrsMismatch(
            f"longitude and latitude are the wrong way round ({extent})",
            where=path,
            mend="exchange them: QGIS, Swap X and Y Coordinates; or shapely.transform(shapes, lambda xy: xy[:, ::-1])",
        )
    if raw.crs_is_default:
        raise CrsMissing(
            f"a GeoJSON without a crs member is WGS 84 by RFC 7946, but these coordinates are projected ({extent})",
            where=path,
            mend=f'{key} = "EPSG:..."  (the projection they are in)',
        )
    raise CrsMismatch(
        f"{crs_name(crs)} is in degrees, but the coordinates are projected ({extent})",
        where=path,
        mend=f'{key} = "EPSG:..."  (the projection they are in), and a file without the wrong CRS',
    )


def _bounds(geometry: Geometries) -> tuple[float, float, float, float]:
    import shapely

    with np.errstate(invalid="ignore"):
        left, bottom, right, top = (float(v) for v in shapely.total_bounds(geometry))
    return left, bottom, right, top


def _extent(left: float, bottom: float, right: float, top: float) -> str:
    return f"x {left:.6g} to {right:.6g}, y {bottom:.6g} to {top:.6g}"
