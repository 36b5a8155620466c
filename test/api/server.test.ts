/** Tests the `api` process as started in production: on sockets, with signals, and with a Postgres that freezes and dies. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { migrate } from '../../store/database/migrate.ts'
import { keepHeartbeat, listHeartbeats } from '../../store/maintenance/worker-heartbeats.ts'
import { marksOf } from '../../workflows/client/payload-keys.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { irisRow, irisSpec } from '../support/serving/artifact.ts'
import { freeze } from '../support/servers/freeze.ts'
import { placePostgres } from '../support/servers/own-servers.ts'
import { servingFixtureOn, until, type ServingFixture } from '../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../support/serving/sign-versions.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-server-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
let fixture: ServingFixture
let key: string
const children = new Set<ChildProcess>()

beforeAll(async () => {
  await placePostgres(join(root, 'postgres'))
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  fixture = servingFixtureOn({ databaseUrl: postgres.url, artifactRoot: join(root, 'artifacts') })
  key = await fixture.key({ role: 'admin' })
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
})
afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL')
    await new Promise((resolve) =>
      child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(0),
    )
  }
  children.clear()
})
afterAll(async () => {
  await fixture.close()
  await postgres.stop()
  rmSync(root, { recursive: true, force: true })
})

interface Process {
  url: string
  child: ChildProcess
  lines: Record<string, unknown>[]
  errors: string[]
  exited: Promise<number | null>
}

async function startProcess(
  options: { stateDir?: string; environment?: Record<string, string>; awaitReady?: boolean } = {},
): Promise<Process> {
  const child = spawn(process.execPath, ['api/start.mjs'], {
    cwd: checkout,
    env: environmentWith({
      DATABASE_URL: postgres.url,
      TENURE_STATE: options.stateDir ?? mkdtempSync(join(root, 'state-')),
      TENURE_ARTIFACTS: fixture.artifactRoot,
      TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
      TENURE_PORT: '0',
      TENURE_BUILD_ID: 'test',
      ...options.environment,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  const lines: Record<string, unknown>[] = []
  const errors: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push(JSON.parse(line) as Record<string, unknown>),
  )
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  await until(() => lines.some(({ msg }) => msg === 'listening') || child.exitCode !== null, 'the socket')
  const url = String(lines.find(({ msg }) => msg === 'listening')?.['url'])
  if (options.awaitReady !== false)
    await until(async () => (await fetch(`${url}/readyz`)).status === 200, `ready: ${JSON.stringify(lines)}`)
  return { url, child, lines, errors, exited }
}

const body = JSON.stringify({ instances: [irisRow] })
const predict = (
  url: string,
  content: string | Buffer = body,
  headers: Record<string, string> = { authorization: `Bearer ${key}` },
) =>
  fetch(`${url}/v1/models/iris/predict`, {
    method: 'POST',
    body: content,
    headers: { 'content-type': 'application/json', ...headers },
  })

/** Announces a body of this many bytes and sends none of it; the refusal could close the connection while it was being sent. */
const announce = (url: string, bytes: number) =>
  new Promise<Response>((resolve, reject) => {
    const sent = httpRequest(`${url}/v1/models/iris/predict`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'content-length': bytes,
      },
    })
    sent.on('error', reject)
    sent.on('response', (found) => {
      const { statusCode: status, headers } = found
      found.setEncoding('utf8')
      let told = ''
      found.on('data', (part: string) => (told += part))
      found.on('end', () => {
        resolve(new Response(told, { status, headers: { 'content-type': headers['content-type'] ?? '' } }))
        sent.destroy()
      })
    })
    sent.flushHeaders()
  })

/** Resolves when the connection ends. */
function speak(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes))
    let answer = ''
    socket
      .on('data', (chunk: Buffer) => (answer += chunk.toString()))
      .on('error', reject)
      .on('close', () => resolve(answer))
  })
}

const modes = ['on', 'off'] as const

describe('the process', () => {
  it.each(modes)('serves and refuses predictions with the fast path %s', async (mode) => {
    const { url, lines } = await startProcess({ environment: { TENURE_FAST_PATH: mode } })
    const right = await predict(url)
    expect(right.status).toBe(200)
    expect(await right.json()).toMatchObject({
      model: 'iris',
      version: 'iris_v1.0.0',
      predictions: [{ label: expect.any(String) }],
    })
    const refusals: [Promise<Response>, number, string][] = [
      [predict(url, body, {}), 401, 'unauthenticated'],
      [predict(url, body, { authorization: 'Bearer x' }), 401, 'unauthenticated'],
      [predict(url, '{'), 400, 'body_not_json'],
      [predict(url, Buffer.from([0x7b, 0xff])), 400, 'body_not_json'],
      [announce(url, 4_194_305), 413, 'body_too_large'],
      [
        fetch(`${url}/v1/models/tulip/predict`, {
          method: 'POST',
          body,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        }),
        404,
        'model_not_found',
      ],
      [
        fetch(`${url}/v1/models/%ff/predict`, {
          method: 'POST',
          body,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        }),
        404,
        'model_not_found',
      ],
      [
        fetch(`${url}/v1/models/iris/predict`, { headers: { authorization: `Bearer ${key}` } }),
        405,
        'method_not_allowed',
      ],
      [
        fetch(`${url}/v1/models/a/b/predict`, {
          method: 'POST',
          headers: { authorization: `Bearer ${key}` },
        }),
        404,
        'not_found',
      ],
    ]
    for (const [answer, status, code] of refusals) {
      const problem = await answer
      expect(problem.headers.get('content-type')).toBe('application/problem+json')
      expect([problem.status, ((await problem.json()) as { code: string }).code]).toEqual([status, code])
    }
    const metrics = await (
      await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
    ).text()
    expect(metrics).toContain('tenure_refusals_total{code="unauthenticated"} 2')
    expect(JSON.stringify(lines)).not.toContain(key)
    const chunked = await speak(
      url,
      `POST /v1/models/iris/predict HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${key}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n` +
        Array.from(body, (character) => `1\r\n${character}\r\n`).join('') +
        '0\r\n\r\n',
    )
    expect(chunked).toMatch(/^HTTP\/1.1 200 /)
  })

  it('reports all configuration problems and exits with 1', async () => {
    const { exited, lines } = await startProcess({
      awaitReady: false,
      environment: { TENURE_PORT: 'x', LOG_LEVEL: 'loud' },
    })
    expect(await exited).toBe(1)
    expect(lines.at(-1)?.['msg']).toMatch(/2 issues: TENURE_PORT .*LOG_LEVEL/)
  })

  it('serves without the payload key of the workers, and says at its start that commands fail', async () => {
    const marks = marksOf([{ id: 'a', secret: Buffer.alloc(32, 1) }])
    const workerOf = { kind: 'control', process: 'elsewhere/1', queue: 'q', payloadKeys: marks } as const
    const worker = keepHeartbeat(fixture.store, workerOf, () => {})
    await until(async () => (await listHeartbeats(fixture.store)).length > 0, 'a heartbeat')
    const { url, lines } = await startProcess()
    const issue =
      'the worker elsewhere/1 encrypts with the payload key "a", and it is missing in TENURE_PAYLOAD_KEYS of this process'
    await until(() => lines.some((line) => line['issue'] === issue && line['level'] === 50), 'the error line')
    const headers = { authorization: `Bearer ${key}` }
    const ready = await fetch(`${url}/readyz`, { headers })
    expect([ready.status, await ready.json()]).toMatchObject([
      200,
      { status: 'ready', temporal: { trouble: 'payload_keys', detail: issue } },
    ])
    expect(await (await fetch(`${url}/readyz`)).json()).toEqual({ status: 'ready' })
    expect((await predict(url)).status).toBe(200)
    await worker.stop()
  })

  it('continues after errors of its socket', async () => {
    // No system limit makes this version of Node report a failed accept.
    const preload = `import { Server } from 'node:net'
      const { listen } = Server.prototype
      Server.prototype.listen = function (...given) {
        process.on('SIGUSR2', () => this.emit('error', new Error('accept EMFILE')))
        return listen.apply(this, given)
      }`
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(preload)}`
    const { url, child, lines } = await startProcess({ environment: { NODE_OPTIONS } })
    const count = () => lines.filter(({ msg }) => msg === 'a connection could not be accepted').length
    child.kill('SIGUSR2')
    await until(() => count() === 1 || child.exitCode !== null, 'the report')
    child.kill('SIGUSR2')
    expect((await predict(url)).status).toBe(200)
    expect(count()).toBe(1)
  })

  it.each(modes)('exits with 0 on SIGTERM without a failed request, fast path %s', async (mode) => {
    const { url, child, exited, lines } = await startProcess({ environment: { TENURE_FAST_PATH: mode } })
    const { hostname, port } = new URL(url)
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const results: string[] = []
    let going = true
    const ask = () =>
      new Promise<void>((resolve) => {
        const call = httpRequest(
          {
            agent,
            hostname,
            port,
            path: '/v1/models/iris/predict',
            method: 'POST',
            headers: { authorization: `Bearer ${key}` },
          },
          (answer) => {
            let text = ''
            answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
            answer.on('end', () => {
              // A machine that is too busy for eight clients refuses requests, during shutdown and otherwise.
              const isBusy = text.includes('"code":"overloaded"')
              results.push(isBusy ? 'overloaded' : String(answer.statusCode))
              resolve()
            })
          },
        )
        call.on('error', (error: NodeJS.ErrnoException) => {
          results.push(error.code ?? 'error')
          resolve()
        })
        call.end(body)
      })
    const callers = Array.from({ length: 8 }, async () => {
      while (going) await ask()
    })
    await until(() => results.length > 200, 'some traffic')
    child.kill('SIGTERM')
    // The clients continue until the process has ended. On an idle machine that takes at most 3.5 s.
    expect(await exited).toBe(0)
    going = false
    await Promise.all(callers)
    agent.destroy()
    // The process accepts no new connection, but serves requests on open ones.
    expect(new Set(results.filter((each) => each !== 'overloaded'))).toEqual(new Set(['200', 'ECONNREFUSED']))
    expect(lines.at(-1)?.['msg']).toBe('ended')
    const { rows } = await fixture.store.pool.query<{ live: number }>(
      'select count(*)::int as live from replicas where lease_until > clock_timestamp() and pid = $1',
      [child.pid],
    )
    expect(rows[0]?.live).toBe(0)
    const stored = await fixture.store.pool.query<{ count: number }>('select count(*) from predictions')
    expect(stored.rows[0]!.count).toBeGreaterThanOrEqual(results.filter((result) => result === '200').length)
  })

  it('starts from its disk when Postgres is dead; a frozen or dead Postgres delays no prediction', async () => {
    const stateDir = mkdtempSync(join(root, 'state-'))
    const { url } = await startProcess({ stateDir })
    const timed = async (count: number) => {
      const times: number[] = []
      for (let i = 0; i < count; i++) {
        let [from, answer] = [performance.now(), await predict(url)]
        // A replica on a busy machine refuses requests that have waited for 250 ms.
        while ((await answer.text()).includes('"overloaded"'))
          [from, answer] = [performance.now(), await predict(url)]
        expect(answer.status).toBe(200)
        times.push(performance.now() - from)
      }
      return times.sort((a, b) => a - b)[Math.floor(count * 0.9)]!
    }
    await timed(300)
    const control = async (to = url) => {
      const answer = await fetch(`${to}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
      const { code } = (await answer.json()) as { code?: string }
      return { status: answer.status, code }
    }
    const thaw = freeze(postgres.pid)
    try {
      const frozen = await control()
      // A request that waited for Postgres would take half a second, however often it is tried.
      await expect.poll(() => timed(100)).toBeLessThan(400)
      expect(frozen).toMatchObject({ status: 503, code: 'postgres_unavailable' })
    } finally {
      thaw()
    }
    await until(async () => (await control()).status === 200, 'Postgres again')
    process.kill(-postgres.pid, 'SIGKILL')
    await until(async () => (await control()).status === 503, 'the end of Postgres')
    await expect.poll(() => timed(100)).toBeLessThan(400)

    const cold = await startProcess({ stateDir })
    const answer = await predict(cold.url)
    expect(await answer.json()).toMatchObject({ version: 'iris_v1.0.0', stale: true })

    // On another machine, or with an empty disk, the replica has no state and reports that publicly.
    const wiped = await startProcess({ awaitReady: false })
    const answers = await Promise.all([fetch(`${wiped.url}/readyz`), predict(wiped.url)])
    expect(answers.map(({ status }) => status)).toEqual([503, 503])
    expect(((await answers[0].json()) as { detail: string }).detail).toBe(
      'this replica is not ready: its disk cache is missing or invalid, and it has not reached Postgres',
    )
    postgres = await startPostgres({ dataDir: join(root, 'postgres'), port: postgres.port })
    await until(async () => {
      const { stale } = (await (await predict(cold.url)).json()) as { stale?: boolean }
      return stale === undefined
    }, 'the lease again')
    expect((await control(cold.url)).status).toBe(200)
  })

  it('exits while Postgres is frozen, and the next process stores the remaining rows', async () => {
    const stateDir = mkdtempSync(join(root, 'state-'))
    const { url, child, exited } = await startProcess({ stateDir })
    const count = async () =>
      (
        await fixture.store.pool.query<{ count: number }>(
          "select count(*) from predictions where routing_key = 'frozen'",
        )
      ).rows[0]!.count
    const thaw = freeze(postgres.pid)
    for (let i = 0; i < 50; i++)
      await predict(url, JSON.stringify({ instances: [irisRow], routing_key: 'frozen' }))
    child.kill('SIGTERM')
    // Before Postgres is thawed. On an idle machine that takes less than 9 s.
    expect(await exited).toBe(0)
    thaw()
    await startProcess({ stateDir })
    await until(async () => (await count()) === 50, 'the rows')
  })

  it('prints the first admin key of a database that is migrated later once, outside of its log', async () => {
    await fixture.store.pool.query('create database first_start')
    const databaseUrl = postgres.url.replace(/\/[^/]*$/, '/first_start')
    const environment = { DATABASE_URL: databaseUrl }
    const { errors, lines, url } = await startProcess({ environment, awaitReady: false })
    await until(() => lines.some((line) => JSON.stringify(line).includes('does not exist')), 'a look')
    await migrate(databaseUrl)
    await until(() => errors.length > 0, 'the key')
    const [, shown] = /(tnr_\w+)/.exec(errors.join('\n')) ?? []
    expect(JSON.stringify(lines)).not.toContain('tnr_')
    await until(
      async () =>
        (await fetch(`${url}/v1/keys`, { headers: { authorization: `Bearer ${shown}` } })).status === 200,
      'the key to open',
    )
    const second = await startProcess({ environment })
    expect(second.errors.filter((line) => line.includes('tnr_'))).toEqual([])
  })
})
