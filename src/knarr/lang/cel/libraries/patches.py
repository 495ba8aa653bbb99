"""What expressions that make JSON patches need.

Source: k8s.io/apiserver/pkg/cel/library/jsonpatch.go (v1.37).
"""

from knarr.lang.cel.libraries.function import plain


def _escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


FUNCTIONS = (plain("jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", "string", "string", _escape_key),)
