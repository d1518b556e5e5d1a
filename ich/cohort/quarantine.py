"""What was left out of a run, why, and what to do about it."""

import os
from pathlib import Path

import pandas as pd

from ich.base.errors import InputError
from ich.cohort.slices import QUARANTINE_COLUMNS
from ich.dicom.defects import DEFECTS

REASONS = DEFECTS | {
    "no label": "The label file does not have this slice. Complete it, or ignore this line.",
    "label without slice": "The label file has a slice that is neither usable nor left out. Look for its DICOM file.",
}


def left_out(results: str | os.PathLike, stage: str = "", reason: str = "") -> pd.DataFrame:
    """Read which slices the workflow left out.

    Parameters
    ----------
    results : path
        The workflow's results.
    stage, reason : str
        Only those of this stage, of this reason.

    Returns
    -------
    DataFrame
        `slices.QUARANTINE_COLUMNS`, all text.

    Raises
    ------
    InputError
        The table is missing or damaged, or has no such stage or reason.
    """
    path = Path(results) / "data" / "quarantine.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)[QUARANTINE_COLUMNS]
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such table. Write the folder of the workflow's results after --results, or run the "
            "workflow first."
        ) from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: not the workflow's table; delete it and run the workflow again") from error
    for column, value in {"stage": stage, "reason": reason}.items():
        if value and value not in table[column].to_numpy():
            there = ", ".join(sorted(table[column].unique())) or "nothing"
            raise InputError(f"{path}: nothing was left out with {column} {value!r}; there is {there}")
        table = table[table[column] == value] if value else table
    return table
