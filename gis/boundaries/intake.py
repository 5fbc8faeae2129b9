"""Open a boundary file for examination: whatever can be read is read, and what is wrong with text and CRS is said.

In: a path. Out: ``Intake`` per layer: the raw layer with its text mended, the CRS it most likely is in, findings. The
reader of a run (`gis.boundaries.reader`) refuses where this one goes on: a doctor must look at the ill.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries import encoding as enc
from gis.boundaries.findings import Finding
from gis.boundaries.formats import RawLayer, read_raw
from gis.boundaries.reference import reference_points
from gis.crs import crs_from, crs_name, same_crs, transformer
from gis.errors import BoundaryInvalid, CrsMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

GUESS_M = 2500.0
"""A guessed CRS must put the median unit this close to its reference [m]: GCJ-02 and BD-09 stay within it."""
GUESS_UNITS = 200
"""Units that a guess looks at, at most: each of a hundred candidates transforms them."""
ASTRAY_M = 10_000.0
"""Units whose median lies further from their references than this are in another CRS than stated [m]. Real layers lie
within 1 km, in BD-09 within 2; ESRI:102025 read as ESRI:102027 puts Anhui 34 km off, Guangdong 126 [measured]."""

# lat_0, lon_0, lat_1, lat_2 of Albers projections in use for China: textbooks and statistical atlases differ.
_ALBERS = ((0, 105, 25, 47), (0, 110, 25, 47), (36, 104.5, 24, 48), (30, 105, 25, 47), (0, 104, 25, 47))
_SINGLE_BYTE = 256


@dataclass(frozen=True, slots=True)
class Intake:
    """One layer, opened."""

    path: Path
    """The file."""
    raw: RawLayer
    """Attributes and geometries; garbled text decoded."""
    crs: CRS | None
    """The CRS that the coordinates are taken to be in; None where even a guess fails."""
    origin: str
    """``file``, ``given``, ``guessed``, ``default`` or ``none``."""
    text_changes: tuple[tuple[int, str, str, str], ...]
    """Cells whose text was garbled: (row from 1, column, before, after)."""
    findings: tuple[Finding, ...]
    """On text and CRS."""


def layer_names(path: Path) -> tuple[str | None, ...]:
    """Layers of a file that hold geometry; one None for formats that hold a single layer.

    Raises
    ------
    BoundaryUnreadable
        The file is missing or no format that GDAL knows.
    """
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet", ".geoparquet", ".pq", ".shp") or not path.exists():
        return (None,)  # a missing file is refused by the reader, which knows what is near
    import pyogrio

    try:
        names = tuple(str(name) for name, kind in pyogrio.list_layers(path) if kind is not None)
    except (RuntimeError, ValueError, OSError):
        return (None,)  # again: the reader says what is wrong with it
    return names or (None,)


def open_layer(path: Path, layer: str | None, encoding: str | None = None) -> Intake:
    """Read one layer and examine its text; the CRS is settled by `settle`, once the codes are known.

    Raises
    ------
    BoundaryUnreadable, BoundaryInvalid
        As `gis.boundaries.formats.read_raw`: nothing can be read, or its text is in no encoding that can be told.
    """
    path = Path(path)
    found: list[Finding] = []
    raw = _read(path, layer, encoding, found)
    raw, changed = _ungarble(raw, found)
    _shapefile_text(path, raw, found)
    return Intake(path, raw, raw.crs, "file" if raw.crs is not None else "none", changed, tuple(found))


# --- text ------------------------------------------------------------------------------------------------------------


def _read(path: Path, layer: str | None, encoding: str | None, found: list[Finding]) -> RawLayer:
    """Read a layer; a GeoJSON that is not UTF-8, as its standard demands, is read from a converted copy."""
    key = "boundaries.layer"
    if path.suffix.lower() not in (".json", ".geojson", ".topojson", ".csv", ".tsv", ".txt") or not path.is_file():
        return read_raw(path, layer=layer, encoding=encoding, key=key)
    content = path.read_bytes()
    if content.startswith(b"\xef\xbb\xbf"):
        what = "the file begins with a byte order mark (BOM), which some readers take for part of the first name"
        found.append(Finding("encoding", "info", what, "harmless here; --fix writes a GeoPackage, which has none"))
    if path.suffix.lower() in (".csv", ".tsv", ".txt") or enc.decodes([(content, False)], enc.UTF8):
        return read_raw(path, layer=layer, encoding=encoding, key=key)
    name = enc.codec_name(encoding) if encoding else enc.detect([(content, False)])
    if name in (None, enc.UTF8, "ASCII") or not enc.decodes([(content, False)], str(name)):
        raise BoundaryInvalid(
            "the text is not UTF-8, which GeoJSON has to be, and its encoding cannot be told",
            where=path,
            mend='name it: --encoding GB18030 (or "BIG5", ...)',
        )
    what = f"the text is {name}; GeoJSON has to be UTF-8 (RFC 7946), and most readers fail on it or garble names"
    found.append(Finding("encoding", "error", what, "--fix decodes it"))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(content.decode(str(name)), encoding="utf-8")
        return replace(read_raw(copy, layer=layer, encoding=None, key=key), encoding=str(name))


def _shapefile_text(path: Path, raw: RawLayer, found: list[Finding]) -> None:
    """Chinese text in a Shapefile without a .cpg: other tools show Latin letters."""
    if path.suffix.lower() != ".shp" or raw.encoding in ("ASCII",):
        return
    cpg = next((p for p in (path.with_suffix(".cpg"), path.with_suffix(".CPG")) if p.exists()), None)
    told = raw.notes[0] if raw.notes else ""
    if raw.encoding != enc.UTF8 and cpg is None:
        what = f"the text is {raw.encoding} and there is no .cpg: GDAL and QGIS show Latin letters for it"
        found.append(Finding("encoding", "warning", what, f'write "{raw.encoding}" into {path.stem}.cpg, or --fix'))
    elif "against" in told:
        found.append(Finding("encoding", "warning", told, "correct the .cpg, or --fix"))


def _ungarble(raw: RawLayer, found: list[Finding]) -> tuple[RawLayer, tuple[tuple[int, str, str, str], ...]]:
    """Decode text that an earlier program read as ISO 8859-1 or Windows 1252 though it was Chinese."""
    table = raw.table
    changed: list[tuple[int, str, str, str]] = []
    for column in table.columns:
        cells = [(k, v) for k, v in enumerate(table[column]) if isinstance(v, str) and not v.isascii()]
        mended = _decoded([v for _, v in cells])
        if mended is None:
            continue
        table = table.copy() if table is raw.table else table
        values = table[column].to_numpy(dtype=object, copy=True)
        for (k, before), after in zip(cells, mended, strict=True):
            values[k] = after
            changed.append((k + 1, str(column), before, after))
        table[column] = values
    if changed:
        row, column, before, after = changed[0]
        what = (
            f"{len(changed)} texts are garbled: Chinese read as Latin letters ({column}, row {row}: {before} = {after})"
        )
        found.append(Finding("encoding", "error", what, "--fix decodes them; or export again with the encoding named"))
    lost = _lost_characters(table)
    if lost:
        what = f"{len(lost)} texts hold the replacement character U+FFFD: letters were lost when the file was made"
        rows = tuple(f"row {k}" for k in lost[:100])
        found.append(Finding("encoding", "error", what, "export the file again with the encoding named", rows))
    return replace(raw, table=table), tuple(changed)


def _decoded(texts: list[str]) -> list[str] | None:
    """Chinese (or UTF-8) text behind Latin letters; None where the letters are what they seem."""
    for codec in ("latin-1", "cp1252"):
        try:
            content = [text.encode(codec) for text in texts]
        except UnicodeEncodeError:
            continue
        name = enc.detect([(text, False) for text in content]) if content else None
        if name in (enc.GB, enc.UTF8):
            decoded = [text.decode(name) for text in content]
            if all(any(ord(char) >= _SINGLE_BYTE for char in text) for text in decoded):
                return decoded
    return None


def _lost_characters(table: pd.DataFrame) -> list[int]:
    rows: dict[int, None] = {}
    for column in table.columns:
        for k, value in enumerate(table[column]):
            if isinstance(value, str) and "\ufffd" in value:
                rows[k + 1] = None
    return sorted(rows)


# --- CRS -------------------------------------------------------------------------------------------------------------


def settle(intake: Intake, codes: Sequence[str], given: Any = None, sibling: CRS | None = None) -> Intake:
    """Decide in which CRS the coordinates are, and say where that is not what the file says.

    Parameters
    ----------
    intake : the layer
    codes : code of every row, ``""`` where it has none; known units tell where the layer should lie
    given : CRS that the user names, for a file that states none
    sibling : CRS that fits another layer of the file, for one that cannot tell its own

    Returns
    -------
    Intake with ``crs``, ``origin`` and findings.

    Raises
    ------
    CrsMismatch
        The file states a CRS, and it is not the one given.
    """
    import shapely

    raw, found = intake.raw, list(intake.findings)
    centres = shapely.get_coordinates(shapely.centroid(raw.geometry))
    there = ~(shapely.is_missing(raw.geometry) | shapely.is_empty(raw.geometry))
    labels = [code for code, ok in zip(codes, there, strict=True) if ok]
    in_degrees = bool(len(centres)) and bool(np.abs(centres[:, 0]).max() <= 180 and np.abs(centres[:, 1]).max() <= 90)
    if given is not None and raw.crs is not None and not raw.crs_is_default and not same_crs(raw.crs, given):
        raise CrsMismatch(
            f"the file says {called(raw.crs)}, the option says {given}",
            where=intake.path,
            mend="leave --crs out; it is for files without a CRS",
        )
    stated = None if given is not None and (raw.crs is None or raw.crs_is_default) else raw.crs
    crs, origin = (stated, "default" if raw.crs_is_default else "file") if stated else (None, "none")
    if given is not None and stated is None:
        crs, origin = crs_from(given, where="--crs"), "given"
    kind = "look like degrees" if in_degrees else "are projected"
    if crs is None:
        crs = crs_from("EPSG:4326") if in_degrees else _guess(centres, labels) or sibling
        origin = "none" if crs is None else "guessed"
        guess = called(crs) if crs is not None else "..."
        found.append(
            Finding("crs", "error", f"no CRS is stated; the coordinates {kind}" + _fits(crs, centres, labels),
                    f'name it: crs = "{guess}"' + (", or --fix" if crs is not None else "  (ask the source)"))
        )  # fmt: skip
    elif crs.is_geographic != in_degrees:
        better = crs_from("EPSG:4326") if in_degrees else _guess(centres, labels)
        what = f"the CRS is stated as {called(crs)}, but the coordinates {kind}" + _fits(better, centres, labels)
        found.append(Finding("crs", "error", what, "--fix writes the CRS that fits" if better else "ask the source"))
        crs, origin = better, "guessed" if better is not None else "none"
    elif (far := _median_distance(crs, centres, labels)) > ASTRAY_M:
        better = _guess(centres, labels)
        how_far = f"{far / 1000:.0f} km from where they should" if np.isfinite(far) else "outside of its domain"
        what = f"in {called(crs)} the units lie {how_far}, in the median"
        found.append(
            Finding("crs", "error", what + _fits(better, centres, labels),
                    "--fix writes the CRS that fits" if better else "ask the source which CRS it is")
        )  # fmt: skip
        crs, origin = (better, "guessed") if better is not None else (crs, origin)
    return replace(intake, crs=crs, origin=origin, findings=tuple(found))


def called(crs: CRS) -> str:
    """What to write into a config: the authority's code, else the PROJ string."""
    name = crs_name(crs)
    if ":" in name:
        return name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a PROJ string says less than WKT, and is readable
        return crs.to_proj4() or crs.name


def _fits(crs: CRS | None, centres: NDArray[np.float64], codes: Sequence[str]) -> str:
    if crs is None:
        return " and none of the usual ones of China puts its units where they lie"
    distance = _median_distance(crs, centres, codes)
    return f"; {called(crs)} puts its units {distance:.0f} m from their references" if np.isfinite(distance) else ""


def _guess(centres: NDArray[np.float64], codes: Sequence[str]) -> CRS | None:
    """The CRS among those in use for China that puts known units nearest to where they lie; None if none does."""
    known = _known(codes)
    if not known:
        return None
    few = known[:: len(known) // GUESS_UNITS + 1]
    centres, codes = centres[few], [codes[k] for k in few]
    lon = float(np.median([_reference()[code][0] for code in codes]))
    distances = [(_median_distance(crs, centres, codes), k, crs) for k, crs in enumerate(_candidates(lon))]
    near = [entry for entry in distances if entry[0] <= GUESS_M]
    return min(near)[2] if near else None


def _known(codes: Sequence[str]) -> list[int]:
    """Rows whose unit has a reference; of a unit in several rows, no row has the unit's centroid."""
    times = Counter(codes)
    return [k for k, code in enumerate(codes) if times[code] == 1 and code in _reference()]


@lru_cache(maxsize=1)
def _reference() -> dict[str, tuple[float, float]]:
    return {point.code: (point.lon, point.lat) for point in reference_points()}


def _candidates(lon: float) -> list[CRS]:
    """Projections in use for maps of China and, at a longitude, for maps of its parts [degree]."""
    names = ["EPSG:4326", "EPSG:3857", "ESRI:102025", "ESRI:102012", "ESRI:102027", "ESRI:102028"]
    names += [
        f"+proj={kind} +lat_0={lat_0} +lon_0={lon_0} +lat_1={lat_1} +lat_2={lat_2} +datum=WGS84 +units=m +type=crs"
        for lat_0, lon_0, lat_1, lat_2 in _ALBERS
        for kind in ("aea", "lcc")
    ]
    # Zones whose meridian is near: CGCS2000 Gauss-Kruger of 6 degrees (75 to 135 E) and of 3, with the zone's number in
    # front of the easting and without, and UTM.
    for first, start, width, n in ((4491, 75, 6, 11), (4502, 75, 6, 11), (4513, 75, 3, 21), (4534, 75, 3, 21)):
        names += [f"EPSG:{first + k}" for k in range(n) if abs(start + k * width - lon) <= width]
    names += [f"EPSG:{32600 + zone}" for zone in range(42, 54) if abs(zone * 6 - 183 - lon) <= 6]
    return [crs_from(name) for name in names]


def _median_distance(crs: CRS, centres: NDArray[np.float64], codes: Sequence[str]) -> float:
    """Median distance of units, known by their codes, from their reference points [m]; inf where none is known."""
    points, at = _reference(), _known(codes)
    if not at:
        return float("nan")
    lon, lat = transformer(crs, crs_from("EPSG:4326")).transform(centres[at, 0], centres[at, 1])
    wanted = np.radians([points[codes[k]] for k in at])
    x, y = np.radians(lon), np.radians(lat)
    with np.errstate(invalid="ignore"):
        # Haversine on the sphere: a third of a per cent is enough to tell kilometres from hundreds.
        half = np.sin((y - wanted[:, 1]) / 2) ** 2
        half += np.cos(y) * np.cos(wanted[:, 1]) * np.sin((x - wanted[:, 0]) / 2) ** 2
        distance = 2 * 6_371_008.8 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    distance[~np.isfinite(distance)] = np.inf
    return float(np.median(distance))
