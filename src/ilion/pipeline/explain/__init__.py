"""Why a result is as it is, and what it cost."""
