"""What a job says on the terminal and in its log, by processes that end in each way."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

START = "import sys; from ich.base import jobs; jobs.start(sys.argv[1]);"


def job(log, code, *arguments):
    """Run a job; give its exit code, what it printed, and its log."""
    command = [sys.executable, "-c", f"{START} {code}", log, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr, Path(log).read_text() if Path(log).is_file() else ""


def test_the_last_line_tells_time_and_memory(tmp_path):
    code, terminal, log = job(tmp_path / "logs/a.log", "import numpy; numpy.ones(25_000_000)")
    assert code == 0
    assert log == terminal
    found = re.search(r"INFO ended after (\S+) s, (\S+) s of processors, at most (\S+) MB of memory\n$", log)
    seconds, processors, memory = map(float, found.groups())
    assert 0 < seconds < 60
    assert 0 < processors < 60
    assert 190 < memory < 2000  # the array has 191 MiB


def test_bad_input_is_its_message_alone_and_a_fault_of_the_code_has_its_traceback(tmp_path):
    raising = "from ich.base.errors import InputError; raise InputError('a.csv: no column ID')"
    code, terminal, log = job(tmp_path / "a.log", raising)
    assert code == 1
    assert log == terminal
    assert "ERROR a.csv: no column ID\n" in log
    assert "Traceback" not in log
    code, terminal, log = job(tmp_path / "b.log", "1 / 0")
    assert code == 1
    assert log == terminal
    assert "unexpected error\nTraceback" in log
    assert "ZeroDivisionError" in log


DAMAGED = (
    "from pathlib import Path; from ich.base.errors import DamagedArtifact; raise DamagedArtifact('It is damaged.'"
)


def test_a_damaged_artifact_is_removed(tmp_path):
    path = tmp_path / "a.npy"
    path.write_text("damaged")
    code, _, log = job(tmp_path / "a.log", f"{DAMAGED}, Path(sys.argv[2]))", path)
    assert code == 1
    assert not path.exists()
    assert "ERROR It is damaged.\n" in log
    assert f"ERROR {path}: removed, so that the next run makes it anew\n" in log
    code, _, log = job(tmp_path / "b.log", f"{DAMAGED})")  # as a process that reads ahead hands it on
    assert code == 1
    assert "ERROR It is damaged.\n" in log
    assert "removed" not in log


def test_a_log_that_cannot_be_made_is_told_in_words(tmp_path):
    (tmp_path / "logs").symlink_to("/sys")  # where nobody may make a file
    code, terminal, _ = job(tmp_path / "logs/a.log", "")
    assert code == 1
    assert f"{tmp_path}/logs/a.log: cannot be written (" in terminal
    assert "Traceback" not in terminal


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_where_the_log_is_on_a_full_disk_the_terminal_has_the_message(tmp_path):
    code, terminal, _ = job(
        "/dev/full", "from ich.base.errors import InputError; raise InputError('a.csv: no column ID')"
    )
    assert code == 1
    assert "ERROR a.csv: no column ID\n" in terminal
    assert "Traceback" not in terminal
