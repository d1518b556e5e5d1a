"""What a user is told when the input is wrong, by the workflow itself."""

import shutil
import zipfile

import pandas as pd
import pytest

from ich.base.files import read_json
from ich.dicom.headers import header_rows
from ich.dicom.sources import inventory
from tests.workflow.conftest import TINY, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"), TINY)


def test_a_wrong_configuration_is_answered_at_once_and_no_job_starts(project):
    wrong = {"training": {"epochs": 0, "optimiser": {}}, "experiments": {"mine": {"model": "resnet19"}}}
    done = project.run(over=wrong, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    for line in (
        "training.epochs: 0 does not fit",
        "training.optimiser: unknown key; did you mean 'optimizer'?",
        "experiments.mine.model: 'resnet19' does not fit",
    ):
        assert line in text
    assert "Traceback" not in text
    assert not (project.folder / "results").exists()


def test_a_missing_data_set_is_named_with_what_to_write(project):
    done = project.run(over={"data": {"root": "absent", "synthetic": None}}, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "absent/stage_2_train.csv does not exist" in text
    assert "data.root" in text
    assert "Traceback" not in text


@pytest.fixture(scope="module")
def data(project):
    """A data set of the user's own, made once."""
    project.run("data/tiny/stage_2_train.csv")
    return project.folder / "data/tiny"


def run_on(project, data, tmp_path, edit, **sources):
    """Run the ingest on a copy of the data set that was edited."""
    root = tmp_path / "data"
    shutil.copytree(data, root)
    edit(root)
    over = {"data": {"root": str(root), "synthetic": None, **sources}, "results": str(tmp_path / "results")}
    done = project.run(str(tmp_path / "results/data/cohort.parquet"), over=over, check=False)
    return done.returncode, done.stdout + done.stderr, tmp_path / "results"


def test_a_bad_label_is_named_on_the_terminal_and_in_the_log(project, data, tmp_path):
    def edit(root):
        path = root / "stage_2_train.csv"
        lines = path.read_text().splitlines()
        lines[3] = lines[3].rpartition(",")[0] + ",2"
        path.write_text("\n".join(lines))

    code, text, results = run_on(project, data, tmp_path, edit)
    assert code != 0
    assert "neither 0 nor 1" in text
    log = (results / "logs/labels.log").read_text()
    assert "neither 0 nor 1" in log
    assert "Traceback" not in log


def test_a_zip_a_folder_and_a_part_without_labels_go_through_one_ingest(project, data, tmp_path):
    headers = header_rows(inventory([data / "stage_2_train"])).query("defect == ''")
    patients = sorted(headers["patient_id"].unique())
    unlabelled, packed = (headers[headers["patient_id"] == patient] for patient in patients[:2])

    def edit(root):
        (root / "stage_2_test").mkdir()
        with zipfile.ZipFile(root / "some.zip", "w", zipfile.ZIP_DEFLATED) as opened:
            for name in packed["image_id"]:
                opened.write(root / f"stage_2_train/{name}.dcm", f"rsna/stage_2_train/{name}.dcm")
                (root / f"stage_2_train/{name}.dcm").unlink()
        for name in unlabelled["image_id"]:
            (root / f"stage_2_train/{name}.dcm").rename(root / f"stage_2_test/{name}.dcm")
        labels = (root / "stage_2_train.csv").read_text().splitlines()
        known = [line for line in labels if line[:12] not in set(unlabelled["image_id"])]
        (root / "stage_2_train.csv").write_text("\n".join(known))

    sources = ["some.zip", "stage_2_train", "stage_2_test"]
    code, text, results = run_on(project, data, tmp_path, edit, dicom=sources)
    assert code == 0, text
    slices = pd.read_parquet(results / "data/slices.parquet")
    cohort = pd.read_parquet(results / "data/cohort.parquet")
    assert set(unlabelled["image_id"]) | set(packed["image_id"]) <= set(slices["image_id"])
    assert set(slices["image_id"]) - set(cohort["image_id"]) == set(unlabelled["image_id"])
    assert read_json(results / "data/flow.json")["slices of series without label"] == len(unlabelled)
    quarantine = pd.read_csv(results / "data/quarantine/cohort.csv")
    assert not set(quarantine["image_id"]) & set(unlabelled["image_id"])


def test_files_that_cannot_be_used_are_quarantined_and_the_rest_goes_on(project, data, tmp_path):
    slices = sorted((data / "stage_2_train").glob("*.dcm"))

    def edit(root):
        folder = root / "stage_2_train"
        (folder / "notes.txt").write_text("not a slice")
        (folder / slices[0].name).write_bytes(b"")
        content = (folder / slices[1].name).read_bytes()
        (folder / slices[1].name).write_bytes(content[:-100])
        (folder / slices[2].name).unlink()

    code, text, results = run_on(project, data, tmp_path, edit)
    assert code == 0, text
    found = pd.concat(pd.read_csv(results / f"data/quarantine/{name}.csv") for name in ("slices", "cohort"))
    reasons = found.groupby("image_id")["reason"].agg(set).to_dict()
    assert reasons["notes.txt"] == {"not DICOM"}
    assert reasons[slices[0].stem] == {"not DICOM"}
    assert reasons[slices[1].stem] == {"truncated"}
    assert reasons[slices[2].stem] == {"label without slice"}
    cohort = pd.read_parquet(results / "data/cohort.parquet")
    assert not set(cohort["image_id"]) & {path.stem for path in slices[:3]}
    assert len(cohort) >= len(slices) - 4  # the data set has a truncated file of its own
