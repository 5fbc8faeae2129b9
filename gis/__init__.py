"""lightpanel: from annual lights, population and boundaries to per-capita luminosity and the pair panel Bal.

Public names, loaded when first used: ``import gis`` itself imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gis.errors import GisError
    from gis.grid import Grid, Zones
    from gis.panel import balance
    from gis.pipeline.check import check
    from gis.pipeline.run import run
    from gis.workspace import read_workspace
    from gis.zonal.statistics import zonal_stats

__version__ = "0.1.0"

_HOMES = {
    "GisError": "gis.errors",
    "Grid": "gis.grid",
    "Zones": "gis.grid",
    "balance": "gis.panel",
    "check": "gis.pipeline",
    "read_workspace": "gis.workspace",
    "run": "gis.pipeline",
    "zonal_stats": "gis.zonal.statistics",
}

__all__ = [
    "GisError",
    "Grid",
    "Zones",
    "__version__",
    "balance",
    "check",
    "read_workspace",
    "run",
    "zonal_stats",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gis' has no attribute {name!r}")
