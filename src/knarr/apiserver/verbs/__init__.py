"""The verbs of stored resources, one a module."""
