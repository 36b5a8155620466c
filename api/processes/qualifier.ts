/**
 * Loads an artifact in a child process, checks its golden rows and measures its latency and processor time. A release does this before traffic reaches the
 * candidate, so that a bad artifact can only crash this process. `qualifier.ts <artifact root> <digest> <version> [<p99 µs> [<digest of its
 * parent>]]` prints one line of JSON and exits with 0, also when it refuses the artifact. With a parent it measures both, in turns.
 */
import { isError } from '../../domain/errors.ts'
import {
  isSlower,
  meanUs,
  rowsPerSecondOf,
  type CompressionCost,
} from '../../domain/evaluation/compression.ts'
import { hasComparableBytes } from '../../domain/model/compression.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import { readChildren } from '../../store/process-usage.ts'
import { createInputBuffer, resetInput } from '../serving/codec/input-buffer.ts'
import { resetWriter, createByteWriter } from '../serving/codec/byte-writer.ts'
import { maxBytesOf } from '@tenure/predictors'
import { isRemote } from '@tenure/predictors/format-names'
import { createRuntimes } from '../serving/runtime/hosts.ts'
import { withComputedColumns } from '../serving/features/prepare.ts'
import { openVersion, readRow, type LoadedVersion } from '../serving/version/loaded-version.ts'

const measuredRows = 2_000
/** For a version beside an endpoint, in each turn. */
const remoteRows = 100
const measuredMs = 2_000
/** The processor time of other processes is counted in units of 10 ms. */
const processorMs = 500
/**
 * A measurement above the limit is repeated, and the best one counts: load on the machine can slow a measurement down, but cannot make a
 * slow artifact fast.
 */
const maxMeasurements = 5
/**
 * A version and its parent are measured in turns until so many in a row (`still`) have improved no figure by more than `gain`: load on the
 * machine makes a figure worse, and nothing makes it better. Turns go on while the version seems to be too slow, for longer than a moment of
 * load: those of a fast model take milliseconds.
 */
const turns = { still: 9, gain: 1.02, most: 40, leastMs: 15_000, mostMs: 60_000 }

const runtimes = createRuntimes({
  onError: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
})
const [root = '', digest = '', version = '', p99Limit = '', parentDigest] = process.argv.slice(2)
try {
  const found = parentDigest === undefined ? await qualify() : { beside: await compare(parentDigest) }
  process.stdout.write(`${JSON.stringify({ ok: true, ...found })}\n`)
} catch (error) {
  const code = isError(error) ? error.code : 'artifact_invalid'
  process.stdout.write(`${JSON.stringify({ ok: false, code, message: (error as Error).message })}\n`)
}
await runtimes.stop()

async function qualify() {
  // Where sources run uncompiled, their compiler is a child too.
  const compilerBytes = readChildren(process.pid).rssBytes
  const began = performance.now()
  const { loaded, files } = await load(digest)
  const { manifest } = loaded
  const loadMs = performance.now() - began
  const found = {
    model: loaded.model,
    goldenRows: manifest.golden.instances.length,
    loadMs: Math.round(loadMs),
    ...(await measureBest(loaded, p99Limit === '' ? Infinity : Number(p99Limit))),
    cpuUs: await measureProcessor(loaded),
    rssBytes: process.memoryUsage.rss() + Math.max(0, readChildren(process.pid).rssBytes - compilerBytes),
    isRemote: isRemote(manifest),
    paid: loaded.predictor.price?.(),
    weightBytes: files['weights.bin']?.byteLength ?? 0,
  }
  loaded.predictor.close?.()
  return found
}

async function load(of: string) {
  const { manifest, files } = await getArtifact(openArtifacts(root), of, maxBytesOf)
  const loaded = await withComputedColumns(await openVersion(version, manifest, files, runtimes))
  return { loaded, files }
}

/** Measures an artifact and its parent in turns; the best of each counts. */
async function compare(parent: string): Promise<CompressionCost> {
  const both = { child: (await load(digest)).loaded, parent: (await load(parent)).loaded }
  const best = { child: { rowsPerSecond: 0, p99Us: Infinity }, parent: { rowsPerSecond: 0, p99Us: Infinity } }
  // Each answer of a server of others may cost money.
  const [rowsOfTurn, leastMs] = isRemote(both.parent.manifest)
    ? [remoteRows, 0]
    : [measuredRows, turns.leastMs]
  const began = performance.now()
  let improved = 0
  const beside = (figure: 'rowsPerSecond' | 'p99Us') => ({
    parent: best.parent[figure],
    child: best.child[figure],
  })
  const isLeft = (turn: number) => {
    const passedMs = performance.now() - began
    return passedMs < leastMs || (turn < turns.most && passedMs < turns.mostMs)
  }
  const isUnsettled = (turn: number) =>
    turn - improved < turns.still || isSlower(meanUs(beside('rowsPerSecond'))) || isSlower(beside('p99Us'))
  for (let turn = 0; isLeft(turn) && isUnsettled(turn); turn++)
    for (const side of turn % 2 === 0 ? (['child', 'parent'] as const) : (['parent', 'child'] as const)) {
      const { p99Us, rowsPerSecond } = await measure(both[side], rowsOfTurn)
      const { p99Us: shortest, rowsPerSecond: most } = best[side]
      if (p99Us * turns.gain < shortest || rowsPerSecond > most * turns.gain) improved = turn + 1
      best[side] = { p99Us: Math.min(shortest, p99Us), rowsPerSecond: Math.max(most, rowsPerSecond) }
    }
  for (const { predictor } of Object.values(both)) predictor.close?.()
  const memoryBytes = hasComparableBytes(both.parent.manifest)
    ? { parent: both.parent.memoryBytes, child: both.child.memoryBytes }
    : undefined
  return { rowsPerSecond: beside('rowsPerSecond'), p99Us: beside('p99Us'), memoryBytes }
}

interface Measured {
  p50Us: number
  p99Us: number
  measurements: number
}

/** Returns the first measurement within the limit, or the best of all. */
async function measureBest(loaded: LoadedVersion, limitUs: number): Promise<Measured> {
  let best = await measure(loaded)
  let measurements = 1
  for (; best.p99Us > limitUs && measurements < maxMeasurements; measurements++) {
    const again = await measure(loaded)
    if (again.p99Us < best.p99Us) best = again
  }
  const { p50Us, p99Us } = best
  return { p50Us, p99Us, measurements }
}

/** Answers golden rows, each from its features to its response. */
function rowAnswerer(loaded: LoadedVersion) {
  const { manifest, predictor, columns, format } = loaded
  const { instances } = manifest.golden
  const input = createInputBuffer()
  const output = new Float32Array(predictor.outputs)
  const writer = createByteWriter()
  const id = new Uint8Array(16)
  return async (i: number): Promise<void> => {
    resetInput(input, columns, 1)
    readRow(loaded, instances[i % instances.length]!, 0, input)
    const running = predictor.run(input.input, 1, output, undefined, input)
    if (running !== undefined) await running
    format.issueOf(output, 0)
    resetWriter(writer)
    format.write(writer, output, 0, id)
  }
}

/** Measures quantiles of the time of one row. */
async function measure(
  loaded: LoadedVersion,
  rows = measuredRows,
): Promise<Omit<Measured, 'measurements'> & { rowsPerSecond: number }> {
  const answer = rowAnswerer(loaded)
  const times: number[] = []
  const until = performance.now() + measuredMs
  for (let i = 0; i < rows && performance.now() < until; i++) {
    const from = performance.now()
    await answer(i)
    times.push((performance.now() - from) * 1_000)
  }
  const rowsPerSecond = rowsPerSecondOf(times)
  times.sort((a, b) => a - b)
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0
  return { p50Us: at(0.5), p99Us: at(0.99), rowsPerSecond }
}

/** Measures the processor time of one row in all threads, and in the processes that this one has started, in microseconds. */
async function measureProcessor(loaded: LoadedVersion): Promise<number> {
  const answer = rowAnswerer(loaded)
  const usedUs = () => {
    const { user, system } = process.cpuUsage()
    return user + system + readChildren(process.pid).cpuMs * 1_000
  }
  const before = usedUs()
  const until = performance.now() + processorMs
  let rows = 0
  do await answer(rows++)
  while (performance.now() < until)
  return (usedUs() - before) / rows
}
