"""Columns freed of the effects, and what that leaves of them: absorbed, constant and collinear terms are named.

In: a `Design`. Out: `Within`: demeaned columns of the terms that can be estimated, and a note for each that cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate.design import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ABSORBED = 1e-12
"""Share of a column's variance below which the effects have taken all of it: demeaning leaves rounding of about 1e-8
of a standard deviation behind, 1e-16 of the variance, and a real variable keeps far more than 1e-12."""

TOLERANCE = 1e-13
"""Of demeaning, as a share of a column's largest value: 500 times the rounding of one, so that it is always reached.
pyhdfe's own, 1e-8 in the column's unit, leaves too much for products with columns that are not demeaned (`spread`)."""

COLLINEAR = 1e-10
"""Share of a demeaned column's variance below which the terms before it explain it: 1e-5 of a standard deviation."""


@dataclass(frozen=True, slots=True)
class Within:
    """Demeaned columns of the estimable terms."""

    y: Floats = field(repr=False)
    """(n,) outcome."""
    exog: Floats = field(repr=False)
    """(n, k_exog)."""
    endog: Floats = field(repr=False)
    """(n, k_endog)."""
    z: Floats = field(repr=False)
    """(n, n_instruments), the excluded instruments."""
    exog_terms: tuple[str, ...]
    """Terms of ``exog``."""
    endog_terms: tuple[str, ...]
    """Terms of ``endog``."""
    z_terms: tuple[str, ...]
    """Terms of ``z``."""
    notes: tuple[str, ...]
    """What was left out, and why."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms of the coefficients, endogenous first."""
        return (*self.endog_terms, *self.exog_terms)

    @property
    def x(self) -> Floats:
        """(n, k) regressors, endogenous first."""
        return np.column_stack([self.endog, self.exog])

    @property
    def instruments(self) -> Floats:
        """(n, l) all instruments: the excluded ones, then the exogenous regressors."""
        return np.column_stack([self.z, self.exog])


def demean(design: Design, columns: Floats) -> Floats:
    """Take the effects of a design out of columns, jointly; without effects, the mean.

    Notes
    -----
    pyhdfe (Gortmaker and Tarascina 2020), alternating projections until no value moves by more than `TOLERANCE` of its
    column's largest.
    """
    columns = columns - columns.mean(axis=0)
    if not design.effects:
        return np.asarray(columns)
    import pyhdfe

    ids = np.column_stack(design.effects)
    absorb = pyhdfe.create(
        ids, drop_singletons=False, compute_degrees=False, residualize_method="map", options={"tol": TOLERANCE}
    )
    largest = np.abs(columns).max(axis=0)
    largest[largest == 0] = 1.0
    return np.asarray(absorb.residualize(np.ascontiguousarray(columns / largest)) * largest)


def within_from_design(design: Design) -> Within:
    """Demean every column of a design and leave out what cannot be estimated, with a note for each.

    Raises
    ------
    OptionInvalid
        An endogenous regressor or an instrument does not vary once the effects are taken out, or nothing does.
    TableInvalid
        The outcome does not vary, or there is one pair only.
    """
    model = design.model
    if design.n_pairs < 2:
        raise TableInvalid(
            "one pair only: standard errors clustered by pair need two clusters at the least",
            where=model.name,
            mend="widen the sample (estimate.where), or fill the missing columns; the row waterfall names them",
        )
    terms = (*model.endog, *model.instruments, *model.exog)
    raw = np.column_stack([design.y, design.matrix(terms)])
    clean = demean(design, raw)
    total = ((raw - raw.mean(axis=0)) ** 2).sum(axis=0)
    share = np.divide((clean**2).sum(axis=0), total, out=np.zeros(total.size), where=total > 0)
    of = dict(zip(terms, share[1:], strict=True))
    if share[0] < ABSORBED:
        raise TableInvalid(
            f"{model.outcome} does not vary within {_effects(design)}",
            where=model.name,
            mend="give each pair two years or more, or take an effect out of the model",
        )
    for term in (*model.endog, *model.instruments):
        if of[term] < ABSORBED:
            raise _no_variation(design, term, raw[:, 1 + terms.index(term)])
    notes = [f"{t} left out: {_why(design, t, raw[:, 1 + terms.index(t)])}" for t in model.exog if of[t] < ABSORBED]
    at = {term: clean[:, k + 1] for k, term in enumerate(terms)}
    exog, dropped = _independent([t for t in model.exog if of[t] >= ABSORBED], at)
    notes += [f"{t} left out: collinear with {', '.join(others)}" for t, others in dropped]
    z, dropped = _independent([*exog, *model.instruments], at)
    notes += [f"instrument {t} left out: collinear with {', '.join(others)}" for t, others in dropped]
    z = [t for t in z if t in model.instruments]
    _check_identified(model.name, list(model.endog), exog, z, at, notes)
    return Within(
        clean[:, 0], _stack(exog, at), _stack(list(model.endog), at), _stack(z, at),
        tuple(exog), model.endog, tuple(z), tuple(notes),
    )  # fmt: skip


def _stack(terms: list[str], at: dict[str, Floats]) -> Floats:
    return np.column_stack([at[t] for t in terms]) if terms else np.empty((next(iter(at.values())).size, 0))


def _effects(design: Design) -> str:
    return " and ".join(design.model.effects) or "the sample"


def _why(design: Design, term: str, values: Floats) -> str:
    if not np.any(values):
        return f"it is 0 in all {design.n} rows of the sample"
    if np.all(values == values[0]):
        return f"it has one value in all {design.n} rows of the sample"
    return f"the effects of {_effects(design)} absorb it (no variation of its own is left within them)"


def _no_variation(design: Design, term: str, values: Floats) -> OptionInvalid:
    kind = "endogenous regressor" if term in design.model.endog else "instrument"
    mend = (
        "let it vary within pairs beyond the years: a pair's fixed share times a national series, or its product "
        "with a column that varies"
        if np.any(values)
        else f"look at {term}: the table behind it holds no office in these cities, or was joined by the wrong code"
    )
    return OptionInvalid(f"{kind} {term}: {_why(design, term, values)}", where=design.model.name, mend=mend)


def _independent(terms: list[str], at: dict[str, Floats]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Terms that those before them do not explain, and those that they do with the terms that explain them.

    On the correlations of the columns, so that the columns are passed once.
    """
    columns = _stack(terms, at)
    inner = columns.T @ columns
    lengths = np.sqrt(np.diag(inner))
    like = inner / np.outer(lengths, lengths)
    kept: list[int] = []
    dropped: list[tuple[str, list[str]]] = []
    for k, term in enumerate(terms):
        weights = np.linalg.solve(like[np.ix_(kept, kept)], like[kept, k])
        if 1 - like[kept, k] @ weights < COLLINEAR:
            dropped.append((term, [terms[q] for q, w in zip(kept, weights, strict=True) if abs(w) > 1e-6]))
        else:
            kept.append(k)
    return [terms[k] for k in kept], dropped


def _check_identified(
    name: str, endog: list[str], exog: list[str], z: list[str], at: dict[str, Floats], notes: list[str]
) -> None:
    said = f" ({'; '.join(notes)})" if notes else ""
    if not endog and not exog:
        raise OptionInvalid(
            f"no regressor is left{said}", where=name, mend="name a regressor that varies within the effects"
        )
    if len(z) < len(endog):
        raise OptionInvalid(
            f"{len(endog)} endogenous regressors and {len(z)} usable instruments: not identified{said}",
            where=name,
            mend="name an instrument that is not a combination of the regressors",
        )
    _, dropped = _independent([*exog, *endog], at)
    if dropped:
        raise OptionInvalid(
            f"endogenous regressor {dropped[0][0]} is collinear with {', '.join(dropped[0][1])}",
            where=name,
            mend="leave one of them out of the model",
        )
