"""Animations and pages: GIF, APNG, animated WebP and AVIF, and TIFF files of several pages, censored frame by frame."""

__all__: list[str] = []
