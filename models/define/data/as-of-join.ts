/**
 * Builds the SQL that joins model rows to feature values as known at the time of each row. A later value in a training row would leak the
 * future.
 */
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import type { FeatureOrigin } from '../../../domain/model/feature-view.ts'
import { quotedIdentifier, textLiteral } from '../../../domain/sql-text.ts'
import { entityColumn } from '../../../domain/values/names.ts'

/** Returns the name of the DuckDB table with the history of a view. */
export const historyTable = (digest: string): string => `_history_${digest.slice(-12)}`

/**
 * Returns DuckDB SQL that keeps only the values of a loaded history that were the best known at some moment. A value that became known
 * after a later event's value is never looked up, but would win in a join that knows only one order.
 */
export const bestKnown = (from: string): string => {
  const rank = '(epoch_us(event_at)::hugeint * 4611686018427387904 + epoch_us(known_at))'
  return `select * from ${from} qualify ${rank} = max(${rank}) over (partition by entity order by usable_at)`
}

/** Returns the looked-up features of a model with their origins. */
export const lookedUp = ({ features }: Pick<ModelDefinition, 'features'>): [string, FeatureOrigin][] =>
  Object.entries(features).flatMap(([name, { from }]): [string, FeatureOrigin][] =>
    from === undefined ? [] : [[name, from]],
  )

/** Returns DuckDB SQL over the rows of a model: the same rows with the looked-up features. */
export function withLookups(definition: ModelDefinition, rows: string): string {
  const found = lookedUp(definition)
  const { eventTime } = definition.source
  if (found.length === 0 || eventTime === undefined) return rows
  const at = `cast(asked.${quotedIdentifier(eventTime)} as timestamp)`
  // One join for each view and key.
  const joins = [...new Set(found.map(([, { digest, by }]) => JSON.stringify([digest, by])))].map(
    (text, place) => {
      const [digest, by] = JSON.parse(text) as [string, string[]]
      return { text, digest, by, key: `_by_${place}`, alias: `_looked_${place}` }
    },
  )
  const values = found.map(([name, { digest, by, value, timeToLiveMs, otherwise }]) => {
    const { alias } = joins.find(({ text }) => text === JSON.stringify([digest, by]))!
    const young = `${alias}.event_at >= ${at} - to_milliseconds(${timeToLiveMs})`
    const cased = `case when ${young} then ${alias}.${quotedIdentifier(value)} end`
    const standIn = typeof otherwise === 'string' ? textLiteral(otherwise) : String(otherwise)
    return `${otherwise === undefined ? cased : `coalesce(${cased}, ${standIn})`} as ${quotedIdentifier(name)}`
  })
  const own = found.map(([name]) => textLiteral(name)).join(', ')
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
