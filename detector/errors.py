"""Every error that this package raises on purpose.

    RetinaCensorError
    ├── UsageError           the call itself is wrong: unknown class, bad value, contradictory options
    │   └── PolicyError      a policy or config file says something that is not understood
    ├── InputError           the picture cannot be read, or is refused
    │   └── LimitError       the picture is larger than the stated limits allow
    ├── ModelError           weights are missing, altered or not what the manifest says
    │   └── DeviceError      the device that was asked for is not there
    └── OutputError          the result cannot be written; the target was left as it was

Each message says what must hold, what was given, and what to do. Whatever is not understood raises one of these:
nothing in this package answers "nothing found" when it means "could not look".
"""

__all__ = [
    "DeviceError",
    "InputError",
    "LimitError",
    "ModelError",
    "OutputError",
    "PolicyError",
    "RetinaCensorError",
    "UsageError",
]


class RetinaCensorError(Exception):
    """Base of all errors raised on purpose; catching it catches every one below."""


class UsageError(RetinaCensorError, ValueError):
    """The call itself is wrong; no picture was looked at."""


class PolicyError(UsageError):
    """A policy or config file holds an unknown key, a bad value, or cannot be found."""


class InputError(RetinaCensorError, ValueError):
    """The picture cannot be read, or is of a kind that is refused."""


class LimitError(InputError):
    """The picture has more bytes, pixels or frames than the limits allow; nothing was decoded."""


class ModelError(RetinaCensorError):
    """A model's weights are missing, altered, or do not have the stated inputs and outputs."""


class DeviceError(ModelError):
    """The device that was asked for is not available here."""


class OutputError(RetinaCensorError, OSError):
    """The result cannot be written; whatever stood at the target before still stands there."""
