import subprocess
import sys

CODE = """
from PIL import Image
{before}
from detector.memory import keep_picture_memory
keep_picture_memory()
print(Image.core.get_blocks_max())
"""


def blocks(before: str = "") -> int:
    """Return Pillow's setting in a process of its own: it is one for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_memory_is_kept_unless_somebody_has_said_how_much() -> None:
    assert blocks() == 12
    assert blocks("Image.core.set_blocks_max(3)") == 3
