"""Time and memory of the pair panel, of the panel of district pairs, and of flows counted from citations.

    python benchmarks/panel.py cities      # 296 cities, 20 years: 43,660 pairs, 829,540 rows, every variable
    python benchmarks/panel.py districts   # 2,850 districts, 21 years: 81.2 million rows, streamed to Parquet
    python benchmarks/panel.py citations   # 3 million patents, 10 million citations
    python benchmarks/panel.py networks    # betweenness of 296 and 2,850 nodes, and networkx
    python benchmarks/panel.py engines     # the citations again, by us, by DuckDB and by Polars where installed

In: nothing. Out: seconds and peak memory on standard output. Start each in a fresh process: peaks are the process's.
Data are made up from a seed; `citations` is checked against a count of another kind before it prints.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gis.panel import balance_batches, distances, moderators, n_pairs, write_pairs
from gis.panel.assemble import FLOWS, PanelPlan, assembly
from gis.panel.citations import CitationFlows, flows_from_citations
from gis.panel.controls import hsr_openings, hsr_variable, ipp_variable, similarities, similarity_variable, since_years
from gis.panel.covariates import SUFFIX, city_matrix, city_variable
from gis.panel.flows import FlowTable, flow_table, oriented
from gis.panel.networks import betweenness
from gis.panel.patents import NOWHERE, Patents, patents_from_table
from gis.tables import Column, write_batches

YEARS = np.arange(2000, 2020)


def peak_gb() -> float:
    """Peak memory of this process so far [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def say(what: str, begin: float) -> None:
    print(f"{what:58} {time.perf_counter() - begin:7.2f} s   peak {peak_gb():.2f} GB", flush=True)


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


def made_up_patents(n: int, n_cities: int, seed: int) -> tuple[Patents, np.ndarray, dict[str, np.ndarray]]:
    """Patents, their application numbers, and the plain arrays behind them."""
    rng = np.random.default_rng(seed)
    ids = np.char.add("CN", (20_00_10_000_000 + np.arange(n)).astype(str))
    plain = {
        "year": rng.integers(2000, 2020, n),
        "kind": rng.choice([1, 2, 3], n, p=[0.5, 0.4, 0.1]),
        "is_digital": rng.random(n) < 0.6,
        "place": np.where(rng.random(n) < 0.03, NOWHERE, np.minimum(rng.zipf(1.5, n) - 1, n_cities - 1)).astype(
            np.int32
        ),
    }
    table = pa.table({"application": ids, "year": plain["year"], "type": plain["kind"].astype(str),
                      "is_digital": plain["is_digital"]})  # fmt: skip
    return patents_from_table(table, plain["place"], codes_of(n_cities)), ids, plain


def brute_force(plain: dict[str, np.ndarray], citing: np.ndarray, cited: np.ndarray) -> dict[str, int]:
    """The same count by pandas, everything in memory: drop_duplicates, boolean masks, value counts."""
    frame = pd.DataFrame({"citing": citing, "cited": cited}).drop_duplicates()
    a, b = frame["citing"].to_numpy(), frame["cited"].to_numpy()
    keep = (plain["kind"][a] != 3) & (plain["kind"][b] != 3) & plain["is_digital"][b]
    src, dst = plain["place"][b][keep], plain["place"][a][keep]
    inside = (src >= 0) & (dst >= 0)
    found = pd.DataFrame({"src": src[inside], "dst": dst[inside], "year": plain["year"][a][keep][inside]})
    return {
        "cells": len(found.value_counts()),
        "total": int(inside.sum()),
        "local": int((src == dst)[inside].sum()),
        "both_na": int(((src < 0) & (dst < 0)).sum()),
        "first_year": int((found["year"] == 2000).sum()),
    }


def citations(n_patents: int = 3_000_000, n_citations: int = 10_000_000, seed: int = 1907) -> CitationFlows:
    """Count flows from citations, as a stream, and check the totals against `brute_force`."""
    begin = time.perf_counter()
    patents, ids, plain = made_up_patents(n_patents, 296, seed)
    say(f"{n_patents:,} patents made up and brought to one record each", begin)
    rng = np.random.default_rng([seed, 1])
    size = 500_000
    drawn = []

    def batches() -> Iterator[pa.Table]:
        for start in range(0, n_citations, size):
            m = min(size, n_citations - start)
            a, b = rng.integers(0, n_patents, m), (n_patents * rng.random(m) ** 3).astype(np.int64)
            again = rng.random(m) < 0.02  # every fiftieth is given twice
            a[1:][again[1:]], b[1:][again[1:]] = a[:-1][again[1:]], b[:-1][again[1:]]
            drawn.append((a.astype(np.int32), b.astype(np.int32)))
            yield pa.table({"citing": ids[a], "cited": ids[b]})

    begin = time.perf_counter()
    found = flows_from_citations(patents, batches())
    say(f"{found.n_citations:,} citations made up and counted", begin)
    print(found.waterfall.to_string(index=False))
    truth = brute_force(plain, *(np.concatenate(side) for side in zip(*drawn, strict=True)))
    flows, years = found.flows, found.by_year
    mine = {"cells": len(flows), "total": int(flows["n"].sum()),
            "local": int(flows.loc[flows["src"] == flows["dst"], "n"].sum()),
            "both_na": int(years["flow_both_na"].sum()),
            "first_year": int(flows.loc[flows["year"] == 2000, "n"].sum())}  # fmt: skip
    if mine != truth:
        raise SystemExit(f"counted {mine}, brute force {truth}")
    print(f"equal to brute force: {truth}")
    return found


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
        found = set()
        for name in ("files", *ENGINES):  # a child's peak begins with its parent's: this process stays small
            command = [sys.executable, __file__, "engine", "--name", name, "--folder", folder]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if name == "files":
                continue
            print(f"{name:14} {result.stdout.strip() or result.stderr.strip().splitlines()[-1]}", flush=True)
            if result.returncode == 0:
                found.add(tuple(result.stdout.split()[:2]))
        if len(found) != 1:
            raise SystemExit(f"the engines differ: {found}")


def write_citation_files(folder: Path, n: int = 3_000_000, m: int = 10_000_000, seed: int = 1907) -> None:
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    ids = np.char.add("CN", (20_00_10_000_000 + np.arange(n)).astype(str))
    place = np.array(codes_of(296))[np.minimum(rng.zipf(1.5, n) - 1, 295)]
    kinds = rng.choice(["invention", "utility", "design"], n, p=[0.5, 0.4, 0.1])
    columns = {"application": ids, "year": rng.integers(2000, 2020, n), "type": kinds,
               "is_digital": rng.random(n) < 0.6, "city_code": place}  # fmt: skip
    pq.write_table(pa.table(columns), folder / "patents.parquet")
    a, b = rng.integers(0, n, m), (n * rng.random(m) ** 3).astype(np.int64)
    pq.write_table(
        pa.table({"citing": ids[a], "cited": ids[b]}), folder / "citations.parquet", row_group_size=1_000_000
    )


def engine(name: str, folder: Path) -> None:
    """One engine; prints flows, their sum, seconds and peak memory."""
    patents, cited = folder / "patents.parquet", folder / "citations.parquet"
    begin = time.perf_counter()
    if name == "lightpanel":
        from gis.panel.patents import places_from_codes
        from gis.pipeline.panel_inputs import PATENT_COLUMNS, read_columns, stream_columns

        table = read_columns(patents, {}, PATENT_COLUMNS, "utf-8", "patents")
        codes = codes_of(296)
        known = patents_from_table(table, places_from_codes(table, "city_code", codes), codes)
        del table
        flows = flows_from_citations(known, stream_columns(cited, {}, ("citing", "cited"), "utf-8", "citations")).flows
        n, total = len(flows), int(flows["n"].sum())
    elif name.startswith("duckdb"):
        import duckdb

        base = duckdb.connect()
        for limit in name.split()[1:]:
            base.execute(f"set memory_limit = '{limit}'; set threads = 2; set temp_directory = '{folder / 'spill'}'")
        n, total = base.execute(
            f"""with flow as (
                    select b.city_code src, a.city_code dst, a.year, count(*) n
                    from (select distinct citing, cited from '{cited}') c
                    join '{patents}' a on a.application = c.citing join '{patents}' b on b.application = c.cited
                    where a.type <> 'design' and b.type <> 'design' and b.is_digital group by all)
                select count(*), sum(n) from flow"""
        ).fetchone()
    else:
        import polars as pl

        kept = pl.scan_parquet(patents).filter(pl.col("type") != "design")
        a = kept.select(citing="application", year="year", dst="city_code")
        b = kept.filter("is_digital").select(cited="application", src="city_code")
        joined = pl.scan_parquet(cited).unique().join(a, on="citing").join(b, on="cited")
        flows = joined.group_by("src", "dst", "year").len().collect(engine="streaming")
        n, total = len(flows), int(flows["len"].sum())
    print(f"{n} {int(total)} {time.perf_counter() - begin:7.1f} s   peak {peak_gb():.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"cities": cities, "districts": districts, "citations": citations, "networks": networks, "engines": engines}
    parser.add_argument("what", choices=(*parts, "engine"))
    parser.add_argument("--name", choices=("files", *ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.name == "files":
        write_citation_files(asked.folder)
    elif asked.what == "engine":
        engine(asked.name, asked.folder)
    else:
        parts[asked.what]()


if __name__ == "__main__":
    main()
