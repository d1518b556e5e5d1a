"""Compressed pixels, decoded in a process of their own.

The decoders are libraries in C and C++, and a damaged file can end the process that they run in, or keep it busy for
ever. That process is this module, run as a program; it is used for many files, and replaced when it has ended. It is
started anew rather than forked, since a fork of a process with threads may hang, and not by multiprocessing, which
would run the script of the workflow's job a second time.
"""

import atexit
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from io import BytesIO
from multiprocessing.connection import Connection

import numpy as np
import pydicom
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

MEMORY = 1 << 30  # bytes of address space
# Processor time and not the clock decides, so that a busy machine leaves no slice out; a slice takes 2 to 30 ms.
CPU_SECONDS = 1  # for a file, or up to a second more: the kernel counts in whole ones
WALL_SECONDS = 120  # for what waits and does not compute
# The faster or sturdier plug-in where pydicom's first choice, GDCM, is neither.
_PLUGINS = dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg") | dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls")


class DecodingError(Exception):
    """A file's pixels cannot be decoded."""


def decode(data: bytes, rows: int, columns: int, kind: str) -> np.ndarray:
    """Decode the one frame of a DICOM file.

    Parameters
    ----------
    data : bytes
        The whole file.
    rows, columns : int
        The shape that the image must have.
    kind : str
        NumPy's name of the type that it must have, such as "<i2".

    Returns
    -------
    integer array [row, column], read-only
        Stored values.

    Raises
    ------
    DecodingError
        The image cannot be decoded, is another than expected, or takes more memory or time than any slice does.
    RuntimeError
        The process that decodes does not start.
    """
    global _worker
    with _lock:
        reply = _worker.ask(data, rows, columns, kind) if _worker else None
        if not _worker or reply is None:  # it has ended, perhaps of what an earlier file did to its memory
            _worker = _Worker()
            reply = _worker.ask(data, rows, columns, kind)
        if not _worker.alive:
            _worker = None
    if not reply:
        raise DecodingError
    return np.frombuffer(reply, kind).reshape(rows, columns)


class _Worker:
    """A process that decodes, as its parent sees it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # -P: the folder of this file holds modules that are called as modules of Python are.
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space
                start_new_session=True,  # Ctrl-C is for the parent; this process ends when the connection does
            )
        self.connection = Connection(ours.detach())
        self.alive = True
        if self._receive(16) != b"ready":
            raise RuntimeError(f"the process that decodes pixels does not start: {self.process.args!r}")

    def ask(self, *request) -> bytes | None:
        """Give the image's bytes; none of them if it cannot be decoded; None if the process has ended."""
        data, rows, columns, kind = request
        size = rows * columns * np.dtype(kind).itemsize
        try:
            self.connection.send_bytes(f"{rows} {columns} {kind}".encode())
            self.connection.send_bytes(data)
        except OSError:
            self.stop()
            return None
        reply = self._receive(size)
        return reply if reply is None or len(reply) == size else b""

    def _receive(self, size: int) -> bytes | None:
        try:
            if self.connection.poll(WALL_SECONDS):
                return self.connection.recv_bytes(size)
            late = True
        except (OSError, EOFError):
            late = self.process.wait() == -signal.SIGXCPU
        self.stop()
        return b"" if late else None

    def stop(self) -> None:
        self.alive = False
        self.connection.close()
        self.process.kill()
        self.process.wait()


_worker: _Worker | None = None
_lock = threading.Lock()


def _forget() -> None:
    """Leave the process to the parent: a fork has its own."""
    global _worker, _lock
    _worker, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


@atexit.register
def _stop() -> None:
    if _worker:
        _worker.stop()


def _decode(data: bytes, rows: int, columns: int, kind: str) -> bytes:
    dataset = pydicom.dcmread(BytesIO(data))
    dataset.pixel_array_options(decoding_plugin=_PLUGINS.get(dataset.file_meta.TransferSyntaxUID, ""))
    stored = dataset.pixel_array
    if stored.shape != (rows, columns) or stored.dtype.newbyteorder("<") != kind:
        raise ValueError
    return stored.astype(kind, copy=False).tobytes()


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _serve(connection: Connection) -> None:
    logging.disable()
    warnings.simplefilter("ignore")
    _limit(resource.RLIMIT_CORE, 0)  # it would hold a patient's image
    _limit(resource.RLIMIT_AS, MEMORY)
    connection.send_bytes(b"ready")
    for stream in (1, 2):  # what the libraries print
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    while True:
        try:
            rows, columns, kind = connection.recv_bytes().decode().split()
            data = connection.recv_bytes()
        except EOFError:
            return
        # The limit is whole seconds of all that the process has used so far.
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + CPU_SECONDS)
        try:
            reply = _decode(data, int(rows), int(columns), kind)
        except BaseException:  # each plug-in has exceptions of its own; those from Rust are no Exception
            reply = b""
        connection.send_bytes(reply)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
