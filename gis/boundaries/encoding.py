"""Which encoding the text of a Shapefile or CSV is in, decided on its bytes.

In: the raw .dbf (field names and text values), what .cpg and the header say, what the config says. Out: an encoding
name, and how it was found. GDAL takes a .dbf without .cpg for ISO 8859-1, in which every byte is a letter: Chinese
text then comes back as Latin letters, field names included, and no error is raised [measured, GDAL 3.12].
"""

from __future__ import annotations

import codecs
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gis.errors import BoundaryInvalid, BoundaryUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Raw = tuple[bytes, bool]
"""Bytes of one text, and whether it fills its field, so that its last character may be cut in two."""

UTF8, GB = "UTF-8", "GB18030"
"""The two encodings that are recognised by their bytes; GB18030 contains GBK and GB 2312."""

GB_FAMILY = frozenset(("gb2312", "gbk", "gb18030", "hz"))
"""Python's names of what GB18030 replaces."""

MULTIBYTE = frozenset(("big5", "big5hkscs", "cp950", "cp949", "euc_kr", "johab", "shift_jis", "cp932", "euc_jp"))
"""Other double-byte encodings: a stated one is believed where the text decodes, since their bytes can look like GB."""

LANGUAGE_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x57: "cp1252", 0x58: "cp1252",
    0x4D: "gbk", 0x7A: "gbk", 0x4F: "cp950", 0x78: "cp950", 0x4E: "cp949", 0x79: "cp949", 0x13: "cp932", 0x7B: "cp932",
    0xC8: "cp1250", 0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253",
}  # fmt: skip
"""Byte 29 of a .dbf header (LDID). Source: the table GDAL's Shapefile driver documents; 0x57 is "ANSI"."""

GB_SHARE = 0.9
"""Share of characters that must lie in GB 2312's 6,763 for text to be called Chinese: place names leave it rarely,
while Latin letters read as GB18030 give rare characters outside it (test_latin_text_is_not_taken_for_chinese)."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """The encoding of a file's text."""

    name: str
    """Name that Python's codecs know."""
    how: str
    """How it was found, for the notes of the layer."""


@dataclass(frozen=True, slots=True)
class DbfText:
    """The text of a .dbf as bytes."""

    texts: tuple[Raw, ...]
    """Field names and values of character fields, without padding and repeats."""
    language_driver: int
    """Byte 29 of the header; 0 says nothing."""


def read_dbf_text(path: Path) -> DbfText:
    """Collect the raw text of a .dbf.

    Raises
    ------
    BoundaryUnreadable
        The file is shorter than its header says, or has no header.
    """
    raw = path.read_bytes()
    mend = "copy the .shp, .shx, .dbf and .prj again, all of one export"
    if len(raw) < 33:
        raise BoundaryUnreadable("the attribute table has no header", where=path, mend=mend)
    n_records, header_size, record_size = struct.unpack("<IHH", raw[4:12])
    if header_size < 33 or record_size < 1 or header_size + n_records * record_size > len(raw):
        raise BoundaryUnreadable(
            f"the attribute table is cut off: {len(raw)} bytes of {header_size + n_records * record_size}",
            where=path,
            mend=mend,
        )
    texts: dict[Raw, None] = {}
    spans: list[tuple[int, int]] = []
    start = 1  # the first byte of a record is its deletion mark
    for at in range(32, header_size - 1, 32):
        field = raw[at : at + 32]
        if field[0] == 0x0D:  # end of the field list
            break
        name = field[:11].split(b"\0")[0]
        texts[name, len(name) >= 10] = None  # a name has at most ten bytes
        if field[11:12] == b"C":
            spans.append((start, start + field[16]))
        start += field[16]
    for k in range(n_records):
        record = raw[header_size + k * record_size : header_size + (k + 1) * record_size]
        for first, last in spans:
            text = record[first:last].rstrip(b" \0")
            texts[text, len(text) == last - first] = None
    return DbfText(tuple(texts), raw[29])


def decode(text: bytes, encoding: str, *, may_be_cut: bool = True) -> str:
    """Decode one value; a last character cut in two by the field's width is dropped.

    Raises
    ------
    UnicodeDecodeError
        The bytes are not text in ``encoding``.
    """
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        # Cut, not wrong: the codec ran out of bytes inside the last character (at most four bytes long).
        if not may_be_cut or error.end < len(text) or len(text) - error.start > 3:
            raise
        return text[: error.start].decode(encoding)


def detect(texts: Iterable[Raw]) -> str | None:
    """Tell UTF-8 from GB18030 by the bytes; None where they are neither, ``"ASCII"`` where nothing needs telling.

    Notes
    -----
    UTF-8 checks itself: the chance that text in another encoding passes falls with every character. GB text passes
    only when every character happens to be one of UTF-8's two-byte sequences, one character in seven; so a few such
    names remain in doubt, and are called Chinese when they hold no Latin letter and all lie in GB 2312: accented
    names mix both (``Zürich``), Greek and Cyrillic ones leave it. GB18030 accepts nearly all byte pairs and is
    believed only where at least `GB_SHARE` of the characters are of GB 2312.
    """
    wide = [raw for raw in texts if not raw[0].isascii()]
    if not wide:
        return "ASCII"
    chinese = _gb2312_share(wide) >= GB_SHARE
    if not decodes(wide, UTF8):
        return GB if chinese else None
    chars = [char for text, cut in wide for char in decode(text, UTF8, may_be_cut=cut)]
    in_doubt = chinese and not any(len(char.encode()) > 2 or (char.isascii() and char.isalpha()) for char in chars)
    return GB if in_doubt else UTF8


def decodes(texts: Iterable[Raw], encoding: str) -> bool:
    """Whether every text is valid in ``encoding``, cut-off last characters aside."""
    try:
        for text, cut in texts:
            decode(text, encoding, may_be_cut=cut)
    except UnicodeDecodeError:
        return False
    return True


def _gb2312_share(texts: list[Raw]) -> float:
    if not decodes(texts, GB):
        return 0.0
    chars = [char for text, cut in texts for char in decode(text, GB, may_be_cut=cut) if not char.isascii()]
    return sum(_in_gb2312(char) for char in chars) / len(chars) if chars else 0.0


def _in_gb2312(char: str) -> bool:
    try:
        return len(char.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return False


def codec_name(text: str) -> str | None:
    """Python's name of an encoding as config and .cpg files write it (``936``, ``GBK``, ``UTF-8``, ``ANSI 1252``)."""
    word = text.strip().upper().removeprefix("ANSI").removeprefix("OEM").strip(" -_") or text.strip()
    word = re.sub(r"^(?:ISO)?[ _-]*8859[ _-]*(\d+)$", r"iso8859-\1", word)
    for name in (f"cp{word}", word) if word.isdigit() else (word,):
        if name == "cp65001":
            return "utf-8"
        try:
            return codecs.lookup(name).name
        except LookupError:
            continue
    return None


def choose(texts: Iterable[Raw], stated: dict[str, str | None], configured: str | None, *, key: str) -> TextEncoding:
    """Decide the encoding of a file's text.

    Parameters
    ----------
    texts : raw texts of the file, each with whether it may be cut
    stated : what the file says of itself, most trusted first: ``{".cpg": "GBK", "the .dbf header": None}``
    configured : ``encoding`` of the config, which wins
    key : config key of the layer, for the mend line

    Raises
    ------
    BoundaryInvalid
        The configured encoding is unknown or does not fit the text, or nothing fits.
    """
    texts = tuple(texts)
    found = detect(texts)
    if configured is not None:
        return _configured(texts, configured, found, key)
    if found == UTF8:
        return TextEncoding(UTF8, _against(stated, UTF8))
    known = {source: name for source, text in stated.items() if text and (name := codec_name(text))}
    for source, name in known.items():
        if name in GB_FAMILY and decodes(texts, GB):
            return TextEncoding(GB, f"stated by {source}")
        if name in MULTIBYTE and decodes(texts, name):
            return TextEncoding(name, f"stated by {source}")
    if found == GB:
        return TextEncoding(GB, _against(stated, GB))
    for source, name in known.items():
        if decodes(texts, name):
            return TextEncoding(name, f"stated by {source}")
    if found == "ASCII":
        return TextEncoding(UTF8, "plain ASCII")
    sample = re.findall(rb"[^\x00-\x7f]+", next(text for text, _ in texts if not text.isascii()))[0]
    raise BoundaryInvalid(
        f"the encoding of the text cannot be told: neither UTF-8 nor Chinese GB18030 (for example {sample[:40]!r})",
        where=key,
        mend=f'name it: {key}.encoding = "BIG5"  (or "CP1252", "EUC-KR", ...)',
    )


def _configured(texts: tuple[Raw, ...], configured: str, found: str | None, key: str) -> TextEncoding:
    name = codec_name(configured)
    guess = f'{key}.encoding = "{found}"' if found in (UTF8, GB) else f"leave {key}.encoding out"
    if name is None:
        raise BoundaryInvalid(f"unknown encoding {configured!r}", where=f"{key}.encoding", mend=guess)
    if name in GB_FAMILY:
        name = "gb18030"
    bad = next((raw[0] for raw in texts if not decodes([raw], name)), None)
    if bad is not None:
        raise BoundaryInvalid(f"the text is not {configured}: {bad[:40]!r}", where=f"{key}.encoding", mend=guess)
    return TextEncoding(GB if name == "gb18030" else UTF8 if name == "utf-8" else name, "configured")


def _against(stated: dict[str, str | None], found: str) -> str:
    """How a detected encoding was found, and what it overrules."""
    names = {source: text for source, text in stated.items() if text}
    agreeing = [s for s, t in names.items() if (codec_name(t) or "") in ({"utf-8"} if found == UTF8 else GB_FAMILY)]
    if agreeing:
        return f"stated by {agreeing[0]}"
    if names:
        source, text = next(iter(names.items()))
        return f"told from the bytes, against {source}, which says {text}"
    return "told from the bytes"
