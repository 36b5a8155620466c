import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { Manifest } from '../../../domain/model/manifest.ts'
import {
  artifactKey,
  digestOf,
  getArtifact,
  openArtifacts,
  putManifest,
  type Artifacts,
} from '../../../store/artifacts.ts'
import { openDirectoryStore } from '../../../store/objects/directory.ts'
import { storeUnavailable, type ObjectStore } from '../../../store/objects/object-store.ts'
import {
  bringCopies,
  shareArtifact,
  withObjectStore,
  type SharedArtifacts,
} from '../../../store/objects/artifact-copies.ts'
import { openTestStore, sharedMoto } from '../../support/objects/moto-server.ts'

const moto = await sharedMoto()
const root = await mkdtemp(join(tmpdir(), 'tenure-shared-'))
afterAll(async () => {
  await moto?.stop()
  await rm(root, { recursive: true })
})

const dayMs = 86_400_000
const bytes = Buffer.from('earned')
const digest = digestOf(bytes)
const key = artifactKey('artifacts', digest)

/** Two machines with separate disks and one object store. */
let objects: ObjectStore
let near: SharedArtifacts
let far: SharedArtifacts
let nearRoot: string
let machines = 0
const implementations = [
  { name: 'a directory', skip: false, open: async () => openDirectoryStore(join(root, `store-${machines}`)) },
  {
    name: 'a bucket of S3',
    skip: moto === undefined,
    open: async () => openTestStore(await moto!.bucket()),
  },
]
const age = async (path: string, ms: number) => {
  const then = new Date(Date.now() - ms)
  await utimes(path, then, then)
}

describe.each(implementations)('artifacts in an object store in $name', ({ open, skip }) => {
  beforeEach(async () => {
    if (skip) return
    machines++
    objects = await open()
    nearRoot = join(root, `near-${machines}`)
    near = withObjectStore(nearRoot, objects)
    far = withObjectStore(join(root, `far-${machines}`), objects)
  })

  it.skipIf(skip)('are read by another machine, from memory and as a file', async () => {
    expect(await near.put('artifacts', bytes)).toEqual({ digest, bytes: 6 })
    expect((await far.get('artifacts', digest)).toString()).toBe('earned')
    expect(await readFile(await far.locate('artifacts', digest), 'utf8')).toBe('earned')
    const rows = randomBytes(100_000)
    const draft = await near.draft('.parquet')
    await writeFile(draft, rows)
    const taken = await near.take('snapshots', draft)
    expect(taken).toEqual({ digest: digestOf(rows), bytes: 100_000 })
    expect(await far.locate('snapshots', taken.digest)).toMatch(/\.parquet$/)
  })

  it.skipIf(skip)(
    'are refused by name when the object is changed, cut off, too large or absent',
    async () => {
      await near.put('artifacts', bytes)
      for (const changed of ['earned?', 'earn']) {
        await objects.put(key, Buffer.from(changed))
        const refusal = {
          code: 'artifact_corrupt',
          message: expect.stringContaining(
            `${objects.address}/${key} cannot be used: it is corrupt, its bytes have the digest`,
          ),
        }
        await expect(far.get('artifacts', digest)).rejects.toMatchObject(refusal)
        await expect(far.locate('artifacts', digest)).rejects.toMatchObject(refusal)
      }
      await expect(far.get('artifacts', digest, 3)).rejects.toMatchObject({ code: 'artifact_corrupt' })
      await objects.remove(key)
      const absent = { code: 'artifact_corrupt', message: expect.stringContaining('there is no such object') }
      await expect(far.get('artifacts', digest)).rejects.toMatchObject(absent)
      await expect(far.locate('artifacts', digest)).rejects.toMatchObject(absent)
      for await (const file of openArtifacts(join(root, `far-${machines}`)).list('artifacts'))
        expect(file).toBeUndefined()
    },
  )

  it.skipIf(skip)('replace a copy that was damaged on the disk, and an object that was cut off', async () => {
    await near.put('artifacts', bytes)
    await writeFile(join(nearRoot, key), 'broken')
    expect((await near.get('artifacts', digest)).toString()).toBe('earned')
    expect(await readFile(await near.locate('artifacts', digest), 'utf8')).toBe('earned')
    await objects.put(key, Buffer.from('ear'))
    await near.put('artifacts', bytes)
    expect((await far.get('artifacts', digest)).toString()).toBe('earned')
  })

  it.skipIf(skip)('are listed and removed in the object store', async () => {
    await near.put('artifacts', bytes)
    await near.put('checkpoints', bytes)
    await objects.put('sha256/zz/notes.txt', bytes)
    const listed = async (artifacts: Artifacts) => {
      const found = []
      for await (const file of artifacts.list('artifacts')) found.push(file)
      return found
    }
    const [file] = await listed(far)
    expect(await listed(far)).toEqual([{ digest, bytes: 6, writtenMs: expect.any(Number) }])
    expect(await near.removeListed('artifacts', { ...file!, writtenMs: 1 })).toBe(false)
    expect(await near.removeListed('artifacts', file!)).toBe(true)
    expect(await listed(far)).toEqual([])
    await expect(near.get('artifacts', digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await far.remove('checkpoints', digest)
    expect(await objects.find(artifactKey('checkpoints', digest))).toBeUndefined()
  })

  it.skipIf(skip)('are stored and copied for processes without access to the object store', async () => {
    const inChild = openArtifacts(nearRoot)
    const weights = await inChild.put('artifacts', randomBytes(50))
    const manifest = { format: 'tenure-artifact@1', files: { 'weights.bin': weights } } as unknown as Manifest
    const stored = await putManifest(inChild, manifest)
    await expect(getArtifact(far, stored)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await shareArtifact(near, stored)
    const there = openArtifacts(join(root, `far-${machines}`))
    await bringCopies(far, { artifacts: [stored, undefined, digest], snapshot: digest, files: [digest] })
    expect((await getArtifact(there, stored)).files['weights.bin']).toHaveLength(50)
  })

  it.skipIf(skip)('of a machine are stored when it gets an object store, once', async () => {
    const before = openArtifacts(nearRoot)
    await before.put('artifacts', bytes)
    await before.put('snapshots', bytes)
    await age(join(nearRoot, key), 30 * dayMs)
    expect(await near.copies!.evict()).toBe(0)
    expect(await near.copies!.adopt()).toEqual({ stored: 2, damaged: [] })
    expect((await far.get('snapshots', digest)).toString()).toBe('earned')
    await far.remove('snapshots', digest)
    expect(await near.copies!.adopt()).toEqual({ stored: 0, damaged: [] })
    expect(await objects.find(artifactKey('snapshots', digest))).toBeUndefined()
  })

  it.skipIf(skip)('of a machine are stored although one of them is damaged, which is named', async () => {
    const before = openArtifacts(nearRoot)
    for (const area of ['artifacts', 'snapshots', 'checkpoints'] as const) await before.put(area, bytes)
    await writeFile(join(nearRoot, key), 'broken')
    expect(await near.copies!.adopt()).toEqual({ stored: 2, damaged: [key] })
    expect((await far.get('checkpoints', digest)).toString()).toBe('earned')
    expect(await objects.find(key)).toBeUndefined()
    expect(await near.copies!.adopt()).toEqual({ stored: 0, damaged: [] })
  })

  it.skipIf(skip)(
    'have copies that go when unused for a week, or an hour after the object store has none',
    async () => {
      await near.copies!.adopt()
      await near.put('artifacts', bytes)
      await near.put('snapshots', bytes)
      const places = [key, artifactKey('snapshots', digest)].map((each) => join(nearRoot, each))
      for (const path of places) await age(path, 6 * dayMs)
      expect(await near.copies!.evict()).toBe(0)
      await far.remove('snapshots', digest)
      expect(await near.copies!.evict()).toBe(1)
      await expect(stat(places[1]!)).rejects.toThrow('ENOENT')
      await age(places[0]!, 8 * dayMs)
      await near.locate('artifacts', digest)
      expect(await near.copies!.evict()).toBe(0)
      await age(places[0]!, 8 * dayMs)
      expect(await near.copies!.evict()).toBe(1)
      expect((await near.get('artifacts', digest)).toString()).toBe('earned')
    },
  )
})

describe('artifacts in a store that lists milliseconds and finds whole seconds', () => {
  it('are removed as listed, unless they were written again', async () => {
    const writtenMs = Date.UTC(2026, 0, 5, 9, 30, 15)
    const store: ObjectStore = {
      ...openDirectoryStore(join(root, 'seconds-store')),
      find: async () => ({ key, bytes: 6, writtenMs }),
    }
    const artifacts = withObjectStore(join(root, 'seconds'), store)
    await artifacts.put('artifacts', bytes)
    const listed = { digest, bytes: 6, writtenMs: writtenMs + 789 }
    expect(await artifacts.removeListed('artifacts', { ...listed, bytes: 5 })).toBe(false)
    expect(await artifacts.removeListed('artifacts', { ...listed, writtenMs: writtenMs - 1 })).toBe(false)
    expect(await artifacts.removeListed('artifacts', listed)).toBe(true)
    expect(await store.get(key)).toBeUndefined()
  })
})

describe('artifacts while the object store is away', () => {
  it('are read from the copies of the machine, and those without a copy name the store', async () => {
    const place = join(root, 'away')
    const store = openDirectoryStore(join(root, 'away-store'))
    await withObjectStore(place, store).put('artifacts', bytes)
    const failing = () => Promise.reject(storeUnavailable('s3://models', 'does not answer: ECONNREFUSED'))
    const away = withObjectStore(place, {
      ...store,
      put: failing,
      get: failing,
      download: failing,
      find: failing,
    })
    expect((await away.get('artifacts', digest)).toString()).toBe('earned')
    expect(await away.locate('artifacts', digest)).toContain(place)
    const refusal = {
      code: 'object_store_unavailable',
      message: 'the object store s3://models does not answer: ECONNREFUSED',
    }
    const other = digestOf('another')
    await expect(away.get('artifacts', other)).rejects.toMatchObject(refusal)
    await expect(away.put('artifacts', Buffer.from('another'))).rejects.toMatchObject(refusal)
    await expect(away.share('artifacts', digest)).rejects.toMatchObject(refusal)
    await expect(bringCopies(away, { artifacts: [digestOf('a third')] })).rejects.toMatchObject(refusal)
  })
})
