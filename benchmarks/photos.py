"""Where the real photos are, for benchmarks that need them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def grocery() -> Path:
    """Return the folder of the grocery photos; without them the benchmark ends and says so."""
    checkout = Path(__file__).resolve().parents[1]
    given = os.environ.get("ILION_SHARED")
    for home in [Path(given)] if given else [checkout / "shared", checkout.parent / "shared"]:
        if (home / "data" / "grocery" / "ilias_core").is_dir():
            return home / "data" / "grocery"
    print("skipped: no grocery photos; set ILION_SHARED to the folder that holds data/grocery")
    sys.exit(0)
