/**
 * The path of a prediction, from the bytes of the request to the text of the answer, in one turn of the event loop: it waits
 * for nothing, so no other server can make it slow, and no route can change while it is under way.
 */
import { DomainError } from '../../domain/errors.ts'
import type { PredictionRecord } from '../../store/predictions.ts'
import type { Bins } from './bins.ts'
import type { Clock } from './clock.ts'
import type { Ids } from './identity.ts'
import type { PredictionLog } from './log.ts'
import { parsePredict, type PredictRequest } from './request.ts'
import type { Lease, Routing } from './routing.ts'
import type { Shadow } from './shadow.ts'
import { armOf, isShadowed, type LiveArm, type Table } from './table.ts'
import type { Tallies } from './tally.ts'
import { spoil } from './version.ts'

export interface PredictDeps {
  bins: Bins
  clock: Clock
  ids: Ids
  lease: Lease
  log: PredictionLog
  routing: Routing
  shadow: Shadow
  tallies: Tallies
  /** Most instances in one request. */
  mostInstances: number
}

/** Answers a request to a model. Throws the DomainError that the caller is to see. */
export type Predict = (model: string, body: Buffer) => string

export function createPredict(deps: PredictDeps): Predict {
  const { bins, clock, ids, lease, log, routing, shadow, tallies } = deps
  let input = new Float32Array(4_096)
  let outputs = new Float32Array(4_096)
  const record: PredictionRecord = {
    id: ids.bytes,
    atMs: 0,
    routingKey: undefined,
    instances: 0,
    body: ids.bytes,
    outputs,
    outputCount: 0,
    latencyUs: 0,
  }

  const read = ({ loaded }: LiveArm, { instances }: PredictRequest): void => {
    const { predictor } = loaded
    const rows = instances.length
    if (input.length < rows * predictor.inputs) input = new Float32Array(rows * predictor.inputs)
    if (outputs.length < rows * predictor.outputs) outputs = new Float32Array(rows * predictor.outputs)
    for (let i = 0; i < rows; i++) loaded.read(instances[i], i, input, i * predictor.inputs)
  }
  /** Whatever goes wrong in here is the model's doing, not the caller's. */
  const run = ({ loaded, arm, tally, guard }: LiveArm, rows: number, key: string, began: number): void => {
    try {
      loaded.predictor.run(input, rows, outputs)
      if (loaded.invalidShare > 0) spoil(loaded, outputs)
    } catch (error) {
      const latencyUs = Math.round((clock.now() - began) * 1_000)
      if (tallies.count(tally, latencyUs, key, 'errors')) guard?.count(true)
      throw new DomainError('internal', `${loaded.version} failed: ${(error as Error).message}`, { arm })
    }
  }
  const mirror = (
    table: Table,
    arm: LiveArm,
    request: PredictRequest,
    key: string,
    idPrefix: string,
  ): void => {
    if (table.shadow === undefined || !isShadowed(table.shadow, key)) return
    const { instances } = request
    const answered = outputs.slice(0, instances.length * arm.loaded.format.width)
    shadow.offer({
      arm: table.shadow.arm,
      instances,
      routingKey: key,
      idPrefix,
      served: arm.loaded,
      outputs: answered,
    })
  }

  return (model, body) => {
    const began = clock.now()
    const live = routing.find(model)
    if (live === undefined) throw nobodyAnswers(routing, model)
    const request = parsePredict(body, deps.mostInstances)
    const idPrefix = ids.next()
    const key = request.routingKey ?? idPrefix
    const table = routing.tableOf(live, began)
    const arm = armOf(table, key)
    const { format } = arm.loaded
    const rows = request.instances.length
    read(arm, request)
    run(arm, rows, key, began)

    let issue: string | undefined
    let text = arm.head
    for (let row = 0; row < rows && issue === undefined; row++) {
      issue = format.issueOf(outputs, row)
      text += row === 0 ? format.text(outputs, row, idPrefix) : `,${format.text(outputs, row, idPrefix)}`
    }
    const latencyUs = Math.round((clock.now() - began) * 1_000)
    const isBad = tallies.count(arm.tally, latencyUs, key, issue === undefined ? undefined : 'invalid')
    if (issue === undefined || isBad) arm.guard?.count(isBad)
    if (issue !== undefined)
      throw new DomainError('output_invalid', `${arm.loaded.version} gave no valid answer: ${issue}`, {
        version: arm.loaded.version,
        arm: arm.arm,
      })

    record.atMs = Math.floor(clock.wall())
    record.routingKey = request.routingKey
    record.instances = rows
    record.body = body
    record.outputs = outputs
    record.outputCount = rows * format.width
    record.latencyUs = latencyUs
    log.append(arm.origin, record)
    bins.count(arm.loaded, record.atMs, request.instances, outputs)
    mirror(table, arm, request, key, idPrefix)
    return text + (began >= lease.until ? '],"stale":true}' : ']}')
  }
}

function nobodyAnswers(routing: Routing, model: string): DomainError {
  const problem = routing.problems().get(model)
  if (problem !== undefined)
    return new DomainError('not_ready', `no version of ${model} can be served here: ${problem.text}`)
  if (!routing.isFilled()) return new DomainError('not_ready', 'this replica has not read its routes yet')
  if (routing.isKnown(model)) return new DomainError('no_champion', `the model ${model} has no champion yet`)
  return new DomainError('model_not_found', `there is no model ${JSON.stringify(model.slice(0, 80))}`)
}
