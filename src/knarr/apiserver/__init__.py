"""The API server: HTTP routes, discovery, OpenAPI, tables, verbs, authentication, authorization, admission, strategies."""
