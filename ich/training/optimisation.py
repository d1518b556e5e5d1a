"""Optimizers and learning rates."""

import math
from typing import Any

import torch
from torch import nn

from ich.base.errors import InputError


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
