"""Run the command line with ``ilion`` or ``python -m ilion``."""

import sys


def main() -> None:
    """Run the command line; an interruption while it is being loaded shows no traceback either."""
    try:
        from ilion.cli import main as run
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
