"""Revisions, keys and bytes: backends, watch cache, compaction. It never knows a kind."""
