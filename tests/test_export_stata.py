"""Stata files: every value, label and Chinese name arrives, in pandas, in readstat, and in R's haven where it is."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
from export_cases import CITIES, pair_year, tables, unit_year, write_run
from hypothesis import given
from hypothesis import strategies as st
from pandas.io.stata import StataReader
from script_cases import COLUMNS as PANEL
from script_cases import pair_panel

from gis.errors import OptionInvalid, TableInvalid, WriteFailed
from gis.export import ExportOptions, export, stata
from gis.export.stata import DUMMIES, RESERVED, cut, stata_name, stata_names, write_dta
from gis.tables import CITY_YEAR, COLUMNS, PAIR_YEAR, TABLES, Column, Table, write_table


def written(table: Table, frame: pd.DataFrame, folder: Path) -> Path:
    return write_dta(table, write_table(table, frame, folder / "t.parquet"), folder / "t.dta")


def plain_table(*columns: Column) -> Table:
    return Table("odd", "Odd values.", (columns[0].name,), tuple(c.name for c in columns), (), columns)


def assert_same(path: Path, table: Table, frame: pd.DataFrame) -> None:
    """Compare what pandas reads with what was to be written, value by value."""
    again = pd.read_stata(path, convert_categoricals=False)
    assert list(again.columns) == list(stata_names(table.columns).values())
    assert len(again) == len(frame)
    for name, short in stata_names(table.columns).items():
        if table.column(name).dtype == "string":
            assert list(again[short]) == list(frame[name].fillna("")), name
        else:
            expected = frame[name].astype("Float64").to_numpy(float, na_value=np.nan)
            np.testing.assert_array_equal(again[short].to_numpy(float), expected, name)


# --- values and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 10**6])
@pytest.mark.parametrize(("table", "frame"), [*tables(), (PANEL, pair_panel())], ids=lambda v: getattr(v, "name", ""))
def test_every_value_comes_back_however_it_is_cut_into_batches(
    table: Table, frame: pd.DataFrame, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rows == 1:
        frame = frame.head(5)  # a file per row is slow
    monkeypatch.setattr(stata, "ROWS", rows)
    path = written(table, frame, tmp_path)
    assert_same(path, table, frame)
    whole = path.read_bytes()
    monkeypatch.setattr(stata, "ROWS", 10**6)
    assert write_dta(table, tmp_path / "t.parquet", tmp_path / "u.dta").read_bytes() == whole


def test_labels_units_and_chinese_names_arrive_in_pandas_and_in_readstat(tmp_path: Path) -> None:
    path = written(CITY_YEAR, unit_year("city", CITIES), tmp_path)
    assert path.read_bytes().startswith(b"<stata_dta><header><release>118</release>")
    with StataReader(path) as reader:
        frame, labels, values = reader.read(), reader.variable_labels(), reader.value_labels()
        title = reader.data_label
    assert labels == {c: COLUMNS[c].label for c in CITY_YEAR.columns}
    assert values["is_synthetic"] == {0: "no", 1: "yes"}
    assert title == cut(CITY_YEAR.title.rstrip("."), 80)
    assert set(frame["city_name"]) == set(CITIES.names)
    assert set(frame["city_code"]) == set(CITIES.codes)  # texts of six characters
    assert frame["year"].dtype == np.int16
    again, meta = pyreadstat.read_dta(str(path))
    assert meta.column_names_to_labels == labels and meta.file_label == title
    assert meta.variable_value_labels["is_synthetic"] == {0: "no", 1: "yes"}
    assert list(again["city_name"]) == list(frame["city_name"])
    np.testing.assert_array_equal(again["level"], frame["level"])


def test_every_label_fits_and_every_dummy_has_its_words(tmp_path: Path) -> None:
    for table in TABLES.values():
        assert all(len(table.column(c).label) <= 80 for c in table.columns)
    ones = {n for n, c in COLUMNS.items() if c.dtype == "int32" and c.label.startswith("1 where")}
    assert ones | {"gap_light_first"} == set(DUMMIES)
    path = written(PANEL, pair_panel(), tmp_path)
    with StataReader(path) as reader:
        assert set(reader.value_labels()) == {"switched", "tie", "is_border", "hsr", "east_dev"}
        east = reader.read(columns=["east_dev"])["east_dev"]
    assert set(east.cat.categories) == {"no", "yes"}


def test_a_missing_value_is_missing_whatever_its_type(tmp_path: Path) -> None:
    frame = pair_year()
    assert frame["switched"].isna().any() and frame["bal"].isna().any() and frame["hi"].isna().any()
    path = written(PAIR_YEAR, frame, tmp_path)
    again = pd.read_stata(path, convert_categoricals=False)
    assert list(again["switched"].isna()) == list(frame["switched"].isna())
    assert list(again["bal"].isna()) == list(frame["bal"].isna())
    assert list(again["hi"] == "") == list(frame["hi"].isna())
    read, _ = pyreadstat.read_dta(str(path))
    assert list(read["tie"].isna()) == list(frame["tie"].isna())


def test_a_table_without_rows_is_a_file_without_rows(tmp_path: Path) -> None:
    path = written(PAIR_YEAR, pair_year().head(0), tmp_path)
    assert_same(path, PAIR_YEAR, pair_year().head(0))
    assert pyreadstat.read_dta(str(path))[1].number_rows == 0


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([-127, 100], "int8"), ([0, 101], "int16"), ([-32768], "int32"), ([2147483620], "int32"),
     ([2147483621], "float64"), ([2**53], "float64"), ([-(2**53)], "float64")],
)  # fmt: skip
def test_integers_take_the_smallest_type_that_holds_them(values: list[int], dtype: str, tmp_path: Path) -> None:
    table = plain_table(Column("k", "int64", "", "K"))
    again = pd.read_stata(written(table, pd.DataFrame({"k": values}), tmp_path))
    assert again["k"].dtype == dtype and [int(v) for v in again["k"]] == values


@pytest.mark.parametrize("length", [2045, 2046, 40_000])
def test_texts_of_any_length_come_back(length: int, tmp_path: Path) -> None:
    texts = ["", "甲" * (length // 3) + "x" * (length % 3), "short"]
    table = plain_table(Column("k", "int32", "", "K"), Column("note", "string", "", "N"))
    path = written(table, pd.DataFrame({"k": np.arange(3, dtype="int32"), "note": texts}), tmp_path)
    assert list(pd.read_stata(path)["note"]) == texts
    assert list(pyreadstat.read_dta(str(path))[0]["note"]) == texts


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9), max_size=9))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    table = plain_table(Column("k", "int32", "", "K"), Column("note", "string", "", "N"))
    frame = pd.DataFrame({"k": np.arange(len(texts), dtype="int32"), "note": pd.array(texts, dtype="str")})
    assert_same(written(table, frame, tmp_path_factory.mktemp("t")), table, frame)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stata, "ROWS", 1000)
    small = pq.read_table(write_table(PAIR_YEAR, pair_year(), tmp_path / "t.parquet"))
    peaks = []
    for n in (5_000, 20_000):
        source = tmp_path / f"{n}.parquet"
        pq.write_table(small.take(np.arange(n) % len(small)), source, row_group_size=1000)
        tracemalloc.start()
        write_dta(PAIR_YEAR, source, tmp_path / f"{n}.dta")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "20000.dta").stat().st_size > 3.5 * (tmp_path / "5000.dta").stat().st_size
    assert peaks[1] < 1.3 * peaks[0]  # four times the rows; the allowance is for caches of first use


# --- what has no place ----------------------------------------------------------------------------------------------


def test_what_has_no_place_in_stata_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    cases = [
        (Column("x", "int64", "", "X"), 2**53 + 1, "beyond 2.53"),
        (Column("x", "float64", "", "X"), np.inf, "is infinite"),
        (Column("x", "string", "", "X"), "a\0b", "null character"),
    ]
    for column, value, what in cases:
        table = plain_table(Column("k", "int32", "", "K"), column)
        frame = pd.DataFrame({"k": np.arange(2, dtype="int32"), "x": [value, value]})
        with pytest.raises(TableInvalid, match=f"{what}[^~]*mend:  export to parquet or csv"):
            written(table, frame, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_an_infinite_value_is_named_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stata, "ROWS", 4)
    frame = pair_panel()
    frame.loc[9, "ts"] = -np.inf
    with pytest.raises(TableInvalid, match=r"column ts is infinite[^~]*row 10\n  mend: "):
        written(PANEL, frame, tmp_path)


def test_a_table_that_is_not_there_or_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableInvalid, match="mend:  lightpanel run"):
        write_dta(CITY_YEAR, tmp_path / "absent.parquet", tmp_path / "c.dta")
    pq.write_table(pa.table({"city_code": ["110000"]}), tmp_path / "half.parquet")
    with pytest.raises(TableInvalid, match="mend:  rewrite it: lightpanel run"):
        write_dta(CITY_YEAR, tmp_path / "half.parquet", tmp_path / "c.dta")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(PAIR_YEAR, pair_year(), tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(stata, "ROWS", 3)
    true, calls = stata._one_file, []

    def full(*args: object) -> tuple[bytes, int]:
        calls.append(1)
        if len(calls) == 3:  # two batches are on the disk by then
            raise OSError(28, "No space left on device")
        return true(*args)

    monkeypatch.setattr(stata, "_one_file", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_dta(PAIR_YEAR, tmp_path / "t.parquet", path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.dta", "t.parquet"]


# --- names ----------------------------------------------------------------------------------------------------------


def test_declared_names_stay_as_they_are() -> None:
    assert all(stata_name(name) == name for name in COLUMNS)
    assert stata_name("a" * 32) == "a" * 32


def test_other_names_follow_one_rule() -> None:
    # The digits are those of `printf %s long | sha256sum`.
    assert stata_name("long") == "long_fc66f0"
    assert stata_name("a_name_of_more_than_thirty_two_characters").startswith("a_name_of_more_than_thirt_")
    assert stata_name("2sls") == "_2sls_" + stata_name("2sls")[-6:]
    assert stata_name("str12") != "str12" and stata_name("str") == "str"
    assert stata_name("人均.gdp").startswith("___gdp_")


@given(st.text(max_size=50))
def test_every_name_is_one_that_stata_takes(name: str) -> None:
    short = stata_name(name)
    assert 0 < len(short) <= 32 and short.isascii() and short.isidentifier() and short not in RESERVED
    assert stata_name(short) == short


@given(st.lists(st.text(alphabet="ab_", min_size=30, max_size=40), unique=True, max_size=30))
def test_long_names_with_one_beginning_stay_apart(names: list[str]) -> None:
    assert len(set(stata_names(names).values())) == len(names)


def test_words_that_pandas_would_rename_are_all_known() -> None:
    with_one = pd.DataFrame({"k": [1]})
    assert pd.io.stata.StataWriterUTF8("unused.dta", with_one).RESERVED_WORDS <= RESERVED


def test_names_that_would_meet_are_refused() -> None:
    with pytest.raises(TableInvalid, match=r"mend:  rename one of them in workspace\.toml"):
        stata_names(["long", stata_name("long")], where="t.parquet")


# --- the export -----------------------------------------------------------------------------------------------------


def test_an_export_holds_every_table_a_codebook_and_the_do_file(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    found = [p.name for p in export(out, "dta")]
    assert found == [f"{t.name}.dta" for t, _ in tables()] + ["dictionary.csv", "lightpanel.do"]
    assert sorted(p.name for p in (out / "dta").iterdir()) == sorted(found)
    codebook = pd.read_csv(out / "dta" / "dictionary.csv")
    assert set(codebook["column"]) >= {"city_code", "bal", "level"}


def test_single_tables_can_be_asked_for_by_name(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    found = export(out, "dta", options=ExportOptions(tables=("pair_year",)))
    assert [p.name for p in found] == ["pair_year.dta", "dictionary.csv", "lightpanel.do"]
    with pytest.raises(OptionInvalid, match=r"no table pair_yaer[^~]*mend:  one of city_year, district"):
        export(out, "dta", folder=tmp_path / "none", options=ExportOptions(tables=("pair_yaer",)))
    with pytest.raises(OptionInvalid, match="mend:  leave --table out, or export to csv"):
        export(out, "gpkg", folder=tmp_path / "none", options=ExportOptions(tables=("pair_year",)))
    assert not (tmp_path / "none").exists()


def test_haven_reads_labels_and_chinese_names(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("there is no Rscript")
    path = written(CITY_YEAR, unit_year("city", CITIES), tmp_path)
    script = tmp_path / "read.R"
    script.write_text(
        'if (!requireNamespace("haven", quietly = TRUE)) quit(status = 77)\n'
        f'd <- haven::read_dta("{path}")\n'
        'cat(nrow(d), attr(d$level, "label"), attr(d, "label"), class(d$city_code), sep = "\\n")\n'
        'cat(names(attr(d$is_synthetic, "labels")), unique(d$city_name), sprintf("%.17g", d$level[1]), sep = "\\n")\n',
        "utf-8",
    )
    said = subprocess.run(
        ["Rscript", "--vanilla", script], capture_output=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    )
    if said.returncode == 77:
        pytest.skip("R has no package haven")
    lines = said.stdout.decode("utf-8").splitlines()
    frame = unit_year("city", CITIES)
    assert lines[:4] == [str(len(frame)), COLUMNS["level"].label, cut(CITY_YEAR.title.rstrip("."), 80), "character"]
    assert lines[4:-1] == ["no", "yes", *CITIES.names]
    assert float(lines[-1]) == frame["level"].iloc[0]
