"""Changes of an index: made, grown, shrunk and tidied by one process at a time.

A process that is killed leaves staged rows and finished shards of photos that do not count; the next writer
drops the rows, and takes the shards over if it is asked for the same photos again.
"""

from ilion.serve.writer.compaction import compact
from ilion.serve.writer.designs import attach, build, switch
from ilion.serve.writer.lock import writing
from ilion.serve.writer.making import create, create_from_run
from ilion.serve.writer.photos import Added, add, remove

__all__ = [
    "Added",
    "add",
    "attach",
    "build",
    "compact",
    "create",
    "create_from_run",
    "remove",
    "switch",
    "writing",
]
