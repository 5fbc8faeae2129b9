"""What commands print and the workspace template they write; no computation.

In: a folder, inputs, a check report. Out: ``workspace.toml``, tables on a console.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.tables import atomic_path
from gis.workspace import BOUNDARIES, CONFIG_NAME, HISTORICAL, RASTERS

if TYPE_CHECKING:
    from rich.console import Console

    from gis.pipeline.check import CheckReport
    from gis.pipeline.inputs import Inputs

TEMPLATE = """\
# lightpanel workspace. Every path is relative to this folder. A key that is not known is an error.

[workspace]
name = "my panel"

[lights]
product = "eantli_like"          # profiles: rasters/README.md of the repository; "custom" takes unit, quantity, files
# files = "rasters/EANTLI_like_{year}/EANTLI_like_{year}.tif"   # default: the product's own names under rasters/
# years = [2000, 2020]           # default: every year found
# negatives = "zero"             # zero | keep | nan
# missing_years = "nan"          # nan | error | interpolate
# dn_min = 0.0                   # lit threshold

[population]
product = "landscan"
# files = "rasters/landscan-global-{year}-assets.zip"
# missing_years = "error"        # error | nearest | static | interpolate

[boundaries.city]
file = "boundaries/china_2019.gpkg"
layer = "city"
vintage = 2019
# crs = "EPSG:4326"              # only for files that carry no CRS
# encoding = "GB18030"           # only for Shapefiles whose text comes out wrong
# columns.code = "code"
# columns.name = "name"

[boundaries.district]
file = "boundaries/china_2019.gpkg"
layer = "district"
vintage = 2019

[levels]
measure = "lambert"              # lambert | true | cells

[panel]
tie = "previous"                 # previous | drop | t-2
# cities = "boundaries/roster.csv"   # a column city_code; default: every city of the layer

[output]
crs = "ESRI:102027"              # or EPSG:4326
"""
"""The commented ``workspace.toml`` of ``lightpanel init``."""


def write_template(folder: Path) -> Path:
    """Write the template and the three evidence folders; refuse to overwrite a ``workspace.toml``."""
    from gis.errors import ConfigInvalid

    path = Path(folder) / CONFIG_NAME
    if path.exists():
        raise ConfigInvalid(f"there is a {CONFIG_NAME} already", where=path, mend="edit it, or choose another folder")
    with atomic_path(path) as temporary:
        temporary.write_text(TEMPLATE, encoding="utf-8")
    for name in (RASTERS, BOUNDARIES, HISTORICAL):
        (path.parent / name).mkdir(exist_ok=True)
    return path


def print_report(console: Console, report: CheckReport) -> None:
    """Print what a check found: rasters, then findings, gravest first."""
    table = _table("Rasters", ("series", "year", "valid cells", "min", "max", "total", "negative", "other fill"))
    for series, year, one in report.rasters:
        table.add_row(
            series, str(year), f"{one.n_valid:,} of {one.n_cells:,}", f"{one.minimum:g}", f"{one.maximum:g}",
            f"{one.total:,.0f}", f"{one.n_negative:,}", f"{one.n_other_fill:,}",
        )  # fmt: skip
    console.print(table)
    for name, zones in report.inputs.layers.items():
        console.print(f"{name} layer: {len(zones)} units, vintage {zones.vintage}, {zones.crs.name}", markup=False)
    counts = {s: sum(f.severity == s for f in report.findings) for s in ("error", "warning", "info")}
    for finding in report.findings:
        console.print(f"\n{finding.severity}: {finding.what}\n  where: {finding.where}", markup=False, soft_wrap=True)
        if finding.mend and finding.severity != "info":
            console.print(f"  mend:  {finding.mend}", markup=False, soft_wrap=True)
    console.print(f"\n{counts['error']} errors, {counts['warning']} warnings, {counts['info']} notes", markup=False)


def print_plan(console: Console, inputs: Inputs) -> None:
    """Print what a run would read: files, hashes, years, layers, tasks."""
    table = _table("Inputs", ("series", "year", "file", "sha256", "grid", "CRS", "strips"))
    for series, files in (("lights", inputs.lights.files), ("population", inputs.population.files)):
        for f in files:
            grid = f.info.grid
            table.add_row(
                series, str(f.year), f.source.name, f.sha256[:12], f"{grid.shape[0]} x {grid.shape[1]}",
                grid.crs.name, str(grid.n_strips),
            )  # fmt: skip
    console.print(table)
    plan = _table("Years", ("year", "lights", "population"))
    for year in inputs.years:
        plan.add_row(str(year), _drawn(inputs.light_plan[year]), _drawn(inputs.population_plan[year]))
    console.print(plan)
    for name, zones in inputs.layers.items():
        console.print(f"{name} layer: {len(zones)} units, vintage {zones.vintage}, {zones.crs.name}", markup=False)
    for note in inputs.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _drawn(plan: tuple[tuple[int, float], ...]) -> str:
    if not plan:
        return "none: NaN"
    return " + ".join(str(y) if w == 1 else f"{w:.3g} x {y}" for y, w in plan)


def _table(title: str, heads: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in ("series", "file", "CRS", "sha256") else "right")
    return table
