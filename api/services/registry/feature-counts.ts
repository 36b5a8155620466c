/** Reads how often values of features and scores fell into the bins of a version's training profile, also in earlier periods. */
import { DomainError } from '../../../domain/errors.ts'
import { defaultCountMs } from '../../../domain/model/reference-profile.ts'
import type { CountedHour } from '../../../domain/monitoring/drift-history.ts'
import { completeMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import type { Database } from '../../../store/postgres.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import type { StoredModel } from '../../../store/registry/models.ts'
import { getVersion, type Version } from '../../../store/registry/versions.ts'
import { listHours } from '../../../store/serving/feature-counts.ts'
import { listReferenceHours } from '../../../store/serving/reference-hours.ts'

const dayMs = 86_400_000

export interface CountsQuery {
  /** Default: the champion. */
  version?: string
  days: number
  /** Offsets in milliseconds; the same period shifted back by each is read too. */
  before?: readonly number[]
  toMs: number
}

export async function readFeatureCounts(
  database: Database,
  { name, definition }: StoredModel,
  { version: named, days, before, toMs }: CountsQuery,
) {
  const { version, model, manifest } = await findCounted(database, name, named)
  const { profile } = manifest
  if (profile === undefined) throw new DomainError('not_found', `${version} has no training profile`)
  const fromMs = toMs - days * dayMs
  const { spanMs } = completeMonitorPolicy(definition.monitor)
  const hours = await listHours(database, { model, version, fromMs, toMs })
  const spans = spansBefore({ fromMs: fromMs - spanMs, toMs }, before)
  const earlier = await listReferenceHours(database, { model, version, profile }, spans)
  return {
    model,
    version,
    profile,
    count_ms: profile.everyMs ?? defaultCountMs,
    span_ms: spanMs,
    counts: hours.map(counted),
    ...(before && { earlier: earlier.filter(({ hourMs }) => hourMs < fromMs).map(counted) }),
  }
}

const counted = ({ hourMs, counts }: CountedHour) => ({ at: new Date(hourMs).toISOString(), ...counts })

async function findCounted(database: Database, name: string, named: string | undefined): Promise<Version> {
  const version = named ?? (await findChampion(database, name))?.version
  if (version === undefined) throw new DomainError('not_found', `${name} has no champion; name a version`)
  const found = await getVersion(database, version)
  if (found.model !== name)
    throw new DomainError('not_found', `${found.version} is a version of ${found.model}, not of ${name}`)
  return found
}

interface Spanned {
  fromMs: number
  toMs: number
}

/** Returns the period shifted back by each offset; overlapping periods are merged. */
function spansBefore({ fromMs, toMs }: Spanned, before: readonly number[] = []): Spanned[] {
  const spans = before
    .map((offset) => ({ fromMs: fromMs - offset, toMs: toMs - offset }))
    .sort((a, b) => a.fromMs - b.fromMs)
  return spans.reduce<Spanned[]>((joined, span) => {
    const last = joined.at(-1)
    if (last === undefined || span.fromMs > last.toMs) return [...joined, span]
    return [...joined.slice(0, -1), { ...last, toMs: Math.max(last.toMs, span.toMs) }]
  }, [])
}
