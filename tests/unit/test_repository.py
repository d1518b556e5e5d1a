"""What surrounds the code: files that people, GitHub, Docker and the workflow catalogue read."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = ["bug.yml", "experiment.yml"]
RESPONSES = {"checkboxes", "dropdown", "input", "textarea"}
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def text(name):
    return (ROOT / name).read_text()


def instructions():
    """Instructions of the Dockerfile, each as (keyword, rest)."""
    lines = re.sub(r"^#.*\n", "", text("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def releases():
    return re.findall(r"^## \[([\d.]+)\] - (\S+)$", text("CHANGELOG.md"), flags=re.MULTILINE)


# Citation and changelog


def test_the_citation_is_valid():
    schema = json.loads(text("tests/schemas/citation-file-format-1.2.0.json"))
    # YAML reads a date as one, the schema wants its text.
    citation = json.loads(json.dumps(yaml.safe_load(text("CITATION.cff")), default=date.isoformat))
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(citation)


def test_the_citation_has_what_the_readme_asks_to_cite():
    citation = yaml.safe_load(text("CITATION.cff"))
    readme = text("README.md")
    dois = [reference["doi"] for reference in citation["references"] if "doi" in reference]
    assert dois
    assert all(doi in readme for doi in dois)
    assert any(reference["title"] in readme for reference in citation["references"] if reference["type"] == "generic")


def test_every_file_names_the_same_version():
    citation = yaml.safe_load(text("CITATION.cff"))
    project = tomllib.loads(text("pyproject.toml"))["project"]
    newest = (citation["version"], citation["date-released"].isoformat())
    assert releases()[0] == newest
    assert project["version"] == citation["version"]
    assert project["license"] == citation["license"]
    assert f"| {citation['version'].rpartition('.')[0]} | yes |" in text("SECURITY.md")


def test_the_changelog_is_in_the_form_that_it_names():
    headings = re.findall(r"^(##+) (.*)$", text("CHANGELOG.md"), flags=re.MULTILINE)
    found = releases()
    assert [heading for level, heading in headings if level == "##"] == [f"[{v}] - {day}" for v, day in found]
    assert {heading for level, heading in headings if level == "###"} <= SECTIONS
    assert [day for _, day in found] == sorted((day for _, day in found), reverse=True)
    numbers = [tuple(map(int, version.split("."))) for version, _ in found]
    assert numbers == sorted(set(numbers), reverse=True)


# GitHub


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_is_one_that_github_accepts(name):
    form = yaml.safe_load(text(f".github/ISSUE_TEMPLATE/{name}"))
    assert {"name", "description", "body"} <= form.keys() <= {"name", "description", "title", "labels", "body"}
    asked = [element for element in form["body"] if element["type"] != "markdown"]
    assert asked, "GitHub wants something to fill in"
    for element in form["body"]:
        attributes = element["attributes"]
        assert element.keys() <= {"type", "id", "attributes", "validations"}
        if element["type"] == "markdown":
            assert attributes.keys() == {"value"}
            continue
        assert element["type"] in RESPONSES
        assert re.fullmatch(r"[\w-]+", element["id"])
        assert attributes["label"]
        if element["type"] == "dropdown":
            options = attributes["options"]
            assert len(set(options)) == len(options)
            assert all(isinstance(option, str) for option in options), "YAML read an option as something else"
        if element["type"] == "checkboxes":
            assert all(option["label"] for option in attributes["options"])
    for key in (lambda element: element["id"], lambda element: element["attributes"]["label"]):
        assert len({key(element) for element in asked}) == len(asked)


def test_every_form_that_needs_data_asks_for_none_of_patients():
    form = yaml.safe_load(text(".github/ISSUE_TEMPLATE/bug.yml"))
    confirmed = [
        option
        for element in form["body"]
        if element["type"] == "checkboxes"
        for option in element["attributes"]["options"]
        if option.get("required")
    ]
    assert any("patient" in option["label"] for option in confirmed)


def test_the_chooser_of_forms_is_one_that_github_accepts():
    chooser = yaml.safe_load(text(".github/ISSUE_TEMPLATE/config.yml"))
    assert chooser.keys() == {"blank_issues_enabled", "contact_links"}
    for link in chooser["contact_links"]:
        assert link.keys() == {"name", "url", "about"}
        assert link["url"].startswith("https://")
    assert {path.name for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir()} == {*FORMS, "config.yml"}


def test_github_runs_what_everyone_else_runs():
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    assert workflow[True].keys() >= {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] == 90
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-1] == "bash .ci/run"
    assert not [command for command in commands if re.search(r"\b(make|pytest|pip|apt-get)\b", command)]
    # The script installs by apt-get as root, without sudo: a container of Debian, with the Python of the lock file.
    assert "sudo" not in text(".ci/run")
    python = re.search(r"--python-version (\S+)", text("Makefile"))[1]
    assert job["container"]["image"] == f"python:{python}-bookworm"


def test_contributors_are_told_the_commands_of_ci():
    commands = re.findall(r"^make .*", text(".ci/run"), flags=re.MULTILINE)
    assert commands
    for command in commands:
        for name in ("CONTRIBUTING.md", ".github/pull_request_template.md"):
            assert f"`{command}`" in text(name), f"{name}: {command}"


# Docker


def test_the_image_is_that_of_apptainer():
    ((_, base),) = [line for line in instructions() if line[0] == "FROM"]
    assert base == re.search(r"^From: (\S+)$", text("envs/ich.def"), flags=re.MULTILINE)[1]
    assert re.fullmatch(r"python:\d\.\d+-slim-\w+", base), "Python and Debian are pinned"
    for install in ("--no-cache-dir", "--require-hashes", "--requirement requirements.lock"):
        assert any(install in rest for keyword, rest in instructions() if keyword == "RUN")


def test_the_image_runs_the_demo_and_not_as_root():
    last = dict(instructions())
    assert last["USER"].isdigit()
    assert int(last["USER"]) > 0
    assert [keyword for keyword, _ in instructions()][-2:] == ["USER", "CMD"]
    demo = re.search(r"^demo:.*\n\t\$\(SNAKEMAKE\) (.*)$", text("Makefile"), flags=re.MULTILINE)[1]
    options = re.search(r"^SNAKEMAKE := \S+/snakemake (.*)$", text("Makefile"), flags=re.MULTILINE)[1]
    assert json.loads(last["CMD"]) == ["snakemake", *options.split(), *demo.split()]


def copied():
    """Names at the top level that .dockerignore lets through."""
    first, *others = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert first == "*", "a folder of any name may hold data of patients"
    return {line[1:] for line in others if line.startswith("!")}


def test_no_data_gets_into_the_image():
    assert not copied() & {"data", "results", ".git", ".snakemake", ".venv"}
    ignored = {line.rstrip("/") for line in text(".gitignore").splitlines()}
    assert not copied() & ignored
    assert all((ROOT / name).exists() for name in copied())


def test_the_image_has_what_the_demo_needs(tmp_path):
    for name in copied():
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    command = [sys.executable, "-m", *json.loads(dict(instructions())["CMD"]), "--dry-run", "--quiet"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


# Workflow catalogue


def test_the_entry_of_the_catalogue_has_the_documented_keys():
    usage = yaml.safe_load(text(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    assert usage["report"] is True
    deployment = usage["software-stack-deployment"]
    assert deployment.keys() == {"conda", "apptainer", "apptainer+conda"}
    assert deployment["conda"] == (ROOT / "envs/ich.yaml").exists()


# Pages


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
