"""The scheduler: queue, snapshot, cycle, preemption and plugins."""
