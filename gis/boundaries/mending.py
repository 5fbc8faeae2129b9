"""Mend what can be mended without judgement: text, CRS, datum, code spelling, rings; log every change.

In: ``Examination`` of a layer. Out: ``Mended``: a table, polygons, a CRS, and one ``Change`` per cell or polygon that
was changed. What needs judgement (wrong codes, overlaps, coarse drawing) is left as it is and stays in the report.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.boundaries.codes import code_text
from gis.boundaries.datum import Datum, correct_geometry
from gis.boundaries.geometry import MAX_AREA_CHANGE, repair
from gis.boundaries.intake import called
from gis.crs import crs_from, transform_geometry
from gis.errors import CrsMissing, GeometryInvalid, OptionInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.boundaries.doctor import Examination

Kind = Literal["text", "crs", "datum", "code", "column", "geometry", "excluded"]
WGS84 = "EPSG:4326"


@dataclass(frozen=True, slots=True)
class Fix:
    """One change."""

    layer: str
    """Layer it was made in."""
    row: int
    """Row of the input, from 1; 0 where it concerns the whole layer."""
    unit: str
    """Code, or ``row k``; empty for the whole layer."""
    kind: Kind
    """What was changed."""
    what: str
    """How, in words."""
    before: str
    """Value before; of a polygon its area [km2]."""
    after: str
    """Value after."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A layer as it should have come."""

    name: str
    """Layer name."""
    table: pd.DataFrame
    """Attributes; codes as text of six digits where they are codes."""
    geometry: NDArray[Any]
    """(n,) valid Polygon or MultiPolygon, empty where a row has none."""
    crs: CRS
    """Their CRS."""
    fixes: tuple[Fix, ...]
    """Every change."""


def mend(exam: Examination, *, datum: Datum | Literal["auto"] = "auto", exclude: Sequence[str] = ()) -> Mended:
    """Mend one layer.

    Parameters
    ----------
    exam : what the doctor found
    datum : datum to undo: as found (``auto``; nothing where it is unclear), or the one that the user knows
    exclude : codes (or ``row k``) of units to leave out

    Raises
    ------
    GeometryInvalid
        Mending a polygon would change its area by more than 0.5 %, or a row is no polygon at all: the units are named.
    CrsMissing
        No CRS is known, and none fits.
    OptionInvalid
        ``datum`` is none that we know, or ``exclude`` names a unit that the layer does not have.
    """
    if datum not in ("auto", "wgs84", "gcj02", "bd09"):
        raise OptionInvalid(f"no datum is called {datum!r}", where="--datum", mend="auto, wgs84, gcj02 or bd09")
    log = _Log(exam.report.layer)
    keep = _kept(exam, exclude, log)
    crs = exam.intake.crs
    if crs is None:
        raise CrsMissing(
            f"layer {exam.report.layer} states no CRS and no usual one fits",
            where=exam.report.file,
            mend="name it: --crs EPSG:...",
        )
    if exam.report.crs_origin != "file":
        stated = exam.intake.raw.crs
        log.add("crs", f"CRS {exam.report.crs_origin}", called(stated) if stated is not None else "", called(crs))
    _refuse(exam, keep)
    rows = [k + 1 for k in keep]
    labels = [exam.labels[k] for k in keep]
    # Rings are mended as they were drawn, where the report priced them; the datum may make touching rings cross again.
    geometry = _rings(exam.polygons[keep], crs, labels, rows, exam, log)
    geometry, crs = _undo_datum(exam, geometry, crs, datum, labels, rows, log)
    geometry = _rings(geometry, crs, labels, rows, exam, log)
    return Mended(exam.report.layer, _table(exam, keep, log), geometry, crs, tuple(log.fixes))


def fix_rows(fixes: Sequence[Fix]) -> list[tuple[Any, ...]]:
    """Header and rows of the log, for a CSV file."""
    return [tuple(field.name for field in fields(Fix)), *(astuple(fix) for fix in fixes)]


class _Log:
    """Collects the changes of one layer."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.fixes: list[Fix] = []

    def add(self, kind: Kind, what: str, before: str, after: str, row: int = 0, unit: str = "") -> None:
        self.fixes.append(Fix(self.layer, row, unit, kind, what, before, after))


def _kept(exam: Examination, exclude: Sequence[str], log: _Log) -> list[int]:
    unknown = [unit for unit in exclude if unit not in exam.labels]
    if unknown:
        raise OptionInvalid(
            f"layer {exam.report.layer} has no unit {', '.join(unknown[:5])}",
            where="--exclude",
            mend="name codes as the report does: 341400, or 'row 7' for a row without one",
        )
    gone = set(exclude)
    for k, label in enumerate(exam.labels):
        if label in gone:
            log.add("excluded", "left out as asked", label, "", k + 1, label)
    return [k for k, label in enumerate(exam.labels) if label not in gone]


def _refuse(exam: Examination, keep: Sequence[int]) -> None:
    """Refuse what cannot be mended without judgement, naming every unit."""
    kept = {exam.labels[k] for k in keep}
    costly = [r for r in exam.costly if r.code in kept]
    if costly:
        listed = "; ".join(f"{r.code} {r.area_before_km2:.3f} to {r.area_after_km2:.3f} km2" for r in costly)
        raise GeometryInvalid(
            f"layer {exam.report.layer}: mending {len(costly)} polygons would change their area by more than "
            f"{MAX_AREA_CHANGE:.1%}: {listed}",
            where=exam.report.file,
            mend="redraw these rings, or leave the units out: "
            + " ".join(f"--exclude '{r.code}'" if " " in r.code else f"--exclude {r.code}" for r in costly[:5]),
        )


def _undo_datum(
    exam: Examination,
    geometry: NDArray[Any],
    crs: CRS,
    datum: Datum | Literal["auto"],
    labels: Sequence[str],
    rows: Sequence[int],
    log: _Log,
) -> tuple[NDArray[Any], CRS]:
    import shapely

    found = exam.report.datum.datum if exam.report.datum is not None else "unclear"
    undo = found if datum == "auto" else datum
    if undo not in ("gcj02", "bd09"):
        return geometry, crs
    if not crs.is_geographic:
        geometry = np.asarray(transform_geometry(geometry, crs, crs_from(WGS84)), dtype=object)
        log.add("crs", "brought to degrees to undo the datum", called(crs), WGS84)
    moved = correct_geometry(geometry, labels, undo)
    for row, label, one, other in zip(rows, labels, shapely.centroid(geometry), shapely.centroid(moved), strict=True):
        if not one.equals(other):
            before, after = (f"{point.x:.9f} {point.y:.9f}" for point in (one, other))
            log.add("datum", f"{undo} to WGS 84 (centroid, degrees)", before, after, row, label)
    return moved, crs_from(WGS84)


def _rings(
    geometry: NDArray[Any], crs: CRS, labels: Sequence[str], rows: Sequence[int], exam: Examination, log: _Log
) -> NDArray[Any]:
    # Repairs come in the order of the rows, one for each invalid polygon.
    import shapely

    bad = np.flatnonzero(~shapely.is_valid(geometry))
    mended, repairs = repair(geometry, labels, crs, where=exam.report.file)
    for k, done in zip(bad, repairs, strict=True):
        what = f"{done.reason}; area changed by {done.change_share:.2g} of it"
        before, after = f"{done.area_before_km2:.9f}", f"{done.area_after_km2:.9f}"
        log.add("geometry", what, before, after, rows[int(k)], done.code)
    return mended


def _table(exam: Examination, keep: Sequence[int], log: _Log) -> pd.DataFrame:
    """Attributes with decoded text and codes of six digits; a column called fid would be the GeoPackage's own."""
    table = exam.intake.raw.table.copy()
    kept = set(keep)
    for row, column, before, after in exam.intake.text_changes:
        if row - 1 in kept:
            log.add("text", f"decoded in column {column}", before, after, row, exam.labels[row - 1])
    if exam.code_column is not None:
        table[exam.code_column] = _codes(exam, kept, log)
    taken = {str(column) for column in table.columns}
    for column in [c for c in table.columns if str(c).lower() in ("fid", "geom")]:
        new = next(name for name in (f"{column}_source", f"{column}_source_2") if name not in taken)
        table = table.rename(columns={column: new})
        log.add("column", "renamed: the GeoPackage has a column of this name", str(column), new)
    return table.iloc[list(keep)].reset_index(drop=True)


def _codes(exam: Examination, kept: set[int], log: _Log) -> list[str | None]:
    cells: list[str | None] = []
    for k, (cell, code) in enumerate(zip(exam.intake.raw.table[exam.code_column], exam.codes, strict=True)):
        text = code_text(cell)
        cells.append(code or text or None)
        if code and k in kept and str(cell) != code:
            log.add("code", f"spelled in six digits in column {exam.code_column}", str(cell), code, k + 1, code)
    return cells
