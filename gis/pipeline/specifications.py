"""``lightpanel estimate --curve``: the main coefficient under every level, every set of boundaries, every instrument.

In: a workspace. Out: ``estimate_curve`` (Parquet, CSV), ``estimate_curve.md`` and ``estimate_curve.png``.

Every panel is made from the rasters' stored sums by the steps that ``run``, ``panel`` and ``estimate`` take, in a
folder that goes away afterwards: one panel is there at a time, and results in ``out/`` stay as they are. The
specification with the workspace's own settings is made anew as well and equals what ``lightpanel estimate`` finds.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from gis import tables
from gis.errors import ConfigInvalid, OptionInvalid
from gis.estimate import Estimate, Model, Spread, plot_curve, specification_curve
from gis.estimate.inference import CLUSTERINGS
from gis.estimate.models import NET, TELEGRAPH, TELEPHONE
from gis.grid import MEASURES
from gis.pipeline.estimate import Report, chosen_models
from gis.pipeline.inputs import read_inputs
from gis.pipeline.sensitivity import PRESETS
from gis.pipeline.specification_panels import IV_OPTIONS, MODES, Panels, Specification, spread_of, with_option
from gis.workspace import Config, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"
"""Leaves an axis as the workspace has it."""

INSTRUMENTS = {"telegraph": (TELEGRAPH,), "telephone": (TELEPHONE,), "both": (TELEGRAPH, TELEPHONE)}
"""Instruments a least-squares model is estimated with a second time. Source: METHOD 5 A7."""


@dataclass(frozen=True, slots=True)
class CurveResult:
    """What the command has made."""

    workspace: Workspace
    """Where it ran."""
    curve: pd.DataFrame
    """Rows of ``ESTIMATE_CURVE``: one per specification and model."""
    text: str
    """Summary and table as Markdown."""
    paths: dict[str, Path]
    """What -> file, in the order written."""


def run_specifications(
    workspace: str | Path | Workspace = ".",
    *,
    term: str = NET,
    models: Sequence[str] = (),
    formulas: Sequence[str] = (),
    levels: Sequence[str] = (),
    boundaries: Sequence[str] = (),
    iv: Sequence[str] = (),
    cross: bool = False,
    threads: int | None = None,
    report: Report | None = None,
) -> CurveResult:
    """Estimate one coefficient under every specification and write table and plot to ``out/``.

    Parameters
    ----------
    term : the coefficient.
    models, formulas : instead of those of ``[estimate]``; of the configured ones, those with the term. A least-squares
        model is also estimated by 2SLS, ``term`` instrumented by what the workspace has.
    levels : presets and measures: ``exact/true``, ``paper``, ...; default: those of ``lightpanel sensitivity``.
    boundaries : dates of vintages, ``yearly``, ``crosswalk``; default: all that the workspace has.
    iv : ``telegraph``, ``telephone``, ``both``, and options as ``leave_out=loo``; default: all that the workspace has.
    cross : every combination; default: one departure from the workspace's own settings at a time.
    threads : changes no number.
    report : called with (step, done, in all).

    Raises
    ------
    OptionInvalid
        An unknown name, or no model has the term.
    GisError
        The inputs cannot be read, or nothing at all could be estimated; nothing is written then.

    Notes
    -----
    A specification that cannot be made or estimated keeps its row, with the reason in ``notes``.
    """
    import pandas as pd

    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    wanted, twins = specifications(place.config, levels, boundaries, iv, cross=cross)
    base = wanted[0]
    chosen = _curve_models(place.config, models, formulas, term, twins)
    say = report or (lambda step, done, n: None)
    parts = []
    place.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.cache, prefix="specifications-") as scratch:
        panels = Panels(read_inputs(place), str(Path(scratch).relative_to(place.root)), threads)
        for k, one in enumerate(wanted):
            say("specifications", k, len(wanted))
            parts.append(_rows(panels, one, base, chosen, term))
        say("specifications", len(wanted), len(wanted))
    curve = pd.concat([part for part in parts if len(part)], ignore_index=True)
    if curve["coef"].isna().all():
        raise OptionInvalid(
            f"none of {len(curve)} specifications could be estimated; the first: {curve['notes'].iloc[0]}",
            where=chosen[0].formula,
            mend="name a model that lightpanel estimate can estimate: --formula 'bal ~ ln_dkf_net | pair_id + year'",
        )
    return _write(place, curve, chosen, term)


# --- which specifications --------------------------------------------------------------------------------------------


def specifications(
    config: Config,
    levels: Sequence[str] = (),
    boundaries: Sequence[str] = (),
    iv: Sequence[str] = (),
    *,
    cross: bool = False,
) -> tuple[list[Specification], list[str]]:
    """What a workspace holds, or those parts of it that are named; see `run_specifications`.

    Returns
    -------
    list of Specification, list of str
        The workspace's own settings first, those of one panel together; names among `INSTRUMENTS`.

    Raises
    ------
    OptionInvalid, ConfigInvalid
        An unknown name; ``iv`` without an instrument.
    """
    base = _base(config)
    some_levels = _pick(levels, _levels(base), "--level", _level_aliases())
    some_boundaries = _pick(boundaries, _boundaries(config, base), "--boundaries")
    twins, options = _iv_choices(config, iv)
    if cross:
        axes = ([base.level, *some_levels], [base.boundaries, *some_boundaries], ["", *options])
        return [Specification(*one) for one in product(*map(dict.fromkeys, axes))], twins
    found = [
        base,
        *(replace(base, iv_option=option) for option in options),
        *(replace(base, level=name) for name in some_levels),
        *(replace(base, boundaries=name) for name in some_boundaries),
    ]
    return list(dict.fromkeys(found)), twins


def _base(config: Config) -> Specification:
    source = config.boundaries.city or config.boundaries.district
    assert source is not None
    fixed = config.boundaries.mode == "fixed"
    own = str(source.vintage) if fixed else config.boundaries.mode
    return Specification(f"{config.levels.preset}/{config.levels.measure}", own)


def _levels(base: Specification) -> list[str]:
    """Those that `lightpanel sensitivity` compares, and the workspace's own."""
    known = [f"exact/{m}" for m in MEASURES] + [f"{p}/lambert" for p in PRESETS if p != "exact"]
    return list(dict.fromkeys([base.level, *known]))


def _level_aliases() -> dict[str, str]:
    """Every other way to name a level: any measure under any preset, a measure alone, a preset alone."""
    every = {f"{p}/{m}": f"{p}/{m}" for p in PRESETS for m in MEASURES}
    return every | {m: f"exact/{m}" for m in MEASURES} | {p: f"{p}/lambert" for p in PRESETS}


def _boundaries(config: Config, base: Specification) -> list[str]:
    source, more = config.boundaries.city or config.boundaries.district, config.boundaries.vintages
    dates = [str(source.vintage) if source else "", *(v.date for v in more)]
    return list(dict.fromkeys([base.boundaries, *dates, *(MODES if more else ())]))


def _iv_choices(config: Config, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names among `INSTRUMENTS`, and options as ``key=value``."""
    source = config.instrument
    if source is None:
        if given and tuple(given) != (NONE,):
            raise ConfigInvalid("there is no section [instrument]", where="--iv", mend="add it, or leave --iv out")
        return [], []
    twins = [name for name, columns in INSTRUMENTS.items() if source.telephones or TELEPHONE not in columns]
    options = [
        f"{key}={value}"
        for key, values in IV_OPTIONS.items()
        for value in values
        if value != getattr(source, key) and (value != "split" or source.offices.split_km is not None)
    ]
    picked = _pick(given, [*twins, *options], "--iv")
    some_twins, some = [p for p in picked if p in twins], [p for p in picked if p in options]
    return (twins if some and not some_twins else some_twins), some


def _pick(given: Sequence[str], known: list[str], flag: str, aliases: dict[str, str] | None = None) -> list[str]:
    """The names asked for, each once; all known ones where none is asked for."""
    if not given:
        return known
    names = {name: name for name in known} | (aliases or {})
    if tuple(given) == (NONE,):
        return []
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            raise OptionInvalid(
                f"no specification {name!r}",
                where=flag,
                mend=(f"did you mean {' or '.join(near)}? " if near else "") + f"known: {', '.join((*known, NONE))}",
            )
    return list(dict.fromkeys(names[name] for name in given))


def _curve_models(
    config: Config, models: Sequence[str], formulas: Sequence[str], term: str, twins: Sequence[str]
) -> list[Model]:
    """Models with the term; of least-squares models also their 2SLS twins."""
    asked = chosen_models(config.estimate, models, formulas)
    held = [model for model in asked if term in model.terms]
    if not held:
        terms = sorted({t for model in asked for t in model.terms})
        near = difflib.get_close_matches(term, terms, n=3, cutoff=0.4)
        raise OptionInvalid(
            f"no model has the term {term}",
            where=", ".join(model.name for model in asked),
            mend=(f"did you mean {' or '.join(near)}? " if near else "") + f"terms: {', '.join(terms)}",
        )
    more = [
        replace(
            model,
            name=f"{model.name}_iv_{name}",
            exog=tuple(t for t in model.exog if t != term),
            endog=(term,),
            instruments=INSTRUMENTS[name],
            title="",
        )
        for model in held
        if not model.endog
        for name in twins
    ]
    # A twin that is configured anyway keeps its configured name.
    by_formula = {model.formula: model for model in reversed([*held, *more])}
    return [*held, *(model for model in more if by_formula[model.formula] is model)]


def _rows(panels: Panels, one: Specification, base: Specification, models: Sequence[Model], term: str) -> pd.DataFrame:
    """Rows of ``ESTIMATE_CURVE`` of one specification: all models, or those whose instrument its option changes."""
    key = one.iv_option.partition("=")[0]
    moved = {TELEGRAPH} if key == "counts" else {TELEGRAPH, TELEPHONE}
    concerned = [m for m in models if not key or moved & {c for t in m.instruments for c in t.split(":")}]
    said: list[str] = []

    def panel() -> pd.DataFrame:
        made = panels.of(one)
        if key:
            frame, notes = with_option(made, one.iv_option)
        else:
            instruments = made.built.instruments.values() if made.built else ()
            frame, notes = made.frame, tuple(note for found in instruments for note in found.notes)
        said.extend(notes)
        return frame

    def spread(frame: pd.DataFrame, found: Estimate) -> Spread | str:
        return spread_of(panels.of(one), frame, found, one.iv_option)

    curve = specification_curve({one.name(base): panel}, concerned, term, spread=spread)
    iv, words = curve["estimator"] == "2sls", "; ".join(dict.fromkeys(said))
    curve.loc[iv, "notes"] = ["; ".join(t for t in (text, words) if t) for text in curve.loc[iv, "notes"]]
    preset, measure = one.level.split("/")
    return curve.assign(
        is_base=one == base, preset=preset, measure=measure, boundaries=one.boundaries, iv_option=one.iv_option
    )[list(tables.ESTIMATE_CURVE.columns)]


# --- writing ---------------------------------------------------------------------------------------------------------


def _write(place: Workspace, curve: pd.DataFrame, models: Sequence[Model], term: str) -> CurveResult:
    from gis.export.csv_tables import write_csv

    table, clustering = tables.ESTIMATE_CURVE, place.config.estimate.clustering
    stem = place.out / table.name
    text = curve_text(curve, models, term)
    paths = {"plot": plot_curve(curve, stem.with_suffix(".png"), clustering=clustering, title=term)}
    paths["table"] = tables.write_table(table, curve, stem.with_suffix(".parquet"))
    paths["csv"] = write_csv(table, paths["table"], stem.with_suffix(".csv"))
    paths["text"] = stem.with_suffix(".md")
    with tables.atomic_path(paths["text"]) as temporary:
        temporary.write_text(text, encoding="utf-8")
    _remember(place, paths, len(curve))
    return CurveResult(place, curve, text, paths)


def _remember(place: Workspace, paths: dict[str, Path], rows: int) -> None:
    """The lineage of the run learns of the outputs; they come from all its inputs and from the joined tables."""
    from gis.export.lineage import Lineage, read_lineage, write_lineage

    log = place.out / "lineage.json"
    lineage = read_lineage(log, workspace=place.root) if log.is_file() else Lineage(place.root)
    lineage.settings, lineage.versions = place.config.model_dump(mode="json"), {}
    lineage.add_input("config", place.config_path)
    for relative in place.config.estimate.tables:
        lineage.add_input(relative, place.path(relative))
    made_from = [one.path for one in lineage.sorted_inputs()]
    for name, path in paths.items():
        lineage.add_output(path, rows=rows if name in ("table", "csv") else None, made_from=made_from, steps=["curve"])
    write_lineage(log, lineage)


def curve_text(curve: pd.DataFrame, models: Sequence[Model], term: str) -> str:
    """Summary and table as Markdown."""
    lines = [f"# {term} under {len(curve)} specifications", ""]
    lines += [f"- {line}" for line in summary_lines(curve)]
    lines += ["", *(f"- model {m.name}: `{m.formula}`" for m in models), ""]
    head = ("specification", "model", "coefficient", *(f"se {c}" for c in CLUSTERINGS), "sd over draws", "rank F pair",
            "rank F dyadic", "N", "notes")  # fmt: skip
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in curve.to_dict("records"):
        cells = [row["variant"], row["model"], _number(row["coef"])]
        cells += [_number(row[f"se_{c}"]) for c in CLUSTERINGS] + [_number(row["coef_sd_draws"])]
        cells += [_number(row["kp_f_pair"], 1), _number(row["kp_f_dyadic"], 1), f"{row['n_obs']:,}"]
        lines.append("| " + " | ".join([*cells, row["notes"].replace("|", "/")]) + " |")
    return "\n".join(lines) + "\n"


def summary_lines(curve: pd.DataFrame) -> list[str]:
    """How many specifications, their range, signs and significance, least squares and 2SLS apart."""
    lines = []
    for name, part in _by_estimator(curve):
        known = part.dropna(subset=["coef"])
        said = f"{name}: {len(part)} specifications, {len(known)} estimated, {len(part) - len(known)} not"
        if len(known):
            low, high = known.iloc[int(known["coef"].argmin())], known.iloc[int(known["coef"].argmax())]
            said += (
                f"; from {_number(low['coef'])} ({low['variant']}, {low['model']}) to {_number(high['coef'])} "
                f"({high['variant']}, {high['model']}), median {_number(known['coef'].median())}; "
                f"{(known['coef'] > 0).sum()} positive, {(known['coef'] < 0).sum()} negative; significant at 5 %: "
                + ", ".join(f"{(known[f'p_{c}'] < 0.05).sum()} by {c}" for c in CLUSTERINGS)
            )
        lines.append(said)
    lost = curve[curve["coef"].isna()]
    lines += [f"{row['variant']}, {row['model']}: {row['notes']}" for row in lost.to_dict("records")]
    return lines


def _by_estimator(curve: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for estimator, name in (("fe", "fixed effects"), ("2sls", "2SLS")):
        part = curve[curve["estimator"] == estimator]
        if len(part):
            yield name, part


def _number(value: float, digits: int = 4) -> str:
    return "" if value != value else f"{value:.{digits}f}"
