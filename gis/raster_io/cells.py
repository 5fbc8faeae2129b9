"""Which cell values are data: the rules, and the three dtypes values are handed out in.

In: arrays of cells. Out: ``CellRules`` and masks. No file is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import RasterInvalid

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

INT_FILL = -(2**31)
"""Fill of every int32 array handed out, whatever the file's own: int32's minimum, which is no data under any rules."""

Negatives = Literal["zero", "keep", "nan"]
"""What a cell below zero becomes (METHOD 2 rule 3)."""


@dataclass(frozen=True, slots=True)
class CellRules:
    """Which cell values are data, and what becomes of those below zero."""

    nodata: tuple[float, ...] = ()
    """Values that mean no data: declared, configured, and the dtype's own fills; as the working dtype holds them."""
    fill_limit: float = 1e30
    """Any value with magnitude at or above this is no data, declared or not; so are NaN and infinity."""
    below_zero_is_nodata: bool = False
    """Any value below zero means no data (LandScan: -9999, -2147483647, ... by release)."""
    negatives: Negatives = "zero"
    """What a negative cell that is data becomes: 0, itself, or no data. They are counted first in every case."""
    valid_range: tuple[float, float] | None = None
    """Data outside are an error that names the file; see `check_range`."""
    dn_min: float = 0.0
    """Lit threshold: data below it count as 0 (METHOD 2 rule 7)."""


def working_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Dtype in which values of a dtype on disk are handed out: float32, int32 or float64, and no other.

    Raises
    ------
    RasterInvalid
        Complex or otherwise not a real number.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.dtype(np.float64) if kind.itemsize > 4 else np.dtype(np.float32)
    if kind.kind in "iu":
        fits = kind.itemsize < 4 or kind == np.int32
        return np.dtype(np.int32) if fits else np.dtype(np.float64)
    raise RasterInvalid(f"cells of dtype {kind} are not real numbers", mend="save the real part or the magnitude")


def is_data(values: NDArray[Any], rules: CellRules) -> NDArray[np.bool_]:
    """Which cells hold data under the rules: the definition in NumPy that fast kernels are tested against.

    Negative data under ``negatives="nan"`` are still data here: they are counted before they are dropped.
    """
    with np.errstate(invalid="ignore"):
        good = np.abs(values.astype(np.float64)) < rules.fill_limit  # False for NaN and infinity
        if rules.below_zero_is_nodata:
            good &= values >= 0
    for value in rules.nodata:
        good &= values != value
    return good


def check_range(low: float, high: float, rules: CellRules, *, where: object) -> None:
    """Refuse data that leave the product's valid range; NaN (no data at all) passes.

    Raises
    ------
    RasterInvalid
        ``low`` or ``high`` lies outside ``rules.valid_range``.
    """
    if rules.valid_range is None:
        return
    floor, ceiling = rules.valid_range
    if low < floor or high > ceiling:
        raise RasterInvalid(
            f"values run from {low:g} to {high:g}; the product's run from {floor:g} to {ceiling:g}",
            where=where,
            mend="check that this is the product named; else set valid_range, or add the fill value to nodata",
        )


def integer_fills(dtype: DTypeLike) -> tuple[float, ...]:
    """Values of an integer dtype that are fill in any product: its minimum; ESRI's, one above it, in 32 bits.

    Empty for unsigned dtypes, whose minimum 0 is a measurement, and for floats.
    """
    kind = np.dtype(dtype)
    if kind.kind != "i":
        return ()
    low = float(np.iinfo(kind).min)
    return (low, low + 1) if kind.itemsize == 4 else (low,)
