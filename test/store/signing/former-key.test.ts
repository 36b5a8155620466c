/**
 * Tests the upgrade of a state in which one key signed everything: it is taken over at the next start, and its signatures stay valid as
 * long as they should.
 */
import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { openReplicaKeys } from '../../../api/auth/replica-keys.ts'
import { rowSigner, openRowVerifier } from '../../../store/audit/row-signatures.ts'
import { signArtifact, verifyArtifact } from '../../../store/signing/artifact-signatures.ts'
import { signCommand, verifyCommand } from '../../../store/signing/command-signatures.ts'
import { splitFormerKey } from '../../../store/signing/former-key.ts'
import { keyPurposes, privateFile, purposesOf } from '../../../store/signing/key-files.ts'
import { openPublicKeys, openSigner, type Signer } from '../../../store/signing/signing-key.ts'
import { openSubjectKey } from '../../../store/signing/subject-hash.ts'
import { keyPlacesIn } from '../../support/serving/sign-versions.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-former-'))
afterAll(() => rmSync(directory, { recursive: true }))
const hourMs = 3_600_000
const sha256 = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex')

/** Writes the keys of a state of the previous version. */
function formerState(name: string) {
  const places = keyPlacesIn(join(directory, name))
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  mkdirSync(places.keys, { mode: 0o700 })
  const file = join(places.keys, 'signing.pem')
  writeFileSync(file, pem, { mode: 0o600 })
  const signer: Signer = {
    sign: (bytes) => sign(null, bytes, privateKey),
    verify: (bytes, signature) => verify(null, bytes, createPublicKey(privateKey), signature),
    publicPem: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString(),
  }
  return { places, file, pem, signer }
}

it('loads the versions of the time of one key, and signs with a fresh key for each other purpose', async () => {
  const { places, file, pem, signer } = formerState('whole')
  const version = { version: 'm_v1.0.0', model: 'm', artifactDigest: 'sha256:1' }
  const signature = signArtifact(signer, version)
  expect(await splitFormerKey(places)).toBe(true)
  expect(existsSync(file)).toBe(false)
  expect(readFileSync(privateFile(places, 'artifacts'), 'utf8')).toBe(pem)
  expect(statSync(privateFile(places, 'artifacts')).mode & 0o777).toBe(0o600)
  verifyArtifact(openPublicKeys(places, 'artifacts'), { ...version, signature })
  const opened = await Promise.all(keyPurposes.map((purpose) => openSigner(places, purpose)))
  expect(new Set(opened.map(({ publicPem }) => publicPem)).size).toBe(3)
  // A second start, and a state of this version, have nothing to take over.
  expect(await splitFormerKey(places)).toBe(false)
  expect((await openSigner(places, 'artifacts')).publicPem).toBe(signer.publicPem)
})

it('accepts commands on their way for a day, and earlier heads and rows of the audit log for ever', async () => {
  const { places, signer } = formerState('signed')
  const nowMs = Date.now()
  const command = { command: 'approve', model: 'm', release: 'rel_1', by: 'anna', id: '1' } as const
  const signature = signCommand(signer, command, { keyId: 'k', nowMs: nowMs + 2 * hourMs })
  const row = {
    hash: 'a'.repeat(64),
    signature: Buffer.from(rowSigner(signer)('a'.repeat(64))).toString('hex'),
  }
  await splitFormerKey(places, nowMs)
  const commands = openPublicKeys(places, 'commands')
  expect(verifyCommand(commands, command, { signature, nowMs: nowMs + 23 * hourMs })).toBe('k')
  expect(verifyCommand(commands, command, { signature, nowMs: nowMs + 25 * hourMs })).toBeUndefined()
  const said = Buffer.from('a head')
  const heads = openPublicKeys(places, 'heads')
  expect(heads.verify(said, signer.sign(said), nowMs - 1_000 * hourMs)).toBe(true)
  expect(heads.verify(said, signer.sign(said), nowMs + hourMs)).toBe(false)
  expect(openRowVerifier(places)({ ...row, at: new Date(nowMs - hourMs).toISOString() })).toBe(true)
})

it('recognises the subjects that were erased before', async () => {
  const { places, signer } = formerState('subjects')
  const key = sha256(signer.sign(Buffer.from('tenure: the key of erased subjects')))
  await splitFormerKey(places)
  const subjects = await openSubjectKey(places.subjectKey)
  expect(subjects.hashOf('anna')).toBe(sha256(`${key}anna`))
  expect(subjects.digest).toBe(sha256(`digest of ${key}`).slice(0, 16))
  expect(statSync(places.subjectKey).mode & 0o777).toBe(0o600)
})

it('is taken over once when all processes of a machine start at once, and no replica takes the key of versions', async () => {
  const { places, file, signer } = formerState('crowd')
  await openReplicaKeys({ signing: places, stateDir: places.keys, artifactRoot: places.keys })
  expect(existsSync(file)).toBe(true)
  expect(existsSync(privateFile(places, 'artifacts'))).toBe(false)
  await Promise.all(
    [purposesOf.api, purposesOf.control, purposesOf.train, purposesOf.api].map(async (purposes) => {
      await splitFormerKey({ ...places, purposes })
      for (const purpose of purposes) await openSigner({ ...places, purposes }, purpose)
    }),
  )
  expect(existsSync(file)).toBe(false)
  expect((await openSigner(places, 'artifacts')).publicPem).toBe(signer.publicPem)
  for (const purpose of keyPurposes) {
    const current = await openSigner(places, purpose)
    const said = Buffer.from(purpose)
    expect(openPublicKeys(places, purpose).verify(said, current.sign(said))).toBe(true)
    expect(openPublicKeys(places, purpose).verify(said, signer.sign(said))).toBe(true)
  }
})
