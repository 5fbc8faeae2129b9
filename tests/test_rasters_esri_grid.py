"""Claims about ESRI GRID folders, the form of older LandScan releases, on folders built here byte by byte.

GDAL can read the format and not write it, and no released LandScan folder can be carried along; so these folders are
written from the published layout of the format (GDAL documentation, "Arc/Info Binary Grid Format"), with raw 32-bit
tiles only. Tiles compressed as ArcInfo compresses them are GDAL's own to test.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gis.errors import CrsMissing, RasterUnreadable
from gis.raster_io import is_data, open_raster, read_info
from gis.rasters.catalogue import product_for, rules_for
from gis.rasters.series import read_series
from gis.workspace import Population, Workspace, config_from_dict

TILE_ROWS, TILE_COLS = 4, 8
CELL = 1 / 120
WEST, NORTH = 100.0, 40.0
PRJ = "Projection    GEOGRAPHIC\nDatum         WGS84\nSpheroid      WGS84\nUnits         DD\nZunits        NO\n"


def write_grid(folder: Path, values: np.ndarray, prj: str | None = PRJ) -> Path:
    """Write an int32 array as an ESRI GRID: header, bounds, statistics, tile index, tiles."""
    folder.mkdir(parents=True)
    ny, nx = values.shape
    down, across = -(-ny // TILE_ROWS), -(-nx // TILE_COLS)
    padded = np.full((down * TILE_ROWS, across * TILE_COLS), -2147483647, ">i4")
    padded[:ny, :nx] = values
    header = bytearray(308)
    header[:8] = b"GRID1.2\0"
    struct.pack_into(">2i", header, 16, 1, 0)  # integer cells, compressed tiles
    struct.pack_into(">4d", header, 256, CELL, CELL, 0.0, 0.0)
    struct.pack_into(">5i", header, 288, across, down, TILE_COLS, 1, TILE_ROWS)
    (folder / "hdr.adf").write_bytes(header)
    (folder / "dblbnd.adf").write_bytes(struct.pack(">4d", WEST, NORTH - ny * CELL, WEST + nx * CELL, NORTH))
    land = values[values >= 0]  # GDAL takes the cells' dtype from these statistics
    (folder / "sta.adf").write_bytes(struct.pack(">4d", land.min(), land.max(), land.mean(), land.std()))
    tiles, index = bytearray(100), bytearray(100)
    for row in range(down):
        for col in range(across):
            block = padded[row * TILE_ROWS : (row + 1) * TILE_ROWS, col * TILE_COLS : (col + 1) * TILE_COLS]
            body = b"\x20\x00" + block.tobytes()  # raw 32-bit cells, no minimum to add
            index += struct.pack(">2i", len(tiles) // 2, len(body) // 2)
            tiles += struct.pack(">H", len(body) // 2) + body
    for content in (tiles, index):
        content[:8] = bytes.fromhex("0000270afffffc14")
        struct.pack_into(">i", content, 24, len(content) // 2)
    (folder / "w001001.adf").write_bytes(tiles)
    (folder / "w001001x.adf").write_bytes(index)
    if prj is not None:
        (folder / "prj.adf").write_text(prj)
    return folder


def people(ny: int = 10, nx: int = 19) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 50_000, (ny, nx)).astype("int32")
    values[0, :3] = -2147483647  # sea
    return values


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = config_from_dict(
        {
            "lights": {"product": "eantli_like"},
            "population": {"product": "landscan"},
            "boundaries": {"city": {"file": "boundaries/c.gpkg", "vintage": 2019}},
        }
    )
    return Workspace(tmp_path, config)


def test_grid_folder_is_read_cell_by_cell(tmp_path: Path) -> None:
    values = people()
    folder = write_grid(tmp_path / "lspop2005", values)
    for name in (folder, folder / "hdr.adf", folder / "w001001.adf"):
        info = read_info(name)
        assert info.path == folder
        assert info.grid.shape == values.shape
        assert np.allclose(info.grid.bounds_xy, (WEST, NORTH - 10 * CELL, WEST + 19 * CELL, NORTH), atol=1e-12)
        assert info.grid.is_geographic
        assert info.working_dtype == np.int32
        with open_raster(info) as raster:
            assert (raster.read_rows(0, 10) == values).all()
            assert (raster.read_rows(3, 9, 5, 12) == values[3:9, 5:12]).all()


def test_sea_of_a_grid_folder_is_no_data(tmp_path: Path) -> None:
    values = people()
    info = read_info(write_grid(tmp_path / "lspop2005", values))
    source = Population(product="landscan")
    rules = rules_for(product_for(source, key="population"), source, info)
    with open_raster(info) as raster:
        good = is_data(raster.read_rows(0, 10), rules)
    assert (good == (values >= 0)).all()


def test_grid_folder_without_projection_file(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "lspop2005", people(), prj=None)
    with pytest.raises(CrsMissing, match=r'set population\.crs = "EPSG:4326"'):
        read_info(folder, config_key="population.crs")
    assert read_info(folder, crs="EPSG:4326").grid.is_geographic


def test_grid_folder_with_a_part_missing(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "lspop2005", people())
    (folder / "dblbnd.adf").unlink()
    with pytest.raises(RasterUnreadable, match=r"lspop2005[\s\S]*download or copy the file again"):
        read_info(folder)


def test_grid_folder_cut_short_is_refused_on_reading(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "lspop2005", people())
    whole = (folder / "w001001.adf").read_bytes()
    (folder / "w001001.adf").write_bytes(whole[: len(whole) // 2])
    info = read_info(folder)
    with open_raster(info) as raster, pytest.raises(RasterUnreadable, match=r"rows 0 to 10[\s\S]*download or copy"):
        raster.read_rows(0, 10)


def test_series_of_folders_plain_nested_and_zipped(workspace: Workspace, tmp_path: Path) -> None:
    write_grid(workspace.rasters / "lspop2000", people())
    write_grid(workspace.rasters / "lspop2001" / "lspop2001", people() + 1)
    made = write_grid(tmp_path / "made" / "lspop2002", people() + 2)
    with zipfile.ZipFile(workspace.rasters / "landscan-global-2002-assets.zip", "w") as archive:
        for file in made.iterdir():
            archive.write(file, f"ArcGIS/Population/lspop2002/{file.name}")
    source = Population(product="landscan")
    got = read_series(source, product_for(source, key="population"), workspace, key="population")
    assert got.years == (2000, 2001, 2002)
    for file in got.files:
        with open_raster(file.info) as raster:
            assert raster.read_rows(0, 10)[5, 5] == people()[5, 5] + file.year - 2000
    assert len({f.sha256 for f in got.files}) == 3
