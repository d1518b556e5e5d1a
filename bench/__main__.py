"""Run the benchmarks, each in a process of its own, and print what they found.

    python -m bench [--write] [NAME ...]

NAME is a module of this folder that prints Markdown; those that take a few minutes together are the default. With
--write, what they print replaces their sections of bench/RESULTS.md.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from bench.measuring import environment, machine, today

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLES = {"cache": "Data layer"}  # of the benchmarks that run by default, in the order of the page
HEAD = """# Results of the benchmarks

Written by `python -m bench --write` (`make bench-results`); each section says when and by which command.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(TITLES), help=f"default: {' '.join(TITLES)}")
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
    new = {"Machine": environment() + "\n"} | old | {"Machine": environment() + "\n"} | sections
    text = "\n".join(f"## {title}\n\n{body}" for title, body in new.items())
    RESULTS.write_text(HEAD + text, encoding="utf-8")


if __name__ == "__main__":
    main()
