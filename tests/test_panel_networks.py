"""Networks of flows: the worked case, every path listed, networkx, and what must not change."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import OptionInvalid
from gis.panel.flows import flow_table
from gis.panel.networks import betweenness, networks
from gis.tables import CITY_NETWORK, NETWORK_YEAR, check

CODES = tuple(f"1{k}0000" for k in range(1, 6))
EDGES = ((1, 2), (2, 3), (1, 4), (4, 3), (3, 5))
"""The worked case of the method."""


def adjacency(edges, n: int = 5) -> np.ndarray:
    out = np.zeros((n, n), bool)
    for a, b in edges:
        out[a - 1, b - 1] = True
    return out


def by_paths(links: np.ndarray) -> np.ndarray:
    """Betweenness from the definition: list every simple path, keep the shortest, count who stands on them."""
    n = len(links)
    total = np.zeros(n)
    for s in range(n):
        for t in range(n):
            if s == t:
                continue
            paths: list[tuple[int, ...]] = []
            others = [k for k in range(n) if k not in (s, t)]
            for size in range(n - 1):
                ways = [(s, *middle, t) for middle in permutations(others, size)]
                paths = [way for way in ways if all(links[a, b] for a, b in pairwise(way))]
                if paths:
                    break
            for path in paths:
                for k in path[1:-1]:
                    total[k] += 1 / len(paths)
    return total / ((n - 1) * (n - 2))


def flows(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["src", "dst", "year", "n"])


def test_the_worked_case_has_its_published_numbers():
    directed, undirected = betweenness(adjacency(EDGES)), betweenness(adjacency(EDGES) | adjacency(EDGES).T)
    np.testing.assert_allclose(directed, [0, 1 / 12, 0.25, 1 / 12, 0], atol=1e-15)  # 12 ordered pairs: one rounding
    np.testing.assert_allclose(undirected, [1 / 12, 1 / 6, 7 / 12, 1 / 6, 0], atol=1e-15)
    table = flow_table(flows(*[(CODES[a - 1], CODES[b - 1], 2000, 1) for a, b in EDGES]), CODES)
    cities, years = networks(table)
    assert cities["out_degree"].tolist() == [0.5, 0.25, 0.25, 0.25, 0]
    assert cities["in_degree"].tolist() == [0, 0.25, 0.5, 0.25, 0.25]
    assert cities["degree"].tolist() == [0.5, 0.5, 0.75, 0.5, 0.25]
    assert (years["n_links"].item(), years["density"].item(), years["reciprocity"].item()) == (5, 5 / 20, 0)


@given(st.integers(3, 6).flatmap(lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n)))
def test_random_graphs_match_every_path_listed(bits):
    n = int(len(bits) ** 0.5)
    links = np.array(bits).reshape(n, n)
    np.fill_diagonal(links, False)
    for graph in (links, links | links.T):
        np.testing.assert_allclose(betweenness(graph), by_paths(graph), atol=1e-14)  # sums of a few fractions


@pytest.mark.parametrize("density", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("directed", [True, False])
def test_networkx_finds_the_same(density, directed):
    nx = pytest.importorskip("networkx")
    links = np.random.default_rng(7).random((120, 120)) < density
    np.fill_diagonal(links, False)
    links = links if directed else links | links.T
    kind = nx.DiGraph if directed else nx.Graph
    peer = nx.betweenness_centrality(nx.from_numpy_array(links, create_using=kind), normalized=True)
    np.testing.assert_allclose(betweenness(links), list(peer.values()), atol=1e-13)  # another order of summation


def test_a_long_chain_is_walked_to_its_end():
    n = 60
    links = np.zeros((n, n), bool)
    links[np.arange(n - 1), np.arange(1, n)] = True
    k = np.arange(n)
    np.testing.assert_allclose(betweenness(links), k * (n - 1 - k) / ((n - 1) * (n - 2)), rtol=1e-14)


def test_self_loops_and_islands_are_in_no_path():
    links = adjacency(EDGES)
    looped = links | np.eye(5, dtype=bool)
    np.testing.assert_array_equal(betweenness(looped), betweenness(links))
    wider = np.zeros((8, 8), bool)
    wider[:5, :5] = links
    np.testing.assert_allclose(betweenness(wider)[:5] * 42, betweenness(links) * 12, rtol=1e-15)
    assert betweenness(np.ones((2, 2), bool)).tolist() == [0, 0]


def test_margins_multiply_to_the_flow_along_links():
    rng = np.random.default_rng(2)
    rows = [(a, b, y, int(rng.poisson(1.5))) for a in CODES for b in CODES for y in (2000, 2001)]
    cities, years = networks(flow_table(flows(*rows), CODES))
    np.testing.assert_allclose(cities["ex_margin"] * cities["in_margin"], cities["flow_out"], rtol=1e-14)
    total = cities.groupby("year")[["flow_local", "flow_out", "flow_in"]].sum()
    np.testing.assert_array_equal(total["flow_out"], total["flow_in"])
    np.testing.assert_array_equal(total["flow_out"], years["flow_between"])
    np.testing.assert_array_equal(total["flow_local"], years["flow_within"])
    assert years["local_share"].between(0, 1).all()
    check(CITY_NETWORK, cities)
    check(NETWORK_YEAR, years)


def test_local_flow_is_the_diagonal_and_no_link():
    cities, years = networks(flow_table(flows((CODES[0], CODES[0], 2000, 9), (CODES[0], CODES[1], 2000, 2)), CODES))
    first = cities.iloc[0]
    assert (first["flow_local"], first["flow_out"], first["ex_margin"], first["in_margin"]) == (9, 2, 1, 2)
    assert years["n_links"].item() == 1


def test_an_empty_margin_is_zero_or_missing_and_a_city_that_sends_nothing_returns_nothing():
    table = flow_table(flows((CODES[0], CODES[1], 2000, 2)), CODES)
    zero, nan = networks(table)[0], networks(table, empty="nan")[0]
    assert zero["in_margin"].tolist() == [2, 0, 0, 0, 0]
    np.testing.assert_array_equal(nan["in_margin"], [2] + [np.nan] * 4)
    np.testing.assert_array_equal(zero["reciprocity"], [0] + [np.nan] * 4)


def test_links_both_ways_are_returned():
    found, years = networks(flow_table(flows((CODES[0], CODES[1], 2000, 2), (CODES[1], CODES[0], 2000, 1),
                                             (CODES[0], CODES[2], 2000, 1)), CODES))  # fmt: skip
    np.testing.assert_array_equal(found["reciprocity"], [0.5, 1, np.nan, np.nan, np.nan])
    assert years["reciprocity"].item() == 2 / 3


def test_a_threshold_takes_away_thin_links_and_no_flow():
    table = flow_table(flows((CODES[0], CODES[1], 2000, 2), (CODES[0], CODES[2], 2000, 5)), CODES)
    found = networks(table, threshold=2)[0].iloc[0]
    assert (found["ex_margin"], found["in_margin"], found["flow_out"]) == (1, 5, 7)


@given(st.permutations(range(5)))
def test_renaming_the_cities_moves_rows_and_changes_no_number(order):
    rng = np.random.default_rng(9)
    rows = [(a, b, 2000, int(rng.poisson(0.6))) for a in CODES for b in CODES]
    names = dict(zip(CODES, [CODES[k] for k in order], strict=True))
    base = networks(flow_table(flows(*rows), CODES))[0]
    found = networks(flow_table(flows(*[(names[a], names[b], y, n) for a, b, y, n in rows]), CODES))[0]
    moved = base.assign(city_code=base["city_code"].map(names)).sort_values("city_code", ignore_index=True)
    pd.testing.assert_frame_equal(found, moved, rtol=1e-13)  # sums over another order of cities


def test_turning_every_flow_swaps_in_and_out():
    rng = np.random.default_rng(9)
    rows = [(a, b, 2000, int(rng.poisson(0.6))) for a in CODES for b in CODES]
    base = networks(flow_table(flows(*rows), CODES))[0]
    turned = networks(flow_table(flows(*[(b, a, y, n) for a, b, y, n in rows]), CODES))[0]
    np.testing.assert_array_equal(turned["out_degree"], base["in_degree"])
    np.testing.assert_array_equal(turned["flow_in"], base["flow_out"])
    np.testing.assert_allclose(turned["betweenness_directed"], base["betweenness_directed"], atol=1e-15)
    np.testing.assert_array_equal(turned["betweenness"], base["betweenness"])


@pytest.mark.parametrize("rule", [{"threshold": -1.0}, {"threshold": float("nan")}, {"empty": "none"}])
def test_a_rule_that_cannot_be_is_refused(rule):
    with pytest.raises(OptionInvalid, match=r"mend:  (give 0 or more|zero or nan)"):
        networks(flow_table(flows((CODES[0], CODES[1], 2000, 2)), CODES), **rule)
