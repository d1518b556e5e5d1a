"""Made-up slices that a small network learns from in seconds: their cohort and their cache."""

import hashlib
import json

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES
from ich.images.cache import Cache

SIZE = 32
COUNTS = {"train": 64, "validation": 40, "test": 8}
WINDOWS = [{"name": name, "level": 40, "width": 80} for name in ("a", "b", "c")]
SETTINGS = {
    "model": "resnet18",
    "weights": None,
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"name": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "momentum": 0.9},
    "schedule": {"name": "constant", "gamma": 0.5, "warmup_epochs": 0},
    "augmentation": {"horizontal_flip": 0.5, "vertical_flip": 0.5, "rotation": 10.0},
    "seed": 1,
    "threads": 1,
}


def made_up():
    """Noise with a bright ring for each label, each class at its own radius: what no flip or rotation changes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (sum(COUNTS.values()), len(CLASSES)), dtype=np.uint8)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    ring = np.hypot(x, y) // 2.5
    images = rng.integers(0, 100, (len(labels), 3, SIZE, SIZE), dtype=np.uint8)
    for number in range(len(CLASSES)):
        images += (150 * labels[:, number, None, None, None] * (ring == number)).astype(np.uint8)
    cohort = pd.DataFrame({"image_id": [f"ID_{n:04d}" for n in range(len(labels))]})
    cohort["patient_id"] = [f"P_{n // 4:03d}" for n in range(len(labels))]
    cohort["part"] = np.repeat(list(COUNTS), list(COUNTS.values()))
    cohort[list(CLASSES)] = labels
    cohort["shard"] = np.int32(0)
    cohort["row"] = np.arange(len(labels), dtype=np.int32)
    return images, cohort


def write_cache(folder, images, failed=(), windows=WINDOWS):
    """Write images as a cache of one shard; slices in `failed` have none."""
    path = folder / "0000.npy"
    np.save(path, images)
    sidecar = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "windows": windows,
        "size": images.shape[-1],
        "slices": len(images),
        "failed": [{"image_id": name, "row": 0, "location": "x.dcm", "reason": "truncated"} for name in failed],
    }
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return Cache([path])


def same(first, second):
    """Tell whether two state dicts are equal, bit for bit."""
    return first.keys() == second.keys() and all((first[key] == second[key]).all() for key in first)
