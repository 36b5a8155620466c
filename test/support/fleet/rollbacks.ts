/**
 * Measures rollbacks by POST /v1/models/:name/rollback under load. After its response is read, no replica may serve the version that
 * was rolled back.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { quantileOf } from '../figures.ts'
import { lostRequests, startAsker, type CallerResponse } from './callers.ts'
import { fleetModel, row, untilFollowed, type FleetStage } from './fleet-stage.ts'

export interface RollbackOptions {
  /** Number of rollbacks; the model has at least one more known-good version. */
  orders: number
  /** Responses to check between an acknowledgement and the next rollback. */
  answersEach: number
  callersEach: number
  /** Indexes of rollbacks during which the route's row is locked, so that replicas must store the order. */
  keptOrders?: readonly number[]
}

export interface RollbackViolation extends CallerResponse {
  why: string
}

interface Acknowledged {
  atMs: number
  from: string
  generation: number
}

/** Checks each response against all rollbacks acknowledged before its request. */
export function createCheck() {
  const acknowledged: Acknowledged[] = []
  const rolledBackAt = new Map<string, number>()
  const versionOf = new Map<number, string>()
  const keptAt = new Set<number>()
  /** The generation whose rollback is sent and unanswered, with responses of another version at that generation. */
  let ordered: { generation: number; undecided: RollbackViolation[] } | undefined
  const wrongWith = ({ version, generation, sentMs }: CallerResponse): string | undefined => {
    let last = acknowledged.length - 1
    while (last >= 0 && acknowledged[last]!.atMs > sentMs) last--
    const least = acknowledged[last]?.generation ?? 0
    if (generation < least) return `generation ${generation} after ${least} was acknowledged`
    if ((rolledBackAt.get(version) ?? Infinity) <= sentMs) return `${version} after its rollback`
    return undefined
  }
  /** Returns why the response names another version than the first one of its generation. */
  const differs = ({ version, generation }: CallerResponse): string | undefined => {
    if (keptAt.has(generation)) return undefined
    const known = versionOf.get(generation) ?? version
    versionOf.set(generation, known)
    return known === version ? undefined : `${version} at generation ${generation}, which is that of ${known}`
  }
  const check = {
    checked: 0,
    violations: [] as RollbackViolation[],
    /**
     * Records that a rollback of this generation's route is sent. A replica that stores it serves the other version before the response is
     * read, so responses of two versions count as violations only when the rollback turns out to be acknowledged.
     */
    order(generation: number) {
      ordered = { generation, undecided: [] }
    },
    /** Records that every live replica has acknowledged the rollback. */
    acknowledge(order: Acknowledged) {
      check.violations.push(...(ordered?.undecided ?? []))
      ordered = undefined
      acknowledged.push(order)
      if (!rolledBackAt.has(order.from)) rolledBackAt.set(order.from, order.atMs)
    },
    /** Records that every live replica stores the rollback, at a generation whose route still names the version that was rolled back. */
    keep(order: Acknowledged) {
      check.except(order.generation)
      rolledBackAt.set(order.from, order.atMs)
    },
    /** Permits two versions in responses of this generation, because some replicas store a rollback. */
    except(generation: number) {
      keptAt.add(generation)
      ordered = undefined
    },
    look(answer: CallerResponse) {
      check.checked++
      const wrong = wrongWith(answer)
      const why = wrong ?? differs(answer)
      if (why === undefined) return
      const isUndecided = wrong === undefined && answer.generation === ordered?.generation
      const found = isUndecided ? ordered!.undecided : check.violations
      found.push({ ...answer, why })
    },
  }
  return check
}

interface RollbackAnswer {
  outcome: 'rolled_back' | 'kept'
  replicas: { state: string }[]
  from: string
  to: string
  problems?: string[]
  took_ms: number
}

export async function measureRollbacks(stage: FleetStage, options: RollbackOptions) {
  const { urls, key, store } = stage
  const check = createCheck()
  const asker = startAsker({
    targets: urls,
    each: options.callersEach,
    model: fleetModel,
    row,
    onAnswer: check.look,
  })
  const wholeMs: number[] = []
  const acknowledgeMs: number[] = []
  const problems: string[] = []
  let kept = 0
  let unreached = 0
  /** Named by each order, because a second order without a version means the version of the first one. */
  let version: string | undefined
  const generationNow = async (): Promise<number> => {
    const [{ generation } = { generation: 0 }] = await store.query<{ generation: number }>(
      sql`select generation from routing where model = ${fleetModel}`,
    )
    return generation
  }
  await pause(500)
  for (let order = 0; order < options.orders; order++) {
    const enough = asker.answered + options.answersEach
    const before = await generationNow()
    check.order(before)
    const release = options.keptOrders?.includes(order) ? await holdRoute(stage) : undefined
    const fromMs = performance.now()
    const answer = await fetch(`${urls[order % urls.length]}/v1/models/${fleetModel}/rollback`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ reason: `order ${order}`, version }),
    })
    const said = (await answer.json()) as RollbackAnswer
    version = said.to
    const atMs = performance.now()
    await release?.()
    const isKept = answer.status === 202
    if (answer.status !== 200 && !isKept) throw new Error(`the rollback was refused: ${JSON.stringify(said)}`)
    problems.push(...(said.problems ?? []))
    wholeMs.push(atMs - fromMs)
    const hasAll = said.replicas.every(({ state }) => state === 'follows')
    // It may also name a killed replica whose lease is not over.
    if (said.replicas.length < urls.length)
      problems.push(`order ${order}: the response names ${said.replicas.length} of ${urls.length} replicas`)
    if (isKept) {
      // Postgres responded too late. The reachable replicas serve the other version, and write the route when Postgres responds again.
      kept++
      if (hasAll) check.keep({ atMs, from: said.from, generation: before })
      else check.except(before)
    }
    // The answer names a replica that a busy machine has stopped for longer than its lease.
    if (!isKept && !hasAll) unreached++
    const isAcknowledged = !isKept && hasAll
    if (!isAcknowledged) await untilFollowed(stage, before + 1)
    acknowledgeMs.push(await acknowledgedWithin(store))
    check.acknowledge({
      atMs: isAcknowledged ? atMs : performance.now(),
      from: said.from,
      generation: await generationNow(),
    })
    while (asker.answered < enough) await pause(5)
  }
  await asker.stop()
  const failures = lostRequests(asker)
  const summary = (times: readonly number[]) => ({
    p50: Math.round(quantileOf(times, 0.5)),
    p99: Math.round(quantileOf(times, 0.99)),
    max: Math.round(Math.max(...times)),
  })
  return {
    orders: options.orders,
    kept,
    /** Rollbacks whose response named an unreachable replica. */
    unreached,
    problems,
    orderToAnswerMs: summary(wholeMs),
    firstOrderMs: Math.round(wholeMs[0] ?? NaN),
    ordersOverASecond: wholeMs.flatMap((ms, order) => (ms > 1_000 ? [{ order, ms: Math.round(ms) }] : [])),
    writtenToAcknowledgedMs: summary(acknowledgeMs),
    checked: check.checked,
    violations: check.violations.length,
    examples: check.violations.slice(0, 3),
    refused: asker.failures.length - failures.length,
    failures: failures.length,
    firstFailures: failures.slice(0, 3),
    answerMs: { p50: quantileOf(asker.timesMs, 0.5), p99: quantileOf(asker.timesMs, 0.99) },
  }
}

/** Locks the route's row until the returned function is called, so that Postgres cannot execute the rollback. */
async function holdRoute({ store }: FleetStage): Promise<() => Promise<void>> {
  const client = await store.pool.connect()
  await client.query('begin')
  await client.query('select from routing where model = $1 for update', [fleetModel])
  return async () => {
    await client.query('rollback')
    client.release()
  }
}

/** From the write of the route to the last acknowledgement of a live replica, on the database's clock. */
async function acknowledgedWithin(store: FleetStage['store']): Promise<number> {
  const [found] = await store.query<{ ms: number }>(sql`
    select (extract(epoch from max(routing_acknowledgements.at) - max(routing.updated_at)) * 1000)::float8 as ms
    from routing join routing_acknowledgements using (model) join replicas on replicas.id = replica_id
    where model = ${fleetModel} and lease_until > clock_timestamp()`)
  return found?.ms ?? NaN
}
