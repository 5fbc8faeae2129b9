"""The engine against the bare read and its peers, in one run.

    python benchmarks/engine.py --data FOLDER [--peers] [--years 21]

Every measurement is a process of its own (peak memory is its own), repeated, the fastest taken; ratios are within this
run. Results go to ``benchmarks/RESULTS.md`` with ``--write``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

HERE = Path(__file__).resolve().parent


# --- measurements: each runs alone in a process ---


def bare_read(files: list[Path], threads: int) -> None:
    """Read and decompress every file, whole, and do nothing with it."""
    from gis.graph import run_tasks
    from gis.raster_io import open_raster, read_info

    def read(path: Path) -> None:
        info = read_info(path)
        with open_raster(info) as handle:
            for strip in range(info.grid.n_strips):
                handle.read_rows(*info.grid.strip_rows(strip))

    run_tasks(read, files, threads=threads)


def ours(files: list[Path], layers: dict, threads: int, store_folder: Path | None, out: Path | None = None) -> dict:
    """Sum every file over both layers; coverage from the store where one is given, sums never."""
    import numpy as np

    from gis.boundaries import read_zones
    from gis.crs import crs_from
    from gis.graph import run_tasks
    from gis.grid import Zones
    from gis.raster_io import read_info
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs
    from gis.zonal.statistics import plain_rules
    from gis.zonal.store import Store

    def run(function, tasks):
        return run_tasks(function, list(tasks), threads=threads)

    del read_zones
    zones = [
        Zones(tuple(f"{i:06d}" for i in range(len(f))), f.geometry.to_numpy(), crs_from(f.crs)) for f in layers.values()
    ]
    store = Store(store_folder) if store_folder else None
    infos = [read_info(path) for path in files]
    coverages: dict = {}
    for info in infos:
        if info.grid.fingerprint not in coverages:
            coverages[info.grid.fingerprint] = tuple(
                store.coverage(info.grid, z, run=run) if store else coverage_from_zones(info.grid, z, run=run)
                for z in zones
            )
    jobs = [Job(i, plain_rules(i), coverages[i.grid.fingerprint], ("cells",)) for i in infos]
    tasks = sum(len(job.tasks()) for job in jobs)
    sums = run_jobs(jobs, run=run)
    if out is not None:
        np.save(out, np.stack([s[1].sums[:, 0] for s in sums]))
    return {"tasks": tasks}


def on_cluster(files: list[Path], layers: dict, workers: int, folder: Path) -> dict:
    """The same through worker processes."""
    from gis.crs import crs_from
    from gis.graph import cluster, run_on_cluster
    from gis.grid import Zones
    from gis.raster_io import read_info
    from gis.zonal.engine import Job, run_jobs, run_shipped, ship
    from gis.zonal.statistics import plain_rules
    from gis.zonal.store import Store

    zones = [
        Zones(tuple(f"{i:06d}" for i in range(len(f))), f.geometry.to_numpy(), crs_from(f.crs)) for f in layers.values()
    ]
    store = Store(folder)
    infos = [read_info(path) for path in files]
    grids = {i.grid.fingerprint: i.grid for i in infos}
    coverages = {k: tuple(store.coverage(g, z) for z in zones) for k, g in grids.items()}
    jobs = [Job(i, plain_rules(i), coverages[i.grid.fingerprint], ("cells",)) for i in infos]
    with cluster(workers=workers) as client:
        start = time.perf_counter()
        run_jobs(jobs, run=lambda _f, tasks: run_on_cluster(client, run_shipped, ship(tasks, folder / "shared")))
        return {"inner_s": time.perf_counter() - start}


def exactextract_stack(files: list[Path], layers: dict) -> None:
    """Time exactextract in its best mode: one call per stack of bands and layer."""
    import exactextract

    for grid in ("lights", "people"):
        some = [str(f) for f in files if f.name.startswith(grid)]
        for frame in layers.values():
            exactextract.exact_extract(some, frame, ["sum"], output="pandas")


def exactextract_one(files: list[Path], layers: dict, out: Path) -> None:
    """One raster, districts: for the errors."""
    import exactextract
    import numpy as np

    found = exactextract.exact_extract(str(files[0]), layers["district"], ["sum"], output="pandas")
    np.save(out, found["sum"].to_numpy())


def rasterstats_one(files: list[Path], layers: dict) -> None:
    """One raster, both layers."""
    import rasterstats

    for frame in layers.values():
        rasterstats.zonal_stats(frame, str(files[0]), stats=["sum"])


def rasterize_one(files: list[Path], layers: dict) -> None:
    """Cell centres only: rasterize each layer once, bincount every raster."""
    import numpy as np
    import rasterio
    from rasterio.features import rasterize

    with rasterio.open(files[0]) as source:
        values, transform, nodata = source.read(1), source.transform, source.nodata
    for frame in layers.values():
        labels = rasterize(
            zip(frame.geometry, range(1, len(frame) + 1), strict=True), values.shape, transform=transform
        )
        good = values != np.float32(nodata)
        np.bincount(labels[good].ravel(), weights=values[good].ravel().astype(float))


# --- running them ---


def child(name: str, options: dict) -> None:
    from engine_data import read_layers

    files = [Path(p) for p in options["files"]]
    layers, _ = read_layers(Path(options["data"]) if options["data"] else None)
    folder = Path(options["folder"])
    warm = options.get("warm")
    calls = {
        "bare": lambda: bare_read(files, options["threads"]),
        "ours": lambda: ours(files, layers, options["threads"], Path(warm) if warm else None, options.get("out")),
        "cluster": lambda: on_cluster(files, layers, options["threads"], folder / "store"),
        "exactextract": lambda: exactextract_stack(files, layers),
        "exactextract_one": lambda: exactextract_one(files, layers, options["out"]),
        "rasterstats_one": lambda: rasterstats_one(files, layers),
        "rasterize_one": lambda: rasterize_one(files, layers),
    }
    if name in ("ours", "cluster"):  # compiled once per installation, not part of a run
        ours(files[:1] + files[-1:], {k: v.iloc[:3] for k, v in layers.items()}, 1, None)
    start, cpu = time.perf_counter(), time.process_time()
    more = calls[name]() or {}
    found = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, **more}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def measure(name: str, repeat: int, **options: object) -> dict:
    """Run one measurement in fresh processes and take the fastest."""
    best: dict = {}
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, __file__, "--child", name, json.dumps(options, default=str)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        if not best or found["wall_s"] < best["wall_s"]:
            best = found
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rasters", type=Path, default=Path(tempfile.gettempdir()) / "lightpanel-benchmark")
    parser.add_argument("--data", type=Path, default=None, help="folder of real test data")
    parser.add_argument("--years", type=int, default=21)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=2)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], json.loads(arguments.child[1]))
        return
    from engine_data import read_layers, write_rasters

    lights, people = write_rasters(arguments.rasters)
    files = lights[: arguments.years] + people[: arguments.years]
    _, zones = read_layers(arguments.data)
    lines = run_all(arguments, files, zones)
    print("\n".join(lines))
    if arguments.write:
        (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_all(arguments: argparse.Namespace, files: list[Path], zones: str) -> list[str]:
    from importlib.metadata import version

    folder = Path(tempfile.mkdtemp(prefix="lightpanel-benchmark-"))
    common = {"files": files, "data": arguments.data, "folder": folder}
    rows: list[tuple[str, dict, float]] = []
    reads: dict[int, dict] = {}
    for threads in (1, 2):
        read = measure("bare", arguments.repeat, threads=threads, **common)
        reads[threads] = read
        rows.append((f"bare read, {threads} threads", read, 1.0))
        cold = measure("ours", arguments.repeat, threads=threads, **common)
        rows.append((f"lightpanel, {threads} threads, coverage built", cold, cold["wall_s"] / read["wall_s"]))
        measure("ours", 1, threads=threads, warm=folder / "store", **common)
        warm = measure("ours", arguments.repeat, threads=threads, warm=folder / "store", **common)
        rows.append((f"lightpanel, {threads} threads, coverage stored", warm, warm["wall_s"] / read["wall_s"]))
    both = measure("cluster", 1, threads=2, **common)
    rows.append(("lightpanel, 2 worker processes, without starting them", {**both, "wall_s": both["inner_s"]},
                 both["inner_s"] / reads[2]["wall_s"]))  # fmt: skip
    if arguments.peers:
        n = len(files)
        stack = measure("exactextract", 1, threads=1, **common)
        rows.append(("exactextract, one call per stack", stack, stack["wall_s"] / reads[2]["wall_s"]))
        for name, label in (("rasterize_one", "rasterize + bincount (centres)"), ("rasterstats_one", "rasterstats")):
            one = measure(name, 1, threads=1, **common)
            rows.append((f"{label}, one raster x {n}", {**one, "wall_s": one["wall_s"] * n},
                         one["wall_s"] * n / reads[2]["wall_s"]))  # fmt: skip
    out = [
        "# Engine: results",
        "",
        f"Command: `python benchmarks/engine.py {' '.join(a for a in sys.argv[1:] if not a.startswith('/'))}`",
        "",
        f"{len(files)} rasters of 7560 x 4560 cells, {zones} zones; {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "rasterio", "shapely", "dask")),
        "",
        "| what | seconds | x bare read | CPU s | peak MB |",
        "|---|---|---|---|---|",
    ]
    out += [f"| {w} | {m['wall_s']:.2f} | {r:.2f} | {m['cpu_s']:.2f} | {m['peak_mb']:.0f} |" for w, m, r in rows]
    return out


if __name__ == "__main__":
    main()
