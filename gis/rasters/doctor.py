"""What is the matter with a raster: one pass over its cells, and what to do about what it finds.

In: ``RasterInfo``, ``CellRules``. Out: ``RasterReport``, counts, extremes, sum and findings; severity ``error`` means
that numbers made from this file would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gis.errors import GisError, RasterInvalid
from gis.raster_io import check_range, is_data, open_raster

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from gis.raster_io import CellRules, RasterInfo, RasterPath

Severity = Literal["error", "warning", "info"]

FEW_VALUES = 2
"""A population raster with no more distinct whole values than this is a mask or a class map."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the matter with a raster."""

    severity: Severity
    """``error``: do not use; ``warning``: look before using; ``info``: good to know."""
    what: str
    """What was found, with the number."""
    mend: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class RasterReport:
    """What one pass over the cells of a raster found."""

    path: RasterPath
    """The file."""
    n_cells: int
    """All cells."""
    n_valid: int
    """Cells that hold data under the rules."""
    n_declared_nodata: int
    """Cells equal to the declared nodata value (NaN included where NaN is declared; masked or scaled: see n_nan)."""
    n_other_fill: int
    """Cells that the rules call fill though they do not equal the declared value; NaN not counted."""
    n_nan: int
    """NaN cells, unless NaN is the declared nodata value."""
    n_negative: int
    """Valid cells below zero, before the negatives policy."""
    minimum: float
    """Smallest valid value; NaN without a valid cell [unit of the product]."""
    maximum: float
    """Largest valid value; NaN without a valid cell [unit of the product]."""
    total: float
    """Sum of valid values before the negatives policy [unit of the product]."""
    negative_total: float
    """Sum of valid values below zero [unit of the product]."""
    share_at_max: float
    """Share of the valid cells above zero that hold the largest value; NaN where there are none [1]."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then notes."""

    @property
    def is_usable(self) -> bool:
        """Whether no finding is an error."""
        return all(f.severity != "error" for f in self.findings)


@dataclass(slots=True)
class _Tally:
    """Running counts over strips."""

    n_valid: int = 0
    n_declared: int = 0
    n_other_fill: int = 0
    n_nan: int = 0
    n_negative: int = 0
    n_zero: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0
    negative_total: float = 0.0
    n_at_max: int = 0
    is_whole: bool = True

    def add(self, values: NDArray[Any], info: RasterInfo, rules: CellRules) -> None:
        good = is_data(values, rules)
        nan = np.isnan(values)
        declared = _equals(values, None if info.is_scaled else info.nodata)
        self.n_declared += int(declared.sum())
        self.n_nan += int((nan & ~declared).sum())
        self.n_other_fill += int((~good & ~nan & ~declared).sum())
        data = values[good].astype(np.float64)
        if not data.size:
            return
        self.n_valid += data.size
        below = data[data < 0]
        self.n_negative += below.size
        self.negative_total += float(below.sum())
        self.n_zero += int((data == 0).sum())
        self.minimum = min(self.minimum, float(data.min()))
        self.total += float(data.sum())
        self.is_whole &= bool((data == np.floor(data)).all())
        high = float(data.max())
        if high > self.maximum:
            self.maximum, self.n_at_max = high, 0
        if high == self.maximum:
            self.n_at_max += int((data == high).sum())


def _equals(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if nodata is None:
        return np.zeros(values.shape, bool)
    if np.isnan(nodata):
        return np.isnan(values)
    with np.errstate(over="ignore"):
        # As the dtype holds it: -3.4e38 is declared in double precision and stored in single.
        return values == (values.dtype.type(nodata) if values.dtype.kind == "f" else nodata)


def examine(
    info: RasterInfo, rules: CellRules, *, quantity: Literal["count", "intensity"] = "intensity"
) -> RasterReport:
    """Read every cell of a raster once and say what is the matter with it.

    Parameters
    ----------
    rules : from `gis.rasters.catalogue.rules_for`.
    quantity : what the product holds; counts below zero are a warning, radiance below zero is noise.

    Raises
    ------
    RasterUnreadable
        The file is damaged inside.
    """
    tally = _Tally()
    with open_raster(info) as raster:
        for strip in range(info.grid.n_strips):
            tally.add(raster.read_rows(*info.grid.strip_rows(strip)), info, rules)
    ny, nx = info.grid.shape
    empty = tally.n_valid == 0
    n_positive = tally.n_valid - tally.n_zero - tally.n_negative
    findings = _findings(tally, info, rules, quantity)
    order: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
    return RasterReport(
        path=info.path,
        n_cells=ny * nx,
        n_valid=tally.n_valid,
        n_declared_nodata=tally.n_declared,
        n_other_fill=tally.n_other_fill,
        n_nan=tally.n_nan,
        n_negative=tally.n_negative,
        minimum=np.nan if empty else tally.minimum,
        maximum=np.nan if empty else tally.maximum,
        total=tally.total,
        negative_total=tally.negative_total,
        share_at_max=tally.n_at_max / n_positive if n_positive and tally.maximum > 0 else np.nan,
        findings=tuple(sorted(findings, key=lambda f: order[f.severity])),
    )


def require_usable(report: RasterReport) -> None:
    """Refuse a raster with an error among its findings.

    Raises
    ------
    RasterInvalid
        With the first error's mend line.
    """
    for finding in report.findings:
        if finding.severity == "error":
            raise RasterInvalid(finding.what, where=report.path, mend=finding.mend)


def _findings(t: _Tally, info: RasterInfo, rules: CellRules, quantity: str) -> list[Finding]:
    found = [Finding("info", note, "nothing to do") for note in info.notes]
    if t.n_valid == 0:
        found.append(Finding("error", "no cell holds data", "check the band, and that nodata is not the data's value"))
        return found + _about_fill(t, info)
    if t.minimum == t.maximum:
        found.append(
            Finding(
                "warning",
                f"every valid cell is {t.minimum:g}",
                "check the band: this looks like a mask or an empty export",
            )
        )
    try:
        check_range(t.minimum, t.maximum, rules, where=info.path)
    except GisError as error:
        found.append(Finding("error", error.what, error.mend or ""))
    return found + _about_fill(t, info) + (_about_counts(t, rules) if quantity == "count" else _about_light(t, info))


def _about_fill(t: _Tally, info: RasterInfo) -> list[Finding]:
    found = []
    if t.n_other_fill:
        declared = "none is declared" if info.nodata is None else f"{info.nodata:g} is declared"
        found.append(
            Finding(
                "warning",
                f"{t.n_other_fill} cells hold fill values other than the declared nodata ({declared})",
                "they count as no data; to be rid of this: gdal_edit.py -a_nodata VALUE file.tif",
            )
        )
    if t.n_nan and not info.is_scaled and not info.has_mask:
        found.append(
            Finding(
                "warning",
                f"{t.n_nan} cells are NaN, which is not declared as nodata",
                "they count as no data; to be rid of this: gdal_edit.py -a_nodata nan file.tif",
            )
        )
    if info.nodata is not None and not info.is_scaled and t.n_declared == 0 and t.n_other_fill:
        found.append(
            Finding(
                "warning",
                f"the declared nodata value {info.nodata:g} occurs nowhere, another fill value does",
                "the declaration is wrong: check what the fill value means at the product's source",
            )
        )
    return found


def _about_counts(t: _Tally, rules: CellRules) -> list[Finding]:
    found = []
    if t.n_negative:
        found.append(
            Finding(
                "warning",
                f"{t.n_negative} cells hold negative counts, {t.negative_total:g} in all (policy: {rules.negatives})",
                "if they are a fill value, add it to nodata; lowest is " + f"{t.minimum:g}",
            )
        )
    if t.minimum >= 0 and t.maximum <= 1 and not t.is_whole:
        found.append(
            Finding(
                "warning",
                f"all counts lie between 0 and {t.maximum:g}",
                "this looks like a share or a density, not persons per cell: check the band and the product",
            )
        )
    elif t.is_whole and t.maximum < FEW_VALUES:
        found.append(
            Finding("warning", "counts are 0 and 1 only", "this looks like a mask: check the band and the product")
        )
    return found


def _about_light(t: _Tally, info: RasterInfo) -> list[Finding]:
    found = []
    if t.n_negative:
        found.append(
            Finding(
                "info",
                f"{t.n_negative} cells are below zero, down to {t.minimum:g}: noise of the sensor",
                "set negatives = zero, keep or nan",
            )
        )
    if info.nodata == 0 and t.n_declared:
        found.append(
            Finding(
                "warning",
                f"0 is declared as nodata: {t.n_declared} dark cells count as unknown, not as dark",
                "if 0 is darkness in this product, remove the declaration: gdal_edit.py -unsetnodata file.tif",
            )
        )
    if t.is_whole and np.dtype(info.dtype).kind == "f" and t.maximum > 0:
        found.append(
            Finding("info", "a float raster of whole numbers: values were rounded once", "nothing to do for DN")
        )
    if t.minimum >= 0 and 0 < t.maximum <= 1 and not t.is_whole:
        found.append(
            Finding(
                "warning",
                f"all values lie between 0 and {t.maximum:g}",
                "this looks normalised or in percent: levels keep their order only if every year has the same scale",
            )
        )
    return found
