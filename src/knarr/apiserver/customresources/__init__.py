"""Kinds that users define: CustomResourceDefinitions and the objects of their kinds.

`catalog.Catalog` follows the definitions and gives the scheme of what is served; `establishing` accepts names, sets conditions and
cleans up; the verbs of the API server call `reading`, `intake`, `checks` and `strategy` where custom objects differ from built-in ones.

Source: k8s.io/apiextensions-apiserver (v1.37).
"""
