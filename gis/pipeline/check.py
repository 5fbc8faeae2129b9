"""What ``lightpanel check`` says before a run: every raster read once, every layer held against the other.

In: a workspace. Out: ``CheckReport``: findings with what, where and how to mend. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gis.graph import run_tasks
from gis.pipeline.inputs import Inputs, read_inputs
from gis.rasters.doctor import RasterReport, examine
from gis.workspace import Workspace, read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from gis.raster_io import CellRules, RasterInfo

DISTRICT_TOLERANCE = 1e-6
"""Relative difference of area from which a city's districts are said not to add up to it."""

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about the inputs."""

    severity: Severity
    """``error`` stops a run, ``warning`` may move numbers, ``info`` is worth knowing."""
    where: str
    """File, layer or unit."""
    what: str
    """What is the matter."""
    mend: str
    """What to do about it; empty when nothing is to do."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings on a workspace, gravest first."""

    inputs: Inputs
    """What was read."""
    findings: tuple[Finding, ...]
    """Errors, warnings, infos."""
    rasters: tuple[tuple[str, int, RasterReport], ...]
    """(series, year, report) of every raster."""
    districts: pd.DataFrame | None
    """One row per city whose districts do not add up to it; None without districts."""

    @property
    def has_errors(self) -> bool:
        """Whether a run would be refused or wrong."""
        return any(f.severity == "error" for f in self.findings)


def check(
    workspace: str | Path | Workspace = ".",
    *,
    threads: int | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Read every input of a workspace once and say what is the matter with it.

    Raises
    ------
    GisError
        The first input that cannot even be opened.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    inputs = read_inputs(place)
    tasks: list[tuple[str, int, RasterInfo, CellRules, Literal["count", "intensity"]]] = [
        ("lights", f.year, f.info, inputs.light_rules(f), "intensity") for f in inputs.lights.files
    ]
    tasks += [("population", f.year, f.info, inputs.population_rules(f), "count") for f in inputs.population.files]
    reports = run_tasks(
        lambda task: examine(task[2], task[3], quantity=task[4]),
        tasks,
        threads=threads,
        progress=(lambda done, n: report("reading every raster", done, n)) if report else None,
    )
    findings = [Finding("info", "workspace", note, "") for note in inputs.notes]
    rasters = []
    for (series, year, info, _, _), one in zip(tasks, reports, strict=True):
        rasters.append((series, year, one))
        findings += [Finding(f.severity, f"{series} {year}: {info.path.name}", f.what, f.mend) for f in one.findings]
    districts = _compare(inputs, findings)
    order = {"error": 0, "warning": 1, "info": 2}
    return CheckReport(inputs, tuple(sorted(findings, key=lambda f: order[f.severity])), tuple(rasters), districts)


def _compare(inputs: Inputs, findings: list[Finding]) -> pd.DataFrame | None:
    """Cities whose districts do not add up to them, in people or in area."""
    if "district" not in inputs.layers or inputs.config.boundaries.city is None:
        return None
    from gis.boundaries import compare_levels

    cities, districts = inputs.layers["city"], inputs.layers["district"]
    table = compare_levels(cities, districts)
    table["population_difference"] = _population_difference(inputs)
    people = table["population_difference"].abs() > DISTRICT_TOLERANCE
    off = table[(table["n_districts"] > 0) & (people | (table["mismatch"] > DISTRICT_TOLERANCE))]
    for row in off.to_dict("records"):
        moved = abs(row["population_difference"]) > DISTRICT_TOLERANCE
        findings.append(
            Finding(
                "warning" if moved else "info",
                f"city {row['city_code']} {row['city_name']}".strip(),
                f"its {row['n_districts']} districts hold {row['population_difference']:+.2g} of its people and "
                f"{row['relative_difference']:+.2g} of its area; {row['mismatch']:.2g} of it lies in one layer only",
                "the polygons of the two layers disagree here; to have cities that are the sums of their districts, "
                "leave out [boundaries.city]",
            )
        )
    return off


def _population_difference(inputs: Inputs) -> NDArray[np.float64]:
    """(n_cities,): people of a city's districts over its own, minus 1, in the first population raster."""
    from gis.boundaries.hierarchy import parents_of
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs

    file = inputs.population.files[0]
    cities, districts = inputs.layers["city"], inputs.layers["district"]
    layers = tuple(coverage_from_zones(file.info.grid, zones, run=run_tasks) for zones in (cities, districts))
    job = Job(file.info, inputs.population_rules(file), layers, ("cells",))
    of_cities, of_districts = (sums.sum_of("cells") for sums in run_jobs([job], run=run_tasks)[0])
    place = {code: i for i, code in enumerate(cities.codes)}
    total = np.zeros(len(cities))
    for code, parent, persons in zip(districts.codes, parents_of(districts), of_districts, strict=True):
        # A directly administered unit stands in both layers and is its own district.
        city = place.get(parent, place.get(code))
        if city is not None:
            total[city] += persons
    out = np.full(len(cities), np.nan)
    np.divide(total, of_cities, out=out, where=of_cities > 0)
    return out - 1
