"""Sampling uncertainty: the bootstrap by patient.

Slices of one patient resemble each other, so a replicate draws patients with replacement and takes all slices of each
as often as the patient was drawn. A replicate is thus a vector of weights, one a patient, and no slice is ever copied:
what does not depend on the weights (sorting, ties, sums by patient) is done once for all replicates.
"""

import numpy as np
from scipy import sparse

RANKING = ("roc_auc", "average_precision", "pr_auc_trapezoid")
CELLS = 2**20  # of an array in `ranking_metrics`: 8 MiB, so that a handful of them stays near the processor


def draw_patients(patients: int, replicates: int, seed: int) -> np.ndarray:
    """Draw as many patients as there are, with replacement, for each replicate.

    Parameters
    ----------
    patients, replicates, seed : int
        The same three give the same draws: metrics, classes and models that share them can be compared replicate by
        replicate.

    Returns
    -------
    float64 array [replicate, patient]
        How often each patient was drawn: whole numbers, each row adds up to `patients`.
    """
    uniform = np.full(patients, 1 / patients)
    return np.random.default_rng(seed).multinomial(patients, uniform, size=replicates).astype(np.float64)


def weighted_means(values: np.ndarray, patients: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Give the weighted means over slices of some columns, for each replicate.

    Parameters
    ----------
    values : float array [slice, column]
    patients : int array [slice]
        Number of each slice's patient, 0 to P - 1.
    weights : float64 array [replicate, patient]
        Weight of each patient's slices.

    Returns
    -------
    float64 array [replicate, column]
    """
    slices = np.arange(len(patients))
    member = sparse.csr_array((np.ones(len(slices)), (patients, slices)), shape=(weights.shape[1], len(slices)))
    # Sparse, not BLAS, whose last bits may change with the number of threads.
    drawn = sparse.csr_array(weights)
    return (drawn @ (member @ values)) / (drawn @ member.sum(axis=1))[:, None]


def ranking_metrics(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Give ROC AUC, average precision and the trapezoid under the precision-recall curve, for each replicate.

    Equal to scikit-learn's values with `sample_weight`, ties included. These metrics change only at positives, so the
    sorted slices are cut at each probability that a positive has, and the negatives of each patient are counted between
    the cuts and on them. A replicate is then a product of these counts with its weights, and running sums.

    Parameters
    ----------
    labels : array [slice] of 0 and 1
    probabilities : float array [slice]
    patients : int array [slice]
        Number of each slice's patient, 0 to P - 1.
    weights : float64 array [replicate, patient]
        Weight of each patient's slices.

    Returns
    -------
    dict of float64 array [replicate]
        A value for each name in `RANKING`; NaN where all slices with weight have the same label.
    """
    positive = np.asarray(labels, dtype=bool)
    cuts = np.unique(probabilities[positive])[::-1]
    # The first cut at or below each slice; len(cuts) for negatives below them all, which only the total counts.
    cut = np.searchsorted(-cuts, -probabilities)
    tied = np.isin(probabilities, cuts)

    def count(chosen: np.ndarray) -> sparse.csr_array:
        """Count the chosen slices of each patient (column) at each cut (row)."""
        chosen = chosen & (cut < len(cuts))
        cells = (np.ones(chosen.sum()), (cut[chosen], patients[chosen]))
        return sparse.csr_array(cells, shape=(len(cuts), weights.shape[1]))

    hits_at, ties_at, alarms_at = count(positive), count(~positive & tied), count(~positive)
    totals = np.stack([np.bincount(patients[each], minlength=weights.shape[1]) for each in (positive, ~positive)])
    results = {name: np.full(len(weights), np.nan) for name in RANKING}
    step = max(1, CELLS // max(1, len(cuts)))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        drawn = np.ascontiguousarray(weights[part].T)  # [patient, replicate]
        hits, ties = hits_at @ drawn, ties_at @ drawn  # [cut, replicate], as all that follow
        true = np.cumsum(hits, axis=0)
        false = np.cumsum(alarms_at @ drawn, axis=0)
        total = totals @ drawn
        positives, negatives = np.where((total > 0).all(axis=0), total, np.nan)  # no value without both labels
        above = (negatives - false + ties / 2) / negatives  # share of negatives that a positive is ranked above
        precision, before = _precision(true, false), _precision(true - hits, false - ties)
        values = (above, precision, (precision + before) / 2)
        for name, value in zip(RANKING, values, strict=True):
            results[name][part] = (hits * value).sum(axis=0) / positives
    return results


def _precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Share of true positives in all that is called positive; 1 where nothing is, as scikit-learn's curve starts."""
    called = true + false
    return np.divide(true, called, out=np.ones_like(called), where=called > 0)


def percentile_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """Give the percentile interval of a metric.

    Parameters
    ----------
    replicates : float array [replicate]
        Values of the metric; those that are NaN are left out.
    confidence : float
        Coverage, between 0 and 1.

    Returns
    -------
    lower, upper : float
        NaN where no replicate has a value.
    """
    values = replicates[~np.isnan(replicates)]
    if not len(values):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail])
    return float(lower), float(upper)
