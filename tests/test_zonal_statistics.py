"""The engine as a tool: statistics by hand, against peers, and refusals."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from typer.testing import CliRunner

import gis
from gis.cli import app
from gis.crs import crs_from
from gis.errors import CrsMissing, GeometryInvalid, GridInvalid, OptionInvalid
from gis.grid import Grid, Zones
from gis.raster_io import write_raster
from gis.zonal.names import STATISTICS, WEIGHTED, check_statistics, definition_of, needs_weights

LAMBERT = crs_from("ESRI:102027")


@pytest.fixture
def small(tmp_path):
    """3 x 3 cells with the numbers 1 to 9; a zone over the middle row's halves, one over a corner, one elsewhere."""
    grid = Grid((3, 3), Affine(1, 0, 0, 0, -1, 3), LAMBERT)
    raster = write_raster(tmp_path / "r.tif", np.arange(1, 10).reshape(3, 3), grid, dtype="int32", nodata=-1, cog=False)
    zones = gpd.GeoDataFrame(
        {"name": ["中间", "角", "外"]},
        geometry=[shapely.box(0.5, 0.75, 2.5, 1.25), shapely.box(0, 2, 1, 3), shapely.box(9, 9, 10, 10)],
        crs="ESRI:102027",
        index=["m", "k", "a"],
    )
    return raster, zones


def test_statistics_by_hand(small):
    raster, zones = small
    found = gis.zonal_stats(raster, zones, tuple(STATISTICS))
    assert list(found.index) == ["m", "k", "a"]
    # The middle zone takes an eighth of 4 and 6, a quarter of 5, and as much of 7, 8 and 9 below.
    shares = {4: 0.5 * 0.25, 5: 0.25, 6: 0.5 * 0.25, 7: 0.5 * 0.25, 8: 0.25, 9: 0.5 * 0.25}
    count = sum(shares.values())
    total = sum(v * f for v, f in shares.items())
    mean = total / count
    variance = sum(f * (v - mean) ** 2 for v, f in shares.items()) / count
    row = found.loc["m"]
    assert row["count"] == count == 1.0
    assert row["sum"] == pytest.approx(total, rel=1e-15) == 6.5
    assert (row["min"], row["max"]) == (4, 9)
    assert row["variance"] == pytest.approx(variance, rel=1e-14)
    assert row["coefficient_of_variation"] == pytest.approx(np.sqrt(variance) / mean, rel=1e-14)
    assert row["lit_fraction"] == 1
    assert (row["median"], row["majority"], row["minority"], row["variety"]) == (6.5, 8, 4, 6)
    apart = sum(f * g * abs(v - w) for v, f in shares.items() for w, g in shares.items())
    assert row["gini"] == pytest.approx(apart / (2 * mean), rel=1e-15)
    assert row["theil"] == pytest.approx(sum(f * v / mean * np.log(v / mean) for v, f in shares.items()), rel=1e-13)
    assert found.loc["k", ["count", "sum", "mean", "variance"]].tolist() == [1, 1, 1, 0]
    assert found.loc["a", "count"] == 0
    assert found.loc["a", ["sum", "mean", "min", "max", "stdev", "lit_fraction", "gini"]].isna().all()


def test_order_and_index_are_those_of_the_zones(small):
    raster, zones = small
    turned = zones.iloc[::-1]
    a, b = gis.zonal_stats(raster, zones, "sum"), gis.zonal_stats(raster, turned, "sum")
    pd.testing.assert_frame_equal(b, a.loc[turned.index])


def test_a_path_gives_the_same_as_a_frame(small, tmp_path):
    raster, zones = small
    zones.to_file(tmp_path / "z.gpkg")
    found = gis.zonal_stats(raster, tmp_path / "z.gpkg", ("sum", "mean"))
    assert list(found.index) == [0, 1, 2]
    assert np.array_equal(found, gis.zonal_stats(raster, zones, ("sum", "mean")), equal_nan=True)


@pytest.mark.parametrize("measure", ["true", "lambert"])
def test_measures_weigh_cells_by_area(tmp_path, measure):
    grid = Grid((240, 60), Affine(1 / 120, 0, 110, 0, -1 / 120, 40), crs_from("EPSG:4326"))
    raster = write_raster(tmp_path / "r.tif", np.full(grid.shape, 2.0), grid, dtype="float32", cog=False)
    zone = gpd.GeoSeries([shapely.box(110, 38, 110.5, 40)], crs="EPSG:4326")
    found = gis.zonal_stats(raster, zone, ("sum", "mean", "valid_area_km2"), measure=measure).iloc[0]
    weight = grid.cell_areas_km2(measure, 0, 240).sum() * 60
    assert found["sum"] == pytest.approx(2 * weight, rel=1e-13)  # same terms, other order
    assert found["mean"] == pytest.approx(2, rel=1e-13)
    assert found["valid_area_km2"] == pytest.approx(grid.cell_areas_km2("true", 0, 240).sum() * 60, rel=1e-13)


def test_agrees_with_exactextract_off_the_lattice(tmp_path):
    exactextract = pytest.importorskip("exactextract")
    rng = np.random.default_rng(0)
    grid = Grid((120, 150), Affine(1000, 0, 1e6, 0, -1000, 1e6), LAMBERT)
    values = rng.lognormal(0, 2, grid.shape).astype("float32")
    values[rng.random(grid.shape) < 0.1] = -9999
    raster = write_raster(tmp_path / "r.tif", values, grid, dtype="float32", nodata=-9999, cog=False)
    shapes = [shapely.Point(1e6 + x, 1e6 - y).buffer(r) for x, y, r in rng.uniform(2e4, 1e5, (12, 3)) * [1, 1, 0.3]]
    zones = gpd.GeoDataFrame(geometry=shapes, crs="ESRI:102027")
    names = ["count", "sum", "mean", "min", "max", "variance", "stdev", "coefficient_of_variation"]
    peer = exactextract.exact_extract(str(raster), zones, names, output="pandas")
    ours = gis.zonal_stats(raster, zones, names)
    for name in names:
        # exactextract 0.3 computes coverage in float32 in its output and sums in double: 1e-6 of a cell
        assert np.allclose(ours[name], peer[name], rtol=1e-5), name


def test_agrees_with_rasterstats_where_cells_are_whole(tmp_path):
    rasterstats = pytest.importorskip("rasterstats")
    grid = Grid((40, 50), Affine(1000, 0, 0, 0, -1000, 40000), LAMBERT)
    values = np.random.default_rng(1).integers(0, 1000, grid.shape)
    raster = write_raster(tmp_path / "r.tif", values, grid, dtype="int32", nodata=-1, cog=False)
    zones = gpd.GeoDataFrame(
        geometry=[shapely.box(2000, 3000, 17000, 29000), shapely.box(20000, 0, 50000, 40000)], crs="ESRI:102027"
    )
    peer = pd.DataFrame(rasterstats.zonal_stats(zones, str(raster), stats=["count", "sum", "mean", "min", "max"]))
    ours = gis.zonal_stats(raster, zones, ("count", "sum", "mean", "min", "max"))
    assert np.array_equal(ours["sum"], peer["sum"])  # integers: exact on both sides
    assert np.array_equal(ours["count"], peer["count"])
    assert np.allclose(ours["mean"], peer["mean"], rtol=1e-15)


def test_zones_in_another_crs_are_carried_over_after_densification(small, tmp_path):
    grid = Grid((700, 700), Affine(1000, 0, 1e6, 0, -1000, 8e5), LAMBERT)
    raster = write_raster(tmp_path / "ones.tif", np.ones(grid.shape), grid, dtype="float32", cog=False)
    zone = gpd.GeoSeries([shapely.box(108, 32, 110, 34)], crs="EPSG:4326")
    found = gis.zonal_stats(raster, zone, "count").iloc[0, 0]
    dense = gpd.GeoSeries(shapely.segmentize(zone.to_numpy(), 1e-4), crs="EPSG:4326").to_crs("ESRI:102027")
    # chords of 0.01 degree leave the curved parallel by 0.01^2/8 radians of a degree: 2e-7 of the area
    assert found == pytest.approx(dense.area.iloc[0] / 1e6, rel=1e-6)
    corners = zone.to_crs("ESRI:102027").area.iloc[0] / 1e6
    assert abs(corners / found - 1) > 5e-5  # what moving the corners alone would have cost


def test_zones_without_crs_are_refused(small):
    raster, zones = small
    with pytest.raises(CrsMissing, match="mend:"):
        gis.zonal_stats(raster, gpd.GeoDataFrame(geometry=zones.geometry.to_numpy()), "sum")


def test_a_bow_tie_is_refused(small):
    raster, _ = small
    bow = gpd.GeoSeries([shapely.Polygon([(0, 0), (3, 3), (3, 0), (0, 3)])], crs="ESRI:102027")
    with pytest.raises(GeometryInvalid, match="mend:"):
        gis.zonal_stats(raster, bow, "sum")


def test_unknown_statistics_name_the_nearest(small):
    with pytest.raises(OptionInvalid, match="did you mean mean"):
        gis.zonal_stats(*small, ("sum", "meen"))


def test_an_unknown_measure_lists_the_known_ones(small):
    with pytest.raises(OptionInvalid, match="one of lambert, true, cells"):
        gis.zonal_stats(*small, measure="area")


def test_a_statistic_asked_for_twice_is_refused(small):
    with pytest.raises(OptionInvalid, match="name each once"):
        gis.zonal_stats(*small, "sum,sum")


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_read_in_one_spelling():
    assert check_statistics("sum, quantile(q=.9) ,quantile( 0.25 ),weighted_quantile(1)") == (
        "sum", "quantile(0.9)", "quantile(0.25)", "weighted_quantile(1.0)",
    )  # fmt: skip


@pytest.mark.parametrize("stat", ["quantile", "quantile()", "quantile(1.1)", "quantile(0.1,0.9)", "quantile(nan)"])
def test_quantiles_that_are_none_say_how_to_write_one(small, stat):
    with pytest.raises(OptionInvalid, match="mend:  write one q between 0 and 1 each time"):
        gis.zonal_stats(*small, stat)


def test_two_spellings_of_one_quantile_are_the_same_statistic(small):
    with pytest.raises(OptionInvalid, match="name each once"):
        gis.zonal_stats(*small, "quantile(0.5),quantile(q=.5)")


@pytest.mark.parametrize("stat", [*STATISTICS, "quantile(0.3)", *WEIGHTED, "weighted_quantile(0.3)"])
def test_every_statistic_has_a_family_and_a_definition(stat):
    (name,) = check_statistics(stat)
    assert definition_of(name).endswith("]") or "with p for f" in definition_of(name)
    assert needs_weights(name) == (stat in WEIGHTED or stat.startswith("weighted_"))


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_writes_ordered_and_weighted_statistics(small, tmp_path):
    raster, zones = small
    zones.to_file(tmp_path / "z.gpkg")
    out, stats = tmp_path / "out.csv", "median,quantile(0.9),gini,weighted_mean,gini_per_head"
    command = ["zonal", str(raster), "--zones", str(tmp_path / "z.gpkg"), "--code", "name", "--stat", stats]
    result = CliRunner().invoke(app, [*command, "--weights", str(raster), "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = pd.read_csv(out).set_index("zone")
    table = gis.zonal_stats(raster, zones, stats, weights=raster).set_axis(zones["name"])
    assert np.array_equal(found[stats.split(",")], table, equal_nan=True)
    assert found.loc["中间", "median"] == 6.5  # of 4 to 9 with shares 1 2 1 1 2 1: symmetric


def test_the_command_line_asks_for_weights(small, tmp_path):
    raster, zones = small
    zones.to_file(tmp_path / "z.gpkg")
    command = ["zonal", str(raster), "--zones", str(tmp_path / "z.gpkg"), "--out", str(tmp_path / "o.csv")]
    result = CliRunner().invoke(app, [*command, "--stat", "weighted_mean"])
    assert isinstance(result.exception, OptionInvalid) and "--weights FILE" in str(result.exception)
    assert not (tmp_path / "o.csv").exists()


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_burundi_two_grids_two_projections(real_data):
    """Lights in degrees and population in Mollweide, over one polygon: each on its own grid, nothing resampled."""
    folder = real_data / "ntl/burundi_viirs_2016"
    zone = gpd.GeoSeries([shapely.Polygon([(29.2, -3.6), (29.7, -3.2), (30.1, -3.5), (29.8, -4.1)])], crs="EPSG:4326")
    everything = gpd.GeoSeries([shapely.box(28.5, -5, 31.5, -2)], crs="EPSG:4326")
    total = gis.zonal_stats(folder / "pop.tif", everything, "sum").iloc[0, 0]
    assert total == pytest.approx(11_131_282, rel=1e-6)  # the published total, rounded to a person
    lights = gis.zonal_stats(folder / "VIIRS_2016_08.tif", zone, ("sum", "min", "count"), measure="true").iloc[0]
    people = gis.zonal_stats(folder / "pop.tif", zone, ("sum", "count")).iloc[0]
    assert lights["min"] < 0  # noise below zero is there and kept, until a policy says otherwise
    assert people["count"] > 60_000 and 1e5 < people["sum"] < total
    assert lights["sum"] > 0


@pytest.mark.real_data
def test_burundi_negatives_are_counted_and_zeroed(real_data):
    from gis.boundaries import read_zones
    from gis.raster_io import CellRules, read_info
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs
    from gis.zonal.kernels import NEGATIVE_CELLS

    info = read_info(real_data / "ntl/burundi_viirs_2016/VIIRS_2016_08.tif")
    box = gpd.GeoSeries([shapely.box(*info.grid.bounds_xy)], crs="EPSG:4326").to_frame("geometry")
    coverage = coverage_from_zones(info.grid, read_zones(gpd.GeoDataFrame(box, geometry="geometry")))
    import rasterio

    with rasterio.open(info.path) as source:
        values = source.read(1).astype(float)
    zeroed = run_jobs([Job(info, CellRules(negatives="zero"), (coverage,), ("cells",), profile=True)])[0][0]
    kept = run_jobs([Job(info, CellRules(negatives="keep"), (coverage,), ("cells",), profile=True)])[0][0]
    dropped = run_jobs([Job(info, CellRules(negatives="nan"), (coverage,), ("cells",), profile=True)])[0][0]
    for one in (zeroed, kept, dropped):
        assert one.profile[0, NEGATIVE_CELLS] == (values < 0).sum() > 0
    assert zeroed.sums[0, 0] == pytest.approx(values.clip(0).sum(), rel=1e-10)  # other order of addition
    assert kept.sums[0, 0] == pytest.approx(values.sum(), rel=1e-10)
    assert dropped.valid[0, 0] == (values >= 0).sum()


def test_longitudes_to_360_are_refused_where_a_zone_lies_west(tmp_path):
    grid = Grid((4, 360), Affine(1, 0, 0, 0, -1, 42), crs_from("EPSG:4326"))
    raster = write_raster(tmp_path / "r.tif", np.ones(grid.shape), grid, dtype="float32", nodata=-1, cog=False)
    east, west = (gpd.GeoSeries([shapely.box(x, 39, x + 2, 41)], crs="EPSG:4326") for x in (116, -75))
    assert gis.zonal_stats(raster, east, "sum")["sum"].tolist() == [4.0]
    with pytest.raises(GridInvalid, match="mend:  count from -180 on: gdalwarp"):
        gis.zonal_stats(raster, west, "sum")


def test_zones_as_a_value_keep_their_codes(small):
    raster, frame = small
    zones = Zones(("中", "角", "外"), frame.geometry.to_numpy(), LAMBERT)
    found = gis.zonal_stats(raster, zones, "sum")
    assert found.index.tolist() == ["中", "角", "外"]
    assert np.array_equal(found["sum"], gis.zonal_stats(raster, frame, "sum")["sum"], equal_nan=True)
