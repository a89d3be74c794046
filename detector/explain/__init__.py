"""What a score hangs on: heat maps by occlusion for every scorer, by gradients for our torch networks."""

__all__: list[str] = []
