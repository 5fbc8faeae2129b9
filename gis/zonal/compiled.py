"""Compiling ahead, once per installation, with a line of progress; later runs load what is kept beside the code.

In: the dtypes of the rasters to come. Out: kernels in memory.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

STEP = "compiling, once per installation"
"""Name of the step in the progress."""


def is_compiled() -> bool:
    """Whether kernels of some earlier run are kept, by numba, beside the code or in the user's cache folder."""
    from gis.zonal.kernels import sum_strip

    folder = sum_strip.stats.cache_path
    return folder is not None and any(Path(folder).glob("kernels.sum_strip-*.nbc"))


def compile_ahead(dtypes: Iterable[Any], report: Callable[[str, int, int], None] | None) -> None:
    """Compile what a sum takes, where no run has done so before; does nothing without somebody to tell."""
    if report is None or is_compiled():
        return
    report(STEP, 0, 1)
    first, *others = sorted({str(np.dtype(d)) for d in dtypes})
    # The compiler takes one thread of a process: further dtypes go to processes of their own, which keep what they
    # compiled where this one finds it. One that fails costs time later and nothing else.
    quiet = subprocess.DEVNULL
    code = "from gis.zonal.compiled import sum_a_little; sum_a_little({!r})"
    beside = [subprocess.Popen([sys.executable, "-c", code.format(d)], stdout=quiet, stderr=quiet) for d in others]
    sum_a_little(first)
    for process in beside:
        process.wait()
    report(STEP, 1, 1)


def sum_a_little(name: str) -> None:
    """Sum a job of four cells of a dtype, as a run has millions: the compiler sees the same types."""
    import shapely
    from affine import Affine

    from gis.crs import crs_from
    from gis.grid import MEASURES, Grid, Zones
    from gis.raster_io import CellRules, RasterInfo
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, sum_values

    dtype = np.dtype(name)
    grid = Grid((2, 2), Affine(1, 0, 100, 0, -1, 40), crs_from("EPSG:4326"))
    zones = Zones(("a",), np.array([shapely.box(100.5, 38.5, 101.5, 39.5)], object), grid.crs)
    info = RasterInfo(Path("none"), grid, 1, dtype.name, None, 1, False, "Area", (2, 2))
    layers = (coverage_from_zones(grid, zones),)
    job = Job(info, CellRules(), layers, MEASURES, profile=True, moments=False)
    sum_values(job, 0, np.ones(grid.shape, dtype), 0)
