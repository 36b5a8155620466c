/** Tests the streams file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requireNewNode } from '../../../api/streams/node-version.ts'
import { readStreamSettings } from '../../../api/streams/settings.ts'
import { createAuthority } from '../../support/signing/certificates.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tenure-streams-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const key = `tnr_${'0'.repeat(12)}_${'a'.repeat(32)}`
const good = {
  kafka: { brokers: ['kafka-1:9092'] },
  key,
  predictions: [{ model: 'iris', from: 'flowers', to: 'kinds' }],
}
const read = (content: unknown) => {
  const file = join(directory, 'streams.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return readStreamSettings(file)
}
const issueOf = (content: unknown) =>
  read(content).then(
    () => 'none',
    (error: { code: string; message: string }) => `${error.code} ${error.message.replace(/^.*?json: /, '')}`,
  )

describe('the streams file', () => {
  it('has defaults', async () => {
    expect(await read(good)).toEqual({
      ...good,
      kafka: { ...good.kafka, sessionMs: 10_000 },
      outcomes: [],
      events: [],
      out: {},
    })
  })

  it('is refused with every issue, and without its contents', async () => {
    expect(
      await issueOf({ ...good, kafka: { brokers: ['kafka'] }, topics: 1, predictions: [{ model: 'iris' }] }),
    ).toBe(
      'configuration_invalid kafka.brokers.0: is a host and a port, such as kafka-1:9092; ' +
        'predictions.0.from: is missing; predictions.0.to: is missing; has the unknown field "topics"',
    )
    const broken = await issueOf(`{"key":"${key}",`)
    expect(broken).toBe('configuration_invalid is not JSON')
    expect(await issueOf({ ...good, key: 'secret' })).toBe(
      'configuration_invalid key: is an API key, as `tenure keys create` shows it',
    )
    const nats = { servers: ['nats-1:4222'] }
    expect(await issueOf({ ...good, nats })).toBe('configuration_invalid has either kafka or nats')
    const { kafka: _kafka, ...brokerless } = good
    expect(await issueOf(brokerless)).toBe('configuration_invalid has either kafka or nats')
    expect((await read({ ...brokerless, nats })).nats).toEqual({ ...nats, sessionMs: 10_000 })
    const { key: _key, ...keyless } = good
    expect(await issueOf(keyless)).toBe(
      'configuration_invalid predictions.0.key: is missing, and the file has none',
    )
    await expect(readStreamSettings(join(directory, 'absent'))).rejects.toMatchObject({
      code: 'configuration_invalid',
    })
  })

  it("is refused when two streams would take each other's records", async () => {
    const predictions = [...good.predictions, { model: 'iris', from: 'flowers', to: 'copies' }]
    expect(await issueOf({ ...good, predictions })).toBe(
      'configuration_invalid flowers is read by two streams; give each a group',
    )
  })

  it('is refused when a stream would read its own answers or dead letters', async () => {
    const [stream] = good.predictions
    expect(
      await issueOf({
        ...good,
        predictions: [{ ...stream, to: 'flowers' }],
        outcomes: [{ from: 'labels', dead: 'labels' }],
      }),
    ).toBe(
      'configuration_invalid predictions.0.to: is the topic that is read: name another one; ' +
        'outcomes.0.dead: is the topic that is read: name another one',
    )
  })

  it('names the certificates of the connection, whose files are next to it', async () => {
    const authority = createAuthority(directory)
    const [one, other] = [authority.issue('one'), authority.issue('other')]
    const over = (tls: unknown) => ({ ...good, kafka: { ...good.kafka, tls } })
    const text = (file: string) => readFileSync(file, 'utf8')
    expect((await read(over({ ca: 'ca.pem', cert: 'one.pem', key: 'one.key' }))).kafka?.tls).toEqual({
      ca: text(authority.ca),
      cert: text(one.cert),
      key: text(one.key),
    })
    expect((await read(over(true))).kafka?.tls).toEqual({})
    for (const [tls, why] of [
      [{ cert: 'one.pem' }, 'kafka.tls: has cert and key together, or neither'],
      [{ ca: 'absent.pem' }, 'tls.ca: absent.pem: ENOENT'],
      [{ ca: 'one.key' }, 'tls.ca: one.key: '],
      [{ cert: 'one.pem', key: 'one.pem' }, 'tls.key: one.pem: '],
      [{ cert: one.cert, key: other.key }, 'does not belong to the first certificate'],
      ['yes', 'kafka.tls: is true, or an object with ca, cert and key'],
    ] as const)
      expect(await issueOf(over(tls))).toContain(why)
  })

  it('requires a version of Node.js on which the clients load', () => {
    for (const version of ['22.22.0', '24.6.0', '26.0.0']) expect(() => requireNewNode(version)).not.toThrow()
    for (const version of ['20.20.2', '22.21.1', '24.5.0'])
      expect(() => requireNewNode(version)).toThrow(`not ${version}`)
  })
})
