"""Backbones with a logit for each class."""

from collections import OrderedDict

import torch
import torchvision
from torch import nn

from ich.base.classes import CLASSES
from ich.base.errors import InputError

MODELS = ("resnet18", "resnet34", "resnet50", "densenet121", "densenet169")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of values 0 to 1, as torchvision's weights


class Normalise(nn.Module):
    """Standardises each channel with constants that are no part of the state dict.

    Parameters
    ----------
    mean, std : sequences of float
        One value a channel.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Subtract the mean and divide by the standard deviation."""
        return (images - self.mean) / self.std


def normalisation(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each channel.

    Parameters
    ----------
    channels : int
        Three channels take ImageNet's red, green and blue; any other number takes the average of the three for each.

    Returns
    -------
    mean, std : tuples of float
    """
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return (sum(IMAGENET_MEAN) / 3,) * channels, (sum(IMAGENET_STD) / 3,) * channels


def build(name: str, channels: int, classes: int = len(CLASSES)) -> nn.Sequential:
    """Build a backbone with random weights.

    The network is a plain sequence with torchvision's state-dict keys. Its normalisation is its first layer. The last
    ReLU of a DenseNet is a layer that leaves its input as it is: torchvision's own is hidden in `forward` and
    overwrites the features, which misleads what hooks into them.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    channels : int
        Channels of an image.
    classes : int
        Number of logits.

    Returns
    -------
    nn.Sequential
        Takes float32 [n, channels, height, width], values 0 to 1, and gives logits [n, classes].

    Raises
    ------
    InputError
        There is no such model.
    """
    if name not in MODELS:
        raise InputError(f"there is no model {name!r}; known here: {', '.join(MODELS)}")
    parts = dict(torchvision.models.get_model(name, weights=None, num_classes=classes).named_children())
    head, classifier = parts.popitem()
    if name.startswith("densenet"):
        parts |= {"relu": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1)}
    parts |= {"flatten": nn.Flatten(), head: classifier}
    network = nn.Sequential(OrderedDict(normalise=Normalise(*normalisation(channels)), **parts))
    if channels != 3:
        _, stem = first_convolution(network)
        stem.in_channels = channels
        stem.weight = nn.Parameter(stem.weight.new_empty(stem.out_channels, channels, *stem.kernel_size))
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return network


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Give the first convolution and its name."""
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
