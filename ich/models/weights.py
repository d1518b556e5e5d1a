"""Weights: what they are for, and how they are written and read."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.base.files import replacing
from ich.models.backbones import first_convolution, normalisation

IMAGENET_CLASSES = 1000
OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # `norm.1`, as in torchvision's own files
METADATA = "ich"  # the entry of a safetensors file's metadata that says what its weights are for

State = dict[str, torch.Tensor]


def description(model: str, windows: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Say what weights are for: what must agree between them and their use.

    Parameters
    ----------
    model : str
        One of `MODELS`.
    windows : list of dict
        Name, level and width (HU) of each channel.
    size : int
        Height and width of the images in pixels.

    Returns
    -------
    dict
        model, classes (in the order of the logits), windows, size, value_range (of the images) and normalisation, as
        JSON has them.
    """
    mean, std = normalisation(len(windows))
    return {
        "model": model,
        "classes": list(CLASSES),
        "windows": windows,
        "size": size,
        "value_range": [0, 1],
        "normalisation": {"mean": list(mean), "std": list(std)},
    }


def check_description(path: str | Path, said: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Compare what weights are for with what they are to be used for.

    Parameters
    ----------
    path : path
        The file that says so.
    said, here : mapping
        From `description`; `said` may have more.

    Raises
    ------
    InputError
        They differ: says where.
    """
    faults = [
        f"with the {name} {said.get(name)}, and not {value}" for name, value in here.items() if said.get(name) != value
    ]
    if faults:
        raise InputError(
            f"{path}: these weights were trained for something else: {'; '.join(faults)}. Use them with the model and "
            "the cache that they were trained with, or train anew."
        )


def save_weights(state: State, path: str | Path, described: Mapping[str, Any]) -> None:
    """Write weights as safetensors, with what they are for in the file's metadata; equal weights give equal bytes.

    Parameters
    ----------
    state : dict of str to Tensor
    path : path
    described : mapping
        From `description`.
    """
    with replacing(path) as partial:
        # One entry: safetensors writes several in an order that varies
        partial.write_bytes(safetensors.torch.save(state, {METADATA: json.dumps(described, sort_keys=True)}))


def load_weights(
    network: nn.Sequential, path: str | Path, described: Mapping[str, Any] | None = None, *, exact: bool = False
) -> None:
    """Load weights from a file into a network.

    Parameters
    ----------
    network : nn.Sequential
        From `build`; changed in place.
    path : path
        A state dict with torchvision's keys (those of old DenseNet files too), as safetensors or as a torch pickle. A
        pickle is read with `weights_only=True`, so that no code in it runs.
    described : mapping or None
        What they are to be used for, from `description`. Where the file says what they are for, it must be the same.
    exact : bool
        Take the file's weights as they are or not at all. Otherwise they start a training: a head of ImageNet's 1000
        classes is passed over, and where the network has another number of channels than a first convolution of
        three, each channel gets the mean of the three filters times 3 / channels, which keeps the response to an image
        that is the same in all channels.

    Raises
    ------
    InputError
        The file cannot be read, is for another use, or a weight is missing, superfluous or of another shape.
    """
    own, (state, said) = network.state_dict(), read_state(Path(path))
    if said and described:
        check_description(path, said, described)
    if not exact:
        state = _adapted(state, network)
    faults = [
        ("lacks", sorted(own.keys() - state.keys())),
        ("has in addition", sorted(state.keys() - own.keys())),
        ("has in another shape", [key for key in own if key in state and state[key].shape != own[key].shape]),
    ]
    found = [f"{fault} {_some(keys)}" for fault, keys in faults if keys]
    if found:
        raise InputError(
            f"{path}: these are not weights of this model: the file {'; it '.join(found)}. "
            "Name a file with a state dict of the model that the experiment names, with torchvision's keys."
        )
    network.load_state_dict(state)


def _adapted(state: State, network: nn.Sequential) -> State:
    """Give the weights of another task, as far as they can be those of this one."""
    own = network.state_dict()
    # PyTorch counts batches since 0.4.1; older files, ImageNet's among them, have no counts
    adapted = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")} | state
    head, (stem, convolution) = [*dict(network.named_children())][-1], first_convolution(network)
    weight, filters = state.get(f"{head}.weight"), state.get(f"{stem}.weight")
    if weight is not None and weight.shape[:1] == (IMAGENET_CLASSES,):
        adapted |= {f"{head}.{key}": own[f"{head}.{key}"] for key in ("weight", "bias")}
    channels = convolution.in_channels
    if filters is not None and filters.shape[1:2] == (3,) and channels != 3:
        adapted[f"{stem}.weight"] = filters.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1) * (3 / channels)
    return adapted


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def read_state(path: Path) -> tuple[State, dict[str, Any]]:
    """Read a state dict from a file of either kind, under today's key names, and what it says that it is for."""
    said = {}
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
            with safetensors.safe_open(path, "pt") as file:
                said = json.loads((file.metadata() or {}).get(METADATA, "{}"))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file of weights.") from None
    except Exception as error:  # a damaged pickle raises almost any kind
        raise InputError(
            f"{path}: cannot be read as weights ({type(error).__name__}). It must be a state dict of tensors alone, "
            "written by safetensors (name.safetensors) or by torch.save."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise InputError(f"{path}: holds more than a state dict. Save the state dict itself: names and their tensors.")
    return {OLD_DENSENET_KEY.sub(r"\1", name): value for name, value in state.items()}, said
