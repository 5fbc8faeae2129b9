"""The paper's order of work: it converges to the exact measure, and what it loses stands in the ledger."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from reproject_cases import LAMBERT, WGS84, made, source_of
from typer.testing import CliRunner

import gis
from gis.cli import app
from gis.crs import crs_from
from gis.demo import write_demo
from gis.errors import ConfigInvalid, OptionInvalid, RasterInvalid
from gis.grid import Grid, Zones
from gis.pipeline.sensitivity import PRESETS, city_moves, compare, sensitivity
from gis.raster_io import CellRules, read_info, write_raster
from gis.reproject import target_grid
from gis.tables import LEDGER, SENSITIVITY, SENSITIVITY_CITY, SENSITIVITY_LEVEL, check
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import Job, run_jobs


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = write_demo(tmp_path_factory.mktemp("demo") / "demo").root
    edit(root, "years = [2012, 2019]", "years = [2013, 2014]")
    path = root / "workspace.toml"
    text = path.read_text(encoding="utf-8")
    for section in ("instrument", "estimate"):  # levels and Bal are what presets change
        text = re.sub(rf"^\[{section}\b[^\[]*(?:^\[{section}\.[^\[]*)*", "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def copy(demo, tmp_path):
    shutil.copytree(demo, tmp_path / "w", ignore=shutil.ignore_patterns("out"))
    return tmp_path / "w"


def edit(root, old, new):
    path = root / "workspace.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def run_with(root, preset, more=""):
    edit(root, "[levels]", f'[reproject]\n{more}\n\n[levels]\npreset = "{preset}"')
    return gis.run(root)


def levels(result):
    return result.city_year.set_index(["city_code", "year"])["level"]


@pytest.fixture(scope="module")
def exact(demo):
    return gis.run(demo)


# --- convergence -----------------------------------------------------------------------------------------------------


def test_paper_converges_to_the_exact_measure_at_its_rate(tmp_path):
    """Rough lights over forty zones: the error of nearest-neighbour sums falls faster than the cell does."""
    grid = Grid((240, 240), Affine(1 / 120, 0, 112, 0, -1 / 120, 35), WGS84)
    rng = np.random.default_rng(7)
    light = np.kron(rng.random((120, 120)) ** 3 * 60, np.ones((2, 2))).astype(np.float32)
    info, rules = source_of(tmp_path / "l.tif", light, grid)
    centres = rng.random((40, 2)) * [1.4, 1.4] + [112.3, 33.3]
    zones = Zones(
        tuple(str(i) for i in range(40)),
        np.array([shapely.Point(p).buffer(0.12 + 0.1 * rng.random()) for p in centres], object),
        crs_from(WGS84),
    )
    truth = sums_of(info, rules, zones, "lambert")
    error = {}
    for cell in (4000.0, 2000.0, 1000.0, 500.0):
        target = target_grid([grid], LAMBERT, cell)
        found, _ = made((info, rules), target, "intensity", "nearest")
        write_raster(tmp_path / "p.tif", found, target, dtype="float32", nodata=np.nan, cog=False)
        ratio = sums_of(read_info(tmp_path / "p.tif"), CellRules(negatives="keep"), zones, "lambert") / truth
        error[cell] = float(np.sqrt(np.mean((ratio - 1) ** 2)))
    # A sum of point samples is off by about cell^(3/2): a halved cell leaves 0.35 of it; of forty zones, 0.25 to 0.5.
    steps = [error[b] / error[a] for a, b in ((4000.0, 2000.0), (2000.0, 1000.0), (1000.0, 500.0))]
    assert all(step < 0.55 for step in steps), error
    assert error[500.0] < error[4000.0] / 12, error
    assert error[500.0] < 1e-2, error


def sums_of(info, rules, zones, measure):
    job = Job(info, rules, (coverage_from_zones(info.grid, zones),), (measure,))
    return run_jobs([job])[0][0].sum_of(measure)


# --- presets on the demo ---------------------------------------------------------------------------------------------


def test_paper_is_near_the_exact_levels_and_paper_both_is_not(copy, exact):
    paper = run_with(copy, "paper")
    near = levels(paper) / levels(exact) - 1
    assert np.abs(near).max() < 2e-3  # 1 km cells in cities of a thousand of them
    edit(copy, 'preset = "paper"', 'preset = "paper_both"')
    both = gis.run(copy)
    ratio = levels(both) / levels(exact)
    # People are scaled by k2 times the area of a 30" cell: 0.56 to 0.70 between 25 and 35 degrees north
    assert 1.4 < ratio.min() < ratio.max() < 1.8
    assert any("lost" in note and "people" in note for note in both.summary["notes"])
    ledger = pd.read_parquet(copy / "out" / "ledger.parquet")
    people = ledger[ledger["raster_kind"] == "population"]
    assert people["loss_share"].between(0.3, 0.45).all()
    assert ledger[ledger["raster_kind"] == "lights"]["loss_share"].abs().max() < 1e-3


def test_arcgis_sums_whole_cells_and_names_units_without_one(copy, exact):
    result = run_with(copy, "arcgis", "cell = 90000")
    cells = result.district_year["n_cells"] - result.district_year["n_nodata_cells"]
    assert np.abs(cells - np.rint(cells)).max() < 1e-9  # a difference of two sums
    none = result.district_year[result.district_year["flags"].str.contains("NOCELL")]
    assert len(none) and none["level"].isna().all()
    assert (none["n_cells"] == none["n_nodata_cells"]).all()
    some = result.district_year[~result.district_year["flags"].str.contains("NOCELL")]
    assert (some["n_cells"] > 0).all()
    # Areas and shares of valid cells stay those of the polygons
    both = result.city_year.merge(exact.city_year, on=["city_code", "year"], suffixes=("", "_exact"))
    assert np.abs(both["area_km2"] / both["area_km2_exact"] - 1).max() < 1e-3


def test_people_can_be_brought_to_the_grid_without_losing_one(copy, exact):
    result = run_with(copy, "paper", 'population = "conserve"\nrasters = true')
    both = result.city_year.merge(exact.city_year, on=["city_code", "year"], suffixes=("", "_exact"))
    assert np.abs(both["pop_persons"] / both["pop_persons_exact"] - 1).max() < 1e-3  # border cells are spread evenly
    ledger = check(LEDGER, pd.read_parquet(result.paths["mass ledger"]))
    people = ledger[ledger["raster_kind"] == "population"]
    assert people["loss_share"].abs().max() < 1e-12
    assert (people["reprojected_mass"] + people["beyond_mass"]).to_numpy() == pytest.approx(
        people["source_mass"].to_numpy(), rel=1e-12
    )
    files = sorted(p.name for p in (copy / "out" / "projected").iterdir())
    assert files == ["lights_2013.tif", "lights_2014.tif", "population_2013.tif", "population_2014.tif"]
    listed = (copy / "out" / "lineage.json").read_text(encoding="utf-8")
    assert all(name in listed for name in files)


def test_the_exact_ledger_closes(exact):
    ledger = check(LEDGER, pd.read_parquet(exact.paths["mass ledger"]))
    assert (ledger["preset"] == "exact").all() and ledger["loss_share"].isna().all()
    national = exact.national_year[exact.national_year["layer"] == "city"].set_index("year")
    for row in ledger.to_dict("records"):
        assert row["inside_mass"] + row["outside_mass"] == pytest.approx(row["source_mass"], rel=1e-15)
        assert 0 < row["outside_mass"] < 0.1 * row["source_mass"]
        if row["raster_kind"] == "population":  # the engine's own total of the same raster, added in another order
            total = national.loc[row["raster_year"], "raster_total_persons"]
            assert row["source_mass"] == pytest.approx(total, rel=1e-12)


def test_a_loss_above_the_threshold_fails_the_run(copy):
    edit(copy, "[levels]", '[reproject]\nloss_max = 0.01\n\n[levels]\npreset = "paper_both"')
    with pytest.raises(RasterInvalid, match="use conserve resampling, or allow it"):
        gis.run(copy)
    assert not (copy / "out").exists()


def test_a_rerun_takes_projected_rasters_from_the_cache(copy):
    first = run_with(copy, "paper")
    made = {p: p.stat().st_mtime_ns for p in (copy / ".cache" / "projected").rglob("*.tif")}
    assert len(made) == 2
    edit(copy, "cov_pop_min = 0.95", "cov_pop_min = 0.9")
    again = gis.run(copy)
    assert made == {p: p.stat().st_mtime_ns for p in (copy / ".cache" / "projected").rglob("*.tif")}
    assert levels(first).equals(levels(again))


def test_a_coast_buffer_and_centres_exclude_each_other(copy):
    edit(copy, "[levels]", '[lights.masks]\ncoast_buffer_km = 3\n\n[levels]\npreset = "arcgis"')
    with pytest.raises(ConfigInvalid, match="or use the preset paper"):
        gis.run(copy)


# --- sensitivity -----------------------------------------------------------------------------------------------------


def test_the_sensitivity_tables_hold_every_preset(copy):
    result = CliRunner().invoke(app, ["sensitivity", str(copy), "-q"])
    assert result.exit_code == 0, result.output
    summary = check(SENSITIVITY, pd.read_parquet(copy / "out" / "sensitivity.parquet"))
    found = check(SENSITIVITY_LEVEL, pd.read_parquet(copy / "out" / "sensitivity_level.parquet"))
    movers = check(SENSITIVITY_CITY, pd.read_parquet(copy / "out" / "sensitivity_city.parquet"))
    variants = ["exact/lambert", "exact/true", "exact/cells", "paper/lambert", "paper_both/lambert", "arcgis/lambert"]
    assert list(summary["level_variant"]) == variants and set(summary["preset"]) == set(PRESETS)
    assert len(found) == 6 * 12 * 2
    by = summary.set_index("level_variant")
    assert by.loc["exact/lambert", "n_flipped"] == 0 and by.loc["exact/lambert", "bal_spearman"] == 1
    assert by.loc["paper/lambert", "level_spearman"] > by.loc["paper_both/lambert", "level_spearman"]
    assert (movers.groupby("level_variant").size() == 10).all()


def test_an_unknown_preset_is_refused(copy):
    with pytest.raises(OptionInvalid, match="one of exact, paper, paper_both, arcgis"):
        sensitivity(copy, presets=["papers"])


def levels_table(**variants):
    rows = [
        (f"{name.replace('__', '/')}", f"{city}00000", 2000 + year, city, value)
        for name, by_city in variants.items()
        for city, values in by_city.items()
        for year, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["level_variant", "city_code", "year", "city_name", "level"])


def test_comparison_by_hand():
    table = levels_table(
        exact__lambert={"1": [1.0, 1.0], "2": [2.0, 2.0], "3": [4.0, 4.0]},
        paper__lambert={"1": [3.0, 3.0], "2": [2.0, 2.0], "3": [4.0, 8.0]},
    )
    row = compare(table).set_index("level_variant").loc["paper/lambert"]
    assert (row["n_pair_years"], row["n_flipped"]) == (3, 1)  # of 1-2, 1-3, 2-3 in the second year, 1-2 turns round
    assert row["bal_mean"] == pytest.approx((2 / 3 + 3 / 8 + 2 / 8) / 3)
    assert row["level_spearman_lowest"] == pytest.approx(0.5)  # ranks 1 2 3 against 2 1 3


def test_a_common_factor_moves_no_city():
    base = {"1": [1.0, 1.0], "2": [2.0, 3.0], "3": [4.0, 4.0]}
    table = levels_table(exact__lambert=base, paper__lambert={c: [0.8 * v for v in vs] for c, vs in base.items()})
    assert np.abs(city_moves(table)["level_move"]).max() < 1e-15
    table.loc[(table["level_variant"] == "paper/lambert") & (table["city_code"] == "200000"), "level"] *= 1.1
    first = city_moves(table).iloc[0]
    assert first["city_code"] == "200000" and first["level_move"] == pytest.approx(0.1)
