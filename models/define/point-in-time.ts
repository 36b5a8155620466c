/**
 * Feature views as SQL: which rows of a view have become usable, and how the training rows are joined to what was usable at the
 * time of each. A row that could see a later value would be trained on what nobody knew when the model is asked.
 */
import type { ModelDefinition } from '../../domain/definition.ts'
import type { FeatureOrigin, FeatureView } from '../../domain/feature-view.ts'

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
const moment = (ms: number): string =>
  `timestamp '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}'`

/** The text that names an entity, as `entityKey` makes it; a whole number has no decimals, whatever its type. */
const entityColumn = (columns: readonly string[]): string =>
  columns
    .map((name) => `regexp_replace(cast(${quoted(name)} as varchar), '\\.0$', '')`)
    .join(' || chr(31) || ')

export interface ViewPlan {
  /** Views over the files of the source; empty for Postgres. */
  views: string[]
  /** The rows of the view that have become usable, in the SQL of its source. */
  known: string
  /** DuckDB SQL over `known`: one row a value, in the order in which they became usable. */
  rows: string
}

/** The rows of a view that became usable after one moment and not after another. */
export function planView(
  { source, entity, eventTime, knownAt, values }: FeatureView,
  { afterMs, untilMs, root }: { afterMs: number | undefined; untilMs: number; root: string },
): ViewPlan {
  const read = source.kind === 'csv' ? 'read_csv' : 'read_parquet'
  const [event, known] = [quoted(eventTime), quoted(knownAt)]
  const conditions = [`${event} <= ${moment(untilMs)}`, `${known} <= ${moment(untilMs)}`]
  if (afterMs !== undefined)
    conditions.push(`(${event} > ${moment(afterMs)} or ${known} > ${moment(afterMs)})`)
  const columns = Object.entries(values).map(
    ([name, kind]) =>
      `cast(${quoted(name)} as ${kind === 'number' ? 'double' : 'varchar'}) as ${quoted(name)}`,
  )
  const names = Object.keys(values).map(quoted)
  const [eventAt, knownSince] = [`cast(${event} as timestamp)`, `cast(${known} as timestamp)`]
  const shaped = `
    select ${entityColumn(entity)} as entity, ${eventAt} as event_at, ${knownSince} as known_at,
      greatest(${eventAt}, ${knownSince}) as usable_at, ${columns.join(', ')}
    from known`
  // Of several rows for the same event that became known at once, the one with the greatest values stands for all.
  return {
    views: Object.entries(source.files).map(
      ([name, path]) =>
        `create or replace temp view ${quoted(name)} as select * from ${read}(${literal(`${root}/${path}`)})`,
    ),
    known: `select * from (${source.rows}) as given where ${conditions.join(' and ')}`,
    rows: `
    select * from (${shaped}) as shaped where entity is not null
    qualify row_number() over (partition by entity, event_at, known_at order by ${names.map((name) => `${name} desc nulls last`).join(', ')}) = 1
    order by usable_at, entity, event_at, known_at`,
  }
}

/** The name of the table in DuckDB with the history of a view. */
export const historyTable = (digest: string): string => `_history_${digest.slice(-12)}`

/**
 * DuckDB SQL that leaves of a loaded history what was the best known at some moment: a value that came after a later event was
 * known is never looked up, and would win in a join that knows one order only.
 */
export const bestKnown = (from: string): string => {
  const rank = '(epoch_us(event_at)::hugeint * 4611686018427387904 + epoch_us(known_at))'
  return `select * from ${from} qualify ${rank} = max(${rank}) over (partition by entity order by usable_at)`
}

/** The looked-up features of a model with where they come from. */
export const lookedUp = ({ features }: Pick<ModelDefinition, 'features'>): [string, FeatureOrigin][] =>
  Object.entries(features).flatMap(([name, { from }]): [string, FeatureOrigin][] =>
    from === undefined ? [] : [[name, from]],
  )

/** DuckDB SQL over the rows of a model: the same rows, with the features that are looked up. */
export function withLookups(definition: ModelDefinition, rows: string): string {
  const found = lookedUp(definition)
  const { eventTime } = definition.source
  if (found.length === 0 || eventTime === undefined) return rows
  const at = `cast(asked.${quoted(eventTime)} as timestamp)`
  // One join for each way in which a view is asked.
  const joins = [...new Set(found.map(([, { digest, by }]) => JSON.stringify([digest, by])))].map(
    (text, place) => {
      const [digest, by] = JSON.parse(text) as [string, string[]]
      return { text, digest, by, key: `_by_${place}`, alias: `_looked_${place}` }
    },
  )
  const values = found.map(([name, { digest, by, value, timeToLiveMs, otherwise }]) => {
    const { alias } = joins.find(({ text }) => text === JSON.stringify([digest, by]))!
    const young = `${alias}.event_at >= ${at} - to_milliseconds(${timeToLiveMs})`
    const cased = `case when ${young} then ${alias}.${quoted(value)} end`
    const standIn = typeof otherwise === 'string' ? literal(otherwise) : String(otherwise)
    return `${otherwise === undefined ? cased : `coalesce(${cased}, ${standIn})`} as ${quoted(name)}`
  })
  const own = found.map(([name]) => literal(name)).join(', ')
  const keys = joins.map(({ by, key }) => `${entityColumn(by)} as ${key}`)
  const asof = joins.map(
    ({ digest, key, alias }) =>
      `asof left join ${historyTable(digest)} as ${alias} on asked.${key} = ${alias}.entity and ${at} >= ${alias}.usable_at`,
  )
  return `
    select asked.* exclude (${joins.map(({ key }) => key).join(', ')}), ${values.join(', ')}
    from (select columns(lambda name: name not in (${own})), ${keys.join(', ')} from (${rows})) as asked
    ${asof.join('\n')}`
}
