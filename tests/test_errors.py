"""Every error says what, where and how to mend it, is also a builtin, and crosses process borders whole."""

from __future__ import annotations

import copy
import pickle

import pytest

from gis import errors
from gis.errors import GisError

CHILDREN = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GisError) and c is not GisError),
    key=lambda c: c.__name__,
)

BUILTIN = {
    "BoundaryInvalid": ValueError,
    "BoundaryUnreadable": OSError,
    "CodeInvalid": ValueError,
    "ConfigInvalid": ValueError,
    "CoverageInvalid": ArithmeticError,
    "CrsInvalid": ValueError,
    "CrsMismatch": ValueError,
    "CrsMissing": ValueError,
    "GeometryInvalid": ValueError,
    "GridInvalid": ValueError,
    "GridMismatch": ValueError,
    "NotBuilt": NotImplementedError,
    "OptionInvalid": ValueError,
    "RasterInvalid": ValueError,
    "RasterUnreadable": OSError,
    "SeriesInvalid": ValueError,
    "TableInvalid": ValueError,
    "WorkspaceMissing": FileNotFoundError,
    "WriteFailed": OSError,
    "YearMissing": LookupError,
}

each = pytest.mark.parametrize("child", CHILDREN, ids=lambda c: c.__name__)


def test_the_table_covers_every_error():
    assert {c.__name__ for c in CHILDREN} >= set(BUILTIN)
    assert all(any(issubclass(c, b) for b in set(BUILTIN.values())) for c in CHILDREN)


@pytest.mark.parametrize(("name", "builtin"), BUILTIN.items())
def test_an_error_is_caught_as_the_builtin_it_is(name, builtin):
    with pytest.raises(builtin, match="mend:  turn it round"):
        raise getattr(errors, name)("the raster is upside down", where="a.tif", mend="turn it round")


@each
def test_an_error_prints_three_lines(child):
    error = child("the raster is upside down", where="a.tif", mend="turn it round")
    assert str(error) == "the raster is upside down\n  where: a.tif\n  mend:  turn it round"
    assert f"{error}" == str(error)


@each
def test_an_error_prints_only_the_lines_it_has(child):
    assert str(child("upside down")) == "upside down"
    assert str(child("upside down", mend="turn it round")) == "upside down\n  mend:  turn it round"
    assert str(child("upside down", where=2019)) == "upside down\n  where: 2019"


@each
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_survives_the_way_to_another_process(child, again):
    there = again(child("年份 2019 is missing", where="a.tif", mend="add it"))
    assert type(there) is child
    assert (there.what, there.where, there.mend) == ("年份 2019 is missing", "a.tif", "add it")
    assert str(there) == "年份 2019 is missing\n  where: a.tif\n  mend:  add it"


@each
def test_where_is_kept_as_text(child, tmp_path):
    assert child("gone", where=tmp_path / "a.tif").where == str(tmp_path / "a.tif")  # a path need not be picklable


@pytest.mark.parametrize("child", [c for c in CHILDREN if issubclass(c, OSError)], ids=lambda c: c.__name__)
def test_the_sentence_is_not_taken_for_an_error_number(child):
    # OSError reads two arguments and more as errno, text, file name.
    error = child("the disk is full", where="a.tif", mend="free some space")
    assert (error.errno, error.filename) == (None, None)
    assert error.args == ("the disk is full",)


def test_the_cause_is_kept():
    def fail():
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise errors.WriteFailed("could not finish", where="a.tif", mend="free some space") from error

    with pytest.raises(errors.WriteFailed, match="mend:  free some space") as caught:
        fail()
    assert caught.value.__cause__.errno == 28
