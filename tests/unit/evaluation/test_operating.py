"""Operating points: fixed on validation, counted on every part."""

from statistics import NormalDist

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from sklearn.metrics import confusion_matrix

from ich.base.classes import CLASSES
from ich.evaluation.operating import (
    COUNTS,
    MEASURES,
    OPERATING_COLUMNS,
    RULES,
    WILSON,
    measures,
    operating_points,
    with_wilson,
)
from ich.evaluation.units import samples
from tests.unit import results

SAMPLING = {"scan": "maximum", "replicates": 40, "confidence": 0.95, "seed": 1}


COHORT = results.cohort(500, 250)  # scans of two slices, so that some hold no haemorrhage


def judged(frame=COHORT, **settings):
    return samples(frame, results.predicted(frame=frame), **SAMPLING | settings)


def table(sampled, threshold="accuracy", prevalence=0.1):
    found = operating_points(sampled, threshold=threshold, prevalence=prevalence)
    assert list(found.columns) == OPERATING_COLUMNS
    return found.set_index(["part", "unit", "rule", "class", "measure"]).sort_index()


@pytest.fixture(scope="module")
def sampled():
    return judged()


@pytest.fixture(scope="module")
def found(sampled):
    return table(sampled)


def test_counts_and_rates_equal_scikit_learn(sampled, found):
    for (part, unit), sample in sampled.items():
        for rule in RULES:
            for number, name in enumerate(CLASSES):
                rows = found.loc[part, unit, rule, name]
                labels, probabilities = sample.labels[:, number], sample.probabilities[:, number]
                cut = rows["threshold"].iloc[0]
                matrix = confusion_matrix(labels, probabilities >= cut, labels=[0, 1])
                (rests, alarms), (misses, hits) = matrix.tolist()
                assert rows["value"][list(COUNTS)].tolist() == [hits, alarms, misses, rests]
                with np.errstate(invalid="ignore"):
                    expected = np.array([hits, rests, hits, rests]) / np.array(
                        [hits + misses, rests + alarms, hits + alarms, rests + misses]
                    )
                np.testing.assert_allclose(rows["value"][list(MEASURES[:4])], expected)
                assert set(rows["n"]) == {len(sample)}
                assert set(rows["positive"]) == {labels.sum()}


def test_thresholds_are_those_of_validation_on_every_part(found):
    cuts = found["threshold"].groupby(["unit", "rule", "class"]).nunique()
    assert (cuts == 1).all()
    for name in CLASSES:
        for unit in ("slice", "scan"):
            validation = found.loc["validation", unit]
            assert validation.loc[("sensitivity_95", name, "sensitivity"), "value"] >= 0.95
            assert validation.loc[("specificity_95", name, "specificity"), "value"] >= 0.95
            youden = {
                rule: validation.loc[(rule, name, "sensitivity"), "value"]
                + validation.loc[(rule, name, "specificity"), "value"]
                for rule in RULES
            }
            assert youden["youden"] == pytest.approx(max(youden.values()))


def test_a_number_is_the_decision_rule(sampled):
    found = table(sampled, threshold=0.4)
    assert (found.xs("decision", level="rule")["threshold"] == 0.4).all()


def test_predictive_values_at_a_prevalence_by_bayes(found):
    """Altman and Bland (1994), BMJ 309:102: sensitivity 0.90, specificity 0.63 (231/258, 54/86)."""
    counts = np.array([231, 32, 27, 54], dtype=float)[:, None]
    at_own = measures(counts, 258 / 344)
    assert at_own["ppv"][0] == pytest.approx(231 / 263)
    assert at_own["ppv_stated"][0] == pytest.approx(231 / 263)
    assert at_own["npv_stated"][0] == pytest.approx(at_own["npv"][0]) == pytest.approx(54 / 81)
    at_quarter = measures(counts, 0.25)
    assert at_quarter["ppv_stated"][0] == pytest.approx(0.45, abs=0.005)
    assert at_quarter["npv_stated"][0] == pytest.approx(0.95, abs=0.005)
    assert set(found.xs("ppv_stated", level="measure")["prevalence"]) == {0.1}
    own = found.xs("npv", level="measure")
    np.testing.assert_allclose(own["prevalence"], own["positive"] / own["n"])


def test_wilsons_interval_stands_where_the_bootstraps_has_no_width(sampled):
    points = operating_points(sampled, threshold="accuracy", prevalence=0.1)
    chosen = points["measure"].isin(["sensitivity", "specificity"])
    points["lower"] = np.where(chosen, points["value"], points["value"] - 0.1)
    points["upper"] = np.where(chosen, points["value"], points["value"] + 0.1)
    still = chosen & points["wilson_lower"].notna()  # scans of different patients
    assert 0 < still.sum() < chosen.sum()
    found = with_wilson(points)
    for name in ("lower", "upper"):
        np.testing.assert_array_equal(found[name], np.where(still, points[f"wilson_{name}"], points[name]))
    assert set(found.loc[still, "reason"]) == {WILSON}
    assert_frame_equal(found[~still], points[~still])


def test_intervals_equal_a_loop_that_copies_patients(sampled, found):
    sample = sampled["test", "slice"]
    labels, probabilities = sample.labels[:, -1], sample.probabilities[:, -1]
    cut = found.loc[("test", "slice", "youden", "any", "ppv"), "threshold"]
    drawn = []
    for weight in sample.weights:
        slices = np.concatenate(
            [
                np.flatnonzero(sample.patients == number)
                for number in np.repeat(np.arange(len(weight)), weight.astype(int))
            ]
        )
        called = probabilities[slices] >= cut
        drawn.append([called[labels[slices] == 1].mean(), labels[slices][called].mean()])
    for measure, values in zip(("sensitivity", "ppv"), np.transpose(drawn), strict=True):
        row = found.loc[("test", "slice", "youden", "any", measure)]
        np.testing.assert_allclose([row["lower"], row["upper"]], np.percentile(values, [2.5, 97.5]), rtol=1e-9)


def test_wilson_stands_where_each_patient_has_one_scan(found):
    scans = found.xs("scan", level="unit").xs("sensitivity", level="measure")
    z = NormalDist().inv_cdf(0.975)
    for row in scans.itertuples():
        p, n = row.value, row.positive
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        expected = np.array([middle - half, middle + half]) / (1 + z**2 / n)
        np.testing.assert_allclose([row.wilson_lower, row.wilson_upper], expected, atol=1e-12)
    slices = found.xs("slice", level="unit").xs("specificity", level="measure")
    assert slices[["wilson_lower", "wilson_upper"]].isna().all(axis=None)


def test_what_has_no_value_says_why():
    frame = COHORT.copy()
    frame.loc[frame["part"] == "validation", "epidural"] = 0
    frame.loc[frame["part"] == "test", "subdural"] = 0
    found = table(judged(frame), threshold=1.0)  # which no probability reaches
    none = found.loc[("test", "scan", "youden", "epidural")]
    assert none["value"].isna().all()
    assert set(none["reason"]) == {"no threshold: all scans of validation have the same label"}
    reasons = found.loc[("test", "slice", "decision", "subdural"), "reason"]
    assert reasons["sensitivity"] == "no positive slice"
    assert reasons["ppv"] == "no slice is called positive"
    assert reasons["specificity"] == "no replicate varies: an interval without width is too narrow"
    assert found.loc[("test", "slice", "decision", "any"), "reason"]["ppv_stated"] == "no slice is called positive"


def test_one_patient_has_counts_and_no_interval():
    frame = COHORT.copy()
    last = frame.loc[frame["part"] == "test", "patient_id"].iloc[-1]
    frame = frame[(frame["part"] != "test") | (frame["patient_id"] == last)].reset_index(drop=True)
    found = table(judged(frame)).loc["test", "slice", "decision", "any"]
    assert found["value"][list(COUNTS)].sum() == len(frame[frame["part"] == "test"])
    assert found["lower"].isna().all()
    rates = found.loc[list(MEASURES)].dropna(subset="value")
    assert set(rates["reason"]) == {"no interval: all slices are of one patient"}


def test_no_replicates_no_intervals(found):
    bare = table(judged(replicates=0))
    assert bare[["lower", "upper"]].isna().all(axis=None)
    assert_frame_equal(bare[["value", "wilson_lower"]], found[["value", "wilson_lower"]])
    assert (bare.loc[bare["value"].notna(), "reason"] == "").all()
