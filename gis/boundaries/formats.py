"""Open a file of polygons, whatever its format, as a table and an array of geometries.

In: a path, a layer name, an encoding. Out: ``RawLayer``: attributes, geometries, the CRS the file states (or None), the
encoding its text was in. Nothing is interpreted here: no column is chosen, no polygon mended.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries import encoding as enc
from gis.errors import BoundaryInvalid, BoundaryUnreadable

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

FORMATS = "GeoPackage, Shapefile, GeoJSON, TopoJSON, FlatGeobuf, GeoParquet, CSV with WKT"
"""What is read, for messages."""

_PARQUET = (".parquet", ".geoparquet", ".pq")
_CSV = (".csv", ".tsv", ".txt")
_SHAPEFILE_PARTS = (".shp", ".dbf", ".shx", ".prj", ".cpg")
_WKT = re.compile(r"\s*(MULTI)?(POLYGON|POINT|LINESTRING|CURVE|SURFACE|GEOMETRYCOLLECTION)\b[ ZM]*(\(|EMPTY)", re.I)


@dataclass(frozen=True, slots=True)
class RawLayer:
    """One layer as the file has it."""

    table: pd.DataFrame
    """Attributes, one row per feature, in file order, index 0 to n - 1."""
    geometry: NDArray[Any]
    """(n,) shapely geometries of any kind; None where a feature has none."""
    crs: CRS | None
    """The CRS the file states; None where it states none."""
    crs_is_default: bool
    """Whether that CRS is only what RFC 7946 lays down for a GeoJSON that states none."""
    layer_name: str
    """Name of the layer; the file's stem for formats that hold one."""
    encoding: str
    """Encoding the text was decoded with."""
    notes: tuple[str, ...] = ()
    """What a reader should know: how the encoding was found, what GDAL warned of."""


def read_raw(path: Path, *, layer: str | None, encoding: str | None, key: str) -> RawLayer:
    """Read one layer of a file.

    Raises
    ------
    BoundaryUnreadable
        The file is missing, empty, cut off, or of an unknown format.
    BoundaryInvalid
        It holds several layers and none is named, not the one that is named, or no feature; its text is in none of
        the encodings we can tell.
    """
    _check_file(path)
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        raw = _from_parquet(path)
    elif suffix in _CSV:
        raw = _from_csv(path, encoding, key)
    elif suffix == ".shp":
        raw = _from_shapefile(path, encoding, key)
    else:
        raw = _from_gdal(path, _pick_layer(path, layer, key))
    if layer is not None and layer != raw.layer_name:
        raise BoundaryInvalid(
            f"there is no layer {layer!r}; the file holds {raw.layer_name}", where=path, mend=f"leave {key}.layer out"
        )
    if not len(raw.table.index):
        raise BoundaryInvalid(
            f"layer {raw.layer_name} holds no feature", where=path, mend="give a layer of polygons, one for each unit"
        )
    return raw


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content; of a Shapefile, of all its parts; of a folder (``.gdb``), of all files in it."""
    if path.is_dir():
        parts = sorted(p for p in path.rglob("*") if p.is_file())
    elif path.suffix.lower() == ".shp":
        parts = [p for suffix in _SHAPEFILE_PARTS if (p := _sibling(path, suffix)) is not None]
    else:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.name}:{part.stat().st_size}:".encode())
        digest.update(part.read_bytes())
    return digest.hexdigest()


def _check_file(path: Path) -> None:
    if not path.exists():
        names = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
        mend = f"did you mean {near[0]}?" if near else "check the path; it is relative to the workspace"
        raise BoundaryUnreadable("there is no such boundary file", where=path, mend=mend)
    if path.is_dir():
        if path.suffix.lower() == ".gdb":
            return
        raise BoundaryUnreadable("this is a folder", where=path, mend="name the file in it (.gpkg, .shp, ...)")
    if path.stat().st_size == 0:
        raise BoundaryUnreadable("the file is empty (0 bytes)", where=path, mend="copy or download it again")
    if path.suffix.lower() in (".zip", ".rar", ".7z", ".gz"):
        raise BoundaryUnreadable("this is an archive", where=path, mend="unpack it and name the .shp or .gpkg inside")
    with open(path, "rb") as stream:
        if stream.read(24).startswith(b"version https://git-lfs"):
            raise BoundaryUnreadable("this is a Git LFS pointer, not the data", where=path, mend="git lfs pull")


def _sibling(path: Path, suffix: str) -> Path | None:
    """The file beside ``path`` with another ending, in lower or upper case."""
    return next((p for p in (path.with_suffix(suffix), path.with_suffix(suffix.upper())) if p.exists()), None)


# --- GDAL ----------------------------------------------------------------------------------------------------------


def _pick_layer(path: Path, layer: str | None, key: str) -> str:
    """The layer that is named, or the only one with geometry."""
    import pyogrio

    with _readable(path):
        names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if layer in names:
        return str(layer)
    if layer is None and len(names) == 1:
        return names[0]
    if not names:
        raise BoundaryInvalid("the file holds no layer with geometry", where=path, mend=f"formats read: {FORMATS}")
    with _readable(path):
        infos = {name: pyogrio.read_info(path, layer=name, force_feature_count=True) for name in names}
    held = ", ".join(f"{name} ({info['features']} features)" for name, info in infos.items())
    if layer is None:
        raise BoundaryInvalid(
            f"the file holds {len(names)} layers and none is named: {held}",
            where=path,
            mend=f'name one: {key}.layer = "{_likely(names, key)}"',
        )
    near = difflib.get_close_matches(layer, names, n=1, cutoff=0.3) or names
    raise BoundaryInvalid(
        f"there is no layer {layer!r}; the file holds {held}", where=path, mend=f'{key}.layer = "{near[0]}"'
    )


def _likely(names: list[str], key: str) -> str:
    """The layer the user most likely means: the one called like the config section."""
    words = {"city": ("city", "prefecture", "市", "地级"), "district": ("district", "county", "县", "区")}
    wanted = words.get(key.rpartition(".")[2], ())
    return next((name for word in wanted for name in names if word in name.lower()), names[0])


def _from_gdal(path: Path, layer: str, text_encoding: str | None = None) -> RawLayer:
    import pyogrio

    with _readable(path), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        may_be_geojson = path.suffix.lower() in (".json", ".geojson")
        driver = pyogrio.read_info(path, layer=layer)["driver"] if may_be_geojson else ""
        frame = pyogrio.read_dataframe(path, layer=layer, encoding=text_encoding)
    said = dict.fromkeys(f"GDAL: {w.message}" for w in caught)
    raw = raw_from_frame(frame, layer)
    is_default = driver == "GeoJSON" and not _states_crs(path)
    return replace(raw, crs_is_default=is_default, notes=tuple(said))


def raw_from_frame(frame: gpd.GeoDataFrame, layer: str) -> RawLayer:
    """Take a GeoDataFrame apart."""
    geometry = np.asarray(frame.geometry.array, dtype=object)
    table = frame.drop(columns=frame.geometry.name).reset_index(drop=True)
    crs = frame.crs
    if crs is not None and not (crs.is_geographic or crs.is_projected):
        crs = None  # GDAL's "Undefined SRS": a name for having none
    return RawLayer(table.loc[:, ~table.columns.duplicated()], geometry, crs, False, layer, enc.UTF8)


def _states_crs(path: Path) -> bool:
    """Whether a GeoJSON has the ``crs`` member that RFC 7946 removed; it stands before or after the features."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(65536)
        stream.seek(max(0, size - 65536))
        tail = stream.read()
    return re.search(rb'"crs"\s*:\s*\{', head + b"\n" + tail) is not None


class _readable:
    """Turn whatever a reader raises on a broken file into `BoundaryUnreadable`; our own errors pass."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from shapely.errors import ShapelyError

        # pyogrio raises RuntimeError's children, IndexError on a cut FlatGeobuf, shapely its own on open rings.
        if isinstance(error, (RuntimeError, ValueError, LookupError, TypeError, OSError, ShapelyError)):
            if isinstance(error, (BoundaryInvalid, BoundaryUnreadable)):
                return
            reason = " ".join(str(error).split())[:300]
            raise BoundaryUnreadable(
                f"the file cannot be read: {reason}",
                where=self.path,
                mend=f"copy or export it again; formats read: {FORMATS}",
            ) from error


# --- Shapefile -----------------------------------------------------------------------------------------------------


def _from_shapefile(path: Path, configured: str | None, key: str) -> RawLayer:
    """Read the text as bytes and decode it ourselves: without a .cpg GDAL would take it for ISO 8859-1."""
    import pandas as pd

    _check_shapefile(path)
    dbf, cpg = _sibling(path, ".dbf"), _sibling(path, ".cpg")
    assert dbf is not None  # _check_shapefile
    text = enc.read_dbf_text(dbf)
    stated = {
        ".cpg": cpg.read_text(encoding="latin-1").strip() if cpg else None,
        "the .dbf header": enc.LANGUAGE_DRIVERS.get(text.language_driver),
    }
    chosen = enc.choose(text.texts, stated, configured, key=key)
    # Every byte is a character of ISO 8859-1 and back, so this loses nothing.
    raw = _from_gdal(path, path.stem, "ISO-8859-1")
    table = raw.table.rename(columns=lambda name: _redecode(str(name), chosen.name))
    table = table.loc[:, ~table.columns.duplicated()].copy()  # names cut at ten bytes may coincide
    for name in table.columns:
        if pd.api.types.is_string_dtype(table[name]) or pd.api.types.is_object_dtype(table[name]):
            table[name] = [_redecode(v, chosen.name) if isinstance(v, str) else v for v in table[name]]
    note = f"text is {chosen.name} ({chosen.how})"
    return replace(raw, table=table, encoding=chosen.name, notes=(note, *raw.notes))


def _redecode(text: str, name: str) -> str:
    return enc.decode(text.encode("latin-1"), name)


def _check_shapefile(path: Path) -> None:
    """Refuse a Shapefile that lacks a part or is cut off: GDAL would give features without geometry or columns."""
    missing = [suffix for suffix in (".shx", ".dbf") if _sibling(path, suffix) is None]
    if missing:
        raise BoundaryUnreadable(
            f"the Shapefile lacks its {' and '.join(missing)}",
            where=path,
            mend=f"copy {' and '.join(path.with_suffix(s).name for s in missing)} beside it",
        )
    with open(path, "rb") as stream:
        header = stream.read(28)
    stated = struct.unpack(">i", header[24:28])[0] * 2 if len(header) == 28 else 100
    if path.stat().st_size < stated:
        raise BoundaryUnreadable(
            f"the Shapefile is cut off: {path.stat().st_size} bytes of {stated}",
            where=path,
            mend="copy the .shp, .shx, .dbf and .prj again, all of one export",
        )


# --- GeoParquet and CSV ----------------------------------------------------------------------------------------------


def _from_parquet(path: Path) -> RawLayer:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa

    with _readable(path):
        try:
            frame = gpd.read_parquet(path)
            texts = [c for c in frame.columns if c != frame.geometry.name and pd.api.types.is_string_dtype(frame[c])]
            frame = frame.astype(dict.fromkeys(texts, object))  # decodes the text, so that broken text shows here
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            if "geo metadata" not in str(error):
                raise
            raise BoundaryInvalid(
                "this Parquet file says nothing of geometry",
                where=path,
                mend="write it with geopandas (GeoDataFrame.to_parquet) or as a GeoPackage",
            ) from error
    return raw_from_frame(frame, path.stem)


def _from_csv(path: Path, configured: str | None, key: str) -> RawLayer:
    import io

    import pandas as pd
    import shapely

    content = path.read_bytes()
    chosen = enc.choose([(content, False)], {}, configured, key=key)
    text = content.decode("utf-8-sig" if chosen.name == enc.UTF8 else chosen.name)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    with _readable(path):
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, na_values=[""])
    columns = [c for c in table.columns if _is_wkt(table[c])]
    if len(columns) != 1:
        what = f"columns {' and '.join(columns)} hold WKT" if columns else "no column holds WKT"
        raise BoundaryInvalid(
            f"{what}; columns: {', '.join(map(str, table.columns))}",
            where=path,
            mend="keep exactly one column of WKT, such as MULTIPOLYGON (((116.3 39.9, ...)))",
        )
    wkt = table[columns[0]]
    try:
        geometry = shapely.from_wkt([v if isinstance(v, str) else None for v in wkt])
    except shapely.errors.GEOSException as error:
        row = next(k for k, v in enumerate(wkt) if isinstance(v, str) and not _parses(v))
        raise BoundaryInvalid(
            f"row {row + 1} of column {columns[0]} is not WKT: {error}",
            where=path,
            mend="export the table again; spreadsheets cut cells at 32,767 characters",
        ) from error
    note = f"geometry from WKT in column {columns[0]}; text is {chosen.name} ({chosen.how})"
    rest = table.drop(columns=columns[0])
    return RawLayer(rest, np.asarray(geometry, dtype=object), None, False, path.stem, chosen.name, (note,))


def _is_wkt(values: pd.Series) -> bool:
    first = values.dropna().head(20)
    return bool(len(first)) and all(isinstance(v, str) and _WKT.match(v) is not None for v in first)


def _parses(text: str) -> bool:
    import shapely

    try:
        shapely.from_wkt(text)
    except shapely.errors.GEOSException:
        return False
    return True
