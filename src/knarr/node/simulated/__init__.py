"""Simulated nodes: thousands of node agents in one process whose pods are played instead of run.

They serve scale (a cluster of 5,000 nodes on a laptop), tests on virtual time, and learning. What the API sees is what real
agents write: plans and statuses come from the very functions that `node.pods` uses; only the runtime below them is played.
"""
