/** The whole system as a person starts it: `tenure up` on a fresh state, a model trained, approved, asked, and everything ended. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findConnection } from '../../cli/connection.ts'
import { exitCodes } from '../../cli/exit.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'

interface Ended {
  code: number | null
  out: string
  err: string
}

let dir: string
let system: Running
let approverKey: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-up-'))
  system = start('up')
  await system.says(/Ctrl-C stops everything/)
}, 120_000)

afterAll(async () => {
  system.child.kill('SIGINT')
  await system.ended
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

interface Running {
  child: ChildProcess
  ended: Promise<Ended>
  says(pattern: RegExp): Promise<RegExpMatchArray>
}

function start(...words: string[]): Running {
  return startWith({}, ...words)
}

function startWith(variables: Record<string, string>, ...words: string[]): Running {
  const ports = Object.fromEntries(
    ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT', 'TENURE_TEMPORAL_UI_PORT'].map((name) => [
      name,
      '0',
    ]),
  )
  const none = Object.fromEntries(
    ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'TENURE_URL', 'TENURE_KEY'].map((name) => [name, '']),
  )
  const child = spawn(process.execPath, [join(checkout, 'cli/tenure.mjs'), ...words], {
    cwd: tmpdir(),
    env: environmentWith({ ...ports, ...none, TENURE_STATE: dir, ...variables }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, out, err })))
  return {
    child,
    ended,
    async says(pattern) {
      let over = false
      void ended.then(() => (over = true))
      for (;;) {
        const found = pattern.exec(out)
        if (found) return found
        if (over) throw new Error(`it ended before it said ${pattern}: ${out}${err}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
  }
}

async function tenure(...words: string[]): Promise<Ended> {
  return start(...words).ended
}

async function json<T>(...words: string[]): Promise<T> {
  const { code, out, err } = await tenure(...words, '--json')
  expect(err).toBe('')
  expect(code).toBe(exitCodes.done)
  return JSON.parse(out) as T
}

/** Processes that belong to this state directory. */
function leftOver(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
        return command.includes(dir) || environment.includes(`TENURE_STATE=${dir}\0`)
          ? [`${pid} ${command}`]
          : []
      } catch {
        return []
      }
    })
}

describe('tenure up', () => {
  it('shows the first admin key once, and keeps one for this machine', async () => {
    const [, key] = await system.says(/Admin key\s+(tnr_\w+)/)
    expect(key).toBeDefined()
    expect(findConnection(dir)?.key).toMatch(/^tnr_/)
    expect(findConnection(dir)?.key).not.toBe(key)
    const { out } = await startWith({ TENURE_KEY: String(key) }, 'keys', '--json').ended
    const { keys } = JSON.parse(out) as { keys: { name: string; role: string }[] }
    expect(keys.map(({ name }) => name)).toEqual(['admin', 'local'])
  })

  it('shows it also when the start is interrupted after it was made', async () => {
    const fresh = mkdtempSync(join(tmpdir(), 'tenure-up-'))
    const interrupted = startWith({ TENURE_STATE: fresh }, 'up')
    await interrupted.says(/ api +info +listening|takes tasks/)
    interrupted.child.kill('SIGINT')
    const { code, out, err } = await interrupted.ended
    expect(code, err).toBe(exitCodes.interrupted)
    expect(out).toMatch(/Admin key +tnr_/)
    rmSync(fresh, { recursive: true })
  })

  it('is not started twice on one state', async () => {
    const { code, err } = await tenure('up')
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain(`already runs here as process ${system.child.pid}`)
    expect((await tenure('reset', '--yes')).code).toBe(exitCodes.usage)
  })

  it('knows the models, and no champion yet', async () => {
    const { models } = await json<{ models: { name: string; champion?: unknown }[] }>('models')
    expect(models.map(({ name }) => name)).toEqual(expect.arrayContaining(['flight-delay', 'iris']))
    expect(models.every(({ champion }) => champion === undefined)).toBe(true)
    const { models: synced } = await json<{ models: { name: string; change: string }[] }>('models', 'sync')
    expect(synced.every(({ change }) => change === 'unchanged')).toBe(true)
  })

  it('trains iris and asks for an approval', async () => {
    const { code, out, err } = await tenure('retrain', 'iris', '--watch')
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    expect(out).toContain('released')
    const { releases } = await json<{ releases: { version: string; outcome?: string }[] }>(
      'releases',
      '--open',
    )
    expect(releases).toMatchObject([{ version: 'iris_v1.0.0' }])
  }, 120_000)

  it('takes the approval from another key only', async () => {
    const { key } = await json<{ key: string }>('keys', 'create', 'ada', '--role', 'approver')
    approverKey = key
    const awaited = async () => (await tenure('release', 'show', 'iris')).out
    await expect.poll(awaited, { timeout: 30_000, interval: 500 }).toContain('awaiting_approval')
    const own = await tenure('approve', 'iris')
    expect(own.code).toBe(exitCodes.refused)
    expect(own.err).toContain('cannot approve')
    const { code, out } = await startWith({ TENURE_KEY: key }, 'approve', 'iris', '--reason', 'looks right')
      .ended
    expect(code).toBe(exitCodes.done)
    expect(out).toContain('approved by ada')
    const outcome = async () => (await json<{ outcome?: string }>('release', 'show', 'iris')).outcome
    await expect.poll(outcome, { timeout: 60_000, interval: 500 }).toBe('promoted')
  }, 120_000)

  it('answers with the new champion', async () => {
    const { key } = await json<{ key: string }>('keys', 'create', 'shop', '--role', 'predictor')
    const answer = await fetch(`${findConnection(dir)?.url}/v1/models/iris/predict`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        instances: [{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }],
      }),
    })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      model: 'iris',
      version: 'iris_v1.0.0',
      arm: 'champion',
      predictions: [{ label: 'setosa' }],
    })
  })

  it('shows what has happened, in words and as data', async () => {
    const status = await tenure('status')
    expect(status.code).toBe(exitCodes.done)
    expect(status.out).toContain('iris_v1.0.0')
    expect((await tenure('versions', 'iris')).out).toContain('iris_v1.0.0')
    expect((await tenure('live-at', 'iris', new Date().toISOString())).out).toContain('promotion (')
    expect((await tenure('live-at', 'iris', '2001-01-01T00:00:00Z')).code).toBe(exitCodes.notFound)
    expect((await tenure('audit', 'verify')).out).toContain('unbroken')
    expect((await tenure('audit')).out).toContain('iris')
    expect((await tenure('releases', '--model', 'iris')).out).toContain('promoted')
  }, 120_000)

  it('answers wrong commands with their own exit codes', async () => {
    expect((await tenure('retrain', 'nothing')).code).toBe(exitCodes.notFound)
    expect((await tenure('release', 'show', 'rel_nothing')).code).toBe(exitCodes.notFound)
    expect((await tenure('retrain', 'iris', '--as-of', 'tomorrow')).code).toBe(exitCodes.usage)
    expect((await tenure('keys', 'create', 'x', '--role', 'king')).code).toBe(exitCodes.usage)
    expect((await startWith({ TENURE_KEY: approverKey }, 'retrain', 'iris').ended).code).toBe(
      exitCodes.refused,
    )
    expect((await tenure('approve', 'iris')).code).toBe(exitCodes.refused)
    expect((await tenure('keys', 'revoke', 'ada')).code).toBe(exitCodes.done)
    const revoked = async () => (await startWith({ TENURE_KEY: approverKey }, 'models').ended).code
    await expect.poll(revoked, { timeout: 10_000, interval: 500 }).toBe(exitCodes.refused)
  }, 120_000)

  it('ends everything with Ctrl-C, and goes on from there when started again', async () => {
    system.child.kill('SIGINT')
    const { code, err } = await system.ended
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    expect(leftOver()).toEqual([])
    expect((await tenure('models')).code).toBe(exitCodes.unreachable)

    system = start('up')
    await system.says(/Ctrl-C stops everything/)
    const { models } = await json<{ models: { name: string; champion?: { version: string } }[] }>('models')
    expect(models.find(({ name }) => name === 'iris')?.champion?.version).toBe('iris_v1.0.0')

    system.child.kill('SIGINT')
    await system.ended
    expect((await tenure('reset', '--yes')).code).toBe(exitCodes.done)
    expect(leftOver()).toEqual([])
  }, 120_000)
})
