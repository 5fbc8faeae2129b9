"""Gazetteers: names of places with coordinates, and the match of offices to them by name.

In: a CSV or a Turtle file (plain or zipped) of the Pelagios gazetteer format; offices on the ground. Out:
``Gazetteer``, and the same offices with the gazetteer's position where the name and the place agree (METHOD 8.5).
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.historical.offices import TABLE_SUFFIXES, Offices, read_text_table, some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MATCHED_SIGMA_KM = 1.0
"""Standard deviation per axis of a gazetteer's position. Source: METHOD 8.5."""
REACH_SIGMAS = 3.0
"""A place of that name farther than so many sigma from the map's point is another place of that name."""
ONE_PLACE_KM = 2 * MATCHED_SIGMA_KM
"""Entries of one name closer together than this are one place in different years."""

_OFFICE_WORDS = re.compile("(電報分局|电报分局|電報局|电报局|分局|報局|报局|局)$")
"""What a sheet writes after the place's name."""


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Places with all their names; one entry may have several."""

    ids: tuple[str, ...] = field(repr=False)
    """(n,) as the source calls them."""
    names: tuple[tuple[str, ...], ...] = field(repr=False)
    """(n,) all forms of a place's name."""
    lonlat: Floats = field(repr=False)
    """(n, 2) [degree, WGS 84]."""
    years: Floats = field(repr=False)
    """(n, 2) first and last year; NaN where the source gives none."""
    source: str = ""
    """File name."""

    def __len__(self) -> int:
        return len(self.ids)

    def of_year(self, year: int) -> Gazetteer:
        """The entries that stood in a year; entries without years count as standing."""
        first, last = self.years.T
        keep = np.flatnonzero(~(first > year) & ~(last < year))
        return Gazetteer(
            tuple(self.ids[k] for k in keep), tuple(self.names[k] for k in keep), self.lonlat[keep], self.years[keep],
            self.source,
        )  # fmt: skip


def read_gazetteer(path: str | Path) -> Gazetteer:
    """Read a gazetteer: ``.csv`` (``name, lon, lat`` and, if there, ``id, start, end``), ``.ttl``, or a zip of one.

    Several names of one place stand in one cell, separated by ``|``.

    Raises
    ------
    TableInvalid
        The file is missing, of another kind, misses a column, or has no place with coordinates.
    """
    path = Path(path)
    if not path.is_file():
        raise TableInvalid("there is no such gazetteer", where=path, mend="check the path")
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        found = _from_table(path)
    elif suffix in (".ttl", ".zip"):
        with _turtle_text(path) as stream:
            found = _from_turtle(stream, path)
    else:
        raise TableInvalid(f"no gazetteer format {suffix!r}", where=path, mend="give .csv, .ttl, or a .zip of a .ttl")
    if not len(found):
        raise TableInvalid(
            "no place with a name and coordinates was found", where=path, mend="check the format: name, lon, lat"
        )
    return found


def normalised_name(name: str) -> str:
    """Name of a place as it is compared: NFKC, no spaces or punctuation, small letters.

    Traditional and simplified characters stay different: a gazetteer lists both forms of a name.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] in "LNM")


def office_place_name(name: str) -> str:
    """Name of the place of an office: the normalised name without the word for a telegraph office at its end."""
    text = normalised_name(name)
    return _OFFICE_WORDS.sub("", text) or text


def match_offices(offices: Offices, gazetteer: Gazetteer, *, reach_sigmas: float = REACH_SIGMAS) -> Offices:
    """Give offices the gazetteer's position where exactly one place of their name lies within reach.

    Parameters
    ----------
    reach_sigmas : how far, in standard deviations of the map's point, a place of that name may lie.

    Returns
    -------
    Offices
        ``match`` says what happened: MATCHED (position of the gazetteer, sigma 1 km), AMBIGUOUS (several places of
        that name within reach: the map's position stays), FAR (none within reach: stays), UNKNOWN (no such name:
        stays). ``match_km`` is the distance to the nearest place of that name, ``map_lonlat`` the map's own position.
    """
    from pyproj import Geod

    if not reach_sigmas > 0:
        raise OptionInvalid(f"reach_sigmas = {reach_sigmas}", where="reach_sigmas", mend="give a number above 0")
    geod = Geod(ellps="WGS84")
    wanted = {office_place_name(name) for name in offices.names} - {""}
    index: dict[str, list[int]] = {}
    for k, names in enumerate(gazetteer.names):
        for name in {normalised_name(n) for n in names} & wanted:
            index.setdefault(name, []).append(k)
    n = len(offices)
    state, entry, distance = ["UNKNOWN"] * n, [""] * n, np.full(n, np.nan)
    lonlat, sigma, position = offices.map_lonlat.copy(), offices.map_sigma_km.copy(), list(offices.position)
    for office, name in enumerate(offices.names):
        at = np.array(index.get(office_place_name(name), []), np.int64)
        if not at.size:
            continue
        km = _km_from(geod, offices.map_lonlat[office], gazetteer.lonlat[at])
        nearest = at[int(np.argmin(km))]
        distance[office], entry[office] = km.min(), gazetteer.ids[nearest]
        near = at[km <= reach_sigmas * offices.map_sigma_km[office]]
        if not near.size:
            state[office] = "FAR"
        elif (_km_from(geod, gazetteer.lonlat[nearest], gazetteer.lonlat[near]) > ONE_PLACE_KM).any():
            state[office] = "AMBIGUOUS"
        else:
            state[office], position[office] = "MATCHED", "gazetteer"
            lonlat[office], sigma[office] = gazetteer.lonlat[nearest], MATCHED_SIGMA_KM
    return replace(
        offices, lonlat=lonlat, sigma_km=sigma, position=tuple(position), match=tuple(state), match_id=tuple(entry),
        match_km=distance, notes=(*offices.notes, *_match_notes(offices.ids, state, distance, gazetteer.source)),
    )  # fmt: skip


def _match_notes(ids: tuple[str, ...], state: list[str], km: Floats, source: str) -> list[str]:
    counts = {word: state.count(word) for word in ("MATCHED", "AMBIGUOUS", "FAR", "UNKNOWN")}
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    notes = [f"gazetteer {source}: {said}"]
    far = [f"{i} ({k:.0f} km)" for i, s, k in zip(ids, state, km, strict=True) if s == "FAR"]
    if far:
        notes.append(f"{len(far)} offices lie far from any place of their name, a slip or a namesake: {some(far)}")
    return notes


def _km_from(geod: object, origin: Floats, lonlat: Floats) -> Floats:
    ones = np.ones(len(lonlat))
    metres = geod.inv(ones * origin[0], ones * origin[1], lonlat[:, 0].copy(), lonlat[:, 1].copy())[2]  # type: ignore[attr-defined]
    return np.asarray(metres) / 1000


# --- formats -------------------------------------------------------------------------------------------------------


def _from_table(path: Path) -> Gazetteer:
    table = read_text_table(path)
    absent = [name for name in ("name", "lon", "lat") if name not in table]
    if absent:
        raise TableInvalid(
            f"the gazetteer has no column {', '.join(absent)}; columns: {', '.join(table.columns)}",
            where=path,
            mend="name the columns name, lon, lat (and id, start, end)",
        )
    lonlat = np.array([[_number(v) for v in table[name]] for name in ("lon", "lat")]).T.reshape(-1, 2)
    names = [tuple(part.strip() for part in cell.split("|") if part.strip()) for cell in table["name"]]
    ids = list(table["id"]) if "id" in table else [str(row + 2) for row in range(len(table))]
    years = [[_number(v) for v in table[name]] if name in table else [math.nan] * len(ids) for name in ("start", "end")]
    keep = [k for k in range(len(ids)) if names[k] and np.isfinite(lonlat[k]).all()]
    return Gazetteer(
        tuple(ids[k] for k in keep), tuple(names[k] for k in keep), lonlat[keep],
        np.array(years).T.reshape(-1, 2)[keep], path.name,
    )  # fmt: skip


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


_SUBJECT = re.compile(r"<([^<>]+)>\s+a\s+lawd:Place")
_NAME = re.compile(r'(?:rdfs:label|lawd:primaryForm)\s+"((?:[^"\\]|\\.)*)"')
_POINT = re.compile(r"geo:lat\s+(-?[\d.]+)\s*;\s*geo:long\s+(-?[\d.]+)")
_SPAN = re.compile(r"start=(-?\d+); end=(-?\d+)")


def _from_turtle(stream: TextIO, path: Path) -> Gazetteer:
    """Places of a Pelagios gazetteer, one block at a time; predicates may stand in any order, blocks end with ``.``."""
    ids: list[str] = []
    names: list[tuple[str, ...]] = []
    lonlat: list[tuple[float, float]] = []
    years: list[tuple[float, float]] = []
    for block in _blocks(stream):
        subject, point = _SUBJECT.search(block), _POINT.search(block)
        forms = tuple(dict.fromkeys(_NAME.findall(block)))
        if subject is None or point is None or not forms:
            continue
        span = _SPAN.search(block)
        ids.append(subject[1].rsplit("/", 1)[-1])
        names.append(forms)
        lonlat.append((float(point[2]), float(point[1])))
        years.append((float(span[1]), float(span[2])) if span else (math.nan, math.nan))
    return Gazetteer(
        tuple(ids), tuple(names), np.array(lonlat).reshape(-1, 2), np.array(years).reshape(-1, 2), path.name
    )


def _blocks(stream: TextIO) -> Iterator[str]:
    block: list[str] = []
    for line in stream:
        block.append(line)
        if line.strip().endswith("."):
            yield "".join(block)
            block = []
    if block:
        yield "".join(block)


@contextmanager
def _turtle_text(path: Path) -> Iterator[TextIO]:
    if path.suffix.lower() == ".ttl":
        with path.open(encoding="utf-8") as stream:
            yield stream
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise TableInvalid(f"the archive cannot be opened: {error}", where=path, mend="fetch it again") from error
    with archive:
        inside = [name for name in archive.namelist() if name.lower().endswith(".ttl") and "__MACOSX" not in name]
        if len(inside) != 1:
            raise TableInvalid(
                f"the archive holds {len(inside)} Turtle files", where=path, mend="give a zip with one .ttl inside"
            )
        with archive.open(inside[0]) as raw, io.TextIOWrapper(raw, encoding="utf-8") as stream:
            yield stream
