"""Errors of the whole package: what went wrong, where, and how to mend it.

In: nothing. Out: ``GisError`` and its children. Each child is also the builtin it is, so that
``except ValueError`` keeps working for callers who have never heard of this package.
"""

from __future__ import annotations


class GisError(Exception):
    """Base of every error this package raises on a user's input.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence, with the offending value.
    where : str, optional
        File, layer, row, column or config key.
    mend : str, optional
        What to do about it: a command, a config line, an option.
    """

    def __init__(self, what: str, *, where: object = None, mend: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend
        # One argument only: given more, OSError would take them for errno, text and file name.
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.mend:
            lines.append(f"  mend:  {self.mend}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders under Dask; keyword arguments would be lost by the default.
        return _rebuild, (type(self), self.what, self.where, self.mend)


def _rebuild(cls: type[GisError], what: str, where: str | None, mend: str | None) -> GisError:
    return cls(what, where=where, mend=mend)


class GridMismatch(GisError, ValueError):
    """Two inputs that must share a grid do not."""


class GridInvalid(GisError, ValueError):
    """A grid is rotated, empty, or has cells without area."""


class CrsMissing(GisError, ValueError):
    """An input has no coordinate reference system and none was configured."""


class CrsMismatch(GisError, ValueError):
    """Two inputs disagree about the coordinate reference system."""


class CrsInvalid(GisError, ValueError):
    """A coordinate reference system cannot be read, or cannot reach the data."""


class RasterInvalid(GisError, ValueError):
    """A raster opens but is not the data it is said to be (a picture, values out of range)."""


class RasterUnreadable(GisError, OSError):
    """A raster is missing, empty, truncated or of an unknown format."""


class SeriesInvalid(GisError, ValueError):
    """The files of a product do not form one annual series (two files for a year, changing grids)."""


class YearMissing(GisError, LookupError):
    """A year that is needed has no raster."""


class BoundaryUnreadable(GisError, OSError):
    """A boundary file is missing, empty or of an unknown format."""


class BoundaryInvalid(GisError, ValueError):
    """A boundary layer opens but cannot be used: columns, encoding, overlapping or missing units."""


class GeometryInvalid(GisError, ValueError):
    """A polygon is invalid and mending it would change its area too much, or it crosses the antimeridian."""


class CodeInvalid(GisError, ValueError):
    """An administrative code is malformed, duplicated or unknown."""


class CoverageInvalid(GisError, ArithmeticError):
    """Coverage fractions left [0, 1]: the polygon is not what it claims to be."""


class TableInvalid(GisError, ValueError):
    """A table misses a column, repeats a key or holds a value of the wrong kind."""


class ConfigInvalid(GisError, ValueError):
    """``workspace.toml`` cannot be used as it stands."""


class WorkspaceMissing(GisError, FileNotFoundError):
    """There is no workspace here."""


class OptionInvalid(GisError, ValueError):
    """An argument of a public function has a value that is not offered."""


class WriteFailed(GisError, OSError):
    """An output could not be written; what stood there before is untouched."""


class NotBuilt(GisError, NotImplementedError):
    """The thing asked for is designed but not built."""
