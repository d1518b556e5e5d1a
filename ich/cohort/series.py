"""What the headers of a series say of it."""

import pandas as pd

SERIES = ["patient_id", "series_instance_uid"]
HEADERS = ["image_id", "bits_stored", "pixel_representation", "tilt", "gap", "index", *SERIES]


def series_facts(slices: pd.DataFrame) -> pd.DataFrame:
    """Say what is known of each series.

    Parameters
    ----------
    slices : DataFrame
        `HEADERS` of all slices of the series.

    Returns
    -------
    DataFrame
        By `units.SERIES`: tilt (degrees; median of the slices), spacing (mm; median distance of neighbours, NaN of a
        single slice), slices (their number) and pixels (bits stored and sign; `mixed` where slices differ).
    """
    series = slices.assign(pixels=_pixels(slices)).groupby(SERIES)
    facts = series.agg(tilt=("tilt", "median"), spacing=("gap", "median"), slices=("image_id", "size"))
    return facts.assign(pixels=series["pixels"].first().where(series["pixels"].nunique() == 1, "mixed"))


def _pixels(slices: pd.DataFrame) -> pd.Series:
    """Name the kind of each slice's pixels."""
    sign = slices["pixel_representation"].map({0: "unsigned", 1: "signed"})
    return slices["bits_stored"].astype(str) + " bits, " + sign
