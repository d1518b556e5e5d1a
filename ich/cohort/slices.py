"""The manifest: every usable slice, in anatomical order, with its place in the cache shards."""

import numpy as np
import pandas as pd
import pyarrow as pa

from ich.base.errors import InputError
from ich.dicom.headers import HEADER_SCHEMA, normal

SLICES_SCHEMA = pa.schema(
    [
        *(field for field in HEADER_SCHEMA if field.name not in ("sop_instance_uid", "defect")),
        ("position", pa.float64()),  # mm along the slice normal
        ("gap", pa.float64()),  # mm from the slice before in the series; null for the first
        ("tilt", pa.float64()),  # degrees between the slice normal and the patient's axis
        ("index", pa.int32()),  # 0, 1, ... within the series
        ("shard", pa.int32()),
        ("row", pa.int32()),  # within the shard
    ]
)
QUARANTINE_COLUMNS = ["image_id", "location", "stage", "reason"]
_SERIES = ["patient_id", "study_instance_uid", "series_instance_uid"]


def build_manifest(headers: pd.DataFrame, shards: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Order the slices of all series and give each its shard and row.

    Slices are ordered by the projection of ImagePositionPatient on the normal of their series' first slice, since most
    gantries are tilted; slices at the same place by image_id. A shard is a run of whole series.

    Parameters
    ----------
    headers : DataFrame
        Rows of `dicom.HEADER_SCHEMA`, of all files.
    shards : int
        Number of shards; some are empty where there are fewer series.

    Returns
    -------
    slices : DataFrame
        `SLICES_SCHEMA`, sorted by patient, study, series and position. image_id is the SOPInstanceUID.
    quarantine : DataFrame
        `QUARANTINE_COLUMNS`: the other files, with their defects. image_id is the SOPInstanceUID, or the file's name
        where the header does not give it.

    Raises
    ------
    InputError
        Not one slice is usable.
    """
    # A file is called by its slice's name as soon as that is known, so that it finds its label.
    headers = headers.assign(image_id=headers["sop_instance_uid"].fillna(headers["image_id"]))
    whole = headers["defect"] == ""
    rejected = headers[~whole].assign(stage="headers", reason=lambda rows: rows["defect"])
    slices = headers[whole].sort_values("location", ignore_index=True)
    again = slices["sop_instance_uid"].duplicated()
    repeated = slices[again].assign(stage="slices", reason="duplicate SOPInstanceUID")
    quarantine = pd.concat([rejected, repeated])[QUARANTINE_COLUMNS].sort_values("location", ignore_index=True)
    slices = slices[~again]
    if slices.empty:
        reasons = quarantine["reason"].value_counts()
        raise InputError(f"no usable slice among {len(headers)} files: {reasons.to_dict()}; look at data.dicom")

    slices = slices.sort_values([*_SERIES, "image_id"], ignore_index=True)
    series = (slices[_SERIES] != slices[_SERIES].shift()).any(axis=1).cumsum().to_numpy() - 1
    first = np.flatnonzero(np.diff(series, prepend=-1))
    normals = normal(np.array(slices["image_orientation_patient"].tolist()))
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # towards the head, whichever way the rows run
    places = np.array(slices["image_position_patient"].tolist())
    slices["position"] = np.einsum("ij,ij->i", places, normals[first][series])
    slices["tilt"] = np.degrees(np.arccos(np.clip(normals[:, 2], -1, 1)))

    order = np.lexsort((slices["position"], series))  # stable: equal positions stay in the order of image_id
    slices = slices.iloc[order].reset_index(drop=True)
    slices["index"] = np.arange(len(slices)) - first[series]
    slices["gap"] = slices["position"].diff().where(slices["index"] > 0)
    # A series goes to the shard in which its middle slice lies, were all shards of one size.
    lengths = np.diff(first, append=len(slices))
    slices["shard"] = ((first + lengths / 2) * shards // len(slices)).astype(np.int32)[series]
    slices["row"] = slices.groupby("shard").cumcount()
    return slices[SLICES_SCHEMA.names], quarantine
