"""Files in folders and zip files: finding and reading them."""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa

from ich.base.errors import InputError
from ich.dicom.defects import Defect

INVENTORY_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),  # the file's name without suffix, until the header is read
        ("location", pa.string()),  # the path, or archive.zip!/member
        ("archive", pa.string()),  # the zip file, or empty
        ("offset", pa.int64()),  # of the member's local header in the zip file
        ("stored", pa.int64()),  # bytes as they lie on the disk
        ("bytes", pa.int64()),  # bytes of the file
        ("method", pa.int8()),  # -1 a plain file; in a zip file 0 stored, 8 deflated
    ]
)
MOST_BYTES = 1 << 28  # bytes of a file that are held in memory at once: 256 times a slice


def inventory(sources: Sequence[str | os.PathLike]) -> pd.DataFrame:
    """List all files of some folders and zip files.

    Folders are followed to any depth. Names that begin with a dot are passed over, and nothing else is.

    Parameters
    ----------
    sources : sequence of paths

    Returns
    -------
    DataFrame
        `INVENTORY_SCHEMA`, sorted by location.

    Raises
    ------
    InputError
        A source is missing, is neither folder nor zip file, cannot be read or is damaged; a member is a link or its
        name climbs out of its archive; a member is encrypted or compressed by a method other than deflate; there is no
        file at all.
    """
    rows: list[tuple] = []
    for source in map(Path, sources):
        try:
            if source.is_dir():
                rows.extend(_files(source))
            elif source.is_file():
                rows.extend(_members(source))
            else:
                raise InputError(f"{source}: there is no such folder or zip file; write its name as data.dicom")
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make it readable") from error
    if not rows:
        raise InputError(
            f"{', '.join(map(str, sources))}: no file in it; write the name of another folder as data.dicom"
        )
    # A zip file may hold two members of one name.
    key = ["location", "offset"]
    return pd.DataFrame(rows, columns=INVENTORY_SCHEMA.names).drop_duplicates(key).sort_values(key, ignore_index=True)


def _files(folder: Path) -> Iterator[tuple]:
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(folder), ())]
    while waiting:
        path, above = waiting.pop()
        real = os.path.realpath(path)
        if real in above:  # a link to a folder that it lies in
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    status = entry.stat()
                    mode, size = status.st_mode, status.st_size
                except OSError:  # a link to nothing: its header will be an unreadable file
                    mode, size = stat.S_IFREG, 0
                if stat.S_ISDIR(mode):
                    waiting.append((entry.path, (*above, real)))
                elif stat.S_ISREG(mode):
                    yield _stem(_text(entry.name)), _text(entry.path), "", 0, size, size, -1


def _members(archive: Path) -> Iterator[tuple]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OSError) as error:
        raise InputError(f"{archive}: not a folder and not a whole zip file ({error}); fetch it again") from error
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or re.search(r"\\|^[A-Za-z]:", member.filename):
            raise InputError(f"{archive}: the name {member.filename!r} climbs out of it; do not trust this file")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{archive}: {member.filename!r} is a link; pack the files themselves")
        if member.filename.endswith("/") or any(part.startswith(".") for part in path.parts):
            continue
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{archive}: {member.filename!r} is encrypted or oddly compressed; pack it anew")
        sizes = (member.compress_size, member.file_size)
        location = f"{archive}!/{member.filename}"
        yield _stem(path.name), location, str(archive), member.header_offset, *sizes, member.compress_type


def _stem(name: str) -> str:
    return name.removesuffix(".dcm")


def _text(name: str) -> str:
    """Give a file's name as text that a table can hold; a file whose name is no UTF-8 is not found under it."""
    return name.encode(errors="backslashreplace").decode()


def shard_rows(rows: int, shard: int, shards: int) -> slice:
    """Give the rows of a table of so many rows that are a shard's: an even, contiguous share."""
    return slice(rows * shard // shards, rows * (shard + 1) // shards)


def read_bytes(row: Any, start: int = 0, count: int | None = None) -> bytes:
    """Read a file, or some bytes of it, wherever it lies.

    Parameters
    ----------
    row : named tuple
        A row of the inventory or of a table made from it.
    start, count : int
        The bytes to read; all from `start` by default.

    Returns
    -------
    bytes
        Fewer than `count` where a plain file ends before.

    Raises
    ------
    Defect
        "unreadable file": the file is gone, a member of a zip file is damaged or not of the size that the zip file
        says, or more is asked for than any slice holds.
    """
    left = max(0, row.bytes - start)
    count = left if count is None else min(count, left)
    if count > MOST_BYTES:
        raise Defect("unreadable file")
    try:
        with open(row.archive or row.location, "rb", buffering=0) as file:  # noqa: PTH123 (twice as fast as Path.open)
            if not row.archive:
                return os.pread(file.fileno(), count, start)
            data = _member_bytes(file.fileno(), row, start, start + count)
    except (OSError, struct.error, zlib.error) as error:
        raise Defect("unreadable file") from error
    if len(data) < count:
        raise Defect("unreadable file")
    return data


def _member_bytes(descriptor: int, row: Any, start: int, end: int) -> bytes:
    # The local header may have other extra fields than the directory, so only it tells where the bytes begin
    # (APPNOTE.TXT, section 4.3.7).
    signature, name, extra = struct.unpack("<4s22xHH", os.pread(descriptor, 30, row.offset))
    if signature != b"PK\3\4":
        raise Defect("unreadable file")
    offset = row.offset + 30 + name + extra
    if row.method == zipfile.ZIP_STORED:
        return os.pread(descriptor, max(0, min(end, row.stored) - start), offset + start)
    # No more than is asked for, whatever a damaged or malicious member would inflate to. Deflate lengthens what it
    # cannot shorten by less than one part in a thousand.
    packed = os.pread(descriptor, min(row.stored, end + end // 1000 + 100), offset)
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, end)[start:] if end else b""
