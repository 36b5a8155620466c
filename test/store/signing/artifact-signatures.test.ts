/** Tests artifact signatures: any difference from the signed artifact is refused. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openSigner, type Signer } from '../../../store/signing/signing-key.ts'
import { verifyArtifact, signArtifact } from '../../../store/signing/artifact-signatures.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-signatures-'))
afterAll(() => rmSync(root, { recursive: true }))
const signed = { version: 'iris_v1.0.0', model: 'iris', artifactDigest: `sha256:${'a'.repeat(64)}` }
let signer: Signer
let signature: Buffer
beforeAll(async () => {
  signer = await openSigner({ keys: root, trust: root }, 'artifacts')
  signature = signArtifact(signer, signed)
})

it('accepts the signed artifact', () => {
  expect(() => verifyArtifact(signer, { ...signed, signature })).not.toThrow()
})

it.each([
  ['another version', { version: 'iris_v1.0.1' }],
  ['another model', { model: 'tulip' }],
  ['another manifest', { artifactDigest: `sha256:${'b'.repeat(64)}` }],
  ['no signature', { signature: undefined }],
  ['an empty signature', { signature: Buffer.alloc(0) }],
  ['a signature of other length', { signature: Buffer.alloc(10) }],
])('%s is not', (_name, change) => {
  expect(() => verifyArtifact(signer, { ...signed, signature, ...change })).toThrow(
    expect.objectContaining({ code: 'artifact_untrusted' }),
  )
})

it('refuses an artifact signed by another key', async () => {
  const other = await openSigner({ keys: join(root, 'other'), trust: join(root, 'other') }, 'artifacts')
  expect(() => verifyArtifact(signer, { ...signed, signature: signArtifact(other, signed) })).toThrow(
    expect.objectContaining({ code: 'artifact_untrusted' }),
  )
})
