"""Models: by name, as the paper numbers them, or written freely as a formula.

In: a name or ``outcome ~ regressors | effects | endogenous ~ instruments if condition``. Out: `Model`, which knows its
columns.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from itertools import combinations

from gis.errors import OptionInvalid

CONTROLS = ("hsr", "ts", "ipp")
"""Controls of equations (1) and (2): common high-speed rail, technological similarity, intellectual-property cities.
Source: METHOD 4.3."""

HTOL, LTOH, NET = "ln_dkf_htol", "ln_dkf_ltoh", "ln_dkf_net"
BOTH_WAYS = ("pair_id", "year")
TELEGRAPH, TELEPHONE = "iv_hist_tel", "iv_1984_tel"

_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")


@dataclass(frozen=True, slots=True)
class Model:
    """A linear model of the pair panel."""

    name: str
    """Short name, the key in tables."""
    outcome: str
    """Column on the left."""
    exog: tuple[str, ...] = ()
    """Terms taken as exogenous: a column, or columns joined by ``:`` for their product."""
    effects: tuple[str, ...] = BOTH_WAYS
    """Columns whose every value gets an effect of its own; ``a^b`` for combinations. Empty: one intercept."""
    endog: tuple[str, ...] = ()
    """Terms that are instrumented."""
    instruments: tuple[str, ...] = ()
    """Terms left out of the model that move ``endog``."""
    title: str = ""
    """Head of the column in a table; empty: the name."""
    where: str | None = None
    """Rows to use, as a condition of `gis.estimate.condition`."""

    def __post_init__(self) -> None:
        if not self.exog and not self.endog:
            raise OptionInvalid("the model has no regressor", where=self.name, mend="bal ~ ln_dkf_net | pair_id + year")
        named = [*self.exog, *self.endog, *self.instruments]
        twice = sorted({t for t in named if named.count(t) > 1} | ({self.outcome} & set(named)))
        if twice:
            raise OptionInvalid(
                f"{', '.join(twice)} stands in the model twice", where=self.name, mend="name each term once"
            )
        if len(self.instruments) < len(self.endog):
            raise OptionInvalid(
                f"{len(self.endog)} endogenous regressors and {len(self.instruments)} instruments: not identified",
                where=self.formula,
                mend="name at least as many instruments as endogenous regressors",
            )
        if self.instruments and not self.endog:
            raise OptionInvalid(
                "instruments without an endogenous regressor", where=self.formula, mend="| endogenous ~ instruments"
            )

    @property
    def formula(self) -> str:
        """The model as `model_from_formula` reads it."""
        parts = [f"{self.outcome} ~ {' + '.join(self.exog) or '1'}", " + ".join(self.effects) or "0"]
        if self.endog:
            parts.append(f"{' + '.join(self.endog)} ~ {' + '.join(self.instruments)}")
        return " | ".join(parts)

    @property
    def terms(self) -> tuple[str, ...]:
        """Regressors in the order of the coefficients: endogenous first, as they are what the model is about."""
        return (*self.endog, *self.exog)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the frame that hold numbers of the model, outcome first, each once."""
        terms = (self.outcome, *self.endog, *self.exog, *self.instruments)
        return tuple(dict.fromkeys(c for term in terms for c in term.split(":")))

    @property
    def effect_columns(self) -> tuple[str, ...]:
        """Columns of the frame that the effects are made of."""
        return tuple(dict.fromkeys(c for effect in self.effects for c in effect.split("^")))


def model_from_formula(name: str, formula: str, *, title: str = "", where: str | None = None) -> Model:
    """Read ``outcome ~ regressors | effects | endogenous ~ instruments``; the last two parts may be left out.

    ``a:b`` is a product, ``a*b`` is ``a + b + a:b``, ``a^b`` among the effects a combination, ``0`` or ``1`` nothing.
    Rows to use may follow: ``... if year >= 2010 and hsr == 1``; ``where`` then holds as well.

    Raises
    ------
    OptionInvalid
        It cannot be read, or names no identified model.
    """
    formula, said, condition = (part.strip() for part in re.split(r"(\bif\b|$)", formula, maxsplit=1))
    if said and not condition:
        raise _unreadable(name, formula, "no condition after if")
    where = f"({where}) and ({condition})" if where and condition else where or condition or None
    parts = [part.strip() for part in formula.split("|")]
    sides = parts[0].split("~")
    if len(sides) != 2 or len(parts) > 3:
        raise _unreadable(name, formula, "one ~ before the first |, and at most two |")
    outcome = sides[0].strip()
    if not _NAME.fullmatch(outcome):
        raise _unreadable(name, formula, f"{outcome!r} is no column name")
    iv = parts[2].split("~") if len(parts) == 3 else ["", ""]
    if len(iv) != 2:
        raise _unreadable(name, formula, "the third part is endogenous ~ instruments")
    return Model(
        name=name,
        outcome=outcome,
        exog=_terms(name, formula, sides[1]),
        effects=_effects(name, formula, parts[1]) if len(parts) > 1 else (),
        endog=_terms(name, formula, iv[0]),
        instruments=_terms(name, formula, iv[1]),
        title=title,
        where=where,
    )


def _unreadable(name: str, formula: str, why: str) -> OptionInvalid:
    return OptionInvalid(
        f"cannot read the formula {formula!r}: {why}",
        where=name,
        mend="write it like: bal ~ hsr + ts + ipp | pair_id + year | ln_dkf_net ~ iv_hist_tel "
        "(a:b for a product; logarithms and the like as columns of the table; rows to use at the end: if year >= 2010)",
    )


def _effects(name: str, formula: str, text: str) -> tuple[str, ...]:
    found = [t.strip() for t in text.split("+") if t.strip() not in ("", "0", "1")]
    for effect in found:
        if not all(_NAME.fullmatch(part.strip()) for part in effect.split("^")):
            raise _unreadable(name, formula, f"{effect!r} is no effect")
    return tuple(dict.fromkeys("^".join(part.strip() for part in effect.split("^")) for effect in found))


def _terms(name: str, formula: str, text: str) -> tuple[str, ...]:
    found: list[str] = []
    for written in text.split("+"):
        term = re.sub(r"\s+", "", written)
        if term in ("", "0", "1"):
            continue
        factors = term.split("*")
        if not all(_NAME.fullmatch(column) for factor in factors for column in factor.split(":")):
            raise _unreadable(name, formula, f"{written.strip()!r} is no column and no product of columns")
        found += [":".join(c) for r in range(1, len(factors) + 1) for c in combinations(factors, r)]
    return tuple(dict.fromkeys(found))


_TABLE1 = (
    Model("table1_col1", "bal", (HTOL, LTOH), ("year",), title="(1)"),
    Model("table1_col2", "bal", (HTOL, LTOH), title="(2)"),
    Model("table1_col3", "bal", (HTOL, LTOH, *CONTROLS), title="(3)"),
    Model("table1_col4", "bal", (NET, *CONTROLS), title="(4)"),
)


def _iv(name: str, instruments: tuple[str, ...], title: str) -> Model:
    return Model(name, "bal", CONTROLS, endog=(NET,), instruments=instruments, title=title)


_NAMED: dict[str, tuple[Model, ...]] = {
    "table1": _TABLE1,
    **{m.name: (m,) for m in _TABLE1},
    "eq1": (Model("eq1", "bal", (HTOL, LTOH, *CONTROLS), title="Equation (1)"),),
    "eq2": (Model("eq2", "bal", (NET, *CONTROLS), title="Equation (2)"),),
    "iv_telegraph": (_iv("iv_telegraph", (TELEGRAPH,), "2SLS, telegraph 1907"),),
    "iv_telephone": (_iv("iv_telephone", (TELEPHONE,), "2SLS, telephones 1984"),),
    "iv_both": (_iv("iv_both", (TELEGRAPH, TELEPHONE), "2SLS, both"),),
}
"""Source: METHOD 6, equations (1) and (2), Table 1, and 5 A7."""


def named_models(name: str) -> tuple[Model, ...]:
    """Models behind a name.

    Parameters
    ----------
    name : ``table1`` (its four columns), ``table1_col1`` to ``table1_col4``, ``eq1``, ``eq2``, ``iv_telegraph``,
        ``iv_telephone``, ``iv_both``, ``moderator:COLUMN`` (equation (2) with the column and its product with the net
        flow), or ``iv_moderator:COLUMN`` (both instrumented, by the telegraph and its product with the column).

    Raises
    ------
    OptionInvalid
        There is no such model.
    """
    if name in _NAMED:
        return _NAMED[name]
    kind, _, column = name.partition(":")
    if kind in ("moderator", "iv_moderator") and _NAME.fullmatch(column):
        return (moderated(column, kind == "iv_moderator"),)
    known = [*_NAMED, "moderator:COLUMN", "iv_moderator:COLUMN"]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise OptionInvalid(
        f"no model {name!r}",
        where="estimate.models",
        mend=(f"did you mean {near[0]}? " if near else "")
        + f"known: {', '.join(known)}; others as a formula under [estimate.formulas]",
    )


def moderated(column: str, instrumented: bool = False) -> Model:
    """Equation (2) with a moderator: net flow, its product with the column, and the column itself (METHOD 6.5)."""
    product, others = f"{NET}:{column}", (column, *(c for c in CONTROLS if c != column))
    if instrumented:
        return Model(
            f"iv_moderator:{column}",
            "bal",
            others,
            endog=(NET, product),
            instruments=(TELEGRAPH, f"{TELEGRAPH}:{column}"),
            title=f"2SLS, {column}",
        )
    return Model(f"moderator:{column}", "bal", (NET, product, *others), title=column)
