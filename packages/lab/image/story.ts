/** Trains, releases and queries a model in containers only; Postgres and Temporal are processes of this machine. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { freePort, startPostgres, startTemporal } from '@tenure/embedded'
import { untilOk } from '../../../cli/supervisor/rolling-restart.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { findOpenRelease, findRelease } from '../../../store/release/releases.ts'
import { checkout, searchAttributes } from '../../../temporal.config.ts'
import { sayTo, untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { podman } from './podman.ts'

export interface ImageStory {
  /** Time from `podman run` to the first 200 of `/readyz`, for each start. */
  readyMs: number[]
  stopMs: number
  /** User and capabilities of the API's process. */
  user: string
  /** Error of a write outside the volume. */
  written: string
  memoryMb: number
  /** Whether the default seccomp profile filters the calls of the API. */
  isFiltered: boolean
  /** Exit status of a process that exceeds the memory of its container. */
  beyondLimit: string
  syncSeconds: number
  trainSeconds: number
  version: string
  answer: unknown
}

const model = 'iris'
const row = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }
type Kind = 'api' | 'control' | 'train'
const chart = parse(readFileSync(join(checkout, 'deploy/helm/tenure/values.yaml'), 'utf8')) as Record<
  Kind,
  { resources: { limits: { memory: string } } }
>
/** As Kubernetes' restricted profile requires, and stricter. */
const confined = ['--read-only', '--cap-drop=all', '--security-opt=no-new-privileges', '--network=host']

export async function runImageStory(
  images: { api: string; train: string },
  starts: number,
): Promise<ImageStory> {
  const prefix = `tenure-story-${process.pid}`
  const [postgres, temporal, port] = await Promise.all([
    startPostgres(),
    startTemporal({ uiPort: false, searchAttributes }),
    freePort(),
  ])
  const variables = {
    DATABASE_URL: postgres.url,
    TEMPORAL_ADDRESS: temporal.address,
    TENURE_PORT: String(port),
    TENURE_PUBLIC_PREDICTIONS: 'on',
  }
  const given = [
    ...confined,
    '--volume',
    `${prefix}:/var/lib/tenure`,
    ...Object.entries(variables).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
  ]
  const begun: string[] = []
  const begin = async (
    kind: Kind,
    { name = kind, command = [] }: { name?: string; command?: string[] } = {},
  ): Promise<string> => {
    const container = `${prefix}-${name}`
    begun.push(container)
    const image = kind === 'train' ? images.train : images.api
    const memory = `--memory=${chart[kind].resources.limits.memory}`
    await podman('run', '--detach', '--name', container, memory, ...given, image, ...command)
    return container
  }
  const url = `http://127.0.0.1:${port}`
  const store = openStore(postgres.url, { max: 2, onError: () => {} })
  try {
    const syncedMs = performance.now()
    await podman('run', '--rm', ...given, images.api, 'cli/tenure.mjs', 'models', 'sync')
    const syncSeconds = (performance.now() - syncedMs) / 1_000
    const { api, ...started } = await measureStarts(
      (start) => begin('api', { name: `api-${start}` }),
      url,
      starts,
    )
    for (const kind of ['control', 'train'] as const)
      await begin(kind, { command: ['cli/launch.mjs', 'activities/worker.ts', kind] })
    const trained = await trainAndRelease(url, store)
    const answer = await untilHolds(
      () => ask(url),
      (found) => found.version === trained.version,
      { what: `${trained.version} answers`, withinMs: 60_000 },
    )
    const confinement = await inspectConfinement(api, given, images.api)
    return { ...started, ...confinement, syncSeconds, ...trained, answer }
  } catch (error) {
    for (const name of begun)
      process.stderr.write(`${name}: ${await podman('logs', '--tail', '20', name).catch(String)}\n`)
    throw error
  } finally {
    for (const name of begun.toReversed()) await podman('rm', '--force', '--time', '10', name).catch(() => {})
    await podman('volume', 'rm', '--force', prefix).catch(() => {})
    await store.close()
    await Promise.all([postgres.stop(), temporal.stop()])
    // The monitor of a container notes there that the kernel killed it for memory.
    rmSync(join(checkout, 'oom'), { force: true })
  }
}

/** Starts the API `starts` times, each after the previous one has stopped. Returns the container of the last. */
async function measureStarts(
  begin: (start: number) => Promise<string>,
  url: string,
  starts: number,
): Promise<Pick<ImageStory, 'readyMs' | 'stopMs'> & { api: string }> {
  const readyMs: number[] = []
  let api = ''
  let stopMs = 0
  for (let start = 0; start < starts; start++) {
    if (start > 0) {
      const stoppedMs = performance.now()
      await podman('stop', '--time', '30', api)
      stopMs = performance.now() - stoppedMs
    }
    const startedMs = performance.now()
    api = await begin(start)
    await untilOk(`${url}/readyz`)
    readyMs.push(performance.now() - startedMs)
  }
  return { api, readyMs, stopMs }
}

async function trainAndRelease(
  url: string,
  store: Store,
): Promise<Pick<ImageStory, 'trainSeconds' | 'version'>> {
  const operator = (await insertKey(store, { name: 'olga', role: 'operator' })).key
  const approver = (await insertKey(store, { name: 'anna', role: 'approver' })).key
  const trainedMs = performance.now()
  // A replica may not have read the new key yet.
  await untilHolds(
    () => sayTo(url, operator)<{ code?: string }>('POST', `/v1/models/${model}/retrainings`, {}),
    (response) => response.code === undefined,
    { what: 'the retraining is accepted', everyMs: 500 },
  )
  const open = await untilHolds(
    () => findOpenRelease(store, model),
    (found) => found?.state.stage === 'awaiting_approval',
    { what: 'the trained version awaits its approval', everyMs: 200, withinMs: 300_000 },
  )
  const trainSeconds = (performance.now() - trainedMs) / 1_000
  const { id, version } = open!.state
  await sayTo(url, approver)('POST', `/v1/releases/${id}/approve`, {})
  await untilHolds(
    () => findRelease(store, id),
    (found) => found?.outcome === 'promoted',
    { what: 'the release is promoted', everyMs: 200, withinMs: 120_000 },
  )
  return { trainSeconds, version }
}

async function ask(url: string): Promise<{ version?: string }> {
  const response = await fetch(`${url}/v1/models/${model}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ instances: [row] }),
  })
  return (await response.json()) as { version?: string }
}

/** Reads the user, the memory and the filter of the API's process, and tries to write and to use more memory than allowed. */
async function inspectConfinement(
  api: string,
  given: readonly string[],
  image: string,
): Promise<Pick<ImageStory, 'user' | 'written' | 'memoryMb' | 'isFiltered' | 'beyondLimit'>> {
  // The status of the first process of the container, as this machine sees it.
  const pid = await podman('inspect', '--format', '{{.State.Pid}}', api)
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const valueOf = (field: string) => new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? ''
  const write =
    "try { require('node:fs').writeFileSync('/opt/tenure/new', ''); console.log('allowed') } catch ({ code }) { console.log(code) }"
  const written = await podman('run', '--rm', ...given, image, '-e', write)
  const hoard = 'const held = []; for (;;) held.push(Buffer.alloc(8_000_000, 1))'
  const beyondLimit = await podman('run', '--rm', '--memory=128m', ...given, image, '-e', hoard).then(
    () => 'ended',
    ({ code }: { code?: number }) => `code ${code}`,
  )
  return {
    user: valueOf('Uid'),
    written,
    memoryMb: Number(valueOf('VmRSS')) / 1_024,
    isFiltered: valueOf('Seccomp') === '2',
    beyondLimit,
  }
}
