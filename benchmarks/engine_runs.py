"""What the engine benchmark measures; each function runs alone in a process of its own.

In: raster files, layers as GeoDataFrames. Out: a dict of figures, wall time aside.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np


def runner(threads: int) -> Any:
    from gis.graph import run_tasks

    return lambda function, tasks: run_tasks(function, list(tasks), threads=threads)


def zones_of(frame: Any) -> Any:
    from gis.crs import crs_from
    from gis.grid import Zones

    return Zones(tuple(f"{i:06d}" for i in range(len(frame))), frame.geometry.to_numpy(), crs_from(frame.crs))


def cover(infos: list[Any], zones: list[Any], store: Any, run: Any) -> dict[str, tuple[Any, ...]]:
    """Coverages by grid, from the store where there is one."""
    from gis.zonal.coverage import coverage_from_zones

    make = store.coverage if store else coverage_from_zones
    grids = {info.grid.fingerprint: info.grid for info in infos}
    tasks = [(grid, z) for grid in grids.values() for z in zones]
    made = iter(run(lambda task: make(*task), tasks))
    return {name: tuple(next(made) for _ in zones) for name in grids}


def jobs_of(infos: list[Any], covers: dict[str, tuple[Any, ...]]) -> list[Any]:
    from gis.zonal.engine import Job
    from gis.zonal.statistics import plain_rules

    return [Job(i, plain_rules(i), covers[i.grid.fingerprint], ("cells",)) for i in infos]


def bare(files: list[Path], threads: int) -> dict[str, Any]:
    """Read and decompress every file, whole, and do nothing with it."""
    from gis.raster_io import open_raster, read_info

    def read(path: Path) -> None:
        info = read_info(path)
        with open_raster(info) as handle:
            for strip in range(info.grid.n_strips):
                handle.read_rows(*info.grid.strip_rows(strip))

    runner(threads)(read, files)
    return {"tasks": len(files)}


def ours(files: list[Path], layers: dict[str, Any], threads: int, warm: str | None, out: str | None) -> dict[str, Any]:
    """Sum every file over both layers; coverage from the store where one is given, sums never."""
    from gis.raster_io import read_info
    from gis.zonal.engine import run_jobs
    from gis.zonal.store import Store

    run = runner(threads)
    infos = run(read_info, files)
    store = Store(Path(warm)) if warm else None
    jobs = jobs_of(infos, cover(infos, [zones_of(f) for f in layers.values()], store, run))
    sums = run_jobs(jobs, run=run)
    if out:
        np.save(out, sums[0][1].sums[:, 0])
    return {"tasks": sum(len(job.tasks()) for job in jobs)}


def cluster(files: list[Path], layers: dict[str, Any], folder: Path, times: int) -> dict[str, Any]:
    """A longer job on two threads and on two worker processes, which are started before the clock is."""
    from gis.graph import cluster as start
    from gis.raster_io import read_info
    from gis.zonal.engine import run_jobs
    from gis.zonal.shipping import cluster_runner
    from gis.zonal.store import Store

    infos = [read_info(path) for path in files]
    covers = cover(infos, [zones_of(f) for f in layers.values()], Store(folder / "store"), runner(2))
    jobs = jobs_of(infos * times, covers)
    begin = time.perf_counter()
    run_jobs(jobs[: len(infos) * (times // 4)], run=runner(1))
    alone = (time.perf_counter() - begin) * len(jobs) / (len(infos) * (times // 4))
    begin = time.perf_counter()
    here = run_jobs(jobs, run=runner(2))
    threaded = time.perf_counter() - begin
    with start(workers=2) as client:
        begin = time.perf_counter()
        there = run_jobs(jobs, run=cluster_runner(client, folder / "shared"))
        processes = time.perf_counter() - begin
    same = all(
        np.array_equal(a.sums, b.sums) for x, y in zip(here, there, strict=True) for a, b in zip(x, y, strict=True)
    )
    return {
        "alone_s": alone,
        "threaded_s": threaded,
        "processes_s": processes,
        "same": same,
        "tasks": sum(len(j.tasks()) for j in jobs),
    }


def partial(files: list[Path], layers: dict[str, Any], folder: Path, threads: int, times: int) -> dict[str, Any]:
    """Reruns after a change of some districts, against the full run with stored coverage, in this process."""
    from gis.zonal.store import Store

    store = folder / "partial"
    same = [zones_of(f) for f in layers.values()]
    whole = min(_timed(lambda: _with_sums(files, [zones_of(f) for f in layers.values()], None, folder, threads))
                for _ in range(times))  # fmt: skip
    _with_sums(files, same, Store(store), folder, threads)
    out: dict[str, Any] = {"whole_s": whole}
    out["nothing_s"] = min(
        _timed(lambda: _with_sums(files, [zones_of(f) for f in layers.values()], Store(store), folder, threads))
        for _ in range(times)
    )
    rng = np.random.default_rng(11)
    n = len(layers["district"])
    for kind in ("province", "scattered"):
        best: dict[str, Any] = {}
        for _ in range(times):
            some = (
                _near(layers["district"], int(rng.integers(n)), n // 20)
                if kind == "province"
                else rng.permutation(n)[: n // 20]
            )
            changed = [same[0], zones_of(_moved(layers["district"], some))]
            share, cells = _touched(files, changed[1], some)
            wall = _timed(lambda changed=changed: _with_sums(files, changed, Store(store), folder, threads))
            if not best or wall < best["wall_s"]:
                best = {"wall_s": wall, "tiles": share, "area": cells}
        out[kind] = best
    return out


def _timed(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _with_sums(files: list[Path], zones: list[Any], store: Any, folder: Path, threads: int) -> None:
    """Every sum, from ``store`` as far as it knows them; without one, stored coverage and all sums made."""
    from gis.raster_io import read_info
    from gis.zonal.engine import run_jobs
    from gis.zonal.store import Store

    run = runner(threads)
    infos = run(read_info, files)
    if store is None:
        run_jobs(jobs_of(infos, cover(infos, zones, Store(folder / "store"), run)), run=run)
        return
    jobs = jobs_of(infos, cover(infos, zones, store, run))
    store.run(jobs, [zones] * len(jobs), [str(path) for path in files], run=run)


def _near(frame: Any, at: int, n: int) -> np.ndarray:
    """The n zones nearest one of them: a province."""
    import shapely

    centre = shapely.centroid(frame.geometry.to_numpy())
    return np.argsort(shapely.distance(centre, centre[at]), kind="stable")[:n]


def _moved(frame: Any, some: np.ndarray) -> Any:
    import shapely

    geometry = frame.geometry.to_numpy().copy()
    geometry[some] = shapely.transform(geometry[some], lambda xy: xy + np.array([3e-4, 2e-4]))
    return frame.set_geometry(geometry, crs=frame.crs)


def _touched(files: list[Path], zones: Any, some: np.ndarray) -> tuple[float, float]:
    """Share of the tiles that all zones touch, and of the area of all zones, that belongs to some of them."""
    from gis.raster_io import read_info
    from gis.zonal.coverage import coverage_from_zones, weigh

    info = read_info(files[0])
    coverage = coverage_from_zones(info.grid, zones)

    def tiles(c: Any) -> int:
        rows = [info.grid.strip_rows(s) for s in c.covered_strips()]
        return sum(-(-(b - a) // 512) for r in rows for a, b in c.touched_runs(*r, 512))

    area = weigh(coverage, "cells")
    return tiles(coverage.only(np.sort(some))) / tiles(coverage), float(area[some].sum() / area.sum())


# --- peers and truth --------------------------------------------------------------------------------------------------


def exactextract_stack(files: list[Path], layers: dict[str, Any]) -> dict[str, Any]:
    """Run exactextract in its best mode: one call per stack of bands and layer."""
    import exactextract

    for grid in ("lights", "people"):
        some = [str(f) for f in files if f.name.startswith(grid)]
        for frame in layers.values():
            exactextract.exact_extract(some, frame, ["sum"], output="pandas")
    return {}


def rasterstats_one(files: list[Path], layers: dict[str, Any]) -> dict[str, Any]:
    """One raster, both layers."""
    import rasterstats

    for frame in layers.values():
        rasterstats.zonal_stats(frame, str(files[0]), stats=["sum"])
    return {}


def xvec_one(files: list[Path], layers: dict[str, Any]) -> dict[str, Any]:
    """One raster, both layers, its exact method."""
    import rioxarray
    import xvec  # noqa: F401  # registers the accessor

    array = rioxarray.open_rasterio(files[0], masked=True)
    for frame in layers.values():
        array.xvec.zonal_stats(frame.geometry, x_coords="x", y_coords="y", stats="sum", method="exactextract")
    return {}


def rasterize_one(files: list[Path], layers: dict[str, Any]) -> dict[str, Any]:
    """Cell centres only: rasterize each layer, bincount one raster."""
    import rasterio
    from rasterio.features import rasterize

    with rasterio.open(files[0]) as source:
        values, transform, nodata = source.read(1), source.transform, source.nodata
    good = values != np.float32(nodata)
    for frame in layers.values():
        shapes = zip(frame.geometry, range(1, len(frame) + 1), strict=True)
        labels = rasterize(shapes, values.shape, transform=transform)
        np.bincount(labels[good].ravel(), weights=values[good].ravel().astype(float))
    return {}


def errors(files: list[Path], layers: dict[str, Any], out: str, sample: int) -> dict[str, Any]:
    """Largest and median relative error of sums over some districts, against shapely's intersections cell by cell."""
    import exactextract

    from gis.raster_io import open_raster, read_info

    found = np.load(out)
    frame = layers["district"]
    info = read_info(files[0])
    some = np.sort(np.random.default_rng(3).permutation(len(frame))[:sample])
    with open_raster(info) as handle:
        truth = np.array([_sum_by_shapely(handle, info, frame.geometry.iloc[i]) for i in some])
    theirs = exactextract.exact_extract(str(files[0]), frame.iloc[some], ["sum"], output="pandas")["sum"].to_numpy(
        float
    )
    lit = truth > 0
    ours_, theirs_ = (np.abs(x[lit] / truth[lit] - 1) for x in (found[some], theirs))
    return {
        "n": int(lit.sum()),
        "ours": [float(ours_.max()), float(np.median(ours_))],
        "exactextract": [float(theirs_.max()), float(np.median(theirs_))],
    }


def _sum_by_shapely(handle: Any, info: Any, polygon: Any) -> float:
    import math

    import shapely

    t, (ny, nx) = info.grid.transform, info.grid.shape
    x0, y0, x1, y1 = polygon.bounds
    c0, c1 = max(int((x0 - t.c) / t.a), 0), min(int((x1 - t.c) / t.a) + 1, nx)
    r0, r1 = max(int((y1 - t.f) / t.e), 0), min(int((y0 - t.f) / t.e) + 1, ny)
    values = handle.read_rows(r0, r1, c0, c1).astype(float)
    col, row = np.meshgrid(np.arange(c0, c1), np.arange(r0, r1))
    cells = shapely.box(t.c + col * t.a, t.f + (row + 1) * t.e, t.c + (col + 1) * t.a, t.f + row * t.e)
    shapely.prepare(polygon)
    share = np.where(shapely.covers(polygon, cells), 1.0, 0.0)
    cut = (share == 0) & shapely.intersects(polygon, cells)
    share[cut] = shapely.area(shapely.intersection(polygon, cells[cut])) / (t.a * -t.e)
    data = values != info.nodata
    return math.fsum((values[data] * share[data]).tolist())


# --- size -------------------------------------------------------------------------------------------------------------


def globe(files: list[Path], threads: int, n_zones: tuple[int, int]) -> dict[str, Any]:
    """One raster of global size over many zones: every statistic of the family of sums."""
    from engine_data import generated_zones

    import gis

    zones = generated_zones(n_zones, vertices=80, box=(-179.5, -64.5, 179.5, 74.5))
    begin = time.perf_counter()
    found = gis.zonal_stats(files[0], zones, "sum,mean,max,count", threads=threads)
    return {
        "engine_s": time.perf_counter() - begin,
        "zones": len(zones),
        "vertices": int(zones.count_coordinates().sum()),
        "count": float(found["count"].sum()),
    }


def growth(files: list[Path], layers: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Seconds against cells read, and against vertices covered; one thread."""
    from engine_data import generated_zones

    from gis.raster_io import open_raster, read_info, write_raster
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import run_jobs

    info = read_info(files[len(files) // 4])
    zones = zones_of(layers["district"])
    by_cells, by_vertices = [], []
    for strips in (1, 2, 3, 5, 7, 9):
        rows = info.grid.strip_rows(strips - 1)[1]
        grid = type(info.grid)((rows, info.grid.shape[1]), info.grid.transform, info.grid.crs)
        with open_raster(info) as handle:
            path = write_raster(folder / f"rows{rows}.tif", handle.read_rows(0, rows), grid, dtype="float32",
                                nodata=info.nodata, cog=False)  # fmt: skip
        crop = read_info(path)
        covers = {crop.grid.fingerprint: (coverage_from_zones(crop.grid, zones),)}
        wall = min(_timed(lambda crop=crop, covers=covers: run_jobs(jobs_of([crop], covers))) for _ in range(5))
        by_cells.append((rows * info.grid.shape[1], wall))
    for vertices in (10, 20, 40, 80, 160, 320):
        some = zones_of(generated_zones((30, 45), vertices=vertices))
        wall = min(_timed(lambda some=some: coverage_from_zones(info.grid, some)) for _ in range(3))
        by_vertices.append((int(sum(_vertices(some))), wall))
    return {"cells": by_cells, "vertices": by_vertices}


def _vertices(zones: Any) -> Any:
    import shapely

    return shapely.get_num_coordinates(zones.geometry)
