/**
 * Runs a real Traefik as the controller of the Gateway API, on a real API server of Kubernetes, before servers of models. There is no
 * node: a Service names its server by an EndpointSlice of the test.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, spawnProcess, whenReady, type ProcessSpec, type RunningProcess } from '@tenure/embedded'
import { environmentWith, systemEnvironment } from '../../../temporal.config.ts'
import { defineResources, startCluster, type Cluster } from '../deploy/cluster.ts'
import { gatewayDefinitions, prepareCluster } from '../deploy/kube-programs.ts'
import { openCallers, type CallerQuestion, type Callers } from './callers.ts'

export const namespace = 'models'
const gatewayName = 'models'
const servicePort = 8080
const routes = `/apis/gateway.networking.k8s.io/v1/namespaces/${namespace}/httproutes`
const slices = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`

interface BackendRef {
  name: string
  port: number
  weight: number
}
interface HttpRoute {
  metadata: { generation: number }
  spec: { rules: { backendRefs: BackendRef[] }[] }
  status?: { parents: { conditions: { status: string; observedGeneration: number }[] }[] }
}

export interface Traefik extends Pick<Callers, 'load'> {
  cluster: Cluster
  /** Host and port of its counters. */
  inside: string
  /** The counters of Traefik in the text format. */
  metrics(): Promise<string>
  /** How many requests of a Service Traefik has counted whose status begins so. */
  counted(name: string, status?: string): Promise<number>
  /** Whether the status of the route names its newest generation, and all of its backends are found. */
  isTakenUp(): Promise<boolean>
  weights(): Promise<Record<string, number>>
  /** Replaces the weights of Services that the route names. */
  setWeights(weights: Record<string, number>): Promise<void>
  /** Makes a Service for the server at a port, and adds it to the route with weight 0. */
  add(name: string, port: number): Promise<void>
  /** Says whether the endpoint of a Service is ready. */
  setReady(name: string, isReady: boolean): Promise<void>
  stop(): Promise<void>
}

/**
 * Gives this machine an address at which servers of models listen, because an EndpointSlice accepts none of the loopback range. It is of the
 * range for benchmarks and leads to `lo`. Undefined where this user may not.
 */
export function addAddress(): { host: string; remove(): void } | undefined {
  const host = `198.19.${(process.pid >> 8) & 255}.${process.pid & 255}`
  const ip = (verb: string) =>
    spawnSync('ip', ['address', verb, `${host}/32`, 'dev', 'lo'], { stdio: 'ignore' }).status === 0
  return ip('replace') ? { host, remove: () => void ip('del') } : undefined
}

/** `bin`: the folder of its program. `host`: where the servers listen. `servers`: Service → port; the first one's weight is 100. `route`: the name of the HTTPRoute. */
export async function startTraefik(
  bin: string,
  {
    host,
    route,
    servers,
    asks = { path: '/', nameOf: (text) => text },
  }: { host: string; route: string; servers: Record<string, number>; asks?: CallerQuestion },
): Promise<Traefik> {
  const programs = await prepareCluster((line) => void process.stderr.write(`${line}\n`))
  const definitions = await gatewayDefinitions()
  const home = mkdtempSync(join(tmpdir(), 'tenure-traefik-'))
  const [front, inside] = [await freePort(), await freePort()]
  const callers = openCallers(front, asks)
  const running: RunningProcess[] = []
  const lines: string[] = []
  const start = async (spec: ProcessSpec) => {
    const started = await spawnProcess(spec, (line) => {
      lines.push(`${spec.name} ${line}`)
      if (lines.length > 300) lines.shift()
    })
    running.push(started)
    await whenReady(spec, started, 180_000)
  }
  const cluster = await startCluster(programs, join(home, 'cluster'))
  const stop = async () => {
    callers.stop()
    for (const each of running.toReversed()) await each.stop()
    await cluster.stop()
    rmSync(home, { recursive: true, force: true })
  }
  const routePath = `${routes}/${route}`
  const findRoute = () => cluster.call<HttpRoute>('GET', routePath)
  const refsOf = async () => (await findRoute()).spec.rules[0]!.backendRefs
  const setRefs = (backendRefs: BackendRef[]) =>
    cluster.call(
      'PATCH',
      routePath,
      [{ op: 'replace', path: '/spec/rules/0/backendRefs', value: backendRefs }],
      'application/json-patch+json',
    )
  const serve = async (name: string, port: number) => {
    const metadata = { name, namespace }
    const ports = [{ name: 'http', port: servicePort, protocol: 'TCP' }]
    await cluster.call('POST', `/api/v1/namespaces/${namespace}/services`, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { ports },
    })
    await cluster.call('POST', slices, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ ...ports[0], port }],
      endpoints: [{ addresses: [host], conditions: { ready: true } }],
    })
  }
  try {
    await defineResources(cluster, definitions)
    await cluster.call('POST', '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace },
    })
    const group = 'gateway.networking.k8s.io/v1'
    await cluster.call('POST', `/apis/${group}/gatewayclasses`, {
      apiVersion: group,
      kind: 'GatewayClass',
      metadata: { name: 'traefik' },
      spec: { controllerName: 'traefik.io/gateway-controller' },
    })
    await cluster.call('POST', `/apis/${group}/namespaces/${namespace}/gateways`, {
      apiVersion: group,
      kind: 'Gateway',
      metadata: { name: gatewayName, namespace },
      spec: {
        gatewayClassName: 'traefik',
        listeners: [{ name: 'http', protocol: 'HTTP', port: front }],
      },
    })
    for (const [name, port] of Object.entries(servers)) await serve(name, port)
    await cluster.call('POST', routes, {
      apiVersion: group,
      kind: 'HTTPRoute',
      metadata: { name: route, namespace },
      spec: {
        parentRefs: [{ name: gatewayName }],
        rules: [
          {
            backendRefs: Object.keys(servers).map((name, index) => ({
              name,
              port: servicePort,
              weight: index === 0 ? 100 : 0,
            })),
          },
        ],
      },
    })
    await start({
      name: 'traefik',
      command: join(bin, 'traefik'),
      args: [
        `--entryPoints.callers.address=127.0.0.1:${front}`,
        `--entryPoints.inside.address=127.0.0.1:${inside}`,
        '--metrics.prometheus.entryPoint=inside',
        // MLServer closes a connection that was idle for 5 s, and a request that it meets gets a 502.
        '--serversTransport.forwardingTimeouts.idleConnTimeout=2s',
        '--providers.kubernetesGateway=true',
        '--global.checkNewVersion=false',
        '--global.sendAnonymousUsage=false',
        '--log.level=INFO',
      ],
      env: environmentWith({ KUBECONFIG: cluster.kubeconfig }, systemEnvironment()),
      // Until it has read the route, it answers 404.
      isReady: async () =>
        !Object.keys(await callers.load(1)).some((each) => ['404', 'broken'].includes(each)),
    })
  } catch (error) {
    process.stderr.write(`${lines.slice(-30).join('\n')}\n`)
    await stop()
    throw error
  }
  const metrics = async () => (await fetch(`http://127.0.0.1:${inside}/metrics`)).text()
  const weights = async () => Object.fromEntries((await refsOf()).map(({ name, weight }) => [name, weight]))
  return {
    cluster,
    inside: `127.0.0.1:${inside}`,
    async isTakenUp() {
      const { metadata, status } = await findRoute()
      const parents = status?.parents ?? []
      return (
        parents.length > 0 &&
        parents.every(({ conditions }) =>
          conditions.every(
            (each) => each.status === 'True' && each.observedGeneration === metadata.generation,
          ),
        )
      )
    },
    weights,
    load: callers.load,
    metrics,
    async counted(name, status = '') {
      const pattern = new RegExp(
        `^traefik_service_requests_total{code="${status}.*service="httproute-.*-svc-${namespace}-${name}-\\d+@kubernetesgateway"} (\\d+)$`,
        'gm',
      )
      return [...(await metrics()).matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0)
    },
    async setWeights(given) {
      await setRefs((await refsOf()).map((ref) => ({ ...ref, weight: given[ref.name] ?? ref.weight })))
    },
    async add(name, port) {
      await serve(name, port)
      await setRefs([...(await refsOf()), { name, port: servicePort, weight: 0 }])
    },
    async setReady(name, isReady) {
      const endpoints = [{ addresses: [host], conditions: { ready: isReady } }]
      await cluster.call('PATCH', `${slices}/${name}`, { endpoints }, 'application/merge-patch+json')
    },
    stop,
  }
}
