// The official JavaScript client, step by step: one line "ok NAME" a step on stdout, "cut" to have the relay's connections cut.
// Told by the environment: KUBECONFIG, NAMESPACE, TARGET (a pod in the namespace clients), STALE (a forgotten resourceVersion).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { PassThrough, Readable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const { NAMESPACE: namespace, TARGET: target, STALE: stale } = process.env;
const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const input = readline.createInterface({ input: process.stdin });
const answers = input[Symbol.asyncIterator]();

async function cut() {
  console.log('cut');
  await answers.next();
}

async function until(condition) {
  for (let tries = 0; tries < 600; tries++) {
    const found = await condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within 30 s: ${condition}`);
}

function collect() {
  const stream = new PassThrough();
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

const configMap = (name, data) => ({ metadata: { name, labels: { app: 'x' } }, data });
const deployment = (spec) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd', namespace },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: 'x' } },
    template: {
      metadata: { labels: { app: 'x' } },
      spec: { containers: [{ name: 'main', image: 'localhost/busybox:1' }] },
    },
    ...spec,
  },
});
const code = async (promise) => promise.then(() => 200, (error) => error.code);

const steps = {
  async versions() {
    assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).minor, '37');
    const groups = (await config.makeApiClient(k8s.ApisApi).getAPIVersions()).groups.map((group) => group.name);
    assert(groups.includes('apps') && groups.includes('apiextensions.k8s.io'));
  },

  async objects() {
    for (const name of ['a', 'b', 'c']) await core.createNamespacedConfigMap({ namespace, body: configMap(name, { k: 'v' }) });
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'app=x', limit: 2 });
    const rest = await core.listNamespacedConfigMap({
      namespace, labelSelector: 'app=x', limit: 2, _continue: page.metadata._continue,
    });
    assert.deepEqual([...page.items, ...rest.items].map((item) => item.metadata.name), ['a', 'b', 'c']);
    assert.equal(rest.metadata._continue, undefined);
    const read = await core.readNamespacedConfigMap({ namespace, name: 'a' });
    assert(read.metadata.creationTimestamp instanceof Date);
    read.data = { k: 'w' };
    await core.replaceNamespacedConfigMap({ namespace, name: 'a', body: read });
    assert.equal(await code(core.replaceNamespacedConfigMap({ namespace, name: 'a', body: read })), 409);
    assert.equal((await core.deleteNamespacedConfigMap({ namespace, name: 'a' })).status, 'Success');
    assert.equal(await code(core.readNamespacedConfigMap({ namespace, name: 'a' })), 404);
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'app=x' });
  },

  async patches() {
    await apps.createNamespacedDeployment({ namespace, body: deployment({}) });
    const patch = (strategy, body, more) =>
      apps.patchNamespacedDeployment({ namespace, name: 'd', body, ...more }, k8s.setHeaderOptions('Content-Type', strategy));
    const names = (found) => found.spec.template.spec.containers.map((container) => container.name);
    const side = { spec: { template: { spec: { containers: [{ name: 'side', image: 'localhost/busybox:1' }] } } } };
    assert.deepEqual(names(await patch(k8s.PatchStrategy.StrategicMergePatch, side)), ['side', 'main']);
    assert.deepEqual(names(await patch(k8s.PatchStrategy.MergePatch, side)), ['side']);
    const changed = await patch(k8s.PatchStrategy.JsonPatch, [{ op: 'add', path: '/metadata/labels', value: { l: '1' } }]);
    assert.deepEqual(changed.metadata.labels, { l: '1' });
    const body = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec: { minReadySeconds: 2 } };
    const applied = await patch(k8s.PatchStrategy.ServerSideApply, body, { fieldManager: 'js' });
    assert(applied.metadata.managedFields.some((entry) => entry.manager === 'js' && entry.operation === 'Apply'));
    const other = { ...body, spec: { minReadySeconds: 3 } };
    assert.equal(await code(patch(k8s.PatchStrategy.ServerSideApply, other, { fieldManager: 'other' })), 409);
    const forced = await patch(k8s.PatchStrategy.ServerSideApply, other, { fieldManager: 'other', force: true });
    assert.equal(forced.spec.minReadySeconds, 3);
    await until(async () => { // the controller writes, too
      const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'd' });
      scale.spec.replicas = 1;
      return (await code(apps.replaceNamespacedDeploymentScale({ namespace, name: 'd', body: scale }))) === 200;
    });
    assert.equal((await apps.readNamespacedDeployment({ namespace, name: 'd' })).spec.replicas, 1);
  },

  async anyKind() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const spec = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace }, stringData: { k: 'v' } };
    await objects.create(spec);
    const patched = await objects.patch({ ...spec, metadata: { ...spec.metadata, labels: { a: 'b' } } });
    assert.deepEqual([patched.metadata.labels.a, patched.data.k], ['b', Buffer.from('v').toString('base64')]);
    assert.equal((await objects.list('v1', 'Secret', namespace)).items.length, 1);
    await objects.delete(spec);
    const custom = config.makeApiClient(k8s.CustomObjectsApi);
    const listed = await custom.listClusterCustomObject({ group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterroles' });
    assert(listed.items.length > 10);
  },

  async watch() {
    const watch = new k8s.Watch(config);
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const seen = [];
    let version = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
    let ended = null;
    const follow = () => watch.watch(path, { resourceVersion: version, labelSelector: 'app=x' }, (kind, found) => {
      seen.push(`${kind} ${found.metadata.name}`);
      version = found.metadata.resourceVersion;
    }, (error) => { ended = error ?? 'ended'; });
    await follow();
    await core.createNamespacedConfigMap({ namespace, body: configMap('first') });
    await until(() => seen.length === 1);
    await cut();
    await until(() => ended);
    await core.createNamespacedConfigMap({ namespace, body: configMap('second') }).catch(
      () => core.createNamespacedConfigMap({ namespace, body: configMap('second') }));
    const controller = await follow();
    await until(() => seen.length === 2);
    controller.abort();
    assert.deepEqual(seen, ['ADDED first', 'ADDED second']);
  },

  async gone() {
    let answer = null;
    const watch = new k8s.Watch(config);
    await watch.watch(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion: stale }, (kind, found) => {
      answer = [kind, found.code];
    }, () => {});
    await until(() => answer);
    assert.deepEqual(answer, ['ERROR', 410]);
  },

  async informer() {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'app=informed' });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'app=informed');
    const seen = [];
    for (const verb of ['add', 'update', 'delete']) informer.on(verb, (found) => seen.push(`${verb} ${found.metadata.name}`));
    informer.on('error', () => setTimeout(() => informer.start(), 50));
    await informer.start();
    const body = { metadata: { name: 'one', labels: { app: 'informed' } } };
    await core.createNamespacedConfigMap({ namespace, body });
    await until(() => seen.includes('add one'));
    await cut();
    await until(async () => (await code(core.createNamespacedConfigMap(
      { namespace, body: { metadata: { name: 'two', labels: { app: 'informed' } } } }))) !== undefined);
    await until(() => seen.includes('add two'));
    await core.deleteNamespacedConfigMap({ namespace, name: 'one' });
    await until(() => seen.includes('delete one'));
    assert.deepEqual(informer.list().map((found) => found.metadata.name), ['two']);
    await informer.stop();
  },

  async logs() {
    const out = collect();
    const controller = await new k8s.Log(config).log('clients', target, 'main', out.stream, { follow: true, tailLines: 2 });
    await until(() => out.text() === 'line 2\nline 3\n');
    controller.abort();
    assert.equal(await core.readNamespacedPodLog({ namespace: 'clients', name: target, tailLines: 1 }), 'line 3\n');
  },

  async exec() {
    const [out, err] = [collect(), collect()];
    const command = ['sh', '-c', 'read a; echo got $a; echo bad >&2; exit 5'];
    let socket;
    const status = await new Promise((resolve, reject) => {
      new k8s.Exec(config).exec('clients', target, 'main', command, out.stream, err.stream, Readable.from(['typed\n']), false, resolve)
        .then((opened) => { socket = opened; }, reject);
    });
    assert.deepEqual([out.text(), err.text(), status.reason], ['got typed\n', 'bad\n', 'NonZeroExitCode']);
    assert.equal(status.details.causes[0].message, '5');
    await until(() => socket && socket.readyState === socket.CLOSED);
    const tty = collect();
    const done = new Promise((resolve) => {
      new k8s.Exec(config).exec('clients', target, 'main', ['tty'], tty.stream, null, new PassThrough(), true, resolve);
    });
    assert.equal((await done).status, 'Success');
    assert.match(tty.text(), /\/dev\/pts\//);
  },

  async cp() { // neither way says when it is done
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
    const [there, back] = ['there', 'back'].map((name) => path.join(folder, name));
    fs.mkdirSync(there);
    fs.writeFileSync(path.join(there, 'copied.bin'), Buffer.alloc(200000, 'knarr'));
    const cp = new k8s.Cp(config);
    await cp.cpToPod('clients', target, 'main', there, '/tmp');
    const wait = 'until [ "$(wc -c </tmp/copied.bin)" = 200000 ]; do sleep 0.1; done';
    await new Promise((resolve, reject) => {
      const out = new PassThrough();
      new k8s.Exec(config).exec('clients', target, 'main', ['sh', '-c', wait], out, null, null, false, resolve).catch(reject);
    });
    await cp.cpFromPod('clients', target, 'main', 'copied.bin', back, '/tmp');
    const copied = path.join(back, 'copied.bin');
    await until(() => fs.existsSync(copied) && fs.statSync(copied).size === 200000);
    assert.deepEqual(fs.readFileSync(copied), fs.readFileSync(path.join(there, 'copied.bin')));
    fs.rmSync(folder, { recursive: true });
  },

  async portForward() {
    const out = collect();
    const asked = new PassThrough();
    const socket = await new k8s.PortForward(config).portForward('clients', target, [8080], out.stream, null, asked);
    asked.write('GET / HTTP/1.0\r\n\r\n');
    await until(() => out.text().endsWith('served\n'));
    (typeof socket === 'function' ? socket() : socket).close();
  },

  async usage() {
    const nodes = await k8s.topNodes(core);
    assert(nodes.length === 1 && Number(nodes[0].CPU.Capacity) > 0);
    if (process.env.METRICS === '1') {
      const metrics = await new k8s.Metrics(config).getNodeMetrics();
      assert.equal(metrics.items.length, 1);
    } else {
      await assert.rejects(new k8s.Metrics(config).getNodeMetrics(), (error) => error.code === 404 || error.code === 503);
    }
  },

  async health() {
    assert.equal(await new k8s.Health(config).readyz({}), true);
    assert.equal(await new k8s.Health(config).livez({}), true);
  },
};

process.on('uncaughtException', (error) => { // aborting a followed log ends in an error event that nobody can listen for
  if (error.name !== 'AbortError') {
    console.error(error);
    process.exit(1);
  }
});
const only = process.argv.slice(2);
for (const [name, step] of Object.entries(steps)) {
  if (only.length && !only.includes(name)) continue;
  try {
    await step();
  } catch (error) {
    console.error(`failed: ${name}\n`, error);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}
process.exit(0);
