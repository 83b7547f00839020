"""The verbs: what the command line and a Python program call, with the same names and defaults."""

from ilion.sweep import sweep
from ilion.verbs.ahead import forecast
from ilion.verbs.fetching import download, recipes
from ilion.verbs.finished import compare, load_run, report, status
from ilion.verbs.interop import (
    export_features,
    export_layer,
    export_results,
    import_features,
    import_layer,
    import_results,
)
from ilion.verbs.learning import adapt, tune
from ilion.verbs.running import demo, evaluate, extract, rank, run

__all__ = [
    "adapt",
    "compare",
    "demo",
    "download",
    "evaluate",
    "export_features",
    "export_layer",
    "export_results",
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
