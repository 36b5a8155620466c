/** Checks whether the largest value of a column has risen, in Tenure's database or another Postgres, with a read-only role. */
import { DomainError } from '../../domain/errors.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import { isFiniteMark, isLaterMark, type WatermarkSensor } from '../../domain/triggers/trigger.ts'
import { foreignReader } from '../../store/database/cursor.ts'
import { readMetricSources } from '../../store/integrations/metric-sources.ts'
import type { Deps } from '../deps.ts'
import type { Look } from './sensor.ts'

export const lookAtWatermark: Look<WatermarkSensor, { mark: string | null }> = async (
  deps,
  sensor,
  before,
) => {
  const { table, column } = sensor
  const from = table.split('.').map(quotedIdentifier).join('.')
  const readerUrl = await addressOf(deps, sensor)
  const found: (string | null)[] = []
  await foreignReader({ readerUrl })(
    `select max(${quotedIdentifier(column)})::text from ${from}`,
    async ({ rows }) => void found.push(...rows.flat()),
  )
  const mark = found[0] ?? null
  if (mark !== null && !isFiniteMark(mark))
    throw new DomainError(
      'source_unreadable',
      `the largest value of ${table}.${column} is ${mark}, which no later row exceeds: correct that row, or watch a view without it`,
    )
  if (before === undefined) return { seen: { mark } }
  // Deleted rows lower the mark; only a mark above all earlier ones is news.
  if (mark === null || !isLaterMark(mark, before.mark)) return { seen: before }
  const message = `${table}.${column} has risen from ${before.mark ?? 'nothing'} to ${mark}`
  return { seen: { mark }, news: { message, evidence: { watermark: mark, before: before.mark } } }
}

async function addressOf({ store, config }: Deps, { source }: WatermarkSensor): Promise<string | undefined> {
  if (source === undefined) return store.readerUrl
  const sources = await readMetricSources(config.metricSources)
  const named = sources[source]
  if (named?.kind === 'sql') return named.url
  throw new DomainError(
    'configuration_invalid',
    `there is no source ${source} of the kind sql: add it to ${config.metricSources}`,
  )
}
