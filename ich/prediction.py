"""Weights and slices to probabilities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from ich.cache import Cache
from ich.data import SliceDataset
from ich.errors import InputError
from ich.labels import CLASSES
from ich.models import build, load_weights
from ich.training import infer, prepare

LOGITS = [f"logit_{name}" for name in CLASSES]
PROBABILITIES = [f"probability_{name}" for name in CLASSES]
PREDICTIONS_SCHEMA = pa.schema(
    [("image_id", pa.string())]
    + [(name, pa.float32()) for name in LOGITS]
    + [(name, pa.float64()) for name in PROBABILITIES]
)


def predict(
    cohort: pd.DataFrame,
    cache: Cache,
    weights: str | Path,
    facts: Mapping[str, Any],
    *,
    batch_size: int = 32,
    workers: int = 0,
    threads: int | None = None,
) -> pd.DataFrame:
    """Predict slices with a trained model.

    Parameters
    ----------
    cohort : DataFrame
        The cohort's rows to predict, commonly those of one part. Those without an image are left out, and said so.
    cache : Cache
        Images of these slices.
    weights : path
        The model's weights.safetensors.
    facts : mapping
        The model's model.json.
    batch_size, workers, threads
        As of `training.train`; the result does not depend on them but for the last digits of float32.

    Returns
    -------
    DataFrame
        `PREDICTIONS_SCHEMA`: a row a slice, sorted by image_id. Probabilities are the sigmoid of the float32 logits,
        taken in float64.

    Raises
    ------
    InputError
        The model was trained for other classes, windows or another size than the cache has, its weights do not fit, or
        a logit is not finite.
    """
    for what, here in (("classes", list(CLASSES)), ("windows", cache.windows), ("size", cache.size)):
        if facts.get(what) != here:
            raise InputError(
                f"{weights}: the model was trained with the {what} {facts.get(what)} and cannot predict with {here}. "
                "Use the cache that it was trained on, or train it anew."
            )
    device = prepare(seed=0, threads=threads)
    network = build(facts["model"], channels=len(cache.windows))
    load_weights(network, weights, exact=True)
    network.to(device).to(memory_format=torch.channels_last)
    dataset = SliceDataset(cohort.sort_values(["shard", "row"]), cache)  # so that the files are read from front to back
    logits = infer(network, dataset, batch_size, workers, device, "prediction")
    frame = pd.concat(
        [
            dataset.rows["image_id"],
            pd.DataFrame(logits.numpy(), columns=LOGITS),
            pd.DataFrame(torch.sigmoid(logits.double()).numpy(), columns=PROBABILITIES),
        ],
        axis=1,
    ).sort_values("image_id", ignore_index=True)
    if not frame["image_id"].is_unique:
        raise AssertionError("a slice is predicted twice: the cohort has it more than once")
    return frame
