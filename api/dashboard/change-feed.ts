/**
 * Streams changes to pages as server-sent events. One look serves all streams of a replica that follow the same, and any replica can serve
 * any of them. A stream ends after some minutes, so that a revoked key loses it, and when the replica drains. Browsers then reconnect on
 * their own, with the id of the last event: it tells what they show.
 */
import { DomainError } from '../../domain/errors.ts'
import { listReleaseMarks } from '../../store/dashboard/release-detail.ts'
import type { Database } from '../../store/postgres.ts'
import type { ApiDeps } from '../deps.ts'

export interface ChangeFeedLimits {
  maxStreams: number
  /** How often what is followed is read, in milliseconds. */
  everyMs: number
  /** After this many milliseconds without a change, a comment shows that the connection is open. */
  quietMs: number
  maxAgeMs: number
}

export const changeFeedLimits: ChangeFeedLimits = {
  maxStreams: 256,
  everyMs: 1_000,
  quietMs: 15_000,
  maxAgeMs: 300_000,
}

export interface ChangeFeed {
  /** Opens a stream. Throws `overloaded` above the limit of streams. `seen` is the id of the last event that the browser has received. */
  open(subject: string, seen: string | undefined): ReadableStream<Uint8Array<ArrayBuffer>>
}

export interface FeedEvent {
  id: string
  event: string
  /** Without a line break. */
  data: string
}

/** Returns the event for a browser that has seen this; undefined when it shows the newest. */
type EventFor = (seen: string | undefined) => FeedEvent | undefined

export interface Followed extends Pick<ApiDeps, 'stopping'> {
  /** Reads these subjects. One that is gone is absent. */
  look(subjects: readonly string[]): Promise<ReadonlyMap<string, EventFor>>
}

/** An event without data for each change of a release. */
export const lookAtReleases =
  (database: Database): Followed['look'] =>
  async (releases) =>
    new Map(
      (await listReleaseMarks(database, releases)).map(({ id, mark }) => [
        id,
        (seen) => (seen === mark ? undefined : { id: mark, event: 'changed', data: '' }),
      ]),
    )

interface Follower {
  subject: string
  seen: string | undefined
  openedMs: number
  sentMs: number
  send(text: string): void
  end(): void
}

/** After this many unread events, the client counts as disconnected. */
const maxUnread = 20
const retryMs = 1_000

export function createChangeFeed(
  { look: read, stopping }: Followed,
  { maxStreams, everyMs, quietMs, maxAgeMs }: ChangeFeedLimits = changeFeedLimits,
): ChangeFeed {
  const followers = new Set<Follower>()
  let timer: NodeJS.Timeout | undefined
  const endAll = () => {
    for (const each of followers) each.end()
  }

  async function look(): Promise<void> {
    if (stopping() !== undefined) return endAll()
    const events = await read([...new Set([...followers].map(({ subject }) => subject))])
    const nowMs = performance.now()
    for (const each of followers) {
      const news = events.get(each.subject)?.(each.seen)
      if (news !== undefined) {
        each.seen = news.id
        each.send(`id: ${news.id}\nevent: ${news.event}\ndata:${news.data && ` ${news.data}`}\n\n`)
      } else if (nowMs - each.sentMs >= quietMs) each.send(':\n\n')
      if (nowMs - each.openedMs >= maxAgeMs) each.end()
    }
  }

  const lookAgain = (): void => {
    timer = setTimeout(() => {
      // Ends the streams while Postgres is unavailable. The pages then poll, and show that they are out of date.
      look()
        .catch(endAll)
        .finally(() => (followers.size > 0 ? lookAgain() : (timer = undefined)))
    }, everyMs).unref()
  }

  return {
    open(subject, seen) {
      if (followers.size >= maxStreams)
        throw new DomainError('overloaded', `${maxStreams} pages follow changes on this replica already`)
      const text = new TextEncoder()
      let follower: Follower | undefined
      return new ReadableStream<Uint8Array<ArrayBuffer>>(
        {
          // Starts with the first read, because the body of a HEAD request is never read.
          pull(controller) {
            if (follower !== undefined) return
            const nowMs = performance.now()
            const added: Follower = {
              subject,
              seen,
              openedMs: nowMs,
              sentMs: nowMs,
              send(event) {
                if ((controller.desiredSize ?? 0) < -maxUnread) return added.end()
                added.sentMs = performance.now()
                controller.enqueue(text.encode(event))
              },
              end() {
                if (followers.delete(added)) controller.close()
              },
            }
            follower = added
            followers.add(added)
            added.send(`retry: ${retryMs}\n\n`)
            if (timer === undefined) lookAgain()
          },
          cancel() {
            if (follower !== undefined) followers.delete(follower)
          },
        },
        { highWaterMark: 0 },
      )
    },
  }
}
