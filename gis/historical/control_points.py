"""Control points: places whose position is known both on the scan and on the ground.

In: columns of numbers. Out: ``ControlPoints``, the canonical table that every file format is read to and written from
(METHOD 8.1). Whatever holds one may trust it: counted, finite, no point twice, latitudes that are latitudes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, same_crs, transformer
from gis.errors import GisError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

WGS84 = "EPSG:4326"
ARRAYS = ("px", "py", "x", "y", "sigma_px", "enabled")
"""Columns held as arrays."""
ROLES = ("train", "check")
"""``train`` is fitted; ``check`` never is, and only measures the error."""
KINDS = ("city", "coast", "graticule")
"""What the point is on the sheet: a town's sign, a coast or river mouth, a crossing of meridian and parallel."""

SAME_PX = 1e-6
"""Points nearer than this on the scan are the same point [px]: formats keep six decimals."""
SAME_GROUND_M = 0.01
"""The same on the ground [m]."""
COLLINEAR = 0.01
"""Points whose spread across is below this share of the spread along lie on a line: a map is not two-dimensional."""


class ControlPointsInvalid(GisError, ValueError):
    """Control points cannot be used: repeated, on a line, too few, mirrored, outside the scan."""


class ControlPointsUnreadable(GisError, OSError):
    """A file of control points is missing, empty or of an unknown format."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlPoints:
    """Control points in the order of their file.

    Raises
    ------
    ControlPointsInvalid
        Columns of different lengths, a number that is not finite, an id or a used point twice, a latitude beyond 90,
        an unknown role or kind.
    CrsMissing, CrsInvalid
        ``crs`` is None, or PROJ does not know it.
    """

    ids: tuple[str, ...]
    """(n,) names that stay; each once."""
    px: Floats = field(repr=False)
    """(n,) column on the scan, from the outer left edge; the first column's centre is 0.5 [px]."""
    py: Floats = field(repr=False)
    """(n,) row on the scan, DOWN from the outer upper edge; the first row's centre is 0.5 [px]."""
    x: Floats = field(repr=False)
    """(n,) easting or longitude in ``crs``."""
    y: Floats = field(repr=False)
    """(n,) northing or latitude in ``crs``."""
    crs: CRS
    """The CRS of (x, y); east first whatever its definition says."""
    enabled: Bools = field(repr=False)
    """(n,) switched off: kept, written back, never used."""
    role: tuple[str, ...] = field(repr=False)
    """(n,) ``train`` or ``check``."""
    kind: tuple[str, ...] = field(repr=False)
    """(n,) ``city``, ``coast`` or ``graticule``; a graticule point's longitude is what the sheet prints."""
    sigma_px: Floats = field(repr=False)
    """(n,) how well the point can be placed on the scan, per axis [px]; NaN where nobody said."""
    note: tuple[str, ...] = field(repr=False)
    """(n,) what was doubtful."""
    source: str = ""
    """File they came from, for messages."""
    lon: Floats = field(init=False, repr=False)
    """(n,) longitude on WGS 84 [degree]."""
    lat: Floats = field(init=False, repr=False)
    """(n,) latitude on WGS 84 [degree]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "crs", crs_from(self.crs, where=self.source or None))
        for name in ARRAYS:
            kind = np.bool_ if name == "enabled" else np.float64
            object.__setattr__(self, name, _frozen(getattr(self, name), kind))
        for name in ("role", "kind", "note", "ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_columns()
        lon, lat = self._lonlat()
        object.__setattr__(self, "lon", _frozen(lon, np.float64))
        object.__setattr__(self, "lat", _frozen(lat, np.float64))
        self._check_repeated()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_used(self) -> Bools:
        """(n,) whether a point is fitted: enabled, and not set aside as a check."""
        return self.enabled & np.array([role == "train" for role in self.role], dtype=bool)

    @property
    def is_check(self) -> Bools:
        """(n,) whether a point is enabled and set aside as a check."""
        return self.enabled & np.array([role == "check" for role in self.role], dtype=bool)

    def take(self, index: ArrayLike) -> ControlPoints:
        """Make a smaller set by positions or by a (n,) mask."""
        keep = np.arange(len(self))[np.asarray(index)]
        parts: dict[str, Any] = {name: getattr(self, name)[keep] for name in ARRAYS}
        parts |= {name: tuple(getattr(self, name)[i] for i in keep) for name in ("ids", "role", "kind", "note")}
        return replace(self, **parts)

    def used(self) -> ControlPoints:
        """Make the set of the points that are fitted."""
        return self.take(self.is_used)

    def in_crs(self, crs: Any) -> ControlPoints:
        """Make the same points with (x, y) in another CRS; equal CRS: the same numbers, to the last bit."""
        target = crs_from(crs)
        if same_crs(self.crs, target):
            return self
        x, y = transformer(self.crs, target).transform(self.x, self.y)
        return replace(self, x=x, y=y, crs=target)

    def _check_columns(self) -> None:
        n = len(self.ids)
        for name in ("px", "py", "x", "y", "sigma_px", "enabled", "role", "kind", "note"):
            if len(getattr(self, name)) != n:
                raise self._invalid(f"{n} ids but {len(getattr(self, name))} values of {name}", "give one per point")
        for name in ("px", "py", "x", "y"):
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if bad.size:
                raise self._invalid(f"point {self.ids[bad[0]]} has no {name}", "fill it in, or delete the row")
        twice = _first_repeated(self.ids)
        if twice is not None:
            raise self._invalid(f"two points are called {twice}", "give every point a name of its own")
        for name, offered in (("role", ROLES), ("kind", KINDS)):
            for point, value in zip(self.ids, getattr(self, name), strict=True):
                if value not in offered:
                    raise self._invalid(f"point {point} has the {name} {value!r}", f"one of {', '.join(offered)}")

    def _lonlat(self) -> tuple[Floats, Floats]:
        if self.crs.is_geographic:
            beyond = np.flatnonzero(np.abs(self.y) > 90)
            if beyond.size:
                i = beyond[0]
                raise self._invalid(
                    f"point {self.ids[i]} has the latitude {self.y[i]:g} (longitude {self.x[i]:g})",
                    "longitude comes first: swap the two columns; coordinates in metres need their own CRS",
                )
        if same_crs(self.crs, WGS84):
            return self.x, self.y
        lon, lat = transformer(self.crs, crs_from(WGS84)).transform(self.x, self.y)
        bad = np.flatnonzero(~(np.isfinite(lon) & np.isfinite(lat)))
        if bad.size:
            i = bad[0]
            raise self._invalid(
                f"point {self.ids[i]} at ({self.x[i]:g}, {self.y[i]:g}) lies nowhere in {self.crs.name}",
                "check that the CRS is the one the coordinates are in, and that x comes first",
            )
        return lon, lat

    def _check_repeated(self) -> None:
        used = np.flatnonzero(self.is_used)
        degree = SAME_GROUND_M / 111_320.0
        for name, (a, b), grain in (
            ("place on the scan", (self.px, self.py), SAME_PX),
            ("place on the ground", (self.lon, self.lat), degree),
        ):
            pair = _first_pair(np.column_stack([a[used], b[used]]), grain)
            if pair is not None:
                first, second = (self.ids[used[i]] for i in pair)
                raise self._invalid(
                    f"points {first} and {second} are at the same {name}",
                    "disable one of the two: a point that counts twice looks like accuracy",
                )

    def _invalid(self, what: str, mend: str) -> ControlPointsInvalid:
        return ControlPointsInvalid(what, where=self.source or None, mend=mend)


def control_points(
    px: ArrayLike,
    py: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    crs: Any = WGS84,
    ids: Sequence[str] | None = None,
    enabled: ArrayLike | None = None,
    role: Sequence[str] | None = None,
    kind: Sequence[str] | None = None,
    sigma_px: ArrayLike | None = None,
    note: Sequence[str] | None = None,
    source: object = "",
) -> ControlPoints:
    """Make control points, with the usual values where a format says nothing: enabled, ``train``, ``city``.

    Parameters
    ----------
    px, py : (n,) column and row DOWN on the scan [px]
    x, y : (n,) on the ground in ``crs``, east first
    ids : (n,) text, default "1", "2", ...

    Raises
    ------
    ControlPointsInvalid, CrsMissing, CrsInvalid
        See `ControlPoints`.
    """
    n = np.asarray(px).size
    return ControlPoints(
        ids=tuple(str(i + 1) for i in range(n)) if ids is None else tuple(ids),
        px=np.asarray(px, np.float64),
        py=np.asarray(py, np.float64),
        x=np.asarray(x, np.float64),
        y=np.asarray(y, np.float64),
        crs=crs_from(crs, where=source or None),
        enabled=np.ones(n, bool) if enabled is None else np.asarray(enabled, bool),
        role=("train",) * n if role is None else tuple(role),
        kind=("city",) * n if kind is None else tuple(kind),
        sigma_px=np.full(n, np.nan) if sigma_px is None else np.asarray(sigma_px, np.float64),
        note=("",) * n if note is None else tuple(note),
        source=str(source),
    )


def refuse_few(points: ControlPoints, model: str, minimum: int, *, on_a_line: bool = False) -> None:
    """Refuse points a model cannot be fitted to: too few, or on a line unless ``on_a_line`` is good enough for it.

    Raises
    ------
    ControlPointsInvalid
        With the number that is missing, or the side on which the points lie on a line.
    """
    used = points.used()
    if len(used) < minimum:
        off = len(points) - len(used)
        beside = f" ({off} more are disabled or checks)" if off else ""
        raise ControlPointsInvalid(
            f"{model} needs {minimum} control points, {len(used)} are used{beside}",
            where=points.source or None,
            mend="digitise more points, or choose a model with fewer parameters: affine needs 3, similarity 2",
        )
    if on_a_line:
        return
    for side, a, b in (("on the scan", used.px, used.py), ("on the ground", *_plane(used.lon, used.lat))):
        spread = np.linalg.svd(np.column_stack([a - a.mean(), b - b.mean()]), compute_uv=False)
        if spread[1] < COLLINEAR * spread[0]:
            raise ControlPointsInvalid(
                f"the {len(used)} control points lie on a line {side}: {model} cannot be fitted",
                where=points.source or None,
                mend="add points away from that line; similarity is the only model a line determines",
            )


def refuse_outside(points: ControlPoints, size: tuple[int, int], *, slack_px: float = 1.0) -> None:
    """Refuse enabled points outside a scan of ``size`` = (height, width) [px]: it is another image, or turned.

    Raises
    ------
    ControlPointsInvalid
        Names the first such point, and the size or the turn that would explain it.
    """
    height, width = size

    def outside(h: float, w: float) -> Bools:
        far = (points.px < -slack_px) | (points.px > w + slack_px)
        return points.enabled & (far | (points.py < -slack_px) | (points.py > h + slack_px))

    out = np.flatnonzero(outside(height, width))
    if not out.size:
        return
    mend = "give the image the points were digitised on, in its full size"
    if not outside(width, height).any():
        mend = f"they fit an image of {height} x {width} px: give the scan as it was before it was turned by 90 degrees"
    i = out[0]
    raise ControlPointsInvalid(
        f"{out.size} of {int(points.enabled.sum())} control points lie outside the scan of {width} x {height} px, "
        f"first {points.ids[i]} at ({points.px[i]:g}, {points.py[i]:g})",
        where=points.source or None,
        mend=mend,
    )


def _plane(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Longitude and latitude as lengths that compare [degree of latitude]."""
    return lon * np.cos(np.radians(lat.mean())), lat


def _first_repeated(values: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _first_pair(xy: Floats, grain: float) -> tuple[int, int] | None:
    """Find the first two rows that agree to within ``grain`` in both columns."""
    order = np.lexsort(xy.T[::-1])
    # Sorted by the first column: only rows within one grain of each other there can agree.
    column = xy[order, 0]
    reach = np.searchsorted(column, column + grain, side="right")
    for i in range(len(order)):
        for j in range(i + 1, int(reach[i])):
            if abs(xy[order[i], 1] - xy[order[j], 1]) <= grain:
                first, second = sorted((int(order[i]), int(order[j])))
                return first, second
    return None


def _frozen(values: Any, kind: Any) -> Any:
    array = np.array(values, dtype=kind, copy=True).reshape(-1)
    array.setflags(write=False)
    return array
