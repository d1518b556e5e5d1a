"""Real trainings, killed and told to stop, that go on as if nothing had been."""

import re
import signal

import pytest

from ich.base.files import read_json
from tests.unit.slices import made_up, write_cache
from tests.unit.trainer import run


@pytest.fixture
def folders(tmp_path):
    """Of a training that nothing interrupts, and of one that is interrupted."""
    for name in ("calm", "rough"):
        (tmp_path / name).mkdir()
        write_cache(tmp_path / name, made_up()[0])
    return tmp_path / "calm", tmp_path / "rough"


def test_an_interrupted_training_equals_one_that_was_not(folders):
    calm, rough = folders
    assert run(calm)[0] == 0
    assert not (calm / "resume").exists()

    # Each batch takes a while to be read, so that the signals find the training where they are meant to.
    slow = {"pause": 0.3}
    status, words = run(rough, send=signal.SIGKILL, after="epoch 1, batch 2", checkpoint_minutes=0, **slow)
    assert status == -signal.SIGKILL
    assert not [*rough.glob("*.csv")]

    status, words = run(rough, send=signal.SIGTERM, after="going on in epoch 1, after batch [23]", **slow)
    assert status > 0, "told to stop, a job has not done what it should"
    assert re.search("told to stop. The state after batch [34] of epoch 1 is saved", words), words

    status, words = run(rough, send=signal.SIGUSR1, after="epoch 1 of 2: ", **slow)
    assert "going on in epoch 1, after batch" in words
    assert status > 0
    assert re.search("told to stop. The state after batch [12] of epoch 2 is saved", words), words

    status, words = run(rough)
    assert status == 0, words
    assert re.search("going on in epoch 2, after batch [12]", words)
    assert "epoch 1 of 2" not in words, "started again"
    for name in ("weights.safetensors", "history.csv"):
        assert (rough / name).read_bytes() == (calm / name).read_bytes()
    facts = read_json(rough / "model.json")
    assert facts["resumed"] == 3
    assert [each["epoch"] for each in facts["epochs"]] == [1, 2]
    assert facts["seconds"] >= sum(facts["seconds_per_epoch"])
    assert facts["epochs"][0]["seconds"] > 4 * slow["pause"], "time before the interruptions counts"


def test_a_state_of_another_configuration_is_passed_over(folders):
    calm, rough = folders
    assert run(calm, plain=True, seed=5)[0] == 0
    run(rough, send=signal.SIGTERM, after="epoch 1 of 2: ", plain=True, pause=0.3)
    assert [*(rough / "resume").iterdir()]
    status, words = run(rough, plain=True, seed=5)
    assert status == 0
    assert "of another training (seed 1 instead of 5): starting afresh" in words
    assert (rough / "history.csv").read_bytes() == (calm / "history.csv").read_bytes()
    assert read_json(rough / "model.json")["resumed"] == 0


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(folders):
    _, rough = folders
    diverging = {"optimizer": {"name": "sgd", "learning_rate": 1e30, "weight_decay": 0.0, "momentum": 0.0}}
    status, words = run(rough, plain=True, checkpoint_minutes=0, **diverging)
    assert status > 0
    assert re.search(r"InputError: training stopped: the loss is \w+ in epoch 1, batch 2, whose slices are ID_", words)
    status, words = run(rough, plain=True, **diverging)
    assert "going on in epoch 1, after batch 1" in words
