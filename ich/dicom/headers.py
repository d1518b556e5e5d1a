"""Headers of DICOM files as rows of a table.

What is wrong with a file is a value here, one of `DEFECTS`, and never stops the files beside it.
"""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from math import isfinite, prod, sqrt
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

from ich.dicom.defects import Defect
from ich.dicom.sources import INVENTORY_SCHEMA, MOST_BYTES, read_bytes

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
_FARTHEST = 1e9  # HU, a number that no rescaling has
_COS_45 = sqrt(0.5)
_NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian}
_UNENCAPSULATED = {*_NATIVE, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}


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
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[body.tell() :], MOST_BYTES)
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
