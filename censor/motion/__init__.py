"""What moves: parts followed over time, hidden before they are first found and after they were last found.

Nothing here reads or writes a file, or knows what a video is: times in seconds and boxes in, boxes out.
"""

__all__: list[str] = []
