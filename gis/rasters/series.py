"""Which file is which year: the annual series of one product, and which years a year of the panel draws on.

In: a raster section of ``workspace.toml`` and the files it points to, plain, packed or behind an address. Out:
``Series``, one checked ``RasterInfo`` and content hash per year; year plans ``{year: ((raster year, weight), ...)}``.
"""

from __future__ import annotations

import bisect
import difflib
import glob
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gis.crs import crs_name, same_crs
from gis.errors import (
    ConfigInvalid,
    CrsMismatch,
    OptionInvalid,
    RasterUnreadable,
    SeriesInvalid,
    YearMissing,
)
from gis.raster_io import RemoteFile, is_address, read_info, remote_file
from gis.rasters.archive import file_sha256, is_archive, unpack

if TYPE_CHECKING:
    from gis.raster_io import RasterInfo, RasterPath
    from gis.rasters.catalogue import Product
    from gis.workspace import RasterSource, Workspace

YearPlan = dict[int, tuple[tuple[int, float], ...]]
"""Year of the panel -> (year of the raster, weight) pairs; weights sum to 1; empty where the year stays NaN."""

_RASTERS = (".tif", ".tiff", ".img", ".asc", ".flt", ".bil")


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """The raster of one year."""

    year: int
    """Calendar year, from the file name."""
    info: RasterInfo
    """What `read_info` says of the file that is read."""
    source: RasterPath
    """The file as it lies in the workspace: may be an archive or an ESRI GRID folder."""
    path: RasterPath
    """The file that is read: ``source`` itself, or what was unpacked from it."""
    sha256: str
    """SHA-256 of ``path``: the same for a file and for an archive that holds it. Of a raster with files beside it that
    GDAL reads as parts of it (a mask, a scale, a world file), of all of them."""


@dataclass(frozen=True, slots=True)
class Series:
    """The annual rasters of one product, in order of years."""

    product: Product
    """Profile, overrides of the config applied."""
    files: tuple[SeriesFile, ...]
    """One per year, ascending; at least one."""
    missing_years: tuple[int, ...] = ()
    """Years without a raster between the first and last year (of the config's ``years`` where given)."""
    notes: tuple[str, ...] = ()
    """What a reader should know though the numbers stand."""

    @property
    def years(self) -> tuple[int, ...]:
        """Years that have a raster, ascending."""
        return tuple(f.year for f in self.files)

    def of(self, year: int) -> SeriesFile:
        """Return the raster of a year.

        Raises
        ------
        YearMissing
            There is none.
        """
        for file in self.files:
            if file.year == year:
                return file
        raise YearMissing(
            f"{self.product.name} has no raster of {year}", mend=f"years there are: {year_ranges(self.years)}"
        )


def read_series(source: RasterSource, product: Product, workspace: Workspace, *, key: str = "lights") -> Series:
    """Find, unpack, check and hash the files of a product, one per year.

    Parameters
    ----------
    key : str
        Section of ``workspace.toml`` for messages: ``lights`` or ``population``.

    Raises
    ------
    YearMissing
        No file matches, or none within ``years``; near-miss names are listed.
    OptionInvalid, ConfigInvalid
        An address where ``compute.remote`` is off; or one without ``years``, as an address cannot be searched.
    SeriesInvalid
        Two different files for one year; an archive that leaves open which member is meant.
    CrsMismatch
        Files of two CRS in one series.
    RasterUnreadable, RasterInvalid, GridInvalid, CrsMissing
        As `gis.raster_io.read_info`.
    """
    found = _find(source, product, workspace, key)
    files, notes = [], []
    for year in sorted(found):
        candidates = [_resolve(path, year, workspace.cache) for path in found[year]]
        hashes = [file_sha256(path, workspace.cache) for path in candidates]
        if len(set(hashes)) > 1:
            names = " and ".join(_shown(path, workspace) for path in found[year])
            raise SeriesInvalid(
                f"{year} has {len(candidates)} different files: {names}",
                where=f"{key}.files",
                mend=f'keep one of them, or say which: files = "{_shown(found[year][0], workspace, year)}"',
            )
        if len(candidates) > 1:
            notes.append(f"{year}: {len(candidates)} files with the same content; the first was taken")
        info = read_info(candidates[0], band=source.band, crs=source.crs, config_key=f"{key}.crs")
        sha256 = _with_sidecars(hashes[0], info.sidecars, workspace.cache)
        files.append(SeriesFile(year, info, found[year][0], candidates[0], sha256))
    first, last = source.years or (files[0].year, files[-1].year)
    missing = tuple(sorted(set(range(first, last + 1)) - set(found)))
    if missing:
        notes.append(f"no raster of {year_ranges(missing)}")
    return Series(product, tuple(files), missing, (*notes, *_compare(files)))


def _with_sidecars(sha256: str, sidecars: Sequence[Path], cache: Path) -> str:
    """Hash of a raster's content: of the file alone, unless others beside it decide its numbers too."""
    if not sidecars:
        return sha256
    parts = [sha256, *(f"{p.name} {file_sha256(p, cache)}" for p in sidecars)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# --- finding ----------------------------------------------------------------------------------------------------------


def _find(source: RasterSource, product: Product, workspace: Workspace, key: str) -> dict[int, list[RasterPath]]:
    if source.files is not None and is_address(source.files):
        return _find_remote(source.files, source.years, workspace.config.compute.remote, key)
    root = workspace.root if source.files is not None else workspace.rasters
    patterns = (source.files,) if source.files is not None else product.files
    found: dict[int, list[RasterPath]] = {}
    for pattern in patterns:
        for year, path in _matches(pattern, root, source, key):
            paths = found.setdefault(year, [])
            if path not in paths:
                paths.append(path)
    if not found:
        raise YearMissing(
            f"no file of {product.name} is there: looked for {' or '.join(patterns)}",
            where=root,
            mend=_near_misses(root, patterns, key),
        )
    wanted = {y: p for y, p in found.items() if source.years is None or source.years[0] <= y <= source.years[1]}
    if not wanted:
        raise YearMissing(
            f"{product.name} has {year_ranges(found)}, none within {source.years}",
            where=root,
            mend=f"correct {key}.years",
        )
    return wanted


def _find_remote(pattern: str, years: tuple[int, int] | None, allowed: bool, key: str) -> dict[int, list[RasterPath]]:
    """One object a year; all are looked at before the first is read."""
    if years is None or "*" in pattern:
        raise ConfigInvalid(
            "what lies behind an address cannot be searched",
            where=f"{key}.files = {pattern.partition('?')[0]!r}",
            mend="write the name out with {year} in it, and set years = [2000, 2020] beside it",
        )
    if "{year}" not in pattern and years[0] != years[1]:
        raise _no_place_for_the_year(pattern.partition("?")[0], key)
    numbers = range(years[0], years[1] + 1)
    return {year: [remote_file(pattern.replace("{year}", str(year)), allowed=allowed)] for year in numbers}


def _no_place_for_the_year(pattern: str, key: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"files = {pattern!r} does not say where the year stands",
        where=f"{key}.files",
        mend="write {year} in its place; for a file of one year set years = [2008, 2008]",
    )


def _matches(pattern: str, root: Path, source: RasterSource, key: str) -> Iterable[tuple[int, Path]]:
    pattern = pattern.replace("\\", "/")
    if "{year}" not in pattern:
        if source.years is None or source.years[0] != source.years[1]:
            raise _no_place_for_the_year(pattern, key)
        return [(source.years[0], root / name) for name in glob.glob(pattern, root_dir=root)]
    names = glob.glob(pattern.replace("{year}", "[12][0-9][0-9][0-9]"), root_dir=root, recursive=True)
    shape = _regex(pattern)
    return [(int(m["year"]), root / name) for name in sorted(names) if (m := shape.fullmatch(Path(name).as_posix()))]


def _regex(pattern: str) -> re.Pattern[str]:
    """Translate a glob pattern with ``{year}`` so that the year, wherever it stands, is the same one."""
    parts, seen = [], False
    for token in re.split(r"(\{year\}|\*\*/|\*|\?|\[[^]]*\])", pattern):
        if token == "{year}":
            parts.append("(?P=year)" if seen else r"(?P<year>[12]\d{3})")
            seen = True
        elif token in ("*", "?", "**/"):
            parts.append({"*": "[^/]*", "?": "[^/]", "**/": "(?:.*/)?"}[token])
        else:
            parts.append(token.replace("[!", "[^") if token.startswith("[") else re.escape(token))
    return re.compile("".join(parts))


def _near_misses(root: Path, patterns: Sequence[str], key: str) -> str:
    folders = [root / re.split(r"[*?{\[]", p)[0].rpartition("/")[0] for p in patterns]
    there = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    if not there:
        return f"make the folder {folders[0]} and put the files there, or set files in [{key}]"
    names = sorted(p.name for folder in there for p in folder.iterdir() if not p.name.startswith("."))
    wanted = [p.rpartition("/")[2].replace("{year}", "2000") for p in patterns]
    near = list(dict.fromkeys(n for w in wanted for n in difflib.get_close_matches(w, names, n=5, cutoff=0.3)))
    shown = (near or names)[:5]
    if not shown:
        return f"the folder {there[0]} is empty: put the files there, or set files in [{key}]"
    return f"set files in [{key}]; files there: {', '.join(shown)}"


# --- resolving --------------------------------------------------------------------------------------------------------


def _resolve(path: RasterPath, year: int, cache: Path) -> RasterPath:
    """Turn what a pattern found (file, archive, folder, object) into the one raster to read."""
    if isinstance(path, RemoteFile):
        return path
    if path.is_dir():
        return _one([h.parent for h in sorted(path.rglob("hdr.adf"))], path)
    if path.suffix.lower() == ".adf":
        return path.parent
    if not is_archive(path):
        return path
    if path.stat().st_size == 0:
        raise RasterUnreadable("the archive is empty (0 bytes)", where=path, mend="download it again")
    members = unpack(path, cache)
    rasters = [m for m in members if m.suffix.lower() in _RASTERS and "colorized" not in m.name.lower()]
    rasters += [m.parent for m in members if m.name.lower() == "hdr.adf"]
    ours = [r for r in rasters if str(year) in r.name]
    return _one(ours or rasters, path)


def _one(rasters: list[Path], where: Path) -> Path:
    if len(rasters) == 1:
        return rasters[0]
    if not rasters:
        raise RasterUnreadable(
            "there is no raster inside", where=where, mend="expected a GeoTIFF or an ESRI GRID folder (hdr.adf)"
        )
    raise SeriesInvalid(
        f"it holds {len(rasters)} rasters: {', '.join(r.name for r in rasters[:4])}",
        where=where,
        mend="unpack it below rasters/ and name the one you mean: files = ...",
    )


def _shown(path: RasterPath, workspace: Workspace, year: int | None = None) -> str:
    """A path as the config would write it; with a year, the pattern it is one of."""
    inside = isinstance(path, Path) and path.is_relative_to(workspace.root)
    shown = path.relative_to(workspace.root).as_posix() if isinstance(path, Path) and inside else str(path)
    return shown if year is None else shown.replace(str(year), "{year}")


def _compare(files: Sequence[SeriesFile]) -> list[str]:
    """Refuse a change of CRS between years; note changes of grid, dtype and nodata."""
    notes = [f"{f.year}: {note}" for f in files for note in f.info.notes]
    for before, after in itertools.pairwise(files):
        a, b = before.info, after.info
        if not same_crs(a.grid.crs, b.grid.crs):
            raise CrsMismatch(
                f"{before.year} is in {crs_name(a.grid.crs)}, {after.year} in {crs_name(b.grid.crs)}",
                where=f"{before.source} and {after.source}",
                mend="bring one of them into the other's CRS (lightpanel reproject), or limit years",
            )
        if not a.grid.same_place(b.grid):
            notes.append(
                f"{after.year}: the grid changes from {a.grid.shape} to {b.grid.shape} rows and columns, "
                f"upper left corner ({b.grid.transform.c:g}, {b.grid.transform.f:g})"
            )
        if a.dtype != b.dtype:
            notes.append(f"{after.year}: cells change from {a.dtype} to {b.dtype}")
        if a.nodata != b.nodata and not (a.nodata != a.nodata and b.nodata != b.nodata):  # NaN equals NaN here
            notes.append(f"{after.year}: the declared nodata value changes from {a.nodata} to {b.nodata}")
    return notes


# --- planning ---------------------------------------------------------------------------------------------------------


def plan_lights(
    years: Iterable[int], lights: Series | Iterable[int], policy: Literal["nan", "error", "interpolate"] = "nan"
) -> YearPlan:
    """Say which light rasters stand behind each year (METHOD 2 rule 9).

    Parameters
    ----------
    policy : a year without a raster stays NaN (empty plan), is refused, or is linear between its neighbours; beyond
        the ends of the series nothing is extrapolated: NaN.

    Raises
    ------
    YearMissing
        Under ``error``, naming the years.
    """
    have = _years_of(lights)
    plan: YearPlan = {}
    missing = []
    for year in sorted(set(years)):
        if year in have:
            plan[year] = ((year, 1.0),)
            continue
        missing.append(year)
        plan[year] = _between(year, have) if policy == "interpolate" else ()
    if missing and policy == "error":
        raise YearMissing(
            f"no lights of {year_ranges(missing)}",
            where="lights.missing_years",
            mend='add the rasters, or set lights.missing_years = "nan" or "interpolate"',
        )
    if policy not in ("nan", "error", "interpolate"):
        raise OptionInvalid(f"no policy {policy!r} for missing lights", mend="one of nan, error, interpolate")
    return plan


def plan_years(
    light_years: Iterable[int],
    population: Series | Iterable[int],
    policy: Literal["error", "nearest", "static", "interpolate"] = "error",
    static_year: int | None = None,
) -> YearPlan:
    """Say which population rasters, with which weights, stand behind each light year.

    Parameters
    ----------
    policy : for a year without a raster: refused; the nearest year (the earlier of two as near); ``static_year`` for
        every year; or linear between the two neighbours, never extrapolated.

    Raises
    ------
    YearMissing
        A year is needed that no raster gives.
    ConfigInvalid
        ``static`` without ``static_year``.
    """
    have, years = _years_of(population), sorted(set(light_years))
    if policy == "static":
        if static_year is None:
            raise ConfigInvalid(
                'missing_years = "static" needs a year',
                where="population",
                mend=f"set population.static_year to one of {year_ranges(have)}",
            )
        if static_year not in have:
            raise YearMissing(
                f"no population raster of the static year {static_year}",
                where="population.static_year",
                mend=f"set population.static_year to one of {year_ranges(have)}",
            )
        return dict.fromkeys(years, ((static_year, 1.0),))
    if policy not in ("error", "nearest", "interpolate"):
        raise OptionInvalid(f"no policy {policy!r} for missing years", mend="error, nearest, static, interpolate")
    if not have:
        raise YearMissing("there is no population raster", where="population.files", mend="add one below rasters/")
    plan: YearPlan = {}
    for year in years:
        if year in have:
            plan[year] = ((year, 1.0),)
        elif policy == "nearest":
            plan[year] = ((_nearest(year, have), 1.0),)
        else:
            plan[year] = _between(year, have) if policy == "interpolate" else ()
    missing = [year for year, parts in plan.items() if not parts]
    if missing:
        others = '"nearest" (the closest year), "static" (one year for all)'
        others += "" if policy == "interpolate" else ' or "interpolate" (linear between neighbours)'
        raise YearMissing(
            f"no population raster of {year_ranges(missing)}; there are {year_ranges(have)}"
            + (", and nothing is extrapolated" if policy == "interpolate" else ""),
            where="population.missing_years",
            mend=f"add the rasters, or set population.missing_years = {others}",
        )
    return plan


def _years_of(series: Series | Iterable[int]) -> tuple[int, ...]:
    years = series.years if isinstance(series, Series) else series
    return tuple(sorted(set(years)))


def _nearest(year: int, have: Sequence[int]) -> int:
    return min(have, key=lambda other: (abs(other - year), other))


def _between(year: int, have: Sequence[int]) -> tuple[tuple[int, float], ...]:
    place = bisect.bisect_left(have, year)
    if place == 0 or place == len(have):
        return ()
    before, after = have[place - 1], have[place]
    share = (year - before) / (after - before)
    return ((before, 1 - share), (after, share))


def year_ranges(years: Iterable[int]) -> str:
    """Write years as ranges: ``2000-2004, 2006``."""
    ordered = sorted(set(years))
    runs: list[list[int]] = []
    for year in ordered:
        if runs and year == runs[-1][1] + 1:
            runs[-1][1] = year
        else:
            runs.append([year, year])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
