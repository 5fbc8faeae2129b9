"""Trimming and winsorising of Bal, on the sample before any control is asked for (METHOD 3.1).

In: Bal of the base sample, a rule. Out: the limits it sets, and Bal within them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gis.errors import OptionInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Rule = Literal["none", "bal_quantile", "bal_max", "winsor"]


@dataclass(frozen=True, slots=True)
class Trim:
    """A rule, and the limits it has on a sample."""

    rule: Rule
    """none, bal_quantile and bal_max drop rows outside the limits, winsor pulls them in."""
    low: float
    """Lowest value that stays; -inf for none."""
    high: float
    """Highest value that stays; inf for none."""

    def dropped(self, bal: Floats) -> NDArray[np.bool_]:
        """(n,) rows that go; a limit itself stays, a missing value is not this step's."""
        outside = (bal < self.low) | (bal > self.high)
        return outside if self.rule != "winsor" else np.zeros(bal.shape, bool)

    def applied(self, bal: Floats) -> Floats:
        """(n,) Bal, winsorised or NaN where trimmed."""
        if self.rule == "winsor":
            return np.clip(bal, self.low, self.high)
        return np.where(self.dropped(bal), np.nan, bal)


def trim(
    bal: Floats,
    *,
    bal_quantile: tuple[float, float] | None = None,
    bal_max: float | None = None,
    winsor: tuple[float, float] | None = None,
) -> Trim:
    """Find the limits of a rule on a sample.

    Parameters
    ----------
    bal : (n,) Bal of the base sample; NaN is left out.
    bal_quantile : quantiles outside which rows are dropped: (0.025, 0.975) drops 2.5 % on each side. numpy's linear
        quantiles; a value equal to one stays.
    bal_max : rows above it are dropped.
    winsor : quantiles to which values outside are pulled.

    Raises
    ------
    OptionInvalid
        More than one rule, or quantiles that do not rise within [0, 1].
    """
    given = {"bal_quantile": bal_quantile, "bal_max": bal_max, "winsor": winsor}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise OptionInvalid(f"{' and '.join(named)} at once", where="sample.trim", mend="choose one of them")
    if not named:
        return Trim("none", -np.inf, np.inf)
    if bal_max is not None:
        if not bal_max > 0:
            raise OptionInvalid(f"bal_max = {bal_max}", where="sample.bal_max", mend="give a number above 0")
        return Trim("bal_max", -np.inf, float(bal_max))
    a, b = bal_quantile or winsor or (0.0, 1.0)
    if not 0 <= a < b <= 1:
        raise OptionInvalid(
            f"{named[0]} = ({a}, {b})", where=f"sample.{named[0]}", mend="give rising quantiles: [0.025, 0.975]"
        )
    known = bal[np.isfinite(bal)]
    low, high = np.quantile(known, [a, b]) if known.size else (np.nan, np.nan)
    return Trim("bal_quantile" if bal_quantile is not None else "winsor", float(low), float(high))
