"""The paper's numbers: they are copied well, follow from each other, and the notes on them are true."""

import math

import numpy as np
import pytest

from ich.base.classes import CLASSES
from ich.evaluation import paper

# The classes' numbers are rounded to the third digit, and so is their mean.
ROUNDING = 1e-3


def test_every_class_has_its_numbers():
    for result in paper.RESULTS.values():
        for values in (result.roc_auc, result.pr_auc_trapezoid, result.log_loss, result.accuracy):
            assert len(values) == len(CLASSES)
    for values in (*paper.PREVALENCE.values(), paper.ALWAYS_NEGATIVE_ACCURACY, paper.PRIOR_LOG_LOSS):
        assert len(values) == len(CLASSES)


def test_the_accuracy_of_resnet18_is_its_roc_auc():
    resnet = paper.RESULTS["ResNet18"]
    assert resnet.accuracy == resnet.roc_auc
    assert np.mean(resnet.roc_auc) == pytest.approx(resnet.mean_accuracy, abs=ROUNDING)
    assert f"{resnet.mean_accuracy:.1%}" in paper.NOTES["accuracy"]
    always_no = paper.ALWAYS_NEGATIVE_ACCURACY[0]
    assert resnet.accuracy[0] < always_no
    assert f"{always_no:.1%}" in paper.NOTES["accuracy"]


def test_printed_means_fit_the_classes_but_for_the_one_with_a_note():
    dense, resnet = paper.RESULTS["DenseNet121"], paper.RESULTS["ResNet18"]
    assert np.mean(dense.accuracy) == pytest.approx(dense.mean_accuracy, abs=ROUNDING)
    assert np.mean(dense.log_loss) == pytest.approx(dense.mean_log_loss, abs=ROUNDING)
    assert np.mean(resnet.log_loss) != pytest.approx(resnet.mean_log_loss, abs=ROUNDING)
    assert f"{np.mean(resnet.log_loss):.3f}" in paper.NOTES["mean"]


def test_baselines_follow_from_the_prevalence():
    share = np.array(paper.PREVALENCE["test"])  # printed with one digit of percent
    np.testing.assert_allclose(paper.ALWAYS_NEGATIVE_ACCURACY, 1 - share, atol=5e-4)
    # The cross-entropy of the test prevalence against itself; that of training differs from it by a fourth digit.
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    np.testing.assert_allclose(paper.PRIOR_LOG_LOSS, entropy, atol=3e-3)


# The challenge's weights worked out by hand: the sum of all six and `any` once more, by seven.
@pytest.mark.parametrize(
    ("model", "metric", "group", "value", "notes"),
    [
        ("ResNet18", "roc_auc", "subarachnoid", 0.929, ""),
        ("ResNet18", "log_loss", "kaggle", 0.1046, "computed"),
        ("DenseNet121", "log_loss", "kaggle", 0.0753, "computed"),
        ("ResNet18", "log_loss", "mean", 0.090, "mean"),
        ("DenseNet121", "log_loss", "mean", 0.067, ""),
        ("ResNet18", "accuracy", "any", 0.949, "accuracy thresholds"),
        ("DenseNet121", "accuracy", "mean", 0.975, "thresholds"),
        ("ResNet18", "roc_auc", "mean", 0.9475, "computed"),
        ("DenseNet121", "pr_auc_trapezoid", "any", 0.917, "trapezoid"),
        ("DenseNet121", "pr_auc_trapezoid", "mean", 0.7263, "computed trapezoid"),
    ],
)
def test_published_values(model, metric, group, value, notes):
    found, keys = paper.published(model, metric, group)
    assert found == pytest.approx(value, abs=5e-5)
    assert keys == notes
    assert all(key in paper.NOTES for key in keys.split())


def test_what_the_paper_does_not_have_is_missing():
    for metric in ("average_precision", "brier", "threshold"):
        value, notes = paper.published("ResNet18", metric, "any")
        assert math.isnan(value)
        assert notes == ""


def test_the_kaggle_weighted_prior_loss():
    losses = paper.PRIOR_LOG_LOSS
    assert (sum(losses) + losses[-1]) / 7 == pytest.approx(0.2342, abs=1e-4)  # both are rounded to the fourth digit


def test_notes_are_numbered_in_their_order():
    assert [paper.note_number(key) for key in paper.NOTES] == list(range(1, len(paper.NOTES) + 1))


@pytest.mark.parametrize(("slices", "same"), [(149_321, True), (149_300, True), (149_322, False), (140_000, False)])
def test_the_papers_test_set_is_known_by_its_size(slices, same):
    assert paper.is_test_set(slices) is same


@pytest.mark.parametrize(
    ("slices", "same"), [(752_803, True), (752_100, True), (752_804, False), (674_258, False), (79, False)]
)
def test_the_whole_data_set_is_known_by_its_size(slices, same):
    assert paper.is_data_set(slices) is same
