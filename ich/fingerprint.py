"""A hash of the code that a rule runs: what its script says and imports from this package, and nothing else.

Snakemake's own `code` trigger looks at the script's modification time and does not see imported modules. The hash here
is a parameter of every rule instead, so a job runs again exactly when code that it executes has changed. Comments,
docstrings, formatting and modification times do not change it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_hash(script: str | Path) -> str:
    """Hash a script together with the `ich` modules that it imports, directly or not.

    A module's resources count as part of it: files in the package that bear its stem (`report.html` and `report.css`
    belong to `report.py`).

    Parameters
    ----------
    script : path
        A Python file.

    Returns
    -------
    str
        16 hexadecimal digits; the same for every Python version that parses the files.

    Raises
    ------
    FileNotFoundError
        The script, or a module of the package that it names, does not exist.
    """
    total = hashlib.sha256(_own_hash(Path(script)))
    for module in sorted(imported_modules(Path(script))):
        total.update(module.encode() + _own_hash(PACKAGE / f"{module}.py"))
        for resource in sorted(PACKAGE.glob(f"{module}.*")):
            if resource.suffix != ".py":
                total.update(resource.name.encode() + hashlib.sha256(resource.read_bytes()).digest())
    return total.hexdigest()[:16]


def imported_modules(script: Path) -> set[str]:
    """Name the modules of the package that a file imports, directly or through others, `cohort` for `ich.cohort`."""
    found: set[str] = set()
    waiting = set(_direct_imports(script))
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= _direct_imports(PACKAGE / f"{module}.py") - found
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _direct_imports(path: Path) -> frozenset[str]:
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ich.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "ich":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ich."):
            names.add(node.module.split(".")[1])
    return frozenset(names)


@cache
def _own_hash(path: Path) -> bytes:
    return hashlib.sha256(_canonical(_tree(path)).encode()).digest()


def _canonical(node: object) -> str:
    """Write a syntax tree as text, without positions, docstrings and empty fields.

    `ast.dump` will not do: newer Pythons add fields to nodes and change how empty ones are printed.
    """
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_docstring(node):
        fields["body"] = fields["body"][1:]
    inside = ",".join(f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({inside})"


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None
