/**
 * Loads a version into memory: checks its bytes against their digests, compiles it, and checks its outputs against those of training. A
 * version that fails a check is not served.
 */
import { inputWidthOf } from '@tenure/predictors/features'
import { isRemote } from '@tenure/predictors/format-names'
import { isUnanswered } from '../../../domain/errors.ts'
import { agrees } from '../../../domain/model/golden-answers.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { logPolicyOf, type LogPolicy } from '../../../store/serving/log-policy.ts'
import { columnsOf, type FeatureColumns } from '../codec/feature-columns.ts'
import {
  type ArtifactFiles,
  formatOf,
  type OpenedArtifact,
  type Predictor,
  refuse,
  type Runtimes,
} from '@tenure/predictors'
import { compileCells, type CellReader } from '../codec/cell-reader.ts'
import { compileChecks, notAnObject, refuseUnknown } from '../codec/row-reader.ts'
import { compileFormat, type OutputFormat } from '../codec/output-format.ts'
import { compileJsonRow, type JsonRow } from '../codec/instances.ts'
import type { BodySize } from '../codec/json-reader.ts'
import { createInputBuffer, resetInput, type InputBuffer } from '../codec/input-buffer.ts'
import { correctionOf } from '../../../domain/tasks/tasks.ts'
import type { Output } from '../../../domain/tasks/output.ts'

export interface LoadedVersion {
  model: string
  version: string
  manifest: Manifest
  predictor: Predictor
  /** The bytes of memory that the model holds. */
  memoryBytes: number
  columns: FeatureColumns
  cells: CellReader
  jsonRow: JsonRow
  format: OutputFormat
  /** How its rows are logged; undefined where the log keeps all values. */
  logPolicy: LogPolicy | undefined
  /** Whether requests may carry a field that is no feature of this version. */
  ignores: (field: string) => boolean
  /** How many fields a row may have, with those that are ignored. */
  maxFields: () => number
  /** In a drill, the share of requests with an invalid response; otherwise 0. */
  invalidShare: number
}

/** Limits the values of a request, whatever protocol sends them, because each is read in one turn of the event loop. */
export const maxRequestValues = 100_000
/** Limits the inputs of the model over all rows of a request. A category with many values takes many inputs. */
export const maxRequestInputs = 2_097_152

/** Returns the size of the largest request. `maxInstances` rows, or fewer where a row is so wide that they would be too many values. */
export function requestSizeOf(
  { maxFields, columns }: Pick<LoadedVersion, 'maxFields' | 'columns'>,
  maxInstances: number,
): BodySize {
  // Each number of a vector is a value of the request, and so is each that an image is decoded to.
  const width = columns.all.reduce(
    (sum, column) => sum + (column.kind === 'category' ? column.numbers : 0),
    maxFields(),
  )
  const maxRows = Math.min(
    maxInstances,
    Math.floor(maxRequestValues / width),
    Math.floor(maxRequestInputs / columns.width),
  )
  return { maxRows: Math.max(1, maxRows), width }
}

/** Checks a row and writes it into the input buffer, both as sent and as the model reads it. */
export function readRow(
  { cells, manifest, ignores }: LoadedVersion,
  given: unknown,
  index: number,
  input: InputBuffer,
): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw notAnObject(given, index)
  const row = given as Record<string, unknown>
  const { names } = cells
  let found = 0
  cells.read(
    (place) => {
      const value = row[names[place]!]
      if (value !== undefined && typeof value !== 'function') found++
      return value
    },
    index,
    input,
  )
  let sent = 0
  for (const _name in row) sent++
  if (sent !== found) refuseUnknown(row, manifest.features, index, ignores)
}

/** Whether the model takes texts, which are not among its inputs. */
export const takesTexts = ({ columns }: Pick<LoadedVersion, 'columns'>): boolean =>
  columns.all.some((column) => column.kind === 'category' && column.encoding === 'text')

/** Reads a body into the input buffer. Throws the DomainError of the response. */
export type ReadRequest = (loaded: LoadedVersion, body: Buffer, input: InputBuffer) => void

/** The number of predictions before the first request, which compile the loops, and their time limit. */
const warmUpRows = 2_000
const warmUpMs = 8

/** Limits the golden rows, so that a manifest cannot block a replica. */
const maxGoldenRows = 1_000

/** Loads a compiled model synchronously. Throws `artifact_invalid` with the reason. */
export function loadVersion(version: string, manifest: Manifest, files: ArtifactFiles): LoadedVersion {
  checkManifest(manifest)
  const opening = formatOf(manifest).open(manifest, files)
  if (opening instanceof Promise) refuse('the model is not compiled')
  const loaded = atOnce(loadCompiled(version, manifest, opening))
  return 'issue' in loaded ? refuse(loaded.issue) : loaded
}

/**
 * Loads any model, in stages that yield to the event loop. A model that is not compiled runs in a worker thread. Throws `artifact_invalid`
 * with the reason. `asksServers: false` asks no golden rows of a server of others.
 */
export async function openVersion(
  version: string,
  manifest: Manifest,
  files: ArtifactFiles,
  runtimes: Runtimes,
  { asksServers = true }: { asksServers?: boolean } = {},
): Promise<LoadedVersion> {
  checkManifest(manifest)
  await turn()
  const isRedacted = logPolicyOf(manifest) !== undefined
  const opening = formatOf(manifest).open(manifest, files, { version, runtimes, isRedacted })
  if (opening instanceof Promise && !asksServers && isRemote(manifest))
    return loadedOf(version, manifest, await opening)
  if (opening instanceof Promise) return loadElsewhere(version, manifest, await opening)
  const stages = loadCompiled(version, manifest, opening)
  for (;;) {
    await turn()
    const { done, value } = stages.next()
    if (done !== true) continue
    if (!('issue' in value)) return value
    return value.elsewhere === undefined
      ? refuse(value.issue)
      : loadElsewhere(version, manifest, await value.elsewhere())
  }
}

/** A compiled artifact whose golden rows differ. */
interface DifferingArtifact {
  issue: string
  elsewhere: OpenedArtifact['elsewhere']
}

/** Runs all stages without yielding, and returns the result. */
function atOnce<T>(stages: Generator<void, T>): T {
  for (;;) {
    const step = stages.next()
    if (step.done === true) return step.value
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Loads a compiled model, and yields where the loading may be interrupted. */
function* loadCompiled(
  version: string,
  manifest: Manifest,
  opening: Generator<void, OpenedArtifact>,
): Generator<void, LoadedVersion | DifferingArtifact> {
  const opened = yield* opening
  let loaded = loadedOf(version, manifest, opened)
  yield
  let issue = yield* goldenIssue(loaded)
  if (issue !== undefined && opened.exact !== undefined) {
    loaded = loadedOf(version, manifest, { ...opened, predictor: opened.exact() })
    yield
    issue = yield* goldenIssue(loaded)
  }
  if (issue !== undefined) return { issue, elsewhere: opened.elsewhere }
  warmUp(loaded)
  return loaded
}

async function loadElsewhere(
  version: string,
  manifest: Manifest,
  opened: OpenedArtifact,
): Promise<LoadedVersion> {
  try {
    const loaded = loadedOf(version, manifest, opened)
    const issue = await goldenIssueElsewhere(loaded).catch((error: unknown) => {
      // A server of others may be away for a moment. Its requests then fail, and are answered by a fallback where there is one.
      if (isRemote(manifest) && isUnanswered(error)) return undefined
      throw error
    })
    if (issue !== undefined) refuse(issue)
    return loaded
  } catch (error) {
    opened.predictor.close?.()
    throw error
  }
}

function loadedOf(
  version: string,
  manifest: Manifest,
  { predictor, memoryBytes }: OpenedArtifact,
): LoadedVersion {
  const format = compileFormat(manifest.output)
  const width = inputWidthOf(manifest.preprocessing)
  if (predictor.inputs !== width)
    refuse(`the model takes ${predictor.inputs} columns, the preprocessing gives ${width}`)
  if (predictor.outputs !== format.width)
    refuse(
      `the model gives ${predictor.outputs} numbers, the output ${manifest.output.kind} has ${format.width}`,
    )
  const { model, features, preprocessing } = manifest
  const columns = columnsOf(features, preprocessing, manifest.featureOrder)
  const checks = compileChecks(features, preprocessing)
  return {
    model,
    version,
    manifest,
    predictor: corrected(predictor, manifest.output),
    memoryBytes,
    columns,
    format,
    logPolicy: logPolicyOf(manifest),
    cells: compileCells(columns, checks),
    jsonRow: compileJsonRow(columns, checks),
    ignores: () => false,
    maxFields: () => columns.all.length,
    invalidShare: 0,
  }
}

/** Corrects outputs inside the predictor, so that response, log, shadow and batch agree. */
function corrected(predictor: Predictor, output: Output): Predictor {
  const correct = correctionOf(output)
  if (correct === undefined) return predictor
  return {
    ...predictor,
    run(input, rows, outputs, order, texts) {
      const running = predictor.run(input, rows, outputs, order, texts)
      if (running !== undefined) return running.then(() => correct(outputs, rows))
      correct(outputs, rows)
      return undefined
    },
  }
}

/**
 * Checks the golden rows again and returns the first difference from training; undefined when all agree. A model that holds a
 * thread, a process or a session of ONNX Runtime is checked only when it is loaded: its rows may take long, and run elsewhere.
 */
export function goldenIssueOf(loaded: LoadedVersion): string | undefined {
  const { close, trouble } = loaded.predictor
  if (close !== undefined || trouble !== undefined) return undefined
  return atOnce(goldenIssue(loaded))
}

/** How long golden rows are computed before yielding, in milliseconds. */
const sliceMs = 10

function* goldenIssue(loaded: LoadedVersion): Generator<void, string | undefined> {
  const { manifest, predictor, columns } = loaded
  const { instances } = manifest.golden
  const input = createInputBuffer()
  const output = new Float32Array(predictor.outputs)
  let until = performance.now() + sliceMs
  for (let row = 0; row < instances.length; row++) {
    if (performance.now() > until) {
      yield
      until = performance.now() + sliceMs
    }
    resetInput(input, columns, 1)
    const refusal = goldenRefusal(loaded, row, input, 0)
    if (refusal !== undefined) return refusal
    void predictor.run(input.input, 1, output, undefined, input)
    const issue = rowIssue(loaded, row, output, 0)
    if (issue !== undefined) return issue
  }
  return undefined
}

async function goldenIssueElsewhere(loaded: LoadedVersion): Promise<string | undefined> {
  const { manifest, predictor, columns } = loaded
  const { length } = manifest.golden.instances
  const input = createInputBuffer()
  // Where small requests are answered in their turn, single rows show the answers of both.
  const together = predictor.trouble === undefined ? 1 : length
  const output = new Float32Array(together * predictor.outputs)
  let until = performance.now() + sliceMs
  for (let from = 0; from < length; from += together) {
    resetInput(input, columns, together)
    for (let place = 0; place < together; place++) {
      const refusal = goldenRefusal(loaded, from + place, input, place)
      if (refusal !== undefined) return refusal
    }
    await predictor.run(input.input, together, output, undefined, input)
    for (let place = 0; place < together; place++) {
      const issue = rowIssue(loaded, from + place, output, place)
      if (issue !== undefined) return issue
    }
    if (performance.now() < until) continue
    await turn()
    until = performance.now() + sliceMs
  }
  return undefined
}

/** Writes a golden row to the input buffer, or returns why it is refused. */
function goldenRefusal(
  loaded: LoadedVersion,
  row: number,
  input: InputBuffer,
  place: number,
): string | undefined {
  try {
    readRow(loaded, loaded.manifest.golden.instances[row]!, place, input)
    return undefined
  } catch (error) {
    return `golden row ${row} is refused: ${(error as Error).message}`
  }
}

/** Describes how the outputs of a row differ from those of training; undefined when they agree. */
function rowIssue(
  { manifest, predictor, format }: LoadedVersion,
  row: number,
  outputs: Float32Array,
  place: number,
): string | undefined {
  const expected = manifest.golden.outputs[row]
  for (let i = 0; i < predictor.outputs; i++) {
    const given = outputs[place * predictor.outputs + i]!
    const value = expected?.[i] ?? NaN
    if (!agrees(given, value))
      return `golden row ${row} gives ${given} at output ${i}, in training it gave ${value}`
  }
  const issue = format.issueOf(outputs, place)
  return issue === undefined ? undefined : `golden row ${row}: ${issue}`
}

/** Makes the drill's share of predictions invalid. */
export function injectFault({ invalidShare }: LoadedVersion, outputs: Float32Array): void {
  if (Math.random() < invalidShare) outputs[0] = NaN
}

function warmUp(loaded: LoadedVersion): void {
  const { manifest, predictor, columns } = loaded
  const { instances } = manifest.golden
  const input = createInputBuffer()
  const output = new Float32Array(predictor.outputs)
  const until = performance.now() + warmUpMs
  for (let i = 0; i < warmUpRows && performance.now() < until; i++) {
    resetInput(input, columns, 1)
    readRow(loaded, instances[i % instances.length], 0, input)
    void predictor.run(input.input, 1, output)
  }
}

function checkManifest(manifest: Manifest): void {
  const { features, preprocessing, golden } = manifest
  if (typeof features !== 'object' || features === null) refuse('the manifest has no features')
  if (!Array.isArray(preprocessing)) refuse('the manifest has no preprocessing')
  if (!['probability', 'classes', 'number', 'quantiles', 'numbers'].includes(manifest.output?.kind))
    refuse('the manifest has no output')
  const numbers = preprocessing.flatMap((fit) =>
    fit.kind === 'number' ? [fit.mean, fit.std, fit.fill ?? 0] : [],
  )
  if (!numbers.every(Number.isFinite)) refuse('the preprocessing holds a number that is not finite')
  if (!Array.isArray(golden?.instances) || golden.instances.length === 0)
    refuse('the manifest has no golden rows')
  if (golden.instances.length > maxGoldenRows)
    refuse(`the manifest has ${golden.instances.length} golden rows, more than ${maxGoldenRows}`)
  if (golden.outputs.length !== golden.instances.length)
    refuse(`the manifest has ${golden.instances.length} golden rows and ${golden.outputs.length} outputs`)
}
