"""Class activation maps, against what defines them and against Grad-CAM by automatic differentiation."""

import pytest
import torch
from captum.attr import LayerGradCam

from ich.activation import class_maps
from ich.models import build


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
