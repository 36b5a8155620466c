/**
 * Tests the approval matrix: role, command, state, digests and basis. Each case is a row of a command that the release applies, and expects
 * an exact answer and exactly one audit row.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closeRelease } from '../../../activities/release/end-release.ts'
import {
  cancelRelease,
  endWait,
  failStep,
  lookAtBasis,
  lookAtQueue,
} from '../../../activities/release/look.ts'
import { promote } from '../../../activities/release/promote.ts'
import { qualify } from '../../../activities/release/qualify.ts'
import { rollBackCandidate } from '../../../activities/release/rollback.ts'
import { routeStage } from '../../../activities/release/route.ts'
import { watch } from '../../../activities/release/watch-stage.ts'
import type { Deps } from '../../../activities/deps.ts'
import { advance, breakGlassMs } from '../../../domain/release/reducer.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import {
  commandNames,
  openingState,
  type CommandName,
  type ReleaseDigests,
  type ReleaseState,
} from '../../../domain/release/state.ts'
import type { Role } from '../../../domain/roles.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { findChampion, moveChampion } from '../../../store/registry/champions.ts'
import { insertKey, listKeys, revokeKey, rotateKey } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  findAnswer,
  insertCommand,
  listCommands,
  releaseCommandIdOf,
  type ReleaseCommand,
} from '../../../store/commands.ts'
import {
  applyCommands,
  findRelease,
  findReleaseBasis,
  insertRelease,
  saveRelease,
  type StepInput,
} from '../../../store/release/releases.ts'
import { readConfig } from '../../../temporal.config.ts'
import { insertModel, insertPeople, type Registry } from '../../support/release/candidates.ts'
import {
  judgedEvent,
  releasePolicy,
  stepEvents,
  rolledBackEvent,
  advanceAll,
  commandEvent,
  stateAt,
  stages,
} from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const model = 'm'
const place = mkdtempSync(join(tmpdir(), 'tenure-approvals-'))
let store: Store
let deps: Deps
let registry: Registry
let champion: string
const ids: Record<string, string> = {}
const people: Record<string, Role> = {
  anna: 'approver',
  ben: 'approver',
  olga: 'operator',
  vera: 'viewer',
  paul: 'predictor',
  root: 'admin',
  rita: 'approver',
  rob: 'approver',
}

beforeAll(async () => {
  const databaseUrl = await migratedDatabase()
  store = openPatientStore(databaseUrl)
  const config = readConfig({ DATABASE_URL: databaseUrl, TENURE_STATE: place })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  deps = { ...({} as Deps), store, artifacts: openArtifacts(config.artifactRoot), config, log }
  await insertPeople(store, people)
  await insertKey(store, { name: 'otto', role: 'approver', models: ['another'] })
  await insertKey(store, { name: 'mia', role: 'approver', models: ['another', model] })
  await insertKey(store, { name: 'edgar', role: 'approver', expiresAt: '2020-01-01T00:00:00Z' })
  for (const { id, name } of await listKeys(store)) ids[name] = id
  await revokeKey(store, ids['rita']!)
  await rotateKey(store, { id: ids['rob']!, overlapMs: 0 })
  registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot: config.artifactRoot })
  champion = await registry.register()
  await moveChampion(store, { model, to: champion, cause: 'promotion', actor: 'test', reason: 'first' })
})
afterAll(async () => {
  await store.close()
  rmSync(place, { recursive: true, force: true })
})

/** The state of a release of a new version; its row is in the database. */
let opened: ReleaseState
beforeEach(async () => {
  await store.query(sql`update releases set outcome = 'aborted', ended_at = now() where ended_at is null`)
  await store.query(sql`update champions set version = ${champion} where model = ${model}`)
  const version = await registry.register(champion)
  const [row] = await store.query<{ artifact: string }>(
    sql`select artifact_digest as artifact from versions where version = ${version}`,
  )
  opened = openingState(
    {
      id: `rel_${version}`,
      model,
      version,
      baseline: champion,
      requestedBy: 'olga',
      requestedByKey: ids['olga']!,
      policy: releasePolicy,
      digests: { artifact: row!.artifact, evaluation: `report-${version}`, policy: 'p' },
      epoch: 1,
      generation: 3,
    },
    0,
  )
  await insertRelease(store, { state: opened, workflowId: `release/${model}`, runId: version })
})

describe('a workflow that looks at no command', () => {
  const acts = {
    promote,
    route: routeStage,
    watch,
    qualify,
    closeRelease,
    rollBackCandidate,
    endWait,
    failStep,
    lookAtBasis,
    lookAtQueue,
    cancelRelease,
  }
  const kinds: Partial<Record<keyof typeof acts, string>> = {
    promote: 'promote',
    route: 'route',
    watch: 'watch',
    qualify: 'qualify',
    closeRelease: 'close',
    rollBackCandidate: 'roll_back',
  }
  const looks = new Set<string>(['lookAtBasis', 'lookAtQueue', 'cancelRelease'])

  it.each(stages)('at %s: every act follows every command that was recorded before it', async (stage) => {
    const { id, version, requestedByKey, digests } = opened
    const placed: ReleaseState = {
      ...stateAt[stage],
      id,
      version,
      requestedByKey,
      digests,
      baseline: champion,
    }
    const step = nextEffect(placed)
    let tried = 0
    for (const command of commandNames)
      for (const name of Object.keys(acts) as (keyof typeof acts)[]) {
        await store.query(sql`update releases set rolled_back_at = null where id = ${id}`)
        await saveRelease(store, placed)
        const basis = await findReleaseBasis(store, placed)
        const said = { role: 'admin', key: ids['root']!, basis, reason: 'it looks wrong' } as const
        const next = advance(placed, commandEvent(command, 'root', said)).state
        // What is still asked for after the command is performed, which the tests of each step show.
        const isAsked = nextEffect(next).key === step.key && kinds[name] === step.kind
        const isWait = !(name in kinds) && nextEffect(next).key === step.key
        if (isAsked || isWait || looks.has(name)) continue
        const { id: row } = await record(command, 'root', { reason: 'it looks wrong' })
        const input = { release: id, seen: placed.revision, step: step.key }
        const act = acts[name](deps) as (given: StepInput) => Promise<ReleaseState>
        const after: ReleaseState = await new MockActivityEnvironment().run(act, input)
        const what = `${command}, then ${name}`
        expect(await findAnswer(store, { id: row, release: id }), what).toBeDefined()
        expect(nextEffect(after), what).toMatchObject({ kind: nextEffect(next).kind })
        expect(after, what).toMatchObject({ stage: next.stage, paused: next.paused, promoted: next.promoted })
        expect((await findRelease(store, id))!.state, what).toEqual(after)
        tried++
      }
    expect(tried).toBeGreaterThan(20)
    expect(await listAudit(store, { subject: id, action: 'routing.changed' })).toEqual([])
    expect((await findChampion(store, model))?.version).toBe(champion)
  })

  it.each(['abort', 'reject', 'rollback'] as const)(
    'is superseded or cancelled only after the %s that was recorded before',
    async (command) => {
      for (const look of [lookAtBasis, lookAtQueue, cancelRelease]) {
        const placed = advanceAll(opened, stepEvents.qualified)
        await saveRelease(store, placed)
        await record(command, 'root')
        const after = await look(deps)({ release: opened.id, seen: 0 })
        expect(after).toMatchObject({ stage: 'ended', reason: expect.stringContaining('by root') as string })
      }
    },
  )
})

/** The stage of the release when the command arrives. */
const situations = {
  qualifying: (): ReleaseState => opened,
  waiting: (): ReleaseState => advanceAll(opened, stepEvents.qualified),
  'approved by ben': (): ReleaseState =>
    advanceAll(situations.waiting(), commandEvent('approve', 'ben', { key: ids['ben']! })),
  shadow: (): ReleaseState =>
    advanceAll(
      situations['approved by ben'](),
      commandEvent('approve', 'mia', { key: ids['mia']! }),
      stepEvents.routed,
    ),
  canary: (): ReleaseState => advanceAll(situations.shadow(), judgedEvent('pass'), stepEvents.routed),
  paused: (): ReleaseState => advanceAll(situations.canary(), commandEvent('pause', 'olga')),
  undecided: (): ReleaseState => advanceAll(situations.canary(), judgedEvent('inconclusive')),
  'by broken glass': (): ReleaseState =>
    advanceAll(situations.canary(), commandEvent('promoteNow', 'root', { reason: 'outage' })),
  'judged against': (): ReleaseState => ({
    ...situations.canary(),
    lastVerdict: { kind: 'fail' as const, reason: 'bad', atMs: 1 },
  }),
  probation: (): ReleaseState =>
    advanceAll(
      situations.canary(),
      judgedEvent('pass'),
      stepEvents.routed,
      judgedEvent('pass'),
      stepEvents.promoted,
      stepEvents.routed,
    ),
  'rolling back': (): ReleaseState => advanceAll(situations.canary(), judgedEvent('fail')),
  'rolled back': (): ReleaseState => advanceAll(situations['rolling back'](), rolledBackEvent(false)),
  rejected: (): ReleaseState => advanceAll(situations.waiting(), commandEvent('reject', 'ben')),
  aborted: (): ReleaseState => advanceAll(situations.waiting(), commandEvent('abort', 'olga')),
  'asked for by anna': (): ReleaseState => ({
    ...situations.waiting(),
    requestedBy: 'anna',
    requestedByKey: ids['anna']!,
  }),
  "asked for with anna's key, under another name": (): ReleaseState => ({
    ...situations.waiting(),
    requestedBy: 'anna-before',
    requestedByKey: ids['anna']!,
  }),
  'requested by an earlier anna, with another key': (): ReleaseState => ({
    ...situations.waiting(),
    requestedBy: 'anna',
    requestedByKey: '000000000000',
  }),
  'asked for by a schedule': (): ReleaseState => {
    const { requestedByKey: _key, ...rest } = situations.waiting()
    return { ...rest, requestedBy: 'schedule/m' }
  },
  'asked for by root': (): ReleaseState => ({
    ...situations.waiting(),
    requestedBy: 'root',
    requestedByKey: ids['root']!,
  }),
  "approved with ben's key, under another name": (): ReleaseState =>
    advanceAll(situations.waiting(), commandEvent('approve', 'ben-before', { key: ids['ben']! })),
} satisfies Record<string, () => ReleaseState>
type Situation = keyof typeof situations

type Spoken = Partial<Pick<ReleaseCommand, 'reason' | 'digests' | 'untilMs' | 'keyId'>>

let count = 0

/** Stores a command of the owner of a key, as the API does. */
async function record(command: CommandName, by: string, said: Spoken = {}): Promise<ReleaseCommand> {
  const keyId = ids[by] ?? 'key_none'
  const { id: releaseId } = opened
  const id = releaseCommandIdOf(keyId, { kind: command, once: String(count++) })
  const role = people[by] ?? 'approver'
  const row = { id, kind: command, releaseId, model, actor: by, keyId, role, ...said }
  expect(await store.transaction((database) => insertCommand(database, row))).toBe(true)
  return row
}

/** Applies the commands without an answer, as the release does. */
const apply = () => store.transaction((database) => applyCommands(database, { release: opened.id, seen: 0 }))
const answers = () => listCommands(store, opened.id)
const audited = async (id: string) =>
  (await listAudit(store, { subject: opened.id, limit: 100 })).filter(({ detail }) => detail['id'] === id)

/** Gives the release this state and applies a command to it. */
async function speak(state: ReleaseState, command: CommandName, by: string, said: Spoken = {}) {
  await saveRelease(store, state)
  const { id, reason, keyId, digests } = await record(command, by, said)
  const after = await apply()
  expect((await findRelease(store, opened.id))?.state).toEqual(after)
  const { accepted, message, stage } = (await answers()).find((each) => each.id === id)!
  expect(stage).toBe(after.stage)
  const rows = await audited(id)
  expect(rows).toMatchObject([
    {
      actor: by,
      action: `release.${command}`,
      model,
      detail: { accepted, message, stage, reason: reason ?? null, key: keyId, digests: digests ?? {} },
    },
    { actor: by, action: 'command.recorded', model, detail: { command, reason: reason ?? null } },
  ])
  return { accepted, message, stage, after, audit: rows[0]! }
}

describe('each role and each command', () => {
  const places: Record<CommandName, Situation> = {
    approve: 'waiting',
    reject: 'waiting',
    pause: 'canary',
    resume: 'paused',
    abort: 'canary',
    rollback: 'canary',
    promoteNow: 'canary',
  }
  const may: Record<CommandName, string> = {
    approve: 'approver or admin',
    reject: 'approver or admin',
    pause: 'operator or approver or admin',
    resume: 'approver or admin',
    abort: 'operator or approver or admin',
    rollback: 'operator or approver or admin',
    promoteNow: 'admin',
  }
  const speakers = { viewer: 'vera', predictor: 'paul', operator: 'olga', approver: 'anna', admin: 'root' }
  const cells = (Object.keys(places) as CommandName[]).flatMap((command) =>
    Object.entries(speakers).map(([role, by]) => [command, role, by] as const),
  )
  it.each(cells)('%s by a key of the role %s', async (command, role, by) => {
    const { accepted, message } = await speak(situations[places[command]](), command, by, { reason: 'r' })
    const allowed = may[command].split(' or ').includes(role)
    expect(accepted).toBe(allowed)
    if (!allowed) expect(message).toBe(`${by} has the role ${role}; ${command} needs ${may[command]}`)
  })
})

const other = `sha256:${'0'.repeat(64)}`
type Row = [title: string, Situation, CommandName, string, Spoken, boolean, string, ReleaseState['stage']]
const rows: Row[] = [
  [
    'the first of two',
    'waiting',
    'approve',
    'anna',
    {},
    true,
    'approved by anna, 1 of 2',
    'awaiting_approval',
  ],
  ['the second of two', 'approved by ben', 'approve', 'anna', {}, true, 'approved by ben and anna', 'shadow'],
  [
    'one with scope for the model',
    'waiting',
    'approve',
    'mia',
    {},
    true,
    'approved by mia, 1 of 2',
    'awaiting_approval',
  ],
  [
    'one whose secret was renewed',
    'waiting',
    'approve',
    'rob',
    {},
    true,
    'approved by rob, 1 of 2',
    'awaiting_approval',
  ],
  [
    'mallory',
    'waiting',
    'approve',
    'mallory',
    {},
    false,
    'no active key is named "mallory"',
    'awaiting_approval',
  ],
  [
    'a revoked key',
    'waiting',
    'approve',
    'rita',
    {},
    false,
    'no active key is named "rita"',
    'awaiting_approval',
  ],
  [
    'a name with the key of another user',
    'waiting',
    'approve',
    'anna',
    { keyId: 'key_none' },
    false,
    'no active key is named "anna"',
    'awaiting_approval',
  ],
  [
    'after its time',
    'waiting',
    'approve',
    'anna',
    { untilMs: 0 },
    false,
    'the command of anna was valid until 1970-01-01T00:00:00.000Z',
    'awaiting_approval',
  ],
  [
    'an expired key',
    'waiting',
    'approve',
    'edgar',
    {},
    false,
    'no active key is named "edgar"',
    'awaiting_approval',
  ],
  [
    'a key of another model',
    'waiting',
    'approve',
    'otto',
    {},
    false,
    'the key of otto does not cover the model m',
    'awaiting_approval',
  ],
  [
    'the requester',
    'asked for by anna',
    'approve',
    'anna',
    {},
    false,
    'anna requested the release; someone else must approve it',
    'awaiting_approval',
  ],
  [
    'the requester by the key',
    "asked for with anna's key, under another name",
    'approve',
    'anna',
    {},
    false,
    'anna requested the release; someone else must approve it',
    'awaiting_approval',
  ],
  [
    'the requester by the name',
    'requested by an earlier anna, with another key',
    'approve',
    'anna',
    {},
    false,
    'anna requested the release; someone else must approve it',
    'awaiting_approval',
  ],
  [
    'an admin who has asked',
    'asked for by root',
    'approve',
    'root',
    {},
    false,
    'root requested the release; someone else must approve it',
    'awaiting_approval',
  ],
  [
    'a person, of what a schedule has asked for',
    'asked for by a schedule',
    'approve',
    'anna',
    {},
    true,
    'approved by anna, 1 of 2',
    'awaiting_approval',
  ],
  [
    'the schedule itself',
    'asked for by a schedule',
    'approve',
    'schedule/m',
    {},
    false,
    'no active key is named "schedule/m"',
    'awaiting_approval',
  ],
  [
    'the same person twice',
    'approved by ben',
    'approve',
    'ben',
    {},
    false,
    'already approved by ben',
    'awaiting_approval',
  ],
  [
    'the same key twice',
    "approved with ben's key, under another name",
    'approve',
    'ben',
    {},
    false,
    'already approved by ben',
    'awaiting_approval',
  ],
  [
    'before it is qualified',
    'qualifying',
    'approve',
    'anna',
    {},
    false,
    'it waits for no approval: release is in qualifying',
    'qualifying',
  ],
  [
    'break-glass before it is qualified',
    'qualifying',
    'promoteNow',
    'root',
    { reason: 'r' },
    false,
    'nothing to skip: release is in qualifying',
    'qualifying',
  ],
  [
    'when it is in its canary',
    'canary',
    'approve',
    'anna',
    {},
    false,
    expect.stringMatching(/^already approved by .* ago; the release is in canary$/) as string,
    'canary',
  ],
  [
    'on probation',
    'probation',
    'approve',
    'anna',
    {},
    false,
    expect.stringMatching(/^already approved by .* ago; the release is in probation$/) as string,
    'probation',
  ],
  [
    'an undecided stage',
    'undecided',
    'approve',
    'anna',
    {},
    true,
    'stage passed by decision of anna',
    'canary',
  ],
  [
    'the requester, an undecided stage',
    'undecided',
    'approve',
    'olga',
    {},
    false,
    'olga has the role operator; approve needs approver or admin',
    'awaiting_decision',
  ],
  [
    'while it is being rolled back',
    'rolling back',
    'approve',
    'anna',
    {},
    false,
    'the release is being rolled back: it is fail',
    'rolling_back',
  ],
  [
    'after it was rolled back',
    'rolled back',
    'approve',
    'anna',
    {},
    false,
    'the release has ended (rolled_back): it is fail',
    'ended',
  ],
  [
    'after a rejection',
    'rejected',
    'approve',
    'anna',
    {},
    false,
    'the release has ended (rejected): rejected by ben: because',
    'ended',
  ],
  [
    'after a rejection by the same person',
    'rejected',
    'approve',
    'ben',
    {},
    false,
    'the release has ended (rejected): rejected by ben: because',
    'ended',
  ],
  [
    'after an abort',
    'aborted',
    'approve',
    'anna',
    {},
    false,
    'the release has ended (aborted): aborted by olga: because',
    'ended',
  ],
  [
    'a rejection after an abort',
    'aborted',
    'reject',
    'anna',
    {},
    false,
    'the release has ended (aborted): aborted by olga: because',
    'ended',
  ],
  [
    'an abort after a rejection',
    'rejected',
    'abort',
    'olga',
    {},
    false,
    'the release has ended (rejected): rejected by ben: because',
    'ended',
  ],
  ['a denial', 'waiting', 'reject', 'anna', { reason: 'no' }, true, 'rejected by anna: no', 'ended'],
  [
    'a denial by the requester would need the role',
    'waiting',
    'reject',
    'olga',
    {},
    false,
    'olga has the role operator; reject needs approver or admin',
    'awaiting_approval',
  ],
  ['a denial by who has approved', 'approved by ben', 'reject', 'ben', {}, true, 'rejected by ben', 'ended'],
  [
    'a denial of an undecided stage',
    'undecided',
    'reject',
    'anna',
    {},
    true,
    'rejected by anna',
    'rolling_back',
  ],
  [
    'a denial by a revoked key',
    'waiting',
    'reject',
    'rita',
    {},
    false,
    'no active key is named "rita"',
    'awaiting_approval',
  ],
  [
    'break-glass without a reason',
    'canary',
    'promoteNow',
    'root',
    {},
    false,
    'promoteNow skips approvals and waits; it needs a reason',
    'canary',
  ],
  [
    'break-glass with blanks',
    'canary',
    'promoteNow',
    'root',
    { reason: ' ' },
    false,
    'promoteNow skips approvals and waits; it needs a reason',
    'canary',
  ],
  [
    'break-glass',
    'canary',
    'promoteNow',
    'root',
    { reason: 'outage' },
    true,
    'break-glass by root: outage; still ahead: 10 requests at 1 % without a regression, then the probation',
    'canary',
  ],
  [
    'break-glass instead of approvals',
    'waiting',
    'promoteNow',
    'root',
    { reason: 'outage' },
    true,
    'break-glass by root: outage; still ahead: 10 requests at 1 % without a regression, then the probation',
    'canary',
  ],
  [
    'break-glass by an approver',
    'waiting',
    'promoteNow',
    'anna',
    { reason: 'outage' },
    false,
    'anna has the role approver; promoteNow needs admin',
    'awaiting_approval',
  ],
  [
    'break-glass for other bytes',
    'waiting',
    'promoteNow',
    'root',
    { reason: 'outage', digests: { artifact: other } },
    false,
    expect.stringMatching(/^the command of root names the artifact sha256:0+, the release has /) as string,
    'awaiting_approval',
  ],
  [
    'break-glass twice',
    'by broken glass',
    'promoteNow',
    'root',
    { reason: 'outage' },
    false,
    'break-glass was already used by root',
    'canary',
  ],
  [
    'break-glass against a verdict',
    'judged against',
    'promoteNow',
    'root',
    { reason: 'r' },
    false,
    'the last verdict is against the candidate: bad',
    'canary',
  ],
  [
    'break-glass on probation',
    'probation',
    'promoteNow',
    'root',
    { reason: 'r' },
    false,
    'nothing to skip: release is in probation',
    'probation',
  ],
  [
    'break-glass after the end',
    'aborted',
    'promoteNow',
    'root',
    { reason: 'r' },
    false,
    'the release has ended (aborted): aborted by olga: because',
    'ended',
  ],
]

describe('the subject of an approval', () => {
  it.each(rows)(
    '%s (%s): %s by %s',
    async (_title, situation, command, by, said, accepted, message, stage) => {
      const result = await speak(situations[situation](), command, by, said)
      expect(result).toMatchObject({ accepted, message, stage })
    },
  )

  it.each(['artifact', 'evaluation', 'policy'] as const)(
    'another %s is refused, naming both',
    async (what) => {
      const digests: Partial<ReleaseDigests> = { [what]: other }
      for (const command of ['approve', 'reject'] as const) {
        const result = await speak(situations.waiting(), command, 'anna', { digests })
        expect(result).toMatchObject({
          accepted: false,
          stage: 'awaiting_approval',
          message: `the command of anna names the ${what} ${other}, the release has ${opened.digests[what]}`,
        })
      }
      const answer = await speak(situations.canary(), 'promoteNow', 'root', { digests, reason: 'r' })
      expect(answer).toMatchObject({ accepted: false, stage: 'canary' })
    },
  )

  it('every difference is named', async () => {
    const digests = { artifact: other, evaluation: other, policy: other }
    const { message } = await speak(situations.waiting(), 'approve', 'anna', { digests })
    for (const what of ['artifact', 'evaluation', 'policy']) expect(message).toContain(`names the ${what}`)
  })

  it('an approval is stored with its key and all three digests', async () => {
    const said = { digests: opened.digests, reason: 'fine' }
    const { after, audit } = await speak(situations.waiting(), 'approve', 'anna', said)
    expect(after.approvals).toMatchObject([
      { by: 'anna', key: ids['anna'], reason: 'fine', digests: opened.digests },
    ])
    expect(audit.detail).toMatchObject({ key: ids['anna'], digests: opened.digests })
  })

  it('a rejection is stored, voids the approval of the same user, and does not affect the next release', async () => {
    const { after, audit } = await speak(situations['approved by ben'](), 'reject', 'ben', {
      reason: 'on reflection',
    })
    expect(after).toMatchObject({
      outcome: 'rejected',
      approvals: [],
      voidedApprovals: [{ by: 'ben', why: 'ben has rejected the release since' }],
      rejections: [{ by: 'ben', reason: 'on reflection', digests: opened.digests }],
    })
    expect(audit.detail).toMatchObject({ key: ids['ben'] })
    const later = await speak(situations.waiting(), 'approve', 'ben')
    expect(later).toMatchObject({ accepted: true, message: 'approved by ben, 1 of 2' })
  })
})

describe('an approval on a changed basis', () => {
  it('is void after a change of champion: the release is superseded, and the message names the remedy', async () => {
    const rival = await registry.register(champion)
    const before = situations['approved by ben']()
    await store.query(sql`update champions set version = ${rival} where model = ${model}`)
    for (const [command, by] of [
      ['approve', 'anna'],
      ['promoteNow', 'root'],
    ] as const) {
      const { accepted, message, after } = await speak(before, command, by, { reason: 'r' })
      expect({ accepted, message }).toEqual({
        accepted: false,
        message:
          `Champion changed: the champion is now ${rival}, the release was built on ${champion}. ` +
          `Make another with \`tenure retrain ${model}\`; approvals voided: ben`,
      })
      expect(after).toMatchObject({
        stage: 'ended',
        outcome: 'superseded',
        approvals: [],
        voidedApprovals: [{ by: 'ben' }],
      })
    }
  })

  it('is void after another evaluation, and the same release can be approved again', async () => {
    const before = situations['approved by ben']()
    await store.query(sql`update evaluations set report_digest = 'newer' where id = ${`e-${opened.version}`}`)
    const stale = await speak(before, 'approve', 'anna', {
      digests: { evaluation: opened.digests.evaluation },
    })
    expect(stale).toMatchObject({
      accepted: false,
      stage: 'awaiting_approval',
      message:
        `the evaluation of ${opened.version} has changed from ${opened.digests.evaluation} to newer; ` +
        'approvals voided: ben; review it and approve again',
    })
    expect(stale.after).toMatchObject({
      approvals: [],
      voidedApprovals: [{ by: 'ben' }],
      digests: { evaluation: 'newer' },
    })
    const again = await speak(stale.after, 'approve', 'ben', { digests: { evaluation: 'newer' } })
    expect(again).toMatchObject({ accepted: true, message: 'approved by ben, 1 of 2' })
    expect(again.after.approvals).toMatchObject([{ by: 'ben', digests: { evaluation: 'newer' } }])
    expect((await speak(again.after, 'approve', 'anna')).message).toBe('approved by ben and anna')
    // A command that names the new evidence was sent by a user who has seen it.
    const aware = await speak(before, 'approve', 'anna', { digests: { evaluation: 'newer' } })
    expect(aware).toMatchObject({ accepted: true, message: 'approved by anna, 1 of 2' })
    expect(aware.after.voidedApprovals).toMatchObject([{ by: 'ben' }])
  })

  it.each([
    [
      'other bytes',
      () => sql`update versions set artifact_digest = 'x' where version = ${opened.version}`,
      /the artifact of .* has changed from .* to x/,
    ],
    [
      'a withdrawn version',
      () => sql`update versions set rolled_back_at = now() where version = ${opened.version}`,
      /has been rolled back/,
    ],
    [
      'evidence against another champion',
      () => sql`update evaluations set baseline_version = null where id = ${`e-${opened.version}`}`,
      /was compared with no champion/,
    ],
  ])('supersedes the release: %s', async (_name, change, message) => {
    const before = situations.waiting()
    await store.query(change())
    const result = await speak(before, 'approve', 'anna')
    expect(result).toMatchObject({
      accepted: false,
      stage: 'ended',
      message: expect.stringMatching(message) as string,
    })
    expect(result.after.outcome).toBe('superseded')
  })

  it('does not prevent a rejection', async () => {
    await store.query(sql`update evaluations set report_digest = 'newer' where id = ${`e-${opened.version}`}`)
    expect(await speak(situations.waiting(), 'reject', 'anna')).toMatchObject({
      accepted: true,
      stage: 'ended',
    })
  })
})

/** Gives the release this state, warm, and runs the step that promotes. */
async function promoted(state: ReleaseState): Promise<ReleaseState> {
  const warm = advanceAll(state, stepEvents.routed)
  expect(nextEffect(warm).kind).toBe('promote')
  await saveRelease(store, warm)
  const input = { release: opened.id, step: nextEffect(warm).key, seen: warm.revision }
  return new MockActivityEnvironment().run(promote(deps), input)
}

describe('break-glass', () => {
  it('raises an alert at once, and expires after an hour', async () => {
    const { after: hurried } = await speak(situations.canary(), 'promoteNow', 'root', { reason: 'outage' })
    const after = advanceAll(hurried, judgedEvent('pass'))
    expect(after).toMatchObject({ stage: 'promoting', stageIndex: 0 })
    expect(after.breakGlass).toMatchObject({ by: 'root', key: ids['root'], digests: opened.digests })
    expect(after.breakGlass!.untilMs! - after.breakGlass!.atMs).toBe(breakGlassMs)
    const [alert] = await listAlerts(store, { model })
    expect(alert).toMatchObject({
      kind: 'break_glass',
      severity: 'critical',
      message: `Break-glass promotion of ${opened.version} by root: outage`,
    })
    const late = { ...after, breakGlass: { ...after.breakGlass!, untilMs: Date.now() - 1 } }
    expect(await promoted(late)).toMatchObject({
      stage: 'rolling_back',
      rollbackOrder: { reason: 'the break-glass order of root expired after 1 h' },
    })
  })

  it('does not override a newer adverse verdict or changed bytes', async () => {
    const { after: hurried } = await speak(situations.canary(), 'promoteNow', 'root', { reason: 'outage' })
    const after = advanceAll(hurried, judgedEvent('pass'))
    await store.query(sql`
      insert into decisions (release_id, stage, stage_index, kind, reasons, statistics, inputs, judge, policy_digest)
      values (${after.id}, 'canary', 0, 'fail', '[{"code": "x", "message": "too many errors"}]', '{}', '{}', 'j', 'p')`)
    expect(await promoted(after)).toMatchObject({
      promoted: false,
      rollbackOrder: { reason: expect.stringMatching('too many errors') as string },
    })
    await store.query(sql`update versions set artifact_digest = 'x' where version = ${opened.version}`)
    expect(await promoted(after)).toMatchObject({
      promoted: false,
      rollbackOrder: { reason: expect.stringMatching(/artifact of .* has changed/) as string },
    })
  })
})

describe('the rows of commands', () => {
  it('are applied in their order, each once, with one answer and one audit row', async () => {
    await saveRelease(store, situations.waiting())
    const given = [
      await record('approve', 'anna'),
      await record('reject', 'ben'),
      await record('abort', 'olga'),
    ]
    // Looks at the same moment wait for each other.
    await Promise.all([apply(), apply(), apply()])
    expect(await answers()).toMatchObject([
      { id: given[0]!.id, accepted: true, message: 'approved by anna, 1 of 2' },
      { id: given[1]!.id, accepted: true, message: 'rejected by ben' },
      { id: given[2]!.id, accepted: false },
    ])
    const before = await answers()
    for (const command of given) {
      const again = { ...command, reason: 'again' }
      expect(await store.transaction((database) => insertCommand(database, again))).toBe(false)
    }
    await apply()
    expect(await answers()).toEqual(before)
    for (const { id, kind } of given)
      expect((await audited(id)).map(({ action }) => action)).toEqual([`release.${kind}`, 'command.recorded'])
  })

  it('of a key that is revoked between the row and the look are refused', async () => {
    const { facts: key } = await insertKey(store, { name: `leaver-${count}`, role: 'approver' })
    ids[key.name] = key.id
    await saveRelease(store, situations.waiting())
    await record('approve', key.name)
    await revokeKey(store, key.id)
    expect((await apply()).approvals).toEqual([])
    expect(await answers()).toMatchObject([
      { accepted: false, message: `no active key is named "${key.name}"` },
    ])
  })

  it('say nothing about the role: the key has it, or not', async () => {
    await saveRelease(store, situations.waiting())
    people['vera'] = 'admin'
    await record('approve', 'vera')
    people['vera'] = 'viewer'
    expect((await apply()).approvals).toEqual([])
    expect(await answers()).toMatchObject([
      { accepted: false, message: 'vera has the role viewer; approve needs approver or admin' },
    ])
  })
})
