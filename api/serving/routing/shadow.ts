/**
 * Shows the candidate what callers ask, without their knowledge: copies of requests wait in a bounded queue and are answered
 * when the process has nothing else to do. A slow or broken candidate can cost copies, which are counted, never an answer.
 */
import { isError } from '../../../domain/errors.ts'
import type { Pair } from '../../../store/release/shadow-pairs.ts'
import { placeText } from '../prediction-ids.ts'
import type { RunTicket } from '../network/scalar-predictor.ts'
import { createInputBuffer } from '../codec/input-buffer.ts'
import { injectFault, type LoadedVersion, type ReadRequest } from '../version/loaded-version.ts'
import type { ArmCounters, CounterRegistry } from '../counters/arm-counters.ts'

/** The candidate of a route, as it is shown requests. */
export interface ShadowArm {
  loaded: LoadedVersion
  counters: ArmCounters
  release: string | undefined
}

/** One request and what the caller was answered. */
export interface ShadowRequest {
  arm: ShadowArm
  read: ReadRequest
  body: Buffer
  routingKey: string
  idPrefix: string
  served: LoadedVersion
  /** A copy. */
  outputs: Float32Array
}

export interface Shadow {
  /** Takes a request in, or counts it as dropped. */
  offer(request: ShadowRequest): void
  /** Pairs not yet stored. */
  readonly pairs: Pair[]
  counts(): { waiting: number; answered: number; dropped: number; droppedPairs: number }
  /** Drops what waits for a model, and counts it: its route is replaced, and the counts of the old one are closed. */
  discard(model: string): void
}

const maxPendingShadows = 1_000
/** Bytes of the bodies that wait: a thousand of the largest would be eight gigabytes. */
const maxBytes = 67_108_864
const noBody = Buffer.alloc(0)
const maxPairs = 5_000
/** Copies that are computed elsewhere at once; the others wait here, where they are counted. */
const maxElsewhere = 64
const background: RunTicket = { background: true, cancelled: false, begunMs: 0 }
/** How long one turn may keep the process from answering callers. */
const turnMs = 1

export function createShadow(counters: CounterRegistry): Shadow {
  const queue: ShadowRequest[] = []
  const pairs: Pair[] = []
  let scheduled = false
  const counts = { answered: 0, dropped: 0, droppedPairs: 0 }
  let input = createInputBuffer()
  let heldBytes = 0
  /** Copies that are computed elsewhere now. */
  let elsewhere = 0

  const turn = (): void => {
    scheduled = false
    const until = performance.now() + turnMs
    while (queue.length > 0 && elsewhere < maxElsewhere && performance.now() < until) {
      const request = queue.shift()!
      heldBytes -= request.body.byteLength
      answer(request)
    }
    schedule()
  }
  const schedule = (): void => {
    if (scheduled || queue.length === 0 || elsewhere >= maxElsewhere) return
    scheduled = true
    setImmediate(turn)
  }
  const answer = (request: ShadowRequest): void => {
    const { arm, read, body } = request
    const { loaded } = arm
    const { predictor } = loaded
    const began = performance.now()
    try {
      read(loaded, body, input)
    } catch (error) {
      // The candidate cannot read what callers send to the champion: they would all be refused.
      return settle(request, began, isError(error) ? 'invalid' : 'errors')
    }
    const { rows } = input
    const outputs = new Float32Array(rows * predictor.outputs)
    try {
      const order = { ...background }
      const running = predictor.run(input.input, rows, outputs, order)
      if (running === undefined) return judge(request, began, outputs, rows)
      // The numbers stay with the rows that are computed elsewhere; what is read next gets a sheet of its own.
      input = createInputBuffer()
      elsewhere++
      const kept = { ...request, body: noBody }
      void running
        .then(
          // It came behind all callers, which says nothing of how long it takes.
          () => judge(kept, order.begunMs, outputs, rows),
          () => settle(kept, began, 'errors'),
        )
        .finally(() => {
          elsewhere--
          schedule()
        })
    } catch {
      settle(request, began, 'errors')
    }
  }
  const judge = (request: ShadowRequest, began: number, outputs: Float32Array, rows: number): void => {
    const { loaded } = request.arm
    if (loaded.invalidShare > 0) injectFault(loaded, outputs)
    for (let i = 0; i < rows; i++)
      if (loaded.format.issueOf(outputs, i) !== undefined) return settle(request, began, 'invalid')
    settle(request, began, undefined)
    compare(request, outputs, rows)
  }
  const settle = ({ arm, routingKey }: ShadowRequest, began: number, bad?: 'errors' | 'invalid'): void => {
    counts.answered++
    counters.count(arm.counters, Math.round((performance.now() - began) * 1_000), routingKey, bad)
  }
  const compare = (
    { arm, served, outputs, idPrefix }: ShadowRequest,
    shadow: Float32Array,
    rows: number,
  ): void => {
    const { release, loaded } = arm
    if (release === undefined || served.format.width !== loaded.format.width) return
    for (let i = 0; i < rows; i++) {
      if (pairs.length >= maxPairs) {
        counts.droppedPairs++
        continue
      }
      pairs.push({
        model: loaded.model,
        release,
        predictionId: idPrefix + placeText(i),
        servedVersion: served.version,
        shadowVersion: loaded.version,
        served: served.format.answer(outputs, i),
        shadow: loaded.format.answer(shadow, i),
        difference: loaded.format.difference(outputs, shadow, i),
      })
    }
  }
  return {
    pairs,
    counts: () => ({ waiting: queue.length, ...counts }),
    offer(request) {
      const { byteLength } = request.body
      if (queue.length >= maxPendingShadows || heldBytes + byteLength > maxBytes) {
        counts.dropped++
        return
      }
      heldBytes += byteLength
      queue.push(request)
      schedule()
    },
    discard(model) {
      const kept = queue.filter(({ arm }) => arm.loaded.model !== model)
      counts.dropped += queue.length - kept.length
      queue.splice(0, queue.length, ...kept)
      heldBytes = kept.reduce((sum, { body }) => sum + body.byteLength, 0)
    },
  }
}
