"""What every process needs and no Kubernetes word in it: clock, tasks, backoff, logs, metrics, certificates, HTTP."""
