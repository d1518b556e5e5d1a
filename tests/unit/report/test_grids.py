"""Tables of the page: every number of a file stands in its cell, and nothing else does."""

import math

import numpy as np
import pandas as pd
import pytest

from ich.base.classes import CLASSES
from ich.report import grids
from tests.unit import results


@pytest.fixture(scope="module")
def tables():
    return results.evaluations()


COUNTED = {"true positive", "false positive", "false negative", "true negative", "n", "positive", "patients"}


def values(grid):
    """All values of a grid, each shown as it should be, by the names of the row and the head of the column."""
    for _, row in grid.rows:
        for column, cell in zip(grid.columns, row, strict=True):
            if cell["sort"] and column != "p (Holm)":
                value = float(cell["sort"])
                decimals = f"{value:,.0f}" if column in COUNTED else f"{value:.3f}"
                assert cell["text"] == (decimals if math.isfinite(value) else "∞"), column
    return {
        (*names, column): cell["sort"] and float(cell["sort"])
        for names, row in grid.rows
        for column, cell in zip(grid.columns, row, strict=True)
    }


def expected(rows, names, of, heads):
    """The same, straight from the file."""
    found = {}
    for row in rows.to_dict("records"):
        if row[of] in heads:
            key = (*(str(row[name]) for name in names), heads[row[of]])
            found[key] = "" if math.isnan(row["value"]) else float(row["value"])
    return found


def read_back(table, tmp_path):
    """The table as the page's script reads it."""
    table.to_csv(tmp_path / "table.csv", index=False)
    return pd.read_csv(tmp_path / "table.csv")


def test_scans_of_all_experiments(tables):
    other = results.evaluations(results.cohort(seed=3))
    grid = grids.scans({"one": tables["metrics"], "two": other["metrics"]})
    assert "kaggle" not in {name for names, _ in grid.rows for name in names}
    heads = {
        "roc_auc": "ROC AUC",
        "average_precision": "average precision",
        "log_loss": "log loss",
        "brier": "Brier score",
    }
    files = [
        table.query("part == 'test' and unit == 'scan'")
        .replace({"class": {"kaggle": "any counted twice"}})
        .assign(experiment=name)
        for name, table in (("one", tables["metrics"]), ("two", other["metrics"]))
    ]
    together = pd.concat(files).replace({"class": {"kaggle": "any counted twice"}})
    assert values(grid).items() >= expected(together, ["class", "experiment"], "metric", heads).items()
    assert [names for names, _ in grid.rows][:2] == [["epidural", "one"], ["epidural", "two"]]


@pytest.mark.parametrize("number, unit", [(0, "slice"), (1, "scan")])
def test_operating_points(tables, tmp_path, number, unit):
    grid = [*grids.operating_points(read_back(tables["operating_points"], tmp_path))][number]
    rows = tables["operating_points"].query("part == 'test' and unit == @unit")
    rows = rows.assign(rule=rows["rule"].str.replace("_95", " 0.95"))
    heads = {
        "sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV",
        "ppv_stated": "PPV, stated prevalence", "npv_stated": "NPV, stated prevalence",
        "true_positive": "true positive", "false_positive": "false positive",
        "false_negative": "false negative", "true_negative": "true negative",
    }  # fmt: skip
    found = expected(rows, ["class", "rule"], "measure", heads)
    cuts = rows.drop_duplicates(["class", "rule"])
    cuts = cuts.assign(measure="threshold", value=cuts["threshold"])
    found |= expected(cuts, ["class", "rule"], "measure", {"threshold": "threshold"})
    assert values(grid) == found
    assert len(grid.rows) == 4 * len(CLASSES)
    counted = {column: cell for _, row in grid.rows[:1] for column, cell in zip(grid.columns, row, strict=True)}
    assert counted["true negative"]["text"] == f"{counted['true negative']['sort'].removesuffix('.0')}"


@pytest.mark.parametrize("number, unit", [(0, "slice"), (1, "scan")])
def test_calibration(tables, tmp_path, number, unit):
    grid = [*grids.calibration(read_back(tables["calibration"], tmp_path))][number]
    rows = tables["calibration"].query("part == 'test' and unit == @unit")
    heads = {
        "brier": "Brier score", "log_loss": "log loss", "ece": "calibration error",
        "slope": "slope", "intercept": "intercept", "temperature": "temperature",
    }  # fmt: skip
    found = expected(rows, ["class", "method"], "measure", heads)
    assert values(grid).items() >= found.items()
    assert all(value == "" for key, value in values(grid).items() if key not in found)


@pytest.mark.parametrize("number, unit", [(0, "slice"), (1, "scan")])
def test_subgroups(tables, tmp_path, number, unit):
    grid = [*grids.subgroups(read_back(tables["subgroups"], tmp_path))][number]
    rows = tables["subgroups"].query("part == 'test' and unit == @unit")
    heads = {
        "roc_auc": "ROC AUC", "average_precision": "average precision", "log_loss": "log loss", "brier": "Brier score",
        "sensitivity": "sensitivity", "specificity": "specificity",
    }  # fmt: skip
    names = ["subgroup", "group", "class"]
    found = expected(rows, names, "metric", heads)
    for row in rows.to_dict("records"):
        found |= {(*(row[name] for name in names), count): float(row[count]) for count in ("n", "positive", "patients")}
    assert values(grid) == found
    few = {
        (*names, column)
        for names, row in grid.rows
        for column, cell in zip(grid.columns, row, strict=True)
        if cell["few"]
    }
    assert few == {
        (*(row[name] for name in names), heads[row["metric"]]) for row in rows[rows["few"]].to_dict("records")
    }


def test_differences_with_their_p_values(tmp_path):
    table = read_back(results.pairs(["one", "two"]), tmp_path)
    [(title, [slices, scans, called])] = [*grids.differences(table)]
    assert title == "one less two"
    for grid, unit in ((slices, "slice"), (scans, "scan")):
        rows = table[(table["unit"] == unit) & (table["method"] == "bootstrap") & (table["metric"] == "log_loss")]
        place = grid.columns.index("log loss")
        shown = {names[0]: [cell["sort"] for cell in row[place : place + 2]] for names, row in grid.rows}
        for row in rows.to_dict("records"):
            p = row["p"] if math.isnan(row["p_holm"]) else row["p_holm"]
            name = row["class"].replace("kaggle", "any counted twice")
            assert shown[name] == [
                repr(row["value"]),
                "" if math.isnan(p) else repr(p),
            ]
    delong = table.query("method == 'delong'").set_index("class")["value"].dropna()
    place = scans.columns.index("ROC AUC (DeLong)")
    assert {names[0]: float(row[place]["sort"]) for names, row in scans.rows if row[place]["sort"]} == delong.to_dict()
    assert len(called.rows) == 4 * len(CLASSES)
    assert called.columns == ["sensitivity", "p (Holm)", "specificity", "p (Holm)", "accuracy", "p (Holm)"]


def test_what_is_not_corrected_is_marked_so(tmp_path):
    [(_, [slices, scans, called])] = [*grids.differences(read_back(results.pairs(["one", "two"]), tmp_path))]
    for grid in (slices, scans, called):
        for names, row in grid.rows:
            for column, cell in zip(grid.columns, row, strict=True):
                told = grid.reasons.get(cell["mark"], "")
                alone = names[0] in ("mean", "any counted twice") and column == "p (Holm)" and cell["sort"] != ""
                assert (told == "not corrected: a test of its own") == alone


def test_the_caveat_of_a_p_value_marks_the_p_value(tmp_path):
    table = results.pairs(["one", "two"])
    chosen = (table["method"] == "mcnemar") & (table["metric"] == "accuracy") & (table["class"] == "any")
    table.loc[chosen, "p_reason"] = "takes all scans as independent"
    table.loc[chosen, "p_holm"] = 1e-12
    [(_, [*_, called])] = [*grids.differences(read_back(table, tmp_path))]
    place = called.columns.index("accuracy")
    for names, row in called.rows:
        told = [called.reasons.get(cell["mark"], "") for cell in row[place : place + 2]]
        assert told[0] != "takes all scans as independent"
        assert (told[1] == "takes all scans as independent") == (names[0] == "any")
        assert (row[place + 1]["text"] == "<0.001") == (names[0] == "any")
        assert names[0] != "any" or row[place + 1]["sort"] == "1e-12"


def test_a_rate_that_no_replicate_varies_has_wilsons_interval(tmp_path):
    """20 of 20: Wilson's interval is 0.839 to 1 (z² / (n + z²) = 3.8415 / 23.8415 = 0.1611)."""
    known = {
        "part": "test",
        "unit": "scan",
        "class": "any",
        "rule": "youden",
        "threshold": 0.5,
        "measure": "sensitivity",
    }
    still = known | {"value": 1.0, "lower": 1.0, "upper": 1.0, "reason": "no replicate varies"}
    rows = [
        still | {"wilson_lower": 0.838875, "wilson_upper": 1.0},
        still | {"class": "epidural"},  # several scans of a patient: no Wilson
        known
        | {"class": "subdural", "value": 0.9, "lower": 0.8, "upper": 1, "wilson_lower": 0.7, "wilson_upper": 0.97},
    ]
    [grid] = grids.operating_points(read_back(pd.DataFrame(rows), tmp_path))
    place = grid.columns.index("sensitivity")
    found = {names[0]: (row[place]["interval"], grid.reasons.get(row[place]["mark"])) for names, row in grid.rows}
    assert found == {
        "any": ("(0.839 to 1.000)", "Wilson's interval, since no replicate of the bootstrap varies"),
        "epidural": ("(1.000 to 1.000)", "no replicate varies"),
        "subdural": ("(0.800 to 1.000)", None),
    }


def test_infinite_slopes_are_shown_as_such(tmp_path):
    known = {"part": "test", "unit": "slice", "class": "any", "method": "none", "measure": "slope", "reason": ""}
    rows = [
        known | {"value": 2.5, "lower": -np.inf, "upper": np.inf},
        known | {"class": "epidural", "value": np.inf, "lower": 1.0, "upper": np.inf},
    ]
    [grid] = grids.calibration(read_back(pd.DataFrame(rows), tmp_path))
    assert [(row[0]["text"], row[0]["interval"]) for _, row in grid.rows] == [
        ("2.500", "(-∞ to ∞)"),
        ("∞", "(1.000 to ∞)"),
    ]


def test_a_reason_is_marked_and_told():
    table = pd.DataFrame(
        {"class": ["a", "b"], "metric": "m", "value": [0.5, math.nan], "reason": [math.nan, "no label"]}
    )
    grid = grids.grid(table, "Caption", ["class"], "metric", {"m": "M"})
    assert [row[0]["mark"] for _, row in grid.rows] == ["", "a"]
    assert grid.reasons == {"a": "no label"}
