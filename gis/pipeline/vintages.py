"""Modes of boundaries: one vintage for all years, each year's own, or each year's own carried to the panel's.

In: ``Inputs`` and the further vintages of the config. Out: ``Moded``: the unit-year tables whatever the mode, the
polygons their codes stand for, and which units changed their ground in which year (METHOD 9.4).

``yearly``: a unit keeps one code through recodes, the one it had last; pairs of a unit whose ground changed between
t-1 and t have no Bal in t. ``crosswalk``: light and people are summed in the year's own units and carried by weights,
as a table would be that nobody can sum again (docs/decisions/0058-modes-of-boundaries.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.diff import VintageDiff, compare_vintages
from gis.boundaries.lineage import year_of_vintage
from gis.crosswalk import Crosswalk, WeightRaster, apply_crosswalk, crosswalk
from gis.errors import CodeInvalid, ConfigInvalid
from gis.grid import Zones
from gis.pipeline.inputs import Inputs, Layers, read_layers
from gis.pipeline.levels import LevelTables
from gis.tables import UNIT_LINEAGE, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from gis.boundaries import Layer
    from gis.boundaries.reference import Level

Compute = Callable[[Inputs], LevelTables]
"""`gis.pipeline.levels.compute_levels` with its threads and its report."""

Moves = Mapping[str, frozenset[tuple[str, int]]]
"""Layer -> (code, year): units whose ground changed between the year before and the year."""

AREA_FLAG = "NEWAREA"
"""``bal_flag`` of a pair-year one of whose units changed its ground by more than `MAX_AREA_CHANGE`."""
MAX_AREA_CHANGE = 0.01
"""Source: METHOD 9.4, mode ``yearly``."""


@dataclass(frozen=True, slots=True)
class Vintage:
    """The layers of one date."""

    name: str
    """The date, as the config writes it."""
    year_end: int
    """Last year-end it has seen."""
    layers: Layers
    """``city`` and, where given, ``district``."""
    sources: tuple[Layer, ...]
    """As read; none for the panel's own, which the inputs hold."""
    notes: tuple[str, ...]
    """What a reader should know."""


@dataclass(frozen=True, slots=True)
class Moded:
    """Unit-year tables of any mode."""

    inputs: Inputs
    """Inputs with the polygons that the codes of ``tables`` stand for."""
    tables: LevelTables
    """Unit-year and national tables."""
    moved: Moves = field(default_factory=dict)
    """Units whose ground changed; empty in the modes ``fixed`` and ``crosswalk``."""
    extra: Mapping[str, tuple[Table, pd.DataFrame]] = field(default_factory=dict)
    """What -> further tables to write."""


def levels_by_mode(inputs: Inputs, compute: Compute) -> Moded:
    """Unit-year tables in the mode of ``boundaries.mode``.

    Raises
    ------
    ConfigInvalid
        Two vintages are of one year-end, or a level of the panel is missing in one.
    BoundaryInvalid, CodeInvalid
        Units cannot be carried, or one code stands for two units.
    """
    mode = inputs.config.boundaries.mode
    if mode == "fixed":
        return Moded(inputs, compute(inputs))
    vintages = read_vintages(inputs)
    return _yearly(inputs, vintages, compute) if mode == "yearly" else _carried(inputs, vintages, compute)


def read_vintages(inputs: Inputs) -> tuple[Vintage, ...]:
    """All vintages of a workspace by date, the panel's own among them."""
    panel = inputs.layers["city"].vintage
    out = [Vintage(panel, year_of_vintage(panel), inputs.layers, (), ())]
    for entry in inputs.config.boundaries.vintages:
        sources, layers, notes = read_layers(inputs.workspace, entry)
        said = tuple(f"vintage {entry.date}: {note}" for note in notes)
        out.append(Vintage(entry.date, year_of_vintage(entry.date), layers, tuple(sources), said))
        lacks = sorted(set(inputs.layers) - set(layers))
        if lacks:
            raise ConfigInvalid(
                f"the vintage {entry.date} has no layer {', '.join(lacks)}, which the panel has",
                where="boundaries.vintages",
                mend=f"add [boundaries.vintages.{lacks[0]}], or leave [boundaries.{lacks[0]}] out",
            )
    out.sort(key=lambda v: v.year_end)
    for a, b in pairwise(out):
        if a.year_end == b.year_end:
            raise ConfigInvalid(
                f"the vintages {a.name} and {b.name} both stand for the end of {a.year_end}",
                where="boundaries.vintages",
                mend="keep one of them",
            )
    return tuple(out)


def years_of_vintages(years: Iterable[int], vintages: tuple[Vintage, ...]) -> list[list[int]]:
    """Years each vintage holds for: to a year belongs the last vintage that has not seen a later year-end.

    Years before the first vintage go to the first.
    """
    ends = [v.year_end for v in vintages]
    out: list[list[int]] = [[] for _ in vintages]
    for year in years:
        out[max(int(np.searchsorted(ends, year, side="right")) - 1, 0)].append(year)
    return out


def _of_years(inputs: Inputs, vintage: Vintage, years: list[int]) -> Inputs:
    return replace(
        inputs,
        layers={name: vintage.layers[name] for name in inputs.layers},
        light_plan={y: inputs.light_plan[y] for y in years},
        population_plan={y: inputs.population_plan[y] for y in years},
    )


def _told(inputs: Inputs, vintages: tuple[Vintage, ...], years: list[list[int]]) -> Inputs:
    """Inputs that name all vintages as sources, and say which year went by which."""
    notes = [
        f"boundaries of {v.name}: years {', '.join(map(str, y))}" if y else f"boundaries of {v.name}: no year"
        for v, y in zip(vintages, years, strict=True)
    ]
    early = [y for y in years[0] if y < vintages[0].year_end]
    if early:
        notes.append(
            f"no boundaries as old as {early[0]}: those of {vintages[0].name} serve {len(early)} earlier years"
        )
    more = tuple(note for v in vintages for note in v.notes)
    sources = tuple(source for v in vintages for source in v.sources)
    return replace(inputs, sources=(*inputs.sources, *sources), notes=(*inputs.notes, *more, *notes))


def _reuse(tables: Iterable[LevelTables]) -> str:
    return "; ".join(dict.fromkeys(t.reuse for t in tables))


# --- yearly ----------------------------------------------------------------------------------------------------------


def _yearly(inputs: Inputs, vintages: tuple[Vintage, ...], compute: Compute) -> Moded:
    years = years_of_vintages(inputs.years, vintages)
    used = [k for k, y in enumerate(years) if y]
    vintages, years = tuple(vintages[k] for k in used), [years[k] for k in used]
    tables = [compute(_of_years(inputs, v, y)) for v, y in zip(vintages, years, strict=True)]
    ids, moved, lineage, layers = {}, {}, [], {}
    for name in inputs.layers:
        diffs = differences(vintages, name)
        ids[name] = _unit_ids(vintages, name, diffs)
        moved[name] = _moves(diffs, ids[name], years)
        lineage.append(_lineage_rows(vintages, name, diffs, ids[name]))
        layers[name] = _all_units(vintages, name, ids)
    told = _told(inputs, vintages, years)
    by_layer = {name: _by_id([t.by_layer[name] for t in tables], name, ids) for name in inputs.layers}
    import pandas as pd

    national = pd.concat([t.national for t in tables], ignore_index=True)
    national = national.sort_values(["layer", "year"], ignore_index=True)
    extra = {"unit lineage": (UNIT_LINEAGE, pd.concat(lineage, ignore_index=True))}
    return Moded(replace(told, layers=layers), LevelTables(by_layer, national, _reuse(tables)), moved, extra)


def differences(vintages: tuple[Vintage, ...], name: str) -> list[VintageDiff]:
    """Differences between each vintage and the next, one layer."""
    level: Level = "district" if name == "district" else "city"
    return [compare_vintages(a.layers[name], b.layers[name], level=level) for a, b in pairwise(vintages)]


def _unit_ids(vintages: tuple[Vintage, ...], name: str, diffs: list[VintageDiff]) -> list[dict[str, str]]:
    """For every vintage, code -> the code the unit has in the last vintage it stands in."""
    ids = [{code: code for code in v.layers[name].codes} for v in vintages]
    for k in range(len(diffs) - 1, -1, -1):
        for code in ids[k]:
            after = diffs[k].same.get(code)
            if after is not None:
                ids[k][code] = ids[k + 1][after]
    owners: dict[str, tuple[int, str]] = {}
    for k in range(len(ids) - 1, -1, -1):
        for code, unit in ids[k].items():
            ends_here = k == len(diffs) or code not in diffs[k].same
            if ends_here and owners.setdefault(unit, (k, code)) != (k, code):
                raise CodeInvalid(
                    f"{code} of {vintages[k].name} ended, and another unit has its code in "
                    f"{vintages[owners[unit][0]].name}",
                    where=f"boundaries.vintages, layer {name}",
                    mend=f'leave the old unit out: exclude = ["{code}"] in the vintage {vintages[k].name}',
                )
    return ids


def _moves(diffs: list[VintageDiff], ids: list[dict[str, str]], years: list[list[int]]) -> frozenset[tuple[str, int]]:
    """(id, year) of units whose ground changed by more than `MAX_AREA_CHANGE` with the year's new vintage."""
    out = set()
    for k, diff in enumerate(diffs):
        on = diff.units[(diff.units["old_code"] != "") & (diff.units["new_code"] != "")]
        lost, gained = on["lost_km2"] / on["old_area_km2"], on["gained_km2"] / on["new_area_km2"]
        # What a unit loses here and gains there does not cancel: other people live in it.
        change = np.maximum.reduce([on["area_change"].abs().fillna(np.inf), lost.fillna(0.0), gained.fillna(0.0)])
        for code in on.loc[change > MAX_AREA_CHANGE, "new_code"]:
            out.add((ids[k + 1][code], years[k + 1][0]))
    return frozenset(out)


def _lineage_rows(
    vintages: tuple[Vintage, ...], name: str, diffs: list[VintageDiff], ids: list[dict[str, str]]
) -> pd.DataFrame:
    import pandas as pd

    from gis.boundaries import geodesic_area_km2

    rows = []
    for k, vintage in enumerate(vintages):
        zones = vintage.layers[name]
        since = {} if k == 0 else {r["new_code"]: r for r in diffs[k - 1].units.to_dict("records") if r["new_code"]}
        area = geodesic_area_km2(zones.geometry, zones.crs)
        for i, code in enumerate(zones.codes):
            change = since.get(code, {})
            rows.append(
                {
                    "layer": name,
                    "lineage_id": ids[k][code],
                    "vintage": vintage.name,
                    "unit_code": code,
                    "unit_name": zones.names[i] if zones.names else "",
                    "area_km2": float(area[i]),
                    "area_change": change.get("area_change", np.nan),
                    "changes": change.get("changes", ""),
                    "ground": change.get("ground", ""),
                    "event": change.get("event", ""),
                }
            )
    return pd.DataFrame(rows).sort_values(["layer", "lineage_id", "vintage"], ignore_index=True)


def _by_id(frames: list[pd.DataFrame], name: str, ids: Mapping[str, list[dict[str, str]]]) -> pd.DataFrame:
    """Rows of all vintages under the ids of their units; a district's city likewise."""
    import pandas as pd

    out = []
    for k, frame in enumerate(frames):
        codes = {f"{name}_code": frame[f"{name}_code"].map(ids[name][k])}
        if name == "district":
            codes["city_code"] = frame["city_code"].map(lambda c, k=k: ids["city"][k].get(c, c))
        out.append(frame.assign(**codes))
    return pd.concat(out, ignore_index=True).sort_values([f"{name}_code", "year"], ignore_index=True)


def _all_units(vintages: tuple[Vintage, ...], name: str, ids: Mapping[str, list[dict[str, str]]]) -> Zones:
    """The polygon each id had last: those of the latest vintage, then those of units that ended."""
    from gis.crs import transform_geometry

    last = vintages[-1].layers[name]
    codes, shapes, names, parents = list(last.codes), list(last.geometry), list(last.names), list(last.parents)
    for k in range(len(vintages) - 2, -1, -1):
        zones = vintages[k].layers[name]
        at = [i for i, code in enumerate(zones.codes) if ids[name][k][code] not in set(codes)]
        shapes += list(transform_geometry(zones.geometry[at], zones.crs, last.crs)) if at else []
        codes += [ids[name][k][zones.codes[i]] for i in at]
        names += [zones.names[i] if zones.names else zones.codes[i] for i in at] if last.names else []
        if last.parents:
            of = [zones.parents[i] if zones.parents else "" for i in at]
            parents += [ids["city"][k].get(code, code) for code in of]
    geometry = np.array([*shapes, None], dtype=object)[:-1]
    return Zones(tuple(codes), geometry, last.crs, last.vintage, tuple(names), tuple(parents))


def without_moved(batches: Iterable[pa.Table], moved: frozenset[tuple[str, int]]) -> Iterator[pa.Table]:
    """Take Bal out of pair-years in which the ground of either unit changed, and flag them `AREA_FLAG`.

    Order and levels stay: both are true of their own year's ground; their ratio compares unlike things.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    by_year: dict[int, list[str]] = {}
    for code, year in sorted(moved):
        by_year.setdefault(year, []).append(code)
    for batch in batches:
        hit = np.zeros(batch.num_rows, bool)
        for year, codes in by_year.items():
            units = pa.array(codes, pa.string())
            either = pc.or_(pc.is_in(batch["city_i"], units), pc.is_in(batch["city_j"], units))
            hit |= pc.and_(either, pc.equal(batch["year"], year)).to_numpy(zero_copy_only=False)
        for name, value in (("bal", pa.scalar(None, pa.float64())), ("bal_flag", pa.scalar(AREA_FLAG))):
            place = batch.schema.get_field_index(name)
            column = pc.if_else(pa.array(hit), value, batch[name])
            batch = batch.set_column(place, batch.schema.field(place), column)
        yield batch


# --- crosswalk -------------------------------------------------------------------------------------------------------

_BY_WEIGHT = ("light_sum_dn_km2", "light_sum_true_dn_km2", "light_sum_cells_dn", "pop_persons")
_PER_PERSON = ("level", "level_lambert", "level_true", "level_cells", "cov_pop")
_BY_AREA = (
    "area_km2", "area_lambert_km2", "n_cells", "n_nodata_cells", "n_negative_cells", "n_pop_negative_cells",
)  # fmt: skip
_PER_CELL = {
    "cov_area": "area_km2", "negative_share": "_valid", "lit_share": "_valid", "saturated_share": "_lit",
}  # fmt: skip
"""A share is weighed by what it is a share of; valid and lit cells are made for that and not kept."""


def _carried(inputs: Inputs, vintages: tuple[Vintage, ...], compute: Compute) -> Moded:
    import pandas as pd

    from gis.indicators import national_rows

    years = years_of_vintages(inputs.years, vintages)
    by_layer: dict[str, list[pd.DataFrame]] = {name: [] for name in inputs.layers}
    national: list[pd.DataFrame] = []
    done: list[LevelTables] = []
    for vintage, own in zip(vintages, years, strict=True):
        if not own:
            continue
        tables = compute(_of_years(inputs, vintage, own))
        done.append(tables)
        if vintage.layers is inputs.layers:
            national.append(tables.national)
            for name, frame in tables.by_layer.items():
                by_layer[name].append(frame)
            continue
        for name, frame in tables.by_layer.items():
            zones = inputs.layers[name]
            by_people, by_area = _weights(inputs, vintage, name)
            carried = carry_levels(frame, by_people, by_area, zones, name)
            by_layer[name].append(carried)
            rasters = tables.national[tables.national["layer"] == name]
            national.append(
                national_rows(
                    carried,
                    name,
                    raster_cells_dn=dict(zip(rasters["year"], rasters["raster_total_cells_dn"], strict=True)),
                    raster_persons=dict(zip(rasters["year"], rasters["raster_total_persons"], strict=True)),
                )
            )
    frames = {
        name: pd.concat(parts, ignore_index=True).sort_values([f"{name}_code", "year"], ignore_index=True)
        for name, parts in by_layer.items()
    }
    told = _told(inputs, vintages, years)
    total = pd.concat(national, ignore_index=True).sort_values(["layer", "year"], ignore_index=True)
    return Moded(told, LevelTables(frames, total, _reuse(done)))


def _weights(inputs: Inputs, vintage: Vintage, name: str) -> tuple[Crosswalk, Crosswalk]:
    """Weights of light and people, and weights of area."""
    boundaries, old, new = inputs.config.boundaries, vintage.layers[name], inputs.layers[name]
    limit = boundaries.max_uncovered
    weight = boundaries.crosswalk_weight
    # Ground outside the panel's vintage is a question of people, where people are what is carried.
    by_area = crosswalk(old, new, max_uncovered=limit if weight == "area" else 1.0)
    if weight == "area":
        return by_area, by_area
    return crosswalk(old, new, weight=weight, raster=weight_raster(inputs, weight), max_uncovered=limit), by_area


def weight_raster(inputs: Inputs, weight: str) -> WeightRaster:
    """The population or light raster of the first year of the run: METHOD 9.4's base year."""
    if weight == "population":
        people = inputs.population.of(min(y for plan in inputs.population_plan.values() for y, _ in plan))
        return WeightRaster(people.info, inputs.population_rules(people))
    light = inputs.lights.of(min(y for plan in inputs.light_plan.values() for y, _ in plan))
    return WeightRaster(light.info, inputs.light_rules(light), inputs.config.levels.measure)


def carry_levels(
    frame: pd.DataFrame, by_people: Crosswalk, by_area: Crosswalk, zones: Zones, name: str
) -> pd.DataFrame:
    """Carry unit-year rows to the units of another vintage.

    Light and people go by ``by_people``, areas and cells by ``by_area``; levels are weighed by their persons, shares
    by their cells or area; densities are made anew. Flags of a unit are those of its sources.
    """
    code = f"{name}_code"
    rates = dict.fromkeys(_PER_PERSON, "pop_persons")
    people = apply_crosswalk(by_people, frame, extensive=_BY_WEIGHT, intensive=rates, code=code, by=("year",))
    cells = _with_cells(frame)
    extensive = (*_BY_AREA, "_valid", "_lit")
    ground = apply_crosswalk(by_area, cells, extensive=extensive, intensive=_PER_CELL, code=code, by=("year",))
    out = people.merge(ground, on=[code, "year"], how="left").merge(_words(frame, by_people, code), on=[code, "year"])
    out["light_density_dn"] = out["light_sum_true_dn_km2"] / out["area_km2"]
    out["pop_density_persons_km2"] = out["pop_persons"] / out["area_km2"]
    place = {c: k for k, c in enumerate(zones.codes)}
    at = [place[c] for c in out[code]]
    names, parents = zones.names or zones.codes, zones.parents or ("",) * len(zones)
    out[f"{name}_name"] = [names[k] for k in at]
    if name == "district":
        out["city_code"] = [parents[k] for k in at]
    out["vintage"] = f"{by_people.vintages[0]} > {zones.vintage}"
    return out[list(frame.columns)].astype({"year": "int32", "n_flares": "int32"})


def _with_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with the valid and the lit cells behind their shares; of no lit cell, none is saturated."""
    valid = frame["n_cells"] - frame["n_nodata_cells"]
    lit = (frame["lit_share"] * valid).mask(valid == 0, 0.0)
    saturated = frame["saturated_share"].mask(lit == 0, 0.0)
    return frame.assign(_valid=valid, _lit=lit, saturated_share=saturated)


def _words(frame: pd.DataFrame, walk: Crosswalk, code: str) -> pd.DataFrame:
    """Columns that are no numbers, from the sources of each new unit that are no slivers."""
    from gis.indicators.flags import FLAGS

    sources = walk.frame.loc[~walk.frame["is_sliver"], ["old_code", "new_code"]].rename(columns={"old_code": code})
    found = sources.merge(frame[[code, "year", "measure", "pop_years", "n_flares", "flags", "is_synthetic"]], on=code)

    def flags(values: Any) -> str:
        carried = {flag for text in values for flag in str(text).split(";")}
        return ";".join(flag for flag in FLAGS if flag in carried)

    grouped = found.groupby(["new_code", "year"], sort=True).agg(
        measure=("measure", "first"),
        pop_years=("pop_years", "first"),
        n_flares=("n_flares", "max"),
        flags=("flags", flags),
        is_synthetic=("is_synthetic", "any"),
    )
    return grouped.reset_index().rename(columns={"new_code": code})
