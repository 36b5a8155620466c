/**
 * Reads the file of sources: the addresses and keys of the systems that external metrics, watermarks and queries of model files ask. Model
 * files only name a source, so that no policy, history or page contains a secret. Read at every query, so that a new key needs no restart.
 */
import { z } from 'zod'
import { Sql } from 'sql-template-tag'
import { sourceNamePattern } from '../../domain/canary/external/external-policy.ts'
import { DomainError } from '../../domain/errors.ts'
import { foreignReader, type ReadBatches } from '../database/cursor.ts'
import { type Store, openStore } from '../postgres.ts'
import { readSecretJson } from '../secret-json.ts'

const url = z.url({ protocol: /^https?$/ })
const token = z.string().min(6).optional()
const source = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('promql'), url, token }),
  z.strictObject({ kind: z.literal('webhook'), url, token }),
  z.strictObject({ kind: z.literal('sql'), url: z.url({ protocol: /^postgres(ql)?$/ }) }),
])

export type MetricSource = z.infer<typeof source>

/** By name. Without the file there are no sources. Throws `configuration_invalid` with every issue. */
export const readMetricSources = async (file: string): Promise<Record<string, MetricSource>> =>
  (await readSecretJson(file, z.record(z.string().regex(sourceNamePattern), source))) ?? {}

/** Reads queries of Tenure's own database, or of the Postgres with this name. */
export const queryReader =
  (store: Pick<Store, 'readerUrl' | 'metricSources'>, database?: string): ReadBatches =>
  async (query, take) => {
    if (database === undefined) return foreignReader(store)(query, take)
    const file = store.metricSources
    const named = file === undefined ? undefined : (await readMetricSources(file))[database]
    if (named?.kind !== 'sql')
      throw new DomainError(
        'configuration_invalid',
        `there is no source ${database} of the kind sql: add it to ${file ?? 'the file of TENURE_METRIC_SOURCES'}`,
      )
    return foreignReader({ readerUrl: named.url })(query, take)
  }

// Queries another Postgres server for one number, in a read-only transaction with a time limit.

/** Enough to detect several rows. Passed as a parameter, because Postgres then accepts only one statement. */
const maxRows = 2

/** The first column of the rows, at most two rows. */
export async function askPostgres(
  url: string,
  { strings, values }: { strings: readonly string[]; values: readonly unknown[] },
  timeoutMs: number,
): Promise<(number | null)[]> {
  const store = openStore(url, { max: 1, queryMs: timeoutMs, connectMs: timeoutMs, name: 'tenure metric' })
  const [first = '', ...rest] = strings
  // Otherwise a row of any size would cross the network.
  const whole = [`with answer (value) as (${first}`, ...rest, '']
  whole[whole.length - 2] += ') select value::float8 as value from answer limit '
  try {
    return await store.transaction(async (database) => {
      await database.query(new Sql(['set transaction read only'], []))
      const rows = await database.query<{ value: number | null }>(new Sql(whole, [...values, maxRows]))
      return rows.map(({ value }) => value)
    })
  } finally {
    await store.close()
  }
}
