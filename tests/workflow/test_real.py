"""The whole workflow on a few real slices."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import ROOT, Project

SAMPLE = os.environ.get("ICH_RSNA_SAMPLE")
pytestmark = pytest.mark.skipif(not SAMPLE, reason="ICH_RSNA_SAMPLE names no folder of real slices")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    overlay = yaml.safe_load((ROOT / "config/rsna-sample.yaml").read_text())
    project = Project(tmp_path_factory.mktemp("real"), overlay | {"data": {"root": SAMPLE}})
    project.run()
    return project.folder / "results/rsna-sample"


def test_every_real_slice_is_in_the_cohort_and_its_part_predicted(real):
    cohort = pd.read_parquet(real / "data/cohort.parquet")
    assert len(cohort) == len(list(Path(SAMPLE, "stage_2_train").glob("*.dcm"))) == 41
    assert pd.read_csv(real / "data/quarantine.csv").empty
    for experiment in ("resnet18", "densenet121"):
        for part in ("validation", "test"):
            predicted = pd.read_parquet(real / f"predictions/{experiment}/{part}.parquet")
            assert set(predicted["image_id"]) == set(cohort.loc[cohort["part"] == part, "image_id"])


def test_a_trained_model_predicts_all_41_slices(real):
    from ich.base.files import read_json
    from ich.images.cache import Cache
    from ich.prediction.predict import predict

    model = real / "models/resnet18"
    cache = Cache(sorted((real / "cache/paper").glob("*.npy")))
    cohort = pd.read_parquet(real / "data/cohort.parquet")
    rows = predict(cohort, cache, model / "weights.safetensors", read_json(model / "model.json"), threads=1)
    assert rows["image_id"].is_unique
    assert len(rows) == 41
    assert np.isfinite(rows.drop(columns="image_id").to_numpy()).all()


def test_the_series_is_in_anatomical_order(real):
    slices = pd.read_parquet(real / "data/slices.parquet")
    [series] = [rows for _, rows in slices.groupby("series_instance_uid") if len(rows) == 36]
    np.testing.assert_allclose(series["gap"].iloc[1:], 5, atol=0.01)
    heights = np.array(series["image_position_patient"].tolist())[:, 2]
    assert (np.diff(heights) > 0).all()


def test_the_table_stands_and_calls_nothing_synthetic(real):
    text = (real / "comparison/table.md").read_text()
    assert "resnet18" in text
    assert "ynthetic" not in text
    assert "ynthetic data" not in (real / "report/index.html").read_text()
