"""Point metrics of one class, from labels (0 or 1) and probabilities, and the curves that they summarise.

Two kinds: a metric that is a mean over slices (accuracy, log loss, Brier score) is given as its value on each slice; a
metric of the ranking (ROC AUC, average precision) is one number for the class, and has none where all labels are alike.
"""

import heapq
import math

import numpy as np
from sklearn import metrics

from ich.base.classes import CLASSES

CLIP = 1e-15  # the challenge's: a probability of 0 or 1 counts as this far from it
KAGGLE_WEIGHTS = np.array([2.0 if name == "any" else 1.0 for name in CLASSES])  # the challenge's, in order of CLASSES


def correct(labels: np.ndarray, probabilities: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    """Say of each slice whether the call was right; the mean is the accuracy.

    Parameters
    ----------
    labels : array of 0 and 1
    probabilities : float array
        A slice is called positive if its probability is at least the threshold.
    threshold : float or array that broadcasts with the others
        Infinity calls nothing positive. NaN, no threshold, gives NaN.

    Returns
    -------
    float64 array of the common shape, 1 where right and 0 where wrong
    """
    right = (probabilities >= threshold) == (labels == 1)
    return np.where(np.isnan(threshold), np.nan, right)


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Give the binary cross-entropy of each slice, in nats; the mean is the log loss.

    Parameters
    ----------
    labels : array of 0 and 1
    probabilities : float array that broadcasts with the labels
        Clipped to [1e-15, 1 - 1e-15], as the challenge did.

    Returns
    -------
    float64 array of the common shape
    """
    given = np.where(labels == 1, probabilities, 1 - probabilities.astype(np.float64))
    return -np.log(np.clip(given, CLIP, 1 - CLIP))


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Give the squared distance of probability and label of each slice; the mean is the Brier score."""
    return np.square(probabilities.astype(np.float64) - labels)


def kaggle_log_loss(log_losses: np.ndarray) -> np.ndarray:
    """Weigh the log losses of the classes as the RSNA 2019 challenge did: `any` counts twice.

    Parameters
    ----------
    log_losses : float array [..., class]
        In the order of `CLASSES`.

    Returns
    -------
    float64 array [...]
    """
    return np.average(log_losses, axis=-1, weights=KAGGLE_WEIGHTS)


def missing_label(labels: np.ndarray) -> str:
    """Say which of the two labels does not occur: `positive`, `negative`, or nothing where both do."""
    return "" if 0 < labels.sum() < len(labels) else "negative" if labels.any() else "positive"


def roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the area under the ROC curve; NaN where all labels are alike."""
    return math.nan if missing_label(labels) else float(metrics.roc_auc_score(labels, probabilities))


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the average precision: the precision at each positive, averaged; NaN where all labels are alike."""
    return math.nan if missing_label(labels) else float(metrics.average_precision_score(labels, probabilities))


def pr_auc_trapezoid(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the area under the straight lines between the points of the precision-recall curve.

    The paper's figure, kept to compare with it. It is optimistic where many slices share a probability, since
    precision between two points far apart lies below the straight line (Davis and Goadrich 2006); where hardly any do,
    it is `average_precision`, the sound figure, but for a hair. NaN where all labels are alike.
    """
    if missing_label(labels):
        return math.nan
    precision, recall, _ = metrics.precision_recall_curve(labels, probabilities)
    return float(metrics.auc(recall, precision))


TARGETS = {"sensitivity_95": 95, "specificity_95": 95}  # percent


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, rule: str | float) -> float:
    """Choose the probability from which on a slice is called positive.

    Candidates are the probabilities that occur, and infinity, which calls nothing positive. Of candidates that are
    equally good the highest is taken, which calls the fewest slices positive.

    Parameters
    ----------
    labels : array [slice] of 0 and 1
    probabilities : float array [slice]
    rule : {"accuracy", "youden", "sensitivity_95", "specificity_95"} or float
        `accuracy` has the most slices right. `youden` has the largest sensitivity + specificity - 1. `sensitivity_95`
        has the largest specificity of those whose sensitivity is at least 0.95, `specificity_95` the other way round.
        A number is taken as it is.

    Returns
    -------
    float
        NaN where all labels are alike and the rule is not a number.

    Raises
    ------
    ValueError
        A rule that is none of these.
    """
    if isinstance(rule, int | float):
        return float(rule)
    if rule not in ("accuracy", "youden", *TARGETS):
        raise ValueError(f"threshold rule {rule!r}: write accuracy, youden, sensitivity_95, specificity_95 or a number")
    if missing_label(labels):
        return math.nan
    _, false_positives, _, true_positives, thresholds = metrics.confusion_matrix_at_thresholds(labels, probabilities)
    # Whole numbers, so that equally good candidates are exactly equal.
    hits, alarms = (np.r_[0, counts].astype(np.int64) for counts in (true_positives, false_positives))
    positives, negatives = hits[-1], alarms[-1]
    match rule:
        case "accuracy":
            gain = hits - alarms
        case "youden":
            gain = hits * negatives - alarms * positives
        case "sensitivity_95":
            gain = np.where(hits * 100 >= TARGETS[rule] * positives, -alarms, -negatives - 1)
        case "specificity_95":
            gain = np.where((negatives - alarms) * 100 >= TARGETS[rule] * negatives, hits, -1)
    return float(np.r_[np.inf, thresholds][np.argmax(gain)])


def roc_points(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the corners of the ROC curve in falling order of the threshold, from (0, 0) to (1, 1).

    Returns
    -------
    x, y, threshold : float64 arrays [point]
        False positive rate, true positive rate, and the lowest probability called positive; infinity at (0, 0).
    """
    return metrics.roc_curve(labels, probabilities)


def pr_points(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the corners of the precision-recall curve in falling order of the threshold, from (0, 1) to recall 1.

    Returns
    -------
    x, y, threshold : float64 arrays [point]
        Recall, precision, and the lowest probability called positive; infinity at (0, 1), which is a convention.
    """
    precision, recall, thresholds = metrics.precision_recall_curve(labels, probabilities, drop_intermediate=True)
    return recall[::-1], precision[::-1], np.r_[np.inf, thresholds[::-1]]


def thin(x: np.ndarray, y: np.ndarray, points: int) -> np.ndarray:
    """Choose the points of a curve that keep its shape (Douglas and Peucker 1973, worst place first).

    Starting from the straight line between both ends, the point of the curve that lies furthest from what is kept so
    far is kept next. So corners come first, and points on a straight line are never kept.

    Parameters
    ----------
    x, y : float arrays [point]
    points : int
        The most points to keep, 2 or more.

    Returns
    -------
    int array
        Indices of the kept points, rising; the ends are among them.
    """
    worst: list[tuple[float, int, int, int]] = []

    def examine(start: int, end: int) -> None:
        if end - start < 2:
            return
        across, up = x[end] - x[start], y[end] - y[start]
        inner = slice(start + 1, end)
        distance = np.abs(up * (x[inner] - x[start]) - across * (y[inner] - y[start])) / (np.hypot(across, up) or 1)
        furthest = int(np.argmax(distance))
        heapq.heappush(worst, (-float(distance[furthest]), start, start + 1 + furthest, end))

    kept = {0, len(x) - 1}
    examine(0, len(x) - 1)
    while worst and worst[0][0] < -1e-12 and len(kept) < points:  # nearer is rounding
        _, start, middle, end = heapq.heappop(worst)
        kept.add(middle)
        examine(start, middle)
        examine(middle, end)
    return np.array(sorted(kept))
