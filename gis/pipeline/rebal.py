"""``lightpanel rebal``: Bal for a new boundary vintage, and what it changed, row by row and by name.

In: a workspace with its last results, and a new vintage. Out: a complete set of results for the new vintage in a folder
of its own, and the difference report: ``rebal_level.parquet``, ``rebal_pair.parquet``, ``boundary_diff.gpkg`` and
``difference.txt``.

A level moves for two reasons, and the report keeps them apart by a third number: the level on the *old* boundaries
from the inputs of *now*. From there to the new level is the effect of the boundaries; from the earlier result to there
is everything else (docs/decisions/0059-rebal-and-its-three-levels.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.boundaries.diff import VintageDiff, compare_vintages
from gis.boundaries.diff_files import write_diff
from gis.errors import OptionInvalid, TableInvalid
from gis.pipeline.inputs import Inputs, read_inputs, read_layers
from gis.pipeline.levels import Report, compute_levels
from gis.pipeline.presets import prepare
from gis.pipeline.rebal_report import difference_text
from gis.pipeline.rebal_rows import level_differences, pair_differences
from gis.pipeline.resume import finished, run_key
from gis.pipeline.run import RunResult, compute
from gis.tables import CITY_YEAR, PAIR_YEAR, REBAL_LEVEL, REBAL_PAIR, atomic_path, read_table, write_table
from gis.workspace import BoundarySource, Vintage, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

REBAL_FOLDER = "rebal"
"""Inside the results' folder; below it one folder per new vintage."""


@dataclass(frozen=True, slots=True)
class RebalResult:
    """What a change of vintage has made."""

    result: RunResult
    """The new results."""
    diff: VintageDiff
    """What the new boundaries are beside the old ones."""
    levels: pd.DataFrame
    """Rows of ``REBAL_LEVEL``."""
    pairs: pd.DataFrame
    """Rows of ``REBAL_PAIR``: those that are not the same."""
    totals: dict[str, float]
    """Sums and counts of both results, by name."""
    paths: dict[str, Path]
    """What -> file."""
    text: str
    """``difference.txt``."""


def rebal(
    workspace: str | Path | Workspace = ".",
    vintage: str | Path | None = None,
    *,
    layer: str | None = None,
    date: str | None = None,
    threads: int | None = None,
    report: Report | None = None,
) -> RebalResult:
    """Make the panel anew for another boundary vintage and say what that changed.

    Parameters
    ----------
    workspace : folder with ``workspace.toml``, or a `Workspace`; its config and its results stay as they are.
    vintage : date of one of ``[[boundaries.vintages]]``, or a file with the new layer of cities.
    layer, date : of a file: the layer inside it, and the day it stood; needed for a file.
    threads, report : as for `gis.run`.

    Raises
    ------
    OptionInvalid
        The config has no such vintage; a file without a date; the mode is not ``fixed``.
    GisError
        As `gis.run`.

    Notes
    -----
    Sums of polygons that did not change come from the store, so a new vintage costs what is new in it. The earlier
    result is that of the last run where one stands in ``out/``; its levels are computed again only if an input,
    setting or the code has changed since.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    boundaries = place.config.boundaries
    if boundaries.mode != "fixed":
        raise OptionInvalid(
            f"rebal is for one vintage at a time, and boundaries.mode is {boundaries.mode!r}",
            mend='set boundaries.mode = "fixed", or run with the vintages added: lightpanel run',
        )
    entry = _wanted(place, vintage, layer, date)
    inputs = read_inputs(place)
    new = _with_vintage(inputs, entry)
    districts = _both_districts(inputs, new)
    diff = compare_vintages(inputs.layers["city"], new.layers["city"], districts=districts)
    old_levels, old_pairs, now = _old_results(inputs, new.workspace.results, threads, report)
    result = compute(new, roster=_roster(inputs, diff), threads=threads, report=report)
    levels = level_differences(old_levels, now, result.city_year, diff)
    new_pairs = _read_pairs(result.paths.get("city pairs (Bal)"))
    pairs = pair_differences(old_pairs, new_pairs, levels, diff)
    totals = _totals(old_levels, now, result.city_year, old_pairs, new_pairs, pairs)
    text = difference_text(inputs, new, diff, levels, pairs, totals)
    out = new.workspace.out
    paths = {
        "levels": write_table(REBAL_LEVEL, levels, out / f"{REBAL_LEVEL.name}.parquet"),
        "pairs": write_table(REBAL_PAIR, pairs, out / f"{REBAL_PAIR.name}.parquet"),
        "boundaries": write_diff(diff, out / "boundary_diff.gpkg"),
        "text": out / "difference.txt",
    }
    with atomic_path(paths["text"]) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return RebalResult(result, diff, levels, pairs, totals, paths, text)


# --- the two sets of boundaries --------------------------------------------------------------------------------------


def _wanted(place: Workspace, vintage: str | Path | None, layer: str | None, date: str | None) -> Vintage:
    known = place.config.boundaries.vintages
    dates = ", ".join(v.date for v in known)
    if vintage is None:
        if len(known) == 1:
            return known[0]
        raise OptionInvalid(
            f"{len(known)} vintages are configured ({dates})" if known else "no other vintage is configured",
            where="boundaries.vintages",
            mend="name one: --vintage DATE, or a file: --vintage cities.gpkg --date 2021-12-31",
        )
    found = [v for v in known if v.date == str(vintage)] or [v for v in known if v.date.startswith(str(vintage))]
    if len(found) == 1:
        return found[0]
    path = Path(vintage)
    if path.is_file():
        if date is None:
            raise OptionInvalid(
                "the file does not say when its boundaries stood", where=path, mend="add --date 2021-12-31"
            )
        return Vintage(city=BoundarySource(file=str(path.resolve()), layer=layer, vintage=date))
    raise OptionInvalid(
        f"there is no vintage {vintage}, nor a file of that name",
        where="boundaries.vintages",
        mend=f"one of {dates}" if dates else "add [[boundaries.vintages]] to workspace.toml, or name a file",
    )


def _with_vintage(inputs: Inputs, entry: Vintage) -> Inputs:
    """The inputs with other boundaries, their results in a folder of their own."""
    place = inputs.workspace
    sources, layers, notes = read_layers(place, entry)
    boundaries = place.config.boundaries.model_copy(update={"city": entry.city, "district": entry.district})
    config = place.config.model_copy(update={"boundaries": boundaries})
    folder = f"{place.results}/{REBAL_FOLDER}/{entry.date}"
    said = [note for note in inputs.notes if not note.startswith(("city layer:", "district layer:"))]
    return replace(
        inputs,
        workspace=replace(place, config=config, results=folder),
        sources=tuple(sources),
        layers={name: layers[name] for name in layers if name in inputs.layers},
        notes=(*notes, *said),
    )


def _both_districts(old: Inputs, new: Inputs) -> Any:
    if "district" in old.layers and "district" in new.layers:
        return old.layers["district"], new.layers["district"]
    return None


def _roster(inputs: Inputs, diff: VintageDiff) -> list[str] | None:
    """Codes of the panel's cities in the new vintage, where the config lists them; those gone are left out."""
    from gis.pipeline.run import roster_codes

    listed = roster_codes(inputs)
    if listed is None:
        return None
    return [diff.same[code] for code in listed if code in diff.same]


def _old_results(
    inputs: Inputs, folder: str, threads: int | None, report: Report | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Levels and pairs as the last run left them, and levels of the same boundaries from the inputs of now."""
    place = inputs.workspace
    current = finished(place, run_key(place, (inputs.lights, inputs.population)))
    stored = _stored(place)
    if current is not None and stored is not None:
        return (*stored, stored[0])
    # As a run does it, presets included; what that writes goes beside the new results, not into the old ones.
    beside = replace(inputs, workspace=replace(place, results=folder))
    prepared = prepare(beside, threads=threads, report=report)
    now = compute_levels(prepared.inputs, threads=threads, report=report).by_layer["city"]
    if stored is not None:
        return (*stored, now)
    from gis.panel import balance
    from gis.pipeline.run import panel_cities

    cities = panel_cities(inputs, now)
    return now, balance(cities, tie=inputs.config.panel.tie), now


def _stored(place: Workspace) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """City levels and pairs in the results' folder; None where there are none of this vintage."""
    city, pairs = place.out / f"{CITY_YEAR.name}.parquet", place.out / f"{PAIR_YEAR.name}.parquet"
    if not city.is_file() or not pairs.is_file():
        return None
    try:
        levels = read_table(CITY_YEAR, city)
    except TableInvalid:
        return None
    source = place.config.boundaries.city or place.config.boundaries.district
    if source is None or set(levels["vintage"]) != {str(source.vintage)}:
        return None  # another vintage's: the config was changed since
    return levels, _read_pairs(pairs)


def _read_pairs(path: Path | None) -> pd.DataFrame:
    import pandas as pd

    columns = ["pair_id", "year", "city_i", "city_j", "hi", "lo", "bal"]
    return pd.DataFrame(columns=columns) if path is None else pd.read_parquet(path, columns=columns)


def _totals(
    before: pd.DataFrame,
    now: pd.DataFrame,
    after: pd.DataFrame,
    old_pairs: pd.DataFrame,
    new_pairs: pd.DataFrame,
    pairs: pd.DataFrame,
) -> dict[str, float]:
    """Sums over all units and years, and counts of pair rows."""
    out: dict[str, float] = {}
    for name, frame in (("before", before), ("same_bounds", now), ("after", after)):
        out[f"light_{name}_dn_km2"] = float(frame["light_sum_dn_km2"].sum())
        out[f"pop_{name}_persons"] = float(frame["pop_persons"].sum())
        out[f"n_levels_{name}"] = int(frame["level"].notna().sum())
    out["rows_before"], out["rows_after"] = len(old_pairs), len(new_pairs)
    out["rows_with_bal_before"] = int(old_pairs["bal"].notna().sum())
    out["rows_with_bal_after"] = int(new_pairs["bal"].notna().sum())
    for status in ("changed", "appeared", "vanished"):
        out[f"rows_{status}"] = int((pairs["status"] == status).sum())
    out["rows_same"] = out["rows_before"] - out["rows_changed"] - out["rows_vanished"]
    out["rows_flipped"] = int(pairs["is_flipped"].fillna(False).sum())
    return out
