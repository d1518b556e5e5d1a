"""The package as a user installs it: from a wheel, in an environment of its own, outside of the checkout.

Where CI is set, the environment is new and pip fetches everything that the package says it needs; elsewhere it borrows
the installed libraries, and the wheel alone is installed.
"""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ich.base.classes import CLASSES
from ich.models.backbones import build
from ich.models.weights import description, save_weights
from ich.phantom.dataset import generate
from ich.report.card import USAGE

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WINDOWS = [{"name": "brain", "level": 40.0, "width": 80.0}, {"name": "bone", "level": 600.0, "width": 2800.0}]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the files that a clone has."""
    folder = tmp_path_factory.mktemp("wheel")
    named = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, named.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "source" / name, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "source"]
    subprocess.run(command, check=True, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs a command in the environment, in a folder of its own, and gives what it printed."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    if "CI" in os.environ:
        pins = re.findall(r"^[a-z0-9_.-]+==[^ ;\\]+", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
        (folder / "constraints.txt").write_text("\n".join(pins))
        subprocess.run([*pip, "--constraint", folder / "constraints.txt", wheel], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
    else:
        subprocess.run([*pip, "--no-deps", wheel], check=True)
        [library] = (folder / "venv/lib").glob("python*/site-packages")
        (library / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    work = folder / "work"
    work.mkdir()

    def run(program, *arguments):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [folder / "venv/bin" / program, *arguments], cwd=work, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = work
    return run


def test_a_wheel_has_every_module_and_resource_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ich").rglob("*") if path.is_file()}
    assert packed == {name for name in own if "__pycache__" not in name}


def test_the_package_is_the_installed_one_in_its_version(installed):
    assert installed("ich", "--version") == f"ich {VERSION}\n"
    place = installed("python", "-c", "import ich.evaluation; print(ich.__file__)")
    assert "site-packages" in place
    assert str(ROOT) not in place


def test_every_module_can_be_imported(installed):
    code = """
import importlib, pkgutil, ich
for module in pkgutil.walk_packages(ich.__path__, "ich."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""
    assert len(installed("python", "-c", code).splitlines()) > 80


def test_a_made_slice_can_be_inspected(installed):
    generate(installed.folder, patients=1, slices=(5, 5), size=64, prevalence=1, seed=0)
    slices = sorted((installed.folder / "stage_2_train").glob("*.dcm"))
    printed = installed("ich", "inspect", str(slices[0]))
    assert printed.startswith("contact_sheet.png: 1 slices")
    assert (installed.folder / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_code_of_a_model_card_works(installed):
    torch.manual_seed(0)
    described = description("resnet18", WINDOWS, 64)
    save_weights(build("resnet18", channels=2).state_dict(), installed.folder / "weights.safetensors", described)
    (installed.folder / "model.json").write_text(json.dumps(described))
    generate(installed.folder / "made", patients=1, slices=(5, 5), size=64, prevalence=1, seed=0)
    (installed.folder / "made/stage_2_train").rename(installed.folder / "scan")
    (installed.folder / "card.py").write_text(USAGE + "print(probabilities.tolist())\n")
    printed = np.array(json.loads(installed("python", "card.py")))
    assert printed.shape[1] == len(CLASSES)
    assert len(printed) >= 3
    assert ((printed > 0) & (printed < 1)).all()
