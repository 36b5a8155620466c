/**
 * Serves a version in this process as a replica does, without sockets and the log, and sends it requests on a timetable that does not wait for
 * answers. `load-tester.ts <artifact root> <digest> <version>` reads a `LoadJob` as JSON and prints one line of JSON.
 */
import { availableParallelism, cpus, getPriority, hostname, setPriority } from 'node:os'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { maxBytesOf } from '@tenure/predictors'
import { seededRandom } from '@tenure/sequential'
import { errorTable, isError, reasonOf } from '../../domain/errors.ts'
import {
  loadIssue,
  nextRate,
  type LoadJob,
  type LoadReport,
  type LoadResult,
  type LoadRun,
} from '../../domain/model/load-test.ts'
import { agrees } from '../../domain/model/golden-answers.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import { readWaitMs } from '../../store/process-usage.ts'
import { createByteWriter, resetWriter } from '../serving/codec/byte-writer.ts'
import { createInputBuffer, type InputBuffer } from '../serving/codec/input-buffer.ts'
import { withComputedColumns } from '../serving/features/prepare.ts'
import { createPredictProtocol } from '../serving/request/native-protocol.ts'
import { createRuntimes } from '../serving/runtime/hosts.ts'
import { openVersion } from '../serving/version/loaded-version.ts'

/** Each shorter run that searches for a rate that holds. */
const searchSeconds = 3
const maxSearches = 4
/** How long answers may arrive after the end. */
const drainMs = 2_000
/** Requests that are sent before the event loop turns, as a replica reads several from one socket. */
const maxTogether = 16
const maxInstances = 10_000

const runtimes = createRuntimes({
  onError: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
})
const [root = '', digest = '', version = ''] = process.argv.slice(2)
try {
  // Serving and training on this machine come first.
  if (getPriority() < 10) setPriority(10)
  const result = await test(JSON.parse(await text(process.stdin)) as LoadJob)
  process.stdout.write(`${JSON.stringify({ ok: true, ...result })}\n`)
} catch (error) {
  const code = isError(error) ? error.code : 'artifact_invalid'
  process.stdout.write(`${JSON.stringify({ ok: false, code, message: (error as Error).message })}\n`)
}
await runtimes.stop()

async function test({ requests, rate, seconds, limitMs }: LoadJob): Promise<LoadResult> {
  const { manifest, files } = await getArtifact(openArtifacts(root), digest, maxBytesOf)
  const loaded = await withComputedColumns(await openVersion(version, manifest, files, runtimes))
  const { predictor, format } = loaded
  const protocol = createPredictProtocol(maxInstances)
  const writer = createByteWriter()
  const id = new Uint8Array(16)
  const bodies = requests.map(({ rows }) => Buffer.from(JSON.stringify({ instances: rows })))
  const free: Slot[] = []
  let firstError: string | undefined

  /** Compares with the answers of a batch, after the latency was taken. */
  const isWrong = (request: LoadJob['requests'][number], outputs: Float32Array): boolean =>
    request.outputs.some((expected, row) =>
      expected.some((value, place) => {
        const given = outputs[row * predictor.outputs + place]!
        return value === null ? Number.isFinite(given) : !agrees(given, value)
      }),
    )

  async function run(atRate: number, forSeconds: number): Promise<LoadRun> {
    const due = arrivals(atRate, forSeconds)
    const endMs = forSeconds * 1_000 + drainMs
    const latencies = new Float64Array(due.length).fill(Infinity)
    const counts = { refused: 0, failed: 0, wrong: 0 }
    const waitedBefore = readWaitMs()
    const began = performance.now()
    const now = () => performance.now() - began
    let open = 0
    let busyMs = 0
    const timed = (work: () => void) => {
      const from = performance.now()
      work()
      busyMs += performance.now() - from
    }
    const over = (at: number) => {
      latencies[at] = now() - due[at]!
      open--
    }
    const finish = (at: number, slot: Slot) => {
      const request = requests[at % requests.length]!
      const issues = Array.from({ length: slot.input.rows }, (_, row) => format.issueOf(slot.outputs, row))
      const issue = issues.find((each) => each !== undefined)
      resetWriter(writer)
      for (let row = 0; row < slot.input.rows; row++) format.write(writer, slot.outputs, row, id)
      over(at)
      if (issue !== undefined) {
        counts.failed++
        firstError ??= issue
      } else if (isWrong(request, slot.outputs)) counts.wrong++
      free.push(slot)
    }
    const fail = (at: number, slot: Slot, error: unknown) => {
      over(at)
      counts[isError(error) && errorTable[error.code].status < 500 ? 'refused' : 'failed']++
      firstError ??= reasonOf(error)
      free.push(slot)
    }
    const send = (at: number) => {
      const slot = free.pop() ?? { input: createInputBuffer(), outputs: new Float32Array(0) }
      open++
      try {
        protocol.read(loaded, bodies[at % bodies.length]!, slot.input)
        const { rows } = slot.input
        if (slot.outputs.length < rows * predictor.outputs)
          slot.outputs = new Float32Array(rows * predictor.outputs)
        const running = predictor.run(slot.input.input, rows, slot.outputs, undefined, slot.input)
        if (running === undefined) finish(at, slot)
        else
          running.then(
            () => timed(() => finish(at, slot)),
            (error: unknown) => timed(() => fail(at, slot, error)),
          )
      } catch (error) {
        fail(at, slot, error)
      }
    }
    let next = 0
    while (next < due.length && now() < endMs) {
      for (let sent = 0; sent < maxTogether && next < due.length && due[next]! <= now(); sent++)
        timed(() => send(next++))
      const waitMs = next < due.length ? due[next]! - now() : 0
      // A timer is late by up to a millisecond, which would count as latency.
      if (waitMs > 2) await pause(waitMs - 1.5)
      else await turn()
    }
    while (open > 0 && now() < endMs) await turn()
    const answered = latencies.filter(Number.isFinite).length
    const sorted = latencies.sort()
    const at = (share: number) => {
      const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
      return Number.isFinite(value) ? value : endMs
    }
    const ms = now()
    const waitedMs = waitedBefore === undefined ? undefined : (readWaitMs() ?? NaN) - waitedBefore
    return {
      rate: atRate,
      seconds: forSeconds,
      due: due.length,
      ...counts,
      unanswered: due.length - answered,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      busyShare: busyMs / ms,
      ...(waitedMs !== undefined && { waitedShare: waitedMs / ms }),
    }
  }

  // Compiles the code, as requests to a replica have done before a peak.
  await run(Math.min(rate, 200), 1)
  firstError = undefined
  const whole = await run(rate, seconds)
  const result = { run: whole, firstError, machine: machineOf() }
  if (loadIssue(whole, limitMs) === undefined) return result
  // A fault of the answers does not depend on the rate.
  if (whole.failed + whole.refused + whole.wrong > 0) return result
  let [held, exceeded] = [0, rate]
  for (let search = 0; search < maxSearches; search++) {
    const between = nextRate(held, exceeded)
    if (between === undefined) break
    if (loadIssue(await run(between, searchSeconds), limitMs) === undefined) held = between
    else exceeded = between
  }
  return { ...result, heldRate: held }
}

interface Slot {
  input: InputBuffer
  outputs: Float32Array
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The times of a Poisson process in milliseconds, the same for the same rate and time; at least one. */
function arrivals(rate: number, seconds: number): Float64Array {
  const random = seededRandom(1)
  const times: number[] = []
  for (let at = 0; ;) {
    at += (-Math.log(1 - random()) / rate) * 1_000
    if (at >= seconds * 1_000 && times.length > 0) return Float64Array.from(times)
    times.push(Math.min(at, seconds * 1_000))
  }
}

function machineOf(): LoadReport['machine'] {
  return {
    name: hostname(),
    processors: availableParallelism(),
    processor: cpus()[0]?.model.trim() || 'unknown processor',
  }
}
