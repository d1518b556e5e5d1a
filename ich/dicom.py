"""DICOM files: finding them in folders and zip files, their headers as rows, their pixels in Hounsfield units.

What is wrong with a file is a value here, one of `DEFECTS`, and never stops the files beside it.
"""

import logging
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from math import isfinite, prod, sqrt
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydicom.filereader import data_element_generator
from pydicom.tag import ItemTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ich.decoding import DecodingError, decode
from ich.errors import InputError

DEFECTS = {
    "not DICOM": "The file does not begin as DICOM files do (PS3.10, section 7.1). Remove it, or ignore this line.",
    "unreadable header": "The header cannot be parsed. Fetch the file again.",
    "unreadable file": "Its bytes cannot be had from the disk or the zip file, or are too many. Fetch the file again.",
    "no pixel data": "The object has no PixelData element, such as a report. Nothing to do.",
    "not CT": "Modality is not CT. Nothing to do.",
    "no identifier": "PatientID or an instance UID is missing. Without them slices can be neither grouped nor split.",
    "colour image": "SamplesPerPixel is not 1: a screenshot or secondary capture. Nothing to do.",
    "several frames": "NumberOfFrames is above 1. Convert enhanced CT to single-frame objects.",
    "unsupported pixel format": "Pixels are not integers of 8, 16 or 32 bits. Export the images as 16-bit integers.",
    "no geometry": "ImagePositionPatient or ImageOrientationPatient is missing or no position. Export the originals.",
    "not axial": "The image plane is more than 45 degrees from axial: a scout or a reformation. Nothing to do.",
    "no rescale": "RescaleSlope or RescaleIntercept is missing or absurd: values have no unit. Export the originals.",
    "truncated": "The file ends before its pixel data does. Fetch the file again.",
    "wrong length": "The length of the pixel data does not fit rows, columns and bits. Fetch the file again.",
    "duplicate SOPInstanceUID": "Another file has this UID; the first by location is used. Remove one of them.",
    "decode error": "The compressed pixels cannot be decoded. Fetch the file again, or convert it.",
    "constant image": "All pixels have one value. Nothing to do.",
}

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

_NUMBERS = pa.list_(pa.float64())
HEADER_SCHEMA = pa.schema(
    [
        *INVENTORY_SCHEMA,
        ("sop_instance_uid", pa.string()),
        ("modality", pa.string()),
        ("patient_id", pa.string()),
        ("study_instance_uid", pa.string()),
        ("series_instance_uid", pa.string()),
        ("study_id", pa.string()),
        ("image_position_patient", _NUMBERS),  # mm
        ("image_orientation_patient", _NUMBERS),
        ("samples_per_pixel", pa.int32()),
        ("number_of_frames", pa.int32()),
        ("photometric_interpretation", pa.string()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("pixel_spacing", _NUMBERS),  # mm
        ("bits_allocated", pa.int32()),
        ("bits_stored", pa.int32()),
        ("high_bit", pa.int32()),
        ("pixel_representation", pa.int32()),  # 0 unsigned, 1 signed
        ("window_center", _NUMBERS),  # HU
        ("window_width", _NUMBERS),  # HU
        ("rescale_intercept", pa.float64()),  # HU
        ("rescale_slope", pa.float64()),  # HU per stored value
        ("transfer_syntax_uid", pa.string()),
        ("pixel_bytes_expected", pa.int64()),  # of uncompressed pixels; 0 for compressed ones
        ("pixel_bytes_found", pa.int64()),
        ("pixel_offset", pa.int64()),  # of uncompressed pixels in the file; -1 where they must be decoded
        ("defect", pa.string()),  # empty, or a key of DEFECTS
    ]
)
_FOUND = HEADER_SCHEMA.names[len(INVENTORY_SCHEMA.names) :]
_KEYWORDS = {
    "sop_instance_uid": "SOPInstanceUID",
    "modality": "Modality",
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "study_id": "StudyID",
    "image_position_patient": "ImagePositionPatient",
    "image_orientation_patient": "ImageOrientationPatient",
    "samples_per_pixel": "SamplesPerPixel",
    "number_of_frames": "NumberOfFrames",
    "photometric_interpretation": "PhotometricInterpretation",
    "rows": "Rows",
    "columns": "Columns",
    "pixel_spacing": "PixelSpacing",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "high_bit": "HighBit",
    "pixel_representation": "PixelRepresentation",
    "window_center": "WindowCenter",
    "window_width": "WindowWidth",
    "rescale_intercept": "RescaleIntercept",
    "rescale_slope": "RescaleSlope",
}
_ELEMENTS = {name: int(Tag(keyword)) for name, keyword in _KEYWORDS.items()}
_TYPES = {pa.string(): str, pa.float64(): float, pa.int32(): int, _NUMBERS: list}
_KINDS = {name: _TYPES[HEADER_SCHEMA.field(name).type] for name in _KEYWORDS}
_TEXT_INTEGERS = {_ELEMENTS["number_of_frames"]}  # VR IS; the other integers are US
_PIXEL_DATA = int(Tag("PixelData"))
_TRANSFER_SYNTAX = int(Tag("TransferSyntaxUID"))
_START = 65536  # bytes of a file in which nearly every header ends
_LARGE = 1024  # bytes: longer values are passed over when a header is read
_MOST = 1 << 28  # bytes of a file that are held in memory at once: 256 times a slice
_FARTHEST = 1e9  # HU, a number that no rescaling has
_COS_45 = sqrt(0.5)
_NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian}
_UNENCAPSULATED = {*_NATIVE, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}


class Defect(Exception):
    """A slice cannot be used, for one of the reasons in `DEFECTS`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


# ---- finding files


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
    if count > _MOST:
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


# ---- headers


def header_rows(files: pd.DataFrame) -> pd.DataFrame:
    """Read the headers of files.

    Parameters
    ----------
    files : DataFrame
        Rows of the inventory.

    Returns
    -------
    DataFrame
        `HEADER_SCHEMA`, a row for each file in the same order. Elements that are absent or unreadable are null, but
        for BitsStored and HighBit, which then have their usual values. Integers stay integers beside nulls.
    """
    with _quiet():
        # Tuples: to keep a dict for each file costs memory and time.
        found = [tuple(map(_header(file).get, _FOUND)) for file in files.itertuples(index=False)]
    columns = {name: files[name] for name in INVENTORY_SCHEMA.names}
    columns |= {name: [row[place] for row in found] for place, name in enumerate(_FOUND)}
    return pa.Table.from_pydict(columns, schema=HEADER_SCHEMA).to_pandas(integer_object_nulls=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what pydicom says of damaged files: their reasons say it."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        try:
            yield
        finally:
            logger.setLevel(level)


def _header(file: Any) -> dict[str, Any]:
    try:
        return _parse(file)
    except Defect as defect:
        return {"defect": defect.reason}
    except EOFError:
        return {"defect": "truncated"}
    except Exception:  # a damaged file can fail in any of the parser's lines
        return {"defect": "unreadable header"}


def _parse(file: Any) -> dict[str, Any]:
    data = read_bytes(file, 0, _START)
    if data[128:132] != b"DICM":
        raise Defect("not DICOM")
    if len(data) < file.bytes:
        with suppress(Exception):  # the start may end within an element
            row = _row(data, file.bytes)
            if row["pixel_offset"] >= 0 or row["defect"] not in ("", "truncated"):
                return row
        data = read_bytes(file)
    return _row(data, file.bytes)


def _row(data: bytes, size: int) -> dict[str, Any]:
    """Make a header row of a file of some size from its bytes or the first of them.

    Of the parser that pydicom's `dcmread` is made of, this uses the innermost part alone, which takes a third of the
    time.
    """
    body = BytesIO(data)
    body.seek(132)
    first = data_element_generator(body, False, True, lambda tag, *_: tag >> 16 != 2)
    meta: dict[int, Any] = {int(each.tag): each for each in first}
    syntax = meta[_TRANSFER_SYNTAX].value.decode("latin-1").strip("\0 ")
    if syntax == DeflatedExplicitVRLittleEndian:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[body.tell() :], _MOST)
        body, size = BytesIO(data), len(data)
    start = body.tell()
    kind = body.read(6)[4:]
    body.seek(start)
    pixels: list[int] = []  # where they begin and their declared length

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if int(tag) != _PIXEL_DATA:
            return False
        pixels.extend((body.tell(), length))
        return True

    # Some files are implicit although they say explicit, and the other way round: the first element shows it.
    found = data_element_generator(
        body, not (kind.isalpha() and kind.isupper()), syntax != ExplicitVRBigEndian, at_pixels, _LARGE
    )
    elements: dict[int, Any] = {int(each.tag): each for each in found}  # pydicom's tags compare slowly
    if not pixels and len(data) < size:
        raise EOFError
    row = {name: _typed(elements.get(tag), _KINDS[name]) for name, tag in _ELEMENTS.items()}
    row["bits_stored"] = row["bits_stored"] or row["bits_allocated"]
    if row["high_bit"] is None and row["bits_stored"]:
        row["high_bit"] = row["bits_stored"] - 1
    row["transfer_syntax_uid"] = syntax
    place, declared = pixels or (size, None)
    row["pixel_bytes_found"] = max(0, min(size - place, size if declared is None else declared))
    if declared is None or syntax not in _UNENCAPSULATED:
        row["pixel_bytes_expected"] = 0
    else:
        sizes = [row[name] or 0 for name in ("rows", "columns", "samples_per_pixel", "bits_allocated")]
        row["pixel_bytes_expected"] = prod(sizes) // 8
    row["pixel_offset"] = place if pixels and syntax in _NATIVE else -1
    row["defect"] = _defect(row, declared)
    if not row["defect"] and syntax not in _UNENCAPSULATED and not _encapsulation_ends(data, place):
        row["defect"] = "truncated"
    return row


def _encapsulation_ends(data: bytes, place: int) -> bool:
    """Tell whether the items of compressed pixels are whole, up to their delimiter (PS3.5, section A.4)."""
    tag = ItemTag
    while tag == ItemTag and place + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHL", data, place)
        tag, place = group << 16 | element, place + 8 + length
    return tag != ItemTag


def _typed(element: Any, kind: type) -> Any:
    """Give an element as the schema's type; null where it is absent, empty or no such value.

    Values are taken from their bytes: pydicom's own conversion takes longer than all else in reading a header.
    """
    if element is None or not isinstance(element.value, bytes) or not element.value:
        return None
    if kind is int and int(element.tag) not in _TEXT_INTEGERS:
        if len(element.value) != 2:
            return None
        return int.from_bytes(element.value, "little" if element.is_little_endian else "big")
    try:
        text = element.value.decode("latin-1").strip("\0 ")
        if not text:
            return None
        value: Any = list(map(float, text.split("\\"))) if kind is list else kind(text)
    except ValueError:
        return None
    return None if kind is int and abs(value) >= 2**31 else value


def _defect(row: dict[str, Any], declared: int | None) -> str:
    """Name the first thing that is wrong with a slice, or nothing; `declared` is the length of its pixel data."""
    identifiers = ("sop_instance_uid", "patient_id", "study_instance_uid", "series_instance_uid")
    rescale = ("rescale_slope", "rescale_intercept")
    expected, found = row["pixel_bytes_expected"], row["pixel_bytes_found"]
    allocated, stored, high = (row[name] or 0 for name in ("bits_allocated", "bits_stored", "high_bit"))
    axial = _plane(row["image_position_patient"], row["image_orientation_patient"])
    checks = {
        "no pixel data": declared is None and row["rows"] is None,
        "not CT": row["modality"] != "CT",
        "truncated": declared is None,
        "no identifier": not all(row[name] for name in identifiers),
        "colour image": row["samples_per_pixel"] != 1,
        "several frames": (row["number_of_frames"] or 1) > 1,
        "unsupported pixel format": allocated not in (8, 16, 32)
        or not (stored == allocated or 1 <= stored <= high + 1 <= allocated)
        or row["pixel_representation"] not in (0, 1)
        or not (row["rows"] and row["columns"]),
        "no geometry": axial is None,
        "not axial": axial is not None and abs(axial) < _COS_45,
        "no rescale": not all(row[name] is not None and abs(row[name]) < _FARTHEST for name in rescale),
    }
    for reason, fault in checks.items():
        if fault:
            return reason
    if row["transfer_syntax_uid"] not in _UNENCAPSULATED:
        return ""
    if declared not in (expected, expected + expected % 2):
        return "wrong length"
    return "truncated" if found < expected else ""


def _plane(position: list[float] | None, orientation: list[float] | None) -> float | None:
    """Give the share of the image plane's normal along the patient's axis; None where this is no geometry.

    The direction cosines must be two unit vectors at right angles (PS3.3, C.7.6.2.1.1), to rounding.
    """
    if position is None or orientation is None or (len(position), len(orientation)) != (3, 6):
        return None
    a, b, c, d, e, f = orientation
    products = (a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, a * d + b * e + c * f)
    # Written so that NaN fails, too.
    return a * e - b * d if all(abs(each) < 0.01 for each in products) and all(map(isfinite, position)) else None


def normal(orientations: np.ndarray) -> np.ndarray:
    """Give the unit normals of image planes.

    Parameters
    ----------
    orientations : float array [slice, 6]
        ImageOrientationPatient: direction cosines of a row and of a column (PS3.3, C.7.6.2.1.1).

    Returns
    -------
    float array [slice, 3]
    """
    across = np.cross(orientations[:, :3], orientations[:, 3:])
    return across / np.linalg.norm(across, axis=1, keepdims=True)


# ---- pixels


def read_hu(row: Any) -> np.ndarray:
    """Read a slice in Hounsfield units.

    Parameters
    ----------
    row : named tuple
        A row of the header table or of the manifest, without defect.

    Returns
    -------
    float32 array [row, column]

    Raises
    ------
    Defect
        The pixels cannot be read or decoded.
    """
    return rescale(*read_stored(row))


def rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Turn stored values into Hounsfield units, as float32.

    HU are stored values times RescaleSlope plus RescaleIntercept (PS3.3, C.11.1.1.2), whatever the photometric
    interpretation, which concerns the display alone.
    """
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def read_stored(row: Any) -> tuple[np.ndarray, float, float]:
    """Read a slice as the integers that stand in the file.

    Parameters
    ----------
    row : named tuple
        A row of the header table or of the manifest, without defect.

    Returns
    -------
    stored : integer array [row, column]
        Of the file's type: 8, 16 or 32 bits, signed or not.
    slope, intercept : float
        What makes HU of them (`rescale`).

    Raises
    ------
    Defect
        The pixels cannot be read or decoded.
    """
    kind = f"<{'ui'[row.pixel_representation]}{row.bits_allocated // 8}"
    if row.pixel_offset >= 0:
        data = read_bytes(row, row.pixel_offset, row.pixel_bytes_expected)
        if len(data) < row.pixel_bytes_expected:
            raise Defect("truncated")
        stored = np.frombuffer(data, kind).reshape(row.rows, row.columns)
    else:
        try:
            stored = decode(read_bytes(row), row.rows, row.columns, kind)
        except DecodingError as error:
            raise Defect("decode error") from error
    if row.bits_stored < row.bits_allocated:  # what stands in the other bits is no pixel (PS3.5, 8.1.1)
        unused = row.bits_allocated - 1 - row.high_bit
        stored = stored << unused >> row.bits_allocated - row.bits_stored
    slope, intercept = row.rescale_slope, row.rescale_intercept
    if row.bits_stored == 12 and row.pixel_representation == 0 and intercept > -100:
        stored, intercept = _repaired(stored), -1000.0
    return stored, slope, intercept


def _repaired(stored: np.ndarray) -> np.ndarray:
    """Undo a known fault of some 12-bit slices of the RSNA data: values 1000 too low and wrapped, wrong intercept."""
    return (stored + 1000) & 4095
