"""What a training leaves, and what tells it from others."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import sklearn
import torch
import torchvision
from torch import nn

from ich.base.classes import CLASSES
from ich.base.files import write_csv, write_json
from ich.images.cache import Cache
from ich.models.weights import State, description, save_weights
from ich.training.data import SliceDataset
from ich.training.device import hardware
from ich.training.learner import Learner


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes
    ----------
    state : dict of str to Tensor
        State dict of the best epoch: copies on the CPU.
    history : DataFrame
        A row an epoch: epoch (from 1), learning_rate, train_loss (in training mode, augmented), validation_loss,
        validation_roc_auc (mean over the classes with both labels) and validation_roc_auc_{class}; losses in nats, mean
        over slices and classes. It has no clock in it: equal runs give equal tables.
    best_epoch : int
        The epoch of `state`.
    epochs : list of dict
        What was measured in each epoch: `epoch`, `seconds` (validation included), `slices_per_second` and
        `waiting_share` (0 to 1, of the time) while training; on a GPU `gpu_memory_bytes` (most in use) and, if known,
        `gpu_utilisation` (0 to 1).
    seconds : float
        Seconds of the whole training, those before an interruption included.
    resumed : int
        How often it was taken up again.
    facts : dict
        What was trained on what; goes into model.json.
    """

    state: State
    history: pd.DataFrame
    best_epoch: int
    epochs: list[dict[str, float]]
    seconds: float
    resumed: int
    facts: dict[str, Any]


def copy_state(network: nn.Module) -> State:
    """Copy a state dict to the CPU. What `state_dict` itself gives changes with every further step."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }


def save_model(trained: Trained, *, weights: str | Path, history: str | Path, facts: str | Path, **more: Any) -> None:
    """Write what a training gave.

    Parameters
    ----------
    trained : Trained
    weights : path
        As `models.save_weights`, the best epoch; the same bytes from equal runs.
    history : path
        CSV, a row an epoch; the same bytes from equal runs.
    facts : path
        JSON: all that is needed to use the weights and to say where they come from.
    **more
        Further facts, such as the code hash.
    """
    save_weights(trained.state, weights, description(*(trained.facts[name] for name in ("model", "windows", "size"))))
    write_csv(trained.history, history)
    write_json(
        trained.facts
        | {"best_epoch": trained.best_epoch, "resumed": trained.resumed}
        | more
        | {
            "seconds": trained.seconds,
            "seconds_per_epoch": [each["seconds"] for each in trained.epochs],
            "epochs": trained.epochs,
        },
        facts,
    )


def fingerprint(cohort: pd.DataFrame, cache: Cache, weights: str | Path | None, **more: Any) -> str:
    """Tell trainings apart: a state is of use to none but the training that began it.

    Parameters
    ----------
    cohort, cache, weights
        As of `train`. Their contents count, not their names.
    **more
        What else decides: settings, code hash, number of processes.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    rows = cohort.loc[cohort["part"] != "test", ["image_id", "part", *CLASSES, "shard", "row"]]
    total = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    versions = {module.__name__: module.__version__ for module in (np, torch, torchvision)}
    total.update(json.dumps([cache.sha256, cache.windows, cache.size, versions, more], sort_keys=True).encode())
    if weights is not None:
        total.update(Path(weights).read_bytes())
    return total.hexdigest()


def facts_of(network: nn.Module, parts: Mapping[str, SliceDataset], learner: Learner) -> dict[str, Any]:
    """Say what is trained on what and where: all that is known before the first epoch."""
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "slices": {part: len(dataset) for part, dataset in parts.items()},
        "patients": {part: dataset.rows["patient_id"].nunique() for part, dataset in parts.items()},
        "versions": {"python": platform.python_version()}
        | {module.__name__: module.__version__ for module in (np, pd, safetensors, sklearn, torch, torchvision)},
        "hardware": hardware(learner.device)
        | {"processes": learner.world.size, "precision": str(learner.dtype).removeprefix("torch.")},
    }
