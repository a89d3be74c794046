"""The fitting side of fusion: labelled CSV in, policy with a fitted model out."""

__all__: list[str] = []
