"""Golden pair panel: three cities, four years, from the definition in exact fractions.

In: the levels below. Out: ``micro_panel_levels.csv`` and ``micro_panel_rows.csv`` beside this script, written only when
the ratios round to the published four digits. Run: ``python tests/golden/make_micro_panel.py``.

Source of the levels and of the published digits: docs/method.md, section Bal (the worked case), and the specification
it follows, for the cities A (110000), B (310000) and C (440100). Years 0-2 of the case are 2000-2002; 2003 has no
level, so that the row in which A and B change places is there.
"""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent

LEVELS = {
    "110000": ("2.0", "2.2", "2.3", ""),
    "310000": ("1.0", "1.5", "2.4", ""),
    "440100": ("0.5", "0.5", "0.6", ""),
}
FIRST_YEAR = 2000

PUBLISHED = {
    ("110000310000", 2001): "0.6818",
    ("110000440100", 2001): "0.2273",
    ("310000440100", 2001): "0.3333",
    ("110000310000", 2002): "1.0435",
    ("110000440100", 2002): "0.2609",
    ("310000440100", 2002): "0.2500",
}


def level(code: str, year: int) -> Fraction | None:
    text = LEVELS[code][year - FIRST_YEAR]
    return Fraction(text) if text else None


def row(i: str, j: str, year: int, previous_hi: str | None) -> dict[str, str]:
    lag_i, lag_j = level(i, year - 1), level(j, year - 1)
    if lag_i is None or lag_j is None or lag_i == lag_j:
        raise SystemExit("the case has no tie and no gap")
    hi, lo = (i, j) if lag_i > lag_j else (j, i)
    now_hi, now_lo = level(hi, year), level(lo, year)
    bal = None if now_hi is None or now_lo is None else now_lo / now_hi
    return {
        "pair_id": i + j,
        "year": str(year),
        "hi": hi,
        "lo": lo,
        "bal_numerator": "" if bal is None else str(bal.numerator),
        "bal_denominator": "" if bal is None else str(bal.denominator),
        "switched": "" if previous_hi is None else str(hi != previous_hi),
        "bal_flag": "NOLEVEL" if bal is None else "",
    }


def rows() -> list[dict[str, str]]:
    out = []
    for i in LEVELS:
        for j in LEVELS:
            if i < j:
                hi = None
                for year in range(FIRST_YEAR + 1, FIRST_YEAR + 4):
                    out.append(row(i, j, year, hi))
                    hi = out[-1]["hi"]
    return out


def check_published(found: list[dict[str, str]]) -> None:
    digits = {
        (r["pair_id"], int(r["year"])): f"{int(r['bal_numerator']) / int(r['bal_denominator']):.4f}"
        for r in found
        if r["bal_numerator"]
    }
    if digits != PUBLISHED:
        raise SystemExit(f"the definition gives {digits}, published is {PUBLISHED}")


def files() -> dict[str, str]:
    """Name and text of every golden file."""
    levels = [
        {"city_code": code, "year": str(FIRST_YEAR + k), "level": text}
        for code, texts in LEVELS.items()
        for k, text in enumerate(texts)
    ]
    found = rows()
    check_published(found)
    return {"micro_panel_levels.csv": csv_text(levels), "micro_panel_rows.csv": csv_text(found)}


def csv_text(table: list[dict[str, str]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
