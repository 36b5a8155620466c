/** Tests writes whose response is lost on the way, so that the store has carried them out when they are sent again. */
import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { openTestStore, sharedMoto } from '../../support/objects/moto-server.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'

const moto = await sharedMoto()
afterAll(() => moto?.stop())

/** The smallest part that S3 accepts. */
const partBytes = 5 * 1_048_576

/** Opens a bucket, directly and through a link that loses the response to a request with this text. */
async function lossy(text: RegExp) {
  const settings = await moto!.bucket()
  const link = await openCuttableLink(settings.endpoint, { loses: { text, what: 'answer' } })
  const endpoint = link.url.replace(/\/$/, '')
  const store = openTestStore({ ...settings, endpoint }, { partBytes })
  return { store, direct: openTestStore(settings, { partBytes }), close: () => link.close() }
}

const writes = [
  { what: 'of one request', bytes: 40, text: /^PUT / },
  { what: 'in parts', bytes: 2 * partBytes + 40, text: /POST [^ ]+uploadId=/ },
]

describe.skipIf(moto === undefined).each(writes)('a conditional write $what', ({ bytes, text }) => {
  it('has written the object when its first response is lost', async () => {
    const { store, direct, close } = await lossy(text)
    const body = randomBytes(bytes)
    expect(await store.put('key', body, { ifAbsent: true })).toBe(true)
    expect(body.equals((await direct.get('key'))!)).toBe(true)
    // The object was there before this write, although it is equal.
    expect(await store.put('key', body, { ifAbsent: true })).toBe(false)
    await close()
  })

  it.each([
    ['of the same size', (body: Buffer) => Buffer.from(body).fill('x', 0, 8)],
    ['of another size', (body: Buffer) => body.subarray(8)],
  ])('leaves another object %s when its first response is lost', async (_size, otherOf) => {
    const { store, direct, close } = await lossy(text)
    const body = randomBytes(bytes)
    const other = otherOf(body)
    await direct.put('key', other)
    expect(await store.put('key', body, { ifAbsent: true })).toBe(false)
    expect(other.equals((await direct.get('key'))!)).toBe(true)
    await close()
  })
})
