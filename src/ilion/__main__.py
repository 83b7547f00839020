"""Run the command line with ``python -m ilion``."""

from ilion.cli import main

if __name__ == "__main__":
    main()
