"""Every flag of the column ``flags``: what it means, which rule it comes from, whether it takes the level away.

In: one boolean per unit and flag. Out: texts such as ``"LOWAREA;SAT"``, always in the order of ``FLAGS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gis.errors import OptionInvalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag."""

    meaning: str
    """When a row carries it, in one sentence."""
    rule: str
    """Section of the method and number of the rule."""
    drops_level: bool = False
    """Whether a row that carries it has no level."""


FLAGS: dict[str, Flag] = {
    "LOWAREA": Flag("valid light cells cover less than cov_area_flag (0.95) of the unit's area", "2 rule 1"),
    "LOWCOV": Flag("less than cov_pop_min (0.95) of the population lives on valid light cells", "2 rule 1", True),
    "RESCALED": Flag("light was divided by cov_pop, which lies between 0.5 and cov_pop_min", "2 rule 1"),
    "ZEROPOP": Flag("fewer persons than pop_min_persons (1)", "2 rule 2", True),
    "NOLIGHT": Flag("the year has no light raster", "2 rule 9", True),
    "NOCELL": Flag("no valid light cell in the unit: too small, masked, or off the raster", "2 rules 1 and 12", True),
    "SAT": Flag("at least 1 % of the unit's lit cells are at the raster's maximum", "2 rule 4"),
    "NEGATIVE": Flag("the unit has light cells below zero, treated by the negatives policy", "2 rule 3"),
    "INTERP": Flag("light is interpolated between the neighbouring years' rasters", "2 rule 9"),
    "POPNEAREST": Flag("population is that of the nearest year with a raster", "2 rule 9"),
    "POPSTATIC": Flag("population is that of one fixed year", "2 rule 9"),
    "POPINTERP": Flag("population is interpolated between the neighbouring years' rasters", "2 rule 9"),
    "NOPOP": Flag("no valid population cell in the unit, or no population raster", "2 rules 1 and 2", True),
}
"""In the order in which a row lists them."""

LIGHT_NOTES = ("INTERP",)
"""Flags that say where the light of a whole year comes from."""
POPULATION_NOTES = ("POPNEAREST", "POPSTATIC", "POPINTERP")
"""Flags that say where the population of a whole year comes from."""


def check_note(note: str, offered: tuple[str, ...], where: str) -> None:
    """Refuse a year's note that is not one of the flags offered for it; empty is none."""
    if note and note not in offered:
        raise OptionInvalid(f"{note!r} is no note", where=where, mend=f"one of {', '.join(offered)}, or empty")


def join_flags(carried: Mapping[str, NDArray[np.bool_]], n_units: int) -> list[str]:
    """Write each unit's flags in the order of ``FLAGS``; a clean unit gets ``""``.

    Parameters
    ----------
    carried : flag -> (n_units,) bool
        A flag that is left out is carried by no unit.
    """
    assert set(carried) <= set(FLAGS)  # our own spelling
    names = [name for name in FLAGS if name in carried]
    return [SEPARATOR.join(name for name in names if carried[name][k]) for k in range(n_units)]


def level_reasons(flags: str) -> str:
    """Keep those flags of a row that take its level away, in their order."""
    return SEPARATOR.join(name for name in flags.split(SEPARATOR) if name and FLAGS[name].drops_level)
