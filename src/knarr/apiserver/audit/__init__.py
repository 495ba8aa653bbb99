"""The audit log: who asked for what, when, and what came of it.

A policy says how much of which requests is kept; a record gathers it while a request is served; sinks write it down.

Upstream counterpart: k8s.io/apiserver/pkg/audit and plugin/pkg/audit (v1.37).
"""
