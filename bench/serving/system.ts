/** The product as it runs: embedded Postgres, one API process with everything on, both networks registered and routed. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '../../cli/embedded/postgres.ts'
import { insertKey } from '../../store/keys.ts'
import { migrate } from '../../store/migrate.ts'
import { openStore } from '../../store/postgres.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { nextRoute, register } from '../../test/support/registration.ts'
import { signingKeyOf } from '../../test/support/vouching.ts'
import type { ArtifactSpec } from '../../test/support/artifact.ts'

export interface MeasuredSystem {
  port: number
  /** Sent as the authorization header of every request. */
  authorization: string
  /** Of the API process and of Postgres. */
  pids: number[]
  /** From the start of the API process to its first good answer. */
  coldMs: number
  /** Rows of the prediction log by what became of them. */
  logged(): Promise<Record<string, number>>
  stop(): Promise<void>
}

const readyMs = 30_000

export async function startSystem(
  specs: readonly ArtifactSpec[],
  { nodeArgs = [] as string[], environment = {} as Record<string, string> } = {},
): Promise<MeasuredSystem> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-bench-'))
  // Postgres runs as another user when this one is root.
  chmodSync(root, 0o711)
  const postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  await migrate(postgres.url)
  const store = openStore(postgres.url, { name: 'bench' })
  const artifacts = join(root, 'artifacts')
  for (const spec of specs)
    await nextRoute(store, spec.model, { proven: await register(store, artifacts, spec) })
  const { key } = await insertKey(store, { name: 'bench', role: 'admin' })
  const began = performance.now()
  const child = spawn(process.execPath, [...nodeArgs, 'api/start.mjs'], {
    cwd: checkout,
    env: environmentWith({
      DATABASE_URL: postgres.url,
      TENURE_STATE: join(root, 'state'),
      TENURE_ARTIFACTS: artifacts,
      TENURE_SIGNING_KEY: signingKeyOf(artifacts),
      TENURE_PORT: '0',
      // Clients that only check an answer send no key; those that measure do, and it is checked.
      TENURE_PUBLIC_PREDICTIONS: 'on',
      TENURE_BUILD_ID: 'bench',
      ...environment,
    }),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const authorization = `Bearer ${key}`
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the API ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { msg, url, level } = JSON.parse(line) as { msg: string; url?: string; level: number }
      if (level >= 40) process.stderr.write(`${line}\n`)
      if (msg === 'listening') resolve(Number(new URL(String(url)).port))
    })
  })
  const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization } })
  while ((await ask('/v2/health/ready')).status !== 200) {
    if (performance.now() - began > readyMs) throw new Error('the API is not ready')
    await pause(5)
  }
  return {
    port,
    authorization,
    pids: [child.pid!, postgres.pid],
    coldMs: Math.round(performance.now() - began),
    async logged() {
      const text = await (await ask('/metrics')).text()
      const lines = text.matchAll(/^tenure_prediction_log_(?:total|rows)\{state="(\w+)"\} (\d+)/gm)
      return Object.fromEntries([...lines].map(([, state, count]) => [state!, Number(count)]))
    },
    async stop() {
      child.removeAllListeners('exit')
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
      await store.close()
      await postgres.stop()
      rmSync(root, { recursive: true, force: true })
    },
  }
}
