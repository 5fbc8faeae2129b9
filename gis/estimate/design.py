"""From a frame and a model to the sample: rows counted away one reason at a time, columns checked, codes for clusters.

In: a pair-year frame, a `Model`. Out: `Design`: arrays of the estimation sample, and the waterfall of its rows.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import TableInvalid
from gis.estimate.condition import rows_where
from gis.estimate.models import Model

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

KEYS = ("pair_id", "year", "city_i", "city_j")


@dataclass(frozen=True, slots=True)
class Step:
    """One step from all rows to the sample."""

    what: str
    """Why rows go."""
    dropped: int
    """Rows that go here and nowhere before."""
    left: int
    """Rows left afterwards."""


@dataclass(frozen=True, slots=True)
class Design:
    """The sample of one model."""

    model: Model
    """What is estimated."""
    y: Floats = field(repr=False)
    """(n,) outcome over ``scales[model.outcome]``."""
    columns: dict[str, Floats] = field(repr=False)
    """Term -> (n,) values over ``scales[term]``, finite."""
    scales: dict[str, float] = field(repr=False)
    """Outcome and terms -> power of two near the standard deviation: libraries drop columns below an absolute size and
    demean to an absolute tolerance: an instrument of 1e-8 would be gone, an outcome of 1e9 demeaned for ever. A power
    of two changes no digit."""
    effects: tuple[Codes, ...] = field(repr=False)
    """(n,) codes 0, 1, ... of every effect."""
    rows: Codes = field(repr=False)
    """(n,) positions of the sample's rows in the frame."""
    pair: Codes = field(repr=False)
    """(n,) codes of pairs."""
    city_i: Codes = field(repr=False)
    """(n,) codes of the pairs' first cities; the same numbering as ``city_j``."""
    city_j: Codes = field(repr=False)
    """(n,) codes of the second cities."""
    pair_i: Codes = field(repr=False)
    """(n_pairs,) code of each pair's first city."""
    pair_j: Codes = field(repr=False)
    """(n_pairs,) code of its second city."""
    n_pairs: int
    """Pairs in the sample."""
    n_cities: int
    """Cities in the sample."""
    n_years: int
    """Years in the sample."""
    n_effects: int
    """Effects that small-sample rules count as parameters; see `counted_effects`."""
    n_singletons: int
    """Rows dropped because an effect had no other row, over all rounds."""
    rounds: int
    """Rounds until no singleton was left."""
    waterfall: tuple[Step, ...]
    """From the rows given to the sample."""

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.y.size)

    def matrix(self, terms: tuple[str, ...]) -> Floats:
        """(n, len(terms)) scaled columns."""
        return np.column_stack([self.columns[t] for t in terms]) if terms else np.empty((self.n, 0))

    def scale(self, terms: tuple[str, ...]) -> Floats:
        """(len(terms),) scales."""
        return np.array([self.scales[t] for t in terms])


def design_from_frame(frame: pd.DataFrame, model: Model) -> Design:
    """Build the sample of a model; missing values, then singletons, leave it, each counted.

    Raises
    ------
    TableInvalid
        A column is missing, is no number or infinite, or nothing is left of the sample.
    OptionInvalid
        The condition ``where`` cannot be read.
    """
    _check_columns(frame, model)
    steps = [Step("rows of the panel", 0, len(frame))]
    keep = np.ones(len(frame), dtype=bool)

    def drop(what: str, gone: NDArray[np.bool_]) -> None:
        now = keep & ~gone
        n = int(now.sum())
        lost = steps[-1].left - n
        keep[:] = now
        if lost or what.startswith(("not in", "singleton")):
            steps.append(Step(what, lost, n))
        if n == 0:
            raise TableInvalid(
                f"no row is left: {', '.join(f'{s.what} -{s.dropped}' for s in steps[1:])}",
                where=model.name,
                mend=_mend_empty(what),
            )

    if model.where:
        drop(f"not in the sample {model.where}", ~rows_where(frame, model.where, model.name))
    numbers = {c: _numbers(frame[c], c) for c in model.columns}
    for column in model.columns:  # the outcome and the regressors first: METHOD 3.1's order of operations
        drop(f"{column} missing", np.isnan(numbers[column]))
    for column in dict.fromkeys((*KEYS, *model.effect_columns)):
        drop(f"{column} missing", frame[column].isna().to_numpy())
    effects = tuple(_effect_codes(frame, e, keep) for e in model.effects)
    before = steps[-1].left
    inside, rounds = without_singletons(effects, before)
    gone = np.zeros(len(frame), dtype=bool)
    gone[np.flatnonzero(keep)[~inside]] = True
    drop(f"singletons of {', '.join(model.effects) or 'nothing'} ({rounds} rounds)", gone)
    rows = np.flatnonzero(keep)
    city_i, city_j, n_cities = _joint_codes(frame["city_i"].iloc[rows], frame["city_j"].iloc[rows])
    pair = _codes(frame["pair_id"].to_numpy()[rows])
    pair_i, pair_j = _cities_of_pairs(model, pair, city_i, city_j)
    columns, scales = _terms(model, numbers, rows)
    effects = tuple(_codes(e[inside]) for e in effects)
    return Design(
        model=model,
        y=columns[model.outcome],
        columns=columns,
        scales=scales,
        effects=effects,
        rows=rows,
        pair=pair,
        city_i=city_i,
        city_j=city_j,
        pair_i=pair_i,
        pair_j=pair_j,
        n_pairs=int(pair.max()) + 1,
        n_cities=n_cities,
        n_years=len(np.unique(frame["year"].to_numpy()[rows])),
        n_effects=counted_effects(effects, pair),
        n_singletons=before - int(rows.size),
        rounds=rounds,
        waterfall=tuple(steps),
    )


def _mend_empty(what: str) -> str:
    if what.startswith("singletons"):
        return "every effect has one row: give each of their values two rows or more, or take the effect out"
    if what.startswith("not in the sample"):
        return "widen the condition (estimate.where, or what follows if in the formula)"
    return f"fill the column, or leave it out of the model ({what})"


def counted_effects(effects: tuple[Codes, ...], pair: Codes) -> int:
    """Effects that the small-sample rule counts as parameters: those of years, not those nested in pairs.

    Notes
    -----
    An effect is nested when each of its values lies in one pair; then it lies in one first and one second city too.
    One effect of each further set is redundant and not counted; the intercept, which the sets hold, is counted once.
    Same as reghdfe and fixest ("nonnested").
    """
    if not effects:
        return 1
    counts = [int(codes.max()) + 1 for codes in effects]
    nested = [is_nested(codes, pair) for codes in effects]
    inside = sum(c for c, is_inside in zip(counts, nested, strict=True) if is_inside)
    return sum(counts) - (len(counts) - 1) - inside + sum(nested)


def is_nested(inner: Codes, outer: Codes) -> bool:
    """Whether each value of one code goes with one value of the other only."""
    seen = np.zeros(int(inner.max()) + 1, dtype=np.int64)
    seen[inner] = outer  # the last one wins; nested means that it was the only one
    return bool(np.array_equal(seen[inner], outer))


def _cities_of_pairs(model: Model, pair: Codes, city_i: Codes, city_j: Codes) -> tuple[Codes, Codes]:
    found = []
    for name, city in (("city_i", city_i), ("city_j", city_j)):
        of_pair = np.zeros(int(pair.max()) + 1, dtype=np.int64)
        of_pair[pair] = city
        if not np.array_equal(of_pair[pair], city):
            raise TableInvalid(
                f"a pair has two different {name}",
                where=model.name,
                mend="city_i and city_j are the pair's own, by code; which is more developed stands in hi and lo",
            )
        found.append(of_pair)
    return found[0], found[1]


def _check_columns(frame: pd.DataFrame, model: Model) -> None:
    needed = dict.fromkeys((*KEYS, *model.columns, *model.effect_columns))
    missing = [c for c in needed if c not in frame.columns]
    if missing:
        near = dict.fromkeys(n for c in missing for n in difflib.get_close_matches(c, map(str, frame.columns), n=1))
        raise TableInvalid(
            f"the panel has no column {', '.join(missing)}",
            where=f"{model.name}: {model.formula}",
            mend=(f"did you mean {', '.join(near)}? Else " if near else "")
            + f"join a table with {', '.join(missing)} by pair_id and year ([estimate] tables), or change the model",
        )
    if frame.duplicated(["pair_id", "year"]).any():
        n = int(frame.duplicated(["pair_id", "year"]).sum())
        raise TableInvalid(
            f"{n} rows repeat a pair and year", where=model.name, mend="keep one row for each pair_id and year"
        )


def _numbers(values: pd.Series[Any], name: str) -> Floats:
    import pandas as pd

    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise TableInvalid(
            f"column {name} is {values.dtype}, not a number", where=name, mend="make a column of 0 and 1, or of numbers"
        )
    out = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(out).any():
        raise TableInvalid(
            f"column {name} has {int(np.isinf(out).sum())} infinite values",
            where=name,
            mend="make them missing (NaN), or take the logarithm of 1 + x",
        )
    return out


def _codes(values: NDArray[Any]) -> Codes:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _effect_codes(frame: pd.DataFrame, effect: str, keep: NDArray[np.bool_]) -> Codes:
    """Codes of an effect over the rows kept; ``a^b`` counts combinations."""
    import pandas as pd

    rows = np.flatnonzero(keep)
    codes = np.zeros(rows.size, dtype=np.int64)
    for column in effect.split("^"):
        part = pd.factorize(frame[column].iloc[rows])[0]
        codes = _codes(codes * (int(part.max()) + 1) + part)
    return codes


def _joint_codes(first: pd.Series[Any], second: pd.Series[Any]) -> tuple[Codes, Codes, int]:
    """Codes of both columns over one roster."""
    import pandas as pd

    (a, of_a), (b, of_b) = pd.factorize(first), pd.factorize(second)
    place = {city: k for k, city in enumerate(dict.fromkeys([*map(str, of_a), *map(str, of_b)]))}
    to_a, to_b = (np.array([place[str(city)] for city in roster], dtype=np.int64) for roster in (of_a, of_b))
    return to_a[a], to_b[b], len(place)


def _terms(model: Model, numbers: dict[str, Floats], rows: Codes) -> tuple[dict[str, Floats], dict[str, float]]:
    columns, scales = {}, {}
    for term in (*model.terms, *model.instruments, model.outcome):
        first, *others = term.split(":")
        values = numbers[first][rows]
        for other in others:
            values = values * numbers[other][rows]
        spread = float(np.std(values)) or float(np.abs(values).max()) or 1.0
        scales[term] = float(2.0 ** np.round(np.log2(spread)))
        columns[term] = values / scales[term]
    return columns, scales


def without_singletons(effects: tuple[Codes, ...], n: int) -> tuple[NDArray[np.bool_], int]:
    """Rows that remain when rows alone in an effect are dropped, again and again until there is none.

    Returns
    -------
    inside : (n,) bool
    rounds : int
        Passes over all effects that dropped something.

    Notes
    -----
    A row alone in its effect is fitted perfectly and moves no coefficient; it would only inflate N and the number of
    clusters. Source: Correia (2015), Singletons, cluster-robust standard errors and fixed effects; METHOD 6.3.
    """
    inside = np.ones(n, dtype=bool)
    rounds = 0
    while True:
        before = inside.sum()
        for codes in effects:
            counts = np.bincount(codes[inside], minlength=int(codes.max()) + 1)
            inside &= counts[codes] != 1
        if inside.sum() == before:
            return inside, rounds
        rounds += 1
