/** Writes a rollback to Postgres, with the command to an open release. */
import { DomainError, isError } from '../../../domain/errors.ts'
import { noChampion } from '../../../store/release/first-release.ts'
import * as schema from '../../../domain/schema.ts'
import { stepWithoutTarget } from '../../../store/release/without-target.ts'
import { getModel } from '../../../store/registry/models.ts'
import type { Database } from '../../../store/postgres.ts'
import { releaseCommandIdOf } from '../../../store/commands.ts'
import { findUnfit, rollBackServing, type ServingRollback } from '../../../store/release/rollback.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'

export interface RollbackInput {
  model: string
  reason: string
  /** The release whose candidate is rolled back. */
  release?: string
  /** The version to roll back. Default: that of `findRollbackSubject` when the order arrives. */
  version?: string
}

/** The state of a replica when the order arrived. */
const rollbackReplica = schema.record(
  {
    id: schema.text,
    host: schema.text,
    /**
     * The state of the replica:
     * - `follows`: it serves the other version. With a reason: only until it restarts.
     * - `fenced`: it was not reached, and its lease has ended, so it serves known good versions only.
     * - `silent`: it was not reached and still has a lease.
     * - `cut_off`: it was not reached and has no lease, but its last route may name the version as proven, so it serves that version if it
     *   still runs. With a reason: that was more than an hour ago.
     * - `refuses`: it cannot follow, for the reason.
     */
    state: schema.textOf<'follows' | 'fenced' | 'silent' | 'cut_off' | 'refuses'>(),
  },
  { reason: schema.text },
)
export type RollbackReplica = schema.TypeOf<typeof rollbackReplica>

export const rollbackResult = schema.record(
  {
    outcome: schema.textOf<'rolled_back' | 'kept'>(),
    model: schema.text,
    from: schema.text,
    replicas: schema.list(rollbackReplica),
    tookMs: schema.number,
    message: schema.text,
  },
  {
    /** False when the version had been rolled back before; absent for an order that replicas store. */
    changed: schema.flag,
    to: schema.text,
    /** The version that serves now; the same as `to`. */
    version: schema.text,
    releaseId: schema.text,
  },
)
export type RollbackResult = schema.TypeOf<typeof rollbackResult>

/** The number of attempts when other writers change the route at the same moment. */
const maxTries = 5

/**
 * Writes a rollback. `keep` stores the result in the same transaction. `findRollbackSubject` determines the version of an order without
 * one.
 */
export async function writeRollback(
  { store, serving }: Pick<CommandDeps, 'store' | 'serving'>,
  actor: Pick<Actor, 'id' | 'name' | 'role'>,
  { id, ...input }: RollbackInput & { id: string; version: string | undefined },
  keep?: (database: Database, done: ServingRollback) => Promise<void>,
): Promise<ServingRollback> {
  const { name: model } = await getModel(store, input.model)
  const { name: by, id: keyId, role } = actor
  const unfit = await findUnfit(store, model, ({ version }) => serving.routing.issueOf(version))
  const order = {
    ...input,
    model,
    by,
    command: { id: releaseCommandIdOf(keyId, { kind: 'rollback', once: id }), keyId, role },
  }
  for (let tries = 1; ; tries++) {
    try {
      const done = await store.transaction(async (database) => {
        const written = await rollBackServing(database, order, unfit)
        if (written.outcome === 'rolled_back') await keep?.(database, written)
        return written
      })
      if (done.outcome === 'rolled_back') return done
      if (done.code === 'no_champion') throw await noChampion(store, model)
      const remedy = done.code === 'no_rollback_target' ? await stepWithoutTarget(store, model) : undefined
      const context = input.release === undefined ? {} : { stage: 'ended' }
      throw new DomainError(done.code, done.message, { ...context, ...(remedy !== undefined && { remedy }) })
    } catch (error) {
      if (!isError(error, 'stale_generation') || tries === maxTries) throw error
    }
  }
}
