/** Tests the commands of approvers and operators through the API, on a real Temporal with the real workflows and a real replica. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { temporalCli } from '@tenure/embedded'
import { findActiveKeys } from '../../../../store/access/api-keys.ts'
import { releaseCommandIdOf } from '../../../../store/commands.ts'
import { listAudit } from '../../../../store/audit/audit-log.ts'
import { insertQueued } from '../../../../store/release/release-queue.ts'
import { recordRemovedModels } from '../../../../store/maintenance/expected-work.ts'
import { findRetraining } from '../../../../store/training/retrainings.ts'
import {
  commandUpdates,
  releaseWorkflowId,
  retrainWorkflowId,
  type CommandMessage,
  type CommandName,
} from '../../../../workflows/messages.ts'
import { createTemporalClient } from '../../../../api/temporal/client.ts'
import type { Registry } from '../../../support/release/candidates.ts'
import type { Core } from '../../../support/release/core.ts'
import {
  oneStagePolicy,
  startReleaseSystem,
  type ReleaseSystem,
} from '../../../support/lifecycle/release-system.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { until, type ServingFixture, type TestApi } from '../../../support/serving/serving-fixture.ts'

let system: ReleaseSystem
let core: Core
let fixture: ServingFixture
let api: TestApi
let registry: Registry
const model = uniqueName('model')
const policy = oneStagePolicy
let keys: Record<string, string>

beforeAll(async () => {
  system = await startReleaseSystem({ model, callers: 500, everyMs: 2 })
  ;({ core, fixture, api, registry, keys } = system)
})
afterAll(() => system.stop())

it('the client warms up with a workflow before the first call', async () => {
  const temporal = createTemporalClient(core.config)
  const query = `WorkflowType = 'warmUp' and TaskQueue = '${temporal.taskQueue}' and ExecutionStatus = 'Completed'`
  const count = () => temporal.call(5_000, async (client) => (await client.workflow.count(query)).count)
  // A warm-up that a busy machine does not answer in time is abandoned silently.
  const isWarm = async () => (await temporal.warm(), (await count()) > 0)
  await until(isWarm, 'the workflow that does nothing')
  await temporal.close()
})

const say = (who: string, path: string, body: unknown = {}, headers: Record<string, string> = {}) =>
  api.request('POST', path, { key: keys[who]!, body, headers })
const show = async (id: string) =>
  (await api.request('GET', `/v1/releases/${id}`, { key: keys['vera']! })).json
/** Waits for a stage. The state of a release ends shortly before its row; while the row is open, another order refers to this release. */
const reaches = (id: string, stage: string) =>
  until(async () => {
    const shown = await show(id)
    return shown['stage'] === stage && (stage !== 'ended' || shown['ended_at'] !== undefined)
  }, stage)
const start = async (version: string) => {
  // The workflow of the previous release ends shortly after its row.
  let answer = await say('olga', '/v1/releases', { model, version })
  await until(async () => {
    if (answer.status === 409) answer = await say('olga', '/v1/releases', { model, version })
    return answer.status === 202
  }, 'the start')
  const { id } = answer.json as { id: string }
  await until(async () => (await show(id))['id'] === id, 'the release')
  return id
}
const releaseFirst = async () => {
  const version = await registry.register()
  const id = await start(version)
  await reaches(id, 'awaiting_approval')
  return { version, id }
}

let champion: string
let firstRelease: string

it('the first version becomes champion after an approval, which only an approver can grant', async () => {
  const { version, id } = await releaseFirst()
  champion = version
  firstRelease = id
  expect(await say('vera', `/v1/releases/${id}/approve`)).toMatchObject({
    status: 403,
    json: { code: 'forbidden' },
  })
  expect((await say('olga', `/v1/releases/${id}/approve`)).status).toBe(403)
  const shown = await show(id)
  expect(shown['why']).toMatch(/Needs 1 approval/)
  const wrong = await say('anna', `/v1/releases/${id}/approve`, {
    artifact_digest: `sha256:${'0'.repeat(64)}`,
  })
  expect(wrong).toMatchObject({ status: 409, json: { code: 'command_refused', stage: 'awaiting_approval' } })
  const elsewhere = await say('anna', `/v1/releases/${id}/approve`, { stage: 'awaiting_decision' })
  expect(elsewhere).toMatchObject({
    status: 409,
    json: {
      stage: 'awaiting_approval',
      detail: 'the release is in the stage awaiting_approval now; the command was given in awaiting_decision',
    },
  })
  const unexplained = await say('anna', `/v1/releases/${id}/resume`, { reason: '' })
  expect(unexplained).toMatchObject({
    status: 409,
    json: { detail: 'nothing is paused and no decision is pending: release is in awaiting approval' },
  })
  const seen = { stage: 'awaiting_approval', artifact_digest: shown['artifact_digest'] }
  const body = { reason: 'looked at it', ...seen }
  const right = await say('anna', `/v1/releases/${id}/approve`, body)
  expect(right).toMatchObject({ status: 200, json: { accepted: true, release: id } })
  await reaches(id, 'ended')
  const ended = await show(id)
  expect(ended).toMatchObject({ outcome: 'promoted', version })
  expect((ended['commands'] as object[]).map((each) => ({ ...each }))).toMatchObject([
    { command: 'approve', actor: 'anna', accepted: false },
    { command: 'resume', actor: 'anna', accepted: false },
    { command: 'approve', actor: 'anna', accepted: true, reason: 'looked at it' },
  ])
  const { audit } = (await api.request('GET', `/v1/audit?model=${model}`, { key: keys['vera']! })).json
  const of = (name: string) =>
    (audit as { subject: string; action: string; detail: { id?: string; command?: string } }[]).filter(
      ({ subject, action, detail }) =>
        subject === id && action === name && (detail.command ?? 'approve') === 'approve',
    )
  expect(of('command.recorded')).toHaveLength(2)
  expect(of('release.approve').map(({ detail }) => detail.id)).toEqual(
    of('command.recorded').map(({ detail }) => detail.id),
  )
  const late = await say('anna', `/v1/releases/${id}/approve`)
  expect(late).toMatchObject({ status: 409, json: { code: 'command_refused', stage: 'ended' } })
})

it('a release with 45,000 commands is shown in pages, newest first', async () => {
  const { commands: before } = (await show(firstRelease)) as { commands: { id: string }[] }
  await fixture.store.query(sql`
    insert into commands (id, release_id, model, kind, actor, key_id, role, reason, accepted, message, stage, answered_at)
    select 'cmd_' || lpad(each::text, 32, '0'), ${firstRelease}, ${model}, 'pause', 'olga', 'k', 'operator', repeat('reason ', 30),
      false, 'refused', 'ended', now()
    from generate_series(1, 45000) as each`)
  const idOf = (each: number) => `cmd_${String(each).padStart(32, '0')}`
  const page = async (query: Record<string, string>) => {
    const answer = await api.request(
      'GET',
      `/v1/releases/${firstRelease}?${new URLSearchParams(query).toString()}`,
      { key: keys['vera']! },
    )
    expect(JSON.stringify(answer.json).length).toBeLessThan(600_000)
    return answer.json as { commands: { id: string }[]; next_cursor?: string; code?: string }
  }
  const first = await page({})
  expect(first.commands.map(({ id }) => id)).toEqual(
    Array.from({ length: 100 }, (_, each) => idOf(44_901 + each)),
  )
  const second = await page({ limit: '1000', cursor: first.next_cursor! })
  expect([second.commands[0]?.id, second.commands.at(-1)?.id]).toEqual([idOf(43_901), idOf(44_900)])
  await fixture.store.query(sql`delete from commands where key_id = 'k' and id > ${idOf(950)}`)
  const last = await page({ limit: '1000' })
  expect(last.commands).toHaveLength(950 + before.length)
  expect(last.next_cursor).toBeUndefined()
  expect((await page({ cursor: 'newest' })).code).toBe('invalid_request')
  await fixture.store.query(sql`delete from commands where key_id = 'k'`)
})

it('the requester of a release cannot lower the number of approvals', async () => {
  const version = await registry.register(champion)
  const alone = { ...policy, approval: { approvers: 0, withinMs: 1_000 } }
  for (const [who, path, body] of [
    ['olga', '/v1/releases', { model, version, policy: alone }],
    ['root', '/v1/releases', { model, version, policy: alone }],
    ['olga', `/v1/models/${model}/retrainings`, { policy: alone }],
  ] as const)
    expect(await say(who, path, body)).toMatchObject({
      status: 422,
      json: {
        code: 'invalid_policy',
        issues: ['approval.approvers is 0, the model file requires at least 1'],
      },
    })
})

it('a release that asks for both sides needs the approval of each', async () => {
  const sides = { business: ['root'], engineering: ['anna'] }
  const both = { ...policy, approval: { approvers: 2, withinMs: 60_000, sides } }
  const answer = await say('olga', '/v1/releases', {
    model,
    version: await registry.register(champion),
    policy: both,
  })
  expect(answer.status).toBe(202)
  const id = String(answer.json['release_id'] ?? answer.json['id'])
  await reaches(id, 'awaiting_approval')
  const one = await say('anna', `/v1/releases/${id}/approve`)
  expect(one.json).toMatchObject({
    accepted: true,
    message: 'approved by anna, 1 of 2; business must sign (root)',
  })
  expect((await show(id))['stage']).toBe('awaiting_approval')
  const other = await say('root', `/v1/releases/${id}/approve`)
  expect(other.json).toMatchObject({ accepted: true, message: 'approved by anna and root' })
  await say('root', `/v1/releases/${id}/rollback`, { reason: 'seen' })
  await reaches(id, 'ended')
  const alike = { ...both, approval: { ...both.approval, sides: { ...sides, business: ['anna'] } } }
  expect(await say('olga', '/v1/releases', { model, version: champion, policy: alike })).toMatchObject({
    status: 422,
    json: { code: 'invalid_policy', issues: ['approval.sides names anna on both sides'] },
  })
})

it('a command with the same idempotency key runs once', async () => {
  const id = await start(await registry.register(champion))
  await reaches(id, 'awaiting_approval')
  const headers = { 'idempotency-key': `approve-${id}` }
  const [one, two] = await Promise.all(
    [1, 2].map(() => say('anna', `/v1/releases/${id}/approve`, {}, headers)),
  )
  expect(one!.json).toMatchObject({ accepted: true })
  expect(two!.json).toEqual(one!.json)
  const { commands } = await show(id)
  expect((commands as { command: string }[]).filter(({ command }) => command === 'approve')).toHaveLength(1)
  expect((await say('olga', '/v1/releases', { model, version: champion })).json).toMatchObject({
    code: 'release_in_progress',
    release: id,
  })
  const listed = await api.request('GET', `/v1/releases?model=${model}&open=true`, { key: keys['vera']! })
  expect(listed.json['releases']).toMatchObject([{ id }])
  expect((await say('olga', `/v1/releases/${id}/abort`, { reason: 'changed my mind' })).status).toBe(200)
  await reaches(id, 'ended')
  expect(await show(id)).toMatchObject({ outcome: 'aborted' })
})

it('a command counts after an update with its id that names no row', async () => {
  const id = await start(await registry.register(champion))
  await reaches(id, 'awaiting_approval')
  const key = (await findActiveKeys(fixture.store)).find(({ name }) => name === 'olga')!
  const command = releaseCommandIdOf(key.id, { kind: 'abort', once: `${id} once` })
  const forged = await core.client.workflow
    .getHandle(releaseWorkflowId(model))
    .executeUpdate(commandUpdates.abort, { args: [{ command }], updateId: command })
  expect(forged).toMatchObject({ accepted: false })
  const path = `/v1/releases/${id}/abort`
  const aborted = await say('olga', path, { reason: 'not now' }, { 'idempotency-key': 'once' })
  expect(aborted).toMatchObject({ status: 200, json: { accepted: true } })
  await reaches(id, 'ended')
})

it('a queued release is cancelled once, by a key with the role', async () => {
  const version = await registry.register(champion)
  const { id } = await fixture.store.transaction((database) =>
    insertQueued(database, { model, version, requestedBy: 'olga', preemption: 'none' }),
  )
  const path = `/v1/releases/${id}/abort`
  expect((await say('vera', path)).status).toBe(403)
  expect(await say('olga', path, { reason: 'not now' })).toMatchObject({
    status: 200,
    json: { release: id, accepted: true, message: 'aborted by olga: not now' },
  })
  expect(await say('olga', path)).toMatchObject({
    status: 409,
    json: {
      code: 'command_refused',
      detail: `${version} is no longer queued, it is refused: aborted by olga: not now`,
    },
  })
  expect((await say('olga', '/v1/releases/que_0/abort')).json).toMatchObject({ code: 'release_not_found' })
  // Steps of other processes may be written after it.
  const rows = await listAudit(fixture.store, { model, limit: 20 })
  expect(rows.filter(({ subject }) => subject === id)).toMatchObject([
    { actor: 'olga', action: 'release.abort' },
  ])
})

it('a canary gets its share of the traffic, is promoted, and a rollback of the model returns to the previous version', async () => {
  const candidate = await registry.register(champion)
  const id = await start(candidate)
  await reaches(id, 'awaiting_approval')
  await say('anna', `/v1/releases/${id}/approve`)
  await until(() => api.serving.routing.find(model)?.route.arms[0]?.arm === 'canary', 'the canary')
  await reaches(id, 'ended')
  const ended = await show(id)
  expect(ended).toMatchObject({ outcome: 'promoted' })
  expect((ended['decisions'] as { kind: string }[]).some(({ kind }) => kind === 'pass')).toBe(true)
  expect(api.ask(model, { instances: [{ x: 1, y: 2 }] }).version).toBe(candidate)
  expect((await say('vera', `/v1/models/${model}/rollback`, { reason: 'r' })).status).toBe(403)
  const answer = await say('olga', `/v1/models/${model}/rollback`, { reason: 'complaints' })
  expect(answer).toMatchObject({
    status: 200,
    json: { outcome: 'rolled_back', from: candidate, version: champion },
  })
  expect(api.ask(model, { instances: [{ x: 1, y: 2 }] }).version).toBe(champion)
  const again = await say('olga', `/v1/models/${model}/rollback`, { reason: 'again' })
  expect(again).toMatchObject({ status: 200, json: { from: candidate, version: champion } })
  const further = await say('olga', `/v1/models/${model}/rollback`, { reason: 'again', version: champion })
  expect(further).toMatchObject({ status: 409, json: { code: 'no_rollback_target' } })
})

it('a retraining starts once, and can be cancelled', async () => {
  const path = `/v1/models/${model}/retrainings`
  expect((await say('anna', path)).status).toBe(403)
  expect(await say('olga', path, { hyperparameters: { layers: 3 } })).toMatchObject({
    status: 400,
    json: {
      code: 'invalid_request',
      issues: [expect.stringMatching(`^${model} has no hyperparameter "layers": `)],
      remedy: expect.stringMatching('hyperparameters'),
    },
  })
  const first = await say('olga', path, { as_of: '2026-01-01T00:00:00Z', reason: 'new season' })
  expect(first).toMatchObject({ status: 202, json: { model, workflow_id: retrainWorkflowId(model) } })
  const second = await say('olga', path)
  expect(second).toMatchObject({
    status: 409,
    json: {
      code: 'retraining_in_progress',
      remedy: expect.stringContaining('tenure retrainings cancel <model>'),
    },
  })
  const { id } = first.json as { id: string }
  const shown = await api.request('GET', `/v1/retrainings/${encodeURIComponent(id)}`, { key: keys['vera']! })
  expect(shown).toMatchObject({ status: 200, json: { id, model } })
  const cancel = `/v1/retrainings/${encodeURIComponent(id)}/cancel`
  expect((await say('anna', cancel)).status).toBe(403)
  const cancellations = await Promise.all(
    Array.from({ length: 10 }, () => say('olga', cancel, { reason: 'wrong file' })),
  )
  expect(cancellations).toContainEqual(
    expect.objectContaining({ status: 202, json: expect.objectContaining({ id, model }) }),
  )
  expect(cancellations.filter(({ status }) => status !== 202 && status !== 409)).toEqual([])
  await until(async () => (await findRetraining(fixture.store, id))?.outcome === 'cancelled', 'the end')
  expect(await say('olga', cancel)).toMatchObject({
    status: 409,
    json: { code: 'command_refused', detail: `the retraining of ${model} has ended as cancelled` },
  })
  expect((await say('olga', '/v1/retrainings/retrain%2Fnone/cancel')).status).toBe(404)
  expect(await listAudit(fixture.store, { model })).toContainEqual(
    expect.objectContaining({ action: 'retraining.cancelled', actor: 'olga', subject: id }),
  )
})

it('no training of a model without its file starts', async () => {
  await recordRemovedModels(core.store, [model])
  try {
    for (const path of [`/v1/models/${model}/retrainings`, `/v1/models/${model}/trials`])
      expect(await say('olga', path)).toMatchObject({
        status: 409,
        json: {
          code: 'command_refused',
          detail: `the model file of ${model} was removed: restore it in models/, then run \`tenure models sync\``,
        },
      })
  } finally {
    await recordRemovedModels(core.store, [])
  }
})

it('a retraining that is cancelled while its row is written ends as cancelled', async () => {
  const { id, run } = await fixture.store.transaction(async (database) => {
    await database.query(sql`lock table retrainings in exclusive mode`)
    let started = { id: '' }
    // The previous run has recorded its end, but may hold the workflow id a moment longer.
    await until(async () => {
      const answer = await say('olga', `/v1/models/${model}/retrainings`)
      started = answer.json as typeof started
      return answer.status === 202
    }, 'the start')
    const isWaiting = async () => {
      const waiting = sql`
        select from pg_locks join pg_database on pg_database.oid = database
        where datname = current_database() and relation = 'retrainings'::regclass and not granted`
      return (await fixture.store.query(waiting)).length > 0
    }
    await until(isWaiting, 'the write of the row')
    const handle = core.client.workflow.getHandle(retrainWorkflowId(model))
    await handle.cancel()
    const isCancelled = async () =>
      (await handle.fetchHistory()).events?.some(
        (event) => event.workflowExecutionCancelRequestedEventAttributes != null,
      ) === true
    await until(isCancelled, 'the cancellation')
    return { ...started, run: handle }
  })
  await run.result()
  expect(await findRetraining(fixture.store, id)).toMatchObject({ outcome: 'cancelled' })
})

it('a recorded command is delivered by `temporal workflow signal` and by a plain client, once, under any name', async () => {
  const { address } = core.config.temporal
  const sign = async (id: string) =>
    (await say('anna', `/v1/releases/${id}/sign`, { command: 'approve', reason: 'looked at it\r\ntwice' }))
      .json as { namespace: string; workflow_id: string; signal: CommandName; payload: CommandMessage }
  for (const by of ['the command line', 'a client']) {
    const id = await start(await registry.register(champion))
    await reaches(id, 'awaiting_approval')
    expect((await say('vera', `/v1/releases/${id}/sign`, { command: 'abort' })).status).toBe(403)
    expect((await say('olga', `/v1/releases/${id}/sign`, { command: 'approve' })).status).toBe(403)
    const { namespace, workflow_id: workflowId, signal, payload } = await sign(id)
    expect(payload).toEqual({ command: expect.stringMatching(/^cmd_[0-9a-f]{32}$/) as string })
    const handle = core.client.workflow.getHandle(workflowId)
    if (by === 'a client') await handle.signal('reject', payload)
    else {
      const words = ['workflow', 'signal', '--workflow-id', workflowId, '--name', signal]
      const more = ['--input', JSON.stringify(payload), '--address', address, '--namespace', namespace]
      await promisify(execFile)(temporalCli(), [...words, ...more])
    }
    const answers = async () => (await show(id))['commands'] as { command: string; accepted: boolean }[]
    await until(async () => (await answers()).length === 1, `the answer to ${by}`)
    await handle.signal(signal, payload)
    await say('olga', `/v1/releases/${id}/abort`)
    await reaches(id, 'ended')
    expect(await answers()).toMatchObject([
      { command: 'approve', actor: 'anna', accepted: true, reason: 'looked at it\ntwice' },
      { command: 'abort' },
    ])
    expect((await say('anna', `/v1/releases/${id}/sign`, { command: 'approve' })).status).toBe(409)
  }
})

it('a reason keeps its line breaks, and a reason with other control characters is refused with an explanation', async () => {
  const id = await start(await registry.register(champion))
  await reaches(id, 'awaiting_approval')
  for (const path of [`/v1/releases/${id}/abort`, `/v1/models/${model}/rollback`]) {
    const refused = await say('olga', path, { reason: 'red \u001b[31m alert' })
    expect(refused).toMatchObject({
      status: 400,
      json: { detail: expect.stringMatching(/must not contain control characters/) as string },
    })
  }
  const answer = await say('olga', `/v1/releases/${id}/abort`, { reason: 'one line\r\nanother' })
  expect(answer).toMatchObject({ status: 200, json: { message: 'aborted by olga: one line\nanother' } })
  await reaches(id, 'ended')
})

it('the page of a running retraining has a form that cancels it, and shows who did', async () => {
  const source = { kind: 'postgres', files: {}, rows: 'select pg_sleep(600)', lookbackMs: 0, key: [] }
  await fixture.store.query(sql`
    update models set definition = jsonb_set(definition, '{source}', ${JSON.stringify(source)}::jsonb) where name = ${model}`)
  const started = await say('olga', `/v1/models/${model}/retrainings`)
  const { id } = started.json as { id: string }
  await until(async () => (await findRetraining(fixture.store, id)) !== undefined, 'the retraining')
  const browser = { accept: 'text/html', host: 'localhost' }
  const send = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    api.request('POST', path, {
      body: new URLSearchParams(form).toString(),
      headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded', ...headers },
    })
  const signedIn = await send('/sign-in', { key: keys['olga']! })
  const cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!
  const path = `/retrainings/${encodeURIComponent(id)}`
  const page = async () => (await api.request('GET', path, { headers: { ...browser, cookie } })).text
  const shown = await page()
  expect(shown).toContain('Cancel the retraining')
  const [, token = ''] = /name="token" value="([^"]+)"/.exec(shown) ?? []
  const sent = await send(`${path}/cancel`, { token, reason: 'wrong file' }, { cookie })
  expect([sent.status, sent.headers.get('location')]).toEqual([303, path])
  await until(async () => (await findRetraining(fixture.store, id))?.outcome === 'cancelled', 'the end')
  expect(await page()).not.toContain('Cancel the retraining')
  expect(await page()).toMatch(/Cancelled by<.*olga: wrong file/s)
})

it('a command that no worker handles times out, and reports that it may still run', async () => {
  const { address, namespace } = core.config.temporal
  const queue = uniqueName('unserved')
  const temporal = createTemporalClient({
    temporal: { address, namespace },
    taskQueues: { control: queue, train: queue },
  })
  const workflowId = uniqueName('release')
  await temporal.call(5_000, (client) =>
    client.workflow.start('release', { workflowId, taskQueue: queue, args: [] }),
  )
  const said = temporal.command(400, (client) =>
    client.workflow.getHandle(workflowId).executeUpdate(commandUpdates.approve, {
      args: [{ command: `cmd_${'0'.repeat(32)}` }],
    }),
  )
  await expect(said).rejects.toMatchObject({ code: 'deadline_exceeded' })
  await temporal.call(5_000, (client) => client.workflow.getHandle(workflowId).terminate())
  await temporal.close()
})
