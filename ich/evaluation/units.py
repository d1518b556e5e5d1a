"""What is judged: slices, and the scans that they make up, with labels, probabilities and bootstrap draws."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.cohort.series import SERIES
from ich.evaluation import statistics

LABELS = list(CLASSES)
PROBABILITIES = [f"probability_{name}" for name in CLASSES]
UNITS = ("slice", "scan")


@dataclass(frozen=True)
class Sample:
    """The slices, or the scans, of one part.

    Attributes
    ----------
    part : str
    unit : {"slice", "scan"}
    rows : DataFrame
        A row a unit: patient_id, series_instance_uid, image_id (of slices), the labels and `PROBABILITIES` (float64).
    patients : int array [unit]
        Number of each unit's patient.
    weights : float64 array [replicate, patient]
        How often each patient was drawn. Slices and scans of a part share the draws, and so do experiments.
    priors : float64 array [class]
        Prevalence among such units in the training part.
    replicates : int
        How many were asked for.
    confidence : float
        Coverage of intervals.
    """

    part: str
    unit: str
    rows: pd.DataFrame
    patients: np.ndarray
    weights: np.ndarray
    priors: np.ndarray
    replicates: int
    confidence: float

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels, uint8 [unit, class]."""
        return self.rows[LABELS].to_numpy()

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probabilities, float64 [unit, class]."""
        return self.rows[PROBABILITIES].to_numpy()

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Labels [unit] and probabilities [unit] of each class."""
        return zip(self.labels.T, self.probabilities.T, strict=True)

    def take(self, chosen: np.ndarray) -> "Sample":
        """Keep some of the units, with the draws as they are."""
        return replace(self, rows=self.rows[chosen], patients=self.patients[chosen])

    def means(self, values: np.ndarray) -> np.ndarray:
        """Give the means over units of columns [unit, column] in each replicate [replicate, column]."""
        return statistics.weighted_means(values, self.patients, self.weights)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Give the sums over units of columns [unit, column] in each replicate [replicate, column]."""
        sums = statistics.patient_sums(values, self.patients, self.weights.shape[1])
        return statistics.weighted_sums(sums, self.weights)

    def ranking(self, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Give the metrics of `statistics.RANKING` of a class in each replicate."""
        return statistics.ranking_metrics(labels, probabilities, self.patients, self.weights)

    def estimate(self, value: float, drawn: np.ndarray | None = None, reason: str = "") -> dict[str, Any]:
        """Give the cells of a value: itself, its interval, and why one of them is missing or incomplete.

        Parameters
        ----------
        value : float
        drawn : float array [replicate], optional
            Its values in the replicates; none for what has no interval.
        reason : str
            Why there is no value, if there is none.

        Returns
        -------
        dict
            value, lower, upper and reason.
        """
        if drawn is None or np.isnan(value):
            return {"value": value, "lower": np.nan, "upper": np.nan, "reason": reason if np.isnan(value) else ""}
        lower, upper = statistics.percentile_interval(drawn, self.confidence)
        used = np.count_nonzero(~np.isnan(drawn))
        if self.replicates and not len(drawn):
            reason = f"no interval: all {self.unit}s are of one patient"
        else:
            lacking = f"interval from {used} of {self.replicates} replicates: the others lack a value"
            notes = (lacking if used < self.replicates else "", _NO_WIDTH if lower == upper else "")
            reason = "; ".join(filter(None, notes))
        return {"value": value, "lower": lower, "upper": upper, "reason": reason}


_NO_WIDTH = "no replicate varies: an interval without width is too narrow"
Samples = Mapping[tuple[str, str], Sample]


def samples(
    cohort: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    *,
    scan: str,
    replicates: int,
    confidence: float,
    seed: int,
    quarantined: Collection[str] = frozenset(),
) -> dict[tuple[str, str], Sample]:
    """Put labels and predictions of an experiment together, by slice and by scan, and draw the replicates.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, series_instance_uid, part and the six labels.
    predictions : mapping of part to DataFrame
        image_id and `PROBABILITIES`, rows in any order.
    scan : str
        One of `SCAN_RULES`.
    replicates : int
        Bootstrap replicates, drawn by patient; 0 for no intervals.
    confidence : float
        Coverage of intervals.
    seed : int
        Seed of the draws.
    quarantined : collection of str
        Slices that may lack a prediction.

    Returns
    -------
    dict of (part, unit) to Sample

    Raises
    ------
    InputError
        Predictions and cohort do not hold the same slices, a slice is predicted twice, or a value is no probability.
    """
    train = cohort[cohort["part"] == "train"]
    priors = {"slice": train[LABELS].mean(), "scan": train.groupby(SERIES)[LABELS].max().mean()}
    found = {}
    for part, frame in predictions.items():
        slices = _join(cohort, part, frame, quarantined)
        names = slices["patient_id"].unique()
        weights = statistics.draw_patients(len(names), replicates if len(names) > 1 else 0, seed)
        for unit, rows in (("slice", slices), ("scan", scans(slices, scan))):
            patients = pd.Index(names).sort_values().get_indexer(rows["patient_id"])
            found[part, unit] = Sample(
                part, unit, rows, patients, weights, priors[unit].to_numpy(), replicates, confidence
            )
    return found


def scans(slices: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Make one row a scan (series) of its slices.

    Parameters
    ----------
    slices : DataFrame
        patient_id, series_instance_uid, the labels and `PROBABILITIES`, a row a slice.
    rule : str
        One of `SCAN_RULES`: how the probabilities of the slices become the scan's.

    Returns
    -------
    DataFrame
        The same columns, sorted by patient and series. A scan has a label if one of its slices has it.
    """
    ordered = slices.sort_values(SERIES, ignore_index=True, kind="stable")
    number = ordered.groupby(SERIES).ngroup().to_numpy()
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    rows = ordered.loc[starts, SERIES].reset_index(drop=True)
    rows[LABELS] = np.maximum.reduceat(ordered[LABELS].to_numpy(), starts, axis=0)
    rows[PROBABILITIES] = SCAN_RULES[rule](ordered[PROBABILITIES].to_numpy(), starts)
    return rows


def _mean(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, starts, axis=0) / np.diff(starts, append=len(values))[:, None]


def _top3_mean(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean of the three highest of each scan, or of all where there are fewer."""
    lengths = np.diff(starts, append=len(values))
    number = np.repeat(np.arange(len(starts)), lengths)
    place = np.arange(len(values)) - starts[number]
    ordered = np.column_stack([each[np.lexsort((-each, number))] for each in values.T])
    top = place < 3
    return np.add.reduceat(np.where(top[:, None], ordered, 0), starts, axis=0) / np.minimum(lengths, 3)[:, None]


def _noisy_or(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Probability that at least one slice is positive, were they independent."""
    with np.errstate(divide="ignore"):  # a probability of 1
        return -np.expm1(np.add.reduceat(np.log1p(-values), starts, axis=0))


# Each takes probabilities [slice, class], slices of a scan in a run, and the first slice of each scan [scan].
SCAN_RULES = {
    "maximum": lambda values, starts: np.maximum.reduceat(values, starts, axis=0),
    "mean": _mean,
    "top3_mean": _top3_mean,
    "noisy_or": _noisy_or,
}


def _join(cohort: pd.DataFrame, part: str, predictions: pd.DataFrame, quarantined: Collection[str]) -> pd.DataFrame:
    """Put labels and probabilities of a part side by side, by image_id and sorted by it."""
    members = cohort.loc[cohort["part"] == part, ["image_id", *SERIES, *LABELS]]
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
    numbers = predictions[["image_id", *PROBABILITIES]].astype(dict.fromkeys(PROBABILITIES, np.float64))
    joined = members.merge(numbers, on="image_id", validate="one_to_one")
    if joined.empty:
        raise InputError(f"predictions of {part}: no slice is left to judge; look at quarantine.csv")
    return joined.sort_values("image_id", ignore_index=True)
