"""Pictures without a picture library: grey PNG for the scan, RGB GeoTIFF for what looks like data and is not.

In: uint8 arrays. Out: bytes of a file. Both formats are a few fields around one zlib stream.
Sources: PNG (Third Edition), W3C 2025, sections 5 and 11; TIFF Revision 6.0, Adobe 1992; OGC GeoTIFF 1.1, section 7.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from gis.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]


def png_from_grey(grey: Bytes) -> bytes:
    """Encode (height, width) grey levels, 0 black, as an 8-bit PNG."""
    height, width = grey.shape
    # Filter type 2, "up": each row as its difference from the row above; drawings shrink to half by it.
    above = np.vstack([np.zeros((1, width), np.uint8), grey[:-1]])
    rows = np.column_stack([np.full(height, 2, np.uint8), grey - above])  # uint8 wraps round, as PNG asks
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def geotiff_from_rgb(rgb: Bytes, grid: Grid) -> bytes:
    """Encode (height, width, 3) colours as a one-strip GeoTIFF in EPSG:4326 on a geographic grid."""
    height, width, _ = rgb.shape
    t = grid.transform
    strip = zlib.compress(rgb.tobytes(), 9)
    scale, tie = (t.a, -t.e, 0.0), (0.0, 0.0, 0.0, t.c, t.f, 0.0)
    keys = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326)  # geographic, pixel is area, EPSG:4326
    strip_at = 8
    end = strip_at + len(strip) + len(strip) % 2
    entries: list[tuple[int, str, tuple[float, ...]]] = [
        (256, "I", (width,)), (257, "I", (height,)), (258, "H", (8, 8, 8)), (259, "H", (8,)), (262, "H", (2,)),
        (273, "I", (strip_at,)), (277, "H", (3,)), (278, "I", (height,)), (279, "I", (len(strip),)),
        (33550, "d", scale), (33922, "d", tie), (34735, "H", keys),
    ]  # fmt: skip
    kinds = {"H": 3, "I": 4, "d": 12}
    directory, beyond = struct.pack("<H", len(entries)), b""
    beyond_at = end + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        data = struct.pack(f"<{len(values)}{kind}", *values)
        if len(data) > 4:
            field = struct.pack("<I", beyond_at + len(beyond))
            beyond += data
        else:
            field = data.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kinds[kind], len(values)) + field
    return struct.pack("<2sHI", b"II", 42, end) + strip.ljust(end - strip_at, b"\0") + directory + bytes(4) + beyond
