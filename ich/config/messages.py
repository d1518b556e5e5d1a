"""What is wrong with a configuration, in words."""

from collections.abc import Iterator

from pydantic import ValidationError

from ich.config.lookup import description_at, resolved, schema_at
from ich.config.words import choice, is_number, lower_first, yaml_number


def explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Give a key and a message for each problem."""
    inherited = {problem["loc"][1:] for problem in error.errors() if problem["loc"][:1] == ("training",)}
    for problem in error.errors():
        loc = problem["loc"]
        if loc[:1] == ("experiments",) and loc[2:] and loc[2:] in inherited:
            continue  # said once, of `training`
        known = loc
        while schema_at(known) is None:  # the ends of some places are pydantic's own, such as `constrained-float`
            known = known[:-1]
        key, found, text = (
            ".".join(map(str, known)),
            problem["input"],
            problem["msg"].removeprefix("Value error, "),
        )
        match problem["type"]:
            case "value_error" if not loc:  # of the whole file: each line names its key
                yield from ((line.split(":")[0], line) for line in text.splitlines())
            case "value_error":
                yield key, f"{key}: {text}"
            case "extra_forbidden":
                place = ".".join(map(str, loc))
                yield place, f"{place}: unknown key; {choice(loc[-1], _keys(loc[:-1]))}"
            case "missing":
                yield key, f"{key}: missing; write: {description_at(known)}"
            case "string_pattern_mismatch":
                yield (
                    f"{key}.{found}",
                    f"{key}: {found!r} becomes a file name; write letters, digits, - and _ only",
                )
            case _ if isinstance(found, str) and "number" in text and is_number(found):
                yield key, f"{key}: {found!r} is text to YAML; write {yaml_number(found)}"
            case _:
                yield key, f"{key}: {found!r} does not fit ({lower_first(text)}); write: {description_at(known)}"


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    return list(resolved(schema_at(loc) or {}).get("properties", {}))
