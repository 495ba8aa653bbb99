from pathlib import Path

from knarr.apiserver import bootstrap
from tests.apiserver.conftest import Api, open_api
from tests.apiserver.test_server import Keys

SERVICES = "/api/v1/namespaces/default/services"
INFORMATION = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


async def test_the_kubernetes_service_comes_back(api: Api) -> None:
    await api.ok("DELETE", f"{SERVICES}/kubernetes")
    await api.ok("DELETE", "/api/v1/namespaces/default/endpoints/kubernetes")
    await api.fails(404, "GET", f"{SERVICES}/kubernetes")
    await api.clock.advance(bootstrap.KEEP_S)
    assert (await api.ok("GET", f"{SERVICES}/kubernetes"))["spec"]["clusterIP"] == "10.96.0.1"
    assert (await api.ok("GET", "/api/v1/namespaces/default/endpoints/kubernetes"))["subsets"]


async def test_extension_servers_learn_of_a_new_authority(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with open_api(client_ca=keys.ca) as api:
        first = (await api.ok("GET", INFORMATION))["data"]["client-ca-file"]
        (tmp_path / "other").mkdir()
        keys.ca.write_bytes(Keys(tmp_path / "other").ca.read_bytes())
        await api.clock.advance(bootstrap.KEEP_S)
        assert (await api.ok("GET", INFORMATION))["data"]["client-ca-file"] != first
