"""Why a rule runs again: `ich why` on a repository of its own."""

import subprocess

import pytest

from ich.__main__ import main
from ich.base.changes import changes, code_at, optional_files
from ich.base.errors import InputError
from ich.base.fingerprint import Code
from tests.unit.base.test_fingerprint import FILES, WITH_PARTS, written


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit, tagged `v1`."""
    written(tmp_path, FILES)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "tag", "v1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def since(checkout, commit="v1"):
    with code_at(checkout, commit) as before:
        return changes(before, Code(checkout), "rule")


def test_nothing_has_changed(checkout):
    assert since(checkout) == []


def test_what_has_changed_is_named_and_what_does_not_count_is_not(checkout):
    (checkout / "ich/one/first.py").write_text(FILES["ich/one/first.py"] + "# a comment\n")
    (checkout / "ich/two/other.py").write_text("y = 4\n")  # which the rule does not import
    (checkout / "ich/two/second.html").write_text("<b>")
    (checkout / "ich/two/third.py").rename(checkout / "ich/two/moved.py")
    (checkout / "ich/two/second.py").write_text("import ich.two.moved\nvalue = 1\n")
    expected = [
        ("new", "ich/two/moved.py"),
        ("changed", "ich/two/second.html"),
        ("changed", "ich/two/second.py"),
        ("gone", "ich/two/third.py"),
    ]
    assert since(checkout) == expected
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "second")
    assert since(checkout) == expected
    assert since(checkout, "HEAD") == []


def test_a_rule_that_is_new_has_all_of_its_files_new(checkout):
    written(checkout, {"workflow/scripts/other.py": "from ich.two import other\n"})
    with code_at(checkout, "v1") as before:
        found = changes(before, Code(checkout), "other")
    assert {kind for kind, _ in found} == {"new"}
    assert ("new", "ich/two/other.html") in found


@pytest.mark.parametrize("commit", ["v2", "--output=made", "-omade", ""])
def test_a_commit_that_is_not_there_is_refused_in_words(checkout, commit):
    with pytest.raises(InputError, match="git has no code of"):
        since(checkout, commit)
    assert not (checkout / "made").exists()


def test_a_folder_that_is_no_checkout_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="git has no code of 'v1'"):
        since(written(tmp_path, FILES).root)


def test_files_of_optional_parts_say_which_parts_bring_them(tmp_path):
    assert optional_files(written(tmp_path, WITH_PARTS), "rule") == {
        "ich/two/dice.py": ["loss.dice"],
        "ich/two/focal.py": ["loss.focal"],
        "ich/two/other.html": ["loss.focal"],
        "ich/two/other.py": ["loss.focal"],
    } | {"ich/two/__init__.py": ["loss.dice", "loss.focal"]}


def test_the_command_lists_what_a_rule_depends_on(checkout, capsys):
    assert main(["why", "rule"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "rule depends on 8 files:"
    assert [line.strip() for line in printed[1:]] == [
        "workflow/scripts/rule.py",
        "ich/__init__.py",
        "ich/one/__init__.py",
        "ich/one/first.py",
        "ich/two/__init__.py",
        "ich/two/second.html",
        "ich/two/second.py",
        "ich/two/third.py",
    ]


def test_the_command_lists_what_has_changed(checkout, capsys):
    assert main(["why", "rule", "--since", "v1"]) == 0
    assert capsys.readouterr().out == "rule: nothing that it depends on has changed since v1\n"
    (checkout / "ich/two/third.py").write_text("x = 'b'\n")
    assert main(["why", "rule", "--since", "v1"]) == 0
    assert capsys.readouterr().out == "rule: 1 changed since v1\n  changed  ich/two/third.py\n"


def test_the_command_says_what_optional_parts_a_file_is_for(tmp_path, monkeypatch, capsys):
    written(tmp_path, WITH_PARTS)
    monkeypatch.chdir(tmp_path)
    assert main(["why", "rule"]) == 0
    assert "  ich/two/focal.py  (only for loss.focal)\n" in capsys.readouterr().out


def test_a_rule_that_is_not_there_is_refused_in_words(checkout, capsys):
    assert main(["why", "other"]) == 1
    assert capsys.readouterr().err == "ich: there is no rule 'other' with a script here; known: rule\n"
