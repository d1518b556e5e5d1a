"""Models compared on the same slices and scans."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ich.base.classes import CLASSES
from ich.evaluation import statistics
from ich.evaluation.operating import RULES, operating_points
from ich.evaluation.pairs import METRICS, PAIRS_COLUMNS, RATES, pairs
from ich.evaluation.units import samples
from tests.unit import results

SAMPLING = {"scan": "maximum", "replicates": 60, "confidence": 0.9, "seed": 1}
COHORT = results.cohort(700, 240)


def compared(predictions, cohort=COHORT, **settings):
    """Pairs of experiments, and their test samples."""
    settings = SAMPLING | settings
    judged = {name: samples(cohort, each, **settings) for name, each in predictions.items()}
    points = {name: operating_points(each, threshold="accuracy", prevalence=0.1) for name, each in judged.items()}
    table = pairs(cohort, {name: each["test"] for name, each in predictions.items()}, points, **settings)
    assert list(table.columns) == PAIRS_COLUMNS
    return table, judged, points


KEYS = ["unit", "class", "metric", "method", "rule"]


@pytest.fixture(scope="module")
def made():
    predictions = {
        "good": results.predicted(2, 1, COHORT),
        "poor": results.predicted(1, 2, COHORT),
        "again": results.predicted(2, 3, COHORT),
    }
    return compared(predictions)


def of(table, first="good", second="poor"):
    return table[(table["first"] == first) & (table["second"] == second)].set_index(KEYS).sort_index()


def test_each_two_experiments_have_every_test(made):
    table, _, _ = made
    assert [*table[["first", "second"]].drop_duplicates().itertuples(index=False, name=None)] == [
        ("good", "poor"),
        ("good", "again"),
        ("poor", "again"),
    ]
    expected = {
        (unit, name, metric, "bootstrap", "")
        for unit in ("slice", "scan")
        for metric in METRICS
        for name in (*CLASSES, "mean", *(["kaggle"] if metric == "log_loss" else []))
    }
    expected |= {("scan", name, "roc_auc", "delong", "") for name in CLASSES}
    expected |= {("scan", name, rate, "mcnemar", rule) for name in CLASSES for rate in RATES for rule in RULES}
    for _, rows in table.groupby(["first", "second"]):
        assert {*rows[KEYS].fillna("").itertuples(index=False, name=None)} == expected
        assert len(rows) == len(expected)


def test_differences_and_intervals_equal_a_paired_loop(made):
    table, judged, _ = made
    for unit in ("slice", "scan"):
        first, second = (judged[name]["test", unit] for name in ("good", "poor"))
        functions = {"roc_auc": roc_auc_score, "average_precision": average_precision_score, "log_loss": log_loss}
        for metric, function in functions.items():

            def values(weight, metric=metric, function=function, first=first, second=second):
                def value(labels, probabilities):
                    lacking = metric != "log_loss" and len(np.unique(labels[weight > 0])) < 2
                    return np.nan if lacking else function(labels, probabilities, sample_weight=weight)

                return [[value(*pair) for pair in sample.pairs()] for sample in (first, second)]

            point = np.array(values(np.ones(len(first))))
            drawn = np.array([np.subtract(*values(weight[first.patients])) for weight in first.weights])
            for number, name in enumerate(CLASSES):
                row = of(table).loc[(unit, name, metric, "bootstrap")].iloc[0]
                np.testing.assert_allclose([row["first_value"], row["second_value"]], point[:, number], rtol=1e-9)
                assert row["value"] == pytest.approx(point[0, number] - point[1, number], abs=1e-12)
                interval = np.nanpercentile(drawn[:, number], [5, 95])
                np.testing.assert_allclose([row["lower"], row["upper"]], interval, rtol=1e-9, atol=1e-12)
                assert row["p"] == statistics.bootstrap_p_value(drawn[:, number])
            mean = of(table).loc[(unit, "mean", metric, "bootstrap")].iloc[0]
            assert mean["value"] == pytest.approx(np.subtract(*point.mean(axis=1)), abs=1e-12)
            np.testing.assert_allclose([mean["lower"], mean["upper"]], np.nanpercentile(drawn.mean(axis=1), [5, 95]))


def test_delong_is_that_of_scans(made):
    table, judged, _ = made
    first, second = (judged[name]["test", "scan"] for name in ("good", "poor"))
    for number, name in enumerate(CLASSES):
        scores = np.column_stack([first.probabilities[:, number], second.probabilities[:, number]])
        areas, covariance = statistics.auc_covariance(first.labels[:, number], scores, first.patients)
        row = of(table).loc[("scan", name, "roc_auc", "delong")].iloc[0]
        expected = statistics.delong(areas, covariance, 0.9)
        np.testing.assert_allclose(row[["z", "lower", "upper", "p"]].astype(float), expected)
        bootstrap = of(table).loc[("scan", name, "roc_auc", "bootstrap")].iloc[0]
        assert row["value"] == pytest.approx(bootstrap["value"], abs=1e-12)


def test_mcnemar_counts_scans_that_one_alone_calls_rightly(made):
    table, judged, points = made
    first, second = (judged[name]["test", "scan"] for name in ("good", "poor"))
    for rule in RULES:
        for number, name in enumerate(CLASSES):
            right = []
            for experiment, sample in (("good", first), ("poor", second)):
                found = points[experiment].query("part == 'test' and unit == 'scan' and rule == @rule")
                cut = found.loc[found["class"] == name, "threshold"].iloc[0]
                right.append((sample.probabilities[:, number] >= cut) == sample.labels[:, number])
            labels = first.labels[:, number]
            for rate, chosen in (("sensitivity", labels == 1), ("specificity", labels == 0), ("accuracy", labels < 2)):
                one, two = (each[chosen] for each in right)
                row = of(table).loc[("scan", name, rate, "mcnemar", rule)]
                only_first, only_second = (one & ~two).sum(), (two & ~one).sum()
                assert (row["only_first"], row["only_second"]) == (only_first, only_second)
                differ = only_first + only_second
                assert row["p"] == pytest.approx(binomtest(only_first, differ).pvalue if differ else 1)
                assert row["value"] == pytest.approx((only_first - only_second) / chosen.sum())
                assert row["lower"] <= row["value"] + 1e-12
                assert row["value"] <= row["upper"] + 1e-12
                still = row["lower"] == row["upper"]
                assert row["reason"].endswith("an interval without width is too narrow") == still


def test_holm_corrects_over_the_six_classes_of_one_table(made):
    table, _, _ = made
    families = table[table["class"].isin(CLASSES)].fillna({"rule": ""})
    for _, rows in families.groupby(["first", "second", "unit", "metric", "method", "rule"]):
        assert len(rows) == 6
        np.testing.assert_allclose(rows["p_holm"], statistics.holm(rows["p"].to_numpy()))
    assert table.loc[~table["class"].isin(CLASSES), "p_holm"].isna().all()


def test_a_model_and_itself_do_not_differ():
    predictions = results.predicted(2, 1, COHORT)
    table, _, _ = compared({"a": predictions, "b": predictions})
    known = table[table["p"].notna()]
    assert (known["value"] == 0).all()
    assert (known["p"] == 1).all()
    assert (known["p_holm"].dropna() == 1).all()


def test_one_experiment_gives_an_empty_table():
    table, _, _ = compared({"a": results.predicted(2, 1, COHORT)})
    assert table.empty


def test_only_slices_that_all_have_predicted_count(made):
    full, lacking = results.predicted(2, 1, COHORT), results.predicted(1, 2, COHORT)
    lost = set(lacking["test"]["image_id"].iloc[:5])
    points = made[2]
    cut = {"good": full["test"], "poor": lacking["test"].iloc[5:]}
    table = pairs(COHORT, cut, points, **SAMPLING)
    kept = {name: each[~each["image_id"].isin(lost)] for name, each in cut.items()}
    cohort = COHORT[~COHORT["image_id"].isin(lost)]
    pd.testing.assert_frame_equal(table, pairs(cohort, kept, points, **SAMPLING))
    assert set(table.loc[table["unit"] == "slice", "n"]) == {(COHORT["part"] == "test").sum() - 5}


def test_several_scans_of_a_patient_are_said():
    cohort = results.cohort(900, 60)
    cohort["series_instance_uid"] += (cohort["index"] // 4).astype(str)
    predictions = {name: results.predicted(2, seed, cohort) for name, seed in (("a", 1), ("b", 2))}
    table, judged, _ = compared(predictions, cohort)
    rows = table[(table["method"] == "mcnemar") & (table["metric"] == "accuracy") & table["p"].notna()]
    count = judged["a"]["test", "scan"].rows["patient_id"].value_counts().gt(1).sum()
    assert set(rows["p_reason"]) == {f"takes all scans as independent; patients with several of them: {count}"}
    assert not rows["reason"].str.contains("independent").any()  # the difference and its interval do not


def test_what_has_no_value_says_why():
    cohort = COHORT.copy()
    cohort.loc[cohort["part"] == "validation", "epidural"] = 0
    cohort.loc[cohort["part"] == "test", "subdural"] = 0
    predictions = {name: results.predicted(2, seed, cohort) for name, seed in (("a", 1), ("b", 2))}
    rows = of(compared(predictions, cohort)[0], "a", "b")
    threshold = "no threshold: all scans of validation have the same label"
    assert set(rows.loc[("scan", "epidural", "accuracy", "mcnemar"), "reason"]) == {threshold}
    for method, metric in (("bootstrap", "roc_auc"), ("delong", "roc_auc"), ("bootstrap", "average_precision")):
        row = rows.loc[("scan", "subdural", metric, method)].iloc[0]
        assert np.isnan(row["value"])
        assert np.isnan(row["p"])
        assert row["reason"] == row["p_reason"] == "no positive scan"
    assert rows.loc[("scan", "mean", "roc_auc", "bootstrap"), "reason"].tolist() == ["no value for subdural"]
    assert rows.loc[("scan", "subdural", "log_loss", "bootstrap"), "value"].notna().all()
    assert set(rows.loc[("scan", "subdural", "sensitivity", "mcnemar"), "reason"]) == {"no positive scan"}


def test_a_perfect_model_against_a_constant_one_has_no_test_of_delong():
    predictions = {"a": results.predicted(2, 1, COHORT), "b": results.predicted(2, 2, COHORT)}
    test = predictions["a"]["test"].merge(COHORT, on="image_id")
    for name in CLASSES:
        predictions["a"]["test"][f"probability_{name}"] = 0.1 + 0.8 * test[name].to_numpy()
        predictions["b"]["test"][f"probability_{name}"] = 0.5
    rows = of(compared(predictions)[0], "a", "b").xs("delong", level="method")
    assert rows["value"].tolist() == pytest.approx([0.5] * 6)
    assert rows[["z", "lower", "upper", "p", "p_holm"]].isna().all(axis=None)
    assert set(rows["reason"]) == set(rows["p_reason"])
    assert rows["reason"].str.startswith("no test: the difference has no variance").all()
