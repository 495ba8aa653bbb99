"""Volumes of pods: one kind a module, `table.py` lists them; laid out below `pods/UID/volumes` as the kubelet does."""
