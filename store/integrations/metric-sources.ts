/**
 * Reads the file of metric sources: the addresses and keys of the systems that external metrics query. Model files only name a source, so
 * that no policy, history or page contains a secret. Read at every query, so that a new key needs no restart.
 */
import { z } from 'zod'
import { sourceNamePattern } from '../../domain/canary/external/external-policy.ts'
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
