"""Map layers out of result tables: one feature per unit, and lines between the cities of a pair.

In: ``Zones``, tables of ``gis.tables`` as DataFrames, the CRS asked for. Out: ``Layer`` values (an Arrow table, its
geometry as an array of shapely geometries, labels of its columns), which the writers of this package put into files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, same_crs, transform_geometry, transformer
from gis.errors import CodeInvalid, CrsInvalid, OptionInvalid, TableInvalid
from gis.export.codebook import level_of_year
from gis.tables import CITY_YEAR, COLUMNS, DISTRICT_YEAR, PAIR_YEAR, Column, Table, arrow_from_frame, check

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.grid import Zones

OUTPUT_CRS = (ASIA_NORTH_LAMBERT, "EPSG:4326")
"""What maps are written in: the paper's plane, or longitude and latitude."""

PAIR_LINES_MAX = 50_000
"""Most lines drawn without being asked: 296 cities make 43,660 pairs; 2,850 districts would make four million."""

LINE_STEP_M = 50_000.0
"""Distance between the points of a geodesic drawn as a line [m]: its chord strays below 50 m from it on the sphere."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One map layer, ready to be written."""

    name: str
    """Layer and file name, without spaces."""
    title: str
    """One sentence for the reader."""
    table: pa.Table
    """Attributes, one row per feature, missing values null."""
    geometry: NDArray[Any]
    """(n_rows,) shapely MultiPolygon or LineString in ``crs``."""
    geometry_type: str
    """The one type of all features: ``MultiPolygon`` or ``LineString``."""
    crs: str
    """One of ``OUTPUT_CRS``."""
    columns: tuple[Column, ...]
    """Declaration of every column of ``table``, in order."""
    key: tuple[str, ...]
    """Columns whose values, taken together, occur once."""
    colour: str
    """Column that a map is coloured by."""

    @property
    def declaration(self) -> Table:
        """The layer as a table, for the codebook."""
        return Table(self.name, self.title, self.key, tuple(c.name for c in self.columns), own=self.columns)


@dataclass(frozen=True, slots=True)
class PairChoice:
    """Which pairs are drawn as lines."""

    years: tuple[int, ...] = ()
    """Years of the rows; none: the latest."""
    by: str = "bal"
    """Column that lines are ranked and coloured by."""
    top: int | None = None
    """Draw only that many pairs of each year, those highest in ``by``; None: all."""


def output_crs(value: Any) -> str:
    """Name the output CRS by its authority, one of ``OUTPUT_CRS``.

    Raises
    ------
    CrsInvalid
        PROJ does not know it, or maps are not offered in it.
    """
    crs = crs_from(value, where="output.crs")
    for offered in OUTPUT_CRS:
        if same_crs(crs, offered):
            return offered
    raise CrsInvalid(
        f"maps are not written in {crs.name}",
        where="output.crs",
        mend=f'crs = "{OUTPUT_CRS[0]}" or "{OUTPUT_CRS[1]}"; reproject the file afterwards if you need another',
    )


def unit_table(kind: str) -> Table:
    """Find the table of a layer's units: ``city`` or ``district``."""
    tables = {"city": CITY_YEAR, "district": DISTRICT_YEAR}
    if kind not in tables:
        raise OptionInvalid(f"no layer {kind!r}", mend="city or district")
    return tables[kind]


def unit_layer(kind: str, zones: Zones, frame: pd.DataFrame, crs: str) -> Layer:
    """One feature per zone: its row of the latest year in full, and its level of every year side by side.

    A zone without a row in the latest year keeps its place on the map, its code and its name.

    Raises
    ------
    TableInvalid
        The table is not ``city_year`` or ``district_year``, is empty, or has a unit without a polygon.
    """
    import pyarrow as pa

    table = unit_table(kind)
    frame = check(table, frame)
    code, name = f"{kind}_code", f"{kind}_name"
    _need_rows_and_polygons(table, frame, zones, code)
    years = sorted(int(y) for y in frame["year"].unique())
    latest = years[-1]

    rows = frame[frame["year"] == latest].set_index(code).reindex(list(zones.codes)).rename_axis(code).reset_index()
    if zones.names:
        rows[name] = rows[name].where(rows[name].notna(), np.array(zones.names, dtype=object))
    if kind == "district" and zones.parents:
        rows["city_code"] = rows["city_code"].where(rows["city_code"].notna(), _parents(zones))
    rows["vintage"] = rows["vintage"].where(rows["vintage"].notna(), zones.vintage)
    rows["year"] = np.int32(latest)
    arrow = arrow_from_frame(table, rows)

    wide = frame.pivot(index=code, columns="year", values="level").reindex(list(zones.codes))
    columns = [COLUMNS[c] for c in table.columns]
    for year in years:
        column = level_of_year(year)
        arrow = arrow.append_column(column.name, pa.array(wide[year].to_numpy(np.float64), from_pandas=True))
        columns.append(column)
    title = f"Every {kind}: all columns of {latest}, and the level of every year from {years[0]} to {latest}"
    shapes = multipolygons(transform_geometry(zones.geometry, zones.crs, crs_from(crs)))
    return Layer(kind, title, arrow, shapes, "MultiPolygon", crs, tuple(columns), (code,), "level")


def _parents(zones: Zones) -> NDArray[Any]:
    return np.array([parent or None for parent in zones.parents], dtype=object)


def _need_rows_and_polygons(table: Table, frame: pd.DataFrame, zones: Zones, code: str) -> None:
    if frame.empty:
        raise TableInvalid(f"table {table.name} has no rows", mend="lightpanel run")
    stray = sorted(set(frame[code]) - set(zones.codes))
    if stray:
        raise TableInvalid(
            f"{len(stray)} units of {table.name} have no polygon: {', '.join(stray[:5])}",
            mend="write units and tables by the same run: lightpanel run",
        )


def multipolygons(geometry: NDArray[Any]) -> NDArray[Any]:
    """Make every polygon a multipolygon, so that a layer has one type; an empty one becomes an empty multipolygon."""
    import shapely

    out = np.array(geometry, dtype=object, copy=True)
    empty = shapely.is_empty(out)
    single = (shapely.get_type_id(out) == 3) & ~empty  # 3: Polygon
    if single.any():
        out[single] = shapely.multipolygons(out[single], indices=np.arange(int(single.sum())))
    out[empty] = shapely.from_wkt("MULTIPOLYGON EMPTY")
    return out


def pair_lines(
    pairs: pd.DataFrame, cities: Zones, crs: str, choice: PairChoice | None = None, table: Table = PAIR_YEAR
) -> Layer:
    """Geodesics between the cities of pairs, with all columns of the panel they are rows of.

    Parameters
    ----------
    choice : PairChoice, optional
        Which years and how many pairs (ties: lower ``pair_id`` first; pairs without a value last); default: all pairs
        of the latest year.
    table : Table
        Declaration of ``pairs``: ``pair_year``, or ``pair_panel`` as a file has it.

    Raises
    ------
    OptionInvalid
        No such year, no number of that name, more than ``PAIR_LINES_MAX`` lines and no ``top``, or ``top`` below 1.
    CodeInvalid
        A city of a pair has no polygon, or an empty one.

    Notes
    -----
    Ends are points inside the polygons (shapely ``point_on_surface``), not centroids, which may lie outside.
    """
    choice = choice or PairChoice()
    frame = check(table, pairs)
    if frame.empty:
        raise TableInvalid(f"table {table.name} has no rows", mend="lightpanel run, or leave the pair lines out")
    need_number(choice.by, table)
    years = chosen_years(frame["year"].unique(), choice)
    frame = _limited(frame[frame["year"].isin(years)], choice)
    lines = _lines_of(frame, table, cities, crs)
    title = f"Pairs of {', '.join(map(str, years))}: geodesics between the cities, coloured by {choice.by}"
    if choice.top is not None:
        title += f", of which each year's highest {choice.top}"
    columns = tuple(table.column(c) for c in table.columns)
    arrow = arrow_from_frame(table, frame)
    return Layer("pair_lines", title, arrow, lines, "LineString", crs, columns, table.key, choice.by)


def numbers_of(*tables: Table) -> list[str]:
    """Columns that pairs can be ranked by: numbers, keys apart."""
    names = (c for t in tables for c in t.columns if c not in t.key and t.column(c).dtype not in ("string", "bool"))
    return list(dict.fromkeys(names))


def need_number(by: str, *tables: Table, hint: str = "") -> None:
    """Refuse a column that no table has as a number, naming those there are."""
    numbers = numbers_of(*tables)
    if by not in numbers:
        raise OptionInvalid(
            f"no number {by!r} in {' or '.join(t.name for t in tables)}",
            where="--pair-by",
            mend=f"one of {', '.join(numbers)}{hint}",
        )


def chosen_years(there: Iterable[Any], choice: PairChoice) -> tuple[int, ...]:
    """The years asked for, in order; the latest where none is.

    Raises
    ------
    OptionInvalid
        A year has no pairs.
    """
    years = sorted({int(year) for year in there})
    missing = sorted(set(choice.years) - set(years))
    if missing:
        raise OptionInvalid(
            f"there are no pairs of {', '.join(map(str, missing))}",
            where="--pair-year",
            mend=f"one or more of {', '.join(map(str, years))}",
        )
    return tuple(sorted(set(choice.years))) or (years[-1],)


def _lines_of(frame: pd.DataFrame, table: Table, cities: Zones, crs: str) -> NDArray[Any]:
    """One geodesic per row."""
    import shapely

    index = {c: i for i, c in enumerate(cities.codes)}
    strange = sorted((set(frame["city_i"]) | set(frame["city_j"])) - set(index))
    if strange:
        raise CodeInvalid(
            f"{len(strange)} cities of {table.name} have no polygon: {', '.join(strange[:5])}",
            mend="write units and pairs by the same run: lightpanel run",
        )
    place = {c: k for k, c in enumerate(sorted({*frame["city_i"], *frame["city_j"]}))}
    points = shapely.point_on_surface(cities.geometry[[index[c] for c in place]])
    empty = [c for c, point in zip(place, points, strict=True) if shapely.is_empty(point)]
    if empty:
        raise CodeInvalid(
            f"{len(empty)} cities of {table.name} have an empty polygon: {', '.join(empty[:5])}",
            mend="leave the pair lines out: output.pair_lines = false",
        )
    lonlat = _lonlat(shapely.get_coordinates(points), cities.crs)
    start = lonlat[[place[c] for c in frame["city_i"]]]
    end = lonlat[[place[c] for c in frame["city_j"]]]
    return _geodesics(start, end, crs_from(crs))


def _limited(frame: pd.DataFrame, choice: PairChoice) -> pd.DataFrame:
    """The rows to draw, in the order of their keys."""
    if choice.top is not None:
        if choice.top < 1:
            raise OptionInvalid(f"{choice.top} lines are none", mend="--pair-top 1 or more, or no pair lines at all")
        order = frame.sort_values([choice.by, "pair_id"], ascending=[False, True], na_position="last", kind="stable")
        frame = order.groupby("year").head(choice.top)
    if len(frame) > PAIR_LINES_MAX:
        raise OptionInvalid(
            f"{len(frame):,} pairs are too many to draw (at most {PAIR_LINES_MAX:,})",
            mend=f"--pair-top 1000 draws the thousand pairs of each year with the highest {choice.by}; or fewer years",
        )
    return frame.sort_values(["pair_id", "year"])


def _lonlat(xy: NDArray[np.float64], crs: CRS) -> NDArray[np.float64]:
    """Longitude and latitude on WGS 84 of points in ``crs`` [degree]."""
    return np.column_stack(transformer(crs, crs_from("EPSG:4326")).transform(xy[:, 0], xy[:, 1]))


def _geodesics(start: NDArray[np.float64], end: NDArray[np.float64], crs: CRS) -> NDArray[Any]:
    """Lines along the geodesics from ``start`` to ``end`` ((n, 2) lonlat), at most ``LINE_STEP_M`` between points."""
    import shapely
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    azimuth, _, metres = geod.inv(start[:, 0], start[:, 1], end[:, 0], end[:, 1])
    # One call for all points of all lines: fwd from the line's start, at equal steps, is the same geodesic.
    n_steps = np.maximum(np.ceil(metres / LINE_STEP_M).astype(np.int64), 1)
    line = np.repeat(np.arange(len(start)), n_steps + 1)
    first = np.cumsum(n_steps + 1) - (n_steps + 1)
    share = (np.arange(line.size) - first[line]) / n_steps[line]
    lon, lat, _ = geod.fwd(start[line, 0], start[line, 1], azimuth[line], metres[line] * share)
    x, y = transformer(crs_from("EPSG:4326"), crs).transform(np.asarray(lon), np.asarray(lat))
    return np.asarray(shapely.linestrings(np.column_stack([x, y]), indices=line))
