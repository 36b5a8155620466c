/**
 * Counts how often the values of each feature, and the scores, fall into the bins of the version's reference profile. Drift is judged from
 * these counts alone, so no row leaves the process for it.
 */
import { noText, outputWidth } from '@tenure/predictors/features'
import { type Output, likeliest } from '../../../domain/tasks/output.ts'
import {
  answerProfiles,
  binNames,
  binner,
  defaultCountMs,
  roundedProfile,
  type Profile,
} from '../../../domain/model/reference-profile.ts'
import { featureOfProfile, partReader } from '../../../domain/model/feature-parts.ts'
import type { FeatureCounts } from '../../../store/serving/feature-counts.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import { scorePlace, decisionNames, taskOf } from '../../../domain/tasks/tasks.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export type BinnedVersion = Pick<LoadedVersion, 'model' | 'version' | 'manifest' | 'columns'>

export type FeatureHistograms = ReturnType<typeof createFeatureHistograms>

/** The maximum number of spans held while the database is unavailable; above it, the oldest that have ended are dropped. */
const maxHours = 200

/** The counts of one span: an hour, or the length that the profile states. */
interface Hour {
  startMs: number
  lengthMs: number
  /** Incremented with each change of the counts. */
  changes: number
  written: number
  rows: FeatureCounts[]
}

/** A number with a range: its index among the numbers of a row, and among the counts. */
interface Limited {
  slot: number
  place: number
  min: number
  max: number
}

type BinnedValue = Parameters<ReturnType<typeof binner>>[0]
type Counter = ReturnType<typeof compileCounter>

export function createFeatureHistograms() {
  const counters = new WeakMap<BinnedVersion, Counter>()
  const hours = new Map<string, Hour>()
  let pending: { hour: Hour; changes: number }[] = []

  const counterOf = (loaded: BinnedVersion): Counter => {
    const known = counters.get(loaded)
    if (known !== undefined) return known
    const made = compileCounter(loaded)
    counters.set(loaded, made)
    return made
  }
  const turnTo = (startMs: number, { model, version }: BinnedVersion, counter: Counter): Hour => {
    const key = `${version} ${startMs}`
    let hour = hours.get(key)
    if (hour === undefined) {
      const rows = counter.counted.map(({ kind, name, bins }) => ({
        model,
        version,
        hourMs: startMs,
        kind,
        name,
        counts: Array.from({ length: bins }, () => 0),
      }))
      hours.set(key, (hour = { startMs, lengthMs: counter.everyMs, changes: 0, written: 0, rows }))
      if (hours.size > maxHours) dropEnded(startMs)
    }
    counter.hour = hour
    return hour
  }

  const dropEnded = (nowMs: number): void => {
    for (const [key, { startMs, lengthMs }] of hours)
      if (startMs + lengthMs <= nowMs) return void hours.delete(key)
  }

  return {
    /** Counts the rows and outputs of a served request. `atMs` is the database's time. */
    count(loaded: BinnedVersion, atMs: number, input: InputBuffer, outputs: Float32Array): void {
      const counter = counterOf(loaded)
      const { numbers, scores, limited, counted, everyMs } = counter
      if (counted.length === 0) return
      const startMs = atMs - (atMs % everyMs)
      const hour = counter.hour?.startMs === startMs ? counter.hour : turnTo(startMs, loaded, counter)
      const { rows } = hour
      const width = loaded.columns.numbers
      for (let row = 0; row < input.rows; row++) {
        for (let i = 0; i < numbers.length; i++) {
          const { slot, place, binOf } = numbers[i]!
          rows[place]!.counts[binOf(input.numbers[row * width + slot])]!++
        }
        for (let i = 0; i < limited.length; i++) {
          const { slot, place, min, max } = limited[i]!
          const value = input.numbers[row * width + slot]!
          // A missing value is NaN, which is outside every range.
          if (value >= min && value <= max) rows[place]!.counts[0]!++
          else if (value < min || value > max) rows[place]!.counts[1]!++
        }
        for (let i = 0; i < scores.length; i++) {
          const { place, binOf } = scores[i]!
          rows[place]!.counts[binOf(outputs, row)]!++
        }
      }
      if (counter.texts.length > 0) countTexts(counter.texts, input, rows)
      hour.changes++
    },
    /** Returns the spans that have changed since they were stored, each with its complete counts. */
    pending(): FeatureCounts[] {
      pending = [...hours.values()].flatMap((hour) =>
        hour.changes === hour.written ? [] : [{ hour, changes: hour.changes }],
      )
      return pending.flatMap(({ hour: { rows } }) => rows.map((row) => ({ ...row, counts: [...row.counts] })))
    },
    /** Marks the last pending spans as stored and drops those that have ended. */
    markStored(): void {
      for (const { hour, changes } of pending) hour.written = changes
      pending = []
      const newestMs = Math.max(...Array.from(hours.values(), ({ startMs }) => startMs))
      // The previous span stays, for clocks that are set back a little.
      for (const [key, { startMs, lengthMs, written, changes }] of hours)
        if (written === changes && startMs < newestMs - lengthMs) hours.delete(key)
    },
  }
}

function countTexts(binned: Counter['texts'], { texts, rows }: InputBuffer, into: FeatureCounts[]): void {
  for (let row = 0, at = 0; row < rows; row++)
    for (let i = 0; i < binned.length; i++) {
      const length = texts.readUInt32LE(at)
      at += 4
      const end = length === noText ? at : at + length
      const counted = binned[i]!
      if (counted.length > 0) {
        const text = length === noText ? null : texts.toString('utf8', at, end)
        for (const { place, binOf } of counted) into[place]!.counts[binOf(text)]!++
      }
      at = end
    }
}

/** Bins and their names in one order: the features of the profile, then the scores. */
function compileCounter({ manifest, columns }: BinnedVersion) {
  const { profile, output } = manifest
  const features = profile?.features ?? []
  const binned = features.flatMap((each, place) => {
    const name = featureOfProfile(each.name)
    const column = columns.all.find((one) => one.name === name)
    if (column === undefined || profile === undefined) return []
    const binOf = binner(roundedProfile(each))
    if (name !== each.name) {
      const partOf = partReader(profile, each.name)
      return [
        { kind: 'category', slot: column.slot, place, binOf: (value: BinnedValue) => binOf(partOf(value)) },
      ]
    }
    return column.kind === each.kind ? [{ kind: each.kind, slot: column.slot, place, binOf }] : []
  })
  const binsOf = (kind: FeatureCounts['kind'], each: Profile) => ({
    kind,
    name: each.name,
    bins: binNames(each).length,
  })
  const counted = features.map((each) => binsOf('feature', each))
  const answers = answerProfiles(profile)
  const scores = answers.map((each, number) => ({
    place: features.length + number,
    binOf: compileScore(each, output, number),
  }))
  counted.push(...answers.map((each) => binsOf('score', each)))
  const limited: Limited[] = []
  if (profile !== undefined)
    for (const { name, kind, slot } of columns.all) {
      const facts = manifest.features?.[name]
      if (kind !== 'number' || facts?.kind !== 'number') continue
      const { min = -Infinity, max = Infinity } = facts
      if (min === -Infinity && max === Infinity) continue
      limited.push({ slot, place: counted.length, min: Math.fround(min), max: Math.fround(max) })
      counted.push({ kind: 'range', name, bins: 2 })
    }
  return {
    numbers: binned.filter(({ kind }) => kind === 'number'),
    /** What is counted of each text, by its index among the texts: the category, or parts; empty for a feature outside the profile. */
    texts: Array.from({ length: columns.texts }, (_, slot) =>
      binned.filter((each) => each.kind === 'category' && each.slot === slot),
    ),
    scores,
    limited,
    counted,
    everyMs: profile?.everyMs ?? defaultCountMs,
    hour: undefined as Hour | undefined,
  }
}

/**
 * Returns a function that reads the score of the profile: the likeliest class, the middle quantile, or the number itself; for several
 * numbers, the number at the profile's position.
 */
function compileScore(
  score: Profile,
  output: Output,
  number: number,
): (outputs: Float32Array, row: number) => number {
  const binOf = binner(score)
  const width = outputWidth(output)
  if (taskOf(output).labelKind === 'text') {
    const bins = decisionNames(output).map(binOf)
    return (outputs, row) => bins[likeliest(outputs, row * width, width)]!
  }
  const place = scorePlace(output) + number
  return (outputs, row) => binOf(outputs[row * width + place])
}
