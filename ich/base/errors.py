"""The exceptions that a user is meant to read."""

from pathlib import Path


class InputError(ValueError):
    """Bad input: the message names the file and says what to do about it.

    A job that ends with this error prints the message alone; any other exception prints its traceback.
    """


class DamagedArtifact(InputError):
    """A file that the pipeline made is no longer what it wrote.

    A job that ends with this error removes the file, so that the next run makes it anew.

    Parameters
    ----------
    message : str
        Names the file and what is wrong with it.
    path : path or None
        The file; None where the error comes from another process, which hands on the message alone.
    """

    def __init__(self, message: str, path: Path | None = None):
        super().__init__(message)
        self.path = path
