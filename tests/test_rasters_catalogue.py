"""Claims about product profiles: what the config may override, and which cells are data in which product."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from gis.errors import ConfigInvalid
from gis.grid import Grid
from gis.raster_io import RasterInfo, is_data, open_raster, read_info
from gis.rasters.catalogue import PRODUCTS, product_for, rules_for
from gis.workspace import Lights, Population, RasterSource


def info_of(dtype: str, nodata: float | None = None, **more: Any) -> RasterInfo:
    grid = Grid((2, 2), Affine(1, 0, 100, 0, -1, 40), CRS.from_epsg(4326))
    return RasterInfo(Path("a.tif"), grid, 1, dtype, nodata, 1, False, "Area", (2, 2), **more)


def source(product: str, **more: Any) -> RasterSource:
    return RasterSource(product=product, **more)


CUSTOM = {"unit": "DN", "quantity": "intensity", "files": "rasters/a_{year}.tif"}


def test_unknown_product_names_the_nearest() -> None:
    with pytest.raises(ConfigInvalid, match='did you mean product = "landscan"'):
        product_for(source("Landscan2"))
    with pytest.raises(ConfigInvalid, match="known products: eantli_like, landscan"):
        product_for(source("zzzz"))


@pytest.mark.parametrize("missing", [("unit",), ("quantity", "files"), ("unit", "quantity", "files")])
def test_custom_needs_unit_quantity_and_files(missing: tuple[str, ...]) -> None:
    told = {k: v for k, v in CUSTOM.items() if k not in missing}
    with pytest.raises(ConfigInvalid, match=rf"{' and '.join(missing)}[\s\S]*add to \[population\].*{missing[-1]} = "):
        product_for(source("custom", **told), key="population")
    assert product_for(source("custom", **CUSTOM)).unit == "DN"


def test_a_product_keeps_its_quantity() -> None:
    with pytest.raises(ConfigInvalid, match='remove quantity, or set product = "custom"'):
        product_for(source("landscan", quantity="intensity"))
    assert product_for(source("landscan", quantity="count")) == PRODUCTS["landscan"]


def test_a_lit_threshold_is_for_lights() -> None:
    with pytest.raises(ConfigInvalid, match=r"remove population\.dn_min"):
        product_for(Population(product="gpw", dn_min=8), key="population")
    rules = rules_for(PRODUCTS["eantli_like"], Lights(product="eantli_like", dn_min=8), info_of("float32"))
    assert rules.dn_min == 8


def test_config_overrides_the_profile() -> None:
    told = source("harmonized_dmsp_viirs", negatives="keep", valid_range=(0, 80), unit="DN x")
    product = product_for(told)
    assert (product.negatives, product.valid_range, product.unit) == ("keep", (0, 80), "DN x")
    rules = rules_for(product, told, info_of("uint8"))
    assert (rules.negatives, rules.valid_range) == ("keep", (0, 80))


def test_negatives_are_noise_in_lights_and_no_data_in_counts() -> None:
    for product in PRODUCTS.values():
        if product.name != "custom":
            assert product.negatives == ("nan" if product.quantity == "count" else "zero"), product.name
    assert product_for(source("custom", **CUSTOM)).negatives == "zero"
    assert product_for(source("custom", **{**CUSTOM, "quantity": "count"})).negatives == "nan"


def test_declared_and_configured_nodata_and_the_fills_of_the_dtype_are_no_data() -> None:
    rules = rules_for(PRODUCTS["gpw"], source("gpw", nodata=(-200, -1)), info_of("int16", -9999.0))
    assert set(rules.nodata) == {-9999, -200, -1, -32768, -(2**31), -(2**31) + 1}
    rules = rules_for(PRODUCTS["gpw"], source("gpw", nodata=-1), info_of("float32"))
    assert rules.nodata == (-1.0,)


def test_nodata_is_compared_as_the_dtype_holds_it() -> None:
    rules = rules_for(PRODUCTS["gpw"], source("gpw"), info_of("float32", 0.1))
    assert not is_data(np.array([0.1], np.float32), rules).any()
    # -3.4e38 in double precision and a NaN: the fill limit catches both without being told
    rules = rules_for(PRODUCTS["gpw"], source("gpw"), info_of("float32", float("nan")))
    assert rules.nodata == ()


def test_nodata_that_an_integer_cannot_hold_strikes_nothing() -> None:
    rules = rules_for(PRODUCTS["gpw"], source("gpw", nodata=0.5), info_of("uint8", -3.4e38))
    assert is_data(np.array([0, 1, 255], np.int32), rules).all()


def test_declared_nodata_of_a_scaled_file_is_not_compared_with_values() -> None:
    rules = rules_for(PRODUCTS["gpw"], source("gpw", nodata=7), info_of("int16", 255.0, scale=0.1))
    assert rules.nodata == (7.0,)


@pytest.mark.parametrize("fill", [-9999, -2147483647, -2147483648, -1])
def test_landscan_below_zero_is_no_data_whatever_is_declared(fill: int) -> None:
    rules = rules_for(PRODUCTS["landscan"], source("landscan"), info_of("int32", -9999.0))
    assert is_data(np.array([fill, 0, 21171], np.int32), rules).tolist() == [False, True, True]


def test_every_product_is_described_for_researchers(checkout: Path) -> None:
    text = (checkout / "rasters" / "README.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`.*?\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    assert set(sections) == set(PRODUCTS)
    for product in PRODUCTS.values():
        section = sections[product.name]
        for pattern in product.files:
            assert f"`{pattern}`" in section, (product.name, pattern)
        assert product.source in section, product.name
        assert product.licence in section, product.name
        assert not product.unverified or "Unverified" in section, product.name
        for doi in re.findall(r"doi:(10\.\S+?)[\s.;]*$", product.citation, re.M):
            assert doi in section, (product.name, doi)


def test_citations_name_a_year_and_a_source() -> None:
    for product in PRODUCTS.values():
        if product.name != "custom":
            assert re.search(r"\((19|20)\d\d\)", product.citation), product.name
            assert product.source.startswith("https://"), product.name
            assert all("{year}" in pattern for pattern in product.files), product.name


@pytest.mark.real_data
def test_gpw_sums_to_the_same_people_at_every_resolution(real_data: Path) -> None:
    totals = []
    for resolution in ("15_min", "30_min", "1_deg"):
        name = f"gpw_v4_population_count_rev11_2000_{resolution}.tif"
        info = read_info(real_data / "pop" / "gpw_v411_2000_global" / name)
        rules = rules_for(PRODUCTS["gpw"], source("gpw"), info)
        with open_raster(info) as raster:
            values = raster.read_rows(0, info.grid.shape[0])
        totals.append(values[is_data(values, rules)].sum(dtype=np.float64))
    # Between resolutions: cells are rounded to float32 (6e-8 each at most), errors of 10^4 cells and more cancel.
    assert totals == pytest.approx([totals[0]] * 3, rel=1e-9)
    # The published 6,026,037,248 is a float32 sum: a multiple of 512, float32's spacing there, 8.5e-8 of it.
    assert totals[0] == pytest.approx(6_026_037_248, rel=1e-7)


def test_gpw_tile_with_wrong_nodata_keeps_its_people(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.array([[-3.4028235e38, 0.0], [12.5, 7.5]], "float32")
    told = {"driver": "GTiff", "height": 2, "width": 2, "count": 1, "dtype": "float32", "nodata": 0.0}
    with rasterio.open(path, "w", crs="EPSG:4326", transform=Affine(1, 0, 100, 0, -1, 40), **told) as target:
        target.write(values, 1)
    info = read_info(path)
    rules = rules_for(PRODUCTS["gpw"], source("gpw"), info)
    assert values[is_data(values, rules)].sum() == 20.0
