/**
 * Replays logged rows in a child process through the serving reader and the training encoder, and compares the outputs with the logged
 * ones. `skew-replayer.ts <artifact root> <digest> <version>` reads rows as JSON and prints one line of JSON. Features that are logged as
 * digests get the value of a golden row, and the outputs are then not compared.
 */
import { type FeatureFit, widthOfFit } from '@tenure/predictors/features'
import { text } from 'node:stream/consumers'
import { goldenTolerance } from '../../domain/model/golden-answers.ts'
import { isError } from '../../domain/errors.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { compileEncoder } from '../../domain/model/preprocessing.ts'
import { findSkew, type ReplayedRow, type SkewValue } from '../../domain/monitoring/training-serving-skew.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import { createInputBuffer, resetInput, writeRow } from '../serving/codec/input-buffer.ts'
import { maxBytesOf } from '@tenure/predictors'
import { createRuntimes } from '../serving/runtime/hosts.ts'
import { createPredictProtocol } from '../serving/request/native-protocol.ts'
import { openVersion } from '../serving/version/loaded-version.ts'

interface LoggedRow {
  predictionId: string
  row: FeatureRow
  /** The outputs; null for an output that was not finite. */
  outputs: (number | null)[]
  /** What `prepare` gives for the fields of the row again; absent for a version without computed columns. */
  recomputed?: FeatureRow
}

/** The rounding error of a logged input, because the log stores 32-bit floats: relative, and next to zero absolute. */
const rounding = 2 ** -24
const leastRounding = 2 ** -150

const runtimes = createRuntimes({
  onError: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
})
const [root = '', digest = '', version = ''] = process.argv.slice(2)
try {
  const { rows, digested } = JSON.parse(await text(process.stdin)) as {
    rows: LoggedRow[]
    digested: string[]
  }
  process.stdout.write(`${JSON.stringify({ ok: true, report: findSkew(await replay(rows, digested)) })}\n`)
} catch (error) {
  const code = isError(error) ? error.code : 'artifact_invalid'
  process.stdout.write(`${JSON.stringify({ ok: false, code, message: (error as Error).message })}\n`)
}
await runtimes.stop()

async function replay(rows: readonly LoggedRow[], digested: readonly string[]): Promise<ReplayedRow[]> {
  const { manifest, files } = await getArtifact(openArtifacts(root), digest, maxBytesOf)
  const loaded = await openVersion(version, manifest, files, runtimes)
  const { predictor, columns } = loaded
  const protocol = createPredictProtocol(1)
  const { preprocessing: fits } = manifest
  const encode = compileEncoder(manifest.features, fits)
  const [buffer, texts] = [createInputBuffer(), createInputBuffer()]
  const [served, trained] = [new Float64Array(predictor.inputs), new Float64Array(predictor.inputs)]
  const answer = async (row: FeatureRow): Promise<Float32Array> => {
    encode(row, trained, 0)
    resetInput(texts, columns, 1)
    writeRow(texts, columns, row, 0)
    const outputs = new Float32Array(predictor.outputs)
    await predictor.run(trained, 1, outputs, undefined, texts)
    return outputs
  }
  const knownOf = (name: string) =>
    manifest.golden.instances.map((golden) => golden[name] ?? null).find((value) => value !== null)
  const known = Object.fromEntries(digested.map((name) => [name, knownOf(name) ?? null]))
  const hasOutputs = digested.length === 0
  const replayed: ReplayedRow[] = []
  for (const logged of rows) replayed.push(await replayRow(logged))
  return replayed

  async function replayRow({
    predictionId,
    row: logged,
    outputs,
    recomputed = {},
  }: LoggedRow): Promise<ReplayedRow> {
    const row = { ...known, ...logged }
    try {
      protocol.read(loaded, Buffer.from(JSON.stringify({ instances: [row] })), buffer)
      served.set(buffer.input.subarray(0, served.length))
    } catch {
      return { predictionId, served: {}, replayed: null }
    }
    const scores = hasOutputs ? await scoresOfRow(row, outputs) : { served: {}, replayed: {} }
    encode(row, trained, 0)
    return {
      predictionId,
      served: { ...inputsByFeature(fits, served), ...scores.served, ...computedOf(row, recomputed) },
      replayed: {
        ...inputsByFeature(fits, trained),
        ...scores.replayed,
        ...computedOf(recomputed, recomputed),
      },
    }
  }

  async function scoresOfRow(row: FeatureRow, outputs: LoggedRow['outputs']) {
    const again = await answer(row)
    const given = outputs.map((value) => value ?? NaN)
    const exact = Array.from(again, (value) => goldenTolerance * Math.max(1, Math.abs(value)))
    const isWithin = (slack: readonly number[]) => (place: number) =>
      Math.abs(given[place]! - again[place]!) <= slack[place]!
    // A row takes one run of the model, and two more for each number where its answer differs.
    const within = isWithin(
      given.every((_, place) => isWithin(exact)(place)) ? exact : await slackOf(row, again, exact, answer),
    )
    return {
      served: scoresOf(given),
      replayed: scoresOf(Array.from(again, (value, place) => (within(place) ? given[place]! : value))),
    }
  }
}

/** Returns the tolerance of each output: how exactly a predictor computes, and the rounding of the logged inputs. */
async function slackOf(
  row: FeatureRow,
  outputs: Float32Array,
  exact: readonly number[],
  answer: (row: FeatureRow) => Promise<Float32Array>,
): Promise<number[]> {
  const slack = [...exact]
  for (const [name, value] of Object.entries(row)) {
    if (typeof value !== 'number') continue
    const step = Math.max(Math.abs(value) * rounding, leastRounding)
    for (const nudged of [value - step, value + step])
      for (const [place, output] of (await answer({ ...row, [name]: nudged })).entries())
        slack[place]! += Math.abs(output - outputs[place]!)
  }
  return slack
}

/** Returns the inputs by feature: a number, or the non-zero positions of a category. */
function inputsByFeature(fits: readonly FeatureFit[], input: Float64Array): Record<string, SkewValue> {
  let start = 0
  return Object.fromEntries(
    fits.map((fit): [string, SkewValue] => {
      const width = widthOfFit(fit)
      const values = Array.from(input.subarray(start, (start += width)))
      if (fit.kind === 'number') return [fit.name, values[0] ?? null]
      return [fit.name, values.flatMap((value, place) => (value === 0 ? [] : [`${place}: ${value}`])).join()]
    }),
  )
}

/** The values of the computed columns. JSON has no infinite number, which stands for an expression that fails. */
function computedOf(row: FeatureRow, columns: FeatureRow): Record<string, SkewValue> {
  return Object.fromEntries(Object.keys(columns).map((name) => [`${name} of prepare`, row[name] ?? null]))
}

function scoresOf(outputs: readonly number[]): Record<string, SkewValue> {
  return Object.fromEntries(
    outputs.map((value, place) => [outputs.length === 1 ? 'score' : `score ${place}`, value]),
  )
}
