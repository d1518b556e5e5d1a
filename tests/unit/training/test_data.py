import hashlib
import json
import logging
import os
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage, stats

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.images.cache import Cache
from ich.images.windowing import to_float
from ich.training import data as module
from ich.training.augmentation import augment, draws, rotate
from ich.training.data import AHEAD, SliceDataset, batches, loader, nearby

SIZE = 16
SHARDS = (30, 0, 41)  # slices in each


@pytest.fixture
def images():
    """Pixels of each shard."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8) for count in SHARDS]


@pytest.fixture
def paths(images, tmp_path):
    """Shards as NumPy itself writes them; the fourth slice of the first has no image."""
    for number, pixels in enumerate(images):
        path = tmp_path / f"{number}.npy"
        np.save(path, pixels)
        sidecar = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "windows": [{"name": name, "level": 40, "width": 80} for name in "abc"],
            "size": SIZE,
            "slices": len(pixels),
            "failed": [{"image_id": "ID_0_3", "row": 3, "location": "x.dcm", "reason": "y"}] if number == 0 else [],
        }
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return [tmp_path / f"{number}.npy" for number in range(len(SHARDS))]


@pytest.fixture
def cohort():
    """Every slice of the shards, in an order that is not theirs."""
    places = [(shard, row) for shard, count in enumerate(SHARDS) for row in range(count)]
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(places, columns=["shard", "row"]).astype(np.int32)
    frame["image_id"] = [f"ID_{shard}_{row}" for shard, row in places]
    frame[list(CLASSES)] = rng.integers(0, 2, (len(places), len(CLASSES)), dtype=np.uint8)
    return frame.sample(frac=1, random_state=2)


@pytest.fixture
def dataset(cohort, paths):
    return SliceDataset(cohort, Cache(paths))


def test_a_batch_is_the_images_and_labels_of_its_slices(dataset, images):
    indices = [5, 69, 0, 5]
    pixels, labels, positions = dataset.read(indices)
    chosen = dataset.rows.iloc[indices]
    expected = np.stack([images[shard][row] for shard, row in zip(chosen["shard"], chosen["row"], strict=True)])
    np.testing.assert_array_equal(pixels.numpy(), expected)
    assert labels.dtype == torch.float32
    np.testing.assert_array_equal(labels.numpy(), chosen[list(CLASSES)].to_numpy())
    np.testing.assert_array_equal(positions.numpy(), indices)


def test_slices_without_an_image_are_left_out_and_said_so(cohort, paths, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = SliceDataset(cohort, Cache(paths))
    assert "1 of 71 slices" in caplog.text
    assert sorted(dataset.rows["image_id"]) == sorted(set(cohort["image_id"]) - {"ID_0_3"})
    assert dataset.rows.index.tolist() == list(range(70))


def test_no_slice_left_is_an_error(cohort, paths):
    with pytest.raises(InputError, match="no slice with an image"):
        SliceDataset(cohort[cohort["image_id"] == "ID_0_3"], Cache(paths))


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("slices", [2, 31, 32, 33, 64, 65, 1000])
def test_every_slice_is_in_one_batch(slices, seed):
    cut = batches(slices, 32, seed, epoch=3)
    assert sorted(np.concatenate(cut).tolist()) == list(range(slices))
    assert all(len(batch) == 32 for batch in cut[:-1])


def test_evaluation_keeps_the_order():
    np.testing.assert_array_equal(np.concatenate(batches(100, 32, None, epoch=5)), range(100))
    assert [len(batch) for batch in batches(65, 32, None, epoch=0)] == [32, 32, 1]


def test_no_training_batch_has_one_slice():
    assert [len(batch) for batch in batches(65, 32, 0, epoch=0)] == [32, 33]
    assert [len(batch) for batch in batches(66, 32, 0, epoch=0)] == [32, 32, 2]
    with pytest.raises(InputError, match="a batch of 1 of the 1 slices"):
        batches(1, 32, 0, epoch=0)


def test_every_process_gets_two_slices_of_a_training_batch():
    assert [len(batch) for batch in batches(69, 32, 0, epoch=0, least=6)] == [32, 37]
    assert [len(batch) for batch in batches(70, 32, 0, epoch=0, least=6)] == [32, 32, 6]
    with pytest.raises(InputError, match=r"a batch of 4 of the 70 slices.* needs 6.*larger batches"):
        batches(70, 4, 0, epoch=0, least=6)


def test_training_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.concatenate(batches(1000, 32, seed, epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(4) for epoch in range(4)}) == 16


def test_training_order_is_random_across_the_whole_part():
    # rank correlation of position and index; 0.01 is three standard errors for 100,000
    order = np.concatenate(batches(100_000, 32, 0, epoch=0))
    assert abs(stats.spearmanr(np.arange(100_000), order).statistic) < 0.01
    assert np.ptp(order[:32]) > 50_000


def epoch_of(dataset, seed=None, readers=0, first=0):
    with loader(dataset, batches(70, 8, seed, epoch=1)[first:], readers) as read:
        return [tuple(part.numpy().tobytes() for part in batch) for batch in read]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("readers", [1, 3, 20])
def test_readers_change_nothing(dataset, seed, readers):
    torch.manual_seed(0)
    alone = epoch_of(dataset, seed)
    assert len(alone) == 9
    torch.manual_seed(1)
    assert epoch_of(dataset, seed, readers) == alone
    assert epoch_of(dataset, seed, readers, first=5) == alone[5:]


def test_loading_leaves_the_global_generators_alone(dataset):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    epoch_of(dataset, seed=1)
    draws(3, 1, 1, 1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_evaluation_gives_every_slice_once_in_order(dataset):
    with loader(dataset, batches(70, 8, None), readers=2) as read:
        positions = torch.cat([indices for _, _, indices in read])
    assert positions.tolist() == list(range(70))


def running_readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.mark.parametrize("readers", [0, 1, 3])
def test_an_error_names_the_shard_and_leaves_no_thread(dataset, paths, readers):
    os.truncate(paths[2], 2000)
    with pytest.raises(InputError, match=f"{paths[2]}.*[Dd]elete it and run again"):
        epoch_of(dataset, readers=readers)
    assert not running_readers()


def test_batches_before_a_broken_one_are_given(dataset, paths):
    order = np.argsort(dataset.rows["shard"], kind="stable").tolist()
    os.truncate(paths[2], 128 + 2 * 3 * SIZE**2)  # its header and two slices
    broken = dataset.rows.iloc[order].reset_index().query("shard == 2 and row >= 2").index[0]
    seen = []
    with pytest.raises(InputError, match=str(paths[2])), loader(dataset, [[each] for each in order], readers=3) as read:
        for _, _, indices in read:
            seen.append(indices.item())
    assert seen == order[:broken]
    assert broken >= 29


def test_an_early_stop_leaves_no_thread(dataset):
    with pytest.raises(KeyboardInterrupt), loader(dataset, batches(70, 1, None), readers=3) as read:
        next(read)
        assert len(running_readers()) == 3
        raise KeyboardInterrupt
    assert not running_readers()


def test_few_batches_wait(dataset):
    class Counting:
        started = 0

        def read(self, indices):
            self.started += 1
            return dataset.read(indices)

    counting = Counting()
    with loader(counting, batches(70, 1, None), readers=2) as read:
        for taken in range(1, 11):
            next(read)
            assert counting.started <= taken + 2 * AHEAD


def test_a_cache_is_copied_while_it_is_in_use(dataset, paths, cohort, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    monkeypatch.setenv("FAST_DISK", str(tmp_path / "disk"))
    with nearby(Cache(paths), "$FAST_DISK") as cache:
        assert all(path.parent.parent == tmp_path / "disk" for path in cache.paths)
        assert epoch_of(SliceDataset(cohort, cache)) == epoch_of(dataset)
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("folder", ["", "$NO_SUCH_VARIABLE", "/no/such/folder"])
def test_without_a_place_the_cache_is_read_where_it_is(paths, folder, caplog):
    with nearby(Cache(paths), folder) as cache:
        assert cache.paths == paths
    assert ("without a copy" in caplog.text) == (folder != "")


def test_a_copy_leaves_room_on_its_disk(paths, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "SPARE", 2**62)
    with nearby(Cache(paths), str(tmp_path)) as cache:
        assert cache.paths == paths
    assert "has no room" in caplog.text


@pytest.mark.parametrize("copied", [True, False])
def test_a_cache_is_checked_before_use(paths, tmp_path, copied):
    content = bytearray(paths[2].read_bytes())
    content[1000] ^= 1
    paths[2].write_bytes(content)
    with (
        pytest.raises(InputError, match=f"^{paths[2]}: .*checksum"),
        nearby(Cache(paths), str(tmp_path) if copied else ""),
    ):
        raise AssertionError("the block is entered")


def test_a_copy_that_went_wrong_is_not_used(paths, tmp_path, monkeypatch, caplog):
    def copy_badly(source, target):
        target.write_bytes(source.read_bytes()[:-1] + b"\0")

    monkeypatch.setattr(module.shutil, "copyfile", copy_badly)
    with nearby(Cache(paths), str(tmp_path)) as cache:
        assert cache.paths == paths
    assert "without a copy" in caplog.text


@pytest.fixture
def batch():
    return torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(slices=64, seed=0):
    return draws(slices, seed, epoch=1, batch=1)


def test_draws_depend_on_seed_epoch_and_batch_alone():
    assert torch.equal(draws(8, 1, 2, 3), draws(8, 1, 2, 3))
    assert draws(8, 1, 2, 3).dtype == torch.float32
    which = [(seed, epoch, batch) for seed in range(3) for epoch in range(1, 4) for batch in range(1, 4)]
    assert len({tuple(draws(8, *each).flatten().tolist()) for each in which}) == 27


def test_grey_levels_become_zero_to_one():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(levels)
    assert floats.dtype == torch.float32
    np.testing.assert_array_equal(floats.numpy(), (np.arange(256) / 255).astype(np.float32))


def test_no_augmentation_changes_nothing(batch):
    before = batch.clone()
    assert torch.equal(augment(batch, drawn(), 0, 0, 0), to_float(batch))
    augment(batch, drawn(), 1, 1, 10)
    assert torch.equal(batch, before)


@pytest.mark.parametrize(("horizontal", "vertical", "axes"), [(1, 0, [-1]), (0, 1, [-2]), (1, 1, [-1, -2])])
def test_a_certain_flip_is_exact(batch, horizontal, vertical, axes):
    assert torch.equal(augment(batch, drawn(), horizontal, vertical, 0), to_float(batch.flip(axes)))


def test_each_image_is_flipped_by_its_own_draw(batch):
    same = batch[:1].expand(4000, -1, -1, -1)
    flipped = augment(same, drawn(4000), 0.3, 0.6, 0)
    variants = torch.stack([to_float(batch[0].flip(axes)) for axes in ([], [-1], [-2], [-1, -2])])
    which = [(variants == image).all(dim=(1, 2, 3)).nonzero().item() for image in flipped]
    # the two flips are independent, so that the four outcomes have these shares
    expected = 4000 * np.array([0.7 * 0.4, 0.3 * 0.4, 0.7 * 0.6, 0.3 * 0.6])
    assert stats.chisquare(np.bincount(which, minlength=4), expected).pvalue > 0.01


def test_each_image_is_rotated_by_its_own_uniform_angle():
    # A ramp along x becomes, after a rotation, one whose gradient points along the angle.
    ramp = (4 * torch.arange(64, dtype=torch.uint8)).expand(2000, 1, 64, 64)
    rotated = augment(ramp, drawn(2000), 0, 0, 10).double().numpy()[:, 0]
    along_x = rotated[:, 32, 42] - rotated[:, 32, 22]
    along_y = rotated[:, 42, 32] - rotated[:, 22, 32]
    degrees = np.degrees(np.arctan2(along_y, along_x))
    assert np.abs(degrees).max() <= 10.001
    assert stats.kstest(degrees, stats.uniform(-10, 20).cdf).pvalue > 0.01


def test_an_image_does_not_depend_on_its_neighbours(batch):
    changed = batch.clone()
    changed[1:] = 0
    assert torch.equal(augment(changed, drawn(), 0.5, 0.5, 10)[0], augment(batch, drawn(), 0.5, 0.5, 10)[0])


def test_a_share_of_a_batch_is_changed_as_in_the_whole(batch):
    whole = augment(batch, drawn(), 0.5, 0.5, 10)
    torch.testing.assert_close(augment(batch[1::3], drawn()[:, 1::3], 0.5, 0.5, 10), whole[1::3], rtol=0, atol=1e-6)


NONE = torch.zeros(3, dtype=torch.bool)


def test_flips_come_before_the_rotation(batch):
    images, degrees = to_float(batch[:4]), torch.tensor([20.0, -30.0, 40.0, 50.0])
    horizontal, vertical = torch.tensor([True, False, True, False]), torch.tensor([False, True, True, False])
    flipped = torch.stack([images[0].flip(-1), images[1].flip(-2), images[2].flip(-1, -2), images[3]])
    none = torch.zeros(4, dtype=torch.bool)
    rotated = rotate(images, degrees, horizontal, vertical)
    torch.testing.assert_close(rotated, rotate(flipped, degrees, none, none), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [32, 224])
def test_a_right_angle_is_rot90(size):
    images = torch.rand(3, 2, size, size, generator=torch.Generator().manual_seed(0))
    rotated = rotate(images, torch.tensor([90.0, 180.0, -90.0]), NONE, NONE)
    expected = torch.stack(
        [torch.rot90(image, turns, (-2, -1)) for image, turns in zip(images, [1, 2, -1], strict=True)]
    )
    # float32 places a pixel to within 1e-5 of its width, and neighbours differ by at most 1
    torch.testing.assert_close(rotated, expected, rtol=0, atol=1e-4)


def test_any_angle_agrees_with_scipy():
    images = torch.rand(3, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    degrees = [7.5, -31.0, 140.0]
    rotated = rotate(images, torch.tensor(degrees), NONE, NONE)
    for image, result, angle in zip(images.double().numpy(), rotated.numpy(), degrees, strict=True):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        to_source = np.array([[cos, sin], [-sin, cos]])  # of (y, x) with y downwards: counter-clockwise as seen
        offset = 16 - to_source @ [16, 16]
        expected = ndimage.affine_transform(image[0], to_source, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(result[0], expected, rtol=0, atol=1e-5)
