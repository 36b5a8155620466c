/**
 * The steps from a drawn arm to an answer that is counted, logged and shown to the candidate: the same ones for a request that
 * is answered in one turn and for one that waits. Two ways would soon count two things.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import type { PredictionRecord } from '../../../store/serving/prediction-log.ts'
import type { Bins } from '../counters/feature-histograms.ts'
import type { Clock } from '../clock.ts'
import type { Desk } from './request-slot.ts'
import type { Ids } from '../prediction-ids.ts'
import { beginInk, createInk, type Ink } from '../codec/byte-writer.ts'
import type { PredictionLog } from '../log/prediction-log.ts'
import type { Answered, Protocol, Request } from './protocol.ts'
import type { Lease } from '../routing/routing.ts'
import type { Shadow } from '../routing/shadow.ts'
import type { Sheet } from '../codec/input-buffer.ts'
import { isShadowed, type LiveArm, type Table } from '../routing/route-table.ts'
import type { Tallies } from '../counters/arm-counters.ts'
import { spoil } from '../version/loaded-version.ts'

export interface StepDeps {
  bins: Bins
  clock: Clock
  ids: Ids
  lease: Lease
  log: PredictionLog
  shadow: Shadow
  tallies: Tallies
}

/** What each of them knows of the request stands on its desk; the last id is that of the request. */
export interface Steps {
  /** Runs the network, or begins to. Whatever goes wrong in here is the model's doing, not the caller's. */
  run(arm: LiveArm, desk: Desk): Promise<void> | undefined
  /** Counts the failure of a model and answers what its caller is told. */
  failed(arm: LiveArm, desk: Desk, error: unknown): DomainError
  /** Counts an answer that nobody is given. */
  countOnly(arm: LiveArm, desk: Desk): void
  /** Why the outputs are no answer; nothing when they are. */
  issueOf(arm: LiveArm, desk: Desk): string | undefined
  /** What is to be stored of the request; stands until the next call. */
  recordOf(arm: LiveArm, desk: Desk): PredictionRecord
  /** Writes the answer alone. What is written stands until the next call. */
  write(protocol: Protocol, arm: LiveArm, desk: Desk): Ink
  /** Writes, counts, logs unless that is done already, and shows the candidate the request. Throws `output_invalid`. */
  finish(protocol: Protocol, request: Request, table: Table, arm: LiveArm, desk: Desk, isLogged: boolean): Ink
}

export function createSteps(deps: StepDeps): Steps {
  const { bins, clock, ids, lease, log, shadow, tallies } = deps
  const ink = createInk()
  const record = emptyRecord(ids)
  const latencyOf = ({ began }: Desk): number => Math.round((clock.now() - began) * 1_000)

  const failed: Steps['failed'] = ({ loaded, arm, tally, guard }, desk, error) => {
    if (tallies.count(tally, latencyOf(desk), desk.key, 'errors')) guard?.count(true)
    if (isError(error)) return error
    return new DomainError('internal', `${loaded.version} failed: ${(error as Error).message}`, { arm })
  }
  const issueOf: Steps['issueOf'] = ({ loaded: { format } }, { sheet, outputs }) => {
    for (let row = 0; row < sheet.rows; row++) {
      const issue = format.issueOf(outputs, row)
      if (issue !== undefined) return issue
    }
    return undefined
  }
  const count = (arm: LiveArm, desk: Desk, latencyUs: number, issue: string | undefined): void => {
    const isBad = tallies.count(arm.tally, latencyUs, desk.key, issue === undefined ? undefined : 'invalid')
    if (issue === undefined || isBad) arm.guard?.count(isBad)
  }
  const fill = (arm: LiveArm, { sheet, outputs }: Desk, latencyUs: number): PredictionRecord => {
    fillRecord(record, sheet, arm, outputs)
    record.atMs = Math.floor(clock.wall())
    record.latencyUs = latencyUs
    return record
  }
  const write: Steps['write'] = (protocol, arm, { sheet, outputs, began }) => {
    beginInk(ink)
    protocol.write(ink, answered(arm, sheet, outputs, ids.bytes, began >= lease.until))
    return ink
  }
  const mirror = (protocol: Protocol, body: Buffer, table: Table, arm: LiveArm, desk: Desk): void => {
    if (table.shadow === undefined || !isShadowed(table.shadow, desk.key)) return
    shadow.offer({
      arm: table.shadow.arm,
      read: protocol.read,
      body,
      routingKey: desk.key,
      idPrefix: ids.prefix(),
      served: arm.loaded,
      outputs: desk.outputs.slice(0, desk.sheet.rows * arm.loaded.format.width),
    })
  }
  return {
    failed,
    issueOf,
    write,
    countOnly: (arm, desk) => count(arm, desk, latencyOf(desk), issueOf(arm, desk)),
    recordOf: (arm, desk) => fill(arm, desk, latencyOf(desk)),
    run(arm, desk) {
      const { loaded } = arm
      const { rows, input } = desk.sheet
      const { predictor } = loaded
      if (desk.outputs.length < rows * predictor.outputs)
        desk.outputs = new Float32Array(rows * predictor.outputs)
      try {
        const running = predictor.run(input, rows, desk.outputs, desk.order)
        if (running === undefined && loaded.invalidShare > 0) spoil(loaded, desk.outputs)
        return running
      } catch (error) {
        // That there is no room is this replica's doing, and would be told of any model.
        if (isError(error, 'overloaded')) throw error
        throw failed(arm, desk, error)
      }
    },
    finish(protocol, request, table, arm, desk, isLogged) {
      const issue = issueOf(arm, desk)
      if (issue === undefined) write(protocol, arm, desk)
      const latencyUs = latencyOf(desk)
      count(arm, desk, latencyUs, issue)
      if (issue !== undefined)
        throw new DomainError('output_invalid', `${arm.loaded.version} gave no valid answer: ${issue}`, {
          version: arm.loaded.version,
          arm: arm.arm,
        })
      fill(arm, desk, latencyUs)
      if (!isLogged) log.append(arm.origin, record)
      bins.count(arm.loaded, record.atMs, desk.sheet, desk.outputs)
      if (request.version === undefined) mirror(protocol, request.body, table, arm, desk)
      return ink
    },
  }
}

const answered = (
  arm: LiveArm,
  sheet: Sheet,
  outputs: Float32Array,
  id: Uint8Array,
  stale: boolean,
): Answered => ({ arm, sheet, outputs, id, stale })

const emptyRecord = (ids: Ids): PredictionRecord => ({
  id: ids.bytes,
  atMs: 0,
  routingKey: undefined,
  instances: 0,
  numbers: ids.bytes,
  numberBytes: 0,
  texts: ids.bytes,
  textBytes: 0,
  outputs: new Float32Array(0),
  outputCount: 0,
  latencyUs: 0,
})

function fillRecord(
  record: PredictionRecord,
  sheet: Sheet,
  { loaded }: LiveArm,
  outputs: Float32Array,
): void {
  record.routingKey = sheet.routingKey
  record.instances = sheet.rows
  record.numbers = sheet.numberBytes
  record.numberBytes = sheet.rows * loaded.columns.numbers * 4
  record.texts = sheet.texts
  record.textBytes = sheet.textBytes
  record.outputs = outputs
  record.outputCount = sheet.rows * loaded.format.width
}
