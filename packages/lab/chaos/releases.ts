/**
 * Releases good and bad versions one after another through the API only, as users do, and retries when it does not respond. Reports which
 * versions must no longer be served, and which releases have not ended.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../../domain/errors.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listOpenRuns } from '../../../store/maintenance/expected-work.ts'
import { findOpenRelease, findRelease, type Release } from '../../../store/release/releases.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { chaosModel, trainedModel, type ChaosStage } from './stage.ts'

/** A good and a bad version; a good version that a user rolls back or aborts, midway or as champion. */
const courses = [
  'good',
  'bad',
  'rollback in canary',
  'abort',
  'rollback in probation',
  'rollback as champion',
] as const
export type Course = (typeof courses)[number]

export interface Driven {
  /** Course and outcome, such as `bad: rolled_back` → number. */
  ended: Map<string, number>
  /** Retraining outcome → number. */
  retrained: Map<string, number>
  issues: string[]
}

const stuckMs = 240_000

export interface DriveOptions {
  random: () => number
  until: AbortSignal
  /** Forbids responses of this version to requests sent from now on. */
  forbid: (version: string, why: string) => void
  say: (line: string) => void
}

export async function driveReleases(stage: ChaosStage, options: DriveOptions): Promise<Driven> {
  const driven: Driven = { ended: new Map(), retrained: new Map(), issues: [] }
  const first = Math.floor(options.random() * courses.length)
  await release(stage, options, driven, 'good')
  for (let turn = 0; !options.until.aborted; turn++) {
    const course = courses[(turn + first) % courses.length]!
    await release(stage, options, driven, course).catch((error: Error) =>
      driven.issues.push(`${course}: ${error.message}`),
    )
  }
  return driven
}

async function release(
  stage: ChaosStage,
  { random, forbid, say }: DriveOptions,
  driven: Driven,
  course: Course,
): Promise<void> {
  const { store, keys, registry } = stage
  const champion = (await again(() => findChampion(store, chaosModel)))?.version
  const version = await again(() => registry.register(champion))
  if (course === 'bad')
    await again(() => writeFaults(store, { [version]: { invalidShare: 0.3 + random() * 0.6 } }))
  // Chosen by version number: the clock of Postgres is stepped, so the newest need not come first.
  const find = () =>
    again(async () => {
      const [row] = await store.query<{ id: string }>(sql`select id from releases where version = ${version}`)
      return row === undefined ? undefined : findRelease(store, row.id)
    })
  let sentMs = -Infinity
  let answer: Answer | undefined
  const opened = await awaitOf(`${version} is opened`, async () => {
    const found = await find()
    if (found === undefined && performance.now() - sentMs > 10_000) {
      sentMs = performance.now()
      answer = await ask(stage, keys.operator, '/v1/releases', { model: chaosModel, version })
    }
    return found
  }).catch((error: Error) => {
    throw new Error(`${error.message}; the last answer was ${JSON.stringify(answer)}`)
  })
  const { id } = opened.state
  const at = async (...stages: string[]) =>
    awaitOf(`${version} is at ${stages.join(' or ')}`, async () => {
      const found = await find()
      return found !== undefined && (stages.includes(found.state.stage) || isEnded(found)) ? found : undefined
    })
  await awaitOf(`${version} is approved`, async () => {
    const found = await find()
    if (found !== undefined && (found.state.approvals.length > 0 || isEnded(found))) return found
    if (found?.state.stage === 'awaiting_approval')
      await ask(stage, keys.approver, `/v1/releases/${id}/approve`, {})
    return undefined
  })
  if (course === 'rollback in canary') await at('canary', 'probation')
  if (course === 'rollback in probation') await at('probation')
  if (course === 'abort') {
    const found = await at('canary', 'probation')
    if (!isEnded(found)) await ask(stage, keys.operator, `/v1/releases/${id}/abort`, { reason: 'chaos' })
  } else if (course.startsWith('rollback in')) await rollBack(stage, version, { forbid, say })
  const ended = await awaitOf(`${version} is ended`, async () => {
    const found = await find()
    return found !== undefined && isEnded(found) ? found : undefined
  })
  const outcome = ended.outcome ?? 'none'
  count(driven.ended, `${course}: ${outcome}`)
  if (outcome !== 'promoted') forbid(version, `its release has ended as ${outcome}`)
  else if (course === 'bad') driven.issues.push(`${version}, a bad version, was promoted`)
  else if (course === 'rollback as champion') await rollBack(stage, version, { forbid, say })
}

const isEnded = ({ endedAt }: Release): boolean => endedAt !== undefined

/** Rolls a version back. Once every live replica has acknowledged the route, the version is no longer served. */
async function rollBack(
  stage: ChaosStage,
  version: string,
  { forbid, say }: Pick<DriveOptions, 'forbid' | 'say'>,
): Promise<void> {
  const untilMs = performance.now() + 60_000
  const path = `/v1/models/${chaosModel}/rollback`
  for (;;) {
    const answer = await ask(stage, stage.keys.operator, path, { version, reason: 'chaos' })
    // Stored by replicas until Postgres is back; the next version is evaluated against the resulting champion.
    if (answer?.status === 202)
      await awaitOf(`${version} is champion no more`, async () =>
        (await again(() => findChampion(stage.store, chaosModel)))?.version === version ? undefined : true,
      )
    const replicas = (answer?.json['replicas'] ?? []) as { state: string }[]
    const reached = replicas.every(({ state }) => state === 'follows' || state === 'fenced')
    if (answer?.json['from'] === version && reached) return forbid(version, 'its rollback was acknowledged')
    if (answer !== undefined)
      say(`${version}: ${answer.status} ${String(answer.json['message'] ?? answer.json['detail'])}`)
    // Refused because the release has ended, or executed while a replica was unreachable.
    if (answer !== undefined && answer.status < 500) return
    if (performance.now() > untilMs)
      throw new Error(`the rollback of ${version} was not answered within 60 s`)
  }
}

/** Retrains a model continuously; its releases are aborted, because no client uses it. */
export async function driveRetrainings(
  stage: ChaosStage,
  until: AbortSignal,
  driven: Pick<Driven, 'retrained' | 'issues'>,
): Promise<void> {
  const { store, keys } = stage
  while (!until.aborted) {
    await ask(stage, keys.operator, `/v1/models/${trainedModel}/retrainings`, {})
    await pause(2_000)
    await awaitOf(`the retraining of ${trainedModel} has ended`, async () => {
      const open = await again(() => findOpenRelease(store, trainedModel))
      if (open !== undefined)
        await ask(stage, keys.operator, `/v1/releases/${open.state.id}/abort`, { reason: 'chaos' })
      const running = await again(() => listOpenRuns(store))
      return open === undefined && running.every(({ kind }) => kind === 'release') ? true : undefined
    }).catch((error: Error) => driven.issues.push(error.message))
  }
  for (const { outcome, message } of await again(() =>
    listRetrainings(store, { model: trainedModel, limit: 1_000 }),
  )) {
    count(driven.retrained, outcome ?? 'open')
    if (outcome === 'failed') driven.issues.push(`a retraining failed: ${message}`)
  }
}

interface Answer {
  status: number
  json: Record<string, unknown>
}

/** Sends a request to any replica. Returns undefined without a response; the caller then checks the state and retries. */
async function ask(stage: ChaosStage, key: string, path: string, body: object): Promise<Answer | undefined> {
  try {
    const answer = await fetch(`${stage.sharedUrl}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    })
    return { status: answer.status, json: (await answer.json()) as Answer['json'] }
  } catch {
    await pause(500)
    return undefined
  }
}

/** Retries operations that fail while Postgres is away or a disk is full. */
export async function again<T>(read: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + stuckMs
  for (;;) {
    try {
      return await read()
    } catch (error) {
      const isAway = isError(error, 'postgres_unavailable') || (error as { code?: string }).code === 'ENOSPC'
      if (!isAway || performance.now() > untilMs) throw error
      await pause(200)
    }
  }
}

async function awaitOf<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + stuckMs
  for (;;) {
    const found = await find()
    if (found !== undefined) return found
    if (performance.now() > untilMs) throw new Error(`stuck: not within ${stuckMs / 1_000} s: ${what}`)
    await pause(50)
  }
}

const count = (in_: Map<string, number>, name: string) => void in_.set(name, (in_.get(name) ?? 0) + 1)
