"""Who owns which field of an object: server-side apply, and the books kept on every other write.

`apply` and `update` are the two ways in; `reset.fields` says which fields an endpoint leaves alone, `entries.manager_name` what
a writer is called. The sets are kept in the form in which objects carry them (FieldsV1), see `fieldset`.

Source: KEP-555, https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from knarr.api.managedfields.apply import apply
from knarr.api.managedfields.entries import manager_name
from knarr.api.managedfields.reset import fields as reset_fields
from knarr.api.managedfields.update import update

__all__ = ["apply", "manager_name", "reset_fields", "update"]
