"""The Kubernetes API as data: scheme, schema, codec, quantities, selectors, patches, field ownership, defaults, validation. Pure."""
