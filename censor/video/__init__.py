"""Videos: read with PyAV (`pip install retina-censor[video]`), looked at, hidden over time, and written again."""

__all__: list[str] = []
