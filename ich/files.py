"""Artifacts that appear under their name only when they are whole."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place once the block has ended well.

    The file is flushed to disk before it is renamed, so that after a crash or `kill -9` the name holds either the
    former content or all of the new one. The temporary name does not vary: a rerun overwrites what a killed run left.

    Parameters
    ----------
    path : path
        The final name. Its folder is made if it is missing.

    Yields
    ------
    Path
        Where to write, in the same folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
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
        pq.write_table(table, partial, compression="zstd")


def read_parquet(path: str | os.PathLike, **equal: Any) -> pd.DataFrame:
    """Read a table, or its rows in which some columns have given values. Text has pandas' dtype `str`."""
    return pq.read_table(path, filters=[(name, "==", value) for name, value in equal.items()] or None).to_pandas()
