"""What every job of the workflow does first: its messages go to the terminal and to its log file."""

import logging
import os
import sys
from pathlib import Path

from ich.errors import InputError


def start(log: str | os.PathLike) -> None:
    """Send the messages of this process to standard error and to `log`, errors that end it included.

    An `InputError` is shown as its message alone; the log holds the traceback of everything else.

    Parameters
    ----------
    log : path
        The log file of the job; written anew.
    """
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.StreamHandler(), logging.FileHandler(log, mode="w", encoding="utf-8")],
        force=True,
    )
    logging.captureWarnings(True)
    sys.excepthook = _report


def _report(kind, error, traceback) -> None:
    if issubclass(kind, InputError):
        logging.error("%s", error)
    elif issubclass(kind, KeyboardInterrupt):
        logging.error("interrupted")
    else:
        logging.error("unexpected error", exc_info=(kind, error, traceback))
