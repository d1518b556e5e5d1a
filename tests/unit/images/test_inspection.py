import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ich.__main__ import main
from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.base.files import write_parquet
from ich.cohort.labels import LABELS_SCHEMA
from ich.dicom.defects import DEFECTS
from ich.dicom.headers import HEADER_SCHEMA, header_rows
from ich.dicom.sources import inventory
from ich.images.inspection import (
    LINE,
    SPACE,
    TILE,
    WINDOWS,
    contact_sheet,
    headers_of_files,
    headers_of_series,
    known_labels,
    look,
    ordered,
    series_of,
)
from ich.images.windowing import slice_to_image
from tests.unit.dicom_factory import slice_elements, write_dicom

RANDOM = np.random.default_rng(0)


def write_slice(folder, patient, number, **elements):
    pixels = RANDOM.integers(0, 2000, (40, 40)).astype(np.int16)
    return write_dicom(
        folder / f"name_{patient}_{number}.dcm", pixels, **slice_elements(patient, number), **elements
    ), pixels.astype(np.float32) - 1024


@pytest.fixture
def folder(tmp_path):
    """Slices 0 to 4 of a patient, without slice 3, and with a constant and a cut one after them."""
    folder = tmp_path / "dicom"
    for number in (0, 1, 2, 4):
        write_slice(folder, 1, number)
    write_dicom(folder / "name_1_5.dcm", np.zeros((40, 40), np.int16), **slice_elements(1, 5))
    os.truncate(write_slice(folder, 1, 6)[0], 2000)
    return folder


@pytest.fixture
def results(folder, tmp_path):
    """What the workflow has of these slices and of another patient's."""
    write_slice(folder, 2, 0)
    write_slice(folder, 2, 1)
    headers = header_rows(inventory([folder]))
    write_parquet(headers[:3], tmp_path / "results/data/headers/0.parquet", HEADER_SCHEMA)
    write_parquet(headers[3:], tmp_path / "results/data/headers/1.parquet", HEADER_SCHEMA)
    ids = [slice_elements(1, number)["SOPInstanceUID"] for number in range(3)]
    labels = pd.DataFrame({"image_id": ids} | dict.fromkeys(CLASSES, 0))
    labels.loc[1, ["subdural", "epidural", "any"]] = 1
    write_parquet(labels, tmp_path / "results/data/labels.parquet", LABELS_SCHEMA)
    return tmp_path / "results"


def sheet(headers, labels=None, chosen=""):
    return contact_sheet(look(*ordered(headers), labels or {}, chosen))


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_a_file_a_folder_and_a_zip_file_give_the_same_headers(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    columns = ["image_id", "sop_instance_uid", "rows", "pixel_offset", "defect"]
    there = headers_of_files(folder)[columns]
    pd.testing.assert_frame_equal(headers_of_files(tmp_path / "all.zip")[columns], there)
    alone = pd.concat([headers_of_files(path)[columns] for path in sorted(folder.iterdir())], ignore_index=True)
    pd.testing.assert_frame_equal(alone, there)


def test_every_slice_is_there_in_its_windows(tmp_path):
    path, hu = write_slice(tmp_path, 1, 0)
    assert main(["inspect", str(path), "--output", str(tmp_path / "sheet.png")]) == 0
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    for channel, image in enumerate(slice_to_image(hu, list(WINDOWS.values()), TILE).numpy()):
        start = SPACE + channel * TILE
        np.testing.assert_array_equal(page[2 * LINE : 2 * LINE + TILE, start : start + TILE], image)


def test_numbers_positions_gaps_and_reasons_stand_on_the_sheet(folder):
    found = texts(sheet(headers_of_files(folder)))
    numbers = [text for text in found if text.endswith(" mm")]
    assert numbers == ["0   0.0 mm", "1   5.0 mm", "2   10.0 mm", "3   20.0 mm", "4   25.0 mm"]
    assert [text for text in found if "before" in text] == ["10.0 mm from the one before"]
    assert found.count("constant image") == found.count("truncated") == 1
    assert {"bone (600, 2800)", "subdural (80, 200)", "soft tissue (40, 380)"} <= set(found)


def test_labels_are_named_where_they_are_known(results):
    headers = headers_of_series(slice_elements(1, 0)["SeriesInstanceUID"], results)
    slices, quarantine = ordered(headers)
    figure = contact_sheet(look(slices, quarantine, known_labels(slices["image_id"], results)))
    labels = [text for text in texts(figure) if re.fullmatch("[a-z ,]+", text) and text not in DEFECTS]
    assert labels == ["no haemorrhage", "epidural, subdural", "no haemorrhage"]
    assert known_labels(slices["image_id"], results / "elsewhere") == {}


def test_a_series_is_found_by_its_name_and_by_those_of_its_slices(results):
    whole = headers_of_series(slice_elements(1, 0)["SeriesInstanceUID"], results)
    assert sorted(whole["image_id"]) == [f"name_1_{number}" for number in (0, 1, 2, 4, 5, 6)]
    for name in (slice_elements(1, 4)["SOPInstanceUID"], "name_1_6"):
        pd.testing.assert_frame_equal(headers_of_series(name, results), whole)


def test_a_slice_asked_for_is_framed(results):
    name = slice_elements(1, 2)["SOPInstanceUID"]
    headers = headers_of_series(name, results)
    frames = [patch for patch in sheet(headers, chosen=name).axes[0].patches if not patch.get_fill()]
    assert len(frames) == 1
    assert not [patch for patch in sheet(headers).axes[0].patches if not patch.get_fill()]


def test_no_name_is_on_the_sheet(results, folder, tmp_path):
    elements = slice_elements(1, 0)
    names = {elements["PatientID"], elements["SeriesInstanceUID"], elements["SOPInstanceUID"], "name_", str(folder)}
    output = tmp_path / "sheet.png"
    assert main(["inspect", elements["SeriesInstanceUID"], "--results", str(results), "--output", str(output)]) == 0
    figure = sheet(headers_of_series(elements["SeriesInstanceUID"], results))
    assert not [text for text in texts(figure) for name in names if name in text]
    assert not [name for name in names if name.encode() in output.read_bytes()]


def test_the_terminal_names_what_is_of_no_use(folder, tmp_path, capsys):
    assert main(["inspect", str(folder), "--output", str(tmp_path / "sheet.png")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'sheet.png'}: 6 slices, 2 of them of no use",
        f"constant image: {folder / 'name_1_5.dcm'}",
        f"truncated: {folder / 'name_1_6.dcm'}",
    ]


def test_files_of_no_series_belong_to_the_only_one_or_come_last(folder):
    (folder / "0").write_text("no DICOM")
    (together,) = series_of(headers_of_files(folder))
    assert len(together) == 7
    assert texts(sheet(together)).count("not DICOM") == 1
    write_slice(folder, 2, 0)
    assert [len(series) for series in series_of(headers_of_files(folder))] == [6, 1, 1]
    assert series_of(headers_of_files(folder))[2]["defect"].tolist() == ["not DICOM"]


def test_a_file_that_is_no_slice_is_a_box(tmp_path):
    (tmp_path / "note").write_text("no DICOM")
    assert "not DICOM" in texts(sheet(headers_of_files(tmp_path / "note")))


def test_several_series_are_drawn_one_by_one(results, folder, tmp_path, capsys):
    output = ["--output", str(tmp_path / "sheet.png")]
    assert main(["inspect", str(folder), *output]) == 1
    assert "has 2 series, of 6, 2 files. Choose one with --series 1 to 2" in capsys.readouterr().err
    assert main(["inspect", str(folder), "--series", "3", *output]) == 1
    assert "has no series 3" in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()
    assert main(["inspect", str(folder), "--series", "2", *output]) == 0
    assert "2 slices, 0 of them" in capsys.readouterr().out


def test_names_that_are_nothing_are_explained(results, folder, tmp_path):
    with pytest.raises(InputError, match=r"nobody: .* nor is there .*elsewhere.* --results"):
        headers_of_series("nobody", tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"nobody: neither a file or folder, nor a series or slice"):
        headers_of_series("nobody", results)
    folder.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"name_1_0\.dcm: this file is not there.*where the workflow ran"):
        headers_of_series(slice_elements(1, 0)["SeriesInstanceUID"], results)


def test_errors_go_to_standard_error_without_a_traceback(tmp_path):
    write_slice(tmp_path, 1, 0)
    command = [sys.executable, "-m", "ich", "inspect", str(tmp_path), "--output", "/proc/sheet.png"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(r"ich: .*/proc/.*\n", ended.stderr)
