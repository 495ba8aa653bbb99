"""Admission policies in CEL on a whole API server."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from knarr.api.user import User
from tests.apiserver.conftest import Api

Object = dict[str, Any]

GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def rules(*resources: str, group: str = "", **rest: Any) -> Object:
    operations = rest.pop("operations", ["CREATE", "UPDATE"])
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": list(resources)}
    return {"resourceRules": [rule], **rest}


def config_map(name: str = "x", **rest: Any) -> Object:
    return {"metadata": {"name": name, **rest.pop("metadata", {})}, **rest}


@dataclass
class Bench:
    """Makes policies with their bindings."""

    api: Api

    async def policy(self, kind: str, name: str, spec: Object, **binding: Any) -> None:
        plural = f"{kind.lower()}admissionpolicies"
        spec = {"matchConstraints": rules("configmaps"), "failurePolicy": "Fail", **spec}
        if kind == "Mutating":
            spec = {"reinvocationPolicy": "Never", **spec}
        await self.api.ok("POST", f"{GROUP}/{plural}", {"metadata": {"name": name}, "spec": spec})
        bound: Object = {
            "policyName": name,
            **({"validationActions": ["Deny"]} if kind == "Validating" else {}),
            **binding,
        }
        bindings = f"{GROUP}/{kind.lower()}admissionpolicybindings"
        await self.api.ok("POST", bindings, {"metadata": {"name": f"{name}-binding"}, "spec": bound})

    async def validating(self, name: str, expression: str, spec: Object | None = None, **binding: Any) -> None:
        spec = spec or {}
        validation = {"expression": expression, **spec.pop("validation", {})}
        await self.policy("Validating", name, {"validations": [validation], **spec}, **binding)

    async def mutating(self, name: str, *texts: str, **spec: Any) -> None:
        mutations = [
            {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}
            if text.lstrip().startswith("[")
            else {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
            for text in texts
        ]
        await self.policy("Mutating", name, {"mutations": mutations, **spec})

    async def denied(self, obj: Object, code: int = 422, path: str = CONFIGMAPS, api: Api | None = None) -> str:
        refusal = await (api or self.api).fails(code, "POST", path, obj)
        message: str = refusal["message"]
        return message


@pytest.fixture
def bench(api: Api) -> Bench:
    return Bench(api)


async def test_validation_denies_with_message_and_reason(bench: Bench) -> None:
    await bench.validating("plain", "has(object.data) && object.data.size() < 3")
    message = await bench.denied(config_map())
    who = "ValidatingAdmissionPolicy 'plain' with binding 'plain-binding' denied request"
    assert (
        message == f'configmaps "x" is forbidden: {who}: failed expression: has(object.data) && object.data.size() < 3'
    )
    await bench.api.ok("POST", CONFIGMAPS, config_map(data={"a": "1"}))
    spec: Object = {"validation": {"message": "no big ones", "reason": "Forbidden"}}
    await bench.validating("worded", "object.data.size() < 2", spec)
    refusal = await bench.api.fails(403, "POST", CONFIGMAPS, config_map("y", data={"a": "1", "b": "2"}))
    assert refusal["reason"] == "Forbidden"
    assert refusal["message"].endswith("denied request: no big ones")
    assert refusal["details"]["causes"][-1]["message"].endswith("no big ones")
    spec = {"validation": {"message": "fallback", "messageExpression": "'has ' + string(object.data.size())"}}
    await bench.validating("computed", "object.data.size() != 1", spec)
    assert (await bench.denied(config_map("y", data={"a": "1"}))).endswith("denied request: has 1")


async def test_failure_policy_decides_where_nothing_can_be_judged(bench: Bench) -> None:
    await bench.validating("closed", "object.data.a == 'x'")
    message = await bench.denied(config_map())
    assert message.endswith("expression 'object.data.a == 'x'' resulted in error: no such key: data")
    await bench.api.ok("DELETE", f"{GROUP}/validatingadmissionpolicies/closed")
    await bench.validating("open", "object.data.a == 'x'", {"failurePolicy": "Ignore"})
    await bench.api.ok("POST", CONFIGMAPS, config_map())
    assert (await bench.denied(config_map("y", data={"a": "1"}))).endswith("failed expression: object.data.a == 'x'")


async def test_warn_and_audit_let_it_pass(bench: Bench) -> None:
    await bench.validating(
        "soft", "false", {"validation": {"message": "not nice"}}, validationActions=["Warn", "Audit"]
    )
    response = await bench.api.call("POST", CONFIGMAPS, config_map())
    assert response.status == 201
    said = "Validation failed for ValidatingAdmissionPolicy 'soft' with binding 'soft-binding': not nice"
    assert response.headers.get("warning") == f'299 - "{said}"'


async def test_what_expressions_see(bench: Bench) -> None:
    spaces = "/api/v1/namespaces"
    await bench.api.ok("PUT", f"{spaces}/default", {"metadata": {"name": "default", "labels": {"env": "test"}}})
    cases = [
        "request.operation == 'CREATE' && request.name == 'x' && request.namespace == 'default'",
        "request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps' && !has(request.subResource)",
        "request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups && request.dryRun",
        "oldObject == null && object.kind == 'ConfigMap' && object.metadata.name == 'x'",
        "namespaceObject.metadata.labels.env == 'test'",
        "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
        "authorizer.requestResource.check('delete').allowed() && authorizer.path('/metrics').check('get').allowed()",
        "!authorizer.serviceAccount('default', 'default').group('').resource('secrets').check('list').allowed()",
        "quantity('1Gi').isGreaterThan(quantity('100Mi')) && 'a,b'.split(',')[1] == 'b'",
    ]
    checked = {"validations": [{"expression": one} for one in cases]}
    await bench.policy("Validating", "all", checked)
    await bench.api.ok("POST", f"{CONFIGMAPS}?dryRun=All", config_map())


async def test_variables_are_evaluated_where_they_are_needed(bench: Bench) -> None:
    variables = [
        {"name": "count", "expression": "object.data.size()"},
        {"name": "double", "expression": "variables.count * 2"},
        {"name": "broken", "expression": "object.data.missing"},
    ]
    spec: Object = {"variables": variables}
    await bench.validating("vars", "variables.double == 2 || variables.broken == 'x'", spec)
    await bench.api.ok("POST", CONFIGMAPS, config_map(data={"a": "1"}))
    message = await bench.denied(config_map("y", data={"a": "1", "b": "2"}))
    assert message.endswith('composited variable "broken" fails to evaluate: no such key: missing')


async def test_match_conditions_and_constraints(bench: Bench) -> None:
    conditions = [{"name": "marked", "expression": "'check' in object.metadata.?labels.orValue({})"}]
    await bench.validating("conditional", "false", {"matchConditions": conditions})
    await bench.api.ok("POST", CONFIGMAPS, config_map())
    await bench.denied(config_map("y", metadata={"labels": {"check": ""}}))
    excluded = [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"], "resourceNames": ["free"]}
    ]
    await bench.validating("named", "false", {"matchConstraints": rules("secrets", excludeResourceRules=excluded)})
    secrets = CONFIGMAPS.replace("configmaps", "secrets")
    await bench.api.ok("POST", secrets, config_map("free"))
    await bench.denied(config_map("other"), path=secrets)
    elsewhere = {"namespaceSelector": {"matchLabels": {"no": "where"}}}
    await bench.validating("elsewhere", "false", {"matchConstraints": rules("services")}, matchResources=elsewhere)
    await bench.api.ok(
        "POST", CONFIGMAPS.replace("configmaps", "services"), config_map("s", spec={"ports": [{"port": 1}]})
    )


async def test_parameters(bench: Bench) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    spec: Object = {"paramKind": kind, "matchConstraints": rules("secrets")}
    reference = {"name": "limit", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await bench.validating("limited", "object.data.size() <= int(params.data.max)", spec, paramRef=reference)
    secrets = CONFIGMAPS.replace("configmaps", "secrets")
    message = await bench.denied(config_map(data={"a": "YQ=="}), path=secrets)
    assert message.endswith(
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await bench.api.ok("POST", CONFIGMAPS, config_map("limit", data={"max": "1"}))
    await bench.api.ok("POST", secrets, config_map(data={"a": "YQ=="}))
    await bench.denied(config_map("y", data={"a": "YQ==", "b": "YQ=="}), path=secrets)
    selected = {"selector": {"matchLabels": {"limit": "yes"}}, "parameterNotFoundAction": "Allow"}
    spec = {"paramKind": kind, "matchConstraints": rules("services")}
    await bench.validating("selected", "params.data.ok == 'yes'", spec, paramRef=selected)
    services = CONFIGMAPS.replace("configmaps", "services")
    service = config_map("s", spec={"ports": [{"port": 1}]})
    await bench.api.ok("POST", f"{services}?dryRun=All", service)
    for name, value in (("one", "yes"), ("two", "no")):
        await bench.api.ok("POST", f"{services}?dryRun=All", service)
        await bench.api.ok(
            "POST", CONFIGMAPS, config_map(name, data={"ok": value}, metadata={"labels": {"limit": "yes"}})
        )
    await bench.denied(service, path=services)
    spec = {"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "matchConstraints": rules("pods")}
    await bench.validating("unknown", "true", spec)
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    message = await bench.denied(pod, path=CONFIGMAPS.replace("configmaps", "pods"))
    assert (
        "failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
        in message
    )


async def test_deletions_are_judged_by_the_old_object(bench: Bench) -> None:
    constraints = rules("configmaps", operations=["DELETE"])
    await bench.validating("keep", "object == null && !has(oldObject.data)", {"matchConstraints": constraints})
    await bench.api.ok("POST", CONFIGMAPS, config_map("keep", data={"a": "1"}))
    await bench.api.fails(422, "DELETE", f"{CONFIGMAPS}/keep")
    await bench.api.ok("POST", CONFIGMAPS, config_map("drop"))
    await bench.api.ok("DELETE", f"{CONFIGMAPS}/drop")


async def test_policies_are_not_judged_by_policies(bench: Bench) -> None:
    everything = {
        "resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]
    }
    await bench.validating("never", "false", {"matchConstraints": everything})
    await bench.denied(config_map())
    await bench.api.ok("DELETE", f"{GROUP}/validatingadmissionpolicies/never")
    await bench.api.ok("POST", CONFIGMAPS, config_map())


async def test_status_tells_of_wrong_types(bench: Bench) -> None:
    validations = [
        {"expression": "object.spec.replicas > '1'"},
        {"expression": "object.spec.replicas > 1"},
        {"expression": "object.foo == 1"},
    ]
    spec = {"matchConstraints": rules("deployments", group="apps"), "validations": validations}
    await bench.policy("Validating", "typed", spec)
    for _ in range(300):
        found = await bench.api.ok("GET", f"{GROUP}/validatingadmissionpolicies/typed")
        if (found.get("status") or {}).get("observedGeneration"):
            break
        await asyncio.sleep(0.01)
    warnings = found["status"]["typeChecking"]["expressionWarnings"]
    assert [one["fieldRef"] for one in warnings] == ["spec.validations[0].expression", "spec.validations[2].expression"]
    assert warnings[0]["warning"].startswith("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:22: ")
    assert "undefined field 'foo'" in warnings[1]["warning"]


async def test_apply_configuration_merges_by_key(bench: Bench) -> None:
    text = """Object{
      metadata: Object.metadata{labels: {"team": object.metadata.?labels["team"].orValue("none")}},
      spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
        containers: object.spec.template.spec.containers.map(c, Object.spec.template.spec.containers{
          name: c.name, imagePullPolicy: "Always"}) + [Object.spec.template.spec.containers{name: "side", image: "s"}],
      }}}
    }"""
    await bench.mutating("side", text, matchConstraints=rules("deployments", group="apps"))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await bench.api.ok("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    assert made["metadata"]["labels"] == {"team": "none"}
    main, side = made["spec"]["template"]["spec"]["containers"]
    assert (main["name"], main["image"], main["imagePullPolicy"]) == ("main", "i:1", "Always")
    assert (side["name"], side["image"], side["terminationMessagePath"]) == ("side", "s", "/dev/termination-log")


async def test_json_patches(bench: Bench) -> None:
    text = """[
      JSONPatch{op: "test", path: "/data/on", value: "yes"},
      JSONPatch{op: "add", path: "/metadata/annotations", value: {}},
      JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("example.com/by"), value: request.userInfo.username},
      JSONPatch{op: "remove", path: "/data/on"},
    ]"""
    await bench.mutating("patch", text)
    made = await bench.api.ok("POST", CONFIGMAPS, config_map(data={"on": "yes", "a": "b"}))
    assert made["metadata"]["annotations"] == {"example.com/by": "admin"}
    assert made["data"] == {"a": "b"}
    # A test that fails leaves the object alone.
    made = await bench.api.ok("POST", CONFIGMAPS, config_map("y", data={"on": "no"}))
    assert made["data"] == {"on": "no"}


async def test_mutations_that_cannot_be_made(bench: Bench) -> None:
    cases = {
        "absent": ("Object{data: {'a': object.data.missing}}", "resulted in error: no such key: data"),
        "path": ("[JSONPatch{op: 'remove', path: '/data/x'}]", "JSON Patch: "),
        "wrong": (
            "Object{metadata: Object.meta{labels: {'a': 'b'}}}",
            'type mismatch: unexpected type name "Object.meta", expected "Object.metadata", which matches field name path '
            "from root Object type",
        ),
        "unknown": ("Object{foo: 1}", "field not declared in schema"),
    }
    for name, (text, words) in cases.items():
        await bench.mutating(name, text)
        refusal = await bench.api.fails(403, "POST", CONFIGMAPS, config_map())
        assert refusal["message"].startswith(f"policy '{name}' with binding '{name}-binding' denied request: ")
        assert words in refusal["message"], refusal["message"]
        assert refusal["reason"] == "Invalid"
        path = f"{GROUP}/mutatingadmissionpolicies/{name}"
        current = await bench.api.ok("GET", path)
        current["spec"]["failurePolicy"] = "Ignore"
        await bench.api.ok("PUT", path, current)
        await bench.api.ok("POST", f"{CONFIGMAPS}?dryRun=All", config_map())
        await bench.api.ok("DELETE", path)
    atomic = 'Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {"a": "b"}}}}'
    await bench.mutating("atomic", atomic, matchConstraints=rules("deployments", group="apps"))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    refusal = await bench.api.fails(403, "POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    assert "may not mutate atomic arrays, maps or structs: .spec.selector" in refusal["message"]


async def test_reinvocation(bench: Bench) -> None:
    """The first policy is called again, since the second one has changed the object after it."""
    first = "Object{data: {'seen': string(has(object.data) && 'late' in object.data)}}"
    await bench.mutating("a-first", first, reinvocationPolicy="IfNeeded")
    await bench.mutating("b-second", "Object{data: {'late': 'yes'}}")
    assert (await bench.api.ok("POST", CONFIGMAPS, config_map()))["data"] == {"late": "yes", "seen": "true"}


async def test_who_asks_is_whom_the_authorizer_knows(bench: Bench) -> None:
    await bench.validating("breakglass", "authorizer.group('example.com').resource('glass').check('break').allowed()")
    await bench.api.ok("POST", CONFIGMAPS, config_map())
    role = {
        "metadata": {"name": "writer"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}],
    }
    await bench.api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    subject = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "writer", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "writer"}, "roleRef": reference, "subjects": [subject]}
    await bench.api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    await bench.denied(config_map("y"), api=bench.api.as_user(User("jane", ("system:authenticated",))))


async def test_conditions_of_webhooks(bench: Bench) -> None:
    """A webhook that nobody answers for is not called where its conditions do not hold."""
    hook = {
        "name": "gone.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": rules("configmaps")["resourceRules"],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchConditions": [
            {"name": "marked", "expression": "object.metadata.labels.check == 'yes'"},
            {"name": "user", "expression": "request.userInfo.username != 'free'"},
        ],
    }
    configuration = {"metadata": {"name": "gone"}, "webhooks": [hook]}
    await bench.api.ok("POST", f"{GROUP}/validatingwebhookconfigurations", configuration)
    await bench.api.ok("POST", CONFIGMAPS, config_map(metadata={"labels": {"check": "no"}}))
    free = bench.api.as_user(User("free", ("system:masters",)))
    await free.ok("POST", CONFIGMAPS, config_map("y"))
    message = await bench.denied(config_map("z"), 403)
    assert message.endswith("resulted in error: no such key: labels")
    assert "connection refused" in await bench.denied(config_map("z", metadata={"labels": {"check": "yes"}}), 500)
    hook["matchConditions"] = [{"name": "bad", "expression": "1 +"}]
    refusal = await bench.api.fails(
        422, "POST", f"{GROUP}/validatingwebhookconfigurations", {**configuration, "metadata": {"name": "bad"}}
    )
    assert 'webhooks[0].matchConditions[0].expression: Invalid value: "1 +": compilation failed' in refusal["message"]
