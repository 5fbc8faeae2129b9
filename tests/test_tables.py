"""Tables: columns written down once, checked before they are written, and written whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import RasterUnreadable, TableInvalid, WriteFailed
from gis.tables import (
    CITY_YEAR,
    COLUMNS,
    NATIONAL_YEAR,
    PAIR_YEAR,
    TABLES,
    arrow_from_frame,
    atomic_path,
    check,
    read_table,
    write_batches,
    write_table,
)
from gis.tables.foreign import read_foreign

ALL_TABLES = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def pair_frame(n_pairs=3, years=(2001, 2002)):
    """A pair-year table with values, ties, gaps and missing text."""
    rows = [(i, year) for i in range(n_pairs) for year in years]
    n = len(rows)
    return pd.DataFrame(
        {
            "pair_id": pd.Series([110000_120000 + i for i, _ in rows], dtype="int64"),
            "year": pd.Series([year for _, year in rows], dtype="int32"),
            "city_i": "110000", "city_j": "120000", "hi": "110000", "lo": "120000",
            "bal": np.where(np.arange(n) == 0, np.nan, 0.68),
            "switched": [None] + [True] * (n - 1),
            "tie": False,
            "level_hi": 2.2, "level_lo": 1.5, "level_hi_lag": 2.0, "level_lo_lag": 1.0,
            "bal_flag": ["NOORDER"] + [""] * (n - 1),
        }
    )  # fmt: skip


def empty_frame(table):
    return table.arrow_schema().empty_table().to_pandas()


def only(folder):
    """Every name in a folder, hidden ones included."""
    return sorted(os.listdir(folder))


# --- what is written down -------------------------------------------------------------------------------------------


@ALL_TABLES
def test_every_column_of_a_table_is_declared_once(table):
    assert set(table.columns) <= set(COLUMNS)
    assert len(set(table.columns)) == len(table.columns)
    assert table.columns[: len(table.key)] == table.key
    assert TABLES[table.name] is table


def test_every_declared_column_is_used():
    assert set(COLUMNS) == {name for table in TABLES.values() for name in table.columns}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_names_and_labels_fit_every_format(column):
    assert column.name == column.name.lower()
    assert column.name.isidentifier()
    assert len(column.name) <= 32  # Stata: names
    assert 0 < len(column.label) <= 80  # Stata: labels
    # A coefficient is in units of the outcome per unit of the term; the value of a statistic is in the statistic's.
    varies = column.name.split("_")[0] in ("coef", "se", "ci", "value")
    assert column.unit or varies or column.dtype != "float64"  # codes, names, flags and ranks have none
    for ending, unit in (("_km2", "km2"), ("_persons", "persons"), ("_share", "1"), ("_dn_km2", "DN km2")):
        if column.name.endswith(ending) and column.name != "pop_density_persons_km2":
            assert column.unit.endswith(unit)


@ALL_TABLES
def test_unit_and_label_reach_the_parquet_file(table, tmp_path):
    path = write_table(table, empty_frame(table), tmp_path / f"{table.name}.parquet", metadata={"城市": ["北京"]})
    schema = pq.read_schema(path)
    assert schema.names == list(table.columns)
    for name in table.columns:
        field, column = schema.field(name), COLUMNS[name]
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"label"].decode() == column.label
        assert field.type == pa.type_for_alias(column.dtype)
    assert schema.metadata[b"lightpanel.table"].decode() == table.name
    assert schema.metadata[b"title"].decode() == table.title
    assert schema.metadata[b"key"].decode() == ",".join(table.key)
    assert json.loads(schema.metadata[b"lightpanel"]) == {"城市": ["北京"]}


# --- checks ---------------------------------------------------------------------------------------------------------


def test_columns_come_in_the_tables_order():
    frame = pair_frame()
    assert list(check(PAIR_YEAR, frame[frame.columns[::-1]]).columns) == list(PAIR_YEAR.columns)


@pytest.mark.parametrize("column", PAIR_YEAR.columns)
def test_a_missing_column_is_named(column):
    with pytest.raises(TableInvalid, match=rf"(?s)misses \['{column}'\].*where: out.*mend:  declare columns in gis/"):
        check(PAIR_YEAR, pair_frame().drop(columns=column), where="out")


def test_an_undeclared_column_is_named():
    with pytest.raises(TableInvalid, match=r"(?s)undeclared \['gap'\].*mend:  declare columns in gis/tables"):
        check(PAIR_YEAR, pair_frame().assign(gap=1.0))


def test_a_column_that_stands_twice_is_named():
    frame = pair_frame()
    with pytest.raises(TableInvalid, match=r"(?s)columns twice: \['bal'\].*mend:  drop or rename one"):
        check(PAIR_YEAR, pd.concat([frame, frame[["bal"]]], axis=1))


def test_a_repeated_key_is_named():
    frame = pd.concat([pair_frame(), pair_frame().iloc[[1]]])
    with pytest.raises(TableInvalid, match=r"(?s)1 repeated keys, first .*2002.*mend:  keep one row for each pair_id"):
        check(PAIR_YEAR, frame)


@pytest.mark.parametrize(("table", "key"), [(t, k) for t in TABLES.values() for k in t.key], ids=str)
def test_a_row_without_its_key_is_refused(table, key):
    frame = pd.DataFrame({name: pd.Series([None], dtype=object) for name in table.columns})
    frame = frame.assign(**{name: "1" for name in table.key if name != key})
    with pytest.raises(TableInvalid, match=rf"(?s)without {key}\n.*mend:  fill or drop such rows"):
        check(table, frame)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("year", 2001.5),
        ("year", 2**40),
        ("year", "two thousand"),
        ("pair_id", 2**70),
        ("pair_id", 0.25),
        ("bal", "0.68"),
        ("bal", object()),
        ("city_i", 110000),
        ("switched", 1),
        ("switched", "yes"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(column, value, tmp_path):
    frame = pair_frame(1, (2001,)).astype({column: object})
    frame[column] = pd.Series([value], dtype=object)
    with pytest.raises(TableInvalid, match=r"(?s)table pair_year: .*mend:  bring the column to its dtype"):
        write_table(PAIR_YEAR, frame, tmp_path / "pair_year.parquet")
    assert only(tmp_path) == []


# --- there and back -------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    frame = pair_frame()
    back = read_table(PAIR_YEAR, write_table(PAIR_YEAR, frame, tmp_path / "new" / "pair_year.parquet"))
    assert list(back.columns) == list(PAIR_YEAR.columns)
    for name in PAIR_YEAR.columns:
        assert back[name].isna().tolist() == frame[name].isna().tolist()
        assert back[name].dropna().tolist() == frame[name].dropna().tolist()
    assert back["bal"].dtype == np.float64
    assert np.isnan(back["bal"][0])
    assert back["switched"][0] is None
    assert back["year"].dtype == np.int32


@given(st.lists(st.floats(width=64), min_size=1, max_size=30))
def test_every_number_keeps_its_bits(tmp_path_factory, values):
    frame = pair_frame(len(values), (2001,)).assign(bal=values)
    path = tmp_path_factory.mktemp("bits") / "pair_year.parquet"
    back = read_table(PAIR_YEAR, write_table(PAIR_YEAR, frame, path))["bal"].to_numpy()
    there = np.array(values)
    same = (back.view("u8") == there.view("u8")) | (np.isnan(back) & np.isnan(there))
    assert same.all()


def test_batches_are_row_groups_of_one_file(tmp_path):
    frame = pair_frame(6, (2001,))
    batches = (arrow_from_frame(PAIR_YEAR, frame.iloc[i : i + 2]) for i in (0, 2, 4))
    path = write_batches(PAIR_YEAR, batches, tmp_path / "pair_year.parquet")
    assert pq.ParquetFile(path).num_row_groups == 3
    whole = write_table(PAIR_YEAR, frame, tmp_path / "whole.parquet")
    assert read_table(PAIR_YEAR, path).equals(read_table(PAIR_YEAR, whole))


def test_a_missing_table_says_what_makes_it(tmp_path):
    with pytest.raises(TableInvalid, match=r"(?s)no table city_year.*mend:  lightpanel run"):
        read_table(CITY_YEAR, tmp_path / "city_year.parquet")


def test_another_table_under_the_name_is_refused(tmp_path):
    path = write_table(NATIONAL_YEAR, empty_frame(NATIONAL_YEAR), tmp_path / "city_year.parquet")
    with pytest.raises(TableInvalid, match=r"(?s)misses \['city_code'.*mend:  rewrite it: lightpanel run"):
        read_table(CITY_YEAR, path)


@pytest.mark.parametrize("n_bytes", [0, 3, 200, -1])
def test_a_truncated_file_is_refused(tmp_path, n_bytes):
    path = write_table(PAIR_YEAR, pair_frame(), tmp_path / "pair_year.parquet")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(TableInvalid, match=r"(?s)where: .*pair_year.*mend:  delete it and rewrite it: lightpanel run"):
        read_table(PAIR_YEAR, path)


# --- whole or not at all --------------------------------------------------------------------------------------------


def test_success_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent  # a rename within one file system
        assert temporary.suffix == ".csv"  # drivers go by the ending
        assert not temporary.exists()
        temporary.write_text("new")
        assert path.read_text() == "old"  # until the end
    assert path.read_text() == "new"
    assert only(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("name", ["table.csv", "城市[2019]*.csv", "no ending", "x" * 200 + ".csv"])
def test_failure_leaves_what_stood_there_and_no_stray(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("half of it")
            Path(f"{temporary}-wal").write_text("a driver's journal")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert only(tmp_path) == [name]


def test_journals_of_drivers_are_cleared_after_success_too(tmp_path):
    with atomic_path(tmp_path / "a.gpkg") as temporary:
        temporary.write_text("data")
        Path(f"{temporary}-journal").write_text("")
    assert only(tmp_path) == ["a.gpkg"]


def fail_with(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half of it")
        raise error


def test_a_refusal_of_the_system_becomes_write_failed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    full = OSError(28, "No space left on device")
    with pytest.raises(WriteFailed, match=r"(?s)No space left.*where: .*a\.csv.*mend:  free some space") as caught:
        fail_with(path, full)
    assert caught.value.__cause__ is full
    assert path.read_text() == "old"
    assert only(tmp_path) == ["a.csv"]


def test_an_input_that_fails_is_not_blamed_on_the_output(tmp_path):
    # RasterUnreadable is an OSError too: a stream of batches may meet one halfway.
    lost = RasterUnreadable("a.tif is truncated", mend="fetch it again")
    with pytest.raises(RasterUnreadable, match="mend:  fetch it again") as caught:
        fail_with(tmp_path / "a.csv", lost)
    assert caught.value is lost
    assert only(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_write_failed(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(WriteFailed, match="mend:  check the folder's rights and space"):
        write_table(PAIR_YEAR, pair_frame(), tmp_path / "out" / "pair_year.parquet")
    assert only(tmp_path) == ["out"]


def test_a_folder_in_the_place_of_the_file_is_write_failed(tmp_path):
    (tmp_path / "pair_year.parquet").mkdir()
    with pytest.raises(WriteFailed, match="mend:  free some space; what stood there is untouched"):
        write_table(PAIR_YEAR, pair_frame(), tmp_path / "pair_year.parquet")
    assert only(tmp_path) == ["pair_year.parquet"]


def test_a_batch_that_fails_halfway_leaves_the_old_table(tmp_path):
    path = write_table(PAIR_YEAR, pair_frame(1), tmp_path / "pair_year.parquet")
    before = path.read_bytes()

    def batches():
        yield arrow_from_frame(PAIR_YEAR, pair_frame())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_batches(PAIR_YEAR, batches(), path)
    assert path.read_bytes() == before
    assert only(tmp_path) == ["pair_year.parquet"]


TOO_BIG = """
    import sys
    import numpy as np
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from test_tables import pair_frame
    from gis.errors import WriteFailed
    from gis.tables import PAIR_YEAR, read_table, write_table

    folder = Path(sys.argv[1])
    path = write_table(PAIR_YEAR, pair_frame(1), folder / "pair_year.parquet")
    before = path.read_bytes()
    big = pair_frame(20_000)
    big["bal"] = np.random.default_rng(1).random(len(big))  # does not compress: 320 kB
    LIMIT
    try:
        write_table(PAIR_YEAR, big, path)
    except WriteFailed as error:
        print(error)
    else:
        raise SystemExit("it fitted after all")
    assert path.read_bytes() == before
    assert len(read_table(PAIR_YEAR, path)) == 2
    print(sorted(p.name for p in folder.iterdir()))
"""


def run_too_big(folder, limit):
    script = textwrap.dedent(TOO_BIG).replace("LIMIT", limit)
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(here)],
        cwd=here.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "mend:  free some space; what stood there is untouched" in run.stdout
    assert run.stdout.splitlines()[-1] == "['pair_year.parquet']"


def test_a_file_size_limit_leaves_the_old_table(tmp_path):
    pytest.importorskip("resource", reason="this system has no limits on file size")
    run_too_big(tmp_path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 kB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root on Linux; test_a_file_size_limit_* stands in")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this container may not mount: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_table(small_disk):
    run_too_big(small_disk, "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_users_table_keeps_codes_and_chinese_names(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes("city_code,名称,n\n010100,呼和浩特,1\n".encode(encoding))
    frame = read_foreign(path, "panel.tables")
    assert frame.to_dict("records") == [{"city_code": "010100", "名称": "呼和浩特", "n": 1}]


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "t.csv"), (b"no parquet", "t.parquet"), (b"a,b\n1,2\n1,2,3\n", "t.csv")]
)
def test_what_is_no_table_is_named(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TableInvalid, match=r"mend:  give CSV in UTF-8, or Parquet, as panel.tables"):
        read_foreign(path, "panel.tables")
    with pytest.raises(TableInvalid, match=r"mend:  correct the path of panel.tables"):
        read_foreign(tmp_path / "none.csv", "panel.tables")
