import threading

import pytest

from detector.parallel import map_in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_and_errors_in_their_place(workers: int) -> None:
    def half(number: int) -> int:
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number // 2

    results = list(map_in_order(half, range(20), workers))
    assert [item for item, _ in results] == list(range(20))
    assert [result for item, result in results if item % 2 == 0] == list(range(10))
    assert all(isinstance(result, ValueError) for item, result in results if item % 2)


def test_nothing_to_do() -> None:
    assert list(map_in_order(str, [], 4)) == []


def test_what_is_ahead_is_bounded() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def note(number: int) -> int:
        with lock:
            started.append(number)
        return number

    results = map_in_order(note, range(1000), 2)
    next(results)
    assert len(started) <= 6
    results.close()
    assert len(started) <= 7


def test_workers_overlap() -> None:
    meet = threading.Barrier(2, timeout=20)
    assert [result for _, result in map_in_order(lambda _: meet.wait() >= 0, range(2), 2)] == [True, True]


def test_an_interrupt_stops_the_rest() -> None:
    def interrupt(number: int) -> int:
        if number == 3:
            raise KeyboardInterrupt
        return number

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            list(map_in_order(interrupt, range(100), workers))
