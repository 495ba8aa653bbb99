"""What is said to requests for custom kinds before they are served: no new objects of a kind that goes, warnings of old versions.

Source: crdHandler.ServeHTTP in k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go (v1.37).
"""

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.apiserver.customresources.catalog import Catalog
from knarr.apiserver.parts import Call


def check(catalog: Catalog, call: Call, resource: Resource) -> None:
    """Warn of a deprecated version.

    Raises:
        MethodNotSupported: an object is to be created though its definition is being deleted.
    """
    version = catalog.of(resource)
    if version is None:
        raise errors.PathNotFound
    if version.warning:
        call.warnings.append(version.warning)
    if version.definition.is_terminating and call.info.verb == "create":
        error = errors.MethodNotSupported(resource.group, resource.plural, call.info.verb)
        error.message = f"{call.info.verb} not allowed while custom resource definition is terminating"
        raise error
