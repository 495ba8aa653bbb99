"""Who makes a request: certificates, tokens, front proxies, and acting as somebody else."""
