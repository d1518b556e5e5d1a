import re
import subprocess
import sys

import pandas as pd
import pytest

from ich.__main__ import main
from ich.base.classes import CLASSES
from ich.base.files import write_csv
from ich.cohort.cohort import build_cohort
from ich.cohort.quarantine import REASONS
from ich.cohort.slices import QUARANTINE_COLUMNS, build_manifest
from ich.dicom.defects import DEFECTS
from ich.dicom.headers import header_rows
from ich.dicom.sources import inventory
from tests.unit.dicom_factory import slice_elements, write_dicom


@pytest.fixture
def quarantine(tmp_path):
    """A table of three reasons from two stages."""
    lines = [("a", "x/a.dcm", "headers", "truncated"), ("b", "x/b.dcm", "headers", "not CT")]
    lines += [(f"n{number}", "", "cohort", "label without slice") for number in range(12_000)]
    write_csv(pd.DataFrame(lines, columns=QUARANTINE_COLUMNS), tmp_path / "data" / "quarantine.csv")
    return tmp_path


def test_what_was_left_out_is_counted_and_explained(quarantine, capsys):
    assert main(["quarantine", "--results", str(quarantine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "12,002 left out"
    assert lines[2:] == [
        "   12,000  label without slice (cohort)",
        f"           {REASONS['label without slice']}",
        "",
        "        1  truncated (headers)",
        f"           {DEFECTS['truncated']}",
        "",
        "        1  not CT (headers)",
        f"           {DEFECTS['not CT']}",
    ]


@pytest.mark.parametrize(
    ("options", "count"),
    [(["--stage", "headers"], 2), (["--reason", "not CT"], 1), (["--stage", "cohort"], 12_000)],
)
def test_the_lines_of_a_stage_or_reason_are_the_tables_own(quarantine, capsys, options, count):
    assert main(["quarantine", "--results", str(quarantine), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = (quarantine / "data" / "quarantine.csv").read_text().splitlines()
    assert lines[0] == table[0]
    assert lines[1:] == [line for line in table[1:] if options[1] in line]
    assert len(lines) == 1 + count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--reason", "trunc"],
            "nothing was left out with reason 'trunc'; there is label without slice, not CT, trunc",
        ),
        (["--stage", "cache"], "nothing was left out with stage 'cache'; there is cohort, headers"),
        (["--stage", "cohort", "--reason", "not CT"], "reason 'not CT'; there is label without slice"),
        (["--results", "elsewhere"], "elsewhere/data/quarantine.csv: there is no such table"),
    ],
)
def test_a_question_without_an_answer_is_an_error(quarantine, capsys, options, message):
    assert main(["quarantine", "--results", str(quarantine), *options]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.match(rf"ich: .*{re.escape(message)}", told.err)


def test_a_damaged_table_is_named(quarantine, capsys):
    (quarantine / "data" / "quarantine.csv").write_text("image_id\n")
    assert main(["quarantine", "--results", str(quarantine)]) == 1
    assert "quarantine.csv: not the workflow's table" in capsys.readouterr().err


def test_every_reason_is_explained(tmp_path):
    for patient, number in [(1, 0), (1, 1), (2, 0), (3, 0)]:
        write_dicom(tmp_path / f"{patient}_{number}", **slice_elements(patient, number))
    slices, _ = build_manifest(header_rows(inventory([tmp_path])), shards=1)
    labels = pd.DataFrame({"image_id": [*slices["image_id"][1:], "nowhere"]} | dict.fromkeys(CLASSES, 0))
    _, lines, _ = build_cohort(slices, labels, {"train": 0.4, "validation": 0.3, "test": 0.3}, 0, quarantined=[])
    assert set(lines["reason"]) == {"no label", "label without slice"} <= set(REASONS)
    assert set(DEFECTS) < set(REASONS)


def ich(command):
    shell = f"set -o pipefail; {sys.executable} -m ich {command}"
    return subprocess.run(shell, shell=True, executable="/bin/bash", capture_output=True, text=True)


def test_a_reader_that_stops_reading_is_no_error(quarantine):
    ended = ich(f"quarantine --results {quarantine} --stage cohort | head -1")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, ",".join(QUARANTINE_COLUMNS) + "\n", "")


def test_errors_go_to_standard_error_without_a_traceback(tmp_path):
    ended = ich(f"quarantine --results {tmp_path}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"ich: .*\n", ended.stderr)
    assert ich("").returncode == ich("quarantine --reson x").returncode == 2
