"""Time and memory of the pair panel, of the panel of district pairs, and of flows counted from citations.

    python benchmarks/panel.py cities      # 296 cities, 20 years: 43,660 pairs, 829,540 rows, every variable
    python benchmarks/panel.py districts   # 2,850 districts, 21 years: 81.2 million rows, streamed to Parquet
    python benchmarks/panel.py citations   # 10 million patents, 10 million citations, from files
    python benchmarks/panel.py networks    # betweenness of 296 and 2,850 nodes, and networkx
    python benchmarks/panel.py engines     # the citations again, by us, by DuckDB and by Polars where installed

In: nothing. Out: seconds and peak memory on standard output. Start each in a fresh process: peaks are the process's.
Data are made up from a seed; `citations` is checked against a count of another kind before it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gis.panel import balance_batches, distances, moderators, n_pairs, write_pairs
from gis.panel.assemble import FLOWS, PanelPlan, assembly
from gis.panel.citations import flows_from_citations
from gis.panel.controls import hsr_openings, hsr_variable, ipp_variable, similarities, similarity_variable, since_years
from gis.panel.covariates import SUFFIX, city_matrix, city_variable
from gis.panel.flows import FlowTable, flow_table, oriented
from gis.panel.networks import betweenness
from gis.panel.patents import patents_from_batches, places_from_codes
from gis.tables import Column, write_batches

YEARS = np.arange(2000, 2020)


def peak_gb() -> float:
    """Peak memory of this process so far [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def say(what: str, begin: float) -> None:
    """Seconds since ``begin``; processor time and peak memory of the process so far."""
    busy = f"{time.process_time():.1f} s of processor"
    print(f"{what:58} {time.perf_counter() - begin:7.2f} s   {busy}   peak {peak_gb():.2f} GB", flush=True)


# --- data ------------------------------------------------------------------------------------------------------------


def codes_of(n: int) -> tuple[str, ...]:
    """Six-digit codes spread over the provinces that there are."""
    heads = [h for h in range(11, 66) if h not in (16, 17, 18, 19, 20, 24, 25, 26, 27, 28, 29, 30, 38, 39, 40, 47, 48,
                                                   49, 55, 56, 57, 58, 59, 60)]  # fmt: skip
    return tuple(sorted(f"{heads[k % len(heads)]}{100 + k // len(heads):04d}" for k in range(n)))


def levels_of(codes: tuple[str, ...], years: np.ndarray, seed: int) -> pd.DataFrame:
    """Levels that wander, so that pairs switch."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0, 0.6, len(codes))[None, :] + rng.normal(0.03, 0.1, (years.size, len(codes))).cumsum(0))
    return pd.DataFrame({"city_code": np.tile(codes, years.size), "year": np.repeat(years, len(codes)),
                         "level": level.ravel()})  # fmt: skip


def flows_of(codes: tuple[str, ...], years: np.ndarray, n: int, seed: int) -> pd.DataFrame:
    rng, roster = np.random.default_rng(seed), np.array(codes, dtype=object)
    a, b = rng.integers(0, len(codes), (2, n))
    columns = {"src": pd.Categorical.from_codes(a, categories=roster),
               "dst": pd.Categorical.from_codes(b, categories=roster)}  # fmt: skip
    return pd.DataFrame({**columns, "year": rng.choice(years, n), "n": rng.integers(1, 9, n)})


def city_tables(codes: tuple[str, ...], years: np.ndarray, seed: int) -> dict[str, pd.DataFrame]:
    """Tables behind every control and moderator."""
    rng, c, t = np.random.default_rng(seed), len(codes), years.size
    base = {"city_code": np.tile(codes, t), "year": np.repeat(years, c)}
    kinds = [f"{s}{k:02d}B" for s in "ABCDEFGH" for k in range(1, 11)]
    counts = rng.poisson(2, (t, c, len(kinds)))
    y, k, i = np.nonzero(counts)
    rail = [(f"line {line}", code, int(rng.integers(2008, 2020)))
            for line in range(40) for code in rng.choice(codes, min(12, c), replace=False)]  # fmt: skip
    return {
        "city": pd.DataFrame({**base, "gdp": rng.lognormal(3, 1, c * t), "firms": rng.poisson(5, c * t),
                              "loans": rng.lognormal(2, 1, c * t), "illiterate": rng.uniform(1, 20, c * t),
                              "users": rng.lognormal(1, 1, c * t), "urban": rng.lognormal(13, 1, c * t)}),
        "classes": pd.DataFrame({"city_code": np.array(codes)[k], "year": years[y], "ipc": np.array(kinds)[i],
                                 "n": counts[y, k, i]}),
        "hsr": pd.DataFrame(rail, columns=["line", "city_code", "open_year"]),
        "ipp": pd.DataFrame({"city_code": codes[:60], "start_year": rng.integers(2010, 2020, len(codes[:60]))}),
        "clusters": pd.DataFrame({"cluster": np.arange(len(codes)) % 19, "city_code": codes}).astype({"cluster": str}),
    }  # fmt: skip


OWN_FORMS = tuple(SUFFIX)


def city_plan(codes: tuple[str, ...], flows: FlowTable, tables: dict[str, pd.DataFrame], levels: pd.DataFrame,
              points: np.ndarray) -> PanelPlan:  # fmt: skip
    """Flows, three controls, geography, nine moderators and six forms of a covariate of one's own."""
    city, base = tables["city"], 2000

    def fixed(column: str):
        return city_matrix(city, column, codes, base_year=base)

    years, cosine = similarities(tables["classes"], codes)
    names, own = city_variable("gdp", city_matrix(city, "gdp", codes), OWN_FORMS)
    variables = (
        (FLOWS, oriented(flows)),
        ("hsr", hsr_variable(hsr_openings(tables["hsr"], codes))),
        ("ts", similarity_variable(years, cosine)),
        ("ipp", ipp_variable(since_years(tables["ipp"], "start_year", codes))),
        ("distance", distances.distance_variable(distances.pair_distances(points))),
        ("province", distances.same_group("is_same_province", [c[:2] for c in codes])),
        ("clusters", distances.cluster_variable(distances.memberships(tables["clusters"], codes))),
        ("compat_kno", moderators.compat_kno(city_matrix(city, "firms", codes))),
        ("gap_k", moderators.gap("gap_k", fixed("loans"))),
        ("gap_l", moderators.gap("gap_l", fixed("illiterate"), reverse="inverse")),
        ("gap_d", moderators.gap("gap_d", fixed("users"))),
        ("regions", moderators.regions(codes)),
        ("gap_scale", moderators.gap_scale(fixed("urban"))),
        ("gap_light", moderators.gap_light(city_matrix(levels, "level", codes))),
        ("own", own),
    )
    columns = tuple(Column(name, "float64", "1", name) for name in names)
    return PanelPlan(codes, variables, columns, ("hsr", "ts", "ipp"), bal_quantile=(0.01, 0.99))


# --- what is measured -------------------------------------------------------------------------------------------------


def cities(n: int = 296, seed: int = 1907) -> tuple[int, int]:
    """Build the panel of cities with every variable and write it; returns pairs and rows."""
    codes = codes_of(n)
    levels, flows = levels_of(codes, YEARS, seed), flows_of(codes, YEARS, 20 * n * n, seed)
    tables = city_tables(codes, YEARS, seed)
    points = np.random.default_rng(seed).uniform([80, 20], [130, 50], (n, 2))
    print(f"{n} cities, {YEARS.size} years, {len(flows):,} rows of flows, {len(tables['classes']):,} of classes; "
          f"peak with the inputs {peak_gb():.2f} GB")  # fmt: skip
    begin = time.perf_counter()
    table = flow_table(flows, codes)
    say("flows summed", begin)
    plan = city_plan(codes, table, tables, levels, points)
    say("tables read into matrices, distances, similarities", begin)
    made = assembly(plan, lambda: balance_batches(levels))
    rows = sum(batch.num_rows for batch in made.batches())
    waterfall = made.waterfall.frame()
    say(f"{rows:,} rows x {len(made.table.columns)} columns, all variables", begin)
    print(f"{n_pairs(n):,} pairs, {rows:,} rows")
    print(waterfall.to_string(index=False, columns=["step", "n_dropped", "n_left"]))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        made = assembly(plan, lambda: balance_batches(levels))
        path = write_batches(made.table, made.batches(), Path(folder) / "pair_panel.parquet")
        say(f"the same, written as Parquet ({path.stat().st_size / 1e6:.0f} MB)", begin)
    return n_pairs(n), rows


def districts(n: int = 2850, years: int = 21, n_flows: int = 3_000_000, seed: int = 1907) -> int:
    """Stream the panel of district pairs with flows, distance, province and city; returns rows."""
    span = np.arange(2000, 2000 + years)
    codes = codes_of(n)
    levels = levels_of(codes, span, seed)
    begin = time.perf_counter()
    table = flow_table(flows_of(codes, span, n_flows, seed), codes)
    points = np.random.default_rng(seed).uniform([80, 20], [130, 50], (n, 2))
    km = distances.pair_distances(points)
    say(f"{n_flows:,} flows summed, {km.size:,} distances", begin)
    plan = PanelPlan(
        codes,
        (
            (FLOWS, oriented(table)),
            ("distance", distances.distance_variable(km)),
            ("province", distances.same_group("is_same_province", [c[:2] for c in codes])),
            ("city", distances.same_group("is_same_city", [c[:4] for c in codes])),
        ),
        bal_max=50.0,
    )
    rows = 0
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(levels, Path(folder) / "pair_year.parquet")
        say(f"pair_year written ({pairs.stat().st_size / 1e9:.2f} GB)", begin)
        begin = time.perf_counter()
        made = assembly(plan, lambda: row_groups(pairs))

        def counted() -> Iterator[pa.Table]:
            nonlocal rows
            for batch in made.batches():
                rows += batch.num_rows
                yield batch

        path = write_batches(made.table, counted(), Path(folder) / "pair_panel.parquet")
        waterfall = made.waterfall.frame()
        say(f"{rows:,} rows x {len(made.table.columns)} columns ({path.stat().st_size / 1e9:.2f} GB)", begin)
    print(waterfall.to_string(index=False, columns=["step", "n_dropped", "n_left"]))
    return rows


def row_groups(path: Path) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for k in range(file.num_row_groups):
        yield file.read_row_group(k)


def citations(n_patents: int = 10_000_000, n_citations: int = 10_000_000) -> dict[str, int]:
    """Count flows from files, and count them again another way; each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["--patents", str(n_patents), "--citations", str(n_citations)]
        child("files", folder, *size)
        counted, truth = child("lightpanel", folder), child("brute", folder)
    print(counted.split("\n", 1)[1])
    mine, expected = (json.loads(text.split("\n", 1)[0]) for text in (counted, truth))
    if mine != expected:
        raise SystemExit(f"counted {mine}, brute force {expected}")
    print(f"equal to brute force: {expected}")
    return mine


def child(name: str, folder: str, *more: str) -> str:
    """Standard output of one engine in a process of its own; a child's peak begins with its parent's: this is small."""
    command = [sys.executable, __file__, "engine", "--name", name, "--folder", folder, *more]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=path)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout


def count_files(folder: Path) -> tuple[dict[str, int], pd.DataFrame]:
    """What ``lightpanel panel`` does with the two files; totals, and the waterfall."""
    from gis.pipeline.panel_citations import PATENT_COLUMNS, stream_columns

    codes = codes_of(296)
    stream = stream_columns(folder / "patents.parquet", {}, PATENT_COLUMNS, "utf-8", "patents")
    batches = ((batch, places_from_codes(batch, "city_code", codes)) for batch in stream)
    patents = patents_from_batches(batches, codes, folder)
    cited = stream_columns(folder / "citations.parquet", {}, ("citing", "cited"), "utf-8", "citations")
    found = flows_from_citations(patents, cited, scratch=folder)
    flows, years, steps = found.flows, found.by_year, found.waterfall
    return {
        "flows": len(flows),
        "total": int(flows["n"].sum()),
        "local": int(flows.loc[flows["src"] == flows["dst"], "n"].sum()),
        "both_na": int(years["flow_both_na"].sum()),
        "first_year": int(flows.loc[flows["year"] == 2000, "n"].sum()),
        "repeats": int(steps.loc[steps["step"] == "repeats a citation", "n_dropped"].sum()),
        "unknown": int(steps.loc[steps["step"].str.endswith("not in the patents"), "n_dropped"].sum()),
    }, steps


def brute_force(folder: Path) -> dict[str, int]:
    """The same totals by plain arrays, all in memory: application numbers are turned back into row numbers."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    known, cites = pq.read_table(folder / "patents.parquet"), pq.read_table(folder / "citations.parquet")
    a, b = (
        pc.cast(pc.utf8_slice_codeunits(cites[n], 2), "int64").to_numpy() - FIRST_NUMBER for n in ("citing", "cited")
    )
    there = (a < known.num_rows) & (b < known.num_rows)
    unknown, a, b = int((~there).sum()), a[there], b[there]
    design, digital = pc.equal(known["type"], "design").to_numpy(), known["is_digital"].to_numpy()
    keep = ~design[a] & ~design[b] & digital[b]
    frame = pd.DataFrame({"a": a[keep], "b": b[keep]})
    repeats = int(frame.duplicated().sum())
    frame = frame.drop_duplicates()
    city = pd.Series(known["city_code"].to_pandas()).fillna("").to_numpy(object)
    src, dst, year = city[frame["b"]], city[frame["a"]], known["year"].to_numpy()[frame["a"]]
    inside = (src != "") & (dst != "")
    found = pd.DataFrame({"src": src[inside], "dst": dst[inside], "year": year[inside]})
    return {
        "flows": len(found.value_counts()),
        "total": int(inside.sum()),
        "local": int((src == dst)[inside].sum()),
        "both_na": int(((src == "") & (dst == "")).sum()),
        "first_year": int((found["year"] == 2000).sum()),
        "repeats": repeats,
        "unknown": unknown,
    }


def networks(sizes: tuple[int, ...] = (296, 2850), density: float = 0.15) -> None:
    for n in sizes:
        links = np.random.default_rng(n).random((n, n)) < density
        np.fill_diagonal(links, False)
        begin = time.perf_counter()
        mine = betweenness(links)
        say(f"betweenness, {n} nodes, density {density}", begin)
        if n <= 300:
            import networkx as nx

            begin = time.perf_counter()
            peer = nx.betweenness_centrality(nx.from_numpy_array(links, create_using=nx.DiGraph))
            say("  networkx", begin)
            print(f"  largest difference {np.abs(mine - np.array(list(peer.values()))).max():.1e}")


ENGINES = ("lightpanel", "duckdb", "duckdb 900MB", "polars")


def engines() -> None:
    """The same files through several engines, each in a process of its own; all must find the same flows."""
    with tempfile.TemporaryDirectory() as folder:
        child("files", folder)
        found = set()
        for name in ENGINES:
            text = child(name, folder)
            totals = json.loads(text.split("\n", 1)[0])
            found.add((totals["flows"], totals["total"]))
            print(f"{name:14} {text.strip().splitlines()[-1]}", flush=True)
        if len(found) != 1:
            raise SystemExit(f"the engines differ: {found}")


FIRST_NUMBER = 20_00_10_000_000


def write_citation_files(folder: Path, n: int = 10_000_000, m: int = 10_000_000, seed: int = 1907) -> None:
    """Patents and citations as Parquet, written by the million: one in fifty cited twice, one in 500 unknown."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    roster, size = np.array([*codes_of(296), None], dtype=object), 1_000_000
    writers: dict[str, pq.ParquetWriter] = {}

    def write(name: str, columns: dict[str, Any]) -> None:
        table = pa.table(columns)
        if name not in writers:
            writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", table.schema)
        writers[name].write_table(table)

    def numbers(at: np.ndarray) -> pa.Array:
        return pc.binary_join_element_wise("CN", pc.cast(pa.array(at + FIRST_NUMBER), "string"), "")

    for start in range(0, n, size):
        rng, k = np.random.default_rng([seed, 0, start]), min(size, n - start)
        place = np.where(rng.random(k) < 0.03, 296, np.minimum(rng.zipf(1.5, k) - 1, 295))
        write("patents", {"application": numbers(np.arange(start, start + k)), "year": rng.integers(2000, 2020, k),
                          "type": rng.choice(["invention", "utility", "design"], k, p=[0.5, 0.4, 0.1]),
                          "is_digital": rng.random(k) < 0.6, "city_code": roster[place]})  # fmt: skip
    for start in range(0, m, size):
        rng, k = np.random.default_rng([seed, 1, start]), min(size, m - start)
        a, b = rng.integers(0, n, k), (n * rng.random(k) ** 3).astype(np.int64)
        again, unknown = rng.random(k) < 0.02, rng.random(k) < 0.002
        a[1:][again[1:]], b[1:][again[1:]] = a[:-1][again[1:]], b[:-1][again[1:]]
        write("citations", {"citing": numbers(a), "cited": numbers(np.where(unknown, n + b, b))})
    for writer in writers.values():
        writer.close()


def engine(name: str, folder: Path) -> None:
    """One engine; prints its totals as JSON, then seconds and peak memory."""
    patents, cited = folder / "patents.parquet", folder / "citations.parquet"
    begin = time.perf_counter()
    steps = None
    if name == "lightpanel":
        totals, steps = count_files(folder)
    elif name == "brute":
        totals = brute_force(folder)
    elif name.startswith("duckdb"):
        import duckdb

        base = duckdb.connect()
        for limit in name.split()[1:]:
            base.execute(f"set memory_limit = '{limit}'; set threads = 2; set temp_directory = '{folder / 'spill'}'")
        found = base.execute(
            f"""with flow as (
                    select b.city_code src, a.city_code dst, a.year, count(*) n
                    from (select distinct citing, cited from '{cited}') c
                    join '{patents}' a on a.application = c.citing join '{patents}' b on b.application = c.cited
                    where a.type <> 'design' and b.type <> 'design' and b.is_digital
                        and a.city_code is not null and b.city_code is not null group by all)
                select count(*), sum(n) from flow"""
        ).fetchone()
        totals = {"flows": found[0], "total": int(found[1])}
    else:
        import polars as pl

        kept = pl.scan_parquet(patents).filter(pl.col("type") != "design", pl.col("city_code").is_not_null())
        a = kept.select(citing="application", year="year", dst="city_code")
        b = kept.filter("is_digital").select(cited="application", src="city_code")
        joined = pl.scan_parquet(cited).unique().join(a, on="citing").join(b, on="cited")
        flows = joined.group_by("src", "dst", "year").len().collect(engine="streaming")
        totals = {"flows": len(flows), "total": int(flows["len"].sum())}
    print(json.dumps(totals))
    if steps is not None:
        print(steps.to_string(index=False))
    seconds, busy = time.perf_counter() - begin, time.process_time()
    print(
        f"{totals['flows']:,} flows, {totals['total']:,} in all {seconds:7.1f} s ({busy:.1f} s of processor time)   "
        f"peak {peak_gb():.2f} GB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"cities": cities, "districts": districts, "citations": citations, "networks": networks, "engines": engines}
    parser.add_argument("what", choices=(*parts, "engine"))
    parser.add_argument("--name", choices=("files", "brute", *ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--patents", type=int, default=10_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--citations", type=int, default=10_000_000, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.name == "files":
        write_citation_files(asked.folder, asked.patents, asked.citations)
    elif asked.what == "engine":
        engine(asked.name, asked.folder)
    else:
        parts[asked.what]()


if __name__ == "__main__":
    main()
