"""The model card: its front matter, its numbers and the code in it."""

import io
import json
import math
import re

import numpy as np
import pandas as pd
import pydicom
import pytest
import safetensors.torch
import torch
import torchvision
import yaml

from ich.base.classes import CLASSES
from ich.cohort.cohort import counts
from ich.images.windowing import window
from ich.models.backbones import build
from ich.models.weights import description, save_weights
from ich.phantom.dataset import generate
from ich.report.card import card
from tests.unit import results

SYNTHETIC = " (synthetic data)"
SHA256 = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def files():
    return read()


def read(frame=None):
    """The tables of an evaluation, as they are read from their files."""
    tables = results.evaluations(frame).items()
    return {name: pd.read_csv(io.StringIO(table.to_csv(index=False))) for name, table in tables}


def facts(weights=None):
    """A model.json of a training from random weights, or from a file."""
    made = results.facts()
    return made | {"configuration": made["configuration"] | {"weights": weights}}


def written(files, synthetic=True, **changed):
    return card(
        "one",
        **{
            "facts": facts(),
            "sha256": SHA256,
            "counts": counts(results.cohort()),
            "metrics": files["metrics"],
            "points": files["operating_points"],
            "calibrated": files["calibration"],
            "scan": "maximum",
            "threshold": "accuracy",
            "confidence": 0.95,
            "synthetic": synthetic,
            **changed,
        },
    )


def front_of(text):
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


def tables(text):
    """Rows of every table, by its caption in bold or the heading above it."""
    found, name = {}, ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"##+ (.*)|\*\*(.*)\*\*", line):
            name = heading[1] or heading[2]
        elif line.startswith("| ") and "---" not in line:
            row = [cell.strip() for cell in line.strip("|").split("|")]
            key = (row[0], row.pop(1)) if name.startswith(("Operating", "Calibration")) else row[0]
            assert key not in found.setdefault(name, {}), f"two rows {key} in {name}"
            found[name][key] = row[1:]
    return found


def numbers(cell):
    return [float(each.replace("∞", "inf")) for each in re.findall(r"-?(?:[\d.]+|∞)", cell.split("\\[")[0])]


def near(row, wilson=False):
    """The value and the interval of a file's row, as three decimals show them."""
    ends = ("wilson_lower", "wilson_upper") if wilson else ("lower", "upper")
    shown = [row[key] for key in ("value", *ends) if not math.isnan(row[key])]
    return [pytest.approx(each, abs=0.0005001) for each in shown]


def test_the_front_matter_is_what_the_hub_reads(files):
    front = front_of(written(files))
    assert front["pipeline_tag"] == "image-classification"
    assert front["license"] == "apache-2.0" and "synthetic-data" in front["tags"]
    [model] = front["model-index"]
    [result] = model["results"]
    assert model["name"] == "one"
    assert result["task"]["type"] == "image-classification"
    assert "synthetic" in result["dataset"]["name"] and "synthetic" in result["dataset"]["type"]
    assert front["datasets"] == [result["dataset"]["type"]]
    assert {metric["type"] for metric in result["metrics"]} == set(front["metrics"])


def test_the_front_matter_holds_what_its_specification_asks_for(files):
    """The keys that hub-docs/modelcard.md calls required, each with its type; the hub refuses others on upload."""
    front = front_of(written(files))
    for key in ("license", "library_name", "pipeline_tag"):
        assert isinstance(front[key], str)
    for key in ("tags", "datasets", "metrics"):
        assert front[key] and all(isinstance(each, str) and re.fullmatch(r"[\w.-]+", each) for each in front[key])
    for model in front["model-index"]:
        assert isinstance(model["name"], str)
        for result in model["results"]:
            required = [result["task"]["type"], result["dataset"]["type"], result["dataset"]["name"]]
            assert all(isinstance(each, str) and each for each in required)
            for metric in result["metrics"]:
                assert isinstance(metric["type"], str) and isinstance(metric["value"], float)


def whole(slices):
    """Counts of a data set of so many slices."""
    parts = {"train": slices - 300, "validation": 100, "test": 200}
    table = counts(results.cohort())
    return table.assign(slices=table["part"].map(parts))


@pytest.mark.parametrize(
    ("slices", "name", "linked"),
    [(752_802, "rsna-intracranial-hemorrhage-detection", True), (79, "head-ct", False), (900_000, "head-ct", False)],
    ids=["RSNA", "few", "other"],
)
def test_weights_of_other_data_are_under_its_terms(files, slices, name, linked):
    text = written(files, synthetic=False, counts=whole(slices))
    front = front_of(text)
    assert (front["license"], front["license_name"]) == ("other", "terms-of-the-training-data")
    assert front["datasets"] == [name] == [front["model-index"][0]["results"][0]["dataset"]["type"]]
    assert ("license_link" in front) == ("non-commercial" in text) == ("RSNA" in text) == linked
    assert "ynthetic" not in text and "phantom" not in text


def test_synthetic_data_does_not_free_weights_that_started_from_others(files):
    started = written(files, facts=facts("results/weights/resnet18.safetensors"))
    assert front_of(started)["license"] == "other"
    assert "Weights and code are under" not in started


def test_synthetic_data_is_called_so_wherever_its_numbers_stand(files):
    text = written(files)
    assert "synthetic" in re.search("^# .*", text, flags=re.MULTILINE)[0]
    own = {"Model details", "Hardware and versions", "Provenance"}  # of the network, the machine and the files
    assert len(tables(text)) == len(own) + 8
    assert all("synthetic data" in name for name in tables(text).keys() - own)


def test_no_path_of_the_site_is_on_the_card(files):
    text = written(files, facts=facts("/home/doe_jane/weights/start.safetensors"))
    assert "start.safetensors" in text and "doe" not in text


def test_the_results_of_the_front_matter_are_those_of_the_file(files):
    names = {
        "ROC AUC": "roc_auc",
        "average precision": "average_precision",
        "log loss": "log_loss",
        "Brier score": "brier",
    }
    table = files["metrics"].query("part == 'test'").set_index(["unit", "metric", "class"])["value"]
    found = {}
    for metric in front_of(written(files))["model-index"][0]["results"][0]["metrics"]:
        title, label, unit = re.fullmatch(r"(.*) of (\w+), (\w+)s", metric["name"]).groups()
        found[unit, names[title], label] = metric["value"]
    expected = {key: value for key, value in table.items() if key[1] in names.values() and key[2] in CLASSES}
    assert len(expected) == 2 * 4 * len(CLASSES)
    assert found == {key: value for key, value in expected.items() if math.isfinite(value)}


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_the_metrics_are_those_of_the_file(files, unit):
    table = files["metrics"].query("part == 'test'").set_index(["unit", "metric", "class"]).sort_index()
    units = int(table.loc[unit, "log_loss", "any"]["n"])
    shown = tables(written(files))[f"{units} {unit}s of the test part{SYNTHETIC}"]
    for label in (*CLASSES, "mean"):
        for place, metric in enumerate(["roc_auc", "average_precision", "log_loss", "brier"]):
            row = table.loc[unit, metric, label]
            assert numbers(shown[label][1 + place]) == near(row)
        positive = table.loc[unit, "log_loss", label]["positive"]
        assert shown[label][0] == ("" if math.isnan(positive) else f"{positive:.0f}")


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_operating_points_and_calibration_are_those_of_the_files(files, unit):
    found = tables(written(files))
    points = files["operating_points"].query("part == 'test' and unit == @unit and `class` == 'any'")
    points = points.set_index(["rule", "measure"]).sort_index()
    shown = found[f"Operating points of {unit}s{SYNTHETIC}"]
    assert len(shown) == 1 + 4  # with the head
    for (_, rule), (threshold, *cells) in [*shown.items()][1:]:
        rows = points.loc[rule.replace(" 0.95", "_95")]
        cut = rows["threshold"].iloc[0]
        assert numbers(threshold) == ([] if math.isnan(cut) else [pytest.approx(cut, abs=0.0005001)])
        for cell, measure in zip(cells, ["sensitivity", "specificity", "ppv", "npv"], strict=True):
            row = rows.loc[measure]
            wilson = row["lower"] == row["upper"] and not math.isnan(row["wilson_lower"])
            assert numbers(cell) == near(row, wilson)
    calibrated = files["calibration"].query("part == 'test' and unit == @unit and method == 'none'")
    calibrated = calibrated.set_index(["class", "measure"]).sort_index()
    for label in CLASSES:
        cells = found[f"Calibration of {unit}s{SYNTHETIC}"][label, "none"]
        for cell, measure in zip(cells, ["ece", "slope", "intercept"], strict=True):
            assert numbers(cell) == near(calibrated.loc[label, measure])


def test_counts_are_those_of_the_file(files):
    text = written(files)
    found = tables(text)[f"Slices with each label, and their share{SYNTHETIC}"]
    table = counts(results.cohort()).set_index(["class", "part"])
    for label in CLASSES:
        for cell, part in zip(found[label], ["train", "validation", "test"], strict=True):
            row = table.loc[label, part]
            assert numbers(cell) == [row["positive"], pytest.approx(100 * row["prevalence"], abs=0.0501)]
    [data] = re.findall(r"in parts that share no patient: (.*?)\.", text, flags=re.DOTALL)
    sizes = table.loc["any", ["slices", "patients"]]
    parts = [size for part in ("train", "validation", "test") for size in sizes.loc[part]]
    assert [int(each) for each in re.findall(r"\d+", data)] == parts


def test_model_training_and_machine_are_those_of_model_json(files):
    text = written(files)
    found, given = tables(text), facts()
    assert found["Model details"] == {
        "": ["one"],
        "architecture": [given["model"]],
        "parameters": [f"{given['parameters']:,}"],
        "input": ["224 × 224 pixels"],
        "channels": ["bone (600, 2800) · subdural (80, 200) · soft tissue (40, 380)"],
    }
    training = found[f"Training{SYNTHETIC}"]
    assert training["trained on"] == ["1,121 slices of 65 patients"]
    assert training["validated on"] == ["259 slices of 15 patients"]
    assert training["initial weights"] == ["random"]
    assert training["batch size"] == ["32 slices"]
    assert training["optimiser"] == ["adam, learning rate 0.0001, exponential schedule"]
    assert training["epoch kept"] == ["2 of 3"]
    assert training["seed"] == ["1"]
    hardware = {**given["hardware"], **given["versions"], "ich": given["version"]}
    assert found["Hardware and versions"] == {"": ["one"]} | {key: [str(value)] for key, value in hardware.items()}
    assert list(found["Provenance"].values()) == [[""], [f"`{SHA256}`"], [f"`{given['code']}`"]]


def test_another_run_of_the_same_training_gives_the_same_card(files):
    assert written(files) == written(files, facts=facts() | {"seconds": 1e4, "seconds_per_epoch": [9e3, 5e2, 5e2]})


def test_what_has_no_value_is_said_and_left_out_of_the_front_matter():
    frame = results.cohort()
    frame.loc[frame["part"] != "train", "epidural"] = 0
    text = written(read(frame), counts=counts(frame))
    metrics = front_of(text)["model-index"][0]["results"][0]["metrics"]
    assert all(math.isfinite(metric["value"]) for metric in metrics)
    assert not [metric for metric in metrics if "ROC AUC of epidural" in metric["name"]]
    [slices] = [rows for name, rows in tables(text).items() if "slices of the test part" in name]
    assert slices["epidural"][0] == "0"
    assert slices["epidural"][1].startswith("– \\[")
    assert "no positive slice" in text


@pytest.mark.parametrize("model", ["resnet18", "densenet121"])
def test_the_code_of_the_card_gives_what_torchvision_gives(files, model, tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", written(files), flags=re.DOTALL)
    described = description(model, facts()["windows"], 64)
    torch.manual_seed(0)
    save_weights(build(model, channels=3).state_dict(), tmp_path / "weights.safetensors", described)
    (tmp_path / "model.json").write_text(json.dumps(described))
    generate(tmp_path / "made", patients=1, slices=(6, 6), size=64, prevalence=1, seed=0)
    (tmp_path / "made/stage_2_train").rename(tmp_path / "scan")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)

    plain = torchvision.models.get_model(model, num_classes=len(CLASSES)).eval()
    plain.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
    mean, std = (torch.tensor(described["normalisation"][key])[:, None, None] for key in ("mean", "std"))
    images = []
    for row in names["slices"].itertuples():
        file = pydicom.dcmread(row.location)
        hu = file.pixel_array.astype(np.float32) * float(file.RescaleSlope) + float(file.RescaleIntercept)
        windows = [window(hu, each["level"], each["width"]) for each in described["windows"]]
        images.append((torch.from_numpy(np.stack(windows)) / 255 - mean) / std)
    with torch.inference_mode():
        expected = torch.sigmoid(plain(torch.stack(images)))
    assert len(expected) >= 5
    torch.testing.assert_close(names["probabilities"], expected, rtol=1e-4, atol=0)
