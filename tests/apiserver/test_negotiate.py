import pytest

from knarr.api import errors
from knarr.apiserver import negotiate
from knarr.apiserver.negotiate import JSON, PROTOBUF, YAML, Form

KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
METADATA = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
)
CASES = [
    ("", Form(JSON)),
    ("*/*", Form(JSON)),
    ("application/*", Form(JSON)),
    ("application/yaml", Form(YAML)),
    ("application/json;q=0.5, application/yaml", Form(YAML)),
    ("application/vnd.kubernetes.unknown, application/json", Form(JSON)),
    ("application/vnd.kubernetes.protobuf,application/json", Form(PROTOBUF)),
    ("application/vnd.kubernetes.protobuf;q=0.5,application/json", Form(JSON)),
    ("application/vnd.kubernetes.protobuf", Form(PROTOBUF)),
    ("application/vnd.kubernetes.protobuf, application/yaml", Form(PROTOBUF)),
    ("application/json, application/vnd.kubernetes.protobuf", Form(JSON)),
    (METADATA, Form(PROTOBUF, "PartialObjectMetadata", "v1")),
    (METADATA.partition(",")[0], Form(PROTOBUF, "PartialObjectMetadata", "v1")),
    (f"{METADATA.partition(',')[0]}, application/json", Form(PROTOBUF, "PartialObjectMetadata", "v1")),
    (KUBECTL_GET.replace("json", "protobuf").replace("/", "/vnd.kubernetes."), Form(PROTOBUF)),
    (KUBECTL_GET, Form(JSON, "Table", "v1")),
    ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Form(JSON, "PartialObjectMetadata", "v1")),
    ("application/json;as=Nonsense;g=meta.k8s.io;v=v1, application/json", Form(JSON)),
]


@pytest.mark.parametrize(("accept", "expected"), CASES)
def test_the_first_that_can_be_made_is_chosen(accept: str, expected: Form) -> None:
    assert negotiate.choose(accept) == expected


CUSTOM = [
    ("application/vnd.kubernetes.protobuf, application/yaml", Form(YAML)),
    (METADATA.partition(",")[0], Form(PROTOBUF, "PartialObjectMetadata", "v1")),
]


@pytest.mark.parametrize(("accept", "expected"), CUSTOM)
def test_custom_kinds_have_no_protobuf_form_but_their_metadata(accept: str, expected: Form) -> None:
    assert negotiate.choose(accept, custom=True) == expected
    with pytest.raises(errors.NotAcceptable):
        negotiate.choose("application/vnd.kubernetes.protobuf", custom=True)


def test_nothing_acceptable_is_406() -> None:
    with pytest.raises(errors.NotAcceptable, match="only the following media types are accepted: application/json"):
        negotiate.choose("text/html")


def test_an_unknown_body_is_415() -> None:
    with pytest.raises(errors.UnsupportedMediaType, match="accepted media types include: application/json"):
        negotiate.body_media_type("text/plain; charset=utf-8", (JSON,))
