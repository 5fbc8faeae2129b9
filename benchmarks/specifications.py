"""Time and memory of a specification curve on a panel of the paper's size.

    python benchmarks/specifications.py FOLDER [LEVEL [IV ...]]    # e.g. exact/true telegraph leave_out=loo

In: a folder that is new or empty. Out: there a workspace of 296 square cities and 20 years on small rasters, with
flows, controls that 773,145 of 829,540 rows have, and 900 telegraph offices; its curve; seconds and peak memory on
standard output. Rasters are small because their sums come from the store after the first panel, whatever their size.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

N_CITIES, YEARS, ROWS, N_OFFICES = 296, range(2000, 2020), 773_145, 900
SIDE, CELLS = 1.0, 10
"""Degrees of a city's side, and raster cells along it."""
CONFIG = """\
[lights]
product = "custom"
unit = "DN"
quantity = "intensity"
files = "rasters/light_{year}.tif"
[population]
product = "custom"
unit = "persons"
quantity = "count"
files = "rasters/people_{year}.tif"
[boundaries.city]
file = "cities.gpkg"
vintage = "2019-12-31"
[instrument]
flows = "flows.parquet"
[instrument.offices]
file = "offices.csv"
space = "map"
crs = "EPSG:4326"
sigma_km = 10.0
bootstrap = "positions"
[estimate]
models = ["table1_col4"]
tables = ["controls.parquet"]
"""


def codes() -> list[str]:
    provinces = (13, 14, 15, 21, 22, 23, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 51, 52, 53)
    return [f"{p}{c:02d}00" for p in provinces for c in range(1, 16)][:N_CITIES]


def write_workspace(root: Path) -> None:
    import geopandas as gpd
    import pandas as pd
    import rasterio
    from rasterio.transform import from_origin
    from shapely import box

    rng = np.random.default_rng(1907)
    (root / "rasters").mkdir(parents=True)
    (root / "workspace.toml").write_text(CONFIG, encoding="utf-8")
    names, (ny, nx) = codes(), (18, 17)
    west, north = 98.0, 40.0
    at = [(k // nx, k % nx) for k in range(N_CITIES)]
    shapes = [box(west + x, north - y - SIDE, west + x + SIDE, north - y) for y, x in at]
    frame = gpd.GeoDataFrame({"code": names, "name": names}, geometry=shapes, crs="EPSG:4326")
    frame.to_file(root / "cities.gpkg", driver="GPKG")
    transform = from_origin(west, north, SIDE / CELLS, SIDE / CELLS)
    people = rng.lognormal(6, 1, (ny * CELLS, nx * CELLS))
    level = rng.normal(0, 0.5, (ny, nx))
    for year in YEARS:
        level = level + rng.normal(0, 0.1, (ny, nx))
        light = np.kron(np.exp(level), np.ones((CELLS, CELLS))) * people / 100
        for name, values in (("light", light), ("people", people)):
            with rasterio.open(
                root / "rasters" / f"{name}_{year}.tif", "w", driver="GTiff", height=ny * CELLS, width=nx * CELLS,
                count=1, dtype="float64", crs="EPSG:4326", transform=transform,
            ) as file:  # fmt: skip
                file.write(values, 1)
    i, j = np.triu_indices(N_CITIES, 1)
    home = rng.choice(N_CITIES, N_OFFICES, p=rng.dirichlet(np.full(N_CITIES, 0.5)))
    count = np.bincount(home, minlength=N_CITIES)
    spot = np.array(at)[home] + rng.uniform(0.05, 0.95, (N_OFFICES, 2))
    lonlat = np.column_stack([west + spot[:, 1], north - spot[:, 0]])
    pd.DataFrame({"id": [f"T{k:04d}" for k in range(N_OFFICES)], "lon": lonlat[:, 0], "lat": lonlat[:, 1]}).to_csv(
        root / "offices.csv", index=False
    )
    text, flows = np.array(names), []
    for k, year in enumerate(YEARS):
        rate = 2 + 0.5 * k * np.log1p(count[i] * count[j])
        for a, b, more in ((i, j, 1.5), (j, i, 1.0)):
            n = rng.poisson(rate * more)
            flows.append(pd.DataFrame({"src": text[a], "dst": text[b], "year": year, "n": n})[n > 0])
    pd.concat(flows).to_parquet(root / "flows.parquet")
    pair = text[i].astype(np.int64) * 10**6 + text[j].astype(np.int64)
    t = len(YEARS) - 1
    size = pair.size * t
    ts = rng.normal(0, 1, size)
    ts[rng.choice(size, size - ROWS, replace=False)] = np.nan
    pd.DataFrame(
        {
            "pair_id": np.repeat(pair, t), "year": np.tile(np.arange(2001, 2020, dtype=np.int32), pair.size),
            "hsr": rng.integers(0, 2, size).astype(float), "ts": ts, "ipp": rng.normal(0, 1, size),
        }
    ).to_parquet(root / "controls.parquet")  # fmt: skip


def main() -> None:
    from gis.pipeline.specifications import run_specifications

    root = Path(sys.argv[1])
    begin = time.perf_counter()
    if not (root / "workspace.toml").is_file():
        write_workspace(root)
    print(f"workspace: {time.perf_counter() - begin:.1f} s", flush=True)
    begin = last = time.perf_counter()

    def report(step: str, done: int, n: int) -> None:
        nonlocal last
        now, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if step == "specifications":
            print(f"  {done} of {n}: {now - last:.1f} s, peak {peak:.2f} GB", flush=True)
            last = now

    levels, iv = sys.argv[2:3], sys.argv[3:]
    done = run_specifications(root, levels=levels, iv=iv, report=report)
    print(done.text)
    print(f"{len(done.curve)} rows: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
