"""The `knarr` command, one subcommand a module."""
