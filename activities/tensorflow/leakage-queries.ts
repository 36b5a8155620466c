/** Searches a snapshot for leaks of the label into the features. */
import { auc } from '../../domain/metrics/auc.ts'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import type { LeakageFacts } from '../../domain/evaluation/leakage.ts'
import { quotedIdentifier } from '../../models/define/data/sql-text.ts'
import type { Duck } from '../data/duckdb.ts'

const { key, part, eventAt, knownAt, label } = snapshotColumns

/** Facts about the view `snapshot`. */
export async function findLeaks(duck: Duck, definition: ModelDefinition): Promise<LeakageFacts> {
  const [overlap] = await duck.rows<{ share: number | null }>(`
    select avg(cast(${key} in (select ${key} from snapshot where ${part} = 'train') as double)) as share
    from snapshot where ${part} = 'test'`)
  const facts: LeakageFacts = { rowOverlap: overlap?.share ?? 0 }
  const entityOverlap = await findEntityOverlap(duck, definition)
  if (entityOverlap !== undefined) facts.entityOverlap = entityOverlap
  if (definition.label.knownAt !== undefined) {
    const [early] = await duck.rows<{ n: number }>(
      `select count(*) as n from snapshot where ${knownAt} <= ${eventAt}`,
    )
    facts.labelNotAfterFeature = early?.n ?? 0
  }
  if (definition.label.output.kind === 'probability') facts.featureAuc = await featureAucs(duck, definition)
  return facts
}

/**
 * The share of test entities that were also trained on. A split by time shares entities as production does; a split by hash must keep
 * all rows of an entity on one side, or the model memorises them.
 */
async function findEntityOverlap(
  duck: Duck,
  { evaluation: { entity }, split }: ModelDefinition,
): Promise<number | undefined> {
  if (entity === undefined || split.kind !== 'hash') return undefined
  const name = quotedIdentifier(entity)
  const [row] = await duck.rows<{ share: number | null }>(`
    select avg(cast(${name} in (select ${name} from snapshot where ${part} = 'train') as double)) as share
    from (select distinct ${name} from snapshot where ${part} = 'test' and ${name} is not null)`)
  return row?.share ?? 0
}

/** How well each number alone separates the classes on the test rows, in either direction. */
async function featureAucs(
  duck: Duck,
  { features }: ModelDefinition,
): Promise<{ feature: string; auc: number | null }[]> {
  const numbers = Object.keys(features).filter((name) => features[name]?.kind === 'number')
  const found = []
  for (const feature of numbers) {
    const { columns } = await duck.table(
      `select "${feature}" as score, ${label} as y from snapshot where ${part} = 'test' and "${feature}" is not null`,
    )
    const { y = [], score = [] } = columns as Record<string, ArrayLike<number>>
    const value = auc(y, score)
    found.push({ feature, auc: value === null ? null : Math.max(value, 1 - value) })
  }
  return found
}
