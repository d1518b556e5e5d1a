"""Why a rule runs again: the code that it depends on, and what of it has changed since a commit."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ich.base.errors import InputError
from ich.base.fingerprint import Code


@contextmanager
def code_at(root: str | Path, commit: str) -> Iterator[Code]:
    """Give the code of an earlier commit.

    Parameters
    ----------
    root : path
        Folder of the checkout.
    commit : str
        Any name that git knows: a hash, a tag, `HEAD~3`.

    Yields
    ------
    Code
        In a temporary folder, which goes with the block.

    Raises
    ------
    InputError
        This is no git checkout, or it has no such commit.
    """
    # Without --end-of-options a name that begins with a dash would be taken for an option
    command = ["git", "-C", str(root), "archive", "--format=tar", "--end-of-options", commit, "ich", "workflow/scripts"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise InputError("git is not installed, and only git knows the code of an earlier commit") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise InputError(f"{root}: git has no code of {commit!r} ({said})") from error
    with tempfile.TemporaryDirectory(prefix="ich-code-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Code(folder)


def changes(before: Code, after: Code, rule: str) -> list[tuple[str, str]]:
    """List what has changed of the code that a rule depends on.

    Comments, docstrings and formatting do not count. All optional parts do.

    Parameters
    ----------
    before, after : Code
        The two states of the code.
    rule : str
        Name of the rule.

    Returns
    -------
    list of tuple of str
        `new`, `changed` or `gone`, and the file, in alphabetical order of the files; a rule that was not there before
        has all of its files new.

    Raises
    ------
    InputError
        There is no such rule now.
    """
    now = after.files(rule)
    then = before.files(rule) if rule in before.rules() else {}
    found = []
    for name in sorted(now.keys() | then.keys()):
        if name not in then:
            found.append(("new", name))
        elif name not in now:
            found.append(("gone", name))
        elif now[name] != then[name]:
            found.append(("changed", name))
    return found


def optional_files(code: Code, rule: str) -> dict[str, list[str]]:
    """Name the files that count for a job only if its experiment names an optional part.

    Returns
    -------
    dict of str to list of str
        By file, the parts that bring it, as `registry.name`.
    """
    always = code.files(rule, ())
    found: dict[str, list[str]] = {}
    for part in code.parts(rule):
        for name in code.files(rule, [part]).keys() - always.keys():
            found.setdefault(name, []).append(part)
    return dict(sorted(found.items()))
