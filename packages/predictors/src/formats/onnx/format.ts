/**
 * Opens ONNX files. Graphs of trees and of dense layers are computed here, all others by ONNX Runtime: first in a process of its own, which
 * measures them, then small requests within their turn. The model takes matrices of numbers, or named columns of numbers and texts.
 */
import { type PredictorError, refuse } from '../../errors.ts'
import type { ModelDescription } from '../../features.ts'
import { compileDense } from '../../network/simd-predictor.ts'
import { expectClasses } from '../expect-classes.ts'
import type { Predictor } from '../../predictor.ts'
import { isCallTimeout } from '../../runtime/pending-calls.ts'
import type { HostedPredictor } from '../../runtime/runtime.ts'
import type { ArtifactColumn, ArtifactFiles, ArtifactFormat, OpenDeps, OpenedArtifact } from '../format.ts'
import { forestExplainer } from '../trees/tree-shap.ts'
import { onnxLimits, readGraph, type OnnxGraph } from './graph.ts'
import { bytesOfHalves, halveWeights } from './half-weights.ts'
import { textsByInput } from './known-texts.ts'
import type { OnnxLayout } from './layout.ts'
import { openGraph, openOnnx, type OnnxFile } from './open-onnx.ts'
import { issueOfQuantizing, issueOfTrees, quantizeOnnx } from './quantize.ts'
import { compileWholes, nulRefusal, refusalOfRun } from './refusals.ts'
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
    const graph = readGraph(bytes)
    const file = openGraph(graph)
    expectClasses(manifest.output, file.classes)
    const { forest, network, layout } = file
    if (forest !== undefined) return inStages(() => openTrees(manifest, forest))
    const memoryBytes = bytes.byteLength + bytesOfHalves(bytes)
    const inSession = { bytes, layout, memoryBytes }
    if (network !== undefined)
      return inStages(() => ({
        predictor: openNetwork(manifest, { layout, network }, compileDense),
        memoryBytes,
        elsewhere: deps && (() => openSession(manifest, inSession, deps)),
      }))
    if (deps === undefined) refuse('the graph needs ONNX Runtime, which answers in a process of its own')
    return openSession(manifest, inSession, deps)
  },
  explain({ output }, files) {
    const { forest } = openOnnx(bytesOf(files))
    if (forest === undefined) return undefined
    const explainer = forestExplainer(forest)
    return explainer && { ...explainer, firstOutput: isPairOf(output, forest.starts.length) ? 1 : 0 }
  },
  async compress(_manifest, files, { to, quantizer }, rows) {
    const bytes = bytesOf(files)
    const graph = readGraph(bytes)
    const { layout } = openGraph(graph)
    const issue = issueOfTrees(graph) ?? (to === 'int8' ? issueOfQuantizing(graph, layout) : undefined)
    if (issue !== undefined) refuse(issue)
    const { bytes: made, counts } =
      to === 'float16'
        ? halveWeights(bytes)
        : await quantizeOnnx(
            bytes,
            layout,
            rows(),
            quantizer ?? refuse('no tool to quantize ONNX files is set up'),
          )
    return { files: { [fileName]: made }, counts }
  },
}

const bytesOf = (files: ArtifactFiles): Uint8Array =>
  files[fileName] ?? refuse(`the artifact lacks ${fileName}`)

function columnsOf({ columns }: OnnxLayout, graph: OnnxGraph): ArtifactColumn[] {
  const isOfTexts = columns.some(({ isText }) => isText === true)
  const textsOf = isOfTexts ? textsByInput(graph) : undefined
  return columns.map((column) => {
    const { name, isText } = column
    if (isText !== true) return column
    const texts = textsOf?.(name)
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
  { bytes, layout, memoryBytes }: { bytes: Uint8Array; layout: OnnxLayout; memoryBytes: number },
  { version, runtimes, isRedacted }: OpenDeps,
): Promise<OpenedArtifact> {
  const positiveOfTwo = manifest.output.kind === 'probability'
  const options = { name: version, bytes, layout, positiveOfTwo, isRedacted, ...boundRows(manifest, layout) }
  const predictor = await openSessionOf(runtimes.sessions, options)
  // Where small requests are answered here, ONNX Runtime holds the weights twice: as in the file, and in the order in which it reads them.
  const times = predictor.trouble === undefined ? 3 : 1
  return { predictor: clampProbabilities(predictor, manifest.output), memoryBytes: times * memoryBytes }
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

/** Refuses rows that an operator of the graph cannot compute. */
function withRefusals(predictor: Predictor): Predictor {
  return {
    ...predictor,
    run(...of) {
      try {
        return predictor.run(...of)?.catch((error: unknown) => {
          throw refusalOfRun(error)
        })
      } catch (error) {
        throw refusalOfRun(error)
      }
    },
  }
}

/** Returns `takesText` for rows without a manifest, which only have the texts of the graph. */
const ownTextsOf = ({ inputs }: OnnxLayout): boolean[] =>
  inputs.flatMap(({ type }) => (type === 'string' ? [true] : []))

function refuseNul(text: Buffer, row: number): void {
  if (text.includes(0)) throw nulRefusal(row)
}

/** Refuses rows with other values in integer or boolean columns, which ONNX Runtime would not accept. */
function withWholes(predictor: Predictor, layout: OnnxLayout, names?: readonly string[]): Predictor {
  const { inputs } = predictor
  const refuseWhole = compileWholes(layout, names)
  if (refuseWhole === undefined) return predictor
  const refusalOf = (input: Float64Array, row: number): PredictorError | undefined =>
    refuseWhole(input, row * inputs, row)
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
