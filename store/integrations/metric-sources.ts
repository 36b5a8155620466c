/**
 * Reads the file of sources: the addresses and keys of the systems that external metrics, watermarks and queries of model files ask. Model
 * files only name a source, so that no policy, history or page contains a secret. Read at every query, so that a new key needs no restart.
 */
import { z } from 'zod'
import { sourceNamePattern } from '../../domain/canary/external/external-policy.ts'
import { DomainError } from '../../domain/errors.ts'
import { foreignReader, type ReadBatches } from '../database/cursor.ts'
import type { Store } from '../postgres.ts'
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
