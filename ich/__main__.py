"""The command line: looking at slices, at what was left out, and at why rules run again."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ich.base.errors import InputError
from ich.base.version import version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0, or 1 after a message about bad input. (argparse itself ends the process with 2.)
    """
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except BrokenPipeError:  # such as by `| head`; nothing more can be written, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        print(f"ich: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ich", description="Look at slices of head CT, at what was left out, and at why rules run again."
    )
    parser.add_argument("--version", action="version", version=f"ich {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument(
        "--results", metavar="DIR", default="results", help="folder of the workflow's results (default: results)"
    )
    inspect = commands.add_parser(
        "inspect",
        parents=[everywhere],
        help="draw a contact sheet of a series",
        description="Draw the slices of a series in the bone, subdural and soft tissue window, with their numbers, "
        "positions in mm and, where the results have them, labels. A slice that cannot be used is a box with the "
        "reason. There is no name of a patient, file or series on the sheet.",
        epilog="example: ich inspect ID_0a1b2c3d4 --results results/demo",
    )
    inspect.add_argument(
        "source",
        metavar="SERIES_OR_FILE",
        help="a DICOM file, a folder or zip file of them, or a SeriesInstanceUID or image_id that the results know",
    )
    inspect.add_argument("--series", metavar="N", type=int, help="which one, where a folder or zip file has several")
    inspect.add_argument(
        "--output", metavar="FILE", default="contact_sheet.png", help="the sheet (default: contact_sheet.png)"
    )
    inspect.set_defaults(command=_inspect)
    quarantine = commands.add_parser(
        "quarantine",
        parents=[everywhere],
        help="say which slices were left out, why, and what to do",
        description="Count by stage and reason which slices were left out, with what each reason means and what to do. "
        "With --stage or --reason, give these lines of the table instead, as CSV.",
        epilog='example: ich quarantine --reason "decode error" > failed.csv',
    )
    quarantine.add_argument("--stage", metavar="STAGE", help="headers, slices, cohort or cache")
    quarantine.add_argument("--reason", metavar="REASON", help='such as "truncated"')
    quarantine.set_defaults(command=_quarantine)
    why = commands.add_parser(
        "why",
        help="list the code that a rule depends on, and what has changed since a commit",
        description="List the modules and resources that a rule of the workflow depends on: an edit of one of them "
        "reruns it. With --since, list those that have changed since a commit. Comments, docstrings and formatting do "
        "not count. `snakemake -n` says whether code, other parameters or inputs are the reason.",
        epilog="example: ich why train --since HEAD~3",
    )
    why.add_argument("rule", metavar="RULE", help="name of a rule, such as train")
    why.add_argument("--since", metavar="COMMIT", help="a commit, tag or branch of git")
    why.set_defaults(command=_why)
    adopt = commands.add_parser(
        "adopt",
        help="after an upgrade, keep results whose artifacts the new release leaves the same",
        description="Record present results as made by today's code where the releases say that it makes the same "
        "artifacts, so that they do not run again. Nothing else is changed: results made by other code, such as code "
        "that you have edited, and results of other settings run again as before. Run it where the workflow ran.",
        epilog="example: ich adopt --dry-run, then ich adopt, then snakemake -n",
    )
    adopt.add_argument(
        "--configfile", metavar="FILE", nargs="+", default=[], help="overlays of the run, as given to snakemake"
    )
    adopt.add_argument("--dry-run", "-n", action="store_true", help="say what would be adopted, and change nothing")
    adopt.set_defaults(command=_adopt)
    return parser


def _inspect(given: argparse.Namespace) -> None:
    from ich.images import inspection  # seconds, which nothing else needs
    from ich.report.figures import frame

    if Path(given.source).exists():
        headers = inspection.headers_of_files(given.source)
    else:
        headers = inspection.headers_of_series(given.source, given.results)
    series = inspection.series_of(headers)
    if given.series is None and len(series) > 1:
        raise InputError(
            f"{given.source}: has {len(series)} series, of {', '.join(str(len(rows)) for rows in series[:20])} files"
            f"{' and so on' if len(series) > 20 else ''}. Choose one with --series 1 to {len(series)}."
        )
    number = given.series or 1
    if not 1 <= number <= len(series):
        raise InputError(f"{given.source}: has no series {number}; there is 1 to {len(series)}")
    slices, quarantine = inspection.ordered(series[number - 1])
    labels = inspection.known_labels(slices["image_id"], given.results)
    cells = inspection.look(slices, quarantine, labels, chosen=given.source)
    frame.save(inspection.contact_sheet(cells), given.output)
    defects = [cell for cell in cells if cell.reason]
    print(f"{given.output}: {len(cells)} slices, {len(defects)} of them of no use")
    for cell in defects:
        print(f"{cell.reason}: {cell.location}")


def _quarantine(given: argparse.Namespace) -> None:
    from ich.cohort.quarantine import REASONS, left_out

    table = left_out(given.results, given.stage, given.reason)
    if given.stage or given.reason:
        print(table.to_csv(index=False, lineterminator="\n"), end="")
        return
    print(f"{len(table):,} left out")
    counts = table.groupby(["stage", "reason"], sort=False).size().sort_values(ascending=False, kind="stable")
    for stage, reason, count in counts.reset_index(name="count").itertuples(index=False):
        print(f"\n{count:>9,}  {reason} ({stage})\n           {REASONS.get(reason, '')}")


def _checkout() -> Path:
    """Find the checkout with the workflow's rules: the current folder, or where the package lies."""
    for folder in (Path.cwd(), Path(__file__).parents[1]):
        if (folder / "workflow/scripts").is_dir():
            return folder
    raise InputError("there is no workflow here. Run this in the folder of the repository, where the Snakefile is.")


def _why(given: argparse.Namespace) -> None:
    from ich.base.changes import changes, code_at, optional_files
    from ich.base.fingerprint import Code

    code = Code(_checkout())
    files, optional = code.files(given.rule), optional_files(code, given.rule)
    if given.since is None:
        print(f"{given.rule} depends on {len(files)} files:")
        for name in files:
            print(f"  {name}{_only_for(optional.get(name, []))}")
        return
    with code_at(code.root, given.since) as before:
        found = changes(before, code, given.rule)
    if not found:
        print(f"{given.rule}: nothing that it depends on has changed since {given.since}")
        return
    counts = Counter(change for change, _ in found)
    said = ", ".join(f"{counts[change]} {change}" for change in ("changed", "new", "gone") if counts[change])
    print(f"{given.rule}: {said} since {given.since}")
    for change, name in found:
        print(f"  {change:<7}  {name}{_only_for(optional.get(name, []))}")


def _only_for(parts: Sequence[str]) -> str:
    """Say which optional parts bring a file."""
    if not parts:
        return ""
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"  (only for {', '.join(parts[:3])}{more})"


def _adopt(given: argparse.Namespace) -> None:
    from ich.base.adoption import adopt, releases
    from ich.base.fingerprint import Code
    from ich.config.parsing import read

    config = read(["config.yaml", *given.configfile])
    found = adopt(".", Code(_checkout()), config.job_parts, releases(), dry=given.dry_run)
    verb = "would be adopted" if given.dry_run else "adopted"
    for rule, names in sorted(found.adopted.items()):
        print(f"{rule}: {_files(names)} {verb}")
    for rule, names in sorted(found.current.items()):
        print(f"{rule}: {_files(names)} made by today's code already")
    for rule, reasons in sorted(found.kept.items()):
        for reason in dict.fromkeys(reasons.values()):
            names = [name for name, each in reasons.items() if each == reason]
            print(f"{rule}: {_files(names)} not adopted: {reason}")
    if not (found.adopted or found.current or found.kept):
        print("no results of this workflow are recorded here")


def _files(names: Sequence[str]) -> str:
    return f"{len(names)} file{'s' * (len(names) != 1)}"


if __name__ == "__main__":
    sys.exit(main())
