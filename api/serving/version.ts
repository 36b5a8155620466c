/**
 * A version as a replica holds it in memory: loaded from bytes that match their digests, compiled, and checked against the
 * outputs that the training library gave. Nothing is served that has not passed here.
 */
import { DomainError } from '../../domain/errors.ts'
import { widthOf } from '../../domain/features.ts'
import type { Manifest } from '../../domain/manifest.ts'
import { columnsOf, type Columns } from './columns.ts'
import { compileDense } from './dense.ts'
import { compilePredictor, type Predictor } from './predictor.ts'
import { compileReader, type InstanceReader } from './request.ts'
import { compileFormat, type OutputFormat } from './response.ts'
import { compileScanner, type InstanceScanner } from './scan-instances.ts'
import type { Sheet } from './sheet.ts'
import { readNetwork } from './topology.ts'

export interface LoadedVersion {
  model: string
  version: string
  manifest: Manifest
  predictor: Predictor
  columns: Columns
  read: InstanceReader
  scan: InstanceScanner
  format: OutputFormat
  /** In a drill: the share of requests that are answered with a number that is none. 0 outside of drills. */
  invalidShare: number
}

/** Reads a body into the sheet for a version. Throws the DomainError that the caller is to see. */
export type ReadRequest = (loaded: LoadedVersion, body: Buffer, sheet: Sheet) => void

/** How far a golden output may be off, absolute, and relative above 1. */
export const goldenTolerance = 1e-5
/** Answers given before the first caller's, so that the loops are compiled by then; at most for this long. */
const warmUpRows = 2_000
const warmUpMs = 20

/** Throws `artifact_invalid` with what is wrong. */
export function loadVersion(
  version: string,
  manifest: Manifest,
  files: { topology: Uint8Array; weights: Uint8Array },
): LoadedVersion {
  checkManifest(manifest)
  const network = readNetwork(files.topology, files.weights)
  const format = compileFormat(manifest.output)
  const width = widthOf(manifest.preprocessing)
  if (network.inputs !== width)
    refuse(`the network takes ${network.inputs} columns, the preprocessing gives ${width}`)
  if (network.outputs !== format.width)
    refuse(
      `the network gives ${network.outputs} numbers, the output ${manifest.output.kind} has ${format.width}`,
    )
  const read = compileReader(manifest.features, manifest.preprocessing)
  const columns = columnsOf(manifest.features, manifest.preprocessing)
  const scan = compileScanner(columns)
  const { model } = manifest
  const rest = { model, version, manifest, columns, format, read, scan, invalidShare: 0 }
  let loaded = { ...rest, predictor: compileDense(network) }
  let issue = goldenIssueOf(loaded)
  if (issue !== undefined) {
    // Sums of very many terms may need more than 32 bits to come as close as is asked for.
    loaded = { ...rest, predictor: compilePredictor(network) }
    issue = goldenIssueOf(loaded)
  }
  if (issue !== undefined) refuse(issue)
  warmUp(loaded)
  return loaded
}

/** Answers the golden rows again. Why they are not answered as in training; nothing when they are. */
export function goldenIssueOf({ manifest, predictor, read, format }: LoadedVersion): string | undefined {
  const { instances, outputs } = manifest.golden
  const input = new Float32Array(predictor.inputs)
  const output = new Float32Array(predictor.outputs)
  for (let row = 0; row < instances.length; row++) {
    try {
      read(instances[row], row, input, 0)
    } catch (error) {
      return `golden row ${row} is refused: ${(error as Error).message}`
    }
    predictor.run(input, 1, output)
    for (let i = 0; i < output.length; i++) {
      const wanted = outputs[row]?.[i] ?? NaN
      const off = Math.abs(output[i]! - wanted)
      if (!(off <= goldenTolerance * Math.max(1, Math.abs(wanted))))
        return `golden row ${row} gives ${output[i]} at output ${i}, in training it gave ${wanted}`
    }
    const issue = format.issueOf(output, 0)
    if (issue !== undefined) return `golden row ${row}: ${issue}`
  }
  return undefined
}

/** In a drill, makes the given share of answers invalid, as a broken model would. */
export function spoil({ invalidShare }: LoadedVersion, outputs: Float32Array): void {
  if (Math.random() < invalidShare) outputs[0] = NaN
}

function warmUp({ manifest, predictor, read }: LoadedVersion): void {
  const { instances } = manifest.golden
  const input = new Float32Array(predictor.inputs)
  const output = new Float32Array(predictor.outputs)
  const until = performance.now() + warmUpMs
  for (let i = 0; i < warmUpRows && performance.now() < until; i++) {
    read(instances[i % instances.length], 0, input, 0)
    predictor.run(input, 1, output)
  }
}

function checkManifest(manifest: Manifest): void {
  const { features, preprocessing, golden } = manifest
  if (typeof features !== 'object' || features === null) refuse('the manifest has no features')
  if (!Array.isArray(preprocessing)) refuse('the manifest has no preprocessing')
  if (!['probability', 'classes', 'number'].includes(manifest.output?.kind))
    refuse('the manifest has no output')
  const numbers = preprocessing.flatMap((fit) => (fit.kind === 'number' ? [fit.mean, fit.std, fit.fill] : []))
  if (!numbers.every(Number.isFinite)) refuse('the preprocessing holds a number that is not finite')
  if (!Array.isArray(golden?.instances) || golden.instances.length === 0)
    refuse('the manifest has no golden rows')
  if (golden.outputs.length !== golden.instances.length)
    refuse(`the manifest has ${golden.instances.length} golden rows and ${golden.outputs.length} outputs`)
}

function refuse(why: string): never {
  throw new DomainError('artifact_invalid', why)
}
