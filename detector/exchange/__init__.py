"""Bring weights in from elsewhere, and take them out as ONNX."""

__all__: list[str] = []
