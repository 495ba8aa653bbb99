"""Aggregated API servers: groups that somebody else serves, as if they were this server's own.

An APIService says which group and version is served by whom. `registrations` follows those objects, `proxy` passes requests on,
`availability` finds out who can be reached, `autoregister` keeps an APIService for everything that this server serves itself,
and `discovery` and `openapi` put everybody's documents together.

Upstream counterpart: k8s.io/kube-aggregator (v1.37).
"""
