"""The unknown projection is found where the points can tell it, and the report says so where they cannot."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from historical_cases import BONNE, drafted_map, places, sheet_px
from pyproj import Geod

from gis.demo.historical import BONNE as DEMO_BONNE
from gis.demo.historical import (
    DRAFTING_PX,
    METRES_PER_PX,
    READING_PX,
    offices,
    px_from_lonlat,
    truth_offices_text,
)
from gis.demo.historical import control_points as demo_points
from gis.errors import OptionInvalid
from gis.historical import ControlPointsInvalid, assess, control_points, fit, fit_all
from gis.historical.georeference import georeference
from gis.historical.graticule import (
    PRIME_MERIDIANS,
    counted_from,
    estimate_meridian,
    prime_meridian,
)
from gis.historical.projection_search import FAMILIES, parameter_errors

TRUTHS = {
    "bonne": (BONNE, {"lat_1": 40.0, "lon_0": 116.4}),
    "eqdc": ("+proj=eqdc +lat_1=25 +lat_2=47 +lon_0=105 +datum=WGS84", {"lat_1": 25.0, "lat_2": 47.0}),
    "lcc": ("+proj=lcc +lat_1=25 +lat_2=47 +lon_0=100 +datum=WGS84", {}),
    "poly": ("+proj=poly +lon_0=110 +datum=WGS84", {"lon_0": 110.0}),
    "sinu": ("+proj=sinu +lon_0=95 +datum=WGS84", {"lon_0": 95.0}),
    "merc": ("+proj=merc +lon_0=3 +datum=WGS84", {}),
    "eqc": ("+proj=eqc +lat_ts=35 +lon_0=3 +datum=WGS84", {}),
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_sheet_drawn_without_error_gives_its_projection_away(family):
    proj, parameters = TRUTHS[family]
    lon, lat = places(np.random.default_rng(3), 30)
    px = sheet_px(lon, lat, proj)
    ranked = fit_all(control_points(px[:, 0], px[:, 1], lon, lat))
    assert ranked[0].model == f"projection:{family}"
    # 1 m on a sheet of 1 km to the pixel: searches stop where a step gains nothing
    assert ranked[0].loo_rmse_km < 1e-3
    assert ranked[1].loo_rmse_km > 100 * ranked[0].loo_rmse_km
    for name, value in ranked[0].transform.describe().items():
        if name in parameters:
            assert value == pytest.approx(parameters[name], abs=1e-3)  # degree


def test_the_standard_parallel_of_a_conformal_conic_stands_for_its_cone():
    lon, lat = places(np.random.default_rng(3), 30)
    px = sheet_px(lon, lat, TRUTHS["lcc"][0])
    found = fit(control_points(px[:, 0], px[:, 1], lon, lat), "projection:lcc").describe()
    # The cone's constant is the sine of the parallel where it touches; for 25 and 47 degrees from Snyder's 15-3 on the
    # sphere, 0.5899: within 0.1 degree of the ellipsoid's.
    a, b = np.radians([25.0, 47.0])
    n = np.log(np.cos(a) / np.cos(b)) / np.log(np.tan(np.pi / 4 + b / 2) / np.tan(np.pi / 4 + a / 2))
    assert found["lat_1"] == pytest.approx(np.degrees(np.arcsin(n)), abs=0.1)


# --- METHOD 8.3's experiment ------------------------------------------------------------------------------------------


def test_leave_one_out_finds_the_bonne_map_behind_nine_kilometres_of_drafting():
    ranked = fit_all(drafted_map(3))
    by_name = {a.model: a for a in ranked}
    best = ranked[0]
    assert best.model == "projection:bonne"
    assert best.n_parameters == 8
    assert best.sigma_axis_km == pytest.approx(9.0, rel=0.15)  # its own standard error is 9 / sqrt(2 * 92): 7 %
    parameters = best.transform.describe()
    assert abs(parameters["lat_1"] - 40) < 3 * parameter_errors(drafted_map(3), best.transform)[0]
    assert abs(parameters["lon_0"] - 116.4) < 3 * parameter_errors(drafted_map(3), best.transform)[1]
    for rival in ("poly3", "tps", "tps_smooth"):
        assert by_name[rival].loo_rmse_km > best.loo_rmse_km
    assert by_name["poly3"].rmse_km < best.rmse_km, "RMSE would have taken the cubic"
    assert by_name["tps"].rmse_km < 1e-6
    assert by_name["tps"].loo_rmse_km > best.loo_rmse_km
    said = f"leaving points out, it errs by {by_name['tps'].loo_rmse_km:.1f} km"
    assert said in by_name["tps"].notes[0]
    assert said in " ".join(f.what for f in georeference(drafted_map(3)).findings)


@pytest.mark.slow
def test_the_experiment_does_not_hang_on_its_seed():
    sigma, wins, nearer = [], 0, 0
    for seed in range(6):
        models = ["projection:bonne", "projection:lcc", "poly3", "tps"]
        ranked = fit_all(drafted_map(100 + seed), models)
        wins += ranked[0].model == "projection:bonne"
        bonne = next(a for a in ranked if a.model == "projection:bonne")
        sigma.append(bonne.sigma_axis_km)
        nearer += bonne.loo_rmse_km > bonne.rmse_km
    assert wins == 6
    assert nearer == 6
    # Mean of six, each with a standard error of 7 %, of drafting (9 km) and reading (2 px of 1 km) together
    assert np.mean(sigma) == pytest.approx(np.hypot(9, 2), rel=0.09)


# --- the demo's scan --------------------------------------------------------------------------------------------------


def demo_towns():
    given = demo_points(1907)
    return control_points(*given.px.T, *given.lonlat.T, enabled=given.enabled)


def demo_graticule(seed: int = 0):
    """Crossings of the demo's graticule, read off with the demo's own error of reading."""
    lon, lat = (grid.ravel() for grid in np.meshgrid(np.arange(109.0, 115.0), np.arange(25.0, 36.0)))
    px = px_from_lonlat(np.column_stack([lon, lat]))
    px = px + np.random.default_rng(seed).normal(0, READING_PX, px.shape)
    return control_points(px[:, 0], px[:, 1], lon, lat, kind=["graticule"] * len(lon))


def test_the_demos_towns_agree_with_its_projection_and_do_not_tell_it_from_others():
    points = demo_towns()
    found = assess(points, "projection:bonne")
    errors = parameter_errors(points.used(), found.transform)
    for (value, error), truth in zip(zip(found.transform.parameters, errors, strict=True), (30, 111.5), strict=True):
        assert abs(value - truth) < 3 * error
    noise = np.hypot(DRAFTING_PX, READING_PX) * METRES_PER_PX / 1000
    assert found.sigma_axis_km == pytest.approx(noise, rel=0.3)  # its own standard error is 1 / sqrt(2 * 40): 11 %
    ranked = georeference(points)
    assert "rivals" in {f.code for f in ranked.findings}


def test_the_demos_graticule_tells_its_projection():
    points = demo_graticule()
    ranked = fit_all(points)
    assert ranked[0].model == "projection:bonne"
    assert "lat_1=30" in DEMO_BONNE
    found, errors = ranked[0].transform.describe(), parameter_errors(points, ranked[0].transform)
    # A sheet of 6 by 10 degrees is nearly flat: even crossings read to 0.3 px leave a degree or so.
    assert abs(found["lat_1"] - 30) < 3 * errors[0] < 4  # degree
    assert abs(found["lon_0"] - 111.5) < 3 * errors[1] < 4


def test_the_demos_offices_are_hit_within_its_noise():
    truth = list(csv.DictReader(io.StringIO(truth_offices_text(offices(1907)))))
    lonlat = np.array([(float(row["lon"]), float(row["lat"])) for row in truth])
    transform = fit(demo_graticule(), "projection:bonne")
    lon, lat = transform.to_lonlat(*offices(1907).px.T)
    km = np.asarray(Geod(ellps="WGS84").inv(lon, lat, *lonlat.T)[2]) / 1000
    noise = np.hypot(DRAFTING_PX, READING_PX) * METRES_PER_PX / 1000
    n = len(km)
    # Per axis; the standard error of a standard deviation from 2n values is 1 / sqrt(4n), here three of them
    assert np.sqrt((km**2).mean() / 2) == pytest.approx(noise, rel=3 / np.sqrt(4 * n) + 0.03)  # 3 %: the paper's scale


# --- prime meridians --------------------------------------------------------------------------------------------------


def counted_sheet(offset: float, *, towns: int = 20, drafting_px: float = 4.0):
    """A sheet whose graticule is counted from a meridian ``offset`` degrees east of Greenwich."""
    rng = np.random.default_rng(9)
    lon, lat = (grid.ravel() for grid in np.meshgrid(np.arange(-20.0, 12.0, 4), np.arange(22.0, 50.0, 4)))
    px = sheet_px(lon + offset, lat) + rng.normal(0, 0.5, (lon.size, 2))
    town_lon, town_lat = places(rng, towns)
    town_px = sheet_px(town_lon, town_lat) + rng.normal(0, drafting_px, (towns, 2))
    return control_points(
        *np.vstack([px, town_px]).T,
        np.concatenate([lon, town_lon]),
        np.concatenate([lat, town_lat]),
        kind=["graticule"] * lon.size + ["city"] * towns,
    )


def test_a_meridian_is_known_by_name_or_number():
    assert prime_meridian("Paris") == pytest.approx(2 + 20 / 60 + 14.025 / 3600, abs=1e-9)
    assert prime_meridian("ferro") == pytest.approx(-(17 + 40 / 60), abs=1e-7)
    assert prime_meridian("ferro-paris") == pytest.approx(PRIME_MERIDIANS["paris"] - 20, abs=1e-6)
    assert prime_meridian("116.391") == prime_meridian("peking-axis") == 116.391
    with pytest.raises(OptionInvalid, match="peking-observatory, a number, or estimate"):
        prime_meridian("Lhasa")


def test_between_two_ideas_of_peking_lie_three_kilometres():
    axis, observatory = PRIME_MERIDIANS["peking-axis"], PRIME_MERIDIANS["peking-observatory"]
    metres = Geod(ellps="WGS84").inv(axis, 40, observatory, 40)[2]
    assert metres == pytest.approx(3300, abs=100)  # METHOD 8.4: 0.037 degree is 3.2 km; here 0.039


def test_a_known_meridian_moves_graticule_points_alone():
    sheet = counted_sheet(116.43)
    moved = counted_from(sheet, 116.43)
    lines = np.array([kind == "graticule" for kind in sheet.kind])
    assert np.allclose(moved.lon[lines] - sheet.lon[lines], 116.43)
    assert (moved.lon[~lines] == sheet.lon[~lines]).all()
    assert (moved.lat == sheet.lat).all()
    assert georeference(sheet, "projection:bonne", meridian="peking-observatory").chosen.rmse_km < 6


def test_an_unknown_meridian_is_estimated_from_towns_and_the_prior():
    truth = 116.46
    found = estimate_meridian(counted_sheet(truth))
    assert found.n_towns == 20
    assert found.towns_degree == pytest.approx(truth, abs=3 * found.towns_sd_degree)
    assert found.sd_degree < min(found.towns_sd_degree, 0.04)
    # Normal prior and normal mean: precision-weighted
    w = np.array([0.04**-2, found.towns_sd_degree**-2])
    assert found.offset_degree == pytest.approx((w * [116.41, found.towns_degree]).sum() / w.sum())
    assert found.model == "projection:bonne"
    wide = estimate_meridian(counted_sheet(truth), prior=(116.41, 10.0), model="projection:bonne")
    assert wide.offset_degree == pytest.approx(wide.towns_degree, abs=1e-5)
    assert abs(found.latitude_shift_degree) < 0.05
    assert georeference(counted_sheet(truth), "projection:bonne", meridian="estimate").meridian is not None


def test_graticule_points_need_a_meridian_and_a_meridian_needs_them():
    with pytest.raises(OptionInvalid, match="say which ring of figures was read: --meridian greenwich"):
        georeference(counted_sheet(116.4))
    with pytest.raises(OptionInvalid, match="leave out --meridian"):
        georeference(demo_towns(), meridian="paris")
    with pytest.raises(ControlPointsInvalid, match="or name the meridian: --meridian greenwich"):
        estimate_meridian(counted_sheet(116.4).take(np.arange(40)))
    with pytest.raises(OptionInvalid, match=r"0\.04 for Peking"):
        estimate_meridian(counted_sheet(116.4), prior=(116.4, 0.0))
