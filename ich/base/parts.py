"""Optional parts: code that only some experiments use, loaded by name.

A registry is a literal table in a module, so that the code hash can read it: `Parts("loss", {"focal": "ich.x.focal"})`.
A job's hash covers the parts that its experiment names and no others, so that an edit of one part, or a new line in the
table, makes no experiment run again that does not use it.
"""

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType

from ich.base.errors import InputError


class Parts(Mapping[str, str]):
    """A table of optional parts.

    Parameters
    ----------
    kind : str
        What they are, in the singular: how messages and the code hash call them.
    modules : mapping of str to str
        The module that holds each part, by the part's name. Both arguments must be literals.
    """

    def __init__(self, kind: str, modules: Mapping[str, str]):
        self.kind, self._modules = kind, modules

    def __getitem__(self, name: str) -> str:
        return self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def load(self, name: str) -> ModuleType:
        """Import the module of a part.

        Raises
        ------
        InputError
            There is no part of this name.
        """
        if name not in self:
            raise InputError(f"there is no {self.kind} {name!r}; known here: {', '.join(self)}")
        return importlib.import_module(self[name])
