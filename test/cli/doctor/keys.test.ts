/** Tests that the doctor names each problem of the signing keys and its remedy. */
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkKeys } from '../../../cli/doctor/files.ts'
import { nextFile, privateFile, trustedFile } from '../../../store/signing/key-files.ts'
import { prepareRotation, rotateSigningKey } from '../../../store/signing/rotate-signing-key.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { keyPlacesIn } from '../../support/serving/sign-versions.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-keys-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

it('report a signing key that is missing, readable by others, or invalid', async () => {
  const state = (keys: string, versions = 3) => checkKeys(keyPlacesIn(join(dir, keys)), { versions }).finding
  expect(state('none')).toMatchObject({
    state: 'broken',
    next: expect.stringContaining('--re-sign'),
  })
  expect(state('none', 0)).toMatchObject({ state: 'ok' })
  const places = keyPlacesIn(join(dir, 'present'))
  await openSigner(places, 'artifacts')
  expect(state('present')).toMatchObject({ state: 'ok' })
  const file = privateFile(places, 'artifacts')
  chmodSync(file, 0o644)
  expect(state('present')).toMatchObject({ state: 'warning' })
  writeFileSync(file, 'not a key', { mode: 0o600 })
  expect(state('present')).toMatchObject({ state: 'broken' })
  await openSigner(keyPlacesIn(join(dir, 'listed')), 'artifacts')
  const list = trustedFile(keyPlacesIn(join(dir, 'listed')), 'replicas')
  await openSigner(keyPlacesIn(join(dir, 'listed')), 'replicas')
  expect(state('listed')).toMatchObject({ state: 'ok' })
  writeFileSync(list, 'no list')
  expect(state('listed')).toMatchObject({ state: 'broken' })
  rmSync(list)
  expect(state('listed')).toMatchObject({ state: 'ok' })
  writeFileSync(trustedFile(keyPlacesIn(join(dir, 'listed')), 'artifacts'), 'no list')
  expect(state('listed')).toMatchObject({ state: 'broken' })
})

it('report a signing key that is retired, or beside which another one is trusted without an end', async () => {
  const places = keyPlacesIn(join(dir, 'rotated'))
  const state = () => checkKeys(places, { versions: 3 }).finding
  await openSigner(places, 'artifacts')
  await prepareRotation(places, 'artifacts')
  expect(state()).toMatchObject({ state: 'ok' })
  // A rotation that was killed before the next key took the place of the former one.
  const former = readFileSync(privateFile(places, 'artifacts'))
  await rotateSigningKey(places, 'artifacts', { overlapMs: 60_000 })
  expect(state()).toMatchObject({ state: 'ok' })
  renameSync(privateFile(places, 'artifacts'), nextFile(places, 'artifacts'))
  writeFileSync(privateFile(places, 'artifacts'), former, { mode: 0o600 })
  expect(state()).toMatchObject({
    state: 'broken',
    found: expect.stringContaining('retires it at'),
    next: expect.stringContaining('rotate-signing artifacts'),
  })
  // A list that was copied to a machine that still signs with the former key.
  rmSync(nextFile(places, 'artifacts'))
  expect(state()).toMatchObject({ state: 'broken', next: expect.stringContaining('Copy the private key') })
  // The process of a machine without the private key has made one of its own.
  rmSync(privateFile(places, 'artifacts'))
  await openSigner(places, 'artifacts')
  expect(state()).toMatchObject({ state: 'warning', found: expect.stringContaining('1 other key') })
})
