"""Adoption: present results count as made by today's code where a release says that their artifacts are the same.

Snakemake keeps the parameters with which each file was made, the hash of the code among them. A release that moves code
changes these hashes and would make everything run again. `adoption.yaml` lists, release by release, the rules whose
artifacts were proved to be the same, with the hash of their code before and after. Only what was made by exactly the
one code and would now be made by exactly the other is adopted; the other parameters stay as they were recorded, so that
Snakemake still sees every other change.
"""

import base64
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ich.base.errors import InputError
from ich.base.fingerprint import Code

RELEASES = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Release:
    """What a release says of the artifacts of the one before.

    Attributes
    ----------
    name, since : str
        Its version, and that of the release before.
    same : dict of str to dict
        By rule, `before` and `after`: hashes of its code in the two releases. There are several where jobs of one rule
        use different optional parts.
    """

    name: str
    since: str
    same: dict[str, dict[str, list[str]]]


@dataclass
class Adoption:
    """What `adopt` found.

    Attributes
    ----------
    adopted : dict of str to list of str
        By rule, the files that now count as made by today's code.
    current : dict of str to list of str
        The files that were made by today's code anyway.
    kept : dict of str to dict
        By rule, the files that will run again, with the reason.
    """

    adopted: dict[str, list[str]] = field(default_factory=dict)
    current: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, dict[str, str]] = field(default_factory=dict)


def releases(path: str | Path = RELEASES) -> list[Release]:
    """Read what the releases say, oldest first."""
    written = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return [Release(str(each["release"]), str(each["since"]), each["same"]) for each in written]


def equal_hashes(rule: str, code: str, known: Iterable[Release]) -> set[str]:
    """Find the hashes of earlier code of a rule that made the same artifacts, through as many releases as say so.

    Parameters
    ----------
    rule : str
        Name of the rule.
    code : str
        Hash of its code now.
    known : iterable of Release
        Oldest first.
    """
    found: set[str] = set()
    for release in reversed([*known]):
        said = release.same.get(rule, {"before": [], "after": []})
        if {code, *found} & set(said["after"]):
            found |= set(said["before"])
    return found - {code}


def adopt(
    folder: str | Path,
    code: Code,
    parts: Callable[[str, Sequence[str]], Sequence[str]],
    known: Iterable[Release],
    *,
    dry: bool = False,
) -> Adoption:
    """Record results as made by today's code where the releases say that their artifacts are the same.

    Parameters
    ----------
    folder : path
        Where Snakemake ran: the folder that holds `.snakemake`.
    code : Code
        Today's code.
    parts : function
        Names the optional parts that a job uses, from its rule and its log files. An `InputError` that it raises says
        why they are not known; the job's files are then kept as they are.
    known : iterable of Release
        What the releases say.
    dry : bool
        Change nothing.

    Returns
    -------
    Adoption

    Raises
    ------
    InputError
        Snakemake keeps no records here, keeps them in another form, or is running.
    """
    records = Path(folder) / ".snakemake" / "metadata"
    if not records.is_dir():
        raise InputError(
            f"{records}: there are no records of Snakemake. Run `ich adopt` in the folder where the workflow ran; "
            "without records Snakemake takes results as they are. (Records in a database cannot be adopted.)"
        )
    if any((records.parent / "locks").glob("*.lock")):
        raise InputError(
            f"{records.parent}: Snakemake is running here, or was killed. Wait for it to end, or `snakemake --unlock`."
        )
    known, today, found = [*known], set(code.rules()), Adoption()
    for path in sorted(path for path in records.rglob("*") if path.is_file()):
        record = _read(path)
        rule, made_by = record.get("rule"), _code_of(record)
        if rule not in today or made_by is None:
            continue
        name = _output(path.relative_to(records))
        try:
            now = code.hash(rule, parts(rule, record.get("log") or []))
        except InputError as error:
            found.kept.setdefault(rule, {})[name] = str(error)
            continue
        if made_by == now:
            found.current.setdefault(rule, []).append(name)
        elif made_by in equal_hashes(rule, now, known):
            if not dry:
                record["params"] = [repr(now) if each == repr(made_by) else each for each in record["params"]]
                _rewrite(path, record, records.parent)
            found.adopted.setdefault(rule, []).append(name)
        else:
            found.kept.setdefault(rule, {})[name] = _reason(rule, made_by, now, known)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not a record of Snakemake ({error}). Nothing after it was adopted.") from error


def _code_of(record: dict[str, Any]) -> str | None:
    """Return the code hash among the parameters of a record; they are kept as text, without their names."""
    hashes = [each[1:-1] for each in record.get("params") or [] if isinstance(each, str) and _is_hash(each)]
    return hashes[0] if len(hashes) == 1 else None


def _is_hash(text: str) -> bool:
    return len(text) == 18 and text[0] == text[-1] == "'" and set(text[1:-1]) <= set("0123456789abcdef")


def _output(record: Path) -> str:
    """Name the file that a record is about; the record's own name is this in base64, cut where it is too long."""
    text = "".join(part.removeprefix("@") for part in record.parts)
    return base64.urlsafe_b64decode(text).decode(errors="replace")


def _rewrite(path: Path, record: dict[str, Any], folder: Path) -> None:
    """Put a record in place of the former one, whole or not at all, with its permissions."""
    partial = folder / f"adopt-{uuid.uuid4().hex}.partial"  # not beside it, where the name may be too long
    try:
        partial.write_text(json.dumps(record), encoding="utf-8")
        shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _reason(rule: str, made_by: str, now: str, known: Sequence[Release]) -> str:
    """Say why files of a rule are not adopted."""
    newest = next((each for each in reversed(known) if made_by in each.same.get(rule, {"before": []})["before"]), None)
    if newest is None:
        return "its artifacts are not the same, or it was made by code that is no release's"
    if not {now, *equal_hashes(rule, now, known)} & set(newest.same[rule]["after"]):
        return f"the code is not that of release {newest.name} any more"
    return "a later release changed its artifacts"


def write_release(root: str | Path, path: str | Path = RELEASES) -> None:
    """Write the hashes of today's code into what the newest release says, for the rules that it names.

    Parameters
    ----------
    root : path
        Folder of the checkout.
    path : path
        The file of the releases; comments at its top are kept.
    """
    text = Path(path).read_text(encoding="utf-8")
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    written, code = yaml.safe_load(text), Code(root)
    for rule, hashes in written[-1]["same"].items():
        hashes["after"] = hashes_of(code, rule)
    Path(path).write_text(head + yaml.safe_dump(written, sort_keys=False, default_flow_style=None, width=120))


def hashes_of(code: Code, rule: str) -> list[str]:
    """List the hashes that jobs of a rule can have: one for each optional part that they may name, or the only one."""
    parts = code.parts(rule)
    return sorted({code.hash(rule, [part]) for part in parts} or {code.hash(rule)})
