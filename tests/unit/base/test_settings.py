"""Nested settings and dotted keys."""

import pytest

from ich.base.settings import merged, nested, value_at

BASE = {"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 0.1}}


def test_merging_goes_to_every_depth_and_changes_neither():
    over = {"optimizer": {"learning_rate": 0.2}, "seed": 1}
    assert merged(BASE, over) == {"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 0.2}, "seed": 1}
    assert BASE["optimizer"]["learning_rate"] == 0.1
    assert over == {"optimizer": {"learning_rate": 0.2}, "seed": 1}
    assert merged(BASE, {"optimizer": "none"})["optimizer"] == "none"


def test_dotted_keys_become_nested():
    values = {"optimizer.learning_rate": 0.2, "epochs": 1, "optimizer.name": "sgd"}
    assert nested(values) == {"optimizer": {"learning_rate": 0.2, "name": "sgd"}, "epochs": 1}
    assert nested({}) == {}


def test_a_value_by_its_key():
    assert value_at(BASE, "optimizer.learning_rate") == 0.1
    assert value_at(BASE, "epochs") == 3
    for key in ("optimizer.rate", "epochs.first", "rate"):
        with pytest.raises(KeyError):
            value_at(BASE, key)
