"""Two processes under torchrun, by gloo, against one."""

import os
import re
import signal
from itertools import chain

import pandas as pd
import pytest
import torch

from ich.base.errors import InputError
from ich.base.files import read_json
from ich.training.distributed import World, launch
from tests.unit.slices import COUNTS, made_up, same, write_cache
from tests.unit.trainer import run


@pytest.fixture(scope="module", params=["plain", "resnet18"])
def runs(request, tmp_path_factory):
    """One process and two: folders, with batches of 15 that are no multiple of two, and a last one of 4."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    for processes, folder in enumerate(folders, start=1):
        write_cache(folder, made_up()[0])
        options = {"plain": int(request.param == "plain"), "batch_size": 15}
        status, words = run(folder, processes, **options)
        assert status == 0, words
    return request.param, *folders


def test_no_slice_is_lost_or_shown_twice(runs):
    _, one, two = runs
    alone = torch.load(one / "rank0.pt")[1]
    shared = [torch.load(two / f"rank{rank}.pt")[1] for rank in (0, 1)]
    assert sorted(alone) == sorted(2 * [*range(COUNTS["train"])]), "two epochs"
    assert sorted(shared[0] + shared[1]) == sorted(alone)
    assert [len(share) for share in shared] == [2 * (4 * 8 + 2), 2 * (4 * 7 + 2)]


def test_metrics_are_those_of_one_process(runs):
    name, one, two = runs
    alone, shared = (pd.read_csv(folder / "history.csv") for folder in (one, two))
    assert read_json(two / "model.json")["hardware"]["processes"] == 2
    if name == "plain":
        # the same sums in another order
        pd.testing.assert_frame_equal(shared, alone, rtol=1e-6)
    else:
        # batch normalisation by shares of eight and seven instead of fifteen
        assert shared["train_loss"].iloc[0] == pytest.approx(alone["train_loss"].iloc[0], rel=0.1)
        assert shared["train_loss"].iloc[1] < 0.8 * shared["train_loss"].iloc[0]


def test_weights_are_those_of_one_process(runs):
    name, one, two = runs
    alone, shared = (torch.load(folder / "rank0.pt")[0] for folder in (one, two))
    assert same(shared, torch.load(two / "rank1.pt")[0]), "running statistics included"
    if name == "plain":
        for key in alone:
            torch.testing.assert_close(shared[key], alone[key], rtol=0, atol=1e-6)


def test_one_process_does_nothing_for_others():
    alone, values = World(), torch.tensor([1.0, 2.0])
    assert alone.share([3, 1, 2]) == [3, 1, 2]
    assert alone.sum(values) is values
    assert alone.from_first("x") == "x"
    assert (alone.any(True), alone.any(False)) == (True, False)
    layer = torch.nn.Linear(1, 1)
    assert alone.wrap(layer) is layer


def test_shares_are_the_whole_without_overlap():
    whole = [*range(32)]
    shares = [World(rank, 5).share(whole) for rank in range(5)]
    assert sorted(chain(*shares)) == whole
    assert {len(share) for share in shares} == {6, 7}


def test_two_nodes(runs, tmp_path, monkeypatch):
    """A program called srun starts torchrun twice, which then are nodes of one process."""
    name, _, calm = runs
    if name != "plain":
        pytest.skip("the other network shows it")
    program = tmp_path / "srun"
    program.write_text('#!/bin/sh\necho "$1 $2 $3"; shift 3\n"$@" & first=$!\n"$@" && wait $first\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    write_cache(tmp_path, made_up()[0])
    status, words = run(tmp_path, 2, nodes=2, plain=1, batch_size=15)
    assert status == 0, words
    assert "--nodes=2 --ntasks=2 --ntasks-per-node=1" in words
    assert (tmp_path / "history.csv").read_bytes() == (calm / "history.csv").read_bytes()


def test_processes_that_cannot_be_shared_out_are_refused():
    with pytest.raises(InputError, match=r"3 GPUs .* evenly over 2 nodes"):
        launch(3, nodes=2)


def test_an_error_in_one_process_ends_all(tmp_path):
    write_cache(tmp_path, made_up()[0])
    path = tmp_path / "0000.npy"
    os.truncate(path, path.stat().st_size - 1)
    status, words = run(tmp_path, 2)
    assert status != 0
    assert f"{path}: this cache shard has" in words


def test_two_processes_stop_together_and_go_on(runs, tmp_path):
    name, _, calm = runs
    if name != "plain":
        pytest.skip("the other network shows it")
    write_cache(tmp_path, made_up()[0])
    options = {"plain": 1, "batch_size": 15}
    status, words = run(tmp_path, 2, send=signal.SIGTERM, after="epoch 1 of 2: ", pause=0.3, **options)
    assert status > 0
    assert re.search("told to stop. The state after batch [1-4] of epoch 2 is saved", words), words
    status, words = run(tmp_path, 2, **options)
    assert status == 0, words
    assert re.search("going on in epoch 2, after batch [1-4]", words), words
    assert (tmp_path / "history.csv").read_bytes() == (calm / "history.csv").read_bytes()
