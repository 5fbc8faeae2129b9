"""Conditions on rows in the words of Stata and R.

In: a condition as `gis.estimate.condition` reads it. Out: the same rows, said in another language; None where it is
more than comparisons of a column with numbers or texts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["stata", "r"]

_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class _Untranslated(Exception):
    """The condition holds something that has no translation here."""


def columns_of(condition: str) -> tuple[str, ...]:
    """Columns that a condition names, each once; none of one that cannot be read."""
    try:
        tree = ast.parse(condition.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return ()
    return tuple(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def translated(condition: str, language: Language, names: Mapping[str, str]) -> str | None:
    """Say a condition in Stata's or R's words; None where that cannot be done to the letter.

    Parameters
    ----------
    names : column -> its name there.

    Notes
    -----
    A comparison with a missing value is false, ``!=`` is true. To Stata a missing value is larger than any number, to
    R it makes the answer missing: both are told.
    """
    try:
        return _Words(language, names).of(ast.parse(condition.strip(), mode="eval").body)
    except (_Untranslated, SyntaxError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Words:
    """One language, and what it calls the columns."""

    language: Language
    """Stata or R."""
    names: Mapping[str, str]
    """Column -> its name there."""

    def of(self, node: ast.expr) -> str:
        """A whole condition."""
        match node:
            case ast.BoolOp(op=op, values=parts):
                return "(" + (" & " if isinstance(op, ast.And) else " | ").join(map(self.of, parts)) + ")"
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                return f"({self.of(left)} {'&' if isinstance(op, ast.BitAnd) else '|'} {self.of(right)})"
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=inner):
                return f"!({self.of(inner)})"
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = (left, *others)
                found = [self.compared(a, op, b) for a, op, b in zip(sides, ops, others, strict=False)]
                return found[0] if len(found) == 1 else f"({' & '.join(found)})"
            case ast.Name():  # a column of true and false
                name = self.name(node)
                return f"({name} == 1)" if self.language == "stata" else f"({name} %in% TRUE)"
        raise _Untranslated

    def compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        """One comparison of a column with a constant, or with a list of them."""
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
                raise _Untranslated
            name, items = self.name(left), ", ".join(self.constant(item) for item in right.elts)
            inside = f"inlist({name}, {items})" if self.language == "stata" else f"({name} %in% c({items}))"
            return inside if isinstance(op, ast.In) else f"!{inside}"
        if type(op) not in _SIGNS:
            raise _Untranslated
        sign = _SIGNS[type(op)]
        if not isinstance(left, ast.Name):
            left, right, sign = right, left, _TURNED[sign]
        name, value = self.name(left), self.constant(right)
        if self.language == "r":
            return f"!(({name} == {value}) %in% TRUE)" if sign == "!=" else f"(({name} {sign} {value}) %in% TRUE)"
        said = f"({name} {sign} {value})"
        return f"({said} & !missing({name}))" if sign in (">", ">=") else said

    def name(self, node: ast.expr) -> str:
        """What a column is called."""
        if not isinstance(node, ast.Name) or node.id not in self.names:
            raise _Untranslated
        return self.names[node.id]

    def constant(self, node: ast.expr) -> str:
        """A number or a text of letters, digits and the like; what either language reads as more is left alone."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return f"-{number!r}"
            case ast.Constant(value=bool() as truth):
                return str(int(truth))
            case ast.Constant(value=int() | float() as number):
                return repr(number)
            case ast.Constant(value=str() as text) if not set(text) & set("\"'\\`$\n"):
                return f'"{text}"'
        raise _Untranslated
