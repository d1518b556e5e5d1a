"""Sampling uncertainty: the bootstrap by patient, and tests of paired differences.

Slices of one patient resemble each other, so a replicate draws patients with replacement and takes all slices of each
as often as the patient was drawn. A replicate is thus a vector of weights, one a patient, and no slice is ever copied:
what does not depend on the weights (sorting, ties, sums by patient) is done once for all replicates. All that is said
of slices here holds of scans too. docs/statistics.md has the formulas and their sources.
"""

import numpy as np
from scipy import sparse, stats

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


def patient_sums(values: np.ndarray, patients: np.ndarray, count: int) -> np.ndarray:
    """Add up the rows of each patient.

    Parameters
    ----------
    values : float array [slice, column]
    patients : int array [slice]
        Number of each slice's patient, 0 to count - 1.
    count : int
        Number of patients.

    Returns
    -------
    float64 array [patient, column]
    """
    slices = np.arange(len(patients))
    return sparse.csr_array((np.ones(len(slices)), (patients, slices)), shape=(count, len(slices))) @ values


def weighted_sums(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add up the patients' sums [patient, column] in each replicate [replicate, column]."""
    # Sparse, not BLAS, whose last bits may change with the number of threads.
    return sparse.csr_array(weights) @ sums


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
        NaN where no slice has weight.
    """
    sums = patient_sums(np.column_stack([values, np.ones(len(values))]), patients, weights.shape[1])
    drawn = weighted_sums(sums, weights)
    return ratio(drawn[:, :-1], drawn[:, -1:])


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the whole is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


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
        return cell_counts(cut[chosen], patients[chosen], (len(cuts), weights.shape[1]))

    hits_at, ties_at, alarms_at = count(positive), count(~positive & tied), count(~positive)
    totals = sparse.csr_array(
        np.stack([np.bincount(patients[each], minlength=weights.shape[1]) for each in (positive, ~positive)])
    )
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


def cell_counts(cells: np.ndarray, patients: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Count the slices of each patient (column) in each cell (row), from the cell and the patient of each slice."""
    return sparse.csr_array((np.ones(len(cells)), (cells, patients)), shape=shape)


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
        NaN where no replicate has a value. Where some are infinite, between which and the others nothing lies, the
        ends are values of replicates: the nearest outside.
    """
    values = replicates[~np.isnan(replicates)]
    if not len(values):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    if np.isfinite(values).all():
        lower, upper = np.quantile(values, [tail, 1 - tail])
    else:
        lower, upper = np.quantile(values, tail, method="lower"), np.quantile(values, 1 - tail, method="higher")
    return float(lower), float(upper)


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Give the two-sided p value that a paired difference is zero, from its bootstrap replicates.

    Twice the smaller share of replicates on or beyond zero, the sample itself counted among them (Davison and Hinkley
    1997, section 4.4): the smallest alpha whose percentile interval leaves zero out.

    Parameters
    ----------
    differences : float array [replicate]
        Those that are NaN are left out.

    Returns
    -------
    float
        NaN where no replicate has a value.
    """
    values = differences[~np.isnan(differences)]
    if not len(values):
        return np.nan
    beyond = min((values <= 0).sum(), (values >= 0).sum())
    return float(min(1, 2 * (beyond + 1) / (len(values) + 1)))


def auc_covariance(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give areas under ROC curves on the same scans, and the covariance of their estimates.

    DeLong, DeLong and Clarke-Pearson (1988) in the form for clusters of Obuchowski (1997), which is the former where
    every patient has one scan. A score's placements (the share of the other label's scans that it is ranked rightly
    against) come from ranks, so that the cost is that of sorting (Sun and Xu 2014).

    Parameters
    ----------
    labels : array [scan] of 0 and 1
    scores : float array [scan, model]
    patients : int array [scan]
        Number of each scan's patient, 0 to P - 1.

    Returns
    -------
    areas : float64 array [model]
    covariance : float64 array [model, model]
        NaN where fewer than two patients have a positive, or a negative, scan; then the areas may be NaN too.
    """
    positive = np.asarray(labels, dtype=bool)
    count = int(patients.max()) + 1
    ranks = stats.rankdata(scores, axis=0)
    parts = []
    for chosen, other, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        below = ratio(ranks[chosen] - stats.rankdata(scores[chosen], axis=0), np.array(other.sum()))
        parts.append((below if sign > 0 else 1 - below, patients[chosen]))
    areas = parts[0][0].mean(axis=0) if positive.any() else np.full(scores.shape[1], np.nan)
    deviations, shares = [], []
    for placements, owners in parts:  # summed over the scans of each patient
        deviations.append(patient_sums(placements - areas, owners, count) / max(1, len(owners)))
        clusters = len(np.unique(owners))
        shares.append(clusters / (clusters - 1) if clusters > 1 else np.nan)
    everyone = len(np.unique(patients))
    share = everyone / (everyone - 1) if everyone > 1 else np.nan
    rare, common, mixed = (
        np.einsum("pi,pj->ij", deviations[one], deviations[two]) for one, two in ((0, 0), (1, 1), (0, 1))
    )
    return areas, shares[0] * rare + shares[1] * common + share * (mixed + mixed.T)


def delong(areas: np.ndarray, covariance: np.ndarray, confidence: float) -> tuple[float, float, float, float]:
    """Compare two areas under ROC curves on the same scans.

    Parameters
    ----------
    areas : float array [2]
    covariance : float array [2, 2]
        As from `auc_covariance`.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    z, lower, upper, p : float
        The difference (first less second) in standard errors, its interval, and the two-sided p value. Equal areas of
        no variance have z 0 and p 1. All are NaN where the covariance is, and where areas differ without variance, as
        those of a perfect and of a constant score: then there is nothing to measure the difference by.
    """
    difference = float(areas[0] - areas[1])
    sum_of_both = covariance[0, 0] + covariance[1, 1]
    variance = sum_of_both - 2 * covariance[0, 1]
    if variance <= 1e-12 * sum_of_both:  # what rounding leaves of nothing
        variance = 0.0
    if np.isnan(covariance).any() or (difference and not variance):
        return np.nan, np.nan, np.nan, np.nan
    error = float(np.sqrt(variance))
    z = difference / error if error else 0.0
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return z, difference - half, difference + half, float(2 * stats.norm.sf(abs(z)))


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Compare two raters of the same scans by the cases in which one alone is right: McNemar's exact test.

    Parameters
    ----------
    first, second : bool array [scan]
        Whether each was right.

    Returns
    -------
    only_first, only_second : int
    p : float
        Two-sided, exact and conditional on their sum; 1 where they never differ.
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    both = only_first + only_second
    return only_first, only_second, float(stats.binomtest(only_first, both).pvalue) if both else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust the p values of a family of tests so that a single false finding is as rare as claimed (Holm 1979).

    Parameters
    ----------
    p_values : float array [test]
        Those that are NaN are of tests that were not made, and stay.

    Returns
    -------
    float64 array [test]
    """
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Give Wilson's score interval (1927) of a share of independent cases; NaN of no case."""
    if not trials:
        return np.nan, np.nan
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
