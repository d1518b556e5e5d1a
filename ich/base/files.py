"""Artifacts that appear under their name only when they are whole."""

import errno
import glob
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ich.base.errors import InputError

ROW_GROUP = 16_384  # rows that are read or passed over together: a shard's rows are a few percent of a sorted table
_NO_SPACE = "Free some space or quota, or write another folder as `results`"
_NO_ACCESS = "Make its folder writable, or write another folder as `results`"
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f), or write another folder as `results`",
    errno.EROFS: _NO_ACCESS,
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
}


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Say in words what keeps a file or folder from being written in the block.

    Raises
    ------
    InputError
        The disk is full, a quota or limit is reached, or the folder is not writable: names the file and the remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        reason, remedy = os.strerror(error.errno), _REMEDIES[error.errno]
        raise InputError(f"{path}: cannot be written ({reason}). {remedy}, and run again.") from error


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place once the block has ended well.

    The file is flushed to disk before it is renamed, so that after a crash or `kill -9` the name holds either the
    former content or all of the new one. What other writers of the same file have begun is removed first: a killed
    job left it, or a job whose workflow was killed still writes it and must not finish after this one.

    Parameters
    ----------
    path : path
        The final name. Its folder is made if it is missing.

    Yields
    ------
    Path
        Where to write, in the same folder.

    Raises
    ------
    InputError
        It cannot be written, for a reason of `writing`.
    FileNotFoundError
        Another writer of the same file has begun after this one.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for begun in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
            begun.unlink(missing_ok=True)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(text: str, path: str | os.PathLike) -> None:
    """Write text as UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write a JSON object, two spaces deep, in the order of its keys; NaN is refused (it is no JSON)."""
    write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", path)


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table as CSV without its index; floats keep every digit."""
    write_text(frame.to_csv(index=False, lineterminator="\n"), path)


def write_parquet(frame: pd.DataFrame, path: str | os.PathLike, schema: pa.Schema) -> None:
    """Write a table in exactly the columns and types of `schema`.

    Raises
    ------
    pyarrow.ArrowInvalid, KeyError
        A value that the schema's type cannot hold without loss, or a column that is missing.
    """
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False, safe=True)
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd", row_group_size=ROW_GROUP)


def read_parquet(path: str | os.PathLike, **equal: Any) -> pd.DataFrame:
    """Read a table, or its rows in which some columns have given values. Text has pandas' dtype `str`."""
    return pq.read_table(path, filters=[(name, "==", value) for name, value in equal.items()] or None).to_pandas()


def count_rows(path: str | os.PathLike) -> int:
    """Count the rows of a table without reading it."""
    return pq.read_metadata(path).num_rows


def read_rows(path: str | os.PathLike, rows: slice) -> pd.DataFrame:
    """Read consecutive rows of a table; of the others no more than share a row group with them."""
    with pq.ParquetFile(path) as file:
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)], dtype=int)
        first, last = np.searchsorted(ends, rows.start, side="right"), np.searchsorted(ends, rows.stop)
        before = ends[first - 1] if first else 0
        groups = file.read_row_groups(range(first, min(last + 1, len(ends))))
    return groups.slice(rows.start - before, rows.stop - rows.start).to_pandas()
