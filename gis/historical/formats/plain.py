"""Control points as CSV: the canonical table itself, and tables with fewer columns or the usual other names.

In: text. Out: ``ControlPoints``. Columns: ``id, px, py, lon, lat, enabled, role, kind, sigma_px, note``; ``x, y, crs``
stand for ``lon, lat`` where the ground coordinates are not WGS 84. ``px, py`` and the ground are needed, the rest is
not.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from gis.crs import crs_from, same_crs
from gis.historical.control_points import (
    WGS84,
    ControlPoints,
    ControlPointsInvalid,
    ControlPointsUnreadable,
    control_points,
)
from gis.historical.formats.text import crs_text, number, read_lines, settle_crs, write_text

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "gcp_id", "point_id", "name"),
    "px": ("px", "pixel_x", "col", "column"),
    "py": ("py", "pixel_y", "row", "line"),
    "lon": ("lon", "longitude"),
    "lat": ("lat", "latitude"),
    "x": ("x", "map_x", "easting"),
    "y": ("y", "map_y", "northing"),
    "crs": ("crs",),
    "enabled": ("enabled", "enable"),
    "role": ("role",),
    "kind": ("kind",),
    "sigma_px": ("sigma_px",),
    "note": ("note", "notes"),
}
"""Column -> names it may have, best first."""
FALSE, TRUE = {"0", "false", "no", "off"}, {"", "1", "true", "yes", "on", "1.0"}


def read_csv(path: Path, *, crs: Any = None) -> ControlPoints:
    """Read a CSV with a header; rows count downward.

    Raises
    ------
    ControlPointsUnreadable
        No header with ``px``, ``py`` and ``lon``, ``lat`` or ``x``, ``y``.
    ControlPointsInvalid, CrsMissing, CrsMismatch
        A field is not what its column says; ``x``, ``y`` without a CRS; several CRS.
    """
    rows = list(csv.DictReader(io.StringIO("\n".join(read_lines(path)))))
    names = {_plain(name) for name in (rows[0] if rows else ()) if name}
    column = {key: next((n for n in offered if n in names), None) for key, offered in ALIASES.items()}
    ground = ("lon", "lat") if column["lon"] and column["lat"] else ("x", "y")
    missing = [key for key in ("px", "py", *ground) if column[key] is None]
    if missing or not rows:
        raise ControlPointsUnreadable(
            f"the table has no rows or no column {', '.join(missing) or 'at all'}",
            where=path,
            mend="columns are id,px,py,lon,lat,enabled,role,kind,sigma_px,note; px, py, lon and lat are needed",
        )
    table = [
        {_plain(k): (v or "").strip() for k, v in row.items() if isinstance(k, str) and not isinstance(v, list)}
        for row in rows
    ]

    def texts(key: str, default: str) -> list[str]:
        name = column[key]
        return [(row.get(name) or default) if name else default for row in table]

    def floats(key: str) -> list[float]:
        name = column[key] or key
        return [number(row.get(name) or "nan", name, path, i) for i, row in enumerate(table, start=2)]

    return control_points(
        floats("px"),
        floats("py"),
        floats(ground[0]),
        floats(ground[1]),
        crs=_crs(ground[0], texts("crs", ""), crs, path),
        ids=texts("id", "") if column["id"] and all(texts("id", "")) else None,
        enabled=[_switch(value, path, i) for i, value in enumerate(texts("enabled", "1"), start=2)],
        role=texts("role", "train"),
        kind=texts("kind", "city"),
        sigma_px=floats("sigma_px") if column["sigma_px"] else None,
        note=texts("note", ""),
        source=path,
    )


def write_csv(points: ControlPoints, path: Path) -> Path:
    """Write the canonical table: every point, every column, every digit."""
    geographic = same_crs(points.crs, WGS84)
    ground = ["lon", "lat"] if geographic else ["x", "y", "crs"]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["id", "px", "py", *ground, "enabled", "role", "kind", "sigma_px", "note"])
    for i, name in enumerate(points.ids):
        place = [repr(float(points.x[i])), repr(float(points.y[i]))] + ([] if geographic else [crs_text(points.crs)])
        sigma = "" if np.isnan(points.sigma_px[i]) else repr(float(points.sigma_px[i]))
        table.writerow(
            [name, repr(float(points.px[i])), repr(float(points.py[i])), *place, int(points.enabled[i]),
             points.role[i], points.kind[i], sigma, " ".join(points.note[i].split())]
        )  # fmt: skip
    return write_text(path, out.getvalue())


def _plain(name: str) -> str:
    return name.strip().lower()


def _crs(column: str, texts: list[str], given: Any, path: Path) -> Any:
    if column == "lon":
        return settle_crs(WGS84, given, path)
    named = sorted({text for text in texts if text})
    if len(named) > 1 and any(not same_crs(crs_from(named[0]), crs_from(other)) for other in named[1:]):
        raise ControlPointsInvalid(
            f"rows are in several CRS: {', '.join(named[:3])}", where=path, mend="give lon and lat on WGS 84 instead"
        )
    return settle_crs(named[0] if named else None, given, path)


def _switch(value: str, path: Path, line: int) -> bool:
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ControlPointsInvalid(
        f"line {line}: enabled is {value!r}", where=path, mend="write 1, or 0 for a point kept but not used"
    )
