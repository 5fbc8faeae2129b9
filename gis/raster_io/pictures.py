"""Pictures: scans read in windows as red, green, blue and alpha, and pictures on a grid written as COG or PNG.

In: image files of any kind GDAL reads. Out: ``PictureInfo``, windows of 8-bit colours, one finished file.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid, RasterInvalid, RasterUnreadable, WriteFailed
from gis.raster_io.info import DAMAGED
from gis.tables import atomic_path

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    from gis.grid import Grid

    Bytes = NDArray[np.uint8]

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "float32": "Float32"}
"""Names of cell types in a VRT."""
CM_PER_INCH = 2.54
SEQUENTIAL = frozenset({"PNG", "JPEG", "GIF", "WEBP", "JPEG2000", "BMP"})
"""Formats that are read from the top: a window costs all rows above it, so they are unpacked to tiles first."""


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a picture file is."""

    path: Path
    """The file."""
    size: tuple[int, int]
    """(height, width) [px]."""
    gdal_types: tuple[str, ...]
    """GDAL's cell type of each band."""
    meanings: tuple[str, ...]
    """GDAL's colour meaning of each band: ``Gray``, ``Palette``, ``Red``, ``Alpha``, ..."""
    dpi: float | None
    """Resolution tag [px per inch]; None without one, or with one that is not a length."""
    transform: Affine | None
    """Geotransform of a picture that is georeferenced already; None otherwise."""
    n_bits: int
    """Bits of a cell that are used: 1 for a black and white scan."""
    driver: str = field(repr=False)
    """GDAL's name of the format."""


def read_picture(path: str | Path) -> PictureInfo:
    """Look at a picture file.

    Raises
    ------
    RasterUnreadable
        It is missing, or GDAL cannot open it.
    RasterInvalid
        Its bands are neither grey, palette, RGB nor any of these with alpha.
    """
    import rasterio
    from affine import Affine
    from rasterio.errors import RasterioIOError

    path = Path(path)
    if not path.is_file():
        raise RasterUnreadable("there is no such picture", where=path, mend="check its path")
    try:
        with _quiet(), rasterio.open(path, sharing=False) as source:
            tags, bits = source.tags(), source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8")
            meanings = tuple(_meaning(c.name) for c in source.colorinterp)
            types = tuple(GDAL_TYPES.get(kind, kind) for kind in source.dtypes)
            transform = None if source.transform == Affine.identity() else source.transform
            info = PictureInfo(
                path, source.shape, types, meanings, _dpi(tags), transform, int(bits), str(source.driver)
            )
    except RasterioIOError as error:
        raise RasterUnreadable(f"GDAL cannot open it: {error}", where=path, mend=DAMAGED) from error
    if types[0] not in ("Byte", "UInt16") or "Cyan" in meanings:
        kind = "CMYK" if "Cyan" in meanings else types[0]
        raise RasterInvalid(
            f"a picture of {kind} cells cannot be shown as it is",
            where=path,
            mend="save the scan as 8-bit grey or RGB: gdal_translate -ot Byte -scale in.tif out.tif",
        )
    return info


class PictureHandle:
    """An open picture. One handle per thread."""

    __slots__ = ("_palette", "_source", "info")

    def __init__(self, info: PictureInfo, source: Any) -> None:
        self.info = info
        self._source = source
        self._palette: Bytes | None = None
        if info.meanings[0] == "Palette":
            table = source.colormap(1)
            self._palette = np.array([table.get(i, (0, 0, 0, 0)) for i in range(256)], np.uint8)

    def read_rgba(self, row0: int, row1: int, col0: int, col1: int, *, shape: tuple[int, int] | None = None) -> Bytes:
        """Read rows [row0, row1) and columns [col0, col1) as colours.

        Parameters
        ----------
        shape : (height, width) to average down to, optional

        Returns
        -------
        (4, rows, cols) uint8: red, green, blue, alpha (255 where the file has none)
        """
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioIOError
        from rasterio.windows import Window

        options: dict[str, Any] = {"window": Window(col0, row0, col1 - col0, row1 - row0)}
        if shape is not None:
            how = Resampling.nearest if self._palette is not None else Resampling.average
            options |= {"out_shape": (self._source.count, *shape), "resampling": how}
        try:
            bands = self._source.read(**options)
        except RasterioIOError as error:
            raise RasterUnreadable(
                f"rows {row0} to {row1} cannot be read: the file is damaged", where=self.info.path, mend=DAMAGED
            ) from error
        if self._palette is not None:
            return np.ascontiguousarray(np.moveaxis(self._palette[bands[0]], -1, 0))
        if bands.dtype == np.uint16:
            bands = (bands >> 8).astype(np.uint8)
        elif self.info.n_bits < 8:
            bands = (bands.astype(np.uint16) * 255 // (2**self.info.n_bits - 1)).astype(np.uint8)
        return self._rgba(bands)

    def _rgba(self, bands: Bytes) -> Bytes:
        out = np.full((4, *bands.shape[1:]), 255, np.uint8)
        colours = [i for i, meaning in enumerate(self.info.meanings) if meaning != "Alpha"][:3]
        out[:3] = bands[colours] if len(colours) == 3 else bands[colours[:1]]
        if "Alpha" in self.info.meanings:
            out[3] = bands[self.info.meanings.index("Alpha")]
        return out


@contextmanager
def open_picture(info: PictureInfo) -> Iterator[PictureHandle]:
    """Open a picture for windows in any order; one stored from the top is unpacked to a temporary file first."""
    import rasterio
    import rasterio.shutil
    from rasterio.errors import RasterioError

    with tempfile.TemporaryDirectory(prefix="lightpanel-") as folder, _quiet():
        path = info.path
        try:
            if info.driver in SEQUENTIAL:
                path = Path(folder) / "scan.tif"
                rasterio.shutil.copy(info.path, path, driver="GTiff", tiled="yes", bigtiff="if_safer")
            source = rasterio.open(path, sharing=False)
        except RasterioError as error:
            raise RasterUnreadable(f"GDAL cannot unpack it: {error}", where=info.path, mend=DAMAGED) from error
        with source:
            yield PictureHandle(info, source)


def write_picture(
    path: str | Path,
    strips: Iterable[Bytes],
    grid: Grid,
    *,
    tags: Mapping[str, str] | None = None,
    blocksize: int = 512,
) -> Path:
    """Write red, green, blue and alpha on a grid as a COG (DEFLATE, lossless), atomically.

    Parameters
    ----------
    strips : arrays (4, rows, nx) uint8, from north to south; only one is held at a time

    Raises
    ------
    OptionInvalid
        Strips do not add up to the grid.
    WriteFailed
        The disk is full or the folder cannot be written; nothing half-written stays behind.
    """
    import rasterio.shutil
    from rasterio.errors import RasterioError

    path = Path(path)
    with atomic_path(path) as temporary:
        # Named after the temporary file, so that it goes when that goes.
        work = temporary.with_name(f"{temporary.name}.work.tif")
        try:
            _write_rgba(work, strips, grid, dict(tags or {}), blocksize)
            options = {"compress": "deflate", "predictor": "yes", "blocksize": blocksize, "bigtiff": "if_safer"}
            with _quiet():
                rasterio.shutil.copy(work, temporary, driver="COG", overview_resampling="average", **options)
        except RasterioError as error:
            raise WriteFailed(
                f"could not finish writing: {error}", where=path, mend="free some space; what stood there is untouched"
            ) from error
    return path


def _write_rgba(path: Path, strips: Iterable[Bytes], grid: Grid, tags: dict[str, str], blocksize: int) -> None:
    import rasterio
    from rasterio.crs import CRS as RasterioCRS
    from rasterio.windows import Window

    ny, nx = grid.shape
    profile = {
        "driver": "GTiff", "height": ny, "width": nx, "count": 4, "dtype": "uint8", "photometric": "RGB",
        "alpha": "yes",
        "crs": RasterioCRS.from_wkt(grid.crs.to_wkt()), "transform": grid.transform, "tiled": True,
        "blockxsize": blocksize, "blockysize": blocksize, "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    row = 0
    with _quiet(), rasterio.open(path, "w", **profile) as target:
        target.update_tags(**tags)
        for strip in strips:
            if strip.ndim != 3 or strip.shape[0] != 4 or strip.shape[2] != nx or row + strip.shape[1] > ny:
                raise OptionInvalid(
                    f"a strip of {strip.shape} at row {row} does not fit a picture of 4 x {ny} x {nx}",
                    mend="give strips of four bands and full rows, from north to south",
                )
            target.write(strip, window=Window(0, row, nx, strip.shape[1]))
            row += strip.shape[1]
        if row != ny:
            raise OptionInvalid(f"{row} rows were given for a grid of {ny}", mend="give every row of the grid")


@contextmanager
def _quiet() -> Iterator[None]:
    """GDAL's environment, without the warning that a scan has no georeference: that is why it is here."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings(), rasterio.Env():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _meaning(name: str) -> str:
    return "Gray" if name in ("gray", "grey") else name.capitalize()


def _dpi(tags: Mapping[str, str]) -> float | None:
    value, unit = tags.get("TIFFTAG_XRESOLUTION"), tags.get("TIFFTAG_RESOLUTIONUNIT", "2").strip()[:1]
    try:
        dpi = float(value) if value else 0.0
    except ValueError:
        return None
    if dpi <= 1 or unit not in ("2", "3"):  # 1 is the default of programs that know no resolution
        return None
    return dpi * CM_PER_INCH if unit == "3" else dpi
