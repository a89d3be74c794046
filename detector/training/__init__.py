"""Train the RetinaNet: data, augmentation, schedule, checkpoints. Needs the extra `[train]`."""

__all__: list[str] = []
