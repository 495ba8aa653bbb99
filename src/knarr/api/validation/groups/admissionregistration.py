"""Admission policies and their bindings, and the table of the group.

Source: k8s.io/kubernetes/pkg/apis/admissionregistration/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.policies import expressions
from knarr.api.validation import selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.groups import webhooks
from knarr.api.validation.rules import Rules

GROUP = "admissionregistration.k8s.io"
_FAILURE = ("Fail", "Ignore")
_MATCH = ("Equivalent", "Exact")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MISSING_PARAMETER = ("Allow", "Deny")
_REINVOCATION = ("IfNeeded", "Never")
_PATCH_TYPES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_ANNOTATIONS_MAX = 20
_NEITHER = "validations or auditAnnotations must contain at least one item"


def validating_policy(errors: Errors, obj: Object) -> None:
    """Check a ValidatingAdmissionPolicy."""
    spec = obj.get("spec") or {}
    compiler = _common(errors, spec)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        errors.required("spec.validations", _NEITHER)
        errors.required("spec.auditAnnotations", _NEITHER)
    for index, validation in enumerate(validations):
        _validation(errors, validation, f"spec.validations[{index}]", compiler)
    if len(annotations) > _ANNOTATIONS_MAX:
        words = f"must not have more than {_ANNOTATIONS_MAX} auditAnnotations"
        errors.invalid("spec.auditAnnotations", annotations, words)
    seen = set()
    for index, annotation in enumerate(annotations):
        here, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        if not key:
            errors.required(f"{here}.key")
        else:
            full = f"{(obj.get('metadata') or {}).get('name') or ''}/{key}"
            errors.all_invalid(f"{here}.key", key, names.qualified_name(full))
        value = annotation.get("valueExpression") or ""
        webhooks.compiles(errors, value, f"{here}.valueExpression", compiler, expressions.STRING_OR_NULL)
        if key in seen:
            errors.duplicate(f"{here}.key", key)
        seen.add(key)


def _common(errors: Errors, spec: Object) -> expressions.Compiler:
    """Check what policies of both kinds have; return what compiles the rest of their expressions."""
    policy = spec.get("failurePolicy")
    if policy is None:
        errors.required("spec.failurePolicy")
    webhooks.optional(errors, spec, "failurePolicy", _FAILURE, "spec")
    kind = spec.get("paramKind")
    if kind is not None:
        _param_kind(errors, kind, "spec.paramKind")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        errors.required("spec.matchConstraints")
    else:
        _match_resources(errors, constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            errors.required("spec.matchConstraints.resourceRules")
    compiler = expressions.Compiler(has_params=kind is not None)
    for index, variable in enumerate(spec.get("variables") or ()):
        here, name = f"spec.variables[{index}]", variable.get("name") or ""
        if not name:
            errors.required(f"{here}.name", "name is not specified")
        elif names.c_identifier(name):
            errors.invalid(f"{here}.name", name, "name is not a valid CEL identifier")
        text = variable.get("expression") or ""
        if not text.strip():
            errors.required(f"{here}.expression", "expression is not specified")
        elif name and not names.c_identifier(name):
            found = compiler.add_variable(name, text)
            if found.error:
                errors.invalid(f"{here}.expression", text, found.error)
    webhooks.conditions(errors, spec.get("matchConditions") or (), "spec.matchConditions", compiler)
    return compiler


def _param_kind(errors: Errors, kind: Object, path: str) -> None:
    version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    if not version:
        errors.required(f"{path}.apiVersion")
    elif version.count("/") > 1:
        errors.invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    else:
        group, _, short = version.rpartition("/")
        if group and names.dns_subdomain(group):
            errors.invalid(f"{path}.apiVersion", group, ",".join(names.dns_subdomain(group)))
        if not short:
            errors.invalid(f"{path}.apiVersion", version, "version must be specified")
        elif names.dns_label_1035(short):
            errors.invalid(f"{path}.apiVersion", short, ",".join(names.dns_label_1035(short)))
    if not name:
        errors.required(f"{path}.kind")
    elif names.dns_label_1035(name.lower()):
        listed = ",".join(names.dns_label_1035(name.lower()))
        errors.invalid(f"{path}.kind", name, f"may have mixed case, but should otherwise match: {listed}")


def _match_resources(errors: Errors, match: Object, path: str) -> None:
    if match.get("matchPolicy") is None:
        errors.required(f"{path}.matchPolicy")
    webhooks.optional(errors, match, "matchPolicy", _MATCH, path)
    for field in ("namespaceSelector", "objectSelector"):
        if match.get(field) is None:
            errors.required(f"{path}.{field}")
        selectors.check(errors, match.get(field), f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(field) or ()):
            here, listed = f"{path}.{field}[{index}]", rule.get("resourceNames") or []
            seen = set()
            for position, name in enumerate(listed):
                errors.all_invalid(f"{here}.resourceNames[{position}]", name, names.path_segment(name))
                if name in seen:
                    errors.duplicate(f"{here}.resourceNames[{position}]", name)
                seen.add(name)
            webhooks.rule_with_operations(errors, rule, here)


def _validation(errors: Errors, validation: Object, path: str, compiler: expressions.Compiler) -> None:
    text, said = validation.get("expression") or "", validation.get("messageExpression")
    missing = "expression is not specified"
    webhooks.compiles(errors, text, f"{path}.expression", compiler, expressions.BOOL, missing=missing)
    if said is not None and not said.strip():
        errors.invalid(f"{path}.messageExpression", said, "must be non-empty if specified")
    elif said:
        where = f"{path}.messageExpression"
        webhooks.compiles(errors, said, where, compiler, expressions.STRING, has_authorizer=False)
    message = validation.get("message") or ""
    if message:
        if not message.strip():
            errors.invalid(f"{path}.message", message, "message must be non-empty if specified")
        elif "\n" in message.strip():
            errors.invalid(f"{path}.message", message, "message must not contain line breaks")
    webhooks.optional(errors, validation, "reason", _REASONS, path)


def mutating_policy(errors: Errors, obj: Object) -> None:
    """Check a MutatingAdmissionPolicy."""
    spec = obj.get("spec") or {}
    compiler = _common(errors, spec)
    mutations = spec.get("mutations") or ()
    if not mutations:
        errors.required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        here, kind = f"spec.mutations[{index}]", mutation.get("patchType") or ""
        errors.one_of(f"{here}.patchType", kind, tuple(_PATCH_TYPES))
        for name, field in _PATCH_TYPES.items():
            given = mutation.get(field)
            if kind == name and given is None:
                errors.required(f"{here}.{field}", f"must be specified when patchType is {kind}")
            elif kind != name and given is not None:
                errors.forbidden(f"{here}.{field}", f"may only be specified when patchType is {name}")
            elif given is not None:
                wanted = expressions.OBJECT if name == "ApplyConfiguration" else expressions.PATCHES
                text, where = given.get("expression") or "", f"{here}.{field}.expression"
                webhooks.compiles(errors, text, where, compiler, wanted, missing="expression is not specified")
    if not spec.get("reinvocationPolicy"):
        errors.required("spec.reinvocationPolicy")
    else:
        webhooks.optional(errors, spec, "reinvocationPolicy", _REINVOCATION, "spec")


def mutating_binding(errors: Errors, obj: Object) -> None:
    """Check a MutatingAdmissionPolicyBinding."""
    spec = obj.get("spec") or {}
    name = spec.get("policyName") or ""
    if not name:
        errors.required("spec.policyName")
    else:
        errors.all_invalid("spec.policyName", name, names.dns_subdomain(name))
    reference = spec.get("paramRef")
    if reference is not None:
        _param_reference(errors, reference, "spec.paramRef")
    match = spec.get("matchResources")
    if match is not None:
        _match_resources(errors, match, "spec.matchResources")


def validating_binding(errors: Errors, obj: Object) -> None:
    """Check a ValidatingAdmissionPolicyBinding."""
    mutating_binding(errors, obj)
    actions, path = (obj.get("spec") or {}).get("validationActions") or [], "spec.validationActions"
    if not actions:
        errors.required(path, "at least one validation action is required")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.unsupported(f"{path}[{index}]", action, _ACTIONS)
        if action in actions[:index]:
            errors.duplicate(f"{path}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        words = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response "
            "and headers serves no purpose)"
        )
        errors.invalid(path, actions, words)


def _param_reference(errors: Errors, reference: Object, path: str) -> None:
    name, selector = reference.get("name") or "", reference.get("selector")
    if name and selector is not None:
        errors.forbidden(f"{path}.name", "name and selector are mutually exclusive")
    elif name:
        errors.all_invalid(f"{path}.name", name, names.path_segment(name))
    elif selector is not None:
        selectors.check(errors, selector, f"{path}.selector")
    else:
        errors.required(path, "one of name or selector must be specified")
    action = reference.get("parameterNotFoundAction")
    if not action:
        errors.required(f"{path}.parameterNotFoundAction")
    else:
        webhooks.optional(errors, reference, "parameterNotFoundAction", _MISSING_PARAMETER, path)


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "MutatingAdmissionPolicy"): Rules(mutating_policy),
    (GROUP, "MutatingAdmissionPolicyBinding"): Rules(mutating_binding),
    (GROUP, "MutatingWebhookConfiguration"): Rules(webhooks.configuration),
    (GROUP, "ValidatingAdmissionPolicy"): Rules(validating_policy),
    (GROUP, "ValidatingAdmissionPolicyBinding"): Rules(validating_binding),
    (GROUP, "ValidatingWebhookConfiguration"): Rules(webhooks.configuration),
}
