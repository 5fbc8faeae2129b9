"""The commands of ``lightpanel boundaries``: arguments become one pipeline call; no science here.

Tables go to files and standard output, errors to standard error. Exit 0: done; 1: refused, or errors found; 2: misuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="boundaries",
    help="Boundary layers: what is the matter with a file, and what became of a unit between two vintages.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

PIPE_WIDTH = 110
"""Width of tables in a file or a pipe, which has none of its own [characters]."""

Layer = Annotated[str | None, typer.Option("--layer", help="Layer inside the file; default: every layer.")]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="GeoPackage, Shapefile, GeoJSON, TopoJSON, GeoParquet, CSV with WKT.")],
    layer: Layer = None,
    vintage: Annotated[
        int | None, typer.Option(min=2000, max=2024, help="Year-end the layer is said to stand for.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the coordinates, where the file carries none.")] = None,
    code: Annotated[str | None, typer.Option(help="Column of the codes; default: found by the usual names.")] = None,
    name: Annotated[str | None, typer.Option(help="Column of the names; default: found by the usual names.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of the text; default: told from the bytes.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The whole report as JSON, for machines.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a mended GeoPackage to --out, and a log of every change.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="New GeoPackage for --fix.")] = None,
    datum: Annotated[
        str, typer.Option(help="Datum to undo with --fix: auto (as found), wgs84 (none), gcj02 or bd09.")
    ] = "auto",
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Unit to leave out with --fix; may be given several times.")
    ] = None,
) -> None:
    """Examine a boundary file: text, CRS, datum, codes, names, rings, overlaps, gaps, vintage, roster.

    Nothing is written unless `--fix -o OUT` asks for it; the input is never overwritten. Exit 1 when an error was found
    (without `--fix`), or when mending would change a unit more than is allowed: the units are then named.
    """
    from gis.pipeline.boundaries_check import check_file, fix_file, print_reports, reports_as_json

    options: dict[str, Any] = {
        "layer": layer,
        "vintage": vintage,
        "crs": crs,
        "code": code,
        "name": name,
        "encoding": encoding,
    }
    if fix or out is not None:
        if out is None or not fix:
            raise typer.BadParameter("--fix and --out belong together: --fix -o mended.gpkg")
        result = fix_file(file, out, datum=datum, exclude=exclude or (), **options)
        typer.echo(reports_as_json(result.reports, result) if json else result.text())
        return
    reports = check_file(file, **options)
    if json:
        typer.echo(reports_as_json(reports))
    else:
        print_reports(_console(), reports)
    if any(report.has_errors for report in reports):
        raise typer.Exit(1)


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
