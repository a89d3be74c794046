"""Whole folders: which file becomes which, what was done before, and what came of it."""

__all__: list[str] = []
