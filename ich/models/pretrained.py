"""Weights trained on ImageNet, and where they come from."""

import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import safetensors
import safetensors.torch
import torchvision

from ich.base.errors import InputError
from ich.base.files import replacing
from ich.models.backbones import build
from ich.models.weights import load_weights, read_state

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TIMEOUT = 60  # seconds without an answer


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
        state, _ = read_state(fetched)
    with replacing(path) as partial:
        partial.write_bytes(safetensors.torch.save({key: state[key].clone().contiguous() for key in sorted(state)}))
