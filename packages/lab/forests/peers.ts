/** Installs and starts the Python servers of the forests bench, each in a separate environment in the cache. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from '@tenure/embedded'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'
import { familyOf } from '../../../test/support/servers/freeze.ts'

export const forestNames = ['300x31', '1000x64'] as const
export type ForestName = (typeof forestNames)[number]
export type ForestRows = readonly (readonly number[])[]

export interface ForestPeer {
  name: string
  url(forest: ForestName): string
  body(rows: ForestRows): object
}

const lightgbm = 'lightgbm==4.7.0'
const environments: Record<string, readonly string[]> = {
  fastapi: [
    'fastapi==0.165.0',
    'uvicorn[standard]==0.54.0',
    lightgbm,
    'onnxruntime==1.31.1',
    'onnx==1.23.2',
    'numpy==2.4.6',
  ],
  mlserver: ['mlserver==1.7.1', 'mlserver-lightgbm==1.7.1', lightgbm, 'uvloop==0.21.0', 'numpy==2.4.6'],
  kserve: ['kserve==0.21.0', lightgbm, 'numpy==2.4.6'],
}
const programs = fileURLToPath(new URL('.', import.meta.url))
const readyMs = 120_000

/** Returns the Python of an environment, which is made once. */
export function pythonOf(environment: keyof typeof environments): string {
  const home = join(cacheDir(), 'bench-forests', environment)
  const python = join(home, 'bin', 'python')
  if (existsSync(join(home, 'ready'))) return python
  rmSync(home, { recursive: true, force: true })
  execFileSync('python3', ['-m', 'venv', home])
  const packages = environments[environment]!
  process.stderr.write(`installing ${packages.join(', ')}\n`)
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', ...packages], { stdio: 'inherit' })
  writeFileSync(join(home, 'ready'), '')
  return python
}

/** Makes the models NAME.txt and NAME.onnx in the folder. */
export function prepareForests(folder: string): void {
  const script = fileURLToPath(new URL('../../predictors/bench/predictors.py', import.meta.url))
  execFileSync(pythonOf('fastapi'), [script, 'prepare', folder], { stdio: ['ignore', 'ignore', 'inherit'] })
}

export async function startForestPeer(
  name: string,
  { folder, sample }: { folder: string; sample: ForestRows },
): Promise<ForestPeer & { stop(): Promise<void> }> {
  const port = await freePort()
  const base = `http://127.0.0.1:${port}`
  const isOwnWords = name.startsWith('fastapi')
  const peer: ForestPeer = {
    name,
    url: (forest) => (isOwnWords ? `${base}/${forest}` : `${base}/v2/models/${forest}/infer`),
    body: isOwnWords ? (rows) => ({ instances: rows }) : inferenceBody,
  }
  const child = name.startsWith('mlserver')
    ? spawn(join(pythonOf('mlserver'), '..', 'mlserver'), ['start', await writeSettings(folder)], {
        // MLServer writes a folder of metrics into its working directory.
        cwd: folder,
        env: environmentWith({
          MLSERVER_HOST: '127.0.0.1',
          MLSERVER_HTTP_PORT: String(port),
          MLSERVER_GRPC_PORT: String(await freePort()),
          MLSERVER_METRICS_PORT: String(await freePort()),
          MLSERVER_DEBUG: 'false',
          MLSERVER_PARALLEL_WORKERS: name === 'mlserver-w0' ? '0' : '1',
          OMP_NUM_THREADS: '1',
        }),
        stdio: 'ignore',
      })
    : spawn(
        pythonOf(name === 'kserve' ? 'kserve' : 'fastapi'),
        [join(programs, 'peers.py'), name, String(port), folder],
        { env: environmentWith({ OMP_NUM_THREADS: '1' }), stdio: 'ignore' },
      )
  const stop = async () => {
    if (child.exitCode !== null) return
    const members = familyOf(child.pid!)
    const ended = once(child, 'exit')
    for (const pid of members)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended meanwhile.
      }
    await ended
  }
  const until = performance.now() + readyMs
  while (!(await answers(peer, sample))) {
    if (child.exitCode !== null || performance.now() > until) {
      await stop()
      throw new Error(`${name} does not respond`)
    }
    await pause(200)
  }
  return { ...peer, stop }
}

export const inferenceBody = (rows: ForestRows): object => ({
  id: 'b0c1',
  inputs: [{ name: 'input', shape: [rows.length, rows[0]!.length], datatype: 'FP64', data: rows.flat() }],
})

/** Makes one folder per model, as MLServer reads them; returns their parent. */
async function writeSettings(folder: string): Promise<string> {
  const all = join(folder, 'mlserver')
  for (const name of forestNames) {
    mkdirSync(join(all, name), { recursive: true })
    const settings = {
      name,
      implementation: 'mlserver_lightgbm.LightGBMModel',
      parameters: { uri: join(folder, `${name}.txt`) },
    }
    writeFileSync(join(all, name, 'model-settings.json'), JSON.stringify(settings))
  }
  return all
}

async function answers(peer: ForestPeer, sample: ForestRows): Promise<boolean> {
  try {
    for (const forest of forestNames) {
      const answer = await fetch(peer.url(forest), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(peer.body(sample)),
      })
      await answer.arrayBuffer()
      if (answer.status !== 200) return false
    }
    return true
  } catch {
    return false
  }
}
