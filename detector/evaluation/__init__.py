"""Evaluate detectors: COCO figures, curves, thresholds, errors, reports. Needs the extra `[eval]`."""

__all__: list[str] = []
