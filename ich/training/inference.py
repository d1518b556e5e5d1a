"""Logits of every slice, each seen once, and what they are worth on validation."""

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.images.windowing import to_float
from ich.training.data import SliceDataset, batches, loader
from ich.training.distributed import ALONE, World
from ich.training.progress import bar, look_every


@torch.inference_mode()
def infer(
    network: nn.Module,
    dataset: SliceDataset,
    batch_size: int,
    readers: int,
    dtype: torch.dtype,
    device: torch.device,
    label: str,
    world: World = ALONE,
    look: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Give the logits of every slice of a dataset, in evaluation mode: no slice influences another.

    Parameters
    ----------
    network : nn.Module
        On `device`; left in evaluation mode.
    dataset : SliceDataset
        The slices.
    batch_size, readers, world
        As of `train`; each process takes some of the batches.
    dtype, device
        As of `Learner`.
    label : str
        What this is, for the progress bar and errors.
    look : function
        Is called now and then.

    Returns
    -------
    float32 tensor [slice, class], on the CPU, in the order of `dataset.rows`; all of them in every process

    Raises
    ------
    InputError
        A logit is not finite.
    """
    network.eval()
    logits = torch.zeros(len(dataset), len(CLASSES), device=device)
    seen = torch.zeros(len(dataset), dtype=torch.int64)
    cut = batches(len(dataset), batch_size, seed=None)
    with loader(dataset, world.share(cut), readers, pinned=device.type == "cuda") as read:
        for number, (images, _, indices) in enumerate(bar(read, label, len(world.share(cut))), start=1):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                output = network(to_float(images.to(device, non_blocking=True)))
            logits[indices.to(device, non_blocking=True)] = output.float()
            seen[indices] += 1
            if number % look_every(device) == 0 and number <= len(cut) // world.size:  # as often in every process
                look()
    logits, seen = world.sum(logits).cpu(), world.sum(seen)
    if not (seen == 1).all():
        raise AssertionError(f"{label}: {(seen != 1).sum()} of {len(seen)} slices were not seen exactly once")
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        names = dataset.rows["image_id"][broken.numpy()]
        raise InputError(
            f"{label}: the model gives no finite value for {len(names)} slices, {', '.join(names[:5])} among them. "
            "Training has diverged; lower optimizer.learning_rate."
        )
    return logits


def validation_metrics(logits: torch.Tensor, labels: np.ndarray) -> dict[str, float]:
    """Give loss and ROC AUC, in float64.

    Parameters
    ----------
    logits : float tensor [slice, class]
    labels : array [slice, class] of 0 and 1

    Returns
    -------
    dict
        validation_loss, validation_roc_auc (mean over the classes that have both labels) and
        validation_roc_auc_{class}; NaN where it does not exist.
    """
    scores = logits.double()
    loss = F.binary_cross_entropy_with_logits(scores, torch.tensor(labels, dtype=torch.float64)).item()
    by_class = {
        name: float(roc_auc_score(labels[:, i], scores[:, i])) if len(np.unique(labels[:, i])) == 2 else math.nan
        for i, name in enumerate(CLASSES)
    }
    defined = [value for value in by_class.values() if not math.isnan(value)]
    return {
        "validation_loss": loss,
        "validation_roc_auc": sum(defined) / len(defined) if defined else math.nan,
        **{f"validation_roc_auc_{name}": value for name, value in by_class.items()},
    }
