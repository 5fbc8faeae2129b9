"""The steps in order: the drawing as code.

In: a workspace. Out: ``out/``: Parquet tables, one GeoPackage, ``lineage.json``, ``summary.txt``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import CodeInvalid, TableInvalid
from gis.graph import cluster
from gis.pipeline.inputs import Inputs, read_both_series, read_inputs, vector_file
from gis.pipeline.levels import LevelTables, Report, compute_levels
from gis.pipeline.presets import PresetRun
from gis.pipeline.resume import finished, key_of, remember, run_parts, why_again
from gis.pipeline.vintages import Moded, levels_by_mode, without_moved
from gis.rasters.archive import file_sha256
from gis.tables import (
    CITY_YEAR,
    DISTRICT_YEAR,
    NATIONAL_YEAR,
    PAIR_YEAR,
    Table,
    atomic_path,
    read_table,
    write_batches,
    write_table,
)
from gis.workspace import Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.export.lineage import Lineage
    from gis.rasters.series import Series

UNIT_TABLES: dict[str, Table] = {"city": CITY_YEAR, "district": DISTRICT_YEAR}
GEOPACKAGE = "lightpanel.gpkg"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run has made."""

    workspace: Workspace
    """Where it ran."""
    paths: dict[str, Path]
    """What -> file, in the order written."""
    city_year: pd.DataFrame
    """Rows of ``CITY_YEAR``."""
    district_year: pd.DataFrame | None
    """Rows of ``DISTRICT_YEAR``; None where no districts are configured."""
    national_year: pd.DataFrame
    """Rows of ``NATIONAL_YEAR``."""
    summary: dict[str, Any]
    """What `gis.export.summary.print_summary` takes; empty where nothing was to do, and ``summary.txt`` stands."""
    reuse: str
    """What was taken from the store and what was computed, in one line."""
    further: tuple[str, ...] = ()
    """What the steps after the levels have to say: the instrument, where one is configured."""


def run(
    workspace: str | Path | Workspace = ".",
    *,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    report: Report | None = None,
) -> RunResult:
    """Compute everything a workspace configures and write it to its ``out/``.

    Parameters
    ----------
    workspace : folder with ``workspace.toml``, or a `Workspace`.
    threads : default: ``compute.threads`` of the config, else one per core. Changes no number.
    workers : worker processes to sum the rasters with, on this machine. Changes no number.
    scheduler : address of a Dask scheduler to sum the rasters with, see `gis.graph.cluster`. Changes no number.
    report : called with (step, done, in all).

    Raises
    ------
    GisError
        Any input that cannot be used, before anything is written.

    Examples
    --------
    >>> import gis
    >>> result = gis.run("my_workspace")  # doctest: +SKIP
    >>> result.city_year[["city_name", "year", "level"]]  # doctest: +SKIP
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    series = read_both_series(place)
    parts = run_parts(place, series)
    if (last := finished(place, key_of(parts))) is not None:
        return _as_it_stands(place, *last)
    why = why_again(place, parts)
    inputs = read_inputs(place, series)
    result = compute(inputs, threads=threads, workers=workers, scheduler=scheduler, report=report)
    if place.config.instrument is not None:
        result = _with_instrument(result, threads, report)
    # The lineage grows when another step adds its tables; that does not make this run's results old.
    remember(place, parts, {k: p for k, p in result.paths.items() if k != "lineage"}, result.further)
    return replace(result, reuse=f"{result.reuse}; since the last run {why}") if why else result


def _with_instrument(result: RunResult, threads: int | None, report: Report | None) -> RunResult:
    """The historical instrument on top of a finished panel."""
    from gis.pipeline.instrument import build_instrument, summary_lines

    if "city pairs (Bal)" not in result.paths:
        return replace(result, further=("instrument: none, for there are no pairs",))
    built = build_instrument(result.workspace, threads=threads, report=report)
    paths = {**result.paths, **{f"table {name}": path for name, path in built.paths.items()}}
    return replace(result, paths=paths, further=tuple(summary_lines(built)))


def compute(
    inputs: Inputs,
    *,
    roster: Sequence[str] | None = None,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    report: Report | None = None,
) -> RunResult:
    """Compute and write everything from inputs that are read, in the mode of their boundaries; see `run`.

    Parameters
    ----------
    roster : codes of the panel's cities; default: those of ``panel.cities``, else every city.
    """
    roster = roster if roster is not None else roster_codes(inputs)  # first: its faults cost no hour of summing
    preset = PresetRun(threads, report)
    with cluster(workers=workers, scheduler=scheduler) as client:

        def levels(some: Inputs) -> LevelTables:
            return compute_levels(some, threads=threads, report=report, client=client)

        moded = levels_by_mode(inputs, lambda some: preset.levels(some, levels))
    cities = panel_cities(moded.inputs, moded.tables.by_layer["city"], roster)
    return _write(moded, cities, preset)


def _as_it_stands(workspace: Workspace, paths: dict[str, Path], words: tuple[str, ...]) -> RunResult:
    """The last run's result, read back."""
    district = paths.get("district levels")
    return RunResult(
        workspace,
        paths,
        read_table(CITY_YEAR, paths["city levels"]),
        read_table(DISTRICT_YEAR, district) if district else None,
        read_table(NATIONAL_YEAR, paths["national totals"]),
        {},
        "nothing has changed since the last run: its results stand",
        words,
    )


def panel_cities(inputs: Inputs, city_year: pd.DataFrame, roster: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of the cities the panel is about: the roster, else every unit that is a city by its code (METHOD 9.1)."""
    if (listed := roster if roster is not None else roster_codes(inputs)) is None:
        return city_year[~city_year["city_code"].isin(not_cities(inputs))]
    unknown = sorted(set(listed) - set(city_year["city_code"]))
    if unknown:
        raise CodeInvalid(
            f"{len(unknown)} cities of the roster are not in the city layer: {', '.join(unknown[:5])}",
            where=inputs.config.panel.cities,
            mend=f"use the codes of the layer's vintage ({inputs.layers['city'].vintage}), or remove them",
        )
    return city_year[city_year["city_code"].isin(listed)]


def roster_codes(inputs: Inputs) -> list[str] | None:
    """Codes of the file ``panel.cities``; None where none is named."""
    relative = inputs.config.panel.cities
    if relative is None:
        return None
    import pandas as pd

    path = vector_file(inputs.workspace, relative, "panel.cities")
    try:
        # Codes are plain ASCII in every encoding, and names are not read: a table saved as GBK serves as well.
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", encoding_errors="replace")
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise TableInvalid(
            f"it is not a CSV table: {error}", where=path, mend="a line city_code, then one code a line"
        ) from error
    if "city_code" not in table:
        raise TableInvalid(
            f"no column city_code among {', '.join(table.columns)}", where=path, mend="name the column city_code"
        )
    if table.empty:
        raise TableInvalid("the roster names no city", where=path, mend="one code a line, or leave panel.cities out")
    from gis.boundaries import normalise_code

    return [normalise_code(code, row=i, where=path) for i, code in enumerate(table["city_code"], start=1)]


def not_cities(inputs: Inputs) -> list[str]:
    """Units of the city layer that belong to no prefecture (METHOD 9.1): they have levels, and no pairs."""
    from gis.boundaries import level_of

    return [code for code in inputs.layers["city"].codes if level_of(code) in ("direct", "special")]


def _write(moded: Moded, cities: pd.DataFrame, preset: PresetRun) -> RunResult:
    from gis.export.geopackage import write_geopackage
    from gis.export.lineage import write_lineage
    from gis.export.parquet import write_units
    from gis.export.summary import summary_text

    inputs, tables = moded.inputs, moded.tables
    out, config = inputs.workspace.out, inputs.config
    metadata = {"workspace": config.workspace.name, "measure": config.levels.measure, "preset": config.levels.preset}
    lineage = _lineage(inputs)
    sources = [i.path for i in lineage.sorted_inputs()]
    paths: dict[str, Path] = {}

    def wrote(what: str, path: Path, rows: int | None, made_from: list[str], steps: list[str]) -> str:
        paths[what] = path
        return lineage.add_output(path, rows=rows, made_from=made_from, steps=steps)

    boundary_files = [i.path for i in lineage.sorted_inputs() if i.role.startswith("boundaries.")]
    for name, frame in tables.by_layer.items():
        table = UNIT_TABLES[name]
        path = write_table(table, frame, out / f"{table.name}.parquet", metadata=metadata)
        wrote(f"{name} levels", path, len(frame), sources, ["zonal", "levels"])
        zones = inputs.layers[name]
        units = write_units(zones, out / f"units_{name}.parquet")
        wrote(f"{name} polygons", units, len(zones), boundary_files, ["boundaries"])
    path = write_table(NATIONAL_YEAR, tables.national, out / "national_year.parquet", metadata=metadata)
    wrote("national totals", path, len(tables.national), sources, ["zonal", "levels"])
    for what, (path, rows) in preset.write(out, metadata).items():
        wrote(what, path, rows, sources, ["reproject"])
    for what, (table, frame) in moded.extra.items():
        path = write_table(table, frame, out / f"{table.name}.parquet", metadata=metadata)
        wrote(what, path, len(frame), boundary_files, ["boundaries"])

    pairs_info: dict[str, Any] = {}
    latest_pairs = None
    for name, frame in _panels(inputs, tables, cities):
        stem = PAIR_YEAR.name if name == "city" else f"district_{PAIR_YEAR.name}"
        path = _write_pairs(frame, name, out / f"{stem}.parquet", inputs, metadata, moded.moved.get(name))
        made_from = lineage.relative(paths[f"{name} levels"])
        info = pairs_info_from_file(path)
        wrote(f"{name} pairs (Bal)", path, info["n_rows"], [made_from], ["pairs"])
        if name == "city":
            pairs_info, latest_pairs = info, path

    layers, by_layer = inputs.layers, tables.by_layer
    pairs = _latest(latest_pairs) if config.output.pair_lines and latest_pairs else None
    path = write_geopackage(
        out / GEOPACKAGE,
        cities=layers.get("city"),
        city_year=by_layer.get("city"),
        districts=layers.get("district"),
        district_year=by_layer.get("district"),
        pairs=pairs,
        crs=config.output.crs,
        metadata={**metadata, "lineage": "lineage.json"},
    )
    made = [lineage.relative(p) for p in paths.values()]
    wrote("map", path, None, made, ["export"])
    summary = _summary(inputs, tables, cities, pairs_info)
    summary["notes"] += preset.notes
    paths["summary"], paths["lineage"] = out / "summary.txt", out / "lineage.json"
    summary["paths"] = {what: lineage.relative(p) for what, p in paths.items()}
    with atomic_path(paths["summary"]) as temporary:
        temporary.write_text(summary_text(**summary), encoding="utf-8")
    lineage.add_output(paths["summary"], made_from=made, steps=["summary"])
    write_lineage(paths["lineage"], lineage)
    cities, districts = by_layer["city"], by_layer.get("district")
    return RunResult(inputs.workspace, paths, cities, districts, tables.national, summary, tables.reuse)


def _panels(inputs: Inputs, tables: LevelTables, cities: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    panels = [("city", cities)]
    if inputs.config.panel.districts:
        if "district" not in tables.by_layer:
            raise TableInvalid(
                "a panel of district pairs needs districts",
                where="panel.districts",
                mend="add [boundaries.district], or set panel.districts = false",
            )
        panels.append(("district", tables.by_layer["district"]))
    return [(name, frame) for name, frame in panels if _has_pairs(name, frame)]


def _has_pairs(name: str, frame: pd.DataFrame) -> bool:
    """A pair takes two units, and an order takes last year's levels."""
    return frame[f"{name}_code"].nunique() > 1 and frame["year"].nunique() > 1


def _write_pairs(
    frame: pd.DataFrame,
    name: str,
    path: Path,
    inputs: Inputs,
    metadata: dict[str, Any],
    moved: frozenset[tuple[str, int]] | None,
) -> Path:
    from gis.panel import balance_batches

    batches = balance_batches(frame, tie=inputs.config.panel.tie, code=f"{name}_code")
    if moved:
        batches = without_moved(batches, moved)
    return write_batches(PAIR_YEAR, batches, path, metadata={**metadata, "units": name})


def _latest(path: Path) -> pd.DataFrame:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    latest = pc.max(pq.read_table(path, columns=["year"])["year"]).as_py()
    return pq.read_table(path, filters=[("year", "=", latest)]).to_pandas()


def pairs_info_from_file(path: Path) -> dict[str, Any]:
    """Count a pair panel of any size, row group by row group."""
    import pyarrow.parquet as pq

    from gis.export.summary import pairs_info_from_frame

    file = pq.ParquetFile(path)
    total: dict[str, Any] = {}
    for batch in file.iter_batches(columns=["pair_id", "year", "bal", "switched", "tie"], batch_size=4_000_000):
        info = pairs_info_from_frame(batch.to_pandas())
        if not total:
            total = info
            continue
        for key in ("n_rows", "n_bal", "n_switched", "n_above_one", "n_ties"):
            total[key] += info[key]
        total["first_year"] = min(total["first_year"], info["first_year"])
        total["last_year"] = max(total["last_year"], info["last_year"])
    if total.get("n_rows"):
        # Every pair has every year, so rows over years counts pairs even where a batch ends inside one.
        total["n_pairs"] = total["n_rows"] // (total["last_year"] - total["first_year"] + 1)
        total["share_bal"] = total["n_bal"] / total["n_rows"]
    return total


def _lineage(inputs: Inputs) -> Lineage:
    from gis.crs import crs_name
    from gis.export.lineage import Lineage

    config = inputs.config
    lineage = Lineage(inputs.workspace.root, settings=config.model_dump(mode="json"))
    lineage.add_input("config", inputs.workspace.config_path)

    def add_series(role: str, series: Series, synthetic: tuple[int, ...], used: set[int]) -> None:
        for file in series.files:
            if file.year not in used:
                continue
            lineage.add_input(
                role,
                file.path,
                # file.sha256 is also that of files beside it, which the lineage names but does not mix in
                sha256=file_sha256(file.path, inputs.workspace.cache) if file.info.sidecars else file.sha256,
                crs=crs_name(file.info.grid.crs),
                nodata=file.info.nodata,
                year=file.year,
                is_synthetic=file.year in synthetic,
                notes=(
                    *file.info.notes,
                    *((f"unpacked from {file.source.name}",) if file.source != file.path else ()),
                    *(f"read with {beside.name}" for beside in file.info.sidecars),
                ),
            )

    used = {y for plan in inputs.light_plan.values() for y, _ in plan}
    add_series("lights", inputs.lights, config.lights.synthetic_years, used)
    used = {y for plan in inputs.population_plan.values() for y, _ in plan}
    add_series("population", inputs.population, config.population.synthetic_years, used)
    for layer in inputs.sources:
        lineage.add_input(
            f"boundaries.{layer.level}",
            layer.path,
            sha256=layer.sha256,
            crs=crs_name(layer.zones.crs),
            notes=layer.notes,
        )
    masks = config.lights.masks
    for role, relative in (("flares", masks.flares), ("water", masks.water), ("roster", config.panel.cities)):
        if relative:
            lineage.add_input(role, inputs.workspace.path(relative))
    return lineage


def _summary(inputs: Inputs, tables: LevelTables, cities: pd.DataFrame, pairs_info: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd

    from gis.indicators import rank_agreement, units_without_level, year_on_year_jumps
    from gis.panel import orientation_shares

    without = []
    for name, frame in tables.by_layer.items():
        found = units_without_level(frame)
        without.append(found.assign(layer=name))
    agreement = rank_agreement(tables.by_layer["city"])
    notes = list(inputs.notes)
    apart = not_cities(inputs)
    if apart and inputs.config.panel.cities is None:
        notes.append(f"pairs: {len(apart)} units are no cities by their code and form no pairs: {', '.join(apart)}")
    if not _has_pairs("city", cities):
        notes.append("pairs: there are none; they take two cities and two years")
    else:
        shares = orientation_shares(cities, tie=inputs.config.panel.tie)
        for row in shares.to_dict("records"):
            if row["n_pair_years"]:
                share = f"{row['share_differ']:.2%}"
                notes.append(f"{row['column_a']} and {row['column_b']} order {share} of pair-years differently")
    return {
        "national_year": tables.national,
        "city_year": tables.by_layer["city"],
        "district_year": tables.by_layer.get("district"),
        "pairs_info": pairs_info,
        "notes": notes,
        "without_level": pd.concat(without, ignore_index=True),
        "jumps": year_on_year_jumps(tables.national),
        "rank_agreement": agreement,
    }
