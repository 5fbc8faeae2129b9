"""The estimation step: the models of ``[estimate]`` on the pair panel of a finished run.

In: a workspace, its ``out/pair_year.parquet`` and every table beside it with the same keys. Out: the tables
``estimate``, ``estimate_model``, ``estimate_rows`` (Parquet and CSV), ``estimate.md``, ``.tex``, ``.html``, and plots
by year.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import GisError, TableInvalid
from gis.estimate import Estimate, Model, estimate, frames_from_estimates, model_from_formula, named_models
from gis.estimate.condition import rows_where
from gis.estimate.models import TELEGRAPH
from gis.tables import ESTIMATE_CURVE, OFFICE_DRAW, PAIR_YEAR, TABLES, Table, atomic_path, read_table, write_table
from gis.tables.foreign import read_foreign
from gis.workspace import Estimation, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

    from gis.estimate import Spread
    from gis.estimate.inference import Clustering

Report = Callable[[str, int, int], None]
PAIR_KEYS = (("pair_id", "year"), ("pair_id",))
"""Keys of tables that can be joined to the pair panel."""
LEFT_OUT = ("RESTRICTED", "TRIMMED")
"""``row_flag`` of rows that have all they need and are left out of the sample by choice."""


@dataclass(frozen=True, slots=True)
class EstimationResult:
    """What the step has made."""

    workspace: Workspace
    """Where it ran."""
    estimates: tuple[Estimate, ...]
    """One per model."""
    spreads: dict[str, Spread | str]
    """Model -> spread over the draws of the offices, or why there is none; for models with the telegraph, where draws
    are there."""
    text: str
    """The table as Markdown."""
    paths: dict[str, Path]
    """What -> file, in the order written."""


def run_estimation(
    workspace: str | Path | Workspace = ".",
    *,
    models: Sequence[str] = (),
    formulas: Sequence[str] = (),
    report: Report | None = None,
) -> EstimationResult:
    """Estimate the configured models, or those named here, and write tables to ``out/``.

    Parameters
    ----------
    models, formulas : instead of those of ``[estimate]``.
    report : called with (step, done, in all).

    Raises
    ------
    TableInvalid
        There is no finished run, or a table cannot be joined.
    GisError
        As `gis.estimate.estimate`; nothing is written then.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    config = place.config.estimate
    say = report or (lambda step, done, n: None)
    chosen = chosen_models(config, models, formulas)
    panel, sources = read_panel(place)
    found: list[Estimate] = []
    for k, model in enumerate(chosen):
        say("estimating", k, len(chosen))
        found.append(_with_outsiders(panel, estimate(panel, model)))
    say("estimating", len(chosen), len(chosen))
    return _write(place, tuple(found), _spreads(place, panel, found), panel, sources)


def _with_outsiders(panel: pd.DataFrame, found: Estimate) -> Estimate:
    """The estimate, with a note where rows are in it that ``[sample]`` leaves out of its own."""
    model = found.model
    if "row_flag" not in panel:
        return found
    inside = panel["row_flag"].isin(LEFT_OUT) & panel[list(model.columns)].notna().all(axis=1)
    if model.where:
        inside &= rows_where(panel, model.where, model.name)
    if not inside.any():
        return found
    note = "rows that [sample] leaves out are in it; without them: estimate.where = \"row_flag == ''\""
    return replace(found, notes=(*found.notes, f"{int(inside.sum())} {note}"))


def chosen_models(config: Estimation, models: Sequence[str] = (), formulas: Sequence[str] = ()) -> list[Model]:
    """The models named, or those of ``[estimate]`` where none is, on the rows of ``estimate.where``."""
    rows = config.where
    if models or formulas:
        chosen = [replace(m, where=rows) for name in models for m in named_models(name)]
        chosen += [model_from_formula(f"model{k}", text, where=rows) for k, text in enumerate(formulas, start=1)]
    else:
        chosen = [replace(m, where=rows) for name in config.models for m in named_models(name)]
        chosen += [model_from_formula(name, text, where=rows) for name, text in config.formulas]
    return list({m.name: m for m in chosen}.values())


def read_panel(place: Workspace) -> tuple[pd.DataFrame, dict[str, Path]]:
    """The pair panel with every table of the run that has its keys, the flows and the configured tables.

    A column that is there already is not joined again: the pair panel's own come first.
    """
    config = place.config.estimate
    sources = {PAIR_YEAR.name: place.out / f"{PAIR_YEAR.name}.parquet"}
    panel = read_table(PAIR_YEAR, sources[PAIR_YEAR.name])
    for table in TABLES.values():
        path = place.out / f"{table.name}.parquet"
        if table.key in PAIR_KEYS and table not in (PAIR_YEAR, ESTIMATE_CURVE) and path.is_file():
            panel, sources[table.name] = _join(panel, read_table(table, path), path), path
    for relative in config.tables:
        path = place.path(relative)
        panel, sources[relative] = _join(panel, read_foreign(path, "estimate.tables or estimate.flows"), path), path
    flows = config.flows or (place.config.instrument.flows if place.config.instrument else None)
    if flows and "ln_dkf_net" not in panel:
        from gis.panel.flows import oriented_flows

        path = place.path(flows)
        directed = read_foreign(path, "estimate.tables or estimate.flows")
        directed = directed.assign(src=directed["src"].astype(str), dst=directed["dst"].astype(str))
        panel, sources["flows"] = _join(panel, oriented_flows(panel, directed, drop_unknown=True), path), path
    return panel, sources


def _join(panel: pd.DataFrame, table: pd.DataFrame, where: Path) -> pd.DataFrame:
    keys = ["pair_id", "year"] if "year" in table else ["pair_id"]
    if "pair_id" not in table:
        raise TableInvalid(
            "no column pair_id", where=where, mend="a table for estimation has pair_id, and year where it changes"
        )
    if table.duplicated(keys).any():
        raise TableInvalid(
            f"{int(table.duplicated(keys).sum())} rows repeat {' and '.join(keys)}",
            where=where,
            mend=f"keep one row for each {' and '.join(keys)}",
        )
    new = [c for c in table.columns if c not in panel.columns]
    return panel.merge(table[[*keys, *new]], on=keys, how="left", validate="many_to_one")


def _spreads(place: Workspace, panel: pd.DataFrame, found: Sequence[Estimate]) -> dict[str, Spread | str]:
    path = place.out / f"{OFFICE_DRAW.name}.parquet"
    if not path.is_file():
        return {}
    import pyarrow.parquet as pq

    draws = read_table(OFFICE_DRAW, path)
    # Settings of the step that made the instrument: those of the config may have changed since.
    made = json.loads((pq.read_schema(path).metadata or {}).get(b"lightpanel", b"{}")).get("instrument", {})
    how = {key: str(made.get(key, usual)) for key, usual in (("counts", "hard"), ("zeros", "keep"))}
    clustering = place.config.estimate.clustering
    suited = [e for e in found if any(TELEGRAPH in t.split(":") for t in e.model.instruments)]
    return {e.model.name: offices_spread(panel, e, draws, clustering=clustering, **how) for e in suited}


def offices_spread(
    panel: pd.DataFrame,
    found: Estimate,
    draws: pd.DataFrame,
    *,
    counts: str,
    zeros: str,
    clustering: Clustering = "pair",
) -> Spread | str:
    """Spread of a 2SLS coefficient over the draws of the offices, or why there is none.

    Parameters
    ----------
    panel, found : a panel and an estimate on it.
    draws : rows of ``OFFICE_DRAW``.
    counts, zeros : of ``[instrument]``, as the panel's instrument was made.
    """
    from gis.estimate import instrument_spread

    if found.model.instruments != (TELEGRAPH,) or len(found.model.endog) != 1:
        return "no spread: the draws are of the telegraph offices alone"
    if counts != "hard":
        return "no spread: the draws count an office in one city"
    if zeros == "drop_zero":
        return "no spread: every draw drops other pairs"
    if zeros == "plus1":
        draws = draws.assign(share_root=1.0 + draws["n_offices"])  # less a factor of the draw, which 2SLS does not see
    try:
        return instrument_spread(panel, found.model, draws, clustering=clustering, found=found)
    except GisError as error:
        return f"no spread: {error.what}"


def _write(
    place: Workspace,
    found: tuple[Estimate, ...],
    spreads: dict[str, Spread | str],
    panel: pd.DataFrame,
    sources: dict[str, Path],
) -> EstimationResult:
    from gis.estimate import table_html, table_latex, table_markdown
    from gis.export.csv_tables import write_csv

    config, paths = place.config.estimate, {}
    options: dict[str, Any] = {"clustering": config.clustering, "all_errors": config.all_errors}
    words = [spread_text(name, s) for name, s in spreads.items()]
    markdown = table_markdown(found, **options) + "".join(f"{w}  \n" for w in words)
    plots = _year_plots(place, found, panel)
    for name, frame in frames_from_estimates(found).items():
        table: Table = TABLES[name]
        paths[name] = write_table(table, frame, place.out / f"{name}.parquet")
        paths[f"{name}.csv"] = write_csv(table, paths[name], place.out / f"{name}.csv")
    texts = {"estimate.md": markdown, "estimate.tex": table_latex(found, **options)}
    texts["estimate.html"] = table_html(found, **options) + "".join(f"<p>{w}</p>\n" for w in words)
    for name, text in texts.items():
        paths[name] = place.out / name
        with atomic_path(paths[name]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    paths |= plots
    _lineage(place, paths, sources)
    return EstimationResult(place, found, spreads, markdown, paths)


def spread_text(name: str, spread: Spread | str) -> str:
    """One sentence on what the draws of the offices do to a coefficient."""
    if isinstance(spread, str):
        return f"{name}: {spread}."
    low, middle, high = spread.percentiles()
    return (
        f"{name}: {spread.coef:.4f}, standard error {spread.se:.4f} with the offices as read; over {spread.draws.size} "
        f"draws of the map the coefficient has a standard deviation of {spread.sd:.4f} (2.5 to 97.5 %: {low:.4f} to "
        f"{high:.4f}, median {middle:.4f}); both together {spread.total_se:.4f}."
    )


def _year_plots(place: Workspace, found: Sequence[Estimate], panel: pd.DataFrame) -> dict[str, Path]:
    from gis.estimate import plot_years, year_coefficients

    paths: dict[str, Path] = {}
    for term in place.config.estimate.by_year:
        for model in [e.model for e in found if term in e.model.exog]:
            coefs = year_coefficients(panel, model, term)
            stem = f"estimate_years_{model.name}_{term}".replace(":", "_x_")
            clustering = place.config.estimate.clustering
            title = f"{model.title or model.name}: {term}"
            paths[f"{stem}.png"] = plot_years(coefs, place.out / f"{stem}.png", clustering=clustering, title=title)
            with atomic_path(place.out / f"{stem}.csv") as temporary:
                coefs.to_csv(temporary, index=False)
            paths[f"{stem}.csv"] = place.out / f"{stem}.csv"
    return paths


def _lineage(place: Workspace, paths: dict[str, Path], sources: dict[str, Path]) -> None:
    from gis.export.lineage import Lineage, read_lineage, write_lineage

    log = place.out / "lineage.json"
    lineage = read_lineage(log, workspace=place.root) if log.is_file() else Lineage(place.root)
    lineage.settings, lineage.versions = place.config.model_dump(mode="json"), {}
    made_from = []
    for role, path in sources.items():
        relative = lineage.relative(path)
        made_from.append(relative if relative in lineage.outputs else lineage.add_input(role, path))
    for path in paths.values():
        lineage.add_output(path, made_from=made_from, steps=["estimate"])
    write_lineage(log, lineage)


def demo_table(workspace: str | Path | Workspace) -> str:
    """The demo's known coefficients beside their estimates: outcomes made on the pairs and flows of a finished run."""
    from gis.demo.estimation import known_outcomes, truth_of_model

    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    pairs = read_table(PAIR_YEAR, place.out / f"{PAIR_YEAR.name}.parquet")
    panel = known_outcomes(pairs, read_foreign(place.root / "flows" / "flows.csv", "estimate.tables or estimate.flows"))
    lines = [
        "Estimation against known coefficients (outcomes made on this panel's pairs and flows, gis.demo.estimation):",
        f"  {'model':22} {'term':14} {'true':>9} {'estimate':>9} {'se':>8}  95 % interval",
    ]
    for model, truth in truth_of_model():
        found = estimate(panel, model)
        for term, value in truth.items():
            low, high = found.main.interval()[found.main.at(term)]
            holds = "holds it" if low <= value <= high else "misses it"
            lines.append(
                f"  {model.title:22} {term:14} {value:9.4f} {found.coef(term):9.4f} {found.se(term):8.4f}  "
                f"[{low:.4f}, {high:.4f}] {holds}"
            )
    return "\n".join(lines)
