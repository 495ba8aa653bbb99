"""Pods made and deleted on behalf of an owner: told of in events, expected until they are seen.

Upstream counterpart: pkg/controller/controller_utils.go (RealPodControl) and the pod handlers that every workload controller has.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from lightkube.models import core_v1, meta_v1

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, expectations, informer, loop, owners, selectors
from knarr.controllers import batches, claims
from knarr.controllers import pods as podinfo

T = TypeVar("T")

SelectorOf = Callable[[Any], meta_v1.LabelSelector | None]


class PodControl:
    """The pods of all owners of one kind.

    Args:
        context: Client, informers and recorder.
        kind: The kind as owner references name it.
        owned_by: The owners' informer.
        selector_of: Gives an owner's selector.
        finalizers: Which a pod has as long as it is owned.
    """

    def __init__(
        self,
        context: Context,
        kind: str,
        owned_by: informer.Informer[Any],
        selector_of: SelectorOf,
        *,
        finalizers: Sequence[str] = (),
    ) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._kind = kind
        self._owners = owned_by
        self._selector_of = selector_of
        self._finalizers = finalizers
        self.pods = context.informers.of(core_v1.Pod)
        self.pods.add_index(owners.INDEX, owners.by_controller)
        self.expectations = expectations.Expectations(context.clock)

    def is_settled(self, owner: Any) -> bool:
        """Tell whether all that was done for an owner has been seen."""
        return self.expectations.is_fulfilled(owner.metadata.uid or "")

    async def claim(
        self, owner: Any, *, orphans: Callable[[core_v1.Pod], bool] = podinfo.is_active
    ) -> list[core_v1.Pod]:
        """Return the pods that an owner controls, adopting and releasing as its selector says.

        Args:
            owner: The owner.
            orphans: Which pods without a controller may be adopted.
        """
        namespace = owner.metadata.namespace or ""
        free = [pod for pod in self.pods.by_index(owners.INDEX, "") if informer.key_of(pod)[0] == namespace]
        candidates = [
            *self.pods.by_index(owners.INDEX, owner.metadata.uid or ""),
            *(pod for pod in free if orphans(pod)),
        ]
        selector = self._selector_of(owner)
        return await claims.claim(self._client, owner, candidates, selector, finalizers=self._finalizers)

    async def change(
        self,
        owner: Any,
        *,
        create: Sequence[T] = (),
        delete: Sequence[core_v1.Pod] = (),
        make: Callable[[T], core_v1.Pod],
    ) -> errors.StatusError | None:
        """Create and delete pods, and return the first error.

        Args:
            owner: For whom.
            create: A pod for each.
            delete: Pods that go.
            make: Builds a pod of an item of `create`.
        """
        uid = owner.metadata.uid or ""
        going = [pod for pod in delete if pod.metadata and pod.metadata.deletionTimestamp is None]
        self.expectations.expect(uid, len(create), {pod.metadata.uid or "" for pod in going if pod.metadata})
        refused: errors.StatusError | None = None
        if create:
            succeeded, refused = await batches.slow_start(create, lambda item: self._create(owner, make(item)))
            self.expectations.saw_creation(uid, len(create) - succeeded)
        return await batches.all_at_once(going, lambda pod: self._delete(owner, pod)) or refused

    def requests_of(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the owners that a pod belongs to, or could, and count down what was expected."""
        pod = new if new is not None else old
        assert pod is not None and pod.metadata
        namespace = pod.metadata.namespace or ""
        found: dict[loop.Request, None] = {}
        for one in (old, new):
            reference = owners.controller_of(one) if one is not None else None
            if reference is not None and reference.kind == self._kind:
                found[loop.Request(namespace, reference.name)] = None
        reference = owners.controller_of(pod)
        if reference is None:
            for owner in self._owners.list(namespace) if new is not None else ():
                if selectors.matches(self._selector_of(owner), pod.metadata.labels):
                    found[loop.Request(*informer.key_of(owner))] = None
            return found
        if old is None:
            self.expectations.saw_creation(reference.uid)
        if new is None or pod.metadata.deletionTimestamp is not None:
            self.expectations.saw_deletion(reference.uid, pod.metadata.uid or "")
        return found

    def requests_of_owner(self, old: Any, new: Any) -> Iterable[loop.Request]:
        """Name an owner itself; one that is gone, or gone and made anew, is not waited for."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self.expectations.forget(old.metadata.uid or "")
        return loop.itself(new if new is not None else old)

    async def _create(self, owner: Any, pod: core_v1.Pod) -> None:
        try:
            created = await self._client.create(pod)
        except errors.StatusError as err:
            if not batches.is_namespace_going(err):
                self._recorder.warning(owner, "FailedCreate", f"Error creating: {err}")
            raise
        self._recorder.normal(owner, "SuccessfulCreate", f"Created pod: {informer.key_of(created)[1]}")

    async def _delete(self, owner: Any, pod: core_v1.Pod) -> None:
        assert pod.metadata
        namespace, name = informer.key_of(pod)
        try:
            options = DeleteOptions(uid=pod.metadata.uid or "")
            await self._client.delete(core_v1.Pod, name, namespace=namespace, options=options)
        except errors.StatusError as err:
            self.expectations.saw_deletion(owner.metadata.uid or "", pod.metadata.uid or "")
            if not isinstance(err, errors.NotFound):
                self._recorder.warning(owner, "FailedDelete", f"Error deleting: {err}")
                raise
        else:
            self._recorder.normal(owner, "SuccessfulDelete", f"Deleted pod: {name}")
