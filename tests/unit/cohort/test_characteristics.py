"""The table of what each part is like, by a worked example."""

import math

import pandas as pd
import pytest

from ich.cohort.characteristics import CHARACTERISTICS_COLUMNS, characteristics


@pytest.fixture
def table():
    """Train: two patients, three scans of 2, 4 and 1 slices; each other part a patient with a scan of one slice."""
    scans = [  # patient, series, part, labels, gap in mm, tilt in degrees, bits
        ("P1", "S1", "train", [0, 1], 5.0, 10.0, 12),
        ("P1", "S2", "train", [0, 0, 0, 0], 2.5, 0.0, 16),
        ("P2", "S1", "train", [0], math.nan, 4.0, 16),  # the same number as a series of another patient
        ("P3", "S3", "validation", [1], math.nan, 1.0, 12),
        ("P4", "S4", "test", [0], math.nan, 2.0, 12),
    ]
    rows = [
        {
            "patient_id": patient,
            "series_instance_uid": series,
            "image_id": f"{patient}{series}{index}",
            "part": part,
            "any": label,
            "index": index,
            "gap": gap if index else math.nan,
            "tilt": tilt,
            "bits_stored": bits,
            "pixel_representation": int(bits == 16),
        }
        for patient, series, part, labels, gap, tilt, bits in scans
        for index, label in enumerate(labels)
    ]
    frame = pd.DataFrame(rows)
    names = ["patient_id", "series_instance_uid", "image_id"]
    return characteristics(frame[[*names, "part", "any"]], frame.drop(columns=["part", "any"]))


def row(table, part, name, group=None):
    chosen = table[(table["part"] == part) & (table["characteristic"] == name)]
    [found] = (chosen if group is None else chosen[chosen["group"] == group]).to_dict("records")
    return found


def test_patients_and_scans_with_haemorrhage(table):
    assert list(table.columns) == CHARACTERISTICS_COLUMNS
    of = row(table, "train", "patients with haemorrhage")
    assert (of["n"], of["share"]) == (1, 0.5)
    of = row(table, "train", "scans with haemorrhage")
    assert (of["n"], of["share"]) == (1, pytest.approx(1 / 3))
    assert row(table, "validation", "scans with haemorrhage")["share"] == 1


def test_what_the_headers_say_of_scans(table):
    def measured(name, part="train"):
        found = row(table, part, name)
        return [found[key] for key in ("n", "lower_quartile", "median", "upper_quartile")]

    assert measured("slices of a scan") == [3, 1.5, 2, 3]
    assert measured("slice spacing (mm)") == [2, 3.125, 3.75, 4.375]  # unknown of a single slice
    assert measured("gantry tilt (°)") == [3, 2, 4, 7]
    n, *values = measured("slice spacing (mm)", "test")
    assert n == 0 and all(math.isnan(value) for value in values)


def test_every_part_has_every_kind_of_pixels(table):
    shares = {
        (part, kind): row(table, part, "scans stored with", kind)["n"]
        for part in ("train", "validation", "test")
        for kind in ("12 bits, unsigned", "16 bits, signed")
    }
    assert list(shares.values()) == [1, 2, 1, 0, 1, 0]
