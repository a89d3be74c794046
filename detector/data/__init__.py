"""Data sets in COCO's format: check, convert, split and label them."""

__all__: list[str] = []
