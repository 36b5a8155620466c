import { access, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Manifest } from '../../domain/model/manifest.ts'
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
