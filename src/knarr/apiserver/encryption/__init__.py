"""Encryption at rest: what is written to disk of chosen resources, only holders of a key can read.

It happens at one border, a backend around the backend: everything above it sees plain text, everything below it cipher text.

Upstream counterpart: k8s.io/apiserver/pkg/storage/value and pkg/server/options/encryptionconfig (v1.37).
"""
