/**
 * Compares the in-memory Postgres with the real one: the same random sequences of store operations must give the same results and errors.
 * Otherwise the simulator would test its author's beliefs about SQL instead of the system.
 */
import { createHash } from 'node:crypto'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import type { Route } from '../../../domain/serving/route.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import {
  answerCommand,
  claimDueCommands,
  claimStart,
  commandIdOf,
  deliverAnswered,
  findAnswer,
  findStart,
  hasUnanswered,
  insertCommand,
  insertStart,
  isEndedByUser,
  listUnanswered,
  markCommandSent,
  readStartBasis,
  reschedule,
} from '../../../store/commands.ts'
import { appendAudit, listAudit } from '../../../store/audit/audit-log.ts'
import {
  findChampion,
  findIncompatibilities,
  listChampionHistory,
  findRollbackTarget,
  findRecentRollback,
  isRolledBack,
  lockChampion,
  markKnownGood,
  markVersionRolledBack,
  moveChampion,
} from '../../../store/registry/champions.ts'
import { findLatestVersion } from '../../../store/registry/versions.ts'
import { findTicks, writeTicks } from '../../../store/release/evidence.ts'
import {
  findFailVerdict,
  insertDecision,
  listDecisions,
  recordObservation,
} from '../../../store/release/decisions.ts'
import { openStore, type Database, type Store } from '../../../store/postgres.ts'
import {
  recordEnd,
  findOpenRelease,
  findReleasable,
  findRelease,
  insertRelease,
  listReleasesOfVersion,
  lockRelease,
  markRolledBack,
  saveRelease,
} from '../../../store/release/releases.ts'
import { readMaking } from '../../../store/training/runs.ts'
import {
  acknowledge,
  endLease,
  findArtifact,
  renewLease,
  introduceReplica,
  shortenLeases,
  listRecentReplicas,
  type ReplicaProgress,
} from '../../../store/serving/replicas.ts'
import { createObservedLeases } from '../../../store/serving/observed-leases.ts'
import { findRouting, renewExposure, writeRoute, readRouting } from '../../../store/serving/routing.ts'
import { migratedDatabase, uniqueName } from '../../support/servers/servers.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releaseFacts, releasePolicy } from '../../support/release/releases.ts'
import { createMemory, type Memory } from '@tenure/simulator/memory'
import { dictionary } from './statement.ts'
import { authorityStatements } from './statements-authority.ts'
import { commandStatements } from './statements-commands.ts'
import { releaseStatements } from './statements-releases.ts'
import { routingStatements } from './statements-routing.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { max: 2 })
})
afterAll(async () => {
  await store?.close()
})

const meaningOf = dictionary(releaseStatements, routingStatements, authorityStatements, commandStatements)

/** Opens the in-memory database with one client. */
function databaseOf(memory: Memory): Database {
  return {
    query: <T extends object>(statement: Parameters<Database['query']>[0]) =>
      new Promise<T[]>((resolve, reject) => {
        const session = memory.open('test')
        const { meaning } = meaningOf(statement)
        memory.execute(session, meaning, statement.values, (rows) => resolve(rows as unknown as T[]), reject)
        memory.kill(session)
      }),
  }
}

/** Replaces times and numbers that differ between two servers, and sorts results without an order. */
function comparable(value: unknown, name = ''): unknown {
  if (value instanceof Date) return 'a time'
  if (
    /^(age|exposure|exposed|remaining|written|observed|watched|database).*Ms$|_ms$|At$|^at$|^since$|hash$|Hash$|^seq$/.test(
      name,
    ) &&
    value !== null &&
    value !== undefined
  )
    return 'a time'
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value)) return 'a time'
  if (Array.isArray(value)) return value.map((each) => comparable(each))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, each]) => each !== undefined && key !== 'id')
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, comparable(each, key)]),
  )
}

async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return comparable(await work)
  } catch (error) {
    const { code, name } = error as { code?: string; name: string }
    return { refused: code ?? name }
  }
}

describe('the in-memory database', () => {
  it.each([1, 2, 3, 4, 5, 6])('returns the same results as Postgres, seed %i', async (seed) => {
    const random = seededRandom(seed)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
    const model = uniqueName('model')
    const registry: Registry = await insertModel(store, {
      model,
      policy: releasePolicy,
      artifactRoot: '/tmp',
    })
    const versions: string[] = []
    for (let i = 0; i < 3; i++)
      versions.push(await registry.register(versions[0], `sha256:${String(i).repeat(64)}`))
    const memory = createMemory({ clockMs: () => performance.timeOrigin + performance.now() })
    await copy(memory, model)
    const inMemory = databaseOf(memory)

    const releases = [`rel_${model}_1`, `rel_${model}_2`] as const
    const replicas = [`${model}-r1`, `${model}-r2`]
    const stateOf = (id: string, changes: Partial<ReleaseState> = {}): ReleaseState => ({
      ...openingState(
        {
          ...releaseFacts,
          id: id as `rel_${string}`,
          model,
          version: versions[1]!,
          baseline: versions[0]!,
        },
        5,
      ),
      ...changes,
    })
    const place = () => ({ epoch: 1, generation: Math.floor(random() * 4) })
    const operation = (): ((database: Database) => Promise<unknown>) => {
      const [id, version, from, replica] = [pick(releases), pick(versions), pick(versions), pick(replicas)]
      const at = place()
      const revision = Math.floor(random() * 5)
      const exposureMs = pick([undefined, 60_000])
      const accepted = random() < 0.5
      const command = `${id}/${Math.floor(random() * 3)}`
      const hash = createHash('md5').update(command).digest('hex')
      const start = commandIdOf(hash)
      const order = `cmd_${createHash('md5').update(`to ${command}`).digest('hex')}` as const
      const tickMs = 1_700_000_000_000 + 200 * Math.floor(random() * 3)
      const requests = Math.floor(random() * 9)
      const problem = random() < 0.2 ? { problem: 'p' } : {}
      const cause = pick(['promotion', 'rollback'] as const)
      const made = {
        model,
        validationId: pick([`v-${version}`, 'none']),
        trainingId: pick([`t-${version}`, 'none']),
        evaluationId: pick([`e-${version}`, `e-${from}`, 'none']),
      }
      const route: Omit<Route, 'epoch' | 'generation'> = {
        model,
        release: id,
        salt: 's',
        arms: [{ arm: 'champion', version, shareBp: 10_000 }],
        proven: version,
      }
      return pick<(database: Database) => Promise<unknown>>([
        (on) => findRouting(on, model),
        (on) => writeRoute(on, { route, replaces: at, ...(exposureMs ? { exposureMs } : {}) }),
        (on) => writeRoute(on, { route, replaces: at, ...(exposureMs ? { exposureMs } : {}) }),
        (on) => renewExposure(on, { model, release: id, ...at, observedMs: Date.now(), exposureMs: 5_000 }),
        async (on) => {
          const { live, silent } = await listRecentReplicas({ ...on, leases: createObservedLeases() }, model)
          // The time since a lease expired differs between the two clocks.
          const ours = (all: ReplicaProgress[]) =>
            all
              .filter(({ host }) => host === model)
              .map(({ id, acknowledged, problem }) => ({ id, acknowledged, problem }))
          return [ours(live), ours(silent)]
        },
        (on) =>
          introduceReplica(on, {
            id: replica,
            machine: model,
            process: replica,
            isAlive: () => false,
          }),
        (on) =>
          renewLease(on, {
            replica: { id: replica, host: model, pid: 1, url: 'u', buildId: 'b' },
            leaseMs: -5_000,
          }),
        (on) =>
          renewLease(on, {
            replica: { id: replica, host: model, pid: 1, url: 'u', buildId: 'b' },
            leaseMs: 60_000,
          }),
        (on) => endLease(on, replica),
        (on) => shortenLeases(on),
        (on) => acknowledge(on, { replica, model, ...at, ...problem }),
        (on) => readRouting(on).then(({ rows }) => rows.filter((each) => each.model === model)),
        (on) => findArtifact(on, version).then(({ artifactDigest }) => artifactDigest),
        (on) => findChampion(on, model),
        (on) => lockChampion(on, model),
        (on) => isRolledBack(on, { model, version }),
        (on) => moveChampion(on, { model, to: version, cause: 'promotion', actor: 'a', reason: 'r' }),
        (on) =>
          moveChampion(on, {
            model,
            from,
            to: version,
            cause,
            actor: 'a',
            reason: 'r',
          }),
        (on) =>
          moveChampion(on, {
            model,
            from,
            to: version,
            releaseId: id,
            cause: 'promotion',
            actor: 'a',
            reason: 'r',
          }),
        (on) => listChampionHistory(on, model, 2),
        (on) => findRecentRollback(on, model),
        (on) => findRollbackTarget(on, { model, from }),
        (on) => findIncompatibilities(on, { from, to: version }),
        (on) => markKnownGood(on, version),
        (on) => markVersionRolledBack(on, version),
        (on) => findReleasable(on, version),
        (on) => findLatestVersion(on, model),
        (on) => listReleasesOfVersion(on, version),
        (on) => readMaking(on, made),
        (on) => insertRelease(on, { state: stateOf(id), workflowId: 'w', runId: 'r' }),
        (on) => insertRelease(on, { state: stateOf(id), workflowId: 'w', runId: 'r' }),
        (on) => saveRelease(on, stateOf(id, { revision, stage: 'shadow' })),
        (on) => recordEnd(on, stateOf(id, { outcome: 'aborted', reason: 'r', stage: 'ended' })),
        (on) => lockRelease(on, id),
        (on) => markRolledBack(on, id),
        (on) => findRelease(on, id),
        (on) => findOpenRelease(on, model),
        ...[1, 2].map(
          () => (on: Database) =>
            insertCommand(
              on,
              {
                id: order,
                kind: cause === 'rollback' ? 'reject' : 'approve',
                releaseId: id,
                model,
                actor: 'a',
                keyId: 'k',
                role: 'approver',
                ...(accepted ? { reason: 'r', untilMs: 1_700_000_000_000 } : {}),
                digests: { artifact: version },
              },
              exposureMs ? { deliverInMs: -1_000 } : {},
            ),
        ),
        (on) => listUnanswered(on, id),
        (on) => hasUnanswered(on, id),
        (on) => answerCommand(on, order, { accepted, stage: 'canary', message: 'm' }),
        (on) => findAnswer(on, { id: order, release: id }),
        // Another test's commands may be due too.
        (on) =>
          claimDueCommands(on, { limit: 1_000, leaseMs: -500 }).then((all) =>
            all.filter((each) => each.model === model).sort((one, other) => (one.id < other.id ? -1 : 1)),
          ),
        (on) => deliverAnswered(on, order),
        (on) => markCommandSent(on, { id: order, againMs: -500 }),
        (on) => reschedule(on, { id: order, problem: 'p', againMs: accepted ? -500 : 60_000 }),
        (on) =>
          listAudit(on, { action: 'command.recorded', subject: id, limit: 1 }).then((all) => all.length),
        (on) => isEndedByUser(on, id),
        (on) =>
          insertDecision(on, {
            releaseId: id,
            stage: 'canary',
            stageIndex: 0,
            verdict: { kind: accepted ? 'pass' : 'fail', reasons: [], statistics: { a: 1 }, judge: 'j' },
            inputs: { n: requests },
            policyDigest: 'p',
          }).then(() => 'written'),
        (on) => listDecisions(on, id, 3),
        (on) =>
          insertStart(on, {
            id: start,
            kind: 'release',
            by: { id: 'k', name: 'olga', role: 'operator' },
            input: { model, version },
          }),
        (on) => claimStart(on, { id: start, runId: replica }),
        (on) => findStart(on, start),
        (on) => readStartBasis(on, { model, version }),
        (on) => findFailVerdict(on, id),
        (on) =>
          recordObservation(on, {
            releaseId: id,
            stage: 'canary',
            stageIndex: 0,
            paused: accepted,
            maxGapMs: 10,
          }),
        (on) =>
          writeTicks(on, {
            replica,
            ticks: [
              {
                model,
                release: id,
                // One arm of a generation has one version; with two, Postgres would return either first.
                version: versions[at.generation % 3]!,
                arm: 'canary',
                generation: at.generation,
                tickMs,
                lengthMs: 200,
                requests,
                errors: 3,
                invalid: 1,
                slow95: 0,
                slow99: 0,
                latency: { 100: requests },
                units: [{ counts: 'errors', bins: [], units: [1, 2, 3].map((n) => n + (requests % 5)) }],
              },
            ],
          }),
        (on) => findTicks(on, id, { model }),
        (on) => findTicks(on, id, { model, sinceMs: tickMs }),
      ])
    }
    for (let i = 0; i < 250; i++) {
      const work = operation()
      const told = await outcomeOf(work(store))
      expect(await outcomeOf(work(inMemory)), `operation ${i}: ${work.toString()}`).toEqual(told)
    }
  })

  it('chains the audit rows as Postgres does', async () => {
    const memory = createMemory({ clockMs: () => 1_700_000_000_000 })
    const rows = []
    for (const action of ['a.b', 'c.d'])
      rows.push(await appendAudit(databaseOf(memory), { actor: 'x', action, subject: 's', detail: {} }))
    expect(rows.map(({ seq }) => seq)).toEqual([1, 2])
    expect(rows[1]!.previousHash).toBe(rows[0]!.hash)
  })
})

/** Inserts the rows that exist before the first operation. */
async function copy(memory: Memory, model: string): Promise<void> {
  const rowsOf = (name: string) =>
    store.query<Record<string, unknown>>(
      name === 'models'
        ? sql`select * from models where name = ${model}`
        : sql`select * from ${raw(name)} where model = ${model}`,
    )
  for (const [table, key] of [
    ['models', 'name'],
    ['versions', 'version'],
    ['validations', 'id'],
    ['trainings', 'id'],
    ['evaluations', 'id'],
  ] as const)
    for (const row of await rowsOf(table)) memory.load(table, String(row[key]), row)
  memory.load('routing_epochs', '1', { epoch: 1 })
}
