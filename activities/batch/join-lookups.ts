/** Joins looked-up features to the rows of a batch, with the values known when the batch starts. */
import { DomainError } from '../../domain/errors.ts'
import type { NotFound } from '../../domain/model/batch-spec.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { quotedIdentifier, replacing, textLiteral } from '../../domain/sql-text.ts'
import { withLookups } from '../../models/define/data/as-of-join.ts'
import { readNow } from '../../store/database/clock.ts'
import { findView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Duck } from '../data/duckdb.ts'
import { loadHistory } from '../features/feature-history.ts'

/** The column that holds the request time. */
const askedAt = '_asked_at'
/** The column that identifies a row by its order, for a batch without a key. */
const place = '_place'

/**
 * Adds the looked-up features to the view `given` and keeps columns that it already has. Returns those with rows for which nothing was
 * found; undefined when none was joined. Throws `invalid_request` for a row that names no entity and for an unknown view.
 */
export async function joinLookups(
  store: Store,
  duck: Duck,
  { features }: Pick<Manifest, 'features'>,
  subjectKey: SubjectKey | undefined,
): Promise<NotFound[] | undefined> {
  const looked = Object.entries(features).filter(([, { from }]) => from !== undefined)
  if (looked.length === 0) return undefined
  const has = new Set(
    (await duck.rows<{ column_name: string }>('describe given')).map(({ column_name: name }) => name),
  )
  const lacking = looked.filter(([name]) => !has.has(name))
  if (lacking.length === 0) return undefined
  const origins = lacking.map(([, { from }]) => from!)
  const fields = [...new Set(origins.flatMap(({ by }) => by))].filter((field) => !has.has(field))
  const issues = fields.map(
    (field) => `the column ${JSON.stringify(field)} is missing: it names what is looked up`,
  )
  const digests = [...new Set(origins.map(({ digest }) => digest))]
  const stored = await Promise.all(digests.map((digest) => findView(store, digest)))
  const views = stored.flatMap((each) => (each === undefined ? [] : [each.definition]))
  if (views.length < digests.length)
    issues.push('a feature view of the version is not stored here: run `tenure models sync`')
  if (issues.length > 0)
    throw new DomainError('invalid_request', `the input does not fit: ${issues.join('; ')}`, { issues })
  const asOfMs = Math.floor(await readNow(store))
  const oldestMs = Math.max(...origins.map(({ timeToLiveMs }) => timeToLiveMs))
  const definition = {
    // What stands in for a missing value is filled in after the count.
    features: Object.fromEntries(
      lacking.map(([name, feature]) => [
        name,
        { ...feature, from: { ...feature.from, otherwise: undefined } },
      ]),
    ),
    source: { eventTime: askedAt },
    views,
  } as unknown as ModelDefinition
  await loadHistory(duck, store, definition, { sinceMs: asOfMs - oldestMs, asOfMs, subjectKey })
  const asked = `select *, row_number() over () as ${place}, make_timestamp(${asOfMs}000) as ${askedAt} from given`
  await duck.run(
    `create temp table _joined as select * exclude (${askedAt}, ${place}) from (${withLookups(definition, asked)}) order by ${place}`,
  )
  const notFound = await countNotFound(
    duck,
    lacking.map(([name]) => name),
  )
  const filled = lacking.flatMap(([name, { from }]) => {
    const { otherwise } = from!
    if (otherwise === undefined) return []
    const standIn = typeof otherwise === 'string' ? textLiteral(otherwise) : String(otherwise)
    return [`coalesce(${quotedIdentifier(name)}, ${standIn}) as ${quotedIdentifier(name)}`]
  })
  await duck.run(`create or replace temp view given as select *${replacing(filled)} from _joined`)
  return notFound
}

async function countNotFound(duck: Duck, features: readonly string[]): Promise<NotFound[]> {
  const counts = features.map((name, at) => `count(*) - count(${quotedIdentifier(name)}) as "${at}"`)
  const [found] = await duck.rows<Record<string, number>>(`select ${counts.join(', ')} from _joined`)
  return features
    .map((feature, at) => ({ feature, rows: Number(found?.[at] ?? 0) }))
    .filter(({ rows }) => rows > 0)
}
