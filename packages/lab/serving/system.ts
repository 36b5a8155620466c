/** Starts the product for a measurement: embedded Postgres, one API process with all features, and the models to be measured. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Stream } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { bindSharedPort } from '../../../cli/supervisor/shared-port.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import type { ArtifactSpec } from '../../../test/support/serving/artifact.ts'
import {
  openDatabase,
  prepareServing,
  type BenchDatabase,
} from '../../../test/support/servers/private-database.ts'
import { residentMb } from '../../../test/support/servers/processes.ts'

export type MeasuredSystem = Awaited<ReturnType<typeof startServingSystem>>

export interface ServingMode {
  environment?: Record<string, string>
  /** Processes on one port. */
  replicas?: number
}

const readyMs = 30_000

/** The flags of the supervisor: a small young generation saves memory without measurable cost. */
const command = ['--max-semi-space-size=2', 'api/start.mjs']

/** `prepare` registers further versions before the first start. `own`: further variables of every API process. */
export async function startServingSystem(
  specs: readonly ArtifactSpec[],
  prepare: (database: BenchDatabase, artifacts: string) => Promise<void> = async () => {},
  own: Record<string, string> = {},
) {
  const database = await openDatabase()
  const environment = await prepareServing(database, specs)
  await prepare(database, environment['TENURE_ARTIFACTS']!)
  const { key } = await insertKey(database.store, { name: 'bench', role: 'admin' })
  const authorization = `Bearer ${key}`
  // Checks send no key; measured requests do.
  const start = (state: string, more: Record<string, string> = {}, handle?: object) =>
    startApi(authorization, handle, {
      ...environment,
      TENURE_STATE: join(database.root, state),
      TENURE_PORT: '0',
      TENURE_BUILD_ID: 'bench',
      ...own,
      ...more,
    })
  // The first start fills the caches; the measured start finds them, as a restarted replica does.
  await (await start('state')).stop()
  const api = await start('state')
  // Includes modules that are loaded after the first responses.
  await api.ask('/metrics')
  const beside: { stop(): Promise<void> }[] = []
  return {
    url: api.url,
    /** Authorization header of the requests. */
    authorization,
    pid: api.pid,
    /** Milliseconds from start to ready with a cached artifact, and the memory then, in MB. */
    coldMs: api.coldMs,
    restRss: residentMb(api.pid),
    /** Starts the product in another mode on the same database; ended with the system. */
    async startBeside({ environment: more, replicas = 1 }: ServingMode) {
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
    /** Rows of the prediction log by state. */
    async logged(): Promise<Record<string, number>> {
      const lines = (await (await api.ask('/metrics')).text()).matchAll(
        /^tenure_prediction_log_(?:total|rows)\{state="(\w+)"\} (\d+)/gm,
      )
      return Object.fromEntries([...lines].map(([, state, count]) => [state!, Number(count)]))
    },
    async stop() {
      await Promise.all([api, ...beside].map((each) => each.stop()))
      await database.stop()
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
      child.removeAllListeners('exit').kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}
