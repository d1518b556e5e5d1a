import functools
import hashlib
import http.server
import os
import pickle
import threading

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.models.backbones import MODELS, build, normalisation
from ich.models.pretrained import HASH_IN_NAME, download
from ich.models.weights import load_weights

HEADS = {"resnet18": "fc", "densenet121": "classifier"}


@pytest.fixture(autouse=True)
def few_threads():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def random_state(network):
    """Make a state dict in which every value is drawn, running statistics included."""
    return {
        key: torch.rand(value.shape) + 0.5 if "running_var" in key else torch.randn(value.shape) * 0.05
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def imagenet_like(name):
    return random_state(torchvision.models.get_model(name, weights=None))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_torchvisions_on_normalised_images(name):
    network = build(name, channels=3).eval()
    network.load_state_dict(random_state(network), strict=False)
    reference = torchvision.models.get_model(name, weights=None, num_classes=6).eval()
    reference.load_state_dict(network.state_dict())  # strict: the keys are torchvision's
    images = torch.rand(4, 3, 64, 64)
    normalised = torchvision.transforms.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        logits, expected = network(images), reference(normalised)
    assert logits.shape == (4, len(CLASSES))
    assert expected.std() > 0
    torch.testing.assert_close(logits, expected)


def test_the_features_of_a_densenet_can_be_looked_at():
    # Global average pooling and one linear layer: the logit of a class is the mean of its activation map plus the bias.
    network = build("densenet121", channels=3).eval()
    kept = []
    network.features.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        logits = network(torch.rand(2, 3, 64, 64))
        maps = torch.einsum("kc,nchw->nkhw", network.classifier.weight, kept[0].relu())
    assert kept[0].min() < 0, "the features were overwritten"
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + network.classifier.bias, logits)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_normalisation_is_a_layer_without_state(channels):
    network = build("resnet18", channels)
    images = torch.rand(2, channels, 8, 8)
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) if channels == 3 else ([0.449], [0.226])
    mean, std = np.resize(mean, channels), np.resize(std, channels)
    shape = (1, channels, 1, 1)
    expected = (images.double().numpy() - np.reshape(mean, shape)) / np.reshape(std, shape)
    np.testing.assert_allclose(network.normalise(images).numpy(), expected, atol=1e-5)
    assert not [key for key in network.state_dict() if key.startswith("normalise")]
    np.testing.assert_allclose(normalisation(channels), [mean, std])


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(name, channels):
    network = build(name, channels)
    assert network(torch.rand(2, channels, 32, 32)).shape == (2, 6)
    stem = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    assert stem.weight.std().item() == pytest.approx((2 / (64 * 7 * 7)) ** 0.5, rel=0.05)  # He et al., fan out


def test_the_seed_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return build("resnet18", channels=4).state_dict()

    assert same(weights(1), weights(1))
    assert not same(weights(1), weights(2))


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match="known here: resnet18"):
        build("vgg16", channels=3)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", HEADS)
def test_imagenet_weights_leave_the_head_alone(tmp_path, name, suffix):
    state = imagenet_like(name)
    path = tmp_path / f"weights{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, path)
    network = build(name, channels=3)
    head = {key: value.clone() for key, value in network.state_dict().items() if key.startswith(HEADS[name])}
    load_weights(network, path)
    loaded = network.state_dict()
    for key, value in state.items():
        assert torch.equal(loaded[key], head.get(key, value)), key
    assert len(head) == 2


def test_old_densenet_key_names(tmp_path):
    state = imagenet_like("densenet121")
    renamed = {}
    for key, value in state.items():
        for layer in ("norm", "conv"):
            if "denselayer" in key:
                key = key.replace(f".{layer}1.", f".{layer}.1.").replace(f".{layer}2.", f".{layer}.2.")
        renamed[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in renamed
    assert "features.denseblock4.denselayer16.conv.2.weight" in renamed
    torch.save(renamed, tmp_path / "old.pth")
    network = build("densenet121", channels=3)
    load_weights(network, tmp_path / "old.pth")
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("classifier"))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("channels", [2, 3])
def test_own_weights_come_back_whole(tmp_path, channels, exact):
    network = build("resnet18", channels)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "own.safetensors")
    other = build("resnet18", channels)
    assert not same(network.state_dict(), other.state_dict())
    load_weights(other, tmp_path / "own.safetensors", exact=exact)
    assert same(network.state_dict(), other.state_dict())


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_filters_for_another_number_of_channels_answer_alike_to_grey(tmp_path, channels):
    state = imagenet_like("resnet18")
    torch.save(state, tmp_path / "weights.pth")
    network = build("resnet18", channels)
    load_weights(network, tmp_path / "weights.pth")
    grey = torch.randn(1, 1, 32, 32)
    expected = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), state["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(network.conv1(grey.expand(-1, channels, -1, -1)), expected, rtol=1e-4, atol=1e-5)


class Evil:
    """A pickle that makes a folder when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A folder of files that are no weights of a ResNet18 for three channels."""
    folder = tmp_path_factory.mktemp("broken")
    state = build("resnet18", channels=3).state_dict()
    torch.save(state, folder / "whole.pth")
    whole = (folder / "whole.pth").read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "page.pth").write_text("<html>404 not found</html>")
    (folder / "page.safetensors").write_text("<html>404 not found</html>")
    (folder / "empty.pth").write_bytes(b"")
    (folder / "evil.pth").write_bytes(pickle.dumps(Evil(folder / "made"), protocol=2))
    torch.save({"state": state, "code": Evil(folder / "made")}, folder / "evil_zip.pth")
    torch.save({"state_dict": state, "epoch": 3}, folder / "checkpoint.pth")
    torch.save(list(state.values()), folder / "list.pth")
    torch.save({0: torch.ones(1)}, folder / "numbered.pth")
    torch.save(build("resnet34", channels=3).state_dict(), folder / "resnet34.pth")
    torch.save(build("densenet121", channels=3).state_dict(), folder / "densenet.pth")
    torch.save(build("resnet18", channels=3, classes=7).state_dict(), folder / "seven.pth")
    torch.save(build("resnet18", channels=4).state_dict(), folder / "four.pth")
    torch.save({key: value for key, value in state.items() if key != "bn1.bias"}, folder / "lacking.pth")
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pth", "no such file"),
        ("absent.safetensors", "no such file"),
        ("cut.pth", "cannot be read as weights"),
        ("page.pth", "cannot be read as weights"),
        ("page.safetensors", "cannot be read as weights"),
        ("empty.pth", "cannot be read as weights"),
        ("evil.pth", "cannot be read as weights"),
        ("evil_zip.pth", "cannot be read as weights"),
        ("checkpoint.pth", "more than a state dict"),
        ("list.pth", "more than a state dict"),
        ("numbered.pth", "more than a state dict"),
        ("resnet34.pth", "has in addition layer1.2.bn1.bias"),
        ("densenet.pth", "lacks bn1.bias, .* and 99 more; it has in addition classifier.bias"),
        ("seven.pth", "has in another shape fc.weight, fc.bias"),
        ("four.pth", "has in another shape conv1.weight"),
        ("lacking.pth", "lacks bn1.bias"),
    ],
)
def test_files_that_are_no_weights_of_the_model(broken, name, message):
    network = build("resnet18", channels=3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=message) as caught:
        load_weights(network, broken / name)
    assert str(broken / name) in str(caught.value)
    assert not (broken / "made").exists(), "code in the pickle has run"
    assert same(network.state_dict(), before)


def test_exact_weights_are_not_adapted(tmp_path):
    torch.save(imagenet_like("resnet18"), tmp_path / "imagenet.pth")
    with pytest.raises(InputError, match=r"another shape fc.weight"):
        load_weights(build("resnet18", channels=3), tmp_path / "imagenet.pth", exact=True)
    torch.save(build("resnet18", channels=3).state_dict(), tmp_path / "three.pth")
    with pytest.raises(InputError, match=r"another shape conv1.weight"):
        load_weights(build("resnet18", channels=1), tmp_path / "three.pth", exact=True)


@pytest.fixture
def published(tmp_path):
    """A folder with ImageNet-like weights, named after their SHA-256 as torchvision does."""
    folder = tmp_path / "published"
    folder.mkdir()
    state = imagenet_like("resnet18")
    torch.save(state, folder / "resnet18.pth")
    sha256 = hashlib.sha256((folder / "resnet18.pth").read_bytes()).hexdigest()
    path = (folder / "resnet18.pth").rename(folder / f"resnet18-{sha256[:8]}.pth")
    return path, state


@pytest.fixture
def server(published, monkeypatch):
    """Serve the folder over HTTP on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=published[0].parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_download_from_a_file(published, tmp_path):
    path, state = published
    for target in ("first.safetensors", "second.safetensors"):
        download("resnet18", path.as_uri(), tmp_path / "weights" / target)
    assert same(safetensors.torch.load_file(tmp_path / "weights/first.safetensors"), state)
    first, second = sorted((tmp_path / "weights").iterdir())
    assert first.read_bytes() == second.read_bytes()
    load_weights(build("resnet18", channels=3), first)


def test_download_over_http(published, server, tmp_path):
    path, state = published
    download("resnet18", f"{server}/{path.name}?download=1", tmp_path / "weights.safetensors")
    assert same(safetensors.torch.load_file(tmp_path / "weights.safetensors"), state)


def test_a_download_that_is_not_what_its_name_says(published, tmp_path):
    damaged = published[0].with_name("resnet18-0123abcd.pth")
    published[0].rename(damaged)
    target = tmp_path / "weights" / "weights.safetensors"
    target.parent.mkdir()
    with pytest.raises(InputError, match=r"SHA-256 .* 0123abcd"):
        download("resnet18", damaged.as_uri(), target)
    assert not list(target.parent.iterdir())


def test_a_download_of_another_models_weights(published, tmp_path):
    url = published[0].as_uri()
    with pytest.raises(InputError, match=f"{url}, .*not weights of this model"):
        download("densenet121", url, tmp_path / "weights.safetensors")
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_download_that_fails_says_what_else_to_do(server, tmp_path):
    for url in (f"{server}/absent.pth", f"{server}/", "file:///absent/resnet18.pth"):
        with pytest.raises(InputError, match=r"cannot be fetched.*imagenet: \{resnet18: 'file:///") as caught:
            download("resnet18", url, tmp_path / "weights.safetensors")
        assert url in str(caught.value)
        assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("url", ["http://example.org/resnet18.pth", "ftp://localhost/resnet18.pth", "resnet18.pth"])
def test_only_safe_addresses(url, tmp_path):
    with pytest.raises(InputError, match="https:// or file://"):
        download("resnet18", url, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_torchvisions_files_have_their_hash_in_their_name(name):
    address = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    assert address.startswith("https://")
    assert len(HASH_IN_NAME.search(address)[1]) == 8
