/**
 * The path of a prediction, from the bytes of the request to the bytes of the answer, in one turn of the event loop: it waits
 * for nothing, so no other server can make it slow, and no route can change while it is under way.
 */
import { DomainError } from '../../domain/errors.ts'
import type { PredictionRecord } from '../../store/predictions.ts'
import type { Bins } from './bins.ts'
import type { Clock } from './clock.ts'
import type { Ids } from './identity.ts'
import { beginInk, createInk, type Ink } from './ink.ts'
import type { PredictionLog } from './log.ts'
import type { Answered, Protocol } from './protocol.ts'
import type { Lease, Routing } from './routing.ts'
import type { Shadow } from './shadow.ts'
import { createSheet, type Sheet } from './sheet.ts'
import { armOf, isShadowed, type LiveArm, type LiveModel, type Table } from './table.ts'
import type { Tallies } from './tally.ts'
import { spoil } from './version.ts'

export interface AnswerDeps {
  bins: Bins
  clock: Clock
  ids: Ids
  lease: Lease
  log: PredictionLog
  routing: Routing
  shadow: Shadow
  tallies: Tallies
}

export interface Request {
  model: string
  /** The version that alone may answer; whichever the route chooses when absent. */
  version?: string | undefined
  body: Buffer
}

/** Answers a request; what it wrote stands until the next call. Throws the DomainError that the caller is to see. */
export type Answer = (protocol: Protocol, request: Request) => Ink

export function createAnswer(deps: AnswerDeps): Answer {
  const { bins, clock, ids, lease, log, routing, shadow, tallies } = deps
  const sheet = createSheet()
  const ink = createInk()
  let outputs = new Float32Array(4_096)
  const record = emptyRecord(ids, outputs)

  /** The arm that answers, with the sheet filled for it. */
  const read = (protocol: Protocol, table: Table, live: LiveModel, request: Request): LiveArm => {
    if (request.version !== undefined) {
      const arm = pinnedArm(table, live, request.version)
      protocol.read(arm.loaded, request.body, sheet)
      return arm
    }
    // Who answers is known when the routing key is: until then the likeliest is taken for granted.
    const guess = table.likeliest
    protocol.read(guess.loaded, request.body, sheet)
    if (table.arms.length === 1) return guess
    const arm = armOf(table, sheet.routingKey ?? ids.prefix())
    if (arm.loaded !== guess.loaded) protocol.read(arm.loaded, request.body, sheet)
    return arm
  }
  /** Whatever goes wrong in here is the model's doing, not the caller's. */
  const run = ({ loaded, arm, tally, guard }: LiveArm, key: string, began: number): void => {
    const { rows } = sheet
    if (outputs.length < rows * loaded.predictor.outputs)
      outputs = new Float32Array(rows * loaded.predictor.outputs)
    try {
      loaded.predictor.run(sheet.input, rows, outputs)
      if (loaded.invalidShare > 0) spoil(loaded, outputs)
    } catch (error) {
      const latencyUs = Math.round((clock.now() - began) * 1_000)
      if (tallies.count(tally, latencyUs, key, 'errors')) guard?.count(true)
      throw new DomainError('internal', `${loaded.version} failed: ${(error as Error).message}`, { arm })
    }
  }
  const issueOf = ({ loaded: { format } }: LiveArm): string | undefined => {
    for (let row = 0; row < sheet.rows; row++) {
      const issue = format.issueOf(outputs, row)
      if (issue !== undefined) return issue
    }
    return undefined
  }
  const mirror = (protocol: Protocol, table: Table, arm: LiveArm, body: Buffer, key: string): void => {
    if (table.shadow === undefined || !isShadowed(table.shadow, key)) return
    shadow.offer({
      arm: table.shadow.arm,
      read: protocol.read,
      body,
      routingKey: key,
      idPrefix: ids.prefix(),
      served: arm.loaded,
      outputs: outputs.slice(0, sheet.rows * arm.loaded.format.width),
    })
  }

  return (protocol, request) => {
    const began = clock.now()
    const live = routing.find(request.model)
    if (live === undefined) throw nobodyAnswers(routing, request.model)
    const table = routing.tableOf(live, began)
    ids.next()
    const arm = read(protocol, table, live, request)
    // Only where somebody counts or chooses by it; the text of an id costs more than the id.
    const isNamed = arm.tally.release !== undefined || table.shadow !== undefined
    const key = sheet.routingKey ?? (isNamed ? ids.prefix() : '')
    run(arm, key, began)

    const issue = issueOf(arm)
    if (issue === undefined) {
      beginInk(ink)
      protocol.write(ink, answered(arm, sheet, outputs, ids.bytes, began >= lease.until))
    }
    const latencyUs = Math.round((clock.now() - began) * 1_000)
    const isBad = tallies.count(arm.tally, latencyUs, key, issue === undefined ? undefined : 'invalid')
    if (issue === undefined || isBad) arm.guard?.count(isBad)
    if (issue !== undefined)
      throw new DomainError('output_invalid', `${arm.loaded.version} gave no valid answer: ${issue}`, {
        version: arm.loaded.version,
        arm: arm.arm,
      })

    fillRecord(record, sheet, arm, outputs)
    record.atMs = Math.floor(clock.wall())
    record.latencyUs = latencyUs
    log.append(arm.origin, record)
    bins.count(arm.loaded, record.atMs, sheet, outputs)
    if (request.version === undefined) mirror(protocol, table, arm, request.body, key)
    return ink
  }
}

const answered = (
  arm: LiveArm,
  sheet: Sheet,
  outputs: Float32Array,
  id: Uint8Array,
  stale: boolean,
): Answered => ({ arm, sheet, outputs, id, stale })

const emptyRecord = (ids: Ids, outputs: Float32Array): PredictionRecord => ({
  id: ids.bytes,
  atMs: 0,
  routingKey: undefined,
  instances: 0,
  numbers: ids.bytes,
  numberBytes: 0,
  texts: ids.bytes,
  textBytes: 0,
  outputs,
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

/** A version that is asked for by name. A candidate cannot be: its callers are drawn, or the comparison means nothing. */
export function pinnedArm({ pinned }: Table, { route }: LiveModel, version: string): LiveArm {
  const arm = pinned.get(version)
  if (arm !== undefined) return arm
  const isCandidate =
    route.shadow?.version === version ||
    route.arms.some((each) => each.arm === 'canary' && each.version === version)
  const named = JSON.stringify(version.slice(0, 80))
  throw new DomainError(
    'version_not_found',
    isCandidate
      ? `${named} is the candidate of a release: the route draws who is answered by it, so it cannot be asked for`
      : `${named} does not answer for ${route.model} now; ${[...pinned.keys()].join(' and ')} can be asked for`,
  )
}

/** Why nobody answers for a model that has no route here. */
export function nobodyAnswers(routing: Routing, model: string): DomainError {
  const problem = routing.problems().get(model)
  if (problem !== undefined)
    return new DomainError('not_ready', `no version of ${model} can be served here: ${problem.text}`)
  if (!routing.isFilled()) return new DomainError('not_ready', 'this replica has not read its routes yet')
  if (routing.isKnown(model)) return new DomainError('no_champion', `the model ${model} has no champion yet`)
  return new DomainError('model_not_found', `there is no model ${JSON.stringify(model.slice(0, 80))}`)
}
