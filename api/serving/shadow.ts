/**
 * Shows the candidate what callers ask, without their knowledge: copies of requests wait in a bounded queue and are answered
 * when the process has nothing else to do. A slow or broken candidate can cost copies, which are counted, never an answer.
 */
import { DomainError } from '../../domain/errors.ts'
import type { Pair } from '../../store/pairs.ts'
import { placeText } from './identity.ts'
import { createSheet } from './sheet.ts'
import { spoil, type LoadedVersion, type ReadRequest } from './version.ts'
import type { ArmTally, Tallies } from './tally.ts'

/** The candidate of a route, as it is shown requests. */
export interface ShadowArm {
  loaded: LoadedVersion
  tally: ArmTally
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

const mostWaiting = 1_000
const mostPairs = 5_000
/** How long one turn may keep the process from answering callers. */
const turnMs = 1

export function createShadow(tallies: Tallies): Shadow {
  const queue: ShadowRequest[] = []
  const pairs: Pair[] = []
  let scheduled = false
  const counts = { answered: 0, dropped: 0, droppedPairs: 0 }
  const sheet = createSheet()

  const turn = (): void => {
    scheduled = false
    const until = performance.now() + turnMs
    while (queue.length > 0 && performance.now() < until) answer(queue.shift()!)
    schedule()
  }
  const schedule = (): void => {
    if (scheduled || queue.length === 0) return
    scheduled = true
    setImmediate(turn)
  }
  const answer = (request: ShadowRequest): void => {
    const { arm, read, body, routingKey } = request
    const { loaded } = arm
    const { predictor, format } = loaded
    const began = performance.now()
    let outputs = new Float32Array(0)
    let bad: 'errors' | 'invalid' | undefined
    try {
      read(loaded, body, sheet)
      outputs = new Float32Array(sheet.rows * predictor.outputs)
      predictor.run(sheet.input, sheet.rows, outputs)
      if (loaded.invalidShare > 0) spoil(loaded, outputs)
      for (let i = 0; i < sheet.rows && bad === undefined; i++)
        if (format.issueOf(outputs, i) !== undefined) bad = 'invalid'
    } catch (error) {
      // The candidate cannot read what callers send to the champion: they would all be refused.
      bad = error instanceof DomainError ? 'invalid' : 'errors'
    }
    counts.answered++
    tallies.count(arm.tally, Math.round((performance.now() - began) * 1_000), routingKey, bad)
    if (bad === undefined) compare(request, outputs, sheet.rows)
  }
  const compare = (
    { arm, served, outputs, idPrefix }: ShadowRequest,
    shadow: Float32Array,
    rows: number,
  ): void => {
    const { release, loaded } = arm
    if (release === undefined || served.format.width !== loaded.format.width) return
    for (let i = 0; i < rows; i++) {
      if (pairs.length >= mostPairs) {
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
      if (queue.length >= mostWaiting) {
        counts.dropped++
        return
      }
      queue.push(request)
      schedule()
    },
    discard(model) {
      const kept = queue.filter(({ arm }) => arm.loaded.model !== model)
      counts.dropped += queue.length - kept.length
      queue.splice(0, queue.length, ...kept)
    },
  }
}
