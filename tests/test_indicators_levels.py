"""Levels from totals: the worked example, every rule and flag, the density identity, missing years."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf, isnan, nan

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from gis.errors import OptionInvalid
from gis.grid import Zones
from gis.indicators import FLAGS, interpolate_totals, levels_for_year
from gis.indicators.flags import join_flags, level_reasons
from gis.tables import CITY_YEAR, DISTRICT_YEAR, arrow_from_frame
from gis.workspace import Levels
from gis.zonal.totals import LightTotals, PopulationTotals

# --- totals made cell by cell, from their definitions ---------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A light cell and the people in it."""

    f: float = 1.0
    """Share of the cell inside the unit."""
    dn: float = 10.0
    """Light; NaN without data."""
    km2: float = 1.0
    """Area on the ellipsoid."""
    k2: float = 0.85
    """Areal factor of the Lambert plane."""
    people: float = 100.0
    """People in the cell; NaN without data."""
    masked: bool = False
    """Whether a gas flare lies on it."""


def total(cells: list[Cell], value) -> float:
    return float(sum(c.f * value(c) for c in cells))


def lights_from(*units: list[Cell]) -> LightTotals:
    """Totals of units under the default policy: negatives become zero."""
    columns: dict[str, list[float]] = {f.name: [] for f in fields(LightTotals) if not f.name.startswith("raster")}
    for cells in units:
        valid = [c for c in cells if not isnan(c.dn) and not c.masked]
        below = [c for c in valid if c.dn < 0]
        peak = max((max(c.dn, 0.0) for c in valid), default=nan)
        row = {
            "sum_lambert": total(valid, lambda c: max(c.dn, 0) * c.km2 * c.k2),
            "sum_true": total(valid, lambda c: max(c.dn, 0) * c.km2),
            "sum_cells": total(valid, lambda c: max(c.dn, 0)),
            "valid_true": total(valid, lambda c: c.km2),
            "valid_cells": total(valid, lambda c: 1),
            "nodata_cells": total([c for c in cells if isnan(c.dn) and not c.masked], lambda c: 1),
            "masked_cells": total([c for c in cells if c.masked], lambda c: 1),
            "masked_true": total([c for c in cells if c.masked], lambda c: c.km2),
            "area_true": total(cells, lambda c: c.km2),
            "area_lambert": total(cells, lambda c: c.km2 * c.k2),
            "negative_cells": total(below, lambda c: 1),
            "negative_sum": total(below, lambda c: -c.dn),
            "absolute_sum": total(valid, lambda c: abs(c.dn)),
            "lit_cells": total([c for c in valid if c.dn > 0], lambda c: 1),
            "max_value": peak,
            "at_max_cells": total([c for c in valid if max(c.dn, 0.0) == peak], lambda c: 1),
        }
        for name, values in columns.items():
            values.append(row[name])
    arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
    highest = [p for p in columns["max_value"] if not isnan(p)]
    return LightTotals(**arrays, raster_max=max(highest, default=nan), raster_sum_cells=sum(columns["sum_cells"]))


def people_from(*units: list[Cell]) -> PopulationTotals:
    """Totals of units whose population cells are the light cells."""
    rows = []
    for cells in units:
        valid = [c for c in cells if not isnan(c.people)]
        seen = [c for c in valid if not isnan(c.dn) and not c.masked]
        rows.append((total(valid, lambda c: c.people), total(valid, lambda c: 1), 0.0, total(seen, lambda c: c.people)))
    arrays = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
    return PopulationTotals(*arrays, raster_sum_persons=float(arrays[0].sum()))


def zones_of(n: int, names: bool = True, parents: tuple[str, ...] = ()) -> Zones:
    codes = tuple(f"{110000 + 100 * k}" for k in range(n))
    boxes = np.array([shapely.box(100 + k, 30, 101 + k, 31) for k in range(n)], dtype=object)
    labels = tuple(f"市{k}" for k in range(n)) if names else ()
    return Zones(codes, boxes, CRS("EPSG:4326"), vintage="2019", names=labels, parents=parents)


def levels_of(*units: list[Cell], options: Levels | None = None, **changed) -> pd.DataFrame:
    """Rows of 2010 of units given cell by cell; ``lights`` and ``population`` may be replaced."""
    arguments = {
        "lights": lights_from(*units),
        "population": people_from(*units),
        "level": "city",
        "options": options or Levels(),
        "pop_years": "2010",
        "pop_nodata_zero": True,
        **changed,
    }
    return levels_for_year(zones_of(len(units)), 2010, **arguments)


def row_of(*cells: Cell, **changed) -> dict[str, object]:
    return levels_of(list(cells), **changed).iloc[0].to_dict()


DARK = Cell(dn=nan)

# --- the worked example ---------------------------------------------------------------------------------------------

TWO_CELLS = (Cell(f=1, dn=10, km2=0.70, k2=1, people=300), Cell(f=0.5, dn=40, km2=0.66, k2=1, people=1000))


def test_two_cells_worked_by_hand():
    row = row_of(*TWO_CELLS)
    # The decimals 0.70 and 0.66 are rounded on input; the sums below have at most three further roundings.
    assert row["light_sum_true_dn_km2"] == pytest.approx(10 * 0.70 + 0.5 * 40 * 0.66, rel=1e-15)
    assert row["pop_persons"] == 300 + 0.5 * 1000 == 800
    assert row["level_true"] == pytest.approx(0.02525, rel=1e-15)
    assert row["level_cells"] == (10 + 20) / 800 == 0.0375
    assert row["area_km2"] == pytest.approx(0.70 + 0.5 * 0.66, rel=1e-15)
    assert (row["flags"], row["n_cells"], row["cov_area"], row["cov_pop"]) == ("SAT", 1.5, 1.0, 1.0)
    # The brighter cell is the raster's brightest and a third of the lit cells, by share: 0.5 of 1.5.
    assert row["saturated_share"] == 0.5 / 1.5


def test_a_level_is_a_ratio_of_sums_and_not_a_mean_of_ratios():
    row = row_of(Cell(dn=10, people=1000), Cell(dn=10, people=10))
    assert row["level_true"] == 20 / 1010
    assert row["level_true"] != (10 / 1000 + 10 / 10) / 2


@pytest.mark.parametrize("measure", ["lambert", "true", "cells"])
def test_level_is_the_configured_measure_and_all_three_are_there(measure):
    row = row_of(Cell(km2=0.7), Cell(dn=5, km2=0.6), options=Levels(measure=measure))
    assert (row["measure"], row["level"]) == (measure, row[f"level_{measure}"])
    assert row["level_true"] == pytest.approx((10 * 0.7 + 5 * 0.6) / 200, rel=1e-15)  # two roundings of 1.1e-16
    assert row["level_lambert"] == pytest.approx(0.85 * row["level_true"], rel=1e-15)  # one k2 for both cells
    assert row["level_cells"] == 15 / 200


# --- rules ----------------------------------------------------------------------------------------------------------


def test_cells_without_data_add_nothing_and_are_counted():
    row = row_of(*[Cell()] * 39, DARK)
    assert (row["light_sum_cells_dn"], row["n_cells"], row["n_nodata_cells"]) == (390, 40, 1)
    assert (row["cov_area"], row["cov_pop"]) == (39 / 40, 39 / 40)
    # All the people, light or not: the coverage rule judges, the level does not correct.
    assert row["level_cells"] == 390 / 4000


def test_empty_sea_lowers_the_area_coverage_and_takes_no_level_away():
    row = row_of(*[Cell()] * 9, Cell(dn=nan, people=nan))
    assert (row["cov_area"], row["cov_pop"], row["level_cells"]) == (0.9, 1.0, 90 / 900)
    assert row["flags"] == "LOWAREA;SAT"


def test_too_few_people_on_valid_light_take_the_level_away():
    row = row_of(*[Cell()] * 9, DARK)
    assert row["cov_pop"] == 0.9
    assert all(isnan(row[name]) for name in ("level", "level_lambert", "level_true", "level_cells"))
    assert row["flags"] == "LOWAREA;LOWCOV;SAT"
    assert row["light_sum_cells_dn"] == 90  # the sum was measured, and stays


@pytest.mark.parametrize(
    ("n_dark", "flag"), [(0, ""), (1, "RESCALED"), (4, "RESCALED"), (5, "RESCALED"), (6, "LOWCOV")]
)
def test_rescaling_divides_the_light_by_the_coverage_between_one_half_and_the_threshold(n_dark, flag):
    row = row_of(*[Cell()] * (10 - n_dark), *[DARK] * n_dark, options=Levels(rescale=True))
    assert {"RESCALED", "LOWCOV"} & set(row["flags"].split(";")) == ({flag} if flag else set())
    if flag == "LOWCOV":
        assert isnan(row["level"])
    else:
        # Light and people are even, so the rescaled level is that of the whole unit; one further rounding.
        assert row["level_cells"] == pytest.approx(100 / 1000, rel=3e-16)
        assert row["light_sum_cells_dn"] == 10 * (10 - n_dark)


@pytest.mark.parametrize(
    ("cells", "flags"), [((Cell(people=0.5),), "LOWCOV;ZEROPOP;SAT"), ((DARK,), "LOWAREA;LOWCOV;NOCELL")]
)
def test_without_people_or_light_there_is_nothing_to_rescale(cells, flags):
    people = people_from(list(cells))
    beside = replace(people, lit_side_persons=0.6 * people.sum_persons)  # valid cells just outside the unit
    row = row_of(*cells, population=beside, options=Levels(rescale=True))
    assert (row["flags"], isnan(row["level"])) == (flags, True)


@pytest.mark.parametrize(("cov_pop_min", "has_level"), [(0.9, True), (0.9000001, False), (0.0, True)])
def test_the_coverage_threshold_is_the_configured_one(cov_pop_min, has_level):
    row = row_of(*[Cell()] * 9, DARK, options=Levels(cov_pop_min=cov_pop_min, cov_area_flag=0.5))
    assert (not isnan(row["level"])) is has_level
    assert row["flags"] == ("SAT" if has_level else "LOWCOV;SAT")


@pytest.mark.parametrize(("people", "flags"), [(0.0, "ZEROPOP;SAT"), (0.75, "ZEROPOP;SAT"), (1.0, "SAT")])
def test_fewer_than_one_person_makes_no_level(people, flags):
    row = row_of(Cell(people=people))
    assert row["flags"] == flags
    assert isnan(row["level"]) if people < 1 else row["level_cells"] == 10


def test_no_people_make_no_level_whatever_the_threshold():
    row = row_of(Cell(people=0.0), options=Levels(pop_min_persons=0, cov_pop_min=0))
    assert isnan(row["level"])
    assert "ZEROPOP" in row["flags"]
    assert isnan(row["cov_pop"])


def test_darkness_over_people_is_a_level_of_zero():
    row = row_of(Cell(dn=0.0), Cell(dn=0.0))
    assert (row["level"], row["flags"], row["lit_share"]) == (0.0, "", 0.0)
    assert isnan(row["saturated_share"])  # no lit cell to judge
    assert row["negative_share"] == 0.0


def test_a_unit_without_a_valid_cell_is_missing_and_never_zero():
    row = row_of(DARK, Cell(dn=nan, people=0))
    light = ("light_sum_dn_km2", "light_sum_true_dn_km2", "light_sum_cells_dn", "light_density_dn")
    assert all(isnan(row[name]) for name in ("level", *light, "lit_share", "saturated_share", "negative_share"))
    assert (row["cov_area"], row["cov_pop"], row["n_cells"], row["pop_persons"]) == (0.0, 0.0, 2.0, 100.0)
    assert row["flags"] == "LOWAREA;LOWCOV;NOCELL"


def test_a_unit_without_a_valid_cell_has_no_level_even_where_no_coverage_is_asked_for():
    options = Levels(cov_pop_min=0, rescale=True)
    row = row_of(DARK, options=options)
    assert isnan(row["level"])
    assert row["flags"] == "LOWAREA;NOCELL"


def test_negative_light_is_counted_with_its_weight():
    row = row_of(Cell(dn=-2.0), Cell(f=0.5, dn=-4.0), Cell(dn=12.0))
    assert (row["n_negative_cells"], row["negative_share"]) == (1.5, 4 / 16)
    assert row["light_sum_cells_dn"] == 12
    assert "NEGATIVE" in row["flags"]


@pytest.mark.parametrize(("n_at_max", "flagged"), [(1, True), (0, False)])
def test_one_lit_cell_in_a_hundred_at_the_maximum_is_saturation(n_at_max, flagged):
    dark = [Cell(dn=0.0)] * 50  # unlit cells do not count
    city = [*[Cell(dn=20)] * (100 - n_at_max), *[Cell(dn=63)] * n_at_max, *dark]
    frame = levels_of(city, [Cell(dn=63)] * 2)
    assert ("SAT" in frame["flags"][0]) is flagged
    assert frame["saturated_share"][0] == n_at_max / 100
    assert frame["saturated_share"][1] == 1.0


def test_less_than_one_in_a_hundred_is_no_saturation():
    assert row_of(*[Cell(dn=20)] * 100, Cell(dn=63))["flags"] == ""


def test_the_brightest_cell_of_a_unit_is_no_saturation_unless_it_is_the_rasters():
    frame = levels_of([Cell(dn=20)], [Cell(dn=63)])
    assert frame["flags"].tolist() == ["", "SAT"]


def test_flares_leave_the_denominator_of_the_area_coverage():
    row = row_of(*[Cell(people=1000)] * 9, Cell(dn=63, people=0, masked=True), n_flares=[3])
    assert (row["cov_area"], row["n_cells"], row["n_nodata_cells"], row["n_flares"]) == (1.0, 10.0, 0.0, 3)
    assert row["light_sum_cells_dn"] == 90
    assert row["area_km2"] == 10


def test_a_unit_all_under_flares_has_no_area_to_cover():
    row = row_of(Cell(masked=True))
    assert isnan(row["cov_area"])
    assert row["flags"] == "LOWCOV;NOCELL"


@pytest.mark.parametrize(
    ("nodata_zero", "people", "flags"), [(True, 0.0, "ZEROPOP;SAT;NOPOP"), (False, nan, "SAT;NOPOP")]
)
def test_a_unit_without_a_population_cell_has_nobody_or_an_unknown_number(nodata_zero, people, flags):
    row = row_of(Cell(people=nan), pop_nodata_zero=nodata_zero)
    assert row["pop_persons"] == people or (isnan(people) and isnan(row["pop_persons"]))
    assert isnan(row["level"])
    assert row["flags"] == flags


def test_a_year_without_a_population_raster_has_no_level():
    row = row_of(Cell(), population=None, pop_years="")
    assert isnan(row["level"])
    assert isnan(row["pop_persons"])
    assert (row["flags"], row["light_sum_cells_dn"]) == ("SAT;NOPOP", 10)


def test_an_unknown_coverage_does_not_pass():
    people = replace(people_from([Cell()]), lit_side_persons=np.array([nan]))
    row = row_of(Cell(), population=people)
    assert isnan(row["level"])
    assert "LOWCOV" in row["flags"]


# --- years without a raster -----------------------------------------------------------------------------------------


def test_a_year_without_lights_keeps_its_rows_people_and_areas():
    units = [Cell(km2=2.0)], [Cell(people=0.5)]
    frame = levels_of(*units, lights=None, areas_from=lights_from(*units))
    assert frame["flags"].tolist() == ["NOLIGHT", "ZEROPOP;NOLIGHT"]
    assert frame[["level", "level_true", "light_sum_dn_km2", "cov_area", "cov_pop", "n_cells"]].isna().all(axis=None)
    assert frame["pop_persons"].tolist() == [100, 0.5]
    assert frame["area_km2"].tolist() == [2.0, 1.0]
    assert frame["pop_density_persons_km2"].tolist() == [50, 0.5]


def test_without_another_years_totals_the_areas_of_a_missing_year_are_missing():
    assert isnan(row_of(Cell(), lights=None)["area_km2"])


@pytest.mark.parametrize("note", ["POPNEAREST", "POPSTATIC", "POPINTERP"])
def test_notes_of_a_year_stand_on_every_row(note):
    frame = levels_of([Cell(dn=5)], [Cell()], light_note="INTERP", population_note=note)
    assert frame["flags"].tolist() == [f"INTERP;{note}", f"SAT;INTERP;{note}"]


def test_an_interpolated_year_lies_on_the_line_between_its_neighbours():
    a, b = [Cell(dn=10, people=100)], [Cell(dn=30, people=500)]
    lights = interpolate_totals(lights_from(a), lights_from(b), 0.25)
    people = interpolate_totals(people_from(a), people_from(b), 0.25)
    row = row_of(Cell(), lights=lights, population=people, light_note="INTERP", population_note="POPINTERP")
    assert (row["light_sum_cells_dn"], row["pop_persons"], row["area_km2"]) == (15, 200, 1)
    assert row["level_cells"] == 15 / 200  # of the sums, not of the levels 0.1 and 0.06
    assert (lights.raster_sum_cells, people.raster_sum_persons) == (15, 200)
    assert row["flags"] == "INTERP;POPINTERP"
    assert isnan(row["saturated_share"])


@pytest.mark.parametrize("missing", ["before", "after"])
def test_a_unit_without_light_in_one_neighbour_is_not_interpolated(missing):
    dark, lit = [DARK, Cell(dn=nan)], [Cell(dn=-1.0), Cell()]
    years = (dark, lit) if missing == "before" else (lit, dark)
    lights = interpolate_totals(lights_from(years[0]), lights_from(years[1]), 0.5)
    row = row_of(Cell(), lights=lights, light_note="INTERP")
    assert isnan(row["level"])
    assert isnan(row["light_sum_cells_dn"])
    assert row["flags"] == "LOWAREA;NOCELL;INTERP"


def test_people_unknown_in_one_neighbour_stay_unknown_unless_no_data_means_nobody():
    people = interpolate_totals(people_from([Cell(people=nan)]), people_from([Cell(people=80)]), 0.5)
    assert isnan(row_of(Cell(), population=people, pop_nodata_zero=False)["pop_persons"])


@given(st.integers(0, 64), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_interpolation_meets_both_ends_and_swaps_with_them(k, dns):
    weight = k / 64  # shares of 64 and whole numbers: every product and sum is exact, so == is honest
    a, b = lights_from([Cell(dn=dns[0])]), lights_from([Cell(dn=dns[1]), Cell(dn=dns[2])])
    for name in ("sum_cells", "sum_true", "valid_cells", "lit_cells", "absolute_sum", "raster_sum_cells"):
        assert getattr(interpolate_totals(a, b, 0.0), name) == getattr(a, name)
        assert getattr(interpolate_totals(a, b, 1.0), name) == getattr(b, name)
        there, back = interpolate_totals(a, b, weight), interpolate_totals(b, a, 1 - weight)
        assert getattr(there, name) == getattr(back, name)


@pytest.mark.parametrize("weight", [-0.01, 1.01, nan, inf])
def test_nothing_is_extrapolated(weight):
    with pytest.raises(OptionInvalid, match=r"mend:.*inside a series only"):
        interpolate_totals(lights_from([Cell()]), lights_from([Cell()]), weight)


@pytest.mark.parametrize("other", [people_from([Cell()]), lights_from([Cell()], [Cell()])])
def test_totals_of_other_kinds_or_zones_are_not_interpolated(other):
    with pytest.raises(OptionInvalid, match=r"mend:.*two years of one product and layer"):
        interpolate_totals(lights_from([Cell()]), other, 0.5)


# --- identities and bounds ------------------------------------------------------------------------------------------

# Light of at least a thousandth: fainter than 1e-300 it has no full mantissa left, and no relative error is bounded.
CELLS = st.builds(
    Cell,
    f=st.integers(1, 64).map(lambda k: k / 64),
    dn=st.one_of(st.just(nan), st.just(0.0), st.floats(-5, -1e-3), st.floats(1e-3, 1e4)),
    km2=st.floats(1e-4, 2.0),
    k2=st.floats(0.8, 1.0),
    people=st.one_of(st.just(nan), st.just(0.0), st.floats(1e-3, 1e6)),
    masked=st.booleans(),
)
UNIT = st.lists(CELLS, min_size=1, max_size=6)
OPTIONS = st.builds(
    Levels,
    measure=st.sampled_from(["lambert", "true", "cells"]),
    cov_pop_min=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    rescale=st.booleans(),
    pop_min_persons=st.sampled_from([0.0, 1.0, 50.0]),
)


@given(st.lists(UNIT, min_size=1, max_size=4), st.booleans())
def test_light_per_area_is_light_per_person_times_persons_per_area(units, nodata_zero):
    frame = levels_of(*units, pop_nodata_zero=nodata_zero, options=Levels(cov_pop_min=0.0))
    kept = frame[frame["level"].notna()]
    product = kept["level_true"] * kept["pop_density_persons_km2"]
    assert np.allclose(product, kept["light_density_dn"], rtol=1e-12, atol=0)  # METHOD 2: to 1e-12


@given(st.lists(UNIT, min_size=1, max_size=4), st.booleans(), OPTIONS)
def test_a_level_is_finite_or_missing_with_a_reason(units, nodata_zero, options):
    frame = levels_of(*units, pop_nodata_zero=nodata_zero, options=options)
    assert not np.isinf(frame.select_dtypes("float64")).any(axis=None)
    for level, flags in zip(frame["level"], frame["flags"], strict=True):
        assert isnan(level) == (level_reasons(flags) != "")
        assert flags == ";".join(name for name in FLAGS if name in flags.split(";"))


@settings(max_examples=25)
@given(st.lists(UNIT, min_size=2, max_size=4), OPTIONS)
def test_a_unit_does_not_depend_on_its_neighbours_or_the_order(units, options):
    # But for saturation, which asks for the maximum of them all: the maximum is given to each.
    top = [Cell(dn=1e5)]
    together = levels_of(*units, top, options=options)
    backwards = levels_of(*units[::-1], top, options=options)
    columns = [name for name in together if name not in ("city_code", "city_name")]
    for k, unit in enumerate(units):
        alone = levels_of(unit, top, options=options)
        pd.testing.assert_series_equal(together.loc[k, columns], alone.loc[0, columns], check_names=False)
        pd.testing.assert_series_equal(
            together.loc[k, columns], backwards.loc[len(units) - 1 - k, columns], check_names=False
        )


# --- the table ------------------------------------------------------------------------------------------------------


def test_rows_are_the_declared_table_of_cities():
    frame = levels_of([Cell()], [DARK], is_synthetic=True)
    table = arrow_from_frame(CITY_YEAR, frame)
    assert table["city_code"].to_pylist() == ["110000", "110100"]
    assert table["city_name"].to_pylist() == ["市0", "市1"]
    assert set(table["year"].to_pylist()) == {2010}
    assert set(table["vintage"].to_pylist()) == {"2019"}
    assert table["is_synthetic"].to_pylist() == [True, True]
    assert table["pop_years"].to_pylist() == ["2010", "2010"]


def test_rows_of_districts_name_their_city():
    zones = zones_of(2, names=False, parents=("110000", ""))
    totals = lights_from([Cell()], [Cell()]), people_from([Cell()], [Cell()])
    frame = levels_for_year(
        zones, 2010, *totals, level="district", options=Levels(), pop_years="2010", pop_nodata_zero=True
    )
    table = arrow_from_frame(DISTRICT_YEAR, frame)
    assert table["district_code"].to_pylist() == list(zones.codes)
    assert table["city_code"].to_pylist() == ["110000", None]
    assert table["district_name"].to_pylist() == [None, None]


# --- flags ----------------------------------------------------------------------------------------------------------


def test_every_flag_says_what_it_means_and_where_it_comes_from():
    for name, flag in FLAGS.items():
        assert name == name.upper()
        assert len(flag.meaning) > 20, name
        assert flag.rule.startswith("2 rule"), name


def test_flags_are_joined_in_their_fixed_order():
    everyone = {name: np.array([True, False]) for name in reversed(FLAGS)}
    assert join_flags(everyone, 2) == [";".join(FLAGS), ""]


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "mend"),
    [
        ({"level": "province"}, "one of city, district"),
        ({"light_note": "POPNEAREST"}, "one of INTERP, or empty"),
        ({"population_note": "INTERP"}, "one of POPNEAREST, POPSTATIC, POPINTERP, or empty"),
        ({"lights": lights_from([Cell()], [Cell()])}, "computed for these zones, in their order"),
        ({"population": people_from([Cell()], [Cell()])}, "computed for these zones, in their order"),
        ({"areas_from": lights_from([Cell()], [Cell()])}, "computed for these zones, in their order"),
        ({"n_flares": [1, 2]}, "computed for these zones, in their order"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, mend):
    with pytest.raises(OptionInvalid, match=f"mend:.*{mend}"):
        row_of(Cell(), **changed)
