"""What is wrong with control points is refused or named: swaps, turns, doubles, strays, the wrong image."""

from __future__ import annotations

import numpy as np
import pytest
from historical_cases import SIZE, affine_points, drafted_map
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import CrsMissing
from gis.historical import ControlPointsInvalid, assess, control_points, diagnose, fit_all, read_control_points
from gis.historical.control_points import refuse_outside
from gis.historical.georeference import georeference
from gis.historical.orientation import orientation

H, W = SIZE


def changed(points, **columns):
    values = {name: columns.get(name, getattr(points, name)) for name in ("px", "py", "x", "y")}
    return control_points(**values, crs=points.crs, enabled=points.enabled)


# --- error injection (one test for each) ------------------------------------------------------------------------------


def test_swapped_longitude_and_latitude_are_refused_where_no_latitude_can_be_so_large():
    good = drafted_map(1)
    with pytest.raises(ControlPointsInvalid, match="longitude comes first: swap the two columns"):
        changed(good, x=good.y, y=good.x)


def test_swapped_longitude_and_latitude_are_named_where_both_are_possible():
    good = affine_points(n=10)
    west = changed(good, x=good.x - 90)  # both now fit a latitude
    assert georeference(west, "affine").chosen.n_points == 10
    swapped = changed(west, x=west.y, y=west.x)
    (finding,) = diagnose(swapped)
    assert finding.severity == "error" and finding.code == "mirrored"
    for call in (georeference, fit_all, lambda points: assess(points, "affine")):
        with pytest.raises(ControlPointsInvalid, match="longitude and latitude are swapped"):
            call(swapped)


def test_swapped_row_and_column_are_named():
    good = drafted_map(1)
    with pytest.raises(ControlPointsInvalid, match=r"row and column are swapped: the column \(px\) comes first"):
        georeference(changed(good, px=good.py, py=good.px))


def test_rows_counted_upward_and_a_mirrored_scan_are_named():
    good = drafted_map(1)
    with pytest.raises(ControlPointsInvalid, match="rows are counted upward"):
        georeference(changed(good, py=H - good.py))
    with pytest.raises(ControlPointsInvalid, match="the scan was mirrored"):
        georeference(changed(good, px=W - good.px))


@pytest.mark.parametrize("model", ["auto", "projection:bonne", "affine", "tps"])
def test_a_point_five_hundred_kilometres_off_is_named_and_kept(model):
    good = drafted_map(1)
    lat = good.lat.copy()
    lat[17] += 4.5  # 500 km
    result = georeference(changed(good, y=lat), model)
    first = next(f for f in result.findings if f.severity == "warning" and f.code in ("outlier", "suspect"))
    assert first.what.startswith("point 18 lies ")
    assert "disable it and say why" in first.mend
    assert "18" in result.chosen.ids and result.chosen.n_points == 50
    others = [f for f in result.findings if f.code == "outlier" and "point " in f.what and "point 18" not in f.what]
    assert others == []


def test_a_missing_crs_line_is_refused(tmp_path):
    path = tmp_path / "a.points"
    path.write_text("mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n116,40,1,-2,1,0,0,0\n", encoding="utf-8")
    with pytest.raises(CrsMissing, match="say it: --gcps-crs EPSG:4326"):
        read_control_points(path)


@pytest.mark.parametrize(
    ("turned", "said"),
    [
        (lambda p: changed(p, px=H - p.py, py=p.px), "on its side: turned clockwise by 99"),
        (lambda p: changed(p, px=p.py, py=W - p.px), "on its side: turned counter-clockwise by 81"),
        (lambda p: changed(p, px=W - p.px, py=H - p.py), "on its head: turned counter-clockwise by 171"),
    ],
)
def test_an_image_turned_by_a_right_angle_is_named_and_fitted_all_the_same(turned, said):
    good = drafted_map(1, n=25)
    upright, result = assess(good, "projection:bonne"), georeference(turned(good), "projection:bonne")
    (finding,) = [f for f in result.findings if f.code == "turned"]
    assert finding.severity == "info"
    assert said in finding.what
    assert result.chosen.loo_rmse_km == pytest.approx(upright.loo_rmse_km, rel=1e-3)


def test_points_of_a_scan_that_was_turned_since_are_refused_with_the_turn():
    points = control_points([100, 5900, 3000], [100, 300, 4900], [100, 120, 110], [40, 40, 20])
    refuse_outside(points, (5000, 6000))
    with pytest.raises(ControlPointsInvalid, match="as it was before it was turned by 90 degrees"):
        refuse_outside(points, (6000, 5000))
    with pytest.raises(ControlPointsInvalid, match="the image the points were digitised on, in its full size"):
        georeference(points, size=(2500, 3000))


# --- orientation ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(turn=st.floats(-179, 179), mirrored=st.booleans())
def test_any_turn_is_measured_and_a_mirror_is_always_seen(turn, mirrored):
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-1, 1, (2, 8))
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    right, down = x, -y  # as drawn; the picture is then turned clockwise (rows run down)
    px, py = c * right - s * down, s * right + c * down
    points = control_points(500 + 300 * (-px if mirrored else px), 500 + 300 * py, 0.02 * x, 0.02 * y)
    lies = orientation(points)
    assert lies is not None
    assert lies.is_mirrored == mirrored
    if not mirrored:
        assert abs((lies.turn_degree - turn + 180) % 360 - 180) < 1e-3  # degree; a degree is not quite a length


def test_two_points_and_points_on_a_line_have_no_orientation():
    assert orientation(control_points([0, 1], [0, 1], [0, 1], [0, 1])) is None
    assert orientation(control_points([0, 1, 2], [0, 1, 2], [0, 1, 2], [3, 4, 5])) is None


# --- the table itself -------------------------------------------------------------------------------------------------


def test_points_that_count_twice_are_refused_unless_disabled():
    for columns in (
        ([10, 10, 50], [20, 20, 60], [100, 101, 102], [40, 41, 42]),
        ([10, 20, 50], [20, 30, 60], [100, 100, 102], [40, 40, 42]),
    ):
        with pytest.raises(ControlPointsInvalid, match="disable one of the two"):
            control_points(*columns)
        assert len(control_points(*columns, enabled=[True, False, True]).used()) == 2
        assert len(control_points(*columns, role=["train", "check", "train"]).used()) == 2


@pytest.mark.parametrize(
    ("columns", "mend"),
    [
        ({"ids": ["a", "a"]}, "give every point a name of its own"),
        ({"kind": ["city", "lake"]}, "one of city, coast, graticule"),
        ({"role": ["train"]}, "give one per point"),
        ({"px": [1.0, np.nan]}, "fill it in, or delete the row"),
        ({"crs": "EPSG:32650", "x": [1e12, 5e5], "y": [0.0, 4e6]}, "check that the CRS is the one"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns, mend):
    values = {"px": [1.0, 2.0], "py": [1.0, 3.0], "x": [100.0, 101.0], "y": [40.0, 41.0]} | columns
    with pytest.raises(ControlPointsInvalid, match=mend):
        control_points(**values)


def test_columns_cannot_be_changed_and_parts_keep_their_order():
    points = affine_points(n=5)
    with pytest.raises(ValueError, match="read-only"):
        points.px[0] = 1.0
    part = points.take([3, 1])
    assert part.ids == ("4", "2")
    assert list(part.lon) == [points.lon[3], points.lon[1]]


def test_changing_the_crs_there_and_back_keeps_the_place():
    points = affine_points(n=5)
    back = points.in_crs("ESRI:102027").in_crs("EPSG:4326")
    assert np.allclose(back.lon, points.lon, atol=1e-10)  # degree: 0.01 mm
    assert points.in_crs("OGC:CRS84") is points


def test_few_points_cannot_show_an_outlier_and_the_report_says_so():
    found = georeference(affine_points(n=5), "affine")
    assert any(f.code == "few" for f in found.findings)
