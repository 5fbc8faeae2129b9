"""Tables carried from one vintage to another: by hand, by definition, and whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from vintage_cases import GPW, new_china, old_china, squares

from gis.boundaries import geodesic_area_km2
from gis.crosswalk import (
    Crosswalk,
    WeightRaster,
    apply_crosswalk,
    crosswalk,
    read_crosswalk,
    write_crosswalk,
)
from gis.crs import crs_from
from gis.errors import BoundaryInvalid, CodeInvalid, OptionInvalid, TableInvalid
from gis.grid import Grid, Zones
from gis.raster_io import CellRules, read_info, write_raster
from gis.zonal.statistics import plain_rules

CHAOHU = {"341400": (117, 31, 120, 32)}
HEIRS = {"340100": (117, 31, 118, 32), "340200": (118, 31, 119, 32), "340500": (119, 31, 120, 32)}


def raster(folder, values, west=117.0, north=32.0, cell=1.0, rules=None):
    from affine import Affine

    values = np.asarray(values, "float32")
    grid = Grid(values.shape, Affine(cell, 0, west, 0, -cell, north), crs_from("EPSG:4326"))
    path = folder / "people.tif"
    write_raster(path, values, grid, dtype="float32", nodata=-1.0)
    return WeightRaster(read_info(path), rules or CellRules(nodata=(-1.0,), negatives="nan"))


def weights(walk):
    return {(r["old_code"], r["new_code"]): r["weight"] for r in walk.frame.to_dict("records")}


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_the_methods_example_is_exact(tmp_path):
    """METHOD 9.4: shares .45, .35, .20 of the people; 10,000 telephones of 1984 become 4,500, 3,500 and 2,000."""
    people = raster(tmp_path, [[450, 350, 200]])
    walk = crosswalk(squares(CHAOHU), squares(HEIRS), weight="population", raster=people)
    assert weights(walk) == {("341400", "340100"): 0.45, ("341400", "340200"): 0.35, ("341400", "340500"): 0.2}
    telephones = pd.DataFrame({"city_code": ["341400"], "telephones": [10_000]})
    carried = apply_crosswalk(walk, telephones, extensive=["telephones"])
    assert dict(zip(carried["city_code"], carried["telephones"], strict=True)) == {
        "340100": 4500.0, "340200": 3500.0, "340500": 2000.0,
    }  # fmt: skip


def test_a_cell_on_the_border_goes_to_both_by_its_share(tmp_path):
    """The border runs through the second cell: 100 + 0.25 * 400 people on one side, 0.75 * 400 + 60 on the other."""
    people = raster(tmp_path, [[100, 400, 60]])
    new = squares({"340100": (117, 31, 118.25, 32), "340200": (118.25, 31, 120, 32)})
    walk = crosswalk(squares(CHAOHU), new, weight="population", raster=people)
    assert weights(walk)[("341400", "340100")] == pytest.approx((100 + 0.25 * 400) / 560, rel=1e-12)  # coverage: 2e-12
    assert (walk.frame["basis"] == "population").all()


def test_area_weights_are_shares_of_the_ellipsoid():
    old = squares({"100100": (110, 20, 111, 40)})
    new = squares({"100200": (110, 20, 111, 30), "100300": (110, 30, 111, 40)})
    walk = crosswalk(old, new)
    south, north = geodesic_area_km2(new.geometry, new.crs)
    assert weights(walk)[("100100", "100200")] == pytest.approx(south / (south + north), rel=1e-12)  # rounding
    assert weights(walk)[("100100", "100200")] > 0.52  # a degree is wider in the south
    assert set(walk.frame["basis"]) == {"area"}


def test_a_rate_is_weighed_by_its_denominator_and_never_averaged(tmp_path):
    """100 heads at 2 and 300 heads at 10 are 8 a head, not 6."""
    walk = crosswalk(squares(HEIRS), squares(CHAOHU))
    table = pd.DataFrame(
        {"city_code": ["340100", "340200", "340500"], "heads": [100, 300, 0], "rate": [2.0, 10.0, 99.0]}
    )
    carried = apply_crosswalk(walk, table, extensive=["heads"], intensive={"rate": "heads"})
    assert carried.to_dict("records") == [{"city_code": "341400", "heads": 400.0, "rate": 8.0}]


def test_years_are_carried_one_by_one():
    walk = crosswalk(squares(HEIRS), squares(CHAOHU))
    table = pd.DataFrame(
        {"city_code": ["340100", "340200", "340500"] * 2, "year": [2000] * 3 + [2001] * 3, "x": [1, 2, 3, 10, 20, 30]}
    )
    carried = apply_crosswalk(walk, table, extensive=["x"], by=["year"])
    assert carried.to_dict("list") == {"city_code": ["341400"] * 2, "year": [2000, 2001], "x": [6.0, 60.0]}


def test_where_nobody_lives_area_decides(tmp_path):
    people = raster(tmp_path, [[0, 0, 0], [5, 5, 90]])
    old = squares({"100100": (117, 31, 120, 32), "100200": (117, 30, 120, 31)})
    new = squares({"200100": (117, 30, 119, 32), "200200": (119, 30, 120, 32)})
    walk = crosswalk(old, new, weight="population", raster=people)
    found = weights(walk)
    assert found["100200", "200200"] == pytest.approx(0.9, rel=1e-12)  # rounding of a quotient
    assert found["100100", "200200"] == pytest.approx(1 / 3, rel=1e-9)  # boxes of a degree, edges straight
    assert dict(zip(walk.frame["old_code"], walk.frame["basis"], strict=True)) == {
        "100100": "area", "100200": "population",
    }  # fmt: skip


def test_light_is_weighed_by_the_area_of_its_cells(tmp_path):
    """Equal light on both sides of 30 degrees: the southern cell is larger."""
    light = raster(tmp_path, [[7], [7]], west=110, north=40, cell=10)
    light = WeightRaster(light.info, light.rules, "true")
    old = squares({"100100": (110, 20, 120, 40)})
    new = squares({"200100": (110, 20, 120, 30), "200200": (110, 30, 120, 40)})
    by_light = weights(crosswalk(old, new, weight="lights", raster=light))
    by_area = weights(crosswalk(old, new))
    assert by_light == pytest.approx(by_area, rel=1e-9)  # uniform light is area


def test_the_matrix_is_sparse_and_its_rows_add_up_to_one():
    walk = crosswalk(squares(CHAOHU), squares({**HEIRS, "990100": (10, 10, 11, 11)}))
    matrix = walk.matrix()
    assert (matrix.shape, matrix.nnz) == ((1, 4), 3)
    assert matrix.sum() == pytest.approx(1, abs=1e-15)
    assert walk.new_codes[3] == "990100" and matrix.toarray()[0, 3] == 0


# --- by definition ---------------------------------------------------------------------------------------------------


@st.composite
def partitions(draw):
    """Two partitions of one rectangle of 8 by 4 cells into strips, with people on the cells."""

    def cuts():
        # In eighths of a cell: borders run through cells.
        inner = draw(st.lists(st.integers(1, 63), min_size=1, max_size=4, unique=True))
        return [0, *sorted(inner), 64]

    def strips(edges, letter):
        return squares({f"{letter}{k}": (100 + a / 8, 30, 100 + b / 8, 34) for k, (a, b) in enumerate(pairwise(edges))})

    people = draw(st.lists(st.integers(0, 1000), min_size=32, max_size=32))
    return strips(cuts(), "a"), strips(cuts(), "b"), np.array(people, float).reshape(4, 8)


@settings(max_examples=25)
@given(partitions())
def test_weights_match_the_definition_cell_by_cell(tmp_path_factory, drawn):
    """The oracle intersects every old unit, new unit and cell as polygons."""
    old, new, people = drawn
    source = raster(tmp_path_factory.mktemp("w"), people, west=100, north=34)
    walk = crosswalk(old, new, weight="population", raster=source)
    for i, a in enumerate(old.codes):
        inside = {}
        for j, b in enumerate(new.codes):
            piece = shapely.intersection(old.geometry[i], new.geometry[j])
            inside[b] = sum(
                people[r, c] * shapely.intersection(piece, shapely.box(100 + c, 33 - r, 101 + c, 34 - r)).area
                for r in range(4)
                for c in range(8)
            )
        total = sum(inside.values())
        if total == 0:
            continue  # nobody there: by area, tested above
        for b, persons in inside.items():
            assert weights(walk).get((a, b), 0.0) == pytest.approx(persons / total, abs=1e-9)  # coverage to 1e-9


@settings(max_examples=25)
@given(partitions(), st.data())
def test_what_adds_up_is_carried_whole(tmp_path_factory, drawn, data):
    old, new, people = drawn
    source = raster(tmp_path_factory.mktemp("w"), people, west=100, north=34)
    walk = crosswalk(old, new, weight="population", raster=source)
    np.testing.assert_allclose(walk.matrix().sum(axis=1), 1, rtol=0, atol=1e-12)  # rounding of a few quotients
    x = data.draw(st.lists(st.integers(0, 10**9), min_size=len(old), max_size=len(old)))
    table = pd.DataFrame({"city_code": old.codes, "x": x, "share": 0.25})
    carried = apply_crosswalk(walk, table, extensive=["x"], intensive={"share": "x"})
    assert carried["x"].sum() == pytest.approx(sum(x), rel=1e-12)  # rounding
    known = carried["share"].dropna()
    np.testing.assert_allclose(known, 0.25, rtol=1e-12)  # a rate that is equal everywhere stays what it is
    assert carried.loc[carried["share"].isna(), "x"].eq(0).all()  # nobody: no rate


@settings(max_examples=15)
@given(partitions())
def test_there_and_back_within_one_partition_is_the_identity(tmp_path_factory, drawn):
    old, _, people = drawn
    source = raster(tmp_path_factory.mktemp("w"), people, west=100, north=34)
    walk = crosswalk(old, old, weight="population", raster=source)
    assert weights(walk) == {(c, c): 1.0 for c in old.codes}


# --- what lies outside, what is missing ------------------------------------------------------------------------------


def test_an_uncovered_share_is_a_column_and_an_error_above_two_per_cent(tmp_path):
    people = raster(tmp_path, [[970, 20, 10]])
    new = squares({"340100": (117, 31, 118, 32), "340200": (118, 31, 119, 32)})
    walk = crosswalk(squares(CHAOHU), new, weight="population", raster=people)
    np.testing.assert_allclose(walk.frame["uncovered_share"], 0.01, rtol=1e-9)  # 10 of 1,000
    assert weights(walk)["341400", "340100"] == pytest.approx(970 / 990, rel=1e-12)  # rescaled: the total is kept
    with pytest.raises(BoundaryInvalid, match=r"341400 33\.\d%(?s:.*)mend: .*--max-uncovered 0\.3[34]"):
        crosswalk(squares(CHAOHU), new)
    assert len(crosswalk(squares(CHAOHU), new, max_uncovered=0.34).frame) == 2


def test_a_unit_without_any_ground_in_the_new_layer_is_refused_whatever_the_limit():
    old = squares({**CHAOHU, "460300": (112, 10, 113, 11)}, {"341400": "巢湖市", "460300": "三沙市"})
    with pytest.raises(
        BoundaryInvalid, match=r'460300 三沙市(?s:.*)mend:  leave them out.*exclude = \["460300", \.\.\.\]'
    ):
        crosswalk(old, squares(HEIRS), max_uncovered=1)


def test_a_missing_value_stays_missing_and_a_missing_row_is_a_missing_value():
    walk = crosswalk(
        squares({**HEIRS, "350100": (120, 31, 121, 32)}), squares({**CHAOHU, "350100": (120, 31, 121, 32)})
    )
    table = pd.DataFrame({"city_code": ["340100", "340200", "340500", "350100"], "x": [1, 2, np.nan, 5]})
    assert apply_crosswalk(walk, table, extensive=["x"])["x"].to_list() == pytest.approx([np.nan, 5.0], nan_ok=True)
    partly = apply_crosswalk(walk, table.iloc[[0, 1, 3]], extensive=["x"])
    assert partly["x"].to_list() == pytest.approx([np.nan, 5.0], nan_ok=True)
    assert list(apply_crosswalk(walk, table.iloc[[3]], extensive=["x"])["city_code"]) == ["350100"]


def two_drawings():
    """A border drawn 0.9 km further east: the strip is a sliver of about 1 % of the old western unit."""
    old = squares({"100100": (116, 30, 117, 31), "100200": (117, 30, 118, 31)})
    new = squares({"100100": (116, 30, 116.99, 31), "100200": (116.99, 30, 118, 31)})
    return old, new


def test_slivers_are_listed_and_can_be_dropped_and_rescaled():
    walk = crosswalk(*two_drawings())
    (sliver,) = walk.slivers().to_dict("records")
    assert (sliver["old_code"], sliver["new_code"]) == ("100100", "100200")
    assert sliver["weight"] == pytest.approx(0.01, rel=1e-6)  # a hundredth of a degree
    whole = walk.without_slivers()
    assert weights(whole) == {("100100", "100100"): 1.0, ("100200", "100200"): 1.0}
    assert whole.slivers().empty


def test_a_sliver_of_a_missing_unit_takes_nothing_away():
    walk = crosswalk(*two_drawings())
    table = pd.DataFrame({"city_code": ["100200"], "x": [7.0]})
    assert apply_crosswalk(walk, table, extensive=["x"]).to_dict("records") == [{"city_code": "100200", "x": 7.0}]


def test_the_last_piece_of_a_unit_is_never_a_sliver():
    """A unit of a strip: all of it is thin, and it must go somewhere."""
    old = squares({"100100": (116, 30, 116.004, 31), "100200": (116.004, 30, 117, 31)})
    new = squares({"200100": (116, 30, 117, 31)})
    assert not crosswalk(old, new).frame["is_sliver"].any()


def test_a_thin_unit_that_goes_on_is_no_sliver_of_itself():
    """A unit 1.5 km wide lost the larger part of it: what is left under its code is thin, and is not noise."""
    old = squares({"100100": (116, 30, 116.016, 31), "100200": (116.016, 30, 117, 31)})
    new = squares({"100100": (116, 30, 116.006, 31), "100200": (116.006, 30, 117, 31)})
    walk = crosswalk(old, new)
    assert not walk.frame.set_index(["old_code", "new_code"]).loc[("100100", "100100"), "is_sliver"]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_weights_that_are_not_offered_are_refused():
    with pytest.raises(OptionInvalid, match="mend:  one of area, population, lights"):
        crosswalk(squares(CHAOHU), squares(HEIRS), weight="gdp")
    with pytest.raises(OptionInvalid, match="mend:  give raster=WeightRaster"):
        crosswalk(squares(CHAOHU), squares(HEIRS), weight="population")


TABLE = pd.DataFrame({"city_code": ["341400"], "x": [1.0], "rate": [2.0], "word": ["a"]})


@pytest.mark.parametrize(
    ("table", "options", "error", "mend"),
    [
        (TABLE, {}, OptionInvalid, "name the columns: --extensive persons"),
        (TABLE, {"extensive": ["y"]}, TableInvalid, "name its columns: --code"),
        (TABLE, {"extensive": ["x"], "code": "id"}, TableInvalid, "name its columns: --code"),
        (TABLE, {"extensive": ["word"]}, TableInvalid, "name numeric columns only"),
        (TABLE, {"extensive": ["x"], "intensive": {"rate": "heads"}}, TableInvalid, "name each denominator"),
        (TABLE, {"intensive": {"rate": "x"}}, TableInvalid, "name each denominator"),
        (
            pd.concat([TABLE, TABLE]),
            {"extensive": ["x"]},
            TableInvalid,
            "keep one row per unit, or name the other keys",
        ),
        (TABLE.iloc[:0], {"extensive": ["x"]}, TableInvalid, "check the file"),
        (
            pd.concat([TABLE.assign(year=2000.0), TABLE.assign(year=np.nan)]),
            {"extensive": ["x"], "by": ["year"]},
            TableInvalid,
            "fill the cells, or drop these rows",
        ),
        (
            TABLE.assign(city_code="999999"),
            {"extensive": ["x"]},
            CodeInvalid,
            "take the layer of the table's own vintage",
        ),
    ],
)
def test_a_table_that_cannot_be_carried_is_told_why(table, options, error, mend):
    walk = crosswalk(squares(CHAOHU), squares(HEIRS))
    with pytest.raises(error, match=f"mend:  {mend}"):
        apply_crosswalk(walk, table, **options)


# --- to disk and back, and the command -------------------------------------------------------------------------------


def test_weights_come_back_from_disk_as_they_were(tmp_path):
    walk = crosswalk(squares(CHAOHU), squares({**HEIRS, "990100": (10, 10, 11, 11)}))
    again = read_crosswalk(write_crosswalk(walk, tmp_path / "walk.parquet"))
    pd.testing.assert_frame_equal(again.frame, walk.frame, check_dtype=False)
    assert (again.old_codes, again.new_codes, again.vintages) == (walk.old_codes, walk.new_codes, walk.vintages)
    assert write_crosswalk(walk, tmp_path / "walk.csv").read_bytes().startswith(b"\xef\xbb\xbfold_code")
    with pytest.raises(OptionInvalid, match=r"mend:  name the file \.parquet or \.csv"):
        write_crosswalk(walk, tmp_path / "walk.xlsx")
    with pytest.raises(TableInvalid, match="mend:  "):
        read_crosswalk(tmp_path / "nothing.parquet")
    assert {p.name for p in tmp_path.iterdir()} == {"walk.parquet", "walk.csv"}


def write_layer(zones, path):
    import geopandas as gpd

    gpd.GeoDataFrame({"code": zones.codes}, geometry=list(zones.geometry), crs=zones.crs).to_file(path, driver="GPKG")
    return str(path)


def test_the_command_carries_a_table(tmp_path):
    from typer.testing import CliRunner

    from gis.cli_boundaries import app

    a, b = write_layer(squares(CHAOHU), tmp_path / "a.gpkg"), write_layer(squares(HEIRS), tmp_path / "b.gpkg")
    people = raster(tmp_path, [[450, 350, 200]]).info.path
    table = tmp_path / "telephones.csv"
    table.write_text("city_code,year,telephones,per_head\n3414,1984,10000,0.5\n", encoding="utf-8")
    result = CliRunner().invoke(
        app,
        ["crosswalk", a, b, "--weight", "population", "--raster", str(people), "--apply", str(table), "--by", "year",
         "--extensive", "telephones", "--intensive", "per_head:telephones", "-o", str(tmp_path / "w.parquet"),
         "-w", str(tmp_path)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    carried = pd.read_csv(tmp_path / "telephones_carried.csv", dtype={"city_code": str})
    assert carried["telephones"].to_list() == [4500, 3500, 2000]
    assert carried["per_head"].to_list() == [0.5] * 3
    assert "3 weights from 1 old to 3 new units" in result.output
    assert isinstance(read_crosswalk(tmp_path / "w.parquet"), Crosswalk)


def test_the_command_says_what_it_lacks(tmp_path):
    from gis.pipeline.crosswalk import LayerWanted, crosswalk_layers, parse_rates

    a, b = write_layer(squares(CHAOHU), tmp_path / "a.gpkg"), write_layer(squares(HEIRS), tmp_path / "b.gpkg")
    with pytest.raises(OptionInvalid, match="mend:  --raster FILE, or a workspace that has one"):
        crosswalk_layers(LayerWanted(a), LayerWanted(b), workspace=tmp_path)
    with pytest.raises(OSError, match="mend:  name a file, or a vintage and its workspace"):
        crosswalk_layers(LayerWanted("2010-12-31"), LayerWanted(b), weight="area", workspace=tmp_path)
    with pytest.raises(OptionInvalid, match="mend:  rate:denominator"):
        parse_rates("gdp_per_head")


# --- real layers -----------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.slow
def test_chaohu_goes_to_three_cities_and_the_people_are_kept(real_data):
    old, new = old_china(real_data), new_china(real_data)
    info = read_info(real_data / GPW)
    people = WeightRaster(info, plain_rules(info))
    walk = crosswalk(old, new, weight="population", raster=people, max_uncovered=0.7)
    outside = walk.frame.groupby("old_name")["uncovered_share"].first()
    assert outside["舟山市"] == pytest.approx(0.695, abs=0.01)  # the old layer draws the sea around the islands
    chaohu = walk.frame[walk.frame["old_code"] == "341400"].set_index("new_code")
    main = chaohu.loc[["340100", "340200", "340500"], "weight"]
    assert main.to_list() == pytest.approx([0.41, 0.33, 0.25], abs=0.01)
    rest = chaohu.drop(index=main.index)
    assert rest["weight"].sum() < 0.015 and rest["is_sliver"].all()
    assert not chaohu.loc[main.index, "is_sliver"].any()
    dropped = walk.without_slivers().frame
    kept = dropped[dropped["old_code"] == "341400"]
    assert set(kept["new_code"]) == set(main.index)
    assert kept["weight"].sum() == pytest.approx(1, abs=1e-15)

    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs

    persons = run_jobs([Job(info, people.rules, (coverage_from_zones(info.grid, old),), ("cells",))])[0][0].sums[:, 0]
    table = pd.DataFrame({"city_code": old.codes, "persons": persons})
    for one in (walk, walk.without_slivers()):
        carried = apply_crosswalk(one, table, extensive=["persons"])
        assert carried["persons"].sum() == pytest.approx(persons.sum(), rel=1e-9)


def test_zones_stay_as_they_were():
    old, new = squares(CHAOHU), squares(HEIRS)
    before = Zones(old.codes, old.geometry, old.crs)
    crosswalk(old, new)
    assert old == before
