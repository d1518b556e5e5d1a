"""What the patients, scans and headers of each part are like."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ich.cohort.series import SERIES, series_facts
from ich.cohort.split import PARTS

CHARACTERISTICS_COLUMNS = [
    "part",
    "characteristic",
    "group",
    "n",
    "share",
    "median",
    "lower_quartile",
    "upper_quartile",
]
_MEASURES = {"slices": "slices of a scan", "spacing": "slice spacing (mm)", "tilt": "gantry tilt (°)"}


def characteristics(cohort: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """Describe each part by patient and by scan, that is, by series.

    Parameters
    ----------
    cohort : DataFrame
        part, any and the columns of `units.SERIES`.
    slices : DataFrame
        `subgroups.HEADERS` of the manifest.

    Returns
    -------
    DataFrame
        `CHARACTERISTICS_COLUMNS`, in the same order for each part. Of patients and scans with a haemorrhage, and of
        scans by their stored pixels: n and share. Of what `subgroups.series_facts` measures of a scan: median and
        quartiles, n being the scans of which it is known.
    """
    facts = series_facts(slices)
    kinds = sorted(facts["pixels"].unique())
    rows = [row for part in PARTS for row in _rows(cohort[cohort["part"] == part], facts, kinds)]
    return pd.DataFrame(rows).reindex(columns=CHARACTERISTICS_COLUMNS)


def _rows(cohort: pd.DataFrame, facts: pd.DataFrame, kinds: list[str]) -> Iterator[dict[str, Any]]:
    part = {"part": cohort["part"].iloc[0]}
    scans = cohort.groupby(SERIES)["any"].max()
    patients = scans.groupby("patient_id").max()
    for unit, labels in (("patients", patients), ("scans", scans)):
        yield part | {"characteristic": f"{unit} with haemorrhage", **_share(labels == 1)}
    known = facts.loc[scans.index]
    for name, title in _MEASURES.items():
        lower, median, upper = known[name].quantile([0.25, 0.5, 0.75])
        measured = {"median": median, "lower_quartile": lower, "upper_quartile": upper}
        yield part | {"characteristic": title, "n": int(known[name].notna().sum()), **measured}
    for kind in kinds:
        yield part | {"characteristic": "scans stored with", "group": kind, **_share(known["pixels"] == kind)}


def _share(chosen: pd.Series) -> dict[str, float]:
    return {"n": int(chosen.sum()), "share": float(chosen.mean())}
