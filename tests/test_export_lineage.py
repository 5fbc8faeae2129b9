"""The lineage: which inputs, settings and versions made each output; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gis.errors import OptionInvalid, TableInvalid, WriteFailed
from gis.export import lineage as lineage_module
from gis.export.lineage import Lineage, read_lineage, sha256_of, versions_now, write_lineage
from gis.workspace import config_from_dict


def file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def collected(root: Path) -> Lineage:
    lineage = Lineage(root, settings={"levels": {"measure": "lambert"}, "years": (2019, 2020)})
    b = lineage.add_input(
        "lights",
        file(root / "rasters/灯光_2020.tif", "b"),
        crs="EPSG:4326",
        nodata=math.nan,
        year=2020,
        is_synthetic=True,
    )
    a = lineage.add_input("lights", file(root / "rasters/灯光_2019.tif", "a"), year=2019, nodata=(-1.0, 255.0))
    units = lineage.add_input("boundaries.city", file(root / "boundaries/city.gpkg", "c"), notes=("GB18030",))
    lineage.add_input("population", file(root / "rasters/pop.tif", "p"), year=2019)
    table = lineage.add_output(
        file(root / "out/city_year.parquet", "t"), rows=8, made_from=[b, a, units], steps=["zonal"]
    )
    lineage.add_output(file(root / "out/pair_year.parquet", "q"), rows=6, made_from=[table], steps=["panel"])
    return lineage


def test_it_answers_what_made_an_output(tmp_path: Path) -> None:
    lineage = collected(tmp_path)
    write_lineage(tmp_path / "out/lineage.json", lineage)
    again = read_lineage(tmp_path / "out/lineage.json")
    behind = [i.path for i in again.inputs_of("out/pair_year.parquet")]
    # through city_year.parquet, and without the population raster, which had no part in it
    assert behind == ["boundaries/city.gpkg", "rasters/灯光_2019.tif", "rasters/灯光_2020.tif"]
    assert again.outputs["out/city_year.parquet"].rows == 8
    assert again.outputs["out/city_year.parquet"].steps == ("zonal",)
    assert again.settings["levels"]["measure"] == "lambert"
    with pytest.raises(OptionInvalid, match=r"mend:  one of out/city_year.parquet, out/pair_year.parquet"):
        again.inputs_of("out/other.csv")


def test_it_survives_the_file(tmp_path: Path) -> None:
    lineage = collected(tmp_path)
    write_lineage(tmp_path / "out/lineage.json", lineage)
    again = read_lineage(tmp_path / "out/lineage.json")
    assert again.outputs == lineage.outputs
    nodata = {i.path: i.nodata for i in again.inputs.values()}
    assert math.isnan(nodata["rasters/灯光_2020.tif"])
    assert nodata["rasters/灯光_2019.tif"] == (-1.0, 255.0)
    assert nodata["rasters/pop.tif"] is None
    for key, given in lineage.inputs.items():
        if given.year != 2020:  # NaN is not equal to itself
            assert again.inputs[key] == given
    write_lineage(tmp_path / "again.json", again, created_utc="x")
    write_lineage(tmp_path / "first.json", lineage, created_utc="x")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "first.json").read_bytes()


def test_hashes_and_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    lineage = collected(tmp_path)
    found = next(i for i in lineage.inputs.values() if i.year == 2020)
    assert found.sha256 == hashlib.sha256(b"b").hexdigest()
    assert found.size_bytes == 1
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(range(256)) * 5000)
    assert sha256_of(big) == hashlib.sha256(big.read_bytes()).hexdigest()


def test_a_known_hash_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise AssertionError(f"read {path}")

    monkeypatch.setattr(lineage_module, "sha256_of", refuse)
    lineage = Lineage(tmp_path)
    lineage.add_input("lights", file(tmp_path / "a.tif", "a"), sha256="0" * 64)
    assert lineage.sorted_inputs()[0].sha256 == "0" * 64


def test_the_order_of_adding_changes_nothing(tmp_path: Path) -> None:
    first = collected(tmp_path)
    second = Lineage(tmp_path, settings=first.settings)
    second.inputs = dict(reversed(first.inputs.items()))
    second.outputs = dict(reversed(first.outputs.items()))
    write_lineage(tmp_path / "1.json", first, created_utc="2026-01-01")
    write_lineage(tmp_path / "2.json", second, created_utc="2026-01-01")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_the_file_is_strict_json_with_chinese_text(tmp_path: Path) -> None:
    path = write_lineage(tmp_path / "out/lineage.json", collected(tmp_path))
    text = path.read_text(encoding="utf-8")

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    data = json.loads(text, parse_constant=refuse)
    assert "灯光_2020.tif" in text
    assert data["inputs"][2]["nodata"] == "nan"
    assert data["settings"]["years"] == [2019, 2020]
    assert data["created_utc"].endswith("+00:00")


def test_settings_take_a_whole_config_and_numpy_values(tmp_path: Path) -> None:
    config = config_from_dict(
        {
            "lights": {"product": "x"},
            "population": {"product": "y"},
            "boundaries": {"city": {"file": "c", "vintage": 2019}},
        }
    )
    lineage = Lineage(tmp_path, settings={"config": config, "n": np.int64(3), "x": np.float64("inf"), "p": Path("a/b")})
    settings = read_lineage(write_lineage(tmp_path / "l.json", lineage)).settings
    assert settings["config"]["levels"]["cov_pop_min"] == 0.95  # defaults are written down too
    assert (settings["n"], settings["x"], settings["p"]) == (3, "inf", "a/b")


def test_versions_name_what_computed() -> None:
    import pyogrio  # noqa: F401
    import rasterio
    import shapely

    found = versions_now()
    for name in ("numpy", "pandas", "pyarrow", "numba", "dask"):
        assert found[name] == version(name)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["geos"] == shapely.geos_version_string
    assert found["gdal (rasterio)"] == rasterio.__gdal_version__
    assert "lightpanel" in found
    assert list(found) == sorted(found)


def test_versions_import_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from gis.export.lineage import versions_now; v = versions_now();"
        "bad = {'numba', 'rasterio', 'pandas', 'pyarrow', 'dask', 'geopandas'} & set(sys.modules);"
        "assert not bad, bad; assert 'gdal (rasterio)' not in v and 'rasterio' in v"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_paths_inside_are_relative_and_outside_absolute(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    lineage = Lineage(root)
    assert lineage.add_input("lights", file(root / "rasters/a.tif", "a")) == "rasters/a.tif"
    outside = file(tmp_path / "data/b.tif", "b")
    assert lineage.add_input("lights", outside) == outside.resolve().as_posix()
    lineage.add_output(file(root / "out/t.csv", "t"), made_from=[str(outside), str(root / "rasters/a.tif")])
    assert len(lineage.inputs_of("out/t.csv")) == 2


def test_an_output_cannot_be_made_from_an_unknown_file(tmp_path: Path) -> None:
    lineage = collected(tmp_path)
    with pytest.raises(OptionInvalid, match="mend:  add_input or add_output first"):
        lineage.add_output(file(tmp_path / "out/x.csv", "x"), made_from=["rasters/missing.tif"])
    assert "out/x.csv" not in lineage.outputs


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"format": "other 9"}', "[]"])
def test_another_file_is_not_taken_for_a_lineage(tmp_path: Path, text: str) -> None:
    with pytest.raises(TableInvalid, match="mend:  write it anew: lightpanel run"):
        read_lineage(file(tmp_path / "lineage.json", text))
    with pytest.raises(TableInvalid, match="mend:  write it anew"):
        read_lineage(tmp_path / "absent.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lineage(tmp_path / "out/lineage.json", collected(tmp_path))
    before = path.read_bytes()

    def full(self: Path, data: str, **options: Any) -> int:
        with open(self, "w", **options) as stream:
            stream.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_lineage(path, Lineage(tmp_path))
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["city_year.parquet", "lineage.json", "pair_year.parquet"]
