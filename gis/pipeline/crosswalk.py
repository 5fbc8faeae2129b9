"""``lightpanel boundaries lineage``, ``diff`` and ``crosswalk``: from words on a command line to tables and text.

In: codes, files or vintages of a workspace, a table to carry. Out: text for the terminal, files where they are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gis.boundaries.diff import MIN_SHARE, NOISE_KM, VintageDiff, compare_vintages
from gis.boundaries.diff_files import write_diff
from gis.boundaries.lineage import history, sentence
from gis.crosswalk import (
    MAX_UNCOVERED,
    Crosswalk,
    Weight,
    WeightRaster,
    apply_crosswalk,
    crosswalk,
    write_crosswalk,
)
from gis.errors import BoundaryUnreadable, OptionInvalid
from gis.tables import atomic_path
from gis.tables.foreign import read_foreign
from gis.workspace import CONFIG_NAME, Boundaries, BoundarySource, Vintage, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.grid import Zones

LayerLevel = Literal["city", "district"]

SHOWN = 20
"""Slivers listed on the terminal; the table has all."""


@dataclass(frozen=True, slots=True)
class LayerWanted:
    """A layer as a command names it."""

    name: str
    """A file, or the date of a vintage of the workspace."""
    layer: str | None = None
    """Layer inside the file; default: the one called like the level, where there are several."""
    date: str | None = None
    """Day its boundaries stood; without it no official change can be named."""
    crs: str | None = None
    """CRS of the coordinates, only where the file carries none."""
    exclude: tuple[str, ...] = ()
    """Units to leave out."""


def read_wanted(wanted: LayerWanted, level: LayerLevel, workspace: str | Path | Workspace = ".") -> Zones:
    """Read a layer named by its file, or by its date in a workspace.

    Raises
    ------
    BoundaryUnreadable
        There is neither such a file nor such a vintage.
    GisError
        As `gis.boundaries.read_layer`.
    """
    from gis.boundaries import read_layer

    place = _workspace(workspace)
    source = _of_workspace(place, wanted.name, level) if place else None
    if source is not None and place is not None:
        return read_layer(source, place.root, level=level).zones
    path = Path(wanted.name)
    if not path.exists():
        dates = [str(source.vintage) for source in _sources(place, level)] if place else []
        known = f"; vintages of the workspace: {', '.join(dates)}" if dates else ""
        raise BoundaryUnreadable(
            f"there is no file {path}, nor a vintage of that date",
            mend=f"name a file{known}" if known else "name a file, or a vintage and its workspace: --workspace FOLDER",
        )
    source = BoundarySource(
        file=str(path.resolve()),
        layer=wanted.layer or _layer_called(path, level),
        vintage=wanted.date or "",
        crs=wanted.crs,
        exclude=wanted.exclude,
    )
    return read_layer(source, Path(), level=level).zones


def _workspace(workspace: str | Path | Workspace) -> Workspace | None:
    if isinstance(workspace, Workspace):
        return workspace
    return read_workspace(workspace) if (Path(workspace) / CONFIG_NAME).is_file() else None


def _of_workspace(place: Workspace, date: str, level: LayerLevel) -> BoundarySource | None:
    return next((source for source in _sources(place, level) if str(source.vintage) == date), None)


def _sources(place: Workspace, level: LayerLevel) -> list[BoundarySource]:
    """Layers of one level, of the panel's vintage and of the others."""
    boundaries = place.config.boundaries
    vintages: list[Boundaries | Vintage] = [boundaries, *boundaries.vintages]
    sources = [v.city if level == "city" else v.district for v in vintages]
    return [source for source in sources if source is not None]


def _layer_called(path: Path, level: str) -> str | None:
    """The layer of a file that is called like the level, where it has several."""
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        names = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except DataSourceError:  # the reader says what is wrong with the file
        return None
    return level if len(names) > 1 and level in names else None


# --- lineage ---------------------------------------------------------------------------------------------------------


def lineage_text(code: str, from_year: int | None = None, to_year: int | None = None) -> str:
    """What happened to a unit and who has its ground, for a reader; see `gis.boundaries.lineage.history`."""
    found = history(code, from_year, to_year)
    lines = [f"{found.code} {found.name}, end of {found.from_year} to end of {found.to_year}"]
    lines += [f"  {sentence(event)}" for event in found.events] or ["  no change on record"]
    lines += [f"  note: {event.note}" for event in found.events if event.note]
    lines.append(f"at the end of {found.to_year} its ground is in:")
    for heir in found.heirs:
        part = "" if heir.is_same else f" (from it: {heir.part})" if heir.part != "whole" else " (all of it)"
        lines.append(f"  {heir.code} {heir.name}{', the unit itself' if heir.is_same else part}")
    return "\n".join(lines if found.heirs else [*lines, "  no unit on record"])


# --- diff ------------------------------------------------------------------------------------------------------------


def diff_layers(
    old: LayerWanted,
    new: LayerWanted,
    *,
    level: LayerLevel = "city",
    workspace: str | Path | Workspace = ".",
    noise_km: float = NOISE_KM,
    min_share: float = MIN_SHARE,
    out: Path | None = None,
) -> VintageDiff:
    """Compare two layers, and write the difference where a file is named (``.gpkg``, ``.parquet`` or ``.csv``)."""
    zones = [read_wanted(wanted, level, workspace) for wanted in (old, new)]
    districts = None
    if level == "city":
        place = _workspace(workspace)
        both = [_of_workspace(place, wanted.name, "district") if place else None for wanted in (old, new)]
        if all(both):
            districts = tuple(read_wanted(wanted, "district", workspace) for wanted in (old, new))
    found = compare_vintages(
        zones[0],
        zones[1],
        districts=districts,  # type: ignore[arg-type]  # two of them
        level=level,
        noise_km=noise_km,
        min_share=min_share,
    )
    if out is not None:
        write_diff(found, out)
    return found


def diff_text(found: VintageDiff) -> str:
    """Changed units one by one, and how many are the same or only drawn differently."""
    changed, kinds = found.changed(), found.units["changes"]
    lines = [
        f"{row['changes']:18} {row['ground']}" + (f" [{row['event']}]" if row["event"] else "")
        for row in changed.to_dict("records")
    ]
    noise = found.pieces.loc[found.pieces["verdict"] == "noise", "overlap_km2"]
    lines += [
        f"units: {len(changed)} changed, {(kinds == 'redrawn').sum()} redrawn, {(kinds == '').sum()} the same",
        f"strips between two drawings of one border: {len(noise)}, {noise.sum():,.1f} km2 together",
    ]
    return "\n".join(lines)


# --- crosswalk -------------------------------------------------------------------------------------------------------


def crosswalk_layers(
    old: LayerWanted,
    new: LayerWanted,
    *,
    weight: Weight = "population",
    year: int | None = None,
    raster: str | Path | None = None,
    level: LayerLevel = "city",
    workspace: str | Path | Workspace = ".",
    max_uncovered: float = MAX_UNCOVERED,
    drop_slivers: bool = False,
    out: Path | None = None,
) -> Crosswalk:
    """Weights from one layer to another, written where a file is named (``.parquet`` or ``.csv``).

    Parameters
    ----------
    weight, year : what a piece weighs; of people and light, the raster of this year of the workspace, default: the
        first one.
    raster : a file in place of the workspace's; values below zero are no data.

    Raises
    ------
    OptionInvalid
        Neither a raster nor a workspace for weights by people or light.
    GisError
        As `gis.crosswalk.crosswalk`.
    """
    a, b = (read_wanted(wanted, level, workspace) for wanted in (old, new))
    of = None if weight == "area" else _raster(weight, year, raster, workspace)
    walk = crosswalk(a, b, weight=weight, raster=of, max_uncovered=max_uncovered)
    if drop_slivers:
        walk = walk.without_slivers()
    if out is not None:
        write_crosswalk(walk, out)
    return walk


def _raster(
    weight: str, year: int | None, raster: str | Path | None, workspace: str | Path | Workspace
) -> WeightRaster:
    from dataclasses import replace

    if raster is not None:
        from gis.raster_io import read_info
        from gis.zonal.statistics import plain_rules

        info = read_info(raster)
        rules = replace(plain_rules(info), negatives="nan")
        return WeightRaster(info, rules, "cells" if weight == "population" else "lambert")
    place = _workspace(workspace)
    if place is None:
        raise OptionInvalid(
            f"weights by {weight} need a raster", mend="--raster FILE, or a workspace that has one: --workspace FOLDER"
        )
    from gis.pipeline.inputs import read_both_series
    from gis.rasters.catalogue import rules_for

    lights, population = read_both_series(place)
    series, source = (population, place.config.population) if weight == "population" else (lights, place.config.lights)
    file = series.of(year if year is not None else series.years[0])
    measure = "cells" if weight == "population" else place.config.levels.measure
    return WeightRaster(file.info, rules_for(series.product, source, file.info), measure)


def crosswalk_text(walk: Crosswalk) -> str:
    """How many weights, and the slivers among them."""
    frame, slivers = walk.frame, walk.slivers()
    whole = int((frame.groupby("old_code")["weight"].max() == 1).sum())
    lines = [
        f"{len(frame)} weights from {len(walk.old_codes)} old to {frame['new_code'].nunique()} new units",
        f"old units that go whole to one new unit: {whole}",
        f"largest share of an old unit in no new one: {max(frame['uncovered_share'].max(), 0.0):.2%}",
    ]
    if len(slivers):
        lines.append(
            f"slivers, strips between two drawings of one border: {len(slivers)} (--drop-slivers leaves them out)"
        )
        lines += [
            f"  {row['old_code']} {row['old_name']} to {row['new_code']} {row['new_name']}: {row['weight']:.3%}, "
            f"{row['overlap_km2']:.1f} km2"
            for row in slivers.head(SHOWN).to_dict("records")
        ]
    return "\n".join(lines)


def apply_to_file(
    walk: Crosswalk,
    table: Path,
    out: Path,
    *,
    code: str = "city_code",
    extensive: Sequence[str] = (),
    intensive: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
) -> int:
    """Carry a table (``.parquet`` or ``.csv``) and write it in the same or the other format; returns its rows.

    Raises
    ------
    TableInvalid
        There is no such table, or of another format.
    GisError
        As `gis.crosswalk.apply_crosswalk`.
    """
    frame = _read_frame(table, code)
    carried = apply_crosswalk(walk, frame, extensive=extensive, intensive=intensive, code=code, by=by)
    if out.suffix not in (".parquet", ".csv"):
        raise OptionInvalid(f"no table format {out.suffix!r}", where=out, mend="name the file .parquet or .csv")
    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            carried.to_csv(temporary, index=False, encoding="utf-8-sig")
        else:
            carried.to_parquet(temporary, index=False)
    return len(carried)


def _read_frame(path: Path, code: str) -> pd.DataFrame:
    from gis.boundaries.codes import is_code, normalise_code

    frame = read_foreign(path, "the table to carry over", codes=(code,))
    if code in frame:
        frame[code] = [normalise_code(value) if is_code(value) else value for value in frame[code]]
    return frame


def parse_rates(text: str) -> dict[str, str]:
    """``"rate:persons,share:km2"`` as column -> denominator.

    Raises
    ------
    OptionInvalid
        A part is not of this form.
    """
    out = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        rate, colon, denominator = (p.strip() for p in part.partition(":"))
        if not (rate and colon and denominator):
            raise OptionInvalid(
                f"{part!r} names no denominator",
                where="--intensive",
                mend="rate:denominator, such as gdp_per_head:persons",
            )
        out[rate] = denominator
    return out
