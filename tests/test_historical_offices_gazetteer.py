"""Gazetteers: formats, names, and matches that keep both positions."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from gis.errors import OptionInvalid, TableInvalid
from gis.historical.gazetteer import Gazetteer, match_offices, normalised_name, office_place_name, read_gazetteer
from gis.historical.offices import Offices

TURTLE = """@prefix lawd: <http://lawd.info/ontology/> .
<http://example.org/place/p_1> a lawd:Place ;
  rdfs:label "Jia Xian"@en ;
  lawd:hasName [ lawd:primaryForm "甲縣"@zh ] ;
  lawd:hasName [ lawd:primaryForm "甲县"@zh ] ;
  geo:location [ geo:lat 30.5 ; geo:long 110.25 ] ;
  dcterms:temporal "start=1820; end=1911;" ;
.
<http://example.org/place/p_2> a lawd:Place ;
  lawd:hasName [ lawd:primaryForm "无处"@zh ] ;
.
<http://example.org/place/p_3> a lawd:Place ;
  lawd:hasName [ lawd:primaryForm "乙"@zh ] ;
  geo:location [ geo:lat -1.5 ; geo:long 111 ] ;
.
"""
CSV = "id,name,lon,lat,start,end\np_1,Jia Xian|甲縣|甲县,110.25,30.5,1820,1911\np_3,乙,111,-1.5,,\np_4,,112,30,,\n"


def offices(*rows, sigma=10.0):
    names, lonlat = [name for name, *_ in rows], np.array([place for _, *place in rows], float)
    n = len(rows)
    return Offices(
        tuple(f"T{k}" for k in range(n)), tuple(names), lonlat * 0, lonlat, lonlat, np.full(n, sigma),
        np.full(n, sigma), np.zeros(n), ("scan",) * n,
    )  # fmt: skip


def gazetteer(*rows):
    return Gazetteer(
        tuple(f"p_{k}" for k in range(len(rows))), tuple((name,) for name, *_ in rows),
        np.array([place for _, *place in rows], float), np.full((len(rows), 2), np.nan), "places.csv",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["ttl", "zip", "csv"])
def test_every_format_gives_the_same_places(tmp_path, kind):
    path = tmp_path / f"places.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data/places.ttl", TURTLE)
            archive.writestr("__MACOSX/._places.ttl", "rubbish")
    else:
        path.write_text(TURTLE if kind == "ttl" else CSV, encoding="utf-8")
    found = read_gazetteer(path)
    assert found.ids == ("p_1", "p_3")  # a place without a name or without coordinates is no place here
    assert found.names == (("Jia Xian", "甲縣", "甲县"), ("乙",))
    assert found.lonlat.tolist() == [[110.25, 30.5], [111.0, -1.5]]
    assert found.years[0].tolist() == [1820, 1911] and np.isnan(found.years[1]).all()
    assert found.of_year(1907).ids == ("p_1", "p_3")
    assert found.of_year(1912).ids == ("p_3",)  # without years: it may have stood


def test_names_are_compared_without_what_is_not_the_name():
    assert normalised_name(" Ｊia　Xian（1） ") == "jiaxian1"
    assert office_place_name("青崖電報局") == office_place_name("青崖 局") == "青崖"
    assert office_place_name("局") == "局"


def test_a_match_keeps_both_positions_and_the_distance():
    found = match_offices(offices(("甲局", 110.0, 30.0)), gazetteer(("甲", 110.1, 30.0), ("甲", 115.0, 35.0)))
    assert found.match == ("MATCHED",) and found.position == ("gazetteer",) and found.match_id == ("p_0",)
    assert found.lonlat.tolist() == [[110.1, 30.0]] and found.map_lonlat.tolist() == [[110.0, 30.0]]
    assert found.sigma_km.tolist() == [1.0] and found.map_sigma_km.tolist() == [10.0]
    assert found.match_km[0] == pytest.approx(9.65, abs=0.01)  # 0.1 degree of longitude at 30 degrees north


def test_doubtful_matches_stay_where_the_map_shows_them():
    places = gazetteer(
        ("乙", 110.1, 30.0), ("乙", 110.0, 30.2), ("丙", 118.0, 30.0), ("丁", 110.0, 30.01), ("丁", 110.0, 30.02)
    )
    names = ("乙局", "丙局", "戊局", "", "丁局")
    found = match_offices(offices(*((name, 110.0, 30.0) for name in names)), places)
    assert found.match == ("AMBIGUOUS", "FAR", "UNKNOWN", "UNKNOWN", "MATCHED")  # 丁: one place, listed twice
    assert found.lonlat[:4].tolist() == found.map_lonlat[:4].tolist()
    assert found.sigma_km.tolist() == [10, 10, 10, 10, 1]
    assert any("1 offices lie far" in note and "T1" in note for note in found.notes)
    assert found.match_km[1] > 700 and np.isnan(found.match_km[2])


def test_reach_grows_with_the_maps_uncertainty():
    place = gazetteer(("甲", 110.5, 30.0))  # 48 km away
    assert match_offices(offices(("甲局", 110.0, 30.0), sigma=10.0), place).match == ("FAR",)
    assert match_offices(offices(("甲局", 110.0, 30.0), sigma=17.0), place).match == ("MATCHED",)
    with pytest.raises(OptionInvalid, match=r"mend:.*above 0"):
        match_offices(offices(("甲局", 110.0, 30.0)), place, reach_sigmas=0)


def test_files_that_are_no_gazetteer_are_refused(tmp_path):
    def refused(name, content, mend):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(TableInvalid, match=mend):
            read_gazetteer(path)

    with pytest.raises(TableInvalid, match=r"mend:.*check the path"):
        read_gazetteer(tmp_path / "nothing.csv")
    refused("places.json", b"{}", r"mend:.*\.csv, \.ttl")
    refused("places.csv", b"name,x,y\n", "mend:.*name, lon, lat")
    refused("empty.csv", b"name,lon,lat\n", "mend:.*check the format")
    refused("broken.zip", b"PK\x03\x04", "mend:.*fetch it again")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(TableInvalid, match=r"mend:.*one \.ttl inside"):
        read_gazetteer(tmp_path / "none.zip")


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_gazetteer_is_read_whole(real_data):
    found = read_gazetteer(next((real_data / "historical/tgaz_chgis_rdf").glob("*RDF*.zip")))
    assert len(found) > 71_000  # its own readme counts 71,647 records
    first = found.ids.index("hvd_1")
    assert "霸州" in found.names[first]
    assert found.lonlat[first].tolist() == [116.39525, 39.10154]
    assert found.years[first].tolist() == [1820, 1820]
