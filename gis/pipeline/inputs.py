"""Everything a run reads, found and checked before anything is computed.

In: a ``Workspace``. Out: ``Inputs``: the two annual series, the year plans, and the layers of one boundary vintage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gis.boundaries import Layer, cities_from_districts, read_layer, refuse_overlaps
from gis.errors import BoundaryUnreadable, ConfigInvalid
from gis.rasters.catalogue import product_for, rules_for
from gis.rasters.series import Series, SeriesFile, YearPlan, plan_lights, plan_years, read_series

if TYPE_CHECKING:
    from gis.grid import Zones
    from gis.raster_io import CellRules
    from gis.workspace import Boundaries, BoundarySource, Config, Vintage, Workspace

Layers = dict[str, "Zones"]
"""``city`` and, where given, ``district``."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run works on."""

    workspace: Workspace
    """Folder and config."""
    lights: Series
    """Annual intensities."""
    population: Series
    """Annual counts."""
    light_plan: YearPlan
    """Year of the output -> light rasters and weights; empty for a year without light."""
    population_plan: YearPlan
    """Year of the output -> population rasters and weights."""
    sources: tuple[Layer, ...]
    """Boundary layers as read, with repairs and notes."""
    layers: Layers
    """Layers to sum over; cities dissolved from districts where only these were given."""
    notes: tuple[str, ...]
    """What a reader of the results must know though the numbers stand."""

    @property
    def config(self) -> Config:
        """The workspace's config."""
        return self.workspace.config

    @property
    def years(self) -> tuple[int, ...]:
        """Years of the output, ascending."""
        return tuple(sorted(self.light_plan))

    def light_rules(self, file: SeriesFile) -> CellRules:
        """Which cells of a light raster are data."""
        return rules_for(self.lights.product, self.config.lights, file.info)

    def population_rules(self, file: SeriesFile) -> CellRules:
        """Which cells of a population raster are data."""
        return rules_for(self.population.product, self.config.population, file.info)


def read_both_series(workspace: Workspace) -> tuple[Series, Series]:
    """Find, open and hash the annual lights and the annual population."""
    config = workspace.config
    lights_product = product_for(config.lights, key="lights")
    population_product = product_for(config.population, key="population")
    _check_quantity(lights_product.quantity, "intensity", "lights", lights_product.name)
    _check_quantity(population_product.quantity, "count", "population", population_product.name)
    lights = read_series(config.lights, lights_product, workspace, key="lights")
    population = read_series(config.population, population_product, workspace, key="population")
    return lights, population


def read_inputs(workspace: Workspace, series: tuple[Series, Series] | None = None) -> Inputs:
    """Find, open and check every input of a run; raises a ``GisError`` that says how to mend the first fault."""
    config = workspace.config
    lights, population = series or read_both_series(workspace)
    years = sorted({*lights.years, *lights.missing_years})
    light_plan = plan_lights(years, lights, config.lights.missing_years)
    population_plan = plan_years(years, population, config.population.missing_years, config.population.static_year)
    sources, layers, notes = read_layers(workspace, config.boundaries)
    notes += [f"lights: {note}" for note in lights.notes] + [f"population: {note}" for note in population.notes]
    notes += _policy_notes(config, light_plan, population_plan)
    return Inputs(workspace, lights, population, light_plan, population_plan, tuple(sources), layers, tuple(notes))


def _check_quantity(quantity: str, wanted: str, key: str, name: str) -> None:
    if quantity != wanted:
        raise ConfigInvalid(
            f"{name} holds {_a(quantity)}; [{key}] needs {_a(wanted)}",
            where=f"{key}.product",
            mend="lights are an intensity (DN, radiance), population is a count (persons per cell): swap the sections?",
        )


def _a(quantity: str) -> str:
    return f"an {quantity}" if quantity[0] in "aeiou" else f"a {quantity}"


def read_layers(workspace: Workspace, boundaries: Boundaries | Vintage) -> tuple[list[Layer], Layers, list[str]]:
    """Read the layers of one vintage, check them for overlaps, and dissolve cities where there are only districts."""
    sources: list[Layer] = []
    layers: Layers = {}
    notes: list[str] = []
    for level, source in _configured(boundaries):
        layer = read_layer(source, workspace.root, key=f"boundaries.{level}", level=level)
        sources.append(layer)
        layers[level] = layer.zones
        notes += [f"{level} layer: {note}" for note in layer.notes]
        notes += [
            f"{level} {r.code}: {r.reason}, repaired, area changed by {r.change_share:.2g}" for r in layer.repairs
        ]
    if "city" not in layers:
        dissolved = cities_from_districts(layers["district"], sources[0].city_names)
        layers = {"city": dissolved.zones} | layers
        notes.append(f"city layer: {len(layers['city'])} cities dissolved from {len(layers['district'])} districts")
        notes += [f"city layer: {note}" for note in dissolved.notes]
    for name, zones in layers.items():
        found = refuse_overlaps(zones, where=f"boundaries.{name}")
        if len(found):
            worst = float(found["share_of_smaller"].max())
            notes.append(f"{name} layer: {len(found)} pairs of units overlap, by at most {worst:.2g} of the smaller")
    return sources, layers, notes


def _configured(boundaries: Boundaries | Vintage) -> list[tuple[Literal["city", "district"], BoundarySource]]:
    out: list[tuple[Literal["city", "district"], BoundarySource]] = []
    if boundaries.city is not None:
        out.append(("city", boundaries.city))
    if boundaries.district is not None:
        out.append(("district", boundaries.district))
    return out


def _policy_notes(config: Config, lights: YearPlan, population: YearPlan) -> list[str]:
    out = []
    gaps = [year for year, plan in lights.items() if len(plan) != 1]
    if gaps:
        why = config.lights.missing_years
        out.append(f"no lights of {', '.join(map(str, gaps))}: lights.missing_years = {why!r}")
    moved = [year for year, plan in population.items() if plan != ((year, 1.0),)]
    if moved:
        policy = config.population.missing_years
        out.append(f"no population of {', '.join(map(str, moved))} of its own: population.missing_years = {policy!r}")
    return out


def vector_file(workspace: Workspace, relative: str, key: str) -> Path:
    """Path of a vector file named in the config, or an error that names the key."""
    path = workspace.path(relative)
    if not path.exists():
        raise BoundaryUnreadable("there is no such file", where=f"{key} = {relative!r}", mend="check the path")
    return path
