"""The training loop, read from top to bottom."""

import logging
import math
import os
import platform
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import sklearn
import torch
import torchvision
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from ich.cache import Cache
from ich.data import SliceDataset, augment, loader, to_float
from ich.errors import InputError
from ich.files import replacing, write_csv, write_json
from ich.labels import CLASSES
from ich.models import State, build, load_weights, normalisation


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
    epoch_seconds : list of float
        Seconds of each epoch, validation included.
    seconds : float
        Seconds of the whole training.
    facts : dict
        What was trained on what; goes into model.json.
    """

    state: State
    history: pd.DataFrame
    best_epoch: int
    epoch_seconds: list[float]
    seconds: float
    facts: dict[str, Any]


def train(
    cohort: pd.DataFrame,
    cache: Cache,
    *,
    model: str,
    weights: str | Path | None,
    epochs: int,
    batch_size: int,
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    augmentation: Mapping[str, float],
    seed: int,
    workers: int = 0,
    threads: int | None = None,
) -> Trained:
    """Train one model on the training part and keep the epoch that is best on the validation part.

    The best epoch has the highest mean ROC AUC on validation or, where no class has both labels there, the lowest
    loss; of equals the first. On the CPU, equal arguments give equal weights, bit for bit, whatever `workers` is;
    another number of threads adds up in another order and may change last digits.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, part, the six labels, shard and row; the part `test` is not looked at.
    cache : Cache
        Images of these slices.
    model : str
        One of `models.MODELS`.
    weights : path or None
        Initial weights (`models.load_weights`); None for random ones.
    epochs, batch_size : int
        Passes over the training part; slices in a batch.
    optimizer : mapping
        Arguments of `make_optimizer`.
    schedule : mapping
        Arguments of `learning_rate`.
    augmentation : mapping
        Arguments of `data.augment`.
    seed : int
        Of weights, order and augmentation.
    workers : int
        Processes that read ahead; 0 reads in this one.
    threads : int or None
        Threads of a computation on the CPU; None leaves it to PyTorch.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        A part has no images, initial weights do not fit, or the loss is no longer finite: with epoch, batch and
        image_ids.
    """
    started = time.perf_counter()
    device = prepare(seed, threads)
    training = SliceDataset(cohort[cohort["part"] == "train"], cache)
    validation = SliceDataset(cohort[cohort["part"] == "validation"], cache)
    network = build(model, channels=len(cache.windows))
    if weights is not None:
        load_weights(network, weights)
    network.to(device).to(memory_format=torch.channels_last)  # the faster layout, on the CPU too
    updates = make_optimizer(network, **optimizer)
    facts = _facts(model, network, cache, {"train": training, "validation": validation}, seed, device)
    facts["configuration"] = {
        "model": model,
        "weights": None if weights is None else str(weights),
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": dict(optimizer),
        "schedule": dict(schedule),
        "augmentation": dict(augmentation),
        "seed": seed,
    }
    logging.info("training %s on %s slices of %s patients", model, facts["slices"], facts["patients"])

    history: list[dict[str, float]] = []
    epoch_seconds: list[float] = []
    best_score, best_epoch, best_state = -math.inf, 0, {}
    for epoch in range(1, epochs + 1):
        epoch_started = time.perf_counter()
        rate = learning_rate(epoch, epochs, optimizer["learning_rate"], **schedule)
        for group in updates.param_groups:
            group["lr"] = rate
        row = {"epoch": epoch, "learning_rate": rate}
        row["train_loss"] = train_one_epoch(
            network, updates, training, batch_size, augmentation, seed, epoch, workers, device
        )
        logits = infer(network, validation, batch_size, workers, device, f"epoch {epoch}, validation")
        row |= validation_metrics(logits, validation.rows[list(CLASSES)].to_numpy())
        history.append(row)

        score = row["validation_roc_auc"]
        if math.isnan(score):
            score = -row["validation_loss"]
            if epoch == 1:
                logging.warning("no class has both labels in the validation part: the best epoch is that of least loss")
        if score > best_score:
            best_score, best_epoch, best_state = score, epoch, copy_state(network)
        epoch_seconds.append(time.perf_counter() - epoch_started)
        logging.info(
            f"epoch {epoch} of {epochs}: learning rate {rate:.3g}, train loss {row['train_loss']:.4f}, "
            f"validation loss {row['validation_loss']:.4f}, ROC AUC {row['validation_roc_auc']:.4f}"
            f"{' (best so far)' if best_epoch == epoch else ''}, {epoch_seconds[-1]:.1f} s"
        )
    return Trained(best_state, pd.DataFrame(history), best_epoch, epoch_seconds, time.perf_counter() - started, facts)


def train_one_epoch(
    network: nn.Module,
    updates: torch.optim.Optimizer,
    dataset: SliceDataset,
    batch_size: int,
    augmentation: Mapping[str, float],
    seed: int,
    epoch: int,
    workers: int,
    device: torch.device,
) -> float:
    """Show the network every slice once, in an order and with changes that are drawn from (seed, epoch).

    Returns
    -------
    float
        Mean loss over slices and classes, of the weights as they were at each batch.

    Raises
    ------
    InputError
        The loss of a batch is not finite. The weights are as before that batch.
    """
    network.train()
    draws = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1)[0]))
    total = 0.0
    batches = loader(dataset, batch_size, seed, epoch, workers)
    for number, (images, labels, indices) in enumerate(progress(batches, f"epoch {epoch}"), start=1):
        images = augment(images.to(device), draws, **augmentation)
        with precision(device):
            logits = network(images)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels.to(device))
        value = loss.item()
        if not math.isfinite(value):
            names = ", ".join(dataset.rows["image_id"].iloc[indices.tolist()])
            raise InputError(
                f"training stopped: the loss is {value} in epoch {epoch}, batch {number}, whose slices are {names}. "
                "Lower optimizer.learning_rate, or look at these images."
            )
        updates.zero_grad()
        loss.backward()
        updates.step()
        total += value * len(indices)
    return total / len(dataset)


@torch.inference_mode()
def infer(
    network: nn.Module, dataset: SliceDataset, batch_size: int, workers: int, device: torch.device, label: str
) -> torch.Tensor:
    """Give the logits of every slice of a dataset, in evaluation mode: no slice influences another.

    Parameters
    ----------
    network : nn.Module
        On `device`; left in evaluation mode.
    dataset : SliceDataset
        The slices.
    batch_size, workers, device
        As of `train`.
    label : str
        What this is, for the progress bar and errors.

    Returns
    -------
    float32 tensor [slice, class], on the CPU, in the order of `dataset.rows`

    Raises
    ------
    InputError
        A logit is not finite.
    """
    network.eval()
    logits = torch.empty(len(dataset), len(CLASSES))
    seen = torch.zeros(len(dataset), dtype=torch.int64)
    for images, _, indices in progress(loader(dataset, batch_size, workers=workers), label):
        with precision(device):
            output = network(to_float(images.to(device)))
        logits[indices] = output.float().cpu()
        seen += torch.bincount(indices, minlength=len(seen))
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


def make_optimizer(
    network: nn.Module, *, name: str, learning_rate: float, weight_decay: float, momentum: float = 0.0
) -> torch.optim.Optimizer:
    """Make the optimizer of all weights of a network.

    Parameters
    ----------
    network : nn.Module
        On its device.
    name : {"adam", "adamw", "sgd"}
    learning_rate, weight_decay : float
    momentum : float
        Of sgd alone.
    """
    options: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay, "fused": True}
    match name:
        case "adam":
            return torch.optim.Adam(network.parameters(), **options)
        case "adamw":
            return torch.optim.AdamW(network.parameters(), **options)
        case "sgd":
            return torch.optim.SGD(network.parameters(), momentum=momentum, **options)
    raise InputError(f"there is no optimizer {name!r}; known here: adam, adamw, sgd")


def learning_rate(
    epoch: int, epochs: int, base: float, *, name: str, gamma: float = 1.0, warmup_epochs: int = 0
) -> float:
    """Give the learning rate of an epoch.

    Parameters
    ----------
    epoch : int
        From 1.
    epochs : int
        Their number.
    base : float
        The rate of the first epoch after warm-up, which rises to it in equal steps.
    name : {"exponential", "cosine", "constant"}
        After warm-up: times `gamma` each epoch (the paper's, with 0.5); half a cosine that would be zero in the epoch
        after the last; or as it is.
    gamma : float
        Of exponential.
    warmup_epochs : int
        Number of epochs before the rate is `base`.

    Returns
    -------
    float
    """
    done = epoch - 1 - warmup_epochs
    if done < 0:
        return base * epoch / (warmup_epochs + 1)
    match name:
        case "exponential":
            return base * gamma**done
        case "cosine":
            return base * (1 + math.cos(math.pi * done / (epochs - warmup_epochs))) / 2
        case "constant":
            return base
    raise InputError(f"there is no schedule {name!r}; known here: exponential, cosine, constant")


def prepare(seed: int, threads: int | None) -> torch.device:
    """Seed every generator, choose reproducible algorithms, and choose the device: CUDA if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)  # this and the next for libraries: the package's own code uses neither
    np.random.seed(seed)  # noqa: NPY002
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS adds up in varying order
    # CUDA lacks such algorithms for some layers. A warning then: bits are promised for the CPU alone.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # A debugging aid that comes with these algorithms and costs DenseNet121 a tenth of its time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def precision(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where that is safe on CUDA, in float32 on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def progress(batches: Any, label: str) -> Any:
    """Show a bar on a terminal, and nothing elsewhere: logs have a line an epoch."""
    return tqdm(batches, desc=label, unit="batch", leave=False, disable=None)


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
        safetensors, torchvision's keys, the best epoch; the same bytes from equal runs.
    history : path
        CSV, a row an epoch; the same bytes from equal runs.
    facts : path
        JSON: all that is needed to use the weights and to say where they come from.
    **more
        Further facts, such as the code hash.
    """
    with replacing(weights) as partial:
        partial.write_bytes(safetensors.torch.save(trained.state))
    write_csv(trained.history, history)
    write_json(
        trained.facts
        | {"best_epoch": trained.best_epoch}
        | more
        | {"seconds": trained.seconds, "seconds_per_epoch": trained.epoch_seconds},
        facts,
    )


def _facts(
    model: str, network: nn.Module, cache: Cache, parts: Mapping[str, SliceDataset], seed: int, device: torch.device
) -> dict[str, Any]:
    """Say what is trained on what and where: all that is known before the first epoch."""
    mean, std = normalisation(len(cache.windows))
    return {
        "model": model,
        "classes": list(CLASSES),
        "windows": cache.windows,
        "size": cache.size,
        "value_range": [0, 1],
        "normalisation": {"mean": list(mean), "std": list(std)},
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "slices": {part: len(dataset) for part, dataset in parts.items()},
        "patients": {part: dataset.rows["patient_id"].nunique() for part, dataset in parts.items()},
        "versions": {"python": platform.python_version()}
        | {module.__name__: module.__version__ for module in (np, pd, safetensors, sklearn, torch, torchvision)},
        "hardware": _hardware(device),
    }


def _hardware(device: torch.device) -> dict[str, Any]:
    """Say what computed; the last digits depend on it."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    described = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    name = described[1] if described else platform.machine()  # ARM kernels give no name
    return {"device": name, "instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
