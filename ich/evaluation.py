"""Predictions of one experiment judged against the cohort: metrics with intervals, baselines and curves."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ich import metrics, statistics
from ich.errors import InputError
from ich.labels import CLASSES

LABELS = list(CLASSES)
PROBABILITIES = [f"probability_{name}" for name in CLASSES]
METRICS_COLUMNS = ["part", "class", "metric", "value", "lower", "upper", "n", "positive", "reason"]
CURVES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("part", "class", "curve")]
    + [(name, pa.float64()) for name in ("x", "y", "threshold")]
)
CURVE_POINTS = 1000


def evaluate(
    cohort: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    *,
    threshold: str | float,
    replicates: int,
    confidence: float,
    seed: int,
    quarantined: Collection[str] = frozenset(),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge the predictions of one experiment, slice by slice.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, part and the six labels.
    predictions : mapping of part to DataFrame
        image_id and `PROBABILITIES`, rows in any order; `validation` among them unless `threshold` is a number.
    threshold : {"accuracy", "youden"} or float
        How each class's threshold is chosen on validation (`metrics.choose_threshold`); it is used on every part.
    replicates : int
        Bootstrap replicates, drawn by patient; 0 for no intervals. All classes and metrics share the draws.
    confidence : float
        Coverage of the percentile intervals. They take the model and the thresholds as given.
    seed : int
        Seed of the draws.
    quarantined : collection of str
        Slices that may lack a prediction.

    Returns
    -------
    metrics : DataFrame
        `METRICS_COLUMNS`; for each part and metric a row for each class, one for `mean` (unweighted over the six) and,
        of log losses, one for `kaggle` (`any` counted twice). The metrics are threshold (the one used; infinity calls
        nothing positive; no mean), accuracy, log_loss, brier, roc_auc, average_precision, pr_auc_trapezoid (the
        paper's, optimistic) and the baselines always_negative_accuracy and prior_log_loss (every slice gets the
        class's prevalence in the training part). n and positive count slices. A value that does not exist is NaN and
        reason says why; reason also says why an interval is missing or rests on fewer replicates.
    curves : DataFrame
        `CURVES_SCHEMA`, in falling order of the threshold, at most `CURVE_POINTS` points a curve, chosen by
        `metrics.thin`. `roc`: x is the false and y the true positive rate; `pr`: x is recall and y precision. A class
        without positive or without negative slices in a part has no curve there.

    Raises
    ------
    InputError
        Predictions and cohort do not hold the same slices, a slice is predicted twice, or a value is no probability.
    """
    joined = {part: _join(cohort, part, frame, quarantined) for part, frame in predictions.items()}
    priors = cohort.loc[cohort["part"] == "train", LABELS].mean().to_numpy()
    thresholds = np.full(len(CLASSES), threshold)
    if isinstance(threshold, str):
        thresholds = np.array([metrics.choose_threshold(*pair, threshold) for pair in _pairs(joined["validation"])])

    tables, curves = [], [CURVES_SCHEMA.empty_table().to_pandas()]
    for part, frame in joined.items():
        names, patients = np.unique(frame["patient_id"], return_inverse=True)
        weights = statistics.draw_patients(len(names), replicates if len(names) > 1 else 0, seed)
        values, draws = _measure(frame, thresholds, priors, patients, weights)
        table = pd.DataFrame(_rows(frame, values, draws, replicates, confidence))
        tables.append(table.assign(part=part).astype({"positive": "Int64"})[METRICS_COLUMNS])
        curves += [curve.assign(part=part) for curve in _curves(frame)]
    return pd.concat(tables, ignore_index=True), pd.concat(curves, ignore_index=True)[CURVES_SCHEMA.names]


def _join(cohort: pd.DataFrame, part: str, predictions: pd.DataFrame, quarantined: Collection[str]) -> pd.DataFrame:
    """Put labels and probabilities of a part side by side, by image_id and sorted by it."""
    members = cohort.loc[cohort["part"] == part, ["image_id", "patient_id", *LABELS]]
    ids, probabilities = predictions["image_id"], predictions[PROBABILITIES]
    absent = ~members["image_id"].isin([*ids, *quarantined])
    again = "make this experiment's predictions again from this cohort"
    faults = [
        ("slices predicted more than once", ids[ids.duplicated()], again),
        ("slices predicted that are not in this part of the cohort", ids[~ids.isin(members["image_id"])], again),
        ("slices with neither a prediction nor a line in quarantine", members.loc[absent, "image_id"], again),
        (
            "slices with a probability that is not between 0 and 1",
            ids[~(probabilities.ge(0) & probabilities.le(1)).all(axis=1)],
            "see in history.csv whether training diverged",
        ),
    ]
    for fault, slices, remedy in faults:
        if len(slices):
            names = sorted(set(slices))
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(f"predictions of {part}: {fault}: {', '.join(names[:5])}{more}; {remedy}")
    joined = members.merge(predictions[["image_id", *PROBABILITIES]], on="image_id", validate="one_to_one")
    if joined.empty:
        raise InputError(f"predictions of {part}: no slice is left to judge; look at quarantine.csv")
    return joined.sort_values("image_id", ignore_index=True)


def _pairs(frame: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels and probabilities, float64, of each class."""
    for label, probability in zip(LABELS, PROBABILITIES, strict=True):
        yield frame[label].to_numpy(), frame[probability].to_numpy(np.float64)


def _measure(
    frame: pd.DataFrame, thresholds: np.ndarray, priors: np.ndarray, patients: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give each metric's values [class], and its values in each replicate [replicate, class]."""
    labels, probabilities = (np.column_stack(each) for each in zip(*_pairs(frame), strict=True))
    by_slice = {
        "accuracy": metrics.correct(labels, probabilities, thresholds),
        "log_loss": metrics.log_losses(labels, probabilities),
        "brier": metrics.squared_errors(labels, probabilities),
        "always_negative_accuracy": metrics.correct(labels, probabilities, np.inf),
        "prior_log_loss": metrics.log_losses(labels, priors),
    }
    by_rank = {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "pr_auc_trapezoid": metrics.pr_auc_trapezoid,
    }
    values = {"threshold": thresholds}
    values |= {name: each.mean(axis=0) for name, each in by_slice.items()}
    values |= {name: np.array([metric(*pair) for pair in _pairs(frame)]) for name, metric in by_rank.items()}

    means = statistics.weighted_means(np.hstack([*by_slice.values()]), patients, weights)
    draws = dict(zip(by_slice, np.split(means, len(by_slice), axis=1), strict=True))
    ranked = [statistics.ranking_metrics(*pair, patients, weights) for pair in _pairs(frame)]
    draws |= {name: np.column_stack([each[name] for each in ranked]) for name in by_rank}
    return values, draws


def _with_means(metric: str, values: np.ndarray) -> np.ndarray:
    """Append to the values [..., class] of a metric their mean and, of a log loss, the challenge's weighting."""
    columns = [values]
    if metric != "threshold":
        columns.append(values.mean(axis=-1, keepdims=True))
    if metric in ("log_loss", "prior_log_loss"):
        columns.append(metrics.kaggle_log_loss(values)[..., None])
    return np.concatenate(columns, axis=-1)


def _rows(
    frame: pd.DataFrame,
    values: dict[str, np.ndarray],
    draws: dict[str, np.ndarray],
    replicates: int,
    confidence: float,
) -> Iterator[dict[str, Any]]:
    """Give the rows of the table of metrics for one part."""
    positive = [*frame[LABELS].sum(), pd.NA, pd.NA]
    for metric, by_class in values.items():
        drawn = _with_means(metric, draws.get(metric, np.empty((0, len(CLASSES)))))
        for number, value in enumerate(_with_means(metric, by_class)):
            lower, upper = statistics.percentile_interval(drawn[:, number], confidence)
            reason = _reason_of_value(frame, metric, number, by_class) if np.isnan(value) else ""
            if not reason and replicates and metric != "threshold":
                reason = _reason_of_interval(drawn[:, number], replicates)
            yield {
                "class": (*CLASSES, "mean", "kaggle")[number],
                "metric": metric,
                "value": value,
                "lower": lower,
                "upper": upper,
                "n": len(frame),
                "positive": positive[number],
                "reason": reason,
            }


def _reason_of_value(frame: pd.DataFrame, metric: str, number: int, by_class: np.ndarray) -> str:
    """Say why a metric of a class, or of all, has no value."""
    if number >= len(CLASSES):
        return "no value for " + ", ".join(np.array(CLASSES)[np.isnan(by_class)])
    if metric in ("threshold", "accuracy"):
        return "no threshold: all slices of validation have the same label"
    return f"no {metrics.missing_label(frame[CLASSES[number]].to_numpy())} slice"


def _reason_of_interval(drawn: np.ndarray, replicates: int) -> str:
    """Say why an interval is missing or rests on fewer replicates."""
    if not len(drawn):
        return "no interval: all slices are of one patient"
    used = np.count_nonzero(~np.isnan(drawn))
    return "" if used == replicates else f"interval from {used} of {replicates} replicates: the others lack a label"


def _curves(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give the ROC and the precision-recall curve of each class that has both."""
    for name, pair in zip(CLASSES, _pairs(frame), strict=True):
        if metrics.missing_label(pair[0]):
            continue
        for curve, points in (("roc", metrics.roc_points), ("pr", metrics.pr_points)):
            x, y, threshold = points(*pair)
            kept = metrics.thin(x, y, CURVE_POINTS)
            yield pd.DataFrame(
                {"class": name, "curve": curve, "x": x[kept], "y": y[kept], "threshold": threshold[kept]}
            )
