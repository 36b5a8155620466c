/**
 * Reads how a release ended, as visible from outside, and which invariants it violated. Two runs of the same release must end identically,
 * with or without crashes.
 */
import sql from 'sql-template-tag'
import { commandNames } from '../../../domain/release/state.ts'
import { totalBp, type Route } from '../../../domain/serving/route.ts'
import { findChampion, listChampionHistory } from '../../../store/registry/champions.ts'
import type { Store } from '../../../store/postgres.ts'
import { listCommands } from '../../../store/commands.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../../store/serving/replicas.ts'

/** How a release ended. Versions are named by position, so that endings of two models can be compared. */
export interface Ending {
  outcome: string | undefined
  champion: string | undefined
  arms: string[]
  routings: string[]
  /** Audited steps in order, followed by the commands recorded with them. */
  audit: string[]
  changes: string[]
  commands: string[]
  /** Stages whose clock has started. */
  watched: string[]
  versions: string[]
}

interface AuditedRow {
  action: string
  detail: { generation?: number; route?: Pick<Route, 'arms'> | null }
}

export async function endingOf(store: Store, model: string, releaseId: string): Promise<Ending> {
  const short = (version: string | undefined) => version?.replace(`${model}_`, '')
  const release = await findRelease(store, releaseId)
  const routing = await findRouting(store, model)
  const audited = await auditOf(store, model)
  const actions = audited.map(({ action }) => action)
  const watched = await store.query<{ stage: string; stage_index: number }>(
    sql`select stage, stage_index from stage_clocks where release_id = ${releaseId} order by 1, 2`,
  )
  const versions = await store.query<{ version: string; proven: boolean; withdrawn: boolean }>(sql`
    select version, known_good_at is not null as proven, rolled_back_at is not null as withdrawn
    from versions where model = ${model} order by version`)
  const changes = await listChampionHistory(store, model, 100_000)
  return {
    outcome: release?.outcome,
    champion: short((await findChampion(store, model))?.version),
    arms: (routing?.route.arms ?? []).map(
      ({ arm, version, shareBp }) => `${arm} ${short(version)} ${shareBp}`,
    ),
    routings: (release?.state.routings ?? []).map(
      ({ stage, stageIndex, shareBp }) => `${stage} ${stageIndex} ${shareBp}`,
    ),
    audit: [...actions.filter((each) => !isAudited(each)), ...actions.filter(isAudited)],
    changes: changes.map(({ cause, version }) => `${cause} ${short(version)}`),
    commands: (await listCommands(store, releaseId)).map(
      ({ command, accepted }) => `${command} ${accepted ? 'accepted' : 'refused'}`,
    ),
    watched: watched.map(({ stage, stage_index }) => `${stage} ${stage_index}`),
    versions: versions.map(
      ({ version, proven, withdrawn }) =>
        `${short(version)}${proven ? ' proven' : ''}${withdrawn ? ' withdrawn' : ''}`,
    ),
  }
}

const isAudited = (action: string): boolean =>
  (commandNames as readonly string[]).some((name) => action === `release.${name}`)

/** Returns the violated invariants of a release. `seated` generations and champions were inserted without an audit row. */
export async function issuesOfInvariants(
  store: Store,
  { model, releaseId, seated }: { model: string; releaseId: string; seated: number },
): Promise<string[]> {
  const issues: string[] = []
  const claim = (holds: boolean, otherwise: string) => void (holds || issues.push(otherwise))
  const release = await findRelease(store, releaseId)
  const routing = await findRouting(store, model)
  const champion = await findChampion(store, model)
  if (!release || !routing || !champion) return ['there is no release, no routing or no champion']
  const { state } = release
  claim(release.endedAt !== undefined && state.closed, 'its end is not written down')
  claim(
    sharesOf(routing.route) === totalBp && routing.route.arms.length === 1,
    `the last route is ${JSON.stringify(routing.route.arms)}`,
  )
  claim(routing.route.arms[0]?.version === champion.version, 'the champion is not the one routed to')
  claim(routing.route.release === undefined, 'the routing still belongs to a release')
  claim(routing.exposureMs === undefined, 'a candidate is still exposed')
  const audited = await auditOf(store, model)
  const routes = audited.filter(({ detail }) => detail.route != null || detail.generation != null)
  claim(
    routes.length === routing.route.generation - seated,
    `${routes.length} audit rows stand for ${routing.route.generation - seated} routings`,
  )
  const generations = audited.flatMap(({ detail }) => detail.generation ?? [])
  claim(
    generations.every((each, index) => index === 0 || each > (generations[index - 1] ?? 0)),
    `the generations of the audit do not rise: ${generations.join(', ')}`,
  )
  for (const { detail } of routes)
    if (detail.route)
      claim(sharesOf(detail.route) === totalBp, `shares are ${JSON.stringify(detail.route.arms)}`)
  const history = await listChampionHistory(store, model, 100_000)
  claim(history[0]?.version === champion.version, 'the history ends with another champion')
  const moves = audited.filter(({ action }) => action.startsWith('champion.'))
  claim(
    moves.length === history.length - seated,
    `${moves.length} audit rows stand for ${history.length - seated} moves`,
  )
  const problems = laggingReplicas(await listReplicaProgress(store, model), routing.route)
  claim(problems.length === 0, `not followed: ${problems.join('; ')}`)
  issues.push(...(await issuesOfWindows(store, releaseId)))
  return issues
}

/** Checks that every passed stage was watched for its minimum time and has a pass verdict. */
async function issuesOfWindows(store: Store, releaseId: string): Promise<string[]> {
  const { state } = (await findRelease(store, releaseId))!
  const last = new Map<string, string>()
  const decisions = await store.query<{ stage: string; stage_index: number; kind: string }>(
    sql`select stage, stage_index, kind from decisions where release_id = ${releaseId} order by id`,
  )
  for (const { stage, stage_index, kind } of decisions) last.set(`${stage} ${stage_index}`, kind)
  const clocks = await store.query<{ stage: string; stage_index: number; watched_ms: number }>(
    sql`select stage, stage_index, watched_ms from stage_clocks where release_id = ${releaseId}`,
  )
  const routed = state.outcome === 'promoted' ? state.routings : state.routings.slice(0, -1)
  // A promotion without a canary is routed so that replicas load the candidate; no verdicts are made.
  const passed = routed.filter(({ stage }) => stage !== 'promoting')
  return passed.flatMap(({ stage, stageIndex }) => {
    const asked =
      stage === 'canary'
        ? state.policy.stages[stageIndex]
        : stage === 'shadow'
          ? state.policy.shadow
          : state.policy.probation
    const clock = clocks.find((each) => each.stage === stage && each.stage_index === stageIndex)
    const name = `${stage} ${stageIndex}`
    return [
      ...((clock?.watched_ms ?? 0) >= (asked?.minMs ?? 0)
        ? []
        : [`${name} was watched for ${clock?.watched_ms ?? 0} ms`]),
      ...(last.get(name) === 'pass' ? [] : [`${name} was left with the verdict ${last.get(name) ?? 'none'}`]),
    ]
  })
}

const sharesOf = (route: Pick<Route, 'arms'>): number =>
  route.arms.reduce((sum, { shareBp }) => sum + shareBp, 0)

function auditOf(store: Store, model: string): Promise<AuditedRow[]> {
  return store.query<AuditedRow>(sql`select action, detail from audit where model = ${model} order by seq`)
}
