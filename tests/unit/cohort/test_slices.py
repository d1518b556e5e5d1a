import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ich.base.errors import InputError
from ich.base.files import read_parquet, write_parquet
from ich.cohort.slices import QUARANTINE_COLUMNS, SLICES_SCHEMA, build_manifest
from ich.dicom.headers import HEADER_SCHEMA, header_rows
from ich.dicom.pixels import read_hu
from ich.dicom.sources import inventory
from tests.unit.dicom_factory import slice_elements, write_dicom

SAMPLE = os.environ.get("ICH_RSNA_SAMPLE")
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def header(name, position, orientation=AXIAL, patient="p", study="s", series="t", location=None, defect=""):
    """Make what matters here of a header row; the rest is null."""
    row = dict.fromkeys(HEADER_SCHEMA.names)
    return row | {
        "image_id": f"file of {name}",
        "location": location or f"/data/{name}.dcm",
        "sop_instance_uid": name,
        "patient_id": patient,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "image_position_patient": position,
        "image_orientation_patient": orientation,
        "defect": defect,
    }


def table(rows):
    return pa.Table.from_pylist(rows, schema=HEADER_SCHEMA).to_pandas()


def manifest(rows, shards=1):
    return build_manifest(table(rows), shards)


def tilted(degrees):
    """Give the orientation of a gantry tilted about the patient's left-right axis."""
    angle = np.radians(degrees)
    return [1.0, 0.0, 0.0, 0.0, np.cos(angle), np.sin(angle)]


# ---- order


def test_tilted_slices_are_ordered_along_their_normal_and_not_by_z():
    # Rows run along x; columns along (0, 0.8, 0.6). The normal is (1,0,0) x (0,0.8,0.6) = (0,-0.6,0.8).
    orientation = [1.0, 0.0, 0.0, 0.0, 0.8, 0.6]
    positions = {
        "first": [0.0, 10.0, 9.0],  # -6.0 + 7.2 = 1.2: lowest on the normal, highest in z
        "second": [0.0, 5.0, 7.0],  # -3.0 + 5.6 = 2.6
        "third": [0.0, -5.0, 8.0],  # 3.0 + 6.4 = 9.4
    }
    slices, quarantine = manifest([header(name, place, orientation) for name, place in positions.items()])
    assert list(slices["image_id"]) == ["first", "second", "third"]
    np.testing.assert_allclose(slices["position"], [1.2, 2.6, 9.4])
    np.testing.assert_allclose(slices["gap"], [np.nan, 1.4, 6.8])
    np.testing.assert_allclose(slices["tilt"], np.degrees(np.arccos(0.8)))
    assert list(slices["index"]) == [0, 1, 2]
    assert quarantine.empty


@pytest.mark.parametrize("degrees", [-30, -20, 0, 7.5, 20, 44])
def test_evenly_spaced_slices_of_a_tilted_gantry(degrees):
    orientation = tilted(degrees)
    axis = np.cross(orientation[:3], orientation[3:])
    rng = np.random.default_rng(0)
    # Positions wander within the plane of the slice, which must not change the order.
    rows = [
        header(
            f"{99 - number:02d}",
            list(
                number * 5 * axis
                + rng.normal(0, 50) * np.array(orientation[:3])
                + rng.normal(0, 50) * np.array(orientation[3:])
            ),
            orientation,
        )
        for number in range(36)
    ]
    slices, _ = manifest(rows)
    assert list(slices["image_id"]) == [f"{99 - number:02d}" for number in range(36)]
    np.testing.assert_allclose(slices["gap"][1:], 5, atol=1e-9)
    np.testing.assert_allclose(slices["tilt"], abs(degrees), atol=1e-5)


def test_a_normal_that_points_down_gives_the_same_order():
    places = {"low": [0, 0, -20.0], "middle": [0, 0, 3.0], "high": [0, 0, 40.0]}
    up, _ = manifest([header(name, place) for name, place in places.items()])
    down, _ = manifest([header(name, place, [-1.0, 0, 0, 0, 1, 0]) for name, place in places.items()])
    for slices in (up, down):
        assert list(slices["image_id"]) == ["low", "middle", "high"]
        assert list(slices["position"]) == [-20, 3, 40]
        assert list(slices["tilt"]) == [0, 0, 0]


def test_the_normal_of_the_first_slice_holds_for_the_series():
    # A slice whose normal points the other way is projected on the same one, and so stays in its place.
    rows = [header(f"{number}", [0, 0, 5.0 * number], [(-1.0) ** number, 0, 0, 0, 1, 0]) for number in range(6)]
    slices, _ = manifest(rows[::-1])
    assert list(slices["image_id"]) == list("012345")
    assert list(slices["gap"][1:]) == [5] * 5


def test_repeated_positions_stay_in_the_order_of_image_id():
    rows = [
        header(name, [0, 0, place]) for name, place in [("d", 5.0), ("b", 5.0), ("c", 0.0), ("a", 5.0), ("e", 10.0)]
    ]
    for order in (rows, rows[::-1]):
        slices, _ = manifest(order)
        assert "".join(slices["image_id"]) == "cabde"
        assert list(slices["gap"][1:]) == [5, 0, 0, 5]
        assert list(slices["index"]) == [0, 1, 2, 3, 4]


def test_a_missing_slice_shows_as_a_gap():
    slices, _ = manifest([header(f"{place}", [0, 0, float(place)]) for place in (0, 5, 10, 20, 25)])
    np.testing.assert_array_equal(slices["gap"], [np.nan, 5, 5, 10, 5])


def test_each_series_begins_anew_and_they_are_sorted_by_patient_study_and_series():
    places = [("p2", "s1", "t1"), ("p1", "s2", "t1"), ("p1", "s1", "t2"), ("p1", "s1", "t1"), ("p1", "s2", "t2")]
    rows = [
        header(f"{'-'.join(place)}-{number}", [0, 0, float(-number)], patient=place[0], study=place[1], series=place[2])
        for place in places
        for number in range(3)
    ]
    slices, _ = manifest(rows)
    expected = [f"{'-'.join(place)}-{number}" for place in sorted(places) for number in (2, 1, 0)]
    assert list(slices["image_id"]) == expected
    assert list(slices["index"]) == [0, 1, 2] * 5
    assert slices["gap"].isna().tolist() == [True, False, False] * 5


def test_series_of_the_same_name_in_two_patients_are_two_series():
    slices, _ = manifest([header("a", [0, 0, 1.0], patient="p1"), header("b", [0, 0, 0.0], patient="p2")])
    assert list(slices["image_id"]) == ["a", "b"]
    assert list(slices["index"]) == [0, 0]


# ---- shards


def many(generator, series, slices=(20, 60)):
    """Make headers of many series of one patient each."""
    lengths = generator.integers(*slices, size=series)
    owner = np.repeat(np.arange(series), lengths)
    count = len(owner)
    frame = table([header("x", [0, 0, 0.0])]).iloc[np.zeros(count, int)].reset_index(drop=True)
    names = pd.Series(np.arange(count)).map("ID_{:09x}".format)
    frame["sop_instance_uid"] = generator.permutation(names)
    frame["image_id"] = frame["sop_instance_uid"]
    frame["location"] = "/data/" + frame["image_id"] + ".dcm"
    for name, prefix in [("patient_id", "p"), ("study_instance_uid", "s"), ("series_instance_uid", "t")]:
        frame[name] = pd.Series(owner).map(f"{prefix}{{:06d}}".format)
    angles = np.radians(generator.uniform(-25, 25, size=series))[owner]
    steps = np.concatenate([generator.permutation(length) for length in lengths]) * 5.0
    frame["image_position_patient"] = list(
        np.column_stack([np.full(count, -125.0), -np.sin(angles) * steps, np.cos(angles) * steps])
    )
    zero, one = np.zeros(count), np.ones(count)
    frame["image_orientation_patient"] = list(np.column_stack([one, zero, zero, zero, np.cos(angles), np.sin(angles)]))
    return frame


def assert_sound(slices, headers, shards):
    """Shards are runs of whole series; rows count from 0; every file is there once."""
    assert sorted(slices["image_id"]) == sorted(headers["sop_instance_uid"])
    assert slices["shard"].between(0, shards - 1).all()
    assert slices["shard"].is_monotonic_increasing
    assert (slices.groupby(["patient_id", "study_instance_uid", "series_instance_uid"])["shard"].nunique() == 1).all()
    for _, rows in slices.groupby("shard"):
        assert list(rows["row"]) == list(range(len(rows)))
    for _, rows in slices.groupby("series_instance_uid"):
        assert list(rows["index"]) == list(range(len(rows)))
        assert rows["position"].is_monotonic_increasing


@pytest.mark.parametrize("shards", [1, 2, 7, 24, 60, 200])
def test_shards_keep_series_whole(shards):
    headers = many(np.random.default_rng(shards), 60)
    slices, _ = build_manifest(headers, shards)
    assert_sound(slices, headers, shards)
    if shards <= 7:  # no further from an even share than half a series at each end
        sizes = slices["shard"].value_counts()
        assert len(sizes) == shards
        assert (sizes - len(slices) / shards).abs().max() <= 60


def test_more_shards_than_series_leave_some_empty():
    rows = [header(f"{name}{number}", [0, 0, float(number)], series=name) for name in "abc" for number in range(4)]
    slices, _ = manifest(rows, shards=10)
    assert_sound(slices, table(rows), 10)
    assert slices["shard"].nunique() == 3
    # Middles of the series lie at 1/6, 3/6 and 5/6 of all slices.
    assert slices["shard"].unique().tolist() == [1, 5, 8]


def test_a_hundred_thousand_rows():
    headers = many(np.random.default_rng(0), 2500)
    assert len(headers) > 95_000
    slices, quarantine = build_manifest(headers, 64)
    assert quarantine.empty
    assert slices["shard"].nunique() == 64
    assert (slices.groupby("shard")["series_instance_uid"].nunique().sum()) == 2500
    np.testing.assert_allclose(slices["gap"].dropna(), 5)
    assert slices["gap"].isna().sum() == 2500
    assert slices.groupby("series_instance_uid")["position"].is_monotonic_increasing.all()


# ---- what is left out


def test_rows_with_a_defect_go_to_quarantine():
    rows = [header("a", [0, 0, 0.0]), header("b", None, None, defect="not axial"), header("c", [0, 0, 5.0])]
    rows.append(dict.fromkeys(HEADER_SCHEMA.names) | {"image_id": "x", "location": "/data/0", "defect": "not DICOM"})
    slices, quarantine = manifest(rows)
    assert list(slices["image_id"]) == ["a", "c"]
    assert list(quarantine.columns) == QUARANTINE_COLUMNS
    assert quarantine.values.tolist() == [
        ["x", "/data/0", "headers", "not DICOM"],
        ["b", "/data/b.dcm", "headers", "not axial"],  # by its UID, which its label bears
    ]


def test_of_files_with_one_uid_the_first_by_location_is_used():
    rows = [
        header("a", [0, 0, 0.0], location="/data/2.dcm"),
        header("a", [0, 0, 5.0], location="/data/1.dcm"),
        header("a", [0, 0, 9.0], location="/data/0.dcm", defect="truncated"),
        header("a", [0, 0, 7.0], location="/data/3.dcm", patient="another"),
        header("b", [0, 0, 8.0]),
    ]
    for order in (rows, rows[::-1]):
        slices, quarantine = manifest(order)
        assert slices[["image_id", "location", "position"]].values.tolist() == [
            ["a", "/data/1.dcm", 5],
            ["b", "/data/b.dcm", 8],
        ]
        assert quarantine[["location", "stage", "reason"]].values.tolist() == [
            ["/data/0.dcm", "headers", "truncated"],
            ["/data/2.dcm", "slices", "duplicate SOPInstanceUID"],
            ["/data/3.dcm", "slices", "duplicate SOPInstanceUID"],
        ]


def test_nothing_usable():
    rows = [
        header(name, [0, 0, 0.0], defect=defect)
        for name, defect in [("a", "not CT"), ("b", "not CT"), ("c", "truncated")]
    ]
    with pytest.raises(InputError, match=r"no usable slice among 3 files: \{'not CT': 2, 'truncated': 1\}"):
        manifest(rows)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_file_is_in_one_of_the_two_tables_whatever_the_order(data):
    count = data.draw(st.integers(1, 12))
    rows = [
        header(
            data.draw(st.sampled_from("abcdefgh")),
            [0, 0, float(data.draw(st.integers(0, 3)))],
            patient=data.draw(st.sampled_from("pq")),
            series=data.draw(st.sampled_from("tu")),
            location=f"/data/{number:02d}",
            defect=data.draw(st.sampled_from(["", "", "", "not CT"])),
        )
        for number in range(count)
    ]
    if not any(row["defect"] == "" for row in rows):
        rows[0]["defect"] = ""
    shards = data.draw(st.integers(1, 5))
    slices, quarantine = manifest(rows, shards)
    assert sorted([*slices["location"], *quarantine["location"]]) == [row["location"] for row in rows]
    again = manifest(data.draw(st.permutations(rows)), shards)
    pd.testing.assert_frame_equal(slices, again[0])
    pd.testing.assert_frame_equal(quarantine, again[1])


def test_a_large_table_does_not_depend_on_its_order():
    headers = many(np.random.default_rng(0), 40)
    expected, _ = build_manifest(headers, 5)
    for seed in range(3):
        shuffled = headers.sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(build_manifest(shuffled, 5)[0], expected)


# ---- files


def test_from_files_to_the_table_on_disk(tmp_path):
    for patient in (2, 1):
        for number in range(4):
            pixels = np.full((6, 5), 100 * patient + number, np.int16)
            pixels[0, 0] = 0
            write_dicom(tmp_path / "in" / f"{patient}{9 - number}.dcm", pixels, **slice_elements(patient, number))
    slices, _ = build_manifest(header_rows(inventory([tmp_path / "in"])), 2)
    write_parquet(slices, tmp_path / "slices.parquet", SLICES_SCHEMA)
    again = read_parquet(tmp_path / "slices.parquet")
    assert list(again.columns) == SLICES_SCHEMA.names
    assert list(again["image_id"]) == [f"ID_{patient:04x}{number:05x}" for patient in (1, 2) for number in range(4)]
    assert [read_hu(row)[1, 1] + 1024 for row in again.itertuples(index=False)] == [
        100 * patient + number for patient in (1, 2) for number in range(4)
    ]
    assert again[["shard", "row"]].values.tolist() == [[shard, row] for shard in (0, 1) for row in range(4)]


@pytest.mark.skipif(not SAMPLE, reason="ICH_RSNA_SAMPLE does not name the folder of real slices")
def test_the_real_series_comes_out_in_anatomical_order():
    slices, quarantine = build_manifest(header_rows(inventory([Path(SAMPLE) / "stage_2_train"])), 3)
    assert quarantine.empty
    assert (len(slices), slices["patient_id"].nunique()) == (41, 6)
    longest = slices[slices.groupby("series_instance_uid")["image_id"].transform("size") == 36]
    assert longest["index"].tolist() == list(range(36))
    assert longest["shard"].nunique() == 1
    gaps = longest["gap"].iloc[1:]
    np.testing.assert_allclose(gaps, 5, atol=0.1)
    # The gantry is tilted and moves along the table: z alone steps further than the slices lie apart.
    z = np.array(longest["image_position_patient"].tolist())[:, 2]
    assert (np.diff(z) > 0).all()
    tilt = longest["tilt"].iloc[0]
    np.testing.assert_allclose(np.diff(z) * np.cos(np.radians(tilt)), gaps, atol=0.3)
    # From the skull base upwards: the first slices hold most of a head's width, the last ones little or nothing.
    tissue = [(read_hu(row) > -200).mean() for row in longest.itertuples(index=False)]
    assert np.argmax(tissue) < 24
    assert tissue[-1] < 0.5 * max(tissue)
