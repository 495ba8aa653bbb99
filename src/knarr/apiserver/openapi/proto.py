"""Parts of an OpenAPI v2 document as protobuf.

Messages put one after the other are one message, so a document is written path by path and definition by definition.

Source: gnostic OpenAPIv2.proto; k8s.io/kube-openapi/pkg/handler (v1.37).
"""

import json
from typing import Any

from knarr.apiserver.openapi import openapiv2_pb2 as pb

Object = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def head(title: str, version: str) -> bytes:
    """Return a document of nothing but its title."""
    return pb.Document(swagger="2.0", info=pb.Info(title=title, version=version)).SerializeToString()


def path(name: str, item: Object) -> bytes:
    """Return a document of one path."""
    value = pb.PathItem(parameters=[_parameter(parameter) for parameter in item.get("parameters", ())])
    for method in _METHODS:
        if method in item:
            getattr(value, method).CopyFrom(_operation(item[method]))
    return pb.Document(paths=pb.Paths(path=[pb.NamedPathItem(name=name, value=value)])).SerializeToString()


def definition(name: str, schema: Object) -> bytes:
    """Return a document of one definition."""
    named = pb.NamedSchema(name=name, value=_schema(schema))
    return pb.Document(definitions=pb.Definitions(additional_properties=[named])).SerializeToString()


def _operation(operation: Object) -> pb.Operation:
    return pb.Operation(
        tags=operation["tags"],
        description=operation["description"],
        operation_id=operation["operationId"],
        produces=operation["produces"],
        consumes=operation["consumes"],
        schemes=operation["schemes"],
        parameters=[_parameter(parameter) for parameter in operation.get("parameters", ())],
        responses=pb.Responses(
            response_code=[
                pb.NamedResponseValue(name=code, value=pb.ResponseValue(response=_response(response)))
                for code, response in operation["responses"].items()
            ]
        ),
        vendor_extension=_extensions(operation),
    )


def _response(response: Object) -> pb.Response:
    made = pb.Response(description=response["description"])
    if "schema" in response:
        made.schema.schema.CopyFrom(_schema(response["schema"]))
    return made


def _parameter(parameter: Object) -> pb.ParametersItem:
    where = parameter["in"]
    if where == "body":
        body = pb.BodyParameter(
            name=parameter["name"], required=parameter.get("required", False), schema=_schema(parameter["schema"])
        )
        setattr(body, "in", where)
        return pb.ParametersItem(parameter=pb.Parameter(body_parameter=body))
    facts = {key: parameter[key] for key in ("description", "name", "type")}
    if where == "path":
        in_path = pb.PathParameterSubSchema(required=True, unique_items=True, **facts)
        setattr(in_path, "in", where)
        other = pb.NonBodyParameter(path_parameter_sub_schema=in_path)
    else:
        in_query = pb.QueryParameterSubSchema(unique_items=True, **facts)
        setattr(in_query, "in", where)
        other = pb.NonBodyParameter(query_parameter_sub_schema=in_query)
    return pb.ParametersItem(parameter=pb.Parameter(non_body_parameter=other))


def _schema(schema: Object) -> pb.Schema:
    made = pb.Schema(
        _ref=schema.get("$ref", ""),
        format=schema.get("format", ""),
        description=schema.get("description", ""),
        required=schema.get("required", ()),
        enum=[_any(value) for value in schema.get("enum", ())],
        vendor_extension=_extensions(schema),
    )
    if "default" in schema:
        made.default.CopyFrom(_any(schema["default"]))
    if "type" in schema:
        made.type.value.append(schema["type"])
    if "items" in schema:
        made.items.schema.append(_schema(schema["items"]))
    extra = schema.get("additionalProperties")
    if isinstance(extra, bool):
        made.additional_properties.boolean = extra
    elif extra is not None:
        made.additional_properties.schema.CopyFrom(_schema(extra))
    if "properties" in schema:
        made.properties.additional_properties.extend(
            pb.NamedSchema(name=name, value=_schema(inner)) for name, inner in schema["properties"].items()
        )
    return made


def _extensions(value: Object) -> list[pb.NamedAny]:
    return [pb.NamedAny(name=name, value=_any(item)) for name, item in value.items() if name.startswith("x-")]


def _any(value: Any) -> pb.Any:
    return pb.Any(yaml=f"{json.dumps(value)}\n")
