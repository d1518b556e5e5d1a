"""Made-up results of experiments, in the form that evaluation and training give them."""

import itertools
import math

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES
from ich.evaluation.calibration import calibration
from ich.evaluation.evaluate import evaluate
from ich.evaluation.operating import operating_points
from ich.evaluation.pairs import pairs as compared
from ich.evaluation.subgroups import subgroups
from ich.evaluation.units import PROBABILITIES, samples
from ich.report.resources import COLUMNS
from ich.training import search
from ich.training.search import MEASURES


def cohort(slices=600, patients=40, seed=0):
    """A cohort of three parts in which every class has both labels."""
    random = np.random.default_rng(seed)
    labels = (random.random((slices, 5)) < [0.1, 0.2, 0.15, 0.2, 0.25]).astype(np.uint8)
    frame = pd.DataFrame(labels, columns=list(CLASSES[:-1]))
    frame["any"] = labels.max(axis=1)
    patient = np.sort(random.integers(patients, size=slices))
    frame["patient_id"] = [f"P{number:03d}" for number in patient]
    frame["series_instance_uid"] = frame["patient_id"] + ".1"
    frame["index"] = frame.groupby("patient_id").cumcount()
    frame["image_id"] = [f"ID_{number:05d}" for number in range(slices)]
    frame["part"] = np.array(["train", "validation", "test"])[patient % 3]
    return frame


def predicted(skill=1.5, seed=1, frame=None):
    """Predictions, by part, that are as good as `skill`."""
    frame = cohort() if frame is None else frame
    random = np.random.default_rng(seed)
    logits = skill * frame[list(CLASSES)].to_numpy() - 1.5 + random.normal(size=(len(frame), 6))
    predictions = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=PROBABILITIES).assign(image_id=frame["image_id"])
    return {part: predictions[frame["part"] == part] for part in ("validation", "test")}


def judged(skill=1.5, seed=1, frame=None):
    """Slices and scans with such predictions."""
    sampling = {"scan": "maximum", "replicates": 50, "confidence": 0.95, "seed": 1}
    return samples(cohort() if frame is None else frame, predicted(skill, seed, frame), **sampling)


def evaluated(skill=1.5, seed=1, frame=None):
    """Metrics and curves of such predictions, slice by slice."""
    tables = evaluate(judged(skill, seed, frame), threshold="accuracy")
    return tuple(table[table["unit"] == "slice"].reset_index(drop=True) for table in tables)


def manifest(frame=None):
    """The manifest of a cohort's slices, as far as subgroups read it."""
    frame = cohort() if frame is None else frame
    number = np.arange(len(frame))
    facts = {"bits_stored": 12 + 4 * (number % 2), "pixel_representation": number % 2, "tilt": number % 20, "gap": 5.0}
    return frame[["image_id", "patient_id", "series_instance_uid", "index"]].assign(**facts)


def evaluations(frame=None):
    """Every table of an evaluation, by name."""
    judgements = judged(frame=frame)
    measured, _ = calibration(judgements)
    return {
        "metrics": evaluate(judgements, threshold="accuracy")[0],
        "operating_points": operating_points(judgements, threshold="accuracy", prevalence=0.1),
        "calibration": measured,
        "subgroups": subgroups(judgements, manifest(frame), threshold="accuracy"),
    }


def pairs(experiments, frame=None):
    """Differences of each two experiments with predictions of their own."""
    frame = cohort() if frame is None else frame
    by_name = {name: predicted(1.5, number, frame) for number, name in enumerate(experiments)}
    sampling = {"scan": "maximum", "replicates": 50, "confidence": 0.95, "seed": 1}
    points = {
        name: operating_points(samples(frame, each, **sampling), threshold="accuracy", prevalence=0.1)
        for name, each in by_name.items()
    }
    return compared(frame, {name: each["test"] for name, each in by_name.items()}, points, **sampling)


def facts(seconds=75.0):
    """What model.json holds, as far as tables and pages read it."""
    return {
        "model": "resnet18",
        "configuration": {
            "weights": "results/weights/resnet18.safetensors",
            "batch_size": 32,
            "optimizer": {"name": "adam", "learning_rate": 1.0e-4},
            "schedule": {"name": "exponential"},
            "augmentation": {"horizontal_flip": 0.5, "vertical_flip": 0.0, "rotation": 10.0},
        },
        "parameters": 11_179_590,
        "windows": [
            {"name": "bone", "level": 600.0, "width": 2800.0},
            {"name": "subdural", "level": 80.0, "width": 200.0},
            {"name": "soft_tissue", "level": 40.0, "width": 380.0},
        ],
        "size": 224,
        "slices": {"train": 1121, "validation": 259},
        "patients": {"train": 65, "validation": 15},
        "best_epoch": 2,
        "seconds": seconds,
        "seconds_per_epoch": [25.0, 25.0, 25.0],
        "seed": 1,
        "hardware": {"device": "a processor", "threads": 2},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "version": "0.2.0",
        "code": "0123456789abcdef",
    }


def history(epochs=3):
    """A history.csv."""
    rows = [
        {
            "epoch": epoch,
            "learning_rate": 1e-3,
            "train_loss": 0.6 / epoch,
            "validation_loss": 0.7 / epoch,
            "validation_roc_auc": 0.6 + 0.1 * epoch,
            **{
                f"validation_roc_auc_{name}": 0.6 + 0.05 * place * (1 - 1 / epoch) for place, name in enumerate(CLASSES)
            },
        }
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def points(grid):
    """Points of a grid search over any keys: the ROC AUC falls from the third point on to either side."""
    values = [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())]
    named = {f"point{number}": each for number, each in enumerate(values)}
    measured = {
        name: dict(zip(MEASURES, [3, 2, 0.9 - 0.05 * abs(number - 2), 0.3, 61.0 + number], strict=True))
        for number, name in enumerate(named)
    }
    return search.table(named, measured)


def resources():
    """What the jobs of some rules took."""
    rows = [["train", 2, 3.5, 7200.0, 20.25, 5120.4, 0], ["compare", 1, 0.0005, 1.8, math.nan, math.nan, 1]]
    return pd.DataFrame(rows, columns=COLUMNS)
