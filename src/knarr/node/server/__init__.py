"""The node's HTTPS server: what the API server and monitoring ask a node directly."""
