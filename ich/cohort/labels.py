"""Kaggle's long label file as one row a slice."""

import os
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ich.base.classes import CLASSES
from ich.base.errors import InputError

LABELS_SCHEMA = pa.schema([("image_id", pa.string()), *((name, pa.uint8()) for name in CLASSES)])


def read_labels(path: str | os.PathLike) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read a label file with the columns `ID` and `Label`.

    An ID is the slice's and the class's name, `ID_1a2b3c4d5_subdural`. Rows that stand in the file more than once with
    the same label (four slices of stage_2_train.csv do) count once.

    Parameters
    ----------
    path : path
        A CSV file, of stage 1 or stage 2, or a user's own in the same layout.

    Returns
    -------
    labels : DataFrame
        `LABELS_SCHEMA`, a row a slice, sorted by image_id.
    counts : dict of str to int
        rows (of the file), repeated_rows, slices.

    Raises
    ------
    InputError
        A column is missing, an ID is malformed, a label is neither 0 nor 1, rows contradict each other, a slice lacks a
        class, or `any` is not what the five subtypes say. The message names the first few.
    """
    table = _read(path)
    names = pc.split_pattern(table["ID"], "_", max_splits=1, reverse=True)
    whole = pc.equal(pc.list_value_length(names), 2)
    names = pc.if_else(whole, names, pa.scalar(["", ""], names.type))
    image = pc.list_element(names, 0)
    kind = pc.index_in(pc.list_element(names, 1), pa.array(CLASSES))
    malformed = pc.or_(pc.is_null(kind), pc.equal(image, ""))
    _refuse(
        path,
        table["ID"].filter(malformed),
        "malformed IDs",
        f"an ID is a slice's name, _ and one of {', '.join(CLASSES)}",
    )
    label = pc.index_in(pc.utf8_trim_whitespace(table["Label"]), pa.array(["0", "1"]))
    _refuse(path, table["ID"].filter(pc.is_null(label)), "labels that are neither 0 nor 1", "correct these rows")

    encoded = image.combine_chunks().dictionary_encode()
    images = encoded.dictionary.to_numpy(zero_copy_only=False).astype(str)
    cells = len(CLASSES) * encoded.indices.to_numpy().astype(np.int64) + kind.to_numpy()
    rows = np.bincount(cells, minlength=len(images) * len(CLASSES)).reshape(-1, len(CLASSES))
    ones = np.bincount(cells, label.to_numpy(), minlength=rows.size).reshape(rows.shape).astype(np.int64)
    labels = (ones > 0).astype(np.uint8)
    _refuse(
        path, _cells(images, (ones > 0) & (ones < rows)), "labels that contradict each other", "leave one row of each"
    )
    _refuse(path, _cells(images, rows == 0), "labels missing", "each slice needs a row for every class")
    wrong = labels[:, :-1].any(axis=1) != labels[:, -1]
    _refuse(path, images[wrong], "slices whose `any` is not what the five subtypes say", "correct their rows")

    frame = pd.DataFrame(labels, columns=list(CLASSES))
    frame.insert(0, "image_id", images)
    counts = {"rows": len(table), "repeated_rows": int(len(table) - (rows > 0).sum()), "slices": len(images)}
    return frame.sort_values("image_id", ignore_index=True), counts


def _read(path: str | os.PathLike) -> pa.Table:
    """Read the two columns as text."""
    try:
        table = csv.read_csv(
            path,
            convert_options=csv.ConvertOptions(
                column_types={"ID": pa.string(), "Label": pa.string()}, strings_can_be_null=False
            ),
        )
        columns = table.column_names
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; write its name as data.labels") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a table of comma-separated values ({str(error).splitlines()[0]})") from error
    missing = [name for name in ("ID", "Label") if name not in columns]
    if missing:
        raise InputError(
            f"{path}: no column {' and no column '.join(missing)} among {', '.join(columns)}; "
            "the file must have the columns ID and Label"
        )
    repeated = [name for name in ("ID", "Label") if columns.count(name) > 1]
    if repeated:
        raise InputError(f"{path}: more than one column {' and '.join(repeated)}; leave one of each")
    if not len(table):
        raise InputError(f"{path}: no row; the file must have a row for each slice and class")
    return table.select(["ID", "Label"])


def _cells(images: np.ndarray, chosen: np.ndarray) -> list[str]:
    return [f"{images[row]}_{CLASSES[column]}" for row, column in np.argwhere(chosen)]


def _refuse(path: str | os.PathLike, names: Iterable, fault: str, remedy: str) -> None:
    names = [str(name) for name in names]
    if names:
        raise InputError(f"{path}: {len(names)} {fault}, such as {', '.join(sorted(names)[:5])}; {remedy}")
