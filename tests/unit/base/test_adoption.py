"""Adoption: what counts as made by today's code, and what must not."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from ich.base.adoption import Release, adopt, equal_hashes, hashes_of, releases, write_release
from ich.base.errors import InputError
from ich.base.fingerprint import Code
from tests.unit.base.test_fingerprint import FILES, WITH_PARTS, written

ROOT = Path(__file__).parents[3]
OLD, OLDER, OTHER = "a" * 16, "b" * 16, "c" * 16


def record(folder, output, code, rule="rule", more=("{'epochs': 3}",), log=("results/logs/rule/one.log",)):
    """Write a record in Snakemake's form, and give its path."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    pieces = [name[start : start + 254] for start in range(0, len(name), 254)]
    path = folder.joinpath(".snakemake/metadata", *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    params = sorted([repr(code), *more])
    path.write_text(json.dumps({"rule": rule, "params": params, "log": [*log], "starttime": 1.5, "incomplete": False}))
    return path


def said(code, before=OLD, name="2.0", since="1.0", rule="rule"):
    return Release(name, since, {rule: {"before": [before], "after": hashes_of(code, rule)}})


def no_parts(rule, logs):
    return []


@pytest.fixture
def code(tmp_path):
    return written(tmp_path, FILES)


def test_what_was_made_by_the_former_code_counts_as_made_by_todays(tmp_path, code):
    path = record(tmp_path, "results/a.csv", OLD)
    path.chmod(0o664)
    before = json.loads(path.read_text())
    found = adopt(tmp_path, code, no_parts, [said(code)])
    assert found.adopted == {"rule": ["results/a.csv"]}
    assert (found.current, found.kept) == ({}, {})
    now = json.loads(path.read_text())
    assert sorted(now.pop("params")) == sorted([repr(code.hash("rule")), "{'epochs': 3}"])
    before.pop("params")
    assert now == before
    assert path.stat().st_mode & 0o777 == 0o664
    assert [each.name for each in (tmp_path / ".snakemake").iterdir()] == ["metadata"]
    again = adopt(tmp_path, code, no_parts, [said(code)])
    assert (again.adopted, again.current) == ({}, {"rule": ["results/a.csv"]})


def test_records_with_long_names_are_found_and_rewritten(tmp_path, code):
    output = "results/" + "x" * 400
    path = record(tmp_path, output, OLD)
    assert adopt(tmp_path, code, no_parts, [said(code)]).adopted == {"rule": [output]}
    assert repr(code.hash("rule")) in json.loads(path.read_text())["params"]


def test_a_dry_run_changes_nothing(tmp_path, code):
    path = record(tmp_path, "results/a.csv", OLD)
    before = path.read_bytes()
    assert adopt(tmp_path, code, no_parts, [said(code)], dry=True).adopted == {"rule": ["results/a.csv"]}
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("made_by", "edit", "reason"),
    [
        (OTHER, "", "made by code that is no release's"),
        (OLD, "x = 'edited'\n", "not that of release 2.0 any more"),
    ],
    ids=["other code", "code edited since"],
)
def test_what_no_release_vouches_for_is_left(tmp_path, code, made_by, edit, reason):
    known = [said(code)]
    path = record(tmp_path, "results/a.csv", made_by)
    before = path.read_bytes()
    if edit:
        (tmp_path / "ich/two/third.py").write_text(edit)
    found = adopt(tmp_path, Code(tmp_path), no_parts, known)
    assert found.adopted == {}
    assert reason in found.kept["rule"]["results/a.csv"]
    assert path.read_bytes() == before


def test_a_rule_whose_artifacts_differ_is_left(tmp_path, code):
    record(tmp_path, "results/a.csv", OLD)
    found = adopt(tmp_path, code, no_parts, [Release("2.0", "1.0", {})])
    assert found.kept.keys() == {"rule"}


def test_releases_can_be_skipped_if_all_between_say_so(tmp_path, code):
    now = code.hash("rule")
    first = Release("2.0", "1.0", {"rule": {"before": [OLDER], "after": [OLD]}})
    assert equal_hashes("rule", now, [first, said(code, name="3.0", since="2.0")]) == {OLD, OLDER}
    assert equal_hashes("rule", now, [first, Release("3.0", "2.0", {})]) == set()
    assert equal_hashes("rule", now, [Release("2.0", "1.0", {}), said(code, name="3.0", since="2.0")]) == {OLD}
    assert equal_hashes("other", now, [first]) == set()


def test_files_of_other_rules_and_records_without_code_are_left(tmp_path, code):
    paths = [
        record(tmp_path, "a", OLD, rule="another workflow's"),
        record(tmp_path, "b", "not a hash"),
        record(tmp_path, "c", OLD, more=[repr(OTHER)]),  # nobody can tell which of the two is the code
    ]
    before = [path.read_bytes() for path in paths]
    found = adopt(tmp_path, code, no_parts, [said(code)])
    assert (found.adopted, found.current, found.kept) == ({}, {}, {})
    assert [path.read_bytes() for path in paths] == before


def test_the_code_of_a_job_is_that_of_the_parts_it_uses(tmp_path):
    code = written(tmp_path, WITH_PARTS)
    paths = {name: record(tmp_path, name, OLD, log=[f"logs/rule/{name}.log"]) for name in ("dice", "focal")}
    adopt(tmp_path, code, lambda rule, logs: [f"loss.{Path(logs[0]).stem}"], [said(code)])
    for name, path in paths.items():
        assert repr(code.hash("rule", [f"loss.{name}"])) in json.loads(path.read_text())["params"]


def test_a_job_whose_parts_are_not_known_is_left(tmp_path, code):
    def parts(rule, logs):
        raise InputError("there is no experiment one")

    record(tmp_path, "results/a.csv", OLD)
    found = adopt(tmp_path, code, parts, [said(code)])
    assert found.kept == {"rule": {"results/a.csv": "there is no experiment one"}}


def test_a_folder_without_records_is_refused_in_words(tmp_path, code):
    with pytest.raises(InputError, match="there are no records of Snakemake"):
        adopt(tmp_path / "elsewhere", code, no_parts, [])


def test_while_snakemake_runs_nothing_is_adopted(tmp_path, code):
    record(tmp_path, "results/a.csv", OLD)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text("results/a.csv\n")
    with pytest.raises(InputError, match="Snakemake is running"):
        adopt(tmp_path, code, no_parts, [said(code)])


def test_a_damaged_record_is_named(tmp_path, code):
    path = record(tmp_path, "results/a.csv", OLD)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(InputError, match=f"{path.name}: not a record of Snakemake"):
        adopt(tmp_path, code, no_parts, [said(code)])


def test_the_hashes_of_a_release_are_written(tmp_path, code):
    path = tmp_path / "releases.yaml"
    path.write_text(
        "# Head.\n- {release: 2.0.1, since: 1.0.1, same: {rule: {before: ['0000000000000001'], after: []}}}\n"
    )
    write_release(tmp_path, path)
    [release] = releases(path)
    assert (release.name, release.since) == ("2.0.1", "1.0.1")
    assert release.same == {"rule": {"before": ["0000000000000001"], "after": [code.hash("rule")]}}
    assert path.read_text().startswith("# Head.\n- ")


# ---- what this repository says


def test_the_newest_release_is_this_one_and_knows_todays_code():
    code = Code(ROOT)
    newest = releases()[-1]
    for rule, hashes in newest.same.items():
        assert hashes["after"] == hashes_of(code, rule), (
            f"the code of rule {rule} has changed. If its artifacts are still those of {newest.since}, byte for byte, "
            "run `make adoption`; if not, take the rule out of ich/base/adoption.yaml."
        )


def test_every_rule_that_a_release_names_is_a_rule():
    for release in releases():
        assert set(release.same) <= set(Code(ROOT).rules())
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == releases()[-1].name
