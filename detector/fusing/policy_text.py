"""A policy file with a fitted `[fusion]`: the text of another policy, with that table put in its place."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from detector.config import from_table
from detector.errors import PolicyError, UsageError
from detector.fusion import FusionModel
from detector.policy import Policy

__all__ = ["fused_policy_text"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# A `[fusion]` table or one under it with the comments right above, up to the next table with its comments, or the end.
_FUSION = re.compile(
    r"(?:^#[^\n]*\n)*^\[fusion[\].].*?(?=(?:^#[^\n]*\n)*^\[(?!fusion[\].])|\Z)", flags=re.MULTILINE | re.DOTALL
)


def fused_policy_text(base: str, name: str, model: FusionModel) -> str:
    """Return the text of a policy that is `base` with this fusion, under this name.

    The rest of the file is kept, comments included. The version is 1, or one more than that of a base of the same
    name. A `[fusion]` of the base is replaced.

    Args:
        base: text of a policy file.
        name: letters, digits, dots, hyphens and underscores.
        model: what was fitted.

    Raises:
        UsageError: when the name could not stand in a file.
        PolicyError: when the base cannot be rewritten line by line, or the result would not load.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a policy's name must be letters, digits, dots, hyphens, underscores; got {name!r}")
    old = tomllib.loads(base)
    version = old["version"] + 1 if old.get("name") == name else 1
    summary = f"{old.get('name')}, with a fusion fitted on {model.fitted.pictures} pictures."
    head = {"name": name, "version": version, "summary": summary}
    text = _FUSION.sub("", base)
    first_table = re.search(r"^\[", text, flags=re.MULTILINE)
    cut = first_table.start() if first_table else len(text)
    lines = text[:cut]
    for key in head:
        lines = re.sub(rf"^{key}\s*=.*\n?", "", lines, flags=re.MULTILINE)
    said = "".join(f"{key} = {_value(value)}\n" for key, value in head.items())
    text = f"{lines.rstrip()}\n{said}\n{text[cut:].rstrip()}\n\n" + "\n".join(_fusion_lines(model)) + "\n"
    table = _parsed(text)
    wanted = {key: value for key, value in old.items() if key != "fusion"} | head | {"fusion": model.to_dict()}
    if table != wanted:
        raise PolicyError(
            "the base policy must have each table under a [header] and name, version and summary on lines "
            "of their own; it has not"
        )
    from_table(Policy, {key: value for key, value in table.items() if key != "hide"}, name)
    return text.lstrip()


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"the base policy must be rewritable line by line; it is not: {error}") from error


def _fusion_lines(model: FusionModel) -> Iterator[str]:
    """Yield the lines of the table; its keys are those of `FusionModel`."""
    table = model.to_dict()
    features, counted_from, fitted = table.pop("features"), table.pop("counted_from"), table.pop("fitted")
    yield "# How likely a picture is not safe: 1 / (1 + exp(-(intercept + sum of weight * (value - mean) / scale)))."
    yield "# The value of second_opinion and of each record (flagged) is weighed as log(value / (1 - value))."
    yield "# Fitted by `detector fit-fusion`; see `detector.fusion` for what it never does. Change it by fitting again."
    yield "[fusion]"
    for key, value in table.items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield "# Parts count from these scores up."
    yield "[fusion.counted_from]"
    for key, value in counted_from.items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield "# Figures are of pictures that each model had not seen."
    yield "[fusion.fitted]"
    for key, value in fitted.items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield "[fusion.features]"
    for key, feature in features.items():
        inner = ", ".join(f"{name} = {_value(value)}" for name, value in feature.items())
        yield f'"{key}" = {{ {inner} }}'


def _value(value: Any) -> str:
    """Write a text, number or list of texts; JSON's form of these is TOML's."""
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in ".e") else f"{text}.0"
    return json.dumps(value, ensure_ascii=False)
