/**
 * Runs the stages of an erasure; a killed stage resumes. Deletes from the log twice: most rows before the replicas acknowledge, and rows
 * that were in flight afterwards.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { DomainError } from '../../domain/errors.ts'
import { explainNothingFound } from '../../domain/privacy/nothing-found.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { slowPoolSizes } from '../../store/database/connection-budget.ts'
import {
  listOutstanding,
  endErasure,
  findEarlierErasure,
  findSharedErasure,
  getErasure,
  listDigestedSubjects,
  noteErasure,
  reachStage,
  type Erasure,
  type ErasureStage,
  type OpenStage,
} from '../../store/privacy/erasures.ts'
import {
  eraseBatchRows,
  eraseLate,
  eraseNamed,
  eraseRest,
  eraseSpan,
  findLogSpan,
} from '../../store/privacy/delete-subject.ts'
import { scheduleSnapshotDeletion, listFileBatches } from '../../store/privacy/erased-snapshots.ts'
import { readSubjectColumn } from '../../store/privacy/hashed-subject.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { getModel } from '../../store/registry/models.ts'
import type { Database, Store } from '../../store/postgres.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { withSlowStore } from '../runtime/slow-store.ts'
import { findSnapshotsOf } from './data-subjects.ts'

/** Log rows per transaction. */
const spanMs = 3_600_000
const defaultReplicaTimeoutMs = 600_000
const pollMs = 500
/** Timeout of the search over all rows of a model, which takes longer than other statements. */
const statementMs = 600_000

interface Scene extends Deps {
  /** A connection with that timeout. */
  slow: Store
  key: string
  replicaTimeoutMs: number
}

const works: Record<
  OpenStage,
  { next: OpenStage | 'end'; work: (scene: Scene, erasure: Erasure, beat: Beat) => Promise<void> }
> = {
  logs: { next: 'replicas', work: eraseLog },
  replicas: { next: 'again', work: awaitErasureOnReplicas },
  again: { next: 'rest', work: eraseLog },
  rest: { next: 'snapshots', work: eraseElsewhere },
  snapshots: { next: 'end', work: deleteSnapshotsLater },
}

/**
 * Runs the current stage of an erasure and returns the next one. All erasures share a fifth of the activities of a worker, and further
 * ones are tried again later: hundreds at once would make releases wait for minutes, longer than an exposure lease.
 */
export const eraseStage = (
  deps: Deps,
  /** How long live replicas may take to acknowledge that they hold no older rows. */
  { replicaTimeoutMs = defaultReplicaTimeoutMs }: { replicaTimeoutMs?: number } = {},
) => {
  const most = Math.max(1, Math.floor(deps.config.worker.maxActivities / 5))
  let running = 0
  return async ({ id }: { id: string }): Promise<ErasureStage> => {
    if (running >= most) throw postponed()
    running++
    try {
      return await withHeartbeat((beat) => runStage(deps, { id, replicaTimeoutMs }, beat))
    } finally {
      running--
    }
  }
}

const postponeMs = 30_000

const postponed = () =>
  ApplicationFailure.create({
    message: 'other erasures run; this one is tried again later',
    type: 'postponed',
    nextRetryDelay: postponeMs * (0.5 + Math.random() / 2),
    // Not logged as a failure.
    category: 'BENIGN',
  })

async function runStage(
  deps: Deps,
  { id, replicaTimeoutMs }: { id: string; replicaTimeoutMs: number },
  beat: Beat,
): Promise<ErasureStage> {
  const { store, config, log } = deps
  const erasure = await getErasure(store, id)
  const { stage: from } = erasure
  if (from === 'done' || from === 'nothing_found') return from
  const { key, digest } = await openSubjectKey(config.signing.subjectKey)
  if (erasure.keyDigest !== digest)
    throw new DomainError(
      'configuration_invalid',
      `${id} was requested under another secret: restore it in TENURE_SUBJECT_KEY, or create the erasure again`,
    )
  const { next, work } = works[from]
  await withSlowStore(
    deps,
    { name: 'tenure-erase', max: slowPoolSizes.erase, queryMs: statementMs },
    (slow) => work({ ...deps, slow, key, replicaTimeoutMs }, erasure, beat),
  )
  if (next === 'end') await finish(deps, { id, from })
  else await reachStage(store, { id, from, to: next })
  // Another request may have sent the subject through the log again.
  const { stage } = await getErasure(store, id)
  log.info({ erasure: id, model: erasure.model, ended: from, stage }, 'erasure stage completed')
  return stage
}

/** Records the end in the audit log, with counts and without the subject. Raises an alert when the person was found nowhere. */
async function finish({ store }: Deps, { id, from }: { id: string; from: OpenStage }): Promise<void> {
  await store.transaction(async (database) => {
    const erased = await findSharedErasure(database, await getErasure(database, id))
    const end = await endErasure(database, { id, from, isErased: erased !== undefined })
    if (end === undefined) return
    if (erased !== undefined)
      await noteErasure(database, {
        id,
        note: `${erased.id} of ${erased.model} has erased this key from a snapshot that both models use`,
      })
    if (end === 'nothing_found') await reportNothingFound(database, await getErasure(database, id))
    const { model, requestedBy: actor, snapshots, ...ended } = await getErasure(database, id)
    const { subjectHash, counts, outstanding, notes } = ended
    const detail = { subjectHash, counts, outstanding, notes, snapshots: snapshots.length }
    await appendAudit(database, { actor, action: `erasure.${end}`, subject: id, model, detail })
  })
}

async function reportNothingFound(database: Database, erasure: Erasure): Promise<void> {
  const { id, model } = erasure
  const earlier = await findEarlierErasure(database, erasure)
  const note = explainNothingFound(model, await readSubjectColumn(database, model), earlier)
  await noteErasure(database, { id, note })
  if (earlier !== undefined) return
  await upsertAlert(database, {
    dedupeKey: `erasure/${id}`,
    model,
    kind: 'erasure_nothing_found',
    severity: 'warning',
    message: `${id}: ${note}`,
    evidence: { erasure: id },
  })
}

async function eraseLog({ slow, key }: Scene, { id, model }: Erasure, beat: Beat): Promise<void> {
  const digested = await listDigestedSubjects(slow, model)
  const note = `requests to these versions have the subject as a digest, and are found by their routing key alone: ${digested.join(', ')}`
  if (digested.length > 0) await noteErasure(slow, { id, note })
  await eraseNamed(slow, id)
  for (;;) {
    const span = await findLogSpan(slow, id)
    if (span === undefined || span.fromAt >= span.toAt) return
    beat.check()
    const endMs = Math.min(Date.parse(span.fromAt) + spanMs, Date.parse(span.toAt))
    await eraseSpan(slow, { id, key, fromAt: span.fromAt, toAt: new Date(endMs).toISOString() })
  }
}

async function awaitErasureOnReplicas(
  { store, replicaTimeoutMs }: Scene,
  { id }: Erasure,
  beat: Beat,
): Promise<void> {
  const untilMs = performance.now() + replicaTimeoutMs
  for (;;) {
    const outstanding = await listOutstanding(store, id)
    await noteErasure(store, { id, outstanding })
    if (outstanding.length === 0 || performance.now() > untilMs) return
    await beat.sleep(pollMs)
  }
}

async function eraseElsewhere({ slow, key }: Scene, { id, model }: Erasure): Promise<void> {
  await eraseBatchRows(slow, { id, key })
  await eraseRest(slow, { id, key })
  await eraseLate(slow, id)
  const batches = await listFileBatches(slow, model)
  const note = `files of these batches may contain the subject and are not changed: ${batches.join(', ')}`
  if (batches.length > 0) await noteErasure(slow, { id, note })
}

async function deleteSnapshotsLater(scene: Scene, { id, model, ...subject }: Erasure): Promise<void> {
  const { store, config } = scene
  const { definition } = await getModel(store, model)
  const isDeclared = definition.subject !== undefined
  const snapshots = await findSnapshotsOf(scene, { model, subject, isDeclared })
  const note = 'the model file declares no `subject`, so only snapshots from when it did can be searched'
  if (!isDeclared) await noteErasure(store, { id, note })
  await scheduleSnapshotDeletion(store, { id, snapshots, days: config.retention.erasedSnapshotDays })
}
