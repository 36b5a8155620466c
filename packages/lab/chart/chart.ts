/**
 * Installs the Helm chart on a real Kubernetes API server, upgrades it in the middle of a canary, rolls it back and uninstalls it; writes
 * packages/lab/chart/chart.md. Requires root for the mounts of the pods. `npm run bench -- chart [--canary SECONDS --rate N]`
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { openStore } from '../../../store/postgres.ts'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'
import { untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { figureTable, machine, roundedNumber as whole, sumBy } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { defineResources, startCluster, type Cluster } from '../../../test/support/deploy/cluster.ts'
import { chartFolder, countKinds, helmWith, type Helm } from './helm.ts'
import { canLimitMemory } from './memory-limit.ts'
import { startNode, type BenchNode } from './node.ts'
import type { Pod } from '../../../test/support/deploy/kube-objects.ts'
import { prepareCluster, prepareHelm, versions } from '../../../test/support/deploy/kube-programs.ts'
import { copyVersionKey, createSecrets, startServers, type ChartServers } from './servers.ts'
import { openChartStage, playChartRelease, type ChartRelease } from './story.ts'

const options = readOptions({
  /** Minimum duration of the canary stage in which the chart is upgraded and rolled back. */
  canary: 150,
  rate: 20,
  out: reportFile('chart/chart.md'),
})

if (process.getuid?.() !== 0)
  throw new Error('the bench of the chart needs root: the pods get mounts and a user of their own')
const say = (line: string): void => console.log(line)
const [helmProgram, programs] = [await prepareHelm(say), await prepareCluster(say)]
// Pods cannot write into the checkout.
execFileSync(process.execPath, [join(checkout, 'cli/build/build.mjs')], {
  cwd: checkout,
  env: systemEnvironment(),
})

const namespace = 'tenure'
const release = 'tenure'
const claim = 'tenure-artifacts'
const home = mkdtempSync(join(tmpdir(), 'tenure-chart-'))
chmodSync(home, 0o711)
const issues: string[] = []
/** Step → seconds. */
const seconds: Record<string, number> = {}
/** Kind → number of objects that Helm has created. */
let installed: Record<string, number> = {}
let everything: Record<string, number> = {}
let refusal = ''
const told: Record<string, string> = {}
let pods: BenchNode['pods'] = []
let story: { upgraded: ChartRelease; reference: ChartRelease } | undefined

const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
  const startedMs = performance.now()
  const result = await work()
  seconds[name] = (performance.now() - startedMs) / 1_000
  say(`${name}: ${seconds[name].toFixed(1)} s`)
  return result
}

const [cluster, servers] = await Promise.all([
  step('etcd, the API server and the controllers start', () => startCluster(programs, join(home, 'cluster'))),
  startServers(home),
])
let node: BenchNode | undefined
try {
  const helm = helmWith(helmProgram, home, cluster.kubeconfig)
  const values = valuesFor(servers)
  await makeNamespace(cluster, namespace)
  refusal = await refusalOf(cluster)
  await defineResources(cluster, programs.definitions)
  await createSecrets(cluster, namespace, servers)
  told['lint'] = (await helm('lint', '--strict', '.', ...values)).trim().split('\n').at(-1)!
  everything = await installEverything(cluster, helm)
  node = await startNode(cluster, namespace, { home, buildId: 'chart' })
  pods = node.pods
  story = await tell(cluster, helm, node, servers, values)
} catch (error) {
  process.stderr.write(`${[...cluster.lines.slice(-20), ...(node?.lines.slice(-60) ?? [])].join('\n')}\n`)
  throw error
} finally {
  await node?.stop()
  await Promise.all([cluster.stop(), servers.stop()])
  rmSync(home, { recursive: true, force: true })
}
issues.push(...issuesOf(story))
for (const issue of issues) say(issue)
say(`chart: ${issues.length} issues`)
if (issues.length > 0) process.exitCode = 1
writeFileSync(options.out, page(story))

/** Returns the chart values of the test: one volume for all pods instead of an object store. */
function valuesFor({ temporal }: ChartServers): string[] {
  const file = join(home, 'values.json')
  const secret = (name: string, key: string) => ({ [key]: { name, key } })
  writeFileSync(
    file,
    JSON.stringify({
      settings: { TEMPORAL_ADDRESS: temporal },
      secrets: {
        ...secret('tenure', 'DATABASE_URL'),
        ...secret('tenure', 'TENURE_READER_DATABASE_URL'),
        ...secret('tenure-owner', 'TENURE_OWNER_DATABASE_URL'),
      },
      artifacts: { existingClaim: claim },
      backup: { to: '/mnt/tenure/backups' },
    }),
  )
  return ['--values', file]
}

async function makeNamespace(kube: Cluster, name: string): Promise<void> {
  await kube.call('POST', '/api/v1/namespaces', {
    metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
  })
  const accounts = `/api/v1/namespaces/${name}/serviceaccounts`
  await untilHolds(
    () => kube.list(accounts),
    (found) => found.some(({ metadata }) => metadata.name === 'default'),
    { what: `the account of ${name}`, everyMs: 100 },
  )
}

/** Returns the API server's response to an unconfined pod; without a refusal the namespace would prove nothing. */
async function refusalOf(kube: Cluster): Promise<string> {
  const pod = { metadata: { name: 'bare' }, spec: { containers: [{ name: 'bare', image: 'tenure' }] } }
  return kube.call('POST', `/api/v1/namespaces/${namespace}/pods`, pod).then(
    () => {
      throw new Error('the namespace takes a pod that is not confined')
    },
    (error: Error) => error.message,
  )
}

/** Creates the objects of every option in a namespace without a node; no pod runs there. */
async function installEverything(kube: Cluster, helm: Helm): Promise<Record<string, number>> {
  const files = ['values', 'all'].flatMap((each) => ['--values', join(chartFolder, 'ci', `${each}.yaml`)])
  await makeNamespace(kube, 'everything')
  const place = ['--namespace', 'everything']
  await step('every option is installed without its hook', () =>
    helm('install', 'all', '.', '--no-hooks', ...place, ...files),
  )
  const path = '/api/v1/namespaces/everything/pods'
  await untilHolds(
    () => kube.list<Pod>(path),
    (found) => found.filter(({ status }) => status.phase === 'Pending').length >= 4,
    { what: 'the pods of every option are admitted', everyMs: 200 },
  )
  const scaled = ['--set', 'autoscaling.by=hpa']
  await helm('upgrade', 'all', '.', '--no-hooks', ...place, ...files, ...scaled)
  const counts = countKinds(await helm('get', 'manifest', 'all', ...place))
  await helm('uninstall', 'all', '--no-hooks', ...place)
  return { ...counts, ScaledObject: 1 }
}

/** Waits for the marker file next to a backup. */
async function untilVerified(folder: string): Promise<void> {
  await untilHolds(
    async () => (existsSync(folder) ? readdirSync(folder) : []),
    (files) => files.some((name) => name.endsWith('.tar.verified')),
    { what: 'a backup is verified', everyMs: 200, withinMs: 120_000 },
  )
}

async function tell(
  kube: Cluster,
  helm: Helm,
  { proxy, pods: run }: BenchNode,
  { ownerUrl }: ChartServers,
  values: string[],
): Promise<{ upgraded: ChartRelease; reference: ChartRelease }> {
  const place = ['--namespace', namespace]
  const waits = ['--wait', '--timeout', '10m']
  await step('install', () => helm('install', release, '.', ...place, ...values, ...waits))
  installed = countKinds(await helm('get', 'manifest', release, ...place))
  const url = await proxy(`${release}-api`, 'http')
  const folder = join(home, 'claims', claim)
  await step('the first scheduled backup is verified', () => untilVerified(join(folder, 'backups')))
  await copyVersionKey(kube, namespace, folder)
  const store = openStore(ownerUrl, { max: 4, onError: () => {} })
  try {
    const stage = await openChartStage(store, url, folder)
    const play = { canarySeconds: 6, perSecond: options.rate }
    const reference = await playChartRelease(stage, { ...play, model: 'calm', steps: {} })
    const names = () => run.filter(({ end }) => end === undefined).map(({ name }) => name)
    /** Afterwards every pod of a Deployment is a new one. */
    const replaces =
      (name: string, ...args: string[]) =>
      async () => {
        const before = new Set(names())
        await step(name, () => helm(...args, ...place, ...waits))
        const isLeft = (each: string) => before.has(each)
        await untilHolds(
          async () => names().filter(isLeft),
          (left) => left.length === 0,
          {
            what: `${name} has replaced all pods`,
            everyMs: 500,
            withinMs: 180_000,
          },
        )
      }
    const upgraded = await playChartRelease(stage, {
      ...play,
      canarySeconds: options.canary,
      model: 'calm-2',
      steps: {
        upgrade: replaces('upgrade', 'upgrade', release, '.', ...values, '--set', 'settings.LOG_LEVEL=debug'),
        rollback: replaces('rollback', 'rollback', release, '1'),
      },
    })
    told['history'] = (
      JSON.parse(await helm('history', release, ...place, '--output', 'json')) as { description: string }[]
    )
      .map(({ description }) => description)
      .join(', ')
    await step('uninstall', () => helm('uninstall', release, ...place, ...waits))
    await untilHolds(
      () => kube.list(`/api/v1/namespaces/${namespace}/pods`),
      (left) => left.length === 0,
      {
        what: 'all pods have ended',
        everyMs: 500,
        withinMs: 120_000,
      },
    )
    return { upgraded, reference }
  } finally {
    await store.close()
  }
}

/** Returns whether a failure is a refusal: a replica without CPU time refuses late requests, and clients retry them. */
function isRefusal({ why }: ChartRelease['failures'][number]): boolean {
  return why === '503 overloaded'
}

function issuesOf({ upgraded, reference }: NonNullable<typeof story>): string[] {
  const failed = [upgraded, reference].flatMap(({ failures }) => failures.filter((each) => !isRefusal(each)))
  const unclean = pods.filter(({ end }) => end !== '0' && end !== undefined)
  return [
    ...upgraded.issues,
    ...reference.issues,
    ...failed.slice(0, 5).map(({ why }) => `a prediction failed: ${why}`),
    ...(isDeepStrictEqual(upgraded.ending, reference.ending)
      ? []
      : [
          `it ended as ${JSON.stringify(upgraded.ending)}, the reference as ${JSON.stringify(reference.ending)}`,
        ]),
    ...Object.entries(upgraded.after)
      .filter(([, where]) => where !== 'canary 1')
      .map(([name, where]) => `${name} ended in ${where} and not in mid-canary: give --canary more seconds`),
    ...unclean.map(
      ({ name, end }) =>
        `${name} ended with ${end}: ${node?.lines.findLast((line) => line.startsWith(name))}`,
    ),
  ]
}

/** Returns the peak memory of each kind of pod, including the page cache of its files. */
function memoryTable(): string[] {
  if (!canLimitMemory)
    return ['The pods ran without limits of memory: the controller of version 1 is not mounted.']
  const components = [...new Set(pods.map(({ component }) => component))]
  return figureTable(
    'pods of | limit of memory MB | most MB | killed for more',
    components.map((component) => {
      const found = pods.flatMap((each) => (each.component === component && each.memory ? [each.memory] : []))
      const limitMb = Math.max(...found.map((each) => each.limitMb))
      const peakMb = Math.max(...found.map((each) => each.peakMb))
      return [component, whole(limitMb), whole(peakMb), whole(sumBy(found, ({ kills }) => kills))]
    }),
  )
}

function page({ upgraded, reference }: NonNullable<typeof story>): string {
  const ready = pods.filter(({ readyMs }) => readyMs > 0).map(({ readyMs }) => (readyMs / 1_000).toFixed(1))
  const figures = (name: string, { answered, failures, p50Ms, p99Ms, ending }: ChartRelease) => {
    const refused = failures.filter(isRefusal).length
    const isEqual = isDeepStrictEqual(upgraded.ending, reference.ending) ? 'yes' : 'no'
    return [
      name,
      whole(answered),
      String(failures.length - refused),
      String(refused),
      p50Ms.toFixed(1),
      p99Ms.toFixed(1),
      ending.outcome ?? 'none',
      isEqual,
    ]
  }
  const kinds = [...new Set([...Object.keys(installed), ...Object.keys(everything)])].toSorted((a, b) =>
    a.localeCompare(b),
  )
  const { kubernetes, etcd, helm, keda } = versions
  return [
    '# The Helm chart on a real API server',
    '',
    `Made by \`npm run bench -- chart\` on ${machine}. The machine was shared with other work.`,
    '',
    `The test uses Helm ${helm}, and kube-apiserver and kube-controller-manager ${kubernetes} with etcd ${etcd}, built from pinned modules, with TLS on loopback. The`,
    `definitions of ScaledObject (KEDA ${keda}) and ServiceMonitor are those of their projects. There is no scheduler and no kubelet: the test binds each pod, runs its`,
    'container as rendered (arguments, variables, volumes, user 65532, a read-only root, no capabilities) as a process, calls its probes, reports the results',
    'to the API server, and ends the process when the API server says so. The controllers do the rest, so a rolling update and the migration job run as in',
    'any cluster. Each process has a cgroup with its memory limit, if the machine has the memory controller of cgroup v1. The test does not cover',
    'images, the default seccomp profile or networks between nodes; [the container image](../image/image.md) runs the images under that profile.',
    '',
    ...figureTable(
      'step | seconds',
      Object.entries(seconds).map(([name, each]) => [name, each.toFixed(1)]),
    ),
    '',
    ...figureTable(
      'objects | as installed | with every option',
      kinds.map((kind) => [kind, String(installed[kind] ?? 0), String(everything[kind] ?? 0)]),
    ),
    '',
    `- \`helm lint\`: ${told['lint']}.`,
    `- The namespace enforces the Pod Security Standard \`restricted\`. It admitted all pods of the chart and refused an unconfined one: ${refusal.split(': 403 ')[1]?.split(' (')[0] ?? refusal}.`,
    `- ${pods.length} pods ran, and ${pods.filter(({ end }) => end === '0').length} ended with code 0; replicas were ready after ${ready.join(', ')} s; ${sumBy(pods, (each) => each.livenessFailures)} liveness probes failed.`,
    `- \`helm history\`: ${told['history']}.`,
    '- A pod writes scheduled backups to the volume claim; every byte of the first one was compared with its digest.',
    '',
    ...memoryTable(),
    '',
    '## `helm upgrade` and `helm rollback` in the middle of a canary',
    '',
    `A release is in its first canary stage at 20 %, and callers send ${options.rate} predictions a second through the Service. \`helm upgrade\` changes a`,
    'setting of all pods, so the migration runs and every pod is replaced; then `helm rollback` replaces them again. The *reference* is the same release without',
    'either. Both must end with the same outcome, routes, audit rows, commands and versions (*equal*).',
    '',
    ...figureTable('release | answered | failed | refused | p50 ms | p99 ms | outcome | equal', [
      figures('upgraded and rolled back', upgraded),
      figures('reference', reference),
    ]),
    '',
    'A *refused* request received 503 `overloaded`, because other work took processor time from the replica.',
    '',
    ...Object.entries(upgraded.after).map(
      ([name, where]) => `After the ${name} the release was in ${where}.`,
    ),
    '',
    issues.length === 0 ? 'No issue was found.' : issues.map((issue) => `- ${issue}`).join('\n'),
    '',
  ].join('\n')
}
