"""``python -m kitaru``: the command line, where the environment's scripts are not on the PATH."""

from kitaru.cli.main import main

main()
