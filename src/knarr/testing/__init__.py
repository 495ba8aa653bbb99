"""Clusters inside tests, for users' own test suites."""
