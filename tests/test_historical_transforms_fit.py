"""Transforms and their errors: exact on exact maps, undone by their inverses; leaving out is refitting."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from historical_cases import (
    affine_points,
    drafted_map,
    polynomial_left_out,
    similarity_left_out,
    spline_left_out,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from gis.errors import CrsInvalid, OptionInvalid
from gis.historical import MODELS, ControlPointsInvalid, assess, control_points, fit, fit_all, leave_one_out
from gis.historical.accuracy import blocks, rivals
from gis.historical.transforms import fit_crs, targets

LINEAR = {"similarity": 0, "affine": 1, "poly2": 2, "poly3": 3}


def noisy(seed: int, n: int = 30):
    return drafted_map(seed, n=n)


# --- fitting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["affine", "poly2", "poly3", "projective", "tps", "tps_smooth"])
def test_an_affine_map_of_the_plane_is_found_exactly(model):
    rng = np.random.default_rng(1)
    px, py = rng.uniform(0, 4000, (2, 25))
    x, y = 1.2e6 + 900 * px + 30 * py, 1.5e6 - 25 * px - 880 * py
    transform = fit(control_points(px, py, x, y, crs="ESRI:102027"), model)
    at = transform.to_map([0.0, 4000.0], [0.0, 3000.0])
    assert np.allclose(at[0], [1.2e6, 1.2e6 + 3.6e6 + 9e4], atol=0.5)  # 0.5 m: a spline's smoothing is never zero
    assert np.allclose(at[1], [1.5e6, 1.5e6 - 1e5 - 2.64e6], atol=0.5)


def test_a_similarity_turns_and_scales_and_never_mirrors():
    px, py = np.array([0.0, 100.0, 100.0]), np.array([0.0, 0.0, 200.0])
    turn = 1000 * np.exp(0.3j)
    ground = 1e6 + 5e5j + turn * (px - 1j * py)
    transform = fit(control_points(px, py, ground.real, ground.imag, crs="ESRI:102027"), "similarity")
    assert transform.n_parameters == 4
    x, y = transform.to_map(50.0, 70.0)
    want = 1e6 + 5e5j + turn * (50 - 70j)
    assert abs(x + 1j * y - want) < 1e-6  # 1 um: rounding at 1e6 m


def test_a_photograph_at_an_angle_is_projective():
    rng = np.random.default_rng(2)
    px, py = rng.uniform(0, 4000, (2, 15))
    w = 1 + 4e-5 * px + 2e-5 * py
    x, y = (1e6 + 900 * px + 30 * py) / w, (1.5e6 - 20 * px - 880 * py) / w
    points = control_points(px, py, x, y, crs="ESRI:102027")
    found = assess(points, "projective")
    assert found.rmse_km < 1e-6  # 1 mm
    assert assess(points, "affine").rmse_km > 5
    back = found.transform.to_pixel(points.lon, points.lat)
    assert np.allclose(back, [px, py], atol=1e-5)  # px; the fit stops at a millimetre


@pytest.mark.parametrize("model", list(MODELS))
def test_every_transform_is_undone_by_its_inverse(model):
    points = noisy(4)
    transform = fit(points, model)
    # Within the points: a cubic or a spline may fold outside, where there is no single answer.
    px, py = np.meshgrid(np.linspace(1500, 4200, 9), np.linspace(1500, 3600, 7))
    back = np.array(transform.to_pixel(*transform.to_lonlat(px, py)))
    # 1e-6 px is 1 m on a map drawn 9 km off: PROJ's inverses of Bonne, polyconic and equidistant conic iterate
    assert np.nanmax(np.abs(back - [px, py])) < 1e-6
    assert np.isfinite(back).all()
    there = np.array(transform.to_map(px, py))
    assert np.abs(np.array(transform.from_map(*there)) - [px, py]).max() < 1e-6
    assert np.shape(transform.to_lonlat(px[0, 0], py[0, 0])) == (2,)


def test_an_exact_spline_passes_through_its_points_and_others_say_so():
    points = noisy(5)
    found = assess(points, "tps")
    assert found.rmse_km < 1e-6  # 1 mm: by construction
    assert np.isnan(found.sigma_axis_km)
    assert found.loo_rmse_km > 9
    assert f"RMSE 0 is not accuracy; leaving points out, it errs by {found.loo_rmse_km:.1f} km" in found.notes[0]


def test_transforms_survive_pickling():
    points = noisy(6)
    for model in MODELS:
        transform = fit(points, model)
        again = pickle.loads(pickle.dumps(transform))
        assert again.to_lonlat(2000.0, 2000.0) == transform.to_lonlat(2000.0, 2000.0)


def test_disabled_and_check_points_are_not_fitted():
    good = affine_points(n=12)
    px, py = np.append(good.px, [10.0, 500.0]), np.append(good.py, [10.0, 400.0])
    lon, lat = np.append(good.lon, [140.0, 30.0]), np.append(good.lat, [10.0, 60.0])
    enabled, role = [True] * 12 + [False, True], ["train"] * 13 + ["check"]
    points = control_points(px, py, lon, lat, enabled=enabled, role=role)
    found = assess(points, "projection:eqc")
    assert found.n_points == 12
    assert found.rmse_km < 1e-6  # km: exact but for rounding
    assert found.n_check == 1
    assert found.check_rmse_km > 1000


# --- weights, starts, CRS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", list(MODELS))
def test_a_weight_of_zero_leaves_a_point_out(model):
    points = noisy(7)
    weights = np.ones(len(points))
    weights[[3, 8]] = 0
    whole = fit(points, model)
    a = fit(points, model, weights=weights, start=whole)
    b = fit(points.take(weights > 0), model, start=whole)
    # 1 m: searches stop where a step gains nothing
    assert np.allclose(a.to_map(2500.0, 2500.0), b.to_map(2500.0, 2500.0), atol=1.0)


@pytest.mark.parametrize("model", ["similarity", "affine", "poly2"])
def test_a_weight_of_two_is_a_point_twice(model):
    points = noisy(8, n=14)
    weights = np.ones(14)
    weights[5] = 2
    u, v = points.px / 1000, points.py / 1000
    transform = fit(points, model, weights=weights)
    xy = targets(points, transform.crs)
    order = max(1, LINEAR[model])
    if model == "similarity":
        return_to = _similarity_twice(points, xy, 5)
    else:
        design = np.column_stack([u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)])
        rows = [*range(14), 5]
        return_to = design @ np.linalg.lstsq(design[rows], xy[rows], rcond=None)[0]
    assert np.allclose(np.column_stack(transform.to_map(points.px, points.py)), return_to, atol=1e-3)  # 1 mm


def _similarity_twice(points, xy, k):
    rows, goal = [], []
    for i in [*range(len(points)), k]:
        u, v = points.px[i] / 1000, points.py[i] / 1000
        rows += [[u, v, 1, 0], [-v, u, 0, 1]]
        goal += [*xy[i]]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(goal), rcond=None)[0]
    u, v = points.px / 1000, points.py / 1000
    return np.column_stack([a * u + b * v + c, -a * v + b * u + d])


def test_weights_of_the_wrong_number_are_refused():
    points = affine_points()
    with pytest.raises(OptionInvalid, match="one weight of 0 or more for every point"):
        fit(points, "affine", weights=[1.0, 2.0])
    with pytest.raises(OptionInvalid, match="one weight of 0 or more for every point"):
        fit(points, "affine", weights=np.full(len(points), -1.0))


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(OptionInvalid, match="did you mean projection:bonne"):
        fit(affine_points(), "projecton:bonne")
    with pytest.raises(OptionInvalid, match="one or several of similarity"):
        fit_all(affine_points(), [])


def test_the_crs_of_the_fit_follows_the_points():
    assert fit_crs(affine_points()).name == "Asia_North_Lambert_Conformal_Conic"
    west = control_points([0, 1, 2], [0, 5, 1], [-100, -99, -98], [40, 39, 40])
    assert "Lambert Azimuthal Equal Area" in fit_crs(west).to_wkt()
    with pytest.raises(CrsInvalid, match="fit in ESRI:102027"):
        fit(affine_points(), "affine", crs="EPSG:4326")


def test_too_few_points_and_points_on_a_line_are_refused_with_what_to_do():
    points = affine_points(n=5)
    with pytest.raises(ControlPointsInvalid, match="affine needs 3, similarity 2") as refused:
        fit(points, "poly2")
    assert "poly2 needs 6 control points, 5 are used" in str(refused.value)
    line = control_points([0, 100, 200, 301], [0, 50, 100, 150], [100, 101, 102, 103], [40, 40.5, 39, 40])
    for model in ("affine", "projective", "tps", "projection:eqc"):
        with pytest.raises(ControlPointsInvalid, match="add points away from that line"):
            fit(line, model)
    assert fit(line, "similarity").n_parameters == 4


def test_points_on_a_circle_leave_a_quadratic_undetermined():
    angle = np.arange(8) * np.pi / 4 + 0.1
    px, py = 500 + 300 * np.cos(angle), 500 + 300 * np.sin(angle)
    points = control_points(px, py, 100 + px / 100, 40 - py / 100)
    with pytest.raises(ControlPointsInvalid, match="add points elsewhere on the sheet, or choose affine"):
        fit(points, "poly2")


# --- errors -----------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), n=st.integers(12, 24), model=st.sampled_from(sorted(LINEAR)))
def test_leave_one_out_in_closed_form_is_refitting(seed, n, model):
    points = noisy(seed, n)
    transform = fit(points, model)
    xy = targets(points, transform.crs)
    order = LINEAR[model]
    want = polynomial_left_out(points, xy, order) if order else similarity_left_out(points, xy)
    left = leave_one_out(points, transform)
    # Relative to the error itself: a cubic of 12 points may throw the left-out one thousands of kilometres
    scale = 1 + np.abs(want - xy).max()
    assert np.abs(left.xy - want).max() < 1e-6 * scale
    assert left.leverage.sum() == pytest.approx(transform.n_parameters / 2)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), n=st.integers(8, 25), model=st.sampled_from(["tps", "tps_smooth"]))
def test_leave_one_out_of_a_spline_is_scipys_without_the_point(seed, n, model):
    points = noisy(seed, n)
    transform = fit(points, model)
    xy = targets(points, transform.crs)
    want = spline_left_out(points, xy, transform.frame.normal, transform.smoothing)
    left = leave_one_out(points, transform)
    assert np.abs(left.xy - want).max() < 1e-6 * (1 + np.abs(want - xy).max())  # relative to the largest error
    assert 2 * left.leverage.sum() == pytest.approx(transform.n_parameters, rel=1e-6)


@pytest.mark.parametrize("model", ["projective", "projection:bonne", "projection:lcc", "projection:eqc"])
def test_leave_one_out_of_a_search_is_a_search_without_the_point(model):
    points = noisy(11)
    transform = fit(points, model)
    left = leave_one_out(points, transform)
    for i in (0, 7, 19):
        again = fit(points.take(np.arange(len(points)) != i), model)  # from all its starts, not from the whole fit
        want = np.column_stack(again.to_map(points.px[i : i + 1], points.py[i : i + 1]))
        assert np.abs(left.xy[i] - want).max() < 20  # m, of an error of kilometres: where searches stop
    assert 2 * left.leverage.sum() == pytest.approx(transform.n_parameters, rel=1e-6)


def test_residuals_are_kilometres_on_the_ellipsoid():
    points = noisy(12)
    found = assess(points, "affine")
    lon, lat = found.transform.to_lonlat(points.px, points.py)
    _, _, metres = Geod(ellps="WGS84").inv(points.lon, points.lat, lon, lat)
    assert np.allclose(found.residual_km, np.asarray(metres) / 1000, atol=1e-9)  # km
    assert found.rmse_km == pytest.approx(np.sqrt((np.asarray(metres) ** 2).mean()) / 1000)
    assert found.sigma_axis_km == pytest.approx(np.sqrt((found.residual_km**2).sum() / (2 * 30 - 6)))
    # In the plane of ESRI:102027 lengths are 2 to 10 % short: that would not have been noticed.
    to = Transformer.from_crs(4326, "ESRI:102027", always_xy=True)
    plane = np.hypot(*(np.array(to.transform(lon, lat)) - np.array(to.transform(points.lon, points.lat)))) / 1000
    assert (plane < 0.985 * found.residual_km).all()


def test_east_and_north_residuals_point_from_the_truth_to_the_fit():
    points = control_points([0, 1000, 0, 1000], [0, 0, 1000, 1000], [100, 110, 100, 110], [40, 40, 30, 30])
    moved = control_points(points.px, points.py, points.lon + np.array([0.1, 0, 0, 0]), points.lat)
    found = assess(moved, "projection:eqc")
    assert found.residual_east_km[0] < 0  # the fit stays behind, west of the point that was moved east
    assert abs(found.residual_north_km[0]) < 0.1


def test_with_three_points_an_affine_map_has_no_error_and_says_so():
    found = assess(affine_points(n=3), "affine")
    assert found.rmse_km < 1e-6
    assert np.isnan(found.loo_rmse_km)
    assert np.isnan(found.sigma_axis_km)
    assert any("RMSE 0 is not accuracy" in note for note in found.notes)


def test_models_without_an_error_are_ranked_last():
    ranked = fit_all(affine_points(n=3), ["affine", "tps", "similarity", "poly3"])
    assert [a.model for a in ranked] == ["similarity", "affine", "tps"]  # a cubic needs 10 points
    assert [np.isfinite(a.loo_rmse_km) for a in ranked] == [True, False, False]


def test_when_no_model_fits_the_first_reason_is_given():
    with pytest.raises(ControlPointsInvalid, match="digitise more points"):
        fit_all(control_points([1.0], [1.0], [100.0], [40.0]), ["affine", "poly2"])


def test_rivals_are_those_within_a_tenth():
    ranked = fit_all(noisy(13), ["affine", "projection:bonne", "projection:merc"])
    assert all(a.loo_rmse_km <= 1.1 * ranked[0].loo_rmse_km for a in rivals(ranked))
    assert ranked[-1] not in rivals(ranked)


@settings(max_examples=20)
@given(n=st.integers(2, 60), seed=st.integers(0, 100))
def test_blocks_cover_all_points_in_regions_of_two_or_more(n, seed):
    rng = np.random.default_rng(seed)
    points = control_points(*rng.uniform(0, 100, (2, n)), *rng.uniform(10, 40, (2, n)))
    block = blocks(points)
    sizes = np.bincount(block)
    assert sizes.sum() == n
    assert sizes.min() >= 2 or n < 4
    assert len(sizes) <= 8


def test_leaving_regions_out_is_refitting_without_them():
    points = noisy(14)
    found, block = assess(points, "poly2"), blocks(points)
    u, v = points.px / 1000, points.py / 1000
    design = np.column_stack([u**i * v**j for i in range(3) for j in range(3 - i)])
    xy = targets(points, found.transform.crs)
    out = np.empty_like(xy)
    for k in range(block.max() + 1):
        inside = block == k
        out[inside] = design[inside] @ np.linalg.lstsq(design[~inside], xy[~inside], rcond=None)[0]
    lon, lat = Transformer.from_crs("ESRI:102027", 4326, always_xy=True).transform(out[:, 0], out[:, 1])
    metres = np.asarray(Geod(ellps="WGS84").inv(points.lon, points.lat, lon, lat)[2])
    assert found.block_rmse_km == pytest.approx(np.sqrt((metres**2).mean()) / 1000, rel=1e-6)
    assert found.block_rmse_km > found.rmse_km
