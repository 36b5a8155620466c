/**
 * A feature view: values of some entity that change over time, said once for training and for serving. Were they computed in two
 * places, the model would be asked something else than it was taught; and were a value used before it was known, training would
 * see the future.
 *
 * A value is usable from the later of its event and the moment it became known. Of the values usable at a moment, the one with
 * the latest event counts, and of two for the same event the one that became known last.
 */

export interface FeatureView {
  name: string
  about?: string
  /** SHA-256 of all that decides what its values are. */
  digest: string
  source: ViewSource
  /** The columns that name an entity. */
  entity: string[]
  /** The column with the time that a value is about, and the one with the time it became known (UTC). */
  eventTime: string
  knownAt: string
  values: Record<string, 'number' | 'category'>
  /** How often what is new is taken in. */
  everyMs: number
  /** How far behind what was taken in it is looked for rows that came late. */
  lateMs: number
  /** Older values are forgotten. */
  keepMs: number
}

/** Where the rows of a view come from; each is one value of one entity. */
export interface ViewSource {
  kind: 'csv' | 'parquet' | 'postgres'
  /** View name → path inside the checkout; empty for Postgres. */
  files: Record<string, string>
  rows: string
}

/** Where a feature of a model comes from that callers need not send. It goes with the artifact: nothing live changes with a file. */
export interface FeatureOrigin {
  view: string
  digest: string
  value: string
  /** The fields of a row that name the entity, in the order of the view. */
  by: string[]
  /** An older value is none. */
  timeToLiveMs: number
  /** A copy that was read longer ago is not used. */
  freshMs: number
  /** How long a request waits for a value that is not at hand. */
  withinMs: number
  /** Stands in where there is no value; null when absent. */
  otherwise?: number | string
}

/** Why a value was not found: the row does not name the entity, it has none, it is too old, or it was not there in time. */
export type Missing = 'no_entity' | 'absent' | 'old' | 'late'

export type FeatureValue = number | string | null

/** What is known of an entity: its newest usable values. */
export interface EntityValues {
  eventMs: number
  values: Readonly<Record<string, FeatureValue>>
}

const separator = '\u001f'
const maxKeyLength = 256

/** The text that names an entity, as `entityColumn` in SQL makes it; undefined when a part is missing or cannot be one. */
export function entityKey(parts: readonly unknown[]): string | undefined {
  const texts: string[] = []
  for (const part of parts) {
    if (typeof part === 'number' ? !Number.isFinite(part) : typeof part !== 'string') return undefined
    texts.push(String(part))
  }
  const key = texts.join(separator)
  if (key.length > maxKeyLength || key.includes('\0') || key.split(separator).length !== parts.length)
    return undefined
  return key
}

/** The parts of a key, joined as `entityKey` does. */
export const keyOfText = (text: string): string => text.split(' / ').join(separator)

/** The value of an entity at a moment by what is known of it, or what stands in and why. */
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
