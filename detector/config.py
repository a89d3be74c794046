"""Frozen dataclasses from TOML tables: unknown keys refused with the nearest named, types checked, nothing executed."""

import dataclasses
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from detector.errors import PolicyError
from detector.nearest import nearest

__all__ = ["from_table", "read_toml"]

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into a dict.

    Raises:
        PolicyError: when it cannot be read or is not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise PolicyError(f"a config file must be readable; {path} is not ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(f"a config file must be TOML; {path} is not: {error}") from error


def from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build the frozen dataclass `cls` from a TOML table.

    Args:
        cls: a dataclass whose fields are bool, int, float, str, tuples of these, dicts of str to these, unions of
            these with None, or dataclasses of the same kind.
        table: what the file says.
        where: names the place in messages, for example `default.toml [hide]`.

    Raises:
        PolicyError: for an unknown key (the message names the nearest), a missing one, or a value of another type.
    """
    if not isinstance(table, Mapping):
        raise PolicyError(f"{where} must be a table; got {table!r}")
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            known = ", ".join(fields)
            raise PolicyError(f"{where}: a key must be one of {known}; got {key!r}{nearest(key, fields)}")
        values[key] = _value(hints[key], value, f"{where}: {key}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise PolicyError(f"{where}: the key {name!r} must be given; it is missing")
    return cls(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    """Check one value against a type hint and return it, lists as tuples and tables as dataclasses."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType,) or str(origin) == "typing.Union":
        return _value(next(arg for arg in args if arg is not type(None)), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise PolicyError(f"{where} must be a table; got {value!r}")
        return from_table(hint, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(inner) != len(value):
            raise PolicyError(f"{where} must hold {len(inner)} values; got {value!r}")
        return tuple(_value(kind, item, where) for kind, item in zip(inner, value, strict=True))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {str(key): _value(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(hint, type) and type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise PolicyError(f"{where} must be of type {name}; got {value!r}")
