/** Seeds the rows of sweeps, triggers, refused challengers and reviews. `hostile` is inserted into every text from outside. */
import sql from 'sql-template-tag'
import type { Store } from '../../../store/postgres.ts'

interface SeededRows {
  model: string
  hostile?: string
}

/** Seeds two scored trials and a failed one; the first trial went to the gate. */
export async function seedSweep(store: Store, { model, hostile = '' }: SeededRows): Promise<void> {
  const failed = { rate: hostile === '' ? 9 : hostile }
  const plan = { candidates: [{ rate: 1 }, { rate: 2 }, failed], parallel: 1 }
  await store.query(sql`
    insert into sweeps (id, model, requested_by, as_of, plan, winner, outcome, message, ended_at)
    values ('swp_1', ${model}, 'olga', now(), ${JSON.stringify(plan)}, '{"rate": 2}', 'chosen', ${`best ${hostile}`}, now())`)
  for (const [i, [overrides, score]] of (
    [
      [{ rate: 1 }, 0.71],
      [{ rate: 2 }, 0.74],
      [failed, null],
    ] as const
  ).entries())
    await store.query(sql`
      insert into trials (id, model, sweep_id, requested_by, as_of, overrides, run_id, training_id, score, outcome, ended_at)
      values (${`try_${i}`}, ${model}, 'swp_1', 'olga', now(), ${JSON.stringify(overrides)}, 'r', ${`t-${i}`}, ${score},
        ${score === null ? 'failed' : 'scored'}, now())`)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, started_at, ended_at, sweep_id)
    values ('retrain/swp', ${model}, 'manual', 'olga', now(), 'not_better', ${`Not released: AUC 0.6492 vs 0.6521 ${hostile}`}, now(), now(), 'swp_1')`)
}

/** Seeds a trigger that has fired, a trigger whose folder is missing, and a trigger of a batch that has started one partition. */
export async function seedTriggers(store: Store, { model, hostile = '' }: SeededRows): Promise<void> {
  const triggers = [
    { name: 'webhook', kind: 'webhook', parameters: { region: { kind: 'category' } } },
    { name: 'file', kind: 'file', everyMs: 30_000, glob: `data/${hostile}/*.done` },
  ]
  const batch = {
    name: 'daily',
    input: { kind: 'file', path: 'data/rows.csv' },
    output: { kind: 'table' },
    key: ['id'],
    triggers: [{ name: 'daily.webhook', kind: 'webhook', parameters: {} }],
  }
  const more = { triggers, batches: [batch], retrain: { cron: '0 3 * * 1', catchUpMs: 1 } }
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify(more)}::jsonb where name = ${model}`)
  await store.query(sql`
    insert into trigger_firings (id, model, trigger, message, evidence, requested_by)
    values ('fir_1', ${model}, 'webhook', ${`fired by ${hostile}`}, '{}', 'olga')`)
  await store.query(sql`
    with firing as (
      insert into trigger_firings (id, model, trigger, batch, message, evidence, requested_by)
      values ('fir_2', ${model}, 'daily.webhook', 'daily', ${`asked by ${hostile}`}, '{}', 'olga') returning id
    )
    insert into batch_partitions (model, batch, partition, attempt, id, request, reason, firing)
    select ${model}, 'daily', '2026-03-01', 1, 'bat_fired', '{}', 'fired', id from firing`)
  await store.query(sql`
    insert into trigger_positions (model, trigger, definition, seen, problem)
    values (${model}, 'file', '{}', '{}', ${`no folder ${hostile}`})`)
}

/** Seeds three logged predictions of a version with two outputs that lie in its review band. */
export async function seedReviews(
  store: Store,
  { model, version }: { model: string; version: string },
): Promise<void> {
  const output = {
    kind: 'probability',
    positive: 'late',
    threshold: 0.5,
    review: { from: 0.4, to: 0.6 },
  }
  await store.query(sql`
    update models set definition = jsonb_set(definition, '{label}', ${JSON.stringify({ output })}) where name = ${model}`)
  await store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify({ output })}::jsonb where version = ${version}`)
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select first_id_at(asked), asked, ${model}, ${version}, 'champion', 1, 1, decode('0000803f000000c0', 'hex'), array[0.41 + i / 20.0]::real[], 100
    from generate_series(1, 3) as i,
      lateral (select date_trunc('milliseconds', now()) - i * interval '1 hour' as asked) as moment`)
}
