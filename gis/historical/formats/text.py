"""What the text formats share: reading text, numbers and a CRS, and writing text whole or not at all.

In: paths and fields. Out: lines, floats, CRS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.crs import crs_from, crs_name, same_crs
from gis.errors import CrsMismatch, CrsMissing
from gis.historical.control_points import ControlPointsInvalid, ControlPointsUnreadable
from gis.tables import atomic_path

if TYPE_CHECKING:
    from pyproj import CRS


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not blank.

    Raises
    ------
    ControlPointsUnreadable
        It is not text, or there is nothing in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="gb18030", errors="replace")  # notes typed on a Chinese Windows
    except OSError as error:
        raise ControlPointsUnreadable(f"cannot read it: {error}", where=path, mend="check the path") from error
    lines = [line.rstrip("\r\n") for line in text.splitlines() if line.strip()]
    if not lines or "\x00" in text:
        raise ControlPointsUnreadable(
            "the file is empty or not text",
            where=path,
            mend="save the control points again in the program they are from",
        )
    return lines


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def number(field: str, what: str, path: Path, line: int) -> float:
    """Read a number.

    Raises
    ------
    ControlPointsInvalid
        It is none: names the line.
    """
    try:
        return float(field)
    except ValueError as error:
        raise ControlPointsInvalid(
            f"line {line}: {what} is {field.strip()!r}, not a number",
            where=path,
            mend="write numbers with a decimal point, without units",
        ) from error


def settle_crs(found: Any, given: Any, path: Path) -> CRS:
    """Choose the CRS a file names or the one that is given, and refuse two that disagree.

    Raises
    ------
    CrsMissing, CrsMismatch
        Neither says anything; the two disagree.
    """
    if found is None or (isinstance(found, str) and not found.strip()):
        if given is None:
            raise CrsMissing(
                "the file does not say in which CRS its ground coordinates are",
                where=path,
                mend="say it: --gcps-crs EPSG:4326 if they are longitude and latitude on WGS 84",
            )
        return crs_from(given, where="--gcps-crs")
    crs = crs_from(found, where=path)
    if given is not None and not same_crs(crs, given):
        raise CrsMismatch(
            f"the file is in {crs_name(crs)}, --gcps-crs says {crs_name(given)}",
            where=path,
            mend="leave out --gcps-crs: it is for files that carry no CRS",
        )
    return crs


def crs_text(crs: CRS) -> str:
    """Name a CRS on one line: its authority and code, or its WKT."""
    name = crs_name(crs)
    head, _, code = name.partition(":")
    return name if code.isalnum() and head.isupper() else " ".join(crs.to_wkt().split())
