"""Networks: backbones, weights, class activation maps."""
