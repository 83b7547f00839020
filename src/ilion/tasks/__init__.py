"""Work cut into tasks: what one is, who does them (this process, a pool, a Ray cluster), how far they are."""

from ilion.tasks.base import Failure, InlinePool, Outcome, Perform, Pool, Task, run_tasks
from ilion.tasks.ledger import Ledger, RunningTask, StageStatus, read_status

__all__ = [
    "Failure",
    "InlinePool",
    "Ledger",
    "Outcome",
    "Perform",
    "Pool",
    "RunningTask",
    "StageStatus",
    "Task",
    "read_status",
    "run_tasks",
]
