/** Tests alert dispatch on the real database and real sockets: a webhook receiver and an SMTP server. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer as createHttp, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { deliverAlerts } from '../../../activities/alerts/delivery/deliver.ts'
import { standInForDelivery } from '../../../api/services/alerts/stand-in.ts'
import { dispatchAlerts } from '../../../activities/alerts/dispatch.ts'
import { reportReleases } from '../../../activities/alerts/delivery/report-releases.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import {
  acknowledgeAlert,
  listAlerts,
  resolveAlert,
  resolveAlertById,
  upsertAlert,
} from '../../../store/monitoring/alerts.ts'
import { insertRelease, saveRelease } from '../../../store/release/releases.ts'
import { insertAnswered } from '../../support/commands/signed.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releaseFacts, releasePolicy } from '../../support/release/releases.ts'
import { markNotificationFailed, writeDeliverySign } from '../../../store/monitoring/notifications.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { listenForMail } from '../../support/alerts/mail.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
let deps: ActivityDeps
let artifactRoot: string
let receiver: Server
let url: string
let got: { path: string; headers: IncomingHttpHeaders; text: string }[] = []
let status = 200
/** The receiver answers only after it. */
let answering = Promise.resolve()
let telling: { environment: MockActivityEnvironment; running: Promise<unknown> } | undefined

beforeAll(async () => {
  deps = await openActivityDeps({
    environment: {
      TENURE_ALERT_CHANNELS: join(mkdtempSync(join(tmpdir(), 'tenure-channels-')), 'channels.json'),
      TENURE_RUNBOOKS: 'https://runbooks.example',
      TENURE_PUBLIC_URL: 'https://tenure.example',
    },
  })
  artifactRoot = deps.config.artifactRoot
  receiver = createHttp((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      got.push({ path: request.url!, headers: request.headers, text })
      void answering.then(() => response.writeHead(status).end('said'))
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
})
beforeEach(async () => {
  got = []
  status = 200
  answering = Promise.resolve()
  await deps.store.query(sql`
    update releases set stage = 'ended', outcome = 'aborted', ended_at = now() where ended_at is null`)
  await deps.store.query(sql`delete from alerts`)
})
afterEach(async () => {
  telling?.environment.cancel()
  await telling?.running.catch(() => {})
  telling = undefined
})
afterAll(async () => {
  receiver.close()
  await deps.store.close()
})

/** Starts a dispatcher with these channels. */
function tell(...channels: object[]): void {
  writeFileSync(deps.config.alertChannels, JSON.stringify(channels))
  const environment = new MockActivityEnvironment({}, { logger: quiet })
  telling = { environment, running: environment.run(dispatchAlerts(deps, { everyMs: 50 })) }
}
const mailTo = (port: number) => ({
  name: 'mail',
  target: {
    kind: 'email',
    smtp: `smtp://127.0.0.1:${port}`,
    from: 'tenure@example.org',
    to: ['anna@example.org'],
  },
})
const raise = (more: object = {}) =>
  upsertAlert(deps.store, {
    dedupeKey: 'quality/iris',
    model: 'iris',
    severity: 'critical',
    kind: 'quality_lost',
    message: 'auc on 960 matured outcomes is 0.6',
    evidence: { judgementId: 5 },
    ...more,
  })
const arrived = (count: number) => until(() => got.length >= count, `message ${count}`)
const messages = () =>
  deps.store.query<{ about: string; attempts: number; problem: string | null; sent_at: Date | null }>(
    sql`select * from alert_notifications order by id`,
  )

describe('alert dispatch', () => {
  it('posts an alert once to a chat channel with its remedy, and posts its resolution', async () => {
    tell({ name: 'chat', target: { kind: 'slack', url: `${url}/chat` } })
    await raise()
    await arrived(1)
    await raise({ message: 'auc on 970 matured outcomes is 0.6' })
    await resolveAlert(deps.store, 'quality/iris', 'measured')
    await arrived(2)
    const texts = got.map(({ text }) => (JSON.parse(text) as { text: string }).text.split('\n'))
    expect(texts[0]).toEqual([
      '*CRITICAL iris: quality lost*',
      'auc on 960 matured outcomes is 0.6',
      'Callers: Worse answers.',
      'Next: When the cause is found: `tenure retrain iris --watch`. Without `train`: `tenure versions register iris --artifact FILE`.',
      expect.stringMatching(/^since 20.* UTC$/) as unknown,
      expect.stringMatching(
        /^<https:\/\/tenure\.example\/alerts\?model=iris&kind=quality_lost#a\d+\|Open alert>$/,
      ) as unknown,
      '<https://runbooks.example/quality-lost.md|Runbook>',
    ])
    expect(texts[1]?.[0]).toBe('*RESOLVED iris: quality lost*')
    expect(got).toHaveLength(2)
  })

  it('posts an acknowledged warning again when it has become critical before the first post was answered, once', async () => {
    let answer!: () => void
    answering = new Promise((resolve) => (answer = resolve))
    tell({ name: 'chat', target: { kind: 'slack', url: `${url}/chat` } })
    const id = await raise({ severity: 'warning' })
    await arrived(1)
    await acknowledgeAlert(deps.store, { id, by: 'anna' })
    for (const severity of ['critical', 'warning', 'critical']) await raise({ severity })
    answer()
    await arrived(2)
    expect(got[1]?.text).toContain('*CRITICAL iris')
    expect(await acknowledgeAlert(deps.store, { id, by: 'anna' })).toMatchObject({ worst: 'critical' })
    for (const severity of ['warning', 'critical']) await raise({ severity })
    expect(await acknowledgeAlert(deps.store, { id, by: 'anna' })).toBeUndefined()
  })

  it('signs webhook requests so that the receiver can verify them', async () => {
    tell({ name: 'hook', target: { kind: 'webhook', url: `${url}/hook`, secret } })
    const id = await raise()
    await arrived(1)
    const { headers, text } = got[0]!
    const verified = new Webhook(secret).verify(text, headers as Record<string, string>)
    expect(verified).toMatchObject({
      about: 'raised',
      alert: { id, model: 'iris', kind: 'quality_lost', evidence: { judgementId: 5 } },
      runbook: 'https://runbooks.example/quality-lost.md',
    })
    expect(() =>
      new Webhook(secret).verify(text.replace('iris', 'wine'), headers as Record<string, string>),
    ).toThrow()
  })

  it('posts to an Alertmanager with labels that do not change between posts', async () => {
    tell({ name: 'relay', target: { kind: 'alertmanager', url: `${url}/am/` } })
    await raise()
    await arrived(1)
    await resolveAlert(deps.store, 'quality/iris', 'measured')
    await arrived(2)
    const sent = got.map(({ text }) => (JSON.parse(text) as { labels: object; endsAt?: string }[])[0]!)
    expect(got[0]?.path).toBe('/am/api/v2/alerts')
    expect(sent[0]).toMatchObject({
      labels: { alertname: 'quality_lost', model: 'iris', severity: 'critical' },
      annotations: { summary: 'auc on 960 matured outcomes is 0.6' },
    })
    expect(sent[1]?.labels).toEqual(sent[0]?.labels)
    expect(sent[0]?.endsAt).toBeUndefined()
    expect(Date.parse(sent[1]?.endsAt ?? '')).toBeGreaterThan(0)
  })

  it('sends an alert by mail', async () => {
    const { server, port, mails } = await listenForMail()
    tell(mailTo(port))
    await raise()
    await until(() => mails.length > 0, 'a mail')
    expect(mails[0]).toMatch(/^To: anna@example.org\r$/m)
    expect(mails[0]).toMatch(/^Subject: CRITICAL iris: quality lost\r$/m)
    // A mail with a line of more than 76 characters is quoted-printable, which breaks all long lines.
    expect(mails[0]!.replaceAll('=\r\n', '')).toContain('Runbook: https://runbooks.example/quality-lost.md')
    server.close()
  })

  it('delivers when an unavailable channel recovers, without delaying other channels', async () => {
    status = 503
    tell(
      { name: 'chat', target: { kind: 'slack', url: `${url}/chat` } },
      { name: 'gone', target: { kind: 'slack', url: 'http://127.0.0.1:1/' } },
    )
    await raise()
    await until(
      async () => (await messages()).filter(({ attempts }) => attempts > 0).length === 2,
      'attempts',
    )
    expect((await messages()).map(({ problem }) => problem)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^fetch failed: .*ECONNREFUSED|bad port/) as unknown,
        'the channel responded 503',
      ]),
    )
    status = 200
    await until(async () => (await messages()).some(({ sent_at }) => sent_at !== null), 'the message')
    expect((await messages()).filter(({ sent_at }) => sent_at === null)).toHaveLength(1)
  })

  it('delivers once to each channel after an hour of outage: chat, signed webhook, Alertmanager and mail', async () => {
    const mail = await listenForMail()
    const away = async () => {
      receiver.closeAllConnections()
      await Promise.all(
        [receiver, mail.server].map((server) => new Promise((resolve) => server.close(resolve))),
      )
    }
    const back = async () => {
      for (const [server, port] of [
        [receiver, Number(new URL(url).port)],
        [mail.server, mail.port],
      ] as const)
        await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    }
    await away()
    tell(
      { name: 'chat', target: { kind: 'slack', url: `${url}/chat` } },
      { name: 'hook', target: { kind: 'webhook', url: `${url}/hook`, secret } },
      { name: 'relay', target: { kind: 'alertmanager', url: `${url}/am` } },
      mailTo(mail.port),
    )
    await raise()
    // Six steps of ten minutes of policy time: every channel is tried and none responds.
    for (let round = 1; round <= 6; round++) {
      await until(async () => {
        const waiting = await messages()
        return waiting.length === 4 && waiting.every(({ attempts }) => attempts >= round)
      }, `attempt ${round}`)
      await deps.store.query(sql`
        update alert_notifications set due_at = due_at - interval '10 minutes', next_at = now() where sent_at is null`)
    }
    await back()
    await deps.store.query(
      sql`update alert_notifications set next_at = now() where sent_at is null and given_up_at is null`,
    )
    const all = async () => (await messages()).every(({ sent_at }) => sent_at !== null)
    await until(async () => (await all()) && mail.mails.length > 0, 'the messages')
    // Anything still in transit would arrive before the notification of another alert.
    await raise({ dedupeKey: 'other', message: 'another one' })
    await until(async () => mail.mails.length >= 2 && got.length >= 6, 'the other matter')
    const first = got.filter(({ text }) => !text.includes('another one'))
    // An Alertmanager forgets alerts that are not repeated: once when it is back, and then every minute.
    expect(first.map(({ path }) => path).sort()).toEqual(['/am/api/v2/alerts', '/chat', '/hook'])
    expect(mail.mails.filter((text) => !text.includes('another one'))).toHaveLength(1)
    const signed = first.find(({ path }) => path === '/hook')!
    expect(new Webhook(secret).verify(signed.text, signed.headers as Record<string, string>)).toMatchObject({
      about: 'raised',
      alert: { kind: 'quality_lost' },
    })
    mail.server.close()
  })

  it('stops retrying after a day, and skips a channel removed from the configuration', async () => {
    status = 503
    tell({ name: 'chat', target: { kind: 'slack', url: `${url}/chat` } })
    const id = await raise()
    await arrived(1)
    await deps.store.query(sql`
      update alert_notifications set due_at = due_at - interval '1 day', next_at = now() where alert_id = ${id}`)
    await until(
      async () =>
        (await deps.store.query(sql`select from alert_notifications where given_up_at is not null`))
          .length === 1,
      'the end of trying',
    )
  })

  it('keeps what waits for a channel while the alerting file cannot be read', async () => {
    const applied = { target: { kind: 'webhook', url: `${url}/applied` } }
    await deps.store.query(
      sql`insert into alert_channels (name, definition) values ('applied', ${JSON.stringify(applied)})`,
    )
    const chat = { name: 'chat', target: { kind: 'slack', url: `${url}/chat` } }
    status = 503
    tell(chat)
    await raise()
    await arrived(2)
    writeFileSync(deps.config.alertChannels, '[{},')
    await deps.store.query(sql`update alert_notifications set next_at = now() where channel = 'chat'`)
    const told = async () => (await messages()).map(({ problem }) => problem)
    await until(async () => (await told()).includes('the channels cannot be read'), 'the attempt')
    status = 200
    writeFileSync(deps.config.alertChannels, JSON.stringify([chat]))
    await deps.store.query(
      sql`update alert_notifications set next_at = now() where sent_at is null and given_up_at is null`,
    )
    await until(async () => (await messages())[0]?.sent_at instanceof Date, 'the message to chat')
    await deps.store.query(sql`delete from alert_channels`)
  })

  it('does not escalate to the next channel a second time after an acknowledgement', async () => {
    tell(
      { name: 'chat', target: { kind: 'slack', url: `${url}/chat` } },
      { name: 'boss', target: { kind: 'slack', url: `${url}/boss` }, afterMinutes: 0.02 },
    )
    const id = await raise()
    await arrived(1)
    await acknowledgeAlert(deps.store, { id, by: 'anna' })
    await raise({ dedupeKey: 'other', message: 'another one' })
    await arrived(3)
    const told = got.map(({ path, text }) => `${path} ${text.includes('another one') ? 'other' : 'first'}`)
    expect(told.sort()).toEqual(['/boss other', '/chat first', '/chat other'])
  })

  it('raises an alert when the alerting file cannot be read', async () => {
    tell({ name: 'chat', target: { kind: 'pigeon' } })
    const open = () => listAlerts(deps.store, { open: true })
    await until(async () => (await open()).length > 0, 'the alert')
    expect(await open()).toMatchObject([
      {
        kind: 'alert_channels',
        severity: 'critical',
        message: expect.stringContaining('0.target.kind') as unknown,
      },
    ])
    const ok = [{ name: 'chat', target: { kind: 'slack', url: `${url}/chat` } }]
    for (const [wrong, said] of [
      ['{', 'is not valid JSON'],
      [JSON.stringify([...ok, ...ok]), 'two channels have the name chat'],
    ] as const) {
      writeFileSync(deps.config.alertChannels, wrong)
      await until(async () => (await open())[0]?.message.includes(said) === true, said)
    }
    writeFileSync(deps.config.alertChannels, JSON.stringify(ok))
    await until(async () => (await open()).length === 0, 'the end of it')
  })
})

describe('an alert of a release that awaits an answer', () => {
  /** Starts a release of a new model that waits for an approval; `wait` moves it to a decision. */
  async function asking() {
    const model = uniqueName('asks')
    const registry = await insertModel(deps.store, { model, policy: releasePolicy, artifactRoot })
    const baseline = await registry.register()
    const version = await registry.register(baseline)
    const opened = openingState(
      { ...releaseFacts, id: `rel_${uniqueName('r')}`, model, version, baseline },
      0,
    )
    const state: ReleaseState = { ...opened, stage: 'awaiting_approval', enteredMs: Date.now() }
    await insertRelease(deps.store, { state, workflowId: 'w', runId: 'r' })
    const save = (changes: Partial<ReleaseState>) =>
      saveRelease(deps.store, { ...state, ...changes, revision: Date.now() })
    return { state, version, baseline, save }
  }

  it('is sent to every channel at once with its page, again before it expires, and once more with the answer', async () => {
    const chat = { name: 'chat', target: { kind: 'slack', url: `${url}/chat` } }
    const critical = {
      name: 'night',
      target: { kind: 'slack', url: `${url}/night` },
      severities: ['critical'],
    }
    const silent = {
      ...critical,
      name: 'silent',
      target: { kind: 'slack', url: `${url}/silent` },
      releases: false,
    }
    tell(chat, critical, silent)
    const { state, version, save } = await asking()
    await arrived(2)
    expect(new Set(got.map(({ path }) => path))).toEqual(new Set(['/chat', '/night']))
    expect(got[0]?.text).toContain(`*Approve ${version}? `)
    expect(got[0]?.text).toContain('Requested by olga, who cannot approve')
    expect(got[0]?.text).toContain(`<https://tenure.example/releases/${state.id}|Open release>`)

    // More than half of the time has passed since both were recorded as sent, which happens after they have arrived.
    await until(async () => (await messages()).every(({ sent_at }) => sent_at !== null), 'both sent')
    await deps.store.query(sql`update alerts set raised_at = now() - interval '1 hour'`)
    await deps.store.query(
      sql`update alert_notifications set due_at = now() - interval '1 hour', sent_at = now() - interval '1 hour'`,
    )
    await arrived(4)
    for (const { text } of got.slice(2)) expect(text).toContain(`*REMINDER Approve ${version}?`)

    await insertAnswered(deps.store, {
      release: state.id,
      model: state.model,
      kind: 'approve',
      by: 'anna',
      message: 'approved by anna and ben',
    })
    await save({ stage: 'shadow', enteredMs: Date.now() })
    await arrived(6)
    for (const { text } of got.slice(4))
      expect(text).toContain(`*CLOSED ${version}: approved by anna and ben*`)
    expect(await listAlerts(deps.store, { open: true })).toEqual([])
  })

  it('is requested once, also when an operator has closed its alert and several processes report it', async () => {
    const { state, version, save } = await asking()
    const report = () => Promise.all(Array.from({ length: 4 }, () => reportReleases(deps.store)))
    await report()
    const mine = async () => (await listAlerts(deps.store, { model: state.model })).map(({ kind }) => kind)
    expect(await mine()).toEqual(['approval_needed'])
    const [{ id } = { id: 0 }] = await listAlerts(deps.store, { model: state.model })
    await resolveAlertById(deps.store, { id: id, by: 'anna' })
    await report()
    expect(await mine()).toEqual(['approval_needed'])

    await save({
      stage: 'awaiting_decision',
      undecidedStage: 'canary',
      shareBp: 100,
      routed: true,
      enteredMs: Date.now(),
      lastVerdict: { kind: 'inconclusive', reason: '3 of 10 requests', atMs: 1 },
    })
    await report()
    const [decision] = await listAlerts(deps.store, { model: state.model, open: true })
    expect(decision).toMatchObject({
      kind: 'decision_needed',
      message: expect.stringContaining(`Decide on ${version}? Canary 1 %: 3 of 10 requests`) as string,
    })
    await save({ stage: 'probation', promoted: true, enteredMs: Date.now() })
    await report()
    await report()
    expect(await mine()).toEqual(['release_promoted', 'decision_needed', 'approval_needed'])
    expect(await listAlerts(deps.store, { model: state.model, open: true })).toEqual([])
  })
})

describe('alert delivery by several processes', () => {
  const chat = () =>
    writeFileSync(
      deps.config.alertChannels,
      JSON.stringify([{ name: 'chat', target: { kind: 'slack', url: `${url}/chat` } }]),
    )

  it('sends each notification once, and a failure that is reported late does not send it again', async () => {
    chat()
    await Promise.all(['a', 'b', 'c'].map((dedupeKey) => raise({ dedupeKey })))
    const sent = await Promise.all(Array.from({ length: 4 }, () => deliverAlerts(deps)))
    expect(sent.reduce((sum, each) => sum + each)).toBe(3)
    const [{ id } = { id: 0 }] = await deps.store.query<{ id: number }>(
      sql`select id from alert_notifications`,
    )
    await markNotificationFailed(deps.store, { id, problem: 'late', againMs: 0 })
    expect(await deliverAlerts(deps)).toBe(0)
    expect(got).toHaveLength(3)
  })

  it('leaves a notification to others when its sender stood still for as long as its claim', async () => {
    chat()
    await raise()
    const { store } = deps
    // As after SIGSTOP between the claim and the sending.
    const clock = vi.spyOn(performance, 'now')
    const frozen: typeof store = {
      ...store,
      async query(statement) {
        const rows = await store.query(statement)
        if (statement.text.includes('skip locked')) clock.mockReturnValue(performance.now() + 3_600_000)
        return rows as never
      },
    }
    expect(await deliverAlerts({ ...deps, store: frozen })).toBe(0)
    clock.mockRestore()
    await store.query(sql`update alert_notifications set next_at = now()`)
    expect(await deliverAlerts(deps)).toBe(1)
    expect(got).toHaveLength(1)
  })

  it('is done by replicas only while the control worker leaves no sign of it', async () => {
    chat()
    await writeDeliverySign(deps.store)
    const said: string[] = []
    const log = { ...quiet, info: (_: object, message: string) => void said.push(message) }
    const reachedMs = 1_000
    const standIn = standInForDelivery({ ...deps, log }, () => {}, { everyMs: 20, silentMs: reachedMs })
    await raise()
    await arrived(1)
    expect(said).toEqual(['delivering alerts for the control worker'])
    // As if it wrote its sign again and again, however long the rest takes.
    await deps.store.query(
      sql`update service_state set at = now() + interval '1 hour' where name = 'alerts/delivery'`,
    )
    await until(() => said.length === 2, 'the return of the control worker')
    await raise({ dedupeKey: 'other' })
    await standIn.stop()
    expect(got).toHaveLength(1)
    expect(said[1]).toBe('the control worker delivers alerts')
  })
})
