/**
 * Reads how often values of features and scores fell into the bins of a version's training profile, also in earlier periods, and stores
 * what an exported predictor has counted.
 */
import { DomainError } from '../../../domain/errors.ts'
import {
  answerProfiles,
  binNames,
  defaultCountMs,
  sentWithinMs,
  type Profile,
} from '../../../domain/model/reference-profile.ts'
import type { CountedHour } from '../../../domain/monitoring/drift-history.ts'
import { completeMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { sumOf } from '@tenure/sequential'
import type { Actor } from '../../auth/authentication.ts'
import { requireAskable } from '../askable-version.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { firstStepOf } from '../../../store/release/first-release.ts'
import type { StoredModel } from '../../../store/registry/models.ts'
import { getVersion, type Version } from '../../../store/registry/versions.ts'
import {
  exportIdOf,
  listHoursAndExports,
  lockExportCounts,
  writeFeatureCounts,
} from '../../../store/serving/feature-counts.ts'
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
  const { hours, exported } = await listHoursAndExports(database, { model, version, fromMs, toMs })
  const spans = spansBefore({ fromMs: fromMs - spanMs, toMs }, before)
  const earlier = await listReferenceHours(database, { model, version, profile }, spans)
  return {
    model,
    version,
    profile,
    count_ms: profile.everyMs ?? defaultCountMs,
    span_ms: spanMs,
    counts: hours.map(counted),
    exported: exported.map(counted),
    ...(before && { earlier: earlier.filter(({ hourMs }) => hourMs < fromMs).map(counted) }),
  }
}

/** What an exported predictor counted: its own id, and the whole counts of each period. */
export interface SentCounts {
  version: string
  sender: string
  counts: { at: string; features: Record<string, number[]>; scores: Record<string, number[]> }[]
}

/**
 * Stores the counts of an exported predictor apart from those of replicas: they are a claim of the key, and judge drift only where no replica
 * has counted. Counts are absolute for a key, sender and period: sending them again changes nothing. Throws `invalid_request` for bins that are not those of the version's profile, and for
 * a period that is not one of its periods of the last days.
 */
export async function storeSentCounts(
  store: Pick<Store, 'query' | 'transaction'>,
  actor: Actor,
  {
    model: { name },
    sent: { version: named, sender, counts },
    nowMs,
  }: { model: StoredModel; sent: SentCounts; nowMs: number },
): Promise<number> {
  const found = await findCounted(store, name, named)
  await requireAskable(store, actor, found)
  const { version, model, manifest } = found
  const { profile } = manifest
  if (profile === undefined) throw new DomainError('not_found', `${version} has no training profile`)
  const { everyMs = defaultCountMs } = profile
  const kinds = [
    { kind: 'feature', field: 'features', profiles: profile.features },
    { kind: 'score', field: 'scores', profiles: answerProfiles(profile) },
  ] as const
  const rows = counts.flatMap((span, index) => {
    const hourMs = Date.parse(span.at)
    const issue = periodIssue(hourMs, everyMs, nowMs)
    if (issue !== undefined) throw new DomainError('invalid_request', `counts.${index}.at: ${issue}`)
    if (counts.findIndex(({ at }) => Date.parse(at) === hourMs) < index)
      throw new DomainError('invalid_request', `counts.${index}.at: is the period of an earlier item`)
    return kinds.flatMap(({ kind, field, profiles }) =>
      Object.entries(span[field]).map(([each, bins]) => {
        const wrong = binsIssue(profiles, each, bins)
        if (wrong !== undefined)
          throw new DomainError('invalid_request', `counts.${index}.${field}.${each}: ${wrong}`)
        return { model, version, hourMs, kind, name: each, counts: bins }
      }),
    )
  })
  const most = maxExportedRowsPerSecond * (everyMs / 1_000)
  await store.transaction(async (database) => {
    const beside = await lockExportCounts(database, {
      key: actor.id,
      sender,
      model,
      version,
      hours: [...new Set(rows.map(({ hourMs }) => hourMs))],
    })
    for (const { hourMs, kind, name: each, counts: bins } of rows) {
      const rest = beside.get(`${hourMs} ${kind} ${each}`) ?? 0
      if (rest + sumOf(bins) > most)
        throw new DomainError(
          'invalid_request',
          `${each} at ${new Date(hourMs).toISOString()}: the exports of one key count at most ${most} rows in ${everyMs / 60_000} min`,
        )
    }
    await writeFeatureCounts(database, { replica: exportIdOf(actor.id, sender), rows })
    await appendAudit(database, {
      actor: actor.name,
      action: 'counts.sent',
      subject: version,
      model,
      detail: { sender, periods: counts.length, key: actor.id },
    })
  })
  return counts.length
}

/** What one key may claim to have answered outside of the replicas. */
const maxExportedRowsPerSecond = 1_000

function periodIssue(startMs: number, everyMs: number, nowMs: number): string | undefined {
  if (startMs % everyMs !== 0) return `is not the start of a period of ${everyMs / 60_000} min`
  if (startMs > nowMs + everyMs) return 'is in the future by the clock of this server'
  if (startMs < nowMs - sentWithinMs) return `is more than ${sentWithinMs / dayMs} days ago`
  return undefined
}

function binsIssue(profiles: readonly Profile[], name: string, bins: readonly number[]): string | undefined {
  const profile = profiles.find((each) => each.name === name)
  if (profile === undefined) return 'is not in the training profile of the version'
  const expected = binNames(profile).length
  return bins.length === expected
    ? undefined
    : `has ${bins.length} bins, the training profile has ${expected}`
}

const counted = ({ hourMs, counts }: CountedHour) => ({ at: new Date(hourMs).toISOString(), ...counts })

async function findCounted(database: Database, name: string, named: string | undefined): Promise<Version> {
  const version = named ?? (await findChampion(database, name))?.version
  if (version === undefined)
    throw new DomainError('not_found', `${name} has no champion; name a version`, {
      remedy: await firstStepOf(database, name),
    })
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
