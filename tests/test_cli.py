"""The command line: every verb on real files, exit codes, what goes to which stream."""

from __future__ import annotations

import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

from gis.crs import crs_from
from gis.grid import Grid
from gis.raster_io import write_raster

VERBS = ("init", "demo", "check", "run", "zonal", "export")


def lightpanel(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "gis.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "demo"
    return folder, lightpanel("demo", folder)


def test_help_names_every_verb():
    said = lightpanel("--help")
    assert said.returncode == 0
    assert all(verb in said.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    said = lightpanel(verb, "--help")
    assert said.returncode == 0 and len(said.stdout) > 400


def test_the_version_is_the_packages():
    import gis

    assert lightpanel("--version").stdout.strip() == f"lightpanel {gis.__version__}"


def test_an_unknown_verb_is_misuse():
    said = lightpanel("zonla")
    assert said.returncode == 2 and "zonla" in said.stderr


def test_the_demo_runs_and_says_where_everything_is(demo):
    folder, said = demo
    assert said.returncode == 0, said.stderr
    for text in ("out/city_year.parquet", "out/lightpanel.gpkg", "LOWCOV", "翎梧", "Engine against the known truth"):
        assert text in said.stdout, text
    assert (folder / "out" / "lineage.json").exists()


def test_the_demo_can_be_run_again(demo):
    folder, first = demo
    again = lightpanel("demo", folder)
    assert again.returncode == 0 and "there already" in again.stderr
    plain = [[line.rstrip() for line in said.stdout.splitlines() if line.strip()] for said in (first, again)]
    assert plain[0] == plain[1]
    assert "nothing has changed" in again.stderr


def test_a_folder_with_other_things_is_not_written_over(tmp_path):
    (tmp_path / "thesis.docx").write_text("x")
    said = lightpanel("demo", tmp_path)
    assert said.returncode == 1 and "mend:" in said.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_check_prints_the_rasters_and_exits_0(demo):
    said = lightpanel("check", demo[0])
    assert said.returncode == 0 and "0 errors" in said.stdout and "2019" in said.stdout


def test_check_exits_1_on_an_error(demo, tmp_path):
    import shutil

    shutil.copytree(demo[0], tmp_path / "w", ignore=shutil.ignore_patterns("out"))
    path = tmp_path / "w" / "workspace.toml"
    text = path.read_text(encoding="utf-8").replace("[lights]\n", "[lights]\nvalid_range = [0, 1]\n", 1)
    path.write_text(text, encoding="utf-8")
    said = lightpanel("check", tmp_path / "w")
    assert said.returncode == 1 and "error: values run from" in said.stdout
    run = lightpanel("run", tmp_path / "w")
    assert run.returncode == 1 and "mend:  check that this is the product named" in run.stderr


def test_a_dry_run_writes_nothing(demo, tmp_path):
    import shutil

    shutil.copytree(demo[0], tmp_path / "w", ignore=shutil.ignore_patterns("out"))
    said = lightpanel("run", tmp_path / "w", "--dry-run")
    assert said.returncode == 0 and "sha256" in said.stdout and "landscan" in said.stdout
    assert not (tmp_path / "w" / "out").exists()


def test_no_workspace_says_how_to_get_one(tmp_path):
    said = lightpanel("run", tmp_path)
    assert said.returncode == 1
    assert said.stderr.startswith("error: no workspace.toml") and "lightpanel init" in said.stderr
    assert said.stdout == ""


def test_init_writes_a_template_that_validates(tmp_path):
    from gis.workspace import read_workspace

    said = lightpanel("init", tmp_path / "mine")
    assert said.returncode == 0
    assert read_workspace(tmp_path / "mine").config.levels.measure == "lambert"
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == [
        "boundaries", "historical", "rasters", "workspace.toml",
    ]  # fmt: skip
    again = lightpanel("init", tmp_path / "mine")
    assert again.returncode == 1 and "mend:  edit it" in again.stderr


@pytest.fixture
def files(tmp_path):
    grid = Grid((40, 50), Affine(1000, 0, 0, 0, -1000, 40000), crs_from("ESRI:102027"))
    for year in (2001, 2002):
        write_raster(tmp_path / f"r{year}.tif", np.full(grid.shape, float(year)), grid, dtype="float32", cog=False)
    zones = gpd.GeoDataFrame(
        {"名称": ["甲", "乙"]},
        geometry=[shapely.box(0, 0, 2000, 2000), shapely.box(500, 500, 1000, 1000)],
        crs="ESRI:102027",
    )
    zones.to_file(tmp_path / "z.gpkg")
    return tmp_path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_zonal_is_a_tool_without_a_workspace(files, ending):
    out = files / f"t.{ending}"
    said = lightpanel(
        "zonal", files / "r2001.tif", files / "r2002.tif", "--zones", files / "z.gpkg", "--code", "名称",
        "--stat", "sum,mean,count", "-o", out,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    table = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert table["zone"].tolist() == ["甲", "乙"] * 2
    assert table["sum"].tolist() == [8004.0, 500.25, 8008.0, 500.5]
    assert table["count"].tolist() == [4, 0.25, 4, 0.25]


def test_zonal_refuses_what_it_cannot_do(files):
    bad = lightpanel("zonal", files / "r2001.tif", "--zones", files / "z.gpkg", "--stat", "sun", "-o", files / "t.csv")
    assert bad.returncode == 1 and "did you mean sum" in bad.stderr
    bad = lightpanel("zonal", files / "none.tif", "--zones", files / "z.gpkg", "-o", files / "t.csv")
    assert bad.returncode == 1 and "mend:" in bad.stderr
    bad = lightpanel("zonal", files / "r2001.tif", "--zones", files / "z.gpkg", "-o", files / "t.xls")
    assert bad.returncode == 1 and "name the file .csv or .parquet" in bad.stderr
    assert not list(files.glob("t.*"))


def test_export_writes_csv_with_a_dictionary(demo, tmp_path):
    said = lightpanel("export", demo[0], "--to", "csv", "-o", tmp_path / "csv")
    assert said.returncode == 0, said.stderr
    table = pd.read_csv(tmp_path / "csv" / "city_year.csv", dtype={"city_code": str}, encoding="utf-8-sig")
    assert len(table) == 96 and table["city_name"].str.contains("青崖").any()
    assert (tmp_path / "csv" / "dictionary.csv").exists()


def test_export_of_what_is_not_built_names_what_is(demo):
    said = lightpanel("export", demo[0], "--to", "shp")
    assert said.returncode == 1 and "mend:  export to gpkg" in said.stderr


def test_the_cache_can_be_listed_and_cleared(demo, tmp_path):
    import shutil

    shutil.copytree(demo[0], tmp_path / "w")
    said = lightpanel("cache", "ls", tmp_path / "w")
    assert said.returncode == 0 and "coverage" in said.stdout and "MB" in said.stdout
    cleared = lightpanel("cache", "gc", tmp_path / "w", "--keep-mb", 0)
    assert cleared.returncode == 0 and "left 0 files" in cleared.stdout
    (tmp_path / "w" / "out" / "city_year.parquet").unlink()
    again = lightpanel("run", tmp_path / "w")
    assert again.returncode == 0 and "16 read" in again.stderr
    name = "out/city_year.parquet"
    assert (tmp_path / "w" / name).read_bytes() == (demo[0] / name).read_bytes()
