"""The engine against the bare read and its peers, in one run.

    python benchmarks/engine.py [--data FOLDER] [--peers] [--globe] [--write]

Every measurement is a process of its own (peak memory is its own), repeated, the fastest taken; ratios are within this
run. ``--write`` puts the results into ``benchmarks/RESULTS.md`` and a plot beside it.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

CLUSTER_TIMES = 20
"""The job is so many times longer for the comparison of processes with threads: about a minute."""

LIBRARIES = ("numpy", "numba", "rasterio", "shapely", "dask", "exactextract", "rasterstats", "xvec")
"""Named with their versions in the results."""


def child(name: str, options: dict[str, Any]) -> None:
    """Measure one thing, here, and print it."""
    import engine_runs
    from engine_data import read_layers

    files = [Path(p) for p in options.pop("files")]
    data = options.pop("data")
    layers = read_layers(Path(data) if data else None)[0]
    if "folder" in options:
        options["folder"] = Path(options["folder"])
    if name in ("ours", "cluster", "partial", "growth", "globe"):  # compiled once per installation, not part of a run
        small = [f for f in (files[0], files[-1]) if f.name != "globe.tif"]
        engine_runs.ours(small, {k: v.iloc[:3] for k, v in layers.items()}, 1, None, None)
    arguments = [files] if name in ("bare", "globe") else [files, layers]
    start, cpu = time.perf_counter(), time.process_time()
    more = getattr(engine_runs, name)(*arguments, **options)
    found = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, **more}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def measure(name: str, repeat: int, **options: Any) -> dict[str, Any]:
    """Run one measurement in fresh processes and take the fastest."""
    best: dict[str, Any] = {}
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


class Report:
    """Lines of the results, printed as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        self.lines += lines
        print("\n".join(lines), flush=True)


def speed(report: Report, common: dict[str, Any], repeat: int, peers: bool) -> None:
    """Ours beside the bare read and, if asked for, beside the others."""
    n = len(common["files"])
    folder = common["folder"]
    report.say("| what | seconds | x bare read | CPU s | peak MB | tasks |", "|---|---|---|---|---|---|")
    walls: dict[str, float] = {}

    def row(label: str, m: dict[str, Any], base: float, times: int = 1) -> None:
        wall = walls[label] = m["wall_s"] * times
        cpu, tasks = m["cpu_s"] * times, m.get("tasks", "")
        report.say(f"| {label} | {wall:.2f} | {wall / base:.2f} | {cpu:.2f} | {m['peak_mb']:.0f} | {tasks} |")

    plain = {"files": common["files"], "data": common["data"]}
    for threads in (1, 2):
        word = "1 thread" if threads == 1 else "2 threads"
        read = measure("bare", repeat, threads=threads, **plain)
        row(f"bare read, {word}", read, read["wall_s"])
        options = {"threads": threads, "out": folder / "sums.npy", **plain}
        row(f"lightpanel, {word}, coverage built", measure("ours", repeat, warm=None, **options), read["wall_s"])
        measure("ours", 1, warm=folder / "store", **options)
        row(
            f"lightpanel, {word}, coverage stored",
            measure("ours", repeat, warm=folder / "store", **options),
            read["wall_s"],
        )
    base = walls["bare read, 2 threads"]
    if peers:
        row("exactextract, one call per stack", measure("exactextract_stack", 1, **plain), base)
        for name, label in (
            ("rasterize_one", "rasterize + bincount (centres)"),
            ("xvec_one", "xvec, method exactextract"),
            ("rasterstats_one", "rasterstats"),
        ):
            row(f"{label}, one raster x {n}", measure(name, 1, **plain), base, n)
    ours = walls["lightpanel, 2 threads, coverage stored"]
    speedup = walls["lightpanel, 1 thread, coverage stored"] / ours
    report.say(
        "", f"From one thread to two: {speedup:.2f} x (the bare read: {walls['bare read, 1 thread'] / base:.2f} x)."
    )
    for label, wall in walls.items():
        if label.startswith(("exact", "raster", "xvec")):
            report.say(f"Against {label}: {wall / ours:.0f} x.")


def accuracy(report: Report, common: dict[str, Any]) -> None:
    """Errors against shapely."""
    found = measure(
        "errors", 1, out=common["folder"] / "sums.npy", sample=300, files=common["files"], data=common["data"]
    )
    report.say(
        "",
        "## Errors",
        "",
        f"Sums over {found['n']} districts of one raster against shapely's polygon-cell intersections, relative:",
        "",
        "| | largest | median |",
        "|---|---|---|",
        f"| lightpanel | {found['ours'][0]:.1e} | {found['ours'][1]:.1e} |",
        f"| exactextract | {found['exactextract'][0]:.1e} | {found['exactextract'][1]:.1e} |",
    )


def changes(report: Report, common: dict[str, Any], repeat: int) -> None:
    """Reruns after a change."""
    m = measure("partial", 1, threads=2, times=repeat, **common)
    whole = m["whole_s"]
    report.say(
        "",
        "## Reruns",
        "",
        "All rasters again, on two threads, with the store that the run before left; shares are of the full run with "
        f"stored coverage in the same process ({whole:.2f} s).",
        "",
        "| what changed | seconds | share of the full run | share of tiles touched | share of the area |",
        "|---|---|---|---|---|",
        f"| nothing | {m['nothing_s']:.2f} | {m['nothing_s'] / whole:.0%} | 0% | 0% |",
    )
    for kind, label in (
        ("province", "5% of the districts, neighbours"),
        ("scattered", "5% of the districts, scattered"),
    ):
        k = m[kind]
        report.say(f"| {label} | {k['wall_s']:.2f} | {k['wall_s'] / whole:.0%} | {k['tiles']:.0%} | {k['area']:.0%} |")


def processes(report: Report, common: dict[str, Any]) -> None:
    """Threads against worker processes on a longer job."""
    m = measure("cluster", 1, times=CLUSTER_TIMES, **common)
    report.say(
        "",
        "## Worker processes",
        "",
        f"The same rasters {CLUSTER_TIMES} times over ({m['tasks']} tasks): {m['threaded_s']:.1f} s on two threads, "
        f"{m['processes_s']:.1f} s on two worker processes that are up already: "
        f"{m['processes_s'] / m['threaded_s']:.2f} x. Sums equal to the bit: {m['same']}. A quarter of the job on one "
        f"thread, times four: {m['alone_s']:.1f} s; from one thread to two {m['alone_s'] / m['threaded_s']:.2f} x.",
    )


def globe(report: Report, rasters: Path, data: Path | None) -> None:
    """A raster of global size."""
    from engine_data import write_globe

    path = write_globe(rasters)
    read = measure("bare", 1, threads=2, files=[path], data=data)
    m = measure("globe", 1, threads=2, n_zones=(200, 250), files=[path], data=data)
    report.say(
        "",
        "## Global size",
        "",
        f"33,600 x 86,400 cells ({path.stat().st_size / 1e9:.2f} GB compressed), {m['zones']:,} zones of "
        f"{m['vertices'] / 1e6:.1f} million vertices, sum, mean, max and count on two threads, coverage built: "
        f"{m['engine_s']:.0f} s, peak {m['peak_mb']:.0f} MB (zones in memory included). The bare read: "
        f"{read['wall_s']:.0f} s.",
    )


def growth(report: Report, common: dict[str, Any], write: bool) -> None:
    """Linear in cells and in vertices."""
    import numpy as np

    m = measure("growth", 1, **common)
    report.say(
        "", "## Growth", "", "One thread; slope of log seconds over log size in the upper half, 1 is linear.", ""
    )
    report.say("| what | sizes | seconds | slope |", "|---|---|---|---|")
    for what in ("cells", "vertices"):
        size, wall = np.array(m[what]).T
        half = slice(len(size) // 2 - 1, None)
        slope = np.polyfit(np.log(size[half]), np.log(wall[half]), 1)[0]
        sizes, walls = ", ".join(f"{s / 1e6:.2f} M" for s in size), ", ".join(f"{w:.3f}" for w in wall)
        report.say(f"| {what} | {sizes} | {walls} | {slope:.2f} |")
    if write:
        _plot(m, HERE / "growth.png")
        report.say("", "![seconds against cells and against vertices](growth.png)")


def _plot(m: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    for axis, what, label in zip(axes, ("cells", "vertices"), ("cells summed", "zone vertices covered"), strict=True):
        size, wall = zip(*m[what], strict=True)
        axis.plot([s / 1e6 for s in size], wall, "o-")
        axis.set(xlabel=f"{label} [million]", ylabel="seconds, one thread", xlim=(0, None), ylim=(0, None))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rasters", type=Path, default=Path(tempfile.gettempdir()) / "lightpanel-benchmark")
    parser.add_argument("--data", type=Path, default=None, help="folder of real test data")
    parser.add_argument("--years", type=int, default=21)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="speed,accuracy,changes,processes,growth")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--globe", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=2)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], json.loads(arguments.child[1]))
        return
    from engine_data import read_layers, write_rasters

    lights, people = write_rasters(arguments.rasters)
    files = lights[: arguments.years] + people[: arguments.years]
    layers, source = read_layers(arguments.data)
    with tempfile.TemporaryDirectory(prefix="lightpanel-benchmark-") as folder:
        common = {"files": files, "data": arguments.data, "folder": Path(folder)}
        report = Report()
        shown = " ".join(a for a in sys.argv[1:] if not a.startswith("/"))
        report.say(
            "# Engine: results", "",
            f"Command: `python benchmarks/engine.py {shown}`.", "",
            f"{len(files)} rasters of 7560 x 4560 cells; {' + '.join(f'{len(f):,}' for f in layers.values())} zones "
            f"({source}); {os.cpu_count()} cores; Python {platform.python_version()}, "
            + ", ".join(f"{p} {version(p)}" for p in LIBRARIES) + ". Sums of every raster over both layers.", "",
        )  # fmt: skip
        wanted = arguments.only.split(",")
        if "speed" in wanted:
            speed(report, common, arguments.repeat, arguments.peers)
        if "accuracy" in wanted:
            accuracy(report, common)
        if "changes" in wanted:
            changes(report, common, arguments.repeat)
        if "processes" in wanted:
            processes(report, common)
        if "growth" in wanted:
            growth(report, common, arguments.write)
        if arguments.globe:
            globe(report, arguments.rasters, arguments.data)
    if arguments.write:
        (HERE / "RESULTS.md").write_text("\n".join(report.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
