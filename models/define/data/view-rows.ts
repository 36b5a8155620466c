/** Builds the SQL for the rows of a feature view that have become usable: first in the SQL of its source, then in DuckDB's. */
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import { quotedIdentifier, timestampLiteral } from '../../../domain/sql-text.ts'
import { readAs } from '../../../domain/values/readings.ts'
import { entityColumn } from '../../../domain/values/names.ts'
import { isAfter, isUntil } from './declared-kinds.ts'

export interface ViewPlan {
  /** The rows of the view that have become usable, in the SQL of its source. */
  known: string
  /** DuckDB SQL over `known`: one row per value, in the order in which they became usable. */
  rows: string
}

/** Builds the queries for the rows of a view that became usable after one moment and not after another. */
export function planView(
  { source, entity, eventTime, knownAt, values, keepMs }: FeatureView,
  { afterMs, untilMs }: { afterMs: number | undefined; untilMs: number },
): ViewPlan {
  const [event, known] = [quotedIdentifier(eventTime), quotedIdentifier(knownAt)]
  const conditions = [event, known].map((time) => isUntil(source.kind, time, timestampLiteral(untilMs)))
  if (afterMs !== undefined)
    conditions.push(
      `(${[event, known].map((time) => isAfter(source.kind, time, timestampLiteral(afterMs))).join(' or ')})`,
    )
  const columns = Object.entries(values).map(
    ([name, kind]) => `${readAs(kind === 'number' ? 'number' : 'text', name)} as ${quotedIdentifier(name)}`,
  )
  // Postgres does not keep the declared order.
  const names = Object.keys(values).sort().map(quotedIdentifier)
  const [eventAt, knownSince] = [readAs('time', eventTime), readAs('time', knownAt)]
  const shaped = `
    select ${entityColumn(entity)} as entity, ${eventAt} as event_at, ${knownSince} as known_at,
      greatest(${eventAt}, ${knownSince}) as usable_at, ${columns.join(', ')}
    from known`
  // Of several rows for the same event that became known at once, the greatest values win. What the retention deletes is not stored anew.
  return {
    known: `select * from (${source.rows}) as given where ${conditions.join(' and ')}`,
    rows: `
    select * from (${shaped}) as shaped where entity is not null
    qualify row_number() over (partition by entity, event_at, known_at order by ${names.map((name) => `${name} desc nulls last`).join(', ')}) = 1
      and usable_at >= max(event_at) over () - to_milliseconds(${keepMs})
    order by usable_at, entity, event_at, known_at`,
  }
}
