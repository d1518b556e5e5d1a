"""A hash of the code that a rule runs: what its script says and imports from this package, and nothing else.

Snakemake's own `code` trigger looks at the script's modification time and does not see imported modules. The hash here
is a parameter of every rule instead, so a job runs again exactly when code that it executes has changed. Comments,
docstrings, formatting and modification times do not change it.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from ich.base.errors import InputError

REGISTRY = "Parts"  # the class of `ich.base.parts` whose literal tables are read here
LOADERS = ("import_module", "__import__", "run_module")  # functions that take a module's name
OTHER_LOADERS = ("run_path", "spec_from_file_location", "exec_module")  # and those that take anything else


class Unfollowed(InputError):
    """An import that the code hash cannot follow, so that a change behind it would go unnoticed."""


class Code:
    """The package and the workflow's scripts in a checkout.

    Parameters
    ----------
    root : path
        Folder of the checkout: holds `ich` and `workflow/scripts`.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._files: dict[Path, File] = {}

    def hash(self, rule: str, parts: Iterable[str] | None = None) -> str:
        """Hash the script of a rule together with all that it depends on.

        Parameters
        ----------
        rule : str
            Name of the rule; its script is `workflow/scripts/{rule}.py`.
        parts : iterable of str or None
            Optional parts that the job uses, as `registry.name`; the others of the registries that the script reaches
            do not count. None: all of them count.

        Returns
        -------
        str
            16 hexadecimal digits; the same for every Python version that parses the files.

        Raises
        ------
        Unfollowed
            A dependency cannot be told from the text of the code.
        InputError
            There is no such rule, optional part, or imported module.
        """
        total = hashlib.sha256()
        for name, digest in self.files(rule, parts).items():
            # The script counts by its content alone, whatever its name.
            total.update(b"" if name.startswith("workflow/") else name.encode())
            total.update(digest)
        return total.hexdigest()[:16]

    def files(self, rule: str, parts: Iterable[str] | None = None) -> dict[str, bytes]:
        """Hash each file that a rule depends on.

        Modules count by their syntax tree without docstrings, resources by their bytes. A module's resources are the
        files beside it that bear its stem: `page.html` and `page.css` belong to `page.py`.

        Parameters
        ----------
        rule, parts
            As of `hash`.

        Returns
        -------
        dict of str to bytes
            SHA-256 by path relative to the checkout: the script, then modules and resources in alphabetical order.

        Raises
        ------
        Unfollowed, InputError
            As of `hash`.
        """
        script, used = self._script(rule), None if parts is None else set(parts)
        found, known = self._reach(script, used)
        unknown = sorted((used or set()) - known)
        if unknown:
            raise InputError(
                f"rule {rule}: no optional part {', '.join(unknown)}; known: {', '.join(sorted(known)) or 'none'}"
            )
        hashes = {self._name(path): self._file(path).hash for path in found - {script}}
        for path in found - {script}:
            for resource in path.parent.glob(f"{path.stem}.*"):
                if resource.suffix != ".py":
                    hashes[self._name(resource)] = hashlib.sha256(resource.read_bytes()).digest()
        return {self._name(script): self._file(script).hash} | dict(sorted(hashes.items()))

    def parts(self, rule: str) -> list[str]:
        """List the optional parts whose registries a rule reaches, as `registry.name`, in alphabetical order."""
        _, known = self._reach(self._script(rule), set())
        return sorted(known)

    def rules(self) -> list[str]:
        """List the rules that have a script, in alphabetical order."""
        return sorted(path.stem for path in (self.root / "workflow/scripts").glob("*.py"))

    def _script(self, rule: str) -> Path:
        if rule not in self.rules():
            raise InputError(f"there is no rule {rule!r} with a script here; known: {', '.join(self.rules())}")
        return self.root / "workflow/scripts" / f"{rule}.py"

    def _reach(self, script: Path, used: set[str] | None) -> tuple[set[Path], set[str]]:
        """Find all Python files that a script depends on, and all optional parts that the registries in them name."""
        found: set[Path] = set()
        known: set[str] = set()
        waiting = [script]
        while waiting:
            path = waiting.pop()
            if path in found:
                continue
            found.add(path)
            file = self._file(path)
            waiting += file.imports
            known |= file.parts.keys()
            named = [module for name, module in file.parts.items() if used is None or name in used]
            waiting += self._modules(named, path)
        return found, known

    def _file(self, path: Path) -> "File":
        if path not in self._files:
            self._files[path] = File(path, self)
        return self._files[path]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def find(self, name: str) -> Path | None:
        """Return the file of a module or package by its dotted name, None where there is none."""
        path = self.root.joinpath(*name.split("."))
        package = path / "__init__.py"
        if package.is_file():
            return package
        module = path.with_suffix(".py")
        return module if module.is_file() else None

    def _modules(self, names: Iterable[str], importer: Path) -> list[Path]:
        """Return the files of modules and of the packages that they are in, which are imported with them."""
        every = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}
        found = {name: self.find(name) for name in sorted(every)}
        for name, path in found.items():
            if path is None:
                raise InputError(f"{importer}: names the module {name}, which does not exist")
        return [path for path in found.values() if path]


class File:
    """A Python file of a checkout: its hash, and what it imports from the package.

    Parameters
    ----------
    path : Path
    code : Code
        The checkout that it belongs to.
    """

    def __init__(self, path: Path, code: Code):
        self.path, self.code = path, code
        self.tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the syntax tree without docstrings and tables of optional parts."""
        return hashlib.sha256(_canonical(self.tree).encode()).digest()

    @cached_property
    def parts(self) -> dict[str, str]:
        """Modules of the optional parts whose registries stand in this file, by `registry.name`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _called(node) == REGISTRY:
                try:
                    name, table = (ast.literal_eval(argument) for argument in node.args)
                    found |= {f"{name}.{key}": module for key, module in table.items()}
                except (ValueError, TypeError, AttributeError) as error:
                    raise self._unfollowed(node, "a registry of optional parts that is not literal") from error
        return found

    @cached_property
    def imports(self) -> list[Path]:
        """Modules of the package that this file imports, and the packages that they lie in."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _called(node) in OTHER_LOADERS:
                raise self._unfollowed(node, "code that is loaded from a path: make it a module")
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names if self._inside(alias.name, node)}
            elif isinstance(node, ast.ImportFrom):
                names |= set(self._imported_from(node))
            elif isinstance(node, ast.Call) and _called(node) in LOADERS:
                names |= set(self._loaded(node))
        return self.code._modules(names, self.path)

    def _inside(self, name: str, node: ast.AST) -> bool:
        if name == "ich":
            raise self._unfollowed(node, "`import ich`: import the module that is used, `from ich.room import module`")
        return name.startswith("ich.")

    def _imported_from(self, node: ast.ImportFrom) -> Iterator[str]:
        """Name the modules behind `from x import a, b`: those that a and b are, else x."""
        base = node.module or ""
        if node.level:
            package = self.path.relative_to(self.code.root).parent.parts
            if package[:1] != ("ich",) or node.level > len(package):
                raise self._unfollowed(node, "a relative import that leaves the package")
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
        if any(alias.name in LOADERS and alias.asname for alias in node.names):
            raise self._unfollowed(node, "a function that imports, under another name")
        if base.split(".")[0] != "ich":
            return
        for alias in node.names:
            if alias.name == "*":
                raise self._unfollowed(node, "a star import: name what is imported")
            inside = f"{base}.{alias.name}"
            # What a package gives is a module in it, or else a name that its `__init__` or the module `base` defines
            yield inside if self.code.find(inside) else base

    def _loaded(self, node: ast.Call) -> Iterator[str]:
        """Name the module that is imported by a call."""
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            if argument.value.startswith("."):
                raise self._unfollowed(node, "a relative name in a call: write the module's whole name")
            if argument.value.split(".")[0] == "ich" and self._inside(argument.value, node):
                yield argument.value
        elif self.path != self.code.root / "ich/base/parts.py":  # its names come from the tables that are read here
            raise self._unfollowed(node, "a computed module name: put the module into a registry of ich.base.parts")

    def _unfollowed(self, node: ast.AST, what: str) -> Unfollowed:
        return Unfollowed(f"{self.path}, line {getattr(node, 'lineno', '?')}: the code hash cannot follow {what}")


def _called(node: ast.Call) -> str | None:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def _canonical(node: object) -> str:
    """Write a syntax tree as text, without positions, docstrings and empty fields.

    `ast.dump` will not do: newer Pythons add fields to nodes and change how empty ones are printed. Of a registry of
    optional parts the table is left out: the parts that a job uses are hashed themselves.
    """
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_docstring(node):
        fields["body"] = fields["body"][1:]
    if isinstance(node, ast.Call) and _called(node) == REGISTRY:
        fields["args"] = fields["args"][:1]
    inside = ",".join(f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({inside})"


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None
