"""Class activation maps: what defines them, where they lie in the image, and whether they find what the phantom hid."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import LayerGradCam
from scipy import ndimage
from scipy.stats import binomtest
from torch import nn

from ich.base.classes import CLASSES
from ich.evaluation.cases import choose
from ich.evaluation.metrics import choose_threshold
from ich.images.windowing import slice_to_image, to_float
from ich.models.activation import class_maps, spread
from ich.models.backbones import build
from ich.phantom import dataset, scanner
from ich.prediction.predict import predict, trained_network
from ich.training.loop import train
from ich.training.outcome import save_model
from tests.unit.slices import SETTINGS, write_cache


@pytest.fixture(params=["resnet18", "densenet121"])
def network(request):
    torch.manual_seed(3)
    return build(request.param, channels=3).eval()


@pytest.fixture
def images():
    return torch.rand((2, 3, 96, 96), generator=torch.Generator().manual_seed(5))


def test_the_mean_of_a_map_and_the_bias_are_the_logit(network, images):
    maps = class_maps(network, images)
    assert maps.shape == (2, 6, 3, 3)
    with torch.inference_mode():
        torch.testing.assert_close(maps.mean(dim=(2, 3)) + network[-1].bias, network(images), rtol=1e-5, atol=1e-5)


def test_it_is_grad_cam_at_the_last_features(network, images):
    last = network[-4]  # what is pooled: the last stage of a ResNet, the ReLU of a DenseNet
    for number in range(6):
        theirs = LayerGradCam(network, last).attribute(images, target=number, relu_attributions=False)
        ours = class_maps(network, images)[:, number : number + 1]
        torch.testing.assert_close(ours / ours.shape[-1] ** 2, theirs.detach(), rtol=1e-4, atol=1e-6)


# ---- where a map lies in the image


@pytest.mark.parametrize(("model", "size"), [("resnet18", 161), ("resnet50", 161), ("densenet121", 157)])
def test_a_mirrored_image_has_the_mirrored_map(model, size):
    # With mirrored kernels, at a size at which the layers' steps end on the last pixel, nothing but the place that is
    # given to the cells can make a difference.
    torch.manual_seed(3)
    network = build(model, channels=3).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.data
            layer.weight.data = (weight + weight.flip(-1) + weight.flip(-2) + weight.flip(-1, -2)) / 4
    image = torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(5))
    here, there = (spread(network, class_maps(network, each), size) for each in (image, image.flip(-1, -2)))
    assert here.shape == (1, 6, size, size)
    torch.testing.assert_close(there.flip(-1, -2), here, rtol=1e-3, atol=1e-4 * float(here.abs().max()))
    assert not torch.allclose(there, here, rtol=1e-2)


@pytest.mark.parametrize(("model", "first"), [("resnet18", 0), ("densenet121", 14)])
def test_a_cell_has_its_value_in_its_middle_and_the_outermost_reach_to_the_edge(model, first):
    maps = torch.rand((2, 6, 7, 7), generator=torch.Generator().manual_seed(5))
    wide = spread(build(model, channels=3), maps, 224)
    torch.testing.assert_close(wide[:, :, first::32, first::32], maps)
    torch.testing.assert_close(wide[:, :, first + 16 : 192 : 32, first::32], (maps[:, :, 1:] + maps[:, :, :-1]) / 2)
    assert (wide[:, :, -1, -1] == maps[:, :, -1, -1]).all()


def test_a_map_of_one_cell_is_the_same_everywhere(network):
    wide = spread(network, torch.full((1, 6, 1, 1), 2.5), 32)
    assert (wide == torch.full((1, 6, 32, 32), 2.5)).all()


# ---- the check on data that is understood

WINDOWS = [("brain", 40, 80), ("subdural", 80, 200), ("soft_tissue", 40, 380)]
PATIENTS = {"train": (50, 26), "validation": (14, 6), "test": (44, 0)}  # with and without a haematoma
MARGIN = 0.25  # by which the share of hits is above that of pixels of the head drawn at random


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Heads of which some hold a large haematoma: cohort, cache, and masks of the lesion and of the head."""
    plan = dataset.plan(patients=280, slices=(6, 6), size=192, prevalence=0.8, seed=1)
    one_each = {series.patient_id: series for series in plan}.values()
    calm = (series for series in one_each if not series.subtypes)
    bleeding = (replace(series, subtypes=("intraparenchymal",)) for series in one_each if series.subtypes)
    large = (series for series in bleeding if np.prod(scanner.Scan(series).lesions.clot.shape.radii) > 16**3)  # mm³
    rows, images, lesions, inside = [], [], [], []
    for part, (with_lesion, without) in PATIENTS.items():
        for series in [*islice(large, with_lesion), *islice(calm, without)]:
            hu, masks = scanner.volume(series)
            for number, image_id in enumerate(series.image_ids):
                labels = scanner.Scan(series).labels(masks[number])
                rows.append((image_id, series.patient_id, part, *labels))
                images.append(slice_to_image(hu[number], [window[1:] for window in WINDOWS], series.size))
                lesions.append(masks[number].any(axis=0))
                inside.append(_head(hu[number]))
    cohort = pd.DataFrame(rows, columns=["image_id", "patient_id", "part", *CLASSES])
    cohort["shard"], cohort["row"] = np.int32(0), np.arange(len(cohort), dtype=np.int32)
    windows = [dict(zip(("name", "level", "width"), each, strict=True)) for each in WINDOWS]
    cache = write_cache(tmp_path_factory.mktemp("heads"), np.stack(images), windows=windows)
    return cohort, cache, np.stack(lesions), np.stack(inside)


def _head(hu):
    """The largest thing that is not air, with what it encloses."""
    things, _ = ndimage.label(hu > -300)
    return ndimage.binary_fill_holes(things == 1 + np.argmax(np.bincount(things.ravel())[1:]))


def test_the_maximum_lies_in_the_lesion_more_often_than_by_chance(heads, tmp_path):
    cohort, cache, lesions, inside = heads
    settings = {
        "epochs": 2,
        "threads": 2,
        "schedule": {"name": "cosine", "gamma": 0.5, "warmup_epochs": 1},
        "augmentation": {"horizontal_flip": 0.5, "vertical_flip": 0.0, "rotation": 10.0},
    }
    files = {"weights": tmp_path / "weights.safetensors", "history": tmp_path / "h.csv", "facts": tmp_path / "m.json"}
    trained = train(cohort, cache, **SETTINGS | settings)
    save_model(trained, **files)
    facts = json.loads(files["facts"].read_text())
    by_part = {
        part: predict(rows, cache, files["weights"], facts, threads=2)
        for part, rows in cohort[cohort["part"] != "train"].groupby("part")
    }

    # What the gallery shows as true positives: one slice a patient, so that hits are independent of each other.
    validation = cohort.merge(by_part["validation"], on="image_id")
    cut = choose_threshold(validation["any"].to_numpy(), validation["probability_any"].to_numpy(), "youden")
    points = pd.DataFrame({"class": CLASSES, "part": "test", "unit": "slice", "rule": "youden", "threshold": cut})
    chosen = choose(cohort, by_part["test"], points, len(cohort))
    found = chosen[(chosen["class"] == "any") & (chosen["kind"] == "true positive")]["row"].to_numpy()
    assert len(found) >= 35

    network = trained_network(cache, files["weights"], facts)
    maps = class_maps(network, to_float(cache.read(np.zeros_like(found), found)))
    heat = spread(network, maps, cache.size)[:, CLASSES.index("any")].flatten(1)
    hits = int(lesions[found].reshape(len(found), -1)[np.arange(len(found)), heat.argmax(dim=1).numpy()].sum())
    chance = float(np.mean((lesions & inside)[found].sum(axis=(1, 2)) / inside[found].sum(axis=(1, 2))))
    print(f"the maximum of {hits} of {len(found)} maps lies in the lesion; chance {chance:.3f}")
    assert hits / len(found) >= chance + MARGIN
    assert binomtest(hits, len(found), chance, alternative="greater").pvalue < 0.001
