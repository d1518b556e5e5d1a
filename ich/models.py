"""Backbones with a logit for each class, and where their initial weights come from."""

import hashlib
import http.client
import json
import re
import shutil
import tempfile
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn

from ich.errors import InputError
from ich.files import replacing
from ich.labels import CLASSES

MODELS = ("resnet18", "resnet34", "resnet50", "densenet121", "densenet169")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of values 0 to 1, as torchvision's weights
IMAGENET_CLASSES = 1000
OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # `norm.1`, as in torchvision's own files
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
METADATA = "ich"  # the entry of a safetensors file's metadata that says what its weights are for
TIMEOUT = 60  # seconds without an answer

State = dict[str, torch.Tensor]


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
        _, stem = _stem(network)
        stem.in_channels = channels
        stem.weight = nn.Parameter(stem.weight.new_empty(stem.out_channels, channels, *stem.kernel_size))
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return network


def _stem(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Give the first convolution and its name."""
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))


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
    own, (state, said) = network.state_dict(), _read_state(Path(path))
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
    head, (stem, convolution) = [*dict(network.named_children())][-1], _stem(network)
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


def _read_state(path: Path) -> tuple[State, dict[str, Any]]:
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


def download(name: str, url: str | None, path: str | Path) -> None:
    """Fetch weights trained on ImageNet and write them as safetensors.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    url : str or None
        Where the state dict lies (https://, file://, or http:// on this machine); None for torchvision's own file. If
        the file is called `name-xxxxxxxx.pth`, its SHA-256 must begin with these digits.
    path : path
        What to write.

    Raises
    ------
    InputError
        The file cannot be fetched, is not what its name says, or does not hold weights of the model. Nothing is
        written then.
    """
    url = url or torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    address = urlsplit(url)
    if address.scheme not in ("https", "file") and (address.scheme, address.hostname in LOOPBACK) != ("http", True):
        raise InputError(f"{url}: weights are fetched from https:// or file:// addresses only.")
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder, Path(address.path).name)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as source, fetched.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(
                f"{url}: cannot be fetched ({error}). Fetch it on a machine that can, and say in the configuration "
                f"where it lies: `imagenet: {{{name}: 'file:///...'}}`; or set `weights: none`."
            ) from error
        with fetched.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        promised = HASH_IN_NAME.search(fetched.name)
        if promised and not sha256.startswith(promised[1]):
            raise InputError(
                f"{url}: the SHA-256 of the file begins with {sha256[:8]} and not with the {promised[1]} of its name; "
                "it is damaged or another file. Fetch it again."
            )
        try:
            load_weights(build(name, channels=3), fetched)  # better to see now than on a compute node that it fits
        except InputError as error:
            raise InputError(f"{url}, fetched as {error}") from error
        state, _ = _read_state(fetched)
    with replacing(path) as partial:
        partial.write_bytes(safetensors.torch.save({key: state[key].clone().contiguous() for key in sorted(state)}))
