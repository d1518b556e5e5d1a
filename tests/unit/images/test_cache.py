import hashlib
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from ich.base.errors import InputError
from ich.cohort.slices import build_manifest
from ich.dicom.defects import DEFECTS
from ich.dicom.headers import header_rows
from ich.dicom.sources import inventory
from ich.images import cache as module
from ich.images.cache import Cache, build_shard, failures
from ich.images.windowing import slice_to_image
from tests.unit.dicom_factory import slice_elements, write_dicom

WINDOWS = [{"name": "bone", "level": 600, "width": 2800}, {"name": "subdural", "level": 80, "width": 200}]
LEVELS = [(600, 2800), (80, 200)]
SIZE = 24


@pytest.fixture
def volume():
    """Hounsfield units of seven slices."""
    return np.random.default_rng(0).normal(40, 400, (7, 60, 60)).astype(np.int16)


@pytest.fixture
def slices(volume, tmp_path):
    """The manifest of these slices, in one shard."""
    for number, hu in enumerate(volume):
        write_dicom(tmp_path / "dicom" / f"{number}.dcm", hu + 1024, **slice_elements(1, number))
    return build_manifest(header_rows(inventory([tmp_path / "dicom"])), shards=1)[0]


def build(slices, path, size=SIZE):
    build_shard(slices, WINDOWS, size, path, path.with_suffix(".json"))
    return json.loads(path.with_suffix(".json").read_text())


def images_of(volume, size=SIZE):
    return np.stack([slice_to_image(hu.astype(np.float32), LEVELS, size).numpy() for hu in volume])


@pytest.fixture
def shards(slices, volume, tmp_path):
    """Three shards, of which the second is empty."""
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path, part in zip(paths, (slices[:4], slices[:0], slices[4:]), strict=True):
        build(part.assign(row=range(len(part))), path)
    return paths


def test_a_shard_is_a_plain_numpy_file(slices, volume, tmp_path):
    sidecar = build(slices, tmp_path / "0.npy")
    np.save(tmp_path / "reference.npy", images_of(volume))
    assert (tmp_path / "0.npy").read_bytes() == (tmp_path / "reference.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy", mmap_mode="r"), images_of(volume))
    assert sidecar == {
        "sha256": hashlib.sha256((tmp_path / "0.npy").read_bytes()).hexdigest(),
        "windows": WINDOWS,
        "size": SIZE,
        "slices": 7,
        "failed": [],
    }


def test_the_same_slices_give_the_same_bytes(slices, tmp_path):
    for name in ("a", "b"):
        build(slices, tmp_path / f"{name}.npy")
    for suffix in (".npy", ".json"):
        assert (tmp_path / "a").with_suffix(suffix).read_bytes() == (tmp_path / "b").with_suffix(suffix).read_bytes()


def test_an_empty_shard_is_a_file_without_images(slices, tmp_path):
    assert build(slices[:0], tmp_path / "0.npy")["slices"] == 0
    assert np.load(tmp_path / "0.npy", mmap_mode="r").shape == (0, 2, SIZE, SIZE)


def test_failed_slices_are_zeros_with_a_reason(slices, volume, tmp_path):
    locations = slices["location"].map(Path)
    write_dicom(locations[1], np.zeros((60, 60), np.int16), **slice_elements(1, 1))
    os.truncate(locations[3], 2000)
    locations[4].unlink()
    sidecar = build(slices, tmp_path / "0.npy")
    reasons = {1: "constant image", 3: "truncated", 4: "unreadable file"}
    assert sidecar["failed"] == [
        {"image_id": slices["image_id"][row], "row": row, "location": str(locations[row]), "reason": reason}
        for row, reason in reasons.items()
    ]
    assert set(reasons.values()) <= set(DEFECTS)
    expected = images_of(volume)
    expected[list(reasons)] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), expected)
    assert Cache([tmp_path / "0.npy"]).failed == {slices["image_id"][row] for row in reasons}


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_every_type_of_pixels_gives_the_same_image(kind, tmp_path):
    stored = np.random.default_rng(1).integers(0, 128, (40, 50)).astype(kind)
    for number, slope in enumerate((1, 2.5, 20)):
        elements = slice_elements(1, number, RescaleSlope=slope, RescaleIntercept=-90.5)
        write_dicom(tmp_path / "dicom" / f"{number}.dcm", stored, **elements)
    build(build_manifest(header_rows(inventory([tmp_path / "dicom"])), shards=1)[0], tmp_path / "0.npy")
    for image, slope in zip(np.load(tmp_path / "0.npy"), (1, 2.5, 20), strict=True):
        hu = stored.astype(np.float32) * np.float32(slope) - np.float32(90.5)
        np.testing.assert_array_equal(image, slice_to_image(hu, LEVELS, SIZE).numpy())


def test_failures_of_several_caches_are_one_list(slices, tmp_path):
    Path(slices["location"][5]).unlink()
    build(slices, tmp_path / "0.npy")
    build(slices, tmp_path / "1.npy", size=16)
    Path(slices["location"][2]).unlink()
    build(slices, tmp_path / "2.npy")
    found = failures([tmp_path / f"{number}.json" for number in range(3)])
    assert found.to_dict("records") == [
        {
            "image_id": slices["image_id"][row],
            "location": slices["location"][row],
            "stage": "cache",
            "reason": "unreadable file",
        }
        for row in (2, 5)
    ]


def test_rows_out_of_order_are_refused(slices, tmp_path):
    with pytest.raises(ValueError, match="order of their rows"):
        build(slices[::-1], tmp_path / "0.npy")


def test_a_full_disk_leaves_the_old_shard_or_nothing(slices, tmp_path):
    # a limit on the size of files fails the write halfway, as a full disk does
    build(slices[:1], tmp_path / "0.npy")
    before = {path: path.read_bytes() for path in tmp_path.glob("0.*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        for name in ("0.npy", "1.npy"):
            with pytest.raises(InputError, match=rf"{name}: cannot be written \(File too large\)"):
                build(slices, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_images_are_read_in_the_order_asked_for(shards, volume):
    cache = Cache(shards)
    assert (cache.windows, cache.size, cache.failed) == (WINDOWS, SIZE, set())
    order = np.array([6, 0, 4, 5, 0, 3])
    read = cache.read(np.where(order < 4, 0, 2), np.where(order < 4, order, order - 4))
    assert read.dtype == torch.uint8
    np.testing.assert_array_equal(read.numpy(), images_of(volume)[order])
    assert cache.read(order[:0], order[:0]).shape == (0, 2, SIZE, SIZE)


def test_memory_is_used_again_once_nothing_refers_to_it(shards):
    cache = Cache(shards)
    shard, row = np.zeros(4, int), np.arange(4)
    places = {cache.read(shard, row).data_ptr() for _ in range(5)}
    assert len(places) == 1
    assert cache.read(shard[:3], row[:3]).data_ptr() in places
    larger = cache.read(np.zeros(8, int), np.zeros(8, int))
    assert cache.read(shard, row).data_ptr() != larger.data_ptr()


def test_images_stay_as_long_as_anything_refers_to_them(shards, volume):
    cache = Cache(shards)
    expected = images_of(volume)
    held = []
    for row in (0, 1, 2, 3):  # each by another kind of reference, of which the first read's tensor is long gone
        batch = cache.read(np.array([0, 0]), np.array([row, row]))
        held.append([batch, batch[1], batch.numpy()[1], batch.flip(0).flatten(1)[0].view(2, SIZE, SIZE)][row])
        del batch
    cache.read(np.array([2, 2, 2]), np.array([0, 1, 2]))
    np.testing.assert_array_equal(held[0].numpy(), expected[[0, 0]])
    for row in (1, 2, 3):
        np.testing.assert_array_equal(np.asarray(held[row]), expected[row])


def open_ones(paths):
    return {descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir()} & set(paths)


def test_few_files_are_open_at_a_time(slices, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_OPEN", 3)
    paths = [tmp_path / f"{number}.npy" for number in range(7)]
    for number, path in enumerate(paths):
        build(slices[number : number + 1].assign(row=0), path)
    cache = Cache(paths)
    order = np.random.default_rng(0).integers(0, 7, 100)
    np.testing.assert_array_equal(cache.read(order, np.zeros(100, int)).numpy(), images_of(volume)[order])
    assert len(open_ones(paths)) == 3
    del cache
    assert not open_ones(paths)


def test_threads_read_while_files_are_closed_and_opened_again(slices, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    paths = [tmp_path / f"{number}.npy" for number in range(7)]
    for number, path in enumerate(paths):
        build(slices[number : number + 1].assign(row=0), path)
    cache = Cache(paths)
    orders, expected = np.random.default_rng(0).integers(0, 7, (60, 50)), images_of(volume)
    with ThreadPoolExecutor(4) as pool:
        for order, images in zip(orders, pool.map(lambda order: cache.read(order, order * 0), orders), strict=True):
            np.testing.assert_array_equal(images.numpy(), expected[order])
    assert len(open_ones(paths)) == 2


def test_verify_finds_one_changed_bit(shards):
    cache = Cache(shards)
    cache.verify()
    content = bytearray(shards[2].read_bytes())
    content[1000] ^= 1
    shards[2].write_bytes(content)
    with pytest.raises(InputError, match=rf"{shards[2]}: .*checksum.*\. Delete it and run again"):
        cache.verify()


def remove(path):
    path.unlink()


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def remove_sidecar(path):
    path.with_suffix(".json").unlink()


def cut_sidecar(path):
    os.truncate(path.with_suffix(".json"), 30)


def empty_sidecar(path):
    path.with_suffix(".json").write_text("{}")


def other_size(path):
    sidecar = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(sidecar | {"size": SIZE * 2}))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (remove, "there is no such cache shard"),
        (shorten, "bytes instead of"),
        (remove_sidecar, "no readable 2.json"),
        (cut_sidecar, "no readable 2.json"),
        (empty_sidecar, "no readable 2.json"),
        (other_size, "other windows or another size than .*0.npy"),
    ],
)
def test_a_damaged_shard_is_named_before_anything_is_read(shards, damage, problem):
    damage(shards[2])
    with pytest.raises(InputError, match=rf"{shards[2]}: .*{problem}.*[Rr]un again"):
        Cache(shards)


@pytest.mark.parametrize("damage", [shorten, remove])
def test_a_shard_that_is_damaged_later_is_named(shards, damage):
    cache = Cache(shards)
    damage(shards[2])
    with pytest.raises(InputError, match=rf"{shards[2]}: .*Delete it and run again"):
        cache.read(np.array([0, 2]), np.array([0, 2]))


@pytest.mark.skipif("ICH_RSNA_SAMPLE" not in os.environ, reason="ICH_RSNA_SAMPLE names no folder of real slices")
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_real_slices_agree_with_pydicom_numpy_and_pillow(tmp_path):
    folder = Path(os.environ["ICH_RSNA_SAMPLE"], "stage_2_train")
    slices, _ = build_manifest(header_rows(inventory([folder])), shards=1)
    assert build(slices, tmp_path / "0.npy", size=224)["failed"] == []
    images = np.load(tmp_path / "0.npy")
    assert len(images) == len(list(folder.iterdir()))
    for image, location in zip(images, slices["location"], strict=True):
        header = pydicom.dcmread(location)
        hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        for channel, (level, width) in zip(image, LEVELS, strict=True):
            grey = np.floor(np.clip((hu - level + width / 2) / width, 0, 1) * 255 + 0.5).astype(np.uint8)
            expected = np.asarray(Image.fromarray(grey).resize((224, 224), Image.Resampling.BILINEAR))
            assert np.abs(channel.astype(int) - expected).max() <= 1
