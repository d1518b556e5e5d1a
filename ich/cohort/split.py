"""The split by patient."""

from collections.abc import Mapping
from decimal import Decimal

import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from ich.base.errors import InputError

PARTS = ("train", "validation", "test")


def split_patients(patient_ids: pd.Series, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Give each slice its part by the paper's procedure.

    scikit-learn's GroupShuffleSplit by patient, twice: first validation is set aside, then the rest is cut into train
    and test. The paper's fractions are 0.65, 0.15 and 0.20, its seed 8.

    Parameters
    ----------
    patient_ids : Series of str
        The patient of each slice, in any order: the split draws from the sorted set of patients.
    fractions : mapping
        Share of the patients in train, validation and test.
    seed : int
        Random state of both steps.

    Returns
    -------
    Series of str
        `PARTS`, with the index of `patient_ids`.

    Raises
    ------
    InputError
        There are too few patients for three parts.
    """
    parts = pd.Series("validation", index=patient_ids.index)
    # Added as they are written: the paper's 0.65 and 0.2 make 0.85, and not 0.8500000000000001.
    kept = float(Decimal(str(fractions["train"])) + Decimal(str(fractions["test"])))
    try:
        rest, _ = _split(patient_ids, kept, seed)
        train, test = _split(patient_ids.iloc[rest], fractions["train"] / kept, seed)
    except ValueError as error:
        raise InputError(
            f"{patient_ids.nunique()} patients cannot be split into three parts by {dict(fractions)} ({error}); "
            "change split.fractions or add patients"
        ) from error
    parts.iloc[rest[train]], parts.iloc[rest[test]] = "train", "test"
    return parts


def _split(patient_ids: pd.Series, share: float, seed: int):
    splitter = GroupShuffleSplit(n_splits=1, train_size=share, random_state=seed)
    return next(splitter.split(patient_ids, groups=patient_ids.to_numpy()))
