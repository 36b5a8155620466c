/**
 * Predicts as the server does, in a browser, in Node or in a worker, from manifest.json and the files of the artifact alone.
 * `tenure export` bundles this file with the server's own readers, so that the numbers are the same, and with onnxruntime-web for the graphs
 * that the server computes by ONNX Runtime.
 *
 *   import { loadPredictor } from './predictor.js'
 *   const predictor = await loadPredictor()
 *   predictor.predict([{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }])
 */
import { type FeatureFit, inputWidthOf, outputWidth } from '@tenure/predictors/features'
import { compileReader } from '../../../api/serving/codec/row-reader.ts'
import type { OpenAtEdge, Predictor, WebGraph } from '@tenure/predictors/edge'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { goldenTolerance } from '../../../domain/model/golden-answers.ts'
import {
  answerLimits,
  compileCorrection,
  likeliestClass,
  type Output,
  type AnswerField,
  type AnswerForm,
} from '../../../domain/tasks/output.ts'
import { createEdgeCounters, type EdgeCounting } from './counters.ts'

export type { Feature } from '../../../domain/model/features.ts'
export type EdgeRow = FeatureRow

export interface EdgeManifest {
  format: string
  model: string
  version: string
  features: Features
  output: Output
  answer: AnswerForm
  preprocessing: FeatureFit[]
  /** The names of the files that the predictor reads beside this one: those of the artifact, and of what computes it. */
  files: string[]
  golden: { instances: EdgeRow[]; outputs: number[][] }
  /** Only in an export with counters. */
  counting?: EdgeCounting
}

export type Prediction =
  | { probability: number; label: boolean; positive: string }
  | { label: string; probabilities: Record<string, number> }
  | { value: number }
  | { quantiles: Record<string, number> }
  | { values: Record<string, number> }

/** Promised by an export with ONNX Runtime, which does not answer within the call. */
type Answered<T> = T | Promise<T>

export interface EdgePredictor {
  model: string
  version: string
  /** Throws, or rejects with, an Error with a `code` for a row that does not match the features. */
  predict(rows: EdgeRow[]): Answered<Prediction[]>
  /** Computes the raw outputs of the model. */
  outputs(row: EdgeRow): Answered<Float32Array>
  /** Returns the number of golden rows, and the largest difference from their outputs. */
  checkGolden(): { rows: number; worst: number }
  /**
   * Asks a server, such as `https://tenure.example.com`, which versions of the model it serves now, with the key of a predictor. Throws an
   * Error with the code `unreachable` where it does not say.
   */
  checkForUpdate(server: string | URL, key?: string): Promise<{ served: string[]; isServed: boolean }>
  /**
   * Sends how often the values and answers of `predict` fell into each bin of the training profile, no rows. Sending twice changes nothing.
   * Returns the number of periods sent. Throws an Error with the code `unreachable` where the server did not take them, and keeps them;
   * with the code `usage` for an export without counters.
   */
  sendCounts(server: string | URL, key: string): Promise<number>
}

const format = 'tenure-edge@1'

function refuse(code: string, message: string): never {
  throw Object.assign(new Error(message), { code })
}

export interface EdgeFiles {
  manifest: EdgeManifest
  /** The artifact's files by their names. */
  files: Readonly<Record<string, Uint8Array>>
}

/** A row as the model takes it, with its texts by their names. */
interface EncodedRow {
  input: Float64Array
  texts: EdgeRow
  index: number
}

type Run<Outputs extends Answered<Float32Array>> = (row: EncodedRow) => Outputs

/** Returns what a bundle exports whose model is computed within the call. */
export const loaderOf = (open: OpenAtEdge) => loaderWith((given) => createPredictor(given, open))

/** Returns what a bundle with ONNX Runtime exports. */
export const graphLoaderOf = (open: OpenGraph) => loaderWith((given) => createGraphPredictor(given, open))

type OpenGraph = (manifest: EdgeManifest, files: EdgeFiles['files']) => Promise<WebGraph>

const loaderWith = <Created extends Answered<EdgePredictor>>(create: (given: EdgeFiles) => Created) => ({
  createPredictor: create,
  /** Loads the files of a base URL, and checks the golden rows. */
  async loadPredictor(base: string | URL): Promise<Awaited<Created>> {
    const manifest = parse<EdgeManifest>(await read(new URL('manifest.json', base)))
    const files = await Promise.all(
      manifest.files.map(async (name) => [name, new Uint8Array(await read(new URL(name, base)))] as const),
    )
    return await create({ manifest, files: Object.fromEntries(files) })
  },
})

const wholeFolder = '. The predictor needs all files of the export: copy its whole folder.'

async function read(url: URL): Promise<ArrayBuffer> {
  if (url.protocol === 'file:') {
    // Imported by a variable that bundlers do not follow, because browsers have no file system.
    const name = 'node:fs/promises'
    const { readFile } = (await import(name)) as { readFile: (url: URL) => Promise<Uint8Array> }
    const bytes = await readFile(url).catch((error: Error) =>
      refuse('unreachable', error.message + wholeFolder),
    )
    return Uint8Array.from(bytes).buffer
  }
  const response = await fetch(url)
  if (!response.ok) refuse('unreachable', `${url.href} responded with ${response.status}${wholeFolder}`)
  return response.arrayBuffer()
}

const parse = <T>(bytes: ArrayBuffer): T => JSON.parse(new TextDecoder().decode(bytes)) as T

function createPredictor({ manifest, files }: EdgeFiles, open: OpenAtEdge): EdgePredictor {
  const encode = encoderOf(manifest)
  // The server makes the same choice.
  let chosen: { run: Run<Float32Array>; worst: number } | undefined
  for (const opened of open(manifest, files)) {
    const predictor = opened()
    expectInputs(predictor, manifest)
    const run = runOf(predictor, manifest)
    const worst = worstOf(manifest, goldenRows(manifest, encode).map(run))
    chosen = { run, worst }
    if (worst <= goldenTolerance) break
  }
  const { run, worst } = expectGolden(chosen)
  return predictorOf(manifest, worst, {
    predict: (rows, answer) => encodeAll(rows, encode).map(run).map(answer),
    outputs: (row) => run(encode(row)),
  })
}

async function createGraphPredictor({ manifest, files }: EdgeFiles, open: OpenGraph): Promise<EdgePredictor> {
  const encode = encoderOf(manifest)
  const graph = await open(manifest, files)
  expectInputs(graph, manifest)
  const correct = compileCorrection(manifest.answer, outputWidth(manifest.output))
  const run: Run<Promise<Float32Array>> = async ({ input, texts, index }) => {
    const outputs = await graph.run(input, texts, index)
    correct?.(outputs, 1)
    return outputs
  }
  const found = await Promise.all(goldenRows(manifest, encode).map(run))
  const { worst } = expectGolden({ worst: worstOf(manifest, found) })
  return predictorOf(manifest, worst, {
    async predict(rows, answer) {
      return (await Promise.all(encodeAll(rows, encode).map(run))).map(answer)
    },
    outputs: async (row) => run(encode(row)),
  })
}

interface Computed extends Pick<EdgePredictor, 'outputs'> {
  /** Encodes all rows before the first is computed, then passes the outputs of each to `answer`. */
  predict(
    rows: EdgeRow[],
    answer: (outputs: Float32Array, index: number) => Prediction,
  ): Answered<Prediction[]>
}

function predictorOf(manifest: EdgeManifest, worst: number, { predict, outputs }: Computed): EdgePredictor {
  const counters = manifest.counting && createEdgeCounters(manifest.counting, likeliestClass)
  const sender = counters && crypto.randomUUID()
  return {
    model: manifest.model,
    version: manifest.version,
    predict: (rows) =>
      predict(rows, (found, index) => {
        const prediction = predictionOf(manifest.answer, found, index)
        counters?.count(rows[index]!, found)
        return prediction
      }),
    outputs,
    checkGolden: () => ({ rows: manifest.golden.instances.length, worst }),
    checkForUpdate: (server, key) => checkForUpdate(manifest, server, key),
    async sendCounts(server, key) {
      if (counters === undefined) refuse('usage', 'this export has no counters: export with --counters')
      const nowMs = Date.now()
      const spans = counters.spans(nowMs)
      const { model, version } = manifest
      if (spans.length > 0)
        await askServer(new URL(`/v1/models/${model}/feature-counts`, server), key, {
          version,
          sender,
          counts: spans,
        })
      counters.markSent(spans, nowMs)
      return spans.length
    },
  }
}

async function checkForUpdate(
  { model, version }: EdgeManifest,
  server: string | URL,
  key: string | undefined,
): Promise<{ served: string[]; isServed: boolean }> {
  const url = new URL(`/v2/models/${model}`, server)
  const { versions } = await askServer(url, key)
  if (!Array.isArray(versions)) refuse('unreachable', `${url.href} does not list versions`)
  const served = versions.map(String)
  return { served, isServed: served.includes(version) }
}

async function askServer(url: URL, key: string | undefined, sent?: object): Promise<{ versions?: unknown }> {
  const response = await fetch(url, {
    ...(sent && { method: 'POST', body: JSON.stringify(sent) }),
    headers: {
      ...(sent && { 'content-type': 'application/json' }),
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
    },
  }).catch((error: Error) => refuse('unreachable', `${url.href}: ${error.message}`))
  if (!response.ok) refuse('unreachable', `${url.href} responded with ${response.status}`)
  return (await response.json()) as { versions?: unknown }
}

type Encode = (row: EdgeRow, index?: number) => EncodedRow

/** Encodes rows for another library, if this file does not compute the model. */
export function createEncoder(manifest: Pick<EdgeManifest, 'features' | 'preprocessing'>): {
  width: number
  encode(row: EdgeRow, index?: number): Float32Array
} {
  const encode = readerOf(manifest)
  return {
    width: inputWidthOf(manifest.preprocessing),
    encode: (row, index) => Float32Array.from(encode(row, index).input),
  }
}

function encoderOf(manifest: EdgeManifest): Encode {
  if (manifest.format !== format)
    refuse('artifact_invalid', `the manifest has the format ${manifest.format}, not ${format}`)
  return readerOf(manifest)
}

function readerOf({ features, preprocessing }: Pick<EdgeManifest, 'features' | 'preprocessing'>): Encode {
  const width = inputWidthOf(preprocessing)
  const readRow = compileReader(features, preprocessing)
  return (row, index = 0) => {
    const input = new Float64Array(width)
    return { input, texts: readRow(row, index, input, 0), index }
  }
}

function expectInputs({ inputs }: { inputs: number }, { preprocessing }: EdgeManifest): void {
  const width = inputWidthOf(preprocessing)
  if (inputs !== width)
    refuse('artifact_invalid', `the model takes ${inputs} numbers, the features give ${width}`)
}

/** Throws `invalid_request` for what is no list of rows, such as a single row. */
function encodeAll(rows: readonly EdgeRow[], encode: Encode): EncodedRow[] {
  if (!Array.isArray(rows)) refuse('invalid_request', 'predict takes a list of rows: predict([row])')
  return rows.map((row: EdgeRow, index) => encode(row, index))
}

const goldenRows = ({ golden }: EdgeManifest, encode: Encode): EncodedRow[] =>
  encodeAll(golden.instances, encode)

function worstOf({ golden }: EdgeManifest, found: readonly Float32Array[]): number {
  let worst = 0
  found.forEach((outputs, index) => {
    golden.outputs[index]!.forEach((expected, j) => {
      const off = Math.abs(outputs[j]! - expected) / Math.max(1, Math.abs(expected))
      worst = Number.isFinite(off) ? Math.max(worst, off) : Infinity
    })
  })
  return worst
}

function expectGolden<Of extends { worst: number }>(chosen: Of | undefined): Of {
  if (!(chosen !== undefined && chosen.worst <= goldenTolerance))
    refuse('artifact_invalid', `the golden rows are off by ${chosen?.worst}`)
  return chosen
}

/** Corrects outputs as the server does. */
function runOf({ run, outputs: width }: Predictor, { answer }: EdgeManifest): Run<Float32Array> {
  const correct = compileCorrection(answer, width)
  return ({ input }) => {
    const outputs = new Float32Array(width)
    void run(input, 1, outputs)
    correct?.(outputs, 1)
    return outputs
  }
}

function predictionOf({ fields, noun, range }: AnswerForm, outputs: Float32Array, index: number): Prediction {
  const { min, max } = answerLimits(range)
  for (const value of outputs)
    if (!(value >= min && value <= max))
      refuse('output_invalid', `the prediction of instance ${index} is the ${noun} ${value}`)
  return Object.fromEntries(fields.map((field) => [field.field, valueOf(field, outputs)])) as Prediction
}

function valueOf(
  field: AnswerField,
  outputs: Float32Array,
): number | boolean | string | Record<string, number> {
  switch (field.is) {
    case 'number':
      return outputs[0]!
    case 'numbers':
      return Object.fromEntries(field.names.map((name, i) => [name, outputs[i]!]))
    case 'flag':
      return outputs[0]! >= field.threshold
    case 'name':
      return field.names[likeliestClass(outputs)]!
    case 'text':
      return field.text
  }
}
