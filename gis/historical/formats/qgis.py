"""QGIS's ``.points`` files, of every version.

In: text. Out: ``ControlPoints``. Columns are read by position, as QGIS does: ``mapX, mapY, sourceX, sourceY, enable``,
then ``dX, dY, residual``, which are results and not read. What differs between versions (METHOD 8.2):

* a first line ``#CRS: ...`` with WKT or an authority code (3.x); without it the CRS must be given;
* names ``pixelX, pixelY`` (to about 3.24) or ``sourceX, sourceY`` (from 3.26);
* before 1.4, tabs for commas;
* some builds of 2021 wrote the CRS as a ninth column in every row, WKT with its own commas;
* rows of an image without georeference are negative downward; of one with georeference, source coordinates are its CRS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, same_crs, transformer
from gis.errors import CrsMissing
from gis.historical.control_points import (
    WGS84,
    ControlPoints,
    ControlPointsInvalid,
    ControlPointsUnreadable,
    control_points,
)
from gis.historical.formats.text import crs_text, number, read_lines, settle_crs, write_text
from gis.historical.orientation import orientation

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CRS_MARK = "#CRS:"
HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"
N_COLUMNS = 8
"""Columns before the CRS that some rows carry."""


def read_qgis(path: Path, *, crs: Any = None, transform: Affine | None = None) -> ControlPoints:
    """Read a ``.points`` file.

    Parameters
    ----------
    crs : CRS of the map coordinates, where the file does not say
    transform : geotransform of an image that has one: source coordinates are then in its CRS

    Raises
    ------
    ControlPointsUnreadable, ControlPointsInvalid, CrsMissing, CrsMismatch
        See `gis.historical.formats.read_control_points`.
    """
    lines = read_lines(path)
    named = None
    if lines[0].upper().startswith(CRS_MARK):
        named = lines[0][len(CRS_MARK) :].strip()
        lines = lines[1:]
    if not lines or not lines[0].lower().replace("\t", ",").startswith("mapx,mapy,"):
        raise ControlPointsUnreadable(
            "this is not a QGIS control point file: no header mapX,mapY,...",
            where=path,
            mend=f"its header is {HEADER}; for other files give their own ending (.csv, .txt, .json)",
        )
    tab = "\t" if "\t" in lines[0] else ","
    rows = [_row(line, tab, path, i) for i, line in enumerate(lines[1:], start=2 + (named is not None))]
    if not rows:
        raise ControlPointsUnreadable("there are no points in it", where=path, mend="digitise some and save again")
    columns = np.array([row[0] for row in rows])
    enabled, own = [row[1] for row in rows], [row[2] for row in rows]
    x, y, target = _ground(columns[:, 0], columns[:, 1], own, named, crs, path)
    px, py = columns[:, 2], columns[:, 3]
    if transform is not None:
        px, py = _moved(~transform, px, py)
    else:
        py = _rows_down(px, py, x, y, enabled, target, path)
    return control_points(px, py, x, y, crs=target, enabled=enabled, source=path)


def write_qgis(
    points: ControlPoints, path: Path, *, transform: Affine | None = None, residual_px: Floats | None = None
) -> Path:
    """Write a ``.points`` file as QGIS 3.26 and later do; check points are written disabled.

    Parameters
    ----------
    residual_px : (n, 2) residuals (right, down) [px], optional
        Shown by QGIS until its own fit replaces them.
    """
    residual = np.zeros((len(points), 2)) if residual_px is None else np.nan_to_num(residual_px)
    sx, sy = (points.px, -points.py) if transform is None else _moved(transform, points.px, points.py)
    lines = [f"{CRS_MARK} {crs_text(points.crs)}", HEADER]
    for i, on in enumerate(points.is_used):
        dx, dy = residual[i]
        values = (points.x[i], points.y[i], sx[i], sy[i] + 0.0)
        numbers = ",".join(repr(float(v)) for v in values)
        rest = ",".join(repr(float(v)) for v in (dx, dy, np.hypot(dx, dy)))
        lines.append(f"{numbers},{int(on)},{rest}")
    return write_text(path, "\n".join(lines) + "\n")


def _row(line: str, tab: str, path: Path, i: int) -> tuple[list[float], bool, str]:
    fields = line.split(tab, N_COLUMNS)
    if len(fields) < 4:
        raise ControlPointsInvalid(
            f"line {i} has {len(fields)} columns, at least 4 are needed", where=path, mend=f"columns are {HEADER}"
        )
    names = ("mapX", "mapY", "sourceX", "sourceY")
    values = [number(field, name, path, i) for field, name in zip(fields[:4], names, strict=True)]
    on = True if len(fields) < 5 else number(fields[4], "enable", path, i) != 0
    own = fields[N_COLUMNS].strip().strip('"') if len(fields) > N_COLUMNS else ""
    return values, on, own


def _ground(
    x: Floats, y: Floats, own: list[str], named: str | None, given: Any, path: Path
) -> tuple[Floats, Floats, Any]:
    """Bring rows with a CRS of their own to one: theirs if they share it, else WGS 84."""
    if not any(own):
        return x, y, settle_crs(named, given, path)
    if not all(own) and named is None and given is None:
        raise CrsMissing(
            f"row {own.index('') + 1} names no CRS, others do", where=path, mend="say it: --gcps-crs EPSG:4326"
        )
    each = [settle_crs(text or named, given if not text else None, path) for text in own]
    if all(same_crs(each[0], other) for other in each[1:]):
        return x, y, each[0]
    wgs84, out = crs_from(WGS84), np.empty((2, len(x)))
    for i, crs in enumerate(each):
        out[:, i] = transformer(crs, wgs84).transform(x[i], y[i])
    return out[0], out[1], wgs84


def _rows_down(px: Floats, source_y: Floats, x: Floats, y: Floats, enabled: list[bool], crs: Any, path: Path) -> Floats:
    """Rows counted downward: the sign is QGIS's (negative), or found from the points where all are positive.

    Raises
    ------
    ControlPointsInvalid
        Both signs occur; or all are positive and show the map in a mirror.
    """
    if (source_y <= 0).all():
        return -source_y
    if not (source_y >= 0).all():
        down, up = int((source_y < 0).sum()), int((source_y > 0).sum())
        raise ControlPointsInvalid(
            f"{down} source rows are negative and {up} are positive: one file cannot count both ways",
            where=path,
            mend="QGIS writes rows of an image negative downward; if the image has a georeference, give it as the scan",
        )
    # No fit tells the sign: an affine map takes it up. The orientation does: a map is not drawn in a mirror.
    lies = orientation(control_points(px, source_y, x, y, crs=crs, enabled=enabled, source=path))
    if lies is not None and lies.is_mirrored:
        raise ControlPointsInvalid(
            "all source rows are positive, and taken downward they show the map in a mirror",
            where=path,
            mend="write them negative downward as QGIS does; or check that longitude comes before latitude",
        )
    return source_y


def _moved(t: Affine, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    return t.a * a + t.b * b + t.c, t.d * a + t.e * b + t.f
