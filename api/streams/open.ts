/** Opens the streams of a process: one reader per stream, all on one broker. */
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../domain/errors.ts'
import { requireRole, type Actor } from '../auth/authentication.ts'
import type { ApiDeps } from '../deps.ts'
import { labellers, predictors } from '../http/route.ts'
import { streamCountOf } from './counts.ts'
import { createAnswering, type AnsweredBatch } from './predictions.ts'
import { readTopic } from './reader.ts'
import type { PredictionStream, StoredStream, StreamSettings } from './settings.ts'
import { releaseActions, startSending, startSendingAlerts } from './sending.ts'
import { startSendingPredictions } from './sending-predictions.ts'
import { createStoring, eventRecords, outcomeRecords, type RecordKind } from './storing.ts'
import type { Stream, StreamBatch } from './stream.ts'

export interface RunningStreams {
  /** Resolves when the records in progress are committed. */
  stop(): Promise<void>
}

export type StreamDeps = Pick<ApiDeps, 'authentication' | 'serving' | 'store' | 'subjects' | 'log'>

export interface StreamPlace {
  /** The name of this process among the members of its group; the same after a restart. */
  member: string
  /** The address of this installation, which sent events state as their source. */
  source: string
  onError(message: string, error: unknown): void
}

/** A stream with the handler of its records. */
interface Work {
  given: StoredStream
  group: string
  /** Throws when the key may not use the stream. */
  check(actor: Actor): void
  handle(batch: StreamBatch, actor: Actor, begun: () => void): Promise<AnsweredBatch | undefined>
}

const retryMs = 250

export function openStreams(
  { authentication, serving, store, subjects, log }: StreamDeps,
  { stream, settings }: { stream: Stream; settings: StreamSettings },
  { member, source, onError }: StreamPlace,
): RunningStreams {
  const ending = new AbortController()
  const stopping = ending.signal
  const optionsOf = (given: StoredStream, group: string) => ({
    group,
    dead: given.dead ?? `${given.from}.dead`,
    count: streamCountOf(given.from),
    stopping: () => stopping.aborted,
  })

  const answering = (given: PredictionStream): Work => {
    const { model, to, group = `tenure-${model}` } = given
    const answer = createAnswering({ serving, model, to, ...optionsOf(given, group) })
    return {
      given,
      group,
      check: (actor) => requireRole(actor, predictors, model),
      handle: (batch, { id }, begun) => answer(batch, id, begun),
    }
  }
  const storing = <T>(given: StoredStream, kind: RecordKind<T>, name: string): Work => {
    const group = given.group ?? `tenure-${name}`
    return { given, group, check: requireLabeller, handle: createStoring(kind, optionsOf(given, group)) }
  }
  /** Waits until the key may use the stream. A key may be created, or get another role, at any time. */
  const permitted = async ({ given, check }: Work, batch: StreamBatch): Promise<Actor | undefined> => {
    const count = streamCountOf(given.from)
    while (!stopping.aborted && !batch.isLost()) {
      try {
        const actor = authentication.actorOf(`Bearer ${given.key ?? settings.key}`)
        check(actor)
        count.waitsFor = undefined
        return actor
      } catch (error) {
        if (!isError(error)) throw error
        if (count.waitsFor !== error.code) log.warn({ topic: given.from, code: error.code }, error.message)
        count.waitsFor = error.code
        await pause(retryMs, undefined, { signal: stopping }).catch(() => undefined)
      }
    }
    return undefined
  }
  const read = (work: Work): Promise<void> => {
    const { from: topic } = work.given
    log.info({ topic, group: work.group }, 'reading a stream')
    return readTopic({
      stream,
      source: { topic, group: work.group, member },
      count: streamCountOf(topic),
      async handle(batch, begun) {
        const actor = await permitted(work, batch)
        return actor && work.handle(batch, actor, begun)
      },
      onError,
      stopping,
    })
  }
  const readers = [
    ...settings.predictions.map(answering),
    ...settings.outcomes.map((each) => storing(each, outcomeRecords(store, serving.wall), 'outcomes')),
    ...settings.events.map((each) =>
      storing(each, eventRecords({ store, subjects }, serving.wall), 'events'),
    ),
  ].map(read)
  const { audit, releases, alerts, predictions } = settings.out
  const sent = { store, stream, source, onError }
  const sending = [
    ...(audit === undefined ? [] : [startSending({ ...sent, topic: audit })]),
    ...(releases === undefined ? [] : [startSending({ ...sent, topic: releases, actions: releaseActions })]),
    ...(alerts === undefined ? [] : [startSendingAlerts({ ...sent, topic: alerts })]),
    ...(predictions === undefined ? [] : [startSendingPredictions({ ...sent, topic: predictions })]),
  ]
  return {
    async stop() {
      ending.abort()
      await Promise.all([...readers, ...sending.map((each) => each.stop())])
      await stream.close()
    },
  }
}

/**
 * Throws unless the key is a labeller's of all models. Other keys cannot store outcomes of predictions that are not in the log yet, and a
 * topic cannot report this to its sender.
 */
function requireLabeller(actor: Actor): void {
  requireRole(actor, labellers)
  if (actor.models !== undefined)
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is limited to some models; a stream of outcomes or events needs a labeller's key of all models`,
    )
}

/** Returns a name for this process that no process of another machine or project has. */
export const memberName = (...parts: string[]): string =>
  createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16)

/** Loads the client of the configured broker and connects. */
export async function openBroker({ kafka, nats }: StreamSettings): Promise<Stream> {
  if (kafka !== undefined) return (await import('./kafka.ts')).openKafka(kafka)
  return (await import('./nats.ts')).openNats(nats!)
}
