"""What the doctor says: findings on one layer, and the facts behind them.

In: what the examinations found. Out: ``Finding``, ``LayerReport``, and both as plain dictionaries for JSON.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gis.boundaries.datum import DatumVerdict
    from gis.boundaries.fabric import Drawing
    from gis.boundaries.roster import RosterReport

Severity = Literal["error", "warning", "info"]
Topic = Literal[
    "encoding", "crs", "datum", "codes", "names", "geometry", "overlaps", "gaps", "drawing", "vintage", "roster"
]
MAX_UNITS = 100
"""Units that one finding names at most; their number stands in the text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a layer."""

    topic: Topic
    """What it is about."""
    severity: Severity
    """``error``: a run refuses the layer, or its numbers would be wrong; ``warning``: numbers may move; ``info``."""
    what: str
    """What was found, with the number."""
    mend: str = ""
    """What to do about it; empty where nothing is to do."""
    units: tuple[str, ...] = ()
    """Codes (or ``row k``) it concerns, `MAX_UNITS` at most."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """Everything that was found about one layer."""

    file: str
    """Path of the file."""
    layer: str
    """Layer inside it."""
    level: str
    """province, city or district, by most of its codes; ``other`` where it has none."""
    n_rows: int
    """Features."""
    n_units: int
    """Different codes."""
    encoding: str
    """Encoding of the text."""
    crs: str
    """CRS by name; empty where none is known."""
    crs_origin: str
    """``file``, ``given``, ``guessed`` or ``default`` (RFC 7946), or ``none``."""
    n_valid: int
    """Rows whose polygon is valid as drawn."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then what is good to know."""
    datum: DatumVerdict | None = None
    """Which datum the coordinates are in; None where it could not be examined."""
    repairs: tuple[dict[str, Any], ...] = ()
    """What mending the others would do: code, reason, area before and after [km2], change as a share."""
    overlaps: tuple[dict[str, Any], ...] = ()
    """Pairs of units that share ground, worst first: code_a, code_b, overlap_km2, share_of_smaller."""
    gaps: tuple[dict[str, Any], ...] = ()
    """Holes between units, largest first: area_km2, codes, is_sliver, x, y."""
    drawing: Drawing | None = None
    """How finely it is drawn."""
    best_years: tuple[int, ...] = ()
    """Year-ends whose codes and names fit best; empty where none fits."""
    years: tuple[dict[str, Any], ...] = ()
    """Every year-end with its differences in codes and in names, best first."""
    roster: RosterReport | None = None
    """Coverage of the 296 cities."""

    @property
    def has_errors(self) -> bool:
        """Whether a run would refuse the layer, or be wrong with it."""
        return any(finding.severity == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values; numbers that are not finite become None (JSON has none)."""
        return _plain({**asdict(self), "has_errors": self.has_errors})


class Findings:
    """Collects findings while a layer is examined."""

    def __init__(self, items: Sequence[Finding] = ()) -> None:
        self.items = list(items)

    def add(self, topic: Topic, severity: Severity, what: str, mend: str = "", units: Sequence[str] = ()) -> None:
        """Add one; of its units `MAX_UNITS` are kept."""
        self.items.append(Finding(topic, severity, what, mend, tuple(units[:MAX_UNITS])))


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then infos; within these as they were found."""
    rank = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(findings, key=lambda finding: rank[finding.severity]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
