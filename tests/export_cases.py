"""Small results of a run, for the tests of the exports: four cities, five districts, three years, their pairs.

Every number is a formula of unit and year (`level_of`), so that a test can say what a cell of any format must hold.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from gis.export import UNITS
from gis.export.parquet import write_units
from gis.grid import Zones
from gis.tables import (
    CITY_YEAR,
    COLUMNS,
    DISTRICT_YEAR,
    NATIONAL_YEAR,
    PAIR_PANEL,
    PAIR_YEAR,
    Column,
    Table,
    write_table,
)

YEARS = (2018, 2019, 2020)

CITIES = Zones(
    codes=("110000", "120000", "150700", "460200"),
    geometry=np.array(
        [
            shapely.Polygon(
                [(116, 39.5), (117, 39.5), (117, 41), (116, 41)],
                [[(116.4, 40), (116.6, 40), (116.6, 40.2), (116.4, 40.2)]],
            ),
            shapely.MultiPolygon([shapely.box(117, 38.6, 118, 40), shapely.box(118.2, 39, 118.3, 39.1)]),
            shapely.box(116, 47, 126, 53),
            shapely.box(108.9, 18.1, 109.8, 18.6),
        ],
        dtype=object,
    ),
    crs=CRS("EPSG:4326"),
    vintage="2019-12-31",
    names=("北京市", "天津市", "呼伦贝尔市", "三亚市"),
)

DISTRICTS = Zones(
    codes=("110101", "110105", "120101", "150702", "460202"),
    geometry=np.array(
        [
            shapely.box(116, 39.5, 116.3, 41),
            shapely.box(116.7, 39.5, 117, 41),
            shapely.box(117, 38.6, 118, 40),
            shapely.box(119, 49, 120, 50),
            shapely.box(108.9, 18.1, 109.8, 18.6),
        ],
        dtype=object,
    ),
    crs=CRS("EPSG:4490"),
    vintage="2019-12-31",
    names=("东城区", "朝阳区", "和平区", "海拉尔区", "海棠区"),
    parents=("110000", "110000", "120000", "150700", "460200"),
)

NO_LEVEL = ("460200", 2019)
"""The one city and year without a level."""


def level_of(code: str, year: int) -> float:
    """The level a test expects: a float with all its bits in use."""
    return math.nan if (code, year) == NO_LEVEL else int(code) / 7e6 + (year - 2000) / 1000


def unit_year(kind: str, zones: Zones, years: tuple[int, ...] = YEARS) -> pd.DataFrame:
    """Rows of ``city_year`` or ``district_year``."""
    table = CITY_YEAR if kind == "city" else DISTRICT_YEAR
    fill = {"string": "", "int32": 0, "int64": 0, "float64": 0.5, "bool": False}
    rows = []
    for k, code in enumerate(zones.codes):
        for year in years:
            row = {c: fill[COLUMNS[c].dtype] for c in table.columns}
            missing = math.isnan(level_of(code, year))
            row |= {
                f"{kind}_code": code,
                f"{kind}_name": zones.names[k],
                "year": year,
                "vintage": zones.vintage,
                "level": level_of(code, year),
                "measure": "lambert",
                "pop_persons": 1000.0 * (k + 1),
                "pop_years": str(year),
                "cov_pop": 0.9 if missing else 1.0,
                "flags": "LOWAREA;LOWCOV" if missing else "",
                "is_synthetic": year == 2020,
            }
            if kind == "district":
                row["city_code"] = zones.parents[k]
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(table.columns))
    return frame.astype({"year": "int32", "n_flares": "int32"})


def pair_year(zones: Zones = CITIES, years: tuple[int, ...] = YEARS[1:]) -> pd.DataFrame:
    """Rows of ``pair_year``, from the definition: the order is last year's, Bal is this year's."""
    rows = []
    for i, j in combinations(zones.codes, 2):
        for year in years:
            lag = {c: level_of(c, year - 1) for c in (i, j)}
            ordered = not any(math.isnan(v) for v in lag.values())
            hi, lo = sorted((i, j), key=lambda c: -lag[c]) if ordered else (None, None)
            level_hi, level_lo = (level_of(hi, year), level_of(lo, year)) if ordered else (math.nan, math.nan)
            rows.append(
                {
                    "pair_id": int(i) * 10**6 + int(j), "year": year, "city_i": i, "city_j": j, "hi": hi, "lo": lo,
                    "bal": level_lo / level_hi, "switched": None if year == years[0] or not ordered else False,
                    "tie": False if ordered else None, "level_hi": level_hi, "level_lo": level_lo,
                    "level_hi_lag": lag.get(hi, math.nan), "level_lo_lag": lag.get(lo, math.nan),
                    "bal_flag": "" if ordered and level_hi == level_hi and level_lo == level_lo else "NOLEVEL",
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(PAIR_YEAR.columns)).astype({"year": "int32"})


def national_year(years: tuple[int, ...] = YEARS) -> pd.DataFrame:
    """Rows of ``national_year`` for both layers."""
    rows = [
        {
            "layer": layer, "year": year, "n_units": n, "n_levels": n - (layer == "city" and year == NO_LEVEL[1]),
            "light_sum_dn_km2": 5000.0 * k, "light_sum_true_dn_km2": 5100.0, "light_sum_cells_dn": 7000.0,
            "raster_total_cells_dn": 9000.0, "zones_total_persons": 10000.0, "raster_total_persons": 12500.0,
            "pop_years": str(year), "is_synthetic": year == 2020,
        }
        for layer, n in (("city", len(CITIES)), ("district", len(DISTRICTS)))
        for k, year in enumerate(years, start=1)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(NATIONAL_YEAR.columns))
    return frame.astype({"year": "int32", "n_units": "int32", "n_levels": "int32"})


def tables() -> list[tuple[Table, pd.DataFrame]]:
    """Every table of a run."""
    return [
        (CITY_YEAR, unit_year("city", CITIES)),
        (DISTRICT_YEAR, unit_year("district", DISTRICTS)),
        (PAIR_YEAR, pair_year()),
        (NATIONAL_YEAR, national_year()),
    ]


def write_run(out: Path) -> Path:
    """Leave in ``out`` what a finished run leaves there."""
    for table, frame in tables():
        write_table(table, frame, out / f"{table.name}.parquet")
    write_units(CITIES, out / UNITS["city"])
    write_units(DISTRICTS, out / UNITS["district"])
    return out


OWN = (
    Column("类型", "string", "", "类型：东部、中部或西部"),
    Column("产值差", "float64", "亿元", "Gap"),
    Column("gap_own", "float64", "1", "Gap"),
)
"""Columns a workspace might declare: names in Chinese, two labels alike."""


def pair_panel(rows: pd.DataFrame | None = None, own: tuple[Column, ...] = OWN) -> tuple[Table, pd.DataFrame]:
    """Rows of ``pair_panel`` with flows and columns of a workspace, and their declaration."""
    frame = pair_year() if rows is None else rows
    table = PAIR_PANEL.with_columns((*PAIR_YEAR.columns, "dkf_htol", "bal_trimmed", "row_flag"), own)
    flow = np.arange(len(frame), dtype=float) * 7 % 11
    flow[0] = math.nan
    values = {"类型": "西部—“一般”", "产值差": flow / 3, "gap_own": flow}
    frame = frame.assign(dkf_htol=flow, bal_trimmed=frame["bal"], row_flag="", **{c.name: values[c.name] for c in own})
    return table, frame
