"""Levels step: every raster through the engine, then per-capita luminosity of every unit and year.

In: ``Inputs``. Out: ``LevelTables``: city-year, district-year and national-year rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries import read_geometry
from gis.boundaries.formats import file_sha256
from gis.errors import RasterInvalid
from gis.graph import run_tasks
from gis.grid import Grid, Zones
from gis.indicators import interpolate_totals, levels_for_year, national_rows
from gis.pipeline.inputs import Inputs, vector_file
from gis.raster_io import check_range
from gis.rasters.series import SeriesFile
from gis.zonal.center import center_coverage
from gis.zonal.compiled import compile_ahead
from gis.zonal.coverage import Coverage
from gis.zonal.engine import WHOLE_CELLS, Job, StripMask, ZoneSums, run_jobs
from gis.zonal.layer import LightLayer, light_layer, light_totals, population_totals
from gis.zonal.matching import LitTask, Match, add_strips, lit_strip, matches
from gis.zonal.shipping import cluster_runner
from gis.zonal.store import Store
from gis.zonal.totals import LightTotals, PopulationTotals

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Report = Callable[[str, int, int], None]
"""Called with (step, done, in all)."""


@dataclass(frozen=True, slots=True)
class LevelTables:
    """The unit-year tables of a run."""

    by_layer: dict[str, pd.DataFrame]
    """``city`` and, where given, ``district``: rows of ``CITY_YEAR``, ``DISTRICT_YEAR``."""
    national: pd.DataFrame
    """Rows of ``NATIONAL_YEAR``."""
    reuse: str
    """What was taken from the store and what was computed."""


@dataclass(frozen=True, slots=True)
class _Runner:
    """Places tasks on threads, or on a cluster, and reports them under a step's name."""

    threads: int | None
    report: Report | None
    client: Any
    """A `distributed` client, or None."""
    shared: Path
    """Folder that workers of a cluster see too."""

    def step(self, name: str) -> Callable[[Callable[[Any], Any], Any], list[Any]]:
        def run(function: Callable[[Any], Any], tasks: Any) -> list[Any]:
            return run_tasks(function, list(tasks), threads=self.threads, progress=self._progress(name))

        return run

    def raster_step(self, name: str) -> Callable[[Callable[[Any], Any], Any], list[Any]]:
        """Rasters are what takes the time: they go to the cluster where there is one."""
        if self.client is None:
            return self.step(name)

        return cluster_runner(self.client, self.shared, progress=self._progress(name))

    def _progress(self, name: str) -> Callable[[int, int], None] | None:
        report = self.report
        return None if report is None else lambda done, n: report(name, done, n)


@dataclass(frozen=True, slots=True)
class _Masks:
    """Cells of one light grid to take out."""

    flares: StripMask | None
    """Cells of gas flares."""
    water: StripMask | None
    """Cells outside the land mask."""
    both: StripMask | None
    """Either."""


class _Levels:
    """One run's intermediate results; each is made once and kept while the run lasts."""

    def __init__(self, inputs: Inputs, threads: int | None, report: Report | None, client: Any = None) -> None:
        self.inputs = inputs
        self.store = Store(inputs.workspace.cache / "store")
        shared = inputs.workspace.cache / "shared"
        self.runner = _Runner(threads or inputs.config.compute.threads, report, client, shared)
        self._light_layers: list[tuple[Grid, dict[str, LightLayer]]] = []
        self._population_layers: list[tuple[Grid, dict[str, Coverage]]] = []
        self._population_centers: list[tuple[Grid, tuple[Coverage, ...]]] = []
        self._masks: list[tuple[Grid, _Masks]] = []
        self._matches: dict[tuple[Any, ...], list[Match]] = {}
        self.light: dict[tuple[int, str], LightTotals] = {}
        self.population: dict[tuple[int, str], ZoneSums] = {}
        self.by_center = inputs.config.levels.preset == "arcgis"
        self._center_people: dict[tuple[int, str], ZoneSums] = {}

    # --- what is fixed per grid --------------------------------------------------------------------------------------

    def light_layers(self, grid: Grid) -> dict[str, LightLayer]:
        for kept, layers in self._light_layers:
            if kept.same_place(grid):
                return layers
        from gis.zonal.masks import coast_extender

        flares = self.masks(grid).flares
        buffer_km = self.inputs.config.lights.masks.coast_buffer_km
        run = self.runner.step("coverage of the light grid")
        reach = coast_extender(buffer_km) if buffer_km else None
        if self.by_center:  # sums go by centres; areas and shares of valid cells stay exact
            reach = lambda coverage, zones: center_coverage(coverage.grid, zones, run=run)  # noqa: E731
        layers = {
            name: light_layer(
                grid, zones, flares=flares, reach=reach, store=self.store, masked_by=self.mask_name, run=run
            )
            for name, zones in self.inputs.layers.items()
        }
        self._light_layers.append((grid, layers))
        return layers

    def population_layers(self, grid: Grid) -> dict[str, Coverage]:
        for kept, layers in self._population_layers:
            if kept.same_place(grid):
                return layers
        run = self.runner.step("coverage of the population grid")
        layers = {name: self.store.coverage(grid, zones, run=run) for name, zones in self.inputs.layers.items()}
        self._population_layers.append((grid, layers))
        return layers

    def masks(self, grid: Grid) -> _Masks:
        for kept, made in self._masks:
            if kept.same_place(grid):
                return made
        from gis.zonal.masks import buffer_points, either, polygon_mask

        masks = self.inputs.config.lights.masks
        flare_mask = water_mask = None
        if masks.flares:
            geometry, crs = self._vector(masks.flares, "lights.masks.flares")
            circles = buffer_points(geometry, crs, masks.flare_radius_km)
            flare_mask = polygon_mask(grid, circles, "EPSG:4326", inside=True)
        if masks.water:
            geometry, crs = self._vector(masks.water, "lights.masks.water")
            water_mask = polygon_mask(grid, geometry, crs, inside=False)
        made = _Masks(flare_mask, water_mask, either([m for m in (flare_mask, water_mask) if m is not None]))
        self._masks.append((grid, made))
        return made

    @property
    def mask_name(self) -> str:
        """What the masks are made from: their settings and the content of their files."""
        masks = self.inputs.config.lights.masks
        files = [self.inputs.workspace.path(f) for f in (masks.flares, masks.water) if f]
        return f"{masks}|" + "|".join(file_sha256(path) for path in files)

    def _vector(self, relative: str, key: str) -> tuple[NDArray[Any], Any]:
        return read_geometry(vector_file(self.inputs.workspace, relative, key), key=key)

    def flares_per_zone(self, zones: Zones) -> NDArray[np.int32] | None:
        masks = self.inputs.config.lights.masks
        if not masks.flares:
            return None
        from gis.zonal.masks import buffer_points, count_touching

        geometry, crs = self._vector(masks.flares, "lights.masks.flares")
        return count_touching(zones, buffer_points(geometry, crs, masks.flare_radius_km), "EPSG:4326")

    # --- sums --------------------------------------------------------------------------------------------------------

    def read_all(self) -> None:
        """Every raster the year plans need, as one list of tasks."""
        inputs = self.inputs
        jobs: list[Job] = []
        for year in sorted({y for plan in inputs.light_plan.values() for y, _ in plan}):
            jobs += self._light_jobs(inputs.lights.of(year))
        for year in sorted({y for plan in inputs.population_plan.values() for y, _ in plan}):
            jobs += self._population_jobs(inputs.population.of(year))
        names, zones = list(inputs.layers), tuple(inputs.layers.values())
        run = self.runner.raster_step("reading and summing")
        kept = [job for job in jobs if job.key[0] in ("light", "population")]
        # What the sea adds to a zone, or a centre on its border, depends on its neighbours: not kept zone by zone.
        afresh = [job for job in jobs if job.key[0] not in ("light", "population")]
        rasters = [self._raster_name(*job.key) for job in kept]
        results = self.store.run(kept, [zones] * len(kept), rasters, run=run) + run_jobs(afresh, run=run)
        reached: dict[tuple[int, str], ZoneSums] = {}
        direct: dict[tuple[int, str], ZoneSums] = {}
        targets = {"light": direct, "reach": reached, "population": self.population, "center": self._center_people}
        for job, sums in zip(kept + afresh, results, strict=True):
            kind, year = job.key
            _check_values(job, sums)
            targets[kind].update({(year, name): one for name, one in zip(names, sums, strict=True)})
        for (year, name), one in direct.items():
            layer = self.light_layers(inputs.lights.of(year).info.grid)[name]
            totals = light_totals(layer, one, reached.get((year, name)))
            if self.by_center:  # a zone that holds no centre has no cell
                totals = replace(totals, valid_cells=reached[year, name].valid_of("cells"))
            self.light[year, name] = totals

    def _raster_name(self, kind: str, year: int) -> str:
        """Content hash of a raster and of what is masked out of it."""
        if kind == "population":
            return self.inputs.population.of(year).sha256
        return f"{self.inputs.lights.of(year).sha256}|{self.mask_name}"

    def _light_jobs(self, file: SeriesFile) -> list[Job]:
        layers = self.light_layers(file.info.grid)
        rules, mask = self.inputs.light_rules(file), self.masks(file.info.grid).both
        direct = Job(
            file.info,
            rules,
            tuple(layer.coverage for layer in layers.values()),
            profile=True,
            moments=False,
            whole=_is_small(file.info.grid),
            mask=mask,
            key=("light", file.year),
        )
        if all(layer.reach is layer.coverage for layer in layers.values()):
            return [direct]
        reach = tuple(layer.reach for layer in layers.values())
        return [direct, Job(file.info, rules, reach, mask=mask, key=("reach", file.year))]

    def _population_jobs(self, file: SeriesFile) -> list[Job]:
        rules = self.inputs.population_rules(file)
        exact = Job(
            file.info,
            rules,
            tuple(self.population_layers(file.info.grid).values()),
            ("cells",),
            # Where any value below zero means no data there is nothing to count.
            profile=not rules.below_zero_is_nodata or rules.valid_range is not None,
            moments=False,
            whole=_is_small(file.info.grid),
            key=("population", file.year),
        )
        if not self.by_center:
            return [exact]
        return [exact, replace(exact, layers=self._centers(file.info.grid), key=("center", file.year))]

    def _centers(self, grid: Grid) -> tuple[Coverage, ...]:
        for kept, layers in self._population_centers:
            if kept.same_place(grid):
                return layers
        run = self.runner.step("centres of the population grid")
        made = tuple(center_coverage(grid, zones, run=run) for zones in self.inputs.layers.values())
        self._population_centers.append((grid, made))
        return made

    # --- where people live, is there a light reading? ----------------------------------------------------------------

    def dark_zones(self, light_year: int, name: str) -> NDArray[np.bool_]:
        """(n_zones,) bool: zones that miss a light cell in a year, so that ``cov_pop`` may be below 1."""
        totals = self.light[light_year, name]
        whole = totals.area_true - totals.masked_true
        gaps = (totals.nodata_cells > 0) | (totals.masked_cells > 0)
        return np.asarray(gaps | (totals.valid_true < whole * (1 - 1e-9)))

    def lit_side(self, population_year: int, light_year: int, name: str) -> NDArray[np.float64]:
        """(n_zones,) float64 [persons]: people of one year in valid light cells of another (or the same)."""
        persons = self.population[population_year, name].sum_of("cells")
        dark = np.flatnonzero(self.dark_zones(light_year, name))
        if not dark.size:
            return persons
        inputs, zones = self.inputs, self.inputs.layers[name]
        people, light = inputs.population.of(population_year), inputs.lights.of(light_year)
        rules = inputs.population_rules(people), inputs.light_rules(light)
        # People under a flare mask leave the denominator with it: they do not count as unlit (METHOD 2 rule 5).
        water = self.masks(light.info.grid).water

        def compute(some: NDArray[np.intp]) -> NDArray[np.float64]:
            found = self._matched(people, light, name, dark[some])
            n = len(zones)
            tasks = [LitTask(m, people.info, rules[0], light.info, rules[1], water, n) for m in found]
            parts = self.runner.step("people under valid light")(lit_strip, tasks)
            return add_strips(parts, n)[dark[some], None]

        where = "|".join(f"{file.info.band}|{file.info.grid.fingerprint}" for file in (people, light))
        made_from = f"lit|{people.sha256}|{rules[0]}|{self._raster_name('light', light_year)}|{rules[1]}|{where}"
        some = Zones(tuple(zones.codes[i] for i in dark), zones.geometry[dark], zones.crs)
        lit = persons.copy()
        lit[dark] = np.minimum(self.store.per_zone(made_from, some, 1, compute)[:, 0], persons[dark])
        return lit

    def _matched(self, people: SeriesFile, light: SeriesFile, name: str, wanted: NDArray[np.intp]) -> list[Match]:
        """Matches of some zones, kept while the run lasts: years share grids, and mostly the zones in need."""
        key = (people.info.grid.fingerprint, light.info.grid.fingerprint, name, wanted.tobytes())
        if key not in self._matches:
            zones = self.inputs.layers[name]
            some = np.zeros(len(zones), bool)
            some[wanted] = True
            run = self.runner.step("matching population to light cells")
            self._matches[key] = matches(people.info.grid, zones, light.info.grid, some, run=run)
        return self._matches[key]

    # --- totals of an output year ------------------------------------------------------------------------------------

    def light_of(self, year: int, name: str) -> LightTotals | None:
        """Light of an output year: observed, interpolated, or None."""
        plan = self.inputs.light_plan[year]
        if not plan:
            return None
        totals = [self.light[y, name] for y, _ in plan]
        return totals[0] if len(totals) == 1 else interpolate_totals(totals[0], totals[1], plan[1][1])

    def population_of(self, year: int, name: str) -> PopulationTotals:
        """Population of an output year, with the share that lives under valid light."""
        out = []
        light_plan = self.inputs.light_plan[year]
        plan = self.inputs.population_plan[year]
        for population_year, _ in plan:
            sums = exact = self.population[population_year, name]
            lit = None
            if light_plan:
                parts = [w * self.lit_side(population_year, y, name) for y, w in light_plan]
                lit = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            if self.by_center:
                sums = self._center_people[population_year, name]
                lit = None if lit is None else _in_proportion(lit, exact.sum_of("cells"), sums.sum_of("cells"))
            out.append(population_totals(sums, lit))
        return out[0] if len(out) == 1 else interpolate_totals(out[0], out[1], plan[1][1])


def compute_levels(
    inputs: Inputs, *, threads: int | None = None, report: Report | None = None, client: Any = None
) -> LevelTables:
    """Per-capita luminosity of every unit of every layer in every year; rasters are summed on ``client`` if given."""
    import pandas as pd

    files = (*inputs.lights.files, *inputs.population.files)
    compile_ahead((f.info.working_dtype for f in files), report)
    step = _Levels(inputs, threads, report, client)
    step.read_all()
    by_layer, national = {}, []
    for name in inputs.layers:
        frame = pd.concat([_rows(step, name, year) for year in inputs.years], ignore_index=True)
        code = f"{name}_code"
        by_layer[name] = frame.sort_values([code, "year"], ignore_index=True)
        national.append(
            national_rows(
                frame,
                name,
                raster_cells_dn={y: t.raster_sum_cells for y in inputs.years if (t := step.light_of(y, name))},
                raster_persons={y: _raster_persons(step, y, name) for y in inputs.years},
            )
        )
    return LevelTables(by_layer, pd.concat(national, ignore_index=True), step.store.reuse.sentence())


def _rows(step: _Levels, name: str, year: int) -> pd.DataFrame:
    inputs = step.inputs
    zones = inputs.layers[name]
    light_plan, plan = inputs.light_plan[year], inputs.population_plan[year]
    synthetic = {y for y, _ in light_plan} & set(inputs.config.lights.synthetic_years) or {y for y, _ in plan} & set(
        inputs.config.population.synthetic_years
    )
    first = step.light[min(y for y, _ in step.light), name] if step.light else None
    return levels_for_year(
        zones,
        year,
        step.light_of(year, name),
        step.population_of(year, name),
        level="city" if name == "city" else "district",
        options=inputs.config.levels,
        pop_years="+".join(str(y) for y, _ in plan),
        pop_nodata_zero=inputs.population.product.nodata_is_zero,
        n_flares=step.flares_per_zone(zones),
        is_synthetic=bool(synthetic),
        light_note="INTERP" if len(light_plan) == 2 else "",
        population_note=_population_note(inputs, year),
        areas_from=first,
    )


def _in_proportion(
    lit: NDArray[np.float64], exact: NDArray[np.float64], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Carry the lit share of exact people over to those counted by centres: light does not depend on the rule."""
    share = np.ones_like(lit)
    np.divide(lit, exact, out=share, where=exact > 0)
    return np.asarray(share * center)


def _population_note(inputs: Inputs, year: int) -> str:
    plan = inputs.population_plan[year]
    if plan == ((year, 1.0),):
        return ""
    return {"nearest": "POPNEAREST", "static": "POPSTATIC", "interpolate": "POPINTERP"}[
        inputs.config.population.missing_years
    ]


def _raster_persons(step: _Levels, year: int, name: str) -> float:
    return sum(w * step.population[y, name].raster_sum for y, w in step.inputs.population_plan[year])


def _is_small(grid: Grid) -> bool:
    return grid.shape[0] * grid.shape[1] <= WHOLE_CELLS


def _check_values(job: Job, sums: list[ZoneSums]) -> None:
    """Refuse a raster whose values inside the zones leave the product's range."""
    from gis.zonal.kernels import COUNT, MAX, MIN

    for one in sums:
        if one.profile is None:
            continue
        seen = one.profile[:, COUNT] > 0
        if seen.any():
            low, high = float(one.profile[seen, MIN].min()), float(one.profile[seen, MAX].max())
            check_range(low, high, job.rules, where=job.info.path)
        else:
            raise RasterInvalid(
                "no zone has a cell with data in this raster",
                where=job.info.path,
                mend="check that raster and boundaries cover the same country and that both CRS are right",
            )
