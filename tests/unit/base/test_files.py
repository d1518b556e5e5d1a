"""Artifacts on disk: whole or absent, and read in part."""

import errno
import os
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest

from ich.base.errors import InputError
from ich.base.files import ROW_GROUP, count_rows, read_parquet, read_rows, replacing, write_parquet

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of two whole row groups and a piece."""
    count = 2 * ROW_GROUP + 100
    frame = pd.DataFrame({"name": [f"row {row}" for row in range(count)], "number": range(count)})
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    write_parquet(frame, path, SCHEMA)
    return path, frame


EDGES = (0, 1, ROW_GROUP - 1, ROW_GROUP, ROW_GROUP + 1, 2 * ROW_GROUP, 2 * ROW_GROUP + 99, 2 * ROW_GROUP + 100)


@pytest.mark.parametrize("stop", EDGES)
@pytest.mark.parametrize("start", EDGES)
def test_consecutive_rows_are_those_of_the_table(table, start, stop):
    path, frame = table
    if start <= stop:
        pd.testing.assert_frame_equal(read_rows(path, slice(start, stop)), frame[start:stop].reset_index(drop=True))


def test_rows_of_an_empty_table(tmp_path):
    path = tmp_path / "empty.parquet"
    write_parquet(pd.DataFrame({"name": [], "number": []}), path, SCHEMA)
    assert count_rows(path) == 0
    assert read_rows(path, slice(0, 0)).columns.tolist() == ["name", "number"]


def test_rows_are_counted(table):
    path, frame = table
    assert count_rows(path) == len(frame) == len(read_parquet(path))


# A limit on the size of files fails a write halfway, as a full disk does, and needs no privilege.
WRITE_TOO_MUCH = """
import resource, sys
from tests.unit.base.test_files import SCHEMA
import pandas as pd
from ich.base import jobs
from ich.base.files import write_parquet, write_text
jobs.start(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
if sys.argv[1].endswith("txt"):
    write_text("x" * 100_000, sys.argv[1])
write_parquet(pd.DataFrame({"name": map(str, range(100_000)), "number": range(100_000)}), sys.argv[1], SCHEMA)
"""


@pytest.mark.parametrize("name", ["table.parquet", "page.txt"])
@pytest.mark.parametrize("before", [None, b"the former content"])
def test_a_write_that_fails_halfway_is_told_in_words_and_leaves_the_former_file(tmp_path, name, before):
    path, log = tmp_path / name, tmp_path / "logs/job.log"
    if before:
        path.write_bytes(before)
    done = subprocess.run([sys.executable, "-c", WRITE_TOO_MUCH, path, log], capture_output=True, text=True)
    assert done.returncode == 1
    for text in (done.stderr, log.read_text()):
        assert f"{path}: cannot be written (File too large)." in text
        assert "run again" in text
        assert "Traceback" not in text
    assert (path.read_bytes() if path.exists() else None) == before
    assert {each.name for each in tmp_path.iterdir()} == {"logs", *([name] if before else [])}


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_the_remedy_fits_the_reason(tmp_path, reason):
    remedy = "Free some space" if reason in (errno.ENOSPC, errno.EDQUOT) else "writable"
    words = rf"a\.txt: cannot be written \({os.strerror(reason)}\)\. .*{remedy}"
    with pytest.raises(InputError, match=words), replacing(tmp_path / "a.txt"):
        raise OSError(reason, "from the system")


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "a.txt"):
        raise IsADirectoryError(errno.EISDIR, "a fault of the code")


def test_of_two_writers_the_later_one_stays(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError), replacing(path) as earlier:
        earlier.write_text("earlier")
        with replacing(path) as later:
            later.write_text("later")
            assert not earlier.exists()
    assert path.read_text() == "later"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    left = [tmp_path / ".a.txt.0123.partial", tmp_path / ".b.txt.0123.partial"]
    for path in left:
        path.write_text("half")
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert [path.exists() for path in left] == [False, True]
