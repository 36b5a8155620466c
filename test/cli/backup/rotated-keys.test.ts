/** Tests backups and versions across the rotation of signing keys by `tenure keys rotate-signing`. */
import { createPublicKey } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { backupCommand } from '../../../cli/commands/admin/backup.ts'
import { restoreCommand } from '../../../cli/commands/admin/restore.ts'
import { keysGroup } from '../../../cli/commands/admin/keys.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runProgram } from '../../../cli/program.ts'
import { appendAudit, listAudit, verifyAudit } from '../../../store/audit/audit-log.ts'
import { openRowVerifier, rowSigner } from '../../../store/audit/row-signatures.ts'
import type { Store } from '../../../store/postgres.ts'
import { verifyArtifact, type ArtifactIdentity } from '../../../store/signing/artifact-signatures.ts'
import { changeTrusted, keyPurposes, listTrusted } from '../../../store/signing/key-files.ts'
import { rotateSigningKey } from '../../../store/signing/rotate-signing-key.ts'
import { openPublicKeys, openSigner } from '../../../store/signing/signing-key.ts'
import {
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'
import { openPatientStore } from '../../support/servers/servers.ts'

let fixture: ServingFixture
let store: Store
let dir: string
let file: string
let made: Awaited<ReturnType<typeof threeVersions>>
const places = () => keyPlacesOf(fixture.artifactRoot)

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-rotated-'))
  file = join(dir, 'backup.tar')
  fixture = await openServingFixture()
  made = await threeVersions(fixture)
  const signer = await openSigner(places(), 'artifacts')
  store = openPatientStore(fixture.databaseUrl, { max: 2, signAudit: rowSigner(signer) })
  await fixture.store.query(sql`update versions set known_good_at = now() where version = ${made.champion}`)
  await fixture.store.query(
    sql`insert into champions (model, version) values (${made.model}, ${made.champion})`,
  )
  for (const purpose of keyPurposes) await openSigner(places(), purpose)
  await note('the first row')
})
afterAll(async () => {
  await store.close()
  await fixture.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

const note = (subject: string) =>
  store.transaction((database) =>
    appendAudit(database, { actor: 'anna', action: 'test.happened', subject, detail: {} }),
  )

const tenure = (...words: string[]) => tenureWith(places().keys, ...words)

async function tenureWith(keys: string, ...words: string[]) {
  vi.stubEnv('TENURE_STATE', dir)
  vi.stubEnv('TENURE_ARTIFACTS', fixture.artifactRoot)
  vi.stubEnv('TENURE_KEYS', keys)
  vi.stubEnv('TENURE_TRUST', places().trust)
  vi.stubEnv('DATABASE_URL', fixture.databaseUrl)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([backupCommand, restoreCommand, keysGroup], words, streams)
  return { code, out, err }
}
/** Ends the overlap of every retired key. */
const endOverlap = async () => {
  for (const purpose of keyPurposes)
    await changeTrusted(places(), purpose, (keys) =>
      keys.map((key) => ({ ...key, until: key.until && new Date().toISOString() })),
    )
}
/** Throws for a version that replicas would not load. */
async function verifyVersions(): Promise<number> {
  const versions = await fixture.store.query<ArtifactIdentity & { signature: Buffer }>(
    sql`select version, model, artifact_digest as "artifactDigest", signature from versions`,
  )
  for (const each of versions) verifyArtifact(openPublicKeys(places(), 'artifacts'), each)
  return versions.length
}
const auditBreach = async () =>
  (await verifyAudit(fixture.store, { isSigned: openRowVerifier(places()) })).breach

it('every version loads after the key of versions was rotated without an overlap, and one of another key does not', async () => {
  expect((await tenure('backup', file)).code).toBe(exitCodes.done)
  const { candidate } = made
  const stranger = { ...places(), keys: join(dir, 'stranger'), trust: join(dir, 'stranger') }
  const forged = (await openSigner(stranger, 'artifacts')).sign(Buffer.from('anything'))
  const [{ signature } = { signature: forged }] = await fixture.store.query<{ signature: Buffer }>(
    sql`select signature from versions where version = ${candidate}`,
  )
  await fixture.store.query(sql`update versions set signature = ${forged} where version = ${candidate}`)
  const former = (await openSigner(places(), 'artifacts')).publicPem
  const rotated = await tenure('keys', 'rotate-signing', 'artifacts', '--overlap', '0', '--json')
  expect(rotated).toMatchObject({ code: exitCodes.done, err: '' })
  expect(JSON.parse(rotated.out)).toMatchObject({ purpose: 'artifacts', resigned: 2 })
  expect((await openSigner(places(), 'artifacts')).publicPem).not.toBe(former)
  await endOverlap()
  await expect(verifyVersions()).rejects.toMatchObject({ code: 'artifact_untrusted' })
  await fixture.store.query(
    sql`delete from versions where version = ${candidate} and signature <> ${signature}`,
  )
  expect(await verifyVersions()).toBe(2)
  const replica = await startReplica(fixture, { keys: places() })
  await replica.follows(await fixture.route(made.model, { proven: made.champion }))
  expect(replica.ask(made.model, request())).toMatchObject({ version: made.champion })
  await replica.stop()
})

it('versions load after the overlap of a rotation that was interrupted before its last transaction', async () => {
  await fixture.store.query(
    sql`create function interrupt() returns trigger language plpgsql as 'begin raise exception ''interrupted''; end'`,
  )
  await fixture.store.query(
    sql`create trigger interrupt before insert on audit for each row execute function interrupt()`,
  )
  const { publicPem: former } = await openSigner(places(), 'artifacts')
  const { code, err } = await tenure('keys', 'rotate-signing', 'artifacts')
  expect([code === exitCodes.done, err]).toEqual([false, expect.stringContaining('interrupted')])
  await fixture.store.query(sql`drop function interrupt cascade`)
  expect((await openSigner(places(), 'artifacts')).publicPem).not.toBe(former)
  await endOverlap()
  expect(await verifyVersions()).toBe(2)
})

it.each(keyPurposes)('the rotation of the key of %s is a signed row of the audit log', async (purpose) => {
  const { code } = await tenure('keys', 'rotate-signing', purpose, '--json')
  expect(code).toBe(exitCodes.done)
  const [row] = await listAudit(fixture.store, { limit: 1 })
  expect(row).toMatchObject({ actor: 'local', action: 'signing_key.rotated', subject: purpose })
  expect(row?.detail).toMatchObject({ publicKey: listTrusted(places(), purpose)[0]!.publicPem })
  expect(await auditBreach()).toBeUndefined()
})

it('a machine without the private key takes and restores no backup, and makes no key of its own', async () => {
  const keys = join(dir, 'of-a-replica')
  for (const words of [
    ['backup', join(dir, 'elsewhere.tar')],
    ['restore', file, '--replace'],
  ]) {
    const { code, err } = await tenureWith(keys, ...words)
    expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('run this on one of them')])
  }
  expect(existsSync(keys)).toBe(false)
})

it('a prepared key signs nothing until it replaces the former one', async () => {
  const signer = await openSigner(places(), 'replicas')
  const { out } = await tenure('keys', 'rotate-signing', 'replicas', '--prepare', '--json')
  const { prepared, next } = JSON.parse(out) as { prepared: string; next: string }
  expect(createPublicKey(readFileSync(next)).export({ type: 'spki', format: 'pem' })).toBe(prepared)
  expect((await openSigner(places(), 'replicas')).publicPem).toBe(signer.publicPem)
  expect(prepared).not.toBe(signer.publicPem)
  await tenure('keys', 'rotate-signing', 'replicas')
  expect((await openSigner(places(), 'replicas')).publicPem).toBe(prepared)
  for (const words of [['everything'], ['replicas', '--overlap', '-1'], ['replicas', '--overlap', 'long']])
    expect((await tenure('keys', 'rotate-signing', ...words)).code).toBe(exitCodes.usage)
})

it('a backup from before a rotation whose overlap has ended requires --re-sign, and its audit log is verified', async () => {
  const refused = await tenure('restore', file, '--replace')
  expect(refused.code).toBe(exitCodes.refused)
  expect(refused.err).toContain('rotated since')
  expect(await tenure('restore', file, '--replace', '--re-sign')).toMatchObject({
    code: exitCodes.done,
    err: '',
  })
  expect(await verifyVersions()).toBe(3)
  expect(await auditBreach()).toBeUndefined()
  // The installation is the same: its rows are verified from the first one.
  const [row] = await listAudit(fixture.store, { limit: 1, action: 'database.restored' })
  expect(row?.detail).toMatchObject({ reSigned: false })
})

it('a backup of the overlap is restored with versions that load after its end', async () => {
  const during = join(dir, 'during.tar')
  expect((await tenure('backup', during)).code).toBe(exitCodes.done)
  await rotateSigningKey(places(), 'artifacts', { overlapMs: 3_600_000 })
  expect(await tenure('restore', during, '--replace')).toMatchObject({ code: exitCodes.done, err: '' })
  await endOverlap()
  expect(await verifyVersions()).toBe(3)
})

it('versions of a database that was restored to a time before a rotation load again', async () => {
  const versions = () =>
    fixture.store.query<{ version: string; signature: Buffer }>(
      sql`select version, signature from versions order by version`,
    )
  const earlier = await versions()
  await note('a row of that time')
  await rotateSigningKey(places(), 'artifacts', { overlapMs: 0 })
  await endOverlap()
  await expect(verifyVersions()).rejects.toMatchObject({ code: 'artifact_untrusted' })
  expect(await versions()).toEqual(earlier)
  expect(await tenure('restore', '--after-point-in-time')).toMatchObject({ code: exitCodes.done, err: '' })
  expect(await verifyVersions()).toBe(3)
})

it('a backup does not hold the private keys, nor the lists of trusted ones', () => {
  const bytes = readFileSync(file, 'latin1')
  expect(bytes).not.toContain('PRIVATE KEY')
  for (const purpose of keyPurposes)
    for (const { publicPem } of listTrusted(places(), purpose).slice(0, 1))
      expect(bytes).not.toContain(publicPem)
})
