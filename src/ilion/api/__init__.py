"""The verbs: what the command line and a Python program call, with the same names and defaults."""

from ilion.api.download import download, recipes
from ilion.pipeline.jobs.adapt import adapt
from ilion.pipeline.jobs.audit import apply_audit, audit, undo_audit
from ilion.pipeline.jobs.forecast import forecast
from ilion.pipeline.jobs.interop import (
    export_features,
    export_layer,
    export_results,
    export_truth,
    import_features,
    import_layer,
    import_results,
)
from ilion.pipeline.jobs.poc import check_poc, decide_poc, new_poc, run_poc
from ilion.pipeline.jobs.run import demo, evaluate, extract, rank, run
from ilion.pipeline.jobs.runs import compare, load_run, report, status
from ilion.pipeline.jobs.sweep import sweep
from ilion.pipeline.jobs.tune import tune
from ilion.serve.verbs import add, index, remove

__all__ = [
    "adapt",
    "add",
    "apply_audit",
    "audit",
    "check_poc",
    "compare",
    "decide_poc",
    "demo",
    "download",
    "evaluate",
    "export_features",
    "export_layer",
    "export_results",
    "export_truth",
    "extract",
    "forecast",
    "import_features",
    "import_layer",
    "import_results",
    "index",
    "load_run",
    "new_poc",
    "rank",
    "recipes",
    "remove",
    "report",
    "run",
    "run_poc",
    "status",
    "sweep",
    "tune",
    "undo_audit",
]
