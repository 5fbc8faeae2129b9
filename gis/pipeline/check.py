"""What ``lightpanel check`` says before a run: every raster read once, every layer held against the other.

In: a workspace. Out: ``CheckReport``: findings with what, where and how to mend. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gis.graph import run_tasks
from gis.pipeline.inputs import Inputs, read_inputs
from gis.rasters.doctor import RasterReport, examine
from gis.workspace import Workspace, read_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

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
    return CheckReport(
        inputs, tuple(sorted(findings, key=lambda f: order[f.severity])), tuple(rasters), districts
    )


def _compare(inputs: Inputs, findings: list[Finding]) -> pd.DataFrame | None:
    if "district" not in inputs.layers or inputs.config.boundaries.city is None:
        return None
    from gis.boundaries import compare_levels

    cities = inputs.layers["city"]
    table = compare_levels(cities, inputs.layers["district"])
    name = dict(zip(cities.codes, cities.names or cities.codes, strict=True))
    off = table[(table["n_districts"] > 0) & (table["mismatch"] > DISTRICT_TOLERANCE)]
    for row in off.to_dict("records"):
        findings.append(
            Finding(
                "warning",
                f"city {row['city_code']} {name[row['city_code']]}",
                f"its {row['n_districts']} districts have {row['difference']:+.2g} of its area; {row['mismatch']:.2g} of "
                "it lies in one layer and not in the other",
                "the polygons of the two layers disagree here; to have cities that are the sums of their districts, "
                "leave out [boundaries.city]",
            )
        )
    return off
