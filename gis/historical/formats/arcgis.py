"""ArcGIS link tables: ``x_source y_source x_map y_map`` from the lower left corner, upward, in inches or pixels.

In: text, and the scan's height and resolution. Out: ``ControlPoints``. The file says neither its unit nor its CRS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gis.errors import OptionInvalid
from gis.historical.control_points import ControlPoints, ControlPointsInvalid, control_points
from gis.historical.formats.text import number, read_lines, settle_crs, write_text

UNITS = ("auto", "px", "inch", "cm")
CM_PER_INCH = 2.54
FIRST_LINE = "link table"
"""First line of very old files."""
NOT_PIXELS = 10.0
"""Where the largest column is below the width over this, the columns are inches or centimetres: no one digitises a
tenth of a sheet, and a scan has more than ten pixels to the inch (METHOD 8.2)."""


def read_arcgis(
    path: Path, *, crs: Any = None, size: tuple[int, int] | None = None, dpi: float | None = None, unit: str = "auto"
) -> ControlPoints:
    """Read a link table of 4 columns, or of 5 with an id in front.

    Parameters
    ----------
    size : (height, width) of the scan [px]: rows are counted from its lower edge
    dpi : its resolution [px per inch], for tables in inches or centimetres
    unit : ``auto`` takes inches where the columns are too small to be pixels

    Raises
    ------
    OptionInvalid
        Size or resolution is needed and not given, or an unknown unit.
    ControlPointsInvalid
        A row without 4 or 5 numbers.
    """
    if size is None:
        raise OptionInvalid(
            "an ArcGIS link table counts rows from the lower edge: the scan's height is needed",
            where=path,
            mend="give the scan beside the table",
        )
    lines = read_lines(path)
    first = 1 if lines[0].strip().lower() == FIRST_LINE else 0
    ids: list[str | None] = []
    rows: list[list[float]] = []
    for i, line in enumerate(lines[first:], start=first + 1):
        fields = line.replace(",", " ").split()
        if len(fields) not in (4, 5) or (rows and len(fields) != 4 + (ids[0] is not None)):
            raise ControlPointsInvalid(
                f"line {i} has {len(fields)} columns",
                where=path,
                mend="a link table has 4, or 5 with an id, in every row",
            )
        ids.append(fields[0] if len(fields) == 5 else None)
        rows.append(
            [number(f, n, path, i) for f, n in zip(fields[-4:], ("xSource", "ySource", "xMap", "yMap"), strict=True)]
        )
    table = np.array(rows)
    per_unit = _px_per_unit(table[:, 0], size, dpi, unit, path)
    return control_points(
        table[:, 0] * per_unit,
        size[0] - table[:, 1] * per_unit,
        table[:, 2],
        table[:, 3],
        crs=settle_crs(None, crs, path),
        ids=None if not ids or ids[0] is None else [str(name) for name in ids],
        source=path,
    )


def write_arcgis(
    points: ControlPoints,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    dpi: float | None = None,
    unit: str = "auto",
) -> Path:
    """Write the used points as a link table of 4 columns, tab-separated.

    In inches where the scan has a resolution and ``unit`` is ``auto``: ArcGIS reads them so.
    """
    if size is None:
        raise OptionInvalid(
            "an ArcGIS link table counts rows from the lower edge: the scan's height is needed",
            where=path,
            mend="give the scan's size",
        )
    chosen = ("inch" if dpi else "px") if unit == "auto" else unit
    per_unit = _px_per_unit(points.px, size, dpi, chosen, path)
    used = points.used()
    columns = (used.px / per_unit, (size[0] - used.py) / per_unit, used.x, used.y)
    lines = ["\t".join(repr(float(v)) for v in row) for row in zip(*columns, strict=True)]
    return write_text(path, "\n".join(lines) + "\n")


def _px_per_unit(x: Any, size: tuple[int, int], dpi: float | None, unit: str, path: Path) -> float:
    if unit not in UNITS:
        raise OptionInvalid(f"no unit {unit!r} of a link table", where=path, mend=f"one of {', '.join(UNITS)}")
    if unit == "auto":
        unit = "inch" if float(np.max(x)) < size[1] / NOT_PIXELS else "px"
    if unit == "px":
        return 1.0
    if dpi is None or not dpi > 0:
        raise OptionInvalid(
            f"the link table is in {unit}: its largest column is {float(np.max(x)):g} on a scan {size[1]} px wide",
            where=path,
            mend="give the scan's resolution, --dpi 300 for example, or --unit px if it is in pixels after all",
        )
    return float(dpi) if unit == "inch" else float(dpi) / CM_PER_INCH
