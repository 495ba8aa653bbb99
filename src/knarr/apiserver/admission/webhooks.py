"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: programs outside that change or refuse what is written.

Mutating webhooks are called one after another, each with what the one before left; validating ones all at once, with the same
finished object. What a webhook must not see at all, a request that configures admission, never gets here.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go, mutating/reinvocationcontext.go (v1.37).
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from knarr.api import errors, patch
from knarr.apiserver.admission import webhooks_review as reviews
from knarr.apiserver.admission.chain import CONNECT, CREATE, DELETE, UPDATE, AdmissionRequest, Context, Plugin
from knarr.apiserver.admission.conditions import ConditionFailed, Conditions
from knarr.apiserver.admission.matching import Match, Matcher, is_exempt, kind_of
from knarr.apiserver.admission.measures import ADMIT, VALIDATE
from knarr.apiserver.admission.versions import Memory, Versions, copied, replace
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


class _Caller:
    """What both plugins share: whom to call, and the call."""

    def __init__(self, context: Context, resource: str, *, is_mutating: bool) -> None:
        self.context = context
        self.source = Source(context.registry, f"{resource}.{_GROUP}")
        self._matcher = Matcher(context.registry)
        self._conditions = Conditions(context)
        self._is_mutating = is_mutating

    async def match(self, hook: Hook, request: AdmissionRequest, versions: Versions) -> Match | None:
        """Return as what a webhook sees a request, None if it is not for it.

        Raises:
            Forbidden: its conditions cannot be judged, and it fails closed.
        """
        found = self._matcher.match(request, hook.spec, hook.spec.get("rules") or ())
        if found is None or not hook.conditions:
            return found
        evaluation = await self._conditions.evaluation(request, found, versions)
        try:
            is_met = self._conditions.are_met(evaluation, hook.conditions, fails_open=hook.fails_open)
        except ConditionFailed as err:
            resource = request.resource
            raise errors.Forbidden(resource.group, resource.plural, request.name, str(err)) from err
        return found if is_met else None

    async def ask(self, hook: Hook, request: AdmissionRequest, match: Match, versions: Versions) -> reviews.Verdict:
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
            call = self.context.webhooks.post(hook.spec["clientConfig"], body, timeout_s=hook.timeout_s)
            kind = ADMIT if self._is_mutating else VALIDATE
            answer = await self.context.durations.webhook(hook.name, kind, request.operation, call)
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
        memory: Memory = request.memory.setdefault(MUTATING, Memory())
        memory.begin(request)
        for index, hook in enumerate(hooks):
            match = await self._caller.match(hook, request, Versions(request, self._shapes))
            if match is None or (request.round and hook.uid not in memory.due):
                continue
            if await self._call(hook, index, request, match):
                memory.note_change()
                request.call_again = not request.round
            if hook.spec.get("reinvocationPolicy") == "IfNeeded":
                memory.called.add(hook.uid)
        memory.end(request)

    async def _call(self, hook: Hook, index: int, request: AdmissionRequest, match: Match) -> bool:
        """Call one webhook and apply its patch; return whether the object has changed."""
        round_key = f"round_{request.round}_index_{index}"
        facts = {"configuration": hook.configuration, "webhook": hook.name}
        mutation_key = f"mutation.webhook.admission.k8s.io/{round_key}"
        request.annotations[mutation_key] = _note({**facts, "mutated": False})
        versions = Versions(request, self._shapes)
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
        settled = self._shapes.settle(copied(patched), match.kind)
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
        versions = Versions(request, self._shapes)
        matched = [
            (hook, match) for hook in hooks if (match := await self._caller.match(hook, request, versions)) is not None
        ]
        if not matched:
            return
        for _, match in matched:  # converted before the calls, which then share it
            await versions.get(match, is_old=False)
            await versions.get(match, is_old=True)
        calls = (self._call(hook, index, request, match, versions) for index, (hook, match) in enumerate(matched))
        raise_first(await asyncio.gather(*calls))

    async def _call(
        self, hook: Hook, index: int, request: AdmissionRequest, match: Match, versions: Versions
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


def _note(facts: Object) -> str:
    return msgspec.json.encode(facts).decode()


def _cause(err: errors.StatusError) -> str:
    """Say why a patch does not apply: what is inside, which the caller of the webhook needs, or the error's own words."""
    return str(err.__cause__) if err.__cause__ is not None else err.message
