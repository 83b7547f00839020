"""The verbs: what the command line and a Python program call, with the same names and defaults."""

from ilion.api.adapt import adapt, tune
from ilion.api.download import download, recipes
from ilion.api.forecast import forecast
from ilion.api.interop import (
    export_features,
    export_layer,
    export_results,
    export_truth,
    import_features,
    import_layer,
    import_results,
)
from ilion.api.run import demo, evaluate, extract, rank, run
from ilion.api.runs import compare, load_run, report, status
from ilion.pipeline.jobs.sweep import sweep

__all__ = [
    "adapt",
    "compare",
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
    "load_run",
    "rank",
    "recipes",
    "report",
    "run",
    "status",
    "sweep",
    "tune",
]
