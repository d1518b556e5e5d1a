"""Whether probabilities mean what they say: reliability, recalibration, and scaling that is fitted on validation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from ich.base.classes import CLASSES
from ich.evaluation import metrics, statistics
from ich.evaluation.evaluate import no_label
from ich.evaluation.units import PROBABILITIES, Sample, Samples

CALIBRATION_COLUMNS = [
    "part", "unit", "class", "method", "measure", "value", "lower", "upper", "n", "positive", "reason",
]  # fmt: skip
RELIABILITY_COLUMNS = [
    "part", "unit", "class", "method", "bin", "from", "to", "mean_probability", "value", "lower", "upper", "n",
    "positive", "reason",
]  # fmt: skip
METHODS = ("none", "temperature", "isotonic")
BINS = 10
LEAST = 10  # units in a bin: with fewer there are fewer bins
EXACT = 2000  # different log-odds: replicates of slope and intercept are exact up to this, and beyond
STEP = 0.01  # log-odds: ... computed in cells of this width, which changes them by some 0.3% of their spread
HOTTEST = 1e3  # bound of the temperature, and of its inverse


def calibration(samples: Samples, *, part: str = "test") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the calibration of a part, before and after scaling that is fitted on validation.

    Parameters
    ----------
    samples : mapping of (part, unit) to Sample
        As from `units.samples`, the part `validation` among them.
    part : str
        Which part is measured.

    Returns
    -------
    calibration : DataFrame
        `CALIBRATION_COLUMNS`, for each unit, class, method of `METHODS` and measure: brier, log_loss, ece (expected
        calibration error over the bins of `reliability`), slope and intercept (see `recalibration`), and the fitted
        temperature (no interval).
    reliability : DataFrame
        `RELIABILITY_COLUMNS`, a row a bin: at most `BINS` of about equal n by quantiles of the probability, from and
        to the lowest and the highest in it; value is the share of positive units. Bins are as in the sample in all
        replicates.
    """
    measured, bins = [], []
    for unit in dict.fromkeys(unit for each, unit in samples if each == part):
        sample, validation = samples[part, unit], samples["validation", unit]
        scalers = [_fit(*pair) for pair in validation.pairs()]
        for method in METHODS:
            scaled, reasons = _scaled(sample, scalers, method)
            mark = {"part": part, "unit": unit, "method": method}
            curves = [*_reliability(scaled, reasons)]
            bins.append(pd.DataFrame([row for rows, _, _ in curves for row in rows]).assign(**mark))
            measured.append(pd.DataFrame(_measures(scaled, reasons, curves)).assign(**mark))
            if method == "temperature":
                measured.append(pd.DataFrame(_temperatures(scaled, scalers, reasons)).assign(**mark))
    return (
        pd.concat(measured, ignore_index=True)[CALIBRATION_COLUMNS],
        pd.concat(bins, ignore_index=True)[RELIABILITY_COLUMNS].astype({"bin": int, "n": int, "positive": int}),
    )


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Fit the number by which log-odds are divided, by least log loss (Guo et al. 2017).

    Parameters
    ----------
    labels : array [unit] of 0 and 1
    probabilities : float array [unit]

    Returns
    -------
    float
        Between 1 / `HOTTEST` and `HOTTEST`, which it reaches where the labels can be told apart without an error, or
        not at all.
    """
    odds = log_odds(probabilities)
    signed = np.where(labels == 1, odds, -odds)
    limit = np.log(HOTTEST)
    found = minimize_scalar(
        lambda heat: np.logaddexp(0, -signed * np.exp(-heat)).mean(),
        bounds=(-limit, limit),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(np.exp(found.x))


def fit_isotonic(labels: np.ndarray, probabilities: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the rising step function of least squared error (Zadrozny and Elkan 2002).

    Its ends are held off 0 and 1 by 1 / (n + 2), n the number of units (Laplace's rule of succession): no number of
    units shows that a label never occurs, and a single one that does would otherwise have a log loss without bound.

    Parameters
    ----------
    labels : array [unit] of 0 and 1
    probabilities : float array [unit]

    Returns
    -------
    function of a float array, to a float array of its shape
        Interpolates between the units fitted, and is level beyond them.
    """
    end = 1 / (len(labels) + 2)
    return IsotonicRegression(y_min=end, y_max=1 - end, out_of_bounds="clip").fit(probabilities, labels).predict


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Give log-odds, of probabilities clipped as for the log loss."""
    return logit(np.clip(probabilities, metrics.CLIP, 1 - metrics.CLIP))


def _fit(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, Callable] | None:
    """Fit both ways of scaling; nothing where all labels are alike."""
    if metrics.missing_label(labels):
        return None
    return fit_temperature(labels, probabilities), fit_isotonic(labels, probabilities)


def _scaled(sample: Sample, scalers: list, method: str) -> tuple[Sample, list[str]]:
    """Scale the probabilities of each class, and say why a class cannot be."""
    rows, reasons = sample.rows.copy(), [""] * len(CLASSES)
    for number, scaler in enumerate(scalers):
        values = sample.probabilities[:, number]
        if method == "none":
            continue
        if scaler is None:
            reasons[number] = f"not scaled: all {sample.unit}s of validation have the same label"
        else:
            temperature, steps = scaler
            scaled = expit(log_odds(values) / temperature) if method == "temperature" else steps(values)
            rows[PROBABILITIES[number]] = scaled
    return replace(sample, rows=rows), reasons


def _temperatures(sample: Sample, scalers: list, reasons: list[str]) -> Iterator[dict[str, Any]]:
    for number, scaler in enumerate(scalers):
        cells = sample.estimate(scaler[0] if scaler else np.nan, reason=reasons[number])
        yield _known(sample, number) | {"measure": "temperature"} | cells


def _known(sample: Sample, number: int) -> dict[str, Any]:
    positive = int(sample.labels[:, number].sum())
    return {"class": CLASSES[number], "n": len(sample), "positive": positive}


def quantile_bins(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """Put units in bins of about equal number by their probability.

    There are fewer bins where these would hold less than `LEAST` units, or where many units have equal probabilities,
    which share a bin.

    Returns
    -------
    int array [unit]
        Number of each unit's bin, 0, 1, ... in rising order of the probability, none of them empty.
    """
    bins = min(bins, max(1, len(probabilities) // LEAST))
    inner = np.quantile(probabilities, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.unique(np.searchsorted(inner, probabilities, side="left"), return_inverse=True)[1]


def _reliability(sample: Sample, reasons: list[str]) -> Iterator[tuple[list[dict[str, Any]], float, np.ndarray | None]]:
    """Give the bins of each class, the expected calibration error, and that in each replicate."""
    for number, (labels, probabilities) in enumerate(sample.pairs()):
        if reasons[number]:
            yield [], np.nan, None
            continue
        place = quantile_bins(probabilities, BINS)
        count = place.max() + 1
        inside = place[:, None] == np.arange(count)
        columns = np.hstack([inside, inside * labels[:, None], inside * probabilities[:, None]])
        totals, drawn = columns.sum(axis=0).reshape(3, count), sample.sums(columns).reshape(-1, 3, count)
        n, positive, expected = totals
        shares = statistics.ratio(drawn[:, 1], drawn[:, 0])
        rows = [
            {
                "class": CLASSES[number],
                "bin": each + 1,
                "from": probabilities[inside[:, each]].min(),
                "to": probabilities[inside[:, each]].max(),
                "mean_probability": expected[each] / n[each],
                **sample.estimate(positive[each] / n[each], shares[:, each]),
                "n": n[each],
                "positive": positive[each],
            }
            for each in range(count)
        ]
        yield rows, float(_error(totals)), _error(drawn)


def _error(sums: np.ndarray) -> np.ndarray:
    """Give the expected calibration error, from units, positive ones and probabilities [..., 3, bin] in each bin."""
    return np.abs(sums[..., 1, :] - sums[..., 2, :]).sum(axis=-1) / sums[..., 0, :].sum(axis=-1)


def _measures(sample: Sample, reasons: list[str], curves: list) -> Iterator[dict[str, Any]]:
    losses = {
        "brier": metrics.squared_errors(sample.labels, sample.probabilities),
        "log_loss": metrics.log_losses(sample.labels, sample.probabilities),
    }
    drawn = {name: sample.means(each) for name, each in losses.items()}
    for number, (labels, probabilities) in enumerate(sample.pairs()):
        known = _known(sample, number)
        missing = reasons[number]
        for measure, each in losses.items():
            value = np.nan if missing else each[:, number].mean()
            yield known | {"measure": measure} | sample.estimate(value, drawn[measure][:, number], missing)
        _, error, errors = curves[number]
        yield known | {"measure": "ece"} | sample.estimate(error, errors, missing)
        reason = missing or (no_label(sample, number) if metrics.missing_label(labels) else "")
        fits = {} if reason else _recalibrations(sample, labels, log_odds(probabilities))
        for measure in ("slope", "intercept"):
            value, replicates = fits.get(measure, (np.nan, None))
            cells = sample.estimate(
                value, replicates, reason or "no fit: all probabilities are equal, or it does not end"
            )
            if np.isinf([cells["value"], cells["lower"], cells["upper"]]).any():
                cells["reason"] = "; ".join(filter(None, [cells["reason"], "∞: the probabilities separate the labels"]))
            yield known | {"measure": measure} | cells


def _recalibrations(sample: Sample, labels: np.ndarray, odds: np.ndarray) -> dict[str, tuple[float, np.ndarray]]:
    """Give slope and intercept, and each in the replicates."""
    values = recalibration(odds, labels[:, None], 1 - labels[:, None].astype(np.float64))
    middles, cell = np.unique(odds, return_inverse=True)
    if len(middles) > EXACT:  # cells instead, whose log-odds differ by at most STEP
        cell = np.unique(np.round(odds / STEP), return_inverse=True)[1]
        middles = np.bincount(cell, odds) / np.bincount(cell)
    shape = (len(middles), sample.weights.shape[1])
    positive, negative = (
        statistics.cell_counts(cell[labels == label], sample.patients[labels == label], shape) for label in (1, 0)
    )
    step = max(1, statistics.CELLS // len(middles))
    pieces = []
    for start in range(0, len(sample.weights), step):
        drawn = np.ascontiguousarray(sample.weights[start : start + step].T)  # [patient, replicate]
        pieces.append(recalibration(middles, positive @ drawn, negative @ drawn))
    empty = [np.empty(0)]
    return {
        name: (float(values[place][0]), np.concatenate([*(piece[place] for piece in pieces), *empty]))
        for place, name in enumerate(("slope", "intercept"))
    }


def recalibration(odds: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the logistic regressions of labels on log-odds that tell of calibration, by Newton's method.

    Parameters
    ----------
    odds : float array [cell]
        Log-odds of the units of a cell.
    positive, negative : float arrays [cell, replicate]
        How many units of either label.

    Returns
    -------
    slope : float64 array [replicate]
        b of log-odds(label) = a + b * odds (Cox 1958): 1 where right, below 1 where probabilities are too extreme.
        Infinite, with its sign, where a cut of the log-odds separates the labels; NaN where all log-odds are equal.
    intercept : float64 array [replicate]
        a of log-odds(label) = a + odds (calibration in the large): 0 where right, below 0 where probabilities are too
        high. NaN, as is the slope, where the labels are all alike or the fit does not end.
    """
    total = positive + negative
    both = (positive.sum(axis=0) > 0) & (negative.sum(axis=0) > 0)
    slopes, intercepts = _separation(odds, positive, negative), np.full(total.shape[1], np.nan)
    overlap = slopes == 0
    slopes[overlap] = _newton(odds, positive[:, overlap], total[:, overlap], free=True)
    intercepts[both] = _newton(odds, positive[:, both], total[:, both], free=False)
    return slopes, intercepts


def _separation(odds: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Give the slopes that need no fit: infinite or, with nothing to tell apart, NaN; 0 where the labels overlap."""
    lowest, highest = (
        [find(np.where(counts > 0, odds[:, None], away), axis=0) for counts in (positive, negative)]
        for find, away in ((np.min, np.inf), (np.max, -np.inf))
    )
    rising, falling = lowest[0] >= highest[1], highest[0] <= lowest[1]
    return np.select([rising & falling, rising, falling], [np.nan, np.inf, -np.inf])


def _newton(odds: np.ndarray, positive: np.ndarray, total: np.ndarray, *, free: bool) -> np.ndarray:
    """Give the slope of each replicate if it is free, and otherwise the intercept at slope 1."""
    count = total.shape[1]
    middle = (odds[:, None] * total).sum(axis=0) / total.sum(axis=0) if free else np.zeros(count)
    level = logit(positive.sum(axis=0) / total.sum(axis=0)) if free else np.zeros(count)
    slope = np.zeros(count) if free else np.ones(count)
    ends = np.array([odds.min(), odds.max()])[:, None]
    left = np.arange(count)
    for _ in range(100):
        away = odds[:, None] - middle[left]
        share = expit(level[left] + slope[left] * away)
        gap = positive[:, left] - total[:, left] * share
        weight = total[:, left] * share * (1 - share)
        first, h11 = gap.sum(axis=0), weight.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if free:
                second, h12, h22 = (gap * away).sum(axis=0), (weight * away).sum(axis=0), (weight * away**2).sum(axis=0)
                rise, turn = np.array([h22 * first - h12 * second, h11 * second - h12 * first]) / (h11 * h22 - h12**2)
            else:
                rise, turn = first / h11, np.zeros(len(left))
            # A full step may overshoot where most shares are near 0 or 1: no log-odds move by more than 2.
            far = np.abs(rise + turn * (ends - middle[left])).max(axis=0)
        ended = ~np.isfinite(far)
        rise[ended] = turn[ended] = np.nan
        damped = 2 / np.maximum(far, 2)
        level[left] += rise * damped
        slope[left] += turn * damped
        left = left[~ended & (far >= 1e-9)]
        if not len(left):
            break
    found = slope if free else level
    found[left] = np.nan
    return found
