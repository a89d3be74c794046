"""Public names that are imported when they are first used, so that importing a package costs nearly nothing."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: dict[str, Any], places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` (PEP 562) of a package.

    Args:
        package: the package's `globals()`, with `__name__` and `__all__`.
        places: the module that each lazily imported name lives in.
    """

    def getattr_(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = getattr(importlib.import_module(places[name]), name)
        return package[name]

    return getattr_, lambda: sorted(package["__all__"])
