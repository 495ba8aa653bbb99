"""The container runtime as the node agent sees it: a protocol of ours, and containerd behind it over CRI."""
