"""The node agent: pod workers, probes, volumes, images, logs and exec, over a container runtime."""
