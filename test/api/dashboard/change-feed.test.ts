/** Tests the event stream that notifies pages of the changes of a release. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import {
  changeFeedLimits,
  createChangeFeed,
  lookAtReleases,
  type ChangeFeedLimits,
} from '../../../api/dashboard/change-feed.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { ownServers } from '../../support/servers/servers.ts'
import { openDashboard, type DashboardFixture } from '../../support/dashboard/dashboard-fixture.ts'

let dashboard: DashboardFixture
let release: string
beforeAll(async () => {
  const servers = await ownServers()
  dashboard = await openDashboard(servers, { model: 'followed-trains' })
  release = await dashboard.release(dashboard.candidate)
})
afterAll(async () => {
  await dashboard?.close()
})

const quick: ChangeFeedLimits = { ...changeFeedLimits, everyMs: 20 }
const feedOf = (
  limits: Partial<ChangeFeedLimits> = {},
  stopping: () => string | undefined = () => undefined,
) => createChangeFeed({ look: lookAtReleases(dashboard.core.store), stopping }, { ...quick, ...limits })
const touch = () =>
  dashboard.core.store.query(sql`update releases set updated_at = clock_timestamp() where id = ${release}`)

/** Reads a stream event by event. Returns undefined at its end. */
function eventsOf(stream: ReadableStream<Uint8Array>) {
  const reader = stream.getReader()
  let text = ''
  return {
    async next(): Promise<string | undefined> {
      while (!text.includes('\n\n')) {
        const { done, value } = await reader.read()
        if (done) return undefined
        text += new TextDecoder().decode(value)
      }
      const [first = '', ...rest] = text.split('\n\n')
      text = rest.join('\n\n')
      return first
    },
    end: () => reader.cancel(),
  }
}
const idOf = (event: string | undefined) => /^id: (\S+)$/m.exec(event ?? '')?.[1]

describe('the stream of a release', () => {
  it('has an event for each change, and none for what the browser has seen on another replica', async () => {
    const one = eventsOf(feedOf().open(release, undefined))
    expect(await one.next()).toBe('retry: 1000')
    const first = await one.next()
    expect(first).toMatch(/^id: \S+\nevent: changed\ndata:$/)
    const other = eventsOf(feedOf().open(release, idOf(first)))
    await other.next()
    await touch()
    const [second, same] = [await one.next(), await other.next()]
    expect(idOf(second)).not.toBe(idOf(first))
    expect(same).toBe(second)
    await Promise.all([one.end(), other.end()])
  })

  it('sends signs of life while nothing changes, and ends after its maximum duration', async () => {
    const quiet = eventsOf(feedOf({ quietMs: 0, maxAgeMs: 1_000 }).open(release, undefined))
    const events: (string | undefined)[] = []
    do events.push(await quiet.next())
    while (events.at(-1) !== undefined)
    expect(events).toContain(':')
  })

  it('is refused beyond the limit of a replica, and another stream takes the place of a closed one', async () => {
    const feed = feedOf({ maxStreams: 1 })
    const one = eventsOf(feed.open(release, undefined))
    await one.next()
    expect(() => feed.open(release, undefined)).toThrow(expect.objectContaining({ code: 'overloaded' }))
    await one.end()
    const next = eventsOf(feed.open(release, undefined))
    expect(await next.next()).toBe('retry: 1000')
    await next.end()
  })

  it('ends for a client that reads nothing', async () => {
    const feed = feedOf({ quietMs: 0, everyMs: 1, maxStreams: 1 })
    const unread = feed.open(release, undefined).getReader()
    await unread.read()
    await expect
      .poll(() => {
        try {
          void feed.open(release, undefined)
          return true
        } catch {
          return false
        }
      })
      .toBe(true)
  })

  it('needs a key that may read the model', async () => {
    const { key } = await insertKey(dashboard.core.store, {
      name: 'other',
      role: 'viewer',
      models: ['another'],
    })
    const status = async (id: string, bearer?: string) => {
      const headers: Record<string, string> =
        bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
      const answer = await fetch(`${dashboard.url}/releases/${id}/changes`, { headers })
      await answer.body?.cancel()
      return answer.status
    }
    // The same response as for an unknown release, so that a key learns no ids.
    await expect.poll(() => status(release, key)).toBe(404)
    expect(await status(release)).toBe(401)
    expect(await status('rel_unknown', dashboard.keys.vera)).toBe(404)
    expect(await status(release, dashboard.keys.vera)).toBe(200)
  })

  it('ends when its replica drains, which does not wait for it', async () => {
    const headers = { authorization: `Bearer ${dashboard.keys.vera}` }
    const answer = await fetch(`${dashboard.url}/releases/${release}/changes`, { headers })
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    expect(answer.headers.get('content-encoding')).toBeNull()
    const events = eventsOf(answer.body!)
    expect(await events.next()).toBe('retry: 1000')
    const stopped = dashboard.server.stop('drained')
    // A connection that the drain had to wait for would be cut, and reading it would fail.
    while ((await events.next()) !== undefined);
    await stopped
  })
})
