"""rsyslog's mmkubernetes (C, from Debian): a line of a container's log gets the metadata of its pod and namespace."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.live.clients.conftest import Credentials
from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

CONFIG = """
module(load="imfile" mode="inotify")
module(load="mmkubernetes" kubernetesurl="{server}" tls.cacert="{ca}" tls.mycert="{cert}" tls.myprivkey="{key}"
       srcmetadatapath="$!metadata!filename"
       filenamerules=["rule=:{folder}/%pod_name:char-to:_%_%namespace_name:char-to:_%_%container_name_and_id:char-to:.%.log"])
template(name="all" type="list") {{ property(name="$!all-json") constant(value="\\n") }}
input(type="imfile" file="{folder}/*.log" tag="kubernetes" addmetadata="on" ruleset="enrich" readtimeout="1")
ruleset(name="enrich") {{
  action(type="mmkubernetes")
  action(type="omfile" file="{output}" template="all")
}}
"""


def test_lines_are_enriched(
    cluster: Cluster, fetched: Path, credentials: Credentials, target: str, tmp_path: Path
) -> None:
    pod = cluster.get("pod", target, "-n", "clients")
    folder, output = tmp_path / "containers", tmp_path / "enriched.json"
    folder.mkdir()
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        CONFIG.format(
            server=credentials.server,
            ca=credentials.authority,
            cert=credentials.certificate,
            key=credentials.key,
            folder=folder,
            output=output,
        )
    )
    libraries = fetched / "debian" / "usr" / "lib" / "x86_64-linux-gnu"
    command = [str(fetched / "debian" / "usr" / "sbin" / "rsyslogd"), "-n", "-f", str(config)]
    command += ["-i", str(tmp_path / "pid"), "-M", str(libraries / "rsyslog")]
    container_id = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    log = folder / f"{target}_clients_main-{container_id}.log"
    with subprocess.Popen(
        command, env={"LD_LIBRARY_PATH": str(libraries)}, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            log.write_text('{"log":"hello\\n","stream":"stdout"}\n')
            line = wait_until(lambda: output.exists() and output.read_text().partition("\n")[0])
        finally:
            running.terminate()
            assert running.stderr is not None
            complaints = running.stderr.read()
    found = json.loads(line)
    assert found["metadata"]["filename"] == str(log), complaints
    told = found["kubernetes"]
    assert told["pod_id"] == pod["metadata"]["uid"], complaints
    assert (told["pod_name"], told["namespace_name"], told["container_name"]) == (target, "clients", "main")
    assert (told["labels"], told["host"]) == ({"app": "target"}, pod["spec"]["nodeName"])
    assert told["namespace_id"] == cluster.get("namespace", "clients")["metadata"]["uid"]
    assert found["docker"]["container_id"] == container_id
