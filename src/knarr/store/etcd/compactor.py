"""One of the servers compacts: whoever moves the key `compact_rev_key` on, as kube-apiserver's do.

Each server tries once an interval, naming the version of the key that it saw last. Of those that try in the same interval one wins and
compacts to what it saw an interval ago; the others learn from the key what was forgotten.

Source: k8s.io/apiserver/pkg/storage/etcd3/compact.go (v1.37).
"""

import logging

from knarr.store.backend import Revision
from knarr.store.errors import Unavailable
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd.client import Client, Refused
from knarr.store.etcd.layout import Layout

logger = logging.getLogger(__name__)

KEY = b"compact_rev_key"


class Compactor:
    """This server's part in it."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self.compacted = Revision(0)
        """The oldest readable revision, as far as is known here."""
        self._client = client
        self._layout = layout
        self._version = 0

    async def look(self) -> None:
        """Learn from the key what was forgotten."""
        try:
            answer = await self._client.read("KV/Range", pb.RangeRequest(key=KEY), pb.RangeResponse)
        except Refused as err:
            raise Unavailable(str(self._client), err.message) from err
        self._learn(answer)

    async def compact(self, revision: Revision) -> None:
        """Compact to `revision`, unless another server has done so since the last look.

        Raises:
            Unavailable: etcd did not take it; the next time may do.
        """
        theirs = self._layout.to_theirs(revision)
        request = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.VERSION, key=KEY, version=self._version)],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=b"%d" % theirs))],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=KEY))],
        )
        try:
            answer = await self._client.write("KV/Txn", request, pb.TxnResponse)
            if not answer.succeeded:
                self._learn(answer.responses[0].response_range)
                return
            self._version += 1
            await self._client.write("KV/Compact", pb.CompactionRequest(revision=theirs), pb.CompactionResponse)
        except Refused as err:
            if "compacted" not in err.message:
                raise Unavailable(str(self._client), err.message) from err
        self.compacted = max(self.compacted, revision)
        logger.debug("etcd was compacted to revision %d", revision)

    def _learn(self, answer: pb.RangeResponse) -> None:
        if not answer.kvs:
            return
        self._version = answer.kvs[0].version
        if answer.kvs[0].value.isdigit():
            self.compacted = max(self.compacted, self._layout.to_ours(int(answer.kvs[0].value)))
