"""The command line: looking at slices, and at what was left out."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ich.base.errors import InputError


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
    parser = argparse.ArgumentParser(prog="ich", description="Look at slices of head CT and at what was left out.")
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


if __name__ == "__main__":
    sys.exit(main())
