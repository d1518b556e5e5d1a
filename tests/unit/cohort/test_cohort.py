import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.model_selection import GroupShuffleSplit

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.cohort.cohort import COHORT_SCHEMA, assert_disjoint, build_cohort, counts
from ich.cohort.slices import QUARANTINE_COLUMNS, build_manifest
from ich.cohort.split import PARTS, split_patients
from ich.dicom.headers import header_rows
from ich.dicom.sources import inventory
from tests.unit.dicom_factory import dicom_bytes, slice_elements

PAPER = {"train": 0.65, "validation": 0.15, "test": 0.2}


def made_slices(patients, seed=0, most=6):
    """Make a manifest: patients with some slices each, in one or two series."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), generator.integers(1, most, size=patients))
    frame = pd.DataFrame(
        {
            "image_id": [f"ID_{number:09x}" for number in generator.permutation(len(owner))],
            "patient_id": [f"ID_{number:08x}" for number in owner],
        }
    )
    frame["series_instance_uid"] = frame["patient_id"] + "_" + generator.integers(0, 2, size=len(owner)).astype(str)
    frame["index"] = frame.groupby("series_instance_uid").cumcount()
    frame["shard"] = np.arange(len(frame)) * 4 // len(frame)
    frame["row"] = frame.groupby("shard").cumcount()
    frame["location"] = "/data/" + frame["image_id"] + ".dcm"
    frame["gap"] = 5.0
    return frame


def made_labels(image_ids, seed=0):
    generator = np.random.default_rng(seed)
    labels = pd.DataFrame((generator.random((len(image_ids), 5)) < 0.2).astype(np.uint8), columns=list(SUBTYPES))
    labels["any"] = labels.max(axis=1)
    labels.insert(0, "image_id", sorted(image_ids))
    return labels


def procedure_of_the_paper(frame, seed=8):
    """Split a table as the paper does, by its own words; give the sets of patients."""
    first = GroupShuffleSplit(n_splits=1, train_size=0.85, random_state=seed)
    kept, set_aside = next(first.split(frame, groups=frame["patient_id"]))
    validation, rest = frame.iloc[set_aside], frame.iloc[kept]
    second = GroupShuffleSplit(n_splits=1, train_size=0.65 / 0.85, random_state=seed)
    train, test = next(second.split(rest, groups=rest["patient_id"]))
    return {
        "train": set(rest.iloc[train]["patient_id"]),
        "validation": set(validation["patient_id"]),
        "test": set(rest.iloc[test]["patient_id"]),
    }


def parts_of(frame, fractions=PAPER, seed=8):
    parts = split_patients(frame["patient_id"], fractions, seed)
    return {part: set(frame.loc[parts == part, "patient_id"]) for part in PARTS}


# ---- split


@pytest.mark.parametrize(("patients", "seed"), [(5000, 8), (6001, 8), (6000, 8), (5003, 0), (7, 8), (101, 3)])
def test_the_split_is_the_procedure_of_the_paper(patients, seed):
    frame = made_slices(patients)
    assert parts_of(frame, seed=seed) == procedure_of_the_paper(frame, seed)


def test_the_numbers_of_patients_of_the_paper():
    patients = pd.Series([f"ID_{number:08x}" for number in range(18_938)])
    found = split_patients(patients, PAPER, 8).value_counts()
    assert found.to_dict() == {"train": 12_309, "validation": 2_841, "test": 3_788}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_rows_is_irrelevant(seed):
    frame = made_slices(300)
    expected = split_patients(frame["patient_id"], PAPER, 8)
    shuffled = frame.sample(frac=1, random_state=seed)
    found = split_patients(shuffled["patient_id"], PAPER, 8)
    assert list(found.index) == list(shuffled.index)
    pd.testing.assert_series_equal(found.sort_index(), expected, check_names=False)


def test_the_numbers_of_slices_are_irrelevant():
    one, many = made_slices(500, seed=1), made_slices(500, seed=2, most=20)
    assert parts_of(one) == parts_of(many)


def test_the_index_may_have_holes_and_repeats():
    frame = made_slices(50)
    expected = split_patients(frame["patient_id"], PAPER, 8)
    for index in (np.arange(len(frame)) * 7 + 3, np.zeros(len(frame), int)):
        found = split_patients(frame["patient_id"].set_axis(index), PAPER, 8)
        assert list(found.index) == list(index)
        assert list(found) == list(expected)


def test_the_seed_decides():
    frame = made_slices(300)
    assert parts_of(frame, seed=8) == parts_of(frame, seed=8)
    assert parts_of(frame, seed=8) != parts_of(frame, seed=9)


@pytest.mark.parametrize(
    "fractions",
    [PAPER, {"train": 0.5, "validation": 0.25, "test": 0.25}, {"train": 0.2, "validation": 0.4, "test": 0.4}],
)
def test_parts_share_no_patient_miss_none_and_have_the_wished_sizes(fractions):
    frame = made_slices(1000)
    parts = parts_of(frame, fractions)
    assert set.union(*parts.values()) == set(frame["patient_id"])
    assert sum(map(len, parts.values())) == 1000
    for part, share in fractions.items():
        assert abs(len(parts[part]) - 1000 * share) <= 2


@pytest.mark.parametrize("patients", [1, 2])
def test_too_few_patients(patients):
    frame = made_slices(patients)
    with pytest.raises(InputError, match=rf"^{patients} patients cannot be split into three parts .*split\.fractions"):
        split_patients(frame["patient_id"], PAPER, 8)


def test_three_patients_are_enough_for_even_parts():
    frame = made_slices(3)
    third = dict.fromkeys(PARTS, 1 / 3)
    assert sorted(map(len, parts_of(frame, third).values())) == [1, 1, 1]


# ---- cohort


def test_labels_are_joined_by_name_and_never_by_position():
    slices = made_slices(200)
    labels = made_labels(slices["image_id"])
    cohort, quarantine, _ = build_cohort(slices, labels.sample(frac=1, random_state=0), PAPER, 8)
    assert list(cohort["image_id"]) == list(slices["image_id"])
    assert quarantine.empty
    assert list(quarantine.columns) == QUARANTINE_COLUMNS
    truth = labels.set_index("image_id")
    for row in cohort.itertuples(index=False):
        assert [getattr(row, name) for name in CLASSES] == list(truth.loc[row.image_id, list(CLASSES)])
    same = ["patient_id", "series_instance_uid", "index", "shard", "row"]
    pd.testing.assert_frame_equal(cohort[same], slices[same])
    stored = pa.Table.from_pandas(cohort, schema=COHORT_SCHEMA, preserve_index=False)
    assert stored.column_names == list(cohort.columns) == COHORT_SCHEMA.names


def test_slices_without_label_and_labels_without_slice():
    slices = made_slices(60)
    sizes = slices.groupby("series_instance_uid")["image_id"].transform("size")
    unlabelled = sorted(slices[sizes > 1].groupby("series_instance_uid")["image_id"].first().iloc[[3, 7, 11]])
    known = [name for name in slices["image_id"] if name not in unlabelled]
    orphans = ["ID_00000zzzz", "ID_aaaaaaaaa"]
    cohort, quarantine, flow = build_cohort(slices, made_labels([*known, *orphans]), PAPER, 8)
    assert list(cohort["image_id"]) == known
    found = {row.image_id: (row.location, row.stage, row.reason) for row in quarantine.itertuples(index=False)}
    assert found == {name: (f"/data/{name}.dcm", "cohort", "no label") for name in unlabelled} | dict.fromkeys(
        orphans, ("", "cohort", "label without slice")
    )
    assert quarantine["image_id"].is_monotonic_increasing
    assert (flow["slices without label"], flow["labels without slice"]) == (3, 2)
    pa.Table.from_pandas(cohort, schema=COHORT_SCHEMA, preserve_index=False, safe=True)


def test_a_slice_left_out_under_another_file_name_has_one_line(tmp_path):
    for patient in range(12):
        data = dicom_bytes(**slice_elements(patient, 0))
        (tmp_path / f"IM{patient:04d}").write_bytes(data[:-1] if patient == 5 else data)
    slices, left_out = build_manifest(header_rows(inventory([tmp_path])), 1)
    labels = made_labels([*slices["image_id"], "ID_000500000"])
    _, quarantine, flow = build_cohort(slices, labels, PAPER, 8, left_out["image_id"])
    assert left_out[["image_id", "reason"]].values.tolist() == [["ID_000500000", "truncated"]]
    assert quarantine.empty
    assert flow["labels of slices in quarantine"] == 1


def test_a_part_without_labels_is_counted_and_not_named():
    slices = made_slices(300)
    without = slices["patient_id"].isin(sorted(slices["patient_id"].unique())[100:])
    labels = made_labels(slices.loc[~without, "image_id"])
    cohort, quarantine, flow = build_cohort(slices, labels, PAPER, 8)
    assert list(cohort["image_id"]) == list(slices.loc[~without, "image_id"])
    assert quarantine.empty
    assert (flow["slices without label"], flow["slices of series without label"]) == (0, without.sum())


def test_patients_without_a_labelled_slice_do_not_take_part_in_the_split():
    slices = made_slices(400)
    dropped = set(sorted(slices["patient_id"].unique())[::3])
    labelled = slices[~slices["patient_id"].isin(dropped)]
    cohort, _, _ = build_cohort(slices, made_labels(labelled["image_id"]), PAPER, 8)
    found = {part: set(cohort.loc[cohort["part"] == part, "patient_id"]) for part in PARTS}
    assert found == procedure_of_the_paper(labelled)


def test_the_flow_adds_up():
    slices = made_slices(500)
    labels = made_labels([*slices["image_id"].iloc[10:], "orphan1", "orphan2", "orphan3", "broken1", "broken2"])
    again = slices["image_id"].iloc[100]  # quarantined is another file of this slice
    broken = ["broken2", "broken1", "broken without label", again]
    cohort, quarantine, flow = build_cohort(slices, labels, PAPER, 8, broken)
    assert list(flow) == [
        "slices",
        "labels",
        "slices without label",
        "slices of series without label",
        "labels of slices in quarantine",
        "labels without slice",
        "cohort",
        *PARTS,
    ]
    assert flow["slices"] == len(slices)
    assert flow["labels"] == len(slices) - 10 + 3 + 2
    assert flow["labels of slices in quarantine"] == 2
    labelled = set(slices["series_instance_uid"].iloc[10:])
    holes = sum(series in labelled for series in slices["series_instance_uid"].iloc[:10])
    assert 0 < holes < 10
    assert (flow["slices without label"], flow["slices of series without label"]) == (holes, 10 - holes)
    assert flow["labels without slice"] == 3
    assert flow["slices"] - 10 == flow["cohort"]["slices"] == len(cohort)
    assert flow["labels"] - flow["labels without slice"] - 2 == flow["cohort"]["slices"]
    assert len(quarantine) == holes + 3
    assert not quarantine["image_id"].str.startswith("broken").any()  # they have their line already
    for unit, column in [("slices", "image_id"), ("series", "series_instance_uid"), ("patients", "patient_id")]:
        assert flow["cohort"][unit] == len(set(cohort[column])) == sum(flow[part][unit] for part in PARTS)
        for part in PARTS:
            assert flow[part][unit] == len(set(cohort.loc[cohort["part"] == part, column]))


def test_the_cohort_does_not_depend_on_the_order_of_the_manifest():
    slices = made_slices(100)
    labels = made_labels(slices["image_id"])
    expected, _, flow = build_cohort(slices, labels, PAPER, 8)
    found, _, same_flow = build_cohort(slices.sample(frac=1, random_state=0), labels, PAPER, 8)
    by_name = {"by": "image_id", "ignore_index": True}
    pd.testing.assert_frame_equal(found.sort_values(**by_name), expected.sort_values(**by_name))
    assert flow == same_flow


def test_no_slice_has_a_label():
    slices = made_slices(5)
    with pytest.raises(InputError) as caught:
        build_cohort(slices, made_labels(["scan_1", "scan_2"]), PAPER, 8)
    assert f"none of {len(slices)} slices has a label" in str(caught.value)
    assert slices["image_id"].iloc[0] in str(caught.value)
    assert "scan_1" in str(caught.value)


def test_too_few_patients_for_a_cohort():
    slices = made_slices(2)
    with pytest.raises(InputError, match="2 patients cannot be split"):
        build_cohort(slices, made_labels(slices["image_id"]), PAPER, 8)


def test_patients_in_two_parts_are_named():
    slices = made_slices(50)
    cohort, _, _ = build_cohort(slices, made_labels(slices["image_id"]), PAPER, 8)
    assert_disjoint(cohort)
    sizes = cohort.groupby("patient_id")["image_id"].transform("size")
    chosen = sorted(cohort.loc[sizes > 1, "patient_id"].unique())[:2]
    for patient in chosen:
        row = cohort.index[cohort["patient_id"] == patient][0]
        cohort.loc[row, "part"] = "test" if cohort.loc[row, "part"] != "test" else "train"
    with pytest.raises(AssertionError, match="patients in more than one part") as caught:
        assert_disjoint(cohort)
    assert sorted(set(re.findall(r"ID_\w{8}", str(caught.value)))) == chosen


# ---- counts


def test_counts_are_those_of_plain_python():
    slices = made_slices(120)
    cohort, _, _ = build_cohort(slices, made_labels(slices["image_id"]), PAPER, 8)
    found = counts(cohort)
    assert found[["part", "class"]].values.tolist() == [[part, name] for part in PARTS for name in CLASSES]
    records = cohort.to_dict("records")
    for row in found.itertuples(index=False):
        own = [record for record in records if record["part"] == row.part]
        positive = sum(int(record[row[1]]) for record in own)
        assert (row.slices, row.positive) == (len(own), positive)
        assert row.patients == len({record["patient_id"] for record in own})
        assert row.prevalence == pytest.approx(positive / len(own), abs=1e-12)


def test_counts_of_more_positive_slices_than_a_byte_holds():
    cohort = pd.DataFrame({"patient_id": ["p"] * 1000, "part": "train"} | {name: np.uint8(1) for name in CLASSES})
    found = counts(cohort)
    assert (found.loc[found["part"] == "train", "positive"] == 1000).all()
    assert (found.loc[found["part"] != "train", ["slices", "patients", "positive"]] == 0).all().all()
    assert found.loc[found["part"] != "train", "prevalence"].isna().all()
