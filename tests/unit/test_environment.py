"""The environment files say the same."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def pins(name):
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^ ;\\]+)", (ROOT / name).read_text(), flags=re.MULTILINE))


def test_conda_has_the_pins_of_the_lock():
    *_, last = yaml.safe_load((ROOT / "envs/ich.yaml").read_text())["dependencies"]
    assert dict(line.split("==") for line in last["pip"]) == pins("requirements.lock"), "run `make lock`"


def test_the_development_lock_is_the_lock_and_more():
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items(), "run `make lock`"


def test_every_pin_has_a_hash():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        for requirement in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
            assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


def test_the_lock_holds_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[>=<]", line)[0] for line in project["project"]["dependencies"]}
    assert wanted <= pins("requirements.lock").keys()
    decided = (ROOT / "docs/decisions.md").read_text()
    assert not {
        name
        for name in wanted
        if name not in decided and name not in ("numpy", "pyyaml", "pylibjpeg-openjpeg", "pylibjpeg-rle")
    }
