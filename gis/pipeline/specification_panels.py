"""One panel for each specification of a curve, made as a run makes it, in a folder that goes away afterwards.

In: ``Inputs`` and a `Specification`. Out: `Made`: the joined pair panel, what its instrument is made of; the panel with
the instrument under another option; the spread over draws of the offices.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from gis import tables
from gis.errors import GisError
from gis.estimate import Estimate, Spread
from gis.panel.instrument import Denominator, LeaveOut, NationalRule, ZeroRule
from gis.pipeline.estimate import offices_spread, read_panel
from gis.pipeline.inputs import Inputs, read_layers
from gis.pipeline.instrument import InstrumentResult, build_instrument, instrument_rows, instruments_from_exposure
from gis.pipeline.levels import LevelTables, compute_levels
from gis.pipeline.panel import batches_of, roster_of_file
from gis.pipeline.panel_inputs import PanelInputs
from gis.pipeline.panel_variables import Variables, panel_plan
from gis.pipeline.presets import PresetRun
from gis.pipeline.run import UNIT_TABLES, panel_cities, roster_codes
from gis.pipeline.vintages import levels_by_mode, without_moved
from gis.workspace import Boundaries, InstrumentSource, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.historical.exposure import Exposure

MODES = ("yearly", "crosswalk")
"""Modes of boundaries that use several vintages. Source: METHOD 9.4."""

IV_OPTIONS: dict[str, tuple[Any, ...]] = {
    "counts": ("hard", "expected", "split"),
    "national": get_args(NationalRule),
    "lag": (1, 0, 2),
    "leave_out": get_args(LeaveOut),
    "denominator": get_args(Denominator),
    "zeros": get_args(ZeroRule),
}
"""Keys of ``[instrument]`` that are varied, with their values. Source: METHOD 5 A2 to A6."""


@dataclass(frozen=True, slots=True)
class Specification:
    """One way to make the panel and its instrument."""

    level: str
    """Preset and measure, as ``exact/lambert``."""
    boundaries: str
    """Date of a vintage, ``yearly`` or ``crosswalk``."""
    iv_option: str = ""
    """``key=value`` of ``[instrument]``; empty: as configured."""

    def name(self, base: Specification) -> str:
        """What departs from the workspace's own settings."""
        return ", ".join(
            mine
            for mine, own in (
                (self.level, base.level), (self.boundaries, base.boundaries), (self.iv_option, base.iv_option)
            )
            if mine != own
        ) or "base"  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A panel, and what its instrument is made of."""

    frame: pd.DataFrame
    """The pair panel with everything that is joined to it."""
    place: Workspace
    """The settings it was made with; its results are in the scratch folder."""
    built: InstrumentResult | None
    """The offices on this panel's boundaries, their draws, and its instruments."""


class Panels:
    """Makes panels, one at a time: the last one is kept until another is asked for."""

    def __init__(self, inputs: Inputs, scratch: str, threads: int | None) -> None:
        self.inputs = inputs
        """The workspace's own."""
        self._scratch = scratch
        self._threads = threads
        self._last: tuple[tuple[str, str], Made | GisError] | None = None
        self._built: dict[str, InstrumentResult] = {}
        self._grounds: list[str] = []

    def of(self, one: Specification) -> Made:
        """The panel of a specification, before its instrument's option; what stopped it once is raised again."""
        key = (one.level, one.boundaries)
        if self._last is None or self._last[0] != key:
            self._last = None  # the old panel goes before the new one comes
            try:
                self._last = (key, self._make(one))
            except GisError as error:
                self._last = (key, error)
        made = self._last[1]
        if isinstance(made, GisError):
            raise made
        return made

    def _make(self, one: Specification) -> Made:
        from gis.export.parquet import write_units
        from gis.panel import balance_batches

        inputs, roster = self._inputs(one)
        place, preset = inputs.workspace, PresetRun(self._threads)
        moded = levels_by_mode(inputs, lambda some: preset.levels(some, self._levels))
        for name, frame in moded.tables.by_layer.items():
            tables.write_table(UNIT_TABLES[name], frame, place.out / f"{UNIT_TABLES[name].name}.parquet")
            write_units(moded.inputs.layers[name], place.out / f"units_{name}.parquet")
        cities = panel_cities(moded.inputs, moded.tables.by_layer["city"], roster)
        batches = balance_batches(cities, tie=place.config.panel.tie)
        if moved := moded.moved.get("city"):
            batches = without_moved(batches, moved)
        tables.write_batches(tables.PAIR_YEAR, batches, place.out / f"{tables.PAIR_YEAR.name}.parquet")
        built = self._instrument(place, one.boundaries)
        _write_panel(place)
        return Made(read_panel(place)[0], place, built)

    def _levels(self, some: Inputs) -> LevelTables:
        return compute_levels(some, threads=self._threads)

    def _inputs(self, one: Specification) -> tuple[Inputs, list[str] | None]:
        """Inputs with the specification's settings; and the roster, where it is not that of the settings."""
        preset, measure = one.level.split("/")
        config, inputs, roster = self.inputs.config, self.inputs, None
        bounds: Boundaries = config.boundaries
        if one.boundaries in MODES:
            bounds = bounds.model_copy(update={"mode": one.boundaries})
        else:
            bounds = bounds.model_copy(update={"mode": "fixed"})
            entry = next((v for v in bounds.vintages if v.date == one.boundaries), None)
            if entry is not None:
                bounds = bounds.model_copy(update={"city": entry.city, "district": entry.district})
                sources, layers, _ = read_layers(inputs.workspace, entry)
                roster = _roster(inputs, layers)
                wanted = {name: layers[name] for name in layers if name in inputs.layers}
                inputs = replace(inputs, sources=tuple(sources), layers=wanted)
        changed = config.model_copy(
            update={
                "boundaries": bounds,
                "levels": config.levels.model_copy(update={"preset": preset, "measure": measure}),
                "reproject": config.reproject.model_copy(update={"rasters": False, "ledger": False}),
            }
        )
        if one.boundaries not in self._grounds:
            self._grounds.append(one.boundaries)
        results = f"{self._scratch}/{self._grounds.index(one.boundaries)}"
        return replace(inputs, workspace=replace(inputs.workspace, config=changed, results=results)), roster

    def _instrument(self, place: Workspace, ground: str) -> InstrumentResult | None:
        """The instrument of this panel; offices are placed, and drawn, once for each set of boundaries."""
        source = place.config.instrument
        if source is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notes of the row say the same
            if ground not in self._built:
                self._built[ground] = build_instrument(place, threads=self._threads)
                return self._built[ground]
            built = self._built[ground]
            pairs = tables.read_table(tables.PAIR_YEAR, place.out / f"{tables.PAIR_YEAR.name}.parquet")
            found = instruments_from_exposure(place, source, pairs, _exposure(place, source, built))
        table = tables.PAIR_INSTRUMENT
        tables.write_table(table, instrument_rows(found), place.out / f"{table.name}.parquet")
        return replace(built, workspace=place, instruments=found)


def _roster(inputs: Inputs, layers: dict[str, Any]) -> list[str] | None:
    """Codes of the listed cities in another vintage, where the config lists them; those gone are left out."""
    listed = roster_codes(inputs)
    if listed is None:
        return None
    from gis.boundaries.diff import compare_vintages

    same = compare_vintages(inputs.layers["city"], layers["city"]).same
    return [same[code] for code in listed if code in same]


def _write_panel(place: Workspace) -> None:
    """``pair_panel`` beside ``pair_year``, where flows or further variables are configured."""
    from gis.panel.assemble import assembly

    config, pairs = place.config, place.out / f"{tables.PAIR_YEAR.name}.parquet"
    if config.flows is None and not config.covariates.model_fields_set and not config.moderators.model_fields_set:
        return
    levels = tables.read_table(tables.CITY_YEAR, place.out / f"{tables.CITY_YEAR.name}.parquet")
    codes = roster_of_file(pairs)
    inputs = PanelInputs(place, codes, str(levels["vintage"].iloc[0]))
    flows = None if config.flows is None else inputs.flows(config.flows)[0]
    variables = Variables(inputs, levels[levels["city_code"].isin(codes)], flows)
    made = assembly(panel_plan(variables, lambda: batches_of(pairs)), lambda: batches_of(pairs))
    tables.write_batches(made.table, made.batches(), place.out / f"{tables.PAIR_PANEL.name}.parquet")


def _exposure(place: Workspace, source: InstrumentSource, built: InstrumentResult) -> Exposure:
    """The placed offices, counted as the settings say."""
    from gis.export.parquet import read_units
    from gis.historical.assignment import assign_split, city_lookup
    from gis.historical.exposure import expected_exposure, hard_exposure

    if source.counts == "hard":
        return hard_exposure(built.hard)
    if source.counts == "expected":
        return expected_exposure(built.probabilities)
    assert source.offices.split_km is not None
    cities = city_lookup(read_units(place.out / "units_city.parquet"))
    return expected_exposure(assign_split(built.offices.lonlat, source.offices.split_km, cities), "split")


def _optioned(made: Made, option: str) -> InstrumentSource:
    source = made.place.config.instrument
    assert source is not None
    key, _, text = option.partition("=")
    return source.model_copy(update={key: next(v for v in IV_OPTIONS[key] if str(v) == text)}) if option else source


def with_option(made: Made, option: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The panel with the instrument under another option, and what is to be known of that."""
    assert made.built is not None
    source = _optioned(made, option)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes of the row say the same
        found = instruments_from_exposure(made.place, source, made.frame, _exposure(made.place, source, made.built))
    rows = instrument_rows(found)
    frame = made.frame.assign(**{name: rows[name].to_numpy() for name in _INSTRUMENT})
    return frame, tuple(note for one in found.values() for note in one.notes)


_INSTRUMENT = tuple(c for c in tables.PAIR_INSTRUMENT.columns if c not in tables.PAIR_INSTRUMENT.key)


def spread_of(made: Made, frame: pd.DataFrame, found: Estimate, option: str) -> Spread | str:
    """Spread of an estimate over the draws of the offices, or why there is none.

    Parameters
    ----------
    frame : the panel under ``option``, on which ``found`` was estimated.
    """
    if made.built is None or made.built.draws is None:
        return "no spread: no draws of the offices"
    how = _optioned(made, option)
    roster = tuple(sorted({str(code) for c in ("city_i", "city_j") for code in frame[c].unique()}))
    return offices_spread(frame, found, made.built.draws.rows(roster), counts=how.counts, zeros=how.zeros)
