"""Kubernetes' libraries of functions, one module a theme.

Source: k8s.io/apiserver/pkg/cel/library (v1.37); https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries
"""
