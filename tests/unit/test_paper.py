"""The paper's numbers: they are copied well, and the notes on them are true."""

import numpy as np
import pytest

from ich import paper
from ich.labels import CLASSES


def test_every_class_has_its_numbers():
    for published in paper.RESULTS.values():
        for values in (published.roc_auc, published.pr_auc_trapezoid, published.log_loss, published.accuracy):
            assert len(values) == len(CLASSES)
    assert all(len(values) == len(CLASSES) for values in paper.PREVALENCE.values())


def test_the_accuracy_of_resnet18_is_its_roc_auc():
    resnet = paper.RESULTS["ResNet18"]
    assert resnet.accuracy == resnet.roc_auc
    assert np.mean(resnet.roc_auc) == pytest.approx(resnet.mean_accuracy, abs=5e-4)
    assert "ROC AUC" in paper.NOTES[resnet.notes["accuracy", "mean"] - 1]
    always_no = 1 - paper.PREVALENCE["test"][0]
    assert resnet.accuracy[0] < always_no == pytest.approx(0.996)


def test_printed_means_fit_the_classes_but_for_the_one_with_a_note():
    # The classes' numbers are rounded to the third digit, and so is their mean.
    for published in paper.RESULTS.values():
        assert np.mean(published.accuracy) == pytest.approx(published.mean_accuracy, abs=1e-3)
    dense, resnet = paper.RESULTS["DenseNet121"], paper.RESULTS["ResNet18"]
    assert np.mean(dense.log_loss) == pytest.approx(dense.mean_log_loss, abs=1e-3)
    assert np.mean(resnet.log_loss) == pytest.approx(0.093, abs=5e-4)
    assert "0.093" in paper.NOTES[resnet.notes["log_loss", "mean"] - 1]
