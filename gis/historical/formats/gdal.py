"""GDAL's ground control points: inside a GeoTIFF, in a VRT, or in an ``.aux.xml`` beside the scan.

In: a raster with control points. Out: ``ControlPoints``; files GDAL opens. Pixel and line are the canonical px and py.
Points are read by GDAL itself, ArcGIS's ``GeodataXform`` in an ``.aux.xml`` included; VRT and ``.aux.xml`` are written
as text, since GDAL's own writer keeps four decimals.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from gis.errors import OptionInvalid
from gis.historical.control_points import ControlPoints, ControlPointsUnreadable, control_points
from gis.historical.formats.text import settle_crs, write_text

AUX = ".aux.xml"


def read_gdal(path: Path, *, crs: Any = None) -> ControlPoints:
    """Read the control points GDAL finds in or beside a raster; of ``scan.png.aux.xml``, those of ``scan.png``.

    Raises
    ------
    ControlPointsUnreadable
        The raster is missing or has no control points.
    CrsMissing, CrsMismatch
        The points carry no CRS and none is given, or the two disagree.
    """
    from gis.raster_io.gcps import read_gcps

    raster = Path(str(path)[: -len(AUX)]) if path.name.lower().endswith(AUX) else path
    if not raster.is_file():
        beside = f"{raster.name} must lie beside it" if raster != path else "check the path after --gcps"
        raise ControlPointsUnreadable("there is no such raster", where=raster, mend=beside)
    found = read_gcps(raster)
    if not found.ids:
        raise ControlPointsUnreadable(
            "the raster has no ground control points", where=raster, mend="give the file that holds them: --gcps FILE"
        )
    ids = found.ids if len(set(found.ids)) == len(found.ids) and all(found.ids) else None
    target = settle_crs(found.crs_wkt, crs, path)
    return control_points(found.px, found.py, found.x, found.y, crs=target, ids=ids, source=path)


def write_gdal(
    points: ControlPoints, path: Path, *, scan: Path | None = None, size: tuple[int, int] | None = None
) -> Path:
    """Write the used points as a VRT over the scan, as an ``.aux.xml``, or into a GeoTIFF copy of the scan.

    Raises
    ------
    OptionInvalid
        A VRT or a GeoTIFF without a scan.
    """
    used = points.used()
    if path.name.lower().endswith(AUX):
        return write_text(path, f"<PAMDataset>\n{_gcp_list(used)}</PAMDataset>\n")
    if scan is None:
        raise OptionInvalid(f"{path.suffix} holds an image: the scan is needed", where=path, mend="give the scan")
    if path.suffix.lower() == ".vrt":
        return write_text(path, _vrt(used, path, scan))
    from gis.raster_io.gcps import copy_with_gcps

    return copy_with_gcps(scan, path, ids=used.ids, px=used.px, py=used.py, x=used.x, y=used.y, crs=used.crs)


def _vrt(points: ControlPoints, path: Path, scan: Path) -> str:
    from gis.raster_io.pictures import read_picture

    info = read_picture(scan)
    height, width = info.size
    try:
        name, relative = os.path.relpath(scan.resolve(), path.parent.resolve()), 1
    except ValueError:  # another drive on Windows
        name, relative = str(scan.resolve()), 0
    bands = []
    for band, (dtype, meaning) in enumerate(zip(info.gdal_types, info.meanings, strict=True), start=1):
        bands.append(
            f'  <VRTRasterBand dataType="{dtype}" band="{band}">\n'
            f"    <ColorInterp>{meaning}</ColorInterp>\n"
            f'    <SimpleSource>\n      <SourceFilename relativeToVRT="{relative}">{escape(name)}</SourceFilename>\n'
            f"      <SourceBand>{band}</SourceBand>\n    </SimpleSource>\n  </VRTRasterBand>\n"
        )
    head = f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">\n'
    return f"{head}{_gcp_list(points)}{''.join(bands)}</VRTDataset>\n"


def _gcp_list(points: ControlPoints) -> str:
    rows = [
        f'    <GCP Id={quoteattr(points.ids[i])} Pixel="{float(points.px[i])!r}" Line="{float(points.py[i])!r}" '
        f'X="{float(points.x[i])!r}" Y="{float(points.y[i])!r}" Z="0"/>\n'
        for i in range(len(points))
    ]
    wkt = points.crs.to_wkt("WKT2_2019")
    # X is always the easting or longitude; for a CRS defined north first the mapping says so.
    first = points.crs.axis_info[0].direction.lower() if points.crs.axis_info else "east"
    mapping = "2,1" if first == "north" else "1,2"
    head = f'  <GCPList Projection={quoteattr(wkt)} dataAxisToSRSAxisMapping="{mapping}">\n'
    return f"{head}{''.join(rows)}  </GCPList>\n"
