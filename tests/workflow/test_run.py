"""The whole workflow, run for real on synthetic data: what it makes, and that it makes it again."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest


def test_a_second_run_has_nothing_to_do(finished):
    done = finished.run()
    assert "Nothing to be done" in done.stdout + done.stderr


def test_every_slice_is_accounted_for(finished):
    data = finished.folder / "results/data"
    files = pd.read_parquet(data / "inventory.parquet")
    slices = pd.read_parquet(data / "slices.parquet")
    cohort = pd.read_parquet(data / "cohort.parquet")
    quarantine = pd.read_csv(data / "quarantine.csv", keep_default_na=False)
    assert len(files) == len(list((finished.folder / "data/tiny/stage_2_train").glob("*.dcm")))
    assert set(files["image_id"]) == set(cohort["image_id"]) | set(quarantine["image_id"])
    assert not set(cohort["image_id"]) & set(quarantine.loc[quarantine["stage"] != "cache", "image_id"])
    assert set(slices["image_id"]) >= set(cohort["image_id"])
    assert (quarantine["reason"] != "").all()
    assert "truncated" in set(quarantine["reason"])


def test_patients_are_in_one_part_only(finished):
    cohort = pd.read_parquet(finished.folder / "results/data/cohort.parquet")
    assert (cohort.groupby("patient_id")["part"].nunique() == 1).all()
    assert set(cohort["part"]) == {"train", "validation", "test"}


@pytest.mark.parametrize("experiment", ["resnet18", "densenet121"])
def test_every_slice_of_a_part_is_predicted_once(finished, experiment):
    cohort = pd.read_parquet(finished.folder / "results/data/cohort.parquet")
    for part in ("validation", "test"):
        predicted = pd.read_parquet(finished.folder / f"results/predictions/{experiment}/{part}.parquet")
        assert sorted(predicted["image_id"]) == sorted(cohort.loc[cohort["part"] == part, "image_id"])
        probabilities = predicted.filter(like="probability_").to_numpy()
        logits = predicted.filter(like="logit_").to_numpy().astype(np.float64)
        np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-12)


def test_the_table_holds_every_experiment_and_the_paper(finished):
    text = (finished.folder / "results/comparison/table.md").read_text()
    for word in ("resnet18", "densenet121", "ynthetic", "another data set"):
        assert word in text


@pytest.mark.parametrize("experiment", ["resnet18", "densenet121"])
def test_the_code_of_a_model_card_gives_the_predictions_of_the_run(finished, experiment, tmp_path):
    folder, results = tmp_path / "uploaded", finished.folder / "results"
    shutil.copytree(results / "models" / experiment, folder)
    predicted = pd.read_parquet(results / f"predictions/{experiment}/test.parquet").set_index("image_id")
    slices = pd.read_parquet(results / "data/slices.parquet")
    series = slices.loc[slices["image_id"].isin(predicted.index), "series_instance_uid"].iloc[0]
    (folder / "scan").mkdir()
    for name in slices.loc[slices["series_instance_uid"] == series, "image_id"]:
        shutil.copy(finished.folder / f"data/tiny/stage_2_train/{name}.dcm", folder / "scan")
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    code += "import pandas\n"
    code += "pandas.DataFrame(probabilities, slices['image_id'], facts['classes']).to_csv('found.csv')\n"
    environment = os.environ | {"PYTHONPATH": str(finished.folder)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
    found = pd.read_csv(folder / "found.csv", index_col="image_id")
    assert len(found) >= 5
    expected = predicted.loc[found.index, [f"probability_{name}" for name in found.columns]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_nobody_is_named_on_a_model_card(finished):
    cohort = pd.read_parquet(finished.folder / "results/data/cohort.parquet")
    names = set(cohort[["patient_id", "series_instance_uid", "image_id"]].to_numpy().ravel())
    cards = [path.read_text() for path in finished.folder.glob("results/models/*/README.md")]
    assert len(cards) == 2
    for card in cards:
        assert not [name for name in names if name in card]
        assert str(finished.folder) not in card


def test_the_run_is_exported_as_a_crate(finished):
    finished.run("crate")
    archive = finished.folder / "results/crate.zip"
    with zipfile.ZipFile(archive) as crate:
        names = set(crate.namelist())
    archive.unlink()
    assert {"ro-crate-metadata.json", "configuration.yaml", "Snakefile", "ich/training/loop.py"} <= names
    assert {"results/models/resnet18/README.md", "results/comparison/table.csv"} <= names
    shows_slices = ("index.html", "montage.png", "series.svg", ".jpg", ".npy", ".parquet")
    assert [name for name in names if name.endswith(shows_slices) and "/curves" not in name] == []
    assert {"results/comparison/table.csv", "results/models/resnet18/weights.safetensors"} <= names
    assert not any("cohort.parquet" in name or "predictions" in name or name.endswith(".dcm") for name in names)


def test_snakemakes_own_report_holds_the_figures(finished, tmp_path):
    archive = tmp_path / "report.zip"
    finished.run("--report", str(archive))
    names = zipfile.ZipFile(archive).namelist()
    assert any(name.endswith("report.html") for name in names)
    assert sum(name.endswith((".svg", ".png")) for name in names) >= 8


# Each artifact is made by one rule; the rest of the graph then has nothing to do but to see that it is the same.
ARTIFACTS = [
    "data/inventory.parquet",
    "data/headers/0001.parquet",
    "data/labels.parquet",
    "data/slices.parquet",
    "data/quarantine/slices.csv",
    "data/cohort.parquet",
    "data/cohort.csv",
    "data/flow.json",
    "data/quarantine.csv",
    "cache/paper/0000.npy",
    "cache/paper/0001.json",
    "predictions/densenet121/test.parquet",
    "evaluation/resnet18/metrics.csv",
    "evaluation/resnet18/curves.parquet",
    "evaluation/resnet18/operating_points.csv",
    "evaluation/resnet18/calibration.csv",
    "evaluation/densenet121/reliability.csv",
    "evaluation/densenet121/subgroups.csv",
    "evaluation/densenet121/confusion.svg",
    "comparison/pairs.csv",
    "evaluation/densenet121/roc.svg",
    "data/figures/label_counts.svg",
    "comparison/table.csv",
    "comparison/table.tex",
    "report/index.html",
    # Last, since a training measures its seconds anew, and pages and tables show them.
    "models/resnet18/weights.safetensors",
    "models/densenet121/history.csv",
    "models/densenet121/model.json",
    "models/densenet121/README.md",
    "report/resources.csv",
]


@pytest.mark.parametrize("name", ARTIFACTS)
def test_a_deleted_artifact_is_planned_and_comes_back_the_same(finished, name):
    path = finished.folder / "results" / name
    before = finished.artifacts()
    times = {each: (finished.folder / "results" / each).stat().st_mtime_ns for each in before}
    path.unlink()
    assert finished.plan(), "a run does not notice that the artifact is missing"
    finished.run(f"results/{name}")
    after = finished.artifacts()
    assert path.exists()
    differing = {each for each in before if before[each] != after.get(each)}
    assert all(each.endswith(("model.json", "resources.csv")) for each in differing), differing
    for each in differing:
        without = without_times if each.endswith("model.json") else jobs_by_rule
        assert without(before[each]) == without(after[each])
    for each, time in times.items():  # what follows need not run again: it would read the same bytes
        if (finished.folder / "results" / each).stat().st_mtime_ns != time:
            os.utime(finished.folder / "results" / each, ns=(time, time))


def without_times(model: bytes) -> dict:
    return {key: value for key, value in json.loads(model).items() if "seconds" not in key and key != "epochs"}


def jobs_by_rule(resources: bytes) -> dict:
    return pd.read_csv(io.BytesIO(resources), index_col="rule")["jobs"].to_dict()


def test_a_run_from_the_first_artifact_on_gives_the_same_bytes(finished):
    before = finished.artifacts()
    (finished.folder / "results/data/inventory.parquet").unlink()
    finished.run()
    after = finished.artifacts()
    assert before.keys() == after.keys()
    timed = ("model.json", "report/index.html", "resources.csv", "table.csv", "table.md", "table.html", "table.tex")
    differing = {name for name in before if before[name] != after[name]}
    assert all(name.endswith(timed) for name in differing), differing
