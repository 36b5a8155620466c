import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { checkObjectStore } from '../../../cli/doctor/servers.ts'
import { openDirectoryStore } from '../../../store/objects/directory.ts'
import { openTestStore, settingsOf, sharedMoto } from '../../support/objects/moto-server.ts'

const moto = await sharedMoto()
const root = await mkdtemp(join(tmpdir(), 'tenure-doctor-'))
afterAll(async () => {
  await moto?.stop()
  await rm(root, { recursive: true })
})

describe('tenure doctor of the object store', () => {
  it('finds a directory that keeps what is written, and leaves nothing in it', async () => {
    const store = openDirectoryStore(join(root, 'store'))
    expect(await checkObjectStore(store)).toEqual({
      check: 'object store',
      state: 'ok',
      found: `${join(root, 'store')} keeps what is written`,
    })
    for await (const object of store.list('')) expect(object).toBeUndefined()
  })

  it.skipIf(moto === undefined)('finds a bucket, and names one that does not exist', async () => {
    const settings = await moto!.bucket()
    expect(await checkObjectStore(openTestStore(settings))).toMatchObject({ state: 'ok' })
    const absent = openTestStore({ ...settings, bucket: 'no-such-bucket' })
    expect(await checkObjectStore(absent)).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('has no bucket no-such-bucket'),
      next: expect.stringMatching(/^Correct TENURE_OBJECT_STORE/),
    })
  })

  it('names a store that is unreachable, and a directory that cannot be written', async () => {
    expect(
      await checkObjectStore(openTestStore(settingsOf('http://127.0.0.1:9', 'models', ''))),
    ).toMatchObject({
      state: 'broken',
      found: expect.stringMatching(/^the object store s3:\/\/models at http:\/\/127.0.0.1:9 does not answer/),
    })
    await writeFile(join(root, 'file'), '')
    expect(await checkObjectStore(openDirectoryStore(join(root, 'file')))).toMatchObject({ state: 'broken' })
  })

  it('refuses a store that lets every conditional write win, or that loses what is written', async () => {
    const store = openDirectoryStore(join(root, 'careless'))
    const careless = {
      ...store,
      put: (key: string, body: Uint8Array | { path: string }) => store.put(key, body),
    }
    expect(await checkObjectStore(careless)).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('lets every conditional write win'),
      next: expect.stringMatching(/^Use an object store that honours conditional writes/),
    })
    expect(await checkObjectStore({ ...store, get: () => Promise.resolve(undefined) })).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('gave back undefined'),
    })
  })
})
