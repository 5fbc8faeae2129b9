"""Rasters on another grid, through exact coordinates, with an account of what was kept.

In: ``RasterInfo`` and ``CellRules``, a target ``Grid``. Out: COGs and their ``MassLedger``.
"""

from __future__ import annotations

from gis.reproject.files import write_reprojected
from gis.reproject.ledger import LOSS_MAX, MassLedger, refuse_loss
from gis.reproject.resample import Kind, Plan, Resampling, check_kind, check_resampling, plan_for, resample
from gis.reproject.target import target_grid

__all__ = [
    "LOSS_MAX",
    "Kind",
    "MassLedger",
    "Plan",
    "Resampling",
    "check_kind",
    "check_resampling",
    "plan_for",
    "refuse_loss",
    "resample",
    "target_grid",
    "write_reprojected",
]
