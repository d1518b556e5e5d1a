"""Intervals by patient at the size of the real test part, against a loop over scikit-learn; and a whole evaluation.

    python -m bench.intervals

takes some minutes, on at most two cores.
"""

import os
import resource
import time

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from bench.measuring import Row, table
from ich.base.classes import CLASSES
from ich.evaluation import metrics, paper
from ich.evaluation.calibration import calibration
from ich.evaluation.evaluate import evaluate
from ich.evaluation.operating import operating_points
from ich.evaluation.pairs import pairs
from ich.evaluation.subgroups import subgroups
from ich.evaluation.units import PROBABILITIES, Sample, samples

PARTS = {"train": (20_000, 500), "validation": (112_779, 2_840), "test": (paper.TEST_SLICES, paper.TEST_PATIENTS)}
REPLICATES = 1000
ROUNDS = 3
SAMPLING = {"scan": "maximum", "replicates": REPLICATES, "confidence": 0.95, "seed": 1}
LOOP = (roc_auc_score, average_precision_score, log_loss, brier_score_loss)


def made_up(seed: int = 0) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], pd.DataFrame]:
    """Give a cohort with the real one's sizes and prevalences, predictions, and headers of the test part."""
    random = np.random.default_rng(seed)
    frames = []
    for part, (slices, patients) in PARTS.items():
        owner = np.sort(
            np.r_[np.repeat(np.arange(patients), 20), random.integers(patients, size=slices - 20 * patients)]
        )
        severity = 2 * random.normal(size=(patients, 6))[owner] + random.normal(size=(slices, 6))
        cuts = [np.quantile(each, 1 - share) for each, share in zip(severity.T, paper.PREVALENCE["test"], strict=True)]
        odds = (severity - 4 + 1.2 * random.normal(size=severity.shape)).astype(np.float32)
        frame = pd.DataFrame((severity > cuts).astype(np.uint8), columns=list(CLASSES))
        frame[PROBABILITIES] = 1 / (1 + np.exp(-odds))
        frame["patient_id"] = [f"{part}{number}" for number in owner]
        frames.append(frame.assign(part=part, series_instance_uid=frame["patient_id"], owner=owner))
    whole = pd.concat(frames, ignore_index=True)
    whole["image_id"] = [f"ID_{number:09x}" for number in random.permutation(len(whole))]
    series = whole.groupby("series_instance_uid")
    whole["index"] = series.cumcount()
    headers = whole[["image_id", "patient_id", "series_instance_uid", "index"]].assign(
        bits_stored=np.where(whole["owner"] % 20, 16, 12),
        pixel_representation=(whole["owner"] % 20 > 0).astype(int),
        tilt=whole["owner"] % 25.0,
        gap=5.0,
    )
    predictions = {part: whole.loc[whole["part"] == part, ["image_id", *PROBABILITIES]] for part in PARTS}
    cohort = whole[["image_id", "patient_id", "series_instance_uid", "index", "part", *CLASSES]]
    return cohort, {part: predictions[part] for part in ("validation", "test")}, headers


def ours(sample: Sample) -> np.ndarray:
    """Give the four metrics in every replicate [replicate, metric, class]."""
    losses = metrics.log_losses(sample.labels, sample.probabilities)
    means = sample.means(np.hstack([losses, metrics.squared_errors(sample.labels, sample.probabilities)]))
    ranked = [sample.ranking(*pair) for pair in sample.pairs()]
    by_rank = [np.column_stack([each[name] for each in ranked]) for name in ("roc_auc", "average_precision")]
    return np.stack([*by_rank, *np.split(means, 2, axis=1)], axis=1)


def loop(sample: Sample, replicate: int) -> np.ndarray:
    """Give the four metrics in one replicate [metric, class], by scikit-learn."""
    weights = sample.weights[replicate][sample.patients]
    return np.array([[metric(*pair, sample_weight=weights) for pair in sample.pairs()] for metric in LOOP])


def main() -> str:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-2:])
    cohort, predictions, headers = made_up()
    judged = samples(cohort, predictions, **SAMPLING)
    sample = judged["test", "slice"]

    kernel, rivals, found = [], [], np.empty(0)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = ours(sample)
        kernel.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    apart = []
    for replicate in range(ROUNDS):
        start = time.perf_counter()
        expected = loop(sample, replicate)
        rivals.append(time.perf_counter() - start)
        apart.append(float(np.abs(found[replicate] - expected).max()))

    start, processors = time.perf_counter(), time.process_time()
    judged = samples(cohort, predictions, **SAMPLING)
    evaluate(judged, threshold="accuracy")
    points = operating_points(judged, threshold="accuracy", prevalence=0.1)
    calibration(judged)
    subgroups(judged, headers, threshold="accuracy")
    whole = time.perf_counter() - start, time.process_time() - processors
    start = time.perf_counter()
    pairs(cohort, dict.fromkeys("ab", predictions["test"]), dict.fromkeys("ab", points), **SAMPLING)
    paired = time.perf_counter() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    difference = f"Largest difference from the loop over scikit-learn: {max(apart):.1e}; the bound is 1e-9."
    four = "ROC AUC, average precision, log loss and Brier score of six classes"
    rows = [
        Row(f"{four}, {REPLICATES:,} replicates", kernel, most=120, unit="s"),
        Row("peak memory of that, data included", [memory], most=4096, unit="MiB"),
        Row(
            "one replicate of them", [each / REPLICATES for each in kernel],
            "the loop over scikit-learn with sample weights", rivals, least=20,
        ),
        Row("all tables of an experiment, both parts and units", [whole[0]], most=120, unit="s"),
        Row("the same, time of processors", [whole[1]], unit="s"),
        Row("two experiments compared", [paired], unit="s"),
        Row("peak memory of all this", [most], most=4096, unit="MiB"),
    ]  # fmt: skip
    slices, patients = PARTS["test"]
    head = f"Made-up predictions of {slices:,} slices of {patients:,} patients; two cores at most."
    return f"{head}\n\n{table(rows)}\n\n{difference}"


if __name__ == "__main__":
    print(main())
