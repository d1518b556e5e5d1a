"""The hash of a rule's code: what must change it and what must not."""

from pathlib import Path

import pytest

from ich import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules in a chain, with a resource, and a script that imports the first."""
    root = tmp_path / "ich"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "first.py").write_text(
        '"""One."""\nfrom ich.second import value\n\ndef f():\n    """Two."""\n    return value\n'
    )
    (root / "second.py").write_text("import ich.third\nvalue = 1\n")
    (root / "third.py").write_text("x = 'a'\n")
    (root / "other.py").write_text("y = 2\n")
    (root / "second.html").write_text("<p>")
    script = tmp_path / "script.py"
    script.write_text("from ich import first\nfirst.f()\n")
    monkeypatch.setattr(fingerprint, "PACKAGE", root)
    return root, script


def hash_after(package, edit=None):
    """Hash anew, as a new process would, after an edit of one file."""
    root, script = package
    if edit:
        name, old, new = edit
        path = script if name == "script.py" else root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    for function in (fingerprint._tree, fingerprint._direct_imports, fingerprint._own_hash):
        function.cache_clear()
    return fingerprint.code_hash(script)


@pytest.mark.parametrize(
    "edit",
    [
        ("script.py", "first.f()", "first.f()  # a comment"),
        ("first.py", '"""One."""', '"""Another docstring."""'),
        ("first.py", '    """Two."""\n', ""),
        ("first.py", "def f():\n", "\n\ndef f():\n\n"),
        ("third.py", "'a'", '"a"'),
        ("other.py", "y = 2", "y = 3"),
    ],
    ids=["comment", "docstring", "no docstring", "blank lines", "quotes", "a module not imported"],
)
def test_what_changes_no_behaviour_leaves_the_hash(package, edit):
    assert hash_after(package) == hash_after(package, edit)


@pytest.mark.parametrize(
    "edit",
    [
        ("script.py", "first.f()", "print(first.f())"),
        ("first.py", "return value", "return -value"),
        ("second.py", "value = 1", "value = 1.0"),
        ("third.py", "'a'", "'b'"),
        ("second.html", "<p>", "<b>"),
        ("first.py", "return value", "return None"),
    ],
    ids=["script", "direct import", "indirect import", "third hand", "resource", "return None"],
)
def test_what_changes_behaviour_changes_the_hash(package, edit):
    assert hash_after(package) != hash_after(package, edit)


def test_modification_times_do_not_count(package):
    before = hash_after(package)
    for path in package[0].iterdir():
        path.touch()
    assert hash_after(package) == before


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("import ich.third", {"third"}),
        ("from ich import third, other", {"third", "other"}),
        ("from ich.third import x", {"third"}),
        ("def f():\n    from ich.third import x", {"third"}),
        ("import ichthyology", set()),
        ("from ichthyology.third import x", set()),
    ],
)
def test_imports_are_found_however_they_are_written(package, line, modules):
    package[1].write_text(line)
    assert fingerprint.imported_modules(package[1]) == modules


def test_a_missing_module_is_an_error(package):
    package[1].write_text("from ich.absent import x")
    with pytest.raises(FileNotFoundError, match=r"absent\.py"):
        fingerprint.code_hash(package[1])


def test_every_script_of_the_workflow_can_be_hashed():
    scripts = sorted((Path(__file__).parents[2] / "workflow/scripts").glob("*.py"))
    assert len({fingerprint.code_hash(script) for script in scripts}) == len(scripts) > 10


def test_a_script_depends_on_nothing_of_the_configuration():
    for script in (Path(__file__).parents[2] / "workflow/scripts").glob("*.py"):
        assert "config" not in fingerprint.imported_modules(script), script.name
