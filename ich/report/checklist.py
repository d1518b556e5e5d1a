"""Where the report answers the items of two reporting guidelines, and where it does not.

CLAIM 2024: Tejani et al., Radiology: Artificial Intelligence 2024;6:e240300, doi:10.1148/ryai.240300.
TRIPOD+AI: Collins et al., BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378.
The items stand in checklist.csv, in short words of our own.
"""

from pathlib import Path

import pandas as pd

SOURCES = {
    "CLAIM 2024": "doi:10.1148/ryai.240300",
    "TRIPOD+AI": "doi:10.1136/bmj-2023-078378",
}


def checklist() -> pd.DataFrame:
    """Give the items.

    Returns
    -------
    DataFrame
        guideline, item (as numbered there), topic, place (`page#section` of the report, a file of the repository, or
        empty for an item that is not answered) and answer (what stands there, or why nothing does); all text.
    """
    return pd.read_csv(Path(__file__).with_suffix(".csv"), dtype=str, keep_default_na=False)
