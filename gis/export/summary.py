"""What a run says at its end: totals, coverage, flags, every unit without a level and why, and where everything is.

In: tables of ``gis.tables`` as DataFrames and the small frames of ``gis.indicators.summary``. Out: text, on a
``rich`` console or as a string for ``out/summary.txt``; plain where the console is not a terminal.
"""

from __future__ import annotations

import io
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gis.indicators.flags import FLAGS, SEPARATOR

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

SUMMARY_WIDTH = 110
"""Width of ``out/summary.txt`` [characters; a Chinese one counts two]."""

TEXT_WIDTH = 16
"""A column of texts is folded no narrower than this, unless all its texts are shorter [characters]."""

N_ENDS = 5
"""Cities shown at each end of the ranking."""

LIGHT_OF = {"lambert": "light_sum_dn_km2", "true": "light_sum_true_dn_km2", "cells": "light_sum_cells_dn"}
"""Measure of the column ``level`` -> the light sum it divides."""

NAME_OF = {
    "n_pairs": "pairs",
    "n_rows": "rows",
    "n_bal": "rows with Bal",
    "share_bal": "share of rows with Bal",
    "n_switched": "rows where the order has switched",
    "n_above_one": "rows with Bal above 1",
    "n_ties": "rows ordered by the tie rule",
    "first_year": "first year",
    "last_year": "last year",
}
"""Keys of ``pairs_info`` in words; other keys are shown as they are."""


def print_summary(
    console: Console,
    *,
    national_year: pd.DataFrame,
    city_year: pd.DataFrame | None = None,
    district_year: pd.DataFrame | None = None,
    pairs_info: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
    without_level: Any = None,
    jumps: Any = None,
    rank_agreement: Any = None,
    paths: Mapping[str, Any] | None = None,
) -> None:
    """Print the summary of a run.

    Parameters
    ----------
    national_year, city_year, district_year : rows of ``NATIONAL_YEAR``, ``CITY_YEAR``, ``DISTRICT_YEAR``
        A layer that was not computed is None.
    pairs_info : mapping, optional
        Counts of the pair panel, as `pairs_info_from_frame` makes them.
    notes : iterable of str
        One line each: policies used, warnings that leave the numbers standing.
    without_level : DataFrame or records, optional
        ``gis.indicators.summary.units_without_level``: ``code``, ``name``, ``first_year``, ``last_year``, ``reason``
        (or ``unit_code``, ``unit_name``, ``years``, ``reason``), with a column ``layer`` where it mixes layers.
    jumps, rank_agreement : DataFrame or records, optional
        ``gis.indicators.summary.year_on_year_jumps`` and ``rank_agreement``; any columns, shown as they are.
    paths : mapping, optional
        What -> where it is.
    """
    layers = {"city": city_year, "district": district_year}
    frames = {layer: frame for layer, frame in layers.items() if frame is not None}
    _print_national(console, national_year, frames)
    _print_records(console, "Change on the year before (0.1 is 10 %)", _records(jumps))
    _print_flags(console, frames)
    _print_without_level(console, _records(without_level), frames)
    _print_ends(console, frames)
    _print_records(console, "Rank agreement of the three measures (Spearman)", _records(rank_agreement))
    if pairs_info:
        rows = [(NAME_OF.get(key, key), _text(value, is_year="year" in key)) for key, value in pairs_info.items()]
        _print_table(console, "City pairs", ["<", ">"], ["", "count"], rows)
    _print_notes(console, [*notes, *_synthetic_note(frames)])
    if paths:
        rows = [(what, str(where)) for what, where in paths.items()]
        _print_table(console, "Where everything is", ["<", "<"], ["what", "where"], rows)


def summary_text(*, width: int = SUMMARY_WIDTH, **content: Any) -> str:
    """Give the summary as plain text; ``content`` is what `print_summary` takes by name."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=False, color_system=None, legacy_windows=False)
    print_summary(console, **content)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n") + "\n"


def pairs_info_from_frame(pairs: pd.DataFrame) -> dict[str, Any]:
    """Count a pair panel (columns of ``gis.tables.PAIR_YEAR``; more columns do no harm)."""
    bal = pairs["bal"].to_numpy(dtype=float, na_value=math.nan)
    n_rows, n_bal = len(pairs), int((bal == bal).sum())
    return {
        "n_pairs": int(pairs["pair_id"].nunique()),
        "n_rows": n_rows,
        "n_bal": n_bal,
        "share_bal": n_bal / n_rows if n_rows else math.nan,
        "n_switched": int((pairs["switched"].astype("boolean").fillna(False)).sum()),
        "n_above_one": int((bal > 1).sum()),
        "n_ties": int((pairs["tie"].astype("boolean").fillna(False)).sum()),
        **({"first_year": int(pairs["year"].min()), "last_year": int(pairs["year"].max())} if n_rows else {}),
    }


# --- sections -----------------------------------------------------------------------------------------------------


def _print_national(console: Console, national: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> None:
    for layer, rows in national.groupby("layer", sort=True):
        frame = frames.get(str(layer))
        measure = _measure(frame)
        unit = "DN" if measure == "cells" else "DN km2"
        covered = _covered_by_year(frame)
        table = []
        for row in rows.sort_values("year").to_dict("records"):
            light, persons = row[LIGHT_OF[measure]], row["zones_total_persons"]
            inside = _ratio(persons, row["raster_total_persons"])
            table.append(
                (
                    str(row["year"]) + ("*" if row["is_synthetic"] else ""),
                    _whole(light),
                    _whole(persons),
                    _text(_ratio(light, persons)),
                    _percent(covered.get(int(row["year"]), math.nan)),
                    f"{row['n_levels']}/{row['n_units']}",
                    _percent(inside),
                    _text(row["pop_years"]),
                )
            )
        heads = ["year", f"light {unit}", "persons", "light/person", "covered", "levels", "in units", "pop. years"]
        title = f"National totals, {layer} layer, measure {measure}"
        _print_table(console, title, list("<>>>>>><"), heads, table)
    _line(console, "covered: share of the units' persons who live on valid light cells")
    _line(console, "in units: persons in the units over persons in the raster")
    if bool(national["is_synthetic"].fillna(False).any()):
        _line(console, "* a raster of this year is declared synthetic: made up, not observed")
    _line(console, "")


def _covered_by_year(frame: pd.DataFrame | None) -> dict[int, float]:
    """Population-weighted mean of ``cov_pop`` per year; units where either is missing are left out."""
    if frame is None:
        return {}
    known = frame[["year", "cov_pop", "pop_persons"]].dropna()
    weighed = known.assign(part=known["cov_pop"] * known["pop_persons"])
    sums = weighed.groupby("year", as_index=False)[["part", "pop_persons"]].sum()
    return {
        int(year): _ratio(part, persons)
        for year, part, persons in zip(sums["year"], sums["part"], sums["pop_persons"], strict=True)
    }


def _print_flags(console: Console, frames: Mapping[str, pd.DataFrame]) -> None:
    rows = []
    for layer, frame in frames.items():
        flags = frame["flags"].fillna("").astype(str).str.split(SEPARATOR)
        long = frame[[f"{layer}_code"]].assign(flag=flags).explode("flag")
        long = long[long["flag"] != ""]
        for flag in sorted(set(long["flag"]), key=_flag_order):
            these = long[long["flag"] == flag]
            meaning = FLAGS[flag].meaning if flag in FLAGS else ""
            rows.append((layer, flag, f"{len(these):,}", f"{these[f'{layer}_code'].nunique():,}", meaning))
    if rows:
        _print_table(console, "Flags", list("<<>><"), ["layer", "flag", "rows", "units", "meaning"], rows)
    elif frames:
        _line(console, "Flags: none\n")


def _flag_order(flag: str) -> tuple[int, str]:
    return (list(FLAGS).index(flag) if flag in FLAGS else len(FLAGS), flag)


def _print_without_level(console: Console, records: list[dict[str, Any]], frames: Mapping[str, pd.DataFrame]) -> None:
    """Name every unit without a level, grouped by reason and years; a group of all units of a layer is named so."""
    if not records:
        _line(console, "Every unit has a level in every year\n")
        return
    layer_of = next(iter(frames), "unit")
    groups: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        layer = str(record.get("layer") or layer_of)
        key = (layer, str(record.get("reason") or "no reason recorded"), _years(record))
        name = record.get("name", record.get("unit_name"))
        code = record.get("code", record.get("unit_code"))
        groups.setdefault(key, []).append(f"{name} {code}" if isinstance(name, str) and name else str(code))
    rows = []
    for (layer, reason, years), names in sorted(groups.items()):
        frame = frames.get(layer)
        everyone = frame is not None and len(names) == frame[f"{layer}_code"].nunique() and len(names) > N_ENDS
        rows.append((reason, years, str(len(names)), f"all of layer {layer}" if everyone else ", ".join(names)))
    _print_table(console, "Units without a level", list("<<><"), ["reason", "years", "units", "which"], rows)


def _years(record: Mapping[str, Any]) -> str:
    if "first_year" in record:
        first, last = int(record["first_year"]), int(record["last_year"])
        return str(first) if first == last else f"{first}-{last}"
    return str(record.get("years", ""))


def _print_ends(console: Console, frames: Mapping[str, pd.DataFrame]) -> None:
    layer, frame = next(iter(frames.items()), ("", None))  # cities where there are any
    if frame is None:
        return
    known = frame[frame["level"].notna()]
    if known.empty:
        _line(console, f"No {layer} has a level in any year\n")
        return
    latest = int(known["year"].max())
    rows = known[known["year"] == latest].sort_values(["level", f"{layer}_code"], ascending=[False, True])
    ranked = [
        (str(k), str(r[f"{layer}_code"]), _text(r[f"{layer}_name"]), _text(r["level"]), _whole(r["pop_persons"]))
        for k, r in enumerate(rows.to_dict("records"), start=1)
    ]
    shown = ranked if len(ranked) <= 2 * N_ENDS else ranked[:N_ENDS] + ranked[-N_ENDS:]
    title = f"Highest and lowest level of {latest}, {layer} layer"
    _print_table(console, title, list("><<>>"), ["rank", "code", "name", "level", "persons"], shown)


def _synthetic_note(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    years: set[int] = set()
    for frame in frames.values():
        years |= {int(y) for y in frame.loc[frame["is_synthetic"].fillna(False).astype(bool), "year"]}
    return [f"synthetic years: {', '.join(map(str, sorted(years)))}"] if years else []


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    if notes:
        _line(console, "Notes")
        for note in notes:
            _line(console, f"  - {note}")
        _line(console, "")


def _print_records(console: Console, title: str, records: list[dict[str, Any]]) -> None:
    if records:
        heads = list(records[0])
        rows = [tuple(_text(r.get(h), is_year="year" in h) for h in heads) for r in records]
        aligned = ["<" if any(isinstance(r.get(h), str) for r in records) else ">" for h in heads]
        _print_table(console, title, aligned, heads, rows)


# --- rendering ----------------------------------------------------------------------------------------------------


def _print_table(
    console: Console, title: str, justify: Sequence[str], heads: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Print a table no wider than the console, texts folded; wider only where its numbers would not fit."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [tuple(row) for row in rows]
    blank, rule = "    \n", " -- \n"
    plain = box.Box(blank * 2 + rule + blank * 5, ascii=True)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else plain, pad_edge=False)
    needed = 0
    for k, (head, side) in enumerate(zip(heads, justify, strict=True)):
        # Only texts may break; a number cut short or broken over two lines reads as another number.
        is_number = side == ">"
        table.add_column(Text(head), justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
        widest = max(cell_len(text) for text in (head, *(row[k] for row in rows)))
        needed += (widest if is_number else min(widest, TEXT_WIDTH)) + 3
    if needed > console.width:
        table.width = needed
    for row in rows:
        # Codes, names and paths go in as Text: a bracket in a name is a bracket, not a colour.
        table.add_row(*(Text(cell) for cell in row))
    console.print(Text(title, style="bold"))
    console.print(table, crop=False)


def _line(console: Console, text: str) -> None:
    from rich.text import Text

    console.print(Text(text, overflow="fold"))


def _records(frame: Any) -> list[dict[str, Any]]:
    if frame is None:
        return []
    if hasattr(frame, "to_dict"):
        return [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]
    return [dict(record) for record in frame]


def _measure(frame: pd.DataFrame | None) -> str:
    found = set() if frame is None else set(frame["measure"].dropna())
    measure = found.pop() if len(found) == 1 else "lambert"
    return measure if measure in LIGHT_OF else "lambert"


def _ratio(over: Any, under: Any) -> float:
    # A missing value may come as None, NaN or pandas' NA; only numbers divide.
    if _missing(over) or _missing(under) or float(under) == 0:
        return math.nan
    return float(over) / float(under)


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _whole(value: Any) -> str:
    return "-" if _missing(value) else f"{float(value):,.0f}"


def _percent(value: float) -> str:
    # Rounded down: 99.98 % must not read as all
    return "-" if math.isnan(value) else f"{math.floor(value * 1000) / 10:.1f}%"


def _text(value: Any, *, is_year: bool = False) -> str:
    if _missing(value) or value == "":
        return "-"
    if isinstance(value, bool | str) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return str(value) if is_year else f"{int(value):,}"
    return f"{float(value):.5g}"
