"""Run the benchmarks, each in a process of its own, and print what they found.

    python -m bench [--write] [NAME ...]

NAME is a module of this folder that prints Markdown. With --write, what it prints replaces its section of
bench/RESULTS.md.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from bench.measuring import environment, machine, today

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLES = {  # in the order of the page
    "cache": "Data layer",
    "scale": "Ingest and caches at full size",
    "fuzz": "Damaged files",
    "intervals": "Statistics",
    "training": "Training on the CPU",
    "gpu": "Training on a GPU",
}
QUICK = ["cache", "intervals", "training"]  # a few minutes together, on any machine
HEAD = """# Results of the benchmarks

Written by `python -m bench --write` (`make bench-results`); each section says when and by which command.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=QUICK, help=f"default: {' '.join(QUICK)}")
    parser.add_argument("--write", action="store_true", help=f"put the results into {RESULTS.name}")
    arguments = parser.parse_args()
    sections = {}
    for name in arguments.names:
        command = f"python -m bench.{name}"
        about = f"`{command}`, {today()}; {machine()}."
        found = subprocess.run([sys.executable, "-m", f"bench.{name}"], stdout=subprocess.PIPE, text=True, check=True)
        title = TITLES.get(name, name.capitalize())
        sections[title] = f"{about}\n\n{found.stdout.strip()}\n"
        print(f"## {title}\n\n{sections[title]}", flush=True)
    if arguments.write:
        write(sections)


def write(sections: dict[str, str]) -> None:
    """Put sections into the page and leave the others as they are."""
    page = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:]
    old = {title: text.strip() + "\n" for title, text in zip(parts[::2], parts[1::2], strict=True)}
    new = old | {"Machine": environment() + "\n"} | sections
    order = ["Machine", *TITLES.values()]
    titles = sorted(new, key=lambda title: order.index(title) if title in order else len(order))
    text = "\n".join(f"## {title}\n\n{new[title]}" for title in titles)
    RESULTS.write_text(HEAD + text, encoding="utf-8")


if __name__ == "__main__":
    main()
