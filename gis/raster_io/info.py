"""What a raster file is: grid, dtype, declared nodata; and the files that are refused before a number is read.

In: a path or an address. Out: ``RasterInfo``, whose grid is north-up whatever the file is.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.crs import crs_from, crs_name, same_crs
from gis.errors import (
    CrsInvalid,
    CrsMismatch,
    CrsMissing,
    GridInvalid,
    OptionInvalid,
    RasterInvalid,
    RasterUnreadable,
)
from gis.grid import Grid
from gis.raster_io.cells import working_dtype
from gis.raster_io.remote import (
    RasterPath,
    RemoteFile,
    gdal_env,
    gdal_name,
    is_address,
    refuse_parts_beside,
    remote_file,
)

if TYPE_CHECKING:
    from affine import Affine
    from pyproj import CRS

PICTURE_DRIVERS = frozenset({"JPEG", "PNG", "GIF", "BMP", "WEBP"})
"""Formats that hold pictures: no CRS of their own, 8-bit colours."""

DAMAGED = "download or copy the file again; its size should equal the source's"
"""How to mend a file that is cut short or garbled."""

_FOLDED_ADDRESS = re.compile(r"(https?|s3|gs|az):[/\\][^/\\]|[/\\]vsi")
_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)|[A-Za-z][A-Za-z0-9+.-]+://")
"""Names inside a file, such as a VRT's sources, that lead to the network."""


@dataclass(frozen=True, slots=True)
class RasterInfo:
    """One band of one raster file: where its cells lie and how its numbers are stored."""

    path: RasterPath
    """The file; for an ESRI GRID its folder; for an address, the object behind it."""
    grid: Grid
    """Shape, transform and CRS, north up whatever the file is."""
    band: int
    """Band to read, counted from 1."""
    dtype: str
    """NumPy name of the dtype on disk."""
    nodata: float | None
    """The declared nodata value, in the numbers on disk; None when none is declared."""
    n_bands: int
    """Bands in the file."""
    is_south_up: bool
    """Whether the file's first row is the southernmost; rows are handed out north first all the same."""
    area_or_point: Literal["Area", "Point"]
    """What the file says its pixels are; GDAL has moved a point grid by half a cell already."""
    block_shape: tuple[int, int]
    """(rows, cols) of a block on disk: reading anything less decompresses as much."""
    notes: tuple[str, ...] = ()
    """What a reader should know though the numbers stand."""
    scale: float = 1.0
    """Value = number on disk * scale + offset; applied on reading."""
    offset: float = 0.0
    """See ``scale``."""
    has_mask: bool = False
    """Whether the file has a mask of its own, a mask band or an alpha band; masked cells are handed out as no data."""
    alpha_band: int | None = None
    """Band whose zeros are the mask, where that is an alpha band of a dtype GDAL does not read as a mask itself."""
    sidecars: tuple[Path, ...] = ()
    """Files beside it that GDAL reads numbers, scale, mask or georeference from (``.aux.xml``, ``.msk``, ``.tfw``)."""

    @property
    def is_scaled(self) -> bool:
        """Whether numbers on disk are not yet values; then ``nodata`` is turned into NaN on reading."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def working_dtype(self) -> np.dtype[Any]:
        """Dtype of the arrays `RasterHandle.read_rows` returns: float32, int32 or float64."""
        return np.dtype(np.float64) if self.is_scaled else working_dtype(self.dtype)


def read_info(
    path: str | RasterPath, *, band: int = 1, crs: Any = None, config_key: str = "crs", remote: bool | None = None
) -> RasterInfo:
    """Read what a raster file says of itself, and refuse what would give wrong numbers.

    Parameters
    ----------
    path : file, folder of an ESRI GRID (or any .adf file in it), or address: ``https://``, ``s3://``, ... as text.
    band : int
        Counted from 1.
    crs : optional
        CRS of a file that carries none; a file that carries another is refused.
    config_key : str
        The key of ``workspace.toml`` that gives ``crs``, for the mend line.
    remote : bool, optional
        Whether an address may be read; default: if the environment says ``LIGHTPANEL_REMOTE=1``.

    Raises
    ------
    RasterUnreadable
        Missing, empty, truncated or of unknown format; out of reach.
    RasterInvalid
        A picture, complex cells, or no georeference at all.
    OptionInvalid
        The file has no such band; or addresses are off.
    GridInvalid
        Rotated or mirrored.
    CrsMissing, CrsMismatch, CrsInvalid
        No CRS anywhere; two that differ; one that is neither geographic nor projected.
    """
    if isinstance(path, str) and is_address(path):
        path = remote_file(path, allowed=remote)
    if isinstance(path, RemoteFile):
        refuse_parts_beside(path)
    else:
        path = _raster_path(Path(path))
    with gdal_env(path), _open(path) as source:
        _refuse_picture(source, path)
        if not 1 <= band <= source.count:
            raise OptionInvalid(
                f"there is no band {band}; the file has {source.count}",
                where=path,
                mend=f"set band between 1 and {source.count}",
            )
        dtype = str(source.dtypes[band - 1])
        if dtype.startswith("complex"):
            raise RasterInvalid(f"cells are {dtype}", where=path, mend="save the real part or the magnitude")
        _refuse_truncated(source, band, path)
        notes: list[str] = []
        transform, is_south_up = _north_up(source, path)
        if is_south_up:
            notes.append("the file runs from south to north; its rows were turned over")
        is_point = source.tags().get("AREA_OR_POINT") == "Point"
        if is_point:
            notes.append("pixels are points in this file: the grid was moved by half a cell so that they are centres")
        alpha = _alpha_band(source, band)
        has_mask = alpha is not None or _has_mask(source, band)
        if has_mask:
            notes.append("the file carries a mask band; masked cells count as no data")
        scale, offset = float(source.scales[band - 1]), float(source.offsets[band - 1])
        if (scale, offset) != (1.0, 0.0):
            notes.append(f"values are numbers on disk * {scale:g} + {offset:g}, as the file declares")
        nodata = source.nodatavals[band - 1]
        return RasterInfo(
            path=path,
            grid=Grid(source.shape, transform, _crs(source, crs, config_key, path)),
            band=band,
            dtype=dtype,
            nodata=None if nodata is None else float(nodata),
            n_bands=source.count,
            is_south_up=is_south_up,
            area_or_point="Point" if is_point else "Area",
            block_shape=source.block_shapes[band - 1],
            notes=tuple(notes),
            scale=scale,
            offset=offset,
            has_mask=has_mask,
            alpha_band=alpha,
            sidecars=_sidecars(source, path),
        )


def _raster_path(path: Path) -> Path:
    if path.suffix.lower() == ".adf":
        path = path.parent
    if not path.exists():
        mend = "check the name, and the key files in workspace.toml"
        if _FOLDED_ADDRESS.match(str(path)):
            mend = "give an address as text: a Path folds its // into /"
        raise RasterUnreadable("there is no such file", where=path, mend=mend)
    if path.is_dir():
        if not (path / "hdr.adf").exists():
            raise RasterUnreadable("a folder without hdr.adf is no ESRI GRID", where=path, mend="name the raster file")
    elif path.stat().st_size == 0:
        raise RasterUnreadable("the file is empty (0 bytes)", where=path, mend=DAMAGED)
    return path


def _open(path: RasterPath) -> Any:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # refused below, with what to do about it
        try:
            return rasterio.open(gdal_name(path), sharing=False)
        except RasterioIOError as error:
            raise RasterUnreadable(
                f"GDAL cannot open it: {error}", where=path, mend=f"it is damaged or not a raster: {DAMAGED}"
            ) from error


def _refuse_picture(source: Any, path: RasterPath) -> None:
    from rasterio.enums import ColorInterp

    colours = set(source.colorinterp)
    if source.driver in PICTURE_DRIVERS:
        what = f"a {source.driver} picture"
    elif source.count >= 3 and set(source.dtypes) == {"uint8"} and {ColorInterp.red, ColorInterp.blue} <= colours:
        what = f"a picture of {source.count} colour bands"
    elif ColorInterp.palette in colours and not _is_grey(source, source.colorinterp.index(ColorInterp.palette) + 1):
        what = "a picture with a colour table"
    else:
        return
    raise RasterInvalid(
        f"this is {what}: its cells are colours, not measurements", where=path, mend=_beside_the_picture(path)
    )


def _is_grey(source: Any, band: int) -> bool:
    # A grey ramp shows the numbers as they are (DMSP files carry one at times); only colours replace them.
    return all(r == g == b for r, g, b, _ in source.colormap(band).values())


def _beside_the_picture(path: RasterPath) -> str:
    if isinstance(path, RemoteFile):
        return "name the product's data file (float or integer, one band), not its preview or colorized picture"
    plain = path.with_name(path.name.replace("-colorized", "").replace("_colorized", ""))
    if plain != path:
        there = "which is there" if plain.exists() else "from the same download"
        return f"use {plain.name}, {there}; the -colorized file is for looking at"
    return "use the product's data file (float or integer, one band), not its preview or colorized picture"


def _refuse_truncated(source: Any, band: int, path: RasterPath) -> None:
    """Compare where the last block of a GeoTIFF ends with the file's size: an interrupted download ends before it."""
    if source.driver != "GTiff" or (isinstance(path, Path) and not path.is_file()):
        return
    (rows, cols), (ny, nx) = source.block_shapes[band - 1], source.shape
    name = f"{(nx - 1) // cols}_{(ny - 1) // rows}"
    start = source.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=band)
    length = source.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=band)
    if start is None or length is None:  # a sparse file: blocks without data are not stored
        return
    size = path.size if isinstance(path, RemoteFile) else path.stat().st_size
    if int(start) + int(length) > size:
        raise RasterUnreadable(
            f"the file is cut short: {size} bytes, its last block ends at {int(start) + int(length)}",
            where=path,
            mend=DAMAGED,
        )


def _north_up(source: Any, path: RasterPath) -> tuple[Affine, bool]:
    from affine import Affine

    t = source.transform
    if t == Affine.identity():
        has_points = bool(source.gcps[0])
        raise RasterInvalid(
            "the file has no georeference" + (", only control points" if has_points else ""),
            where=path,
            mend="warp it to its control points first: gdalwarp in.tif out.tif"
            if has_points
            else "use the product's GeoTIFF, or keep its world file (.tfw) and .aux.xml beside it",
        )
    if t.b != 0 or t.d != 0:
        raise GridInvalid("the raster is rotated", where=path, mend="warp it north-up first: gdalwarp in.tif out.tif")
    if t.a < 0:
        raise GridInvalid("the raster runs from east to west", where=path, mend="turn it: gdalwarp in.tif out.tif")
    if t.e < 0:
        return t, False
    return Affine(t.a, 0.0, t.c, 0.0, -t.e, t.f + source.shape[0] * t.e), True


def _has_mask(source: Any, band: int) -> bool:
    from rasterio.enums import MaskFlags

    return MaskFlags.per_dataset in source.mask_flag_enums[band - 1]


def _alpha_band(source: Any, band: int) -> int | None:
    """Alpha band that GDAL does not take for a mask: it does for 8 and 16 bits, gdalwarp -dstalpha writes any dtype."""
    from rasterio.enums import ColorInterp

    colours = source.colorinterp
    if _has_mask(source, band) or colours[band - 1] == ColorInterp.alpha or ColorInterp.alpha not in colours:
        return None
    return int(colours.index(ColorInterp.alpha)) + 1


def _sidecars(source: Any, path: RasterPath) -> tuple[Path, ...]:
    """Overviews are never read, and the files of an ESRI GRID are the raster itself."""
    if isinstance(path, RemoteFile):
        return ()
    far = next((name for name in source.files if _NETWORK.match(name)), None)
    if far is not None:
        raise RasterInvalid(
            f"it reads {far.partition('?')[0]} over the network", where=path, mend="name that address itself"
        )
    beside = (Path(name) for name in source.files)
    return tuple(
        sorted(p for p in beside if p != path and p.parent != path and p.suffix.lower() not in (".ovr", ".rrd"))
    )


def _crs(source: Any, given: Any, config_key: str, path: RasterPath) -> CRS:
    found = None if source.crs is None else crs_from(source.crs.to_wkt(), where=path)
    if found is None:
        if given is None:
            raise CrsMissing(
                "the file carries no coordinate reference system",
                where=path,
                mend=f'set {config_key} = "EPSG:4326" if its coordinates are degrees on WGS 84',
            )
        found = crs_from(given, where=config_key)
    elif given is not None and not same_crs(found, given):
        raise CrsMismatch(
            f"the file is in {crs_name(found)}, {config_key} says {crs_name(given)}",
            where=path,
            mend=f"remove {config_key}: it is for files that carry no CRS",
        )
    if not (found.is_geographic or found.is_projected):
        raise CrsInvalid(
            f"{found.name} is neither geographic nor projected",
            where=path,
            mend="give the file its real CRS: gdal_edit.py -a_srs EPSG:4326 file.tif",
        )
    return found
