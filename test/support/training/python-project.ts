/**
 * Makes a project in Python from a CSV in an empty folder and follows it on real processes, with the commands of a user: init, check, up, retrain,
 * approve, predict.
 */
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { checkout, environmentWith } from '../../../temporal.config.ts'

const program = join(checkout, 'cli', 'tenure.mjs')
const rows = 2_000
/** A returned order cost much; every tenth row says the opposite. */
const orders = [
  'order_id,placed,unit price,pieces,channel,returned',
  ...Array.from({ length: rows }, (_, row) => {
    const price = 5 + ((row * 37) % 95)
    const placed = new Date(Date.UTC(2026, 0, 1) + row * 3_600_000).toISOString()
    const returned = price > 50 === row % 10 > 0 ? 'yes' : 'no'
    return [row, placed, price, 1 + ((row * 7) % 5), ['web', 'shop', 'phone'][row % 3], returned].join()
  }),
].join('\n')

interface Answer {
  version: string
  predictions: { probability: number }[]
}

interface Watched {
  /** Changes the model file that `init` wrote. */
  edit?: (text: string) => string
  /** Files of the folder `models` and their contents. */
  files?: Record<string, string | Buffer>
  /** Receives all that `retrain --watch` has said so far, and all lines of `up`. */
  onWatch?: (said: string, up: string) => void
  /** Receives what `retrain --watch` has printed in the end. */
  onRetrained?: (text: string) => void
  /** Runs while the first champion serves. */
  whileUp?: (at: {
    url: string
    /** A key for predictions. */
    key: string
    /** The folder of the project. */
    project: string
    /** A time that the rows reach. */
    asOf: string
    /** Runs the command there, and returns what it prints. */
    tenure: (words: string[], changes?: Record<string, string>) => Promise<string>
    keyOf: (name: string, role: string) => Promise<string>
  }) => Promise<void>
}

/** Returns the answers of the first champion to an expensive and a cheap order. */
export async function followPythonProject({
  edit = (text) => text,
  files = {},
  onWatch = () => {},
  onRetrained = () => {},
  whileUp,
}: Watched = {}): Promise<Answer> {
  const folder = await mkdtemp(join(tmpdir(), 'tenure-in-python-'))
  // Postgres runs as another user when this one is root.
  await chmod(folder, 0o711)
  const ports = { TENURE_PORT: '0', TENURE_POSTGRES_PORT: '0', TENURE_TEMPORAL_PORT: '0' }
  const own = { DATABASE_URL: undefined, TEMPORAL_ADDRESS: undefined, TENURE_PROJECT: undefined }
  const env = environmentWith({ ...ports, ...own })
  const tenure = async (words: string[], changes: Record<string, string> = {}) => {
    const options = { cwd: folder, env: { ...env, ...changes } }
    try {
      const running = promisify(execFile)(process.execPath, [program, ...words], options)
      if (words.includes('--watch')) {
        let said = ''
        running.child.stderr?.on('data', (text: string) => onWatch((said += text), log))
      }
      return (await running).stdout
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      throw new Error(`tenure ${words.join(' ')} failed:\n${stdout}${stderr}`)
    }
  }
  let log = ''
  const json = async <T>(words: string[]) => JSON.parse(await tenure([...words, '--json'])) as T
  let up: ChildProcess | undefined
  try {
    await writeFile(join(folder, 'orders.csv'), orders)
    const { file, asOf } = await json<{ file: string; asOf: string }>([
      'init',
      '--python',
      '--from',
      'orders.csv',
      '--label',
      'returned',
      '--yes',
    ])
    assert.equal(file, 'models/orders.py')
    const path = join(folder, file)
    await writeFile(path, edit(await readFile(path, 'utf8')))
    for (const [name, content] of Object.entries(files))
      await writeFile(join(folder, 'models', name), content)
    const { ok, models } = await json<{ ok: boolean; models: Record<string, unknown>[] }>(['check'])
    assert.ok(ok)
    assert.deepEqual(
      models.map(({ name, read, issues }) => ({ name, read, issues })),
      [{ name: 'orders', read: 1_000, issues: [] }],
    )
    up = spawn(process.execPath, [program, 'up'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [up.stdout, up.stderr])
      stream?.on('data', (text: Buffer) => (log += text.toString()))
    const status = () => json<{ url: string; models: { name: string; champion?: unknown }[] }>(['status'])
    await until(async () => (await status().catch(() => undefined))?.models.length === 1)
    const retrained = await tenure(['retrain', 'orders', '--as-of', asOf, '--watch'])
    assert.match(retrained, /passed/)
    onRetrained(retrained)
    const { url } = await status()
    const keyOf = async (name: string, role: string) =>
      (await json<{ key: string }>(['keys', 'create', name, '--role', role])).key
    const ada = { TENURE_URL: url, TENURE_KEY: await keyOf('ada', 'approver') }
    // It is qualified first.
    await until(async () => !(await tenure(['approve', 'orders'], ada).catch(String)).includes('qualifying'))
    const key = await keyOf('shop', 'predictor')
    const ask = async (): Promise<Answer | undefined> => {
      const instances = [90, 9].map((price) => ({ unit_price: price, pieces: 3, channel: 'web' }))
      const response = await fetch(`${url}/v1/models/orders/predict`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ instances }),
      })
      return response.ok ? ((await response.json()) as Answer) : undefined
    }
    let answer: Answer | undefined
    await until(async () => (answer = await ask())?.version === 'orders_v1.0.0')
    await whileUp?.({ url, key, project: folder, asOf, tenure, keyOf })
    return answer!
  } finally {
    if (up !== undefined) {
      up.kill('SIGINT')
      await once(up, 'exit')
    }
    await rm(folder, { recursive: true })
  }
}

const attempts = 300

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (await isDone()) return
    await pause(500)
  }
  throw new Error('the project went no further')
}
