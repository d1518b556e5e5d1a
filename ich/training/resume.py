"""The state of a training on disk, from which a later job goes on.

Two jobs can be after one state: `ich.training.lease` has the protocol that keeps it to one of them.
"""

import json
import logging
import os
import signal
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from ich.training.lease import SIGNALS, Lease


class Resume:
    """The state of one training, while this process is in the context: no other process then has it.

    Entering waits for another process that has the state, or takes over from one that is dead, and says so. SIGTERM and
    SIGUSR1 then only set `stop`. Of several processes that train together the first alone enters.

    Parameters
    ----------
    folder : path
        Where the state is kept.
    fingerprint : str
        Of all that decides what the training gives. The state of another is passed over.
    about : mapping
        The configuration, in values that JSON can hold: for the message that tells what is different.
    heartbeat : float
        As of `Lease`.

    Raises
    ------
    Interrupted
        On entering: the job was told to stop while it waited.
    """

    def __init__(
        self, folder: str | Path, fingerprint: str, about: Mapping[str, Any] | None = None, *, heartbeat: float = 10
    ):
        self.path, self.fingerprint, self.about = Path(folder) / "state.pt", fingerprint, json.dumps(about or {})
        self._lease = Lease(Path(folder), heartbeat)
        self._told = False

    def __enter__(self) -> Self:
        self._handlers = {name: signal.signal(name, self._note) for name in SIGNALS}
        try:
            self._lease.acquire(lambda: self._told)
        except BaseException:
            self._restore()
            raise
        for left in self.path.parent.glob(".state-*"):
            left.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._lease.release()
        self._restore()

    def _note(self, number: int, frame: Any) -> None:
        self._told = True

    def _restore(self) -> None:
        for name, handler in self._handlers.items():
            signal.signal(name, handler)

    @property
    def stop(self) -> bool:
        """Whether the training is to save its state and end."""
        return self._told or self._lease.lost

    def load(self) -> dict[str, Any] | None:
        """Give the state that an earlier job has left.

        Returns
        -------
        dict or None
            Tensors on the CPU. None where there is no state, or it is of another training, or it is damaged; such a
            file is kept under another name.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                if broken := archive.testzip():  # torch does not look at the checksums
                    raise ValueError(f"{broken} does not have its checksum")
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            fingerprint, about, state = saved["fingerprint"], json.loads(saved["about"]), saved["state"]
        except FileNotFoundError:
            return None
        except OSError:
            raise
        except Exception as error:  # torch does not say which exceptions a damaged file can raise
            aside = self.path.with_suffix(".damaged")
            self.path.replace(aside)
            logging.warning("%s is damaged (%s): kept as %s, starting afresh", self.path, error, aside.name)
            return None
        if fingerprint != self.fingerprint:
            now = json.loads(self.about)
            differing = [
                f"{key} {about.get(key)!r} instead of {now.get(key)!r}"
                for key in sorted(about.keys() | now.keys())
                if about.get(key) != now.get(key)
            ]
            reason = ", ".join(differing) or "other data or code"
            logging.info("%s is of another training (%s): starting afresh", self.path, reason)
            return None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state, whole or not at all.

        Parameters
        ----------
        state : mapping
            Tensors, and what else `torch.load` reads with `weights_only=True`.

        Raises
        ------
        Lost
            Another job has taken over; the state is its own.
        """
        partial = self.path.with_name(f".state-{self._lease.me.token}")
        try:
            with partial.open("wb") as file:
                torch.save({"fingerprint": self.fingerprint, "about": self.about, "state": dict(state)}, file)
                file.flush()
                os.fsync(file.fileno())
            self._lease.check()
            partial.replace(self.path)
        except FileNotFoundError:  # a new owner has removed it
            self._lease.check()
            raise
        finally:
            partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the state of a training whose outputs are written, unless another job waits for this training.

        Raises
        ------
        Lost
            Another job has taken over; the state is its own.
        """
        self._lease.check()
        if rival := self._lease.rival():
            logging.info("%s waits for this training: the finished state is left to it", rival)
        else:
            self.path.unlink(missing_ok=True)
