"""What the store knows of one raster: a row of numbers per zone, found by the zone's fingerprint.

In: arrays of a stored file. Out: rows in the order of any layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRINT_BYTES = 32
"""Length of a fingerprint: SHA-256."""


def bytes_of(prints: Sequence[str]) -> bytes:
    """Fingerprints in hexadecimal as bytes, one after the other."""
    return b"".join(map(bytes.fromhex, prints))


def texts_of(prints: bytes) -> list[str]:
    """The same the other way round."""
    return [prints[i : i + PRINT_BYTES].hex() for i in range(0, len(prints), PRINT_BYTES)]


@dataclass(slots=True)
class Known:
    """Rows of one raster under one setting."""

    prints: bytes = b""
    """Fingerprints of the zones, one after the other."""
    rows: NDArray[np.float64] | None = None
    """(n, width): numbers of each; None while there are none."""
    raster_sum: float = float("nan")
    """Sum of all valid cells; NaN when the raster was never read whole."""

    def places(self, wanted: tuple[str, ...]) -> NDArray[np.intp]:
        """(n_wanted,): where each zone's row stands, -1 for one that is not known."""
        return _places(self.prints, wanted)

    def add(self, prints: Sequence[str], rows: NDArray[np.float64]) -> None:
        """Take in rows of zones that are not known yet."""
        if prints:
            self.prints += bytes_of(prints)
            self.rows = np.array(rows) if self.rows is None else np.concatenate([self.rows, rows])

    def of(self, wanted: tuple[str, ...], width: int) -> NDArray[np.float64]:
        """(n_wanted, width): rows of zones that are all known."""
        at = self.places(wanted)
        return np.empty((0, width)) if self.rows is None else self.rows[at]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As they are stored."""
        rows = np.empty((0, 0)) if self.rows is None else self.rows
        return {"prints": np.frombuffer(self.prints, np.uint8), "rows": rows, "raster_sum": np.array(self.raster_sum)}


def known_from_arrays(data: dict[str, NDArray[Any]]) -> Known:
    """What a stored file says; nothing where it is not whole."""
    if not {"prints", "rows", "raster_sum"} <= data.keys():
        return Known()
    prints, rows = data["prints"].tobytes(), data["rows"]
    if len(prints) != PRINT_BYTES * len(rows):
        return Known()
    return Known(prints, rows if len(rows) else None, float(data["raster_sum"]))


@lru_cache(maxsize=64)  # the rasters of a series know the same zones: their index is made once
def _places(prints: bytes, wanted: tuple[str, ...]) -> NDArray[np.intp]:
    index = {text: i for i, text in enumerate(texts_of(prints))}
    found = np.array([index.get(text, -1) for text in wanted], np.intp)
    found.setflags(write=False)
    return found
