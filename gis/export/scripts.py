"""Scripts beside an export: ``lightpanel.do`` for Stata files, ``lightpanel.R`` for CSV files.

In: the tables exported, the lineage of their run. Out: text files that add units and provenance to every variable,
declare the panel, and estimate the models whose columns are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gis.errors import GisError
from gis.estimate.models import Model, model_from_formula, named_models
from gis.export.conditions import columns_of, translated
from gis.export.lineage import Lineage, read_lineage
from gis.export.stata import stata_name, stata_names
from gis.indicators.flags import FLAGS
from gis.tables import PAIR_PANEL, PAIR_YEAR, Table, atomic_path

DO_FILE, R_FILE = "lightpanel.do", "lightpanel.R"
"""File names of the scripts."""

PAIR_KEYS = (("pair_id", "year"), ("pair_id",))
"""Keys of tables whose columns can be joined to the pair panel."""
MODERATORS = (
    "compat_kno", "compat_dem", "gap_k", "gap_l", "gap_d", "east_east", "west_west", "east_west", "east_dev",
    "gap_scale", "gap_light",
)  # fmt: skip
"""Columns that equation (2) is also estimated with, beside their product with the net flow. Source: METHOD 6.5."""


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """What a script estimates, and on what."""

    base: Table
    """Table with Bal."""
    joined: tuple[tuple[Table, tuple[str, ...]], ...]
    """Further tables, and the columns that models need of them."""
    models: tuple[Model, ...]
    """Models whose columns are all there."""
    left_out: tuple[tuple[Model, str], ...]
    """The others, and why they are not."""

    def columns(self) -> dict[str, str]:
        """Column -> itself, of all tables: the names that CSV files have."""
        return {c: c for t in (self.base, *(t for t, _ in self.joined)) for c in t.columns}


def plan(tables: Sequence[Table], lineage: Lineage | None) -> PanelPlan | None:
    """What can be estimated on the tables; None without a pair panel among them.

    The models are those of METHOD 6 (Table 1, 2SLS, the moderators that are there) and those of ``[estimate]``, all on
    the rows that ``[estimate]`` asks for.
    """
    by_name = {t.name: t for t in tables}
    base = by_name.get(PAIR_PANEL.name) or by_name.get(PAIR_YEAR.name)
    if base is None:
        return None
    owner = dict.fromkeys(base.columns, base)
    for table in by_name.values():
        if table.key in PAIR_KEYS:
            owner |= {c: table for c in table.columns if c not in owner}
    chosen, left_out = [], []
    for model in _models(lineage, owner):
        absent = [c for c in _needed(model) if c not in owner]
        if absent:
            left_out.append((model, f"for want of {', '.join(absent)}"))
        elif model.where and translated(model.where, "stata", {c: c for c in owner}) is None:
            # On other rows it would be another model.
            left_out.append((model, f"as its condition has no translation ({model.where})"))
        else:
            chosen.append(model)
    needed = dict.fromkeys(c for m in chosen for c in _needed(m))
    sources = {owner[c].name: owner[c] for c in needed if owner[c] is not base}
    joined = tuple((t, tuple(c for c in needed if owner[c] is t)) for t in sources.values())
    return PanelPlan(base, joined, tuple(chosen), tuple(left_out))


def _needed(model: Model) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*model.columns, *model.effect_columns, *columns_of(model.where or ""))))


def _models(lineage: Lineage | None, columns: Mapping[str, Any]) -> list[Model]:
    names = ["table1", "iv_telegraph", "iv_telephone", "iv_both", *_setting(lineage, "models")]
    names += [f"moderator:{c}" for c in MODERATORS if c in columns]
    rows = _setting(lineage, "where") or None
    found = [replace(m, where=rows) for name in names for m in named_models(name)]
    found += [model_from_formula(str(name), str(text), where=rows) for name, text in _setting(lineage, "formulas")]
    once: dict[tuple[str, str | None], Model] = {}
    for model in found:
        once.setdefault((model.formula, model.where), model)
    return list(once.values())


def _setting(lineage: Lineage | None, key: str) -> Any:
    return ((lineage.settings.get("estimate") or {}) if lineage else {}).get(key) or ()


def _left_out(planned: PanelPlan) -> list[str]:
    lines = [re.sub(r"\s+", " ", f"not here, {why}: {m.name}") for m, why in planned.left_out]
    return [*lines, "lightpanel panel brings flows and controls into the pair panel"] if lines else []


def lineage_of(out: Path) -> Lineage | None:
    """The lineage beside the tables; None where a run left none that can be read."""
    try:
        return read_lineage(out / "lineage.json")
    except GisError:
        return None


# --- Stata --------------------------------------------------------------------------------------------------------


def write_do(found: Sequence[tuple[Table, Path]], out: Path, folder: Path) -> Path:
    """Write ``lightpanel.do``: notes for every Stata file, then the panel and its models."""
    lineage = lineage_of(out)
    lines = [
        "* Written by lightpanel, in UTF-8. Run it in the folder of the .dta files:  do lightpanel.do",
        "* It keeps units and provenance as notes in them, and estimates on the pair panel.",
        "* Once before:  ssc install ftools, reghdfe, ivreg2, ivreghdfe, each by a command of its own",
        "version 14",
        "clear all",
        "set more off",
    ]
    for table, path in found:
        lines += ["", *_notes(table, path, lineage)]
    planned = plan([t for t, path in found if path.stem == t.name], lineage)
    if planned is not None:
        lines += ["", *_stata_panel(planned)]
    return _write(folder / DO_FILE, lines)


def _notes(table: Table, path: Path, lineage: Lineage | None) -> list[str]:
    names = stata_names(table.columns)
    lines = [f'use "{path.stem}.dta", clear', "capture notes drop _dta *"]
    made = ""
    about = [table.title, f"one row for each {' and '.join(names[k] for k in table.key)}"]
    if lineage is not None:
        name = lineage.relative(path)
        output = lineage.outputs.get(name)
        about.append("versions: " + ", ".join(f"{k} {v}" for k, v in lineage.versions.items()))
        if output is not None:
            made = f" From {name} (sha256 {output.sha256[:12]}), steps {', '.join(output.steps)}."
            about.append(f"from {name}, sha256 {output.sha256}, written {lineage.created_utc}")
            for i in lineage.inputs_of(name):
                facts = (f"year {i.year}" if i.year else "", i.crs or "", "synthetic" if i.is_synthetic else "")
                about.append(f"input {i.role}: {', '.join(f for f in (i.path, *facts) if f)}, sha256 {i.sha256}")
    lines += [f"notes: {_plain(text)}" for text in about]
    for column in table.columns:
        declared = table.column(column)
        unit = f"unit {declared.unit}. " if declared.unit else ""
        own = f" Column {column} of lightpanel." if names[column] != column else ""
        lines.append(f"notes {names[column]}: {_plain(f'{unit}{declared.label}.{own}{made}')}")
        if column == "flags":
            lines += [f"notes flags: {_plain(f'{flag}: {what.meaning}')}" for flag, what in FLAGS.items()]
        if declared.dtype == "int64":
            lines.append(f"format {names[column]} %14.0f")
    return [*lines, f'save "{path.stem}.dta", replace']


def _plain(text: str) -> str:
    """Text that Stata takes as it stands: no macros, no comments, no time stamps (a lone TS), one line."""
    one_line = re.sub(r"\s+", " ", text).replace("\\", "/")
    kept = one_line.replace("/*", "/ *").replace(" //", " / /").replace("`", "'").replace("$", "\\$")
    return re.sub(r"\bTS\b", "T S", kept)


def _stata_panel(planned: PanelPlan) -> list[str]:
    base = planned.base
    names = {c: stata_name(c) for c in planned.columns()}
    lines = ["* --- the pair panel", f'use "{base.name}.dta", clear']
    for table, columns in planned.joined:
        kind, keys = ("1:1", "pair_id year") if "year" in table.key else ("m:1", "pair_id")
        keep = " ".join(names[c] for c in columns)
        lines.append(f'merge {kind} {keys} using "{table.name}.dta", keep(master match) keepusing({keep}) nogenerate')
    effects = {c for m in planned.models for c in m.effect_columns if _is_text(base, c)} | {"pair_id"}
    numbers: dict[str, str] = {}
    for column in sorted(effects):
        numbers[column] = f"{column}_no"
        while numbers[column] in names.values():
            numbers[column] += "_"
        lines.append(f"egen long {numbers[column]} = group({names[column]})")
    lines.append(f"xtset {numbers['pair_id']} year")
    products: dict[str, str] = {}
    for term in dict.fromkeys(t for m in planned.models if m.endog for t in (*m.terms, *m.instruments) if ":" in t):
        products[term] = f"product{len(products) + 1}"
        while products[term] in names.values():
            products[term] += "_"
        lines.append(f"generate double {products[term]} = {' * '.join(names[c] for c in term.split(':'))}")
    for k, model in enumerate(planned.models, start=1):
        title = _plain(model.title or model.name).replace('"', "'")
        lines += [f"* {title}: {model.formula}", _stata_command(model, names, numbers, products)]
        lines += [f'estimates title: "{title}"', f"estimates store m{k}"]
    lines += [f"* {line}" for line in _left_out(planned)]
    if planned.models:
        stored = " ".join(f"m{k}" for k in range(1, len(planned.models) + 1))
        lines.append(f"estimates table {stored}, b(%9.4f) se(%9.4f) stats(N r2)")
    return lines


def _is_text(table: Table, column: str) -> bool:
    return column in table.columns and table.column(column).dtype == "string"


def _stata_command(
    model: Model, names: Mapping[str, str], numbers: Mapping[str, str], products: Mapping[str, str]
) -> str:
    """One command; products are c.a#c.b in reghdfe, and variables of their own in ivreghdfe.

    Users report that ivreghdfe does not take all of Stata's products among endogenous regressors and instruments.
    """

    def product(term: str) -> str:
        return products[term] if model.endog else "#".join(f"c.{names[c]}" for c in term.split(":"))

    def terms(of: Iterable[str]) -> str:
        return " ".join(product(t) if ":" in t else names[t] for t in of)

    absorbed = " ".join("#".join(numbers.get(c, names[c]) for c in e.split("^")) for e in model.effects)
    rows = f"if {translated(model.where, 'stata', names)}" if model.where else ""
    if model.endog:
        inside = f"({terms(model.endog)} = {terms(model.instruments)})"
        options = f"{f'absorb({absorbed})' if absorbed else ''} cluster({numbers['pair_id']}) first"
        parts = ["ivreghdfe", names[model.outcome], terms(model.exog), inside, rows]
    else:
        options = f"{f'absorb({absorbed})' if absorbed else 'noabsorb'} vce(cluster {numbers['pair_id']})"
        parts = ["reghdfe", names[model.outcome], terms(model.exog), rows]
    return f"{' '.join(filter(None, parts))}, {options.strip()}"


# --- R ------------------------------------------------------------------------------------------------------------


def write_r(found: Sequence[tuple[Table, Path]], out: Path, folder: Path) -> Path | None:
    """Write ``lightpanel.R``; None without a pair panel among the tables."""
    planned = plan([t for t, path in found if path.stem == t.name], lineage_of(out))
    if planned is None:
        return None
    return _write(folder / R_FILE, _r_lines(planned))


_R_HEAD = """\
# Written by lightpanel, in UTF-8. Run it in the folder of the CSV files:  Rscript lightpanel.R
# It needs R 4 and fixest and nothing else: install.packages("fixest"). Units and meanings: dictionary.csv.
# Standard errors are clustered by pair, with the small-sample rule of reghdfe. Pairs with one row (singletons) stay
# in; they change no coefficient.
library(fixest)

# Codes stay texts of six characters; an empty number is NA.
read_table <- function(file, types) {
  read.csv(file, colClasses = types, na.strings = character(0), fileEncoding = "UTF-8-BOM", check.names = FALSE)
}"""

_R_TYPES = {"string": "character", "int32": "integer", "int64": "numeric", "float64": "numeric", "bool": "logical"}


def _r_lines(planned: PanelPlan) -> list[str]:
    lines = [_R_HEAD, *_r_read("panel", planned.base)]
    for table, columns in planned.joined:
        keys = ", ".join(f'"{k}"' for k in table.key)
        wanted = ", ".join(f'"{c}"' for c in columns)
        lines += _r_read("more", table)
        lines.append(f"panel <- merge(panel, more[c({keys}, {wanted})], by = c({keys}), all.x = TRUE)")
    lines += ["", "models <- list()"]
    for model in planned.models:
        title = re.sub(r'["\\\s]+', " ", model.title or model.name)
        rows = f"subset(panel, {translated(model.where, 'r', planned.columns())})" if model.where else "panel"
        lines.append(f'models[["{title}"]] <- feols({_r_formula(model)}, data = {rows}, cluster = ~pair_id)')
    lines += [f"# {line}" for line in _left_out(planned)]
    if planned.models:
        lines += ["", "print(etable(models))"]
    if any(m.endog for m in planned.models):
        lines += ["# First-stage F, clustered", 'for (m in models) if (isTRUE(m$iv)) print(fitstat(m, "ivwald"))']
    return lines


def _r_read(name: str, table: Table) -> list[str]:
    types = [f'{c} = "{_R_TYPES[table.column(c).dtype]}"' for c in table.columns]
    rows = [", ".join(types[k : k + 4]) for k in range(0, len(types), 4)]
    return [f'{name} <- read_table("{table.name}.csv", c(', "  " + ",\n  ".join(rows), "))"]


def _r_formula(model: Model) -> str:
    parts = [f"{model.outcome} ~ {' + '.join(model.exog) or '1'}", " + ".join(model.effects) or "0"]
    if model.endog:
        parts.append(f"{' + '.join(model.endog)} ~ {' + '.join(model.instruments)}")
    return " | ".join(parts if model.effects or model.endog else parts[:1])


def _write(path: Path, lines: Iterable[str]) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
