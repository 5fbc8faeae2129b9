"""Rows of a raster as plain arrays, north first, in one of three dtypes.

In: ``RasterInfo``. Out: a handle whose `RasterHandle.read_rows` fills arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid, RasterInvalid, RasterUnreadable
from gis.raster_io.cells import INT_FILL, CellRules, integer_fills
from gis.raster_io.info import DAMAGED
from gis.raster_io.remote import RemoteFile, gdal_env, gdal_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gis.raster_io.info import RasterInfo

    Array = NDArray[Any]

EXACT_INTEGERS = 2**53
"""From here on float64 no longer tells neighbouring integers apart. Source: IEEE 754 binary64."""


class RasterHandle:
    """An open band. One handle per thread: GDAL datasets must not be shared between threads."""

    __slots__ = ("_source", "info")

    def __init__(self, info: RasterInfo, source: Any) -> None:
        self.info = info
        self._source = source

    def read_rows(
        self, row0: int, row1: int, col0: int = 0, col1: int | None = None, out: Array | None = None
    ) -> Array:
        """Read rows [row0, row1) and columns [col0, col1) of the north-up grid.

        Parameters
        ----------
        out : (row1 - row0, col1 - col0) array of ``info.working_dtype``, C-contiguous, optional
            Buffer to fill and return.

        Returns
        -------
        (row1 - row0, col1 - col0) array of ``info.working_dtype``, C-contiguous [unit of the product]
            Scale and offset are applied. Masked cells, and declared nodata of a scaled file, are NaN (or `INT_FILL`).

        Raises
        ------
        RasterUnreadable
            The file is damaged in these rows.
        RasterInvalid
            64-bit integers too large for float64 to hold.
        """
        from rasterio.errors import RasterioIOError
        from rasterio.windows import Window

        info = self.info
        ny, nx = info.grid.shape
        col1 = nx if col1 is None else col1
        if not (0 <= row0 <= row1 <= ny and 0 <= col0 <= col1 <= nx):
            raise OptionInvalid(
                f"rows {row0}-{row1}, columns {col0}-{col1} leave the grid of {ny} x {nx} cells",
                where=info.path,
                mend="ask for rows and columns of info.grid",
            )
        shape = (row1 - row0, col1 - col0)
        if out is None:
            out = np.empty(shape, info.working_dtype)
        elif out.shape != shape or out.dtype != info.working_dtype or not out.flags.c_contiguous:
            raise OptionInvalid(
                f"the buffer is {out.shape} {out.dtype}, the rows are {shape} {info.working_dtype}",
                mend="give a C-contiguous array of info.working_dtype",
            )
        if 0 in shape:
            return out
        first = ny - row1 if info.is_south_up else row0
        window = Window(col0, first, shape[1], shape[0])
        try:
            self._source.read(info.band, window=window, out=out)
            masked = self._read_mask(window) if info.has_mask else None
        except RasterioIOError as error:
            raise RasterUnreadable(
                f"rows {row0} to {row1} cannot be read: the file is damaged", where=info.path, mend=DAMAGED
            ) from error
        self._finish(out, masked)
        if info.is_south_up:
            out[:] = out[::-1].copy()
        return out

    def _read_mask(self, window: Any) -> NDArray[np.bool_]:
        alpha = self.info.alpha_band
        mask = self._source.read_masks(self.info.band, window=window) if alpha is None else None
        return np.asarray((self._source.read(alpha, window=window) if mask is None else mask) == 0)

    def _finish(self, out: Array, masked: NDArray[np.bool_] | None) -> None:
        info = self.info
        if info.dtype in ("int64", "uint64"):
            self._refuse_rounded(out)
        if info.is_scaled:
            fill = False if info.nodata is None else out == info.nodata
            fill = fill | np.isin(out, integer_fills(info.dtype))
            fill = fill | (np.abs(out) >= CellRules().fill_limit)  # before a small scale brings a fill into range
            out *= info.scale
            out += info.offset
            out[fill] = np.nan
        if masked is not None:
            out[masked] = INT_FILL if out.dtype.kind == "i" else np.nan

    def _refuse_rounded(self, out: Array) -> None:
        allowed = [v for v in (self.info.nodata, *integer_fills(self.info.dtype)) if v is not None]
        rounded = (np.abs(out) >= EXACT_INTEGERS) & ~np.isin(out, allowed)
        if rounded.any():
            raise RasterInvalid(
                f"the integer {out[rounded][0]:.0f} is too large to be held exactly (2^53)",
                where=self.info.path,
                mend="if it is a fill value, declare it: gdal_edit.py -a_nodata VALUE file.tif",
            )


@contextmanager
def open_raster(info: RasterInfo) -> Iterator[RasterHandle]:
    """Open the band described by ``info`` for reading; open one handle in every thread.

    Raises
    ------
    RasterUnreadable
        The file is gone or damaged since `read_info` saw it; or an object behind an address was replaced meanwhile.
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    with gdal_env(info.path):
        try:
            source = rasterio.open(gdal_name(info.path), sharing=False)
        except RasterioIOError as error:
            raise RasterUnreadable(f"GDAL cannot open it: {error}", where=info.path, mend=DAMAGED) from error
        with source:
            yield RasterHandle(info, source)
        if isinstance(info.path, RemoteFile):
            info.path.refuse_changed()
