"""Keep the memory of decoded pictures for the next one."""

from typing import Any

from PIL import Image

__all__ = ["keep_picture_memory"]

# Pillow stores a picture in blocks of 16 MB, 4 bytes a pixel. Twelve hold one of 50 megapixels, the largest that is
# accepted by default.
MAX_BLOCKS = 12


def keep_picture_memory() -> None:
    """Let Pillow keep up to 192 MB of the pictures that it frees, for the next ones.

    Fresh memory must be cleared by the system page by page: that is a third of the time of a full decode (57 to 38 ms
    at 12 megapixels, 113 to 76 at 24, on a virtual machine). The setting is Pillow's own, for the whole process, the
    same as its environment variable PILLOW_BLOCKS_MAX; where somebody has set it already, it stays as it is.
    """
    core: Any = getattr(Image, "core")  # noqa: B009 (Pillow documents it, and types it as private)
    if core.get_blocks_max() == 0:
        core.set_blocks_max(MAX_BLOCKS)
