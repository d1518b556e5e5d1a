"""The comparison table: its numbers are those of the experiments, however it is written."""

import html.parser
import math

import numpy as np
import pandas as pd
import pytest

from ich import comparison, paper
from tests.unit import results


@pytest.fixture(scope="module")
def metrics():
    return {"good": results.evaluated(2.5)[0], "poor_one": results.evaluated(0.5, seed=2)[0]}


@pytest.fixture(scope="module")
def table(metrics):
    return comparison.comparison(metrics, {name: results.facts() for name in metrics})


def cell(table, quantity, column):
    [row] = table[(table["quantity"] == quantity) & (table["column"] == column)].to_dict("records")
    return row


@pytest.mark.parametrize(
    ("quantity", "metric", "name"),
    [
        ("Accuracy, mean of classes", "accuracy", "mean"),
        ("Log loss, mean of classes", "log_loss", "mean"),
        ("Log loss, `any` counted twice", "log_loss", "kaggle"),
        ("ROC AUC of `any`", "roc_auc", "any"),
        ("Average precision of `any`", "average_precision", "any"),
        ("PR AUC (trapezoid) of `any`", "pr_auc_trapezoid", "any"),
    ],
)
def test_values_are_those_of_the_test_part(metrics, table, quantity, metric, name):
    for experiment, frame in metrics.items():
        chosen = (frame["part"] == "test") & (frame["metric"] == metric) & (frame["class"] == name)
        [row] = frame[chosen].to_dict("records")
        found = cell(table, quantity, experiment)
        assert (found["value"], found["lower"], found["upper"]) == (row["value"], row["lower"], row["upper"])
        assert found["text"] == f"{row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"


def test_best_and_worst_subtype(metrics, table):
    frame = metrics["good"]
    aucs = frame[(frame["part"] == "test") & (frame["metric"] == "roc_auc")].set_index("class")["value"]
    aucs = aucs.drop(["any", "mean"])
    assert cell(table, "Best subtype by ROC AUC", "good")["text"] == f"{aucs.idxmax()} {aucs.max():.3f}"
    assert cell(table, "Worst subtype by ROC AUC", "good")["text"] == f"{aucs.idxmin()} {aucs.min():.3f}"


def test_the_papers_columns(table):
    # Kaggle-weighted losses of the paper's classes, worked out by hand: (sum of all six + any) / 7.
    resnet = (0.010 + 0.077 + 0.062 + 0.111 + 0.120 + 2 * 0.176) / 7
    assert cell(table, "Log loss, `any` counted twice", "ResNet18 (paper)")["value"] == pytest.approx(resnet)
    assert resnet == pytest.approx(0.1046, abs=5e-5)
    assert cell(table, "Accuracy, mean of classes", "ResNet18 (paper)")["note"] == "1"
    assert cell(table, "PR AUC (trapezoid) of `any`", "DenseNet121 (paper)")["value"] == 0.917
    paper_rows = table[table["source"] == "paper"]
    assert "Average precision of `any`" not in set(paper_rows["quantity"])


def test_the_baselines_stand_beside(metrics, table):
    frame = metrics["good"]
    value = frame.query("part == 'test' and metric == 'prior_log_loss' and `class` == 'mean'")["value"].item()
    assert cell(table, "Log loss, mean of classes", "no model")["value"] == value


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_experiments(metrics, count):
    frames = {f"experiment{number}": metrics["good"] for number in range(count)}
    shown = comparison.grid(comparison.comparison(frames, {name: results.facts() for name in frames}))
    assert list(shown.columns) == [*frames, "no model", "ResNet18 (paper)", "DenseNet121 (paper)"]
    assert list(shown.index) == list(comparison.QUANTITIES)


class Cells(html.parser.HTMLParser):
    """The texts of the cells of a table, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data


def test_all_ways_of_writing_hold_the_same_cells(table):
    shown = comparison.grid(table)
    plain = [[name.replace("`", ""), *row] for name, row in zip(shown.index, shown.to_numpy().tolist(), strict=True)]

    assert Cells(comparison.to_html(table, "Head")).rows[1:] == plain

    lines = [line for line in comparison.to_markdown(table, "Head").splitlines() if line.startswith("|")][2:]
    assert [[each.strip().replace("`", "") for each in line.strip("|").split("|")] for line in lines] == plain

    body = comparison.to_latex(table, "Head").split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    unescaped = [line.removesuffix(" \\\\").replace("\\_", "_").replace("--", "–").split(" & ") for line in body]
    assert unescaped == plain


def test_hostile_names_stay_text(metrics):
    name = '<script>alert("x")</script> & $50_% | {x} \\end{table}'
    table = comparison.comparison({name: metrics["good"]}, {name: results.facts()})
    assert "<script>" not in comparison.to_html(table, name)
    assert "\\end{table}" in comparison.to_latex(table, "Head").splitlines()  # the real one
    assert comparison.to_latex(table, name).count("\\end{table}") == 1
    [head] = [line for line in comparison.to_markdown(table, "x").splitlines() if "script" in line]
    assert head.count("|") - head.count("\\|") == comparison.to_markdown(table, "x").splitlines()[3].count("|")


def test_a_class_with_one_label_leaves_an_empty_cell_and_its_reason():
    frame = results.cohort()
    frame.loc[frame["part"] == "test", "epidural"] = 0
    table = comparison.comparison({"one": results.evaluated(frame=frame)[0]}, {"one": results.facts()})
    found = cell(table, "ROC AUC, mean of classes", "one")
    assert math.isnan(found["value"])
    assert found["text"] == "–"
    assert "epidural" in found["note"]
    assert cell(table, "Worst subtype by ROC AUC", "one")["text"] != "epidural nan"


def test_the_caption_says_that_the_paper_is_of_another_data_set():
    assert "another data set" in comparison.caption(True, 10, 2)
    assert "synthetic" in comparison.caption(True, 10, 2)
    assert "synthetic" not in comparison.caption(False, 10, 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (75, "1 min 15 s"), (3599.6, "1 h 00 min"),
     (7384, "2 h 03 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert comparison.duration(seconds) == text


def test_the_verdict_claims_no_more_than_the_intervals(metrics):
    def with_losses(**losses):
        made = {}
        for name, (value, lower, upper) in losses.items():
            frame = metrics["good"].copy()
            chosen = (frame["metric"] == "log_loss") & (frame["class"] == "mean") & (frame["part"] == "test")
            frame.loc[chosen, ["value", "lower", "upper"]] = value, lower, upper
            made[name] = frame
        return made

    apart = comparison.verdict(with_losses(a=(0.3, 0.28, 0.32), b=(0.1, 0.08, 0.12)), synthetic=False)
    assert apart.startswith("b has the lowest")
    assert "do not overlap" in apart
    overlapping = comparison.verdict(with_losses(a=(0.11, 0.08, 0.14), b=(0.1, 0.08, 0.12)), synthetic=True)
    assert "may be chance" in overlapping
    assert "synthetic" in overlapping
    alone = comparison.verdict(with_losses(a=(0.11, 0.08, 0.14)), synthetic=False)
    assert alone.startswith("a has a mean log loss of 0.110")


def test_every_metric_of_every_class(metrics):
    rows = comparison.by_class(metrics)
    assert set(rows["experiment"]) == set(metrics)
    assert set(rows["metric"]) == set(comparison.CLASS_METRICS)
    one = rows[(rows["experiment"] == "good") & (rows["metric"] == "brier")].set_index("class")["value"]
    frame = metrics["good"]
    other = frame[(frame["part"] == "test") & (frame["metric"] == "brier")].set_index("class")["value"]
    pd.testing.assert_series_equal(one, other)


def test_the_table_survives_its_csv(table, tmp_path):
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    back = pd.read_csv(path, keep_default_na=False, na_values={"value": "", "lower": "", "upper": ""})
    np.testing.assert_array_equal(pd.to_numeric(back["value"]), table["value"])
    assert len(paper.NOTES) == 6
