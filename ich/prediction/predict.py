"""Weights and slices to probabilities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from torch import nn

from ich.base.classes import CLASSES
from ich.images.cache import Cache
from ich.models.backbones import build
from ich.models.weights import check_description, description, load_weights
from ich.training.data import SliceDataset
from ich.training.device import number_type, prepare
from ich.training.inference import infer

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
    readers: int = 0,
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
    batch_size, readers, threads
        As of `training.train`; the result does not depend on them but for the last digits of float32.

    Returns
    -------
    DataFrame
        `PREDICTIONS_SCHEMA`: a row a slice, sorted by image_id. Probabilities are the sigmoid of the float32 logits,
        taken in float64.

    Raises
    ------
    InputError
        The model was trained for other classes, windows, values or another size than the cache has, its weights do not
        fit or belong to another model, or a logit is not finite.
    """
    device = prepare(seed=0, threads=threads)
    network = trained_network(cache, weights, facts).to(device).to(memory_format=torch.channels_last)
    dtype = number_type(facts["configuration"]["precision"], device)
    dataset = SliceDataset(cohort.sort_values(["shard", "row"]), cache)  # so that the files are read from front to back
    logits = infer(network, dataset, batch_size, readers, dtype, device, "prediction")
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


def trained_network(cache: Cache, weights: str | Path, facts: Mapping[str, Any]) -> nn.Sequential:
    """Give a trained network, in evaluation mode.

    Parameters
    ----------
    cache, weights, facts
        As of `predict`.

    Raises
    ------
    InputError
        The model was trained for something else than the cache has, or its weights do not fit.
    """
    described = description(str(facts.get("model")), cache.windows, cache.size)
    check_description(weights, facts, described)
    network = build(described["model"], channels=len(cache.windows))
    load_weights(network, weights, described, exact=True)
    return network.eval()
