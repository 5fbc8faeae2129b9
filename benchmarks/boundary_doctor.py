"""The doctor over every boundary file of a folder: one Markdown table of verdicts, with the time each file took.

    python benchmarks/boundary_doctor.py ../shared/data/boundaries

The folder is searched for files that hold polygons; folders without one are listed as refused, with the reason.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

from gis.boundaries.doctor import examine_file
from gis.boundaries.doctor_codes import span
from gis.boundaries.findings import LayerReport
from gis.errors import GisError

SUFFIXES = {".gpkg", ".shp", ".geojson", ".json", ".topojson", ".csv", ".parquet"}
HEADER = (
    "file", "layer", "level", "rows", "valid", "text", "CRS", "datum (slope, units, metres before and after)",
    "best year-ends (codes + names that differ)", "of the 296", "overlaps > 0.1 %", "errors, warnings",
)  # fmt: skip


def datum_of(report: LayerReport) -> str:
    verdict = report.datum
    if verdict is None or not verdict.residual_m:
        return "-"
    after = verdict.residual_m[verdict.datum] if verdict.datum in ("gcj02", "bd09") else verdict.offset_m
    moved = "" if verdict.datum in ("wgs84", "unclear") else f" → {after:.0f}"
    return (
        f"{verdict.datum} ({verdict.slope:z.2f} ± {verdict.slope_error:.2f}, {verdict.n_matched}, "
        f"{verdict.offset_m:.0f}{moved} m, {verdict.agreement:.0%} agree)"
    )


def row_of(path: Path, report: LayerReport) -> list[str]:
    crs = {"file": "", "guessed": " guessed", "none": "none", "default": " by default"}[report.crs_origin]
    years = (
        f"{span(report.best_years)} ({report.years[0]['n_differences']} + {report.years[0]['n_names']})"
        if report.best_years
        else "-"
    )
    roster = f"{report.roster.n_present}/{report.roster.n_expected}" if report.roster else "-"
    overlaps = sum(pair["share_of_smaller"] > 0.001 for pair in report.overlaps)
    counts = [sum(f.severity == severity for f in report.findings) for severity in ("error", "warning")]
    name = report.crs if len(report.crs) < 20 else report.crs.split()[0].removeprefix("+proj=")
    valid = f"{report.n_valid / report.n_rows:.1%}"
    return [
        path.name, report.layer, report.level, str(report.n_rows), valid, report.encoding, f"{name}{crs}",
        datum_of(report), years, roster, str(overlaps), f"{counts[0]}, {counts[1]}",
    ]  # fmt: skip


def main(folder: Path) -> None:
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    times, refused = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        start = time.perf_counter()
        try:
            exams = examine_file(path)
        except GisError as error:
            refused.append(f"- `{path.name}`: {error.what[:90]}")
            continue
        times.append(f"{path.name} {time.perf_counter() - start:.1f} s")
        for exam in exams:
            print(f"| {' | '.join(row_of(path, exam.report))} |")
    print("\nRefused:\n\n" + "\n".join(refused) + "\n\nTimes: " + ", ".join(times))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
