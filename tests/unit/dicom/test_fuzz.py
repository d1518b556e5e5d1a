"""Damaged files, a smaller number of those that `python -m bench.fuzz` makes."""

import contextlib
import random
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench import fuzz
from ich.base.errors import InputError
from ich.dicom.defects import DEFECTS, Defect
from ich.dicom.headers import header_rows
from ich.dicom.pixels import read_hu
from ich.dicom.sources import inventory
from tests.unit.dicom_factory import SYNTAXES

ROOT = Path(__file__).parents[3]


def test_damaged_files_end_in_a_slice_or_a_reason_and_leave_their_neighbours_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz", "--dicom", "1000", "--csv", "250", "--seed", "1", "--keep", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dicom, table, memory = done.stdout.splitlines()
    assert sum(map(int, re.findall(r" (\d+)(?:,|$)", dicom.partition(": ")[2]))) == 1000
    assert sum(map(int, re.findall(r" (\d+)(?:,|$)", table.partition(": ")[2]))) == 250
    assert memory.endswith("0 faults")
    assert not list(tmp_path.iterdir())


def test_damaged_zip_files_are_refused_or_their_members_quarantined(tmp_path):
    stored = fuzz.stored_values(0)
    path = tmp_path / "slices.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for number in range(4):
            method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
            opened.writestr(f"rsna/{number}.dcm", fuzz.whole_slice(1, number, stored, SYNTAXES[0]), method)
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    became = Counter()
    for seed in range(400):
        draw, start = random.Random(seed), directory if seed % 2 else 0
        path.write_bytes(whole[:start] + fuzz.damaged(draw, whole[start:], fuzz.OF_DICOM[:-2]))
        try:
            rows = header_rows(inventory([path]))
        except InputError:
            became["refused"] += 1
            continue
        became.update(rows["defect"])
        for row in rows[rows["defect"] == ""].itertuples(index=False):
            with contextlib.suppress(Defect):
                assert read_hu(row).shape == stored.shape
    assert became.keys() <= {"refused", "", *DEFECTS}
    assert min(became["refused"], became[""], became["unreadable file"]) > 50


def test_a_seed_gives_the_same_files_and_another_seed_others():
    for make in (fuzz.dicom_files, fuzz.csv_files):
        files = make(3, 40)
        assert files == make(3, 40)
        assert len(set(files) & set(make(4, 40))) < 5
        assert len(set(files)) > 35


def test_every_way_to_damage_a_file_changes_it():
    whole = fuzz.whole_slice(1, 0, fuzz.stored_values(0), SYNTAXES[0])
    lines = b"ID,Label\n" + b"".join(b"ID_%d_any,0\n" % number for number in range(99))
    for base, ways in [(whole, fuzz.OF_DICOM), (lines, fuzz.OF_CSV)]:
        for way in ways:
            changed = set()
            for seed in range(20):
                data = bytearray(base)
                way(random.Random(seed), data)
                changed.add(bytes(data))
            assert len(changed - {base}) > 5, way.__name__


def test_what_should_not_be_is_noticed(tmp_path, monkeypatch):
    report = fuzz.Report(tmp_path)
    with report.watching(b"one"):
        raise ZeroDivisionError
    monkeypatch.setattr(fuzz, "SECONDS", -1)
    with report.watching(b"two"):
        pass
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"one", b"two"]
    assert "ZeroDivisionError" in report.faults[0]
    assert "s for one file" in report.faults[1]


@pytest.mark.parametrize("changed", [{}, {"a": ("header", np.array([1, 3]))}, {"a": ("other", np.array([1, 2]))}])
def test_a_change_of_a_neighbour_is_noticed(changed):
    whole = {"a": ("header", np.array([1, 2]))}
    assert fuzz.equal(whole, {"a": ("header", np.array([1, 2]))})
    assert not fuzz.equal(whole, changed)
