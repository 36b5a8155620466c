/** Tests signing keys: made once, one for each purpose, rotated while in use, and recognised only as what they are. */
import { generateKeyPairSync } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, it } from 'vitest'
import {
  keyPurposes,
  privateFile,
  purposesOf,
  trustedFile,
  trustKey,
  listTrusted,
} from '../../../store/signing/key-files.ts'
import { prepareRotation, rotateSigningKey } from '../../../store/signing/rotate-signing-key.ts'
import { openPublicKeys, openSigner, trustIn } from '../../../store/signing/signing-key.ts'
import { readSession, sealSession } from '../../../api/auth/session.ts'
import { openReplicaKeys } from '../../../api/auth/replica-keys.ts'
import { keyPlacesIn } from '../../support/serving/sign-versions.ts'
import { launcher } from '../../../temporal.config.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-key-'))
afterAll(() => rmSync(directory, { recursive: true }))
const places = (name: string) => keyPlacesIn(join(directory, name))
const said = Buffer.from('what was said')
const hourMs = 3_600_000

describe('a signing key', () => {
  it('is the same for every process that opens it at once, and readable by its owner only', async () => {
    const shared = places('shared')
    const signers = await Promise.all(Array.from({ length: 20 }, () => openSigner(shared, 'replicas')))
    expect(new Set(signers.map(({ publicPem }) => publicPem)).size).toBe(1)
    expect(statSync(privateFile(shared, 'replicas')).mode & 0o777).toBe(0o600)
    const signature = signers[0]!.sign(said)
    expect(signers[19]!.verify(said, signature)).toBe(true)
    expect(openPublicKeys(shared, 'replicas').verify(said, signature)).toBe(true)
  })

  it('verifies these bytes only, and only under this key', async () => {
    const mine = await openSigner(places('mine'), 'heads')
    const other = await openSigner(places('other'), 'heads')
    const signature = mine.sign(said)
    expect(mine.verify(Buffer.from('what was sald'), signature)).toBe(false)
    expect(mine.verify(said, signature.subarray(1))).toBe(false)
    expect(other.verify(said, signature)).toBe(false)
  })

  it('signs for its purpose only, and is held only where it signs', async () => {
    const both = places('both')
    const [artifacts, replicas] = [await openSigner(both, 'artifacts'), await openSigner(both, 'replicas')]
    expect(artifacts.verify(said, replicas.sign(said))).toBe(false)
    expect(replicas.verify(said, artifacts.sign(said))).toBe(false)
    const heads = openPublicKeys(both, 'heads')
    expect(heads.verify(said, artifacts.sign(said))).toBe(false)
    expect(existsSync(privateFile(both, 'heads'))).toBe(false)
    // Made later, by the process that signs.
    const signature = (await openSigner(both, 'heads')).sign(said)
    expect(heads.verify(said, signature)).toBe(true)
  })

  it('is verified on a machine that has the public keys only', async () => {
    const here = places('here')
    const signature = (await openSigner(here, 'artifacts')).sign(said)
    const elsewhere = { keys: join(directory, 'none'), trust: here.trust }
    expect(openPublicKeys(elsewhere, 'artifacts').verify(said, signature)).toBe(true)
    expect(existsSync(elsewhere.keys)).toBe(false)
  })

  it.each(Object.entries(purposesOf))(
    'of %s processes is for their purposes only',
    async (kind, purposes) => {
      const at = { ...places(`of-${kind}`), purposes }
      for (const purpose of keyPurposes) {
        const opening = openSigner(at, purpose)
        if ((purposes as readonly string[]).includes(purpose)) await opening
        else await expect(opening).rejects.toThrow(`holds no key of ${purpose}`)
      }
      expect(keyPurposes.filter((purpose) => existsSync(privateFile(at, purpose)))).toEqual(purposes)
    },
  )

  it('of a replica, and that of certificates, are the only ones that a replica makes', async () => {
    const directoryOf = places('replica')
    const signing = { ...directoryOf, purposes: undefined }
    const { signer, artifactKeys } = await openReplicaKeys({
      signing,
      stateDir: directoryOf.keys,
      artifactRoot: directoryOf.keys,
    })
    expect(readdirSync(directoryOf.keys).toSorted()).toEqual([
      'certificates',
      'public',
      'replicas',
      'subjects.key',
    ])
    expect(artifactKeys.verify(said, signer.sign(said))).toBe(false)
  })

  it('is listed beside those that other processes add in the same moment', async () => {
    const at = places('crowd')
    const pems = await Promise.all(
      Array.from(
        { length: 12 },
        async (_, turn) => (await openSigner(places(`crowd-${turn}`), 'heads')).publicPem,
      ),
    )
    await Promise.all(pems.map((publicPem) => trustKey(at, 'heads', { publicPem })))
    expect(
      listTrusted(at, 'heads')
        .map(({ publicPem }) => publicPem)
        .toSorted(),
    ).toEqual(pems.toSorted())
    // The lock of a process that has crashed.
    writeFileSync(`${trustedFile(at, 'heads')}.lock`, '')
    utimesSync(`${trustedFile(at, 'heads')}.lock`, 1, 1)
    await openSigner(at, 'heads')
    expect(listTrusted(at, 'heads')).toHaveLength(13)
  })

  it('is refused when the file has no key, or one of another kind', async () => {
    const odd = places('odd')
    for (const purpose of keyPurposes) mkdirSync(dirname(privateFile(odd, purpose)), { recursive: true })
    writeFileSync(privateFile(odd, 'heads'), 'no key')
    await expect(openSigner(odd, 'heads')).rejects.toMatchObject({ code: 'configuration_invalid' })
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    writeFileSync(privateFile(odd, 'heads'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    await expect(openSigner(odd, 'heads')).rejects.toThrow('holds no Ed25519 private key')
    mkdirSync(privateFile(odd, 'replicas'))
    await expect(openSigner(odd, 'replicas')).rejects.toThrow('cannot be read')
    const listed = places('listed')
    await openSigner(listed, 'heads')
    writeFileSync(trustedFile(listed, 'heads'), '[{"publicPem": "no key"}]')
    await expect(openSigner(listed, 'heads')).rejects.toThrow('is not a list of Ed25519 public keys')
    const { publicPem } = await openSigner(places('unlisted'), 'replicas')
    writeFileSync(trustedFile(listed, 'heads'), JSON.stringify([{ publicPem, until: 'soon' }]))
    await expect(openSigner(listed, 'heads')).rejects.toThrow('is not a list of Ed25519 public keys')
  })
})

describe('a rotation', () => {
  it('lets signatures of the former key count for the overlap, and no longer', async () => {
    const at = places('overlap')
    const [signer, verifier] = [await openSigner(at, 'replicas'), openPublicKeys(at, 'replicas')]
    const former = { signature: signer.sign(said), publicPem: signer.publicPem }
    await rotateSigningKey(at, 'replicas', { overlapMs: hourMs })
    await expect.poll(() => signer.publicPem).not.toBe(former.publicPem)
    expect(verifier.verify(said, signer.sign(said))).toBe(true)
    expect(verifier.verify(said, former.signature)).toBe(true)
    expect(verifier.verify(said, former.signature, Date.now() + hourMs + 1_000)).toBe(false)
    const second = signer.publicPem
    await rotateSigningKey(at, 'replicas', { overlapMs: 0 })
    expect(trustIn(at, 'replicas', former.publicPem)).toBe('in use')
    expect(trustIn(at, 'replicas', second)).toBe('retired')
    expect(readFileSync(trustedFile(at, 'replicas'), 'utf8')).not.toContain('PRIVATE')
    expect(statSync(privateFile(at, 'replicas')).mode & 0o777).toBe(0o600)
  })

  it('of the key of replicas keeps sessions until the end of the overlap, and ends them at once without one', async () => {
    const at = places('sessions')
    const signer = await openSigner(at, 'replicas')
    const nowMs = Date.now()
    const cookie = sealSession(signer, { key: 'k', mark: 'm' }, nowMs + 8 * hourMs)
    await rotateSigningKey(at, 'replicas', { overlapMs: hourMs, nowMs })
    const replica = await openSigner(at, 'replicas')
    expect(readSession(replica, cookie, nowMs)).toMatchObject({ key: 'k' })
    expect(readSession(replica, cookie, nowMs + hourMs + 1)).toBeUndefined()
    const fresh = sealSession(replica, { key: 'k', mark: 'm' }, nowMs + 8 * hourMs)
    expect(readSession(replica, fresh, nowMs + 7 * hourMs)).toMatchObject({ key: 'k' })
    await rotateSigningKey(at, 'replicas', { overlapMs: 0, nowMs })
    expect(readSession(await openSigner(at, 'replicas'), fresh, nowMs + 1)).toBeUndefined()
  })

  it('of the key of audit heads keeps the heads that were signed before', async () => {
    const at = places('heads')
    const signer = await openSigner(at, 'heads')
    const former = signer.sign(said)
    const nowMs = Date.now()
    await rotateSigningKey(at, 'heads', { overlapMs: 0, nowMs })
    await rotateSigningKey(at, 'heads', { overlapMs: 0, nowMs: nowMs + 48 * hourMs })
    const verifier = openPublicKeys(at, 'heads')
    expect(verifier.verify(said, former, nowMs - hourMs)).toBe(true)
    expect(verifier.verify(said, former, nowMs + hourMs)).toBe(false)
  })

  it.skipIf(process.getuid?.() !== 0)('by root leaves the key to the user of the processes', async () => {
    const at = places('of-another-user')
    await openSigner(at, 'replicas')
    const files = [privateFile(at, 'replicas'), trustedFile(at, 'replicas')]
    for (const file of files) chownSync(file, 65_534, 65_534)
    chmodSync(trustedFile(at, 'replicas'), 0o640)
    await rotateSigningKey(at, 'replicas', { overlapMs: hourMs })
    for (const file of files) expect(statSync(file)).toMatchObject({ uid: 65_534, gid: 65_534 })
    expect(files.map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o640])
  })

  it('is refused on a machine that does not sign, where it would retire no key', async () => {
    const at = places('signs-elsewhere')
    await openSigner({ keys: join(directory, 'signs'), trust: at.trust }, 'replicas')
    await expect(rotateSigningKey(at, 'replicas', { overlapMs: 0 })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringContaining('on a machine that signs with it') as string,
    })
    expect(existsSync(privateFile(at, 'replicas'))).toBe(false)
    expect(listTrusted(at, 'replicas')).toHaveLength(1)
  })

  it('uses the prepared key, which other machines trust already', async () => {
    const at = places('prepared')
    const signer = await openSigner(at, 'artifacts')
    const before = signer.publicPem
    const { publicPem: prepared } = await prepareRotation(at, 'artifacts')
    expect((await prepareRotation(at, 'artifacts')).publicPem).toBe(prepared)
    expect(signer.publicPem).toBe(before)
    // A machine that copied the list before the rotation.
    const copied = { keys: join(directory, 'none'), trust: join(directory, 'copied') }
    mkdirSync(join(copied.trust, 'artifacts'), { recursive: true })
    writeFileSync(trustedFile(copied, 'artifacts'), readFileSync(trustedFile(at, 'artifacts')))
    expect((await rotateSigningKey(at, 'artifacts', { overlapMs: hourMs })).publicPem).toBe(prepared)
    const verifier = openPublicKeys(copied, 'artifacts')
    expect(verifier.verify(said, (await openSigner(at, 'artifacts')).sign(said))).toBe(true)
  })

  it('under load refuses no signature: one process signs, another verifies, and the key is rotated ten times', async () => {
    const at = places('load')
    const verifier = openPublicKeys(at, 'replicas')
    const worker = new Worker(launcher, {
      argv: ['test/support/signing/sign-again.ts', at.keys, at.trust],
      execArgv: [],
    })
    const used = new Set<string>()
    let signed = 0
    let refused = 0
    const failed = new Promise((_, reject) => worker.once('error', reject))
    worker.on(
      'message',
      ({ text, signature, publicPem }: { text: string; signature: string; publicPem: string }) => {
        signed++
        used.add(publicPem)
        if (!verifier.verify(Buffer.from(text), Buffer.from(signature, 'base64'))) refused++
        worker.postMessage('verified')
      },
    )
    try {
      for (let turn = 1; turn <= 10; turn++) {
        const rotated = expect.poll(() => used.size, { interval: 5 }).toBeGreaterThanOrEqual(turn)
        await Promise.race([rotated, failed])
        await rotateSigningKey(at, 'replicas', { overlapMs: hourMs })
      }
      await expect.poll(() => used.size, { interval: 5 }).toBe(11)
    } finally {
      await worker.terminate()
    }
    expect(refused).toBe(0)
    expect(signed).toBeGreaterThan(100)
  })
})
