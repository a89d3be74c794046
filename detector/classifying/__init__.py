"""Train a whole-picture classifier on an image folder. Needs the extra `[train]`."""

__all__: list[str] = []
