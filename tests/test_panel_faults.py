"""Every way the levels or options of a pair panel can be wrong: the error, its mend line, nothing left behind."""

from __future__ import annotations

import errno

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gis.errors import GisError, OptionInvalid, TableInvalid, WriteFailed
from gis.panel import balance, balance_batches, orientation_shares, write_pairs


def good() -> pd.DataFrame:
    cells = [(code, year) for code in ("110000", "310000", "440100") for year in (2000, 2001, 2002)]
    frame = pd.DataFrame(cells, columns=["city_code", "year"])
    return frame.assign(level=np.arange(1.0, 10.0))


def with_value(column: str, value: object, dtype: str | None = None) -> pd.DataFrame:
    frame = good()
    frame[column] = frame[column].astype(dtype or object)
    frame.loc[4, column] = value
    return frame


FAULTS = {
    "no level column": (
        good().drop(columns="level"),
        "no column level",
        "rename the columns to city_code, year, level",
    ),
    "no code column": (good().rename(columns={"city_code": "code"}), "no column city_code", "rename the columns"),
    "repeated key": (pd.concat([good(), good().iloc[[4]]]), "310000 in 2001", "one row per unit and year"),
    "missing code": (with_value("city_code", None), "None", "six-character text"),
    "empty code": (with_value("city_code", ""), "''", "drop empty codes"),
    "four digits": (with_value("city_code", "3100"), "'3100'", "00 after 4 digits"),
    "twelve digits": (with_value("city_code", "310000000000"), "'310000000000'", "the first 6 of 12"),
    "code as a number": (good().astype({"city_code": "int64"}), "110000, 310000, 440100", r"astype\(str\) for numbers"),
    "code of letters": (with_value("city_code", "lineage"), "'lineage'", "six-character text"),
    "missing year": (with_value("year", np.nan, "float64"), "nan", "calendar year as a whole number"),
    "half a year": (with_value("year", 2000.5, "float64"), "2000.5", "calendar year as a whole number"),
    "infinite year": (with_value("year", np.inf, "float64"), "inf", "calendar year as a whole number"),
    "year in words": (with_value("year", "n/a"), "n/a", "make the column numeric"),
    "level in words": (with_value("level", "missing"), "missing", "a missing value is NaN, not a word"),
    "negative level": (with_value("level", -0.25), "310000 in 2001: -0.25", 'negatives = "zero"'),
    "infinite level": (with_value("level", np.inf), "310000 in 2001: inf", "make them NaN"),
    "minus infinite level": (with_value("level", -np.inf), "310000 in 2001: -inf", "make them NaN"),
    "one city": (good().iloc[:3], "1 unit(s) in 3 year(s)", "at least two units and two years"),
    "one year": (good().query("year == 2000"), "3 unit(s) in 1 year(s)", "at least two units and two years"),
    "no row": (good().iloc[:0], "0 unit(s) in 0 year(s)", "at least two units and two years"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_levels_is_named_and_mended(fault, tmp_path):
    frame, what, mend = FAULTS[fault]
    path = tmp_path / "pairs.parquet"
    with pytest.raises(TableInvalid, match=f"mend:.*{mend}") as caught:
        balance(frame)
    assert what in caught.value.what
    with pytest.raises(TableInvalid, match=mend):
        balance_batches(frame)  # at the call, not at the first batch
    with pytest.raises(TableInvalid, match=mend):
        write_pairs(frame, path)
    assert list(tmp_path.iterdir()) == []


def test_the_levels_the_faults_are_made_from_are_sound():
    assert len(balance(good())) == 6


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_level_is_no_fault(missing):
    assert balance(with_value("level", missing))["bal_flag"].tolist() == [
        "NOLEVEL",
        "NOORDER",
        "",
        "",
        "NOLEVEL",
        "NOORDER",
    ]


def test_nullable_and_whole_float_columns_are_read_like_plain_ones():
    nullable = good().astype({"year": "Int64", "level": "Float64"})
    pd.testing.assert_frame_equal(balance(nullable), balance(good()))
    pd.testing.assert_frame_equal(balance(good().astype({"year": "float64"})), balance(good()))


@pytest.mark.parametrize("build", [balance, balance_batches, orientation_shares])
def test_an_unknown_tie_rule_is_refused(build):
    with pytest.raises(OptionInvalid, match=r"mend:.*one of previous, drop, t-2"):
        build(good(), tie="higher")


@pytest.mark.parametrize("years", [(2000, 2002), (2001, 2003), (2002, 2001)])
def test_years_without_possible_rows_are_refused(years):
    with pytest.raises(OptionInvalid, match=r"mend:.*years=\(2001, 2002\)"):
        balance(good(), years=years)


def test_an_empty_batch_is_refused():
    with pytest.raises(OptionInvalid, match=r"mend:.*give 1 or more"):
        balance_batches(good(), pairs_per_batch=0)


def test_a_district_table_read_as_cities_is_told_which_column_to_use():
    frame = good().rename(columns={"city_code": "district_code"}).assign(city_code="110000")
    with pytest.raises(GisError, match=r'mend:.*code="district_code"'):
        balance(frame)


def test_a_disk_that_fills_midway_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "pairs.parquet"
    write_pairs(good(), path)
    before = path.read_bytes()
    write_table, calls = pq.ParquetWriter.write_table, []

    def full(self, table, *args, **kwargs):
        calls.append(table.num_rows)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_table(self, table, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(WriteFailed, match=r"mend:.*free some space"):
        write_pairs(good(), path, pairs_per_batch=1)
    assert len(calls) == 2
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
