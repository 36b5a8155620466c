import { access, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Manifest } from '../../domain/model/manifest.ts'
import { expectMarker, markFolder } from '../../store/artifact-marker.ts'
import {
  digestOfJson,
  getManifest,
  openArtifacts,
  putManifest,
  type Artifacts,
} from '../../store/artifacts.ts'

let root: string
let artifacts: Artifacts
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-artifacts-'))
  artifacts = openArtifacts(root)
})
afterAll(() => rm(root, { recursive: true }))

const bytes = Buffer.from('earned')
const hex = '4844fdfbc864ac106bb9742de65edfbcb5257a4e7ee2d8c500b80cdafa148524'
const digest = `sha256:${hex}`

describe('the artifact store', () => {
  it('names content by the SHA-256 of its bytes, however often it is put', async () => {
    expect(await artifacts.put('artifacts', bytes)).toEqual({ digest, bytes: 6 })
    expect(await artifacts.put('artifacts', bytes)).toEqual({ digest, bytes: 6 })
    expect((await artifacts.get('artifacts', digest)).toString()).toBe('earned')
    expect(await readdir(join(root, 'drafts'))).toEqual([])
  })

  it('moves a finished file into the store and returns its path', async () => {
    const draft = await artifacts.draft('.parquet')
    await writeFile(draft, bytes)
    expect(await artifacts.take('snapshots', draft)).toEqual({ digest, bytes: 6 })
    expect(await artifacts.locate('snapshots', digest)).toBe(join(root, 'snapshots', `${hex}.parquet`))
    await expect(access(draft)).rejects.toThrow('ENOENT')
  })

  it('creates files and directories that other users cannot read', async () => {
    const draft = await artifacts.draft('.parquet')
    await writeFile(draft, 'rows', { mode: 0o644 })
    await artifacts.take('snapshots', draft)
    const taken = await artifacts.put('artifacts', Buffer.from('private'))
    const modeOf = async (path: string) => (await stat(path)).mode & 0o777
    const file = await artifacts.locate('artifacts', taken.digest)
    expect(await modeOf(file)).toBe(0o600)
    expect(await modeOf(dirname(file))).toBe(0o700)
    for (const name of await readdir(join(root, 'snapshots')))
      expect(await modeOf(join(root, 'snapshots', name))).toBe(0o600)
    for (const name of ['drafts', 'snapshots', 'sha256']) expect(await modeOf(join(root, name))).toBe(0o700)
  })

  it('lists every file, also where one directory holds many', async () => {
    const places = Array.from({ length: 100 }, (_, at) =>
      join(root, 'sha256', 'fe', `fe${String(at).padStart(62, '0')}`),
    )
    await mkdir(join(root, 'sha256', 'fe'), { recursive: true })
    for (const path of places) await writeFile(path, '')
    const listed: string[] = []
    for await (const file of artifacts.list('artifacts')) listed.push(file.digest)
    expect(listed.filter((each) => each.startsWith('sha256:fe'))).toHaveLength(100)
    await rm(join(root, 'sha256', 'fe'), { recursive: true })
  })

  it('refuses changed and missing bytes', async () => {
    await artifacts.put('artifacts', bytes)
    await writeFile(join(root, 'sha256', hex.slice(0, 2), hex), 'earned?')
    await expect(artifacts.get('artifacts', digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await writeFile(join(root, 'snapshots', `${hex}.parquet`), '')
    await expect(artifacts.locate('snapshots', digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await artifacts.remove('artifacts', digest)
    await artifacts.remove('artifacts', digest)
    await expect(artifacts.get('artifacts', digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
  })

  it.each([
    '../../etc/passwd',
    `sha256:${'../'.repeat(20)}etc/passwd`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex}/..`,
    `md5:${hex}`,
    hex,
    '',
  ])('never opens a path from outside: %j', async (name) => {
    await expect(artifacts.get('artifacts', name)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await expect(artifacts.locate('snapshots', name)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    expect(() => artifacts.remove('artifacts', name)).toThrow('is not a digest')
  })

  it('stores a manifest under the digest of its canonical form, and refuses another format', async () => {
    const manifest = { format: 'tenure-artifact@1', model: 'iris' } as Manifest
    const turned = { model: 'iris', format: 'tenure-artifact@1' } as Manifest
    const stored = await putManifest(artifacts, manifest)
    expect(await putManifest(artifacts, turned)).toBe(stored)
    expect(stored).toBe(digestOfJson(turned))
    expect(await getManifest(artifacts, stored)).toEqual(manifest)
    const strange = await artifacts.put('artifacts', Buffer.from('{"format":"pickle"}'))
    await expect(getManifest(artifacts, strange.digest)).rejects.toMatchObject({ code: 'artifact_invalid' })
  })
})

describe('a folder that must have a marker', () => {
  const away = 'object_store_unavailable'
  const known = async () => ['sha256/aa/aa']
  /** How each method ends while the folder is not mounted. */
  const calls: { [name in keyof Artifacts]: [unknown, (from: Artifacts, draft: string) => unknown] } = {
    isShared: [false, (from) => from.isShared],
    share: [undefined, (from) => from.share('artifacts', digest)],
    put: [away, (from) => from.put('artifacts', bytes)],
    take: [away, (from, draft) => from.take('artifacts', draft)],
    get: [away, (from) => from.get('artifacts', digest)],
    locate: [away, (from) => from.locate('artifacts', digest)],
    remove: [away, (from) => from.remove('artifacts', digest)],
    removeListed: [false, (from) => from.removeListed('artifacts', { digest, bytes: 6, writtenMs: 1 })],
    list: [away, (from) => from.list('artifacts')[Symbol.asyncIterator]().next()],
    clearDrafts: [away, (from) => from.clearDrafts(0)],
    draft: [away, (from) => from.draft('')],
    touch: [undefined, (from) => from.touch('artifacts', digest)],
    measure: [away, (from) => from.measure('artifacts', digest)],
  }

  it.each(Object.entries(calls))(
    'is not written into and loses nothing by %s while it is not mounted',
    async (_, [end, call]) => {
      const folder = await mkdtemp(join(root, 'mount-'))
      const draft = join(root, 'outside')
      await writeFile(draft, bytes)
      const store = openArtifacts(folder)
      await markFolder(folder)
      expectMarker(folder, known)
      await store.put('artifacts', bytes)
      await rename(folder, `${folder}.share`)
      await mkdir(folder)
      const ended = await Promise.resolve(call(store, draft)).catch((error: { code: string }) => error.code)
      expect(ended).toBe(end)
      expect(await readdir(folder)).toEqual([])
      await rm(folder, { recursive: true })
      await rename(`${folder}.share`, folder)
      expect(await store.get('artifacts', digest)).toEqual(bytes)
    },
  )

  it.each([
    ['a new installation', async () => [], true],
    ['an earlier version, with a known file', async () => ['sha256/bb/bb', `sha256/48/${hex}`], true],
    ['another installation', known, false],
    ['an installation whose database is away', async () => Promise.reject(new Error('away')), false],
  ])('has a marker after a write only if it is its own: %s', async (_, listKnown, isMarked) => {
    const folder = await mkdtemp(join(root, 'unmarked-'))
    const store = openArtifacts(folder)
    await store.put('artifacts', bytes)
    expectMarker(folder, listKnown)
    const ended = await store
      .put('artifacts', Buffer.from('more'))
      .catch((error: { code: string }) => error.code)
    expect(ended).toEqual(isMarked ? expect.objectContaining({ bytes: 4 }) : away)
    expect((await readdir(folder)).includes('.tenure-artifacts')).toBe(isMarked)
  })
})
