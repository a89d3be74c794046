"""Figures as they are written: a few digits, and nothing that JSON does not know."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["DIGITS", "rounded"]

DIGITS = 6


def rounded(value: Any) -> Any:
    """Round every float of nested dicts and lists; NaN becomes None, which JSON knows."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(float(value), DIGITS) if np.isfinite(value) else None
    return value
