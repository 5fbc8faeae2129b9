"""The historical instrument: a pair's share of all pairs' products of counts, times the national net flow (METHOD 5).

In: the pair panel, directed flows, counts of cities (telegraph offices of 1907, telephones of 1984). Out:
``Instrument``: the instrument row by row, the national flow year by year, and what there is to know about both.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.panel.flows import oriented_flows
from gis.panel.orientation import TieRule
from gis.panel.pairs import balance

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.historical.exposure import Exposure

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NationalRule = Literal["level", "sum_ln", "asinh", "ln1p"]
LeaveOut = Literal["no", "loo", "loo_city"]
ZeroRule = Literal["keep", "plus1", "drop_zero"]
Denominator = Literal["all", "sample"]


@dataclass(frozen=True, slots=True)
class InstrumentOptions:
    """How the instrument is built; the defaults are those of METHOD 5."""

    national: NationalRule = "level"
    """A2: ``level`` sum(F_HL - F_LH); ``sum_ln`` sum of ln_dkf_net; ``asinh`` of the level; ``ln1p`` ln(1 + sum F_HL) -
    ln(1 + sum F_LH)."""
    lag: int = 1
    """A3: years between the row and the national flow: 1, 0 or 2. The flow of year s is ordered by levels of s."""
    leave_out: LeaveOut = "no"
    """A4: ``loo``: the national flow without the row's own pair; ``loo_city``: without any pair of its two cities."""
    denominator: Denominator = "all"
    """A5: pairs that the shares are of: all of the city list, or those with a Bal in some row."""
    zeros: ZeroRule = "keep"
    """Pairs with a city without offices: kept at 0; everywhere (1 + n_i)(1 + n_j); or NaN."""
    iv_scale: float = 1.0
    """The instrument is multiplied by this; the first stage's coefficient is divided by it, 2SLS does not move."""

    def __post_init__(self) -> None:
        offered: dict[str, tuple[Any, ...]] = {
            "national": get_args(NationalRule),
            "lag": (1, 0, 2),
            "leave_out": get_args(LeaveOut),
            "denominator": get_args(Denominator),
            "zeros": get_args(ZeroRule),
        }
        for name, values in offered.items():
            if getattr(self, name) not in values:
                raise OptionInvalid(
                    f"no {name} {getattr(self, name)!r}", where=name, mend=f"one of {', '.join(map(str, values))}"
                )
        if not (np.isfinite(self.iv_scale) and self.iv_scale > 0):
            raise OptionInvalid(f"iv_scale = {self.iv_scale}", where="iv_scale", mend="give a number above 0")


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument, and what it is made of."""

    rows: pd.DataFrame = field(repr=False)
    """Rows as in the panel: ``pair_id, year, share, national_net`` (after leaving out), ``iv``."""
    by_year: pd.DataFrame = field(repr=False)
    """``year, flow_year, national_net`` (nothing left out), ``n_pairs_net, dkf_htol_sum, dkf_ltoh_sum``."""
    total: float
    """S, the sum of the products over the pairs of the denominator."""
    n_cities: int
    """Cities of the list."""
    n_cities_unknown: int
    """Cities without a count: their pairs have no instrument."""
    n_cities_zero: int
    """Cities with a count of 0."""
    kind: str
    """How offices were counted: hard, expected, split, given."""
    options: InstrumentOptions
    """How it was built."""
    notes: tuple[str, ...] = ()
    """What a reader must know though the numbers stand."""


def instrument(
    pairs: pd.DataFrame,
    flows: pd.DataFrame,
    exposure: Exposure,
    options: InstrumentOptions | None = None,
    *,
    cities: tuple[str, ...] | None = None,
    after: pd.DataFrame | None = None,
    drop_unknown: bool = False,
) -> Instrument:
    """Build the instrument for every row of the pair panel.

    Parameters
    ----------
    pairs : the whole panel of `gis.panel.balance`, not a sample of it: the national flow sums over its rows.
    flows : ``src, dst, year, n``; see `gis.panel.flows.oriented_flows`.
    exposure : counts of cities; a city of the list that is not in it is unknown for counts from a table, and an error
        for offices assigned to polygons.
    cities : the city list; default: the cities of ``pairs``.
    after : for ``lag = 0``: what `rows_after` makes. Without it the last row year has no national flow, because flows
        of a year are ordered by the row after it.
    drop_unknown : leave out flows of cities that are not in the panel.

    Returns
    -------
    Instrument
        ``iv`` = iv_scale * share * N, with N dated as the options say. It is there for rows without Bal too.

    Raises
    ------
    TableInvalid
        S = 0: fewer than two cities have an office. A column is missing.
    CodeInvalid
        A city is not in the layer the offices were assigned to; a flow names an unknown city.

    Warns
    -----
    UserWarning
        N changes its sign between years: the instrument then pushes in different directions in different years.
    """
    import pandas as pd

    how = options or InstrumentOptions()
    panel = _Panel.read(pairs, cities)
    known = exposure.for_cities(panel.codes, unknown="nan" if exposure.kind == "given" else "error")
    share, total = _shares(panel, known, how)
    parts = _national_parts(panel, _labels(pairs, after, how.lag), flows, how, drop_unknown)
    national = _combined(how.national, *parts.sums)
    at = parts.place(panel.year)
    left = _left_out(how, parts, panel, at)
    net = np.where(at >= 0, national[at] if left is None else left, np.nan)
    changes = sign_changes(national)
    notes = []
    if changes:
        notes.append(
            f"the national net flow changes its sign {changes} time(s) between {parts.row_years.min()} and "
            f"{parts.row_years.max()}"
        )
        warnings.warn(notes[0], stacklevel=2)
    unknown = int(np.isnan(known.counts).sum())
    if unknown:
        notes.append(f"{unknown} of {len(panel.codes)} cities have no count: their pairs have no instrument")
    rows = pd.DataFrame(
        {
            "pair_id": pairs["pair_id"].to_numpy(),
            "year": pairs["year"].to_numpy(),
            "share": share,
            "national_net": net,
            "iv": how.iv_scale * share * net,
        },
        index=pairs.index,
    )
    return Instrument(
        rows, parts.by_year(national), total, len(panel.codes), unknown, int((known.counts == 0).sum()),
        known.kind, how, tuple(notes),
    )  # fmt: skip


def diagnostics(found: Instrument) -> pd.DataFrame:
    """What decides whether the instrument can work: ``statistic, value``.

    ``share_variance_left`` is the part of the instrument's variance that pair and year effects do not take away: what
    the first stage has to live on. 0 means that the instrument is collinear with the effects.
    """
    import pandas as pd

    rows = found.rows
    by_pair = rows.groupby("pair_id", sort=False)["share"].first().to_numpy()
    known, iv = by_pair[~np.isnan(by_pair)], rows["iv"].to_numpy()
    there = np.isfinite(iv)
    pair, year = rows["pair_id"].to_numpy()[there], rows["year"].to_numpy()[there]
    variance, left = np.nan, np.nan
    if there.any():
        variance, left = float(np.var(iv[there])), float(np.mean(two_way_residuals(iv[there], pair, year) ** 2))
    net = found.by_year["national_net"].to_numpy()
    values: dict[str, float] = {
        "n_rows": len(rows),
        "n_rows_iv": int(there.sum()),
        "n_pairs": by_pair.size,
        "n_pairs_without": by_pair.size - known.size,
        "n_pairs_zero": int((known == 0).sum()),
        "share_pairs_zero": float((known == 0).mean()) if known.size else np.nan,
        "n_cities": found.n_cities,
        "n_cities_zero": found.n_cities_zero,
        "n_cities_unknown": found.n_cities_unknown,
        "sum_of_products": found.total,
        "iv_scale": found.options.iv_scale,
        "iv_sd": variance**0.5,
        "iv_sd_within": left**0.5,
        "share_variance_left": left / variance if variance > 0 else np.nan,
        "n_years_net": int(np.isfinite(net).sum()),
        "n_sign_changes": sign_changes(net),
        "n_pairs_net_min": float(found.by_year["n_pairs_net"].min()),
        "n_pairs_net_max": float(found.by_year["n_pairs_net"].max()),
    }
    return pd.DataFrame({"statistic": list(values), "value": [float(v) for v in values.values()]})


def sign_changes(series: Floats) -> int:
    """How often a series changes its sign; zeros and missing years are passed over."""
    signs = np.sign(series[np.isfinite(series) & (series != 0)])
    return int((signs[1:] != signs[:-1]).sum())


def two_way_residuals(values: Floats, pair: Any, year: Any) -> Floats:
    """What is left of values after pair and year effects, exactly, in a panel with any rows missing.

    Notes
    -----
    Frisch and Waugh: pair means are taken from the values and from the year dummies; the latter are few, so that their
    normal equations (n_years by n_years) are solved directly. They have as many null directions as the panel has
    unconnected parts: the least-squares solution of least norm leaves the residuals unique.
    """
    _, p = np.unique(pair, return_inverse=True)
    _, t = np.unique(year, return_inverse=True)
    if not values.size:
        return np.empty(0)
    n_pairs, n_years = int(p.max()) + 1, int(t.max()) + 1
    count = np.bincount(p, minlength=n_pairs)
    scale = max(float(np.abs(values).max()), np.finfo(float).tiny)

    def by_pair(v: Floats) -> Floats:
        return np.asarray(v - (np.bincount(p, weights=v, minlength=n_pairs) / count)[p], np.float64)

    seen = np.zeros((n_pairs, n_years))
    np.add.at(seen, (p, t), 1.0)
    gram = np.diag(np.bincount(t, minlength=n_years).astype(np.float64)) - seen.T @ (seen / count[:, None])
    left = by_pair(values / scale)
    right = np.bincount(t, weights=left, minlength=n_years)
    effect = np.asarray(np.linalg.lstsq(gram, right, rcond=None)[0], np.float64)
    return np.asarray(scale * (left - by_pair(effect[t])), np.float64)


# --- the parts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Panel:
    """Where each row's two cities stand in the list."""

    codes: tuple[str, ...]
    i: Ints
    j: Ints
    year: Ints
    has_bal: NDArray[np.bool_]

    @classmethod
    def read(cls, pairs: pd.DataFrame, cities: tuple[str, ...] | None) -> _Panel:
        import pandas as pd

        needed = ("pair_id", "year", "city_i", "city_j", "hi", "lo", "bal")
        absent = [name for name in needed if name not in pairs]
        if absent or not len(pairs):
            raise TableInvalid(
                f"the panel has {len(pairs)} rows and misses {', '.join(absent) or 'no column'}",
                where=f"columns {', '.join(map(str, pairs.columns))}",
                mend="give the rows of pair_year, all of them",
            )
        both = [pairs[name].astype(object) for name in ("city_i", "city_j")]
        codes = tuple(sorted({str(code) for one in both for code in one.unique()} | set(cities or ())))
        i, j = (np.asarray(pd.Index(codes, dtype=object).get_indexer(pd.Index(one)), np.int64) for one in both)
        return cls(codes, i, j, pairs["year"].to_numpy(np.int64), pairs["bal"].notna().to_numpy())


def _shares(panel: _Panel, known: Exposure, how: InstrumentOptions) -> tuple[Floats, float]:
    """(n_rows,) share of the row's pair, and S."""
    a, b = (index.astype(np.int64) for index in np.triu_indices(len(panel.codes), 1))
    product = known.products(a, b)
    if how.zeros == "plus1":  # E[(1 + n_i)(1 + n_j)]
        product = 1 + known.counts[a] + known.counts[b] + product
    low, high = np.minimum(panel.i, panel.j), np.maximum(panel.i, panel.j)
    n = len(panel.codes)
    row = low * n - low * (low + 1) // 2 + (high - low - 1)  # the order of triu_indices
    summed = product
    if how.denominator == "sample":
        inside = np.zeros(product.size, bool)
        inside[row[panel.has_bal]] = True
        summed = product[inside]
    total = float(np.nansum(summed))
    if not total > 0:
        raise TableInvalid(
            f"S = {total:g}: no two cities of the list have offices",
            where=f"{int((known.counts > 0).sum())} of {n} cities have a count above 0",
            mend='check the codes and the assignment of the offices, or set zeros = "plus1"',
        )
    share = product / total
    if how.zeros == "drop_zero":
        share[share == 0] = np.nan
    return share[row], total


@dataclass(frozen=True, slots=True)
class _National:
    """Flows of every pair by row year of the label that orders them, and their sums."""

    row_years: Ints
    """Row years that have a sum."""
    lag: int
    sums: tuple[Floats, ...]
    """(n_row_years,) sums of F_HL, F_LH and ln_dkf_net; NaN where no pair is defined."""
    n_pairs: Ints
    """(n_row_years,) pairs behind the sums."""
    own: tuple[Floats, ...]
    """(n_rows,) the row's own pair's part in the sum it is compared with; 0 where it has none."""
    of_city: tuple[Floats, ...]
    """(n_row_years, n_cities) sums over the pairs of a city."""

    def place(self, year: Ints) -> Ints:
        """Position of each row's year among ``row_years``."""
        at = np.searchsorted(self.row_years, year)
        return np.where(self.row_years[np.minimum(at, self.row_years.size - 1)] == year, at, -1)

    def by_year(self, national: Floats) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(
            {
                "year": self.row_years.astype(np.int32),
                "flow_year": (self.row_years - self.lag).astype(np.int32),
                "national_net": national,
                "n_pairs_net": self.n_pairs.astype(np.int32),
                "dkf_htol_sum": self.sums[0],
                "dkf_ltoh_sum": self.sums[1],
            }
        )


def _national_parts(
    panel: _Panel, labels: pd.DataFrame, flows: pd.DataFrame, how: InstrumentOptions, drop_unknown: bool
) -> _National:
    oriented = oriented_flows(labels, flows, lag=1, drop_unknown=drop_unknown)
    # The flow of year s is ordered by the levels of s, that is by hi and lo of row s + 1; row t looks at s = t - lag.
    row_year = oriented["year"].to_numpy(np.int64) - 1 + how.lag
    years = np.unique(panel.year)
    y = np.searchsorted(years, row_year)
    inside = (y < years.size) & (years[np.minimum(y, years.size - 1)] == row_year)
    member = _Panel.read(labels, panel.codes)
    values = tuple(oriented[name].to_numpy() for name in ("dkf_htol", "dkf_ltoh", "ln_dkf_net"))
    defined = inside & np.isfinite(values[0])
    y, n_cities = np.where(inside, y, 0), len(panel.codes)
    n_pairs = np.bincount(y[defined], minlength=years.size)
    sums, of_city, own = [], [], []
    key = (y * n_cities + member.i) * n_cities + member.j
    order = np.argsort(np.where(inside, key, -1), kind="stable")
    ranked = np.where(inside, key, -1)[order]
    wanted = (np.searchsorted(years, panel.year) * n_cities + panel.i) * n_cities + panel.j
    at = np.minimum(np.searchsorted(ranked, wanted), ranked.size - 1)
    has_own = ranked[at] == wanted
    for value in values:
        part = np.where(defined, value, 0.0)
        total = np.bincount(y, weights=part, minlength=years.size)
        sums.append(np.where(n_pairs > 0, total, np.nan))
        both = [
            np.bincount(y * n_cities + c, weights=part, minlength=years.size * n_cities) for c in (member.i, member.j)
        ]
        of_city.append(np.asarray(both[0] + both[1], np.float64).reshape(years.size, n_cities))
        own.append(np.where(has_own, part[order[at]], 0.0))
    return _National(years, how.lag, tuple(sums), n_pairs, tuple(own), tuple(of_city))


def rows_after(levels: pd.DataFrame, *, tie: TieRule = "previous") -> pd.DataFrame:
    """Rows of the year after the last one, which have an orientation and nothing else: what ``lag = 0`` needs.

    Parameters
    ----------
    levels, tie : as the panel was made from, see `gis.panel.balance`.
    """
    import pandas as pd

    last = int(levels["year"].max())
    ahead = levels[levels["year"] == last][["city_code"]].assign(year=last + 1, level=np.nan)
    both = pd.concat([levels[["city_code", "year", "level"]], ahead], ignore_index=True)
    return balance(both, tie=tie, years=(last + 1, last + 1))


def _labels(pairs: pd.DataFrame, after: pd.DataFrame | None, lag: int) -> pd.DataFrame:
    """Rows whose hi and lo order the flows; without a lag, those after the last year too."""
    import pandas as pd

    if lag != 0 or after is None:
        return pairs
    text = ("hi", "lo", "city_i", "city_j")  # categories of two frames need not be the same
    return pd.concat(
        [one.assign(**{name: one[name].astype(object) for name in text}) for one in (pairs, after)], ignore_index=True
    )


def _combined(rule: NationalRule, htol: Floats, ltoh: Floats, ln_net: Floats) -> Floats:
    """N from its sums (A2)."""
    if rule == "sum_ln":
        return ln_net
    if rule == "ln1p":
        return np.asarray(np.log1p(htol) - np.log1p(ltoh))
    return np.asarray(np.arcsinh(htol - ltoh)) if rule == "asinh" else htol - ltoh


def _left_out(how: InstrumentOptions, parts: _National, panel: _Panel, at: Ints) -> Floats | None:
    """(n_rows,) N without the row's own pair, or without all pairs of its cities; None for nothing left out (A4)."""
    if how.leave_out == "no":
        return None
    rest = []
    for total, own, of_city in zip(parts.sums, parts.own, parts.of_city, strict=True):
        gone = own
        if how.leave_out == "loo_city":
            gone = of_city[at, panel.i] + of_city[at, panel.j] - own  # the pair itself is in both cities' sums
        rest.append(total[at] - gone)
    # Sums of counts are exact; of logarithms and fractions, a remainder that should be 0 may be -1e-16.
    if how.national != "sum_ln":
        rest[:2] = [np.maximum(value, 0.0) for value in rest[:2]]
    return _combined(how.national, *rest)
