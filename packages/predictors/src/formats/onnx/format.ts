/**
 * Opens ONNX files. Graphs of trees and of dense layers are computed here, all others by ONNX Runtime: first in a process of its own, which
 * measures them, then small requests within their turn. The model takes matrices of numbers, or named columns of numbers and texts.
 */
import { type PredictorError, isPredictorError, predictorError, refuse } from '../../errors.ts'
import type { ModelDescription } from '../../features.ts'
import { compileDense } from '../../network/simd-predictor.ts'
import { expectClasses } from '../expect-classes.ts'
import type { Predictor } from '../../predictor.ts'
import { isCallTimeout } from '../../runtime/pending-calls.ts'
import type { HostedPredictor } from '../../runtime/runtime.ts'
import type { ArtifactColumn, ArtifactFiles, ArtifactFormat, OpenDeps, OpenedArtifact } from '../format.ts'
import { forestExplainer } from '../trees/tree-shap.ts'
import { onnxLimits, readGraph, type OnnxGraph } from './graph.ts'
import { textsByInput } from './known-texts.ts'
import type { OnnxLayout } from './layout.ts'
import { openGraph, openOnnx, type OnnxFile } from './open-onnx.ts'
import { answersInTurn } from './session/turn-cost.ts'
import { createSessions, type Sessions, type SessionsOptions } from './session/session-host.ts'
import { textsOfCategories } from '../texts-of-categories.ts'
import { clampProbabilities } from './clamp-probabilities.ts'
import { boundRows, isPairOf, openNetwork, openTrees, shapeOf, type BoundRows } from './compiled.ts'

const fileName = 'model.onnx'

export const onnxFormat: ArtifactFormat = {
  limits: { [fileName]: onnxLimits.fileBytes },
  // The first field of an ONNX model is the version of its representation.
  recognises: (head) => (head.startsWith('\x08') ? fileName : undefined),
  startMs: 5_000,
  async inspect(files, output, hosts) {
    const startedMs = performance.now()
    const bytes = bytesOf(files)
    const graph = readGraph(bytes)
    const file = openGraph(graph)
    expectClasses(output, file.classes)
    const { library, layout } = file
    const leftMs = Math.max(1, Math.round(inspectMs - (performance.now() - startedMs)))
    const outputs = await countOutputs(bytes, file, { loadMs: leftMs, hosts })
    const isPair = isPairOf(output, outputs)
    return { library, columns: columnsOf(layout, graph), outputs: isPair ? 1 : outputs }
  },
  open(manifest, files, deps) {
    const bytes = bytesOf(files)
    const file = openOnnx(bytes)
    expectClasses(manifest.output, file.classes)
    const { forest, network, layout } = file
    if (forest !== undefined) return inStages(() => openTrees(manifest, forest))
    if (network !== undefined)
      return inStages(() => ({
        predictor: openNetwork(manifest, { layout, network }, compileDense),
        memoryBytes: bytes.byteLength,
        elsewhere: deps && (() => openSession(manifest, bytes, layout, deps)),
      }))
    if (deps === undefined) refuse('the graph needs ONNX Runtime, which answers in a process of its own')
    return openSession(manifest, bytes, layout, deps)
  },
  explain({ output }, files) {
    const { forest } = openOnnx(bytesOf(files))
    if (forest === undefined) return undefined
    const explainer = forestExplainer(forest)
    return explainer && { ...explainer, firstOutput: isPairOf(output, forest.starts.length) ? 1 : 0 }
  },
}

const bytesOf = (files: ArtifactFiles): Uint8Array =>
  files[fileName] ?? refuse(`the artifact lacks ${fileName}`)

function columnsOf({ columns }: OnnxLayout, graph: OnnxGraph): ArtifactColumn[] {
  const isOfTexts = columns.some(({ isText }) => isText === true)
  const textsOf = isOfTexts ? textsByInput(graph) : undefined
  return columns.map(({ name, isText }) => {
    const texts = isText === true ? textsOf?.(name) : undefined
    // An input that no encoder reads has no texts to compare with.
    if (texts === undefined || texts.size === 0) return { name, isText, isOfWords: isText }
    return {
      name,
      isText,
      isOfWords: isText,
      knownTexts: { has: (text) => texts.has(text), listed: [...texts].slice(0, 5) },
    }
  })
}

/**
 * How long reading a graph may take until ONNX Runtime has loaded it and answered a few rows. With the start of the processes, which does not
 * count, a hostile file is refused within 5 s.
 */
const inspectMs = 4_000
/** The memory limit of ONNX Runtime for this: that of the process that reads the file at a registration. */
const inspectMb = 768

/**
 * Returns the number of outputs of a graph. ONNX Runtime loads every graph for this except trees, which are completely checked here. It
 * also loads dense layers, because it finds errors that no single operator shows, such as an attribute of another version. Throws
 * `artifact_invalid` with what it refuses, also when it takes longer than `loadMs`.
 */
export async function countOutputs(
  bytes: Uint8Array,
  { layout, forest }: OnnxFile,
  { loadMs = inspectMs, hosts }: Pick<SessionsOptions, 'loadMs' | 'hosts'> = {},
): Promise<number> {
  if (forest !== undefined) return forest.starts.length
  const sessions = createSessions({ onError: () => {}, loadMs, hosts, memoryMb: inspectMb })
  try {
    return (await openHosted(sessions, { name: 'inspected', bytes, layout })).outputs
  } catch (error) {
    const { cause } = error as { cause?: Error }
    if (isCallTimeout(cause))
      refuse(
        `ONNX Runtime takes more than ${loadMs} ms to load the graph and to answer a few rows. Try again if the machine is busy; else simplify the graph (onnxsim): thousands of nodes that share their inputs load slowly, and a Scan of many steps answers slowly`,
      )
    throw error
  } finally {
    await sessions.stop()
  }
}

function* inStages(open: () => OpenedArtifact): Generator<void, OpenedArtifact> {
  yield
  return open()
}

async function openSession(
  manifest: ModelDescription,
  bytes: Uint8Array,
  layout: OnnxLayout,
  { version, runtimes, isRedacted }: OpenDeps,
): Promise<OpenedArtifact> {
  const positiveOfTwo = manifest.output.kind === 'probability'
  const options = { name: version, bytes, layout, positiveOfTwo, isRedacted, ...boundRows(manifest, layout) }
  const predictor = await openSessionOf(runtimes.sessions, options)
  // Where small requests are answered here, ONNX Runtime holds the weights twice: as in the file, and in the order in which it reads them.
  const memoryBytes = bytes.byteLength * (predictor.trouble === undefined ? 3 : 1)
  return { predictor: clampProbabilities(predictor, manifest.output), memoryBytes }
}

interface SessionOptions extends BoundRows {
  name: string
  bytes: Uint8Array
  layout: OnnxLayout
  /** Whether only the second of two outputs is returned. */
  positiveOfTwo?: boolean
  isRedacted?: boolean
}

/**
 * Opens a graph with ONNX Runtime: in its process, and for small requests also here, if the process has measured that they are answered
 * soon.
 */
export async function openSessionOf(sessions: Sessions, options: SessionOptions): Promise<Predictor> {
  const { bytes, layout, takesText, names } = options
  const hosted = await openHosted(sessions, options)
  const { cost } = hosted
  let predictor: Predictor = hosted
  if (answersInTurn(layout, bytes, cost)) {
    // Loads ONNX Runtime only in replicas that need it.
    const { inTurn } = await import('./session/turn-session.ts')
    predictor = inTurn(hosted, {
      bytes,
      layout,
      cost,
      textsOf: textsOfCategories(takesText ?? ownTextsOf(layout), refuseNul),
    })
  }
  return withWholes(withRefusals(predictor), layout, names)
}

function openHosted(
  sessions: Sessions,
  { name, bytes, layout, positiveOfTwo, isRedacted, takesText, width }: SessionOptions,
): Promise<HostedPredictor> {
  const { inputs, output, isAlone, isTriedTogether, knownTexts, knownNumbers } = layout
  const textsOf = textsOfCategories(takesText ?? ownTextsOf(layout), refuseNul)
  const shape = { inputs: width ?? shapeOf(layout).inputs, textsOf, isRedacted }
  const plan = { inputs, output, isAlone, isTriedTogether, knownTexts, knownNumbers, positiveOfTwo }
  return sessions.open(name, { bytes, plan }, shape)
}

/** ONNX Runtime's message about an operator that cannot compute a value, such as a text that is no number. */
const operatorFailed = /^Non-zero status code returned while running \w+ node/

/** Refuses rows that an operator of the graph cannot compute. */
function withRefusals(predictor: Predictor): Predictor {
  const refusalOf = (error: unknown): unknown => {
    const { message } = error as Error
    if (isPredictorError(error) || !operatorFailed.test(message) || /alloc/i.test(message)) return error
    if (message.includes('Unknown Category'))
      return predictorError(
        'unknown_category',
        'the model refuses a category that it has not seen in training',
      )
    return predictorError('wrong_type', `the graph refuses a value of the row: ${message.slice(0, 300)}`)
  }
  return {
    ...predictor,
    run(...of) {
      try {
        return predictor.run(...of)?.catch((error: unknown) => {
          throw refusalOf(error)
        })
      } catch (error) {
        throw refusalOf(error)
      }
    },
  }
}

/** Returns `takesText` for rows without a manifest, which only have the texts of the graph. */
const ownTextsOf = ({ inputs }: OnnxLayout): boolean[] =>
  inputs.flatMap(({ type }) => (type === 'string' ? [true] : []))

function refuseNul(text: Buffer, row: number): void {
  if (text.includes(0))
    throw predictorError(
      'wrong_type',
      `instance ${row}: a text contains NUL, at which ONNX Runtime would cut it off`,
    )
}

const wholeTypes = {
  int32: { what: 'whole numbers of 32 bits', has: (value: number) => (value | 0) === value },
  // A larger number of JSON is not exact.
  int64: {
    what: 'whole numbers between -2^53 and 2^53',
    has: (value: number) => Number.isSafeInteger(value),
  },
  bool: { what: 'true or false', has: (value: number) => value === 0 || value === 1 },
}
type WholeType = keyof typeof wholeTypes
const isWholeType = (type: string): type is WholeType => Object.hasOwn(wholeTypes, type)

/** A number beyond 2^53 is not shown, because it may be another than was sent. */
const shownNumber = (value: number): string =>
  Number.isNaN(value) ? 'null' : Math.abs(value) >= 2 ** 53 ? 'one beyond' : String(value)

/** Refuses rows with other values in integer or boolean columns, which ONNX Runtime would not accept. */
function withWholes(predictor: Predictor, layout: OnnxLayout, names: readonly string[] = []): Predictor {
  const columns: { at: number; type: WholeType; name: string | undefined }[] = []
  let [at, columnAt] = [0, 0]
  for (const { type, width } of layout.inputs) {
    if (isWholeType(type))
      for (let k = 0; k < width; k++)
        columns.push({ at: at + k, type, name: names[columnAt + k] ?? layout.columns[columnAt + k]?.name })
    if (type !== 'string') at += width
    columnAt += width
  }
  if (columns.length === 0) return predictor
  const { inputs } = predictor
  const refusalOf = (input: Float64Array, row: number): PredictorError | undefined => {
    for (const { at: place, type, name } of columns) {
      const value = input[row * inputs + place]!
      if (!wholeTypes[type].has(value))
        return predictorError(
          'wrong_type',
          `instance ${row}: the model takes ${wholeTypes[type].what} as ${name}, not ${shownNumber(value)}`,
        )
    }
    return undefined
  }
  return {
    ...predictor,
    refusalOf,
    run(input, rows, output, order, texts) {
      for (let row = 0; row < rows; row++) {
        const refusal = refusalOf(input, row)
        if (refusal !== undefined) throw refusal
      }
      return predictor.run(input, rows, output, order, texts)
    },
  }
}
