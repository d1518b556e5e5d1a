import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLosslessSV1, RLELossless

from ich.dicom import decoding
from ich.dicom.decoding import DecodingError, decode
from tests.unit.dicom_factory import SYNTAXES, dicom_bytes

STORED = np.add.outer(np.arange(64), np.arange(48)).astype(np.int16) * 20
WHOLE = dicom_bytes(STORED, JPEGLosslessSV1)


def assert_well():
    np.testing.assert_array_equal(decode(WHOLE, 64, 48, "<i2"), STORED)


def worker():
    """Give the id of the process that decodes, once there is one."""
    assert_well()
    return decoding._worker.process.pid


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_stored_values_come_back_in_their_type(syntax, kind):
    stored = np.random.default_rng(0).integers(0, 200, size=(33, 40)).astype(kind)
    found = decode(dicom_bytes(stored, syntax), 33, 40, stored.dtype.newbyteorder("<").str)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, stored)


def test_one_process_serves_many_files():
    assert worker() == worker() != os.getpid()


@pytest.mark.parametrize(
    ("rows", "columns", "kind"), [(48, 64, "<i2"), (64, 47, "<i2"), (64, 48, "<u2"), (64, 48, "<i4")]
)
def test_another_image_than_expected(rows, columns, kind):
    with pytest.raises(DecodingError):
        decode(WHOLE, rows, columns, kind)
    assert_well()


@pytest.mark.parametrize("data", [b"", b"no DICOM", WHOLE[:-300], dicom_bytes(PixelData=None)])
def test_what_is_no_image(data):
    before = worker()
    with pytest.raises(DecodingError):
        decode(data, 64, 48, "<i2")
    assert worker() == before


def test_a_file_that_ends_the_decoder(capfd):
    """GDCM aborts the process: an assertion of its JPEG code fails."""
    pixels = bytearray(dicom_bytes(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 20, JPEGLosslessSV1))
    start = pixels.index(b"\xff\xd8\xff\xc3")
    assert pixels[start + 15 : start + 17] == b"\xff\xc4"
    pixels[start + 15] = 0x76  # no Huffman table
    before = worker()
    with pytest.raises(DecodingError):
        decode(bytes(pixels), 64, 64, "<u2")
    assert worker() != before
    assert capfd.readouterr() == ("", "")


def test_a_process_that_was_killed_is_replaced():
    before = worker()
    os.kill(before, signal.SIGKILL)
    assert worker() != before


def test_a_file_that_takes_too_much_memory():
    data = dicom_bytes(np.zeros((4, 4), np.uint16), RLELossless)
    for element in (0x10, 0x11):  # rows and columns
        size = struct.pack("<HH2sHH", 0x28, element, b"US", 2, 4)
        assert data.count(size) == 1
        data = data.replace(size, size[:-2] + b"\xff\xff")
    with pytest.raises(DecodingError):
        decode(data, 65535, 65535, "<u2")
    assert_well()


def test_a_file_that_keeps_the_decoder_busy():
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 10**6
    sequence = struct.pack("<HH2sxxL", 0x29, 0x1010, b"SQ", 2**32 - 1) + items + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    before = worker()
    start = time.monotonic()
    with pytest.raises(DecodingError):
        decode(WHOLE.replace(b"\xe0\x7f\x10\x00", sequence + b"\xe0\x7f\x10\x00"), 64, 48, "<i2")
    assert time.monotonic() - start < 60
    assert worker() != before


def test_a_process_that_waits_for_ever(monkeypatch):
    before = worker()
    monkeypatch.setattr(decoding, "WALL_SECONDS", 0.5)
    os.kill(before, signal.SIGSTOP)
    with pytest.raises(DecodingError):
        decode(WHOLE, 64, 48, "<i2")
    monkeypatch.undo()
    assert worker() != before


def test_a_process_that_does_not_start_is_no_fault_of_the_file(monkeypatch):
    os.kill(worker(), signal.SIGKILL)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="does not start"):
        assert_well()
    monkeypatch.undo()
    assert_well()


def test_threads_take_turns():
    images = [np.full((9, 9), number, np.int16) + np.arange(9, dtype=np.int16) for number in range(40)]
    files = [dicom_bytes(image, RLELossless) for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda data: decode(data, 9, 9, "<i2"), files)
        for image, decoded in zip(images, found, strict=True):
            np.testing.assert_array_equal(decoded, image)


def test_a_fork_has_a_process_of_its_own():
    before = worker()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(worker) != before
    assert worker() == before


def test_the_process_ends_with_its_parent():
    program = (
        "import os, sys; from ich.dicom import decoding; from tests.unit.dicom.test_decoding import worker; "
        "print(worker(), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while running(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
