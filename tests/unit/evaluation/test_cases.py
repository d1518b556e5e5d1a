"""Choice of cases and their pictures."""

import numpy as np
import pandas as pd
import pytest

from ich.base.classes import CLASSES
from ich.evaluation.cases import KINDS, choose, places, strip, telling_series
from ich.evaluation.operating import operating_points
from tests.unit import results


@pytest.fixture(scope="module")
def chosen():
    cohort = results.cohort().assign(shard=0, row=0)
    predictions = results.predicted()["test"]
    points = results.evaluations()["operating_points"]
    return choose(cohort, predictions, points, 3), cohort.merge(predictions, on="image_id"), points


@pytest.mark.parametrize("name", CLASSES)
def test_every_case_is_what_it_is_called(chosen, name):
    cases, rows, points = chosen
    cut = points.query("part == 'test' and unit == 'slice' and rule == 'youden' and `class` == @name")
    cut = cut["threshold"].iloc[0]
    probability, label = rows[f"probability_{name}"], rows[name]
    cells = {
        "true positive": rows[(probability >= cut) & (label == 1)],
        "false positive": rows[(probability >= cut) & (label == 0)],
        "false negative": rows[(probability < cut) & (label == 1)],
        "true negative": rows[(probability < cut) & (label == 0)],
    }
    for kind in KINDS:
        found = cases[(cases["class"] == name) & (cases["kind"] == kind)]
        each = cells[kind].groupby("patient_id")[f"probability_{name}"]
        best = each.min().nsmallest(3) if kind == "false negative" else each.max().nlargest(3)
        assert found["probability"].tolist() == best.tolist()
        assert found["patient_id"].tolist() == best.index.tolist()
        assert found["place"].tolist() == [*range(1, len(best) + 1)]
        assert set(found["threshold"]) <= {cut}


def test_pictures_have_names_of_their_own(chosen):
    assert chosen[0]["picture"].is_unique
    assert "any_true_positive_1.jpg" in set(chosen[0]["picture"])


def test_places_in_a_series():
    slices = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "patient_id": "P",
            "series_instance_uid": ["1", "1", "1", "2", "2"],
            "index": [0, 1, 2, 0, 1],
            "position": [-10.0, -5.0, 2.5, 100.0, 105.0],
        }
    )
    found = places(slices)
    assert found["number"].tolist() == [1, 2, 3, 1, 2]
    assert found["of"].tolist() == [3, 3, 3, 2, 2]
    assert found["millimetres"].tolist() == [0, 5, 12.5, 0, 5]


def test_an_alias_can_be_checked_by_who_has_all_ids_alone():
    slices = pd.DataFrame(
        {"image_id": ["b", "a"], "patient_id": "P", "series_instance_uid": "1", "index": [0, 1], "position": [0.0, 5.0]}
    )
    aliases = places(slices)["alias"].tolist()
    # `printf 'a\nb' | sha256sum` is the key of `printf b | openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY`
    assert aliases == ["bfa0868c5a16", "60fcc066c353"]
    more = pd.concat([slices, slices.assign(image_id=["c", "d"])])
    assert places(more)["alias"].iloc[0] != aliases[0]


def test_a_strip_shows_the_windows_and_the_map_where_it_is_high():
    image = np.zeros((3, 64, 64), dtype=np.uint8)
    image[0], image[1], image[2] = 50, 100, 150
    heat = np.kron(np.array([[0.0, 4.0], [-4.0, 0.0]], dtype=np.float32), np.ones((32, 32), dtype=np.float32))
    tiles = np.asarray(strip(image, heat)).astype(int)
    assert tiles.shape == (64, 4 * 64, 3)
    for place, level in enumerate((50, 100, 150)):
        assert (tiles[:, 64 * place + 4 : 64 * place + 60] == level).all()
    overlay = tiles[:, 3 * 64 :]
    assert np.abs(overlay[4, 60] - 150).max() > 40  # top right: bright
    assert (overlay[60, 4] == 150).all()  # bottom left speaks against the class: as it is


def test_large_images_become_small():
    assert strip(np.zeros((3, 512, 512), dtype=np.uint8), np.zeros((512, 512), dtype=np.float32)).size == (4 * 224, 224)


def test_a_map_without_anything_in_favour_changes_nothing():
    image = np.full((3, 32, 32), 80, dtype=np.uint8)
    tiles = np.asarray(strip(image, np.full((32, 32), -1, dtype=np.float32)))
    assert (tiles == 80).all()


def test_the_telling_series_has_the_most_subtypes():
    cohort = results.cohort()
    name = telling_series(cohort)
    test = cohort[cohort["part"] == "test"].groupby(["patient_id", "series_instance_uid"])
    best = test[list(CLASSES)].max().sum(axis=1)
    assert best[name] == best.max()
    assert test["any"].sum()[name] == test["any"].sum()[best[best == best.max()].index].max()


def test_two_patients_with_one_series_uid_are_two_series():
    cohort = results.cohort()
    cohort["series_instance_uid"] = "1.2.3"
    patient, series = telling_series(cohort)
    assert series == "1.2.3"
    test = cohort[cohort["part"] == "test"]
    assert test.groupby("patient_id")[list(CLASSES)].max().sum(axis=1)[patient] == len(CLASSES)
    assert test.groupby("patient_id")["any"].sum()[patient] < test["any"].sum()


def test_a_rare_class_has_cases_of_all_kinds():
    """At the threshold of the most right calls nothing is called epidural."""
    cohort = results.cohort()
    positive = cohort["epidural"] == 1
    cohort.loc[positive & (np.arange(len(cohort)) % 3 > 0), "epidural"] = 0
    predictions = results.predicted(0, frame=cohort)
    points = operating_points(results.judged(0, frame=cohort), threshold="accuracy", prevalence=0.1)
    cuts = points.query("part == 'test' and unit == 'slice' and `class` == 'epidural'").groupby("rule")["threshold"]
    assert cuts.first()["decision"] == np.inf
    found = choose(cohort.assign(shard=0, row=0), predictions["test"], points, 3)
    assert set(found.loc[found["class"] == "epidural", "kind"]) == set(KINDS)
