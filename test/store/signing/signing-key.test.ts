/** The signing key: made once, the same for all who open it, and nothing else is taken for one. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openSigner } from '../../../store/signing/signing-key.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-key-'))
const said = Buffer.from('what was said')

describe('the signing key', () => {
  it('is the same for every process that opens it at once, and readable by its owner only', async () => {
    const file = join(directory, 'keys', 'signing.pem')
    const signers = await Promise.all(Array.from({ length: 20 }, () => openSigner(file)))
    expect(new Set(signers.map(({ publicPem }) => publicPem)).size).toBe(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const signature = signers[0]!.sign(said)
    expect(signers[19]!.verify(said, signature)).toBe(true)
  })

  it('verifies these bytes only, and only under this key', async () => {
    const mine = await openSigner(join(directory, 'mine.pem'))
    const other = await openSigner(join(directory, 'other.pem'))
    const signature = mine.sign(said)
    expect(mine.verify(Buffer.from('what was sald'), signature)).toBe(false)
    expect(mine.verify(said, signature.subarray(1))).toBe(false)
    expect(other.verify(said, signature)).toBe(false)
  })

  it('is refused when the file has no key, or one of another kind', async () => {
    const file = join(directory, 'odd.pem')
    writeFileSync(file, 'no key')
    await expect(openSigner(file)).rejects.toMatchObject({ code: 'configuration_invalid' })
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    await expect(openSigner(file)).rejects.toThrow('holds no Ed25519 private key')
    await expect(openSigner(directory)).rejects.toThrow('cannot be read')
  })
})
