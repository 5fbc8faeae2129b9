"""Reprojected rasters as files: cloud-optimised GeoTIFFs whose overviews and tags say what the cells hold.

In: a ``Plan`` and a path. Out: one file, complete or not there, and its ``MassLedger``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gis.crs import crs_name
from gis.raster_io.overviews import write_cog
from gis.reproject.ledger import Arrived, MassLedger, account_source, refuse_loss
from gis.reproject.resample import Plan, Source, resample

Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def one_by_one(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """Run tasks in this thread."""
    return [function(task) for task in tasks]


def write_reprojected(
    plan: Plan,
    path: str | Path,
    *,
    run: Run = one_by_one,
    tags: Mapping[str, str] | None = None,
    loss_max: float = float("inf"),
) -> MassLedger:
    """Reproject one raster into a COG, atomically, and account for it.

    Overviews of counts add cells up, those of intensities average them, those of a nearest-neighbour raster pick one.

    Parameters
    ----------
    run : ``run(function, tasks) -> list`` in the order of the tasks, such as `gis.graph.run_tasks`.
    tags : provenance beside what the plan says of itself.
    loss_max : share of the total that may go missing before the file is refused.

    Raises
    ------
    RasterInvalid
        More than ``loss_max`` was lost; no file is left.
    WriteFailed
        The disk is full or the folder cannot be written; what stood there before is untouched.
    """
    path = Path(path)
    source = Source(plan, run)
    total, beyond, n_nodata, n_negative, negative = account_source(plan, source, run)
    arrived = Arrived(plan)
    found: list[MassLedger] = []

    def strips() -> Any:
        yield from arrived.through(resample(plan, run=run, source=source))
        ledger = MassLedger(total, beyond, arrived.total, n_nodata, n_negative, negative)
        refuse_loss(ledger, loss_max, where=plan.info.path)  # before the file gets its name
        found.append(ledger)

    nodata = None if plan.dtype.kind == "f" and np.isnan(plan.nodata) else plan.nodata
    nodata = float("nan") if nodata is None else nodata
    all_tags = {**_tags(plan), **(tags or {})}
    views = _overviews(plan)
    write_cog(
        path, strips(), plan.target, dtype=plan.dtype, nodata=nodata, tags=all_tags, overviews=views,
        predictor=views == "average",
    )  # fmt: skip
    return found[0]


def _overviews(plan: Plan) -> Literal["sum", "average", "nearest"]:
    if plan.kind == "count":
        return "sum"
    return "nearest" if plan.resampling == "nearest" else "average"


def _tags(plan: Plan) -> dict[str, str]:
    from gis import __version__

    source = plan.info
    return {
        "LIGHTPANEL_VERSION": __version__,
        "LIGHTPANEL_SOURCE": source.path.name,
        "LIGHTPANEL_SOURCE_CRS": crs_name(source.grid.crs),
        "LIGHTPANEL_SOURCE_SHAPE": f"{source.grid.shape[0]} x {source.grid.shape[1]}",
        "LIGHTPANEL_KIND": plan.kind,
        "LIGHTPANEL_RESAMPLING": plan.resampling,
        "LIGHTPANEL_OVERVIEWS": _overviews(plan),
    }
