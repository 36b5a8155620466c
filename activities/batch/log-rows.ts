/**
 * Chooses rows of a batch for the prediction log, so that their outcomes measure the version. The choice and the ids depend on the batch
 * and the row alone: a part that is scored again logs the same rows under the same ids.
 */
import { createHash } from 'node:crypto'
import type { ShardRange } from '../../domain/model/batch-spec.ts'
import { featureOfProfile, partReader } from '../../domain/model/feature-parts.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { hash32 } from '../../domain/serving/route.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import type { LoggedBatchRows, Batch } from '../../store/serving/batches.ts'
import type { Duck } from '../data/duckdb.ts'
import { valuesOf } from './explain-refusals.ts'
import { readKeys } from './read-keys.ts'
import { uuidText } from '../runtime/uuid-text.ts'
import { appendTexts, type Answers } from './write-answers.ts'
import {
  answerProfiles,
  countBins,
  defaultCountMs,
  roundedProfile,
} from '../../domain/model/reference-profile.ts'
import { rowLogger } from '../../store/serving/log-policy.ts'
import type { FeatureCounts } from '../../store/serving/feature-counts.ts'
import { scoreOfAnswer } from '../../domain/tasks/tasks.ts'

export interface LoggedPart extends LoggedBatchRows {
  /** By the place of the row in the part. */
  ids: ReadonlyMap<number, Uint8Array>
}

/** Undefined for a batch that logs nothing. Leaves the ids as texts in the table `logged`. */
export async function logRows(
  duck: Duck,
  of: {
    batch: Batch
    manifest: Manifest
    /** The column of the data subject; absent for a model without one. */
    subject: string | undefined
    path: string
    part: ShardRange
    rows: number
  },
  { width, outputs, problems }: Answers,
): Promise<LoggedPart | undefined> {
  const { batch, manifest, subject, path, part } = of
  const { key, log = 0 } = batch.output
  if (log === 0) return undefined
  const places = chosenPlaces(batch.id, part, log / of.rows).filter((place) => !problems.has(place))
  const ids = new Map(places.map((place) => [place, predictionIdOf(batch, part.from + place)]))
  await duck.run('create or replace temp table logged (place integer, prediction_id varchar)')
  await appendTexts(
    duck,
    'logged',
    [...ids].map(([place, id]) => [place, uuidText(id)]),
  )
  const values = await duck.rows<FeatureRow>(`
    select ${valuesOf(manifest)} from read_parquet(${textLiteral(path)}, file_row_number = true)
    where file_row_number >= ${part.from} and file_row_number < ${part.to}
      and file_row_number - ${part.from} in (select place from logged) order by file_row_number`)
  const subjects =
    subject !== undefined && key.includes(subject) ? await readKeys(duck, path, [subject], part) : []
  const answers = places.map((place) => outputs.slice(place * width, (place + 1) * width))
  const bytesOf = rowLogger(manifest)
  const rows = places.map((place, at) => {
    const routingKey = subjects[place]?.[subject!]
    return {
      id: ids.get(place)!,
      routingKey: routingKey == null ? undefined : String(routingKey),
      features: bytesOf(values[at]!),
      outputs: answers[at]!,
    }
  })
  return { ids, rows, counts: countLogged(batch, manifest, values, answers) }
}

function chosenPlaces(batch: string, { from, to }: ShardRange, share: number): number[] {
  const seed = hash32(batch)
  const below = share * 0x1_0000_0000
  const all = Array.from({ length: to - from }, (_, place) => place)
  return all.filter((place) => hash32(String(from + place), seed) < below)
}

/** A UUID v7 of the start of the batch, as a replica makes one of the time of a request. */
function predictionIdOf({ id, startedAt }: Batch, row: number): Uint8Array {
  const bytes = createHash('sha256').update(`${id} ${row}`).digest().subarray(0, 16)
  bytes.writeUIntBE(Date.parse(startedAt), 0, 6)
  bytes[6] = 0x70 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  // The index of the instance.
  bytes.writeUInt16BE(0, 14)
  return bytes
}

// Counts logged rows of a batch in the bins of the version's profile, as a replica counts its requests, so that drift is judged from both.

function countLogged(
  { model, version, startedAt }: Pick<Batch, 'model' | 'version' | 'startedAt'>,
  { features, output, profile }: Pick<Manifest, 'features' | 'output' | 'profile'>,
  rows: readonly FeatureRow[],
  answers: readonly Float32Array[],
): FeatureCounts[] {
  if (profile === undefined || rows.length === 0) return []
  const { everyMs = defaultCountMs } = profile
  const atMs = Date.parse(startedAt)
  const span = { model, version, hourMs: atMs - (atMs % everyMs) }
  const valuesOf = (name: string) =>
    rows.map(({ [name]: value = null }) => (typeof value === 'number' ? Math.fround(value) : value))
  const counted = profile.features.map((each): FeatureCounts => {
    const counts = countBins(
      roundedProfile(each),
      valuesOf(featureOfProfile(each.name)).map(partReader(profile, each.name)),
    )
    return { ...span, kind: 'feature', name: each.name, counts }
  })
  const scored = answerProfiles(profile).map((each, place): FeatureCounts => {
    const counts = countBins(
      each,
      answers.map((outputs) => scoreOfAnswer(output, outputs, place)),
    )
    return { ...span, kind: 'score', name: each.name, counts }
  })
  const limited = Object.entries(features).flatMap(([name, feature]): FeatureCounts[] => {
    if (feature.kind !== 'number' || (feature.min ?? feature.max) === undefined) return []
    const { min = -Infinity, max = Infinity } = feature
    const given = valuesOf(name).filter((value) => typeof value === 'number')
    const within = given.filter((value) => value >= Math.fround(min) && value <= Math.fround(max)).length
    return [{ ...span, kind: 'range', name, counts: [within, given.length - within] }]
  })
  return [...counted, ...scored, ...limited]
}
