"""Conditions on rows, like ``year >= 2010 and hsr == 1``: comparisons of columns, nothing that could run.

In: a frame and the text of a condition. Out: which rows meet it.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

MEND = 'write it over columns of the panel, like "bal <= 3 and year >= 2005" or "year in [2005, 2010] or not hsr == 1"'

_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def rows_where(frame: pd.DataFrame, condition: str, where: str) -> Bools:
    """(n,) which rows meet a condition.

    Parameters
    ----------
    condition : columns, numbers and quoted texts; ``== != < <= > >=`` (chains too), ``in [...]``, ``+ - * /``,
        ``and or not`` and parentheses; ``&`` and ``|`` between conditions in parentheses. True and False columns stand
        alone.
    where : whose condition it is, for messages.

    Raises
    ------
    OptionInvalid
        It cannot be read, names a column that is not there, or is not true or false for every row.

    Notes
    -----
    Comparisons with a missing value are false, ``!=`` is true: as in pandas and Stata's ``==``.
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        why = "equality is written ==" if _has_single_equals(condition) else str(error).split(" (<")[0]
        raise _unreadable(condition, why, where) from error
    try:
        found = _value(frame, tree)
    except _Refused as refused:
        raise _unreadable(condition, str(refused), where) from None
    except TypeError as error:  # a text compared with a number
        raise _unreadable(condition, f"text against number: {error}", where) from error
    if not _is_condition(found):
        raise _unreadable(condition, f"it is a value, not a condition; do you mean {condition} == 1?", where)
    return np.broadcast_to(found, len(frame)).copy()


def _has_single_equals(condition: str) -> bool:
    return bool(re.search(r"(?<![=!<>])=(?!=)", condition))


class _Refused(Exception):
    """What is wrong with a condition, in words."""


def _unreadable(condition: str, why: str, where: str) -> OptionInvalid:
    return OptionInvalid(f"cannot read the condition {condition!r}: {why}", where=where, mend=MEND)


def _is_condition(value: Any) -> bool:
    return np.asarray(value).dtype == bool


def _value(frame: pd.DataFrame, node: ast.expr) -> Any:
    """Value of an expression: an array over the rows, or a constant."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return constant
        case ast.Name(id=name):
            return _column(frame, name)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(frame, item) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(frame, inner)
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=inner):
            return ~_condition(frame, inner)
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return join.reduce([np.broadcast_to(_condition(frame, part), len(frame)) for part in parts])
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
            join = np.logical_and if isinstance(op, ast.BitAnd) else np.logical_or
            return join(_condition(frame, left), _condition(frame, right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(frame, left), _value(frame, right))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(frame, part) for part in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return np.logical_and.reduce([_compare(op, a, b) for op, a, b in pairs])
    raise _Refused(f"{ast.unparse(node)!r} is no column, number, quoted text or comparison")


def _condition(frame: pd.DataFrame, node: ast.expr) -> Bools:
    found = _value(frame, node)
    if not _is_condition(found):
        said = ast.unparse(node)
        mean = f"do you mean {said} == 1?" if isinstance(node, ast.Name) else "write and, or; & and | need parentheses"
        raise _Refused(f"{said!r} is a value, not a condition; {mean}")
    return np.asarray(found)


def _compare(op: ast.cmpop, left: Any, right: Any) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, list):
            raise _Refused("'in' needs a list: year in [2005, 2010]")
        inside = np.logical_or.reduce([_compare(ast.Eq(), left, item) for item in right] or [np.array(False)])
        return np.logical_not(inside) if isinstance(op, ast.NotIn) else inside
    if type(op) not in _COMPARE:
        raise _Refused("'is' compares nothing here; write ==")
    kinds = {isinstance(v, str) or np.asarray(v).dtype.kind in "OU" for v in (left, right)}
    if len(kinds) > 1:
        raise _Refused("a text is compared with a number; quote codes: city_i == '110000'")
    return np.asarray(_COMPARE[type(op)](left, right), dtype=bool)


def _column(frame: pd.DataFrame, name: str) -> Any:
    """A column as numbers, truths or texts; missing texts are empty."""
    import pandas as pd

    if name not in frame.columns:
        near = difflib.get_close_matches(name, map(str, frame.columns), n=1, cutoff=0.5)
        raise _Refused(f"the panel has no column {name}" + (f"; did you mean {near[0]}?" if near else ""))
    values = frame[name]
    if pd.api.types.is_bool_dtype(values):
        return values.fillna(False).to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object)
