/**
 * Defines feature views: values of entities that change over time, with one definition for training and serving.
 *
 * A value is usable from the later of its event and the time it became known. Of the usable values, the one with the latest event
 * counts, and of two for the same event the one that became known last.
 */
export interface FeatureView {
  name: string
  about?: string
  /** SHA-256 of everything that determines its values. */
  digest: string
  source: ViewSource
  /** The columns that identify an entity. */
  entity: string[]
  /** `eventTime`: the column with the time of the event. `knownAt`: the column with the time at which the value became known (UTC). */
  eventTime: string
  knownAt: string
  values: Record<string, 'number' | 'category'>
  /** The period of the ingestion. */
  everyMs: number
  /** How far back each ingestion searches for late rows. */
  lateMs: number
  /** How much older than the newest event stored values are. */
  keepMs: number
}

/** The source of a view's rows; each row is one value of one entity. */
export interface ViewSource {
  kind: 'csv' | 'parquet' | 'postgres'
  /** View name → path inside the checkout; empty for Postgres. */
  files: Record<string, string>
  rows: string
  /** The name of a Postgres other than Tenure's own. */
  database?: string
}

/** The origin of a looked-up feature. It is stored with the artifact, so that an edited file changes no live version. */
export interface FeatureOrigin {
  view: string
  digest: string
  value: string
  /** The fields of a row that identify the entity, in the order of the view. */
  by: string[]
  /** The maximum age of a value. */
  timeToLiveMs: number
  /** The maximum age of a cached copy. */
  freshMs: number
  /** How long a request waits for a value that is not cached. */
  withinMs: number
  /** The value used when none is known. Default: null. */
  otherwise?: number | string
}

/** Why a value is missing: the row identifies no entity, the entity has no value, the value is too old, or the lookup timed out. */
export type Missing = 'no_entity' | 'absent' | 'old' | 'late'

export type FeatureValue = number | string | null

/** The newest usable values of an entity. */
export interface EntityValues {
  eventMs: number
  values: Readonly<Record<string, FeatureValue>>
}

/** The value of an entity at a time, or the default value with the reason. */
export function valueAt(
  { value, timeToLiveMs, otherwise: standIn }: FeatureOrigin,
  known: EntityValues | undefined,
  atMs: number,
): { value: FeatureValue; missing?: Missing } {
  const otherwise = standIn ?? null
  if (known === undefined) return { value: otherwise, missing: 'absent' }
  if (known.eventMs < atMs - timeToLiveMs) return { value: otherwise, missing: 'old' }
  const found = known.values[value] ?? null
  return found === null ? { value: otherwise, missing: 'absent' } : { value: found }
}
