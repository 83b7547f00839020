"""Work cut into tasks: what one is, who does them (this process, a pool, a Ray cluster), how far they are."""

from ilion.tasks.base import Failure, InlinePool, Pool, Task, run_tasks
from ilion.tasks.record import RunRecord
from ilion.tasks.status import StageStatus, read_status

__all__ = ["Failure", "InlinePool", "Pool", "RunRecord", "StageStatus", "Task", "read_status", "run_tasks"]
