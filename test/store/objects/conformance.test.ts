import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDirectoryStore } from '../../../store/objects/directory.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { openTestStore, sharedMoto } from '../../support/objects/moto-server.ts'

const moto = await sharedMoto()
const root = await mkdtemp(join(tmpdir(), 'tenure-objects-'))
afterAll(async () => {
  await moto?.stop()
  await rm(root, { recursive: true })
})

/** The smallest part that S3 accepts. */
const partBytes = 5 * 1_048_576
const implementations = [
  { name: 'a directory', skip: false, open: async () => openDirectoryStore(join(root, 'store')) },
  {
    name: 'a bucket of S3',
    skip: moto === undefined,
    open: async () => openTestStore(await moto!.bucket(), { partBytes, pageKeys: 30 }),
  },
]
const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const listed = async (store: ObjectStore, prefix: string) => {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys
}

describe.each(implementations)('an object store in $name', ({ open, skip }) => {
  let store: ObjectStore
  beforeAll(async () => {
    if (!skip) store = await open()
  })

  it.skipIf(skip)('gives back what was put, and nothing for an absent object', async () => {
    expect(await store.put('a/one', Buffer.from('earned'))).toBe(true)
    expect((await store.get('a/one'))?.toString()).toBe('earned')
    const before = Date.now()
    expect(await store.find('a/one')).toEqual({ key: 'a/one', bytes: 6, writtenMs: expect.any(Number) })
    expect(Math.abs((await store.find('a/one'))!.writtenMs - before)).toBeLessThan(60_000)
    expect(await store.get('a/none')).toBeUndefined()
    expect(await store.find('a/none')).toBeUndefined()
    expect(await store.find('a')).toBeUndefined()
    expect(await store.download('a/none', join(root, 'none'))).toBeUndefined()
  })

  it.skipIf(skip)('keeps an empty object', async () => {
    expect(await store.put('empty', Buffer.alloc(0))).toBe(true)
    expect(await store.get('empty')).toHaveLength(0)
    expect(await store.find('empty')).toMatchObject({ bytes: 0 })
  })

  it.skipIf(skip)('replaces an object, unless it is to be absent', async () => {
    expect(await store.put('b', Buffer.from('first'), { ifAbsent: true })).toBe(true)
    expect(await store.put('b', Buffer.from('second'), { ifAbsent: true })).toBe(false)
    expect((await store.get('b'))?.toString()).toBe('first')
    expect(await store.put('b', Buffer.from('third'))).toBe(true)
    expect((await store.get('b'))?.toString()).toBe('third')
  })

  it.skipIf(skip)('lets one of twenty writers of an absent object win', async () => {
    const won = await Promise.all(
      Array.from({ length: 20 }, async (_, writer) => ({
        writer,
        written: await store.put('raced', Buffer.from(`writer ${writer}`), { ifAbsent: true }),
      })),
    )
    const [winner, ...others] = won.filter(({ written }) => written)
    expect(others).toEqual([])
    expect((await store.get('raced'))?.toString()).toBe(`writer ${winner?.writer}`)
  })

  it.skipIf(skip)(
    'writes a large file in parts, also when it is to be absent, and downloads it with its digest',
    async () => {
      const bytes = randomBytes(2 * partBytes + 12_345)
      const path = join(root, 'large')
      await writeFile(path, bytes)
      expect(await store.put('large', { path }, { ifAbsent: true })).toBe(true)
      expect(await store.put('large', { path }, { ifAbsent: true })).toBe(false)
      expect(await store.put('large', bytes)).toBe(true)
      const target = join(root, 'downloaded')
      await rm(target, { force: true })
      expect(await store.download('large', target)).toEqual({ bytes: bytes.length, digest: digestOf(bytes) })
      expect(bytes.equals(await readFile(target))).toBe(true)
      expect(await store.find('large')).toMatchObject({ bytes: bytes.length })
      expect(await listed(store, 'large')).toEqual(['large'])
    },
  )

  it.skipIf(skip)('refuses to read more than is wanted, by the name of the object', async () => {
    await store.put('c/wide', Buffer.alloc(100))
    await expect(store.get('c/wide', 99)).rejects.toMatchObject({
      code: 'artifact_corrupt',
      message: expect.stringMatching(/c\/wide has 100 bytes, more than 99$/),
    })
    expect(await store.get('c/wide', 100)).toHaveLength(100)
  })

  it.skipIf(skip)('lists the objects below a prefix by their keys, page after page', async () => {
    const keys = Array.from({ length: 70 }, (_, at) => `d/${String(at).padStart(4, '0')}`)
    for (let at = 0; at < keys.length; at += 25)
      await Promise.all(keys.slice(at, at + 25).map((key) => store.put(key, Buffer.from('x'))))
    await store.put('e/other', Buffer.from('x'))
    expect(await listed(store, 'd/')).toEqual(keys)
    expect(await listed(store, 'nowhere/')).toEqual([])
  })

  it.skipIf(skip)('removes an object, however often', async () => {
    await store.put('gone', Buffer.from('x'))
    await store.remove('gone')
    await store.remove('gone')
    expect(await store.get('gone')).toBeUndefined()
  })

  it.skipIf(skip).each(['with a blank', 'a+b', 'ü&<>"', '50%', "it's(1)*", 'q?x=1#y'])(
    'keeps apart keys with unusual signs: %s',
    async (name) => {
      await store.put(`odd/${name}`, Buffer.from(name))
      expect((await store.get(`odd/${name}`))?.toString()).toBe(name)
      expect(await listed(store, `odd/${name}`)).toEqual([`odd/${name}`])
    },
  )

  it.skipIf(skip).each(['../outside', 'a/../../b', '/root', 'a//b', 'a/', '.', '', 'a\\b', 'a\nb'])(
    'refuses the key %j, which could lead elsewhere',
    async (key) => {
      const refused = { code: 'invalid_request' }
      await expect((async () => store.put(key, Buffer.from('x')))()).rejects.toMatchObject(refused)
      await expect((async () => store.get(key))()).rejects.toMatchObject(refused)
      await expect((async () => store.remove(key))()).rejects.toMatchObject(refused)
    },
  )
})

describe('an object store in a directory', () => {
  it('leaves no half-written object behind, and is unavailable where it cannot write', async () => {
    const place = join(root, 'partials')
    const store = openDirectoryStore(place)
    await store.put('x', Buffer.from('x'))
    await expect(store.put('y', { path: join(root, 'absent') })).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: expect.stringContaining(place),
    })
    expect(await readdir(join(place, '.partial'))).toEqual([])
    expect(await listed(store, '')).toEqual(['x'])
    await writeFile(join(root, 'a-file'), '')
    await expect(openDirectoryStore(join(root, 'a-file')).put('x', Buffer.from('x'))).rejects.toMatchObject({
      code: 'object_store_unavailable',
    })
  })
})
