"""Work in threads, a bounded number ahead, results in order; and the threads of matrix products."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def in_order(
    items: Iterable[S], function: Callable[[S], T], *, workers: int = 0, ahead: int = 32
) -> Iterator[tuple[S, Future[T]]]:
    """Apply a function to items in threads and yield item and finished future in the order of the items.

    Args:
        items: Read as needed, never more than ``ahead`` in advance.
        function: Must be thread-safe and should release the interpreter lock.
        workers: Threads; 0 takes one a core.
        ahead: Bounds what is held in memory.

    >>> [future.result() for _, future in in_order(range(4), lambda x: x * x, workers=2)]
    [0, 1, 4, 9]
    """
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    waiting: deque[tuple[S, Future[T]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_parts(count: int, work: Callable[[range], T], threads: int) -> list[T]:
    """Apply a function to parts of ``range(count)``, each in a thread of its own; results in order.

    >>> in_parts(5, sum, 2)
    [1, 9]
    """
    threads = max(1, min(threads, count))
    parts = [range(t * count // threads, (t + 1) * count // threads) for t in range(threads)]
    if threads == 1:
        return [work(parts[0])]
    return [done.result() for _, done in in_order(parts, work, workers=threads)]


def single_threaded_products() -> AbstractContextManager[Any]:
    """Keep matrix products of numpy to the calling thread, while threads of our own share the cores."""
    held: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return held


@cache
def _libraries() -> Any:
    """Look for the linear algebra libraries once: that takes longer than a step of training."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
