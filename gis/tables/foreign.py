"""Tables that users bring: CSV as spreadsheets write it, or Parquet; columns of codes are text.

In: a path and what it is for. Out: a DataFrame whose columns are as they stand in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gis.errors import TableInvalid

if TYPE_CHECKING:
    import pandas as pd

CODES = ("src", "dst", "city_i", "city_j", "city_code", "district_code")
"""Columns that hold codes wherever they stand: read as numbers they would lose leading zeros."""


def read_foreign(path: Path, role: str, *, codes: Sequence[str] = CODES) -> pd.DataFrame:
    """Read a user's table: CSV in UTF-8 or GB18030 (what Excel writes in China), or Parquet.

    Parameters
    ----------
    role : what the table is, and the key or option that names it: ``"estimate.flows"``.
    codes : columns read as text where they are there.

    Raises
    ------
    TableInvalid
        The file is missing, empty or no table.
    """
    import pandas as pd

    if not path.is_file():
        raise TableInvalid("there is no such table", where=path, mend=f"correct the path of {role}")
    try:
        frame = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, codes)
    except (OSError, ValueError) as error:  # pandas' and Arrow's errors are of these kinds
        raise TableInvalid(
            f"it cannot be read as a table: {error}", where=path, mend=f"give CSV in UTF-8, or Parquet, as {role}"
        ) from error
    texts = [c for c in codes if c in frame]
    return frame.astype(dict.fromkeys(texts, "string")).astype(dict.fromkeys(texts, object))


def _read_csv(path: Path, codes: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    dtype = dict.fromkeys(codes, str)
    try:
        return pd.read_csv(path, dtype=dtype, encoding="utf-8-sig")
    except UnicodeDecodeError:
        return pd.read_csv(path, dtype=dtype, encoding="gb18030")
