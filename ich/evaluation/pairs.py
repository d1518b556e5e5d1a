"""Models compared on the same slices and scans: paired differences with intervals and tests."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES
from ich.evaluation import metrics, statistics
from ich.evaluation.evaluate import no_label, no_threshold, with_means
from ich.evaluation.operating import RULES, counted, rates
from ich.evaluation.units import UNITS, Sample, samples

PAIRS_COLUMNS = [
    "part", "unit", "class", "first", "second", "metric", "rule", "method", "first_value", "second_value", "value",
    "lower", "upper", "z", "only_first", "only_second", "p", "p_holm", "n", "positive", "patients", "reason",
    "p_reason",
]  # fmt: skip
METRICS = ("roc_auc", "average_precision", "log_loss")
RATES = ("sensitivity", "specificity", "accuracy")
_Measured = dict[str, tuple[np.ndarray, np.ndarray]]  # values [class] and replicates [replicate, class]


def pairs(
    cohort: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    points: Mapping[str, pd.DataFrame],
    *,
    scan: str,
    replicates: int,
    confidence: float,
    seed: int,
    part: str = "test",
) -> pd.DataFrame:
    """Compare each two experiments.

    Parameters
    ----------
    cohort : DataFrame
        As of `units.samples`.
    predictions : mapping of experiment to DataFrame
        Of the part. Only slices that all experiments have predicted count, and scans of these.
    points : mapping of experiment to DataFrame
        As from `operating.operating_points`: the thresholds are taken from it.
    scan, replicates, confidence, seed
        As of `units.samples`.
    part : str
        Which part they are compared on.

    Returns
    -------
    DataFrame
        `PAIRS_COLUMNS`. value is first less second. By method: `bootstrap` has the metrics of `METRICS` of slices and
        of scans, with the percentile interval and the p value of the paired bootstrap by patient, also for the `mean`
        of the classes and the `kaggle` log loss; `delong` has the ROC AUC of scans; `mcnemar` those of `RATES` of scans
        at each operating point, with the bootstrap's interval and the exact p value of McNemar's test. p_holm is
        Holm's correction over the six classes (pair, unit, metric, rule and method alike). reason is of value and
        interval, p_reason of p: why there is none, or what it takes for granted. No row for one experiment.
    """
    shared = set.intersection(*(set(frame["image_id"]) for frame in predictions.values()))
    judged = {
        name: samples(
            cohort,
            {part: frame[frame["image_id"].isin(shared)]},
            scan=scan, replicates=replicates, confidence=confidence, seed=seed,
            quarantined=set(cohort["image_id"]) - shared,
        )
        for name, frame in predictions.items()
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for unit in UNITS:
        found = {name: each[part, unit] for name, each in judged.items()}
        measured = {name: _measure(sample) for name, sample in found.items()}
        for first, second in combinations(found, 2):
            compared = [*_bootstrap(found[first], measured[first], measured[second])]
            if unit == "scan":
                compared += _delong(found[first], found[second])
                for rule in RULES:
                    cuts = [_thresholds(points[name], part, unit, rule) for name in (first, second)]
                    compared += [row | {"rule": rule} for row in _mcnemar(found[first], found[second], *cuts)]
            rows += [{"part": part, "unit": unit, "first": first, "second": second, **row} for row in compared]
    table = pd.DataFrame(rows).reindex(columns=PAIRS_COLUMNS)
    classes = table[table["class"].isin(CLASSES)].astype({"p": np.float64})
    family = classes.groupby(["first", "second", "unit", "metric", "rule", "method"], dropna=False)
    table["p_holm"] = family["p"].transform(lambda p: statistics.holm(p.to_numpy()))
    lacking = table["reason"].where(table["p"].isna(), "")
    table["p_reason"] = table["p_reason"].where(table["p_reason"].notna(), lacking)
    return table.astype({"only_first": "Int64", "only_second": "Int64", "positive": "Int64"})


def _measure(sample: Sample) -> _Measured:
    """Give each metric's values and replicates, with the means over classes."""
    losses = metrics.log_losses(sample.labels, sample.probabilities)
    ranked = [sample.ranking(*pair) for pair in sample.pairs()]
    found = {
        "roc_auc": ([metrics.roc_auc(*pair) for pair in sample.pairs()], ranked),
        "average_precision": ([metrics.average_precision(*pair) for pair in sample.pairs()], ranked),
    }
    return {
        name: (with_means(name, np.array(values)), with_means(name, np.column_stack([each[name] for each in draws])))
        for name, (values, draws) in found.items()
    } | {"log_loss": (with_means("log_loss", losses.mean(axis=0)), with_means("log_loss", sample.means(losses)))}


def _known(sample: Sample, number: int) -> dict[str, Any]:
    positive = int(sample.labels[:, number].sum()) if number < len(CLASSES) else pd.NA
    return {
        "class": (*CLASSES, "mean", "kaggle")[number],
        "n": len(sample),
        "positive": positive,
        "patients": len(np.unique(sample.patients)),
    }


def _values(first: float, second: float) -> dict[str, float]:
    return {"first_value": first, "second_value": second}


def _bootstrap(sample: Sample, first: _Measured, second: _Measured) -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        (one, one_drawn), (two, two_drawn) = first[metric], second[metric]
        for number, value in enumerate(one - two):
            drawn = one_drawn[:, number] - two_drawn[:, number]
            lacking = np.array(CLASSES)[np.isnan(one[: len(CLASSES)])]
            reason = "no value for " + ", ".join(lacking) if number >= len(CLASSES) else no_label(sample, number)
            yield {
                **_known(sample, number),
                "metric": metric,
                "method": "bootstrap",
                **_values(one[number], two[number]),
                **sample.estimate(value, drawn, reason),
                "p": statistics.bootstrap_p_value(drawn),
            }


def _delong(first: Sample, second: Sample) -> Iterator[dict[str, Any]]:
    for number, (labels, probabilities) in enumerate(first.pairs()):
        scores = np.column_stack([probabilities, second.probabilities[:, number]])
        areas, covariance = statistics.auc_covariance(labels, scores, first.patients)
        z, lower, upper, p = statistics.delong(areas, covariance, first.confidence)
        reason = ""
        if metrics.missing_label(labels):
            reason = no_label(first, number)
        elif np.isnan(covariance).any():
            reason = "no test: fewer than two patients have a positive, or a negative, scan"
        elif np.isnan(z):
            reason = "no test: the difference has no variance, as that of a perfect and of a constant score"
        yield {
            **_known(first, number),
            "metric": "roc_auc",
            "method": "delong",
            **_values(*areas),
            "value": areas[0] - areas[1],
            "lower": lower,
            "upper": upper,
            "z": z,
            "p": p,
            "reason": reason,
        }


def _thresholds(points: pd.DataFrame, part: str, unit: str, rule: str) -> np.ndarray:
    """Read the threshold [class] of an operating point."""
    rows = points[(points["part"] == part) & (points["unit"] == unit) & (points["rule"] == rule)]
    return rows.drop_duplicates("class").set_index("class")["threshold"].loc[list(CLASSES)].to_numpy(np.float64)


def _rates(sample: Sample, cuts: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the values [class] of the rates, and their replicates [replicate, class]."""
    values, replicates = (
        rates(each) | {"accuracy": statistics.ratio(each[..., 0, :] + each[..., 3, :], each.sum(axis=-2))}
        for each in counted(sample, cuts)
    )
    return values, replicates


def _mcnemar(first: Sample, second: Sample, *cuts: np.ndarray) -> Iterator[dict[str, Any]]:
    values, draws = zip(*(_rates(*each) for each in zip((first, second), cuts, strict=True)), strict=True)
    right = [
        (sample.probabilities >= each) == (sample.labels == 1)
        for sample, each in zip((first, second), cuts, strict=True)
    ]
    for number in range(len(CLASSES)):
        labels = first.labels[:, number]
        judged = {"sensitivity": labels == 1, "specificity": labels == 0, "accuracy": labels >= 0}
        for rate in RATES:
            row = _known(first, number) | {"metric": rate, "method": "mcnemar"}
            if np.isnan([each[number] for each in cuts]).any():
                yield row | first.estimate(np.nan, reason=no_threshold(first.unit))
                continue
            one, two = (float(each[rate][number]) for each in values)
            drawn = draws[0][rate][:, number] - draws[1][rate][:, number]
            row |= _values(one, two) | first.estimate(one - two, drawn, no_label(first, number))
            if not np.isnan(one):
                of = judged[rate]
                names = ("only_first", "only_second", "p")
                row |= dict(zip(names, statistics.mcnemar(*(each[of, number] for each in right)), strict=True))
                several = int((np.unique(first.patients[of], return_counts=True)[1] > 1).sum())
                if several:
                    row["p_reason"] = f"takes all scans as independent; patients with several of them: {several}"
            yield row
