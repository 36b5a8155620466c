/**
 * Starts etcd, the API server and the controllers of Kubernetes on loopback, with certificates of a private authority. There is no
 * scheduler and no kubelet.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { parse } from 'yaml'
import { freePort, type ProcessSpec, type RunningProcess, spawnProcess, whenReady } from '@tenure/embedded'
import { createApiFetch } from '../../../store/tls/api-fetch.ts'
import { systemEnvironment } from '../../../temporal.config.ts'
import { createAuthority } from '../signing/certificates.ts'
import { untilHolds } from '../fleet/fleet-stage.ts'
import type { KubeObject } from './kube-objects.ts'
import type { ClusterPrograms } from './kube-programs.ts'

export interface Kube {
  /** Throws with the message of the API when it refuses. */
  call<T = KubeObject>(method: string, path: string, body?: object | string, type?: string): Promise<T>
  list<T = KubeObject>(path: string): Promise<T[]>
}

export interface Cluster extends Kube {
  url: string
  /** The token of its administrator. */
  token: string
  /** The file of its authority. */
  ca: string
  /** Path of the kubeconfig file for Helm and kubectl. */
  kubeconfig: string
  /** The last output lines of its processes. */
  lines: string[]
  stop(): Promise<void>
}

/** Controllers that the chart's objects need; those of nodes and clouds are omitted. */
const controllers = [
  'deployment-controller',
  'replicaset-controller',
  'job-controller',
  'disruption-controller',
  'endpointslice-controller',
  'garbage-collector-controller',
  'namespace-controller',
  'serviceaccount-controller',
]

export async function startCluster(
  programs: Omit<ClusterPrograms, 'definitions'>,
  home: string,
): Promise<Cluster> {
  mkdirSync(home, { recursive: true })
  const authority = createAuthority(home)
  const [store, server] = [authority.issue('etcd'), authority.issue('server')]
  const account = join(home, 'accounts.key')
  execFileSync(
    'openssl',
    ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', account],
    {
      stdio: 'pipe',
    },
  )
  const token = randomBytes(24).toString('hex')
  writeFileSync(join(home, 'tokens.csv'), `${token},bench,1,"system:masters"\n`, { mode: 0o600 })
  const [storePort, peerPort, port, controllerPort] = await Promise.all(
    Array.from({ length: 4 }, () => freePort()),
  )
  const url = `https://127.0.0.1:${port}`
  const kubeconfig = join(home, 'kubeconfig.json')
  writeFileSync(kubeconfig, JSON.stringify(configOf(url, authority.ca, token)), { mode: 0o600 })
  const call = createApiFetch({ ca: authority.ca })
  const ask = (path: string, options: RequestInit = {}) =>
    call(`${url}${path}`, {
      ...options,
      headers: { authorization: `Bearer ${token}`, ...(options.headers as Record<string, string>) },
    })
  const isOk = async (path: string) => {
    const answer = await ask(path)
    await answer.body?.cancel()
    return answer.ok
  }
  const specs: ProcessSpec[] = [
    {
      name: 'etcd',
      command: programs.etcd,
      args: flags({
        'data-dir': join(home, 'etcd'),
        'listen-client-urls': `https://127.0.0.1:${storePort}`,
        'advertise-client-urls': `https://127.0.0.1:${storePort}`,
        'listen-peer-urls': `http://127.0.0.1:${peerPort}`,
        'initial-advertise-peer-urls': `http://127.0.0.1:${peerPort}`,
        'initial-cluster': `default=http://127.0.0.1:${peerPort}`,
        'cert-file': store.cert,
        'key-file': store.key,
        'client-cert-auth': 'true',
        'trusted-ca-file': authority.ca,
        'log-level': 'warn',
        'unsafe-no-fsync': 'true',
      }),
    },
    {
      name: 'kube-apiserver',
      command: programs.apiServer,
      args: flags({
        'etcd-servers': `https://127.0.0.1:${storePort}`,
        'etcd-cafile': authority.ca,
        'etcd-certfile': store.cert,
        'etcd-keyfile': store.key,
        'bind-address': '127.0.0.1',
        'secure-port': String(port),
        'tls-cert-file': server.cert,
        'tls-private-key-file': server.key,
        'token-auth-file': join(home, 'tokens.csv'),
        'authorization-mode': 'RBAC',
        'service-account-issuer': 'https://kubernetes.default.svc',
        'service-account-key-file': account,
        'service-account-signing-key-file': account,
        'service-cluster-ip-range': '10.0.0.0/24',
      }),
      isReady: () => isOk('/readyz'),
    },
    {
      name: 'kube-controller-manager',
      command: programs.controllers,
      args: flags({
        kubeconfig,
        'bind-address': '127.0.0.1',
        'secure-port': String(controllerPort),
        'cert-dir': join(home, 'controllers'),
        'leader-elect': 'false',
        'service-account-private-key-file': account,
        'root-ca-file': authority.ca,
        controllers: controllers.join(','),
      }),
      // They create the default service account of each namespace.
      isReady: () => isOk('/api/v1/namespaces/default/serviceaccounts/default'),
    },
  ]
  const lines: string[] = []
  const running: RunningProcess[] = []
  const stop = async () => {
    for (const each of running.toReversed()) await each.stop()
  }
  try {
    for (const spec of specs) {
      const started = await spawnProcess({ env: systemEnvironment(), ...spec }, (line) => {
        lines.push(`${spec.name} ${line}`)
        if (lines.length > 500) lines.shift()
      })
      running.push(started)
      await whenReady(spec, started, 180_000)
    }
  } catch (error) {
    process.stderr.write(`${lines.slice(-30).join('\n')}\n`)
    await stop()
    throw error
  }
  const kube: Kube = {
    async call<T>(method: string, path: string, body?: object | string, type = 'application/json') {
      const answer = await ask(path, {
        method,
        headers: { 'content-type': type },
        body: typeof body === 'string' ? body : body && JSON.stringify(body),
      })
      const told = (await answer.json()) as { message?: string }
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${told.message ?? ''}`)
      return told as T
    },
    async list<T>(path: string) {
      return (await kube.call<{ items: T[] }>('GET', path)).items
    },
  }
  return { ...kube, url, token, ca: authority.ca, kubeconfig, lines, stop }
}

const flags = (given: Record<string, string>): string[] =>
  Object.entries(given).map(([name, value]) => `--${name}=${value}`)

const configOf = (server: string, ca: string, token: string) => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'bench', cluster: { server, 'certificate-authority': ca } }],
  users: [{ name: 'bench', user: { token } }],
  contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
  'current-context': 'bench',
})

interface Definition {
  status: { conditions?: { type: string; status: string }[] }
}

/** Defines custom resources from the files of their projects, and waits until the API accepts objects of them. */
export async function defineResources(kube: Kube, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const text = readFileSync(file, 'utf8')
    const { name } = (parse(text) as KubeObject).metadata
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`
    await kube.call('PATCH', `${path}?fieldManager=bench`, text, 'application/apply-patch+yaml')
    await untilHolds(
      () => kube.call<Definition>('GET', path),
      ({ status }) =>
        status.conditions?.some((each) => each.type === 'Established' && each.status === 'True') === true,
      { what: `${name} is established`, everyMs: 100, withinMs: 60_000 },
    )
  }
}
