"""What every job of the workflow does first: its messages go to the terminal and to its log file."""

import atexit
import logging
import os
import re
import sys
import time
from pathlib import Path

from ich.base.errors import DamagedArtifact, InputError
from ich.base.files import writing


def start(log: str | os.PathLike) -> None:
    """Send the messages of this process to standard error and to `log`, errors that end it included.

    An `InputError` is shown as its message alone; the log holds the traceback of everything else. The last message is
    the time since this call and the peak memory of this process, which tell what to ask of a cluster. Of the processes
    of one job that torchrun has started, the first has the say; the others write there what is amiss.

    Parameters
    ----------
    log : path
        The log file of the job; written anew, but by what torchrun has started.

    Raises
    ------
    InputError
        The log cannot be written.
    """
    sys.excepthook = _report
    log = Path(log)
    rank = os.environ.get("RANK")
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log, mode="a" if rank else "w", encoding="utf-8")
    logging.basicConfig(
        level=logging.INFO if rank in (None, "0") else logging.ERROR,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.StreamHandler(), file],
        force=True,
    )
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # where the log's disk is full, the terminal has the message and no traceback
    atexit.register(_say_end, time.perf_counter(), time.process_time())


def _report(kind, error, traceback) -> None:
    if issubclass(kind, InputError):
        logging.error("%s", error)
        if isinstance(error, DamagedArtifact) and error.path:
            error.path.unlink(missing_ok=True)
            logging.error("%s: removed, so that the next run makes it anew", error.path)
    elif issubclass(kind, KeyboardInterrupt):
        logging.error("interrupted")
    else:
        logging.error("unexpected error", exc_info=(kind, error, traceback))


def _say_end(started: float, computed: float) -> None:
    status = Path("/proc/self/status")  # not `resource`, which may give the peak of the process that started this one
    peak = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    memory = f", at most {int(peak[1]) / 1024:.0f} MB of memory" if peak else ""
    seconds = time.perf_counter() - started, time.process_time() - computed
    logging.info("ended after %.3f s, %.3f s of processors%s", *seconds, memory)
