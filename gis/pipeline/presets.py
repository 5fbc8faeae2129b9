"""The paper's order of work as a preset: rasters on a Lambert grid first, then the same engine on what came of it.

In: ``Inputs``. Out: ``Prepared``: the inputs that the preset sums, accounts of what was reprojected; the rows of the
mass ledger.

============  =======================================  =======================================  ======================
preset        lights                                   people                                   a cell belongs to
============  =======================================  =======================================  ======================
exact         native cells, weighed by their area      native cells                             zones, by shares
paper         nearest neighbour on the projected grid  native cells                             zones, by shares
paper_both    nearest neighbour on the projected grid  nearest neighbour on the projected grid  zones, by shares
arcgis        nearest neighbour on the projected grid  native cells                             the zone of its centre
============  =======================================  =======================================  ======================
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, same_crs, transform_geometry
from gis.errors import ConfigInvalid
from gis.graph import run_tasks
from gis.grid import Grid, Measure
from gis.pipeline.inputs import Inputs
from gis.pipeline.reproject import as_they_are, ledger_frame, ledger_row
from gis.raster_io import CellRules, read_info
from gis.rasters.archive import file_sha256
from gis.rasters.series import SeriesFile
from gis.reproject import LOSS_MAX, Kind, MassLedger, Resampling, plan_for, target_grid, write_reprojected
from gis.reproject.ledger import refuse_loss, scan_raster
from gis.tables import LEDGER, atomic_path, write_table
from gis.zonal.engine import WHOLE_CELLS
from gis.zonal.store import Store, code_fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from gis.pipeline.levels import LevelTables, Report

Series = Literal["lights", "population"]

MARGIN_CELLS = 2
"""Cells of the target grid around the zones' bounding box."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a preset sums."""

    inputs: Inputs
    """The run's inputs, with projected rasters in place of native ones where the preset says so."""
    ledgers: dict[tuple[Series, int], MassLedger] = field(default_factory=dict)
    """Accounts of the reprojected rasters, by series and year."""
    how: dict[Series, Resampling] = field(default_factory=dict)
    """How each series was brought to the grid."""
    target: Grid | None = None
    """The projected grid."""
    rasters: dict[str, Path] = field(default_factory=dict)
    """Projected rasters that are outputs, what -> file."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        config = self.inputs.config
        out = []
        if config.levels.preset != "exact" and self.target is not None:
            cell = f"{config.reproject.cell:g} in {config.reproject.crs}"
            series = " and ".join(f"{name} by {how}" for name, how in self.how.items())
            rule = "; a cell belongs to the zone of its centre" if config.levels.preset == "arcgis" else ""
            out.append(f"preset {config.levels.preset}: {series} on cells of {cell}{rule}")
        lost = [
            v.loss_share for (kind, _), v in self.ledgers.items() if kind == "population" and v.loss_share > LOSS_MAX
        ]
        if lost:
            out.append(f"reprojection lost {min(lost):.1%} to {max(lost):.1%} of the people on the projected grid")
        return out


def prepare(inputs: Inputs, *, threads: int | None = None, report: Report | None = None) -> Prepared:
    """Reproject what the preset, or ``[reproject] rasters``, asks for.

    Raises
    ------
    RasterInvalid
        A population raster lost more people than ``[reproject] loss_max``.
    ConfigInvalid
        A coast buffer under the rule ``center``.
    """
    config = inputs.config
    preset, options = config.levels.preset, config.reproject
    if preset == "arcgis" and config.lights.masks.coast_buffer_km:
        raise ConfigInvalid(
            "the preset arcgis gives cells to zones by their centres and knows no coast buffer",
            where="lights.masks.coast_buffer_km",
            mend="remove it, or use the preset paper",
        )
    how: dict[Series, Resampling] = {}
    if preset != "exact" or options.rasters:
        how["lights"] = options.lights
    if preset == "paper_both":
        how["population"] = "nearest"
    elif preset == "exact":
        how |= {"population": "conserve"} if options.rasters else {}
    elif options.population == "conserve":
        how["population"] = "conserve"
    if not how:
        return Prepared(inputs)
    target = _target(inputs)
    ledgers: dict[tuple[Series, int], MassLedger] = {}
    series = {"lights": inputs.lights, "population": inputs.population}
    rasters: dict[str, Path] = {}
    jobs = [(name, file) for name in how for file in series[name].files if file.year in _used(inputs, name)]
    moved: dict[Series, list[SeriesFile]] = {name: [] for name in how}
    for done, (name, file) in enumerate(jobs):
        if report:
            report("reprojecting", done, len(jobs))
        made, ledger = _reprojected(inputs, name, file, target, how[name], threads)
        moved[name].append(made)
        ledgers[name, file.year] = ledger
        if options.rasters:
            path = inputs.workspace.out / "projected" / f"{name}_{file.year}.tif"
            with atomic_path(path) as temporary:
                shutil.copyfile(str(made.path), temporary)
            rasters[f"{name} {file.year} projected"] = path
        if report:
            report("reprojecting", done + 1, len(jobs))
    if preset != "exact":
        new = {name: replace(series[name], files=tuple(files)) for name, files in moved.items()}
        inputs = replace(
            inputs,
            lights=new.get("lights", inputs.lights),
            population=new.get("population", inputs.population),
        )
    return Prepared(inputs, ledgers, how, target, rasters)


def _used(inputs: Inputs, name: Series) -> set[int]:
    plan = inputs.light_plan if name == "lights" else inputs.population_plan
    return {year for parts in plan.values() for year, _ in parts}


def _target(inputs: Inputs) -> Grid:
    """The grid of the zones: one for all years and both series."""
    options = inputs.config.reproject
    plane = crs_from(options.crs, where="reproject.crs")
    boxes = [_zone_box(zones, plane) for zones in inputs.layers.values()]
    margin = MARGIN_CELLS * options.cell
    low, high = np.min(boxes, axis=0)[:2] - margin, np.max(boxes, axis=0)[2:] + margin
    bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return target_grid([], plane, options.cell, bounds_xy=bounds)


def _zone_box(zones: Any, crs: Any) -> tuple[float, float, float, float]:
    """Bounds of a layer in another CRS: those of its bounding box, carried over densely."""
    import shapely

    box = np.array([shapely.box(*shapely.total_bounds(zones.geometry))], object)
    moved = shapely.bounds(transform_geometry(box, zones.crs, crs))[0]
    return float(moved[0]), float(moved[1]), float(moved[2]), float(moved[3])


def _reprojected(
    inputs: Inputs, name: Series, file: SeriesFile, target: Grid, how: Resampling, threads: int | None
) -> tuple[SeriesFile, MassLedger]:
    """A year's raster on the target grid, from the cache where it was made before."""
    kind: Kind = "intensity" if name == "lights" else "count"
    rules = as_they_are(inputs.light_rules(file)) if name == "lights" else inputs.population_rules(file)
    folder = inputs.workspace.cache / "projected" / _key(file, rules, target, kind, how)
    path, account = folder / f"{name}_{file.year}.tif", folder / f"{name}_{file.year}.json"
    limit = _loss_max(inputs, how) if name == "population" else float("inf")
    ledger = _known(path, account)
    if ledger is None:

        def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
            return run_tasks(function, tasks, threads=threads or inputs.config.compute.threads)

        plan = plan_for(file.info, rules, target, kind, how)
        tags = {"LIGHTPANEL_SOURCE_SHA256": file.sha256, "LIGHTPANEL_YEAR": str(file.year)}
        ledger = write_reprojected(plan, path, run=run, tags=tags, loss_max=limit)
        known = {"ledger": asdict(ledger), "size": path.stat().st_size}
        with atomic_path(account) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    refuse_loss(ledger, limit, where=file.path)
    sha256 = file_sha256(path, inputs.workspace.cache)
    return replace(file, info=read_info(path), source=path, path=path, sha256=sha256), ledger


def _loss_max(inputs: Inputs, how: Resampling) -> float:
    configured = inputs.config.reproject.loss_max
    if configured is not None:
        return configured
    # Who asks for nearest-neighbour counts asks for their loss: the ledger and the summary tell it.
    return LOSS_MAX if how == "conserve" else float("inf")


def _key(file: SeriesFile, rules: CellRules, target: Grid, kind: Kind, how: Resampling) -> str:
    info = file.info
    source = f"{file.sha256}|{info.band}|{info.grid.fingerprint}|{rules}"
    text = f"{_code()}|{source}|{target.fingerprint}|{kind}|{how}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


@lru_cache(maxsize=1)
def _code() -> str:
    """Source text of everything that decides a projected raster's cells."""
    digest = hashlib.sha256(code_fingerprint().encode())
    for path in sorted((Path(__file__).resolve().parent.parent / "reproject").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _known(path: Path, account: Path) -> MassLedger | None:
    try:
        known = json.loads(account.read_text(encoding="utf-8"))
        if path.stat().st_size != known["size"]:
            return None
        return MassLedger(**known["ledger"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- the mass ledger of a run ----------------------------------------------------------------------------------------


def mass_ledger(
    inputs: Inputs,
    prepared: Prepared,
    tables: LevelTables,
    *,
    threads: int | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Rows of ``LEDGER``: one per raster a run has used.

    Lights are in DN km2 of the Lambert plane, people in persons. What lies inside the units is taken from the levels,
    what a raster holds from the raster: read once more, whole up to 100 million cells, else where the units lie.

    Parameters
    ----------
    inputs : the run's own inputs, with native rasters.
    prepared : what the preset made of them.
    """

    def run(function: Callable[[Any], Any], todo: Sequence[Any]) -> list[Any]:
        return run_tasks(function, todo, threads=threads or inputs.config.compute.threads)

    rows: list[dict[str, Any]] = []
    series = {"lights": inputs.lights, "population": inputs.population}
    names: tuple[Series, ...] = ("lights", "population")
    jobs = [(name, file) for name in names for file in series[name].files if file.year in _used(inputs, name)]
    for done, (name, file) in enumerate(jobs):
        kind: Kind = "intensity" if name == "lights" else "count"
        made = prepared.ledgers.get((name, file.year))
        ledger = made or _scanned(inputs, name, file, run)
        row = ledger_row(file.source.name, name, file.year, kind, prepared.how.get(name, ""), prepared.target, ledger)
        inside = _inside(inputs, name, file.year, tables)
        if made is not None and name == "lights" and not same_crs(inputs.config.reproject.crs, ASIA_NORTH_LAMBERT):
            inside = float("nan")  # the levels are in the Lambert plane, the accounts in another
        row |= {
            "preset": inputs.config.levels.preset,
            "mass_unit": "DN km2" if name == "lights" else "persons",
            "inside_mass": inside,
            "outside_mass": row["source_mass"] - inside,
        }
        rows.append(row)
        if report:
            report("mass ledger", done + 1, len(jobs))
    return ledger_frame(rows)


def _scanned(inputs: Inputs, name: Series, file: SeriesFile, run: Any) -> MassLedger:
    grid = file.info.grid
    window = None if grid.shape[0] * grid.shape[1] <= WHOLE_CELLS else _window(inputs, grid)
    lights = name == "lights"
    rules = inputs.light_rules(file) if lights else inputs.population_rules(file)
    measure: Measure = "lambert" if lights else "cells"
    store = Store(inputs.workspace.cache / "store")
    total, nodata, negative, total_negative = store.of_raster(
        f"ledger|{file.sha256}|{file.info.band}|{grid.fingerprint}|{rules}|{measure}|{window}",
        lambda: scan_raster(file.info, rules, measure, run, window),
    )
    nan = float("nan")
    return MassLedger(total, nan, nan, nodata, negative, total_negative)


def _window(inputs: Inputs, grid: Grid) -> tuple[int, int, int, int]:
    boxes = np.array([_zone_box(zones, grid.crs) for zones in inputs.layers.values()])
    t, (ny, nx) = grid.transform, grid.shape
    col0, col1 = (boxes[:, 0].min() - t.c) / t.a, (boxes[:, 2].max() - t.c) / t.a
    row0, row1 = (boxes[:, 3].max() - t.f) / t.e, (boxes[:, 1].min() - t.f) / t.e
    low, high = np.floor([row0, col0]), np.ceil([row1, col1])
    return (
        int(np.clip(low[0], 0, ny)),
        int(np.clip(high[0], 0, ny)),
        int(np.clip(low[1], 0, nx)),
        int(np.clip(high[1], 0, nx)),
    )


def _inside(inputs: Inputs, name: Series, year: int, tables: LevelTables) -> float:
    """What the city layer holds of one raster; NaN where no year is made of this raster alone."""
    plan = inputs.light_plan if name == "lights" else inputs.population_plan
    of = [y for y, parts in plan.items() if parts == ((year, 1.0),)]
    frame = tables.by_layer["city"]
    rows = frame[frame["year"] == (year if year in of else of[0])] if of else frame.iloc[:0]
    values = rows["light_sum_dn_km2" if name == "lights" else "pop_persons"].dropna()
    return float(values.sum()) if len(values) else float("nan")


def ledger_notes(ledger: pd.DataFrame) -> list[str]:
    """The ledger in a few lines, for the summary: what lies inside the units, losses, cells below zero."""
    out = []
    for name, part in ledger.groupby("raster_kind", sort=True):
        what = "light" if name == "lights" else "people"
        inside = (part["inside_mass"] / part["source_mass"]).dropna()
        if len(inside):
            share = f"{inside.min():.1%} to {inside.max():.1%} of the {what}"
            out.append(f"mass ledger: {share} in {len(part)} rasters lies inside the units")
        lost = part["loss_share"].dropna()
        if len(lost):
            worst = max(lost, key=abs)
            out.append(f"mass ledger: of the {what} on the projected grid, {worst:.2g} at most was lost")
        negative = float(part["n_source_negative_cells"].sum())
        if negative:
            out.append(f"mass ledger: {negative:,.0f} cells of {name} lie below zero")
    return out


class PresetRun:
    """A run's preset: prepares the inputs of every boundary vintage, and collects accounts, rasters and notes."""

    def __init__(self, threads: int | None = None, report: Report | None = None) -> None:
        self._threads, self._report = threads, report
        self._ledgers: list[pd.DataFrame] = []
        self._rasters: dict[str, Path] = {}
        self._notes: list[str] = []

    def levels(self, inputs: Inputs, compute: Callable[[Inputs], LevelTables]) -> LevelTables:
        """Unit-year tables under the preset; `compute` is what a run without one does."""
        prepared = prepare(inputs, threads=self._threads, report=self._report)
        tables = compute(prepared.inputs)
        if inputs.config.reproject.ledger:
            self._ledgers.append(mass_ledger(inputs, prepared, tables, threads=self._threads, report=self._report))
        self._rasters |= prepared.rasters
        self._notes += [note for note in prepared.notes if note not in self._notes]
        return tables

    @property
    def ledger(self) -> pd.DataFrame | None:
        """Rows of ``LEDGER``; of a raster that several vintages use, the first. None where none was asked for."""
        import pandas as pd

        if not self._ledgers:
            return None
        return pd.concat(self._ledgers).drop_duplicates(list(LEDGER.key), ignore_index=True)

    @property
    def notes(self) -> list[str]:
        """Lines for the summary."""
        return self._notes + ([] if self.ledger is None else ledger_notes(self.ledger))

    def write(self, out: Path, metadata: dict[str, Any]) -> dict[str, tuple[Path, int | None]]:
        """Write the ledger; say what there is to list among the outputs, with its number of rows."""
        found: dict[str, tuple[Path, int | None]] = {what: (path, None) for what, path in self._rasters.items()}
        if (ledger := self.ledger) is not None:
            path = write_table(LEDGER, ledger, out / f"{LEDGER.name}.parquet", metadata=metadata)
            found["mass ledger"] = (path, len(ledger))
        return found
