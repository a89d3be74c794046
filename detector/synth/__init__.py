"""Rendered adult mannequins: training pictures with exact boxes and no photograph of anyone."""

__all__: list[str] = []
