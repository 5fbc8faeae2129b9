"""Ground control points as GDAL holds them, read from any raster and written into a GeoTIFF.

In: a raster file. Out: ``GcpList``; a copy of a picture that carries control points.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import RasterUnreadable, WriteFailed
from gis.raster_io.info import DAMAGED
from gis.tables import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GcpList:
    """Control points of a raster, n of them, in its own order."""

    ids: tuple[str, ...]
    """(n,) GDAL's identifiers; may be empty text or repeated."""
    px: Floats = field(repr=False)
    """(n,) GDAL's pixel: column from the outer left edge."""
    py: Floats = field(repr=False)
    """(n,) GDAL's line: row down from the outer upper edge."""
    x: Floats = field(repr=False)
    """(n,) easting or longitude."""
    y: Floats = field(repr=False)
    """(n,) northing or latitude."""
    crs_wkt: str | None = field(repr=False)
    """CRS of (x, y) as WKT; None where the file names none."""


def read_gcps(path: str | Path) -> GcpList:
    """Read the control points GDAL finds in a raster, its VRT or its ``.aux.xml``.

    Raises
    ------
    RasterUnreadable
        GDAL cannot open it.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env(), rasterio.open(path, sharing=False) as source:
                points, crs = source.gcps
    except RasterioIOError as error:
        raise RasterUnreadable(f"GDAL cannot open it: {error}", where=path, mend=DAMAGED) from error
    table = np.array([(p.col, p.row, p.x, p.y) for p in points], np.float64).reshape(-1, 4)
    wkt = crs.to_wkt() if crs else None
    px, py, x, y = (table[:, k].copy() for k in range(4))
    return GcpList(tuple(str(p.id or "") for p in points), px, py, x, y, wkt)


def copy_with_gcps(
    scan: Path, path: Path, *, ids: Sequence[str], px: Floats, py: Floats, x: Floats, y: Floats, crs: CRS
) -> Path:
    """Copy a picture to a GeoTIFF that carries control points, atomically; cells are copied as they are.

    Raises
    ------
    RasterUnreadable, WriteFailed
        The scan cannot be read; the copy cannot be written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS as RasterioCRS
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not Path(scan).is_file():
        raise RasterUnreadable("there is no such picture", where=scan, mend="check its path")
    columns = zip(ids, px, py, x, y, strict=True)
    points = [GroundControlPoint(row=d, col=c, x=a, y=b, z=0.0, id=i) for i, c, d, a, b in columns]
    try:
        with atomic_path(path) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env():
                options = {"compress": "deflate", "tiled": "yes", "bigtiff": "if_safer"}
                rasterio.shutil.copy(scan, temporary, driver="GTiff", **options)
                with rasterio.open(temporary, "r+") as target:
                    target.gcps = (points, RasterioCRS.from_wkt(crs.to_wkt()))
    except RasterioError as error:
        raise WriteFailed(
            f"could not finish writing: {error}", where=path, mend="free some space, or check the scan"
        ) from error
    return Path(path)
