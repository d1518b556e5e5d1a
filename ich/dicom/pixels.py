"""Pixels in Hounsfield units."""

from typing import Any

import numpy as np

from ich.dicom.decoding import DecodingError, decode
from ich.dicom.defects import Defect
from ich.dicom.sources import read_bytes


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
