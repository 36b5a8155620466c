/** Tests the reading of uploaded forms: their parts, and that other requests are answered while a large one is read. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readUpload, uploadNotes } from '../../../../api/routes/registry/artifact-upload.ts'
import { uploadLimits } from '../../../../api/services/registry/check-artifact.ts'
import { turnsDuring } from '../../../support/main-thread.ts'

const notes = uploadNotes(() => Date.parse('2026-06-01T00:00:00Z'))
const read = (bytes: Buffer, type: string) =>
  readUpload({ bytes, query: {}, header: (name) => (name === 'content-type' ? type : undefined) }, notes)

/** Returns the body of a form as fetch sends it. */
async function encoded(parts: Record<string, string | Buffer>) {
  const form = new FormData()
  for (const [name, value] of Object.entries(parts))
    if (typeof value === 'string') form.set(name, value)
    else form.set(name, new Blob([new Uint8Array(value)]), `${name} of "June"`)
  const request = new Response(form)
  return {
    bytes: Buffer.from(await request.arrayBuffer()),
    type: request.headers.get('content-type')!,
  }
}
/** Returns a form as text, with the boundary `B`. */
const written = (text: string) => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1')
const file = 'Content-Disposition: form-data; name="artifact"; filename="m"'
const typeOfB = 'multipart/form-data; boundary=B'

describe('a form', () => {
  it('of 64 MiB is read while other events run', async () => {
    const artifact = randomBytes(uploadLimits.artifactBytes)
    const columns = Buffer.from('[]')
    const { bytes, type } = await encoded({ note: 'first try', artifact, columns })
    let found: Awaited<ReturnType<typeof read>> | undefined
    const turns = await turnsDuring(async () => (found = await read(bytes, type)))
    expect(turns).toBeGreaterThan(60)
    expect(found!.artifact.equals(artifact)).toBe(true)
    expect(found).toMatchObject({ columns, note: 'first try' })
  })

  it('keeps the bytes of its files, also those that resemble its boundary', async () => {
    const artifact = Buffer.from(
      `--B\r\n-\r\n--\r\n\r\n--BB-\r\n${'\0\xff\r\n'.repeat(100_000)}--B--`,
      'latin1',
    )
    const body = Buffer.concat([written(`--A\n${file}\n\n`), artifact, written('\n--A--\n')])
    const { artifact: found } = await read(body, 'multipart/form-data; boundary="A"')
    expect(found.equals(artifact)).toBe(true)
  })

  it.each([
    ['without a boundary', 'x', 'multipart/form-data', /cannot be read/],
    ['of other content', 'x', typeOfB, /cannot be read/],
    ['that is cut off', `--B\n${file}\n\n${'x'.repeat(200_000)}`, typeOfB, /cannot be read/],
    ['with a part without a head', `--B\n${'x'.repeat(200_000)}\n--B--\n`, typeOfB, /cannot be read/],
    [
      'with a long text',
      `--B\nContent-Disposition: form-data; name="note"\n\n${'x'.repeat(200_000)}\n--B--\n`,
      typeOfB,
      /has more than 65536 bytes in the text "note"/,
    ],
    [
      'with many parts',
      `--B\n${file}\n\n\n`.repeat(20_000),
      typeOfB,
      /more than 1048576 bytes beside its files/,
    ],
  ])('%s is refused', async (_what, text, type, why) => {
    await expect(read(written(text), type)).rejects.toThrow(why)
  })
})
