"""The store on etcd v3: any number of API servers on one etcd cluster, with kube-apiserver's keys and values."""
