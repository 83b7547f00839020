"""Tasks in processes of this machine, each an interpreter of its own: a crash costs one attempt."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence

from ilion.tasks.base import Outcome, Perform, Task
from ilion.tasks.worker import function_name

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalPool:
    """A fixed number of worker processes; one that dies is replaced.

    Args:
        perform: Does a task; a function of a module.
        claims: Folder where running tasks are noted.
        processes: Number of processes.
        threads: Compute threads of each; 0 shares the cores among them.
    """

    def __init__(self, perform: Perform, claims: str, processes: int, threads: int = 0) -> None:
        self._command = [sys.executable, "-m", "ilion.tasks.worker", function_name(perform), claims]
        each = threads or max(1, (os.cpu_count() or 1) // processes)
        self._environment = {
            **dict.fromkeys(THREAD_VARIABLES, str(each)),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._workers: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(processes)]
        for thread in self._threads:
            thread.start()

    @property
    def capacity(self) -> int:
        """How many tasks may be given out at once."""
        return len(self._threads)

    def submit(self, task: Task) -> None:
        """Give out a task."""
        self._tasks.put(task)

    def finished(self, timeout: float) -> Sequence[Outcome]:
        """Return the outcomes since the last call; wait for one at most ``timeout`` seconds."""
        found: list[Outcome] = []
        try:
            found.append(self._outcomes.get(timeout=timeout))
            while True:
                found.append(self._outcomes.get_nowait())
        except queue.Empty:
            return found

    def close(self) -> None:
        """End the workers, and what they are doing."""
        with self._guard:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Look after one worker: hand it tasks, and replace it when it dies."""
        worker: subprocess.Popen[str] | None = None
        while (task := self._tasks.get()) is not None:
            try:
                worker = worker or self._start()
                self._outcomes.put(_ask(worker, task))
            except (OSError, EOFError):
                error = "no worker process could be started"
                if worker is not None:
                    error = _ending(self._stop(worker))
                worker = None
                self._outcomes.put(Outcome(task.name, error, again=True, lost=True))
        if worker is not None:
            self._stop(worker)

    def _start(self) -> subprocess.Popen[str]:
        answers, end = os.pipe()
        try:
            with self._guard:
                if self._closed:
                    raise EOFError
                # a session of its own: an interrupt from the keyboard is the driver's business
                worker = subprocess.Popen(
                    [*self._command, str(end)],
                    stdin=subprocess.PIPE,
                    stdout=sys.stderr if _is_file(sys.stderr) else subprocess.DEVNULL,
                    env=self._environment,
                    pass_fds=(end,),
                    start_new_session=True,
                    text=True,
                    encoding="utf-8",
                )
                self._workers.add(worker)
        except BaseException:
            os.close(answers)
            raise
        finally:
            os.close(end)
        worker.stdout = os.fdopen(answers, encoding="utf-8")
        return worker

    def _stop(self, worker: subprocess.Popen[str]) -> int:
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with self._guard:
            self._workers.discard(worker)
        try:
            return worker.wait(1)
        except subprocess.TimeoutExpired:
            worker.kill()
            return worker.wait()


def _is_file(stream: object) -> bool:
    try:
        return stream.fileno() >= 0  # type: ignore[attr-defined,no-any-return]
    except (AttributeError, OSError):
        return False


def _ask(worker: subprocess.Popen[str], task: Task) -> Outcome:
    """Hand over a task and wait for the answer."""
    if worker.stdin is None or worker.stdout is None:
        raise EOFError
    worker.stdin.write(task.to_json() + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer.endswith("\n"):
        raise EOFError
    return Outcome.from_json(answer)


def _ending(code: int) -> str:
    why = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = "; perhaps the memory ran out: use fewer processes" if code == -9 else ""
    return f"its worker process ended with {why}{hint}"
