/** The product as it runs: embedded Postgres, one API process with everything on, both networks registered and routed. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Stream } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '../../cli/embedded/postgres.ts'
import { bindSharedPort } from '../../cli/supervisor/shared-port.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { migrate } from '../../store/database/migrate.ts'
import { openStore } from '../../store/postgres.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { nextRoute, registerFixtureVersion } from '../../test/support/serving/registration.ts'
import { signingKeyOf } from '../../test/support/serving/sign-versions.ts'
import type { ArtifactSpec } from '../../test/support/serving/artifact.ts'
import { residentMb } from './processes.ts'

export interface MeasuredSystem {
  url: string
  /** Sent as the authorization header of every request. */
  authorization: string
  /** Of the API process and of Postgres. */
  pids: [api: number, postgres: number]
  /** From the start of the API process, with a cached artifact, until it was ready; and its memory then, in MB. */
  coldMs: number
  restRss: number
  /** Rows of the prediction log by what became of them. */
  logged(): Promise<Record<string, number>>
  /** Starts the product once more on the same database, in another way; it ends with the rest. */
  startBeside(way: ServingMode): Promise<{ url: string; pids: number[] }>
  stop(): Promise<void>
}

export interface ServingMode {
  environment?: Record<string, string>
  /** Processes that share a port. */
  replicas?: number
}

const readyMs = 30_000

/** As the supervisor starts it: a small young generation keeps the memory small, and costs nothing that can be measured. */
const command = ['--max-semi-space-size=2', 'api/start.mjs']

export async function startServingSystem(
  specs: readonly ArtifactSpec[],
  { environment = {} }: { environment?: Record<string, string> } = {},
): Promise<MeasuredSystem> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-bench-'))
  // Postgres runs as another user when this one is root.
  chmodSync(root, 0o711)
  const postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  await migrate(postgres.url)
  const store = openStore(postgres.url, { name: 'bench' })
  const artifacts = join(root, 'artifacts')
  for (const spec of specs)
    await nextRoute(store, spec.model, { proven: await registerFixtureVersion(store, artifacts, spec) })
  const { key } = await insertKey(store, { name: 'bench', role: 'admin' })
  const authorization = `Bearer ${key}`
  const start = (state: string, more: Record<string, string> = {}, handle?: object) =>
    startApi(authorization, handle, {
      DATABASE_URL: postgres.url,
      TENURE_STATE: join(root, state),
      TENURE_ARTIFACTS: artifacts,
      TENURE_SIGNING_KEY: signingKeyOf(artifacts),
      TENURE_PORT: '0',
      // Clients that only check an answer send no key; those that measure do, and it is checked.
      TENURE_PUBLIC_PREDICTIONS: 'on',
      TENURE_BUILD_ID: 'bench',
      ...environment,
      ...more,
    })
  // The first start fills the caches; how long one takes that finds them is what callers of a restarted replica wait for.
  await (await start('state')).stop()
  const api = await start('state')
  // What is loaded behind the first answers belongs to its memory.
  await api.ask('/metrics')
  const beside: { stop(): Promise<void> }[] = []
  return {
    url: api.url,
    authorization,
    pids: [api.pid, postgres.pid],
    coldMs: api.coldMs,
    restRss: residentMb(api.pid),
    async startBeside({ environment: more, replicas = 1 }) {
      const shared = replicas > 1 ? bindSharedPort({ host: '127.0.0.1', port: 0 }) : undefined
      const sharing: Record<string, string> =
        shared === undefined ? {} : { TENURE_SHARED_FD: '3', UV_TCP_SINGLE_ACCEPT: '1' }
      const started: Awaited<ReturnType<typeof startApi>>[] = []
      for (let each = 0; each < replicas; each++) {
        const state = `beside-${beside.length}`
        started.push(
          await start(state, { ...more, ...sharing, TENURE_REPLICA: String(each + 1) }, shared?.handle),
        )
        beside.push(started.at(-1)!)
      }
      if (shared !== undefined) beside.push({ stop: async () => shared.close() })
      const url = shared === undefined ? started[0]!.url : `http://127.0.0.1:${shared.port}`
      return { url, pids: started.map(({ pid }) => pid) }
    },
    async logged() {
      const lines = (await (await api.ask('/metrics')).text()).matchAll(
        /^tenure_prediction_log_(?:total|rows)\{state="(\w+)"\} (\d+)/gm,
      )
      return Object.fromEntries([...lines].map(([, state, count]) => [state!, Number(count)]))
    },
    async stop() {
      await Promise.all([api, ...beside].map((each) => each.stop()))
      await store.close()
      await postgres.stop()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

async function startApi(
  authorization: string,
  handle: object | undefined,
  environment: Record<string, string>,
) {
  const began = performance.now()
  const child = spawn(process.execPath, command, {
    cwd: checkout,
    env: environmentWith(environment),
    stdio: ['ignore', 'pipe', 'inherit', ...(handle === undefined ? [] : [handle as Stream])],
  })
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the API ended with ${code}`)))
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { msg, url: where, level } = JSON.parse(line) as { msg: string; url?: string; level: number }
      if (level >= 40) process.stderr.write(`${line}\n`)
      if (msg === 'listening') resolve(String(where))
    })
  })
  const ask = (path: string) => fetch(`${url}${path}`, { headers: { authorization } })
  while ((await ask('/readyz')).status !== 200) {
    if (performance.now() - began > readyMs) throw new Error('the API is not ready')
    await pause(5)
  }
  return {
    url,
    pid: child.pid!,
    ask,
    coldMs: Math.round(performance.now() - began),
    async stop() {
      child.removeAllListeners('exit')
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}
