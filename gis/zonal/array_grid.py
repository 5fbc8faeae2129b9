"""Where the cells of an xarray DataArray lie, and which of them are data: its grid, CRS and nodata values.

In: a DataArray, NumPy- or Dask-backed. Out: ``ArrayRaster``: the same values as lazy as they came, north up, with a
``Grid`` and ``CellRules``; or an error that says what the array does not say of itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, crs_name, same_crs
from gis.errors import CrsMismatch, CrsMissing, GridInvalid, OptionInvalid, RasterInvalid
from gis.grid import Grid
from gis.raster_io import CellRules, integer_fills, working_dtype
from gis.raster_io.rows import EXACT_INTEGERS

if TYPE_CHECKING:
    import xarray as xr
    from affine import Affine
    from numpy.typing import NDArray
    from pyproj import CRS

    Array = NDArray[Any]

X_NAMES = ("x", "lon", "longitude", "easting")
Y_NAMES = ("y", "lat", "latitude", "northing")
"""Names of the two dimensions of a map, in any case. Source: CF conventions 1.11 and rioxarray's defaults."""

PACKING = {"scale_factor": 1.0, "add_offset": 0.0, "scales": 1.0, "offsets": 0.0}
"""Attributes of numbers that are not yet in their unit, and the value that says they are. Source: CF conventions 1.11,
section 8.1; rioxarray's plural forms, where the bands of a file differ."""

NODATA = ("_FillValue", "missing_value", "nodatavals", "nodata", "fill_value")
"""Attributes that name values without data. Source: CF conventions 1.11, xarray, odc-stac, rioxarray."""

REGULAR = 1e-3
"""How far a coordinate may lie from its regular place [cells], beside the rounding of a float32 coordinate."""

GEOREFERENCE = "give a DataArray with x and y of the cell centres: xarray.DataArray(values, coords={'y': y, 'x': x})"
"""How to mend an array that does not say where it lies."""


@dataclass(frozen=True, slots=True)
class ArrayRaster:
    """An array whose cells have a place: (..., y, x), rows from north to south, columns from west to east."""

    data: xr.DataArray
    """The values, transposed and turned over where needed; as lazy as they came."""
    grid: Grid
    """Where the cells of the last two dimensions lie."""
    rules: CellRules
    """Which cells are data: the array's own nodata values, and those given."""


@dataclass(frozen=True, slots=True)
class ArrayCells:
    """Cells in memory: one slice of an array, or the window of it that a task needs."""

    grid: Grid
    """Where the cells of the whole slice lie."""
    rules: CellRules
    """Which cells are data."""
    values: Array = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    """(rows, cols) in any dtype of real numbers; none where only the place is known yet."""
    row0: int = 0
    """Row of the grid that the first row of ``values`` is."""
    col0: int = 0
    """Column of the grid that the first column of ``values`` is."""

    def read_rows(self, row0: int, row1: int, col0: int = 0, col1: int | None = None) -> Array:
        """A copy of rows [row0, row1) and columns [col0, col1) of the grid, in the dtype a file would give.

        Raises
        ------
        RasterInvalid
            64-bit integers too large for float64 to hold.
        """
        col1 = self.grid.shape[1] if col1 is None else col1
        part = self.values[row0 - self.row0 : row1 - self.row0, col0 - self.col0 : col1 - self.col0]
        assert part.shape == (row1 - row0, col1 - col0)  # a window holds what its task asks for
        out = np.array(part, working_dtype(part.dtype), order="C")
        if part.dtype in (np.int64, np.uint64):
            _refuse_rounded(out, self.rules)
        return out


def _refuse_rounded(values: Array, rules: CellRules) -> None:
    rounded = (np.abs(values) >= EXACT_INTEGERS) & ~np.isin(values, rules.nodata)
    if rounded.any():
        raise RasterInvalid(
            f"the integer {values[rounded][0]:.0f} is too large to be held exactly (2^53)",
            mend="if it is a fill value, name it: nodata=..., or array.assign_attrs(_FillValue=...)",
        )


def array_raster(
    array: Any, *, crs: Any = None, nodata: float | None = None, crs_key: str = "raster_crs"
) -> ArrayRaster:
    """Read grid, CRS and nodata of a DataArray.

    Parameters
    ----------
    crs : optional
        CRS of an array that carries none; one that carries another is refused.
    nodata : a further value that means no data.
    crs_key : what the caller calls ``crs``, for messages.

    Raises
    ------
    OptionInvalid
        Not a DataArray: a NumPy array has no place on earth, a Dataset has several arrays.
    GridInvalid
        No x and y, or irregular coordinates.
    CrsMissing, CrsMismatch, CrsInvalid
    RasterInvalid
        Complex numbers, dates, or packed numbers that have not been unpacked.
    """
    if hasattr(array, "data_vars"):
        names = ", ".join(str(v) for v in array.data_vars)
        one = next(iter(array.data_vars), "name")
        raise OptionInvalid(f"a Dataset holds several arrays: {names}", mend=f"give one of them: dataset[{one!r}]")
    if not hasattr(array, "dims") or not hasattr(array, "coords"):
        raise OptionInvalid(f"a {type(array).__name__} does not say where its cells lie", mend=GEOREFERENCE)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    working_dtype(array.dtype)  # refuses what is not a real number
    if any(np.any(np.asarray(array.attrs.get(name, plain)) != plain) for name, plain in PACKING.items()):
        raise RasterInvalid(
            f"the array holds packed numbers: it has one of the attributes {', '.join(PACKING)}",
            mend="open it with mask_and_scale=True, or apply them and drop the attributes",
        )
    x, y = _map_dims(array)
    extra = [d for d in array.dims if d not in (x, y)]
    data = array.transpose(*extra, y, x)
    (ny, nx), turn = data.shape[-2:], dict[Hashable, slice]()
    reference = _grid_mapping(array)
    exact = _geotransform(reference)
    cell_x, left = _axis(data, x, (exact.a, exact.c) if exact else None)
    cell_y, top = _axis(data, y, (exact.e, exact.f) if exact else None)
    if cell_x < 0:
        turn[x], cell_x, left = slice(None, None, -1), -cell_x, left + nx * cell_x
    if cell_y > 0:
        turn[y], cell_y, top = slice(None, None, -1), -cell_y, top + ny * cell_y
    from affine import Affine

    grid = Grid((ny, nx), Affine(cell_x, 0.0, left, 0.0, cell_y, top), _crs(array, reference, crs, crs_key))
    values = [v for v in (*_nodata(array), nodata) if v is not None and not np.isnan(v)]
    fills = tuple(dict.fromkeys([*values, *integer_fills(array.dtype)]))
    return ArrayRaster(data.isel(turn), grid, CellRules(nodata=fills, negatives="keep"))


def _map_dims(array: xr.DataArray) -> tuple[Hashable, Hashable]:
    found = []
    for axis, names in (("X", X_NAMES), ("Y", Y_NAMES)):
        named = [d for d in array.dims if str(d).lower() in names]
        marked = [d for d in array.dims if d in array.coords and array.coords[d].attrs.get("axis") == axis]
        if len(marked or named) != 1:
            dims = ", ".join(str(d) for d in array.dims)
            raise GridInvalid(f"of the dimensions {dims}, none or several are {axis.lower()}", mend=GEOREFERENCE)
        found.append((marked or named)[0])
    return found[0], found[1]


def _axis(array: xr.DataArray, dim: Hashable, exact: tuple[float, float] | None) -> tuple[float, float]:
    """(step, outer edge of the first cell) along a dimension, signed as its coordinate runs.

    ``exact`` is what the array's GeoTransform says; it holds where it agrees with the coordinate, and spares the
    rounding of a step computed from it.
    """
    if dim not in array.coords:
        raise GridInvalid(f"the dimension {dim} has no coordinate", mend=GEOREFERENCE)
    where = np.asarray(array.coords[dim].values)
    if where.dtype.kind not in "iuf" or not np.isfinite(where).all():
        raise GridInvalid(f"the coordinate {dim} is not made of finite numbers", mend=GEOREFERENCE)
    centre, n = where.astype(np.float64), np.arange(where.size)
    rounding = np.finfo(np.float32).eps * np.abs(centre).max() if where.dtype == np.float32 else 0.0
    for step, edge in _steps(centre, exact):
        # half a unit in the last place of float32 at either end moves every place between by no more than one
        if np.abs(edge + (n + 0.5) * step - centre).max() <= REGULAR * abs(step) + rounding and step != 0:
            return step, edge
    if where.size == 1:
        raise GridInvalid(f"one cell along {dim} has no width", mend="keep two rows and two columns at least")
    steps = np.diff(centre)
    unsorted = (steps > 0).any() and (steps < 0).any()
    raise GridInvalid(
        f"the coordinate {dim} is not regular",
        mend=f"sort it: array.sortby({dim!r})"
        if unsorted
        else "interpolate to a regular grid first: array.interp(...)",
    )


def _steps(centre: NDArray[np.float64], exact: tuple[float, float] | None) -> Iterator[tuple[float, float]]:
    if exact:
        step, edge = exact
        yield step, edge
        yield -step, edge + centre.size * step  # turned over since it was written
        # A part of the file: as many whole cells further on.
        skipped = round((centre[0] - edge) / step - 0.5)
        yield step, edge + skipped * step
        yield -step, edge + (skipped + 1) * step
    if centre.size > 1:
        step = (centre[-1] - centre[0]) / (centre.size - 1)
        yield step, centre[0] - step / 2


def _grid_mapping(array: xr.DataArray) -> dict[str, Any]:
    """Attributes of the coordinate that describes the CRS; empty without one."""
    named = array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping") or "spatial_ref"
    return dict(array.coords[named].attrs) if named in array.coords else {}


def not_of_the_map(array: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    """Coordinates that still mean something without x and y."""
    mapping = array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping") or "spatial_ref"
    kept = {name: c for name, c in array.coords.items() if set(c.dims) <= set(array.dims[:-2]) and name != mapping}
    return {name: c.drop_vars(mapping, errors="ignore") for name, c in kept.items()}  # each carries it along


def _geotransform(reference: dict[str, Any]) -> Affine | None:
    from affine import Affine

    try:
        found = Affine.from_gdal(*(float(v) for v in str(reference["GeoTransform"]).split()))
    except (KeyError, ValueError, TypeError):
        return None
    return found if found.b == found.d == 0 and found.a != 0 and found.e != 0 else None


def _crs(array: xr.DataArray, reference: dict[str, Any], given: Any, key: str) -> CRS:
    """The CRS given, of rioxarray's accessor, of the grid mapping, or of the attributes; the first there is."""
    own = getattr(getattr(array, "rio", None), "crs", None)  # the accessor exists once rioxarray is imported
    found = own.to_wkt() if own else reference.get("crs_wkt") or reference.get("spatial_ref")
    found = found or array.attrs.get("crs") or array.attrs.get("crs_wkt") or array.attrs.get("spatial_ref")
    if found is None and "grid_mapping_name" in reference:
        from pyproj import CRS

        found = CRS.from_cf(reference)
    if found is None and given is None:
        raise CrsMissing(
            "the array names no CRS",
            mend=f'name it: {key}="EPSG:4326", or array.rio.write_crs(...); of a NetCDF '
            'file that says it, xarray.open_dataset(..., decode_coords="all") brings it along',
        )
    if found is not None and given is not None and not same_crs(found, given):
        raise CrsMismatch(
            f"the array is in {crs_name(found)}, {key} says {crs_name(given)}",
            mend=f"drop {key}, or correct the array's own: array.rio.write_crs(...)",
        )
    return crs_from(given if found is None else found)


def _nodata(array: xr.DataArray) -> list[float]:
    """Nodata values the array declares; a masked array has NaN instead, and its encoding speaks of the file."""
    declared = [(name, array.attrs[name]) for name in NODATA if array.attrs.get(name) is not None]
    if not declared:  # the accessor reads the same attributes, and knows a file it opened itself
        declared = [("rio.nodata", getattr(getattr(array, "rio", None), "nodata", None))]
    out: list[float] = []
    for name, value in declared:
        try:
            values = [float(v) for v in np.ravel(value) if v is not None]
        except (TypeError, ValueError) as error:
            raise RasterInvalid(
                f"the attribute {name} is {value!r}, not a number",
                mend=f"drop it and say nodata=...: del array.attrs[{name!r}]",
            ) from error
        if np.unique(values).size > 1:  # np.unique: NaN once
            raise RasterInvalid(
                f"the attribute {name} says something else for each band: {value}",
                mend=f"mask each band (rioxarray: masked=True) and drop it: del array.attrs[{name!r}]",
            )
        out += values
    return out
