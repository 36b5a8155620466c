/** Inserts rows of every kind for a model, in the states that an attacker would use, and lists their ids by kind. */
import { randomBytes, randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { idsOfRow, idsOfRun } from '../../../domain/training/runs.ts'
import { startRoles, type StartType } from '../../../domain/roles.ts'
import { findActiveKeys, insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { commandIdOf, insertStart } from '../../../store/commands.ts'
import { insertQueued } from '../../../store/release/release-queue.ts'
import { openSubjectKey } from '../../../store/signing/subject-hash.ts'
import { putNetwork } from '../release/candidates.ts'
import type { FixtureModel, FixtureRelease, ReleaseFixture } from '../release/release-fixture.ts'
import type { RowKind } from './kinds.ts'

export type Ids = Record<RowKind, string[]>
export const startTypes = Object.keys(startRoles) as StartType[]

export interface Subject {
  model: FixtureModel
  champion: string
  /** A release that waits for its approval. */
  open: FixtureRelease
  /** The first id of each kind belongs to the retraining that runs. */
  ids: Ids
  /** Orders of each kind of start that may open no run: used, late, of a key that was revoked. */
  orders: Record<StartType, string[]>
}

const hex = () => randomBytes(16).toString('hex')

/** `verdict`: of the gate, about the retraining that runs. */
export async function insertSubject(
  fixture: ReleaseFixture,
  verdict: 'better' | 'not_better',
): Promise<Subject> {
  const model = await fixture.model()
  const { name } = model
  const champion = await model.champion()
  const ended = await model.start(await model.register(champion))
  await ended.reaches('awaiting_approval')
  await ended.say('reject', 'anna', { reason: 'not this one' })
  await ended.result()
  const candidate = await model.register(champion)
  const waiting = await model.register(champion)
  const open = await model.start(candidate)
  const state = await open.reaches('awaiting_approval')
  const others = await insertOthers(fixture, name, champion)
  const queued = await fixture.store.transaction((database) =>
    insertQueued(database, { model: name, version: waiting, requestedBy: 'olga', preemption: 'none' }),
  )
  const runs = [
    await insertRun(fixture, name, { verdict }),
    await insertRun(fixture, name, { verdict: 'insufficient', outcome: 'insufficient' }),
    await insertRun(fixture, name, { outcome: 'failed' }),
    // An operator has cancelled it.
    await insertRun(fixture, name, { verdict: 'better', outcome: 'cancelled' }),
  ]
  const promoting = nextEffect({ ...state, stage: 'promoting', routed: true })
  const canary = { ...state, stage: 'canary', shareBp: 10_000 } as const
  return {
    model,
    champion,
    open,
    orders: await insertOrders(fixture, name, candidate),
    ids: {
      model: [name],
      release: [open.id, ended.id],
      step: [promoting, nextEffect(canary), nextEffect({ ...canary, routed: true }), nextEffect(state)].map(
        ({ key }) => key,
      ),
      version: [candidate, champion, waiting],
      queued: [queued.id],
      retraining: runs.map(({ retraining }) => retraining),
      snapshot: runs.map(({ snapshot }) => snapshot),
      validation: runs.map(({ validationId }) => validationId),
      training: runs.map(({ trainingId }) => trainingId),
      evaluation: runs.map(({ evaluationId }) => evaluationId),
      ...others,
      run: [...runs.map(({ retraining }) => retraining), ...others.trial, ...others.sweep],
      command: await listCommandIds(fixture, name),
      firing: [],
      schedule: [],
      order: [queued.id, ...runs.map(({ retraining }) => retraining)],
      view: [],
    },
  }
}

/** Inserts the rows of a retraining; without an outcome it runs. */
async function insertRun(
  { store, config }: ReleaseFixture,
  model: string,
  { verdict, outcome }: { verdict?: string; outcome?: string },
) {
  const run = randomUUID()
  const retraining = `retrain/${model}/${run}`
  const ids = idsOfRun(run)
  const { validationId, trainingId, evaluationId } = ids
  const snapshot = hex() + hex()
  const weights = [Math.random(), -1, 0.5] as const
  const artifact = await putNetwork(openArtifacts(config.artifactRoot), model, weights)
  await store.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values (${snapshot}, ${model}, now(), 2, 10, '[]', '{}')`)
  await store.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    values (${validationId}, ${model}, ${snapshot}, ${verdict === undefined ? 'block' : 'pass'}, '{}')`)
  await store.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest)
    values (${trainingId}, ${model}, ${snapshot}, 1, 'c', 'd', 'done', ${artifact})`)
  if (verdict !== undefined)
    await store.query(sql`
      insert into evaluations
        (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      values (${evaluationId}, ${model}, ${trainingId}, ${snapshot}, ${artifact}, ${verdict},
        '{"metrics": [], "rows": 2, "reasons": []}', ${hex()})`)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, snapshot_digest, outcome, message, ended_at)
    values (${retraining}, ${model}, 'manual', 'olga', now(), ${snapshot}, ${outcome ?? null}, ${outcome ?? null},
      ${outcome === undefined ? null : new Date().toISOString()})`)
  return { ...ids, retraining, snapshot }
}

async function insertOthers({ store, config }: ReleaseFixture, model: string, champion: string) {
  const [drill, sweep, batch, erasure] = [
    `drl_${hex()}00`,
    `swp_${hex()}`,
    `bat_${hex()}`,
    `era_${randomUUID()}`,
  ]
  const trial = `try_${sweep}_0`
  await store.query(sql`
    insert into drills (id, model, kind, traffic, requested_by, harm_budget)
    values (${drill}, ${model}, 'bad', 'mirrored', 'olga', 1)`)
  await store.query(sql`
    insert into sweeps (id, model, requested_by, as_of, plan)
    values (${sweep}, ${model}, 'olga', now(), '{"candidates": [{}, {}], "parallel": 1}')`)
  await store.query(sql`
    insert into trials (id, model, sweep_id, requested_by, as_of, run_id, training_id)
    values (${trial}, ${model}, ${sweep}, 'olga', now(), 'r', ${idsOfRow(trial).trainingId})`)
  await store.query(sql`
    insert into batches (id, model, version, input, output, requested_by)
    values (${batch}, ${model}, ${champion}, '{"kind": "file", "path": "none.parquet"}',
      '{"kind": "file", "path": "out.parquet", "key": []}', 'olga')`)
  const { digest } = await openSubjectKey(config.signing.subjectKey)
  await store.query(sql`
    insert into erasures (id, model, subject_hash, key_digest, requested_by)
    values (${erasure}, ${model}, ${hex()}, ${digest}, 'root')`)
  return { drill: [drill], sweep: [sweep], trial: [trial], batch: [batch], erasure: [erasure] }
}

/** Commands to releases that were answered, and starts of releases. */
async function listCommandIds({ store }: ReleaseFixture, model: string): Promise<string[]> {
  const rows = await store.query<{ id: string }>(sql`
    select id from commands where model = ${model} and (release_id is not null or kind = 'release') order by position`)
  return rows.map(({ id }) => id)
}

async function insertOrders(
  { store }: ReleaseFixture,
  model: string,
  version: string,
): Promise<Record<StartType, string[]>> {
  const ended = `key-of-${model}`
  await insertKey(store, { name: ended, role: 'operator' })
  const keys = await findActiveKeys(store)
  const [olga, former] = ['olga', ended].map((name) => keys.find((each) => each.name === name)!)
  const orders = startTypes.map(async (kind) => {
    const ids = [hex(), hex(), hex()].map(commandIdOf)
    const [used, late, revoked] = ids as [string, string, string]
    const input =
      kind === 'materialise' ? { view: 'invented' } : kind === 'release' ? { model, version } : { model }
    await store.transaction(async (database) => {
      for (const id of ids)
        await insertStart(database, { id, kind, by: id === revoked ? former! : olga!, input })
    })
    await store.query(sql`update commands set run_id = 'another' where id = ${used}`)
    await store.query(
      sql`update commands set until = clock_timestamp() - interval '1 second' where id = ${late}`,
    )
    return [kind, ids] as const
  })
  const made = Object.fromEntries(await Promise.all(orders)) as Record<StartType, string[]>
  await revokeKey(store, former!.id)
  return made
}

/** Returns ids that no row has: one of the right form, and one that is a text of the attacker. */
export function inventedIds(mark: string): Ids {
  const text = `${mark}\nline`
  const uuid = randomUUID()
  const { validationId, trainingId, evaluationId } = idsOfRun(uuid)
  return {
    batch: [`bat_${hex()}`, text],
    command: [`cmd_${hex()}`, text],
    drill: [`drl_${hex()}00`, text],
    erasure: [`era_${uuid}`, text],
    evaluation: [evaluationId, text],
    firing: [`fir_${uuid}`, text],
    model: ['invented', text],
    order: [`cmd_${hex()}`, `que_${hex()}`, `retrain/invented/${uuid}`, `swp_${hex()}`, `fir_${uuid}`, text],
    queued: [`que_${hex()}`, text],
    release: [`rel_${hex()}`, text],
    retraining: [`retrain/invented/${uuid}`, text],
    run: [`retrain/invented/${uuid}`, `try_${hex()}`, text],
    schedule: ['invented', text],
    snapshot: [hex() + hex(), text],
    step: ['promoting/9/9/9', text],
    sweep: [`swp_${hex()}`, text],
    training: [trainingId, text],
    trial: [`try_${hex()}`, text],
    validation: [validationId, text],
    version: ['invented_v1.0.0', text],
    view: ['invented', text],
  }
}
