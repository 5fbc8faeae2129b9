"""The instrument step: from digitised offices to ``pair_instrument``, with the uncertainty carried all the way.

In: a workspace with ``[instrument]`` and a finished run (city polygons and pair panel in ``out/``). Out: the tables
``office``, ``office_city``, ``city_office``, ``office_draw``, ``pair_instrument``, ``instrument_year``,
``instrument_diagnostics`` and, where lines were digitised, ``pair_line``; ``lineage.json`` learns of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis import tables
from gis.errors import ConfigInvalid, TableInvalid
from gis.tables.foreign import read_foreign
from gis.workspace import InstrumentSource, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.historical.accuracy import Accuracy
    from gis.historical.assignment import CityLookup, HardAssignment, Probabilities
    from gis.historical.bootstrap import CountDraws
    from gis.historical.control_points import ControlPoints
    from gis.historical.exposure import Exposure
    from gis.historical.offices import Offices
    from gis.panel.instrument import Instrument

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class InstrumentResult:
    """What the step has made."""

    workspace: Workspace
    """Where it ran."""
    paths: dict[str, Path]
    """Table -> file, in the order written."""
    offices: Offices
    """Offices on the ground."""
    hard: HardAssignment
    """One city for each."""
    probabilities: Probabilities
    """Every city an office may stand in."""
    accuracy: Accuracy | None
    """Of the transform; None for offices in map coordinates without control points."""
    instruments: dict[str, Instrument]
    """``iv_hist_tel`` and, where configured, ``iv_1984_tel``."""
    diagnostics: pd.DataFrame
    """Rows of ``INSTRUMENT_DIAGNOSTICS``."""
    draws: CountDraws | None
    """Draws of the bootstrap; None where switched off."""
    notes: tuple[str, ...]
    """What a reader of the results must know, one sentence each."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The fitted sheet: control points, and the accuracy that holds the transform."""

    points: ControlPoints
    accuracy: Accuracy
    notes: tuple[str, ...]

    def refit(self, weights: Any) -> Any:
        from gis.historical import fit

        return fit(self.points, self.accuracy.model, weights=weights, start=self.accuracy.transform)


def build_instrument(
    workspace: str | Path | Workspace = ".", *, threads: int | None = None, report: Report | None = None
) -> InstrumentResult:
    """Place the offices, assign them to the cities of the run, build the instrument and write its tables.

    Parameters
    ----------
    threads : default: ``compute.threads`` of the config, else one per core. Changes no number.
    report : called with (step, done, in all).

    Raises
    ------
    ConfigInvalid
        ``workspace.toml`` has no ``[instrument]``, or it contradicts itself.
    TableInvalid, BoundaryUnreadable
        There is no finished run in ``out/``.
    GisError
        Whatever offices, control points, flows or counts cannot be used; nothing has been written then.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    source = place.config.instrument
    if source is None:
        raise ConfigInvalid(
            "there is no section [instrument]",
            where=place.config_path,
            mend='add [instrument] with flows = "...", and [instrument.offices] with file = "..."',
        )
    if source.counts == "split" and source.offices.split_km is None:
        raise ConfigInvalid(
            'counts = "split" needs a distance', where=place.config_path, mend="set instrument.offices.split_km"
        )
    from gis.historical.assignment import assign_hard, assign_probable, assign_split
    from gis.historical.exposure import expected_exposure, hard_exposure

    say = report or (lambda step, done, n: None)
    cities, pairs = _cities(place), _pairs(place)
    say("placing the offices", 0, 1)
    sheet, offices = _offices(place, source, cities)
    say("placing the offices", 1, 1)
    how = source.offices
    hard = assign_hard(offices.lonlat, offices.sigma_km, cities, snap_sigmas=how.snap_sigmas)
    probable = assign_probable(offices.lonlat, offices.sigma_km, cities, draws=how.draws, seed=how.seed)
    split = None if how.split_km is None else assign_split(offices.lonlat, how.split_km, cities)
    exposure: dict[str, Callable[[], Exposure]] = {
        "hard": lambda: hard_exposure(hard),
        "expected": lambda: expected_exposure(probable),
        "split": lambda: expected_exposure(split, "split"),  # type: ignore[arg-type]
    }
    instruments = instruments_from_exposure(place, source, pairs, exposure[source.counts]())
    diagnostics = _diagnostics(instruments)
    draws = _draws(place, source, offices, cities, sheet, threads, say)
    roster = tuple(sorted(set(pairs["city_i"]) | set(pairs["city_j"])))
    notes = (
        *(sheet.notes if sheet else ()),
        *offices.notes,
        *_assignment_notes(offices, hard, roster),
        *_instrument_notes(instruments, draws),
    )
    frames = _frames(place, source, offices, hard, probable, split, instruments, diagnostics, draws, roster, sheet)
    paths = _write(place, source, frames, notes)
    accuracy = sheet.accuracy if sheet else None
    return InstrumentResult(
        place, paths, offices, hard, probable, accuracy, instruments, diagnostics, draws, notes
    )  # fmt: skip


def summary_lines(result: InstrumentResult) -> list[str]:
    """What ``lightpanel instrument`` prints: the sheet, the offices, the instruments, and what is to be known."""
    counts = {flag: result.hard.flags.count(flag) for flag in ("", "SNAPPED", "NOWHERE")}
    lines = []
    if result.accuracy is not None:
        sigma = float(np.median(result.offices.map_sigma_km))
        lines.append(
            f"sheet: {result.accuracy.model}, leave-one-out error {result.accuracy.loo_rmse_km:.3g} km; "
            f"median standard deviation of an office {sigma:.3g} km per axis"
        )
    lines.append(
        f"offices: {len(result.offices)}; {counts['']} inside a city, {counts['SNAPPED']} snapped to the nearest, "
        f"{counts['NOWHERE']} nowhere; {float(result.probabilities.p_nowhere.sum()):.3g} expected nowhere"
    )
    for name in result.instruments:
        own = result.diagnostics[result.diagnostics["instrument"] == name].set_index("statistic")["value"]
        lines.append(
            f"{name}: {own['n_rows_iv']:.0f} of {own['n_rows']:.0f} rows; "
            f"{own['share_pairs_zero']:.1%} of pairs are zero; "
            f"{own['share_variance_left']:.1%} of its variance is left after pair and year effects; "
            f"the national flow changes its sign {own['n_sign_changes']:.0f} times"
        )
    if result.draws is not None:
        sd = result.draws.counts.std(axis=0)
        lines.append(
            f"bootstrap: {len(result.draws.counts)} draws ({result.draws.kind}); the largest standard deviation of a "
            f"city's count is {sd.max():.3g} ({result.draws.codes[int(sd.argmax())]})"
        )
    return [*lines, *(f"note: {note}" for note in result.notes), *(f"wrote {path}" for path in result.paths.values())]


# --- reading -------------------------------------------------------------------------------------------------------


def _cities(place: Workspace) -> CityLookup:
    from gis.export.parquet import read_units
    from gis.historical.assignment import city_lookup

    return city_lookup(read_units(place.out / "units_city.parquet"))


def _pairs(place: Workspace) -> pd.DataFrame:
    return tables.read_table(tables.PAIR_YEAR, place.out / "pair_year.parquet")


def _offices(place: Workspace, source: InstrumentSource, cities: CityLookup) -> tuple[_Sheet | None, Offices]:
    from gis.historical.gazetteer import match_offices, read_gazetteer
    from gis.historical.offices import locate, read_offices, refuse_swapped

    how = source.offices
    digitised = read_offices(place.path(how.file), layer=how.layer, crs=how.crs, space=how.space)
    sheet = _sheet(place, source)
    transform, accuracy = (sheet.accuracy.transform, sheet.accuracy) if sheet else (None, None)
    offices = locate(digitised, transform, accuracy, sigma=how.sigma, sigma_km=how.sigma_km)
    refuse_swapped(offices.lonlat, offices.ids, cities.bounds)
    if how.gazetteer:
        gazetteer = read_gazetteer(place.path(how.gazetteer))
        if how.gazetteer_year is not None:
            gazetteer = gazetteer.of_year(how.gazetteer_year)
        offices = match_offices(offices, gazetteer)
    return sheet, offices


def _sheet(place: Workspace, source: InstrumentSource) -> _Sheet | None:
    how = source.offices
    if how.control_points is None:
        return None
    from gis.historical import read_control_points
    from gis.historical.georeference import georeference
    from gis.pipeline.georeference import scan_facts

    facts = None
    if how.scan:
        from gis.raster_io.pictures import read_picture

        facts = scan_facts(read_picture(place.path(how.scan)))
    points = read_control_points(place.path(how.control_points), crs=how.control_points_crs, scan=facts)
    found = georeference(points, how.model, size=facts.size if facts else None, meridian=how.meridian)
    said = tuple(f"control points: {one.what}" for one in found.findings if one.severity != "info")
    return _Sheet(found.points, found.chosen, said)


def read_flows(path: Path) -> pd.DataFrame:
    """Read directed flows: CSV or Parquet with ``src, dst, year, n``, codes as text.

    Raises
    ------
    TableInvalid
        The file is missing, is no table, misses a column, or a year or flow is no number.
    """
    import pandas as pd

    frame = read_foreign(path, "instrument.flows")
    absent = [name for name in ("src", "dst", "year", "n") if name not in frame]
    if absent:
        raise TableInvalid(
            f"the flows have no column {', '.join(absent)}", where=path, mend="name the columns src, dst, year, n"
        )
    bad = [name for name in ("year", "n") if not pd.api.types.is_numeric_dtype(frame[name]) or frame[name].isna().any()]
    if bad:
        raise TableInvalid(
            f"column {', '.join(bad)} holds something that is no number", where=path, mend="correct or drop such rows"
        )
    return frame.astype({"src": str, "dst": str})


# --- computing -----------------------------------------------------------------------------------------------------


def instruments_from_exposure(
    place: Workspace, source: InstrumentSource, pairs: pd.DataFrame, exposure: Exposure
) -> dict[str, Instrument]:
    """``iv_hist_tel`` of counted offices and, where configured, ``iv_1984_tel``, for all rows of a pair panel."""
    from gis.historical.exposure import read_counts
    from gis.panel.instrument import InstrumentOptions, instrument, rows_after

    flows = read_flows(place.path(source.flows))
    options = InstrumentOptions(
        source.national, source.lag, source.leave_out, source.denominator, source.zeros, source.iv_scale
    )
    after = None
    if source.lag == 0:
        levels = tables.read_table(tables.CITY_YEAR, place.out / "city_year.parquet")
        inside = levels["city_code"].isin(set(pairs["city_i"]) | set(pairs["city_j"]))
        after = rows_after(levels[inside], tie=place.config.panel.tie)
    counts = {"iv_hist_tel": exposure}
    if source.telephones:
        counts["iv_1984_tel"] = read_counts(place.path(source.telephones.file), source.telephones.column)
    return {
        name: instrument(pairs, flows, value, options, after=after, drop_unknown=source.drop_unknown)
        for name, value in counts.items()
    }


def _diagnostics(instruments: dict[str, Instrument]) -> pd.DataFrame:
    import pandas as pd

    from gis.panel.instrument import diagnostics

    return pd.concat([diagnostics(one).assign(instrument=name) for name, one in instruments.items()], ignore_index=True)


def _draws(
    place: Workspace, source: InstrumentSource, offices: Offices, cities: CityLookup, sheet: _Sheet | None,
    threads: int | None, say: Report,
) -> CountDraws | None:  # fmt: skip
    from gis.historical.bootstrap import bootstrap_counts

    how = source.offices
    if how.bootstrap == "none":
        return None
    if sheet is None and how.bootstrap == "points":
        raise ConfigInvalid(
            "there are no control points to draw",
            where="instrument.offices.bootstrap",
            mend='set control_points, or bootstrap = "positions"',
        )
    scanned = sheet is not None and "scan" in offices.position
    return bootstrap_counts(
        offices,
        cities,
        kind=how.bootstrap if scanned else "positions",
        draws=how.bootstrap_draws,
        seed=how.seed,
        refit=sheet.refit if sheet else None,
        used=sheet.points.is_used if sheet else None,
        snap_sigmas=how.snap_sigmas,
        threads=threads or place.config.compute.threads,
        progress=lambda done, n: say("drawing control points and positions", done, n),
    )


def _assignment_notes(offices: Offices, hard: HardAssignment, roster: tuple[str, ...]) -> list[str]:
    from gis.historical.offices import some

    notes = []
    for flag, said in (("SNAPPED", "given to the nearest city"), ("NOWHERE", "in no city and not counted")):
        named = [
            f"{i} {n}".strip() for i, n, f in zip(offices.ids, offices.names, hard.flags, strict=True) if f == flag
        ]
        if named:
            notes.append(f"{len(named)} offices outside every city, {said}: {some(named)}")
    inside = set(roster)
    apart = [o for o, k in zip(offices.ids, hard.city_idx, strict=True) if k >= 0 and hard.city_codes[k] not in inside]
    if apart:
        notes.append(f"{len(apart)} offices stand in units that form no pairs and do not count: {some(apart)}")
    return notes


def _instrument_notes(instruments: dict[str, Instrument], draws: CountDraws | None) -> list[str]:
    notes = [f"{name}: {note}" for name, one in instruments.items() for note in one.notes]
    if draws is not None and draws.n_redrawn:
        notes.append(
            f"bootstrap: {draws.n_redrawn} resamples of control points could not be fitted and were drawn again"
        )
    return notes


# --- writing -------------------------------------------------------------------------------------------------------


def _frames(
    place: Workspace, source: InstrumentSource, offices: Offices, hard: HardAssignment, probable: Probabilities,
    split: Probabilities | None, instruments: dict[str, Instrument], diagnostics: pd.DataFrame,
    draws: CountDraws | None, roster: tuple[str, ...], sheet: _Sheet | None,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    from gis.historical.exposure import count_rows, office_rows, probability_rows

    first = instruments["iv_hist_tel"]
    frames = {
        "office": office_rows(offices, hard, probable),
        "office_city": probability_rows(offices, probable),
        "city_office": count_rows(hard, probable, split),
        "pair_instrument": instrument_rows(instruments),
        "instrument_year": first.by_year,
        "instrument_diagnostics": diagnostics,
    }
    if draws is not None:
        frames["office_draw"] = draws.rows(roster)
    if source.offices.lines:
        frames["pair_line"] = _line_rows(place, source, offices, hard, roster, sheet)
    return frames


def instrument_rows(instruments: dict[str, Instrument]) -> pd.DataFrame:
    """Rows of ``PAIR_INSTRUMENT``; without telephones their columns are empty."""
    first = instruments["iv_hist_tel"].rows
    phones = instruments.get("iv_1984_tel")
    return first.rename(columns={"share": "office_share", "iv": "iv_hist_tel"}).assign(
        phone_share=phones.rows["share"] if phones else np.nan, iv_1984_tel=phones.rows["iv"] if phones else np.nan
    )


def _line_rows(
    place: Workspace, source: InstrumentSource, offices: Offices, hard: HardAssignment, roster: tuple[str, ...],
    sheet: _Sheet | None,
) -> pd.DataFrame:  # fmt: skip
    import pandas as pd

    from gis.historical.lines import city_network, read_lines
    from gis.panel import pair_id

    how = source.offices
    transform = sheet.accuracy.transform if sheet else None
    lines = read_lines(
        place.path(str(how.lines)), offices, transform, crs=how.crs, space=how.space, touch_km=how.lines_touch_km
    )
    network = city_network(lines, hard.city_idx, hard.city_codes)
    at = np.array([hard.city_codes.index(code) for code in roster])
    a, b = np.triu_indices(len(roster), 1)
    km = network.km[at[a], at[b]]
    return pd.DataFrame(
        {
            "pair_id": [pair_id(roster[i], roster[j]) for i, j in zip(a, b, strict=True)],
            "city_i": np.array(roster, dtype=object)[a],
            "city_j": np.array(roster, dtype=object)[b],
            "is_line_direct": network.is_direct[at[a], at[b]],
            "is_line_connected": np.isfinite(km),
            "line_km": np.where(np.isfinite(km), km, np.nan),
        }
    )


def _write(
    place: Workspace, source: InstrumentSource, frames: dict[str, pd.DataFrame], notes: tuple[str, ...]
) -> dict[str, Path]:
    """Write every table, and add inputs and outputs to the lineage of the run."""
    from gis.export.lineage import Lineage, read_lineage, write_lineage

    log = place.out / "lineage.json"
    settings = place.config.model_dump(mode="json")
    lineage = read_lineage(log, workspace=place.root) if log.is_file() else Lineage(place.root)
    lineage.settings, lineage.versions = settings, {}
    how = source.offices
    inputs = {
        "offices": how.file,
        "control_points": how.control_points,
        "scan": how.scan,
        "gazetteer": how.gazetteer,
        "lines": how.lines,
        "flows": source.flows,
        "telephones": source.telephones.file if source.telephones else None,
    }
    made_from = [lineage.add_input(role, place.path(relative)) for role, relative in inputs.items() if relative]
    for name in ("units_city.parquet", "pair_year.parquet"):
        relative = lineage.relative(place.out / name)
        made_from.append(relative if relative in lineage.outputs else lineage.add_input("run", place.out / name))
    metadata = {"workspace": place.config.workspace.name, "instrument": settings["instrument"], "notes": list(notes)}
    paths: dict[str, Path] = {}
    for name, frame in frames.items():
        paths[name] = tables.write_table(tables.TABLES[name], frame, place.out / f"{name}.parquet", metadata=metadata)
        lineage.add_output(paths[name], rows=len(frame), made_from=made_from, steps=["instrument"])
    write_lineage(log, lineage)
    for name in {t.name for t in _OWN} - set(frames):  # of an earlier run with other settings
        (place.out / f"{name}.parquet").unlink(missing_ok=True)
    return paths


_OWN = (
    tables.OFFICE, tables.OFFICE_CITY, tables.CITY_OFFICE, tables.OFFICE_DRAW, tables.PAIR_INSTRUMENT,
    tables.INSTRUMENT_YEAR, tables.INSTRUMENT_DIAGNOSTICS, tables.PAIR_LINE,
)  # fmt: skip
"""Tables of this step."""
