"""Run one function over many items in threads, results in the items' order, memory bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["map_in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items under way or done but not yet taken, for each worker: enough that a slow picture does not idle the others,
# few enough that results do not pile up behind it.
AHEAD_PER_WORKER = 2


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield (item, result) in the order of the items; an exception is yielded in its result's place.

    One bad item does not stop the rest. Decoding, encoding and inference leave Python's lock, so threads are enough.
    With one worker nothing is started: the caller's thread does the work, and Ctrl-C reaches it at once.
    """
    if workers <= 1:
        for item in items:
            try:
                yield item, function(item)
            except Exception as caught:
                yield item, caught
        return
    queue = iter(items)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="retina-censor") as pool:
        try:
            for item in islice(queue, workers * AHEAD_PER_WORKER):
                pending.append((item, pool.submit(function, item)))
            while pending:
                item, future = pending.popleft()
                error = future.exception()
                for following in islice(queue, 1):
                    pending.append((following, pool.submit(function, following)))
                if isinstance(error, Exception):
                    yield item, error
                else:
                    yield item, future.result()  # raises what must not be swallowed: Ctrl-C, for one
        finally:
            for _, future in pending:
                future.cancel()
