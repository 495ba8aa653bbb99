import pytest

from tests.apiserver.test_tables import row, stamp

TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}
SELECTOR = {"matchLabels": {"app": "w"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["b", "a"]}]}


def shows(found, expected):
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("plural", "group", "obj", "expected"),
    [
        ("deployments", "apps",
         {"spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}, "status": {"readyReplicas": 2}},
         {"Ready": "2/3", "Up-to-date": 0, "Containers": "a,b", "Images": "x,y", "Selector": "app=w,t in (a,b)"}),
        ("replicasets", "apps", {"spec": {"replicas": 1, "selector": {}}, "status": {"replicas": 1}},
         {"Desired": 1, "Current": 1, "Ready": 0, "Selector": "<none>"}),
        ("daemonsets", "apps", {"spec": {"template": {"spec": {"nodeSelector": {"b": "1", "a": "2"}}}},
                                "status": {"desiredNumberScheduled": 2, "numberReady": 1}},
         {"Desired": 2, "Ready": 1, "Node Selector": "a=2,b=1"}),
        ("statefulsets", "apps", {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, {"Ready": "1/2"}),
        ("controllerrevisions", "apps", {"revision": 3, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}]}},
         {"Controller": "daemonset.apps/d", "Revision": 3}),
        ("jobs", "batch", {"spec": {"completions": 2}, "status": {
            "succeeded": 1, "startTime": stamp(100), "conditions": [{"type": "Suspended", "status": "True"}]}},
         {"Status": "Suspended", "Completions": "1/2", "Duration": "100s"}),
        ("jobs", "batch", {"spec": {"parallelism": 3}, "status": {"startTime": stamp(100), "completionTime": stamp(40)}},
         {"Status": "Running", "Completions": "0/1 of 3", "Duration": "60s"}),
        ("cronjobs", "batch", {"spec": {"schedule": "* * * * *", "suspend": True}, "status": {"lastScheduleTime": stamp(9)}},
         {"Timezone": "<none>", "Suspend": "True", "Active": 0, "Last Schedule": "9s"}),
        ("poddisruptionbudgets", "policy", {"spec": {"maxUnavailable": "30%"}, "status": {"disruptionsAllowed": 1}},
         {"Min Available": "N/A", "Max Unavailable": "30%", "Allowed Disruptions": 1}),
        ("services", "", {"spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"], "selector": {"a": "b"},
                                   "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}},
         {"Cluster-IP": "10.0.0.1", "External-IP": "<none>", "Port(s)": "80:30080/TCP,53/UDP", "Selector": "a=b"}),
        ("services", "", {"spec": {"type": "LoadBalancer"}}, {"Cluster-IP": "<none>", "External-IP": "<pending>", "Port(s)": "<none>"}),
        ("services", "", {"spec": {"type": "LoadBalancer", "externalIPs": ["2.2.2.2"]},
                          "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}}, {"External-IP": "1.1.1.1,2.2.2.2"}),
        ("services", "", {"spec": {"type": "ExternalName", "externalName": "a.com"}}, {"External-IP": "a.com"}),
        ("endpoints", "", {"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "ports": [{"port": 80}, {"port": 81}]}]},
         {"Endpoints": "1.1.1.1:80,[::1]:80,1.1.1.1:81 + 1 more..."}),
        ("endpoints", "", {}, {"Endpoints": "<none>"}),
        ("endpointslices", "discovery.k8s.io", {"addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}], "endpoints": [
            {"addresses": ["1.1.1.1"]}]}, {"Ports": "80,x", "Endpoints": "1.1.1.1"}),
        ("endpointslices", "discovery.k8s.io", {}, {"Ports": "<unset>", "Endpoints": "<unset>"}),
        ("ingresses", "networking.k8s.io", {"spec": {"rules": [{"host": "a"}, {}, {"host": "b"}], "tls": [{}]}},
         {"Class": "<none>", "Hosts": "a,b", "Address": "", "Ports": "80, 443"}),
        ("ingressclasses", "networking.k8s.io", {"spec": {"controller": "c", "parameters": {
            "apiGroup": "g", "kind": "K", "name": "n"}}}, {"Parameters": "K.g/n"}),
        ("ipaddresses", "networking.k8s.io", {"spec": {"parentRef": {"resource": "services", "namespace": "d", "name": "k"}}},
         {"ParentRef": "services/d/k"}),
        ("nodes", "", {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "x"}},
                       "spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
                       "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}},
         {"Status": "NotReady,SchedulingDisabled", "Roles": "control-plane,x", "Internal-IP": "1.2.3.4", "External-IP": "<none>",
          "OS-Image": "<unknown>"}),
        ("events", "", {"lastTimestamp": stamp(60), "firstTimestamp": stamp(200), "count": 3, "type": "Normal", "reason": "R",
                        "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"}, "message": "m\n"},
         {"Last Seen": "60s", "First Seen": "3m20s", "Count": 3, "Object": "pod/p", "Source": "kubelet, n", "Message": "m"}),
        ("events", "", {"eventTime": stamp(60), "involvedObject": {"kind": "Pod"}, "reportingComponent": "s",
                        "series": {"count": 4, "lastObservedTime": stamp(5)}},
         {"Last Seen": "5s", "First Seen": "60s", "Count": 4, "Object": "pod", "Source": "s"}),
        ("events", "events.k8s.io", {"eventTime": stamp(60), "regarding": {"kind": "Pod", "name": "p"}, "note": "n"},
         {"Last Seen": "60s", "Count": 1, "Object": "pod/p", "Message": "n"}),
        ("secrets", "", {"type": "Opaque", "data": {"a": ""}}, {"Type": "Opaque", "Data": 1}),
        ("configmaps", "", {"data": {"a": ""}, "binaryData": {"b": ""}}, {"Data": 2}),
        ("resourcequotas", "", {"status": {"hard": {"pods": "2", "limits.cpu": "1"}, "used": {"pods": "1"}}},
         {"Request": "pods: 1/2", "Limit": "limits.cpu: 0/1"}),
        ("persistentvolumeclaims", "", {"spec": {"volumeName": "v", "storageClassName": "s"}, "status": {
            "phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}},
         {"Status": "Bound", "Capacity": "1Gi", "Access Modes": "RWO,RWX", "StorageClass": "s", "VolumeAttributesClass": "<unset>"}),
        ("persistentvolumes", "", {"spec": {"capacity": {"storage": "1Gi"}, "claimRef": {"namespace": "n", "name": "c"}},
                                   "metadata": {"deletionTimestamp": stamp(1)}}, {"Status": "Terminating", "Claim": "n/c"}),
        ("storageclasses", "storage.k8s.io", {"metadata": {"name": "s", "annotations": {
            "storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"},
         {"Name": "s (default)", "ReclaimPolicy": "Delete", "VolumeBindingMode": "Immediate", "AllowVolumeExpansion": False}),
        ("clusterroles", "rbac.authorization.k8s.io", {"metadata": {"creationTimestamp": stamp(0)}}, {"Created At": stamp(0)}),
        ("rolebindings", "rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]},
         {"Role": "Role/r", "Users": "u, v", "Groups": "", "ServiceAccounts": "n/s"}),
        ("certificatesigningrequests", "certificates.k8s.io", {"spec": {"signerName": "s", "username": "u", "expirationSeconds": 600},
                                                               "status": {"conditions": [{"type": "Approved"}], "certificate": "x"}},
         {"RequestedDuration": "10m", "Condition": "Approved,Issued"}),
        ("apiservices", "apiregistration.k8s.io", {"spec": {"service": {"namespace": "n", "name": "s"}}, "status": {
            "conditions": [{"type": "Available", "status": "False", "reason": "R"}]}},
         {"Service": "n/s", "Available": "False (R)"}),
        ("resourceclaims", "resource.k8s.io", {"status": {"allocation": {}, "reservedFor": [{}]}}, {"State": "allocated,reserved"}),
        ("flowschemas", "flowcontrol.apiserver.k8s.io", {"spec": {"matchingPrecedence": 5}},
         {"MatchingPrecedence": 5, "DistinguisherMethod": "<none>", "MissingPL": "?"}),
    ],
)  # fmt: skip
def test_cells(plural, group, obj, expected):
    shows(row(plural, obj, group=group), expected)


@pytest.mark.parametrize(
    ("metrics", "current", "targets"),
    [
        ([], [], "<none>"),
        ([{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}], [], "cpu: <unknown>/80%"),
        ([{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
         [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 10}}}], "cpu: 10%/80%"),
        ([{"type": "Pods", "pods": {"target": {"averageValue": "5"}}}], [], "<unknown>/5"),
        ([{"type": "External", "external": {"target": {"averageValue": "5"}}}], [], "<unknown>/5 (avg)"),
        ([{"type": "Object", "object": {"target": {"value": "5"}}}] * 3, [], "<unknown>/5, <unknown>/5 + 1 more..."),
    ],
)  # fmt: skip
def test_targets_of_autoscalers(metrics, current, targets):
    obj = {"spec": {"metrics": metrics, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
           "status": {"currentMetrics": current}}  # fmt: skip
    found = row("horizontalpodautoscalers", obj, group="autoscaling", version="v2")
    assert (found["Targets"], found["Reference"], found["MinPods"]) == (targets, "Deployment/d", "<unset>")


def test_old_autoscalers_show_the_same():
    obj = {"apiVersion": "autoscaling/v1", "spec": {"targetCPUUtilizationPercentage": 50, "maxReplicas": 1}}
    assert row("horizontalpodautoscalers", obj, group="autoscaling")["Targets"] == "cpu: <unknown>/50%"
