"""An async client of any Kubernetes API server: transports, typed calls, watches, kubeconfig."""
