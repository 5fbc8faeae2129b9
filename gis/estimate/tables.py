"""Tables in a journal's layout: coefficients with stars, standard errors beneath in parentheses, the rest below.

In: estimates. Out: Markdown, LaTeX or HTML text. All three are drawn from one grid, so they say the same.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gis.estimate.inference import CLUSTERINGS, Clustering
from gis.estimate.models import CONTROLS
from gis.estimate.results import Equation, Estimate, set_text

STARS = ((0.01, "***"), (0.05, "**"), (0.10, "*"))
"""p below -> stars, as Chinese and most other journals of economics print them."""

_SE_WORDS = {
    "pair": "clustered by city pair",
    "city_two_way": "clustered by first and second city",
    "dyadic": "dyadic-robust: pairs that share a city may be correlated",
    "jackknife": "dyadic-robust, by leaving out one city at a time",
}

LABELS = {
    "ln_dkf_htol": "lnDKF_HtoL", "ln_dkf_ltoh": "lnDKF_LtoH", "ln_dkf_net": "lnDKF_net", "hsr": "HSR", "ts": "TS",
    "ipp": "IPP", "bal": "Bal", "iv_hist_tel": "IV_hist_tel", "iv_1984_tel": "IV_1984_tel",
}  # fmt: skip
"""Names in the paper's tables; other columns keep theirs."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn."""

    head: tuple[tuple[str, ...], ...]
    """Header rows; the first cell of each is the stub."""
    body: tuple[tuple[str, ...], ...]
    """Coefficient rows and the rows of standard errors beneath them."""
    foot: tuple[tuple[str, ...], ...]
    """Controls, effects, N, R2 and the like."""
    notes: tuple[str, ...]
    """Lines below the table."""


def grid(
    estimates: Sequence[Estimate], *, clustering: Clustering = "pair", digits: int = 4, all_errors: bool = False,
    controls: Sequence[str] = CONTROLS, show_controls: bool = True, stage: str = "main",
) -> Grid:  # fmt: skip
    """Lay out estimates, one column each.

    Parameters
    ----------
    clustering : whose standard errors and stars are printed.
    all_errors : print all standard errors: (pair), [both cities], {dyadic}, <jackknife>.
    show_controls : print the controls' coefficients; else one row says whether they are in.
    stage : ``main``, ``first_stage`` or ``reduced_form``.
    """
    shown = [(e, eq) for e in estimates for eq in (e.main, *e.further) if eq.stage == stage]
    columns = [eq for _, eq in shown]
    terms = list(dict.fromkeys(t for eq in columns for t in eq.terms))
    listed = [t for t in terms if show_controls or t not in controls]
    listed.sort(key=lambda t: t in controls)  # stable: the paper's order, controls last
    order = CLUSTERINGS if all_errors else (clustering,)
    body: list[tuple[str, ...]] = []
    for term in listed:
        body.append((_label(term), *(_coef(eq, term, clustering, digits) for eq in columns)))
        for c, brackets in zip(order, ("()", "[]", "{}", "<>"), strict=False):
            body.append(("", *(_error(eq, term, c, digits, brackets) for eq in columns)))
    head = (
        ("", *(e.model.title or e.model.name for e, _ in shown)),
        ("", *(_label(eq.outcome) for eq in columns)),
    )
    foot = _foot([e for e, _ in shown], columns, controls, show_controls, clustering)
    told = tuple(r for r in foot if any(r[1:]))  # R2 of 2SLS alone, J of exactly identified models: nothing to say
    return Grid(head, tuple(body), told, _notes([e for e, _ in shown], clustering, all_errors))


def _label(term: str) -> str:
    return " × ".join(LABELS.get(part, part) for part in term.split(":"))


def _coef(equation: Equation, term: str, clustering: Clustering, digits: int) -> str:
    if term not in equation.terms:
        return ""
    at = equation.at(term)
    p = float(equation.p(clustering)[at])
    stars = next((s for bound, s in STARS if p < bound), "")  # NaN is below nothing: no star
    return f"{number(float(equation.coef[at]), digits)}{stars}"


def _error(equation: Equation, term: str, clustering: Clustering, digits: int, brackets: str) -> str:
    if term not in equation.terms:
        return ""
    return f"{brackets[0]}{number(float(equation.se(clustering)[equation.at(term)]), digits)}{brackets[1]}"


def number(value: float, digits: int = 4) -> str:
    """Fixed digits; three significant ones in scientific form where these would show zeros alone."""
    if math.isnan(value):
        return "n/a"
    if value != 0 and (abs(value) < 10.0**-digits or abs(value) >= 1e6):
        return f"{value:.2e}"
    return f"{value:.{digits}f}"


def _foot(
    estimates: list[Estimate], columns: list[Equation], controls: Sequence[str], show_controls: bool,
    clustering: Clustering,
) -> list[tuple[str, ...]]:  # fmt: skip
    def row(name: str, cell: Callable[[Estimate], str]) -> tuple[str, ...]:
        return (name, *(cell(e) for e in estimates))

    def yes(condition: bool) -> str:
        return "Yes" if condition else "No"

    rows = []
    if not show_controls:
        rows.append(("Controls", *(yes(any(t in controls for t in eq.terms)) for eq in columns)))
    effects = list(dict.fromkeys(e for est in estimates for e in est.model.effects))
    names = {"pair_id": "City-pair effects", "year": "Year effects"}
    rows += [(names.get(f, f"{f} effects"), *(yes(f in e.model.effects) for e in estimates)) for f in effects]
    rows += [
        row("N", lambda e: f"{e.n:,}"),
        row("City pairs", lambda e: f"{e.n_pairs:,}"),
        row("Singletons dropped", lambda e: f"{e.n_singletons:,}"),
    ]
    if columns and columns[0].stage == "main":
        rows += [
            row("R2", lambda e: "" if e.model.endog else f"{e.r2:.4f}"),
            row("R2 within", lambda e: "" if e.model.endog else f"{e.r2_within:.4f}"),
        ]
    if any(e.strength for e in estimates):
        rows += _strength_rows(estimates, row, clustering)
    return rows


def _strength_rows(
    estimates: list[Estimate], row: Callable[[str, Callable[[Estimate], str]], tuple[str, ...]], clustering: Clustering
) -> list[tuple[str, ...]]:
    rows = [
        row("Instruments", lambda e: ", ".join(_label(t) for t in e.model.instruments)),
        row("Kleibergen-Paap rk F", lambda e: _f(e.strength.rank_f[clustering]) if e.strength else ""),
        row("Effective F", lambda e: _f(e.strength.effective_f[clustering]) if e.strength else ""),
    ]
    names = dict.fromkeys(n for e in estimates if e.strength for n in e.strength.thresholds)
    rows += [row(f"Threshold: {name}", partial(_threshold, name)) for name in names]
    if any(len(e.model.endog) == 1 for e in estimates):
        rows.append(row("Anderson-Rubin 95 % set", lambda e: _ar(e, clustering)))
    if any(e.strength and e.strength.overid for e in estimates):
        rows.append(row("Hansen J (p)", _overid))
    return rows


def _f(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.2f}"


def _threshold(name: str, e: Estimate) -> str:
    return f"{e.strength.thresholds[name]:g}" if e.strength and name in e.strength.thresholds else ""


def _ar(e: Estimate, clustering: Clustering) -> str:
    return set_text(e.strength.anderson_rubin[clustering]) if e.strength and len(e.model.endog) == 1 else ""


def _overid(e: Estimate) -> str:
    found = e.strength.overid if e.strength else None
    return f"{found.statistic:.3f} ({found.p_value:.3f})" if found else ""


def _notes(estimates: list[Estimate], clustering: Clustering, all_errors: bool) -> tuple[str, ...]:
    words = (
        f"Standard errors: (…) {_SE_WORDS['pair']}; […] {_SE_WORDS['city_two_way']}; {{…}} {_SE_WORDS['dyadic']}; "
        f"<…> {_SE_WORDS['jackknife']}; "
        f"stars by those {_SE_WORDS[clustering]}."
        if all_errors
        else f"Standard errors in parentheses, {_SE_WORDS[clustering]}."
    )
    stars = ", ".join(f"{s} p < {bound:g}" for bound, s in reversed(STARS))
    said = dict.fromkeys(f"{e.model.title or e.model.name}: {note}." for e in estimates for note in e.notes)
    return (words, f"{stars}.", *said)


def table_markdown(estimates: Sequence[Estimate], **options: object) -> str:
    """Draw estimates as a Markdown table; options as `grid`."""
    g = grid(estimates, **options)  # type: ignore[arg-type]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("*", "\\*").replace("|", "\\|") for c in cells) + " |"

    rule = "|" + "|".join([" :--- ", *[" ---: "] * (len(g.head[0]) - 1)]) + "|"
    lines = [line(g.head[0]), rule, *(line(r) for r in (*g.head[1:], *g.body, *g.foot))]
    return "\n".join([*lines, "", *(f"{n.replace('*', chr(92) + '*')}  " for n in g.notes), ""])


def table_html(estimates: Sequence[Estimate], **options: object) -> str:
    """Draw estimates as an HTML table; options as `grid`."""
    g = grid(estimates, **options)  # type: ignore[arg-type]

    def line(cells: Sequence[str], tag: str = "td") -> str:
        first, *rest = (html.escape(c) for c in cells)
        return f"<tr><th>{first}</th>{''.join(f'<{tag}>{c}</{tag}>' for c in rest)}</tr>"

    parts = [
        "<table>",
        "<thead>", *(line(r, "th") for r in g.head), "</thead>",
        "<tbody>", *(line(r) for r in g.body), "</tbody>",
        "<tfoot>", *(line(r) for r in g.foot), "</tfoot>",
        "</table>",
        *(f"<p>{html.escape(n)}</p>" for n in g.notes),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "×": r"$\times$", "…": r"\dots{}",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Escape what LaTeX would take for a command."""
    return "".join(_LATEX.get(c, c) for c in text)


def table_latex(estimates: Sequence[Estimate], *, caption: str = "", label: str = "", **options: object) -> str:
    """Draw estimates as a LaTeX table (packages booktabs and threeparttable); options as `grid`."""
    g = grid(estimates, **options)  # type: ignore[arg-type]

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_latex_cell(c) for c in cells) + r" \\"

    parts = [r"\begin{table}[htbp]", r"\centering", r"\begin{threeparttable}"]
    parts += [rf"\caption{{{latex_text(caption)}}}"] if caption else []
    parts += [rf"\label{{{label}}}"] if label else []
    parts += [rf"\begin{{tabular}}{{l{'c' * (len(g.head[0]) - 1)}}}", r"\toprule", *(line(r) for r in g.head)]
    parts += [r"\midrule", *(line(r) for r in g.body), r"\midrule", *(line(r) for r in g.foot), r"\bottomrule"]
    parts += [r"\end{tabular}", r"\begin{tablenotes}\footnotesize"]
    parts += [rf"\item {latex_text(n)}" for n in g.notes]
    return "\n".join([*parts, r"\end{tablenotes}", r"\end{threeparttable}", r"\end{table}", ""])


def _latex_cell(cell: str) -> str:
    """Stars go up; a cell that opens with a bracket is guarded: after a line end LaTeX takes it for an option."""
    bare = cell.rstrip("*")
    stars = cell[len(bare) :]
    text = latex_text(bare) + (rf"$^{{{stars}}}$" if stars else "")
    return f"{{{text}}}" if text.startswith(("[", "*")) else text
