"""The scheduler's plugins, one a module; `order` says in which order they run and with which weight."""
