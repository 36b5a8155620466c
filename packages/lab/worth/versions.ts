/**
 * Trains and evaluates the versions of all contenders: the product's preprocessing, training loop and reference profile, in this process.
 * One training serves every contender that trains at the same time.
 */
import { inputWidthOf } from '@tenure/predictors/features'
import type { LayersModel } from '@tensorflow/tfjs'
import { makeFit } from '../../../activities/tensorflow/training-loop.ts'
import { answersOf, loadTensorflow, type Tensorflow } from '../../../activities/tensorflow/tfjs.ts'
import { columnTableOf, listCells, type ColumnTable } from '../../../domain/model/columns.ts'
import { acceptedRange, type FeatureRow, type Features } from '../../../domain/model/features.ts'
import { compileColumnEncoder, fitFeatures } from '../../../domain/model/preprocessing.ts'
import {
  categoryProfile,
  numberProfile,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { seededRandom } from '@tenure/sequential'
import { dayMs } from '../half-year/clock.ts'
import type { YearStream, StreamRow } from './streams.ts'

export interface PlayedSnapshot {
  asOfMs: number
  train: StreamRow[]
  test: StreamRow[]
}

export interface PlayedVersion {
  id: string
  /** The same network, with out-of-range numbers imputed. */
  guarded(): PlayedVersion
  asOfMs: number
  rows: number
  profile: ReferenceProfile
  /** Probabilities of "yes". */
  answer(rows: readonly FeatureRow[]): Float32Array
  seconds: number
}

/** Returns the rows that were known at a time, split as the shipped model splits them. */
export function snapshotOf(
  table: readonly StreamRow[],
  asOfMs: number,
  stream: YearStream,
  /** Of another sample of the same rows. */
  salt = 0,
): PlayedSnapshot {
  const { weekMs, split, mostRows } = stream
  const endMs = asOfMs - split.matured * weekMs
  const testMs = endMs - split.test * weekMs
  const fromMs = testMs - split.train * weekMs
  const known = table.filter(({ knownAtMs }) => knownAtMs <= asOfMs)
  const between = (from: number, to: number) => known.filter(({ atMs }) => atMs >= from && atMs < to)
  return {
    asOfMs,
    train: sampled(between(fromMs, testMs), mostRows.train, salt),
    test: sampled(between(testMs, endMs), mostRows.test, salt),
  }
}

function sampled(rows: StreamRow[], most: number, salt: number): StreamRow[] {
  if (rows.length <= most) return rows
  const uniform = seededRandom(rows.length + salt)
  return rows.filter(() => uniform() < most / rows.length)
}

export const featuresOf = (rows: readonly StreamRow[]): FeatureRow[] => rows.map(({ features }) => features)

let loading: Promise<Tensorflow> | undefined

export async function trainVersion(
  stream: YearStream,
  { train, asOfMs }: PlayedSnapshot,
  id: string,
  seed = 1,
): Promise<PlayedVersion> {
  const tf = await (loading ??= loadTensorflow())
  const began = performance.now()
  const { features } = stream
  const { units, epochs, batchSize, learningRate } = stream.network
  const names = Object.keys(features)
  const table = typed(columnTableOf(featuresOf(train), names), features)
  const fits = fitFeatures(table, features)
  const inputs = inputWidthOf(fits)
  const kernel = (layer: number) => tf.initializers.glorotUniform({ seed: seed + layer })
  const network: LayersModel = tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [inputs], units, activation: 'relu', kernelInitializer: kernel(0) }),
      tf.layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: kernel(1) }),
    ],
  })
  network.compile({ optimizer: tf.train.adam(learningRate), loss: 'binaryCrossentropy' })
  const fit = makeFit({
    tf,
    seed,
    of: id,
    data: {
      rows: table.rows,
      inputs,
      outputs: 1,
      encode: compileColumnEncoder(table, features, fits),
      targets: Float32Array.from(train, ({ told }) => told),
    },
    onEpoch: () => Promise.resolve(),
    onBatch: () => Promise.resolve(),
  })
  await fit(network, { epochs, batchSize })
  const answerWith = (served: Features) => (rows: readonly FeatureRow[]) => {
    const asked = typed(columnTableOf(rows, names), served)
    const encode = compileColumnEncoder(asked, served, fits)
    return answersOf(tf, network, { rows: asked.rows, inputs, encode }).values as Float32Array
  }
  const answer = answerWith(features)
  const profile: ReferenceProfile = {
    rows: train.length,
    everyMs: dayMs,
    features: names.map((name) => {
      const cells = listCells(table.columns[name]!)
      return features[name]!.kind === 'number'
        ? numberProfile(name, cells as (number | null)[])
        : categoryProfile(name, cells as (string | null)[])
    }),
    score: numberProfile('score', answer(featuresOf(train))),
  }
  const seconds = (performance.now() - began) / 1_000
  const version = { id, asOfMs, rows: train.length, profile, seconds }
  const guarded = () => ({ ...version, answer: answerWith(guardedFeatures(stream)), guarded })
  return { ...version, answer, guarded }
}

/** Treats a number outside its declared range as missing. */
export const guardedFeatures = ({ features }: Pick<YearStream, 'features'>): Features =>
  Object.fromEntries(
    Object.entries(features).map(([name, feature]) => [
      name,
      feature.kind === 'number' ? { ...feature, outside: 'missing' } : feature,
    ]),
  )

/** Returns whether a training would read a row with a number outside its declared range. */
export function hasOutside({ features }: YearStream, { train }: PlayedSnapshot): boolean {
  const ranges = Object.entries(guardedFeatures({ features })).flatMap(([name, feature]) =>
    feature.kind === 'number' ? [{ name, ...acceptedRange(feature) }] : [],
  )
  return train.some(({ features: row }) =>
    ranges.some(({ name, low, high }) => {
      const value = row[name]
      return typeof value === 'number' && (value < low || value > high)
    }),
  )
}

/** Sets the kinds of columns, because a column of nulls still has the kind of its feature. */
function typed(table: ColumnTable, features: YearStream['features']): ColumnTable {
  const columns = Object.entries(table.columns).map(([name, column]) => {
    if (features[name]!.kind !== 'category' || column.kind === 'text') return [name, column] as const
    return [name, { kind: 'text', codes: new Uint8Array(table.rows), texts: [] } as const] as const
  })
  return { ...table, columns: Object.fromEntries(columns) }
}
