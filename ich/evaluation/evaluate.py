"""Predictions of one experiment judged: metrics with intervals, baselines and curves, by slice and by scan."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ich.base.classes import CLASSES
from ich.evaluation import metrics
from ich.evaluation.units import Sample, Samples

METRICS_COLUMNS = ["part", "unit", "class", "metric", "value", "lower", "upper", "n", "positive", "reason"]
CURVES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("part", "unit", "class", "curve")]
    + [(name, pa.float64()) for name in ("x", "y", "threshold")]
)
CURVE_POINTS = 1000


def evaluate(samples: Samples, *, threshold: str | float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge the predictions of one experiment.

    Parameters
    ----------
    samples : mapping of (part, unit) to Sample
        As from `units.samples`; the part `validation` among them unless `threshold` is a number.
    threshold : {"accuracy", "youden"} or float
        How each class's threshold is chosen on validation (`metrics.choose_threshold`), for slices and for scans; it is
        used on every part. Intervals take the model and the thresholds as given.

    Returns
    -------
    metrics : DataFrame
        `METRICS_COLUMNS`; for each part, unit and metric a row for each class, one for `mean` (unweighted over the six)
        and, of log losses, one for `kaggle` (`any` counted twice). The metrics are threshold (the one used; infinity
        calls nothing positive; no mean), accuracy, log_loss, brier, roc_auc, average_precision, pr_auc_trapezoid (the
        paper's, optimistic) and the baselines always_negative_accuracy and prior_log_loss (every unit gets the
        class's prevalence in the training part). n and positive count units. A value that does not exist is NaN and
        reason says why; reason also says why an interval is missing or rests on fewer replicates.
    curves : DataFrame
        `CURVES_SCHEMA`, in falling order of the threshold, at most `CURVE_POINTS` points a curve, chosen by
        `metrics.thin`. `roc`: x is the false and y the true positive rate; `pr`: x is recall and y precision. A class
        without positive or without negative units in a part has no curve there.
    """
    tables, curves = [], [CURVES_SCHEMA.empty_table().to_pandas()]
    for (part, unit), sample in samples.items():
        values, draws = _measure(sample, thresholds(samples, unit, threshold))
        table = pd.DataFrame(_rows(sample, values, draws)).assign(part=part, unit=unit)
        tables.append(table.astype({"positive": "Int64"})[METRICS_COLUMNS])
        curves += [curve.assign(part=part, unit=unit) for curve in _curves(sample)]
    return pd.concat(tables, ignore_index=True), pd.concat(curves, ignore_index=True)[CURVES_SCHEMA.names]


def thresholds(samples: Samples, unit: str, rule: str | float) -> np.ndarray:
    """Choose a threshold [class] for slices or for scans, on validation unless the rule is a number."""
    if isinstance(rule, int | float):
        return np.full(len(CLASSES), float(rule))
    return np.array([metrics.choose_threshold(*pair, rule) for pair in samples["validation", unit].pairs()])


def _measure(sample: Sample, thresholds: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give each metric's values [class], and its values in each replicate [replicate, class]."""
    labels, probabilities = sample.labels, sample.probabilities
    by_unit = {
        "accuracy": metrics.correct(labels, probabilities, thresholds),
        "log_loss": metrics.log_losses(labels, probabilities),
        "brier": metrics.squared_errors(labels, probabilities),
        "always_negative_accuracy": metrics.correct(labels, probabilities, np.inf),
        "prior_log_loss": metrics.log_losses(labels, sample.priors),
    }
    by_rank = {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "pr_auc_trapezoid": metrics.pr_auc_trapezoid,
    }
    values = {"threshold": thresholds}
    values |= {name: each.mean(axis=0) for name, each in by_unit.items()}
    values |= {name: np.array([metric(*pair) for pair in sample.pairs()]) for name, metric in by_rank.items()}

    means = sample.means(np.hstack([*by_unit.values()]))
    draws = dict(zip(by_unit, np.split(means, len(by_unit), axis=1), strict=True))
    ranked = [sample.ranking(*pair) for pair in sample.pairs()]
    draws |= {name: np.column_stack([each[name] for each in ranked]) for name in by_rank}
    return values, draws


def with_means(metric: str, values: np.ndarray) -> np.ndarray:
    """Append to the values [..., class] of a metric their mean and, of a log loss, the challenge's weighting."""
    columns = [values, values.mean(axis=-1, keepdims=True)]
    if metric in ("log_loss", "prior_log_loss"):
        columns.append(metrics.kaggle_log_loss(values)[..., None])
    return np.concatenate(columns, axis=-1)


def _rows(sample: Sample, values: dict[str, np.ndarray], draws: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Give the rows of the table of metrics for one sample."""
    positive = [*sample.labels.sum(axis=0), pd.NA, pd.NA]
    for metric, by_class in values.items():
        drawn = with_means(metric, draws[metric]) if metric in draws else None
        for number, value in enumerate(by_class if drawn is None else with_means(metric, by_class)):
            reason = _reason(sample, metric, number, by_class) if np.isnan(value) else ""
            yield {
                "class": (*CLASSES, "mean", "kaggle")[number],
                "metric": metric,
                **sample.estimate(value, None if drawn is None else drawn[:, number], reason),
                "n": len(sample),
                "positive": positive[number],
            }


def _reason(sample: Sample, metric: str, number: int, by_class: np.ndarray) -> str:
    """Say why a metric of a class, or of all, has no value."""
    if number >= len(CLASSES):
        return "no value for " + ", ".join(np.array(CLASSES)[np.isnan(by_class)])
    if metric in ("threshold", "accuracy"):
        return no_threshold(sample.unit)
    return no_label(sample, number)


def no_threshold(unit: str) -> str:
    """Say why a class has no threshold."""
    return f"no threshold: all {unit}s of validation have the same label"


def no_label(sample: Sample, number: int) -> str:
    """Say which label the units of a sample lack for a class."""
    return f"no {metrics.missing_label(sample.labels[:, number])} {sample.unit}"


def _curves(sample: Sample) -> Iterator[pd.DataFrame]:
    """Give the ROC and the precision-recall curve of each class that has both."""
    for name, pair in zip(CLASSES, sample.pairs(), strict=True):
        if metrics.missing_label(pair[0]):
            continue
        for curve, points in (("roc", metrics.roc_points), ("pr", metrics.pr_points)):
            x, y, threshold = points(*pair)
            kept = metrics.thin(x, y, CURVE_POINTS)
            yield pd.DataFrame(
                {"class": name, "curve": curve, "x": x[kept], "y": y[kept], "threshold": threshold[kept]}
            )
