"""The model card: its front matter, its numbers and the code in it."""

import json
import math
import re

import pandas as pd
import pytest
import torch
import yaml

from ich.card import card
from ich.cohort import counts
from ich.labels import CLASSES
from ich.models import build, description, save_weights
from ich.phantom import generate
from tests.unit import results

SHA256 = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def files():
    return results.evaluations()


def written(files, synthetic=True, **changed):
    return card(
        "one",
        **{
            "facts": results.facts(),
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
        if heading := re.fullmatch(r"## (.*)|\*\*(.*)\*\*", line):
            name = heading[1] or heading[2]
        elif line.startswith("| ") and "---" not in line:
            row = [cell.strip() for cell in line.strip("|").split("|")]
            key = (row[0], row.pop(1)) if name.startswith(("Operating", "Calibration")) else row[0]
            found.setdefault(name, {})[key] = row[1:]
    return found


def numbers(cell):
    return [float(each.replace("∞", "inf")) for each in re.findall(r"-?(?:[\d.]+|∞)", cell.split("\\[")[0])]


def near(row):
    """The value and the interval of a file's row, as three decimals show them."""
    shown = [row[key] for key in ("value", "lower", "upper") if not math.isnan(row[key])]
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
    assert {metric["type"] for metric in result["metrics"]} == set(front["metrics"])


def test_weights_of_other_data_are_under_its_terms(files):
    front = front_of(written(files, synthetic=False))
    assert (front["license"], front["license_name"]) == ("other", "terms-of-the-training-data")
    assert "ynthetic" not in written(files, synthetic=False)


def test_the_results_of_the_front_matter_are_those_of_the_file(files):
    names = {"ROC AUC": "roc_auc", "average precision": "average_precision", "Brier score": "brier"}
    table = files["metrics"].query("part == 'test'").set_index(["unit", "metric", "class"])["value"]
    found = {}
    for metric in front_of(written(files))["model-index"][0]["results"][0]["metrics"]:
        title, label, unit = re.fullmatch(r"(.*) of (\w+), (\w+)s", metric["name"]).groups()
        found[unit, names[title], label] = metric["value"]
    expected = {key: value for key, value in table.items() if key[1] in names.values() and key[2] in CLASSES}
    assert len(expected) == 2 * 3 * len(CLASSES)
    assert found == {key: value for key, value in expected.items() if math.isfinite(value)}


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_the_metrics_are_those_of_the_file(files, unit):
    shown = tables(written(files))[f"{unit.capitalize()}s of the test part"]
    table = files["metrics"].query("part == 'test'").set_index(["unit", "metric", "class"]).sort_index()
    for label in (*CLASSES, "mean"):
        for place, metric in enumerate(["roc_auc", "average_precision", "log_loss", "brier"]):
            row = table.loc[unit, metric, label]
            assert numbers(shown[label][place]) == near(row)


@pytest.mark.parametrize("unit", ["slice", "scan"])
def test_operating_points_and_calibration_are_those_of_the_files(files, unit):
    found = tables(written(files))
    points = files["operating_points"].query("part == 'test' and unit == @unit and `class` == 'any'")
    points = points.set_index(["rule", "measure"]).sort_index()
    shown = found[f"Operating points of {unit}s"]
    assert len(shown) == 1 + 4  # with the head
    for (_, rule), (threshold, *cells) in [*shown.items()][1:]:
        rows = points.loc[rule.replace(" 0.95", "_95")]
        cut = rows["threshold"].iloc[0]
        assert numbers(threshold) == ([] if math.isnan(cut) else [pytest.approx(cut, abs=0.0005001)])
        for cell, measure in zip(cells, ["sensitivity", "specificity", "ppv", "npv"], strict=True):
            assert numbers(cell)[:1] == near(rows.loc[measure])[:1]
    calibrated = files["calibration"].query("part == 'test' and unit == @unit and method == 'none'")
    calibrated = calibrated.set_index(["class", "measure"]).sort_index()
    for label in CLASSES:
        cells = found[f"Calibration of {unit}s"][label, "none"]
        for cell, measure in zip(cells, ["ece", "slope", "intercept"], strict=True):
            assert numbers(cell)[:1] == near(calibrated.loc[label, measure])[:1]


def test_counts_and_training_are_those_of_the_files(files):
    text = written(files)
    found = tables(text)["Training"]
    table = counts(results.cohort()).set_index(["class", "part"])
    for label in CLASSES:
        for cell, part in zip(found[label], ["train", "validation", "test"], strict=True):
            row = table.loc[label, part]
            assert numbers(cell) == [row["positive"], pytest.approx(100 * row["prevalence"], abs=0.0501)]
    for part in ("train", "validation", "test"):
        row = table.loc["any", part]
        assert f"{row['slices']:.0f}" in text and f"{row['patients']:.0f}" in text
    assert found["batch size"] == ["32 slices"]
    assert tables(text)["Environment"]["torch"] == ["2.14.1"]
    assert SHA256 in text


def test_another_run_of_the_same_training_gives_the_same_card(files):
    assert written(files) == written(files, facts=results.facts(seconds=1e4))


def test_what_has_no_value_is_said_and_left_out_of_the_front_matter():
    frame = results.cohort()
    frame.loc[frame["part"] != "train", "epidural"] = 0
    text = written(results.evaluations(frame), counts=counts(frame))
    metrics = front_of(text)["model-index"][0]["results"][0]["metrics"]
    assert all(math.isfinite(metric["value"]) for metric in metrics)
    assert not [metric for metric in metrics if "ROC AUC of epidural" in metric["name"]]
    assert tables(text)["Slices of the test part"]["epidural"][0].startswith("– \\[")
    assert "no positive slice" in text


def test_the_code_of_the_card_runs(files, tmp_path, monkeypatch):
    text = written(files)
    [code] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    facts = {"size": 64} | description("resnet18", results.facts()["windows"], 64)
    torch.manual_seed(0)
    network = build("resnet18", channels=3)
    (tmp_path / "model.json").write_text(json.dumps(facts))
    save_weights(network.state_dict(), tmp_path / "weights.safetensors", facts)
    generate(tmp_path / "made", patients=1, slices=(6, 6), prevalence=1, seed=0)
    labels = pd.read_csv(tmp_path / "made/stage_2_train.csv")
    (tmp_path / "made/stage_2_train").rename(tmp_path / "scan")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    found = names["probabilities"]
    assert found.shape == (len(names["slices"]), len(CLASSES))
    assert set(names["slices"]["image_id"]) <= set(labels["ID"].str.rsplit("_", n=1).str[0])
    assert ((found > 0) & (found < 1)).all()
