"""The commands of ``lightpanel boundaries``: arguments become one pipeline call; no science here.

Tables go to files and standard output, errors to standard error. Exit 0: done; 1: refused, or errors found; 2: misuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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


@app.callback()
def _group() -> None:
    pass  # with a callback the commands stay a group, however few they are


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
        Literal["auto", "wgs84", "gcj02", "bd09"],
        typer.Option(help="Datum to undo with --fix: auto (as found), wgs84 (none), gcj02 or bd09."),
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


@app.command()
def lineage(
    code: Annotated[str, typer.Argument(help="Six-digit code of a city, prefecture or directly administered unit.")],
    from_year: Annotated[int | None, typer.Option("--from", min=2000, max=2024, help="Year-end to begin with.")] = None,
    to_year: Annotated[int | None, typer.Option("--to", min=2000, max=2024, help="Year-end to end with.")] = None,
) -> None:
    """Say what became of a unit: renamed, under a new code, split, merged, ground given or got, and the decrees."""
    from gis.pipeline.crosswalk import lineage_text

    typer.echo(lineage_text(code, from_year, to_year))


A = Annotated[
    str, typer.Argument(metavar="A", help="Earlier layer: a file, or the date of a vintage of the workspace.")
]
B = Annotated[str, typer.Argument(metavar="B", help="Later layer, likewise.")]
LayerA = Annotated[str | None, typer.Option("--layer-a", help="Layer inside file A.")]
LayerB = Annotated[str | None, typer.Option("--layer-b", help="Layer inside file B.")]
DateA = Annotated[str | None, typer.Option("--date-a", help="Day the boundaries of file A stood.")]
DateB = Annotated[str | None, typer.Option("--date-b", help="Day the boundaries of file B stood.")]
CrsA = Annotated[str | None, typer.Option("--crs-a", help="CRS of file A, where it carries none.")]
CrsB = Annotated[str | None, typer.Option("--crs-b", help="CRS of file B, where it carries none.")]
ExcludeA = Annotated[list[str] | None, typer.Option("--exclude-a", help="Unit of file A to leave out; repeatable.")]
ExcludeB = Annotated[list[str] | None, typer.Option("--exclude-b", help="Unit of file B to leave out; repeatable.")]
UnitLevel = Annotated[str, typer.Option("--level", help="What a row is: city or district.")]
Place = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace whose vintages and rasters are meant.")]


@app.command()
def diff(
    a: A,
    b: B,
    layer_a: LayerA = None,
    layer_b: LayerB = None,
    date_a: DateA = None,
    date_b: DateB = None,
    crs_a: CrsA = None,
    crs_b: CrsB = None,
    exclude_a: ExcludeA = None,
    exclude_b: ExcludeB = None,
    level: UnitLevel = "city",
    workspace: Place = Path(),
    noise_km: Annotated[float, typer.Option(min=0, help="Strips narrower than this are two drawings [km].")] = 2.0,
    min_share: Annotated[float, typer.Option(help="Share of a unit from which a change of ground counts.")] = 0.01,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it: .gpkg, .parquet or .csv.")] = None,
) -> None:
    """Compare two vintages: units that are new, gone, renamed, recoded, or whose ground moved, by name.

    A GeoPackage holds the units (`boundary_diff`) and every piece of ground that moved (`boundary_piece`).
    """
    from gis.pipeline.crosswalk import LayerWanted, diff_layers, diff_text

    old = LayerWanted(a, layer_a, date_a, crs_a, tuple(exclude_a or ()))
    new = LayerWanted(b, layer_b, date_b, crs_b, tuple(exclude_b or ()))
    found = diff_layers(
        old, new, level=_level(level), workspace=workspace, noise_km=noise_km, min_share=min_share, out=out
    )
    typer.echo(diff_text(found))
    if out is not None:
        typer.echo(f"wrote {out}")


@app.command()
def crosswalk(
    a: A,
    b: B,
    layer_a: LayerA = None,
    layer_b: LayerB = None,
    date_a: DateA = None,
    date_b: DateB = None,
    crs_a: CrsA = None,
    crs_b: CrsB = None,
    exclude_a: ExcludeA = None,
    exclude_b: ExcludeB = None,
    level: UnitLevel = "city",
    workspace: Place = Path(),
    weight: Annotated[
        str, typer.Option(help="What a piece of ground weighs: area, population or lights.")
    ] = "population",
    year: Annotated[int | None, typer.Option(help="Year of the raster; default: the first.")] = None,
    raster: Annotated[str | None, typer.Option(help="Raster in place of the workspace's.")] = None,
    max_uncovered: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of an old unit that may lie in no new one.")
    ] = 0.02,
    drop_slivers: Annotated[bool, typer.Option("--drop-slivers", help="Leave slivers out and rescale.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the weights: .parquet or .csv.")] = None,
    apply: Annotated[Path | None, typer.Option(help="Table of A to carry to B: .parquet or .csv.")] = None,
    apply_out: Annotated[Path | None, typer.Option(help="Where the carried table goes.")] = None,
    code: Annotated[str, typer.Option(help="Column of the unit's code in the table.")] = "city_code",
    extensive: Annotated[str, typer.Option(help="Columns that add up: persons,telephones.")] = "",
    intensive: Annotated[str, typer.Option(help="Rates with their denominators: gdp_per_head:persons.")] = "",
    by: Annotated[str, typer.Option(help="Further key columns: year.")] = "",
) -> None:
    """Weights that carry tables from vintage A to vintage B, and a table carried by them.

    Weights of an old unit add up to 1. What adds up (persons) is split by them; a rate is weighed by its denominator,
    never averaged.
    """
    from gis.pipeline import crosswalk as pipeline

    old = pipeline.LayerWanted(a, layer_a, date_a, crs_a, tuple(exclude_a or ()))
    new = pipeline.LayerWanted(b, layer_b, date_b, crs_b, tuple(exclude_b or ()))
    walk = pipeline.crosswalk_layers(
        old,
        new,
        weight=weight,  # type: ignore[arg-type]  # checked where it is used
        year=year,
        raster=raster,
        level=_level(level),
        workspace=workspace,
        max_uncovered=max_uncovered,
        drop_slivers=drop_slivers,
        out=out,
    )
    typer.echo(pipeline.crosswalk_text(walk))
    if out is not None:
        typer.echo(f"wrote {out}")
    if apply is not None:
        target = apply_out or apply.with_name(f"{apply.stem}_carried{apply.suffix}")
        rates = pipeline.parse_rates(intensive)
        columns = [c.strip() for c in extensive.split(",") if c.strip()]
        keys = [c.strip() for c in by.split(",") if c.strip()]
        rows = pipeline.apply_to_file(walk, apply, target, code=code, extensive=columns, intensive=rates, by=keys)
        typer.echo(f"wrote {rows} rows to {target}")


def _level(text: str) -> Any:
    if text not in ("city", "district"):
        raise typer.BadParameter("--level is city or district")
    return text


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
