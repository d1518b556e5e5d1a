"""Subgroups of what headers and labels say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from ich.base.classes import CLASSES, SUBTYPES
from ich.cohort.series import HEADERS
from ich.evaluation.subgroups import FEW, METRICS, SUBGROUPS_COLUMNS, groups, subgroups
from ich.evaluation.units import samples
from tests.unit import results

SAMPLING = {"scan": "maximum", "replicates": 40, "confidence": 0.95, "seed": 1}
COHORT = results.cohort(1500, 300)


def headers(cohort):
    """Headers of the cohort's slices, by patient."""
    number = cohort["patient_id"].str[1:].astype(int)
    frame = cohort[["image_id", "patient_id", "series_instance_uid", "index"]].assign(
        bits_stored=np.where(number % 5 == 0, 12, 16),
        pixel_representation=(number % 5 != 0).astype(int),
        tilt=(number % 25).astype(float),
        gap=np.where(number % 4 == 0, 2.5, 5.0),
    )
    return frame[HEADERS]


@pytest.fixture(scope="module")
def sampled():
    return samples(COHORT, results.predicted(frame=COHORT), **SAMPLING)


@pytest.fixture(scope="module")
def found(sampled):
    return subgroups(sampled, headers(COHORT), threshold="youden")


def series(count, **columns):
    """One scan of some slices without haemorrhage, and its headers."""
    cohort = results.cohort(60, 6)
    test = pd.concat([cohort[cohort["part"] == "test"].head(1)] * count, ignore_index=True)
    test = test.assign(image_id=[f"T{number}" for number in range(count)], index=range(count))
    cohort = pd.concat([cohort[cohort["part"] != "test"], test], ignore_index=True)
    table = headers(cohort)
    for name, values in columns.items():
        table.loc[table["image_id"].str.startswith("T"), name] = values
    sampled = samples(cohort, results.predicted(frame=cohort), **SAMPLING | {"replicates": 0})
    return {unit: groups(sampled["test", unit], table) for unit in ("slice", "scan")}


@pytest.mark.parametrize(
    ("column", "value", "subgroup", "expected"),
    [
        ("tilt", 4.99, "tilt", "under 5°"),
        ("tilt", 5.0, "tilt", "5 to 15°"),
        ("tilt", 15.0, "tilt", "15° or more"),
        ("gap", 3.9, "spacing", "under 4 mm"),
        ("gap", 5.0, "spacing", "4 to 6 mm"),
        ("gap", 6.0, "spacing", "6 mm or more"),
        ("gap", np.nan, "spacing", "not known"),
    ],
)
def test_numbers_are_cut_where_they_are_said_to_be(column, value, subgroup, expected):
    for unit in ("slice", "scan"):
        assert set(series(6, **{column: value})[unit][subgroup]) == {expected}


@pytest.mark.parametrize(("count", "expected"), [(29, "under 30"), (30, "30 to 40"), (40, "40 or more")])
def test_number_of_slices(count, expected):
    assert set(series(count)["scan"]["slices"]) == {expected}


def test_thirds_of_a_series_from_the_feet_up():
    found = series(9)
    names = ["lower third"] * 3 + ["middle third"] * 3 + ["upper third"] * 3
    assert list(found["slice"]["position"]) == names
    assert "position" not in found["scan"]


def test_a_scan_of_two_kinds_of_pixels_is_mixed():
    found = series(4, bits_stored=[12, 12, 12, 16], pixel_representation=[0, 0, 0, 1])
    assert list(found["slice"]["pixels"]) == ["12 bits, unsigned"] * 3 + ["16 bits, signed"]
    assert list(found["scan"]["pixels"]) == ["mixed"]


def test_subtypes_are_counted_in_the_labels(sampled):
    for unit in ("slice", "scan"):
        sample = sampled["test", unit]
        counts = sample.rows[list(SUBTYPES)].sum(axis=1)
        names = groups(sample, headers(COHORT))["subtypes"]
        assert list(names) == [("none", "one", "two or more")[min(count, 2)] for count in counts]


def test_the_groups_of_a_subgroup_make_up_the_whole(found):
    assert list(found.columns) == SUBGROUPS_COLUMNS
    sizes = found.drop_duplicates(["unit", "subgroup", "group"]).groupby(["unit", "subgroup"])["n"].sum()
    for unit in ("slice", "scan"):
        assert sizes[unit].nunique() == 1
    names = ["all", "pixels", "tilt", "spacing", "slices", "position", "subtypes"]
    assert list(dict.fromkeys(found.loc[found["unit"] == "slice", "subgroup"])) == names
    assert list(dict.fromkeys(found.loc[found["unit"] == "scan", "subgroup"])) == [
        name for name in names if name != "position"
    ]


def test_values_equal_scikit_learns_on_the_slices_of_a_group(sampled, found):
    sample = sampled["test", "slice"]
    number = sample.rows["patient_id"].str[1:].astype(int)
    chosen = (number % 25 < 5).to_numpy()
    rows = found[(found["unit"] == "slice") & (found["group"] == "under 5°")].set_index(["class", "metric"])["value"]
    for place, name in enumerate(CLASSES):
        labels, probabilities = sample.labels[chosen, place], sample.probabilities[chosen, place]
        assert rows[name, "roc_auc"] == pytest.approx(roc_auc_score(labels, probabilities))
        assert rows[name, "average_precision"] == pytest.approx(average_precision_score(labels, probabilities))
        assert rows[name, "log_loss"] == pytest.approx(log_loss(labels, probabilities))
        assert rows[name, "brier"] == pytest.approx(brier_score_loss(labels, probabilities))


def test_intervals_are_of_the_patients_of_the_whole_part(sampled, found):
    """A replicate draws from all patients, so that the size of a group varies as it does in new samples."""
    sample = sampled["test", "slice"]
    chosen = (sample.rows["patient_id"].str[1:].astype(int) % 4 == 0).to_numpy()
    labels, probabilities = sample.labels[chosen, -1], sample.probabilities[chosen, -1]
    drawn = [
        roc_auc_score(labels, probabilities, sample_weight=weight[sample.patients[chosen]]) for weight in sample.weights
    ]
    rows = found[(found["unit"] == "slice") & (found["group"] == "under 4 mm")].set_index(["class", "metric"])
    row = rows.loc[("any", "roc_auc")]
    np.testing.assert_allclose([row["lower"], row["upper"]], np.percentile(drawn, [2.5, 97.5]), rtol=1e-9)


def test_few_says_where_too_few_patients_hold_what_a_metric_needs(sampled, found):
    rows = found.set_index(["unit", "subgroup", "group", "class", "metric"])
    for row in rows.itertuples():
        metric = row.Index[-1]
        needed = {
            "sensitivity": row.patients_positive,
            "specificity": row.patients_negative,
            "log_loss": row.patients,
            "brier": row.patients,
        }.get(metric, min(row.patients_positive, row.patients_negative))
        assert row.few == (needed < FEW)
    assert {True, False} == set(found["few"])
    whole = found[(found["subgroup"] == "all") & (found["unit"] == "slice") & (found["class"] == "any")].iloc[0]
    slices = COHORT[COHORT["part"] == "test"]
    assert whole["patients"] == slices["patient_id"].nunique()
    assert whole["patients_positive"] == slices.loc[slices["any"] == 1, "patient_id"].nunique()
    assert whole["patients_negative"] == slices.loc[slices["any"] == 0, "patient_id"].nunique()


@pytest.mark.parametrize("unit", ["slice", "scan"])
@pytest.mark.parametrize(("group", "counts"), [("one", [1]), ("two or more", [2, 3, 4, 5])])
def test_any_of_a_number_of_subtypes_is_ranked_against_all_without_haemorrhage(sampled, found, unit, group, counts):
    sample = sampled["test", unit]
    subtypes = sample.rows[list(SUBTYPES)].sum(axis=1)
    positives, negatives = sample.rows[subtypes.isin(counts)], sample.rows[subtypes == 0]
    higher = np.subtract.outer(positives["probability_any"].to_numpy(), negatives["probability_any"].to_numpy())
    rows = found[(found["unit"] == unit) & (found["subgroup"] == "subtypes") & (found["group"] == group)]
    of_any = rows[rows["class"] == "any"].set_index("metric")
    assert of_any.loc["roc_auc", "value"] == pytest.approx((higher > 0).mean() + (higher == 0).mean() / 2)
    assert of_any.loc["roc_auc", "lower"] < of_any.loc["roc_auc", "value"] < of_any.loc["roc_auc", "upper"]
    assert set(of_any["n"]) == {len(positives) + len(negatives)}
    assert set(of_any["positive"]) == {len(positives)}
    assert set(of_any["patients_negative"]) == {negatives["patient_id"].nunique()}
    assert set(rows.loc[rows["class"] == "epidural", "n"]) == {len(positives)}  # a subtype: within the group
    assert list(dict.fromkeys(rows["class"])) == list(CLASSES)


def test_a_group_with_one_label_says_so(found):
    rows = found[(found["unit"] == "scan") & (found["group"] == "none") & (found["class"] == "any")]
    rows = rows.set_index("metric")
    assert rows.loc[["roc_auc", "average_precision", "sensitivity"], "value"].isna().all()
    assert set(rows.loc[["roc_auc", "average_precision", "sensitivity"], "reason"]) == {"no positive scan"}
    assert rows.loc[["specificity", "log_loss", "brier"], "value"].notna().all()
    assert set(rows.index) == set(METRICS)


def test_a_class_without_threshold_has_no_rates():
    frame = COHORT.copy()
    frame.loc[frame["part"] == "validation", "epidural"] = 0
    sampled = samples(frame, results.predicted(frame=frame), **SAMPLING)
    rows = subgroups(sampled, headers(frame), threshold="youden")
    rows = rows[(rows["class"] == "epidural") & rows["metric"].isin(["sensitivity", "specificity"])]
    assert rows["value"].isna().all()
    assert rows["reason"].str.startswith("no threshold").all()
