"""``lightpanel georeference``: from a scan and its control points to a warped map with its errors.

In: a scan, a file of control points. Out: in one folder: ``georeference`` and ``control_point`` (Parquet and CSV),
``residuals.png``, the warped scan as a COG, and the control points in every format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, crs_name
from gis.errors import OptionInvalid
from gis.historical.control_points import WGS84, ControlPoints
from gis.historical.formats import ScanFacts, read_control_points, write_control_points
from gis.historical.georeference import AUTO, Georeference, georeference, model_rows, point_rows
from gis.tables import CONTROL_POINT, GEOREFERENCE, write_table

if TYPE_CHECKING:
    from rich.console import Console

    from gis.grid import Grid
    from gis.raster_io.pictures import PictureInfo

    Report = Callable[[str, int, int], None]

WARP_CRS = (ASIA_NORTH_LAMBERT, WGS84)
"""CRS offered for the warped scan; any other that PROJ knows is taken too."""
STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class GeoreferenceRun:
    """What a run found and wrote."""

    result: Georeference
    """Models, points, findings."""
    grid: Grid
    """Grid of the warped scan."""
    files: tuple[Path, ...]
    """Everything written."""


def georeference_scan(
    scan: Path,
    gcps: Path,
    out: Path,
    *,
    model: str = AUTO,
    crs: str = ASIA_NORTH_LAMBERT,
    resolution: float | None = None,
    smooth: bool = True,
    gcps_crs: str | None = None,
    gcps_unit: str = "auto",
    dpi: float | None = None,
    meridian: str | None = None,
    report: Report | None = None,
) -> GeoreferenceRun:
    """Fit, measure, draw, warp, and write the control points back.

    Parameters
    ----------
    model : ``auto`` (smallest leave-one-out error), ``projection``, or a model's name
    crs : CRS of the warped scan
    resolution : its cell size, in the unit of ``crs``; default: the scan's own
    smooth : bilinear colours; otherwise those of the nearest pixel
    gcps_crs : CRS of the control points, where their file names none
    gcps_unit, dpi : unit of an ArcGIS link table; resolution of the scan where it carries none
    meridian : prime meridian of graticule points, or ``estimate``

    Raises
    ------
    GisError
        Anything unusable in scan, control points or options. Nothing is written before the fit stands.
    """
    from gis.raster_io.pictures import open_picture, read_picture, write_picture

    tell = report or (lambda step, done, n: None)
    info = read_picture(scan)
    target = crs_from(crs, where="--crs")
    facts = scan_facts(info, dpi)
    points = read_control_points(gcps, crs=gcps_crs, scan=facts, unit=gcps_unit)
    tell("georeferencing", 0, STEPS)
    result = georeference(points, model, size=info.size, meridian=meridian)
    transform = result.chosen.transform
    tell("georeferencing", 1, STEPS)

    from gis.historical.residual_map import residual_map, residuals_px
    from gis.historical.warp import warp_grid, warp_strips

    grid = warp_grid(transform, result.points, info.size, target, resolution=resolution)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OptionInvalid("the output is a file", where=out, mend="give a folder: -o DIR")
    files = _write_tables(result, out)
    with open_picture(info) as picture:
        files.append(residual_map(picture, result.points, result.chosen, out / "residuals.png"))
        tell("georeferencing", 2, STEPS)
        strips = warp_strips(picture, transform, grid, smooth=smooth)
        tags = {"LIGHTPANEL_MODEL": transform.model, "LIGHTPANEL_LOO_RMSE_KM": f"{result.chosen.loo_rmse_km:.6g}"}
        files.append(write_picture(out / f"{scan.stem}_warped.tif", strips, grid, tags=tags))
    tell("georeferencing", 3, STEPS)
    residual = residuals_px(result.points, result.chosen)
    files += write_every_format(result.points, out, facts, transformation=transform.model, residual_px=residual)
    tell("georeferencing", 4, STEPS)
    return GeoreferenceRun(result, grid, tuple(files))


def scan_facts(info: PictureInfo, dpi: float | None = None) -> ScanFacts:
    """What the formats need to know of a scan; a resolution that is given stands before the file's own."""
    return ScanFacts(info.size, info.dpi if dpi is None else dpi, info.transform, info.path)


def write_every_format(
    points: ControlPoints, folder: Path, facts: ScanFacts, *, transformation: str, residual_px: Any = None
) -> list[Path]:
    """Write ``gcps.points``, ``.txt`` (pixels), ``.json``, ``.csv``, ``.vrt`` and ``<scan>.aux.xml`` into a folder."""
    assert facts.path is not None
    plain = ScanFacts(facts.size, None, facts.transform, facts.path)
    return [
        write_control_points(points, folder / "gcps.points", scan=facts, residual_px=residual_px),
        write_control_points(points, folder / "gcps.txt", scan=plain, unit="px"),
        write_control_points(points, folder / "gcps.json", scan=facts, transformation=transformation),
        write_control_points(points, folder / "gcps.csv", scan=facts),
        write_control_points(points, folder / "gcps.vrt", scan=facts),
        write_control_points(points, folder / f"{facts.path.name}.aux.xml", scan=facts),
    ]


def _write_tables(result: Georeference, out: Path) -> list[Path]:
    from gis.export.csv_tables import write_csv

    files = []
    for table, frame in ((GEOREFERENCE, model_rows(result)), (CONTROL_POINT, point_rows(result))):
        parquet = write_table(table, frame, out / f"{table.name}.parquet")
        files += [parquet, write_csv(table, parquet, out / f"{table.name}.csv")]
    return files


def print_georeference(console: Console, run: GeoreferenceRun) -> None:
    """Print the ranking, the findings, and what was written."""
    from rich.table import Table

    result = run.result
    table = Table(title="Models by leave-one-out error (km)", title_justify="left")
    for head in (
        "model",
        "parameters",
        "RMSE",
        "sigma/axis",
        "leave-one-out",
        "p90",
        "regions out",
        "check",
        "outliers",
    ):
        table.add_column(head, justify="left" if head == "model" else "right")
    for a in result.ranked:
        mark = "* " if a is result.chosen else "  "
        numbers = (a.rmse_km, a.sigma_axis_km, a.loo_rmse_km, a.loo_p90_km, a.block_rmse_km, a.check_rmse_km)
        cells = [_km(value) for value in numbers]
        table.add_row(mark + a.model, f"{a.n_parameters:.4g}", *cells, ", ".join(a.outliers))
    console.print(table)
    used, n = int(result.points.is_used.sum()), len(result.points)
    checks, off = int(result.points.is_check.sum()), int((~result.points.enabled).sum())
    console.print(f"{n} control points: {used} fitted, {checks} checks, {off} disabled", markup=False)
    if result.meridian is not None:
        m = result.meridian
        alone = f"towns alone {m.towns_degree:.4f} (sd {m.towns_sd_degree:.4f})"
        text = f"prime meridian {m.offset_degree:.4f} E (sd {m.sd_degree:.4f}); {alone}"
        console.print(text, markup=False, soft_wrap=True)
    for finding in result.findings:
        console.print(f"{finding.severity}: {finding.what}", markup=False, soft_wrap=True)
        if finding.mend:
            console.print(f"  mend:  {finding.mend}", markup=False, soft_wrap=True)
    ny, nx = run.grid.shape
    console.print(
        f"warped scan: {ny} x {nx} cells of {run.grid.transform.a:g} in {crs_name(run.grid.crs)}", markup=False
    )
    for path in run.files:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)


def _km(value: float) -> str:
    return "" if value != value else f"{value:.2f}"
