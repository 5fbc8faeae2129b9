"""Telegraph offices as digitised, carried to the ground with a standard deviation for each.

In: a CSV or vector file in pixels of the scan or in map coordinates; a transform and its accuracy. Out: ``Offices``.
The standard deviation is METHOD 8.5's: sigma^2 = sigma_model^2 + sigma_extra^2, per axis, in kilometres.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from gis.crs import crs_from, transformer
from gis.errors import CodeInvalid, CrsMissing, OptionInvalid, TableInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]

Space = Literal["auto", "pixel", "map"]
SigmaRule = Literal["global", "local"]

NEAREST = 8
"""Control points behind a local standard deviation. Source: METHOD 8.5."""

SHOWN = 5
"""How many offices a message names before it stops."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

_NAMES = {
    "id": ("office_id", "id"),
    "name": ("name", "name_printed", "office_name"),
    "extra": ("sigma_extra_km",),
    "source": ("source",),
    "note": ("note",),
}
"""What a column may be called, the first found counts (historical/templates/offices.csv)."""

_COORDINATES: tuple[tuple[str, str, str], ...] = (
    ("px", "py", "pixel"),
    ("lon", "lat", "EPSG:4326"),
    ("x", "y", ""),
)
"""Pairs of coordinate columns of a table, in order of preference, and what they are in."""


class Locates(Protocol):
    """What is needed of a transform: from pixels of the scan to the ground."""

    def to_lonlat(self, px: Any, py: Any) -> tuple[Any, Any]:
        """Longitude and latitude [degree, WGS 84]."""


class Measured(Protocol):
    """What is needed of an accuracy: leave-one-out errors, all together and point by point."""

    @property
    def loo_rmse_km(self) -> float:
        """Root mean square of the lengths of the leave-one-out residuals [km]."""

    @property
    def loo_km(self) -> Floats:
        """(m,) lengths of the leave-one-out residuals [km]."""

    @property
    def lon(self) -> Floats:
        """(m,) control points [degree]."""

    @property
    def lat(self) -> Floats:
        """(m,) control points [degree]."""


@dataclass(frozen=True, slots=True)
class DigitisedOffices:
    """Offices as the file has them."""

    ids: tuple[str, ...]
    """One text per office, without repeats."""
    names: tuple[str, ...]
    """As printed on the sheet; empty where the file says nothing."""
    xy: Floats = field(repr=False)
    """(n, 2): (column, row) of the scan, row downward; or (x, y) in ``crs``."""
    crs: CRS | None
    """CRS of ``xy``; None for pixels of the scan."""
    sigma_extra_km: Floats = field(repr=False)
    """(n,) doubt beyond the map's own error, per axis: a large sign, a doubtful reading [km]."""
    sources: tuple[str, ...] = field(default=(), repr=False)
    """The sheet, or the list the office was taken from."""
    notes: tuple[str, ...] = ()
    """What was decided while reading, one sentence each."""


@dataclass(frozen=True, slots=True)
class Offices:
    """Offices on the ground."""

    ids: tuple[str, ...]
    """One text per office, without repeats."""
    names: tuple[str, ...]
    """As printed on the sheet."""
    px: Floats = field(repr=False)
    """(n, 2) (column, row) on the scan; NaN where the file gave map coordinates."""
    map_lonlat: Floats = field(repr=False)
    """(n, 2) where the map shows it [degree, WGS 84]; kept beside the gazetteer's position as a check."""
    lonlat: Floats = field(repr=False)
    """(n, 2) the position that is used [degree, WGS 84]."""
    sigma_km: Floats = field(repr=False)
    """(n,) standard deviation of ``lonlat`` per axis [km]."""
    map_sigma_km: Floats = field(repr=False)
    """(n,) standard deviation of ``map_lonlat`` per axis [km]."""
    sigma_extra_km: Floats = field(repr=False)
    """(n,) the part of ``map_sigma_km`` that the file gave [km]."""
    position: tuple[str, ...] = field(repr=False)
    """Where ``lonlat`` comes from: ``scan``, ``given`` (map coordinates in the file) or ``gazetteer``."""
    match: tuple[str, ...] = field(default=(), repr=False)
    """What the gazetteer said: ``MATCHED``, ``AMBIGUOUS``, ``FAR``, ``UNKNOWN``; empty where none was asked."""
    match_id: tuple[str, ...] = field(default=(), repr=False)
    """Entry of the gazetteer; empty for none."""
    match_km: Floats = field(default_factory=lambda: np.empty(0), repr=False)
    """(n,) from the map's position to the gazetteer's nearest entry of that name [km]; NaN for none."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know, one sentence each."""

    def __len__(self) -> int:
        return len(self.ids)


# --- reading -------------------------------------------------------------------------------------------------------


def read_offices(
    path: str | Path, *, layer: str | None = None, crs: Any = None, space: Space = "auto"
) -> DigitisedOffices:
    """Read digitised offices from a table or from any vector file of points.

    Parameters
    ----------
    path : CSV (columns ``px, py``, or ``lon, lat``, or ``x, y`` with ``crs``), or a vector file GDAL reads (QGIS
        layer: GeoPackage, Shapefile; GeoJSON). Rows of pixels count downward; QGIS's negative rows are turned over.
    layer : layer inside the file; needed when it has several.
    crs : CRS of map coordinates, only where the file carries none.
    space : ``pixel`` or ``map`` says what the coordinates are. ``auto``: by the columns' names of a table; in a vector
        file pixels where there is no CRS, or one in degrees that the coordinates cannot be in (GeoJSON has no way to
        say that it is in image space).

    Raises
    ------
    TableInvalid
        The file is missing or unreadable, a column is missing, a coordinate is no number, rows are of mixed sign.
    CodeInvalid
        An ``office_id`` is missing or repeated; the repeated ones are named.
    CrsMissing, CrsInvalid
        Map coordinates without a CRS.
    OptionInvalid
        ``space`` is none of the three.
    """
    if space not in ("auto", "pixel", "map"):
        raise OptionInvalid(f"no space {space!r}", where="space", mend="one of auto, pixel, map")
    path = Path(path)
    if not path.is_file():
        raise TableInvalid("there is no such file of offices", where=path, mend="check the path")
    if path.suffix.lower() in TABLE_SUFFIXES:
        table, xy, declared, notes = _from_table(path, space)
    else:
        table, xy, declared, notes = _from_vector(path, layer, space, crs)
    here = None if declared == "pixel" else _settled_crs(declared, crs, path)
    if here is None:
        xy, turned = _rows_downward(xy, path)
        notes += turned
    ids = _ids(table, path)
    extra = _numbers(_column(table, "extra", "0"), "sigma_extra_km", ids, path, empty=0.0)
    if (extra < 0).any():
        bad = [i for i, value in zip(ids, extra, strict=True) if value < 0]
        raise TableInvalid(
            f"sigma_extra_km is negative for {some(bad)}", where=path, mend="give kilometres of 0 or more"
        )
    text = {key: tuple(_column(table, key, "")) for key in ("name", "source")}
    return DigitisedOffices(ids, text["name"], xy, here, extra, text["source"], tuple(notes))


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a table of text cells: UTF-8 or GB18030, comma, semicolon or tab, empty cells as ``""``."""
    import io

    import pandas as pd

    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = raw.decode("gb18030")  # what Excel writes in China
        except UnicodeDecodeError as error:
            raise TableInvalid(
                f"the text is neither UTF-8 nor GB18030: {error}", where=path, mend="save it as CSV in UTF-8"
            ) from error
    head = text.partition("\n")[0]
    mark = max(",\t;", key=head.count)
    try:
        table = pd.read_csv(io.StringIO(text), sep=mark, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableInvalid(
            f"this is no table: {error}", where=path, mend="one header line, then one row each"
        ) from error
    table.columns = [str(name).strip() for name in table.columns]
    return table.map(str.strip)


def _from_table(path: Path, space: Space) -> tuple[pd.DataFrame, Floats, Any, list[str]]:
    table = read_text_table(path)
    pairs = [(x, y, what) for x, y, what in _COORDINATES if x in table and y in table]
    if space != "auto":
        pairs = [found for found in pairs if (found[2] == "pixel") == (space == "pixel")]
    if not pairs:
        raise TableInvalid(
            f"no columns of coordinates among {', '.join(table.columns)}",
            where=path,
            mend="name them px, py (pixels of the scan), lon, lat (degrees), or x, y with a crs",
        )
    x, y, what = pairs[0]
    ids = _ids(table, path)
    xy = np.column_stack([_numbers(table[name], name, ids, path) for name in (x, y)])
    return table, xy, what, []


def _from_vector(path: Path, layer: str | None, space: Space, crs: Any) -> tuple[pd.DataFrame, Floats, Any, list[str]]:
    import pyogrio
    import shapely

    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise TableInvalid(
                f"the file has {len(layers)} layers: {', '.join(layers)}", where=path, mend="name one: layer = ..."
            )
        frame = pyogrio.read_dataframe(path, layer=layer)
    except pyogrio.errors.DataSourceError as error:
        raise TableInvalid(
            f"GDAL cannot read it: {error}", where=path, mend="give a CSV, GeoPackage, Shapefile or GeoJSON"
        ) from error
    except pyogrio.errors.DataLayerError as error:
        raise TableInvalid(f"GDAL cannot read it: {error}", where=path, mend=f"one of {', '.join(layers)}") from error
    shapes = frame.geometry.to_numpy() if "geometry" in frame else np.empty(0)
    if not len(shapes) or not (shapely.get_type_id(shapes) == 0).all():
        raise TableInvalid("not every office is a point", where=path, mend="digitise offices in a layer of points")
    xy = shapely.get_coordinates(shapes)
    table = frame.drop(columns="geometry").astype(object).where(frame.drop(columns="geometry").notna(), "")
    table = table.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value).strip())
    declared = frame.crs
    degrees = declared is not None and declared.is_geographic
    off_globe = bool((np.abs(xy) > [180.0, 90.0]).any())
    if space == "pixel" or (space == "auto" and crs is None and (declared is None or (degrees and off_globe))):
        said = "no CRS" if declared is None else f"{declared.name}, which its coordinates cannot be in"
        notes = [] if space == "pixel" else [f"{path.name} says {said}: taken as pixels of the scan"]
        return table, xy, "pixel", notes
    return table, xy, declared, []


def _settled_crs(declared: Any, given: Any, path: Path) -> CRS:
    if declared is None or (isinstance(declared, str) and not declared):
        if given is None:
            raise CrsMissing(
                "the offices are in map coordinates of an unknown CRS", where=path, mend='name it: crs = "EPSG:4326"'
            )
        return crs_from(given, where=path)
    return crs_from(declared, where=path)


def _rows_downward(xy: Floats, path: Path) -> tuple[Floats, list[str]]:
    rows = xy[:, 1]
    if rows.size and (rows < 0).any():
        if (rows > 0).any():
            raise TableInvalid(
                f"{int((rows < 0).sum())} of {rows.size} rows of pixels are negative, the others positive",
                where=path,
                mend="count all rows downward from the upper edge: positive, or all negative as QGIS does",
            )
        return xy * [1.0, -1.0], ["rows of pixels were all negative, as QGIS shows a scan: turned over"]
    return xy, []


def _column(table: pd.DataFrame, key: str, default: str) -> list[str]:
    name = next((name for name in _NAMES[key] if name in table), None)
    return [default] * len(table) if name is None else [str(value) for value in table[name]]


def _ids(table: pd.DataFrame, path: Path) -> tuple[str, ...]:
    if not any(name in table for name in _NAMES["id"]):
        raise TableInvalid(
            f"no column office_id among {', '.join(map(str, table.columns))}",
            where=path,
            mend="give every office a name that stays, in a column office_id",
        )
    ids = _column(table, "id", "")
    empty = [str(row + 2) for row, value in enumerate(ids) if not value]
    if empty:
        raise CodeInvalid(f"{len(empty)} offices have no office_id: rows {some(empty)}", where=path, mend="fill them")
    twice = [f"{value} ({n} times)" for value, n in Counter(ids).items() if n > 1]
    if twice:
        raise CodeInvalid(
            f"{len(twice)} office ids occur more than once: {some(twice)}",
            where=path,
            mend="an office counts once: remove the copies, or give each office an id of its own",
        )
    return tuple(ids)


def _numbers(values: Any, name: str, ids: tuple[str, ...], path: Path, *, empty: float = math.nan) -> Floats:
    out, bad = np.empty(len(ids)), []
    for k, value in enumerate(values):
        try:
            out[k] = float(value) if str(value).strip() else empty
        except ValueError:
            out[k] = math.nan
        if not math.isfinite(out[k]):
            bad.append(f"{ids[k]}: {value!r}")
    if bad:
        raise TableInvalid(
            f"{name} is no number for {len(bad)} offices: {some(bad)}", where=path, mend=f"correct column {name}"
        )
    return out


def some(texts: list[str] | tuple[str, ...]) -> str:
    """The first few of a list, for a message."""
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


# --- to the ground -------------------------------------------------------------------------------------------------


def locate(
    digitised: DigitisedOffices,
    transform: Locates | None = None,
    accuracy: Measured | None = None,
    *,
    sigma: SigmaRule = "global",
    sigma_km: float | None = None,
) -> Offices:
    """Carry offices to longitude and latitude, each with its standard deviation.

    Parameters
    ----------
    transform : from pixels to the ground; not needed for offices in map coordinates.
    accuracy : of that transform, or of the one the map coordinates were read from.
    sigma : ``global``: leave-one-out RMSE / sqrt(2) for all; ``local``: from the errors of the nearest control points.
    sigma_km : the model's standard deviation per axis where no accuracy is known [km].

    Raises
    ------
    OptionInvalid
        Pixels without a transform; neither ``accuracy`` nor ``sigma_km``; no such ``sigma`` rule.
    TableInvalid
        Positions that are not on the globe: longitude and latitude are swapped, or the CRS is another one.
    """
    if sigma not in ("global", "local"):
        raise OptionInvalid(f"no sigma rule {sigma!r}", where="sigma", mend="one of global, local")
    if accuracy is None and sigma_km is None:
        raise OptionInvalid(
            "nothing says how accurate the positions are",
            where="accuracy, sigma_km",
            mend="give control points, or sigma_km: the standard deviation per axis in kilometres",
        )
    if digitised.crs is None:
        if transform is None:
            raise OptionInvalid(
                "the offices are in pixels and there is no transform", where="transform", mend="give control points"
            )
        lon, lat = transform.to_lonlat(digitised.xy[:, 0], digitised.xy[:, 1])
        px, position = digitised.xy, "scan"
    else:
        to_lonlat = transformer(digitised.crs, crs_from("EPSG:4326"))
        lon, lat = to_lonlat.transform(digitised.xy[:, 0], digitised.xy[:, 1])
        px, position = np.full_like(digitised.xy, np.nan), "given"
    lonlat = np.column_stack([lon, lat]).astype(np.float64)
    _refuse_off_globe(lonlat, digitised.ids)
    model = (
        model_sigma_km(lonlat, accuracy, sigma) if accuracy is not None else np.full(len(lonlat), float(sigma_km or 0))
    )
    total = np.hypot(model, digitised.sigma_extra_km)
    n = len(lonlat)
    notes = (*digitised.notes, *_beyond_control(lonlat, digitised.ids, accuracy), *_in_one_place(lonlat, digitised.ids))
    return Offices(
        digitised.ids, digitised.names, px, lonlat, lonlat, total, total, digitised.sigma_extra_km, (position,) * n,
        ("",) * n, ("",) * n, np.full(n, np.nan), notes,
    )  # fmt: skip


def model_sigma_km(lonlat: Floats, accuracy: Measured, rule: SigmaRule = "global") -> Floats:
    """Standard deviation per axis that the transform has at points [km].

    Parameters
    ----------
    lonlat : (n, 2) [degree]
    rule : ``global``: leave-one-out RMSE / sqrt(2) everywhere. ``local``: the root of the weighted mean of r^2 / 2 over
        the leave-one-out residuals r of the nearest 8 control points; weights are Gaussian in distance, the bandwidth
        half the distance to the farthest of them.
    """
    if rule == "global":
        return np.full(len(lonlat), accuracy.loo_rmse_km / math.sqrt(2))
    from scipy.spatial import KDTree

    k = min(NEAREST, len(accuracy.loo_km))
    tree = KDTree(_unit_vectors(np.column_stack([accuracy.lon, accuracy.lat])))
    distance, point = tree.query(_unit_vectors(lonlat), k=k)
    distance, point = distance.reshape(-1, k), point.reshape(-1, k)
    bandwidth = np.maximum(distance[:, -1:] / 2, np.finfo(float).tiny)
    weight = np.exp(-0.5 * (distance / bandwidth) ** 2)
    square = np.asarray(accuracy.loo_km)[point] ** 2 / 2
    return np.asarray(np.sqrt((weight * square).sum(axis=1) / weight.sum(axis=1)))


def refuse_swapped(lonlat: Floats, ids: tuple[str, ...], bounds: tuple[float, float, float, float]) -> None:
    """Refuse offices that lie far off the cities and would lie among them with longitude and latitude swapped.

    Raises
    ------
    TableInvalid
        There is such an office; all are named, up to five.
    """
    west, south, east, north = bounds
    margin = max(east - west, north - south) * 0.1

    def inside(lon: Floats, lat: Floats, out: float) -> NDArray[np.bool_]:
        return np.asarray((lon > west - out) & (lon < east + out) & (lat > south - out) & (lat < north + out))

    swapped = np.asarray(~inside(lonlat[:, 0], lonlat[:, 1], margin) & inside(lonlat[:, 1], lonlat[:, 0], 0.0))
    if swapped.any():
        _raise_swapped([i for i, bad in zip(ids, swapped, strict=True) if bad], lonlat[swapped][0])


def _refuse_off_globe(lonlat: Floats, ids: tuple[str, ...]) -> None:
    bad = np.asarray(~(np.isfinite(lonlat).all(axis=1) & (np.abs(lonlat) <= [360.0, 90.0]).all(axis=1)))
    if bad.any():
        _raise_swapped([i for i, wrong in zip(ids, bad, strict=True) if wrong], lonlat[bad][0])


def _raise_swapped(ids: list[str], lonlat: Floats) -> None:
    raise TableInvalid(
        f"{len(ids)} offices lie where no office can be, the first at longitude {lonlat[0]:.6g}, latitude "
        f"{lonlat[1]:.6g}: {some(ids)}",
        where="longitude and latitude of the offices",
        mend="longitude and latitude look swapped: exchange the two columns; if not, check the CRS",
    )


def _beyond_control(lonlat: Floats, ids: tuple[str, ...], accuracy: Measured | None) -> list[str]:
    """Offices outside the control points' hull: there the transform extrapolates, and no residual speaks of it."""
    if accuracy is None or len(accuracy.loo_km) < 3:
        return []
    import shapely

    hull = shapely.MultiPoint(np.column_stack([accuracy.lon, accuracy.lat])).convex_hull
    outside = shapely.disjoint(hull, shapely.points(lonlat))
    beyond = [i for i, out in zip(ids, outside, strict=True) if out]
    if not beyond:
        return []
    return [f"{len(beyond)} offices lie beyond the control points, where their sigma is a guess: {some(beyond)}"]


def _in_one_place(lonlat: Floats, ids: tuple[str, ...]) -> list[str]:
    """Offices on one spot: perhaps one office twice under two ids."""
    seen: dict[tuple[float, float], list[str]] = {}
    for office, (lon, lat) in zip(ids, lonlat.round(6), strict=True):
        seen.setdefault((float(lon), float(lat)), []).append(office)
    twice = [" = ".join(group) for group in seen.values() if len(group) > 1]
    return [f"{len(twice)} places hold several offices, perhaps one twice: {some(twice)}"] if twice else []


def _unit_vectors(lonlat: Floats) -> Floats:
    lon, lat = np.radians(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
