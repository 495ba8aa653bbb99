"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: programs outside that change or refuse what is written.

Mutating webhooks are called one after another, each with what the one before left; validating ones all at once, with the same
finished object. What a webhook must not see at all, a request that configures admission, never gets here.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go, mutating/reinvocationcontext.go (v1.37).
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from knarr.api import errors, patch
from knarr.apiserver.admission import webhooks_review as reviews
from knarr.apiserver.admission.chain import CONNECT, CREATE, DELETE, UPDATE, AdmissionRequest, Context, Plugin, Shapes
from knarr.apiserver.admission.matching import Match, Matcher, is_exempt, kind_of
from knarr.apiserver.admission.webhooks_source import Hook, Source
from knarr.apiserver.webhooks import CallFailed

Object = dict[str, Any]

MUTATING = "MutatingAdmissionWebhook"
VALIDATING = "ValidatingAdmissionWebhook"
_ALL = frozenset({CREATE, UPDATE, DELETE, CONNECT})
_GROUP = "admissionregistration.k8s.io"
_DRY_RUN_SAFE = ("None", "NoneOnDryRun")

logger = logging.getLogger(__name__)


class _Uncallable(Exception):
    """Raised when a webhook could not be asked, or its answer is none: the failure policy decides."""


@dataclass(slots=True)
class _Memory:
    """What the first round leaves for the second.

    Attributes:
        called: Webhooks called so far that want to be called again if somebody changes the object after them.
        due: Those of them for which that has happened.
        left: The object as the last webhook of a round left it, encoded.
    """

    called: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    left: bytes = b""

    def note_change(self) -> None:
        self.due |= self.called
        self.called.clear()


class _Versions:
    """The object and the old one of a request in the versions that webhooks ask for, each converted once."""

    def __init__(self, request: AdmissionRequest, shapes: Shapes) -> None:
        self._request = request
        self._shapes = shapes
        self._found: dict[tuple[bool, str], Object | None] = {}

    async def get(self, match: Match, *, is_old: bool) -> Object | None:
        obj = self._request.old if is_old else self._request.object
        if obj is None or match.kind.api_version == obj.get("apiVersion"):
            return obj
        key = is_old, match.kind.api_version
        if key not in self._found:
            copied = msgspec.json.decode(msgspec.json.encode(obj))
            self._found[key] = await self._shapes.convert(copied, match.kind)
        return self._found[key]


class _Caller:
    """What both plugins share: whom to call, and the call."""

    def __init__(self, context: Context, resource: str, *, is_mutating: bool) -> None:
        self.context = context
        self.source = Source(context.registry, f"{resource}.{_GROUP}")
        self._matcher = Matcher(context.registry)
        self._is_mutating = is_mutating

    def match(self, hook: Hook, request: AdmissionRequest) -> Match | None:
        """Return as what a webhook sees a request, None if it is not for it."""
        return self._matcher.match(request, hook.spec, hook.spec.get("rules") or ())

    async def ask(self, hook: Hook, request: AdmissionRequest, match: Match, versions: _Versions) -> reviews.Verdict:
        """Call a webhook.

        Raises:
            BadRequest: a dry run, and it has side effects.
            _Uncallable: it cannot be asked.
        """
        if request.dry_run and hook.spec.get("sideEffects") not in _DRY_RUN_SAFE:
            raise errors.BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        version = hook.review_version
        if not version:
            why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            raise _Uncallable(f"could not create admission objects: {why}")
        uid = str(UUID(int=self.context.random.getrandbits(128), version=4))
        new, old = await versions.get(match, is_old=False), await versions.get(match, is_old=True)
        body = reviews.encode(request, match, self.context.registry.scheme, uid, version, new, old)
        try:
            answer = await self.context.webhooks.post(hook.spec["clientConfig"], body, timeout_s=hook.timeout_s)
        except CallFailed as err:
            raise _Uncallable(f"failed to call webhook: {err}") from err
        try:
            verdict = reviews.decode(answer, uid, version, is_mutating=self._is_mutating)
        except reviews.BadReview as err:
            raise _Uncallable(f"received invalid webhook response: {err}") from err
        for key, value in verdict.annotations.items():
            request.annotations[f"{hook.name}/{key}"] = value
        request.warnings += verdict.warnings
        return verdict


class _Mutating:
    def __init__(self, context: Context) -> None:
        self._caller = _Caller(context, "mutatingwebhookconfigurations", is_mutating=True)
        self._shapes = context.shapes
        self._registry = context.registry

    async def admit(self, request: AdmissionRequest) -> None:
        hooks = self._caller.source.hooks()
        if not hooks or is_exempt(request):
            return
        memory: _Memory = request.memory.setdefault(MUTATING, _Memory())
        if request.round and memory.left != _encoded(request.object):
            memory.note_change()
        for index, hook in enumerate(hooks):
            match = self._caller.match(hook, request)
            if match is None or (request.round and hook.uid not in memory.due):
                continue
            if await self._call(hook, index, request, match):
                memory.note_change()
                request.call_again = not request.round
            if hook.spec.get("reinvocationPolicy") == "IfNeeded":
                memory.called.add(hook.uid)
        if memory.called or memory.due:
            memory.left = _encoded(request.object)

    async def _call(self, hook: Hook, index: int, request: AdmissionRequest, match: Match) -> bool:
        """Call one webhook and apply its patch; return whether the object has changed."""
        round_key = f"round_{request.round}_index_{index}"
        facts = {"configuration": hook.configuration, "webhook": hook.name}
        mutation_key = f"mutation.webhook.admission.k8s.io/{round_key}"
        request.annotations[mutation_key] = _note({**facts, "mutated": False})
        versions = _Versions(request, self._shapes)
        try:
            verdict = await self._caller.ask(hook, request, match, versions)
        except _Uncallable as err:
            if not hook.fails_open:
                raise errors.InternalError(f'failed calling webhook "{hook.name}": {err}') from err
            logger.warning('failed calling webhook, failing open "%s": %s', hook.name, err)
            request.annotations[f"failed-open.mutation.webhook.admission.k8s.io/{round_key}"] = hook.name
            return False
        if not verdict.allowed:
            raise reviews.denied(hook.name, verdict.status)
        if not verdict.patch:
            return False
        before = await versions.get(match, is_old=False)
        if before is None:
            raise errors.InternalError(
                f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
            )
        changed = await self._patch(request, match, before, verdict.patch)
        noted = {**facts, "patch": verdict.patch, "patchType": reviews.JSON_PATCH}
        request.annotations[f"patch.webhook.admission.k8s.io/{round_key}"] = _note(noted)
        request.annotations[mutation_key] = _note({**facts, "mutated": changed})
        return changed

    async def _patch(self, request: AdmissionRequest, match: Match, before: Object, operations: list[Any]) -> bool:
        try:
            patched = patch.json_patch(before, operations)
        except errors.StatusError as err:
            raise errors.InternalError(_cause(err)) from err
        if not isinstance(patched, dict):
            raise errors.InternalError("the patched document is not an object")
        patched = {**patched, "kind": match.kind.kind, "apiVersion": match.kind.api_version}
        # The patch shares what it leaves alone with the object before, and defaults are set in place.
        settled = self._shapes.settle(msgspec.json.decode(msgspec.json.encode(patched)), match.kind)
        if settled == before:
            return False
        own = kind_of(self._registry.scheme, request.resource, request.subresource)
        replace(request, await self._shapes.convert(settled, own))
        return True


class _Validating:
    def __init__(self, context: Context) -> None:
        self._caller = _Caller(context, "validatingwebhookconfigurations", is_mutating=False)
        self._shapes = context.shapes

    async def validate(self, request: AdmissionRequest) -> None:
        hooks = self._caller.source.hooks()
        if not hooks or is_exempt(request):
            return
        matched = [(hook, match) for hook in hooks if (match := self._caller.match(hook, request)) is not None]
        if not matched:
            return
        versions = _Versions(request, self._shapes)
        for _, match in matched:  # converted before the calls, which then share it
            await versions.get(match, is_old=False)
            await versions.get(match, is_old=True)
        calls = (self._call(hook, index, request, match, versions) for index, (hook, match) in enumerate(matched))
        raise_first(await asyncio.gather(*calls))

    async def _call(
        self, hook: Hook, index: int, request: AdmissionRequest, match: Match, versions: _Versions
    ) -> errors.StatusError | None:
        """Call one webhook; return its refusal."""
        try:
            verdict = await self._caller.ask(hook, request, match, versions)
        except errors.StatusError as err:
            return err
        except _Uncallable as err:
            if not hook.fails_open:
                return errors.InternalError(f'failed calling webhook "{hook.name}": {err}')
            logger.warning('failed calling webhook, failing open "%s": %s', hook.name, err)
            request.annotations[f"failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"] = hook.name
            return None
        return None if verdict.allowed else reviews.denied(hook.name, verdict.status)


def replace(request: AdmissionRequest, obj: Object) -> None:
    """Put another object in the place of a request's, for everybody who holds it."""
    if request.object is None:
        request.object = obj
    elif obj is not request.object:
        request.object.clear()
        request.object.update(obj)


def raise_first(found: Iterable[errors.StatusError | None]) -> None:
    """Raise the first refusal, if there is one."""
    for error in found:
        if error is not None:
            raise error


def build_mutating(context: Context) -> Plugin:
    """Make MutatingAdmissionWebhook."""
    return Plugin(MUTATING, _ALL, admit=_Mutating(context).admit)


def build_validating(context: Context) -> Plugin:
    """Make ValidatingAdmissionWebhook."""
    return Plugin(VALIDATING, _ALL, validate=_Validating(context).validate)


def _encoded(obj: Object | None) -> bytes:
    return msgspec.json.encode(obj, order="sorted")


def _note(facts: Object) -> str:
    return msgspec.json.encode(facts).decode()


def _cause(err: errors.StatusError) -> str:
    """Say why a patch does not apply: what is inside, which the caller of the webhook needs, or the error's own words."""
    return str(err.__cause__) if err.__cause__ is not None else err.message
