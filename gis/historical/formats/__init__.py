"""Files of control points: QGIS, ArcGIS, GDAL, IIIF and CSV, all read to and written from ``ControlPoints``.

In: a file, and what it does not say (CRS, size and resolution of the scan). Out: ``ControlPoints``; or one file, whole
or not at all. Numbers are written so that reading them gives the same double.

======  =================================  =============================================  ==========================
format  files                              pixels in the file                             what it cannot hold
======  =================================  =============================================  ==========================
qgis    ``.points``                        row negative downward                          ids, roles, kinds, notes
arcgis  ``.txt``                           from the lower left, upward; inches or pixels  these, unused points, CRS
gdal    ``.tif``, ``.vrt``, ``.aux.xml``   row downward                                   roles, kinds, unused points;
                                                                                          a ``.tif``: ids too
iiif    ``.json``                          row downward; WGS 84 only                      the same
csv     ``.csv``                           row downward                                   nothing is lost
======  =================================  =============================================  ==========================

A check point must not be fitted by the program that opens the file next: QGIS gets it disabled, the others not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import OptionInvalid
from gis.historical.control_points import ControlPoints, ControlPointsUnreadable
from gis.historical.formats.arcgis import read_arcgis, write_arcgis
from gis.historical.formats.gdal import read_gdal, write_gdal
from gis.historical.formats.iiif import read_iiif, write_iiif
from gis.historical.formats.plain import read_csv, write_csv
from gis.historical.formats.qgis import read_qgis, write_qgis

if TYPE_CHECKING:
    from affine import Affine

__all__ = ["FORMATS", "ScanFacts", "format_of", "read_control_points", "write_control_points"]

FORMATS: dict[str, tuple[str, ...]] = {
    "qgis": (".points",),
    "arcgis": (".txt",),
    "gdal": (".aux.xml", ".vrt", ".tif", ".tiff"),
    "iiif": (".json", ".jsonld"),
    "csv": (".csv",),
}
"""Format -> endings of its files."""


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """What some formats need to know of the scan and do not say themselves."""

    size: tuple[int, int] | None = None
    """(height, width) [px]."""
    dpi: float | None = None
    """Resolution tag of the scan [px per inch]; None where it has none."""
    transform: Affine | None = None
    """Geotransform of a scan that is georeferenced already: QGIS then writes source coordinates in its CRS."""
    path: Path | None = None
    """The scan itself, which a VRT refers to."""


def format_of(path: Path) -> str:
    """Tell the format by the file's ending.

    Raises
    ------
    OptionInvalid
        Not one of `FORMATS`.
    """
    name = path.name.lower()
    for kind, endings in FORMATS.items():
        if name.endswith(endings):
            return kind
    offered = ", ".join(f"{kind} ({', '.join(endings)})" for kind, endings in FORMATS.items())
    raise OptionInvalid(f"{path.name} has no ending of a control point file", where=path, mend=f"one of {offered}")


def read_control_points(
    path: str | Path,
    *,
    crs: Any = None,
    scan: ScanFacts | None = None,
    unit: str = "auto",
    format: str | None = None,
) -> ControlPoints:
    """Read control points of any format.

    Parameters
    ----------
    crs : CRS of the ground coordinates, only where the file does not say
    scan : size and resolution of the scan; an ArcGIS link table needs its height, and in inches its resolution
    unit : ``auto``, ``px``, ``inch`` or ``cm``: unit of an ArcGIS link table's source columns
    format : a key of `FORMATS`; default: by the ending

    Raises
    ------
    ControlPointsUnreadable
        The file is missing, empty or not of its format.
    ControlPointsInvalid
        A row cannot be what it is said to be; rows count both up and down; points repeat.
    CrsMissing, CrsMismatch
        Nobody says which CRS, or file and ``crs`` disagree.
    """
    path, facts = Path(path), scan or ScanFacts()
    kind = format or format_of(path)
    if kind not in FORMATS:
        raise OptionInvalid(f"no control point format {kind!r}", where=path, mend=f"one of {', '.join(FORMATS)}")
    if not path.is_file() and kind != "gdal":
        raise ControlPointsUnreadable("there is no such file", where=path, mend="check the path after --gcps")
    if kind == "qgis":
        return read_qgis(path, crs=crs, transform=facts.transform)
    if kind == "arcgis":
        return read_arcgis(path, crs=crs, size=facts.size, dpi=facts.dpi, unit=unit)
    if kind == "gdal":
        return read_gdal(path, crs=crs)
    if kind == "iiif":
        return read_iiif(path, size=facts.size)
    return read_csv(path, crs=crs)


def write_control_points(
    points: ControlPoints,
    path: str | Path,
    *,
    scan: ScanFacts | None = None,
    unit: str = "auto",
    format: str | None = None,
    **options: Any,
) -> Path:
    """Write control points in any format, atomically.

    Parameters
    ----------
    scan : ArcGIS needs the height; GDAL the scan's path (VRT, GeoTIFF) or size; IIIF writes the size
    unit : ``px`` or ``inch`` for ArcGIS; ``auto`` is inches where the scan has a resolution
    options : ``residual_px`` (n, 2) for QGIS; ``image_id``, ``transformation`` for IIIF

    Raises
    ------
    OptionInvalid
        Something the format needs is not given.
    WriteFailed
        The disk is full or the folder cannot be written.
    """
    path, facts = Path(path), scan or ScanFacts()
    kind = format or format_of(path)
    if kind == "qgis":
        return write_qgis(points, path, transform=facts.transform, **options)
    if kind == "arcgis":
        return write_arcgis(points, path, size=facts.size, dpi=facts.dpi, unit=unit)
    if kind == "gdal":
        return write_gdal(points, path, scan=facts.path, size=facts.size)
    if kind == "iiif":
        return write_iiif(points, path, size=facts.size, scan=facts.path, **options)
    if kind == "csv":
        return write_csv(points, path)
    raise OptionInvalid(f"no control point format {kind!r}", where=path, mend=f"one of {', '.join(FORMATS)}")
