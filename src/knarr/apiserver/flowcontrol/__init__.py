"""API priority and fairness: who waits when the server is busy, and for how long.

A request is classified by FlowSchemas into a flow of a priority level. Each level has a number of seats, which grows and shrinks with
demand as levels lend to each other; what finds no seat waits in one of the level's queues, which are served fairly among flows.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol (v1.37), KEP-1040.
"""
