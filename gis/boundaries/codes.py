"""Administrative codes of China (GB/T 2260): one spelling, what level a code names, which city a district is of.

In: codes as files write them (integers, floats, 2 to 12 digits, ``156`` in front). Out: six-character strings, levels,
city codes. A code names a unit only together with its vintage (boundaries/README.md#codes).
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Literal

from gis.errors import CodeInvalid

Level = Literal["province", "city", "district", "direct", "special"]
"""What a code names; ``direct`` units belong to no city, ``special`` is outside the ranges of METHOD 9.1."""

PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82".split()
)
"""First pair of every code. Source: GB/T 2260. It leaves 90-99 free: made-up layers may use them."""

MUNICIPALITIES = {"110000": "北京市", "120000": "天津市", "310000": "上海市", "500000": "重庆市"}
"""The four municipalities: a city each, without a prefecture code of their own (METHOD 9.1)."""

UNDIVIDED = frozenset(("71", "81", "82"))
"""Taiwan, Hong Kong and Macau: one unit at city level, districts (if any) numbered straight under the province."""

COUNTRY = "156"
"""China in ISO 3166-1 numeric: the field ``gb`` of Tianditu layers is this and the six-digit code."""


def normalise_code(value: Any, *, row: int | None = None, where: object = None) -> str:
    """Spell an administrative code in six characters.

    Parameters
    ----------
    value : str, int or float
        ``341400``, ``341400.0``, ``3414`` (a city), ``34`` (a province), ``156341400`` (with the country),
        ``341400000`` and ``341400000000`` (statistical codes of 9 and 12 digits that end in zeros); spaces around
        it and full-width digits are accepted. Short codes are filled on the right: no code begins with 0.
    row : int, optional
        Row of the file, counted from 1, for the message.

    Returns
    -------
    str
        Six digits whose first two are a province of GB/T 2260, or one that GB/T 2260 leaves free (90-99).

    Raises
    ------
    CodeInvalid
        Anything else: missing, not a number, a township or village, an unknown province.

    Notes
    -----
    Nine digits that begin with 156 are read as country and code: as a statistical code they would lie in city 61 of
    province 15, which does not exist. Source: METHOD 9.1, CONVENTIONS (boundaries).
    """
    digits = code_text(value)
    if len(digits) == 9 and digits.startswith(COUNTRY):
        digits = digits[3:]
    if len(digits) in (9, 12) and not digits[6:].strip("0"):
        digits = digits[:6]
    if len(digits) in (2, 4):
        digits = digits.ljust(6, "0")
    if len(digits) == 6 and digits.isascii() and digits.isdigit() and (digits[:2] in PROVINCES or digits[0] == "9"):
        return digits
    place = " and ".join(part for part in (str(where) if where else "", f"row {row}" if row else "") if part)
    raise CodeInvalid(
        f"{value!r} is not an administrative code of China",
        where=place or None,
        mend="codes have 6 digits (341400); 2, 4, 9 or 12 digits and 156 in front are understood",
    )


def code_text(value: Any) -> str:
    """Write any cell of a code column as text: ``110100.0`` becomes ``"110100"``, a missing value ``""``.

    This is the raw spelling; it makes no claim that the text is an administrative code.
    """
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        text = unicodedata.normalize("NFKC", value).strip()
        whole, point, rest = text.partition(".")
        return whole if point and whole.isdigit() and not rest.strip("0") else text
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value).strip()
    if math.isnan(number):
        return ""
    # Every code has at most 12 digits, so float64 holds it exactly.
    return str(int(number)) if number.is_integer() else str(value)


def is_code(value: Any) -> bool:
    """Whether `normalise_code` understands ``value``."""
    try:
        normalise_code(value)
    except CodeInvalid:
        return False
    return True


def is_municipality(code: str) -> bool:
    """Whether ``code`` is Beijing, Tianjin, Shanghai or Chongqing, or lies in one of them."""
    return f"{code[:2]}0000" in MUNICIPALITIES


def level_of(code: str) -> Level:
    """Say what level a six-character code names.

    The middle pair tells: 01-20 and 51-70 cities, 21-50 prefectures and leagues, 90 directly administered units; the
    last pair is 00 for the city itself (CONVENTIONS, boundaries; METHOD 9.1). ``PP0000`` is a province, the four
    municipalities included; ``special`` is a code outside these ranges, such as 629700.
    """
    province, middle, last = code[:2], int(code[2:4]), code[4:]
    if middle == 0 and last == "00":
        return "province"
    if middle == 0:
        return "district" if province in UNDIVIDED else "direct"
    if middle == 90:
        return "direct"
    if middle > 70:
        return "special"
    return "city" if last == "00" else "district"


def city_of(code: str) -> str | None:
    """Return the code of the city a unit belongs to; None for provinces, direct units and special codes.

    A municipality is its own city: 110000 for 110000, 110100 and 110228 alike. Hong Kong, Macau and Taiwan stand as
    one unit each. A city's own code returns itself.
    """
    if is_municipality(code) or code[:2] in UNDIVIDED:
        return f"{code[:2]}0000"
    return f"{code[:4]}00" if level_of(code) in ("city", "district") else None
