"""The command line: arguments become one pipeline call; no science here.

Results go to files and standard output, progress and errors to standard error. Exit 0: done; 1: refused, with what,
where and how to mend it; 2: misuse of the command.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gis import __version__, cli_boundaries
from gis.errors import GisError

if TYPE_CHECKING:
    from gis.pipeline import RunResult

app = typer.Typer(
    name="lightpanel",
    help=(
        "From annual night lights, population and boundaries to per-capita luminosity and the city-pair panel Bal, "
        "by exact zonal statistics."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PIPE_WIDTH = 110
"""Width of tables in a file or a pipe, which has none of its own [characters]."""

Folder = Annotated[Path, typer.Argument(help="Workspace: the folder with workspace.toml.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default: one per core. Changes no number.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Read rasters in so many processes here.")]
Scheduler = Annotated[str | None, typer.Option(help="Read rasters on a Dask cluster: tcp://host:8786.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lightpanel {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def init(folder: Folder = Path()) -> None:
    """Write a commented workspace.toml and the folders rasters/, boundaries/, historical/.

    Nothing that is there already is touched. Then put your files into rasters/ and boundaries/, adapt workspace.toml,
    and ask `lightpanel check`.
    """
    from gis.pipeline.screens import write_template

    path = write_template(folder)
    typer.echo(f"wrote {path}\nnext: put rasters and boundaries in place, edit it, then: lightpanel check {folder}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the workspace, or an earlier demo.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic country.")] = 1907,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Write a complete synthetic workspace, run it, and say where everything is.

    Twelve fictional cities with sixty districts, eight years of lights and population with the defects that real files
    have, two boundary vintages, a scanned map with control points and offices, directed flows. The true levels are
    known, and the last table compares them with what the engine found.
    """
    from gis.demo import write_demo
    from gis.pipeline.demo import compare_with_truth, is_demo, known_coefficients

    if is_demo(folder):
        typer.echo(f"demo workspace {folder} is there already: running it again", err=True)
    else:
        with _progress(quiet) as report:
            report("writing the demo workspace", 0, 1)
            write_demo(folder, seed=seed)
            report("writing the demo workspace", 1, 1)
    result = _run(folder, threads, quiet)
    _print_summary(result)
    typer.echo(compare_with_truth(result))
    typer.echo(known_coefficients(folder))
    typer.echo(f"\nThe workspace is {folder}: look at {folder / 'workspace.toml'}, then at {folder / 'out'}.")


@app.command()
def check(folder: Folder = Path(), threads: Threads = None, quiet: Quiet = False) -> None:
    """Read every raster and boundary once and say what is the matter; write nothing.

    Exit 1 when a run would be refused or wrong. Warnings may move numbers; each says how to mend it.
    """
    from gis.pipeline import check as check_workspace
    from gis.pipeline.screens import print_report

    with _progress(quiet) as report:
        found = check_workspace(folder, threads=threads, report=report)
    print_report(_console(), found)
    if found.has_errors:
        raise typer.Exit(1)


@app.command()
def run(
    folder: Folder = Path(),
    threads: Threads = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print inputs, hashes and tasks; compute nothing.")
    ] = False,
) -> None:
    """Compute levels and Bal and write out/: Parquet tables, a GeoPackage, lineage.json, summary.txt."""
    if dry_run:
        from gis.pipeline.inputs import read_inputs
        from gis.pipeline.screens import print_plan
        from gis.workspace import read_workspace

        print_plan(_console(), read_inputs(read_workspace(folder)))
        return
    _print_summary(_run(folder, threads, quiet, workers=workers, scheduler=scheduler))


@app.command()
def instrument(folder: Folder = Path(), threads: Threads = None, quiet: Quiet = False) -> None:
    """Place the telegraph offices, assign them to the cities of a finished run, and build the historical instrument.

    Configured under [instrument] and [instrument.offices] in workspace.toml. Writes office, office_city, city_office,
    office_draw, pair_instrument, instrument_year and instrument_diagnostics to out/.
    """
    import warnings

    from gis.pipeline.instrument import build_instrument, summary_lines

    with _progress(quiet) as report, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said again among the notes
        result = build_instrument(folder, threads=threads, report=report)
    for line in summary_lines(result):
        typer.echo(line)


@app.command()
def panel(folder: Folder = Path(), quiet: Quiet = False) -> None:
    """Join flows, controls, geography and moderators to the pair panel of a finished run; networks; within cities.

    Configured under [flows], [covariates], [moderators], [within_city] and [sample] in workspace.toml. Writes
    pair_panel and the waterfall of its rows (panel_rows), flows, networks, and inequality within cities to out/.
    """
    from gis.pipeline.panel import build_panel, summary_lines

    with _progress(quiet) as report:
        result = build_panel(folder, report=report)
    for line in summary_lines(result):
        typer.echo(line)


@app.command()
def zonal(
    rasters: Annotated[list[str], typer.Argument(help="One or several rasters GDAL can read, or their addresses.")],
    zones: Annotated[Path, typer.Option("--zones", "-z", help="Polygons: GeoPackage, Shapefile, GeoJSON, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write: .csv or .parquet.")],
    stat: Annotated[str, typer.Option("--stat", "-s", help="Statistics, separated by commas.")] = "sum,mean",
    layer: Annotated[str | None, typer.Option(help="Layer of the zones' file.")] = None,
    code: Annotated[str | None, typer.Option(help="Column that names the zones; default: the row number.")] = None,
    measure: Annotated[
        str, typer.Option(help="What a cell weighs in sum and mean: cells, true or lambert [km2].")
    ] = "cells",
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="Raster of counts, on any grid, for weighted statistics.")
    ] = None,
    band: Annotated[int, typer.Option(min=1, help="Band of the rasters.")] = 1,
    nodata: Annotated[float | None, typer.Option(help="A further value that means no data.")] = None,
    raster_crs: Annotated[str | None, typer.Option(help="CRS of rasters that carry none.")] = None,
    zones_crs: Annotated[str | None, typer.Option(help="CRS of zones that carry none.")] = None,
    weights_crs: Annotated[str | None, typer.Option(help="CRS of weights that carry none.")] = None,
    threads: Threads = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
) -> None:
    """Exact zonal statistics of any rasters over any polygons, without a workspace.

    One row per raster and zone. Cells count by the share of them inside the zone; a zone without a valid cell is NaN,
    never 0. Statistics: count, sum, mean, min, max, variance, stdev, coefficient_of_variation, lit_fraction,
    valid_area_km2, median, quantile(q), majority, minority, variety, gini, theil. With --weights: weighted_sum,
    weighted_mean, weighted_variance, weighted_stdev, weight_sum, weight_on_data, weighted_median,
    weighted_quantile(q), weighted_gini, weighted_theil, and median_per_head, gini_per_head, theil_per_head.
    """
    from gis.pipeline.zonal import zonal_table

    with _progress(quiet) as report:
        rows = zonal_table(
            rasters, zones, out, stats=stat, layer=layer, code=code, measure=measure, weights=weights, band=band,
            nodata=nodata, raster_crs=raster_crs, zones_crs=zones_crs, weights_crs=weights_crs, threads=threads,
            workers=workers, scheduler=scheduler, report=report,
        )  # fmt: skip
    typer.echo(f"wrote {rows} rows to {out}")


@app.command()
def georeference(
    scan: Annotated[Path, typer.Argument(help="Scanned map: PNG, JPEG, TIFF, ...")],
    gcps: Annotated[Path, typer.Option("--gcps", help="Control points: .points, .txt, .csv, .json, .vrt, .aux.xml.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    model: Annotated[
        str,
        typer.Option(help="auto, projection, affine, poly2, tps, projection:bonne, ...: see docs/georeferencing.md."),
    ] = "auto",
    crs: Annotated[str, typer.Option(help="CRS of the warped scan: ESRI:102027, EPSG:4326, ...")] = "ESRI:102027",
    resolution: Annotated[
        float | None, typer.Option(help="Its cell size, in that CRS; default: the scan's own.")
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Colours of the nearest pixel, not between pixels.")
    ] = False,
    gcps_crs: Annotated[str | None, typer.Option(help="CRS of the points, where their file names none.")] = None,
    gcps_unit: Annotated[str, typer.Option(help="Unit of an ArcGIS link table: auto, px, inch or cm.")] = "auto",
    dpi: Annotated[float | None, typer.Option(help="Resolution of the scan, where it carries none.")] = None,
    meridian: Annotated[
        str | None, typer.Option(help="Prime meridian of graticule points: greenwich, paris, 116.391, estimate, ...")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit a scanned map to the ground, measure its error by leaving points out, and warp it.

    Writes tables of models and of points, a residual map, the warped scan as a COG, and the control points in every
    format. The model with the smallest leave-one-out error is taken unless one is named; suspicious points are
    reported, never dropped.
    """
    from gis.pipeline.georeference import georeference_scan, print_georeference

    with _progress(quiet) as report:
        done = georeference_scan(
            scan, gcps, out, model=model, crs=crs, resolution=resolution, smooth=not nearest, gcps_crs=gcps_crs,
            gcps_unit=gcps_unit, dpi=dpi, meridian=meridian, report=report,
        )  # fmt: skip
    print_georeference(_console(), done)


@app.command()
def estimate(
    folder: Folder = Path(),
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="table1, eq2, iv_telegraph, ...")] = None,
    formula: Annotated[list[str] | None, typer.Option("--formula", "-f", help='"bal ~ x | pair_id | x ~ iv".')] = None,
    curve: Annotated[bool, typer.Option("--curve", help="One coefficient under every specification.")] = False,
    term: Annotated[str | None, typer.Option(help="Of the curve: which; default: ln_dkf_net.")] = None,
    level: Annotated[list[str] | None, typer.Option(help="exact/true, paper, cells, ..., or none.")] = None,
    boundaries: Annotated[list[str] | None, typer.Option(help="A vintage, yearly, crosswalk, or none.")] = None,
    iv: Annotated[list[str] | None, typer.Option(help="telegraph, both, leave_out=loo, ..., or none.")] = None,
    cross: Annotated[bool, typer.Option("--cross", help="All combinations, not one change at a time.")] = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Estimate the models of [estimate] on a finished run; print the table and write it to out/.

    Every coefficient comes with four standard errors: by pair, by both cities, dyadic, and dyadic leaving out one city
    at a time. With --curve, one coefficient under every level, set of boundaries and instrument; no run is needed.
    """
    from gis.pipeline.estimate import run_estimation
    from gis.pipeline.specifications import run_specifications

    how: dict[str, Any] = {"models": model or (), "formulas": formula or ()}
    asked = {"term": term, "levels": level, "boundaries": boundaries, "iv": iv, "cross": cross, "threads": threads}
    if (asked := {name: value for name, value in asked.items() if value}) and not curve:
        raise typer.BadParameter("--term, --level, --boundaries, --iv, --cross and --threads go with --curve")
    step: Any = run_specifications if curve else run_estimation
    with _progress(quiet) as report:
        done = step(folder, **how, **asked, report=report)
    typer.echo(done.text)
    for path in done.paths.values():
        typer.echo(f"wrote {path}", err=True)


@app.command()
def rebal(
    folder: Folder = Path(),
    vintage: Annotated[
        str | None, typer.Option("--vintage", help="Date of one of [[boundaries.vintages]], or a file of cities.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer inside that file.")] = None,
    date: Annotated[str | None, typer.Option(help="Day the boundaries of that file stood.")] = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Make Bal anew for another boundary vintage and report what moved, row by row and by name.

    Results go to out/rebal/<vintage>/, beside difference.txt, rebal_level.parquet, rebal_pair.parquet and
    boundary_diff.gpkg; workspace.toml and the results in out/ stay as they are.
    """
    from gis.pipeline.rebal import rebal as rebal_workspace

    with _progress(quiet) as report:
        done = rebal_workspace(folder, vintage, layer=layer, date=date, threads=threads, report=report)
    typer.echo(done.text)
    typer.echo(done.result.reuse)
    for path in done.paths.values():
        typer.echo(f"wrote {path}")


@app.command()
def reproject(
    rasters: Annotated[list[str], typer.Argument(help="One or several rasters GDAL can read, or their addresses.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="CRS of the target.")] = "ESRI:102027",
    cell: Annotated[float | None, typer.Option(help="Side of a cell, in its unit; default: 1000 m.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="count or intensity; default: what the product is known for.")
    ] = None,
    resampling: Annotated[
        str | None,
        typer.Option(help="conserve (default of counts), nearest (of intensities), bilinear or average."),
    ] = None,
    like: Annotated[str | None, typer.Option(help="Take this raster's grid in place of --to and --cell.")] = None,
    i_know: Annotated[bool, typer.Option("--i-know", help="Sample a count all the same, and lose people.")] = False,
    band: Annotated[int, typer.Option(min=1, help="Band of the rasters.")] = 1,
    nodata: Annotated[float | None, typer.Option(help="A further value that means no data.")] = None,
    raster_crs: Annotated[str | None, typer.Option(help="CRS of rasters that carry none.")] = None,
    loss_max: Annotated[float | None, typer.Option(min=0, help="Share of a total that may go missing.")] = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Bring rasters to one projected grid, through exact coordinates, and account for what was kept.

    Counts are divided over target cells by overlap, so that nobody is lost; lights are sampled or averaged. Writes
    cloud-optimised GeoTIFFs on one shared grid, and ledger.parquet.
    """
    from gis.pipeline.reproject import reproject_files

    with _progress(quiet) as report:
        done = reproject_files(
            rasters, out, to=to, cell=cell, kind=kind, resampling=resampling, like=like, i_know=i_know, band=band,
            nodata=nodata, raster_crs=raster_crs, loss_max=loss_max, threads=threads, report=report,
        )  # fmt: skip
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    for path in done.paths:
        typer.echo(f"wrote {path}")


@app.command()
def sensitivity(
    folder: Folder = Path(),
    preset: Annotated[
        list[str] | None, typer.Option(help="Presets to compare with exact sums; default: all. May be repeated.")
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Compare levels and Bal under every measure and preset; write out/sensitivity*.parquet.

    Rank correlations, the share of pair-years whose order turns round, and the ten cities that move most.
    """
    from gis.pipeline.sensitivity import PRESETS, print_sensitivity
    from gis.pipeline.sensitivity import sensitivity as compare

    with _progress(quiet) as report:
        found = compare(folder, presets=preset or PRESETS, threads=threads, report=report)
    print_sensitivity(_console(), found)


@app.command()
def export(
    folder: Folder = Path(),
    to: Annotated[str, typer.Option("--to", "-t", help="gpkg, geoparquet, parquet, csv, dta or xlsx.")] = "gpkg",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to; default: out/<format>.")] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="This table alone; may be repeated. Not for maps. Default: all.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="ESRI:102027 or EPSG:4326; default: as configured.")] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Add pairs of cities to the map, as lines.")] = False,
    pair_year: Annotated[
        list[int] | None, typer.Option(help="Year of the lines; may be repeated; default: the latest.")
    ] = None,
    pair_top: Annotated[int | None, typer.Option(min=1, help="Draw only so many pairs a year, the highest.")] = None,
    pair_by: Annotated[str | None, typer.Option(help="Column that ranks and colours them; default: bal.")] = None,
) -> None:
    """Write a finished run's results in another format; each of the four options on pairs adds their lines."""
    from gis.pipeline import export as write

    choice: dict[str, Any] = {"pair_years": tuple(pair_year or ()), "pair_top": pair_top, "pair_by": pair_by}
    options = {"folder": out, "pair_lines": pairs, "crs": crs, "tables": tuple(table or ()), **choice}
    options = {name: value for name, value in options.items() if value}
    options["pair_lines"] = pairs or any(choice.values())
    for path in write(folder, to, **options):
        typer.echo(f"wrote {path}")


cache_app = typer.Typer(help="What runs keep to be quick: look at it, or clear some of it.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
app.add_typer(cli_boundaries.app, name="boundaries")


@cache_app.command("ls")
def cache_ls(folder: Folder = Path()) -> None:
    """List the store: how many files of each kind, their size, when they were last used."""
    from gis.pipeline.cache import list_store

    for line in list_store(folder):
        typer.echo(line)


@cache_app.command("gc")
def cache_gc(
    folder: Folder = Path(),
    older_than_days: Annotated[float | None, typer.Option(min=0, help="Delete what was not used for so long.")] = 30,
    keep_mb: Annotated[float | None, typer.Option(min=0, help="Then keep at most so many megabytes.")] = None,
) -> None:
    """Delete what is old or too much; the next run computes it again, with the same numbers."""
    from gis.pipeline.cache import collect_store

    typer.echo(collect_store(folder, older_than_days=older_than_days, keep_mb=keep_mb))


# --- what commands share ---------------------------------------------------------------------------------------------


def _run(folder: Path, threads: int | None, quiet: bool, **cluster: Any) -> RunResult:
    from gis.pipeline import run as run_workspace

    with _progress(quiet) as report:
        return run_workspace(folder, threads=threads, report=report, **cluster)


def _print_summary(result: RunResult) -> None:
    from gis.export.summary import print_summary

    if result.summary:
        print_summary(_console(), **result.summary)
    else:
        typer.echo(result.paths["summary"].read_text(encoding="utf-8"), nl=False)
    for line in result.further:
        typer.echo(line)
    typer.echo(result.reuse, err=True)


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A bar per step on standard error; on a pipe or when asked, nothing."""
    console = _console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda step, done, n: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:

        def report(step: str, done: int, n: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=n)
            progress.update(bars[step], completed=done, total=n)

        yield report


def main() -> None:
    """Entry point of the command ``lightpanel``."""
    try:
        app()
    except GisError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
