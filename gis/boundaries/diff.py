"""Two vintages laid over each other: which unit became which, whose ground moved, and what is only drawn differently.

In: two layers of one level as ``Zones``, where there are any the districts beneath, and the table of changes. Out:
``VintageDiff``: one row per unit (``BOUNDARY_DIFF``), one row and polygon per piece of ground (``BOUNDARY_PIECE``).

Two drawings of one border differ by a strip that is long and thin; a county that changed hands is thick. So a piece of
ground counts as moved if what is left of it after a strip of `NOISE_KM` is taken off (a morphological opening) is at
least `MIN_SHARE` of one of the two units (docs/decisions/0057-real-change-is-thick.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.geometry import geodesic_area_km2, polygons_only
from gis.boundaries.lineage import events_between, identities, lineage_id, sentence, year_of_vintage
from gis.boundaries.reference import FIRST_YEAR, LAST_YEAR, Change, Level
from gis.crs import crs_from, transform_geometry
from gis.errors import OptionInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.grid import Zones

NOISE_KM = 2.0
"""Strips narrower than this are two drawings of one border [km]. Of 1,925 pieces between prefectures of two sources,
1,123 are somewhere wider than 1 km, 322 than 2 km; 48 of these keep `MIN_SHARE` [measured, docs/vintages.md]."""
MIN_SHARE = 0.01
"""Ground below this share of both units is not called a move; METHOD 9.4 takes 1 % as a change of area."""
MIN_PIECE_KM2 = 1e-6
"""Pieces below one square metre are rounding of coordinates [km2]."""
SAME_GROUND = 0.5
"""Two units are one if their common ground is more than this part of each, or, under one code, of the smaller."""

PLANE = "ESRI:102025"
"""Equal-area plane (Asia North Albers) in which widths are measured; its scale is off by at most 7 % over China."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Every piece of ground that an old and a new unit share."""

    old: Zones
    """The earlier layer, in the CRS of the later one."""
    new: Zones
    """The later layer."""
    old_idx: NDArray[np.intp] = field(repr=False)
    """(n_pieces,): old unit of each piece, rising."""
    new_idx: NDArray[np.intp] = field(repr=False)
    """(n_pieces,): new unit of each piece."""
    geometry: NDArray[Any] = field(repr=False)
    """(n_pieces,): the pieces, valid polygons or multipolygons."""
    area_km2: NDArray[np.float64] = field(repr=False)
    """(n_pieces,): area on the ellipsoid [km2]."""
    old_area_km2: NDArray[np.float64] = field(repr=False)
    """(n_old,): area of the old units [km2]."""
    new_area_km2: NDArray[np.float64] = field(repr=False)
    """(n_new,): area of the new units [km2]."""

    def __len__(self) -> int:
        return len(self.area_km2)


def overlay(old: Zones, new: Zones) -> Overlay:
    """Intersect two layers exactly.

    Parameters
    ----------
    old, new : valid polygons; ``old`` is carried into the CRS of ``new`` if that is another.

    Notes
    -----
    375 cities of 185,000 vertices over 361 of 84,000: 2,284 pieces in 1.7 s [measured].
    """
    import shapely

    from gis.grid import Zones

    moved = np.asarray(transform_geometry(old.geometry, old.crs, new.crs), dtype=object)
    here = Zones(old.codes, moved, new.crs, old.vintage, old.names, old.parents)
    tree = shapely.STRtree(new.geometry)
    i, j = tree.query(moved, predicate="intersects")
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    pieces = _polygonal(shapely.intersection(moved[i], new.geometry[j]))
    area = geodesic_area_km2(pieces, new.crs) if len(pieces) else np.zeros(0)
    keep = area >= MIN_PIECE_KM2
    return Overlay(
        here,
        new,
        i[keep],
        j[keep],
        pieces[keep],
        area[keep],
        geodesic_area_km2(moved, new.crs),
        geodesic_area_km2(new.geometry, new.crs),
    )


def _polygonal(geometry: NDArray[Any]) -> NDArray[Any]:
    """Polygons of intersections: shared border lines and points are left out."""
    import shapely

    out = np.array([*geometry, None], dtype=object)[:-1]
    kinds = shapely.get_type_id(out)
    out[~np.isin(kinds, (3, 6, 7))] = shapely.Polygon()
    for k in np.flatnonzero(kinds == 7):
        found = [p for p in shapely.get_parts(out[k]) if p.geom_type in ("Polygon", "MultiPolygon")]
        out[k] = shapely.union_all(found) if found else shapely.Polygon()
    return polygons_only(out, [""] * len(out))[0]


def core_km2(geometry: NDArray[Any], crs: Any, noise_km: float = NOISE_KM) -> NDArray[np.float64]:
    """Area of what is left of polygons after everything narrower than ``noise_km`` is taken off [km2]."""
    import shapely

    flat = transform_geometry(geometry, crs, crs_from(PLANE))
    radius = noise_km * 500.0
    if radius == 0:
        return np.asarray(shapely.area(flat) / 1e6)
    return np.asarray(shapely.area(shapely.buffer(shapely.buffer(flat, -radius), radius)) / 1e6)


def mean_width_km(geometry: NDArray[Any], crs: Any) -> NDArray[np.float64]:
    """Twice the area over the perimeter: the width of a strip, half the side of a square [km]."""
    import shapely

    flat = transform_geometry(geometry, crs, crs_from(PLANE))
    return np.asarray(2 * shapely.area(flat) / np.maximum(shapely.length(flat), 1e-9) / 1e3)


# --- who is who ------------------------------------------------------------------------------------------------------


def match_units(found: Overlay, level: Level = "city") -> dict[str, str]:
    """New code of every old unit that goes on.

    The table of changes is believed where it knows a unit under its code and name. Else a code in both layers is one
    unit if it stands on the same ground, and what remains is matched by ground alone (`SAME_GROUND` of both), largest
    common ground first. One to one.
    """
    old, new = found.old, found.new
    common = {
        (old.codes[i], new.codes[j]): float(a)
        for i, j, a in zip(found.old_idx, found.new_idx, found.area_km2, strict=True)
    }
    size_old = dict(zip(old.codes, found.old_area_km2, strict=True))
    size_new = dict(zip(new.codes, found.new_area_km2, strict=True))
    out: dict[str, str] = {}
    taken: set[str] = set()

    def take(a: str, b: str) -> None:
        if a not in out and b not in taken:
            out[a] = b
            taken.add(b)

    for a, b in _listed(old, new, level).items():
        if b in size_new:
            take(a, b)
    for a in old.codes:
        smaller = min(size_old[a], size_new.get(a, 0.0))
        if a in size_new and common.get((a, a), 0.0) > SAME_GROUND * smaller > 0:
            take(a, a)
    for (a, b), area in sorted(common.items(), key=lambda item: (-item[1], item[0])):
        if area > SAME_GROUND * max(size_old[a], size_new[b]):
            take(a, b)
    return out


def _listed(old: Zones, new: Zones, level: Level) -> dict[str, str]:
    years = _years(old, new)
    return identities(old.codes, old.names, *years, level) if years else {}


def _years(old: Zones, new: Zones) -> tuple[int, int] | None:
    """Year-ends of two layers, where both are known and covered by the table of changes."""
    if not old.vintage or not new.vintage:
        return None
    a, b = year_of_vintage(old.vintage), year_of_vintage(new.vintage)
    return (a, b) if min(a, b) >= FIRST_YEAR and max(a, b) <= LAST_YEAR else None


# --- the difference --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VintageDiff:
    """What lies between two vintages."""

    overlay: Overlay
    """The pieces of common ground."""
    same: dict[str, str]
    """Old code -> new code of the units that go on."""
    units: pd.DataFrame
    """Rows of ``BOUNDARY_DIFF``: every unit of either layer once."""
    pieces: pd.DataFrame
    """Rows of ``BOUNDARY_PIECE``, in the order of the overlay: what each piece of ground did."""

    def changed(self) -> pd.DataFrame:
        """Units that are not the same in everything but the drawing."""
        return self.units[~self.units["changes"].isin(["", "redrawn"])]


def compare_vintages(
    old: Zones,
    new: Zones,
    *,
    districts: tuple[Zones, Zones] | None = None,
    level: Level = "city",
    noise_km: float = NOISE_KM,
    min_share: float = MIN_SHARE,
) -> VintageDiff:
    """Say what became of every unit between two layers of one level.

    Parameters
    ----------
    old, new : the layers; their vintages tell which official changes lie between them, where they have any.
    districts : the districts of both vintages, to name the counties that moved.
    noise_km : width below which a difference is two drawings of one border [km].
    min_share : share of a unit from which ground that moved, or a change of area, counts.

    Raises
    ------
    OptionInvalid
        ``noise_km`` below 0, ``min_share`` outside (0, 1), or a vintage that is no date.
    """
    if noise_km < 0 or not 0 < min_share < 1:
        raise OptionInvalid(
            f"noise_km = {noise_km} and min_share = {min_share} tell nothing apart",
            mend=f"a width in km and a share between 0 and 1, such as {NOISE_KM} and {MIN_SHARE}",
        )
    found = overlay(old, new)
    same = match_units(found, level)
    years = _years(old, new)
    events = events_between(*years) if years and years[0] <= years[1] and level == "city" else ()
    pieces = _pieces(found, same, events, years, noise_km, min_share)
    if districts is not None:
        pieces["counties"] = _counties(found, pieces, *districts)
    units = _units(found, same, pieces, _own_events(found, events, years), min_share)
    return VintageDiff(found, same, units, pieces)


def _pieces(
    found: Overlay,
    same: dict[str, str],
    events: tuple[Change, ...],
    years: tuple[int, int] | None,
    noise_km: float,
    min_share: float,
) -> pd.DataFrame:
    import pandas as pd

    i, j = found.old_idx, found.new_idx
    frame = pd.DataFrame(
        {
            "old_code": _take(found.old.codes, i),
            "new_code": _take(found.new.codes, j),
            "old_name": _take(found.old.names or found.old.codes, i),
            "new_name": _take(found.new.names or found.new.codes, j),
            "overlap_km2": found.area_km2,
            "old_share": found.area_km2 / found.old_area_km2[i],
            "new_share": found.area_km2 / found.new_area_km2[j],
            "width_km": mean_width_km(found.geometry, found.new.crs) if len(found) else np.zeros(0),
        }
    )
    keeps = np.array([same.get(a) == b for a, b in zip(frame["old_code"], frame["new_code"], strict=True)], bool)
    smaller = np.minimum(found.old_area_km2[i], found.new_area_km2[j])
    core = np.where(keeps, found.area_km2, 0.0)
    thick = ~keeps & (found.area_km2 >= min_share * smaller)  # the opening only takes away: the rest need not be asked
    core[thick] = core_km2(found.geometry[thick], found.new.crs, noise_km)
    texts = np.array([*_events_by_pair(found, frame, events, years), None], dtype=object)[:-1]
    # A township that moved is small, but where the lists name the move it is one.
    named = ~keeps & ~thick & (texts != "")
    core[named] = core_km2(found.geometry[named], found.new.crs, noise_km)
    moved = ~keeps & ((core >= min_share * smaller) | ((texts != "") & (core > 0)))
    frame["core_km2"] = core
    frame["verdict"] = np.where(keeps, "stays", np.where(moved, "moves", "noise"))
    frame["counties"] = ""
    frame["event"] = np.where(moved, texts, "")
    return frame


def _take(labels: tuple[str, ...], at: NDArray[np.intp]) -> NDArray[Any]:
    return np.array([*labels, None], dtype=object)[:-1][at]


def _events_by_pair(
    found: Overlay, pieces: pd.DataFrame, events: tuple[Change, ...], years: tuple[int, int] | None
) -> list[str]:
    """The official changes behind each piece, found by lineage ids: codes may have changed in between."""
    if not events or years is None:
        return [""] * len(pieces)
    told: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.old_code and event.kind not in ("rename", "recode"):
            key = lineage_id(event.old_code, event.year - 1), lineage_id(event.new_code, event.year)
            told.setdefault(key, []).append(sentence(event))
    giver = {code: lineage_id(code, years[0]) for code in found.old.codes}
    taker = {code: lineage_id(code, years[1]) for code in found.new.codes}
    keys = [(giver[a], taker[b]) for a, b in zip(pieces["old_code"], pieces["new_code"], strict=True)]
    return ["; ".join(told.get(key, ())) for key in keys]


def _counties(found: Overlay, pieces: pd.DataFrame, old: Zones, new: Zones) -> list[str]:
    """For every piece that moves, the old districts whose ground it is made of, partly or whole."""
    import shapely

    ground = np.asarray(transform_geometry(old.geometry, old.crs, found.new.crs), dtype=object)
    tree, size = shapely.STRtree(ground), geodesic_area_km2(ground, found.new.crs)
    names = old.names or old.codes
    out = []
    for k, verdict in enumerate(pieces["verdict"]):
        listed: list[str] = []
        near = tree.query(found.geometry[k], predicate="intersects") if verdict == "moves" else ()
        for d in sorted(int(n) for n in near):
            shared = _polygonal(np.array([shapely.intersection(ground[d], found.geometry[k])], dtype=object))
            share = float(geodesic_area_km2(shared, found.new.crs)[0]) / size[d] if size[d] else 0.0
            if share > 1 - 5 * MIN_SHARE:
                listed.append(f"{old.codes[d]} {names[d]}")
            elif share > 5 * MIN_SHARE:
                listed.append(f"{old.codes[d]} {names[d]} (part, {share:.0%})")
        out.append("; ".join(listed))
    return out


def _own_events(
    found: Overlay, events: tuple[Change, ...], years: tuple[int, int] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Official changes of each old and of each new unit, as text by code of its layer."""
    if not events or years is None:
        return {}, {}
    gave: dict[str, list[str]] = {}
    took: dict[str, list[str]] = {}
    for event in events:
        if event.old_code:
            gave.setdefault(lineage_id(event.old_code, event.year - 1), []).append(sentence(event))
        took.setdefault(lineage_id(event.new_code, event.year), []).append(sentence(event))

    def texts(codes: tuple[str, ...], year: int) -> dict[str, str]:
        out = {}
        for code in codes:
            unit = lineage_id(code, year)
            out[code] = "; ".join(dict.fromkeys([*gave.get(unit, ()), *took.get(unit, ())]))
        return out

    return texts(found.old.codes, years[0]), texts(found.new.codes, years[1])


def _units(
    found: Overlay,
    same: dict[str, str],
    pieces: pd.DataFrame,
    told: tuple[dict[str, str], dict[str, str]],
    min_share: float,
) -> pd.DataFrame:
    import pandas as pd

    moves = pieces[pieces["verdict"] == "moves"]
    given, taken = dict(list(moves.groupby("old_code"))), dict(list(moves.groupby("new_code")))
    noise = pieces[pieces["verdict"] == "noise"]
    strips = [noise.groupby(side)["overlap_km2"].sum().to_dict() for side in ("old_code", "new_code")]
    old_name = dict(zip(found.old.codes, found.old.names or found.old.codes, strict=True))
    new_name = dict(zip(found.new.codes, found.new.names or found.new.codes, strict=True))
    old_area = dict(zip(found.old.codes, found.old_area_km2, strict=True))
    new_area = dict(zip(found.new.codes, found.new_area_km2, strict=True))
    came = set(same.values())
    couples = [(a, same.get(a, "")) for a in found.old.codes] + [("", b) for b in found.new.codes if b not in came]
    rows = []
    for a, b in couples:
        gives, takes = given.get(a), taken.get(b)
        before, after = old_area.get(a, np.nan), new_area.get(b, np.nan)
        change = after / before - 1 if before else np.nan
        kinds = _kinds(a, b, old_name.get(a, ""), new_name.get(b, ""), gives, takes)
        if a and b and gives is None and takes is None and abs(change) >= min_share:
            kinds.append("redrawn")
        rows.append(
            {
                "old_code": a,
                "new_code": b,
                "old_name": old_name.get(a, ""),
                "new_name": new_name.get(b, ""),
                "changes": ";".join(kinds),
                "old_area_km2": before,
                "new_area_km2": after,
                "area_change": change,
                "lost_km2": 0.0 if gives is None else float(gives["overlap_km2"].sum()),
                "gained_km2": 0.0 if takes is None else float(takes["overlap_km2"].sum()),
                "noise_km2": strips[0].get(a, 0.0) + strips[1].get(b, 0.0),
                "ground": _ground(a, b, kinds, old_name.get(a, ""), new_name.get(b, ""), change, gives, takes),
                "event": told[1].get(b, "") if b else told[0].get(a, ""),
            }
        )
    return pd.DataFrame(rows)


def _kinds(
    a: str, b: str, old_name: str, new_name: str, gives: pd.DataFrame | None, takes: pd.DataFrame | None
) -> list[str]:
    if not b:
        return ["gone" if gives is None else "merged" if len(gives) == 1 else "split"]
    if not a:
        return ["new"]
    named = old_name != a and new_name != b  # a layer without names calls its units by their codes
    checks = {
        "recoded": a != b,
        "renamed": named and old_name != new_name,
        "lost": gives is not None,
        "gained": takes is not None,
    }
    return [kind for kind, holds in checks.items() if holds]


def _ground(
    a: str,
    b: str,
    kinds: list[str],
    old_name: str,
    new_name: str,
    change: float,
    gives: pd.DataFrame | None,
    takes: pd.DataFrame | None,
) -> str:
    """What happened to a unit, as its polygons tell it."""
    parts = []
    if "recoded" in kinds:
        parts.append(f"{a} {old_name} is now {b} {new_name}")
    elif "renamed" in kinds:
        parts.append(f"{b} {old_name} is now called {new_name}")
    elif not b:
        parts.append(f"{a} {old_name} is gone")
    elif not a:
        parts.append(f"{b} {new_name} is new")
    if gives is not None:
        given = ", ".join(_moved(gives, "old_share", "to", "new"))
        parts.append(f"{given}" if not b else f"gave {given}")
    if takes is not None:
        parts.append("of its ground " + ", ".join(_moved(takes, "new_share", "from", "old")))
    if "redrawn" in kinds:
        parts.append(f"drawn {abs(change):.1%} {'larger' if change > 0 else 'smaller'}, no other unit's ground")
    return "; ".join(parts)


def _moved(pieces: pd.DataFrame, share: str, verb: str, side: str) -> list[str]:
    largest = pieces.sort_values("overlap_km2", ascending=False, kind="stable").to_dict("records")
    return [
        f"{row[share]:.1%} {verb} {row[f'{side}_code']} {row[f'{side}_name']}"
        + (f" ({row['counties']})" if row["counties"] else "")
        for row in largest
    ]
