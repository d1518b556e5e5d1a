import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ich.images.windowing import grey_table, look_up, resize, slice_to_image, window

WINDOWS = {"bone": (600, 2800), "subdural": (80, 200), "soft-tissue": (40, 380), "brain": (40, 80)}


def window_float64(hu, level, width):
    """Give grey levels before rounding."""
    return np.clip((hu.astype(np.float64) - (level - width / 2)) / width * 255, 0, 255)


def triangle_weights(old, new):
    """Give the weights [new, old] of an antialiased bilinear resize of one axis."""
    scale = old / new
    support = max(scale, 1)
    centres = (np.arange(new) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres[:, None]) / support)
    return weights / weights.sum(axis=1, keepdims=True)


def resize_float64(image, size):
    """Resize [channel, height, width] to grey levels before rounding."""
    rows, columns = (triangle_weights(old, size) for old in image.shape[1:])
    return np.stack([rows @ channel.astype(np.float64) @ columns.T for channel in image])


@pytest.mark.parametrize(("level", "width"), WINDOWS.values(), ids=WINDOWS)
def test_every_stored_value_agrees_with_float64(level, width):
    hu = np.arange(-(2**15), 2**16, dtype=np.float32)
    grey = window(hu, level, width)
    assert grey.dtype == np.uint8
    expected = window_float64(hu, level, width)
    assert np.abs(grey - np.floor(expected + 0.5)).max() <= 1
    off_the_border = np.abs(expected % 1 - 0.5) > 1e-3
    np.testing.assert_array_equal(grey[off_the_border], np.rint(expected[off_the_border]))


@given(
    hu=arrays(np.float32, 50, elements=st.floats(-4096, 70000, width=32)),
    level=st.floats(-1000, 3000),
    width=st.floats(1, 5000),
)
def test_any_window_agrees_with_float64(hu, level, width):
    difference = window(hu, level, width) - np.floor(window_float64(hu, level, width) + 0.5)
    assert np.abs(difference).max() <= 1


def test_ends_of_the_window():
    hu = np.array([-3024, -20.5, -20, -19.6, 80, 180, 180.1, 30000], np.float32)
    # 100 HU above the lower end of 200 is 127.5, rounded upwards; 0.4 HU is 0.51
    np.testing.assert_array_equal(window(hu, 80, 200), [0, 0, 0, 1, 128, 255, 255, 255])


def test_hu_are_left_as_they_were():
    hu = np.linspace(-1000, 1000, 64, dtype=np.float32)
    before = hu.copy()
    window(hu, 40, 80)
    np.testing.assert_array_equal(hu, before)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(("old", "new"), [(512, 224), (512, 256), (512, 64), (333, 224), (96, 224)])
def test_resize_agrees_with_a_float64_triangle_filter(old, new, channels):
    # noise is the hardest case: neighbouring pixels share nothing
    image = np.random.default_rng(0).integers(0, 256, (channels, old, old), dtype=np.uint8)
    resized = resize(torch.from_numpy(image)[None], new)[0]
    assert resized.dtype == torch.uint8
    assert resized.shape == (channels, new, new)
    assert resized.is_contiguous()
    assert np.abs(resized.numpy() - np.rint(resize_float64(image, new))).max() <= 1


def test_resize_agrees_with_pillow():
    image = np.random.default_rng(1).integers(0, 256, (512, 512), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR))
    resized = resize(torch.from_numpy(image)[None, None], 224)[0, 0].numpy()
    assert np.abs(resized.astype(int) - pillow).max() <= 1


def test_resize_to_the_same_size_changes_nothing():
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(image, 64), image)


@pytest.mark.parametrize("shape", [(60, 96), (96, 60), (96, 61)])
def test_other_shapes_are_padded_to_a_centred_square(shape):
    image = np.random.default_rng(2).integers(1, 256, (2, *shape), dtype=np.uint8)
    top, left = (96 - shape[0]) // 2, (96 - shape[1]) // 2
    square = np.zeros((2, 96, 96), np.uint8)
    square[:, top : top + shape[0], left : left + shape[1]] = image
    np.testing.assert_array_equal(resize(torch.from_numpy(image)[None], 96)[0].numpy(), square)
    assert np.abs(resize(torch.from_numpy(image)[None], 48)[0].numpy() - np.rint(resize_float64(square, 48))).max() <= 1


def test_the_window_comes_before_the_resize():
    # Columns of air and bone in turn, half the size: each new pixel is half black and half white, so 127.5. The other
    # order would make 0 HU of them, which is black in the brain window.
    hu = np.tile(np.array([-1000, 1000], np.float32), (64, 32))
    inside = slice_to_image(hu, [(40, 80)], 32)[0, :, 1:-1]
    assert set(inside.unique().tolist()) <= {127, 128}


def test_one_channel_a_window_in_their_order():
    hu = np.random.default_rng(3).normal(40, 300, (80, 80)).astype(np.float32)
    image = slice_to_image(hu, list(WINDOWS.values()), 40)
    assert image.shape == (4, 40, 40)
    for channel, (level, width) in zip(image.numpy(), WINDOWS.values(), strict=True):
        grey = np.floor(window_float64(hu, level, width) + 0.5)[None]
        assert np.abs(channel - np.rint(resize_float64(grey, 40)[0])).max() <= 1


@given(
    st.sampled_from([np.int8, np.uint8, np.int16, np.uint16]),
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.integers(1, 6),
    st.floats(-3, 3),
    st.integers(0, 2**32),
)
def test_the_table_gives_the_same_bytes(kind, shape, channels, slope, seed):
    random = np.random.default_rng(seed)
    ends = np.iinfo(kind)
    stored = random.integers(ends.min, ends.max, shape, kind, endpoint=True)
    stored.ravel()[random.choice(stored.size, 3, replace=False)] = ends.min, ends.max, 0
    windows = [(level, width) for level, width in random.uniform(1, 2000, (channels, 2))]
    values = np.arange(ends.max + 1).tolist() + np.arange(ends.min, 0).tolist()  # as their bits count, negative last
    table = grey_table(np.array(values, np.float32) * np.float32(slope) - np.float32(1024), windows)
    expected = slice_to_image(stored.astype(np.float32) * np.float32(slope) - np.float32(1024), windows, 16)
    np.testing.assert_array_equal(look_up(stored, table, channels, 16), expected.numpy())
