"""Structural schemas: what a CustomResourceDefinition says of its objects, made ready to prune, default and check them.

`schema.compile_schema` turns the `openAPIV3Schema` of a version into `Node`s; the other modules walk objects along them. All of it
is pure: objects in, objects or lists of errors out.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema (v1.37);
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from knarr.api.structural.defaulting import set_defaults
from knarr.api.structural.pruning import prune
from knarr.api.structural.schema import Node, Rule, compile_schema
from knarr.api.structural.types import to_type
from knarr.api.structural.validation import Validator

__all__ = ["Node", "Rule", "Validator", "compile_schema", "prune", "set_defaults", "to_type"]
