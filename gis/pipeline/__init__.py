"""The steps in order: the drawing as code.

In: a workspace folder. Out: its ``out/``, or a report on its inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gis.pipeline.check import CheckReport, check
from gis.pipeline.run import RunResult, run
from gis.workspace import Workspace, read_workspace

__all__ = ["CheckReport", "RunResult", "check", "export", "run"]


def export(workspace: str | Path | Workspace = ".", to: str = "gpkg", **options: Any) -> tuple[Path, ...]:
    """Write a finished run's results in another format; see `gis.export.export` for formats and options."""
    from gis.export import ExportOptions
    from gis.export import export as write

    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    folder = options.pop("folder", None)
    options.setdefault("crs", place.config.output.crs)
    return write(place.out, to, folder=folder, options=ExportOptions(**options))
