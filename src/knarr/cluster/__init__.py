"""Create, start, stop and delete whole clusters."""
