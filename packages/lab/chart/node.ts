/**
 * Replaces the scheduler, kubelet and proxy of one node: runs the pods of a namespace as processes, reports their probes to the API, ends
 * pods on request, and forwards connections of a Service to ready pods. The controllers do the rest, so a rolling update behaves as in any
 * cluster.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort, type RunningProcess, spawnProcess } from '@tenure/embedded'
import { untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { containerOf, type NodePlaces } from './container.ts'
import type { Kube } from '../../../test/support/deploy/cluster.ts'
import { limitMemory } from './memory-limit.ts'
import type { HttpProbe, Pod, PodContainer } from '../../../test/support/deploy/kube-objects.ts'

export interface PodRecord {
  name: string
  component: string
  pid: number
  /** Time from the start of its process to the first success of the probe; 0 without a probe. */
  readyMs: number
  livenessFailures: number
  /** The limit of `resources.limits.memory`, peak memory, and number of out-of-memory kills; absent without a limit. */
  memory?: { limitMb: number; peakMb: number; kills: number }
  /** How its process ended: exit code or signal. */
  end?: string
}

export interface BenchNode {
  /** All pods that it has run. */
  pods: PodRecord[]
  lines: string[]
  /** The address at which a Service is reached. */
  proxy(service: string, port: string): Promise<string>
  stop(): Promise<void>
}

interface Running {
  record: PodRecord
  process: RunningProcess
  ending?: Promise<void>
  stopping: AbortController
}

const nodeName = 'bench'
/** Addresses of pods, from the range for benchmarks, because a Service accepts none of the loopback range. All belong to this machine. */
const range = '198.18.77'
const route = ['local', `${range}.0/24`, 'dev', 'lo']
const lookMs = 200

export async function startNode(kube: Kube, namespace: string, places: NodePlaces): Promise<BenchNode> {
  mkdirSync(join(places.home, 'claims'), { recursive: true })
  execFileSync('ip', ['route', 'replace', ...route])
  await kube.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName } })
  const path = `/api/v1/namespaces/${namespace}/pods`
  const running = new Map<string, Running>()
  const pods: PodRecord[] = []
  const lines: string[] = []
  const stopping = new AbortController()
  const proxies: { close(): void }[] = []
  let addresses = 1
  const say = (line: string) => {
    lines.push(line)
    if (lines.length > 4_000) lines.shift()
  }
  const report = (name: string, status: object) =>
    kube
      .call('PATCH', `${path}/${name}/status`, { status }, 'application/merge-patch+json')
      .catch((error: Error) => say(`node: ${error.message}`))

  const begin = async (pod: Pod): Promise<void> => {
    const { name } = pod.metadata
    await kube.call('POST', `${path}/${name}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name },
      target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
    })
    const address = `${range}.${++addresses}`
    const [container] = pod.spec.containers
    const memory = limitMemory(name, container.resources.limits?.memory)
    const spec = await containerOf(kube, pod, address, { ...places, memory })
    const started = await spawnProcess(spec, (line) => say(`${name} ${line}`))
    const startedMs = performance.now()
    const record: PodRecord = {
      name,
      component: pod.metadata.labels?.['app.kubernetes.io/component'] ?? '',
      pid: started.pid,
      readyMs: 0,
      livenessFailures: 0,
    }
    pods.push(record)
    const own: Running = { record, process: started, stopping: new AbortController() }
    running.set(name, own)
    void started.exited.then(async ({ code, signal }) => {
      own.stopping.abort()
      if (memory !== undefined) record.memory = { limitMb: memory.limitMb, ...(await memory.end()) }
      record.end = signal ?? String(code)
      if (own.ending === undefined)
        await report(
          name,
          statusOf(container, address, { phase: code === 0 ? 'Succeeded' : 'Failed', code: code ?? 1 }),
        )
    })
    if (record.end === undefined)
      await report(
        name,
        statusOf(container, address, { phase: 'Running', isReady: container.readinessProbe === undefined }),
      )
    if (container.readinessProbe !== undefined)
      void probe(container, address, own, (isReady) => {
        if (isReady && record.readyMs === 0) record.readyMs = performance.now() - startedMs
        return report(name, statusOf(container, address, { phase: 'Running', isReady }))
      })
  }

  const end = async (pod: Pod, own: Running): Promise<void> => {
    const [container] = pod.spec.containers
    await pause((container.lifecycle?.preStop?.sleep?.seconds ?? 0) * 1_000)
    own.stopping.abort()
    await own.process.stop()
    await kube.call('DELETE', `${path}/${pod.metadata.name}`, { gracePeriodSeconds: 0 })
    running.delete(pod.metadata.name)
  }

  const look = async (): Promise<void> => {
    for (const pod of await kube.list<Pod>(path)) {
      const { name, deletionTimestamp } = pod.metadata
      const own = running.get(name)
      if (deletionTimestamp === undefined) {
        if (own === undefined && pod.status.phase === 'Pending') await begin(pod)
      } else if (own !== undefined)
        own.ending ??= end(pod, own).catch((error: Error) => say(`node: ${error.message}`))
    }
  }

  const looking = (async () => {
    while (!stopping.signal.aborted) {
      await look().catch((error: Error) => say(`node: ${error.message}`))
      await pause(lookMs)
    }
  })()

  return {
    pods,
    lines,
    async proxy(service, port) {
      const opened = await openProxy(kube, namespace, service, port)
      proxies.push(opened)
      return opened.url
    },
    async stop() {
      stopping.abort()
      await looking
      for (const proxy of proxies) proxy.close()
      await Promise.all([...running.values()].map(({ process: each }) => each.stop()))
      execFileSync('ip', ['route', 'del', ...route])
    },
  }
}

interface PodState {
  phase: 'Running' | 'Succeeded' | 'Failed'
  isReady?: boolean
  code?: number
}

function statusOf(
  container: PodContainer,
  address: string,
  { phase, isReady = false, code }: PodState,
): object {
  const status = isReady ? 'True' : 'False'
  const at = new Date().toISOString()
  return {
    phase,
    podIP: address,
    podIPs: [{ ip: address }],
    conditions: ['Initialized', 'PodScheduled', 'ContainersReady', 'Ready'].map((type, place) => ({
      type,
      status: place < 2 ? 'True' : status,
      lastTransitionTime: at,
    })),
    containerStatuses: [
      {
        name: container.name,
        image: container.image,
        imageID: '',
        ready: isReady,
        started: true,
        restartCount: 0,
        state:
          code === undefined
            ? { running: { startedAt: at } }
            : { terminated: { exitCode: code, reason: code === 0 ? 'Completed' : 'Error', finishedAt: at } },
      },
    ],
  }
}

/** Runs the probes of a container at their intervals, and reports each change of its readiness. */
async function probe(
  container: PodContainer,
  address: string,
  { record, stopping }: Running,
  tell: (isReady: boolean) => Promise<unknown>,
): Promise<void> {
  const [startup, life, readiness] = [
    container.startupProbe!,
    container.livenessProbe!,
    container.readinessProbe!,
  ]
  const passes = async ({ httpGet, timeoutSeconds = 1 }: HttpProbe): Promise<boolean> => {
    const { containerPort } = container.ports!.find(({ name }) => name === httpGet.port)!
    const url = `${httpGet.scheme.toLowerCase()}://${address}:${containerPort}${httpGet.path}`
    const answer = await fetch(url, { signal: AbortSignal.timeout(timeoutSeconds * 1_000) }).catch(
      () => undefined,
    )
    await answer?.body?.cancel()
    return answer?.ok === true
  }
  const isOpen = () => !stopping.signal.aborted
  while (isOpen() && !(await passes(startup))) await pause(startup.periodSeconds * 1_000)
  const watchLife = async () => {
    while (isOpen()) {
      await pause(life.periodSeconds * 1_000)
      if (isOpen() && !(await passes(life)) && isOpen()) record.livenessFailures++
    }
  }
  void watchLife()
  let isReady = false
  for (let failures = 0; isOpen();) {
    const now = await passes(readiness)
    failures = now ? 0 : failures + 1
    if (now !== isReady && isOpen() && (now || failures >= (readiness.failureThreshold ?? 3))) {
      isReady = now
      await tell(isReady)
    }
    await pause(readiness.periodSeconds * 1_000)
  }
}

interface EndpointSlice {
  endpoints?: { addresses: string[]; conditions: { ready?: boolean } }[]
  ports: { name: string; port: number }[]
}

/** Accepts connections for a Service. Open connections stay with their pod, as with kube-proxy. */
async function openProxy(kube: Kube, namespace: string, service: string, port: string) {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=kubernetes.io/service-name=${service}`
  let ready: { host: string; port: number }[] = []
  let next = 0
  let isClosed = false
  const follow = async () => {
    while (!isClosed) {
      const slices = await kube.list<EndpointSlice>(path).catch(() => undefined)
      ready =
        slices?.flatMap(({ endpoints, ports }) =>
          (endpoints ?? [])
            .filter(({ conditions }) => conditions.ready === true)
            .map(({ addresses }) => ({
              host: addresses[0]!,
              port: ports.find(({ name }) => name === port)!.port,
            })),
        ) ?? ready
      await pause(lookMs)
    }
  }
  void follow()
  const server = createServer((from) => {
    const target = ready[next++ % Math.max(1, ready.length)]
    if (target === undefined) return void from.destroy()
    const to = connect(target.port, target.host)
    from.pipe(to).pipe(from)
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
  })
  await untilHolds(
    async () => ready.length,
    (count) => count > 0,
    { what: `a pod of ${service} is ready`, withinMs: 120_000 },
  )
  const own = await freePort()
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${own}`,
    close() {
      isClosed = true
      server.close()
    },
  }
}
