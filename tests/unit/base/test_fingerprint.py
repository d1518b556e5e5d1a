"""The hash of a rule's code: what must change it, what must not, and what it refuses."""

from pathlib import Path

import pytest

from ich.base.errors import InputError
from ich.base.fingerprint import Code, Unfollowed

ROOT = Path(__file__).parents[3]
FILES = {
    "workflow/scripts/rule.py": "from ich.one import first\nfirst.f()\n",
    "ich/__init__.py": "",
    "ich/one/__init__.py": "",
    "ich/one/first.py": '"""One."""\nfrom ich.two.second import value\n\ndef f():\n    """Two."""\n    return value\n',
    "ich/one/sibling.py": "z = 3\n",
    "ich/two/__init__.py": "",
    "ich/two/second.py": "import ich.two.third\nvalue = 1\n",
    "ich/two/third.py": "x = 'a'\n",
    "ich/two/second.html": "<p>",
    "ich/two/other.py": "y = 2\n",
    "ich/two/other.html": "<i>",
}
REGISTRY = (
    "from ich.base.parts import Parts\nLOSS = Parts('loss', {'focal': 'ich.two.focal', 'dice': 'ich.two.dice'})\n"
)
WITH_PARTS = FILES | {
    "ich/base/__init__.py": "",
    "ich/base/parts.py": (ROOT / "ich/base/parts.py").read_text(),
    "ich/base/errors.py": "class InputError(ValueError): ...\n",
    "ich/one/first.py": REGISTRY + "def f(name):\n    return LOSS.load(name)\n",
    "ich/two/focal.py": "from ich.two import other\n",
    "ich/two/dice.py": "b = 1\n",
}


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Code(root)


@pytest.fixture
def before(tmp_path):
    return written(tmp_path, FILES).hash("rule")


def hash_after(root, name, old, new):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))
    return Code(root).hash("rule")


@pytest.mark.parametrize(
    "edit",
    [
        ("workflow/scripts/rule.py", "first.f()", "first.f()  # a comment"),
        ("ich/one/first.py", '"""One."""', '"""Another docstring."""'),
        ("ich/one/first.py", '    """Two."""\n', ""),
        ("ich/one/first.py", "def f():\n", "\n\ndef f():\n\n"),
        ("ich/two/third.py", "'a'", '"a"'),
        ("ich/two/other.py", "y = 2", "y = 3"),
        ("ich/two/other.html", "<i>", "<b>"),
        ("ich/two/__init__.py", "", '"""A docstring."""\n'),
    ],
    ids=["comment", "docstring", "no docstring", "blank lines", "quotes", "other module", "its resource", "package"],
)
def test_what_changes_no_behaviour_leaves_the_hash(tmp_path, before, edit):
    assert hash_after(tmp_path, *edit) == before


@pytest.mark.parametrize(
    "edit",
    [
        ("workflow/scripts/rule.py", "first.f()", "print(first.f())"),
        ("ich/one/first.py", "return value", "return -value"),
        ("ich/two/second.py", "value = 1", "value = 1.0"),
        ("ich/two/third.py", "'a'", "'b'"),
        ("ich/two/second.html", "<p>", "<b>"),
        ("ich/one/first.py", "return value", "return None"),
        ("ich/__init__.py", "", "import os\n"),
        ("ich/one/__init__.py", "", "import os\n"),
        ("ich/two/__init__.py", "", "import os\n"),
    ],
    ids=[
        "script", "direct import", "indirect import", "third hand", "resource", "return None",
        "package", "sub-package of the script", "sub-package",
    ],
)  # fmt: skip
def test_what_changes_behaviour_changes_the_hash(tmp_path, before, edit):
    assert hash_after(tmp_path, *edit) != before


def test_modification_times_do_not_count(tmp_path, before):
    for path in tmp_path.rglob("*.py"):
        path.touch()
    assert Code(tmp_path).hash("rule") == before


def modules(code, **options):
    """The modules that the rule depends on, without packages."""
    files = [name for name in code.files("rule", **options) if name.startswith("ich/")]
    return {name.removeprefix("ich/").removesuffix(".py") for name in files if not name.endswith("__init__.py")}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import ich.two.third", {"two/third"}),
        ("import ich.two.third as t", {"two/third"}),
        ("import os, ich.two.third", {"two/third"}),
        ("from ich.two import third, other", {"two/third", "two/other", "two/other.html"}),
        ("from ich.two import third as t", {"two/third"}),
        ("from ich.two.third import x", {"two/third"}),
        ("def f():\n    from ich.two.third import x", {"two/third"}),
        ("try:\n    import ich.two.third\nexcept ImportError:\n    pass", {"two/third"}),
        ("from ich import two", set()),
        ("from ich.two import value", set()),
        ("import importlib\nimportlib.import_module('ich.two.third')", {"two/third"}),
        ("import importlib\nimportlib.import_module('numpy')", set()),
        ("__import__('ich.two.third')", {"two/third"}),
        ("import ichthyology", set()),
        ("from ichthyology.third import x", set()),
    ],
)
def test_imports_are_found_however_they_are_written(tmp_path, line, expected):
    assert modules(written(tmp_path, FILES | {"workflow/scripts/rule.py": line})) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from . import sibling", "one/sibling"),
        ("from .sibling import z", "one/sibling"),
        ("from ..two import third", "two/third"),
        ("from ..two.third import x", "two/third"),
        ("from .. import two\nfrom ..two.third import x", "two/third"),
    ],
)
def test_relative_imports_are_followed(tmp_path, line, expected):
    assert expected in modules(written(tmp_path, FILES | {"ich/one/first.py": line}))


def test_relative_imports_of_a_package_itself_are_followed(tmp_path):
    code = written(tmp_path, FILES | {"ich/one/__init__.py": "from .sibling import z\nfrom ..two import third\n"})
    assert {"one/sibling", "two/third"} <= modules(code)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("ich/one/first.py", "from ich.two.third import *", "star import"),
        ("ich/one/first.py", "from .sibling import *", "star import"),
        ("ich/one/first.py", "import ich", "import the module that is used"),
        ("ich/one/first.py", "import ich as package", "import the module that is used"),
        ("ich/one/first.py", "import importlib\nimportlib.import_module(f'ich.two.{1}')", "computed"),
        ("ich/one/first.py", "from importlib import import_module\nimport_module(name)", "computed"),
        ("ich/one/first.py", "__import__(name)", "computed"),
        ("ich/one/first.py", "import runpy\nrunpy.run_module(name)", "computed"),
        ("ich/one/first.py", "import runpy\nrunpy.run_path('ich/two/third.py')", "from a path"),
        ("ich/one/first.py", "from importlib import import_module as load", "under another name"),
        ("ich/one/first.py", "import importlib\nimportlib.import_module('.third', 'ich.two')", "relative name"),
        ("ich/one/first.py", "from ... import x", "leaves the package"),
        ("workflow/scripts/rule.py", "from . import x", "leaves the package"),
        ("ich/one/first.py", "A = Parts('loss', {'a': MODULE})", "not literal"),
        ("ich/one/first.py", "A = Parts('loss', dict(a='ich.two.third'))", "not literal"),
        ("ich/one/first.py", "A = Parts(KIND, {})", "not literal"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_file_and_line(tmp_path, name, line, message):
    code = written(tmp_path, FILES | {name: "x = 1\n" + line})
    with pytest.raises(Unfollowed, match=message) as refused:
        code.hash("rule")
    number = 2 + line.count("\n")
    assert f"{name}, line {number}" in str(refused.value)


def test_a_module_or_rule_that_is_missing_is_named(tmp_path):
    code = written(tmp_path, FILES | {"workflow/scripts/rule.py": "from ich.absent import x"})
    with pytest.raises(InputError, match=r"ich\.absent, which does not exist"):
        code.hash("rule")
    with pytest.raises(InputError, match=r"no rule 'other'.*known: rule"):
        code.hash("other")


# ---- optional parts


def test_a_hash_covers_the_optional_parts_that_are_named(tmp_path):
    code = written(tmp_path, WITH_PARTS)
    shared = {"one/first", "base/parts", "base/errors"}
    assert modules(code, parts=[]) == shared
    assert modules(code, parts=["loss.dice"]) == shared | {"two/dice"}
    assert modules(code, parts=["loss.focal"]) == shared | {"two/focal", "two/other", "two/other.html"}
    assert modules(code) == shared | {"two/dice", "two/focal", "two/other", "two/other.html"}  # nothing is missed


def test_an_edit_of_an_optional_part_changes_the_hash_of_those_alone_that_name_it(tmp_path):
    code = written(tmp_path, WITH_PARTS)
    plain, dice, focal = (code.hash("rule", parts) for parts in ([], ["loss.dice"], ["loss.focal"]))
    assert len({plain, dice, focal}) == 3
    (tmp_path / "ich/two/focal.py").write_text("a = 2\n")
    after = Code(tmp_path)
    assert after.hash("rule", []) == plain
    assert after.hash("rule", ["loss.dice"]) == dice
    assert after.hash("rule", ["loss.focal"]) != focal


def test_a_new_line_in_a_registry_changes_no_hash_that_names_its_parts(tmp_path):
    code = written(tmp_path, WITH_PARTS)
    plain, dice, every = code.hash("rule", []), code.hash("rule", ["loss.dice"]), code.hash("rule")
    more = WITH_PARTS["ich/one/first.py"].replace("{'focal'", "{'new': 'ich.two.third', 'focal'")
    after = written(tmp_path, {"ich/one/first.py": more})
    assert (after.hash("rule", []), after.hash("rule", ["loss.dice"])) == (plain, dice)
    assert after.hash("rule") != every


def test_an_optional_part_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no optional part loss\.focl; known: loss\.dice, loss\.focal"):
        written(tmp_path, WITH_PARTS).hash("rule", ["loss.focl"])


# ---- this repository


def test_every_rule_of_the_workflow_can_be_hashed():
    code = Code(ROOT)
    assert len({code.hash(rule) for rule in code.rules()}) == len(code.rules()) > 10


def test_every_module_of_the_package_can_be_followed():
    code = Code(ROOT)
    for path in (ROOT / "ich").rglob("*.py"):
        file = code._file(path)
        assert file.imports is not None
        assert file.parts is not None


def test_a_script_depends_on_nothing_of_the_configuration():
    code = Code(ROOT)
    for rule in code.rules():
        assert not [name for name in code.files(rule) if name.startswith("ich/config/")], rule
