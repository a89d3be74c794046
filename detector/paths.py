"""Where the data folders are: inside the installed package, or beside it in a checkout that is ours."""

from pathlib import Path

from detector.errors import ModelError

__all__ = ["configs_dir", "weights_dir"]

_PACKAGE = Path(__file__).resolve().parent


def _data_dir(name: str, landmark: str) -> Path:
    """Find a data folder by a file that only ours holds; never by import, since hosts have folders of these names."""
    installed = _PACKAGE / name
    if (installed / landmark).exists():
        return installed
    checkout = _PACKAGE.parent
    setup_cfg = checkout / "setup.cfg"
    if setup_cfg.is_file() and "name = retina-censor" in setup_cfg.read_text(encoding="utf-8"):
        beside = checkout / name
        if (beside / landmark).exists():
            return beside
    raise ModelError(f"the data folder {name!r} must be installed with the package; it is not; reinstall retina-censor")


def configs_dir() -> Path:
    """Return the folder that holds `policies/`."""
    return _data_dir("configs", "policies")


def weights_dir() -> Path:
    """Return the folder that holds `manifest.json`."""
    return _data_dir("weights", "manifest.json")
