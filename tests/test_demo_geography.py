"""The demo's country: an exact partition, exact nesting, fictional names, and the changes it says it has."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from gis.demo import geography as land
from gis.demo.geography import NEW, OLD, geography

SEEDS = [1907, 0, 1, 70]


@pytest.fixture(scope="module")
def country():
    return geography(1907)


def by_code(country, vintage, layer):
    zones = country.zones(vintage, layer)
    return dict(zip(zones.codes, zones.geometry, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("vintage", [NEW, OLD])
@pytest.mark.parametrize("layer", ["city", "district"])
def test_partition_is_exact(seed, vintage, layer):
    shapes = geography(seed).zones(vintage, layer).geometry
    whole = (land.EAST - land.WEST) * (land.NORTH - land.SOUTH)
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)  # shared borders are the same vertices, and nothing overlaps
    assert shapely.area(shapes).sum() == pytest.approx(whole, rel=1e-13)  # 60 sums of 100 products: rounding
    assert shapely.union_all(shapes).equals(shapely.box(land.WEST, land.SOUTH, land.EAST, land.NORTH))


def test_no_two_units_overlap_by_any_area(country):
    shapes = country.zones(NEW, "district").geometry
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    both = shapely.intersection(shapes[left[left < right]], shapes[right[left < right]])
    assert (shapely.area(both) == 0).all()
    assert both.size > 100  # there are neighbours to compare


@pytest.mark.parametrize("vintage", [NEW, OLD])
def test_districts_nest_exactly_in_cities(country, vintage):
    cities = by_code(country, vintage, "city")
    districts = country.zones(vintage, "district")
    parents = np.array(districts.parents)
    assert set(parents) == set(cities)
    for code, city in cities.items():
        assert shapely.union_all(districts.geometry[parents == code]).equals(city)
        assert city.geom_type == "Polygon"
        assert not city.interiors


def test_borders_wiggle(country):
    shapes = country.zones(NEW, "district").geometry
    assert shapely.get_num_coordinates(shapes).min() > 90  # 4 borders of 32 segments, but a strip makes one shorter
    hull = shapely.area(shapely.convex_hull(shapes))
    assert (shapely.area(shapes) < 0.99 * hull).all()


def test_every_town_lies_in_its_district(country):
    inside = shapely.contains_xy(country.atoms[:60], *country.towns_lonlat.T)
    assert inside.all()


def test_the_seed_decides_and_nothing_else():
    first = shapely.to_wkb(geography(5).atoms)
    geography.cache_clear()
    assert (shapely.to_wkb(geography(5).atoms) == first).all()
    assert not (shapely.to_wkb(geography(6).atoms) == first).any()


@pytest.mark.parametrize("vintage", [NEW, OLD])
def test_codes_have_the_structure_of_gb_2260(country, vintage):
    cities, districts = country.zones(vintage, "city"), country.zones(vintage, "district")
    assert len(cities) == (12 if vintage == NEW else 13)
    assert len(districts) == 60
    for code, name in zip(cities.codes, cities.names, strict=True):
        assert len(code) == 6
        assert code.endswith("00")
        is_prefecture = 21 <= int(code[2:4]) <= 50
        assert name.endswith("地区" if is_prefecture else "市")
    endings = {"区": range(1, 21), "县": range(21, 81), "市": range(81, 100)}
    for code, name, parent in zip(districts.codes, districts.names, districts.parents, strict=True):
        assert code[:4] == parent[:4]
        seat_of_prefecture = name.endswith("市") and code.endswith("01") and parent == land.RECODED_FROM
        assert seat_of_prefecture or int(code[4:]) in endings[name[-1]]
    for zones in (cities, districts):
        assert len(set(zones.names)) == len(zones)
        assert list(zones.codes) == sorted(zones.codes)


@pytest.mark.real_data
def test_names_and_codes_are_fictional(country, real_data):
    lists = sorted((real_data / "codes" / "areacodes_1980_2024" / "data").glob("*.txt"))
    assert len(lists) > 40
    rows = {line.strip() for path in lists for line in path.read_text("utf-8").splitlines() if line.strip()}
    codes = {row.split()[0] for row in rows}
    names = "\n".join(row.split(maxsplit=1)[1] for row in rows if " " in row)
    for vintage in (NEW, OLD):
        for layer in ("city", "district"):
            zones = country.zones(vintage, layer)
            assert not codes & set(zones.codes)
            assert [name for name in zones.names if name[:2] in names] == []


# --- from 2010 to 2019 ------------------------------------------------------------------------------------------------


def test_one_city_is_split_among_three_neighbours(country):
    old, new = by_code(country, OLD, "city"), by_code(country, NEW, "city")
    assert land.ABOLISHED in old
    assert land.ABOLISHED not in new
    gone = old[land.ABOLISHED]
    shares = {code: shapely.intersection(gone, shape).area / gone.area for code, shape in new.items()}
    heirs = {code: share for code, share in shares.items() if share > 0}
    assert len(heirs) == 3
    assert min(heirs.values()) > 0.1
    assert sum(heirs.values()) == pytest.approx(1, rel=1e-12)  # overlay of shared vertices: rounding
    for code in heirs:  # neighbours already in 2010
        assert old[code].touches(gone)


def test_one_county_is_divided_between_two_cities(country):
    old, cities = by_code(country, OLD, "district"), by_code(country, NEW, "city")
    divided = [
        code
        for code, shape in old.items()
        if sum(shapely.intersection(shape, city).area > 0 for city in cities.values()) > 1
    ]
    assert len(divided) == 1
    assert divided[0].startswith(land.ABOLISHED[:4])


def test_one_county_is_transferred_whole(country):
    old, new = by_code(country, OLD, "district"), by_code(country, NEW, "district")
    before = country.zones(OLD, "district")
    parents = dict(zip(before.codes, before.parents, strict=True))
    moved = []
    for code, shape in old.items():
        heir = next((c for c, other in new.items() if other.equals(shape)), None)
        if heir and parents[code] not in (land.ABOLISHED, land.RECODED_FROM) and heir[:4] != code[:4]:
            moved.append((parents[code], heir[:4] + "00"))
    assert moved == [(land.city_code(1), land.city_code(0))]


def test_one_city_is_recoded_on_the_same_ground(country):
    old, new = country.zones(OLD, "district"), country.zones(NEW, "district")
    was = shapely.union_all([s for s, p in zip(old.geometry, old.parents, strict=True) if p == land.RECODED_FROM])
    assert was.equals(by_code(country, NEW, "city")[land.city_code(land.RECODED_CITY)])
    assert land.RECODED_FROM not in country.zones(NEW, "city").codes
    assert not set(new.codes) & {c for c, p in zip(old.codes, old.parents, strict=True) if p == land.RECODED_FROM}


def test_one_city_changes_its_name_alone(country):
    old, new = country.zones(OLD, "city"), country.zones(NEW, "city")
    names = dict(zip(new.codes, new.names, strict=True))
    renamed = [c for c, name in zip(old.codes, old.names, strict=True) if c in names and names[c] != name]
    assert renamed == [land.city_code(land.RENAMED_CITY)]
    assert by_code(country, OLD, "city")[renamed[0]].equals(by_code(country, NEW, "city")[renamed[0]])


def test_nothing_else_changes(country):
    old, new = by_code(country, OLD, "district"), by_code(country, NEW, "district")
    same = [code for code in old if code in new and old[code].equals(new[code])]
    # 60 less the abolished city's 4, the prefecture's 5, the transferred county and the upgraded one.
    assert len(same) == 60 - 4 - 5 - 1 - 1
    assert [code for code in old if code in new and not old[code].equals(new[code])] == []
