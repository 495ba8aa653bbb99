"""Which rules hold for which kind. A kind that is not listed has the rules of metadata alone, with a subdomain as its name."""

from collections.abc import Mapping

from knarr.api.validation.rules import Rules

TABLE: Mapping[tuple[str, str], Rules] = {}
