import hashlib
import json
import logging

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import torchvision
from scipy.special import expit

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.base.files import read_parquet, write_parquet
from ich.images.cache import Cache
from ich.models.weights import save_weights
from ich.prediction.predict import LOGITS, PREDICTIONS_SCHEMA, PROBABILITIES, predict

SIZE = 32
SHARDS = (30, 0, 23)
WINDOWS = [{"name": name, "level": 40.0, "width": 80.0} for name in ("a", "b", "c")]
FACTS = {
    "model": "resnet18",
    "classes": list(CLASSES),
    "windows": WINDOWS,
    "size": SIZE,
    "value_range": [0, 1],
    "normalisation": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "configuration": {"precision": "auto"},
}
FAILED = "ID_2_005"


@pytest.fixture(autouse=True)
def few_threads():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8) for count in SHARDS]


@pytest.fixture(scope="module")
def cache(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    for number, pixels in enumerate(images):
        path = folder / f"{number}.npy"
        np.save(path, pixels)
        failed = [{"image_id": FAILED, "row": 5, "location": "x.dcm", "reason": "truncated"}] if number == 2 else []
        sidecar = {"windows": WINDOWS, "size": SIZE, "slices": len(pixels), "failed": failed}
        sidecar["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return Cache([folder / f"{number}.npy" for number in range(len(SHARDS))])


@pytest.fixture(scope="module")
def cohort():
    """Every slice, in an order that is neither that of the names nor that of the shards."""
    places = [(shard, row) for shard, count in enumerate(SHARDS) for row in range(count)]
    frame = pd.DataFrame(places, columns=["shard", "row"]).astype(np.int32)
    frame["image_id"] = [f"ID_{2 - shard}_{row:03d}" for shard, row in places]
    frame.loc[frame.eval("shard == 2 and row == 5"), "image_id"] = FAILED
    frame.loc[frame.eval("shard == 0 and row == 5"), "image_id"] = "ID_2_999"
    frame[list(CLASSES)] = np.uint8(0)
    return frame.sample(frac=1, random_state=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A ResNet18 of torchvision's, with running statistics that are not those of any batch."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None, num_classes=6)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("model") / "weights.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def predicted(cohort, cache, weights):
    return predict(cohort, cache, weights, FACTS)


def test_every_slice_once_sorted_by_name(predicted, cohort):
    assert predicted.columns.tolist() == ["image_id", *LOGITS, *PROBABILITIES]
    assert predicted["image_id"].tolist() == sorted(set(cohort["image_id"]) - {FAILED})
    assert predicted.index.tolist() == list(range(52))


def test_logits_are_torchvisions_in_evaluation_mode(predicted, cohort, images, weights):
    network = torchvision.models.resnet18(weights=None, num_classes=6).double().eval()
    network.load_state_dict(safetensors.torch.load_file(weights))
    places = cohort.set_index("image_id").loc[predicted["image_id"]]
    pixels = np.stack([images[shard][row] for shard, row in zip(places["shard"], places["row"], strict=True)]) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network(torch.from_numpy((pixels - mean[:, None, None]) / std[:, None, None])).numpy()
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(predicted[LOGITS].to_numpy(), expected, rtol=1e-4, atol=1e-4)


def test_probabilities_are_the_sigmoid_in_float64(predicted):
    assert set(predicted[LOGITS].dtypes) == {np.dtype(np.float32)}
    assert set(predicted[PROBABILITIES].dtypes) == {np.dtype(np.float64)}
    expected = expit(predicted[LOGITS].to_numpy().astype(np.float64))
    np.testing.assert_allclose(predicted[PROBABILITIES].to_numpy(), expected, rtol=1e-15)


def test_a_slice_left_out_is_counted(cohort, cache, weights, caplog):
    with caplog.at_level(logging.WARNING):
        predict(cohort, cache, weights, FACTS)
    assert "1 of 53 slices" in caplog.text


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_batch_does_not_matter(cohort, cache, weights, predicted, batch_size):
    other = predict(cohort, cache, weights, FACTS, batch_size=batch_size)
    pd.testing.assert_frame_equal(other, predicted, rtol=1e-4, atol=1e-5)


def test_a_slice_does_not_depend_on_the_others(cohort, cache, weights, predicted):
    some = predict(cohort[cohort["image_id"] < "ID_1"], cache, weights, FACTS)
    assert len(some) == 22
    expected = predicted[predicted["image_id"] < "ID_1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected, rtol=1e-4, atol=1e-5)


def test_order_and_readers_change_no_bit(cohort, cache, weights, predicted):
    other = predict(cohort.sort_values("image_id"), cache, weights, FACTS, readers=2, threads=1)
    pd.testing.assert_frame_equal(other, predicted, check_exact=True)


def test_the_table_as_a_file(predicted, tmp_path):
    write_parquet(predicted, tmp_path / "test.parquet", PREDICTIONS_SCHEMA)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "test.parquet"), predicted, check_exact=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [*CLASSES[::-1]]}, "with the classes"),
        ({"windows": WINDOWS[::-1]}, "with the windows"),
        ({"windows": [{**WINDOWS[0], "level": 50.0}, *WINDOWS[1:]]}, "with the windows"),
        ({"size": 64}, "with the size 64, and not 32"),
        ({"value_range": [-1, 1]}, r"with the value_range \[-1, 1\], and not \[0, 1\]"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, "with the normalisation"),
    ],
)
def test_a_model_for_other_images_is_refused(cohort, cache, weights, change, message):
    with pytest.raises(InputError, match=message) as caught:
        predict(cohort, cache, weights, FACTS | change)
    assert str(weights) in str(caught.value)


def test_weights_of_another_model_are_refused(cohort, cache, weights):
    with pytest.raises(InputError, match="not weights of this model"):
        predict(cohort, cache, weights, FACTS | {"model": "resnet34"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [*CLASSES[::-1]]}, "with the classes"),
        ({"model": "resnet34"}, "with the model resnet34, and not resnet18"),
        ({"windows": WINDOWS[::-1], "size": 64}, "with the windows .*; with the size 64, and not 32"),
    ],
)
def test_weights_that_say_they_are_for_something_else_are_refused(cohort, cache, weights, tmp_path, change, message):
    """The model.json fits, and the weights beside it are another model's."""
    path = tmp_path / "weights.safetensors"
    described = {name: value for name, value in FACTS.items() if name != "configuration"}
    save_weights(safetensors.torch.load_file(weights), path, described | change)
    with pytest.raises(InputError, match=message) as caught:
        predict(cohort, cache, path, FACTS)
    assert str(path) in str(caught.value)
    save_weights(safetensors.torch.load_file(weights), path, described)
    assert len(predict(cohort.head(3), cache, path, FACTS)) == 3


def test_weights_without_our_classes_are_refused(cohort, cache, tmp_path):
    network = torchvision.models.resnet18(weights=None)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "imagenet.safetensors")
    with pytest.raises(InputError, match=r"another shape fc.weight"):
        predict(cohort, cache, tmp_path / "imagenet.safetensors", FACTS)


def test_a_slice_twice_in_the_cohort_is_an_error(cohort, cache, weights):
    with pytest.raises(AssertionError, match="twice"):
        predict(pd.concat([cohort, cohort.head(1)]), cache, weights, FACTS)
