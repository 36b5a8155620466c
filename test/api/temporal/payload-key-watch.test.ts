/** Tests that a replica detects that its payload keys differ from the workers', and that they match again. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { watchPayloadKeys } from '../../../api/watches.ts'
import { keepHeartbeat } from '../../../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../../../store/postgres.ts'
import { marksOf, payloadKeyIssue } from '../../../workflows/client/payload-keys.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 2, onError: () => {} })
})
afterAll(() => store.close())

const key = (id: string, secret = id) => ({ id, secret: Buffer.alloc(32, secret) })
const [a, b] = [key('a'), key('b')]

it('two processes match as long as each decrypts with a key of its ring what the other encrypts', () => {
  const issueOf = (own: (typeof a)[], other: (typeof a)[]) =>
    payloadKeyIssue(marksOf(own), { process: 'the worker h/1', keys: marksOf(other) })
  expect([issueOf([], []), issueOf([a], [a]), issueOf([b, a], [a, b])]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
  const lost =
    'the worker h/1 encrypts with the payload key "a", and it is missing in TENURE_PAYLOAD_KEYS of this process'
  expect([issueOf([], [a]), issueOf([b], [a])]).toEqual([lost, lost])
  expect(issueOf([key('a', 'other')], [a])).toBe(
    'the worker h/1 encrypts with the payload key "a", and another key has this id in TENURE_PAYLOAD_KEYS of this process',
  )
  const unknown =
    'this process encrypts with the payload key "b", and it is missing in TENURE_PAYLOAD_KEYS of the worker h/1'
  expect([issueOf([b], []), issueOf([b, a], [a])]).toEqual([unknown, unknown])
  expect(JSON.stringify(marksOf([a]))).not.toContain(a.secret.toString('hex').slice(0, 8))
})

it('a difference is logged once and reported until the workers have the key, and no silent or ended worker counts', async () => {
  const lines: [string, string][] = []
  const say = (level: string) => (_fields: object, message: string) => void lines.push([level, message])
  const log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
  const beat = (payloadKeys: ReturnType<typeof marksOf>) =>
    keepHeartbeat(
      store,
      { kind: 'control', process: 'here/1', queue: 'tenure-control', payloadKeys },
      () => {},
    )
  const stopOf = (process: string, value: object, age: string) =>
    store.query(sql`
      insert into service_state (name, value, at)
      values (${`worker/train/${process}`}, ${JSON.stringify({ kind: 'train', process, ...value })}, now() - ${age}::interval)`)
  await stopOf('here/2', { payloadKeys: marksOf([b]), ended: true }, '1 second')
  await stopOf('here/3', { payloadKeys: marksOf([b]) }, '5 minutes')
  const watch = watchPayloadKeys({ store, log, keys: [a] }, () => {}, { everyMs: 20 })
  const wrong = beat(marksOf([b]))
  await expect.poll(watch.issue).toContain('the worker here/1 encrypts with the payload key "b"')
  await wrong.stop()
  const right = beat(marksOf([b, a]))
  await expect.poll(watch.issue).toContain('the worker here/1 encrypts with the payload key "b"')
  await right.stop()
  const same = beat(marksOf([a, b]))
  await expect.poll(watch.issue).toBeUndefined()
  await same.stop()
  await watch.stop()
  const levels = lines.map(([level]) => level)
  expect(levels.slice(0, 2)).toEqual(['error', 'info'])
  expect(lines[0]![1]).toMatch(/predictions go on, commands to workflows fail/)
})
