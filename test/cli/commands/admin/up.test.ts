/** Tests `tenure up` end to end on a fresh state: training, approval, predictions, restore and stop. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { findConnection } from '../../../../cli/client/connection.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runProgram } from '../../../../cli/program.ts'
import { reached } from '../../../faults/figures.ts'
import { startTenure, type Ended, type Running } from '../../../support/commands/tenure-process.ts'

let dir: string
let system: Running
let approverKey: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-up-'))
  system = startWith(secrets, 'up')
  await system.says(/Ctrl-C stops everything/)
})

afterAll(async () => {
  system.child.kill('SIGINT')
  await system.ended
  rmSync(dir, { recursive: true, force: true })
})

/** Secrets that only some processes receive, or none. */
const secrets = {
  TENURE_OIDC_CLIENT_SECRET: 'of-the-replicas',
  TENURE_MLFLOW_TOKEN: 'of-the-workers',
  TENURE_OWNER_DATABASE_URL: 'of-the-command',
}

function start(...words: string[]): Running {
  return startWith({}, ...words)
}

const startWith = (variables: Record<string, string>, ...words: string[]): Running =>
  startTenure({ TENURE_STATE: dir, ...variables }, words)

async function tenure(...words: string[]): Promise<Ended> {
  return start(...words).ended
}

/** Runs a command in this process, which saves a process start. */
async function here(...given: (string | Record<string, string>)[]): Promise<Ended> {
  const none = { DATABASE_URL: '', TEMPORAL_ADDRESS: '', TENURE_URL: '', TENURE_KEY: '', TENURE_STATE: dir }
  const variables = given.filter((each) => typeof each === 'object')
  const words = given.filter((each) => typeof each === 'string')
  for (const [name, value] of Object.entries(Object.assign(none, ...variables) as Record<string, string>))
    vi.stubEnv(name, value)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  try {
    return { code: await runProgram(commands, words, streams), out, err }
  } finally {
    vi.unstubAllEnvs()
  }
}

async function json<T>(...words: string[]): Promise<T> {
  const { code, out, err } = await here(...words, '--json')
  expect(err).toBe('')
  expect(code).toBe(exitCodes.done)
  return JSON.parse(out) as T
}

const parentOf = (pid: string): number =>
  Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

/** Returns running processes of this state directory. */
const leftOver = (): string[] => processesHere().map(({ pid, command }) => `${pid} ${command}`)

function processesHere(): { pid: string; command: string; environment: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
        // The compiler of this test's own process, started by a command that read model files.
        if (command.includes('/esbuild --service') && parentOf(pid) === process.pid) return []
        return command.includes(dir) || environment.includes(`TENURE_STATE=${dir}\0`)
          ? [{ pid, command, environment }]
          : []
      } catch {
        return []
      }
    })
}

describe('tenure up', () => {
  it('prints the first admin key once and stores a local key', async () => {
    const [, key] = await system.says(/Admin key\s+(tnr_\w+)/)
    expect(key).toBeDefined()
    expect(findConnection(dir)?.key).toMatch(/^tnr_/)
    expect(findConnection(dir)?.key).not.toBe(key)
    const { out } = await here({ TENURE_KEY: String(key) }, 'keys', '--json')
    const { keys } = JSON.parse(out) as { keys: { name: string; role: string }[] }
    expect(keys.map(({ name }) => name)).toEqual(['admin', 'local'])
  })

  it('refuses a second start on the same state directory', async () => {
    const { code, err } = await here('up')
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain(`already runs here as process ${system.child.pid}`)
    expect((await here('reset', '--yes')).code).toBe(exitCodes.usage)
  })

  it('refuses a start when two of its processes want one port', async () => {
    const other = mkdtempSync(join(tmpdir(), 'tenure-up-'))
    const ports = { TENURE_PORT: '7998', TENURE_POSTGRES_PORT: '7999' }
    const { code, err } = await startWith({ ...ports, TENURE_STATE: other }, 'up', '--replicas', '2').ended
    rmSync(other, { recursive: true })
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('replica 1 of the API (TENURE_PORT) and Postgres (TENURE_POSTGRES_PORT)')
  })

  it('lists the models without champions', async () => {
    const { models } = await json<{ models: { name: string; champion?: unknown }[] }>('models')
    expect(models.map(({ name }) => name)).toEqual(expect.arrayContaining(['flight-delay', 'iris']))
    expect(models.every(({ champion }) => champion === undefined)).toBe(true)
    const { models: synced } = await json<{ models: { name: string; change: string }[] }>('models', 'sync')
    expect(synced.every(({ change }) => change === 'unchanged')).toBe(true)
  })

  it('trains iris and opens a release that needs approval', async () => {
    const { code, out, err } = await tenure('retrain', 'iris', '--watch')
    expect(code, err).toBe(exitCodes.done)
    expect(out).toContain('release started')
    // Polling may miss a short step.
    expect(out).toMatch(/(snapshot|train) …\n/)
    expect(out).toMatch(/epoch 1 to \d+; loss/)
    // The retraining ends when the workflow of the release has started, a moment before its row is stored.
    const open = async () => (await json<{ releases: object[] }>('releases', '--open')).releases
    await expect.poll(open, { interval: 100 }).toMatchObject([{ version: 'iris_v1.0.0' }])
  })

  it('accepts the approval from another key only', async () => {
    const { key } = await json<{ key: string }>('keys', 'create', 'ada', '--role', 'approver')
    approverKey = key
    const awaited = async () => (await here('releases', 'show', 'iris')).out
    await expect.poll(awaited, { interval: 100 }).toContain('awaiting_approval')
    const own = await here('approve', 'iris')
    expect(own.code).toBe(exitCodes.refused)
    expect(own.err).toContain('someone else must approve')
    expect(own.err).toContain('tenure keys create <name> --role approver')
    const { code, out } = await here({ TENURE_KEY: key }, 'approve', 'iris', '--reason', 'looks right')
    expect(code).toBe(exitCodes.done)
    expect(out).toContain('approved by ada')
    const outcome = async () => (await json<{ outcome?: string }>('releases', 'show', 'iris')).outcome
    await expect.poll(outcome, { interval: 100 }).toBe('promoted')
  })

  it('serves the new champion', async () => {
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

  it('keeps its state from other users of the machine', () => {
    const open = readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .map((name) => ({ name, mode: statSync(join(dir, name), { throwIfNoEntry: false })?.mode ?? 0 }))
      .filter(({ mode }) => (mode & 0o077) !== 0)
    expect(open.map(({ name, mode }) => `${(mode & 0o777).toString(8)} ${name}`)).toEqual([])
    expect(statSync(dir).mode & 0o007).toBe(0)
  })

  it('starts every process without a secret in the environment that /proc shows', () => {
    const passwords = ['databaseUrl', 'readerUrl']
      .map((name) => (findConnection(dir) as Record<string, unknown> | undefined)?.[name])
      .flatMap((url) => (typeof url === 'string' ? new URL(url).password : []))
    expect(passwords.join('')).not.toBe('')
    const roles = {
      control: /activities\/worker\.ts control/,
      train: /activities\/worker\.ts train/,
      api: /api\/start\.mjs/,
      postgres: /bin\/postgres /,
      temporal: /server start-dev/,
    }
    // The command has what its user gave it, and what it starts in this moment may still be a copy of it.
    const started = processesHere().filter(({ command }) => !command.includes('tenure.mjs'))
    for (const [role, pattern] of Object.entries(roles))
      expect(
        started.some(({ command }) => pattern.test(command)),
        role,
      ).toBe(true)
    const holders = [...Object.values(secrets), ...passwords].flatMap((secret) =>
      started.filter(({ environment }) => environment.includes(secret)).map(({ command }) => command),
    )
    expect(holders).toEqual([])
    const servers = started.filter(({ command }) => /bin\/postgres |server start-dev/.test(command))
    expect(servers).toHaveLength(2)
    for (const { environment } of servers) expect(environment).not.toMatch(/TENURE_|DATABASE_URL/)
  })

  it('shows the history in status, champion, audit and releases', async () => {
    const status = await here('status')
    expect(status.code).toBe(exitCodes.done)
    expect(status.out).toContain('iris_v1.0.0')
    expect((await here('versions', 'iris')).out).toContain('iris_v1.0.0')
    expect((await here('models', 'champion', 'iris')).out).toContain('promotion (')
    expect((await here('models', 'champion', 'iris', '--at', '2001-01-01T00:00:00Z')).code).toBe(
      exitCodes.notFound,
    )
    expect((await here('audit', 'verify')).out).toContain('Audit log intact')
    expect((await here('audit')).out).toContain('iris')
    expect((await here('releases', '--model', 'iris')).out).toContain('promoted')
  })

  it('ends invalid commands with the documented exit codes', async () => {
    expect((await here('retrain', 'nothing')).code).toBe(exitCodes.notFound)
    expect((await here('releases', 'show', 'rel_nothing')).code).toBe(exitCodes.notFound)
    expect((await here('retrain', 'iris', '--as-of', 'tomorrow')).code).toBe(exitCodes.usage)
    expect((await here('keys', 'create', 'x', '--role', 'king')).code).toBe(exitCodes.usage)
    expect((await here({ TENURE_KEY: approverKey }, 'retrain', 'iris')).code).toBe(exitCodes.refused)
    expect((await here('approve', 'iris')).code).toBe(exitCodes.refused)
    expect((await here('keys', 'revoke', 'ada')).code).toBe(exitCodes.done)
    const revoked = async () => (await here({ TENURE_KEY: approverKey }, 'models')).code
    await expect.poll(revoked, { interval: 100 }).toBe(exitCodes.refused)
  })

  it.each([
    ['status'],
    ['models'],
    ['models', 'sync'],
    ['versions'],
    ['versions', 'iris'],
    ['versions', 'search', '--model', 'iris', '--metric', 'accuracy>0.1', '--order', 'accuracy'],
    ['versions', 'compare', 'iris@champion', 'iris_v1.0.0', '--all'],
    ['versions', 'card', 'iris'],
    ['models', 'champion', 'iris', '--at', 'now'],
    ['releases'],
    ['releases', 'show', 'iris', '--svg', join(tmpdir(), `tenure-up-${process.pid}.svg`)],
    ['drills'],
    ['batch'],
    ['kill-switches'],
    ['keys'],
    ['audit'],
    ['audit', 'verify'],
    ['simulate', '--releases', '2'],
    ['doctor'],
  ])('tenure %s %s prints text, and one JSON document with --json', async (...given) => {
    const words = given.map((word) => (word === 'now' ? new Date().toISOString() : word))
    // Problems of a busy machine that the doctor finds are gone a moment later.
    const run = async (...more: string[]): Promise<Ended> => {
      let ended: Ended | undefined
      const isDone = async () => (ended = await here(...words, ...more)).code === exitCodes.done
      await expect.poll(async () => (await isDone()) || words[0] !== 'doctor').toBe(true)
      return ended!
    }
    // A simulation prints its plan at once.
    const err = words[0] === 'simulate' ? expect.stringMatching(/^Simulating \d+ releases .+ …\n$/) : ''
    const text = await run()
    expect(text).toMatchObject({ code: exitCodes.done, err })
    expect(text.out.trim()).not.toBe('')
    expect(text.out).not.toContain('\u001b')
    expect(text.out).not.toMatch(/undefined|NaN|\[object/)
    const asJson = await run('--json')
    expect(asJson).toMatchObject({ code: exitCodes.done, err })
    expect(typeof JSON.parse(asJson.out)).toBe('object')
  })

  it('writes the charts of a release to an SVG file', async () => {
    const file = join(tmpdir(), `tenure-up-${process.pid}.svg`)
    const svg = readFileSync(file, 'utf8')
    rmSync(file)
    expect(svg).toMatch(/^<svg [\s\S]*<\/svg>\n$/)
    expect(svg).toContain('iris_v1.0.0')
    expect(svg).not.toMatch(/NaN|var\(--/)
  })

  it('passes the doctor, including workers and replicas', async () => {
    // A check on a busy machine may find a lease that is slightly late.
    const notOk = async () => {
      const { findings } = JSON.parse((await here('doctor', '--json')).out) as {
        findings: { check: string; state: string }[]
      }
      return ['API', 'database', 'migrations', 'replicas', 'workers', 'champions', 'signing keys'].filter(
        (check) => !findings.some((each) => each.check === check && each.state === 'ok'),
      )
    }
    await expect.poll(notOk, { interval: 100 }).toEqual([])
  })

  it('reports a wrong database password in the doctor', async () => {
    const url = new URL(findConnection(dir)!.databaseUrl)
    url.password = 'wrong'
    const { code, out } = await here({ DATABASE_URL: url.toString() }, 'doctor', '--json')
    expect(code).toBe(exitCodes.otherwise)
    expect(out).toContain('the password of tenure_app is wrong')
  })

  it('exports the champion', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenure-up-export-'))
    const made = await here('export', 'iris', join(folder, 'edge'), '--json')
    expect(JSON.parse(made.out)).toMatchObject({
      version: 'iris_v1.0.0',
      files: { 'predictor.js': expect.any(Number) },
    })
    expect((await here('export', 'iris', 'v9.9.9', join(folder, 'other'))).code).toBe(exitCodes.notFound)
    expect((await here('export', 'iris', join(folder, 'edge'))).code).toBe(exitCodes.usage)
    rmSync(folder, { recursive: true })
  })

  it('is backed up and restored while it runs, under a new epoch', async () => {
    const file = join(dir, 'running.tar')
    expect((await here('backup', file)).code).toBe(exitCodes.done)
    const { key } = await json<{ key: string }>('keys', 'create', 'late', '--role', 'viewer')
    expect((await here('restore', file)).err).toContain('--replace')
    const restored = await here('restore', file, '--replace', '--json')
    expect(restored).toMatchObject({ code: exitCodes.done, err: '' })
    const { epoch } = JSON.parse(restored.out) as { epoch: number }
    const followed = async () => {
      const answer = await fetch(`${findConnection(dir)?.url}/readyz`, {
        headers: { authorization: `Bearer ${findConnection(dir)?.key}` },
      })
      return ((await answer.json()) as { models?: { model: string; epoch: number }[] }).models?.find(
        ({ model }) => model === 'iris',
      )?.epoch
    }
    await expect.poll(followed, { interval: 200 }).toBe(epoch)
    expect((await here('audit', 'verify')).out).toContain('Audit log intact')
    // Keys created after the backup are invalid.
    const late = async () => (await here({ TENURE_KEY: key }, 'models')).code
    await expect.poll(late, { interval: 100 }).toBe(exitCodes.refused)
    expect((await here('status')).code).toBe(exitCodes.done)
  })

  it('answers every request while the supervisor is killed and started again', async () => {
    const { key } = await json<{ key: string }>('keys', 'create', 'crowd', '--role', 'predictor')
    const { url } = findConnection(dir)!
    const counts: Record<string, number> = {}
    let over = false
    let askedAgain = 0
    const ask = async (): Promise<void> => {
      for (let again = false; !over || again;) {
        const told = await fetch(`${url}/v1/models/iris/predict`, {
          method: 'POST',
          // Every other request needs a new connection.
          headers: {
            authorization: `Bearer ${key}`,
            'content-type': 'application/json',
            ...(Math.random() < 0.5 && { connection: 'close' }),
          },
          body: JSON.stringify({
            instances: [{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }],
          }),
        }).then(
          async (answer) =>
            (await answer.text()).includes('"overloaded"') ? 'overloaded' : String(answer.status),
          (error: Error & { cause?: { code?: string } }) => error.cause?.code ?? error.message,
        )
        // A connection may be closed while it is reused. Clients then retry once.
        again = told === 'UND_ERR_SOCKET' && !again
        if (again) askedAgain++
        // A replica on a busy machine refuses requests that have waited for 250 ms.
        else if (told !== 'overloaded') counts[told] = (counts[told] ?? 0) + 1
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    // A replica that has compiled itself has a compiler next to it.
    const isApi = (line: string) => /api\/start\.mjs|\/esbuild --service/.test(line)
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(200)
    const callers = Array.from({ length: 4 }, ask)
    const replicas = () => leftOver().filter((line) => line.includes('api/start.mjs'))
    const before = replicas()
    expect(before).toHaveLength(1)
    system.child.kill('SIGKILL')
    await system.ended
    // Workers first finish the work that they have begun.
    await expect.poll(() => leftOver().filter((line) => !isApi(line))).toEqual([])
    const doctor = await here('doctor', '--json')
    expect(doctor.out).toMatch(/supervisor was killed/)

    system = start('up')
    await system.says(/Ctrl-C stops everything/)
    expect(replicas()).toHaveLength(1)
    expect(replicas()).not.toEqual(before)
    const alone = counts['200'] ?? 0
    await expect.poll(() => counts['200'] ?? 0).toBeGreaterThan(alone + 20)
    over = true
    await Promise.all(callers)
    expect(counts).toEqual({ 200: expect.any(Number) as number })
    // At most once at the end of each of the four replicas.
    expect(askedAgain).toBeLessThanOrEqual(4)
    expect(findConnection(dir)?.url).toBe(url)
    reached('F47', `${counts['200']} of ${counts['200']} requests answered`)
  })

  it('stops everything on Ctrl-C and keeps its data for the next start', async () => {
    system.child.kill('SIGINT')
    const { code, err } = await system.ended
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    // The compilers of its processes end shortly after them.
    await expect.poll(leftOver).toEqual([])
    expect((await here('models')).code).toBe(exitCodes.unreachable)

    system = start('up')
    await system.says(/Ctrl-C stops everything/)
    const { models } = await json<{ models: { name: string; champion?: { version: string } }[] }>('models')
    expect(models.find(({ name }) => name === 'iris')?.champion?.version).toBe('iris_v1.0.0')

    system.child.kill('SIGINT')
    await system.ended
    const stopped = await here('doctor', '--deep', '--json')
    expect(stopped.code).toBe(exitCodes.done)
    for (const check of ['database', 'migrations', 'champions', 'signing keys'])
      expect(stopped.out).toMatch(new RegExp(`"check": "${check}",\\s*"state": "ok"`))
    // The check connects as the owner, which no process does.
    expect(stopped.out).not.toContain('"check": "roles"')
    expect((await here('restore', join(dir, 'running.tar'), '--replace')).code).toBe(exitCodes.done)
    expect((await tenure('reset', '--yes')).code).toBe(exitCodes.done)
    await expect.poll(leftOver).toEqual([])
  })
})
