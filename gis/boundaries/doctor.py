"""The doctor: everything that can be the matter with a boundary layer, found in one pass and said with its numbers.

In: a file, and what the user knows of it. Out: one ``Examination`` per layer: the ``LayerReport``, and what mending it
needs. Nothing is written; no layer that can be opened is refused (`gis.boundaries.reader` does that for a run).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gis.boundaries.codes import PROVINCES, code_text, is_code, is_municipality, level_of, normalise_code
from gis.boundaries.columns import find_columns
from gis.boundaries.doctor_codes import examine_codes, examine_roster, examine_vintage
from gis.boundaries.doctor_shapes import examine_areas, examine_datum, examine_fabric, mended_rings, polygons_of
from gis.boundaries.findings import Findings, LayerReport, in_order
from gis.boundaries.geometry import Repair, geodesic_area_km2
from gis.boundaries.intake import Intake, called, layer_names, open_layer, settle
from gis.boundaries.reference import Level
from gis.boundaries.vintage import YearScore, best_years
from gis.errors import BoundaryInvalid
from gis.workspace import Columns

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

LISTED = 1000
"""Rows of overlaps and of gaps that a report keeps at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """A layer, its report, and its parts as the doctor sees them."""

    intake: Intake
    """The raw layer and its CRS."""
    code_column: str | None
    """Column of the codes; None where there is none."""
    name_column: str | None
    """Column of the names; None where there is none."""
    codes: tuple[str, ...]
    """Code of every row, six characters; ``""`` where the cell holds none."""
    labels: tuple[str, ...]
    """What to call every row: its code, else ``row k``."""
    polygons: NDArray[Any]
    """(n,) polygons as they were drawn, empty where a row has none."""
    costly: tuple[Repair, ...]
    """Repairs that change an area by more than is allowed."""
    report: LayerReport
    """What was found."""


def examine_file(
    path: str | Path,
    *,
    layer: str | None = None,
    vintage: int | None = None,
    crs: Any = None,
    code: str | None = None,
    name: str | None = None,
    encoding: str | None = None,
) -> tuple[Examination, ...]:
    """Examine one layer of a file, or all of them.

    Parameters
    ----------
    path : file of any format that a run reads
    layer : layer inside it; default: every layer that holds geometry
    vintage : year-end that the layer is said to stand for; default: the one that its codes fit best
    crs : CRS of the coordinates, for a file that states none
    code, name : columns, where the usual names do not find them
    encoding : of the text, where its bytes do not tell

    Raises
    ------
    BoundaryUnreadable, BoundaryInvalid
        The file cannot be opened at all: missing, cut off, no such layer, no text encoding that fits.
    """
    path = Path(path)
    names = (layer,) if layer is not None else layer_names(path)
    columns = Columns(code=code, name=name)
    intakes = [open_layer(path, one, encoding) for one in names]
    exams = [_examine(intake, columns, vintage, crs) for intake in intakes]
    guesses = {exam.report.crs: exam.intake.crs for exam in exams if exam.report.crs_origin == "guessed"}
    if len(guesses) == 1:  # layers of one file share a CRS; lines, or units without codes, cannot tell theirs
        (sibling,) = guesses.values()
        for k, exam in enumerate(exams):
            if exam.intake.crs is None:
                exams[k] = _examine(intakes[k], columns, vintage, crs, sibling)
    return tuple(exams)


def _examine(intake: Intake, wanted: Columns, vintage: int | None, crs: Any, sibling: CRS | None = None) -> Examination:
    said = Findings()
    table = intake.raw.table
    code_column, name_column, level = _columns(table, wanted, said)
    texts = [code_text(v) for v in table[code_column]] if code_column else [""] * len(table.index)
    codes = tuple(normalise_code(text) if is_code(text) else "" for text in texts)
    labels = tuple(code or f"row {k + 1}" for k, code in enumerate(codes))
    intake = settle(intake, codes, crs, sibling)
    said.items[:0] = intake.findings
    polygons = polygons_of(intake, labels, said)
    valid, repairs, costly, n_valid = mended_rings(polygons, labels, intake.crs, said)
    facts: dict[str, Any] = {"n_valid": n_valid, "repairs": tuple(asdict(r) for r in (*repairs, *costly))}
    if intake.crs is not None:
        facts |= _of_shapes(valid, labels, intake.crs, said)
    if code_column is not None:
        names = _names(table, name_column)
        examine_codes(texts, codes, names, labels, code_column, said)
        facts |= _of_codes(codes, names, level, vintage, said)
    report = LayerReport(
        file=str(intake.path),
        layer=intake.raw.layer_name,
        level=level,
        n_rows=len(table.index),
        n_units=len({code for code in codes if code}),
        encoding=intake.raw.encoding,
        crs=called(intake.crs) if intake.crs is not None else "",
        crs_origin=intake.origin,
        findings=in_order(said.items),
        **facts,
    )
    return Examination(intake, code_column, name_column, codes, labels, polygons, costly, report)


def _of_shapes(valid: NDArray[Any], labels: tuple[str, ...], crs: CRS, said: Findings) -> dict[str, Any]:
    """What a report says of polygons whose CRS is known."""
    area = geodesic_area_km2(valid, crs)
    examine_areas(area, labels, said)
    verdict = examine_datum(valid, area, crs, said)
    shared, holes, drawn = examine_fabric(valid, labels, crs, said)
    return {
        "datum": verdict,
        "overlaps": tuple(shared.head(LISTED).to_dict("records")),
        "gaps": tuple(holes.head(LISTED).to_dict("records")),
        "drawing": drawn,
    }


def _of_codes(
    codes: tuple[str, ...], names: tuple[str, ...], level: str, vintage: int | None, said: Findings
) -> dict[str, Any]:
    """What a report says of the codes of China's cities or districts."""
    at = [k for k, code in enumerate(codes) if code and code[:2] in PROVINCES]
    known, titles = [codes[k] for k in at], [names[k] for k in at] if names else []
    scores: tuple[YearScore, ...] = ()
    if level in ("city", "district"):
        scores = examine_vintage(known, titles, cast(Level, level), vintage, said)
    return {
        "best_years": best_years(scores),
        "years": tuple({"year": s.year, "n_differences": s.n_differences, "n_names": s.n_names} for s in scores),
        "roster": examine_roster(known, level, said),
    }


# --- columns ----------------------------------------------------------------------------------------------------------


def _columns(table: pd.DataFrame, wanted: Columns, said: Findings) -> tuple[str | None, str | None, str]:
    """Code column, name column and level of a layer; a layer without codes is examined all the same."""
    for level in ("district", "city"):
        try:
            found = find_columns(table, wanted, level, key="boundaries.layer")
        except BoundaryInvalid as error:
            if wanted.code is not None or wanted.name is not None:
                raise
            refused = error
            continue
        actual = _level(table[found.code])
        if level == "district" and actual != "district":
            continue
        return found.code, found.name, actual
    fallback = _province_columns(table)
    if fallback is not None:
        return (*fallback, "province")
    said.add("codes", "warning", refused.what, "name the column: --code COLUMN")
    return None, None, "other"


def _level(cells: pd.Series) -> str:
    """What most rows are, municipalities aside: their districts often stand among cities."""
    codes = [normalise_code(text) for text in map(code_text, cells) if is_code(text)]
    kinds = Counter(level_of(code) for code in codes if not is_municipality(code))
    kinds = kinds or Counter("district" if level_of(code) != "province" else "province" for code in codes)
    if kinds["province"] > len(codes) / 2:
        return "province"
    return "city" if kinds["city"] + kinds["province"] >= kinds["district"] else "district"


def _province_columns(table: pd.DataFrame) -> tuple[str, str | None] | None:
    lower = {str(column).lower(): str(column) for column in table.columns}
    code = next((lower[c] for c in ("province_adcode", "province_code", "prov_code", "省级码") if c in lower), None)
    name = next((lower[c] for c in ("province_name", "province", "省级") if c in lower), None)
    return None if code is None else (code, name)


def _names(table: pd.DataFrame, column: str | None) -> tuple[str, ...]:
    if column is None:
        return ()
    return tuple(
        "" if missing else str(v).strip() for v, missing in zip(table[column], table[column].isna(), strict=True)
    )
