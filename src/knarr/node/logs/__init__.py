"""Container logs as the runtime writes them: reading, following, rotating."""
