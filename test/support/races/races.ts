/**
 * Races two commands on one release. Activities race in their own transactions, where Postgres decides. Updates race on a real release,
 * where the workflow decides.
 */
import { randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { openOrdered } from '../commands/open-ordered.ts'
import { promote } from '../../../activities/release/promote.ts'
import { returnToBaseline } from '../../../store/release/rollback.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { lockRelease, saveRelease } from '../../../store/release/releases.ts'
import { advance, type ReleaseEvent } from '../../../domain/release/reducer.ts'
import type { CommandName, ReleaseState } from '../../../domain/release/state.ts'
import { findChampion, listChampionHistory } from '../../../store/registry/champions.ts'
import { findFailVerdict } from '../../../store/release/decisions.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { insertModel, type Registry } from '../release/candidates.ts'
import { seatChampion } from '../serving/seed-champion.ts'
import { quickPolicy, type FixtureRelease, type ReleaseFixture } from '../release/release-fixture.ts'

export interface RaceResult {
  /** Winner → number of races won. */
  winners: Map<string, number>
  /** Violated invariants. */
  issues: string[]
}

type Race = () => Promise<{ winner: string; issues: string[] }>

/** Runs races, some in parallel, until `count` are finished or the time is up. */
export async function runRaces(
  count: number,
  race: (index: number) => ReturnType<Race>,
  { abreast = 8, withinMs = Infinity }: { abreast?: number; withinMs?: number } = {},
): Promise<RaceResult & { over: number }> {
  const raced: RaceResult = { winners: new Map(), issues: [] }
  const from = performance.now()
  let next = 0
  let over = 0
  const lane = async () => {
    while (next < count && performance.now() - from < withinMs) {
      const index = next++
      const { winner, issues } = await race(index)
      over++
      raced.winners.set(winner, (raced.winners.get(winner) ?? 0) + 1)
      raced.issues.push(...issues.map((issue) => `${index + 1}: ${issue}`))
    }
  }
  await Promise.all(Array.from({ length: abreast }, lane))
  return { ...raced, over }
}

let models = 0
const stamp = Date.now().toString(36)

async function seated(
  fixture: ReleaseFixture,
  policy = quickPolicy,
): Promise<{ model: string; champion: string; registry: Registry }> {
  const model = `race-${stamp}-${models++}`
  const { artifactRoot } = fixture.config
  const registry = await insertModel(fixture.store, { model, policy, artifactRoot })
  // These races do not read the artifact.
  const champion = await registry.register(undefined, `sha256:${'1'.repeat(64)}`)
  await seatChampion(fixture.store, model, champion)
  return { model, champion, registry }
}

const opening = (model: string, version: string, name: string) => ({
  model,
  version,
  requestedBy: 'olga',
  workflowId: `${name}/${model}`,
  runId: `${model}${name}`,
  atMs: Date.now(),
})

async function auditOf(
  { store }: ReleaseFixture,
  model: string,
): Promise<{ action: string; subject: string }[]> {
  return store.query(sql`select action, subject from audit where model = ${model} order by seq`)
}

/** Opens two releases of one model at once. */
export async function raceOpenings(fixture: ReleaseFixture): ReturnType<Race> {
  const { model, champion, registry } = await seated(fixture)
  const digest = `sha256:${'2'.repeat(64)}`
  const versions = [await registry.register(champion, digest), await registry.register(champion, digest)]
  const answers = await Promise.all(
    versions.map((version, i) => openOrdered(fixture.deps, opening(model, version, String(i)))),
  )
  const won = answers.findIndex((answer) => 'state' in answer)
  const open_ = await fixture.store.query(sql`select id from releases where model = ${model}`)
  const audited = (await auditOf(fixture, model)).filter(({ action }) => action === 'release.opened')
  const issues = [
    ...(answers.filter((answer) => 'state' in answer).length === 1
      ? []
      : [`opened: ${JSON.stringify(answers)}`]),
    ...(open_.length === 1 ? [] : [`${open_.length} releases stand open`]),
    ...(audited.length === 1 ? [] : [`${audited.length} audit rows of an opening`]),
  ]
  return { winner: won === 0 ? 'the first' : 'the second', issues }
}

/** A policy that promotes without approval and without a verdict. */
const ready = {
  ...quickPolicy,
  strategy: 'direct' as const,
  approval: { ...quickPolicy.approval, approvers: 0 },
  shadow: undefined,
  stages: [],
  probation: undefined,
}

/** Promotes and rolls back a candidate at once. */
export async function racePromotion(fixture: ReleaseFixture): ReturnType<Race> {
  const { model, champion, registry } = await seated(fixture, ready)
  const version = await registry.register(champion, `sha256:${'2'.repeat(64)}`)
  const opened = await openOrdered(fixture.deps, opening(model, version, 'race'))
  if (!('state' in opened)) return { winner: 'neither', issues: [opened.refused] }
  const state: ReleaseState = { ...opened.state, stage: 'promoting', routed: true }
  await saveRelease(fixture.store, state)
  const step = { release: state.id, step: nextEffect(state).key, seen: 0 }
  const promoteIt = (): Promise<ReleaseState> =>
    new MockActivityEnvironment().run(promote(fixture.deps), step)
  const order = { outcome: 'rolled_back' as const, reason: 'by hand', withdraw: true }
  // Half of the promotions get a head start, because a promotion runs more statements before it conflicts with a rollback.
  const headStartMs = models % 2 === 0 ? 0 : Math.random() * 50
  const [report, wasChampion] = await Promise.all([
    promoteIt(),
    pause(headStartMs).then(() =>
      fixture.store.transaction(async (database) => {
        const now = (await lockRelease(database, state.id))!.state
        await saveRelease(database, { ...now, stage: 'rolling_back', rollbackOrder: order })
        return returnToBaseline(database, { ...state, rollbackOrder: order })
      }),
    ),
  ])
  // A late promotion step changes nothing.
  await promoteIt()
  const now = await findChampion(fixture.store, model)
  const routing = await findRouting(fixture.store, model)
  const changes = (await listChampionHistory(fixture.store, model)).map(({ cause }) => cause)
  const audited = (await auditOf(fixture, model)).map(({ action }) => action)
  const { promoted } = report
  const expected = promoted
    ? ['command.recorded', 'release.opened', 'champion.promoted', 'champion.rolled_back']
    : ['command.recorded', 'release.opened']
  const issues = [
    ...(now?.version === champion ? [] : [`${now?.version} is champion`]),
    ...(routing?.route.arms.length === 1 && routing.route.arms[0]?.version === champion
      ? []
      : [`routed to ${JSON.stringify(routing?.route.arms)}`]),
    ...(promoted === wasChampion ? [] : [`promoted: ${promoted}, rolled back as champion: ${wasChampion}`]),
    ...(changes.length === (promoted ? 3 : 1) ? [] : [`the history says ${changes.join(', ')}`]),
    ...(JSON.stringify(audited) === JSON.stringify(expected) ? [] : [`the audit says ${audited.join(', ')}`]),
  ]
  return { winner: promoted ? 'promote' : 'rollback', issues }
}

export type CommandRace = 'double approve' | 'approve against reject' | 'rollback against promote'

/** Sends commands of two users to one real release at once. */
export async function raceCommands(fixture: ReleaseFixture, kind: CommandRace): ReturnType<Race> {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.register()
  await seatChampion(fixture.store, fixtureModel.name, first)
  const version = await fixtureModel.register(first)
  const long = { minMs: 100_000, minRequests: 20, deadlineMs: 200_000 }
  const release = await fixtureModel.start(version, {
    approval: { approvers: kind === 'double approve' ? 2 : 1, withinMs: 200_000 },
    shadow: { ...long, shareBp: 10_000 },
  })
  await release.reaches('awaiting_approval')
  const issues: string[] = []
  let winner = ''
  if (kind === 'double approve') {
    const answers = await both(release, ['approve', 'anna'], ['approve', 'anna'])
    winner = answers[0] ? 'the first' : 'the second'
    if (answers.filter(Boolean).length !== 1) issues.push(`${answers.filter(Boolean).length} were accepted`)
    const { approvals, stage: where } = await release.state()
    if (approvals.length !== 1 || where !== 'awaiting_approval')
      issues.push(`${approvals.length} approvals in the stage ${where}`)
    await release.say('reject', 'ben')
  } else if (kind === 'approve against reject') {
    const [approved, rejected] = await both(release, ['approve', 'anna'], ['reject', 'ben'])
    winner = approved ? 'approve' : 'reject'
    if (approved === rejected) issues.push(`approved: ${approved}, rejected: ${rejected}`)
    if (approved) await release.say('abort', 'olga')
  } else {
    await release.say('approve', 'anna')
    await release.reaches('shadow', 0)
    const [back] = await both(release, ['rollback', 'olga'], ['promoteNow', 'root'])
    winner = back ? 'rollback' : 'promote'
    if (!back) await release.say('rollback', 'olga')
  }
  const { outcome } = await release.result()
  if (outcome === 'promoted') issues.push('it was promoted')
  const now = await findChampion(fixture.store, fixtureModel.name)
  if (now?.version !== first) issues.push(`${now?.version} is champion`)
  const effective = await fixture.store.query<{ id: string }>(
    sql`select id from commands where release_id = ${release.id} and answered_at is not null`,
  )
  const audited = (await auditOf(fixture, fixtureModel.name)).filter(({ action }) =>
    /release\.(approve|reject|rollback|promoteNow|abort)$/.test(action),
  )
  if (effective.length !== audited.length)
    issues.push(`${effective.length} commands, ${audited.length} audit rows`)
  return { winner, issues }
}

async function both(
  release: FixtureRelease,
  one: [CommandName, string],
  two: [CommandName, string],
): Promise<[boolean, boolean]> {
  const say = ([name, by]: [CommandName, string]) => release.say(name, by, { reason: 'a race' })
  const [a, b] = await Promise.all([say(one), say(two)])
  return [a.accepted, b.accepted]
}

export type StepRace = 'abort against a promotion' | 'pause against the verdict'

/** Sends a user's command at a random moment of a step of a real release. */
export async function raceStep(fixture: ReleaseFixture, kind: StepRace): ReturnType<Race> {
  const { store } = fixture
  const { name, register, start, traffic } = await fixture.model()
  const first = await register()
  await seatChampion(store, name, first)
  const version = await register(first)
  const isAbort = kind === 'abort against a promotion'
  const long = { minMs: 100_000, minRequests: 20, deadlineMs: 200_000, shareBp: 5_000 }
  const release = await start(version, {
    shadow: false,
    ...(isAbort ? { strategy: 'direct', probation: false } : { stages: [long] }),
  })
  const promotions = async () =>
    (await listChampionHistory(store, name)).filter((each) => each.version === version).length
  /** Stops the failures after one verdict. This verdict is the only evidence against the candidate, and a pause must not lose it. */
  const clearWhenJudged = async () => {
    while (!(await findFailVerdict(store, release.id))) await pause(5)
    traffic.invalid.clear()
  }
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  let judged: Promise<void> | undefined
  if (!isAbort) {
    await release.reaches('canary')
    traffic.invalid.set(version, 0.9)
    judged = clearWhenJudged()
  }
  await pause(randomInt(isAbort ? 1_500 : 500))
  // A release that has ended accepts no command.
  const answer = await release
    .say(isAbort ? 'abort' : 'pause', 'olga', { reason: 'a race' })
    .catch(() => undefined)
  const accepted = answer?.accepted === true
  const promoted = await promotions()
  await judged
  const { outcome } = await release.result()
  const now = (await findChampion(store, name))?.version
  // An abort that arrives after the promotion was written rolls back a champion.
  const expected = isAbort ? (accepted ? ['aborted', 'rolled_back'] : ['promoted']) : ['rolled_back']
  const issues = [
    ...(expected.includes(outcome) ? [] : [`it ended as ${outcome}, and not as ${expected.join(' or ')}`]),
    ...(now === (outcome === 'promoted' ? version : first) ? [] : [`${now} is champion`]),
    ...(accepted && (await promotions()) > promoted
      ? ['it was promoted after the command was accepted']
      : []),
  ]
  return { winner: accepted ? 'the command' : 'the step', issues }
}

/**
 * Applies two events to the reducer, one after the other. Callers pass both orders; the reducer alone decides which event has an effect.
 */
export function raceEvents(
  state: ReleaseState,
  one: ReleaseEvent,
  two: ReleaseEvent,
): { winner: string; issues: string[] } {
  const issues: string[] = []
  const first = advance(state, one)
  const second = advance(first.state, two)
  const { state: end } = second
  if (end.approvals.length > 1 && end.approvals[0]?.by === end.approvals[1]?.by)
    issues.push('one person has approved twice')
  if (end.rejections.length > 0 && end.outcome !== 'rejected' && end.stage !== 'rolling_back')
    issues.push(`rejected, and yet ${end.stage}`)
  if (first.state.stage === 'rolling_back' && end.stage !== 'rolling_back')
    issues.push(`rolled back, and yet ${end.stage}`)
  return { winner: first.applied ? 'the first' : 'neither', issues }
}
