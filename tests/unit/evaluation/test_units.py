"""Slices and the scans that they make up."""

import numpy as np
import pandas as pd
import pytest

from ich.base.classes import CLASSES
from ich.evaluation.units import PROBABILITIES, SCAN_RULES, samples, scans
from tests.unit import results

LABELS = list(CLASSES)
SAMPLING = {"scan": "maximum", "replicates": 30, "confidence": 0.9, "seed": 1}


def rows(probabilities, labels, series, patients=None):
    """Slices with the same probability and label for each class."""
    frame = pd.DataFrame(dict.fromkeys(PROBABILITIES, probabilities) | dict.fromkeys(LABELS, labels))
    return frame.assign(patient_id=patients or "P", series_instance_uid=list(series))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("maximum", [0.8, 0.3]),
        ("mean", [(0.1 + 0.8 + 0.5 + 0.6) / 4, 0.25]),
        ("top3_mean", [(0.8 + 0.6 + 0.5) / 3, 0.25]),
        ("noisy_or", [1 - 0.9 * 0.2 * 0.5 * 0.4, 1 - 0.7 * 0.8]),
    ],
)
def test_the_probability_of_a_scan_by_hand(rule, expected):
    frame = rows([0.3, 0.1, 0.8, 0.5, 0.2, 0.6], [0, 0, 1, 0, 0, 0], "baaaba")
    found = scans(frame, rule)
    assert found["series_instance_uid"].tolist() == ["a", "b"]
    assert found["any"].tolist() == [1, 0]
    for name in PROBABILITIES:
        assert found[name].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rule", SCAN_RULES)
def test_the_order_of_slices_does_not_matter_and_classes_are_apart(rule):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.random((200, 6)), columns=PROBABILITIES)
    frame[LABELS] = (random.random((200, 6)) < 0.1).astype(np.uint8)
    frame = frame.assign(patient_id=random.integers(9, size=200).astype(str), series_instance_uid="x")
    found = scans(frame, rule)
    shuffled = scans(frame.sample(frac=1, random_state=1), rule)
    np.testing.assert_allclose(found[PROBABILITIES], shuffled[PROBABILITIES], rtol=1e-12)
    one = scans(frame.assign(probability_any=0.5), rule)
    np.testing.assert_array_equal(one[PROBABILITIES[:-1]], found[PROBABILITIES[:-1]])
    assert found[PROBABILITIES].to_numpy().max() <= 1


@pytest.mark.parametrize("rule", SCAN_RULES)
@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_certain_slices_make_certain_scans(rule, extreme):
    assert scans(rows([extreme] * 3, [0] * 3, "aaa"), rule)["probability_any"].tolist() == [extreme]


def test_equal_names_of_series_of_two_patients_are_two_scans():
    found = scans(rows([0.1, 0.9], [0, 1], "aa", ["P", "Q"]), "maximum")
    assert found["probability_any"].tolist() == [0.1, 0.9]


def test_slices_and_scans_share_draws_and_patients():
    cohort, predictions = results.cohort(), results.predicted()
    found = samples(cohort, predictions, **SAMPLING)
    assert set(found) == {(part, unit) for part in predictions for unit in ("slice", "scan")}
    for part in predictions:
        slices, whole = found[part, "slice"], found[part, "scan"]
        assert slices.weights is whole.weights
        names = sorted(cohort.loc[cohort["part"] == part, "patient_id"].unique())
        for sample in (slices, whole):
            assert [names[number] for number in sample.patients] == sample.rows["patient_id"].tolist()
        train = cohort[cohort["part"] == "train"]
        np.testing.assert_allclose(slices.priors, train[LABELS].mean())
        np.testing.assert_allclose(whole.priors, train.groupby("series_instance_uid")[LABELS].max().mean())


def test_a_part_of_a_sample_keeps_the_draws():
    sample = samples(results.cohort(), results.predicted(), **SAMPLING)["test", "slice"]
    chosen = sample.patients < 3
    part = sample.take(chosen)
    assert len(part) == chosen.sum()
    values = np.arange(len(sample), dtype=float)[:, None]
    expected = sample.weights[:, :3] @ [values[sample.patients == number].sum() for number in range(3)]
    np.testing.assert_allclose(part.sums(values[chosen])[:, 0], expected)
    counts = sample.weights[:, :3] @ [(sample.patients == number).sum() for number in range(3)]
    means = part.means(values[chosen])[:, 0]
    np.testing.assert_allclose(means[counts > 0], (expected / np.maximum(counts, 1))[counts > 0])
    assert np.isnan(means[counts == 0]).all()
