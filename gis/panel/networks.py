"""Networks of flows, year by year: degrees, betweenness, margins, local flow, reciprocity (METHOD 10, P2).

In: a `FlowTable`. Out: the tables ``CITY_NETWORK`` and ``NETWORK_YEAR``. All cities of the roster are nodes, isolated
ones included; a link is a flow above a threshold, and self-loops are no links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import OptionInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.panel.flows import FlowTable

    Floats = NDArray[np.float64]

EmptyMargin = Literal["zero", "nan"]


def betweenness(links: NDArray[np.bool_]) -> Floats:
    """Betweenness centrality of every node of an unweighted graph, by shortest paths.

    Parameters
    ----------
    links : (n, n) bool, links[a, b]: a to b. A symmetric array is an undirected graph; the diagonal is left out.

    Returns
    -------
    (n,) float64 in [0, 1]
        Sum over ordered pairs (s, t) of the share of shortest paths from s to t that pass the node, over
        (n - 1)(n - 2). For a symmetric array that is the sum over unordered pairs over (n - 1)(n - 2) / 2. 0 for
        fewer than three nodes.

    Notes
    -----
    Brandes (2001), for all sources together: breadth-first search counts paths as powers of the adjacency matrix and
    dependencies run back, one matrix product per step of distance. 296 nodes at density 0.15: 0.2 s
    (`python benchmarks/panel.py networks`).
    Peer: networkx. Oracle: ``tests/test_panel_networks.py``, every path listed.
    """
    n = len(links)
    if n < 3:
        return np.zeros(n)
    a = links.astype(np.float64)
    np.fill_diagonal(a, 0.0)
    paths = np.eye(n)  # number of shortest paths from the row to the column
    distance = np.where(np.eye(n, dtype=bool), 0, -1)
    front, steps = np.eye(n), 0
    while front.any():
        steps += 1
        reached = front @ a
        new = (distance < 0) & (reached > 0)
        distance[new] = steps
        front = np.where(new, reached, 0.0)
        paths += front
    dependency = np.zeros((n, n))
    for d in range(steps - 1, 0, -1):  # from the farthest back; step `steps` reached nothing new
        at = distance == d
        share = np.where(at, (1.0 + dependency) / np.where(at, paths, 1.0), 0.0)
        dependency += np.where(distance == d - 1, paths * (share @ a.T), 0.0)
    np.fill_diagonal(dependency, 0.0)  # a source is an end of its paths, not on them
    return np.asarray(dependency.sum(axis=0) / ((n - 1) * (n - 2)))


def networks(table: FlowTable, *, threshold: float = 0.0, empty: EmptyMargin = "zero") -> tuple[pd.DataFrame, Any]:
    """Every city's place in the network and the network as a whole, in every covered year.

    Parameters
    ----------
    threshold : a flow above it is a link.
    empty : intensive margin of a city that sends to none: 0, as the paper's averages have it, or NaN.

    Returns
    -------
    cities : rows of ``CITY_NETWORK``
    years : rows of ``NETWORK_YEAR``

    Notes
    -----
    ``ex_margin`` counts destinations with a link; ``in_margin`` is the outflow along links over it. ``flow_out`` and
    ``flow_in`` count every flow, links or not.
    """
    import pandas as pd

    if not threshold >= 0:
        raise OptionInvalid(f"threshold = {threshold}", where="threshold", mend="give 0 or more")
    if empty not in ("zero", "nan"):
        raise OptionInvalid(f"no rule {empty!r}", where="empty", mend="zero or nan")
    cities, years = [], []
    for year in table.years.tolist():
        columns, whole = _one_year(table.matrix(year), threshold, 0.0 if empty == "zero" else np.nan)
        cities.append(pd.DataFrame({"city_code": table.codes, "year": np.int32(year), **columns}))
        years.append({"year": year, **whole})
    frame = pd.concat(cities, ignore_index=True).sort_values(["city_code", "year"], ignore_index=True)
    kinds = {"year": np.int32, "n_nodes": np.int32, "n_links": np.int64}
    return frame, pd.DataFrame(years).astype(kinds)


def _one_year(flow: Floats, threshold: float, empty: float) -> tuple[dict[str, Floats], dict[str, Any]]:
    n = len(flow)
    local = np.diag(flow).copy()
    between = flow.copy()
    np.fill_diagonal(between, 0.0)
    links = between > threshold
    either = links | links.T
    others = max(n - 1, 1)
    out, into = links.sum(axis=1), links.sum(axis=0)
    returned = (links & links.T).sum(axis=1)
    along = np.where(links, between, 0.0).sum(axis=1)

    def over(a: Floats, b: Floats, otherwise: float) -> Floats:
        return np.divide(a, b, out=np.full(a.shape, otherwise), where=b > 0)

    columns = {
        "out_degree": out / others,
        "in_degree": into / others,
        "degree": either.sum(axis=1) / others,
        "betweenness_directed": betweenness(links),
        "betweenness": betweenness(either),
        "ex_margin": out.astype(np.float64),
        "in_margin": over(along, out.astype(np.float64), empty),
        "flow_local": local,
        "flow_out": between.sum(axis=1),
        "flow_in": between.sum(axis=0),
        "reciprocity": over(returned.astype(np.float64), out.astype(np.float64), np.nan),
    }
    n_links, total = int(out.sum()), float(flow.sum())
    whole = {
        "n_nodes": n,
        "n_links": n_links,
        "density": n_links / (n * (n - 1)) if n > 1 else np.nan,
        "reciprocity": int(returned.sum()) / n_links if n_links else np.nan,
        "flow_between": float(between.sum()),
        "flow_within": float(local.sum()),
        "local_share": float(local.sum()) / total if total > 0 else np.nan,
    }
    return columns, whole
