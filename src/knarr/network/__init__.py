"""Pod networking, service proxy and cluster DNS."""
