"""What the paper printed, and what a reader must know about it.

Murphy and Satyamoorthi, Intracranial Hemorrhage Detection with Deep Convolutional Neural Networks (2021), figures 2 to
6. These are numbers of the RSNA 2019 data; a result on other data must not stand beside them unmarked.
"""

import math
from dataclasses import dataclass

from ich.base.classes import CLASSES

CITATION = "Murphy, Satyamoorthi. Intracranial Hemorrhage Detection with Deep Convolutional Neural Networks. 2021."
DATA = "RSNA 2019 test set"
SLICES = 752_803  # with labels, of all parts
TEST_SLICES = 149_321
TEST_PATIENTS = 3_788


@dataclass(frozen=True)
class Published:
    """Results of one model on the test part, in the order of `CLASSES`.

    Attributes
    ----------
    roc_auc, pr_auc_trapezoid, log_loss, accuracy : tuple of 6 floats
        By class. `accuracy` is as printed.
    mean_log_loss, mean_accuracy : float
        Over the classes, as printed.
    epochs : int
        Of training.
    """

    roc_auc: tuple[float, ...]
    pr_auc_trapezoid: tuple[float, ...]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    mean_log_loss: float
    mean_accuracy: float
    epochs: int


RESULTS = {
    "ResNet18": Published(
        roc_auc=(0.930, 0.967, 0.975, 0.929, 0.935, 0.949),
        pr_auc_trapezoid=(0.066, 0.756, 0.742, 0.546, 0.653, 0.842),
        log_loss=(0.010, 0.077, 0.062, 0.111, 0.120, 0.176),
        accuracy=(0.930, 0.967, 0.975, 0.929, 0.935, 0.949),
        mean_log_loss=0.090,
        mean_accuracy=0.948,
        epochs=20,
    ),
    "DenseNet121": Published(
        roc_auc=(0.961, 0.985, 0.992, 0.968, 0.967, 0.977),
        pr_auc_trapezoid=(0.159, 0.868, 0.902, 0.729, 0.783, 0.917),
        log_loss=(0.016, 0.054, 0.034, 0.081, 0.096, 0.123),
        accuracy=(0.996, 0.981, 0.988, 0.969, 0.964, 0.954),
        mean_log_loss=0.067,
        mean_accuracy=0.975,
        epochs=10,
    ),
}

PREVALENCE = {  # share of positive slices by part, printed in percent with one digit
    "train": (0.004, 0.048, 0.035, 0.047, 0.061, 0.142),
    "validation": (0.004, 0.049, 0.033, 0.049, 0.067, 0.144),
    "test": (0.004, 0.048, 0.037, 0.048, 0.064, 0.146),
}

# Without a model, on the paper's test set. Not printed there: counted from the labels of the same slices.
ALWAYS_NEGATIVE_ACCURACY = (0.9962, 0.9521, 0.9629, 0.9519, 0.9355, 0.8539)
PRIOR_LOG_LOSS = (0.0250, 0.1923, 0.1586, 0.1929, 0.2392, 0.4159)

NOTES = {
    "accuracy": "The accuracies printed for ResNet18 are its ROC AUCs, digit for digit, and 94.8% is their mean; its "
    "accuracy is not published. An accuracy of 93.0% for epidural would be below that of always saying no (99.6%), and "
    "does not go with a log loss of 0.010.",
    "mean": "0.090 is printed as the average log loss of ResNet18; its printed log losses by class average 0.093.",
    "computed": "Not printed in the paper: computed from its values by class, or from the labels of its test set.",
    "trapezoid": "The published area under the precision-recall curve is the trapezoid's, which is optimistic, and its "
    "plots swap the axes. Average precision, which does not interpolate, is the sound figure; the paper has none.",
    "last": "The released code kept its best weights by reference, so it was always the last epoch that was evaluated.",
    "batches": "The released code predicted the test set with batch normalisation in training mode: a slice's result "
    "depended on the others of its batch.",
    "unlike": "The two models were not trained alike: in the released code ResNet18 saw 15% of its training part, at "
    "256 pixels, with another split and batches of 128.",
    "thresholds": "The decision thresholds (0.4, 0.6, 0.7) were set by hand; here they are chosen on validation.",
    "schedule": "Halved after every epoch, the learning rate is 2e-7 by the tenth: that the loss levels off is mostly "
    "the schedule's doing.",
    "loading": "Every slice was decoded from DICOM again in every epoch, by the training process itself; the test pass "
    "ran at 51 slices a second.",
    "count": "The text counts 753,803 slices; its three parts sum to 752,802, which is all slices but the corrupt one.",
}


# Notes that a metric's values need: of all classes, or of one model.
_METRIC_NOTES = {
    ("ResNet18", "accuracy"): "accuracy thresholds",
    ("DenseNet121", "accuracy"): "thresholds",
    ("ResNet18", "pr_auc_trapezoid"): "trapezoid",
    ("DenseNet121", "pr_auc_trapezoid"): "trapezoid",
}


def published(model: str, metric: str, group: str) -> tuple[float, str]:
    """Give a published value, or one that follows from published ones.

    Parameters
    ----------
    model : str
        Of `RESULTS`.
    metric : str
        As in metrics.csv.
    group : str
        A class, `mean`, or `kaggle` (of log losses: `any` counted twice).

    Returns
    -------
    value : float
        NaN where the paper has none.
    notes : str
        Keys of `NOTES`, separated by spaces.
    """
    result = RESULTS[model]
    values = getattr(result, metric, None)
    if values is None:
        return math.nan, ""
    notes = _METRIC_NOTES.get((model, metric), "")
    if group in CLASSES:
        return values[CLASSES.index(group)], notes
    if group == "kaggle":
        return (sum(values) + values[-1]) / 7, "computed"
    match metric:
        case "accuracy":
            return result.mean_accuracy, notes
        case "log_loss":
            return result.mean_log_loss, "mean" if model == "ResNet18" else ""
    return sum(values) / len(values), f"computed {notes}".strip()


def note_number(key: str) -> int:
    """Give the number under which tables print a note of `NOTES`."""
    return [*NOTES].index(key) + 1


def is_test_set(slices: int) -> bool:
    """Say whether a test part can be the paper's, going by its size.

    Slices that cannot be decoded are left out here, so a thousandth may lack.
    """
    return 0.999 * TEST_SLICES <= slices <= TEST_SLICES


def is_data_set(slices: int) -> bool:
    """Say whether the slices of all parts can be the RSNA 2019 data, going by their number; a thousandth may lack."""
    return 0.999 * SLICES <= slices <= SLICES
