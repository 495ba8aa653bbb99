"""`python -m knarr`."""

from knarr.cli.main import main

main()
