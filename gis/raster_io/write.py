"""Rasters written whole or not at all: tiled GeoTIFF and cloud-optimised GeoTIFF.

In: an array or strips of one, and their grid. Out: one file, complete or as it was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import OptionInvalid, RasterUnreadable, WriteFailed
from gis.raster_io.info import read_info
from gis.tables import atomic_path

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from gis.grid import Grid

    Array = NDArray[Any]


def write_raster(
    path: str | Path,
    values: Array | Iterable[Array],
    grid: Grid,
    *,
    dtype: DTypeLike,
    nodata: float | None = None,
    tags: Mapping[str, str] | None = None,
    cog: bool = True,
    blocksize: int = 512,
    overviews: Literal["average", "nearest", "none"] = "average",
) -> Path:
    """Write one band as a tiled GeoTIFF or COG (DEFLATE), atomically: ``path`` is complete or as it was before.

    Parameters
    ----------
    values : (ny, nx) array, or strips of it from north to south
        Strips are arrays of (rows, nx); together they have ny rows. Only one is held at a time.
    nodata : float, optional
        Declared in the file; must fit ``dtype``.
    tags : mapping of str to str
        Provenance; GDAL keeps it in the file's metadata.
    overviews : how coarser views are made ("nearest" for classes); COG only.

    Raises
    ------
    OptionInvalid
        Strips do not add up to the grid, or values or ``nodata`` do not fit ``dtype``.
    WriteFailed
        The disk is full or the folder cannot be written; nothing half-written stays behind.
    """
    from rasterio.errors import RasterioError

    path, kind = Path(path), np.dtype(dtype)
    if nodata is not None and not _fits(nodata, kind):
        raise OptionInvalid(f"nodata {nodata:g} does not fit {kind}", where=path, mend="choose a value of that dtype")
    strips = [values] if isinstance(values, np.ndarray) else values
    with atomic_path(path) as temporary:
        # Named after the temporary file, so that it goes when that goes.
        work = temporary.with_name(f"{temporary.name}.work.tif") if cog else temporary
        try:
            _write_tiled(work, strips, grid, kind, nodata, dict(tags or {}), blocksize)
            if cog:
                _copy_as_cog(work, temporary, kind, blocksize, overviews)
                work.unlink()
            read_info(temporary, crs=grid.crs)  # GDAL does not report a flush that failed on closing
        except (RasterioError, RasterUnreadable) as error:
            raise WriteFailed(
                f"could not finish writing: {error}", where=path, mend="free some space; what stood there is untouched"
            ) from error
    return path


def _fits(value: float, kind: np.dtype[Any]) -> bool:
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return bool(np.isfinite(value)) and value == int(value) and limits.min <= value <= limits.max


def _write_tiled(
    path: Path,
    strips: Iterable[Array],
    grid: Grid,
    kind: np.dtype[Any],
    nodata: float | None,
    tags: dict[str, str],
    blocksize: int,
) -> None:
    import rasterio
    from rasterio.crs import CRS as RasterioCRS
    from rasterio.windows import Window

    ny, nx = grid.shape
    profile = {
        "driver": "GTiff", "height": ny, "width": nx, "count": 1, "dtype": kind.name, "nodata": nodata,
        "crs": RasterioCRS.from_wkt(grid.crs.to_wkt()), "transform": grid.transform, "tiled": True,
        "blockxsize": blocksize, "blockysize": blocksize, "compress": "deflate", "bigtiff": "if_safer",
        "predictor": 3 if kind.kind == "f" else 2,
    }  # fmt: skip
    row = 0
    with rasterio.Env(), rasterio.open(path, "w", **profile) as target:
        target.update_tags(**tags)
        for strip in strips:
            rows = _as_dtype(strip, kind, path)
            if rows.ndim != 2 or rows.shape[1] != nx or row + rows.shape[0] > ny:
                raise OptionInvalid(
                    f"a strip of {rows.shape} cells at row {row} does not fit a grid of {ny} x {nx}",
                    mend="give strips of full rows, from north to south",
                )
            target.write(rows, 1, window=Window(0, row, nx, rows.shape[0]))
            row += rows.shape[0]
        if row != ny:
            raise OptionInvalid(f"{row} rows were given for a grid of {ny}", mend="give every row of the grid")


def _as_dtype(strip: Array, kind: np.dtype[Any], path: Path) -> Array:
    values = np.asarray(strip)
    if kind.kind == "f" or values.dtype == kind:
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    with np.errstate(invalid="ignore"):
        good = (values >= limits.min) & (values <= limits.max) & (values == np.floor(values))
    if not good.all():
        raise OptionInvalid(
            f"the value {values[~good][0]} does not fit {kind}",
            where=path,
            mend="round and fill first, or write a float dtype",
        )
    return values.astype(kind)


def _copy_as_cog(source: Path, target: Path, kind: np.dtype[Any], blocksize: int, overviews: str) -> None:
    import rasterio.shutil

    options = {
        "compress": "deflate", "predictor": "yes", "blocksize": blocksize, "bigtiff": "if_safer",
        "overviews": "none" if overviews == "none" else "auto",
    }  # fmt: skip
    if overviews != "none":
        options["overview_resampling"] = overviews
    with rasterio.Env():
        rasterio.shutil.copy(source, target, driver="COG", **options)
