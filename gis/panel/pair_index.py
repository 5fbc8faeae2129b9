"""Keys of pairs: ``pair_id`` from two codes, and the triangular index the arithmetic runs on.

In: six-digit codes, positions of units in sorted order. Out: int64 keys. The triangular index depends on the roster
and never leaves the package; ``pair_id`` survives a change of roster (METHOD 0).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import CodeInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

CODE_SPAN = 10**6
"""One more than the largest six-digit code: pair_id = code_i * CODE_SPAN + code_j < 10**12 < 2**53 (METHOD 0)."""

_SIX_DIGITS = re.compile("[0-9]{6}")  # str.isdigit would let full-width digits through


def is_six_digits(code: object) -> bool:
    """Whether ``code`` is a text of six ASCII digits, the only codes a ``pair_id`` can be made of."""
    return isinstance(code, str) and _SIX_DIGITS.fullmatch(code) is not None


def pair_id(code_a: str, code_b: str) -> int:
    """Key of the pair of two units, given in either order.

    Returns
    -------
    int
        code_i * 10**6 + code_j with code_i < code_j; below 2**53, so exact in Stata's and R's doubles.

    Raises
    ------
    CodeInvalid
        A code is not six digits, or both are the same unit.
    """
    for code in (code_a, code_b):
        if not is_six_digits(code):
            raise CodeInvalid(f"{code!r} is not a six-digit code", mend='write codes as six-character text: "110000"')
    if code_a == code_b:
        raise CodeInvalid(f"{code_a} makes no pair with itself", mend="give two different units")
    lower, higher = sorted((int(code_a), int(code_b)))
    return lower * CODE_SPAN + higher


def codes_of_pair(key: int) -> tuple[str, str]:
    """Codes (code_i, code_j) behind a ``pair_id``, code_i < code_j.

    Raises
    ------
    CodeInvalid
        ``key`` is no ``pair_id``.
    """
    lower, higher = divmod(int(key), CODE_SPAN)
    if not 0 <= lower < higher:
        raise CodeInvalid(f"{key} is not a pair_id", mend="take it from the column pair_id of pair_year")
    return f"{lower:06d}", f"{higher:06d}"


def n_pairs(n_units: int) -> int:
    """How many unordered pairs ``n_units`` units make; 296 cities make 43,660 (METHOD 3)."""
    return n_units * (n_units - 1) // 2


def pair_index(i: Ints, j: Ints, n_units: int) -> Ints:
    """Triangular index of the pairs (i, j), i < j: the order of ``numpy.triu_indices(n_units, 1)`` (METHOD 0)."""
    i, j = np.asarray(i, np.int64), np.asarray(j, np.int64)
    return np.asarray(_row_starts(n_units)[i] + (j - i - 1), np.int64)


def pair_members(index: Ints, n_units: int) -> tuple[Ints, Ints]:
    """Units (i, j), i < j, of triangular indices; exact for any roster, by search instead of a square root."""
    index = np.asarray(index, np.int64)
    starts = _row_starts(n_units)
    # The last unit opens no row of its own: its start equals n_pairs, which no index reaches.
    i = np.searchsorted(starts, index, side="right").astype(np.int64) - 1
    return i, index - starts[i] + i + 1


def _row_starts(n_units: int) -> Ints:
    """(n_units,) index of the pair (i, i + 1) for every i."""
    i = np.arange(n_units, dtype=np.int64)
    return i * n_units - i * (i + 1) // 2
