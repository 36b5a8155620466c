/** Tests the log segments as objects, and which of them a restore needs. */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  decodeLogFile,
  encodeLogFile,
  gapIn,
  isRestorable,
  nextPosition,
} from '../../../../cli/backup/point-in-time/log-segment.ts'
import type { Signer } from '../../../../store/signing/signing-key.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const signer: Signer = {
  sign: (bytes) => sign(null, bytes, privateKey),
  verify: (bytes, signature) => verify(null, bytes, publicKey, signature),
  publicPem: '',
}
const file = { systemId: '7', name: '000000010000000000000003' }
const bytes = Buffer.alloc(1_000_000, 'row ')

describe('a file of the log as an object', () => {
  const decode = (object: Buffer, as = file) =>
    decodeLogFile(as, object, { verifier: signer, address: 's3://backups/log' })

  it('comes back as it was, and is small', async () => {
    const object = await encodeLogFile(file, bytes, signer)
    expect(object.byteLength).toBeLessThan(20_000)
    expect((await decode(object)).equals(bytes)).toBe(true)
  })

  it.each<[string, (object: Buffer) => Buffer, typeof file]>([
    [
      'changed',
      (object) => Buffer.concat([object.subarray(0, 80), Buffer.from([1]), object.subarray(81)]),
      file,
    ],
    ['cut off', (object) => object.subarray(0, -9), file],
    ['empty', () => Buffer.alloc(0), file],
    ['longer than it was', (object) => Buffer.concat([object, Buffer.alloc(9)]), file],
    ['that of another name', (object) => object, { ...file, name: '000000010000000000000004' }],
    ['that of another database', (object) => object, { ...file, systemId: '8' }],
  ])('is refused when it is %s', async (_what, harm, as) => {
    const object = harm(await encodeLogFile(file, bytes, signer))
    await expect(decode(object, as)).rejects.toThrow(`the signature of ${as.name} is invalid`)
  })
})

describe('the log after a base', () => {
  const base = { startSegment: '0000000100000000000000FE', stopSegment: '0000000100000000000000FF' }
  const [first, second, third] = [base.startSegment, base.stopSegment, '000000010000000100000000']

  it('goes on with the next first part after 256 files', () => {
    expect(nextPosition('00000000000000FE')).toBe('00000000000000FF')
    expect(nextPosition('00000000000000FF')).toBe('0000000100000000')
  })

  it.each([
    ['is whole', [first, second, third], undefined, true],
    ['is whole on another timeline', [first, second, `00000002${third!.slice(8)}`], undefined, true],
    ['lacks a file in its middle', [first, third], '00000000000000FF', false],
    // The archiver may not have delivered it yet.
    ['lacks the end of the base', [first], '00000000000000FF', true],
    ['is absent', [], '00000000000000FE', true],
  ])('that %s', (_what, segments, gap, whole) => {
    expect(gapIn(segments as string[], base)).toBe(gap)
    const earlier = '0000000100000000000000F0'
    expect(isRestorable([earlier, ...(segments as string[])], base)).toBe(whole)
  })
})
