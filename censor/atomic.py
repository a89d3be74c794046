"""Writing a file in one step lives in `detector.atomic`, because the data tools write files too."""

from detector.atomic import leftovers, stream_atomic, write_atomic

__all__ = ["leftovers", "stream_atomic", "write_atomic"]
