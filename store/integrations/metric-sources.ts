/**
 * Reads the file of metric sources: the addresses and keys of the systems that external metrics ask. Model files name a source only, so
 * that no policy, history or page holds a secret. It is read at every question, so that a new key needs no restart.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { sourceNamePattern } from '../../domain/canary/external/external-policy.ts'
import { DomainError } from '../../domain/errors.ts'
import { withoutExcerpt } from '../../domain/redact.ts'

const url = z.url({ protocol: /^https?$/ })
const token = z.string().min(6).optional()
const source = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('promql'), url, token }),
  z.strictObject({ kind: z.literal('webhook'), url, token }),
  z.strictObject({ kind: z.literal('sql'), url: z.url({ protocol: /^postgres(ql)?$/ }) }),
])

export type MetricSource = z.infer<typeof source>

/** By name. No file, no sources. Throws `configuration_invalid` with every issue. */
export async function readMetricSources(file: string): Promise<Record<string, MetricSource>> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '{}'
    throw new DomainError('configuration_invalid', `${file} cannot be read: ${error.message}`)
  })
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (error) {
    // An excerpt could show an address or a key.
    const why = withoutExcerpt((error as Error).message)
    throw new DomainError('configuration_invalid', `${file} is no JSON: ${why}`)
  }
  const parsed = z.record(z.string().regex(sourceNamePattern), source).safeParse(found)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new DomainError('configuration_invalid', `${file}: ${issues.join('; ')}`, { issues })
}
