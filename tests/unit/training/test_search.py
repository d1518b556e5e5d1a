"""Grid search: who is drawn, and which point is chosen."""

import json
import math

import pandas as pd
import pytest

from ich.base.errors import InputError
from ich.training import search
from tests.unit import results


@pytest.fixture(scope="module")
def cohort():
    return results.cohort(slices=900, patients=90)


def patients(frame, part):
    return set(frame.loc[frame["part"] == part, "patient_id"])


@pytest.mark.parametrize(("train", "validation", "sizes"), [(0.5, 0.1, (15, 3)), (7, 2, (7, 2)), (1.0, 0.01, (30, 1))])
def test_whole_patients_are_drawn_and_none_of_the_test_part(cohort, train, validation, sizes):
    drawn = search.subset(cohort, train=train, validation=validation, seed=1)
    assert set(drawn["part"]) == {"train", "validation"}
    assert (len(patients(drawn, "train")), len(patients(drawn, "validation"))) == sizes
    whole = cohort[cohort["patient_id"].isin(drawn["patient_id"])]
    pd.testing.assert_frame_equal(drawn, whole)  # every slice of those drawn, in the cohort's order


def test_the_draw_depends_on_the_seed_alone(cohort):
    first = search.subset(cohort, train=0.3, validation=0.3, seed=1)
    shuffled = cohort.sample(frac=1, random_state=5)
    assert set(search.subset(shuffled, train=0.3, validation=0.3, seed=1)["image_id"]) == set(first["image_id"])
    assert patients(search.subset(cohort, train=0.3, validation=0.3, seed=2), "train") != patients(first, "train")
    other = search.subset(cohort, train=0.9, validation=0.3, seed=1)
    assert patients(other, "validation") == patients(first, "validation")
    assert patients(other, "train") > patients(first, "train")


def test_more_patients_than_there_are(cohort):
    with pytest.raises(InputError, match=r"draw 31 patients of the part validation, which has 30.*search\.validation"):
        search.subset(cohort, train=0.5, validation=31, seed=1)


def test_the_measures_of_a_point_are_those_of_its_best_epoch():
    measured = search.summary(results.history(4), 2, 12.5)
    assert measured == {
        "epochs": 4,
        "best_epoch": 2,
        "validation_roc_auc": 0.6 + 0.1 * 2,
        "validation_loss": 0.7 / 2,
        "seconds": 12.5,
    }
    without = search.summary(results.history(1).assign(validation_roc_auc=math.nan), 1, 1.0)
    assert without["validation_roc_auc"] is None
    json.dumps(without, allow_nan=False)


def chosen(*measured):
    """The place of the point that is chosen of points with these (ROC AUC, loss)."""
    points = {f"p{number}": {"optimizer.learning_rate": 10.0**-number} for number in range(len(measured))}
    known = {
        name: dict(zip(search.MEASURES, [3, 1, auc, loss, 1.0], strict=True))
        for name, (auc, loss) in zip(points, measured, strict=True)
    }
    table = search.table(points, known)
    assert list(table.columns) == ["point", "optimizer.learning_rate", *search.MEASURES, "chosen"]
    assert list(table["point"]) == list(points)
    assert table["chosen"].sum() == 1
    return int(table["chosen"].idxmax())


@pytest.mark.parametrize(
    ("measured", "place"),
    [
        ([(0.7, 0.1), (0.9, 0.5), (0.8, 0.2)], 1),
        ([(0.9, 0.5), (0.9, 0.4), (0.8, 0.2)], 1),  # equal ROC AUC: the lower loss
        ([(0.8, 0.2), (0.9, 0.4), (0.9, 0.4)], 1),  # equal in both: the first
        ([(None, 0.1), (0.2, 0.9)], 1),  # a value before none
        ([(None, 0.3), (None, 0.1)], 1),
    ],
)
def test_the_best_point(measured, place):
    assert chosen(*measured) == place
