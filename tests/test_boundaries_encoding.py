"""The encoding of a Shapefile's text is told from its bytes, and never guessed where they do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.boundaries.encoding import choose, codec_name, decode, detect, read_dbf_text
from gis.boundaries.reader import read_layer
from gis.errors import BoundaryInvalid, BoundaryUnreadable
from gis.workspace import BoundarySource

CITIES = ["北京市", "呼和浩特市", "恩施土家族苗族自治州", "海西蒙古族藏族自治州", "亳州市", "濮阳市", "漯河市"]


def raw(texts, encoding):
    return [(text.encode(encoding), False) for text in texts]


def shapefile(folder: Path, encoding: str, *, cpg: str | None = None, names=CITIES, fields=("代码", "名称")) -> Path:
    """A Shapefile in ``encoding`` whose .cpg says ``cpg``, or that has none."""
    import geopandas as gpd
    import pyogrio
    import shapely

    codes = [f"34{k:02d}00" for k in range(1, len(names) + 1)]
    boxes = [shapely.box(110 + k, 30, 111 + k, 31) for k in range(len(names))]
    frame = gpd.GeoDataFrame({fields[0]: codes, fields[1]: names}, geometry=boxes, crs="EPSG:4326")
    path = folder / "市界.shp"
    pyogrio.write_dataframe(frame, path, encoding=encoding)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg is not None:
        path.with_suffix(".cpg").write_text(cpg)
    return path


def source(path: Path, **more) -> BoundarySource:
    return BoundarySource(file=str(path), vintage=2019, **more)


@pytest.mark.parametrize("encoding", ["GBK", "GB18030", "UTF-8"])
@pytest.mark.parametrize("cpg", [None, "right", "wrong"])
def test_names_and_field_names_come_back_whatever_the_cpg_says(tmp_path, encoding, cpg):
    said = {None: None, "right": encoding, "wrong": "ISO-8859-1" if encoding != "UTF-8" else "GBK"}[cpg]
    path = shapefile(tmp_path, encoding, cpg=said)
    layer = read_layer(source(path), tmp_path)
    assert list(layer.zones.names) == CITIES
    assert layer.encoding == ("UTF-8" if encoding == "UTF-8" else "GB18030")
    assert any("name from 名称" in note for note in layer.notes)
    assert any(("against .cpg" in note) == (cpg == "wrong") for note in layer.notes if note.startswith("text is"))


def test_gdal_alone_reads_such_a_file_as_latin_letters(tmp_path):
    """Why we decode ourselves; should GDAL learn to tell, this test says so."""
    import pyogrio

    frame = pyogrio.read_dataframe(shapefile(tmp_path, "GBK"))
    assert list(frame.columns[:2]) != ["代码", "名称"]
    assert frame.iloc[0, 1] == CITIES[0].encode("gbk").decode("latin-1")


def test_configured_encoding_wins(tmp_path):
    path = shapefile(tmp_path, "BIG5", names=["臺北市", "高雄縣"], fields=("CODE", "NAME"))
    with pytest.raises(BoundaryInvalid, match=r'name it: boundaries\.city\.encoding = "BIG5"'):
        read_layer(source(path), tmp_path)
    layer = read_layer(source(path, encoding="BIG5", columns={"code": "CODE"}), tmp_path)
    assert layer.zones.names == ("臺北市", "高雄縣")
    assert layer.encoding == "big5"


def test_a_stated_double_byte_encoding_is_believed(tmp_path):
    path = shapefile(tmp_path, "BIG5", cpg="950", names=["臺北市", "高雄縣"], fields=("CODE", "NAME"))
    assert read_layer(source(path, columns={"code": "CODE"}), tmp_path).zones.names == ("臺北市", "高雄縣")


def test_configured_encoding_that_does_not_fit_is_refused_with_the_one_that_does(tmp_path):
    with pytest.raises(BoundaryInvalid, match=r'boundaries\.city\.encoding = "GB18030"'):
        read_layer(source(shapefile(tmp_path, "GBK"), encoding="UTF-8"), tmp_path)
    with pytest.raises(BoundaryInvalid, match=r'unknown encoding(?s:.*)boundaries\.city\.encoding = "GB18030"'):
        read_layer(source(tmp_path / "市界.shp", encoding="KLINGON"), tmp_path)


@pytest.mark.parametrize("encoding", ["GBK", "UTF-8"])
def test_a_character_cut_by_the_fields_width_is_dropped_not_fatal(tmp_path, encoding):
    path = shapefile(tmp_path, encoding)
    dbf = path.with_suffix(".dbf")
    content = bytearray(dbf.read_bytes())
    # Shrink the longest name's padding away: overwrite the field so that it is full and ends inside a character.
    width = content[32 + 32 + 16]
    name = ("恩" * width).encode(encoding)[:width]
    if len(name.decode(encoding, errors="ignore").encode(encoding)) == width:
        name = b"A" + name[:-1]
    at = content.index("恩施".encode(encoding))
    content[at : at + width] = name
    dbf.write_bytes(content)
    names = read_layer(source(path), tmp_path).zones.names
    assert names[2].strip("A恩") == ""
    assert names[:2] == tuple(CITIES[:2])


def test_truncated_attribute_table_is_refused(tmp_path):
    path = shapefile(tmp_path, "GBK")
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes()[:-50])
    with pytest.raises(BoundaryUnreadable, match=r"cut off(?s:.*)all of one export"):
        read_layer(source(path), tmp_path)
    dbf.write_bytes(b"short")
    with pytest.raises(BoundaryUnreadable, match=r"no header(?s:.*)all of one export"):
        read_dbf_text(dbf)


chinese = st.lists(
    st.text(
        st.sampled_from("安徽省合肥蚌埠亳州阜阳淮南滁六马鞍山芜湖宣城铜陵池安庆黄区县旗盟自治州"),
        min_size=3,
        max_size=8,
    ),
    min_size=3,
    max_size=30,
)


@given(chinese)
def test_chinese_text_is_told_in_both_encodings(texts):
    assert detect(raw(texts, "gb18030")) == "GB18030"
    assert detect(raw(texts, "utf-8")) == "UTF-8"


@pytest.mark.parametrize(
    "texts",
    [
        ["Rhône-Alpes", "Île-de-France", "Pyrénées-Orientales"],
        ["Zürich", "Genève", "Neuchâtel"],
        ["Łódź", "Kraków", "Gdańsk"],
        ["Αθήνα", "Θεσσαλονίκη"],
        ["Москва", "Тверь"],
    ],
)
def test_latin_greek_and_cyrillic_in_utf8_are_not_taken_for_chinese(texts):
    assert detect(raw(texts, "utf-8")) == "UTF-8"


def test_latin_text_is_not_taken_for_chinese():
    assert detect(raw(["Rhône-Alpes", "Île-de-France", "Pyrénées-Orientales"], "cp1252")) is None
    chosen = choose(raw(["Rhône-Alpes", "Île-de-France"], "cp1252"), {".cpg": "1252"}, None, key="k")
    assert chosen.name == "cp1252"


def test_two_byte_names_in_doubt_are_called_chinese():
    """All four characters are valid two-byte UTF-8, which would give Arabic and Armenian letters."""
    texts = ["鹿", "庐陵", "毛", "虏"]
    doubtful = [t for t in texts if _is_utf8(t.encode("gbk"))]
    assert doubtful == ["鹿", "毛", "虏"]
    assert detect(raw(doubtful, "gbk")) == "GB18030"


def test_utf8_whose_bytes_are_also_chinese_in_gb_stays_utf8():
    texts = ["岱山", "山海"]
    assert all(t.encode().decode("gb2312") for t in texts)  # six bytes, three other characters
    assert detect(raw(texts, "utf-8")) == "UTF-8"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_ascii_needs_no_telling():
    assert detect([(b"Bujumbura", False), (b"", False)]) == "ASCII"
    assert choose([(b"Bujumbura", False)], {}, None, key="k").name == "UTF-8"


@pytest.mark.parametrize(
    ("written", "name"),
    [("936", "gbk"), ("GBK", "gbk"), ("UTF-8", "utf-8"), ("utf8", "utf-8"), ("65001", "utf-8"), ("ANSI 1252", "cp1252"),
     ("CP950", "cp950"), ("ISO-8859-1", "iso8859-1"), ("ISO 88591", "iso8859-1"), ("88591", "iso8859-1"),
     ("nonsense", None)],
)  # fmt: skip
def test_names_of_encodings_are_understood(written, name):
    assert codec_name(written) == name


def test_only_a_cut_end_is_forgiven():
    whole = "市区".encode()
    assert decode(whole[:-1], "utf-8") == "市"
    with pytest.raises(UnicodeDecodeError):
        decode(whole[:-1], "utf-8", may_be_cut=False)
    with pytest.raises(UnicodeDecodeError):
        decode(whole[1:], "utf-8")


@pytest.mark.real_data
def test_the_province_map_of_china_is_chinese(real_data):
    text = read_dbf_text(real_data / "ntl/china_harmonized_2008_5min/shapefile/bou2_4p.dbf")
    assert text.language_driver == 0
    assert detect(text.texts) == "GB18030"
