/**
 * Streams the changes of releases to pages as server-sent events. One statement per second serves all streams of a replica, and any replica
 * can serve any release. A stream ends after some minutes, so that a revoked key loses it, and when the replica drains. Browsers then
 * reconnect on their own.
 */
import { DomainError } from '../../domain/errors.ts'
import { listReleaseMarks } from '../../store/dashboard/release-detail.ts'
import type { ApiDeps } from '../deps.ts'

export interface ChangeFeedLimits {
  maxStreams: number
  /** How often the releases are read, in milliseconds. */
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
  /** Opens a stream. Throws `overloaded` above the limit of streams. `last` is the id of the last event that the browser has received. */
  open(release: string, last: string | undefined): ReadableStream<Uint8Array<ArrayBuffer>>
}

interface Follower {
  release: string
  mark: string | undefined
  openedMs: number
  sentMs: number
  send(text: string): void
  end(): void
}

/** After this many unread events, the client counts as disconnected. */
const maxUnread = 20
const retryMs = 1_000

export function createChangeFeed(
  { store, stopping }: Pick<ApiDeps, 'store' | 'stopping'>,
  { maxStreams, everyMs, quietMs, maxAgeMs }: ChangeFeedLimits = changeFeedLimits,
): ChangeFeed {
  const followers = new Set<Follower>()
  let timer: NodeJS.Timeout | undefined
  const endAll = () => {
    for (const each of followers) each.end()
  }

  async function look(): Promise<void> {
    if (stopping() !== undefined) return endAll()
    const marks = await listReleaseMarks(store, [...new Set([...followers].map(({ release }) => release))])
    const markOf = new Map(marks.map(({ id, mark }) => [id, mark]))
    const nowMs = performance.now()
    for (const each of followers) {
      const mark = markOf.get(each.release)
      if (mark !== undefined && mark !== each.mark) {
        each.mark = mark
        each.send(`id: ${mark}\nevent: changed\ndata:\n\n`)
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
    open(release, last) {
      if (followers.size >= maxStreams)
        throw new DomainError('overloaded', `${maxStreams} pages follow releases on this replica already`)
      const text = new TextEncoder()
      let follower: Follower | undefined
      return new ReadableStream<Uint8Array<ArrayBuffer>>(
        {
          // Starts with the first read, because the body of a HEAD request is never read.
          pull(controller) {
            if (follower !== undefined) return
            const nowMs = performance.now()
            const added: Follower = {
              release,
              mark: last,
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
