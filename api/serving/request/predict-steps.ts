/**
 * Runs, counts, logs and mirrors a prediction. Requests that are served in one turn and those that wait use the same steps, so that both
 * are counted in the same way.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import { keptMessage, loggedTexts } from '../../../store/serving/log-policy.ts'
import type { PredictionRecord } from '../../../store/serving/prediction-log.ts'
import type { FeatureHistograms } from '../counters/feature-histograms.ts'
import type { Clock } from '../clock.ts'
import type { RequestSlot } from './request-slot.ts'
import { instanceSuffix, type Ids } from '../prediction-ids.ts'
import { resetWriter, createByteWriter, type ByteWriter } from '../codec/byte-writer.ts'
import type { PredictionLog } from '../log/prediction-log.ts'
import type { Protocol, Request } from './protocol.ts'
import type { Lease } from '../routing/routing.ts'
import type { Shadow } from '../routing/shadow.ts'
import { isShadowedRequest, type LiveArm, type RouteTable } from '../routing/route-table.ts'
import type { FailedRequests } from '../counters/failed-requests.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import { injectFault } from '../version/loaded-version.ts'

export interface StepDeps {
  histograms: FeatureHistograms
  clock: Clock
  ids: Ids
  lease: Lease
  log: PredictionLog
  shadow: Shadow
  counters: CounterRegistry
  failures: FailedRequests
}

export type Steps = ReturnType<typeof createSteps>

/** Creates the steps. The slot holds the state of the request, whose id must be the current one. */
export function createSteps(deps: StepDeps) {
  const { histograms: bins, clock, ids, lease, log, shadow, counters, failures } = deps
  const writer = createByteWriter()
  const record = emptyRecord(ids)
  const latencyOf = ({ began }: RequestSlot): number => Math.round((clock.now() - began) * 1_000)

  /** Keeps a failed request with its inputs, unless enough of the version wait to be stored. */
  const keep = (
    { loaded, arm, counters: { model, release } }: LiveArm,
    slot: RequestSlot,
    error: DomainError,
  ) => {
    const { version } = loaded
    if (!failures.takes(version)) return
    const { input } = slot
    const { logPolicy } = loaded
    const numberBytes = input.rows * loaded.columns.numbers * 4
    const texts = input.texts.subarray(0, input.textBytes)
    failures.add({
      id: `${ids.prefix()}${instanceSuffix(0)}`,
      atMs: Math.floor(clock.wall()),
      model,
      version,
      arm,
      release,
      code: error.code,
      message: keptMessage(error, logPolicy),
      routingKey: input.routingKey,
      instances: input.rows,
      features: Buffer.concat([input.numberBytes.subarray(0, numberBytes), loggedTexts(texts, logPolicy)]),
      latencyUs: latencyOf(slot),
    })
  }
  /** Counts the failure of a model and returns the error for the response. */
  const failed = (live: LiveArm, slot: RequestSlot, error: unknown): DomainError => {
    const { loaded, arm, counters: armCounters, guard } = live
    if (counters.count(armCounters, latencyOf(slot), slot.input.routingKey, 'errors')) guard?.count(true)
    const answer = isError(error)
      ? error
      : new DomainError('internal', `${loaded.version} failed: ${(error as Error).message}`, { arm })
    keep(live, slot, answer)
    return answer
  }
  /** Returns why the outputs are invalid; undefined when they are valid. */
  const issueOf = ({ loaded: { format } }: LiveArm, { input, outputs }: RequestSlot): string | undefined => {
    for (let row = 0; row < input.rows; row++) {
      const issue = format.issueOf(outputs, row)
      if (issue !== undefined) return issue
    }
    return undefined
  }
  /** Counts an answer, and keeps the request of an invalid one. Returns its error. */
  const count = (live: LiveArm, slot: RequestSlot, latencyUs: number, issue: string | undefined) => {
    const bad = issue === undefined ? undefined : 'invalid'
    const isBad = counters.count(live.counters, latencyUs, slot.input.routingKey, bad, slot.outputs)
    if (issue === undefined || isBad) live.guard?.count(isBad)
    if (issue === undefined) return undefined
    const { arm, loaded } = live
    const { version } = loaded
    const what = `${version} returned an invalid prediction: ${issue}`
    const error = new DomainError('output_invalid', what, { version, arm })
    keep(live, slot, error)
    return error
  }
  const fill = ({ loaded }: LiveArm, slot: RequestSlot, latencyUs: number): void => {
    const { input, outputs } = slot
    record.routingKey = input.routingKey
    record.reference = input.reference
    record.instances = input.rows
    record.numbers = input.numberBytes
    record.numberBytes = input.rows * loaded.columns.numbers * 4
    record.outputs = outputs
    record.outputCount = input.rows * loaded.format.width
    record.atMs = Math.floor(clock.wall())
    record.latencyUs = latencyUs
    record.keyId = slot.keyId
  }
  /** Adds the texts of a row that is logged now, as the log keeps them. */
  const withTexts = ({ loaded: { logPolicy } }: LiveArm, { input }: RequestSlot): PredictionRecord => {
    const { texts, textBytes } = input
    record.texts = logPolicy === undefined ? texts : loggedTexts(texts.subarray(0, textBytes), logPolicy)
    record.textBytes = logPolicy === undefined ? textBytes : record.texts.byteLength
    return record
  }
  /** Writes the response, which is valid until the next call. */
  const write = (protocol: Protocol, arm: LiveArm, { input, outputs, began }: RequestSlot): ByteWriter => {
    resetWriter(writer)
    protocol.write(writer, { arm, input, outputs, id: ids.bytes, stale: began >= lease.until })
    return writer
  }
  const mirror = (protocol: Protocol, body: Buffer, table: RouteTable, arm: LiveArm, slot: RequestSlot) => {
    if (table.shadow === undefined || !isShadowedRequest(table.shadow, slot.input.routingKey ?? ids.prefix()))
      return
    // Probation compares callers that were drawn at random; targeted callers were chosen.
    if (arm.arm === 'targeted') return
    shadow.offer({
      arm: table.shadow.arm,
      read: protocol.read,
      body,
      routingKey: slot.input.routingKey,
      idPrefix: ids.prefix(),
      served: arm.loaded,
      outputs: slot.outputs.slice(0, slot.input.rows * arm.loaded.format.width),
    })
  }
  return {
    failed,
    issueOf,
    write,
    /** Counts a prediction that is not sent. */
    countOnly: (arm: LiveArm, slot: RequestSlot) =>
      void count(arm, slot, latencyOf(slot), issueOf(arm, slot)),
    /** Returns the row for the log, valid until the next call. */
    recordOf(arm: LiveArm, slot: RequestSlot): PredictionRecord {
      fill(arm, slot, latencyOf(slot))
      return withTexts(arm, slot)
    },
    /** Runs the network, or starts it. A failure here counts against the model and not the caller. */
    run(arm: LiveArm, slot: RequestSlot): Promise<void> | undefined {
      const { loaded } = arm
      const { rows, input } = slot.input
      const { predictor } = loaded
      if (slot.outputs.length < rows * predictor.outputs)
        slot.outputs = new Float32Array(rows * predictor.outputs)
      try {
        const running = predictor.run(input, rows, slot.outputs, slot.order, slot.input)
        if (running === undefined && loaded.invalidShare > 0) injectFault(loaded, slot.outputs)
        return running
      } catch (error) {
        // A replica at its limit is not a failure of the model.
        if (isError(error, 'overloaded')) throw error
        throw failed(arm, slot, error)
      }
    },
    /** Writes and counts the prediction, logs it unless it waited for its row, and mirrors it to the candidate. Throws `output_invalid`. */
    finish(
      protocol: Protocol,
      request: Request,
      table: RouteTable,
      arm: LiveArm,
      slot: RequestSlot,
    ): ByteWriter {
      const issue = issueOf(arm, slot)
      if (issue === undefined) write(protocol, arm, slot)
      const latencyUs = latencyOf(slot)
      const error = count(arm, slot, latencyUs, issue)
      if (error !== undefined) throw error
      fill(arm, slot, latencyUs)
      if (!log.waits) log.append(arm.origin, withTexts(arm, slot))
      bins.count(arm.loaded, record.atMs, slot.input, slot.outputs)
      if (request.version === undefined) mirror(protocol, request.body, table, arm, slot)
      return writer
    },
  }
}

const emptyRecord = (ids: Ids): PredictionRecord => ({
  id: ids.bytes,
  atMs: 0,
  routingKey: undefined,
  reference: undefined,
  instances: 0,
  numbers: ids.bytes,
  numberBytes: 0,
  texts: ids.bytes,
  textBytes: 0,
  outputs: new Float32Array(0),
  outputCount: 0,
  latencyUs: 0,
  keyId: undefined,
})
