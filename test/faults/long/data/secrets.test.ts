/**
 * Tests planted secrets on real processes. Keys, passwords, tokens and personal text enter through every request and failure; then the test
 * searches all output of the processes. By design, personal text in a request is stored only in the prediction log, because training and
 * drift read it; erasure removes it there. Keys are stored nowhere.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openMergedLog } from '../../../../cli/supervisor/system.ts'
import { startAlerts } from '../../../../workflows/client/permanent-workflows.ts'
import { upsertAlert } from '../../../../store/monitoring/alerts.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { privateFile } from '../../../../store/signing/key-files.ts'
import { fixtureRelease, quickPolicy } from '../../../support/release/release-fixture.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import { flightSpec } from '../../../support/serving/artifact.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { reached } from '../../figures.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import { insertKnownKey, startRealSystem, type RealSystem } from '../../../support/servers/system-fixture.ts'
import { orderedStart } from '../../../support/commands/signed.ts'

const model = 'secretive'
const person = 'ada.7f3a9c@example.org'
/** Name of each secret → its text. */
const planted: Record<string, string> = {
  'the secret of the identity provider': 'oidc-5e1f0c77d2aa41',
  'the token of a mirror': 'mirror-0b8d41c9e7f25a',
  'the password of a mirror': 'mirror-pass-3c5a8e21',
  'the address of a chat': 'T0AB/B0CD/9f8e7d6c5b4a39281706',
  'the secret of a webhook': 'whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0',
  'the password of a mail server': 'smtp-91b2c3d4e5f6',
  'a password in a statement': 'statement-77aa66bb55cc',
  'a password in an address': 'pasted-2d4f6b8a0c1e',
  'a foreign bearer': 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl',
}
const dir = mkdtempSync(join(tmpdir(), 'tenure-secrets-'))
let system: RealSystem
let key: string
let echo: Server

/** Starts an external system that rejects every request and records it. */
async function startEcho(): Promise<string> {
  echo = createServer((request, response) => {
    const text: string[] = []
    request.setEncoding('utf8').on('data', (part: string) => text.push(part))
    request.on('end', () => {
      const { authorization = '' } = request.headers
      const decoded = Buffer.from(authorization.split(' ')[1] ?? '', 'base64').toString('latin1')
      response.writeHead(400, { 'content-type': 'text/plain' })
      response.end(`${request.url} ${authorization} ${decoded} ${text.join('').slice(0, 40)}`)
    })
  })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(echo.address() as AddressInfo).port}`
}

beforeAll(async () => {
  const other = await startEcho()
  const channels = join(dir, 'channels.json')
  const told = { severities: ['info', 'warning', 'critical'] }
  writeFileSync(
    channels,
    JSON.stringify([
      {
        ...told,
        name: 'chat',
        target: { kind: 'slack', url: `http://${other}/services/${planted['the address of a chat']}` },
      },
      {
        ...told,
        name: 'hook',
        target: { kind: 'webhook', url: `http://${other}/hook`, secret: planted['the secret of a webhook'] },
      },
      {
        ...told,
        name: 'mail',
        target: {
          kind: 'email',
          smtp: `smtp://u:${planted['the password of a mail server']}@${other}`,
          from: 'a@example.org',
          to: ['b@example.org'],
        },
      },
    ]),
  )
  const variables: Record<string, string> = {
    TENURE_OIDC_ISSUER: `http://${other}/`,
    TENURE_OIDC_CLIENT_ID: 'tenure',
    TENURE_OIDC_CLIENT_SECRET: planted['the secret of the identity provider']!,
    TENURE_OIDC_REDIRECT: 'http://127.0.0.1/sign-in/callback',
    TENURE_OIDC_ROLES: 'all-staff=viewer',
    TENURE_MLFLOW_URL: `http://${other}/`,
    TENURE_MLFLOW_TOKEN: planted['the token of a mirror']!,
    TENURE_OPENLINEAGE_URL: `http://u:${planted['the password of a mirror']}@${other}/`,
    TENURE_ALERT_CHANNELS: channels,
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  system = await startRealSystem({ replicas: 1, leaseMs: 2_000 })
  key = await insertKnownKey(system, { name: 'root', role: 'admin' })
  planted['the secret of a key'] = key.split('_')[2]!
  planted['the password of the database'] = new URL(system.config.databaseUrl).password
  planted['the password of its owner'] = readFileSync(
    join(system.config.stateDir, 'postgres', 'tenure.password'),
    'utf8',
  )
  planted['the signing key'] = readFileSync(privateFile(system.config.signing, 'replicas'), 'utf8').split(
    '\n',
  )[1]!
  const spec = flightSpec(model)
  const version = await registerFixtureVersion(system.store, system.config.artifactRoot, spec)
  await nextRoute(system.store, model, { proven: version })
})
afterAll(async () => {
  await system?.stop()
  echo?.close()
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true, force: true })
})

const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${system.urls[0]}${path}`, {
    method,
    redirect: 'manual',
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: answer.status, text: await answer.text() }
}

/** Returns every row of every table, as in a dump. */
async function dump(): Promise<Map<string, string>> {
  const tables = await system.store.query<{ name: string }>(sql`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`)
  const rows = new Map<string, string>()
  for (const { name } of tables) {
    const found = await system.store.query<{ row: string }>(
      sql`select row_to_json(t)::text as row from ${raw(`"${name}"`)} as t`,
    )
    rows.set(name, found.map(({ row }) => `${row}\n${unhexed(row)}`).join('\n'))
  }
  return rows
}

/** Decodes bytes, which a dump shows as hexadecimal digits. */
const unhexed = (text: string): string =>
  (text.match(/\\x[0-9a-f]{8,}/g) ?? [])
    .map((each) => Buffer.from(each.slice(2), 'hex').toString('latin1'))
    .join('\n')

/** Returns all events of all workflows, with their payloads as text. */
async function histories(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const { workflowId, runId } of system.client.workflow.list()) {
    const history = await system.client.workflow.getHandle(workflowId, runId).fetchHistory()
    const texts: string[] = []
    const walk = (value: unknown): void => {
      if (value instanceof Uint8Array) texts.push(Buffer.from(value).toString('utf8'))
      else if (typeof value === 'string') texts.push(value)
      else if (typeof value === 'object' && value !== null) Object.values(value).forEach(walk)
    }
    walk(history)
    found.set(`${workflowId} ${runId}`, texts.join('\n'))
  }
  return found
}

const filesBelow = (directory: string): string[] =>
  existsSync(directory)
    ? readdirSync(directory, { withFileTypes: true, recursive: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    : []

describe('planted secrets', () => {
  const answers: { status: number; text: string }[] = []
  const say = async (...asked: Parameters<typeof ask>) => void answers.push(await ask(...asked))

  it('reach no response or error, in every request and failure', async () => {
    const { golden } = flightSpec(model)
    const instance = { ...golden[0], origin: person }
    const predict = `/v1/models/${model}/predict`
    await until(
      async () => (await ask('POST', predict, { instances: [golden[0]] })).status === 200,
      'the first answer',
    )
    const address = `postgres://tenure:${planted['a password in an address']}@db/x`
    const reasons = [
      `with my key ${key}`,
      `see ${address}`,
      `with Bearer ${planted['a foreign bearer']}`,
      readFileSync(privateFile(system.config.signing, 'replicas'), 'utf8'),
    ]

    // Valid and invalid requests, and requests with keys in wrong places.
    expect((await ask('POST', predict, { instances: [instance], routing_key: 'caller' })).status).toBe(200)
    const infer = `/v2/models/${model}/infer`
    for (const body of [
      { instances: [{ ...golden[0], day: person }] },
      { instances: [{ origin: person }] },
      { instances: [{ ...golden[0], hour: person }] },
      { instances: [instance], routing_key: `${person}\0` },
      `{"instances": [{"origin": "${person}"`,
      `{"instances": [{"origin": ${person}}]}`,
    ])
      await say('POST', predict, body)
    await say('POST', infer, { inputs: [{ name: 'day', shape: [1], datatype: 'INT64', data: [person] }] })
    await say('POST', infer, `{"inputs": ${person}}`)
    await say('POST', '/v1/outcomes', `{"outcomes": [{"prediction_id": ${person}}]}`)
    for (const { status, text } of answers) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(text).not.toContain(person)
    }
    for (const body of [
      { instances: [golden[0]], routing_key: key },
      { instances: [{ ...golden[0], origin: key }] },
      { instances: [golden[0]], [key]: 1 },
    ]) {
      const refused = await ask('POST', predict, body)
      expect([refused.status, refused.text]).toEqual([
        400,
        expect.stringContaining('the body contains an API key'),
      ])
      answers.push(refused)
    }

    await say('POST', `/v1/models/${key}/predict`, { instances: [] })
    for (const text of [key, encodeURIComponent(address)]) {
      await say('GET', `/v1/models/${text}`)
      await say('GET', `/models/${text}`, undefined, { accept: 'text/html' })
      await say('GET', `/v1/releases?model=${text}&open=${text}`)
    }
    await say('GET', '/v1/models', undefined, { authorization: `Bearer ${key}x` })
    await say('GET', '/sign-in/sso')
    await say('GET', `/sign-in/callback?code=${planted['the secret of the identity provider']}&state=x`)

    // Reasons, sent through the API and directly to Temporal.
    for (const [place, reason] of reasons.entries()) {
      await say('POST', `/v1/models/${model}/rollback`, { reason })
      await say('POST', `/v1/models/${model}/retrainings`, { reason })
      await say('PUT', `/v1/kill-switches/${model}`, { serve: 'champion', reason })
      await say(
        'POST',
        '/v1/releases/rel_none/approve',
        { reason },
        { 'idempotency-key': `approve ${place}`.replace(' ', '-') },
      )
      await say('POST', '/v1/drills', { model: reason })
    }
    const made = await ask(
      'POST',
      '/v1/keys',
      { name: 'new', role: 'viewer' },
      { 'idempotency-key': 'make-one' },
    )
    planted['the secret of a key that was shown'] = (JSON.parse(made.text) as { key: string }).key.split(
      '_',
    )[2]!
    await say('POST', '/v1/keys', { name: 'new', role: 'viewer' }, { 'idempotency-key': 'make-one' })
    await say('PUT', `/v1/kill-switches/${model}`, { serve: 'normal', reason: 'again' })

    // External systems that repeat their input in errors.
    await until(
      async () => (await system.store.query(sql`select from integrations`)).length === 2,
      'the mirrors',
    )
    await registerFixtureVersion(system.store, system.config.artifactRoot, flightSpec(model), 1)
    await startAlerts(system.client, system.config.taskQueues.control)
    await upsertAlert(system.store, {
      dedupeKey: 'x',
      severity: 'critical',
      kind: 'failed',
      message: reasons.join(' '),
    })
    const undelivered = async () =>
      (
        await system.store.query<{ count: number }>(sql`
          select (select count(distinct target) from integration_outbox where problem is not null)
            + (select count(distinct channel) from alert_notifications where problem is not null) as count`)
      )[0]!.count
    await until(async () => (await undelivered()) >= 4, 'refusals of the other systems')

    // Postgres logs rejected statements; it is stopped afterwards.
    const owner = new URL(system.config.databaseUrl)
    await system.store
      .query(
        sql`insert into kill_switches (model, serve, reason, actor, revision) values (${model}, 'no', ${person}, 'x', 1)`,
      )
      .catch(() => {})
    await system.store.pool
      .query(`alter role ${owner.username} password '${planted['a password in a statement']}' nonsense`)
      .catch(() => {})
    await until(
      async () =>
        [...(await dump())].some(([name, text]) => name.startsWith('predictions') && text.includes(person)),
      'the prediction in the log',
    )
    const { supervision, store } = system
    const restarts = supervision.restartsOf('postgres')
    system.signal('postgres', 'SIGKILL')
    await ask('POST', predict, { instances: [{ ...golden[0], origin: 'XNA' }] })
    await say('POST', `/v1/models/${model}/rollback`, { reason: reasons[0] })
    await until(() => supervision.restartsOf('postgres') > restarts, 'its end')
    await until(
      async () => (await ask('GET', '/v1/models').catch(() => ({ status: 0 }))).status === 200,
      'its return',
    )
    const returned = () =>
      store.query(sql`select 1`).then(
        () => true,
        () => false,
      )
    await until(returned, 'its return to the connections of this process')
  })

  it('in a reason that bypassed the API are stored in no table', async () => {
    const { config, store, client } = system
    const registry = await insertModel(store, {
      model: 'spoken',
      policy: quickPolicy,
      artifactRoot: config.artifactRoot,
    })
    const workflowId = releaseWorkflowId('spoken')
    const handle = await client.workflow.start('release', {
      workflowId,
      taskQueue: config.taskQueues.control,
      args: [
        await orderedStart(system, 'release', {
          model: 'spoken',
          version: await registry.register(),
          requestedBy: 'root',
        }),
      ],
    })
    const release = fixtureRelease(system, handle)
    await release.reaches('awaiting_approval')
    await release.signal('reject', { by: 'root', reason: `no, with ${key}` })
    await until(
      async () => (await store.query(sql`select from commands where reason like 'no, with tnr%'`)).length > 0,
      'the word in its table',
    )
    // In case the first command was not sufficient.
    await release.signal('abort', { by: 'root', reason: 'enough' }).catch(() => {})
    await handle.result()
    const toldOf = () =>
      store.query(sql`select from integration_outbox where target = 'openlineage' and problem is not null`)
    await until(async () => (await toldOf()).length > 0, 'a refusal of what follows the lineage')
    const texts = [...(await dump())].filter(([, text]) => text.includes(planted['the secret of a key']!))
    expect(texts.map(([table]) => table)).toEqual([])
    expect(await verifyAudit(store)).not.toMatchObject({ breach: expect.anything() })
    // A Temporal client wrote it to the history; it is removed with the workflow.
    await client.workflowService.deleteWorkflowExecution({
      namespace: config.temporal.namespace,
      workflowExecution: { workflowId },
    })
    await until(async () => {
      const ids: string[] = []
      for await (const each of client.workflow.list()) ids.push(each.workflowId)
      return !ids.includes(workflowId)
    }, 'the end of its history')
  })

  it('are absent from dumps, histories, spools, logs, metrics, responses and the audit', async () => {
    const places = new Map<string, string>()
    for (const [table, text] of await dump()) places.set(`the table ${table}`, text)
    const told = await histories()
    for (const [id, text] of told) places.set(`the history ${id}`, text)
    // The escaped form that is in the file.
    const log = openMergedLog(dir)
    for (const line of system.lines) {
      const [, name = '', rest = ''] = /^(\S+) ([\s\S]*)$/.exec(line) ?? []
      log.write(name, rest)
    }
    await log.close()
    const lines = readFileSync(log.path, 'utf8')
    places.set('the log', lines)
    places.set('the metrics', (await ask('GET', '/metrics')).text)
    places.set('the state of the replica', (await ask('GET', '/readyz')).text)
    places.set('the answers', answers.map(({ text }) => text).join('\n'))
    places.set('the audit', (await ask('GET', '/v1/audit?limit=200')).text)
    places.set('the alerts', (await ask('GET', '/v1/alerts')).text)
    const { stateDir } = system.config
    const kept = filesBelow(stateDir).filter(
      (path) => /\/(spool|cache|audit|artifacts)\//.test(path) && !path.includes('/postgres/'),
    )
    for (const path of kept) places.set(path.slice(stateDir.length), readFileSync(path, 'latin1'))

    // Confirms that the search finds text that exists.
    expect([...told.keys()]).toEqual(
      expect.arrayContaining([expect.stringMatching(/^alerts /), expect.stringMatching(/^retrain\//)]),
    )
    expect(lines).toMatch(/postgres .*violates check constraint/)
    expect(lines).toMatch(/postgres .*password '\[redacted\]'/)
    expect(lines).toMatch(/delivery failed/)
    expect(lines).toMatch(/alert not delivered/)
    expect([...places.values()].join('\n')).toContain('[redacted]')
    const hits = Object.entries(planted).flatMap(([what, secret]) =>
      [...places].filter(([, text]) => text.includes(secret)).map(([place]) => `${what} in ${place}`),
    )
    expect(hits).toEqual([])
    const ofPerson = [...places].filter(([, text]) => text.includes(person)).map(([place]) => place)
    expect(ofPerson.filter((place) => !place.startsWith('the table predictions'))).toEqual([])
    expect(ofPerson).not.toEqual([])
    reached(
      'F38',
      `${Object.keys(planted).length} secrets and a person, searched for in ${places.size} places (tables, histories, log, spool, metrics, ${answers.length} answers): 0 hits`,
    )
  })
})
