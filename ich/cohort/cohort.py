"""The cohort: slices with labels, in parts that no two share a patient."""

from collections.abc import Collection, Mapping

import pandas as pd
import pyarrow as pa

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.cohort.slices import QUARANTINE_COLUMNS
from ich.cohort.split import PARTS, split_patients

COHORT_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("patient_id", pa.string()),
        ("series_instance_uid", pa.string()),
        ("index", pa.int32()),  # of the slice within its series
        ("part", pa.string()),
        *((name, pa.uint8()) for name in CLASSES),
        ("shard", pa.int32()),
        ("row", pa.int32()),
    ]
)


def build_cohort(
    slices: pd.DataFrame,
    labels: pd.DataFrame,
    fractions: Mapping[str, float],
    seed: int,
    quarantined: Collection[str] = frozenset(),
) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Join slices with labels and split them by patient.

    Parameters
    ----------
    slices : DataFrame
        The manifest.
    labels : DataFrame
        `labels.LABELS_SCHEMA`.
    fractions, seed
        As of `split_patients`.
    quarantined : collection of str
        Slices that were left out before and have their line in quarantine already.

    Returns
    -------
    cohort : DataFrame
        `COHORT_SCHEMA`, in the order of the manifest.
    quarantine : DataFrame
        `QUARANTINE_COLUMNS`: slices without a label in a series with labels, and labels without a slice.
    flow : dict
        Numbers of slices, patients and series from manifest to parts.

    Raises
    ------
    InputError
        No slice has a label, or the patients cannot be split.
    """
    joined = slices.merge(labels, on="image_id", how="left", validate="one_to_one", indicator=True)
    labelled = (joined.pop("_merge") == "both").to_numpy()
    unlabelled = joined[~labelled]
    # Series without any label, such as those of a test set, are counted: only a hole in a labelled series is odd.
    hole = unlabelled["series_instance_uid"].isin(joined.loc[labelled, "series_instance_uid"])
    known = labels["image_id"].isin(slices["image_id"])
    excused = labels["image_id"].isin(quarantined) & ~known
    orphans = labels.loc[~known & ~excused, ["image_id"]].assign(location="")
    quarantine = pd.concat(
        [
            unlabelled.loc[hole, ["image_id", "location"]].assign(stage="cohort", reason="no label"),
            orphans.assign(stage="cohort", reason="label without slice"),
        ]
    )[QUARANTINE_COLUMNS].sort_values("image_id", ignore_index=True)
    if not labelled.any():
        raise InputError(
            f"none of {len(slices)} slices has a label: slices are called {slices['image_id'].iloc[0]} and labels "
            f"{labels['image_id'].iloc[0]}; look at data.labels and data.dicom"
        )
    cohort = joined[labelled].assign(part=lambda rows: split_patients(rows["patient_id"], fractions, seed))
    cohort = cohort[COHORT_SCHEMA.names].reset_index(drop=True)
    assert_disjoint(cohort)
    flow = {
        "slices": len(slices),
        "labels": len(labels),
        "slices without label": int(hole.sum()),
        "slices of series without label": int((~hole).sum()),
        "labels of slices in quarantine": int(excused.sum()),
        "labels without slice": len(orphans),
        "cohort": _sizes(cohort),
        **{part: _sizes(cohort[cohort["part"] == part]) for part in PARTS},
    }
    return cohort, quarantine, flow


def assert_disjoint(cohort: pd.DataFrame) -> None:
    """Make sure that no patient is in two parts.

    Raises
    ------
    AssertionError
        Names the patients' ids, which are pseudonyms in the RSNA data, and their parts.
    """
    parts = cohort.groupby("patient_id")["part"].unique()
    shared = parts[parts.map(len) > 1]
    assert shared.empty, f"patients in more than one part: {shared.map(list).to_dict()}"


def counts(cohort: pd.DataFrame) -> pd.DataFrame:
    """Count slices, patients and positive slices by part and class.

    Returns
    -------
    DataFrame
        part, class, slices, patients, positive and prevalence (positive / slices).
    """
    rows = [
        {
            "part": part,
            "class": name,
            "slices": len(rows),
            "patients": rows["patient_id"].nunique(),
            "positive": int(rows[name].sum()),
            "prevalence": rows[name].mean(),
        }
        for part in PARTS
        for rows in [cohort[cohort["part"] == part]]
        for name in CLASSES
    ]
    return pd.DataFrame(rows)


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "slices": len(rows),
        "series": rows["series_instance_uid"].nunique(),
        "patients": rows["patient_id"].nunique(),
    }


def examples(cohort: pd.DataFrame, without: Collection[str] = frozenset()) -> pd.DataFrame:
    """Choose slices to look at: one without haemorrhage and one of each subtype that occurs.

    Of the slices with a subtype, those with the fewest other labels come first, and of these the one nearest to the
    middle of its series.

    Parameters
    ----------
    cohort : DataFrame
        `COHORT_SCHEMA`.
    without : collection of str
        Slices that have no image.

    Returns
    -------
    DataFrame
        Rows of the cohort with a further column `label`: the subtype, or "no haemorrhage".
    """
    lengths = cohort.groupby("series_instance_uid")["index"].transform("max")
    rows = cohort.assign(
        others=cohort[list(SUBTYPES)].sum(axis=1), off_centre=(cohort["index"] - lengths / 2).abs()
    ).sort_values(["others", "off_centre", "image_id"])
    rows = rows[~rows["image_id"].isin(without)]
    chosen = {"no haemorrhage": rows[rows["any"] == 0], **{name: rows[rows[name] == 1] for name in SUBTYPES}}
    return pd.concat([found.head(1).assign(label=name) for name, found in chosen.items()], ignore_index=True)
