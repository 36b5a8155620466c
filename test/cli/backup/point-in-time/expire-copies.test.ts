/** Tests which copies of artifacts and snapshots are kept with the bases of point-in-time recovery. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, afterEach, describe, expect, it } from 'vitest'
import { copyArtifacts, listCopies } from '../../../../cli/backup/point-in-time/copy-artifacts.ts'
import { expireCopies } from '../../../../cli/backup/point-in-time/keep-log.ts'
import { baseKey, copyKey, listBases } from '../../../../cli/backup/point-in-time/places.ts'
import { openArtifacts, type Artifacts } from '../../../../store/artifacts.ts'
import { openDirectoryStore } from '../../../../store/objects/directory.ts'
import type { ObjectStore } from '../../../../store/objects/object-store.ts'
import { putNetwork } from '../../../support/release/candidates.ts'

const day = (number: number) => new Date(Date.UTC(2026, 0, number))
const segment = '000000010000000000000003'
const snapshot = `sha256:${'a'.repeat(64)}`

let root: string
let store: ObjectStore
let artifacts: Artifacts
let digests: string[]
let copied: Set<string>

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'tenure-copies-'))
  store = openDirectoryStore(join(root, 'copies'))
  artifacts = openArtifacts(join(root, 'artifacts'))
  digests = [await putNetwork(artifacts, 'pulse'), await putNetwork(artifacts, 'pulse', [2, 2, 2])]
  copied = await listCopies(store)
  await copyArtifacts(referencesTo(...digests), { artifacts, store, copied })
  await store.put(copyKey('snapshots', snapshot), Buffer.from('rows'))
  copied.add(copyKey('snapshots', snapshot))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const referencesTo = (...named: string[]) => ({
  manifests: named.map((digest) => ({ digest, version: undefined })),
  snapshots: [] as string[],
  subjectLists: [] as string[],
})
const addBase = (endedAt: Date, systemId = '7') =>
  store.put(
    baseKey({ endedAt: endedAt.toISOString(), systemId, startSegment: segment, stopSegment: segment }),
    Buffer.from(''),
  )
async function replaceBase(endedAt: Date): Promise<void> {
  for (const { key } of await listBases(store)) await store.remove(key)
  await addBase(endedAt)
}
const expire = (named: string[], now: Date) =>
  expireCopies(referencesTo(...named), { store, artifacts, copied, systemId: '7', now })

describe('copies of artifacts and snapshots', () => {
  it('are deleted when the oldest base is younger than the row that named them, and not before', async () => {
    const [kept = '', gone = ''] = digests
    await addBase(day(1))
    const all = copied.size
    expect(await expire(digests, day(2))).toEqual([])
    expect(await expire([kept], day(3))).toEqual([])
    await addBase(day(4))
    expect(await expire([kept], day(4))).toEqual([])
    await store.remove((await listBases(store))[0]!.key)
    const expired = await expire([kept], day(5))
    expect(expired).toContain(copyKey('artifacts', gone))
    expect(expired).toContain(copyKey('snapshots', snapshot))
    expect(await listCopies(store)).toEqual(copied)
    expect(copied.size).toBe(all - expired.length)
    // The files that both versions share stay, and files that are named again are copied again.
    await expect(copyArtifacts(referencesTo(kept), { artifacts, store, copied })).resolves.toBeUndefined()
    expect(copied.size).toBe(all - expired.length)
    await copyArtifacts(referencesTo(gone), { artifacts, store, copied })
    expect((await listCopies(store)).has(copyKey('artifacts', gone))).toBe(true)
  })

  it('stay from anew when a row names them again', async () => {
    const [kept = '', back = ''] = digests
    await addBase(day(1))
    await expire([kept], day(2))
    await expire([kept, back], day(3))
    await replaceBase(day(4))
    expect(await expire([kept], day(5))).toEqual([copyKey('snapshots', snapshot)])
    expect(copied.has(copyKey('artifacts', back))).toBe(true)
  })

  it('stay while a snapshot names them as its list of data subjects', async () => {
    await addBase(day(1))
    const named = { ...referencesTo(...digests), subjectLists: [snapshot] }
    const at = (now: Date) => expireCopies(named, { store, artifacts, copied, systemId: '7', now })
    await at(day(2))
    await replaceBase(day(3))
    expect(await at(day(4))).toEqual([])
  })

  it('stay beside a base of another database, without a base, and when a manifest cannot be read', async () => {
    const absent = `sha256:${'b'.repeat(64)}`
    const all = copied.size
    expect(await expire([], day(1))).toEqual([])
    await addBase(day(1))
    expect(await expire([], day(2))).toEqual([])
    await replaceBase(day(9))
    expect(await expire([absent], day(10))).toEqual([])
    await addBase(day(10), '8')
    expect(await expire([], day(10))).toEqual([])
    await store.remove((await listBases(store))[1]!.key)
    expect(await expire([], day(10))).toHaveLength(all)
  })
})
