"""``lightpanel boundaries check``: examine a boundary file, say what was found, write a mended copy where asked.

In: a file of polygons. Out: reports for the terminal and for machines; with ``fix_file`` a GeoPackage beside a CSV log
of every change. The input is never written to.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gis.boundaries.doctor import Examination, examine_file
from gis.boundaries.findings import LayerReport
from gis.boundaries.mending import Fix, Mended, fix_rows, mend
from gis.errors import BoundaryInvalid, OptionInvalid
from gis.tables import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gis.boundaries.datum import Datum

LOG_SUFFIX = ".changes.csv"
"""What the log is called: the mended file's name with this instead of its ending."""


@dataclass(frozen=True, slots=True)
class FixResult:
    """A mended file."""

    out: Path
    """The GeoPackage."""
    log: Path
    """CSV of every change."""
    fixes: tuple[Fix, ...]
    """The same."""
    skipped: tuple[str, ...]
    """Layers that hold no polygon and were left out."""
    before: tuple[LayerReport, ...]
    """What was found in the input."""
    reports: tuple[LayerReport, ...]
    """What is left to say about the output."""

    def text(self) -> str:
        """What was done and what is left, for the terminal."""
        kinds = Counter(fix.kind for fix in self.fixes)
        done = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "nothing had to be changed"
        lines = [f"wrote {self.out}", f"wrote {self.log}: {done}"]
        lines += [f"left out layer {name}: it holds no polygon" for name in self.skipped]
        left = [
            f"left as it is: {report.layer}: {f.what}"
            for report in self.reports
            for f in report.findings
            if f.severity == "error"
        ]
        return "\n".join([*lines, *left])


def check_file(path: str | Path, **options: Any) -> tuple[LayerReport, ...]:
    """Examine every layer of a file, or one; options as `gis.boundaries.doctor.examine_file`."""
    return tuple(exam.report for exam in examine_file(path, **options))


def fix_file(
    path: str | Path,
    out: str | Path,
    *,
    datum: Datum | Literal["auto"] = "auto",
    exclude: Sequence[str] = (),
    **options: Any,
) -> FixResult:
    """Write a mended GeoPackage and a log of every change.

    Parameters
    ----------
    path : the file to mend; it is not touched
    out : new file, ``.gpkg``
    datum, exclude : as `gis.boundaries.mending.mend`
    **options : as `gis.boundaries.doctor.examine_file`

    Raises
    ------
    OptionInvalid
        ``out`` is there already (the input above all), or is no ``.gpkg``.
    GeometryInvalid, CrsMissing
        What cannot be mended without judgement; nothing is written.
    BoundaryInvalid
        No layer holds a polygon.
    """
    source, target = Path(path), Path(out)
    log = target.with_suffix(LOG_SUFFIX)
    _refuse_target(source, target, log)
    exams = examine_file(source, **options)
    areal = [exam for exam in exams if _holds_polygons(exam)]
    if not areal:
        raise BoundaryInvalid("no layer holds a polygon", where=source, mend="give a layer of polygons")
    mended = [mend(exam, datum=datum, exclude=_of_layer(exclude, exam, areal)) for exam in areal]
    fixes = tuple(fix for layer in mended for fix in layer.fixes)
    with atomic_path(log) as log_part, atomic_path(target) as part:
        _write(mended, part)
        with open(log_part, "w", encoding="utf-8-sig", newline="") as stream:
            csv.writer(stream).writerows(fix_rows(fixes))
    skipped = tuple(exam.report.layer for exam in exams if exam not in areal)
    after = check_file(target, vintage=options.get("vintage"))
    return FixResult(target, log, fixes, skipped, tuple(exam.report for exam in exams), after)


def _refuse_target(source: Path, target: Path, log: Path) -> None:
    if target.suffix.lower() != ".gpkg":
        raise OptionInvalid(
            f"{target.name} is no GeoPackage", where="--out", mend=f"--out {target.stem or 'mended'}.gpkg"
        )
    if target.exists() and source.exists() and target.samefile(source):
        raise OptionInvalid(
            "the input is never overwritten",
            where=target,
            mend=f"--out {target.with_stem(target.stem + '_mended').name}",
        )
    for path in (target, log):
        if path.exists():
            raise OptionInvalid(
                f"{path.name} is there already", where=path, mend="name another file, or remove this one"
            )


def _holds_polygons(exam: Examination) -> bool:
    import shapely

    return bool((~shapely.is_empty(exam.polygons)).any())


def _of_layer(exclude: Sequence[str], exam: Examination, exams: Sequence[Examination]) -> list[str]:
    """What of ``exclude`` a layer has; a unit that no layer has is left in, to be refused by name."""
    return [unit for unit in exclude if unit in exam.labels or not any(unit in other.labels for other in exams)]


def _write(layers: Sequence[Mended], path: Path) -> None:
    import geopandas as gpd

    for layer in layers:
        frame = gpd.GeoDataFrame(layer.table, geometry=layer.geometry, crs=layer.crs)
        frame.to_file(path, layer=layer.name, driver="GPKG", mode="a" if path.exists() else "w", promote_to_multi=True)


# --- what is shown ---------------------------------------------------------------------------------------------------


def reports_as_json(reports: Sequence[LayerReport], fixed: FixResult | None = None) -> str:
    """Reports as one JSON object; of a mended file also where it is and every change."""
    content: dict[str, Any] = {"layers": [report.as_dict() for report in reports]}
    if fixed is not None:
        header, *rows = fix_rows(fixed.fixes)
        content["out"], content["log"] = str(fixed.out), str(fixed.log)
        content["before"] = [report.as_dict() for report in fixed.before]
        content["changes"] = [dict(zip(header, row, strict=True)) for row in rows]
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)


def print_reports(console: Any, reports: Sequence[LayerReport]) -> None:
    """Print what was found, one table a layer, errors first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    style = {"error": "bold red", "warning": "yellow", "info": ""}
    for report in reports:
        n = Counter(f.severity for f in report.findings)
        title = (
            f"{Path(report.file).name} · {report.layer}: {report.n_rows} rows, {report.n_units} units, "
            f"level {report.level}; {n['error']} errors, {n['warning']} warnings"
        )
        table = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left", expand=False)
        for column in ("", "about", "found", "mend"):
            table.add_column(column, overflow="fold")
        for finding in report.findings:
            mark = Text(finding.severity, style=style[finding.severity])
            table.add_row(mark, finding.topic, Text(finding.what), Text(finding.mend))
        console.print(table)
