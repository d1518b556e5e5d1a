"""Operating points: thresholds fixed on validation, and what calling at them is worth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES
from ich.evaluation import statistics
from ich.evaluation.evaluate import no_label, no_threshold, thresholds
from ich.evaluation.units import Sample, Samples

OPERATING_COLUMNS = [
    "part", "unit", "class", "rule", "threshold", "measure", "prevalence", "value", "lower", "upper",
    "wilson_lower", "wilson_upper", "n", "positive", "reason",
]  # fmt: skip
COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")
SHARES = {  # of what is called rightly, in both
    "sensitivity": ("true_positive", "false_negative"),
    "specificity": ("true_negative", "false_positive"),
    "ppv": ("true_positive", "false_positive"),
    "npv": ("true_negative", "false_negative"),
}
MEASURES = (*SHARES, "ppv_stated", "npv_stated")
RULES = ("decision", "youden", "sensitivity_95", "specificity_95")
WILSON = "Wilson's interval, since no replicate of the bootstrap varies"


def operating_points(samples: Samples, *, threshold: str | float, prevalence: float) -> pd.DataFrame:
    """Count what is called rightly and wrongly at each operating point.

    Parameters
    ----------
    samples : mapping of (part, unit) to Sample
        As from `units.samples`, the part `validation` among them.
    threshold : {"accuracy", "youden"} or float
        The rule of the operating point `decision`, which is that of the accuracy in metrics.csv.
    prevalence : float
        At which `ppv_stated` and `npv_stated` hold, by Bayes' rule from sensitivity and specificity.

    Returns
    -------
    DataFrame
        `OPERATING_COLUMNS`, a row for each part, unit, class, rule of `RULES` and measure: those of `COUNTS` (no
        interval) and of `MEASURES`. Intervals are from the bootstrap by patient and take the threshold as given;
        Wilson's stand beside them for shares of units no two of which are of one patient. prevalence is the one that a
        predictive value holds at.
    """
    frames = []
    for (part, unit), sample in samples.items():
        for rule in RULES:
            cuts = thresholds(samples, unit, threshold if rule == "decision" else rule)
            frames.append(pd.DataFrame(_rows(sample, cuts, prevalence)).assign(part=part, unit=unit, rule=rule))
    return pd.concat(frames, ignore_index=True).reindex(columns=OPERATING_COLUMNS)


def with_wilson(points: pd.DataFrame) -> pd.DataFrame:
    """Put Wilson's interval, where there is one, in place of the bootstrap's of no width, as of a sensitivity of 1.

    Parameters
    ----------
    points : DataFrame
        As from `operating_points`.

    Returns
    -------
    DataFrame
        The same with other `lower` and `upper`, and `WILSON` as the reason, in such rows.
    """
    instead = (points["lower"] == points["upper"]) & points["wilson_lower"].notna()
    ends = {name: points[name].mask(instead, points[f"wilson_{name}"]) for name in ("lower", "upper")}
    return points.assign(**ends, reason=points["reason"].mask(instead, WILSON))


def called(sample: Sample, cuts: np.ndarray) -> np.ndarray:
    """Say of each unit and class into which of `COUNTS` it falls, bool [count, unit, class]."""
    calls, positive = sample.probabilities >= cuts, sample.labels == 1
    return np.stack([calls & positive, calls & ~positive, ~calls & positive, ~calls & ~positive])


def counted(sample: Sample, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count units in each of `COUNTS` [count, class], and in each replicate [replicate, count, class]."""
    cells = called(sample, cuts)
    return cells.sum(axis=1), sample.sums(np.concatenate([*cells], axis=1)).reshape(-1, len(COUNTS), len(CLASSES))


def rates(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Give the shares of `SHARES` from counts [..., count, class]; NaN where nothing is there to divide by."""
    by_count = dict(zip(COUNTS, np.moveaxis(np.asarray(counts, dtype=np.float64), -2, 0), strict=True))
    return {
        name: statistics.ratio(by_count[right], by_count[right] + by_count[wrong])
        for name, (right, wrong) in SHARES.items()
    }


def measures(counts: np.ndarray, prevalence: float) -> dict[str, np.ndarray]:
    """Give the measures of `MEASURES`: `rates`, and the predictive values at a stated prevalence."""
    shares = rates(counts)
    sensitivity, specificity = shares["sensitivity"], shares["specificity"]
    found, spared = sensitivity * prevalence, specificity * (1 - prevalence)
    return shares | {
        "ppv_stated": statistics.ratio(found, found + (1 - specificity) * (1 - prevalence)),
        "npv_stated": statistics.ratio(spared, spared + (1 - sensitivity) * prevalence),
    }


def _rows(sample: Sample, cuts: np.ndarray, prevalence: float) -> Iterator[dict[str, Any]]:
    cells = called(sample, cuts)
    counts, drawn = counted(sample, cuts)
    values, replicates = measures(counts, prevalence), measures(drawn, prevalence)
    for number, name in enumerate(CLASSES):
        positive = int(sample.labels[:, number].sum())
        known = {"class": name, "threshold": cuts[number], "n": len(sample), "positive": positive}
        missing = np.isnan(cuts[number])
        for place, count in enumerate(COUNTS):
            value = np.nan if missing else float(counts[place, number])
            yield known | {"measure": count} | sample.estimate(value, reason=no_threshold(sample.unit))
        for measure in MEASURES:
            value = np.nan if missing else float(values[measure][number])
            reason = no_threshold(sample.unit) if missing else _reason(sample, measure, number)
            row = sample.estimate(value, replicates[measure][:, number], reason)
            if measure.endswith("_stated"):
                row["prevalence"] = prevalence
            elif measure in ("ppv", "npv"):
                row["prevalence"] = positive / len(sample)
            if measure in SHARES and not missing:
                share = [COUNTS.index(each) for each in SHARES[measure]]
                row |= _wilson(sample, *cells[share, :, number])
            yield known | {"measure": measure} | row


def _reason(sample: Sample, measure: str, number: int) -> str:
    """Say why a measure has no value, should it have none."""
    lacks_label = 0 < sample.labels[:, number].sum() < len(sample)
    if measure in ("ppv", "npv") or lacks_label:
        return f"no {sample.unit} is called {'positive' if measure.startswith('ppv') else 'negative'}"
    return no_label(sample, number)


def _wilson(sample: Sample, right: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Give Wilson's interval of the share of some units that are right, if they are all of different patients."""
    owners = sample.patients[right | wrong]
    if len(np.unique(owners)) < len(owners):
        return {}
    lower, upper = statistics.wilson_interval(int(right.sum()), len(owners), sample.confidence)
    return {"wilson_lower": lower, "wilson_upper": upper}
