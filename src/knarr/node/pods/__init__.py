"""Pods on this node: one worker each that plans from what it observes and acts through the runtime."""
